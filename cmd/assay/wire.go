package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	actkubernetes "assay.dev/assay/act/kubernetes"
	actproxy "assay.dev/assay/act/proxy"
	actwebhook "assay.dev/assay/act/webhook"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/attest/process"
	"assay.dev/assay/attest/sigstore"
	"assay.dev/assay/control"
	"assay.dev/assay/enforce/proxy"
	"assay.dev/assay/halt"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/internal/kube"
	"assay.dev/assay/inventory"
	"assay.dev/assay/inventory/kubernetes"
	"assay.dev/assay/inventory/oci"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/posix"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/notify"
	"assay.dev/assay/notify/alertmanager"
	"assay.dev/assay/policy"
	"assay.dev/assay/policy/dir"
	"assay.dev/assay/policy/rego"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/backend"
	"assay.dev/assay/signal/openmetrics"
	"assay.dev/assay/signal/otlp"
	"assay.dev/assay/signal/remotewrite"
	"assay.dev/assay/signal/scrape"
	"assay.dev/assay/signal/tsdb"
	"assay.dev/assay/store"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/mem"
	"assay.dev/assay/store/sqlite"
	"github.com/prometheus/client_golang/prometheus"
)

// This file alone names adapters: it puts an installation together from a
// configuration. Everything else works on ports.

// maxSalt is the largest salt file, in bytes.
const maxSalt = 1024

// stateless is a control plane that keeps nothing: for a gate in continuous integration.
func (a *app) stateless() (*operations, error) {
	if err := control.CheckNamespace(a.cfg.get("namespace")); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "assay-evidence-*")
	if err != nil {
		return nil, err
	}
	blobs, err := files.Open(tmp)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(tmp))
	}
	memory := mem.New(mem.Config{})
	plane := control.New(control.Config{
		Store: memory, Blobs: blobs, Policy: a.policySource(), Now: a.now, Rand: rand.Reader,
		VerifierID: a.cfg.get("verifier-id"),
	})
	s := plane.As(a.localCaller())
	return &operations{s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, func() {
		_ = errors.Join(memory.Close(), blobs.Close(), os.RemoveAll(tmp)) // temporary: nothing to lose
	}}, nil
}

// installation is an open state directory.
type installation struct {
	plane  *control.Plane
	store  *sqlite.Store
	blobs  *files.Blobs
	ledger *ledger.Ledger // nil before keys exist
	epochs []ledger.Epoch // oldest first
	vkey   string
	seq    *ledger.Sequencer // nil unless signing

	telemetry  *telemetry           // nil unless the command opened it
	door       *enforcer            // nil without one
	strategies *mitigate.Controller // nil unless this process serves
	halts      *halt.Recorder
	rollouts   *rollout.Controller // nil without an enforcer

	signers []io.Closer                   // programs that hold keys
	audited atomic.Pointer[ledger.Report] // by the last periodic audit
	lock    *durable.Lock
	readers []*ledger.Dir
	stop    context.CancelFunc
	done    sync.WaitGroup
	halted  chan error    // the error of a sequencer that stopped for good
	stopped chan struct{} // closed when the sequencer stopped for good
}

// open opens the state directory, alone. With signing it also loads the keys and
// runs the sequencer.
func (a *app) open(ctx context.Context, signing bool, reg *prometheus.Registry) (*installation, error) {
	posix.RedirectLog(a.log)
	data := a.cfg.get("dir")
	if _, err := os.Stat(data); err != nil {
		hint := "name a control plane with --server, or create one here with: assay key create --dir " + data
		if a.cfg.get("server") != "" { // who comes here with one asks for what no server answers
			hint = "this reads the state directory itself, whatever --server says: run it where that is, with --dir"
		}
		return nil, &assay.Error{Code: assay.CodeNotFound, File: data, Msg: "is not a state directory", Hint: hint}
	}
	in := &installation{halted: make(chan error, 1), stopped: make(chan struct{}), stop: func() {}}
	if err := a.openAll(ctx, in, data, signing, reg); err != nil {
		in.close()
		return nil, err
	}
	if signing {
		// Only those who verify miss something, and the next start tries again.
		if err := in.plane.SyncTrust(ctx); err != nil {
			a.log.Warn("the trust file was not brought up to date", "error", err)
		}
	}
	return in, nil
}

// openAll opens the parts of in; what is open when it fails is the caller's to close.
func (a *app) openAll(ctx context.Context, in *installation, data string, signing bool, reg *prometheus.Registry) (err error) {
	if in.lock, err = durable.LockDir(data); err != nil {
		return err
	}
	if in.store, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(data, "assay.db"), Upcasters: store.BuiltinUpcasters(), Now: a.now}); err != nil {
		return err
	}
	if err = durable.MkdirAll(filepath.Join(data, "blobs"), 0o700); err != nil {
		return err
	}
	if in.blobs, err = files.Open(filepath.Join(data, "blobs")); err != nil {
		return err
	}
	cfg := control.Config{
		Store: in.store, Blobs: in.blobs, Policy: a.policySource(), Now: a.now, Rand: rand.Reader, Home: a.cfg.get("namespace"),
		VerifierID: a.cfg.get("verifier-id"), Version: map[string]string{"assay": version()}, Metrics: control.NewMetrics(reg),
	}
	if err = a.openLedger(ctx, in, data, &cfg, signing, reg); err != nil {
		return err
	}
	a.addAdvisories(&cfg)
	a.addHalts(ctx, in, &cfg)
	if a.extend != nil {
		if err = a.extend(ctx, in, &cfg); err != nil {
			return err
		}
	}
	in.plane = control.New(cfg)
	return nil
}

// openLedger opens the ledger for reading, if its keys exist, and for writing if signing.
func (a *app) openLedger(ctx context.Context, in *installation, data string, cfg *control.Config, signing bool, reg *prometheus.Registry) error {
	public, err := keyfile.LoadPublic(a.publicKeyPath())
	if errors.Is(err, fs.ErrNotExist) && !signing {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &assay.Error{Code: assay.CodeNotFound, File: a.publicKeyPath(), Msg: "does not exist: there are no keys to sign with", Hint: "create them with: assay key create --dir " + data}
	}
	if err != nil {
		return err
	}
	if public.Ledger == "" {
		return &assay.Error{Code: assay.CodeInvalid, File: a.publicKeyPath(), Msg: "names no ledger key"}
	}
	salt, err := readFile(a.saltPath(), maxSalt)
	if err != nil {
		return err
	}
	in.vkey = public.Ledger
	verifier, err := ledger.ParseVerifier(public.Ledger)
	if err != nil {
		return err
	}
	cfg.PublicKeys, cfg.Keys = public.Keys, a.keyRing(in)
	if signing {
		if err := a.startSequencer(ctx, in, data, salt, verifier, cfg, reg); err != nil {
			return err
		}
	}
	witnesses, err := a.witnessPolicy()
	if err != nil {
		return err
	}
	if err := in.openReaders(data, salt, verifier, witnesses); err != nil {
		return err
	}
	cfg.Outbox, cfg.Ledger, cfg.LedgerKey = in.store, in.ledger, public.Ledger
	return nil
}

// openSigner opens the key that signs attestations: a file, or a key that another program holds.
func (a *app) openSigner(ctx context.Context, in *installation, key string) (attest.Signer, error) {
	if program := signerProgram(key); program != "" {
		s, err := process.Start(ctx, process.Options{Program: cmp.Or(a.cfg.get("signer"), program), Key: key, Stderr: a.err})
		if err != nil {
			return nil, err
		}
		in.signers = append(in.signers, s)
		return s, nil
	}
	pass, err := a.passphrase()
	if err != nil {
		return nil, err
	}
	return keyfile.Load(key, pass)
}

// keyRing is where the keys of the state directory lie, and where verifiers find their public halves.
func (a *app) keyRing(in *installation) control.KeyRing {
	files := keyfile.NewRing(keyfile.RingOptions{
		KeyFile: a.attestKeyPath(), PublicFile: a.publicKeyPath(), TrustFile: a.trustPath(),
		Algorithm: keyfile.Algorithm(a.rotation.algorithm), Passphrase: a.passphrase,
	})
	switch to := a.rotation.to; {
	case to != "":
		return movedRing{files, func(ctx context.Context) (attest.Signer, error) { return a.openSigner(ctx, in, to) }}
	case signerProgram(a.attestKeyPath()) != "":
		return movedRing{files, func(context.Context) (attest.Signer, error) {
			return nil, &assay.Error{Code: assay.CodeConflict, Msg: "the signing key does not lie in a file, so its successor is not made here", Hint: "make it where it is to lie, and name it with --to"}
		}}
	}
	return files
}

// movedRing turns to a key that lies elsewhere.
type movedRing struct {
	*keyfile.Ring
	open func(context.Context) (attest.Signer, error)
}

// Next opens the named key.
func (r movedRing) Next(ctx context.Context) (attest.Signer, error) { return r.open(ctx) }

// Turn does nothing: the person who named the key configures it as --key.
func (r movedRing) Turn(context.Context, string) error { return nil }

// ledgerSecret loads the key that signs checkpoints.
func (a *app) ledgerSecret() (string, error) { return a.loadSecret(a.ledgerKeyPath()) }

// loadSecret loads a secret key of a log or a witness.
func (a *app) loadSecret(path string) (string, error) {
	pass, err := a.passphrase()
	if err != nil {
		return "", err
	}
	return keyfile.LoadLedger(path, pass)
}

// sealLedgerKey encrypts a secret key of a log or a witness.
func sealLedgerKey(skey string, pass []byte) ([]byte, error) {
	return keyfile.MarshalLedger(skey, pass)
}

// epochOpener opens one epoch's tree for the ledger's key under the epoch's name.
func (a *app) epochOpener(path, skey, vkey, origin string) (ledger.Opener, error) {
	signer, err := ledger.ParseSigner(skey, origin)
	if err != nil {
		return nil, err
	}
	verifier, err := ledger.ParseVerifierFor(vkey, origin)
	if err != nil {
		return nil, err
	}
	return posix.Opener(posix.Config{Dir: path, Signer: signer, Verifier: verifier, Log: a.log}), nil
}

func (a *app) loadPolicy(ctx context.Context) (control.Policy, error) {
	path := a.cfg.get("policy")
	rev, err := dir.Load(ctx, path)
	if err != nil {
		return control.Policy{}, err
	}
	engine, err := rego.Compile(ctx, rev)
	if err != nil {
		return control.Policy{}, below(err, path)
	}
	return control.Policy{Revision: rev, URI: policyURI(path), Engine: engine}, nil
}

// keyAlgorithms are what attestation keys may use, the default first.
var keyAlgorithms = []string{string(keyfile.ECDSAP256), string(keyfile.Ed25519)}

// loadPublic reads a public file, ours or cosign's.
func loadPublic(path string) (publicKeys, error) {
	p, err := keyfile.LoadPublic(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = &assay.Error{
			Code: assay.CodeNotFound, File: path, Msg: "does not exist",
			Hint: "assay key create makes one; an auditor asks the signer for it", Err: err,
		}
	}
	return publicKeys{p.Keys, p.Ledger}, err
}

// parsePublic reads a public file that is in memory.
func parsePublic(data []byte) (publicKeys, error) {
	p, err := keyfile.ParsePublic(data)
	return publicKeys{p.Keys, p.Ledger}, err
}

func createKeyFiles(folder, algorithm string, pass []byte, origin string) (publicKeys, error) {
	c, err := keyfile.Create(folder, keyName, keyfile.CreateOptions{
		Algorithm: keyfile.Algorithm(algorithm), Passphrase: pass, LedgerOrigin: origin,
	})
	return publicKeys{c.Public.Keys, c.Public.Ledger}, err
}

// The policy tools, by the names that the policy commands use.
type (
	policyTests   = rego.TestReport
	policyProblem = rego.Problem
)

const (
	testPassed   = rego.TestPassed
	levelError   = rego.LevelError
	levelWarning = rego.LevelWarning
)

func loadRevision(ctx context.Context, path string) (*policy.Revision, error) {
	return dir.Load(ctx, path)
}

func (a *app) lintPolicy(ctx context.Context, path string) ([]rego.Problem, error) {
	rev, err := dir.Load(ctx, path)
	if err != nil {
		return nil, err
	}
	doors, err := a.lintDoors(rev)
	if err != nil {
		return nil, err
	}
	problems := slices.Concat(rego.Lint(rev), lintSignals(rev), doors)
	for i := range problems {
		if problems[i].File != "" {
			problems[i].File = filepath.Join(path, problems[i].File)
		}
	}
	return problems, nil
}

func lintFailed(problems []rego.Problem) bool {
	return slices.ContainsFunc(problems, func(p rego.Problem) bool { return p.Level == rego.LevelError })
}

func testPolicy(ctx context.Context, path string) (rego.TestReport, error) {
	rev, err := dir.Load(ctx, path)
	if err != nil {
		return rego.TestReport{}, err
	}
	report, err := rego.Test(ctx, rev)
	if err != nil {
		return report, below(err, path)
	}
	for i := range report.Results {
		report.Results[i].File = filepath.Join(path, report.Results[i].File)
	}
	for _, f := range rev.Files(policy.ClassScenario) {
		r := rego.TestResult{Package: "scenario", File: filepath.Join(path, f.Path), Line: 1, Status: rego.TestPassed}
		if r.Name, r.Message, err = testScenario(ctx, r.File); err != nil {
			return report, err
		}
		if r.Message != "" {
			r.Status = rego.TestFailed
		}
		report.Results = append(report.Results, r)
	}
	return report, nil
}

func formatRego(folder, path string, src []byte) ([]byte, error) {
	out, err := rego.Format(path, src)
	return out, below(err, folder)
}

// maxTrustedRoot is the size of a trusted root file, in bytes.
const maxTrustedRoot = sigstore.MaxTrustedRoot

// openAuthority reads Sigstore's trusted root.
func openAuthority(data []byte, o authorityOptions) (attest.Authority, error) {
	return sigstore.ParseTrustedRoot(data, sigstore.Options{
		IgnoreLog: o.ignoreLog, IgnoreSCT: o.ignoreSCT, SignedTimestamps: o.signedTimestamps,
	})
}

// openDoor opens the embedded proxy.
func (a *app) openDoor(o doorOptions) (door, error) {
	return proxy.Open(proxy.Options{
		Dir: o.dir, Initial: o.initial, Trust: o.trust.Policy, Verify: verifyAny(o.trust.Ledger), AllowDryRun: o.allowDryRun, Token: o.token, Log: a.log, Now: a.now,
		TrustedProxies: o.proxies,
		Export:         proxy.Export{URL: o.otlp, Token: o.otlpToken, Interval: o.otlpEvery},
	})
}

// openSeries opens the database of samples, which keeps them for a day longer than
// anybody looks back.
func (a *app) openSeries(path string, longest time.Duration) (series, error) {
	retention := max(tsdb.DefaultRetention, longest+24*time.Hour)
	return tsdb.Open(path, tsdb.Options{Retention: retention, Logger: slog.New(warnings{a.log.Handler()})})
}

// openHistory reads history from a file.
func openHistory(name string, r io.Reader) historyFile { return openmetrics.New(name, r) }

// openBackend reads history from a server that has the API of Prometheus.
func openBackend(f importFlags, start, end time.Time, token string) (historyServer, error) {
	return backend.New(backend.Config{URL: f.prometheus, Match: f.match, Start: start, End: end, Step: f.step, Token: token})
}

// roads are the handlers that take samples in, by pattern.
func roads(intake *signal.Intake, identify signal.Identify) map[string]http.Handler {
	return map[string]http.Handler{
		"POST " + otlp.Path:        otlp.NewHandler(intake, identify),
		"POST " + remotewrite.Path: remotewrite.NewHandler(intake, identify),
	}
}

// newScraper fetches one page of metrics again and again.
func (a *app) newScraper(namespace, job string, u *url.URL, intake *signal.Intake) scraper {
	target := scrape.Target{Namespace: namespace, Job: job, Instance: u.Host, URL: u.String()}
	return scrape.New(target, intake, noRedirects(), a.now)
}

// openSender is who alerts are told, nil if nobody is.
func (a *app) openSender() (notify.Sender, error) {
	address := a.cfg.get("notify")
	if address == "" {
		return nil, nil
	}
	return alertmanager.New(address, a.cfg.get("notify-token"), a.now)
}

// openCluster is a cluster as a source of the inventory.
func openCluster(path, environment, source string) (inventory.Source, error) {
	access, err := kube.Open(path)
	if err != nil {
		return nil, err
	}
	return kubernetes.New(access, environment, source)
}

// openImages is a registry as a source of the inventory.
func (a *app) openImages(reach registryFlags, place, environment, source string) (inventory.Source, error) {
	client, err := a.registryClient(reach)
	return oci.Registry{Client: client, Place: place, Environment: environment, Source: source}, err
}

// openEnforcer is the enforcer whose control address is configured, nil if none is.
func (a *app) openEnforcer() (*enforcer, error) {
	url := a.cfg.get("proxy")
	if url == "" {
		return nil, nil
	}
	c, err := actproxy.New(actproxy.Options{URL: url, Token: a.cfg.get("proxy-token")})
	if err != nil {
		return nil, err
	}
	return &enforcer{c, c, c, c}, nil
}

// clusterSpec is a door of workloads in a cluster, as a file of doors has it.
type clusterSpec = actkubernetes.Declared

// newDoor is a door of a cluster, or one that a receiver keeps.
func (a *app) newDoor(s doorSpec, roots *x509.CertPool, timeout time.Duration) (act.Actuator, error) {
	if s.Kubernetes != nil {
		return actkubernetes.Open(*s.Kubernetes, timeout)
	}
	return actwebhook.New(actwebhook.Options{
		URL: s.URL, Token: a.secret(s.TokenFile), Roots: roots, Insecure: s.Insecure, Timeout: timeout, Levers: s.Levers, Services: s.Services, Class: s.Class,
	})
}
