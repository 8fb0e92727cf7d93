package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay.dev/assay/simulate"
)

func lost(name string, losses ...float64) simulate.Row {
	r := simulate.Row{Controller: name}
	for _, l := range losses {
		r.Runs = append(r.Runs, simulate.Run{Loss: l})
		r.Loss.Mean += l / float64(len(losses))
	}
	return r
}

// Regret is a share of what could be avoided; doing nothing is a peer.
func TestRegretIsAShareOfWhatCouldBeAvoided(t *testing.T) {
	c := cell{rows: []simulate.Row{lost("assay", 28, 32), lost("hpa", 60, 60), lost("other", 80, 80), lost(nothing, 100, 120), lost(oracle, 10, 10)}}
	all := everybody(2)
	if c.best().Controller != "hpa" || math.Abs(c.regret(c.rows[0], all)-0.2) > 1e-12 || math.Abs(c.regret(c.best(), all)-0.5) > 1e-12 || !c.good() {
		t.Errorf("best %s, regret %v and %v, good %v", c.best().Controller, c.regret(c.rows[0], all), c.regret(c.best(), all), c.good())
	}
	if got := c.regret(c.rows[0], []int{0, 0}); math.Abs(got-0.2) > 1e-12 { // (28-10)/(100-10)
		t.Errorf("the first seed alone has a regret of %v", got)
	}
	c.rows = append(c.rows, lost(smallProbe, 1, 1)) // shows what the probe costs, and is ours
	if c.best().Controller != "hpa" {
		t.Errorf("%s is a peer", c.best().Controller)
	}
	c.rows[0] = lost("assay", 36, 36) // more than half of the peer's regret, more than 5 % above the oracle
	if c.good() {
		t.Error("0.26 of regret is within half of 0.5")
	}
	// Nothing was to be gained: what counts as nothing is 5 % of the oracle's loss.
	c = cell{rows: []simulate.Row{lost("assay", 101), lost(nothing, 100), lost(oracle, 100)}}
	if got := c.regret(c.rows[0], everybody(1)); math.Abs(got-0.2) > 1e-12 || c.best().Controller != nothing {
		t.Errorf("regret %v, best %s", got, c.best().Controller)
	}
}

// The interval holds the value, and is nothing where all seeds are alike.
func TestTheIntervalComesFromSeedsDrawnAnew(t *testing.T) {
	alike := cell{rows: []simulate.Row{lost("assay", 20, 20, 20), lost("hpa", 60, 60, 60), lost(nothing, 110, 110, 110), lost(oracle, 10, 10, 10)}}
	if s := sum([]cell{alike}, 1); s.ours != (interval{0.1, 0.1, 0.1}) || s.ratio.low != s.ratio.high {
		t.Errorf("%+v", s)
	}
	apart := cell{rows: []simulate.Row{lost("assay", 10, 30, 50), lost("hpa", 60, 60, 60), lost(nothing, 110, 110, 110), lost(oracle, 10, 10, 10)}}
	// What one run could have avoided moves the scale of a resample, and not the fixed one.
	rare := cell{rows: []simulate.Row{lost("assay", 2, 2, 2), lost("hpa", 3, 3, 3), lost(nothing, 1, 1, 100), lost(oracle, 1, 1, 1)}}
	if s := sum([]cell{rare}, 1); s.ours.high <= 1 || s.fixed != (interval{0.5, 0.5, 0.5}) {
		t.Errorf("%+v", s)
	}
	if s := sum([]cell{apart}, 1); !(s.ours.low < 0.2 && s.ours.value > 0.19 && s.ours.value < 0.21 && s.ours.high > 0.2 && s.ours.high <= 0.4) {
		t.Errorf("%+v", s)
	}
}

// Every class of the grid has a scenario whose dial turns something.
func TestEveryDialTurnsItsScenario(t *testing.T) {
	root := os.DirFS(filepath.Join("..", ".."))
	files, err := filepath.Glob("*.scenario.yaml")
	if err != nil || len(files) != len(classes()) {
		t.Fatalf("%d scenarios for %d classes, %v", len(files), len(classes()), err)
	}
	for _, c := range classes() {
		p, err := simulate.Load(root, c.file())
		if err != nil {
			t.Fatal(err)
		}
		spec := &p.Scenario().Spec
		spec.Seeds, spec.Oracle, spec.Against = 1, nil, nil
		if c.name == "demand" {
			spec.WarmUp, spec.Duration = 0, spec.Duration/4
		}
		var seen []float64
		for _, level := range []float64{c.levels[0], c.levels[len(c.levels)-1]} {
			c.dial(spec, level)
			r, err := p.Run(t.Context(), simulate.Options{})
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, r.Rows[1].Loss.Mean)
		}
		if seen[0] == seen[1] {
			t.Errorf("%s: doing nothing loses %v at %v and at %v", c.name, seen[0], c.levels[0], c.levels[len(c.levels)-1])
		}
	}
}

// The page has every cell, and the same seeds give the same page.
func TestTheSameSeedsGiveTheSamePage(t *testing.T) {
	args := []string{"--root", filepath.Join("..", ".."), "--seeds", "2", "--seed", "7", "--only", "bad-release"}
	var pages [2]bytes.Buffer
	for i := range pages {
		if err := run(t.Context(), args, &pages[i], &bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(pages[0].Bytes(), pages[1].Bytes()) {
		t.Error("another page")
	}
	for _, want := range []string{"| bad-release | 0.01 share that fails |", "| bad-release | 0.2 | burn-rules |", "| bad-release | 0 of 4 | 0 of 5 |"} {
		if !strings.Contains(pages[0].String(), want) {
			t.Errorf("the page has no %q:\n%s", want, pages[0].String())
		}
	}
	if i := slices.IndexFunc(strings.Split(pages[0].String(), "\n"), func(l string) bool { return strings.Contains(l, "NaN") }); i >= 0 {
		t.Error("the page has a NaN in line", i)
	}
}
