package infer

import (
	"math"
	"math/rand/v2"
	"testing"

	"assay.dev/assay"
)

func betting(t testing.TB, harm, safe float64) *Comparison {
	t.Helper()
	k, err := New(Config{Kind: Means, Harm: Side{Null: harm}, Safe: Side{Null: safe}, Lattice: []float64{0.25, 0.5, 1, 2, 4}})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The expectation of E under its null is at most 1 whatever the two values have together:
// for every distribution on a grid of pairs whose means are as the null says. Mixtures of
// two points suffice, because the expectation is linear in the distribution.
func TestBetsOnMeansExpectAtMostOneUnderTheirNull(t *testing.T) {
	const steps = 8
	points := make([][2]float64, 0, (steps+1)*(steps+1))
	for i := range steps + 1 {
		for j := range steps + 1 {
			points = append(points, [2]float64{float64(i) / steps, float64(j) / steps})
		}
	}
	for _, null := range []float64{0.5, 1, 1.2, 2, 10} {
		k := betting(t, null, null+0.5)
		of := func(p [2]float64, logE func(State) float64) float64 {
			return math.Exp(logE(update(t, k, State{}, Pair{Values(p[0], 1), Values(p[1], 1)})))
		}
		for _, a := range points {
			for _, b := range points {
				ga, gb := a[0]-null*a[1], b[0]-null*b[1]
				if ga < 0 || gb > 0 || ga == gb {
					continue
				}
				q := -gb / (ga - gb) // of a, so that the mean of g is 0
				if e := q*of(a, k.Harm) + (1-q)*of(b, k.Harm); e > 1+1e-4 {
					t.Fatalf("null %v, values %v and %v: expectation of harm %v", null, a, b, e)
				}
				safe := null + 0.5
				if ga, gb = a[0]-safe*a[1], b[0]-safe*b[1]; ga < 0 || gb > 0 || ga == gb {
					continue
				}
				q = -gb / (ga - gb)
				if e := q*of(a, k.Safe) + (1-q)*of(b, k.Safe); e > 1+1e-4 {
					t.Fatalf("null %v, values %v and %v: expectation of safety %v", safe, a, b, e)
				}
			}
		}
	}
}

func TestAConstantValueThatDoublesIsSeenAndOneThatDoesNotIsSafe(t *testing.T) {
	k := betting(t, 1, 2)
	var same, twice State
	for range 40 {
		same = update(t, k, same, Pair{Values(0.3, 1), Values(2.7, 9)})
		twice = update(t, k, twice, Pair{Values(0.6, 1), Values(2.7, 9)})
	}
	if k.Harm(twice) < math.Log(100) || k.Safe(twice) > 0.01 {
		t.Errorf("twice: harm %v, safety %v", k.Harm(twice), k.Safe(twice))
	}
	if k.Safe(same) < math.Log(20) || k.Harm(same) > 0.01 {
		t.Errorf("the same: harm %v, safety %v", k.Harm(same), k.Safe(same))
	}
	if i := k.Interval(twice, 0.01); i.Low != 1 || i.High != 4 {
		t.Errorf("interval of twice %+v", i)
	}
	if n, ok := k.UntilSafe(update(t, k, State{}, Pair{Values(0.3, 1), Values(2.7, 9)}), math.Log(20)); !ok || n < 5*ValueUnit || n > 60*ValueUnit {
		t.Errorf("until safe %v values, %t", n/ValueUnit, ok)
	}
	if a, b := k.MeanUntilSafe(same, 50, 0), k.FromNothing(same, 50); a < 0 || b < a {
		t.Errorf("until an e of 50 nats: %v more, %v from the beginning", a, b)
	}
	if c, _ := k.Certainty(); c != assay.Exact {
		t.Error(c)
	}
	if c, _ := k.Deflated(3).Certainty(); c != assay.Calibrated {
		t.Error(c)
	}
}

func TestAComparisonOfMeansHasNoSizes(t *testing.T) {
	for _, c := range []Config{
		{Kind: Means, Harm: Side{1, HarmSizes()}, Safe: Side{Null: 2}},
		{Kind: Means, Harm: Side{Null: 2}, Safe: Side{Null: 2}},
		{Kind: Means, Harm: Side{Null: 1}, Safe: Side{Null: 2}, Less: true},
		{Kind: Means, Harm: Side{Null: 1}, Safe: Side{Null: 2}, Late: 0.1},
	} {
		if _, err := New(c); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Of values that repeat themselves the mean varies as if there were fewer of them.
func TestWanderIsHowFarValuesHangTogether(t *testing.T) {
	for _, c := range []struct{ keep, least, most float64 }{{0, 1, 1.3}, {0.5, 2, 6}, {0.8, 4, 16}} {
		rng := rand.New(rand.NewPCG(61, uint64(100*c.keep)))
		var d Wander
		v := 0.0
		for range 4000 {
			v = c.keep*v + math.Sqrt(1-c.keep*c.keep)*rng.NormFloat64()
			d = d.Observe(Values(0.5+0.1*min(max(v, -4), 4), 1))
		}
		if f := d.Factor(); f < c.least || f > c.most {
			t.Errorf("kept %v: factor %v, want %v to %v", c.keep, f, c.least, c.most)
		}
		if b := d.Beyond(20); b != 20 {
			t.Errorf("kept %v: 20 was known, and is now %v", c.keep, b)
		}
	}
	if f := (Wander{}).Factor(); f != 1 {
		t.Errorf("nothing seen: %v", f)
	}
	var flat Wander
	for range 400 {
		flat = flat.Observe(Values(0.5, 1))
	}
	if f := flat.Beyond(1); f != 1 {
		t.Errorf("values that never change: %v", f)
	}
}

// A reversed comparison says of half the events what the other says of twice as many.
func TestFewerEventsAreHarmWhereLessIsWorse(t *testing.T) {
	turn := func(sizes []Size) (out []Size) {
		for _, z := range sizes {
			out = append(out, Size{1 / z.Ratio, z.Weight})
		}
		return out
	}
	k, err := New(Config{Kind: Counts, Less: true, Harm: Side{1, turn(HarmSizes())}, Safe: Side{0.5, turn(SafeSizes())}})
	if err != nil {
		t.Fatal(err)
	}
	half := update(t, k, State{}, Pair{Count{100, 100}, Count{1800, 900}})
	same := update(t, k, State{}, Pair{Count{200, 100}, Count{1800, 900}})
	if k.Harm(half) < math.Log(100) || k.Safe(half) > 0 {
		t.Errorf("half: harm %v, safety %v", k.Harm(half), k.Safe(half))
	}
	if k.Safe(same) < math.Log(20) || k.Harm(same) > 0 {
		t.Errorf("the same: harm %v, safety %v", k.Harm(same), k.Safe(same))
	}
	if _, err := New(Config{Kind: Counts, Less: true, Harm: Side{1, HarmSizes()}, Safe: Side{0.5, turn(SafeSizes())}}); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("sizes on the wrong side: %v", err)
	}
}
