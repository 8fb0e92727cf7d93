package gameday

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"assay.dev/assay/policy/dir"
	"assay.dev/assay/policy/rego"
	"assay.dev/assay/slo"
)

func TestEveryVersionOfTheShopPassesItsTestsAndTheLintersThatWePass(t *testing.T) {
	for _, v := range versions {
		t.Run(v.Name, func(t *testing.T) {
			folder := t.TempDir()
			if err := v.write(folder); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("gofmt", "-l", folder).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("gofmt: %v %s", err, out)
			}
			cmd := exec.Command("go", "test", "-json", "-trimpath", lean, "./...") // vets as well
			cmd.Dir = folder
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			ev, err := evidence.Read(bytes.NewReader(out), "tests.json", evidence.Options{Origin: assay.OriginLive, Collected: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			if ev.Tests.Passed < 10 || ev.Tests.Failed > 0 {
				t.Errorf("%d passed and %d failed; the gate wants at least 10 and none", ev.Tests.Passed, ev.Tests.Failed)
			}
		})
	}
}

func TestVersionsDifferOnlyWhereTheStorySaysSo(t *testing.T) {
	source := func(v Version) string {
		return strings.Join(slices.Concat(commonSources, v.sources), " ")
	}
	seen := map[string]string{}
	for _, v := range versions[:4] {
		if other, same := seen[source(v)]; same {
			t.Errorf("%s and %s have the same source", v.Name, other)
		}
		seen[source(v)] = v.Name
	}
	if !strings.Contains(source(versions[1]), "consult_waiting.go") || strings.Contains(source(versions[2]), "consult_waiting.go") {
		t.Error("v2 has the fault, and v3 has not")
	}
}

// TestFaultsAreDrawnAtTheRatesThatTheFloorsAreComputedWith runs v1 and v2 as
// processes. The seed decides which requests fail, not the machine.
func TestFaultsAreDrawnAtTheRatesThatTheFloorsAreComputedWith(t *testing.T) {
	w := testWorld(t)
	const n = 6000
	for _, c := range []struct {
		version string
		calm    bool
		rate    float64
	}{
		{"v1", false, soundRate}, {"v2", false, faultyRate}, {"v2", true, soundRate}, {"v3", false, soundRate},
	} {
		r, err := w.Build(versionNamed(c.version))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Run(r, c.calm); err != nil {
			t.Fatal(err)
		}
		failed := askMany(t, r.Backend+"/items", n)
		got := float64(failed) / n
		// Five standard deviations of 6000 draws.
		if slack := 5 * 0.0026; got < c.rate-min(slack, c.rate*0.7) || got > c.rate+slack {
			t.Errorf("%s (calm %v) failed %.2f %% of requests; expected %.2f %%", c.version, c.calm, 100*got, 100*c.rate)
		}
	}
}

// askMany asks n times, 64 at a time, and counts the answers that are errors.
func askMany(t *testing.T, url string, n int) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	var group sync.WaitGroup
	counts := make([]int, 64)
	for i := range counts {
		group.Go(func() {
			for k := i; k < n; k += len(counts) {
				res, err := client.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode >= 500 {
					counts[i]++
				}
			}
		})
	}
	group.Wait()
	sum := 0
	for _, c := range counts {
		sum += c
	}
	return sum
}

func TestRecordedScansAreReadAndOnlyThoseOfV4HaveACriticalVulnerability(t *testing.T) {
	for _, v := range versions {
		critical := 0
		for _, name := range v.scans {
			data, err := scanFiles.ReadFile("scans/" + name)
			if err != nil {
				t.Fatal(err)
			}
			ev, err := evidence.Read(bytes.NewReader(data), name, evidence.Options{Origin: assay.OriginRecorded, Collected: time.Now()})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, f := range ev.Findings {
				if f.Severity == assay.SeverityCritical && len(f.FixedIn) > 0 {
					critical++
				}
			}
		}
		if want := map[string]int{"v4": 1}[v.Name]; critical != want {
			t.Errorf("the scans of %s have %d critical findings with a fix; expected %d", v.Name, critical, want)
		}
	}
}

func TestThePoliciesOfTheDemoAreSoundAndTheirTestsPass(t *testing.T) {
	rev, err := dir.Load(t.Context(), "policies")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rego.Lint(rev) {
		t.Errorf("%s:%d: %s", p.File, p.Line, p.Msg)
	}
	report, err := rego.Test(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Status != rego.TestPassed {
			t.Errorf("%s: %s %s", r.Name, r.Status, r.Message)
		}
	}
	if len(report.Results) < 5 {
		t.Errorf("%d tests", len(report.Results))
	}
	rollouts := rev.Rollouts()
	if len(rollouts) != 1 {
		t.Fatalf("%d rollouts", len(rollouts))
	}
	plan, err := rollouts[0].Plan()
	if err != nil {
		t.Fatal(err)
	}
	plan.Canary, plan.Control = "v2", "v1"
	if err := plan.Check(); err != nil {
		t.Error(err)
	}
	if plan.Alpha != declaredLoss || plan.Margin != 2 || plan.Beta != 0.05 || !slices.Equal(plan.Steps, []int{10, 25, 50, 100}) {
		t.Errorf("the plan declares alpha %v, margin %v, beta %v, steps %v", plan.Alpha, plan.Margin, plan.Beta, plan.Steps)
	}
	for _, f := range rev.Objectives() {
		set, err := slo.Parse(f.Path, f.Content)
		if err != nil {
			t.Fatal(err)
		}
		list, err := slo.Resolve(set)
		if err != nil || len(list) != 1 || list[0].SLO != rollouts[0].Spec.Objective || list[0].Window.Longest() != time.Hour {
			t.Errorf("objectives %+v, %v", list, err)
		}
	}
}

func TestTheReportHasWhatScriptsReadOfIt(t *testing.T) {
	data, err := Report{Peers: []Peer{}}.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"ok", "checks", "healthy", "ready_ms", "stopped_after", "harmed", "floor", "peers", "promoted_after", "rate_rps", "pids", "seed", "dir", "url", "decisions", "identical",
	} {
		if _, ok := got[key]; !ok {
			t.Errorf("no %q in %s", key, data)
		}
	}
}

func TestThousandsAreSeparated(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1200: "-1,200"} {
		if got := Thousands(n); got != want {
			t.Errorf("%d is written %s; expected %s", n, got, want)
		}
	}
}

// testWorld is a world with folders and children, and no control plane.
func testWorld(t *testing.T) *World {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w, err := Open(t.Context(), Config{
		Exe: exe, Dir: filepath.Join(t.TempDir(), "demo"), Listen: "127.0.0.1:0", Seed: 1, Env: os.Environ(), Began: time.Now(), Log: mute{},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}
