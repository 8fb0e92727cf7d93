package decide_test

import (
	"math"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"pgregory.net/rapid"
)

func after(t testing.TB, list []assay.Belief, h decide.Hypothesis) float64 {
	t.Helper()
	for _, b := range list {
		if b.Hypothesis == string(h) {
			return b.After
		}
	}
	t.Fatalf("no belief in %s", h)
	return 0
}

func clue(name string, lr float64, h decide.Hypothesis) decide.Clue {
	return decide.Clue{Name: name, Words: name + " is seen", LogLR: map[decide.Hypothesis]float64{h: math.Log(lr)}}
}

// Prior 0.2 : 0.8, a clue of 12 to 1: odds 0.25·12 = 3, so 3/4.
func TestBeliefIsPriorOddsTimesLikelihoodRatio(t *testing.T) {
	prior := decide.Prior{decide.Overload: 0.2, decide.NoFault: 0.8}
	list, err := decide.Believe(prior, []decide.Clue{clue("queue", 12, decide.Overload)}, decide.DefaultCap)
	if err != nil {
		t.Fatal(err)
	}
	if got := after(t, list, decide.Overload); math.Abs(got-0.75) > 1e-12 {
		t.Errorf("overload %v, want 0.75", got)
	}
	if list[0].Hypothesis != string(decide.Overload) || list[0].Before != 0.2 || len(list[0].Clues) != 1 || list[0].Clues[0].Stated != 0 {
		t.Errorf("not explained: %+v", list[0])
	}
	if len(list) != 2 {
		t.Errorf("%d hypotheses, want only the possible ones", len(list))
	}
}

// A factor of a million counts as twenty: 0.25·20 = 5, so 5/6.
func TestOneClueIsWorthAtMostItsCap(t *testing.T) {
	prior := decide.Prior{decide.Overload: 0.2, decide.NoFault: 0.8}
	list, err := decide.Believe(prior, []decide.Clue{clue("queue", 1e6, decide.Overload)}, math.Log(20))
	if err != nil {
		t.Fatal(err)
	}
	if got := after(t, list, decide.Overload); math.Abs(got-5.0/6) > 1e-12 {
		t.Errorf("overload %v, want 5/6", got)
	}
	w := list[0].Clues[0]
	if math.Abs(w.LogLR-math.Log(20)) > 1e-12 || math.Abs(w.Stated-math.Log(1e6)) > 1e-9 {
		t.Errorf("what was capped is not said: %+v", w)
	}
}

// The same queue measured in three ways is one queue.
func TestCluesOfOneSourceAreNotCountedTwice(t *testing.T) {
	prior := decide.Prior{decide.Overload: 0.2, decide.NoFault: 0.8}
	var clues []decide.Clue
	for _, name := range []string{"depth", "age", "wait"} {
		c := clue(name, 50, decide.Overload)
		c.Source = "queue"
		clues = append(clues, c)
	}
	list, err := decide.Believe(prior, clues, math.Log(20))
	if err != nil {
		t.Fatal(err)
	}
	if got := after(t, list, decide.Overload); math.Abs(got-5.0/6) > 1e-12 {
		t.Errorf("overload %v, want 5/6 as by one of them", got)
	}
	for i := range clues {
		clues[i].Source = ""
	}
	if list, err = decide.Believe(prior, clues, math.Log(20)); err != nil {
		t.Fatal(err)
	}
	if got := after(t, list, decide.Overload); math.Abs(got-2000.0/2001) > 1e-12 {
		t.Errorf("three sources: overload %v, want 2000/2001", got)
	}
}

func TestBeliefIsAProbabilityWhateverTheCluesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var clues []decide.Clue
		for range rapid.IntRange(0, 12).Draw(t, "clues") {
			c := decide.Clue{Name: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name"), LogLR: map[decide.Hypothesis]float64{}}
			c.Source = rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "source")
			for _, h := range decide.Hypotheses() {
				c.LogLR[h] = rapid.Float64Range(-1e6, 1e6).Draw(t, "lr")
			}
			clues = append(clues, c)
		}
		list, err := decide.Believe(nil, clues, decide.DefaultCap)
		if err != nil {
			t.Fatal(err)
		}
		total := 0.0
		for i, b := range list {
			total += b.After
			if !(b.After > 0 && b.After <= 1) || i > 0 && b.After > list[i-1].After {
				t.Fatalf("%v", list)
			}
			for _, w := range b.Clues {
				if math.Abs(w.LogLR) > 2*decide.DefaultCap+1e-9 {
					t.Fatalf("clue %s is worth %v", w.Clue, w.LogLR)
				}
			}
		}
		if math.Abs(total-1) > 1e-9 {
			t.Fatalf("beliefs add up to %v", total)
		}
	})
}

func TestCluesThatCannotBeAreRefused(t *testing.T) {
	ok := clue("x", 2, decide.Overload)
	for name, tc := range map[string]struct {
		prior decide.Prior
		clues []decide.Clue
		limit float64
		code  assay.Code
	}{
		"not a number":          {nil, []decide.Clue{{Name: "x", LogLR: map[decide.Hypothesis]float64{decide.Attack: math.NaN()}}}, 3, assay.CodeInvalid},
		"infinite":              {nil, []decide.Clue{{Name: "x", LogLR: map[decide.Hypothesis]float64{decide.Attack: math.Inf(1)}}}, 3, assay.CodeInvalid},
		"unknown hypothesis":    {nil, []decide.Clue{clue("x", 2, "gremlins")}, 3, assay.CodeInvalid},
		"without a name":        {nil, []decide.Clue{clue("", 2, decide.Attack)}, 3, assay.CodeInvalid},
		"no cap":                {nil, []decide.Clue{ok}, 0, assay.CodeInvalid},
		"negative prior":        {decide.Prior{decide.Overload: -1}, nil, 3, assay.CodeInvalid},
		"unknown prior":         {decide.Prior{"gremlins": 1}, nil, 3, assay.CodeInvalid},
		"nothing possible":      {decide.Prior{}, nil, 3, assay.CodeInvalid},
		"more than are weighed": {nil, make([]decide.Clue, decide.MaxClues+1), 3, assay.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := decide.Believe(tc.prior, tc.clues, tc.limit); assay.CodeOf(err) != tc.code {
				t.Errorf("%v, want %s", err, tc.code)
			}
		})
	}
}
