package decide_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

func TestExactCertaintyKeepsTheTheoremsThreshold(t *testing.T) {
	p := plan()
	r := second(0, [2]uint64{3, 150}, [2]uint64{13, 1350})
	calibrated, s := next(t, p, begin(t, p), r, allow, start.Add(time.Second))
	p.Certainty = assay.Exact
	exact, plain := next(t, p, begin(t, p), r, allow, start.Add(time.Second))
	if exact.AbortAt != -math.Log(p.Alpha) || exact.AbortBasis != "" || exact.Tests[0].Certainty != assay.Exact {
		t.Errorf("exact: abort at %v (%s), test is %s", exact.AbortAt, exact.AbortBasis, exact.Tests[0].Certainty)
	}
	if calibrated.AbortAt >= exact.AbortAt || calibrated.AbortAt < exact.AbortAt-1 || !strings.Contains(calibrated.AbortBasis, "measured") || calibrated.Tests[0].Certainty != assay.Calibrated {
		t.Errorf("calibrated: abort at %v (%s), test is %s", calibrated.AbortAt, calibrated.AbortBasis, calibrated.Tests[0].Certainty)
	}
	if len(s.Watches[0].Bursts) == 0 || len(plain.Watches[0].Bursts) != 0 {
		t.Error("dispersion is learned where bounds are exact, or is not where they are calibrated")
	}
	p.Certainty, p.Alpha = "", 0.2
	if d, _ := next(t, p, begin(t, p), r, allow, start.Add(time.Second)); d.AbortAt != -math.Log(p.Alpha) {
		t.Errorf("alpha of 20 %%, where nothing was measured: abort at %v", d.AbortAt)
	}
}

// past is the old version's history by the minute: bursts of up to size errors.
func past(rng *rand.Rand, minutes, replicas, size int) (out [][]assay.Reading) {
	for i := range minutes {
		from := start.Add(time.Duration(i-minutes) * time.Minute)
		var slot []assay.Reading
		for range replicas {
			bad := 0
			for range 400 { // chances of a burst
				if rng.Float64() < 0.02/float64(size) {
					bad += size
				}
			}
			slot = append(slot, assay.Reading{Service: "shop", Indicator: "errors", Version: "v1", Good: uint64(1000 - min(bad, 1000)), Total: 1000,
				Start: from, End: from.Add(time.Minute), EventTime: from, Completeness: 1})
		}
		out = append(out, slot)
	}
	return out
}

// draws are those of a seed.
func draws(seed uint64) decide.Draws {
	return decide.Draws{Seed: seed, Next: rand.New(rand.NewPCG(seed, 0)).Float64}
}

func TestCalibrateLearnsBurstsAndChargesNothingWithoutThem(t *testing.T) {
	for _, replicas := range []int{1, 4} {
		for _, size := range []int{1, 5} {
			rng := rand.New(rand.NewPCG(11, uint64(10*replicas+size)))
			got, err := decide.Calibrate(plan(), "errors", past(rng, 1200, replicas, size), draws(1))
			if err != nil {
				t.Fatal(err)
			}
			c := got.Calibration
			if c.Slots != 1200 || c.Arms != replicas || c.Runs == 0 || c.High <= 0 || float64(c.Aborts) > 0.01*float64(c.Runs) {
				t.Errorf("%d replicas, bursts of %d: %+v", replicas, size, c)
			}
			if size == 1 && got.Dispersion != 1 {
				t.Errorf("%d replicas, no bursts: evidence divided by %v", replicas, got.Dispersion)
			}
			if size == 1 && got.SafeDispersion != 0 || size == 5 && !(got.SafeDispersion > c.Dispersion && got.SafeDispersion < got.Dispersion) {
				t.Errorf("%d replicas, bursts of %d: evidence of safety divided by %v, of harm by %v", replicas, size, got.SafeDispersion, got.Dispersion)
			}
			if size == 5 && (got.Dispersion < 5 || got.Dispersion > 10 || math.Abs(c.Dispersion-5) > 1.5) {
				t.Errorf("%d replicas, bursts of 5: dispersion %v, evidence divided by %v", replicas, c.Dispersion, got.Dispersion)
			}
		}
	}
}

// An incident that hits all replicas is no dispersion: they are compared with each other.
func TestSharedIncidentIsNoBurstWhereReplicasAreTold(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 0))
	history := past(rng, 1200, 4, 1)
	for i := range history {
		for r := range history[i] {
			if i%60 < 5 {
				history[i][r].Good -= 80 + rng.Uint64N(3)
			}
		}
	}
	got, err := decide.Calibrate(plan(), "errors", history, draws(1))
	if err != nil || got.Dispersion > 1.2 {
		t.Errorf("evidence divided by %v, %v", got.Dispersion, err)
	}
}

func TestCalibrateRefusesWhatCannotBe(t *testing.T) {
	good := past(rand.New(rand.NewPCG(1, 1)), 3, 1, 1)
	bad := past(rand.New(rand.NewPCG(1, 1)), 3, 1, 1)
	bad[1][0].Good = 2000
	for name, c := range map[string]struct {
		indicator string
		history   [][]assay.Reading
		code      assay.Code
	}{
		"an unknown indicator":      {"latency", good, assay.CodeInvalid},
		"more good than all":        {"errors", bad, assay.CodeInvalid},
		"more slots than the limit": {"errors", make([][]assay.Reading, decide.MaxHistory+1), assay.CodeTooLarge},
	} {
		if _, err := decide.Calibrate(plan(), c.indicator, c.history, draws(1)); assay.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	flat := past(rand.New(rand.NewPCG(1, 1)), 60, 1, 1)
	for name, from := range map[string]decide.Draws{
		"no draws":    {},
		"a draw of 1": {Next: func() float64 { return 1 }},
		"no number":   {Next: math.NaN},
	} {
		if _, err := decide.Calibrate(plan(), "errors", flat, from); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v, want %s", name, err, assay.CodeInvalid)
		}
	}
	// The same seed gives the same calibration, which is how a recorded one is checked.
	one, err := decide.Calibrate(plan(), "errors", flat, draws(7))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := decide.Calibrate(plan(), "errors", flat, draws(7)); err != nil || *again.Calibration != *one.Calibration || one.Calibration.Seed != 7 {
		t.Errorf("%+v again is %+v, %v", one.Calibration, again.Calibration, err)
	}
	// Two points say nothing, and no history says nothing: that is said, not guessed.
	for _, history := range [][][]assay.Reading{nil, good[:2]} {
		got, err := decide.Calibrate(plan(), "errors", history, draws(1))
		if err != nil || got.Dispersion != 1 || got.Calibration.Runs != 0 || got.Calibration.High != 1 {
			t.Errorf("%d slots: %+v, %v", len(history), got.Calibration, err)
		}
	}
}

// strata are readings of one second by region.
func strata(n int, canary, control map[string][2]uint64) (out []assay.Reading) {
	for version, of := range map[string]map[string][2]uint64{"v2": canary, "v1": control} {
		for region, c := range of {
			r := second(n, c, c)[0]
			r.Version, r.Stratum = version, region
			out = append(out, r)
		}
	}
	return out
}

// All of the difference comes from the canary having more traffic of a bad region:
// within regions the versions are alike, and nothing is aborted.
func TestTrafficMixIsNamedAndIsNoHarm(t *testing.T) {
	p := plan()
	s := begin(t, p)
	var d assay.Decision
	for n := range 30 {
		r := strata(n, map[string][2]uint64{"eu": {20, 100}, "us": {0, 20}}, map[string][2]uint64{"eu": {20, 100}, "us": {1, 980}})
		d, s = next(t, p, s, r, allow, start.Add(time.Duration(n+1)*time.Second))
		if d.Action.Kind == assay.ActionAbort {
			t.Fatalf("second %d: %s", n, d.Words)
		}
	}
	if d.Mix == nil || !d.Mix.Differs || !strings.Contains(d.Mix.Words, "eu is 83 %") || d.Mix.Distance < 0.7 {
		t.Errorf("mix %+v", d.Mix)
	}
	// The same counts without strata are harm.
	s = begin(t, p)
	for n := range 30 {
		if d, s = next(t, p, s, second(n, [2]uint64{20, 120}, [2]uint64{21, 1080}), allow, start.Add(time.Duration(n+1)*time.Second)); d.Action.Kind == assay.ActionAbort {
			return
		}
	}
	t.Error("the counts without strata were not aborted: the test shows nothing")
}

func TestNothingIsPromotedForAStratumThatWasNotSeen(t *testing.T) {
	p := plan()
	s := begin(t, p)
	var d assay.Decision
	for n := range 60 {
		r := strata(n, map[string][2]uint64{"eu": {1, 100}}, map[string][2]uint64{"eu": {5, 500}, "us": {4, 400}})
		if d, s = next(t, p, s, r, allow, start.Add(time.Duration(n+1)*time.Second)); d.Action.Kind.Changes() {
			t.Fatalf("second %d: %s", n, d.Words)
		}
	}
	if !strings.Contains(d.Words, "no request of us") {
		t.Errorf("words: %s", d.Words)
	}
}

func TestClassesClustersCountsAndValuesAreTested(t *testing.T) {
	worse := func(n int, change func(version string, r *assay.Reading)) (out []assay.Reading) {
		for _, r := range second(n, [2]uint64{10, 200}, [2]uint64{10, 1800}) {
			change(r.Version, &r)
			out = append(out, r)
		}
		return out
	}
	of := func(version string, canary, control uint64) uint64 {
		if version == "v2" {
			return canary
		}
		return control
	}
	for name, c := range map[string]struct {
		indicator decide.Indicator
		change    func(version string, r *assay.Reading)
		test      string
	}{
		"classes": {decide.Indicator{Classes: []string{"timeout", "5xx"}}, func(v string, r *assay.Reading) {
			r.Good = r.Total - 50
			r.Classes = []assay.Class{{Name: "timeout", Count: of(v, 9, 9)}, {Name: "5xx", Count: 1}}
		}, "errors:timeout"},
		"clusters": {decide.Indicator{Clusters: true}, func(v string, r *assay.Reading) {
			r.Good, r.Clusters, r.BadClusters = r.Total, r.Total/2, of(v, 9, 9)
		}, "errors"},
		"counts": {decide.Indicator{Kind: decide.KindCount}, func(v string, r *assay.Reading) {
			r.Good, r.Count = r.Total, of(v, 500, 1000)
		}, "errors"},
		"values": {decide.Indicator{Kind: decide.KindValue, Max: 10}, func(v string, r *assay.Reading) {
			r.Good, r.Sum = r.Total, float64(of(v, 95, 95))
		}, "errors"},
	} {
		t.Run(name, func(t *testing.T) {
			p := plan()
			c.indicator.Name, c.indicator.Weight, c.indicator.Required = "errors", 1, true
			p.Indicators = []decide.Indicator{c.indicator}
			s := begin(t, p)
			for n := range 20 {
				var d assay.Decision
				if d, s = next(t, p, s, worse(n, c.change), allow, start.Add(time.Duration(n+1)*time.Second)); d.Action.Kind == assay.ActionAbort {
					if d.Tests[0].Name != c.test {
						t.Errorf("test is called %s, want %s", d.Tests[0].Name, c.test)
					}
					return
				}
			}
			t.Error("a version that is many times worse was not aborted")
		})
	}
}

func TestReadingsThatDoNotFitTheirKindAreUnknown(t *testing.T) {
	for want, i := range map[string]decide.Indicator{
		"do not tell classes apart": {Classes: []string{"timeout"}},
		"count no clusters":         {Clusters: true},
		"above the declared max":    {Kind: decide.KindValue, Max: 1e-6},
	} {
		p := plan()
		i.Name, i.Weight, i.Required = "errors", 1, true
		p.Indicators = []decide.Indicator{i}
		r := second(0, [2]uint64{3, 150}, [2]uint64{13, 1350})
		r[0].Sum, r[1].Sum = 5, 5
		d, _ := next(t, p, begin(t, p), r, allow, start.Add(time.Second))
		if d.Signals[0].Known || !strings.Contains(d.Signals[0].Reason, want) || d.Action.Kind != assay.ActionHold {
			t.Errorf("%s: %+v, %s", want, d.Signals[0], d.Action.Kind)
		}
	}
}

func TestHarmBudgetHoldsTheNextStepBack(t *testing.T) {
	run := func(budget float64) (steps int, last assay.Decision) {
		p := plan()
		p.MinRequests, p.Budget, p.HarmBudget = 0, budget, 0.1
		s := begin(t, p)
		for n := range 60 {
			r := second(n, [2]uint64{1, 100}, [2]uint64{9, 900})
			now := start.Add(time.Duration(n+1) * time.Second)
			last, s = next(t, p, s, r, allow, now)
			var err error
			if s, err = s.Applied(p, last.Action, now); err != nil {
				t.Fatal(err)
			}
			if s.Phase != decide.Running {
				break
			}
			steps = s.Step
		}
		return steps, last
	}
	if steps, d := run(1e6); steps == 0 {
		t.Errorf("a large budget: still at the first step: %s", d.Words)
	}
	if steps, d := run(300); steps != 0 || !strings.Contains(d.Words, "harm budget is 30 bad events") {
		t.Errorf("a small budget: at step %d: %s", steps, d.Words)
	}
	// What is spent is asked about, whatever the evidence says.
	p := plan()
	p.Budget, p.HarmBudget = 50, 0.1
	d, _ := next(t, p, begin(t, p), second(0, [2]uint64{9, 300}, [2]uint64{27, 2700}), allow, start.Add(time.Second))
	if d.Action.Kind != assay.ActionAsk || !strings.Contains(d.Words, "harm budget of 5 bad events is spent") {
		t.Errorf("%s: %s", d.Action.Kind, d.Words)
	}
}

func TestFixedLooksAbortOnlyAtTheirLooks(t *testing.T) {
	p := plan()
	p.Fixed = &decide.FixedLooks{Requests: 1000, Looks: 2, Spending: infer.OBrienFleming}
	s := begin(t, p)
	var d assay.Decision
	for n := range 5 {
		d, s = next(t, p, s, second(n, [2]uint64{15, 100}, [2]uint64{9, 900}), allow, start.Add(time.Duration(n+1)*time.Second))
		if (d.Action.Kind == assay.ActionAbort) != (n == 4) {
			t.Fatalf("after %d requests: %s", 100*(n+1), d.Words)
		}
	}
	if d.Look == nil || d.Look.Number != 1 || d.Look.Of != 2 || d.Look.Z < d.Look.Boundary || !strings.Contains(d.Words, "look 1 of 2") {
		t.Errorf("%+v: %s", d.Look, d.Words)
	}
}

func TestScoreAndDivergenceComeFromTheSameNumbers(t *testing.T) {
	p := fullPlan()
	d, _ := next(t, p, begin(t, p), fullSecond(1), allow, start.Add(time.Second))
	if *d.Score < 30 || *d.Score > 90 {
		t.Errorf("one second of equal versions scores %d", *d.Score)
	}
	e := d.Tests[0].Divergence
	if e == nil || e.Unit != "points" || math.Abs(e.Value-100*(1.0/150-14.0/1350)) > 1e-9 || e.Low > e.Value || e.High < e.Value && e.High != 0 {
		t.Errorf("errors: %+v", e)
	}
	l := d.Tests[2].Divergence
	if l == nil || l.Unit != "relative" || math.Abs(l.Value) > 0.05 || l.Low > l.Value {
		t.Errorf("latency: %+v", l)
	}
	bad, _ := next(t, p, begin(t, p), func() []assay.Reading {
		r := fullSecond(0)
		r[0].Good = 50
		return r
	}(), allow, start.Add(time.Second))
	if *bad.Score != 0 || bad.Action.Kind != assay.ActionAbort {
		t.Errorf("an abort scores %d", *bad.Score)
	}
}

func TestLintSaysHowLongAPlanTakes(t *testing.T) {
	p := plan()
	found, err := decide.LintPlan(p, 3, 0.01)
	if err != nil || len(found) != 2 || !strings.Contains(found[0].Words, "at 3 requests/min and 10 % weight this needs about ") || found[0].Needs < 24*time.Hour {
		t.Errorf("%+v %v", found, err)
	}
	if found, err := decide.LintPlan(p, 100_000, 0.01); err != nil || len(found) != 0 {
		t.Errorf("enough traffic: %+v %v", found, err)
	}
	if found, _ := decide.LintPlan(p, 100_000, 0); len(found) != 1 || !strings.Contains(found[0].Words, "never shown safe") {
		t.Errorf("no errors and no tolerable rate: %+v", found)
	}
	p.Indicators[0].Tolerable = 0.01
	if found, _ := decide.LintPlan(p, 100_000, 0); len(found) != 0 {
		t.Errorf("no errors and a tolerable rate: %+v", found)
	}
	p.Steps = []int{100}
	if found, _ := decide.LintPlan(p, 100_000, 0.01); len(found) != 1 || !strings.Contains(found[0].Words, "nothing is left to compare with") {
		t.Errorf("100 %% at once: %+v", found)
	}
	if _, err := decide.LintPlan(p, math.NaN(), 0.01); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("traffic that is NaN: %v", err)
	}
}

// Whatever a rollout is doing, ten minutes without telemetry abort and promote nothing.
func TestTelemetryOutageNeverActs(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(21, seed))
		p := plan()
		p.MinRequests = 20
		s := begin(t, p)
		at, worse := rng.IntN(200), []uint64{1, 1, 3, 10}[rng.IntN(4)]
		for n := 0; n < at+600 && s.Phase == decide.Running; n += 5 {
			dark := n >= at
			var r []assay.Reading
			if !dark {
				weight := uint64(s.Weight(p))
				r = second(n, [2]uint64{min(weight*worse/5, 2*weight), 2 * weight}, [2]uint64{(100 - weight) / 50, 2 * (100 - weight)})
			}
			now := start.Add(time.Duration(n+1) * time.Second)
			d, after := next(t, p, s, r, allow, now)
			if dark && now.Sub(start.Add(time.Duration(at)*time.Second)) > p.MaxAge && d.Action.Kind.Changes() {
				t.Fatalf("seed %d, second %d: %s", seed, n, d.Words)
			}
			var err error
			if s, err = after.Applied(p, d.Action, now); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTheHorizonSkipsNoMinimumOfAStep(t *testing.T) {
	p := plan()
	p.Horizon, p.OnHorizon, p.MinDuration, p.MinRequests = 5*time.Second, decide.HorizonPromote, 3*time.Second, 10
	s := begin(t, p)
	var moves []string
	for n := range 12 {
		now := start.Add(time.Duration(n+1) * time.Second)
		var d assay.Decision
		d, s = next(t, p, s, second(n, [2]uint64{1, 50}, [2]uint64{5, 450}), allow, now)
		if d.Action.Kind == assay.ActionHold && n >= 6 && !strings.Contains(d.Words, "the step has lasted") {
			t.Errorf("second %d: %s", n+1, d.Words)
		}
		if d.Action.Kind == assay.ActionAdvance {
			moves = append(moves, fmt.Sprintf("%d@%d", d.Action.Weight, n+1))
			var err error
			if s, err = s.Applied(p, d.Action, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := strings.Join(moves, " "); got != "25@5 50@8" {
		t.Errorf("moves %s, want each step to last its minimum", got)
	}
}

func TestAnIntervalThatStaysUnusableHoldsUpNoLaterOne(t *testing.T) {
	p := plan()
	p.Indicators[0].Classes = []string{"timeout"}
	told := func(n int) []assay.Reading {
		r := second(n, [2]uint64{1, 100}, [2]uint64{9, 900})
		for i := range r {
			r[i].Classes = []assay.Class{{Name: "timeout", Count: r[i].Bad()}}
		}
		return r
	}
	untold := second(0, [2]uint64{1, 100}, [2]uint64{9, 900}) // its senders did not tell classes apart yet
	s := begin(t, p)
	d, s := next(t, p, s, untold, allow, start.Add(time.Second))
	if d.Signals[0].Known {
		t.Fatalf("classes were not told apart, and that is known: %+v", d.Signals[0])
	}
	later := int(p.MaxAge/time.Second) + 2
	d, _ = next(t, p, s, append(untold, told(later)...), allow, start.Add(time.Duration(later+1)*time.Second))
	if !d.Signals[0].Known || d.Tests[0].Canary.Total != 100 {
		t.Errorf("%+v with %d canary requests; want the later second alone", d.Signals[0], d.Tests[0].Canary.Total)
	}
}

func TestALookWaitsForASignalThatIsUnknown(t *testing.T) {
	p := plan()
	p.Fixed = &decide.FixedLooks{Requests: 1000, Looks: 1, Spending: infer.OBrienFleming}
	s := begin(t, p)
	d, s := next(t, p, s, second(0, [2]uint64{150, 1000}, [2]uint64{90, 9000}), allow, start.Add(2*p.MaxAge))
	if d.Signals[0].Known || d.Action.Kind == assay.ActionAbort {
		t.Fatalf("decided on a stale signal: %s", d.Words)
	}
	n := int(2 * p.MaxAge / time.Second)
	d, _ = next(t, p, s, second(n, [2]uint64{15, 100}, [2]uint64{9, 900}), allow, start.Add(2*p.MaxAge+time.Second))
	if d.Action.Kind != assay.ActionAbort {
		t.Errorf("the look was lost while the signal was unknown: %s", d.Words)
	}
}
