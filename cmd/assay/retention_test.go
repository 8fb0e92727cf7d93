package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
)

// TestServeRemovesEvidenceAfterItsDaysAndEverythingElseStillHolds runs the server with
// a clock forty days ahead of what was attested.
func TestServeRemovesEvidenceAfterItsDaysAndEverythingElseStillHolds(t *testing.T) {
	t.Parallel()
	const later = "ASSAY_TEST_CLOCK=960h"
	w := newWorld(t)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(w.root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	local := func(want int, env []string, args ...string) string {
		t.Helper()
		out, _ := w.must(want, append(env, "ASSAY_DIR=state"), args...)
		return out
	}
	// prove writes the proof of the verdict about an artifact.
	prove := func(d assay.Digest, file string) {
		t.Helper()
		var facts []struct{ ID string }
		field(t, local(0, nil, "ledger", "facts", "--kind", assay.FactVerdict, "--subject", string(d), "-o", "json"), &facts)
		if len(facts) != 1 {
			t.Fatalf("%d verdicts about %s, want 1", len(facts), d)
		}
		local(0, nil, "ledger", "prove", facts[0].ID, "-f", file)
	}
	app, runs := w.digest("app"), assay.Digest("sha256:"+strings.Repeat("1", 64))
	// The state directory begins with an attestation of app by tests.json and clean.json.
	for name, env := range map[string][]string{"runs": nil, "fresh": {later}} {
		write(name+".json", `{"results":[]}`+strings.Repeat(" ", len(name)))
		d := map[string]assay.Digest{"runs": runs, "fresh": assay.Digest("sha256:" + strings.Repeat("2", 64))}[name]
		local(0, env, "attest", "--digest", string(d), "--name", name, "--evidence", "tests.json", "--evidence", name+".json")
		prove(d, name+".verdict.json")
	}
	prove(app, "app.verdict.json")
	write("running.json", fmt.Sprintf(`[{"service": "shop", "digest": %q}]`, runs))
	local(0, []string{later}, "inventory", "push", "running.json", "--environment", "prod")
	// payloads counts what became of the four that a verdict names: its document,
	// tests.json and a scan; the document is of the attestation class.
	payloads := func(proof string, kept, expired int) {
		t.Helper()
		out := local(0, nil, "ledger", "verify", proof, "--pub", "assay.pub", "--payloads")
		gone := regexp.MustCompile(`(?m)^✓ payload sha256:\S+ expired on \d{4}-\d\d-\d\d, inclusion proven$`).FindAllString(out, -1)
		if n := strings.Count(out, " kept\n"); n != kept || len(gone) != expired {
			t.Errorf("%s: %d kept and %d expired, want %d and %d\n%s", proof, n, len(gone), kept, expired, out)
		}
	}

	d := w.serveLater(later, "--evidence-days", "60", "--audit-every", "1s")
	d.audited()
	if _, body := get(t, d.url+"/metrics"); !strings.Contains(body, "assay_payloads_expired_total 0\n") {
		t.Error("something expired before its sixty days")
	}
	if code := d.stop(); code != 0 {
		t.Fatalf("the server ended with %d", code)
	}
	payloads("app.verdict.json", 3, 0)

	d = w.serveLater(later, "--evidence-days", "30", "--audit-every", "1s")
	if line := d.logged("payloads expired"); !strings.Contains(line, "payloads=1") && !strings.Contains(line, `"payloads":1`) {
		t.Errorf("the log says %s", line)
	}
	d.audited()
	if _, body := get(t, d.url+"/metrics"); !strings.Contains(body, "assay_payloads_expired_total 1\n") || !strings.Contains(body, "assay_ledger_audit_failed_state 0\n") {
		t.Error("the metrics do not show one expired payload and an audit that finds nothing wrong")
	}
	if code := d.stop(); code != 0 {
		t.Fatalf("the server ended with %d", code)
	}

	payloads("app.verdict.json", 2, 1)   // its scan went; tests.json is also of what runs
	payloads("runs.verdict.json", 3, 0)  // as old, but it runs
	payloads("fresh.verdict.json", 3, 0) // used a moment ago
	local(0, nil, "ledger", "verify", "app.proof.json", "--pub", "assay.pub")
	local(0, nil, "attestation", "verify", "app", "--bundle", "app.sigstore.json", "--pub", "assay.pub", "--resource", "pkg:generic/app")
	local(0, nil, "ledger", "audit")
	scan := string(w.digest("clean.json"))
	if out := local(0, nil, "ledger", "facts", "--system", "--kind", assay.FactPayloadExpired, "-o", "json"); strings.Count(out, `"kind": "payload.expired"`) != 1 || !strings.Contains(out, scan) {
		t.Errorf("the removal is not on record once, with the scan of app:\n%s", out)
	}
}

// digest is that of a file.
func (w *world) digest(name string) assay.Digest {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.root, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return assay.DigestOf(sha256.Sum256(data))
}

// serveLater is serve with another clock.
func (w *world) serveLater(clock string, flags ...string) *daemon {
	with := *w
	with.env = append(w.env[:len(w.env):len(w.env)], clock)
	return with.serve(flags...)
}

// audited waits until the server has audited, which it does after it removed what expired.
func (d *daemon) audited() {
	d.t.Helper()
	wait := time.NewTicker(50 * time.Millisecond)
	defer wait.Stop()
	for {
		if _, body := get(d.t, d.url+"/metrics"); !strings.Contains(body, "assay_ledger_audit_timestamp_seconds 0\n") {
			return
		}
		select {
		case <-d.t.Context().Done():
			d.t.Fatal("the server never audited")
		case <-wait.C:
		}
	}
}
