package report_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/infer"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/report"
	"assay.dev/assay/rollout"
	"assay.dev/assay/store"
)

// happen appends a fact of a service, of now, with the payload that its writer has.
func (p *past) happen(kind, service string, payload any, causes ...assay.FactID) (id assay.FactID) {
	p.t.Helper()
	data, err := json.Marshal(payload)
	if err != nil {
		p.t.Fatal(err)
	}
	err = p.Update(p.t.Context(), func(tx store.Tx) (err error) {
		id, err = tx.Append(assay.Fact{
			Kind: kind, Version: 1, Time: p.now, Namespace: "shop", Service: service, Environment: "prod", Actor: "assay",
			Causes: causes, Retention: assay.RetainOperational, Payload: data,
		})
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// rolled records that a rollout ended after its version had traffic for so long.
func (p *past) rolled(id string, status api.RolloutStatus, traffic time.Duration) {
	p.t.Helper()
	p.happen(assay.FactRolloutEnded, "shop", rollout.EndedPayload{
		Rollout: id, Status: status, Canary: assay.Rate{Total: 100}, Began: p.now.Add(-traffic),
	})
}

func (p *past) operate(req api.OperationsRequest) report.Operations {
	p.t.Helper()
	o, err := report.Operate(p.t.Context(), p, "shop", req, p.now.Add(time.Minute))
	if err != nil {
		p.t.Fatal(err)
	}
	return o
}

func TestVersionsThatWereTakenBackAreCountedOnceHoweverThatHappened(t *testing.T) {
	p := newPast(t)
	later := func(d time.Duration) { p.now = p.now.Add(d) }
	p.rolled("good", api.RolloutPromoted, time.Hour)
	p.rolled("bad", api.RolloutAborted, 30*time.Second)
	p.rolled("late", api.RolloutReverted, 20*time.Minute)
	p.rolled("left", api.RolloutPromoted, time.Hour)
	p.rolled("slow", api.RolloutPromoted, time.Hour)
	later(time.Hour)
	// A person takes one back, a strategy another, each by a rollback later; a third one fails.
	p.happen(assay.FactRolloutEnded, "shop", rollout.EndedPayload{Rollout: "b1", Status: api.RolloutPromoted, Began: p.now, Back: &api.Back{Of: "left"}})
	p.happen(assay.FactRolloutEnded, "shop", rollout.EndedPayload{Rollout: "b2", Status: api.RolloutPromoted, Began: p.now, Back: &api.Back{Of: "slow", Cause: "d"}})
	p.happen(assay.FactRolloutEnded, "shop", rollout.EndedPayload{Rollout: "b3", Status: api.RolloutFailed, Back: &api.Back{Of: "good"}})
	// A person stops one, and a strategy another.
	decided := p.happen(assay.FactMitigationDecided, "shop", struct{}{})
	for id, causes := range map[string][]assay.FactID{"ordered": nil, "stopped": {decided}} {
		causes = append(causes, p.happen(assay.FactRolloutStarted, "shop", rollout.StartedPayload{Rollout: id}))
		p.happen(assay.FactRolloutCommanded, "shop", rollout.CommandedPayload{Rollout: id, Command: api.CommandAbort, Reason: "r"}, causes...)
		later(time.Second)
		p.rolled(id, api.RolloutAborted, 2*time.Minute)
	}
	// Two never had traffic, and one is of a time when that was not recorded.
	p.happen(assay.FactRolloutEnded, "shop", rollout.EndedPayload{Rollout: "r", Status: api.RolloutRefused})
	p.happen(assay.FactRolloutEnded, "shop", rollout.EndedPayload{Rollout: "n", Status: api.RolloutAborted})
	p.happen(assay.FactRolloutEnded, "shop", rollout.EndedPayload{Rollout: "o", Status: api.RolloutAborted, Canary: assay.Rate{Total: 9}})

	got := p.operate(api.OperationsRequest{}).Total.Rollouts
	if got.Versions != 8 || got.Promoted != 1 || got.TakenBack != 7 || got.ByPerson != 2 || got.Refused != 2 || got.Failed != 1 {
		t.Errorf("%+v", got)
	}
	low, high := infer.ClopperPearson(7, 8, report.RollbacksConfidence)
	if got.Rollbacks == nil || *got.Rollbacks != 7./8 || got.Interval != [2]float64{low, high} {
		t.Errorf("rollbacks %v in %v", got.Rollbacks, got.Interval)
	}
	// bad 30 s, stopped 2 min, late 20 min, slow two hours: those that no person ordered back.
	want := report.Revert{Measured: 4, Median: 120, Slowest: 7200, Within: 2, Standing: report.RateMissed}
	if got.Revert != want {
		t.Errorf("%+v, want %+v", got.Revert, want)
	}
}

func TestActionsCountAsHelpOnlyIfTheyHelped(t *testing.T) {
	p := newPast(t)
	action := func(kind assay.ActionKind, now, want float64) assay.Action {
		return assay.Action{Kind: kind, Lever: assay.LeverReplicas, Now: now, Want: want}
	}
	adjust, restore := action(assay.ActionAdjust, 2, 4), action(assay.ActionRestore, 4, 2)
	for range 4 {
		p.happen(assay.FactMitigationActed, "shop", mitigate.ActedPayload{Strategy: "s", Action: adjust})
	}
	p.happen(assay.FactMitigationActed, "shop", mitigate.ActedPayload{Strategy: "s", Action: restore})
	p.happen(assay.FactMitigationRefused, "shop", mitigate.RefusedPayload{Strategy: "s", Action: adjust})
	p.happen(assay.FactMitigationRefused, "shop", mitigate.RefusedPayload{Strategy: "s", Action: restore})
	p.happen(assay.FactMitigationFrozen, "shop", mitigate.FrozenPayload{Strategy: "s"})
	for _, e := range []assay.Effect{assay.EffectHelped, assay.EffectHelped, assay.EffectNone, assay.EffectHarmed, assay.EffectInconclusive, assay.EffectConfounded} {
		p.happen(assay.FactMitigationJudged, "shop", mitigate.JudgedPayload{
			Strategy: "s", Outcome: assay.ActionOutcome{Action: adjust, Effect: e}, Seen: infer.Attribution{Before: 2, After: 1},
		})
	}
	p.happen(assay.FactMitigationJudged, "shop", mitigate.JudgedPayload{
		Strategy: "s", Outcome: assay.ActionOutcome{Action: restore, Effect: assay.EffectHarmed}, Seen: infer.Attribution{Before: 1, After: 9},
	})
	got := p.operate(api.OperationsRequest{}).Total.Actions
	if got.Tried != 5 || got.Done != 4 || got.Refused != 1 || got.GaveBack != 1 || got.Frozen != 1 {
		t.Errorf("%+v", got)
	}
	if got.Helped != 2 || got.NoEffect != 1 || got.Harmed != 1 || got.Inconclusive != 1 || got.Confounded != 1 {
		t.Errorf("%+v", got)
	}
	for name, c := range map[string]struct {
		got      *float64
		want     float64
		standing report.Standing
	}{
		"carried out": {got.CarriedOut, 0.8, got.CarriedOutStanding},
		"helped":      {got.Success, 2. / 7, got.SuccessStanding},
	} {
		if c.got == nil || math.Abs(*c.got-c.want) > 1e-12 || c.standing != report.RateMissed {
			t.Errorf("%s: %v and %s, want %v missed", name, c.got, c.standing, c.want)
		}
	}
	if got.Burn == nil || *got.Burn != 0.5 || got.BurnStanding != report.RateHolds {
		t.Errorf("burn %v %s, want 0.5 holds", got.Burn, got.BurnStanding)
	}
}

func TestExactlyTheTargetIsEnoughOnlyWhereTheTargetSaysSo(t *testing.T) {
	p := newPast(t)
	adjust := assay.Action{Kind: assay.ActionAdjust, Lever: assay.LeverReplicas, Now: 2, Want: 4}
	for n := range 19 { // 95 % of 20 are carried out, and 90 % of 20 help
		p.happen(assay.FactMitigationActed, "shop", mitigate.ActedPayload{Action: adjust})
		effect := assay.EffectHelped
		if n == 0 {
			effect = assay.EffectNone
		}
		p.happen(assay.FactMitigationJudged, "shop", mitigate.JudgedPayload{Outcome: assay.ActionOutcome{Action: adjust, Effect: effect}})
	}
	p.happen(assay.FactMitigationRefused, "shop", mitigate.RefusedPayload{Action: adjust})
	p.rolled("slow", api.RolloutAborted, report.TargetRevert)
	got := p.operate(api.OperationsRequest{}).Total
	if a := got.Actions; *a.CarriedOut != report.TargetDone || a.CarriedOutStanding != report.RateHolds || *a.Success != report.TargetHelped || a.SuccessStanding != report.RateMissed {
		t.Errorf("carried out %v %s, helped %v %s", *a.CarriedOut, a.CarriedOutStanding, *a.Success, a.SuccessStanding)
	}
	if r := got.Rollouts.Revert; r.Within != 0 || r.Standing != report.RateMissed {
		t.Errorf("%+v", r)
	}
}

func TestTogglesAreOfOneLeverWithinAnyHour(t *testing.T) {
	p := newPast(t)
	at := 2.
	move := func(scope string, want float64) {
		p.happen(assay.FactMitigationActed, "shop", mitigate.ActedPayload{Action: assay.Action{Kind: assay.ActionAdjust, Lever: assay.LeverRegion, Scope: scope, Now: at, Want: want}})
		at = want
		p.now = p.now.Add(10 * time.Minute)
	}
	for range 4 { // seven turns in 70 minutes: six of them at most lie within an hour of each other
		move("eu", 4)
		move("eu", 2)
	}
	for range 9 {
		move("us", at+1) // always the same way
	}
	got := p.operate(api.OperationsRequest{}).Total.Actions
	if got.Toggles != 6 || got.TogglesStanding != report.RateMissed {
		t.Errorf("%d toggles, %s; want 6, %s", got.Toggles, got.TogglesStanding, report.RateMissed)
	}
}

func TestServicesAreToldApartAndOnlyTheTimeAskedForCounts(t *testing.T) {
	p := newPast(t)
	begin := p.now
	for n := range report.MaxServices + 3 {
		p.happen(assay.FactMitigationFrozen, string(rune('a'+n%26))+time.Duration(n).String(), mitigate.FrozenPayload{})
	}
	p.now = p.now.Add(time.Hour)
	p.happen(assay.FactMitigationFrozen, "shop", mitigate.FrozenPayload{})
	all := p.operate(api.OperationsRequest{})
	if n := len(all.Services); n != report.MaxServices+1 || !all.Services[n-1].Others || all.Services[n-1].Actions.Frozen != 4 {
		t.Errorf("%d services, the last %+v", n, all.Services[n-1])
	}
	if all.Total.Actions.Frozen != report.MaxServices+4 {
		t.Errorf("all together %d", all.Total.Actions.Frozen)
	}
	for name, c := range map[string]struct {
		req  api.OperationsRequest
		want int
	}{
		"one service":             {api.OperationsRequest{Service: "shop"}, 1},
		"since then":              {api.OperationsRequest{From: begin.Add(time.Hour)}, 1},
		"before then":             {api.OperationsRequest{From: begin, To: begin.Add(time.Hour)}, report.MaxServices + 3},
		"an environment":          {api.OperationsRequest{Environment: "prod"}, report.MaxServices + 4},
		"an unknown environment":  {api.OperationsRequest{Environment: "moon"}, 0},
		"of which nothing is yet": {api.OperationsRequest{Service: "moon"}, 0},
	} {
		o := p.operate(c.req)
		if o.Total.Actions.Frozen != c.want || o.Total.Empty() != (c.want == 0) {
			t.Errorf("%s: %d, want %d", name, o.Total.Actions.Frozen, c.want)
		}
	}
	if _, err := report.Operate(t.Context(), p, "shop", api.OperationsRequest{From: begin, To: begin}, p.now); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("a time that ends when it begins: %v", err)
	}
}

func TestWhereNothingHappenedNoTargetHolds(t *testing.T) {
	p := newPast(t)
	got := p.operate(api.OperationsRequest{}).Total
	if !got.Empty() || got.Rollouts.Rollbacks != nil || got.Actions.Success != nil || got.Actions.CarriedOut != nil || got.Actions.Burn != nil {
		t.Errorf("%+v", got)
	}
	for _, s := range []report.Standing{got.Rollouts.Revert.Standing, got.Actions.SuccessStanding, got.Actions.CarriedOutStanding, got.Actions.BurnStanding, got.Actions.TogglesStanding} {
		if s != report.NothingHappened {
			t.Errorf("standing %q", s)
		}
	}
}
