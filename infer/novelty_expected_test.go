package infer_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// expectAll feeds values a minute apart and returns what was said about each.
func expectAll(values []float64) []infer.Surprise {
	x, out := infer.NewExpectation(infer.DefaultConformal(), nil), make([]infer.Surprise, len(values))
	for i, v := range values {
		out[i] = x.Observe(midnight.Add(time.Duration(i)*time.Minute), v)
	}
	return out
}

func firstAlarm(list []infer.Surprise, from int) int {
	for i := from; i < len(list); i++ {
		if list[i].Alarm {
			return i
		}
	}
	return -1
}

func TestALevelThatMovesALittleAndStaysIsAnAlarmOfTheForecast(t *testing.T) {
	// 3 % of the values are wild from the beginning, so that a value 8 off is no record.
	r := rand.New(rand.NewPCG(3, 4))
	v := make([]float64, 3000)
	for i := range v {
		v[i] = 100 + r.NormFloat64()
		if r.Float64() < 0.03 {
			v[i] += 40 * (r.Float64() - 0.5)
		}
		if i >= 2500 && i%2 == 0 {
			v[i] += 8 // and now every second one is
		}
	}
	got := expectAll(v)
	if at := firstAlarm(got, 500); at < 2500 || at > 2560 {
		t.Fatalf("the first alarm is at %d, want it soon after 2500", at)
	}
	if why := got[firstAlarm(got, 500)].Why; !strings.Contains(why, "expected 1") || !strings.Contains(why, "9 of 10 cases") {
		t.Errorf("the alarm says %q", why)
	}
	for i, n := range watch(v) {
		if i >= 2500 && i < 2560 && n.Alarm {
			t.Logf("the detector of records saw it too, at %d: %s", i, n.Why)
		}
	}
}

func TestFalseAlarmsOfExchangeableErrorsAreBoundedAtEveryLook(t *testing.T) {
	cfg := infer.DefaultConformal()
	cfg.Alpha, cfg.Stretch, cfg.Keep = 0.5, 500, 2000
	r := rand.New(rand.NewPCG(5, 6))
	const runs, length = 100, 2000
	alarms := 0
	for range runs {
		c := infer.NewConformal(cfg)
		for i := range length {
			if c.Observe(i%cfg.Buckets, math.Abs(r.NormFloat64())).Alarm {
				alarms++
			}
		}
		if got, why := c.Certainty(); got != assay.Exact {
			t.Fatalf("%s: %s", got, why)
		}
	}
	// The bound is alpha for each stretch; what is measured is below it.
	if bound := cfg.Alpha * length / float64(cfg.Stretch) * runs; float64(alarms) > bound {
		t.Errorf("%d false alarms, the bound is %.0f", alarms, bound)
	}
}

func TestForgettingMakesTheBoundAMeasuredOne(t *testing.T) {
	cfg := infer.DefaultConformal()
	c := infer.NewConformal(cfg)
	for i := range cfg.Keep + 1 {
		c.Observe(0, float64(i))
	}
	if got, why := c.Certainty(); got != assay.Calibrated || !strings.Contains(why, "forgotten") {
		t.Errorf("%s: %s", got, why)
	}
}

func TestNoSeriesIsTooOddForAnExpectation(t *testing.T) {
	nan := math.NaN()
	constant, gaps := make([]float64, 2000), make([]float64, 2000)
	for i := range gaps {
		constant[i], gaps[i] = 7, nan
		if i%10 == 0 {
			gaps[i] = 5
		}
	}
	for name, v := range map[string][]float64{"NaN": {nan, nan, nan}, "constant": constant, "two points": {1, 2}, "gaps": gaps, "none": nil} {
		if at := firstAlarm(expectAll(v), 0); at >= 0 {
			t.Errorf("%s: an alarm at %d", name, at)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		for i, s := range expectAll(rapid.SliceOfN(rapid.Float64(), 0, 200).Draw(t, "values")) {
			for _, v := range []float64{s.Expected, s.Low, s.High, s.P, s.Capital} {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("%d: %+v", i, s)
				}
			}
		}
	})
}

func TestBandsHoldNineOfTenAlsoAfterTheNoiseGrew(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	x, held, counted := infer.NewExpectation(infer.DefaultConformal(), nil), 0, 0
	for i := range 8000 {
		spread := 1.0
		if i > 4000 {
			spread = 3
		}
		at := midnight.Add(time.Duration(i) * time.Minute)
		v := 50 + spread*r.NormFloat64()
		s := x.Observe(at, v)
		if i > 6000 {
			counted++
			if s.Low <= v && v <= s.High {
				held++
			}
		}
	}
	if share := float64(held) / float64(counted); share < 0.86 || share > 0.94 {
		t.Errorf("bands of 90 %% held %.1f %%", 100*share)
	}
	if share, known, fits := x.Coverage(); !known || !fits {
		t.Errorf("coverage %v, known %v, fits %v", share, known, fits)
	}
}

// What is said about a beginning of a series does not depend on what follows it.
func TestAlarmsDependOnThePastOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(0, 10), rapid.Just(math.NaN()), rapid.Float64Range(0, 1e4)), 2, 300).Draw(t, "values")
		n := rapid.IntRange(1, len(v)-1).Draw(t, "prefix")
		if whole, part := expectAll(v), expectAll(v[:n]); !reflect.DeepEqual(whole[:n], part) {
			t.Fatal("a later value changed an earlier answer of the expectation")
		}
		whole, part := watch(v), watch(v[:n])
		for i := range n {
			if whole[i] != part[i] {
				t.Fatal("a later value changed an earlier answer of the detector of records")
			}
		}
	})
}

func TestDetectorsGoOnFromTheirStateAsIfTheyHadNeverStopped(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	n, x := infer.NewNovelty(infer.DefaultNovelty()), infer.NewExpectation(infer.DefaultConformal(), nil)
	j := infer.NewJoint(infer.DefaultConformal(), 2, nil)
	var n2 *infer.Novelty
	var x2 *infer.Expectation
	var j2 *infer.Joint
	names := []string{"a", "b"}
	for i := range 3000 {
		at, v := midnight.Add(time.Duration(i)*time.Minute), 100+r.NormFloat64()*(1+float64(i/1000))
		w := v + r.NormFloat64()
		if i == 1500 {
			n2, x2, j2 = infer.NewNovelty(infer.DefaultNovelty()), infer.NewExpectation(infer.DefaultConformal(), nil), infer.NewJoint(infer.DefaultConformal(), 2, nil)
			var ns infer.NoveltyState
			var xs infer.ExpectationState
			var js infer.JointState
			through(t, n.State(), &ns)
			through(t, x.State(), &xs)
			through(t, j.State(), &js)
			if !n2.Restore(ns) || !x2.Restore(xs) || !j2.Restore(js) {
				t.Fatal("a state of its own is refused")
			}
		}
		a, b, c := n.Observe(at, v), x.Observe(at, v), j.Observe(at, names, []float64{v - 100, w - 100})
		if n2 == nil {
			continue
		}
		if n2.Observe(at, v) != a || x2.Observe(at, v) != b || j2.Observe(at, names, []float64{v - 100, w - 100}) != c {
			t.Fatalf("at %d the answers differ", i)
		}
	}
}

// through writes a state as it is kept and reads it.
func through(t *testing.T, from, into any) {
	t.Helper()
	data, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func TestAStateOfSomethingElseIsRefused(t *testing.T) {
	x := infer.NewExpectation(infer.DefaultConformal(), nil)
	bad := x.State()
	bad.Errors.Errors = bad.Errors.Errors[1:]
	if x.Restore(bad) {
		t.Error("a state with fewer buckets is taken")
	}
	s := x.State()
	s.Mean = math.Inf(1)
	if x.Restore(s) {
		t.Error("a state with an infinite mean is taken")
	}
	if infer.NewJoint(infer.DefaultConformal(), 3, nil).Restore(infer.NewJoint(infer.DefaultConformal(), 2, nil).State()) {
		t.Error("a state of two indicators is taken for three")
	}
	if infer.NewNovelty(infer.DefaultNovelty()).Restore(infer.NoveltyState{Seen: -1}) {
		t.Error("a state with fewer than no observations is taken")
	}
}

func TestIndicatorsThatNoLongerGoTogetherAreAnAlarm(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	j, names := infer.NewJoint(infer.DefaultConformal(), 2, nil), []string{"requests", "latency"}
	at := -1
	for i := range 3000 {
		a := r.NormFloat64()
		b := 0.95*a + 0.3*r.NormFloat64()
		if i >= 2500 {
			b = -b // each by itself is as ever
		}
		s := j.Observe(midnight.Add(time.Duration(i)*time.Minute), names, []float64{a, b})
		if s.Alarm && at < 0 {
			at = i
			if !strings.Contains(s.Why, "requests") || !strings.Contains(s.Why, "together") {
				t.Errorf("the alarm says %q", s.Why)
			}
		}
	}
	if at < 2500 || at > 2600 {
		t.Errorf("the first alarm is at %d, want it soon after 2500", at)
	}
	if s := j.Observe(midnight, names, []float64{math.NaN(), 1}); s.P != 1 || s.Alarm {
		t.Errorf("NaN is an observation: %+v", s)
	}
}

func TestDaylightSavingIsNoSurprise(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(13, 14))
	x := infer.NewExpectation(infer.DefaultConformal(), berlin)
	start := time.Date(2026, 10, 12, 0, 0, 0, 0, berlin) // the clocks go back on the 25th
	for i := range 20 * 24 * 12 {
		at := start.Add(time.Duration(i) * 5 * time.Minute)
		day := float64(at.Hour()) + float64(at.Minute())/60
		v := 1000 + 500*math.Sin(2*math.Pi*(day-9)/24) + 20*r.NormFloat64()
		if s := x.Observe(at, v); s.Alarm {
			t.Fatalf("%s: %s", at, s.Why)
		}
	}
}

// What the band aims to miss stays a share, so that a series that stood still, or whose
// every value was a surprise, has a band again soon after it is as others are.
func TestABandIsOneAgainSoonAfterASeriesThatStoodStill(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for name, before := range map[string]func(i int) float64{
		"constant":                      func(int) float64 { return 100 },
		"every value is a new record":   func(i int) float64 { return math.Pow(1.001, float64(i)) },
		"as large as a number may be":   func(i int) float64 { return infer.MaxObservation * float64(1-2*(i%2)) },
		"still, and huge once an hour":  func(i int) float64 { return 1e12 * float64(max(0, 1-i%60)) },
		"smaller than it can be judged": func(i int) float64 { return 1e-300 * float64(i%3) },
	} {
		x := infer.NewExpectation(infer.DefaultConformal(), nil)
		at, held, bands := midnight, 0, 0
		observe := func(v float64) {
			s := x.Observe(at, v)
			for _, n := range []float64{s.Expected, s.Low, s.High, s.P, s.Capital} {
				if math.IsNaN(n) || math.IsInf(n, 0) {
					t.Fatalf("%s: %+v", name, s)
				}
			}
			if miss := x.State().Miss; !(miss >= 0 && miss <= 1) {
				t.Fatalf("%s: the band aims to miss %v", name, miss)
			}
			at = at.Add(time.Minute)
			if s.Band {
				bands++
				if v >= s.Low && v <= s.High {
					held++
				}
			}
		}
		for i := range 20_000 {
			observe(before(i))
		}
		for range 500 {
			observe(100 + r.NormFloat64())
		}
		held, bands = 0, 0
		for range 1_000 {
			observe(100 + r.NormFloat64())
		}
		if share := float64(held) / float64(max(1, bands)); name == "constant" && (bands < 1_000 || share < 0.8 || share > 0.98) {
			t.Errorf("%s: 500 minutes later its 90 %% bands hold %.0f %% of %d values", name, 100*share, bands)
		}
	}
}
