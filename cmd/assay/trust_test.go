package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/enforce"
)

// until asks again and again until the proxy answers with a status; it fails after a minute.
func until(t *testing.T, url string, status int) string {
	t.Helper()
	end := time.After(time.Minute)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		got, body := get(t, url)
		if got == status {
			return body
		}
		select {
		case <-again.C:
		case <-end:
			t.Fatalf("still %d %q; want %d", got, body, status)
		}
	}
}

// attestWith puts another attestation into the file of routes.
func (w *world) attestWith(path, file string) {
	w.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := enforce.ParseConfig(data)
	if err != nil {
		w.t.Fatal(err)
	}
	proof, err := os.ReadFile(filepath.Join(w.root, file))
	if err != nil {
		w.t.Fatal(err)
	}
	c.Routes[0].Versions[0].Attestations = []json.RawMessage{proof}
	if data, err = json.Marshal(c); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestARevokedKeyIsRefusedByARunningProxy(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "the app") }))
	defer backend.Close()
	for name, c := range map[string]struct {
		proof   bool
		since   string
		becomes int
		why     string
	}{
		"bundle alone": {false, "0s", http.StatusForbidden, "laptop stolen"},
		"proof of a record before the compromise": {true, "0s", http.StatusOK, "the app"},
		"proof of a record behind the compromise": {true, "-87600h", http.StatusForbidden, "was recorded at"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			path := w.routes(backend.URL, true)
			if c.proof {
				w.attestWith(path, "app.proof.json")
			}
			p := w.proxy()
			until(t, p.data+"/", http.StatusOK)
			w.must(exitOK, nil, "key", "revoke", "key-1", "--dir", "state", "--compromised-since", c.since, "--reason", "laptop stolen")
			if c.becomes != http.StatusOK {
				if body := until(t, p.data+"/", c.becomes); !strings.Contains(body, c.why) {
					t.Errorf("refused with %q; want %q", body, c.why)
				}
				return
			}
			// The proxy has seen the revocation once it refuses what it does not excuse.
			w.must(exitOK, nil, "key", "revoke", "key-1", "--dir", "state", "--compromised-since", "-87600h", "--reason", "much earlier")
			if body := until(t, p.data+"/", http.StatusForbidden); !strings.Contains(body, "much earlier") {
				t.Errorf("refused with %q; want the second revocation's reason, as the first does not touch this proof", body)
			}
		})
	}
}

func TestATrustFileWithAMistakeChangesNothing(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "the app") }))
	defer backend.Close()
	w := newWorld(t)
	w.routes(backend.URL, true)
	p := w.proxy()
	trust := filepath.Join(w.root, "state", "keys", "assay.trust.yaml")
	good, err := os.ReadFile(trust)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(trust, []byte("kind: Trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, body := get(t, p.data+"/"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	// Repaired, with another name for the verifier: now it counts.
	other := strings.ReplaceAll(string(good), "https://assay.dev/gate", "https://example.com/other")
	if err := os.WriteFile(trust, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if body := until(t, p.data+"/", http.StatusForbidden); !strings.Contains(body, "verifier") {
		t.Errorf("refused with %q", body)
	}
}
