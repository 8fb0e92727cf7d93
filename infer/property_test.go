package infer

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"assay.dev/assay"
	"pgregory.net/rapid"
)

func drawPair(t *rapid.T, most uint64) Pair {
	arm := func(name string) Count {
		n := rapid.Uint64Range(0, most).Draw(t, name)
		return Count{rapid.Uint64Range(0, n).Draw(t, name+" events"), n}
	}
	return Pair{arm("treated"), arm("control")}
}

func fold(t *rapid.T, k *Comparison, pairs ...Pair) State {
	s, err := k.Evaluate(pairs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func near(a, b float64) bool { return a == b || math.Abs(a-b) <= 1e-9*(1+math.Abs(a)+math.Abs(b)) }

// How events are batched does not matter as long as the treated share is the same.
func TestRatioDoesNotDependOnBatches(t *testing.T) {
	k := comparison(t, Ratio)
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Uint64Range(1, 50).Draw(t, "a"), rapid.Uint64Range(1, 50).Draw(t, "b")
		var parts []Pair
		var whole Pair
		for range rapid.IntRange(1, 8).Draw(t, "parts") {
			n := rapid.Uint64Range(1, 100).Draw(t, "n")
			p := Pair{Count{rapid.Uint64Range(0, a*n).Draw(t, "x"), a * n}, Count{rapid.Uint64Range(0, b*n).Draw(t, "y"), b * n}}
			parts = append(parts, p)
			whole = Pair{Count{whole.Treated.Events + p.Treated.Events, whole.Treated.Exposure + p.Treated.Exposure},
				Count{whole.Control.Events + p.Control.Events, whole.Control.Exposure + p.Control.Exposure}}
		}
		one, many := fold(t, k, whole), fold(t, k, parts...)
		if !near(k.Harm(one), k.Harm(many)) || !near(k.Safe(one), k.Safe(many)) {
			t.Fatalf("whole %v %v, parts %v %v", k.Harm(one), k.Safe(one), k.Harm(many), k.Safe(many))
		}
	})
}

// A state that was stored and read in between gives the same bits as none.
func TestIncrementalEqualsFromScratchBitForBit(t *testing.T) {
	for _, kind := range []Kind{Ratio, Odds} {
		k := comparison(t, kind)
		rapid.Check(t, func(t *rapid.T) {
			var pairs []Pair
			var s State
			for range rapid.IntRange(1, 6).Draw(t, "pairs") {
				p := drawPair(t, 2000)
				pairs = append(pairs, p)
				var err error
				if s, err = k.Update(s, p); err != nil {
					t.Fatal(err)
				}
				b, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				s = State{}
				if err := json.Unmarshal(b, &s); err != nil {
					t.Fatal(err)
				}
			}
			scratch := fold(t, k, pairs...)
			if math.Float64bits(k.Harm(s)) != math.Float64bits(k.Harm(scratch)) ||
				math.Float64bits(k.Safe(s)) != math.Float64bits(k.Safe(scratch)) || !slices.Equal(s.LogNorm, scratch.LogNorm) {
				t.Fatalf("stored %v, from scratch %v", s, scratch)
			}
		})
	}
}

// One more event of the treated arm, the same otherwise, is more evidence of harm
// and less of safety.
func TestEvidenceIsMonotoneInTreatedEvents(t *testing.T) {
	for _, kind := range []Kind{Ratio, Odds} {
		k := comparison(t, kind)
		rapid.Check(t, func(t *rapid.T) {
			p := drawPair(t, 500)
			if p.Treated.Events == p.Treated.Exposure {
				t.Skip("no room for one more")
			}
			q := p
			q.Treated.Events++
			a, b := fold(t, k, p), fold(t, k, q)
			if k.Harm(b) < k.Harm(a)-1e-9 || k.Safe(b) > k.Safe(a)+1e-9 {
				t.Fatalf("harm %v to %v, safe %v to %v", k.Harm(a), k.Harm(b), k.Safe(a), k.Safe(b))
			}
		})
	}
}

// Swapping the arms and inverting the ratios swaps harm and safety.
func TestSwappingTheArmsMirrors(t *testing.T) {
	invert := func(in []Size) []Size {
		out := slices.Clone(in)
		for i := range out {
			out[i].Ratio = 1 / out[i].Ratio
		}
		return out
	}
	for _, kind := range []Kind{Ratio, Odds} {
		k := comparison(t, kind)
		mirror, err := New(Config{Kind: kind, Harm: Side{0.5, invert(SafeSizes())}, Safe: Side{1, invert(HarmSizes())}, Lattice: DefaultLattice()})
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			p := drawPair(t, 300)
			a, b := fold(t, k, p), fold(t, mirror, Pair{p.Control, p.Treated})
			if !near(k.Harm(a), mirror.Safe(b)) || !near(k.Safe(a), mirror.Harm(b)) {
				t.Fatalf("harm %v mirrored %v, safe %v mirrored %v", k.Harm(a), mirror.Safe(b), k.Safe(a), mirror.Harm(b))
			}
			x, y := k.Interval(a, 0.05), mirror.Interval(b, 0.05)
			if !near(1/x.Low, y.High) && !(x.Low == 0 && math.IsInf(y.High, 1)) {
				t.Fatalf("interval %v mirrored %v", x, y)
			}
		})
	}
}

// An interval holds the plug-in ratio whenever both arms have events, and shrinks
// when alpha grows.
func TestIntervalHoldsTheObservedRatio(t *testing.T) {
	k := comparison(t, Ratio)
	rapid.Check(t, func(t *rapid.T) {
		p := drawPair(t, 5000)
		s := fold(t, k, p)
		wide, narrow := k.Interval(s, 0.01), k.Interval(s, 0.2)
		if wide.Low > narrow.Low*(1+1e-9) || wide.High < narrow.High*(1-1e-9) || wide.Low > wide.High {
			t.Fatalf("at 1 %% %v, at 20 %% %v", wide, narrow)
		}
		if p.Treated.Events == 0 || p.Control.Events == 0 {
			return
		}
		if r := p.Treated.Rate() / p.Control.Rate(); r < wide.Low*(1-1e-9) || r > wide.High*(1+1e-9) {
			t.Fatalf("observed ratio %v is outside %v", r, wide)
		}
	})
}

// The estimate of what is still needed, followed, arrives.
func TestRemainingExposureReachesTheThreshold(t *testing.T) {
	k := comparison(t, Ratio)
	s := update(t, k, State{}, Pair{Count{10, 1000}, Count{90, 9000}})
	at := -math.Log(0.05)
	more, ok := k.UntilSafe(s, at)
	if !ok || more <= 0 {
		t.Fatalf("%v %v, want a finite estimate", more, ok)
	}
	n := uint64(math.Ceil(more/100)) * 100
	s = update(t, k, s, Pair{Count{n / 100, n}, Count{9 * n / 100, 9 * n}})
	if got := k.Safe(s); got < at || got > at+1 {
		t.Errorf("after %d more requests safety is %v, want just above %v", n, got, at)
	}
	if _, ok := k.UntilHarm(s, at); ok {
		t.Error("equal rates are said to show harm one day")
	}
	if more, ok := k.UntilSafe(s, at); !ok || more != 0 {
		t.Errorf("once reached, %v %v more is needed", more, ok)
	}
	clean := Known{Rate: 0.01, Sizes: []Size{{0.01, 1}, {0.3, 1}}}
	more, ok = clean.Until(Count{0, 100}, at)
	if e := clean.LogE(Count{0, 100 + uint64(math.Ceil(more))}); !ok || e < at || e > at+0.1 {
		t.Errorf("clean requests: %v more, ln E then %v", more, e)
	}
}

func TestUpdateRefusesWhatCannotBe(t *testing.T) {
	k := comparison(t, Odds)
	seen := update(t, k, State{}, Pair{Count{1, 2}, Count{1, 2}})
	for name, c := range map[string]struct {
		k    *Comparison
		s    State
		p    Pair
		code assay.Code
	}{
		"more events than exposure": {k, State{}, Pair{Count{3, 2}, Count{0, 1}}, assay.CodeInvalid},
		"a block above its limit":   {k, State{}, Pair{Count{0, BlockLimit}, Count{0, 1}}, assay.CodeTooLarge},
		"too much exposure":         {comparison(t, Ratio), State{Treated: Count{0, ExposureLimit}}, Pair{Count{0, 1}, Count{0, 1}}, assay.CodeTooLarge},
		"a state of another grid":   {k, State{Pairs: 1, LogNorm: seen.LogNorm[1:]}, Pair{}, assay.CodeConflict},
	} {
		if _, err := c.k.Update(c.s, c.p); assay.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want code %s", name, err, c.code)
		}
	}
	for name, c := range map[string]Config{
		"an unknown kind":        {Kind: "mean"},
		"no sizes":               {Kind: Ratio, Harm: Side{1, nil}, Safe: Side{2, SafeSizes()}},
		"a size at the null":     {Kind: Ratio, Harm: Side{1, []Size{{1, 1}}}, Safe: Side{2, SafeSizes()}},
		"a safe size above":      {Kind: Ratio, Harm: Side{1, HarmSizes()}, Safe: Side{2, []Size{{3, 1}}}},
		"a weight that is NaN":   {Kind: Ratio, Harm: Side{1, []Size{{2, math.NaN()}}}, Safe: Side{2, SafeSizes()}},
		"a null that is 0":       {Kind: Ratio, Harm: Side{0, HarmSizes()}, Safe: Side{2, SafeSizes()}},
		"an unsorted lattice":    {Kind: Ratio, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Lattice: []float64{2, 1}},
		"too little dispersion":  {Kind: Ratio, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Dispersion: 0.5},
		"dispersion that is NaN": {Kind: Ratio, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Dispersion: math.NaN()},
	} {
		if _, err := New(c); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func TestDispersionDividesTheEvidenceAndTheLabel(t *testing.T) {
	raw := comparison(t, Ratio)
	three, err := New(Config{Kind: Ratio, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Dispersion: 3})
	if err != nil {
		t.Fatal(err)
	}
	p := Pair{Count{30, 1000}, Count{90, 9000}}
	if a, b := raw.Harm(update(t, raw, State{}, p)), three.Harm(update(t, three, State{}, p)); b >= a {
		t.Errorf("evidence %v grew to %v by dispersion", a, b)
	}
	if c, _ := raw.Certainty(); c != assay.Exact {
		t.Errorf("raw is %s", c)
	}
	if c, _ := three.Certainty(); c != assay.Calibrated {
		t.Errorf("deflated is %s", c)
	}
}

func TestCombination(t *testing.T) {
	got, err := Average([]Weighted{{math.Log(300), 1}, {math.Log(0.5), 2}})
	if want := math.Log((300 + 1) / 3.0); err != nil || !near(got, want) {
		t.Errorf("average %v %v, want %v", got, err, want)
	}
	if _, err := Average(nil); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("average of nothing: %v", err)
	}
	if got := All(3, -1, 2); got != -1 {
		t.Errorf("least is %v", got)
	}
	if !math.IsInf(All(), -1) {
		t.Error("nothing shows something")
	}
}

func TestFreezeTakesBoundsThatHoldTheQuantile(t *testing.T) {
	h := []Bound{{0.05, 300}, {0.1, 600}, {0.25, 920}, {0.5, 985}, {1, 991}}
	got, err := Freeze(h, 1000, []float64{0.5, 0.55, 0.9, 0.95, 0.99, 0.999}, 0.6)
	want := []Threshold{{0.1, 0.6}, {0.25, 0.92}, {0.5, 0.985}, {1, 0.991}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	for name, err := range map[string]error{
		"no baseline":    second(Freeze(h, 0, nil, 0)),
		"a falling one":  second(Freeze([]Bound{{1, 5}, {2, 4}}, 9, nil, 0)),
		"a wrong share":  second(Freeze(h, 1000, []float64{1}, 0)),
		"NaN as a share": second(Freeze(h, 1000, []float64{math.NaN()}, 0)),
	} {
		if assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzUpdate(f *testing.F) {
	f.Add(uint64(3), uint64(100), uint64(9), uint64(900), 2.0, 1.0)
	f.Add(uint64(0), uint64(0), uint64(0), uint64(0), 1e6, 1e-300)
	f.Add(uint64(1<<25), uint64(1<<25), uint64(1), uint64(1<<25), 1.0000001, 1e9)
	f.Add(uint64(1<<40), uint64(1<<40), uint64(1<<63), uint64(1<<63), math.Inf(1), math.NaN())
	f.Fuzz(func(t *testing.T, x, m, y, n uint64, ratio, weight float64) {
		for _, kind := range []Kind{Ratio, Odds} {
			k, err := New(Config{Kind: kind, Harm: Side{1, []Size{{ratio, weight}, {2, 1}}}, Safe: Side{2, SafeSizes()}, Lattice: []float64{0.5, 1, 2}})
			if err != nil {
				continue
			}
			s, err := k.Update(State{}, Pair{Count{x, m}, Count{y, n}})
			if err == nil {
				s, err = k.Update(s, Pair{Count{y % 7, 7}, Count{x % 9, 9}})
			}
			if err != nil {
				continue
			}
			until, _ := k.UntilSafe(s, 3)
			ci := k.Interval(s, 0.01)
			for _, v := range append(s.LogNorm, k.Harm(s), k.Safe(s), until, ci.Low, k.Posterior(s)[0].Weight) {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("%s: %v is not finite in %v", kind, v, s)
				}
			}
			if !(ci.Low <= ci.High) {
				t.Fatalf("%s: interval %v", kind, ci)
			}
		}
	})
}
