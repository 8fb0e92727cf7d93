package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/internal/certs"
)

// browser talks to a server whose authority it was told, and follows no redirect.
func browser(t *testing.T, ca string) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer sends one request and returns its answer, whose body was read.
func answer(t *testing.T, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// signIn shows a token to the pages and returns the session.
func signIn(t *testing.T, c *http.Client, server, token string) *http.Cookie {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+"/login", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, _ := answer(t, c, req)
	if resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) != 1 {
		t.Fatalf("signing in is answered %s with %d cookies", resp.Status, len(resp.Cookies()))
	}
	return resp.Cookies()[0]
}

func page(t *testing.T, c *http.Client, server string, session *http.Cookie) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if session != nil {
		req.AddCookie(session)
	}
	resp, _ := answer(t, c, req)
	return resp
}

func TestServeSpeaksTLSAndTakesARenewedCertificateOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder := func(name string) certs.Files {
		dir := filepath.Join(w.root, name)
		if err := certs.Make(dir, []string{"127.0.0.1"}, time.Hour, time.Now()); err != nil {
			t.Fatal(err)
		}
		return certs.Files{Cert: filepath.Join(dir, certs.CertName), Key: filepath.Join(dir, certs.KeyName)}
	}
	folder("tls")
	folder("other")
	viewer := w.token("vic", "viewer")
	d := w.serve("--tls-cert", "tls/tls.crt", "--tls-key", "tls/tls.key")
	if !strings.HasPrefix(d.url, "https://") {
		t.Fatalf("it serves %s", d.url)
	}
	c := browser(t, filepath.Join(w.root, "tls", certs.CAName))
	resp := page(t, c, d.url, nil)
	if resp.ProtoMajor != 2 || resp.TLS.Version < tls.VersionTLS12 {
		t.Errorf("%s over TLS version %x", resp.Proto, resp.TLS.Version)
	}
	serial := resp.TLS.PeerCertificates[0].SerialNumber
	if _, err := tls.Dial("tcp", strings.TrimPrefix(d.url, "https://"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if resp, err := http.Get("http://" + strings.TrimPrefix(d.url, "https://") + "/healthz"); err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP is answered %s", resp.Status)
		}
	}
	server := "ASSAY_SERVER=" + d.url
	w.must(exitOK, []string{server, viewer, "ASSAY_SERVER_CA=tls/ca.crt"}, "halt", "list")
	w.must(exitOK, []string{server, viewer}, "rollout", "list", "--server-ca", "tls/ca.crt")
	for _, ca := range []string{"other/ca.crt", ""} {
		if _, stderr := w.must(exitError, []string{server, viewer, "ASSAY_SERVER_CA=" + ca}, "rollout", "list"); !strings.Contains(stderr, "--server-ca") {
			t.Errorf("authority %q: %s", ca, stderr)
		}
	}
	if _, stderr := w.must(exitError, []string{server, viewer, "ASSAY_SERVER_CA=app"}, "rollout", "list"); !strings.Contains(stderr, "holds no certificate") {
		t.Errorf("no authority: %s", stderr)
	}

	folder("tls") // renewed, by the same authority
	for end := time.Now().Add(20 * time.Second); ; {
		c.CloseIdleConnections()
		if page(t, c, d.url, nil).TLS.PeerCertificates[0].SerialNumber.Cmp(serial) != 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the old certificate is still served")
		}
		<-time.After(100 * time.Millisecond) // files are looked at once a second
	}
	if code := d.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestASessionOfThePagesOutlivesARestartAndEndsWithItsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := certs.Make(filepath.Join(w.root, "tls"), []string{"127.0.0.1"}, time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimPrefix(w.token("vic", "viewer"), "ASSAY_TOKEN=")
	admin := w.token("root", "admin")
	c := browser(t, filepath.Join(w.root, "tls", certs.CAName))
	flags := []string{"--tls-cert", "tls/tls.crt", "--tls-key", "tls/tls.key", "--log-level", "debug"}
	d := w.serve(flags...)
	session := signIn(t, c, d.url, secret)
	if !session.Secure || !session.HttpOnly || session.SameSite != http.SameSiteStrictMode || !strings.HasPrefix(session.Name, "__Host-") {
		t.Errorf("cookie %+v", session)
	}
	if resp := page(t, c, d.url, session); resp.StatusCode != http.StatusOK {
		t.Fatalf("signed in: %s", resp.Status)
	}
	if info, err := os.Stat(filepath.Join(w.root, "state", "session.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key of sessions: %v, %v", info, err)
	}
	d.stop()
	for line := range d.lines {
		if strings.Contains(line, session.Value) || strings.Contains(line, secret) {
			t.Errorf("the log tells a secret: %s", line)
		}
	}
	d = w.serve(flags...)
	if resp := page(t, c, d.url, session); resp.StatusCode != http.StatusOK {
		t.Errorf("after a restart: %s", resp.Status)
	}
	as := []string{"ASSAY_SERVER=" + d.url, admin, "ASSAY_SERVER_CA=tls/ca.crt"}
	w.must(exitOK, as, "token", "revoke", strings.Split(secret, "_")[1])
	if resp := page(t, c, d.url, session); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("after the token was revoked: %s", resp.Status)
	}
	d.stop()

	key := filepath.Join(w.root, "state", "session.key")
	w.must(exitOK, nil, "doctor", "--dir", "state")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"doctor", "--dir", "state"}, {"serve", "--dir", "state", "--listen", "127.0.0.1:0"}} {
		if stdout, stderr := w.must(exitError, nil, args...); !strings.Contains(stdout+stderr, "can be read by others") {
			t.Errorf("%s: %s%s", args[0], stdout, stderr)
		}
	}
}
