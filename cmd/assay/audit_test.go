package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestServerAuditsItselfAndAFailureIsLoud(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	env := []string{w.token("olga", "operator")}
	d := w.serve("--audit-every", "1s")
	env = append(env, "ASSAY_SERVER="+d.url)
	audited := func(want string) {
		t.Helper()
		for {
			out, _ := w.must(0, env, "ledger", "facts", "--system", "--kind", "ledger.audited", "--limit", "1", "-o", "json")
			if strings.Contains(out, want) {
				return
			}
			if t.Context().Err() != nil {
				t.Fatalf("no audit said %s: %s", want, out)
			}
		}
	}
	audited(`"ok": true`)
	if _, body := get(t, d.url+"/readyz"); body != "ready\n" {
		t.Errorf("/readyz of a sound ledger: %q", body)
	}
	bundles, err := filepath.Glob(filepath.Join(w.root, "state", "ledger", "epoch-0", "tile", "entries", "000.p", "*"))
	if err != nil || len(bundles) == 0 {
		t.Fatalf("no bundles: %v", err)
	}
	for _, path := range bundles { // whoever can write there rewrites history
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(raw), `"seq":0`, `"seq":9`, 1)
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.logged("AUDIT FAILED")
	audited(`"ok": false`)
	if _, body := get(t, d.url+"/readyz"); !strings.HasPrefix(body, "ready\nledger audit failed: ") {
		t.Errorf("/readyz of a ledger that was altered: %q", body)
	}
	if _, body := get(t, d.url+"/metrics"); !strings.Contains(body, "\nassay_ledger_audit_failed_state 1\n") {
		t.Error("the metric does not show it")
	}
	if code := d.stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	_, stderr := w.must(exitUsage, nil, "serve", "--dir", "state", "--listen", "127.0.0.1:0", "--audit-every", "soon")
	if !strings.Contains(stderr, "audit-every") {
		t.Errorf("a wrong interval: %q", stderr)
	}
}
