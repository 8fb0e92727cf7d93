package client_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/client"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/server"
	"github.com/prometheus/client_golang/prometheus"
)

// serve puts an installation on the network.
func serve(t *testing.T, in *controltest.Installation) string {
	t.Helper()
	srv := httptest.NewServer(server.New(server.Config{
		Plane: in.Plane, Ledger: http.NotFoundHandler(), Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func dial(t *testing.T, url, token string) *client.Client {
	t.Helper()
	c, err := client.New(url, token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheClientHasTheMethodsOfASession(t *testing.T) {
	session, remote := reflect.TypeFor[*control.Session](), reflect.TypeFor[*client.Client]()
	for m := range session.Methods() {
		if m.Name == "RecordKey" { // keys are made where they stay
			continue
		}
		r, ok := remote.MethodByName(m.Name)
		if !ok {
			t.Errorf("the client has no %s", m.Name)
			continue
		}
		for j := 1; j < m.Type.NumIn(); j++ {
			if r.Type.NumIn() != m.Type.NumIn() || r.Type.In(j) != m.Type.In(j) {
				t.Errorf("%s takes %s on a session and %s on a client", m.Name, m.Type, r.Type)
				break
			}
		}
	}
}

// Everything asked over the network is answered as it is locally.
func TestEveryMethodMakesTheRoundTrip(t *testing.T) {
	in := controltest.New(t)
	url, ctx := serve(t, in), t.Context()
	alice := dial(t, url+"/", in.Token("alice", "default", api.RoleDeveloper))
	bob := dial(t, url, in.Token("bob", "default", api.RoleApprover))
	root := dial(t, url, in.Token("root", "default", api.RoleAdmin))
	local := in.As("local", "default", api.Roles...)
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	req := api.CheckRequest{Gate: "ship", Environment: "prod", Subject: assay.Subject{Name: "app", Digest: controltest.DigestOf("app"), Commit: "abc"}}
	for _, report := range []string{controltest.Tests, controltest.Vulnerable} {
		d, err := alice.PutEvidence(ctx, strings.NewReader(report))
		check("PutEvidence", err)
		if d != controltest.DigestOf(report) {
			t.Errorf("digest %s", d)
		}
		req.Reports = append(req.Reports, api.Report{Digest: d, Source: "r.json", Origin: assay.OriginRecorded})
	}
	req.Reports[0].Origin = assay.OriginLive
	v, err := alice.Check(ctx, req)
	check("Check", err)
	if v.Outcome != assay.OutcomeFail || v.Environment != "prod" || len(v.Violations) != 1 || v.Subject.Commit != "abc" {
		t.Errorf("verdict %+v", v)
	}

	end := in.Now().Add(time.Hour).UTC()
	e, err := alice.RequestException(ctx, api.ExceptionRequest{
		Scope: assay.ExceptionScope{Rules: []string{controltest.Rule}}, Reason: "long enough a reason", Ticket: "T-1", NotAfter: end,
	})
	check("RequestException", err)
	e, err = bob.ApproveException(ctx, e.ID)
	check("ApproveException", err)
	if e.Requester != "alice" || e.Approver != "bob" || !e.NotAfter.Equal(end) {
		t.Errorf("exception %+v", e)
	}
	att, err := alice.Attest(ctx, req)
	check("Attest", err)
	if att.Verdict.Outcome != assay.OutcomePass || len(att.Verdict.Exceptions) != 1 {
		t.Errorf("verdict %+v", att.Verdict)
	}
	proof, err := bob.Proof(ctx, att.Fact)
	check("Proof", err)
	if _, err := artifact.VerifyFactProof(proof, in.VKey); err != nil {
		t.Error(err)
	}
	bundle, err := bob.Bundle(ctx, att.BundleDigest)
	check("Bundle", err)
	if string(bundle) != string(att.Bundle) {
		t.Error("the bundle is another one")
	}
	pub, err := bob.Publication(ctx, att.Fact)
	check("Publication", err)
	if !pub.Recorded || !pub.Published || pub.Fact != att.Fact || pub.TreeSize <= pub.Index {
		t.Errorf("publication %+v", pub)
	}
	same(t, "Head", call(bob.Head(ctx)), call(local.Head(ctx)))
	same(t, "Artifact", call(bob.Artifact(ctx, req.Subject.Digest)), call(local.Artifact(ctx, req.Subject.Digest)))
	same(t, "Artifacts", call(bob.Artifacts(ctx, "", 10)), call(local.Artifacts(ctx, "", 10)))
	same(t, "Artifacts after the last", call(bob.Artifacts(ctx, req.Subject.Digest, 10)), call(local.Artifacts(ctx, req.Subject.Digest, 10)))
	kinds := []string{assay.FactAttested, assay.FactVerdict}
	same(t, "Facts", call(bob.Facts(ctx, kinds, req.Subject.Digest, 10)), call(local.Facts(ctx, kinds, req.Subject.Digest, 10)))
	same(t, "Exceptions", call(bob.Exceptions(ctx)), call(local.Exceptions(ctx)))
	e, err = bob.RevokeException(ctx, e.ID, "exploited in the wild")
	check("RevokeException", err)
	if e.State != assay.ExceptionRevoked || e.RevokeReason != "exploited in the wild" {
		t.Errorf("exception %+v", e)
	}

	made, err := root.CreateToken(ctx, api.TokenRequest{Name: "eve", Roles: []api.Role{api.RoleViewer}, Expires: end})
	check("CreateToken", err)
	if _, err := dial(t, url, made.Secret).Exceptions(ctx); err != nil {
		t.Errorf("the new token: %v", err)
	}
	same(t, "Tokens", call(root.Tokens(ctx)), call(local.Tokens(ctx)))
	gone, err := root.RevokeToken(ctx, made.Token.ID)
	check("RevokeToken", err)
	if gone.Revoked.IsZero() || gone.Name != "eve" {
		t.Errorf("token %+v", gone)
	}
}

// answer is a value or why there is none.
type answer struct {
	Value any
	Err   error
}

func call[T any](v T, err error) answer { return answer{v, err} }

func same(t *testing.T, what string, remote, local answer) {
	t.Helper()
	if remote.Err != nil || local.Err != nil {
		t.Errorf("%s: %v over the network, %v locally", what, remote.Err, local.Err)
		return
	}
	r, rerr := json.Marshal(remote.Value)
	l, lerr := json.Marshal(local.Value)
	if err := errors.Join(rerr, lerr); err != nil || string(r) != string(l) {
		t.Errorf("%s differs (%v)\nover the network %s\nlocally          %s", what, err, r, l)
	}
}

func TestErrorsOfTheServerComeBackAsTheyWere(t *testing.T) {
	in := controltest.New(t)
	url, ctx := serve(t, in), t.Context()
	alice := dial(t, url, in.Token("alice", "default", api.RoleDeveloper))
	e, err := alice.RequestException(ctx, api.ExceptionRequest{
		Scope: assay.ExceptionScope{Rules: []string{controltest.Rule}}, Reason: "long enough a reason", NotAfter: in.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.RevokeException(ctx, e.ID, "long enough a reason"); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[assay.Code]error{
		assay.CodeInvalid:         errOf(alice.Check(ctx, api.CheckRequest{})),
		assay.CodeNotFound:        errOf(alice.Bundle(ctx, controltest.DigestOf("x"))),
		assay.CodeDenied:          errOf(alice.ApproveException(ctx, e.ID)),
		assay.CodeConflict:        errOf(alice.RevokeException(ctx, e.ID, "long enough a reason")),
		assay.CodeUnauthenticated: errOf(dial(t, url, "").Exceptions(ctx)),
		assay.CodeTooLarge:        errOf(alice.Facts(ctx, strings.Split(strings.Repeat("k,", 70)+"k", ","), "", 1)),
	} {
		if assay.CodeOf(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := alice.ApproveException(ctx, e.ID); err == nil || !strings.Contains(err.Error(), "this needs approver") {
		t.Errorf("the server's words are lost: %v", err)
	}
	_, err = alice.RequestException(ctx, api.ExceptionRequest{Scope: e.Scope, Reason: "long enough a reason", NotAfter: in.Now().Add(-time.Hour)})
	if got, ok := errors.AsType[*assay.Error](err); !ok || got.Field != "not_after" || !strings.HasPrefix(err.Error(), "not_after is ") {
		t.Errorf("the field is lost: %v", err)
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestAddressesThatWouldGiveTheTokenAwayAreRefused(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://assay.example": true, "https://assay.example/below/": true, "https://10.0.0.1:8443": true,
		"http://127.0.0.1:7070": true, "http://127.8.9.1": true, "http://[::1]:7070": true, "http://localhost:7070": true,
		"http://assay.example": false, "http://127.0.0.1.evil.example": false, "http://127.evil.example": false,
		"http://localhost.evil.example": false, "http://10.0.0.1": false, "http://0.0.0.0": false, "http://[::ffff:10.0.0.1]": false,
		"ftp://127.0.0.1": false, "assay.example": false, "": false, "https://": false, "https://:443": false, "://": false,
		"https://user:pass@assay.example": false, "https://assay.example?x=y": false, "https://assay.example#f": false,
	} {
		_, err := client.New(url, "token")
		if (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
		if err != nil && assay.CodeOf(err) != assay.CodeInvalid || err != nil && strings.Contains(err.Error(), "pass@") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestTheTokenDoesNotFollowARedirect(t *testing.T) {
	asked := make(chan string, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Header.Get("Authorization") }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := httptest.NewServer(http.RedirectHandler(other.URL, status))
		_, err := dial(t, srv.URL, "secret").Exceptions(t.Context())
		if assay.CodeOf(err) != assay.CodeUnavailable {
			t.Errorf("%d: %v", status, err)
		}
		srv.Close()
	}
	if len(asked) > 0 {
		t.Errorf("the other server was asked with %q", <-asked)
	}
}

// Whoever mistyped an address, or has no token yet, is told what to write.
func TestWhoDoesNotReachTheServerIsToldWhatToDo(t *testing.T) {
	in := controltest.New(t)
	plain, tls := serve(t, in), httptest.NewUnstartedServer(nil)
	tls.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	tls.StartTLS()
	defer tls.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	roots := x509.NewCertPool()
	roots.AddCert(tls.Certificate())
	_, host, _ := strings.Cut(plain, "//")
	_, port, _ := net.SplitHostPort(tls.Listener.Addr().String())
	for name, c := range map[string]struct{ url, token, text string }{
		"no TLS there":          {"https://" + host, "secret-of-ann", "speaks HTTP without TLS (write --server http://" + host + ")"},
		"only TLS there":        {"http" + strings.TrimPrefix(tls.URL, "https"), "secret-of-ann", "write https:// in --server"},
		"an unknown authority":  {tls.URL, "secret-of-ann", "signed by nobody who is trusted here"},
		"nobody there":          {gone.URL, "secret-of-ann", "cannot reach the server " + gone.URL + ": dial tcp"},
		"a path too many":       {plain + "/v1", "secret-of-ann", "no such resource: /v1/v1/exceptions (does /v1 belong into --server?"},
		"no token":              {plain, "", "the server wants a token, and none is set (put one into ASSAY_TOKEN"},
		"a token that is none":  {plain, "secret-of-ann", "unknown, expired or revoked"},
		"a role that is absent": {plain, in.Token("bot", "default", api.RoleAgent), "(whoever has the role admin makes a token with another: assay token create NAME --role viewer)"},
	} {
		_, err := dial(t, c.url, c.token).Exceptions(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "secret-of-ann") || strings.Contains(err.Error(), "GET") {
			t.Errorf("%s: %v, want %q", name, err, c.text)
		}
	}
	other, err := client.NewTrusting("https://localhost:"+port, "t", roots)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = other.Exceptions(t.Context()); err == nil || !strings.Contains(err.Error(), "is for another name") || assay.CodeOf(err) != assay.CodeDenied {
		t.Errorf("a certificate for another name: %v", err)
	}
}

func TestAnswersThatAreNotOursAreErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		code    assay.Code
		text    string
	}{
		"a page":           {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, assay.CodeInternal, "is not what it should be"},
		"a proxy's error":  {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad gateway", http.StatusBadGateway) }, assay.CodeUnavailable, "502"},
		"an empty problem": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400); _, _ = w.Write([]byte("{}")) }, assay.CodeUnavailable, "400"},
		"a created answer": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, assay.CodeUnavailable, "204"},
		"a broken line": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("["))
		}, assay.CodeUnavailable, "broke off"},
		"a terminal's bell": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"code":"invalid","detail":"\u001b[31mred\n"}`))
		}, assay.CodeInvalid, " [31mred"},
		"no end": {func(w http.ResponseWriter, _ *http.Request) {
			for line := make([]byte, 1<<20); ; {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
		}, assay.CodeTooLarge, "larger than"},
	} {
		srv := httptest.NewServer(tt.handler)
		_, err := dial(t, srv.URL, "secret").Exceptions(t.Context())
		if assay.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: %q (%s), want %s with %q", name, err, assay.CodeOf(err), tt.code, tt.text)
		}
		srv.Close()
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	if _, err := dial(t, closed.URL, "secret").Exceptions(t.Context()); assay.CodeOf(err) != assay.CodeUnavailable || strings.Contains(err.Error(), "secret") {
		t.Errorf("nobody there: %v", err)
	}
}
