package infer

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Slots that have an event now and then say as little about bursts as full ones: the
// estimate is right for any mean.
func TestDispersionOfSparseCountsIsOne(t *testing.T) {
	for _, mean := range []float64{0.05, 0.15, 0.5, 2, 10} {
		rng := rand.New(rand.NewPCG(41, uint64(100*mean)))
		d := learn(t, 40_000, func(int) Slot { return Slot{{bursts(rng, mean, 1), 1000}} })
		if phi, se := d.Scales[0].estimate(); math.Abs(phi-1) > 4*se || se > 0.1 {
			t.Errorf("%v events a slot: dispersion %.3f ± %.3f", mean, phi, se)
		}
		if f := d.Beyond(1); f != 1 {
			t.Errorf("%v events a slot: evidence is divided by %v", mean, f)
		}
	}
}

// A burst that nobody expected counts at once; one that was expected changes nothing.
func TestBeyondSeesTheFirstBurstAndKeepsWhatIsKnown(t *testing.T) {
	rng := rand.New(rand.NewPCG(42, 0))
	quiet := func(int) Slot { return Slot{{bursts(rng, 0.2, 1), 20}} }
	d := learn(t, 20, quiet)
	if f := d.Beyond(1); f != 1 {
		t.Fatalf("before the burst evidence is divided by %v", f)
	}
	for _, n := range []uint64{0, 9, 0} {
		var err error
		if d, err = d.Observe(Slot{{n, 20}}); err != nil {
			t.Fatal(err)
		}
	}
	if f := d.Beyond(1); f < 3 {
		t.Errorf("after a burst of 9 evidence is divided by %v", f)
	}
	if f := d.Factor(); f != 1 {
		t.Errorf("a history with one burst in it has the factor %v", f)
	}
	if f := d.Beyond(30); f != 30 {
		t.Errorf("30 was known, and is now %v", f)
	}
	if f := new(Dispersion).Beyond(0); f != 1 {
		t.Errorf("nothing known and nothing seen: %v", f)
	}
	// What was known from history as an upper bound stays while counts agree with it.
	long := learn(t, 400, func(int) Slot { return Slot{{bursts(rng, 10, 5), 1000}} })
	if f := long.Beyond(7); f != 7 {
		t.Errorf("bursts of 5 where 7 was known: %v", f)
	}
}

// Taking events of one block away is not having had them, at the same share.
func TestHarmWithoutABurst(t *testing.T) {
	k := comparison(t, Ratio)
	with, err := k.Evaluate([]Pair{{Count{12, 100}, Count{9, 900}}, {Count{3, 100}, Count{8, 900}}})
	if err != nil {
		t.Fatal(err)
	}
	less, err := k.Evaluate([]Pair{{Count{2, 100}, Count{9, 900}}, {Count{3, 100}, Count{8, 900}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := k.HarmWithout(with, 10), k.Harm(less); !near(got, want) {
		t.Errorf("without 10 events %v, never had them %v", got, want)
	}
	if got := k.HarmWithout(with, 0); got != k.Harm(with) {
		t.Errorf("without nothing %v, want %v", got, k.Harm(with))
	}
	if got, all := k.HarmWithout(with, 1000), k.HarmWithout(with, 15); got != all || got > 0 {
		t.Errorf("without more than there were %v, without all %v", got, all)
	}
	if got := k.HarmWithout(State{}, 5); math.Abs(got) > 1e-12 {
		t.Errorf("nothing seen: %v", got)
	}
	late, err := New(Config{Kind: Ratio, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Late: 0.03})
	if err != nil {
		t.Fatal(err)
	}
	if with := manyEvents(t, late, 40); late.HarmWithout(with, 30) >= late.Harm(with) {
		t.Error("taking harm away does not lower it after the evidence began again")
	}
}

// manyEvents has enough events that the evidence begins again.
func manyEvents(t *testing.T, k *Comparison, n int) (s State) {
	for range n {
		s = update(t, k, s, Pair{Count{3, 100}, Count{9, 900}})
	}
	if len(s.Starts) == 0 {
		t.Fatal("the evidence has not begun again")
	}
	return s
}
