package main

import (
	"math"
	"testing"
)

// The figures are worked out by hand from NAB's sweeper.
func TestScoreFollowsTheRulesOfNAB(t *testing.T) {
	s := series{windows: [][2]int{{100, 119}}, probation: 50}
	scores := make([]float64, 300)
	if got := score([]judged{{s.hits(scores), 1}}, profiles[0], 0.5); got != 0 {
		t.Errorf("a detector that finds nothing scores %v, want 0", got)
	}
	scores[100] = 0.9 // the first row of the window
	if got := score([]judged{{s.hits(scores), 1}}, profiles[0], 0.5); math.Abs(got-100) > 1e-9 {
		t.Errorf("a hit at the beginning of the only window scores %v, want 100", got)
	}
	scores[100], scores[119] = 0, 0.9 // the last row: sigma(-1/20)/sigma(-1) of a full hit
	last := (2/(1+math.Exp(-0.25)) - 1) / (2/(1+math.Exp(-5.0)) - 1)
	if got, want := score([]judged{{s.hits(scores), 1}}, profiles[0], 0.5), 100*(last+1)/2; math.Abs(got-want) > 1e-9 {
		t.Errorf("a hit at the end of the window scores %v, want %v", got, want)
	}
	scores[10], scores[70] = 0.9, 0.9 // one in the probation, one false alarm before any window
	if got, want := score([]judged{{s.hits(scores), 1}}, profiles[0], 0.5), 100*(last+1-0.11)/2; math.Abs(got-want) > 1e-9 {
		t.Errorf("with a false alarm it scores %v, want %v", got, want)
	}
	if got, want := score([]judged{{s.hits(scores), 1}}, profiles[0], 0.95), 0.0; got != want {
		t.Errorf("above every score it scores %v, want %v", got, want)
	}
}
