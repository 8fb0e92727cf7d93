package gate_test

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/gate"
	"assay.dev/assay/policy"
	"assay.dev/assay/policy/rego"
)

// bigInputs is a gate over a bill of materials of at least so many bytes, and findings.
func bigInputs(tb testing.TB, bytes, findings int) (gate.Inputs, *rego.Snapshot) {
	tb.Helper()
	var files []policy.File
	for _, name := range []string{"bench.yaml", "bench.rego"} {
		data, err := os.ReadFile("testdata/bench/" + name)
		if err != nil {
			tb.Fatal(err)
		}
		files = append(files, policy.File{Path: name, Content: data})
	}
	rev, err := policy.NewRevision(files)
	if err != nil {
		tb.Fatal(err)
	}
	snapshot, err := rego.Compile(tb.Context(), rev)
	if err != nil {
		tb.Fatal(err)
	}
	g, err := rev.Gate("bench")
	if err != nil {
		tb.Fatal(err)
	}
	policies, err := rev.PoliciesOf(g)
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	sbom := assay.Evidence{Kind: assay.KindSBOM, Format: "cyclonedx", Source: "sbom.json", Digest: digestOf(1), Origin: assay.OriginLive, Collected: now}
	for size := 0; size < bytes; {
		i := len(sbom.Components)
		c := assay.Component{Name: fmt.Sprintf("github.com/example/component-%d", i), Version: fmt.Sprintf("v1.%d.0", i), Licenses: []string{"Apache-2.0"}}
		c.PURL = fmt.Sprintf("pkg:golang/%s@%s", c.Name, c.Version)
		text, err := json.Marshal(c)
		if err != nil {
			tb.Fatal(err)
		}
		size += len(text)
		sbom.Components = append(sbom.Components, c)
	}
	vulns := assay.Evidence{Kind: assay.KindVulnerabilities, Format: "osv", Source: "osv.json", Digest: digestOf(2), Origin: assay.OriginLive, Collected: now}
	for i := range findings {
		vulns.Findings = append(vulns.Findings, assay.Finding{
			Rule: fmt.Sprintf("CVE-2026-%05d", i), Aliases: []string{fmt.Sprintf("GHSA-%05d", i)}, Severity: []assay.Severity{"low", "medium", "high"}[i%3],
			Message: "a buffer is read beyond its end when a crafted message arrives", Package: sbom.Components[i%len(sbom.Components)],
			FixedIn: []string{"v2.0.0"}, Fingerprint: fmt.Sprintf("%064x", i), Location: assay.Location{File: "go.mod", Line: i},
		})
	}
	return gate.Inputs{
		Gate: g, Policies: policies, Revision: rev.Ref("dir"), Subject: assay.Subject{Name: "assay", Digest: digestOf(3)},
		Evidence: []assay.Evidence{sbom, vulns}, Now: now,
	}, snapshot
}

func digestOf(n byte) assay.Digest { return assay.DigestOf([32]byte{n}) }

// sampleHeap measures the highest heap in use, above what is in use now, while fn runs.
func sampleHeap(fn func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapInuse
	var peak atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	fn()
	close(stop)
	<-done
	return peak.Load() - min(before, peak.Load())
}

func TestGateOver4MBSBOMAnd10kFindingsStaysWithinItsBudget(t *testing.T) {
	size, findings := 4<<20, 10_000
	if raceEnabled { // which is told nothing by more of the same, and is slow enough to be out of time
		size, findings = size/10, findings/10
	}
	in, engine := bigInputs(t, size, findings)
	var v assay.Verdict
	var err error
	var peak uint64
	took := time.Hour
	for range 3 { // the quickest counts: the machine may be busy with other tests
		start := time.Now()
		peak = max(peak, sampleHeap(func() { v, err = gate.Check(t.Context(), in, engine) }))
		took = min(took, time.Since(start))
		if err != nil {
			t.Fatal(err)
		}
	}
	// Every third finding is high: the threshold and the policy object to each.
	if v.Outcome != assay.OutcomeFail || len(v.Violations) != 2*(findings/3)+1 {
		t.Errorf("outcome %s with %d violations", v.Outcome, len(v.Violations))
	}
	t.Logf("%d components, %d findings: %s, %d MB above the inputs", len(in.Evidence[0].Components), findings, took, peak>>20)
	if peak > 200<<20 {
		t.Errorf("the heap grew by %d MB; the budget is 200 MB", peak>>20)
	}
	if took > time.Second && !raceEnabled {
		t.Errorf("took %s; the budget is 1s", took)
	}
}

func BenchmarkGate4MBSBOM10kFindings(b *testing.B) {
	in, engine := bigInputs(b, 4<<20, 10_000)
	peak := sampleHeap(func() {
		if _, err := gate.Check(b.Context(), in, engine); err != nil {
			b.Fatal(err)
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gate.Check(b.Context(), in, engine); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(peak)/(1<<20), "peak-MB")
}
