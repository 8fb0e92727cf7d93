package mitigate

import (
	"os"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

// A limit that is not set reads 0, and stands at its greatest: to set it is to lower it.
func TestALimitThatWasNotSetIsGivenBackAfterItHarmed(t *testing.T) {
	text, err := os.ReadFile("../examples/strategies/throttle.yaml")
	if err != nil {
		t.Fatal(err)
	}
	res, err := policy.Parse("strategy.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 9, 12, 0, 0, 0, time.UTC)
	r := record{Strategy: Of(res.Strategies[0])}
	move := func(from, stands, to float64) {
		a := assay.Action{Kind: assay.ActionAdjust, Service: "broker", Lever: assay.LeverConcurrency, Now: from, Want: to}
		r.State.Bands = map[string]Settled{a.Target(): {Now: stands}}
		r.State = r.State.Applied(a, now)
		r.await(pending{Action: a}, 0, now)
	}
	move(0, 400, 200)
	now = now.Add(10 * time.Second)
	move(200, 200, 150)
	if len(r.Judging) != 1 || r.Judging[0].Action.Now != 400 || r.Judging[0].Action.Want != 150 {
		t.Fatalf("two steps down are not one action from 400 to 150: %+v", r.Judging)
	}
	now = now.Add(10 * time.Minute)
	r.State = r.State.harmed(r.Judging[0].Action, r.Judging[0].At, harmOf(r.Judging[0], assay.ActionOutcome{}, now))
	in := Inputs{Burn: -1, Settings: []Setting{{Lever: assay.LeverConcurrency, Now: 150}}}
	for name, v := range map[string]float64{"latency": 0.1, "samples": 5000, "inflight": 100, "queue_depth": 0, "queue_age": 0, "db_utilisation": 0.5} {
		in.Values = append(in.Values, Value{Name: name, Value: v, Time: now, Completeness: 1})
	}
	for _, c := range r.Strategy.Spec.Throttle.Classes {
		in.Values = append(in.Values, Value{Name: "demand", Scope: c.Name, Value: 10, Time: now, Completeness: 1})
		in.Settings = append(in.Settings, Setting{Lever: assay.LeverClass, Scope: c.Name, Now: 100})
	}
	d, err := Decide(r.Strategy, r.State, in, nil, now)
	if a := d.Decision().Action; err != nil || a.Kind != assay.ActionRestore || a.Want != 400 {
		t.Errorf("it decides to %s %v: %s %v, %v", a.Kind, a.Want, d.Decision().Words, d.Decision().Reasons, err)
	}
	// Not set again, it is not lowered again meanwhile.
	in.Settings[0].Now = 0
	in.Values = append(in.Values[:0:0], in.Values...)
	for i := range in.Values {
		if in.Values[i].Name == "latency" {
			in.Values[i].Value = 0.9
		}
	}
	d, err = Decide(r.Strategy, r.State, in, nil, now)
	if a := d.Decision().Action; err != nil || a.Lever == assay.LeverConcurrency {
		t.Errorf("it is done again: %s %v, %v", d.Decision().Words, d.Decision().Reasons, err)
	}
}
