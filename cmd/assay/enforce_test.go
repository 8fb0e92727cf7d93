package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
)

// proxyToken opens the control API in tests.
const proxyToken = "ASSAY_PROXY_TOKEN=0123456789abcdef"

// routes writes a file of routes: the attested app, and without an attestation too.
func (w *world) routes(backend string, attested bool) string {
	w.t.Helper()
	app, err := os.ReadFile(filepath.Join(w.root, "app"))
	if err != nil {
		w.t.Fatal(err)
	}
	bundle, err := os.ReadFile(filepath.Join(w.root, "app.sigstore.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	v := enforce.Version{Name: "v1", Digest: assay.DigestOf(sha256.Sum256(app)), Backend: backend, Weight: 100}
	if attested {
		v.Attestations = []json.RawMessage{bundle}
	}
	data, err := json.Marshal(enforce.Config{Routes: []enforce.Route{{
		Name: "app", Service: "app", Entry: enforce.Entry{ResourceURI: "pkg:generic/app", Levels: []string{"APP_SHIP_GATE"}}, Versions: []enforce.Version{v},
	}}})
	if err != nil {
		w.t.Fatal(err)
	}
	path := filepath.Join(w.root, "routes.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// proxying is a running "assay enforce proxy".
type proxying struct {
	cmd           *exec.Cmd
	data, control string
}

func (w *world) proxy(flags ...string) proxying {
	w.t.Helper()
	args := append([]string{"enforce", "proxy", "--dir", "state", "--routes", "routes.json", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"}, flags...)
	cmd := w.command([]string{proxyToken}, args...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended long ago
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	p := proxying{cmd: cmd}
	if _, serr := fmt.Sscanf(line, "proxying %s  control %s\n", &p.data, &p.control); serr != nil {
		w.t.Fatalf("the proxy said %q (%v, %v)", line, err, serr)
	}
	return p
}

func TestEnforceProxyLetsInWhatIsAttestedAndNothingElse(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "the app") }))
	defer backend.Close()
	for name, c := range map[string]struct {
		attested bool
		status   int
		body     string
	}{
		"attested":     {true, http.StatusOK, "the app"},
		"not attested": {false, http.StatusForbidden, "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.routes(backend.URL, c.attested)
			p := w.proxy()
			if status, body := get(t, p.data+"/"); status != c.status || !strings.Contains(body, c.body) {
				t.Errorf("%d %q; expected %d with %q", status, body, c.status, c.body)
			}
			if status, _ := get(t, p.control+"/v1/status"); status != http.StatusUnauthorized {
				t.Errorf("the control API answered %d without a token", status)
			}
			if status, _ := get(t, p.control+"/healthz"); status != http.StatusOK {
				t.Errorf("healthz answered %d", status)
			}
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if _ = p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != exitOK {
				t.Errorf("stopped with exit code %d", p.cmd.ProcessState.ExitCode())
			}
		})
	}
}

func TestEnforceProxyAndServeShareAStateDirectory(t *testing.T) {
	w := newWorld(t)
	w.routes("http://127.0.0.1:1", true)
	w.serve()
	p := w.proxy()
	if status, _ := get(t, p.control+"/healthz"); status != http.StatusOK {
		t.Errorf("healthz answered %d beside a control plane on the same directory", status)
	}
}

func TestEnforceProxySaysWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	w.routes("http://127.0.0.1:1", true)
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	address := strings.TrimPrefix(taken.URL, "http://")
	base := []string{"enforce", "proxy", "--dir", "state", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"}
	if err := os.WriteFile(filepath.Join(w.root, "broken.json"), []byte(`{"routs":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		code  int
		env   string
		flags []string
		want  string
	}{
		"no routes":         {exitUsage, proxyToken, nil, `required flag(s) "routes" not set`},
		"no token":          {exitError, "", []string{"--routes", "routes.json"}, "ASSAY_PROXY_TOKEN is not set"},
		"short token":       {exitError, "ASSAY_PROXY_TOKEN=abc", []string{"--routes", "routes.json"}, "at least 16"},
		"no such file":      {exitError, proxyToken, []string{"--routes", "nosuch.json"}, "nosuch.json"},
		"a broken file":     {exitError, proxyToken, []string{"--routes", "broken.json"}, `did you mean "routes"?`},
		"no public file":    {exitError, proxyToken, []string{"--routes", "routes.json", "--trust", "nosuch.pub"}, "nosuch.pub"},
		"a busy port":       {exitError, proxyToken, []string{"--routes", "routes.json", "--listen", address}, address + " is in use"},
		"a busy control":    {exitError, proxyToken, []string{"--routes", "routes.json", "--control", address}, "--control"},
		"no collector":      {exitUsage, proxyToken, []string{"--routes", "routes.json", "--otlp", "localhost"}, "http://host:port/v1/metrics"},
		"too many batches":  {exitUsage, proxyToken, []string{"--routes", "routes.json", "--otlp-interval", "1ms"}, "at least 50ms"},
		"an odd argument":   {exitUsage, proxyToken, []string{"now"}, `too many or too few arguments: "now"; write: assay enforce proxy --routes FILE; see`},
		"an unknown metric": {exitUsage, proxyToken, []string{"--route", "routes.json"}, "did you mean --routes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, stderr := w.must(c.code, []string{c.env}, append(base[:len(base):len(base)], c.flags...)...)
			if !strings.Contains(stderr, c.want) {
				t.Errorf("said %q; expected %q", stderr, c.want)
			}
		})
	}
}
