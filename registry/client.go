package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/loopback"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Limits of what is read from a registry. Above them the answer is
// assay.CodeTooLarge.
const (
	// MaxBundle is the largest bundle, in bytes.
	MaxBundle = attest.MaxBundle
	// MaxManifest is the largest manifest of a referrer, in bytes.
	MaxManifest = 256 << 10
	// MaxIndex is the largest page of a listing and the largest tag index, in bytes.
	MaxIndex = 4 << 20
	// MaxPages is the number of pages of one listing.
	MaxPages = 100
	// MaxListed is the number of referrers of all kinds that one listing may name.
	MaxListed = 10_000
	// MaxReferrers is the number of referrers of one image that may be bundles.
	MaxReferrers = 1000
	// MaxRedirects is the number of redirects that one request follows.
	MaxRedirects = 3
	// MaxOperation is the time that one Push, Discover or Pull may take.
	MaxOperation = 5 * time.Minute
)

const (
	// DefaultTimeout bounds one request with its whole answer.
	DefaultTimeout = 30 * time.Second
	// DefaultSettle is how long a writer of a tag index waits before it looks
	// whether another writer replaced its entry.
	DefaultSettle = 300 * time.Millisecond
)

// Config says how registries are reached. The zero value reaches public ones
// without credentials.
type Config struct {
	// DockerConfig is the path of a docker config.json with credentials; "" or a
	// file that does not exist means none.
	DockerConfig string
	// Helpers allows to run the credential helpers that DockerConfig names.
	Helpers bool
	// PlainHTTP allows plain HTTP to other machines; this machine always speaks it.
	PlainHTTP bool
	// CA are certificates in PEM of authorities that are believed beside this machine's
	// own. With them this machine is spoken to by HTTPS as well.
	CA        []byte
	Timeout   time.Duration // of one request with its answer; 0 means DefaultTimeout
	Settle    time.Duration // 0 means DefaultSettle
	UserAgent string        // "" means "assay"
}

// Client talks to registries. It is safe for concurrent use.
type Client struct {
	cfg  Config
	auth *auth.Client
}

// New returns a Client. A DockerConfig that cannot be read is an error; one
// that does not exist is not.
func New(cfg Config) (*Client, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Settle <= 0 {
		cfg.Settle = DefaultSettle
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "assay"
	}
	c := &Client{cfg: cfg, auth: &auth.Client{Cache: auth.NewCache()}}
	c.auth.SetUserAgent(cfg.UserAgent)
	if cfg.DockerConfig != "" {
		store, err := openStore(cfg.DockerConfig, cfg.Helpers)
		if err != nil {
			e := assay.Errorf(assay.CodeInvalid, "holds no credentials that can be read: %w", err)
			e.Hint = "docker login and its likes write this file"
			return nil, e.In(cfg.DockerConfig)
		}
		c.auth.Credential = credentials.Credential(store)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if len(cfg.CA) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool() // a machine without any believes those given alone
		}
		if !roots.AppendCertsFromPEM(cfg.CA) {
			return nil, assay.Errorf(assay.CodeInvalid, "the registries' certificate authority holds no certificate in PEM")
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	transport.ResponseHeaderTimeout = cfg.Timeout
	transport.MaxResponseHeaderBytes = 256 << 10
	transport.DisableCompression = true // bundles are compared byte by byte, and nothing may unfold
	c.auth.Client = &http.Client{
		Transport:     &retry.Transport{Base: encrypted{transport, cfg.PlainHTTP}, Policy: func() retry.Policy { return patience }},
		CheckRedirect: checkRedirect,
	}
	return c, nil
}

// patience is for registries that are busy for a moment.
var patience = &retry.GenericPolicy{
	Retryable: retry.DefaultPredicate, Backoff: retry.DefaultBackoff,
	MinWait: 100 * time.Millisecond, MaxWait: time.Second, MaxRetry: 2,
}

// openStore reads credentials. The file alone is read unless helpers are
// allowed: they are programs that a file names.
func openStore(path string, helpers bool) (credentials.Store, error) {
	if helpers {
		return credentials.NewStore(path, credentials.StoreOptions{})
	}
	return credentials.NewFileStore(path)
}

// repository is one repository of a registry, as one operation sees it.
type repository struct {
	*remote.Repository
	door *door
}

// open parses reference and prepares to talk to its registry; nothing is sent.
func (c *Client) open(reference string) (*repository, error) {
	ref, err := registry.ParseReference(reference)
	if err != nil {
		e := assay.Errorf(assay.CodeInvalid, "reference %q is not understood: %w", clip(reference), err)
		e.Hint = "expected REGISTRY/NAME@sha256:…, for example registry.example/team/app@sha256:…"
		return nil, e
	}
	if strings.Contains(ref.Reference, ":") {
		if _, err := assay.ParseDigest(ref.Reference); err != nil {
			return nil, err
		}
	}
	if ref.Reference == "" {
		e := assay.Errorf(assay.CodeInvalid, "reference %q has neither digest nor tag", clip(reference))
		e.Hint = "expected REGISTRY/NAME@sha256:…"
		return nil, e
	}
	host := ref.Host()
	plain := loopback.Is(hostname(host)) && len(c.cfg.CA) == 0 || c.cfg.PlainHTTP
	d := &door{auth: c.auth, scheme: "https", host: host, timeout: c.cfg.Timeout}
	if plain {
		d.scheme = "http"
	}
	repo := &remote.Repository{Client: d, Reference: ref, PlainHTTP: plain, MaxMetadataBytes: MaxIndex}
	// The index of a registry without the API is kept by this package, which
	// bounds it and notices when another writer replaces an entry.
	if err := repo.SetReferrersCapability(true); err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "%s: %w", reference, err)
	}
	return &repository{repo, d}, nil
}

// Resolve returns the digest that reference names now. For a tag it is whatever
// the registry says.
func (c *Client) Resolve(ctx context.Context, reference string) (assay.Digest, error) {
	ctx, cancel := context.WithTimeout(ctx, MaxOperation)
	defer cancel()
	r, err := c.open(reference)
	if err != nil {
		return "", err
	}
	desc, err := r.subject(ctx)
	return assay.Digest(desc.Digest), err
}

// subject asks for the descriptor of the image that the reference names.
func (r *repository) subject(ctx context.Context) (ocispec.Descriptor, error) {
	desc, err := r.Repository.Resolve(ctx, r.Reference.Reference)
	if err != nil {
		return desc, r.problem("cannot resolve", err)
	}
	if _, err := assay.ParseDigest(desc.Digest.String()); err != nil {
		return desc, r.problem("resolves to what is not supported", err)
	}
	return desc, nil
}
