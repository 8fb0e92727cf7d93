package main

import (
	"math"
	"testing"
)

// A controller that promotes every healthy release when the floor to clear it has come
// misses beta of the others; one that has half of that time misses its square root.
func TestTheLeastMissedIsThatOfTheFloor(t *testing.T) {
	c := cell{steady, 100, 0.01, 10, 1, 0.1}
	fastest := c
	fastest.Weight = most
	hours := fastest.clearing() / fastest.expected()
	if got := indistinct(1, -math.Log(beta)); math.Abs(got-beta) > 1e-9 {
		t.Errorf("at the floor %v is missed, want %v", got, beta)
	}
	if got, want := leastMissed(costHour*hours/2, asFloors(c)), math.Sqrt(beta); math.Abs(got-want) > 0.02 {
		t.Errorf("in half of the time %v is missed, want %v", got, want)
	}
	if allKnown(c) <= asFloors(c) {
		t.Error("who knows everything is told no more than who knows nothing")
	}
	before := 1.0
	for loss := 0.0; loss < 0.02; loss += 0.0001 {
		got := leastMissed(loss, asFloors(c))
		if got > before+1e-12 {
			t.Fatalf("a loss of %v misses %v, more than a smaller one", loss, got)
		}
		before = got
	}
	if none := leastMissed(0, asFloors(c)); none != 1 {
		t.Errorf("who promotes at once misses %v", none)
	}
}

// At half of the traffic the bound of the cell's weight is that of the best share up to half.
func TestTheBoundAtHalfIsThatOfTheBestShare(t *testing.T) {
	for _, c := range []cell{{steady, 10, 0.001, 10, 5, most}, {steady, 1, 0.01, 10, 1, most}} {
		if got, want := leastMissed(0.05, asFloorsAt(c)), leastMissed(0.05, asFloors(c)); got != want {
			t.Errorf("%s: %v, the best share %v", c, got, want)
		}
		if c.Weight = 0.1; leastMissed(0.05, asFloorsAt(c)) <= leastMissed(0.05, asFloors(c)) {
			t.Errorf("%s: whoever stays at the weight misses no more than at the best share", c)
		}
	}
}

// A section is renewed alone: what stands before and behind it is not touched, and a page
// without it is refused.
func TestOneSectionIsRenewed(t *testing.T) {
	page := "# A\n\n## One\n\nold\n\n### in it\n\nold\n\n## Two\n\nkept\n"
	got, err := renew(page, "## One", "\n## One\n\nnew\n")
	if want := "# A\n\n## One\n\nnew\n\n## Two\n\nkept\n"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := renew(page, "## Three", "\n## Three\n"); err == nil {
		t.Error("a section that is not there was renewed")
	}
}

// Who asks about all of them misses none, and pays for it.
func TestNothingIsMissedByAskingAlways(t *testing.T) {
	c := cell{steady, 1, 0.001, 10, 5, 0.1}
	if got := leastMissed(costAsk+costHour*period.Hours(), asFloors(c)); got > 1e-9 {
		t.Errorf("%v", got)
	}
}
