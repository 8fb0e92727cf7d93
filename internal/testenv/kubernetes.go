package testenv

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// startTime is how long a server may take until it answers.
const startTime = 60 * time.Second

// APIServer is a real kube-apiserver with its etcd, of one test alone. Nothing runs
// in it: there are no controllers and no nodes.
type APIServer struct {
	URL      string       // https://127.0.0.1:port
	Client   *http.Client // speaks as an administrator
	Config   string       // a kubeconfig file of the administrator
	AuditLog string       // the file that audit events are written to, one JSON object a line
}

// Kubernetes starts a kube-apiserver and an etcd on free ports and stops them when
// the test ends. The binaries are built once, which takes some minutes of CPU, and
// kept in the user's cache folder.
func Kubernetes(t testing.TB) *APIServer {
	t.Helper()
	etcd := Program(t, "etcd", "go.etcd.io/etcd/server/v3")
	api := Program(t, "kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver")
	dir := t.TempDir()
	certs := makeCerts(t, dir)

	etcdURL := "http://127.0.0.1:" + freePort(t)
	daemon(t, dir, etcd, "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL, "--listen-peer-urls", "http://127.0.0.1:"+freePort(t))

	audit := filepath.Join(dir, "audit-policy.yaml")
	write(t, audit, "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n")
	port := freePort(t)
	s := &APIServer{URL: "https://127.0.0.1:" + port, Client: certs.client(t), AuditLog: filepath.Join(dir, "audit.log")}
	log := daemon(t, dir, api, "--etcd-servers", etcdURL, "--bind-address", "127.0.0.1", "--secure-port", port,
		"--tls-cert-file", certs.server, "--tls-private-key-file", certs.serverKey, "--client-ca-file", certs.ca,
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", certs.serverKey,
		"--service-account-signing-key-file", certs.serverKey, "--service-cluster-ip-range", "10.0.0.0/24",
		"--authorization-mode", "RBAC", "--disable-admission-plugins", "ServiceAccount",
		"--audit-policy-file", audit, "--audit-log-path", s.AuditLog, "--audit-log-mode", "blocking")
	s.Config = filepath.Join(dir, "kubeconfig")
	write(t, s.Config, fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: admin}}]
clusters: [{name: test, cluster: {server: %q, certificate-authority: %s}}]
users: [{name: admin, user: {client-certificate: %s, client-key: %s}}]
`, s.URL, filepath.Base(certs.ca), filepath.Base(certs.admin), filepath.Base(certs.adminKey)))
	s.await(t, log)
	return s
}

// await returns when the server is ready and has made its first namespace.
func (s *APIServer) await(t testing.TB, log string) {
	t.Helper()
	deadline := time.Now().Add(startTime)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		if s.answers("/readyz") && s.answers("/api/v1/namespaces/default") {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log) // for the message alone
			t.Fatalf("kube-apiserver is not ready after %s; its log ends:\n%s", startTime, text[max(0, len(text)-4000):])
		}
	}
}

func (s *APIServer) answers(path string) bool {
	resp, err := s.Client.Get(s.URL + path)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // read by nobody
	return resp.StatusCode == http.StatusOK
}

// Answer is what the API server said.
type Answer struct {
	Status   int
	Body     []byte
	Warnings []string // the texts of Warning headers
}

// Do sends one request. The path may have a query.
func (s *APIServer) Do(t testing.TB, method, path, contentType string, body []byte) Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := s.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{resp.StatusCode, data, resp.Header.Values("Warning")}
}

// daemon runs a program until the test ends and returns the path of its log.
func daemon(t testing.TB, dir, bin string, args ...string) string {
	t.Helper()
	path := filepath.Join(dir, filepath.Base(bin)+".log")
	log, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), bin, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that is killed leaves nothing running
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
		_ = log.Close()        // nobody reads it any more
	})
	return path
}

func freePort(t testing.TB) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// certFiles are the files that an API server and its administrator need.
type certFiles struct{ ca, server, serverKey, admin, adminKey string }

func (c certFiles) client(t testing.TB) *http.Client {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.admin, c.adminKey)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(c.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// makeCerts makes an authority, a server of 127.0.0.1 and an administrator.
func makeCerts(t testing.TB, dir string) certFiles {
	t.Helper()
	caKey, ca := makeCert(t, "test-ca", "", nil, nil)
	serverKey, server := makeCert(t, "kube-apiserver", "", ca, caKey)
	adminKey, admin := makeCert(t, "admin", "system:masters", ca, caKey)
	at := func(name string) string { return filepath.Join(dir, name) }
	c := certFiles{at("ca.crt"), at("server.crt"), at("server.key"), at("admin.crt"), at("admin.key")}
	for path, cert := range map[string]*x509.Certificate{c.ca: ca, c.server: server, c.admin: admin} {
		write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})))
	}
	for path, key := range map[string]*ecdsa.PrivateKey{c.serverKey: serverKey, c.adminKey: adminKey} {
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		// The form that an API server also takes as the key of service accounts.
		write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	}
	return c
}

// makeCert makes a certificate of name, signed by parent or, without one, by itself.
func makeCert(t testing.TB, name, organization string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, BasicConstraintsValid: true,
	}
	if organization != "" {
		template.Subject.Organization = []string{organization}
	}
	if parent == nil {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(fmt.Errorf("certificate of %s: %w", name, err))
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
