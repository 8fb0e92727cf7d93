package mitigate_test

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
)

// rig drives a strategy by hand: what is set stays, and what is decided is done.
type rig struct {
	t    testing.TB
	s    mitigate.Strategy
	st   mitigate.State
	in   mitigate.Inputs
	now  time.Time
	log  []assay.Action
	last assay.Decision
}

// example loads a strategy that users are shown.
func example(t testing.TB, name string) *rig {
	t.Helper()
	return declared(t, readExample(t, name))
}

func readExample(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile("../examples/strategies/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func declared(t testing.TB, text string) *rig {
	t.Helper()
	res, err := policy.Parse("strategy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, s: mitigate.Of(res.Strategies[0]), in: mitigate.Inputs{Burn: -1}, now: time.Date(2026, 11, 9, 12, 0, 0, 0, time.UTC)}
}

func (r *rig) set(name, scope string, v float64) {
	for i := range r.in.Values {
		if x := &r.in.Values[i]; x.Name == name && x.Scope == scope {
			x.Value = v
			return
		}
	}
	r.in.Values = append(r.in.Values, mitigate.Value{Name: name, Scope: scope, Value: v, Completeness: 1})
}

func (r *rig) lever(l assay.Lever, scope string, v float64) {
	for i := range r.in.Settings {
		if x := &r.in.Settings[i]; x.Lever == l && x.Scope == scope {
			x.Now = v
			return
		}
	}
	r.in.Settings = append(r.in.Settings, mitigate.Setting{Lever: l, Scope: scope, Now: v})
}

func (r *rig) at(l assay.Lever, scope string) float64 {
	for _, x := range r.in.Settings {
		if x.Lever == l && x.Scope == scope {
			return x.Now
		}
	}
	return math.NaN()
}

// step moves the clock, lets every value be fresh, decides and does it.
func (r *rig) step(d time.Duration) assay.Decision {
	r.t.Helper()
	r.now = r.now.Add(d)
	r.fresh()
	return r.decide()
}

// fresh lets every value be of now.
func (r *rig) fresh() {
	for i := range r.in.Values {
		r.in.Values[i].Time = r.now
	}
}

func (r *rig) decide() assay.Decision {
	r.t.Helper()
	dec, next, err := mitigate.Next(r.s, r.st, r.in, nil, r.now)
	if err != nil {
		r.t.Fatal(err)
	}
	r.st, r.last = next, dec
	if a := dec.Action; a.Kind.Changes() {
		r.st = r.st.Applied(a, r.now)
		if a.Lever == assay.LeverShare {
			r.lever(a.Lever, a.Version, a.Want)
		} else {
			r.lever(a.Lever, a.Scope, a.Want)
		}
		r.log = append(r.log, a)
	}
	return dec
}

// run steps for a while.
func (r *rig) run(d, every time.Duration) {
	r.t.Helper()
	for range int(d / every) {
		r.step(every)
	}
}

func (r *rig) says(want string) {
	r.t.Helper()
	all := append([]string{r.last.Words}, r.last.Reasons...)
	if !slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, want) }) {
		r.t.Errorf("nothing says %q: %s", want, strings.Join(all, "\n  "))
	}
}

func TestEveryExampleDecidesAndReplaysToTheSameBytes(t *testing.T) {
	for _, law := range policy.Laws {
		t.Run(law, func(t *testing.T) {
			r := example(t, law)
			trouble(r, law)
			for range 30 {
				before := r.st
				r.step(30 * time.Second)
				rec, err := mitigate.Decide(r.s, before, r.in, nil, r.now)
				if err != nil {
					t.Fatal(err)
				}
				data, err := rec.Encode()
				if err != nil {
					t.Fatal(err)
				}
				again, same, err := mitigate.Replay(data)
				if err != nil || !same {
					t.Fatalf("identical %t, %v: %s", same, err, again.Decision().Words)
				}
				// What was weighed replays by itself, as every decision does.
				m, err := rec.Mitigation.Encode()
				if err != nil {
					t.Fatal(err)
				}
				if weighed, err := decide.Replay(m); err != nil || !weighed.Identical {
					t.Fatalf("the choice: identical %t, %v", weighed.Identical, err)
				}
			}
			if law != "data" && len(r.log) == 0 {
				t.Errorf("thirty decisions in trouble moved nothing: %s %v", r.last.Words, r.last.Reasons)
			}
			if law == "data" && r.last.Action.Kind != assay.ActionAsk {
				t.Errorf("nobody is asked about shorter retention: %s %v", r.last.Words, r.last.Reasons)
			}
		})
	}
}

// trouble sets what the law of an example is there for.
func trouble(r *rig, law string) {
	switch law {
	case "scale":
		r.set("load", "", 1000)
		r.lever(assay.LeverReplicas, "", 5)
	case "stabilise":
		r.set("recommended", "", 12)
		r.lever(assay.LeverReplicas, "", 5)
	case "throttle":
		throttleTrouble(r)
	case "divert":
		regions(r)
		r.fails("eu")
	case "isolate":
		tenants(r)
		r.set("usage", "beta", 260)
		r.set("latency", "", 0.9)
	case "tiers":
		r.set("good", "gold", 99000)
		r.set("total", "gold", 100000)
		r.set("good", "basic", 9990)
		r.set("total", "basic", 10000)
		r.lever(assay.LeverCostClass, "gold", 1)
		r.lever(assay.LeverCostClass, "basic", 1)
	case "cost":
		jobs(r)
		r.set("spent", "", 60)
	case "contain":
		sources(r)
		r.set("anomaly", "10.0.0.9", 0.97)
	case "rollback":
		r.set("bad", "v2", 60)
		r.set("total", "v2", 1000)
		r.set("bad", "v1", 80)
		r.set("total", "v1", 9000)
		r.lever(assay.LeverShare, "v2", 10)
		r.in.Changes = []mitigate.Change{{Time: r.now.Add(-time.Minute), Version: "v2", Old: "v1", Open: true}}
	case "data":
		r.set("disk_used", "", 0.9)
		r.set("disk_growth", "", 0.03)
		r.set("io_latency", "", 0.01)
		r.lever(assay.LeverRetention, "", 60)
		r.lever(assay.LeverReplicas, "", 1)
	}
}

func throttleTrouble(r *rig) {
	r.set("latency", "", 0.9)
	r.set("samples", "", 5000)
	r.set("inflight", "", 190)
	r.set("queue_depth", "", 1000)
	r.set("queue_age", "", 2)
	r.set("db_utilisation", "", 0.6)
	for class, v := range map[string]float64{"orders": 100, "search": 60, "reports": 40} {
		r.set("demand", class, v)
	}
	for _, class := range []string{"orders", "search", "reports"} {
		r.lever(assay.LeverClass, class, 100)
	}
	r.lever(assay.LeverConcurrency, "", 200)
}

func regions(r *rig) {
	for _, x := range r.s.Spec.Divert.Regions {
		r.set("bad", x.Name, 10)
		r.set("total", x.Name, 20000)
		r.set("load", x.Name, 3*x.Share)
		r.set("probe", x.Name, 0)
		r.lever(assay.LeverRegion, x.Name, x.Share)
	}
}

func (r *rig) fails(region string) {
	r.set("bad", region, 6000)
	r.set("probe", region, 0.6)
}

func (r *rig) recovers(region string) {
	r.set("bad", region, 10)
	r.set("probe", region, 0)
}

func tenants(r *rig) {
	for _, x := range r.s.Spec.Isolate.Tenants {
		r.set("usage", x.Name, 40)
		r.lever(assay.LeverQuota, x.Name, r.s.Spec.Isolate.Capacity)
	}
	r.set("latency", "", 0.1)
}

func jobs(r *rig) {
	for job, rate := range map[string]float64{"release": 1, "integration": 2, "load-tests": 3} {
		r.set("spend_rate", job, rate)
	}
	for _, j := range r.s.Spec.Cost.Jobs {
		r.lever(assay.LeverClass, j.Name, 100)
		r.lever(assay.LeverCostClass, j.Name, 0)
	}
	r.set("spent", "", 10)
}

func sources(r *rig) {
	for _, ip := range []string{"10.0.0.7", "10.0.0.8", "10.0.0.9"} {
		r.set("anomaly", ip, 0.1)
		r.set("evidence", ip, 1)
		r.set("share", ip, 0.02)
		r.lever(assay.LeverQuarantine, ip, 0)
	}
}

func TestStaleOrIncompleteInputsNeverRelaxAndNeverActAutomatically(t *testing.T) {
	for _, law := range policy.Laws {
		for name, spoil := range map[string]func(*mitigate.Value){
			"stale":      func(v *mitigate.Value) { v.Time = v.Time.Add(-time.Hour) },
			"incomplete": func(v *mitigate.Value) { v.Completeness = 0.5 },
			"NaN":        func(v *mitigate.Value) { v.Value = math.NaN() },
			"infinite":   func(v *mitigate.Value) { v.Value = math.Inf(1) },
			"negative":   func(v *mitigate.Value) { v.Value = -1 },
			"ahead":      func(v *mitigate.Value) { v.Time = v.Time.Add(time.Hour) },
		} {
			t.Run(law+"/"+name, func(t *testing.T) {
				r := example(t, law)
				trouble(r, law)
				for range 10 {
					r.now = r.now.Add(time.Minute)
					for i := range r.in.Values {
						r.in.Values[i].Time = r.now
						spoil(&r.in.Values[i])
					}
					if d := r.decide(); d.Action.Kind.Changes() {
						t.Fatalf("it acts: %s", d.Words)
					}
				}
				if !r.st.Quiet.IsZero() {
					t.Error("what is unknown counts as quiet")
				}
			})
		}
	}
}

func TestNoDataAtAllIsNoReasonToMove(t *testing.T) {
	for _, law := range policy.Laws {
		r := example(t, law)
		trouble(r, law)
		r.in.Values = nil
		r.run(20*time.Minute, time.Minute)
		if len(r.log) > 0 {
			t.Errorf("%s moved without data: %+v", law, r.log)
		}
	}
}

func TestLevelsSayHowMuchIsDoneWithoutAPerson(t *testing.T) {
	for level, want := range map[policy.Level]assay.ActionKind{
		policy.LevelObserve: assay.ActionHold, policy.LevelPropose: assay.ActionAsk, policy.LevelApprove: assay.ActionAsk, policy.LevelAct: assay.ActionAdjust,
	} {
		r := example(t, "scale")
		r.s.Spec.Level = level
		trouble(r, "scale")
		if d := r.step(time.Second); d.Action.Kind != want {
			t.Errorf("level %s decides to %s: %s", level, d.Action.Kind, d.Words)
		}
	}
}

func TestTheLevelRisesOnlyWhenItsPrerequisitesHold(t *testing.T) {
	r := example(t, "scale")
	trouble(r, "scale")
	r.in.History.Prerequisites = []decide.Prerequisite{{Name: "watched for a day", Words: "it has been watched for 2h"}}
	if d := r.step(time.Second); d.Action.Kind != assay.ActionAsk || !strings.Contains(d.Words, "watched for a day") {
		t.Errorf("with a prerequisite that does not hold it decides to %s: %s", d.Action.Kind, d.Words)
	}
}

func TestAnApprovedProposalIsDoneAlthoughTheNumbersMovedOn(t *testing.T) {
	r := example(t, "scale")
	r.s.Spec.Level = policy.LevelApprove
	trouble(r, "scale")
	d := r.step(time.Second)
	if d.Proposed == nil {
		t.Fatalf("nothing is proposed: %s", d.Words)
	}
	asked := *d.Proposed
	r.set("load", "", 1040)
	r.in.History.Approvals = []decide.Approval{{Action: asked, Asked: r.now, Answer: "yes", Answered: r.now.Add(time.Second), By: "grace"}}
	if d = r.step(10 * time.Second); d.Action.Kind != assay.ActionAdjust || d.Action.Want != asked.Want {
		t.Errorf("approved %v, and it decides to %s %v: %s", asked.Want, d.Action.Kind, d.Action.Want, d.Words)
	}
	r = example(t, "scale")
	r.s.Spec.Level = policy.LevelApprove
	trouble(r, "scale")
	r.in.History.Approvals = []decide.Approval{{Action: asked, Asked: r.now, Answer: "no", Answered: r.now, By: "grace"}}
	if d = r.step(10 * time.Second); d.Action.Kind.Changes() {
		t.Errorf("refused, and it decides to %s", d.Words)
	}
}

func TestADeterministicScopeNeverGetsAProbabilisticAction(t *testing.T) {
	r := example(t, "scale")
	r.s.Spec.Deterministic = true
	r.set("load", "", 400)
	r.lever(assay.LeverReplicas, "", 20)
	upper := slices.Repeat([]float64{5000}, 100)
	r.in.Forecasts = []mitigate.Forecast{{Signal: "load", At: r.now, Step: time.Minute, Tau: 0.95, Mean: upper, Upper: upper, Skill: 0.5, Cover: 0.9, Trusted: true}}
	r.run(time.Minute, 10*time.Second)
	if len(r.log) > 0 || len(r.last.Beliefs) > 0 {
		t.Errorf("moved %v with beliefs %v", r.log, r.last.Beliefs)
	}
	r.says("deterministic")
}

func TestTheKillSwitchHoldsEveryLaw(t *testing.T) {
	for _, law := range policy.Laws {
		r := example(t, law)
		trouble(r, law)
		r.in.History.Halts = []decide.Halt{{Scope: "global", Reason: "somebody pulled it"}}
		r.run(10*time.Minute, 30*time.Second)
		if len(r.log) > 0 {
			t.Errorf("%s acts with the kill switch pulled: %+v", law, r.log)
		}
	}
}
