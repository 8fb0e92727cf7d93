package infer

import (
	"math"
	"math/rand/v2"
	"testing"

	"assay.dev/assay"
)

// bursts draws events that come in bursts of a fixed size: their variance is size
// times their mean.
func bursts(rng *rand.Rand, mean float64, size uint64) (n uint64) {
	for left := mean/float64(size) - rng.ExpFloat64(); left > 0; left -= rng.ExpFloat64() {
		n += size
	}
	return n
}

func learn(t *testing.T, slots int, draw func(i int) Slot) Dispersion {
	t.Helper()
	var d Dispersion
	for i := range slots {
		var err error
		if d, err = d.Observe(draw(i)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestDispersionIsThatOfTheBursts(t *testing.T) {
	for _, arms := range []int{1, 2, 8} {
		for _, size := range []uint64{1, 3, 9} {
			rng := rand.New(rand.NewPCG(31, uint64(arms)*100+size))
			d := learn(t, 4000, func(int) (s Slot) {
				for range arms {
					s = append(s, Count{bursts(rng, 10, size), 1000})
				}
				return s
			})
			phi, upper := d.Scales[0].estimate()
			if math.Abs(phi/float64(size)-1) > 0.15 {
				t.Errorf("%d arms, bursts of %d: dispersion %v ± %v", arms, size, phi, upper)
			}
			if f := d.Factor(); size == 1 && f != 1 || size > 1 && (f < float64(size) || f > 2*float64(size)) {
				t.Errorf("%d arms, bursts of %d: evidence is divided by %v", arms, size, f)
			}
			if c, f := d.Contradicted(), d.Factor(); size == 1 && c != 1 || size > 1 && !(c > phi && c < f) {
				t.Errorf("%d arms, bursts of %d: at risks of a few percent evidence is divided by %v, the dispersion is %v and the factor %v", arms, size, c, phi, f)
			}
			if phi, upper := d.Measured(); upper < phi || math.IsInf(upper, 1) {
				t.Errorf("%d arms, bursts of %d: measured %v, upper bound %v", arms, size, phi, upper)
			}
		}
	}
}

// What all arms share is no dispersion, and with one arm a trend is none.
func TestSharedIncidentsAndTrendsAreNoDispersion(t *testing.T) {
	rng := rand.New(rand.NewPCG(32, 0))
	shared := learn(t, 2000, func(i int) Slot {
		mean := 10.0
		if i%30 < 5 {
			mean = 100
		}
		return Slot{{bursts(rng, mean, 1), 1000}, {bursts(rng, mean, 1), 1000}, {bursts(rng, 2*mean, 1), 2000}}
	})
	if f := shared.Factor(); f != 1 {
		t.Errorf("shared incidents: %v", f)
	}
	trend := learn(t, 2000, func(i int) Slot {
		return Slot{{bursts(rng, 20+10*math.Sin(float64(i)/230), 1), 1000}}
	})
	if f := trend.Factor(); f > 1.3 {
		t.Errorf("day and night: %v", f)
	}
	// Bursts longer than a slot are seen in the longer ones.
	rate := 10.0
	long := learn(t, 4000, func(i int) Slot {
		if i%8 == 0 {
			rate = 4 + 12*rng.Float64()
		}
		return Slot{{bursts(rng, rate, 1), 1000}, {bursts(rng, 10, 1), 1000}}
	})
	if f := long.Factor(); f < 3 {
		t.Errorf("bursts of eight slots: %v", f)
	}
}

func TestDispersionSaysNothingOfNothing(t *testing.T) {
	var d Dispersion
	if phi, upper := d.Measured(); phi != 1 || !math.IsInf(upper, 1) || d.Factor() != 1 {
		t.Errorf("nothing seen: %v, %v", phi, upper)
	}
	constant := learn(t, 100, func(int) Slot { return Slot{{0, 100}} })
	if f := constant.Factor(); f != 1 {
		t.Errorf("a constant series: %v", f)
	}
	if _, err := d.Observe(Slot{{2, 1}}); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("more events than exposure: %v", err)
	}
	if _, err := d.Observe(make(Slot, MaxArms+1)); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("too many arms: %v", err)
	}
}

// Published one-sided boundaries of Lan and DeMets at 2.5 % and five looks.
func TestBoundariesAgreeWithPublishedOnes(t *testing.T) {
	for spending, want := range map[Spending][]float64{
		OBrienFleming: {4.877, 3.357, 2.680, 2.290, 2.031},
		Pocock:        {2.438, 2.427, 2.410, 2.397, 2.386},
	} {
		got, err := Boundaries(spending, 0.025, 5)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if math.Abs(got[i]-want[i]) > 0.01 {
				t.Errorf("%s, look %d: %.3f, published %.3f", spending, i+1, got[i], want[i])
			}
		}
	}
	for _, looks := range []int{0, 21} {
		if _, err := Boundaries(Pocock, 0.01, looks); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%d looks: %v", looks, err)
		}
	}
}

func TestZIsTheScoreOfTheNull(t *testing.T) {
	k := comparison(t, Ratio)
	s := update(t, k, State{}, Pair{Count{140, 10_000}, Count{860, 90_000}})
	if got, want := k.Z(s), (140-100)/math.Sqrt(1000*0.1*0.9); math.Abs(got-want) > 0.05 {
		t.Errorf("z %v, want %v", got, want)
	}
	if z := k.Deflated(4).Z(s); math.Abs(z-k.Z(s)/2) > 1e-9 {
		t.Errorf("deflated z %v", z)
	}
	if z := k.Z(State{}); z != 0 {
		t.Errorf("nothing seen: %v", z)
	}
}

// A block that was gathered is one block: only its totals count, and closing it begins
// another.
func TestGatheredPairsAreOneBlock(t *testing.T) {
	for _, kind := range []Kind{Ratio, Odds} {
		config := Config{Kind: kind, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Gather: 10}
		k, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		config.Gather = 0
		plain, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		var s State
		for _, p := range []Pair{{Count{1, 3}, Count{0, 50}}, {Count{0, 4}, Count{2, 11}}, {Count{1, 9}, Count{1, 70}}, {Count{0, 1}, Count{0, 9}}} {
			s = update(t, k, s, p)
		}
		want, err := plain.Evaluate([]Pair{{Count{2, 16}, Count{3, 131}}, {Count{0, 1}, Count{0, 9}}})
		if err != nil {
			t.Fatal(err)
		}
		if !near(k.Harm(s), plain.Harm(want)) || !near(k.Safe(s), plain.Safe(want)) {
			t.Errorf("%s: gathered %v, whole %v", kind, k.Harm(s), plain.Harm(want))
		}
		if s.Open.Treated.Exposure != 1 || s.Close().Closed != nil {
			t.Errorf("%s: open block %+v", kind, s.Open)
		}
		if c, _ := k.Certainty(); c != assay.Calibrated {
			t.Errorf("%s: a comparison that gathers is %s", kind, c)
		}
	}
}

func TestOvershootIsBetweenItsEnds(t *testing.T) {
	for _, share := range []float64{0, 0.005, 0.6, 1, math.NaN()} {
		if f := Overshoot(share); f != 1 {
			t.Errorf("share %v, where nothing was measured: %v", share, f)
		}
	}
	before := 0.0
	for share := 0.01; share <= 0.5; share += 0.01 {
		f := Overshoot(share)
		if f < before || f < 0.5 || f >= 1 {
			t.Errorf("share %v: %v after %v", share, f, before)
		}
		before = f
	}
}

// Counts speak for the dispersion that they have. Taken as likelihoods, the odds of another
// one are at most 1 on the average.
func TestOddsSpeakForTheDispersionThatIsThere(t *testing.T) {
	if got := (Dispersion{}).Odds(1, 9); got != 0 {
		t.Errorf("nothing seen: %v", got)
	}
	for _, mean := range []float64{0.1, 10} {
		for _, size := range []uint64{1, 3, 9} {
			rng := rand.New(rand.NewPCG(33, size))
			d := learn(t, 2000, func(int) Slot { return Slot{{bursts(rng, mean, size), 1000}} })
			best := 0.0
			for _, phi := range []float64{3, 9} {
				if odds := d.Odds(1, phi); odds > d.Odds(1, max(best, 1)) {
					best = phi
				}
			}
			if want := float64(size); size > 1 && best != want || size == 1 && best != 0 {
				t.Errorf("mean %v, bursts of %d: the odds are greatest for %v (3: %v, 9: %v)", mean, size, best, d.Odds(1, 3), d.Odds(1, 9))
			}
		}
	}
	for _, mean := range []float64{0.1, 10} {
		sum := 0.0
		const runs = 2000
		for run := range uint64(runs) {
			rng := rand.New(rand.NewPCG(34, run))
			sum += math.Exp(learn(t, 60, func(int) Slot { return Slot{{bursts(rng, mean, 1), 1000}} }).Odds(1, 9))
		}
		if sum/runs > 1 {
			t.Errorf("mean %v: independent events make 9 %v times as probable on the average", mean, sum/runs)
		}
	}
}
