package decide_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

// measured is a plan that watches errors and one more thing.
func measured(i decide.Indicator) decide.Plan {
	p := plan()
	i.Name, i.Weight, i.Required = "work", 1, true
	p.Indicators = append(p.Indicators, i)
	p.MinRequests = 100
	return p
}

// both are a second's readings of errors, which are the same in both versions, and of work,
// which change says of each version with its share of ten.
func both(n int, change func(canary bool, share uint64, r *assay.Reading)) []assay.Reading {
	out := second(n, [2]uint64{2, 100}, [2]uint64{18, 900})
	for _, r := range out[:2] {
		r.Indicator, r.Good = "work", r.Total
		share := uint64(9)
		if r.Version == "v2" {
			share = 1
		}
		change(r.Version == "v2", share, &r)
		out = append(out, r)
	}
	return out
}

// follow runs a rollout up to some seconds and is what it did last, or what it held with.
func follow(t testing.TB, p decide.Plan, seconds int, readings func(n int) []assay.Reading) (last assay.Decision, took int) {
	t.Helper()
	s := begin(t, p)
	for n := range seconds {
		now := start.Add(time.Duration(n+1) * time.Second)
		last, s = next(t, p, s, readings(n), allow, now)
		if last.Action.Kind == assay.ActionAbort || last.Action.Kind == assay.ActionFinish {
			return last, n + 1
		}
		var err error
		if s, err = s.Applied(p, last.Action, now); err != nil {
			t.Fatal(err)
		}
	}
	return last, seconds
}

// kinds are the indicators of measures, with how a reading has so many times the usual.
var kinds = map[string]struct {
	indicator decide.Indicator
	words     string
	have      func(times float64, share uint64, r *assay.Reading)
}{
	"count": {decide.Indicator{Kind: decide.KindCount}, " per request (", func(times float64, _ uint64, r *assay.Reading) {
		r.Count = uint64(times * 3 * float64(r.Total))
	}},
	"count per time": {decide.Indicator{Kind: decide.KindCount, PerTime: true}, " per hour (", func(times float64, share uint64, r *assay.Reading) {
		r.Total, r.Count = share*1000, uint64(times*float64(share)*4)
		r.Good = r.Total
	}},
	"value": {decide.Indicator{Kind: decide.KindValue, Max: 0.5}, " per request (", func(times float64, _ uint64, r *assay.Reading) {
		r.Sum = times * 0.02 * float64(r.Total)
	}},
	"gauge": {decide.Indicator{Kind: decide.KindGauge, Max: 10, Every: time.Second, Dispersion: 1}, " samples)", func(times float64, share uint64, r *assay.Reading) {
		r.Total, r.Sum, r.Least, r.Greatest = share, times*2*float64(share), times*2, times*2
		r.Good = r.Total
	}},
}

func TestAVersionThatDoesTwiceTheWorkIsAbortedAndOneThatDoesTheSameIsNot(t *testing.T) {
	for name, k := range kinds {
		for _, c := range []struct {
			name  string
			times float64
			less  bool
			want  assay.ActionKind
		}{
			{"twice", 2, false, assay.ActionAbort},
			{"the same", 1, false, assay.ActionFinish},
			{"half", 0.5, false, assay.ActionFinish},
			{"half, where less is worse", 0.5, true, assay.ActionAbort},
			{"the same, where less is worse", 1, true, assay.ActionFinish},
		} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				ind := k.indicator
				ind.Less = c.less
				if c.less && ind.Kind != decide.KindCount {
					// How far it is from the best is compared: 0.4 of 10 away, or twice as far.
					ind.Max = map[decide.IndicatorKind]float64{decide.KindValue: 0.025, decide.KindGauge: 2.5}[ind.Kind]
				}
				p := measured(ind)
				d, took := follow(t, p, 300, func(n int) []assay.Reading {
					return both(n, func(canary bool, share uint64, r *assay.Reading) {
						times := 1.0
						if canary {
							times = c.times
						}
						k.have(times, share, r)
					})
				})
				if d.Action.Kind != c.want {
					t.Fatalf("%s after %d s: %s\n%s", d.Action.Kind, took, d.Words, strings.Join(d.Reasons, "\n"))
				}
				if all := strings.Join(d.Reasons, "\n"); !strings.Contains(all, k.words) || d.Engine != decide.EngineOfMeasures {
					t.Errorf("engine %s says\n%s", d.Engine, all)
				}
				v := d.Tests[1]
				if v.Measure == "" || c.times != 1 && c.want == assay.ActionAbort && (v.Divergence == nil || v.Divergence.Unit != "more" && v.Divergence.Unit != "further") {
					t.Errorf("%+v", v)
				}
				if d.Action.Kind == assay.ActionAbort && !strings.Contains(d.Words, ", by work: ") {
					t.Errorf("what harm rests on is not named: %s", d.Words)
				}
				if *d.Score != map[assay.ActionKind]int{assay.ActionAbort: 0, assay.ActionFinish: 100}[c.want] {
					t.Errorf("the score is %d", *d.Score)
				}
			})
		}
	}
}

// An indicator's own margins stand instead of the plan's.
func TestAnIndicatorHasMarginsOfItsOwn(t *testing.T) {
	work := func(times float64) func(n int) []assay.Reading {
		return func(n int) []assay.Reading {
			return both(n, func(canary bool, _ uint64, r *assay.Reading) {
				r.Count = 3 * r.Total
				if canary {
					r.Count = uint64(times * 3 * float64(r.Total))
				}
			})
		}
	}
	if d, _ := follow(t, measured(decide.Indicator{Kind: decide.KindCount}), 200, work(1.3)); d.Action.Kind != assay.ActionAbort {
		t.Errorf("a third more is harm: %s, %s", d.Action.Kind, d.Words)
	}
	lenient := measured(decide.Indicator{Kind: decide.KindCount, Accept: 1.5, Margin: 3})
	if d, _ := follow(t, lenient, 200, work(1.3)); d.Action.Kind != assay.ActionFinish || d.Tests[1].Margin != 3 {
		t.Errorf("half more is accepted: %s, %s", d.Action.Kind, d.Words)
	}
	if d, _ := follow(t, lenient, 200, work(4)); d.Action.Kind != assay.ActionAbort {
		t.Errorf("four times is harm: %s, %s", d.Action.Kind, d.Words)
	}
}

// A version that just started fills its caches: what it does until then is no evidence, and
// what it does afterwards is.
func TestWorkWhileAVersionWarmsUpIsNoEvidence(t *testing.T) {
	cold := func(until int) func(n int) []assay.Reading {
		return func(n int) []assay.Reading {
			return both(n, func(canary bool, _ uint64, r *assay.Reading) {
				r.Count = 3 * r.Total
				if canary && n < until {
					r.Count = 30 * r.Total
				}
			})
		}
	}
	p := measured(decide.Indicator{Kind: decide.KindCount})
	if d, _ := follow(t, p, 300, cold(5)); d.Action.Kind != assay.ActionAbort {
		t.Fatalf("without a warm-up: %s: the test shows nothing", d.Words)
	}
	p = measured(decide.Indicator{Kind: decide.KindCount, WarmUp: 10 * time.Second})
	if d, took := follow(t, p, 300, cold(5)); d.Action.Kind != assay.ActionFinish || took < 10 {
		t.Errorf("cold for 5 s of 10: %s after %d s: %s", d.Action.Kind, took, d.Words)
	}
	if d, took := follow(t, p, 300, cold(300)); d.Action.Kind != assay.ActionAbort || took < 10 {
		t.Errorf("cold for ever: %s after %d s: %s", d.Action.Kind, took, d.Words)
	}
}

// What cannot be counted holds: it never aborts and never promotes.
func TestMeasuresThatCannotBeReadHold(t *testing.T) {
	for name, c := range map[string]struct {
		kind   string
		change func(n int, canary bool, r *assay.Reading)
		words  string
		less   bool
	}{
		"a gauge above its declared max": {"gauge", func(_ int, canary bool, r *assay.Reading) {
			if canary {
				r.Sum, r.Greatest = 12, 12
			}
		}, "above the declared max of 10", false},
		"a gauge below its declared min": {"gauge", func(_ int, canary bool, r *assay.Reading) {
			if canary {
				r.Sum, r.Least = 0, -1
			}
		}, "below the declared min of 0", true},
		"values above their declared max": {"value", func(_ int, _ bool, r *assay.Reading) { r.Sum = 51 * 1000 }, "above the declared max", false},
		"a gauge that goes away": {"gauge", func(n int, canary bool, r *assay.Reading) {
			if canary && n > 3 {
				r.Version = "somebody else"
			}
		}, "old", false},
		"a counter that goes away": {"count", func(n int, canary bool, r *assay.Reading) {
			if canary && n > 0 {
				r.Version = "somebody else"
			}
		}, "old", true},
		"nothing that it is counted per": {"count", func(_ int, _ bool, r *assay.Reading) { r.Total, r.Good, r.Count = 0, 0, 0 }, "neither harm nor safety", false},
		"nothing was done by either":     {"count", func(_ int, _ bool, r *assay.Reading) { r.Count = 0 }, "neither harm nor safety", false},
	} {
		t.Run(name, func(t *testing.T) {
			ind := kinds[c.kind].indicator
			ind.Less = c.less
			p := measured(ind)
			d, took := follow(t, p, 120, func(n int) []assay.Reading {
				return both(n, func(canary bool, share uint64, r *assay.Reading) {
					kinds[c.kind].have(1, share, r)
					c.change(n, canary, r)
				})
			})
			if d.Action.Kind != assay.ActionHold || took != 120 || !strings.Contains(d.Words, c.words) {
				t.Errorf("%s after %d s: %s", d.Action.Kind, took, d.Words)
			}
		})
	}
}

func TestPlansOfMeasuresThatCannotBeAreRefused(t *testing.T) {
	for want, i := range map[string]decide.Indicator{
		"is not one of ratio, count":  {Kind: "sum"},
		"max above 0":                 {Kind: decide.KindValue},
		"max above its min":           {Kind: decide.KindGauge, Min: 1, Max: 1, Every: time.Second},
		"belong to values":            {Kind: decide.KindCount, Max: 1},
		"every is":                    {Kind: decide.KindGauge, Max: 1},
		"nothing else has it":         {Kind: decide.KindCount, Every: time.Second},
		"belong to counts":            {Kind: decide.KindGauge, Max: 1, Every: time.Second, PerTime: true},
		"never worse where bad":       {Less: true},
		"accept 3 and margin 2":       {Kind: decide.KindCount, Accept: 3},
		"a warm-up of 2h0m0s belongs": {Kind: decide.KindCount, WarmUp: 2 * time.Hour},
		"which is no number of it":    {Kind: decide.KindCount, Expected: -1},
		"counts or values do not go":  {Kind: decide.KindCount, Bounds: []float64{1}},
		"a tolerable rate is one of":  {Kind: decide.KindCount, Tolerable: 0.1},
	} {
		if err := measured(i).Check(); assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", i, err, want)
		}
	}
	fixed := measured(kinds["gauge"].indicator)
	fixed.Fixed = &decide.FixedLooks{Requests: 1000, Looks: 3, Spending: infer.Pocock}
	if err := fixed.Check(); err == nil || !strings.Contains(err.Error(), "do not go together with the gauge") {
		t.Error(err)
	}
}

// Decisions about measures are made again to the byte, and plans of bad events alone are
// decided as they were before there were any.
func TestDecisionsAboutMeasuresReplay(t *testing.T) {
	for name, k := range kinds {
		p := measured(k.indicator)
		s := begin(t, p)
		for n := range 20 {
			r, err := decide.Decide(p, s, both(n, func(_ bool, share uint64, r *assay.Reading) { k.have(1, share, r) }), allow, start.Add(time.Duration(n+1)*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			data, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			again, err := decide.Replay(data)
			if err != nil || !again.Identical || !bytes.Equal(again.Bytes, data) {
				t.Fatalf("%s, decision %d: %+v, %v", name, n, again.SameChoice, err)
			}
			parsed, err := decide.ParseRecord(data)
			if err != nil {
				t.Fatal(err)
			}
			s = parsed.After // as it is stored
		}
	}
	if d, _ := next(t, plan(), begin(t, plan()), second(0, [2]uint64{1, 100}, [2]uint64{9, 900}), allow, start.Add(time.Second)); d.Engine != "decide/4" {
		t.Errorf("errors alone are decided by %s", d.Engine)
	}
}

func TestLintSaysHowLongAMeasureTakes(t *testing.T) {
	for name, c := range map[string]struct {
		indicator decide.Indicator
		expected  float64
		want      string
	}{
		"a count that is rare":       {kinds["count"].indicator, 0.0002, "0.0002 per request this needs about"},
		"a count that is frequent":   {kinds["count"].indicator, 5, ""},
		"a count that is not known":  {kinds["count"].indicator, 0, ""},
		"a count per time":           {kinds["count per time"].indicator, 2, "2 per hour in both versions together this needs about"},
		"a value far below its max":  {kinds["value"].indicator, 0.00001, "this needs about"},
		"a gauge far below its max":  {kinds["gauge"].indicator, 0.001, "at a value every 1s this needs about"},
		"a gauge in the middle":      {kinds["gauge"].indicator, 5, ""},
		"a gauge that is at its max": {decide.Indicator{Kind: decide.KindGauge, Max: 10, Every: time.Second, Less: true}, 10, "is never shown safe"},
	} {
		c.indicator.Expected = c.expected
		p := measured(c.indicator)
		p.MinRequests = 0
		found, err := decide.LintPlan(p, 6000, 0.01)
		if err != nil {
			t.Fatal(err)
		}
		if c.want == "" && len(found) > 0 || c.want != "" && (len(found) != 1 || !strings.Contains(found[0].Words, c.want)) {
			t.Errorf("%s: %+v, want %q", name, found, c.want)
		}
	}
}

// One user who stays with the new version for a while is no regression: what harm rests on
// must be there without the busiest minutes too, as far as they are no more than thirty
// events. What lasts is stopped, and so is what is much more at once.
func TestOneVisitToTheNewVersionIsNoHarm(t *testing.T) {
	for _, c := range []struct {
		name   string
		events func(n int) uint64 // of the new version in a second, of which the old one has nine
		want   assay.ActionKind
	}{
		{"nobody comes", func(int) uint64 { return 1 }, assay.ActionHold},
		{"a visit of five seconds", func(n int) uint64 {
			if n >= 60 && n < 65 {
				return 5
			}
			return 1
		}, assay.ActionHold},
		{"it stays", func(n int) uint64 {
			if n >= 60 {
				return 5
			}
			return 1
		}, assay.ActionAbort},
		{"a hundred at once, and again", func(n int) uint64 {
			if n == 60 || n == 61 {
				return 100
			}
			return 1
		}, assay.ActionAbort},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := measured(decide.Indicator{Kind: decide.KindCount})
			p.Steps, p.MinRequests = []int{10, 100}, 1<<40 // it is watched to the end
			d, took := follow(t, p, 120, func(n int) []assay.Reading {
				return both(n, func(canary bool, _ uint64, r *assay.Reading) {
					if r.Count = 9; canary {
						r.Count = c.events(n)
					}
				})
			})
			if d.Action.Kind != c.want {
				t.Errorf("%s after %d s: %s", d.Action.Kind, took, d.Words)
			}
		})
	}
}
