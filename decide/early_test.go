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

// More traffic brings the evidence sooner, and it is given as long as no regression that
// is still plausible would cost more than the plan says. All of it waits for proof.
func TestStepsGoAheadOfSafetyWithinTheStepBudget(t *testing.T) {
	clean := [2][2]uint64{{0, 100}, {1, 900}}
	for _, c := range []struct {
		name   string
		change func(*decide.Plan)
		counts [2][2]uint64 // of each second
		after  time.Duration
		reach  int
		words  string
	}{
		{"a budget that is large enough", func(*decide.Plan) {}, clean, 5 * time.Second, 50, ""},
		{"all traffic is last and waits", func(p *decide.Plan) { p.Steps = []int{10, 100} }, clean, 5 * time.Second, 10, "neither harm nor safety"},
		{"a budget that is too small", func(p *decide.Plan) { p.Budget = 1000 }, clean, 5 * time.Second, 10, "neither harm nor safety"},
		{"nobody knows the budget", func(p *decide.Plan) { p.Budget = 0 }, clean, 5 * time.Second, 10, "neither harm nor safety"},
		{"the plan says that steps wait", func(p *decide.Plan) { p.StepBudget = 0 }, clean, 5 * time.Second, 10, "neither harm nor safety"},
		{"the step's least requests come first", func(p *decide.Plan) { p.MinRequests = 10_000 }, clean, 5 * time.Second, 10, "neither harm nor safety"},
		{"the harm budget holds as well", func(p *decide.Plan) { p.HarmBudget = 1e-6 }, clean, 5 * time.Second, 10, "neither harm nor safety"},
		{"what leans to harm gets no more traffic", func(*decide.Plan) {}, [2][2]uint64{{1, 100}, {3, 900}}, 12 * time.Second, 10, "neither harm nor safety"},
		{"planned looks know no harm in between", func(p *decide.Plan) {
			p.Fixed = &decide.FixedLooks{Requests: 1e6, Looks: 2, Spending: infer.OBrienFleming}
		}, clean, 5 * time.Second, 10, "neither harm nor safety"},
		{"after the horizon a person is asked", func(p *decide.Plan) { p.Horizon = time.Second }, clean, 5 * time.Second, 10, "the horizon of 1s is over"},
		{"two steps of which the last waits", func(p *decide.Plan) { p.Steps = []int{10, 20, 100} }, clean, 5 * time.Second, 20, "neither harm nor safety"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := plan()
			p.Budget, p.MinDuration = 1e6, time.Second
			c.change(&p)
			s := begin(t, p)
			var d assay.Decision
			for n := range int(c.after / time.Second) {
				now := start.Add(time.Duration(n+1) * time.Second)
				d, s = next(t, p, s, second(n, c.counts[0], c.counts[1]), allow, now)
				if d.Action.Kind == assay.ActionAdvance && !strings.Contains(d.Words, "early: neither harm nor safety is shown") {
					t.Fatalf("%s", d.Words)
				}
				if d.Safe >= d.ShipAt || d.Harm >= d.AbortAt {
					t.Fatal("safety or harm was shown: the case says nothing")
				}
				var err error
				if s, err = s.Applied(p, d.Action, now); err != nil {
					t.Fatal(err)
				}
			}
			if s.Weight(p) != c.reach || !strings.Contains(d.Words, c.words) {
				t.Errorf("at %d %%, want %d: %s", s.Weight(p), c.reach, d.Words)
			}
		})
	}
}

func TestAnUnknownSignalOrAGuardHoldsAnEarlyStepBack(t *testing.T) {
	p := plan()
	p.Budget = 1e6
	r := second(0, [2]uint64{0, 200}, [2]uint64{2, 1800})
	if d, _ := next(t, p, begin(t, p), r, allow, start.Add(time.Second)); d.Action.Kind != assay.ActionAdvance || d.Action.Weight != 25 {
		t.Fatalf("%s", d.Words)
	}
	if d, _ := next(t, p, begin(t, p), r, allow, start.Add(time.Minute)); d.Action.Kind != assay.ActionHold {
		t.Errorf("signals of a minute ago: %s", d.Words)
	}
	refuse := func(assay.Action) []assay.GuardVerdict {
		return []assay.GuardVerdict{{Guard: "calm", Outcome: assay.OutcomeFail, Reason: "not now"}}
	}
	if d, _ := next(t, p, begin(t, p), r, refuse, start.Add(time.Second)); d.Action.Kind != assay.ActionHold || !strings.Contains(d.Words, "not now") {
		t.Errorf("a guard says no: %s", d.Words)
	}
}

// What the plan says that early steps may risk is what they cost at the most, in the mean
// over rollouts of one regression, whatever its size: until it is stopped or a person is
// asked. Without the rule half of the traffic would cost more than the least budget here;
// what the first share costs is declared by it and not by the budget.
func TestRegressionsCostNoMoreThanTheStepBudget(t *testing.T) {
	const (
		perSecond, base, runs = 100.0, 0.002, 60
		look                  = 20 * time.Second
	)
	free := 0.0 // the dearest regression if every step is taken at once
	for _, risk := range []float64{25, 60, 1e9} {
		stepped := 0
		for _, ratio := range []float64{1.5, 2, 3, 10, 30} {
			t.Run(fmt.Sprintf("%g bad events, %g times", risk, ratio), func(t *testing.T) {
				sum, squares := 0.0, 0.0
				for run := range runs {
					rng := rand.New(rand.NewPCG(uint64(run), uint64(ratio*1000+risk)))
					harm, early := risked(t, rng, risk, perSecond*look.Seconds(), base, ratio, look)
					sum, squares = sum+harm, squares+harm*harm
					if early {
						stepped++
					}
				}
				mean := sum / runs
				se := math.Sqrt(max(0, squares/runs-mean*mean) / (runs - 1))
				t.Logf("%.1f ± %.1f, %d stepped early so far", mean, se, stepped)
				if risk == 1e9 {
					free = max(free, mean)
				} else if mean > risk+2.6*se {
					t.Errorf("%.1f ± %.1f bad events beyond the old version's, %v may be risked", mean, se, risk)
				}
			})
		}
		if risk > 25 && stepped == 0 {
			t.Errorf("no rollout stepped early at %v: the test shows nothing", risk)
		}
	}
	if free <= 25 {
		t.Errorf("without a bound the dearest regression costs %.1f: the test shows nothing", free)
	}
}

// risked plays a rollout of a regression until it ends or a person is asked, and returns
// its bad events beyond the old version's rate that were expected to happen, and whether
// a step went ahead of safety.
func risked(t *testing.T, rng *rand.Rand, risk, requests, base, ratio float64, look time.Duration) (harm float64, early bool) {
	p := plan()
	p.Steps, p.MinDuration, p.Look = []int{5, 50, 100}, look, look
	p.Budget = risk / p.StepBudget
	s := begin(t, p)
	for now := start.Add(look); now.Sub(start) <= p.Horizon; now = now.Add(look) {
		share := float64(s.Weight(p)) / 100
		bad := min(1, base*ratio)
		harm += requests * share * (bad - base)
		canary := [2]uint64{poisson(rng, requests*share*bad), 0}
		control := [2]uint64{poisson(rng, requests*(1-share)*base), 0}
		canary[1] = canary[0] + poisson(rng, requests*share*(1-bad))
		control[1] = control[0] + poisson(rng, requests*(1-share)*(1-base))
		r := second(0, canary, control)
		for i := range r {
			r[i].Start, r[i].End, r[i].EventTime, r[i].Ingested = now.Add(-look), now, now, now
		}
		var d assay.Decision
		d, s = next(t, p, s, r, allow, now)
		early = early || d.Action.Kind == assay.ActionAdvance && d.Safe < d.ShipAt
		var err error
		if s, err = s.Applied(p, d.Action, now); err != nil {
			t.Fatal(err)
		}
		if s.Phase != decide.Running {
			break
		}
	}
	return harm, early
}

// poisson draws a count; a large one is as good as normal.
func poisson(rng *rand.Rand, mean float64) (n uint64) {
	if mean > 50 {
		return uint64(max(0, math.Round(mean+math.Sqrt(mean)*rng.NormFloat64())))
	}
	for left := mean - rng.ExpFloat64(); left > 0; left -= rng.ExpFloat64() {
		n++
	}
	return n
}

// A proof that comes at a share which was there before it is looked at once more, for a
// step's least time, as a plan whose steps wait looks again at the share after the proof.
func TestAllTrafficWaitsForASecondLookAtTheProof(t *testing.T) {
	p := plan()
	p.Budget, p.Steps, p.MinDuration = 1e6, []int{10, 50, 100}, 5*time.Second
	s := begin(t, p)
	shown, finished := -1, -1
	for n := range 60 {
		now := start.Add(time.Duration(n+1) * time.Second)
		share := uint64(s.Weight(p))
		var d assay.Decision
		d, s = next(t, p, s, second(n, [2]uint64{share / 10, 100 * share}, [2]uint64{(100 - share) / 10, 100 * (100 - share)}), allow, now)
		if shown < 0 && d.Safe >= d.ShipAt {
			if shown = n; share != 50 {
				t.Fatalf("safety is shown at %d %%: the test shows nothing", share)
			}
		}
		if shown >= 0 && n > shown && n < shown+5 && !strings.Contains(d.Words, "safety has been shown for") {
			t.Errorf("%d seconds after the proof: %s", n-shown, d.Words)
		}
		if d.Action.Kind == assay.ActionFinish {
			finished = n
			break
		}
		var err error
		if s, err = s.Applied(p, d.Action, now); err != nil {
			t.Fatal(err)
		}
	}
	if shown < 0 || finished != shown+5 {
		t.Errorf("shown after %d seconds, all traffic after %d", shown+1, finished+1)
	}
}
