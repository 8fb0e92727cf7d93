package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/enforce"
	"assay.dev/assay/enforce/proxy"
)

const (
	token = "a-control-token-for-tests"
	uri   = "pkg:generic/shop"
)

func digest(of string) assay.Digest { return assay.DigestOf(sha256.Sum256([]byte(of))) }

// signer is an Ed25519 key in memory; it implements attest.Signer.
type signer struct {
	private ed25519.PrivateKey
	key     attest.Key
}

func newSigner(t testing.TB) signer {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.NewKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return signer{private, key}
}

func (s signer) Sign(_ context.Context, m []byte) ([]byte, error) {
	return s.private.Sign(nil, m, crypto.Hash(0))
}
func (s signer) KeyID() string            { return s.key.KeyID() }
func (s signer) Public() crypto.PublicKey { return s.key.Public() }

func (s signer) trust() attest.TrustPolicy {
	return attest.TrustPolicy{Keys: []attest.TrustedKey{{Key: s.key, VerifierIDs: []string{assay.DefaultVerifierID}}}}
}

// attests signs that the artifact passed its gate at an instant.
func (s signer) attests(t testing.TB, artifact string, at time.Time, uses ...assay.ExceptionUse) json.RawMessage {
	t.Helper()
	statement, err := attest.VSA(assay.Verdict{
		Gate: "release", Mode: assay.ModeEnforce, Outcome: assay.OutcomePass, Time: at,
		Subject: assay.Subject{Name: artifact, Digest: digest(artifact), URI: uri},
		Policy:  assay.PolicyRef{URI: "file:policies", Digest: digest("policy")},
		Levels:  []string{"ASSAY_RELEASE"}, Exceptions: uses,
	}, attest.VSAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := attest.Sign(t.Context(), s, statement)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// door is a running proxy with its two addresses.
type door struct {
	t       testing.TB
	p       *proxy.Proxy
	data    string // host:port
	control string
	client  *http.Client
	stop    func()
}

// open starts a proxy on real sockets; its options may be changed first.
func open(t testing.TB, c enforce.Config, s signer, change ...func(*proxy.Options)) *door {
	t.Helper()
	o := proxy.Options{Dir: t.TempDir(), Initial: c, Trust: s.trust(), Token: token}
	for _, f := range change {
		f(&o)
	}
	p, err := proxy.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	data, control := listen(t), listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(ctx, data, control) }()
	d := &door{t: t, p: p, data: data.Addr().String(), control: control.Addr().String(),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}}
	stopped := false
	d.stop = func() {
		if stopped {
			return
		}
		stopped = true
		d.client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	t.Cleanup(d.stop)
	return d
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// get sends a plain request to the data listener.
func (d *door) get(path string, header ...string) *answer {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, "http://"+d.data+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return d.do(req)
}

func (d *door) do(req *http.Request) *answer {
	d.t.Helper()
	res, err := d.client.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	return read(d.t, res)
}

type answer struct {
	status int
	header http.Header
	body   string
}

func read(t testing.TB, res *http.Response) *answer {
	t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{res.StatusCode, res.Header, string(body)}
}

func (a *answer) problem(t testing.TB) (p enforce.Problem) {
	t.Helper()
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("status %d with Content-Type %q and body %q; want a problem", a.status, ct, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// call uses the control API.
func (d *door) call(method, path string, in, out any) *answer {
	d.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		d.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(d.t.Context(), method, "http://"+d.control+path, bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	a := d.do(req)
	if out != nil && a.status == http.StatusOK {
		if err := json.Unmarshal([]byte(a.body), out); err != nil {
			d.t.Fatal(err)
		}
	}
	return a
}

// shift turns the route "shop" and demands that it works.
func (d *door) shift(version string, from, weight int, key string) enforce.Receipt {
	d.t.Helper()
	var out enforce.Answer
	a := d.call(http.MethodPut, "/v1/routes/shop/share", enforce.Shift{Version: version, From: from, Weight: weight, Generation: 1, Key: key}, &out)
	if a.status != http.StatusOK {
		d.t.Fatalf("shift of %s to %d answered %d: %s", version, weight, a.status, a.body)
	}
	return out.Receipt
}

func (d *door) version(name string) enforce.VersionStatus {
	d.t.Helper()
	var s enforce.Status
	d.call(http.MethodGet, "/v1/status", nil, &s)
	for _, r := range s.Routes {
		for _, v := range r.Versions {
			if v.Name == name {
				return v
			}
		}
	}
	d.t.Fatalf("no version %s in %+v", name, s)
	return enforce.VersionStatus{}
}

// raw sends bytes on a connection of its own and returns the answer.
func (d *door) raw(request string) *answer {
	d.t.Helper()
	c := d.dial()
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		d.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		d.t.Fatalf("no response to %q: %v", request, err)
	}
	return read(d.t, res)
}

func (d *door) dial() net.Conn {
	d.t.Helper()
	c, err := net.Dial("tcp", d.data)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// backend starts a version of the shop.
func backend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// says answers every request with a text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, text)
	}
}

// version is an attested version of the shop.
func version(t testing.TB, s signer, name, backend string, weight int) enforce.Version {
	t.Helper()
	return enforce.Version{Name: name, Digest: digest(name), Backend: backend, Weight: weight, Attestations: []json.RawMessage{s.attests(t, name, time.Now())}}
}

// shop is a configuration with one route, held to a version by the header "user".
func shop(versions ...enforce.Version) enforce.Config {
	return enforce.Config{Routes: []enforce.Route{{
		Name: "shop", Service: "shop", Sticky: enforce.Sticky{By: enforce.ByHeader, Name: "User"},
		Entry: enforce.Entry{ResourceURI: uri, Levels: []string{"ASSAY_RELEASE"}}, Versions: versions,
	}}}
}
