package main

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDrawsHaveTheMeanAndTheVarianceThatACellStates(t *testing.T) {
	for _, c := range []struct{ rate, p, phi float64 }{
		{5, 0.2, 1}, {400, 0.01, 1}, {4000, 0.02, 1}, {40, 0.05, 5}, {4000, 0.02, 5}, {100, 0.1, 9},
	} {
		rng := rand.New(rand.NewPCG(1, uint64(c.rate*c.phi)))
		var bad, good moments
		for range 40_000 {
			d := served(rng, c.rate, c.p, c.phi)
			if d.bad > d.total {
				t.Fatalf("%d of %d requests failed", d.bad, d.total)
			}
			bad.add(float64(d.bad))
			good.add(float64(d.total - d.bad))
		}
		variance := func(m moments) float64 { return m.squares/m.n - m.mean()*m.mean() }
		for _, check := range []struct {
			what      string
			got, want float64
		}{
			{"mean of failures", bad.mean(), c.rate * c.p},
			{"variance to mean of failures", variance(bad) / bad.mean(), c.phi},
			{"mean of the others", good.mean(), c.rate * (1 - c.p)},
			{"variance to mean of the others", variance(good) / good.mean(), 1},
		} {
			if math.Abs(check.got/check.want-1) > 0.06 {
				t.Errorf("%+v: %s is %v, want %v", c, check.what, check.got, check.want)
			}
		}
	}
}

// The ports and the simulation together give the figures that were measured before,
// with another implementation: 1,000 rollouts at 10 requests a second, 10 % weight.
func TestControllersBehaveAsMeasuredBefore(t *testing.T) {
	for _, c := range []struct {
		contender string
		cell      cell
		want      float64 // percent that are aborted
	}{
		{"Flagger", cell{steady, 10, 0.008, 1, 1, 0.1}, 16},
		{"Argo Rollouts", cell{steady, 10, 0.008, 1, 1, 0.1}, 55},
		{"Flagger", cell{steady, 10, 0.01, 1, 1, 0.1}, 37},
		{"Argo Rollouts", cell{steady, 10, 0.01, 1, 1, 0.1}, 75},
		{"Flagger", cell{steady, 10, 0.001, 10, 1, 0.1}, 38},
		{"Argo Rollouts", cell{steady, 10, 0.001, 10, 1, 0.1}, 75},
		{"Argo Rollouts", cell{steady, 10, 0.001, 5, 1, 0.1}, 24},
		{"Flagger", cell{steady, 10, 0.01, 2, 1, 0.1}, 99},
	} {
		for k, o := range contenders() {
			if o.Name != c.contender {
				continue
			}
			aborts := 0
			const runs = 600
			for run := range runs {
				out, err := play(newWorld(c.cell, traces{}, stream(9, 0, k, run)), o, [2]time.Duration{})
				if err != nil {
					t.Fatal(err)
				}
				if out.end == aborted {
					aborts++
				}
			}
			if got := 100 * float64(aborts) / runs; math.Abs(got-c.want) > 8 {
				t.Errorf("%s, %s: %.1f %% aborted, %v %% were measured before", c.contender, c.cell, got, c.want)
			}
		}
	}
}

// Hand-checked with a budget of 2·0.01·100·2,592,000 = 5,184,000 failed requests.
func TestLossAddsUpWhatIsDeclared(t *testing.T) {
	healthy := cell{steady, 100, 0.01, 1, 1, 0.1}
	bad := cell{steady, 100, 0.01, 3, 1, 0.1}
	for _, c := range []struct {
		name string
		cell cell
		out  outcome
		want float64
	}{
		{"promoted after an hour", healthy, outcome{end: promoted, at: time.Hour}, 0.02},
		{"false abort after half an hour", healthy, outcome{end: aborted, at: 30 * time.Minute}, 1.01},
		{"held to the end", healthy, outcome{end: running, at: period}, 0.11},
		{"stopped at once", bad, outcome{end: aborted}, 0},
		{"stopped after 5,184 failed requests", bad, outcome{end: aborted, harmed: 5184}, 0.1},
		{"missed", bad, outcome{end: promoted}, 100 * 2 * 0.01 * 100 * 86400 / 5_184_000.0},
		{"a bad one held", bad, outcome{end: running, harmed: 5184}, 0.15},
	} {
		if got := loss(c.cell, c.out); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestOracleHarmsNobodyAndAbortsNothingHealthy(t *testing.T) {
	all := contenders()
	for _, c := range []cell{{steady, 100, 0.01, 1, 1, 0.1}, {steady, 100, 0.01, 2, 5, 0.1}, {late, 100, 0.01, 3, 1, 0.1}} {
		out, err := play(newWorld(c, traces{}, stream(1, 0, 0, 0)), all[len(all)-1], [2]time.Duration{})
		if err != nil {
			t.Fatal(err)
		}
		want := aborted
		if c.Ratio == 1 {
			want = promoted
		}
		// A late fault is known at the tick in which it begins.
		if limit := 100 * 0.02 * tick.Seconds() * 2; out.end != want || out.harmed > limit {
			t.Errorf("%s: %+v", c, out)
		}
	}
}

// Everything that a promotion does to users until the end of the period is counted.
func TestAMissHarmsUntilTheEnd(t *testing.T) {
	c := cell{steady, 100, 0.01, 2, 1, 0.1}
	w := newWorld(c, traces{}, stream(1, 0, 0, 0))
	got := outcome{end: promoted, at: time.Hour}.settle(w, 1).harmed
	if want := 2 * 3600 * 100 * 0.01; math.Abs(got-want) > 1e-6 {
		t.Errorf("%v requests harmed, want %v", got, want)
	}
}

func TestScenesChangeWhatTheySay(t *testing.T) {
	w := newWorld(cell{incident, 10, 0.01, 3, 1, 0.1}, traces{}, stream(1, 1, 0, 0))
	in := 0
	for at := time.Duration(0); at < period; at += time.Minute {
		old, now := w.fails(at)
		if math.Abs(now/old-3) > 1e-9 {
			t.Fatalf("ratio %v in an incident that both share", now/old)
		}
		if old > 0.05 {
			in++
		}
	}
	if in != 30 {
		t.Errorf("%d of 180 minutes in incidents, want 30", in)
	}
	day := newWorld(cell{daily, 10, 0.01, 1, 1, 0.1}, traces{}, stream(1, 1, 0, 1))
	var rates moments
	for at := time.Duration(0); at < 24*time.Hour; at += time.Minute {
		rates.add(day.rate(at, time.Second))
	}
	if math.Abs(rates.mean()-5.5) > 0.1 {
		t.Errorf("mean of a day is %v requests a second, want 5.5", rates.mean())
	}
	recorded := newWorld(cell{nasa, 10, 0.01, 1, 1, 0.1}, traces{nasa: []float64{0.5, 1.5}}, stream(1, 1, 0, 2))
	if got := recorded.rate(0, 10*time.Second); math.Abs(got-100) > 1e-9 {
		t.Errorf("ten recorded seconds of mean 1 give %v requests, want 100", got)
	}
}

// The whole command, small: it ends within seconds, its page is one, and the same seed
// writes the same page.
func TestQuickRunWritesAPageThatItsSeedRepeats(t *testing.T) {
	var pages [2][]byte
	for i := range pages {
		path := filepath.Join(t.TempDir(), "page.md")
		var out, log bytes.Buffer
		began := time.Now()
		if err := run([]string{"-quick", "-seed", "7", "-write", path, "-shared", t.TempDir()}, &out, &log); err != nil {
			t.Fatalf("%v\n%s", err, log.String())
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("a quick run took %s", took)
		}
		var err error
		if pages[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "false aborts") {
			t.Errorf("printed\n%s", out.String())
		}
		if testing.Short() {
			return
		}
	}
	if !bytes.Equal(pages[0], pages[1]) {
		t.Error("the same seed wrote two pages")
	}
	text := string(pages[0])
	for _, want := range []string{"Seed 7;", "| Assay |", "| oracle |", "Where we are worse", "## False aborts"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	columns := 0
	for n, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		if got := strings.Count(line, "|"); columns != 0 && got != columns {
			t.Errorf("line %d of the page has %d columns, the table %d: %s", n+1, got-1, columns-1, line)
		} else {
			columns = got
		}
	}
}
