package main

import (
	"math"
	"testing"

	"assay.dev/assay/infer"
)

// tallied makes a tally of n rollouts whose losses have this mean and spread.
func tallied(n int, mean, spread float64) (y tally) {
	y.runs = n
	for i := range n {
		y.loss.add(mean + spread*float64(2*(i%2)-1))
	}
	return y
}

// three makes a report of one cell for ours, a documented and a tuned peer, and the
// oracle; healthy rollouts cost nothing.
func three(ours, plain, tuned tally) report {
	c := cell{steady, 100, 0.01, 3, 1, 0.1}
	free := tallied(100, 0, 0)
	return report{
		contenders: []contender{{Name: "ours"}, {Name: "peer"}, {Name: "peer tuned"}, {Name: "oracle"}},
		healthy:    []cellResult{{c.healthy(), []tally{free, free, free, free}}},
		grid:       []cellResult{{c, []tally{ours, plain, tuned, free}}},
	}
}

func TestACellIsHigherOnlyBeyondChance(t *testing.T) {
	all := func(cell) bool { return true }
	for _, c := range []struct {
		name              string
		ours, plain, tune tally
		documented, any   compared
	}{
		{"lower than both", tallied(100, 1, 1), tallied(100, 2, 1), tallied(100, 3, 1), compared{1, 1, 0, 0}, compared{1, 1, 0, 0}},
		{"the same as the tuned one within chance", tallied(100, 2, 2), tallied(100, 3, 1), tallied(100, 1.9, 2), compared{1, 1, 0, 0}, compared{1, 0, 1, 0}},
		{"higher than the tuned one", tallied(10_000, 2, 2), tallied(100, 3, 1), tallied(10_000, 1.8, 2), compared{1, 1, 0, 0}, compared{1, 0, 0, 1}},
	} {
		r := three(c.ours, c.plain, c.tune)
		if got := r.compare(all, documented); got != c.documented {
			t.Errorf("%s: against documented ones %+v, want %+v", c.name, got, c.documented)
		}
		if got := r.compare(all, anybody); got != c.any {
			t.Errorf("%s: against all %+v, want %+v", c.name, got, c.any)
		}
	}
}

func TestExpectedLossMixesGoodAndBadReleases(t *testing.T) {
	mean, se := expectedLoss(tallied(101, 5, 1), tallied(101, 1, 2))
	if want := 0.1*5 + 0.9*1; math.Abs(mean-want) > 0.05 {
		t.Errorf("mean %v, want %v", mean, want)
	}
	if want := math.Hypot(0.1*1/10, 0.9*2/10); math.Abs(se/want-1) > 0.02 {
		t.Errorf("standard error %v, want %v", se, want)
	}
}

func TestRegretLeavesOutWhatTheOracleLoses(t *testing.T) {
	r := three(tallied(100, 2, 0), tallied(100, 6, 0), tallied(100, 4, 0))
	if mean, se := r.regret(0); math.Abs(mean-0.2) > 1e-12 || se > 1e-9 {
		t.Errorf("regret %v ± %v, want 0.2", mean, se)
	}
	if best, mean := r.bestPeer(); r.contenders[best].Name != "peer tuned" || math.Abs(mean-0.4) > 1e-12 {
		t.Errorf("best peer %s with %v", r.contenders[best].Name, mean)
	}
}

// With hardly any canary the old version's rate is known, and the floor of clearing a
// release is the one-sample one; with a share of a half it is higher.
func TestFloorOfClearingMeetsTheOneSampleFloor(t *testing.T) {
	c := cell{steady, 100, 0.01, 3, 1, 1e-6}
	want := -math.Log(beta) / infer.KL(0.01, 0.02)
	if got := c.clearing(); math.Abs(got/want-1) > 1e-3 {
		t.Errorf("floor %v, want %v", got, want)
	}
	c.Weight = 0.5
	if got := c.clearing(); got < 1.5*want {
		t.Errorf("floor %v at half of the traffic, %v with the rate known", got, want)
	}
	c.Phi = 5
	if got, one := c.clearing(), (cell{steady, 100, 0.01, 3, 1, 0.5}).clearing(); math.Abs(got/one-5) > 1e-9 {
		t.Errorf("five times the dispersion is %v times the floor", got/one)
	}
}

func TestEnoughTrafficIsEnoughForBothDecisions(t *testing.T) {
	for _, c := range []struct {
		cell          cell
		finds, enough bool
	}{
		{cell{steady, 100, 0.01, 3, 1, 0.1}, true, true},
		{cell{steady, 1, 0.01, 10, 1, 0.1}, true, false}, // 360 requests find ten times, and clear nothing
		{cell{steady, 1, 0.01, 2, 1, 0.1}, false, false},
	} {
		if c.cell.finds() != c.finds || c.cell.enough() != c.enough {
			t.Errorf("%s: floors %.0f and %.0f, expected %.0f: finds %v, enough %v", c.cell, c.cell.floor(), c.cell.clearing(), c.cell.expected(), c.cell.finds(), c.cell.enough())
		}
	}
}
