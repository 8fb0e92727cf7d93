package ui

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/halt"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/rollout"
)

// deed is one thing that was done to the world, with what came of it.
type deed struct {
	Fact    assay.FactID
	Time    time.Time
	State   state
	Subject string // service and version, if the fact says
	Words   string
	Actor   string
	Outcome *assay.ActionOutcome
	Link    string // of the rollout or strategy
}

var deedKinds = []string{
	assay.FactRolloutActed, assay.FactRolloutRefused, assay.FactRolloutCommanded, assay.FactRolloutEnded, assay.FactRolloutJudged, assay.FactRolloutRenewed,
	assay.FactMitigationActed, assay.FactMitigationRefused, assay.FactMitigationTold, assay.FactMitigationJudged, assay.FactMitigationFrozen,
	assay.FactAutomationHalted, assay.FactAutomationLifted,
}

// verdicts are the outcomes of actions: of rollouts by their id, of strategies by the
// decision that they were taken for.
type verdicts struct {
	rollouts   map[string]*assay.ActionOutcome
	strategies map[assay.FactID]*assay.ActionOutcome
}

// deeds are the newest actions, newest first. What an action did stands with it.
func (v *view) deeds(limit int) ([]deed, error) {
	facts, err := v.s.Facts(v.ctx, deedKinds, "", 4*limit)
	judged := verdicts{map[string]*assay.ActionOutcome{}, map[assay.FactID]*assay.ActionOutcome{}}
	var out []deed
	for _, f := range facts {
		read := judged.rollout
		switch {
		case slices.Contains(mitigationKinds, f.Kind):
			read = judged.strategy
		case strings.HasPrefix(f.Kind, "automation."):
			read = switched
		}
		if d, ok := read(f); ok {
			d.Fact, d.Time, d.Actor, d.Subject = f.ID, f.Time, f.Actor, cmp.Or(d.Subject, f.Service)
			out = append(out, d)
		}
	}
	return out[:min(limit, len(out))], err
}

// rollout says what was done for a rollout; false for what is no deed.
func (j verdicts) rollout(f assay.Fact) (d deed, ok bool) {
	id := ""
	switch f.Kind {
	case assay.FactRolloutJudged:
		if p, ok := payload[rollout.JudgedPayload](f); ok {
			j.rollouts[p.Rollout] = &p.Outcome
		}
		return d, false
	case assay.FactRolloutActed:
		var p rollout.ActedPayload
		p, ok = payload[rollout.ActedPayload](f)
		id, d.State, d.Words = p.Rollout, deedState(p.Action), deedWords(p)
		if o := j.rollouts[p.Rollout]; o != nil && o.Action.Kind == p.Action.Kind && o.Action.Weight == p.Action.Weight {
			d.Outcome = o
		}
	case assay.FactRolloutRefused:
		var p rollout.RefusedPayload
		p, ok = payload[rollout.RefusedPayload](f)
		id, d.State, d.Words = p.Rollout, state{"bad", "refused"}, p.Action.Version+": "+p.Detail
	case assay.FactRolloutCommanded:
		var p rollout.CommandedPayload
		p, ok = payload[rollout.CommandedPayload](f)
		id, d.State, d.Words = p.Rollout, state{"active", "told to " + p.Command}, "“"+p.Reason+"”"
	case assay.FactRolloutRenewed:
		var p rollout.RenewedPayload
		p, ok = payload[rollout.RenewedPayload](f)
		id, d.State, d.Words = p.Rollout, state{"warn", "evidence begun anew"}, "at "+num(p.Weight)+" %: "+p.Detail
	case assay.FactRolloutEnded:
		var p rollout.EndedPayload
		p, ok = payload[rollout.EndedPayload](f)
		id, d.State, d.Words = p.Rollout, statusState(p.Status), p.Reason
	}
	d.Link = "/rollouts/" + id
	return d, ok
}

// strategy says what was done for a strategy; false for what is no deed.
func (j verdicts) strategy(f assay.Fact) (d deed, ok bool) {
	if f.Kind == assay.FactMitigationJudged {
		if p, ok := payload[mitigate.JudgedPayload](f); ok {
			for _, cause := range f.Causes {
				j.strategies[cause] = &p.Outcome
			}
		}
		return d, false
	}
	what, of := mitigationDeed(f)
	d.State, d.Words, d.Subject, d.Link = what.State, what.Words, of, "/strategies/"+of
	for _, cause := range f.Causes {
		if o := j.strategies[cause]; o != nil && f.Kind == assay.FactMitigationActed {
			d.Outcome = o
		}
	}
	return d, of != ""
}

// switched says that a kill switch was pulled or lifted.
func switched(f assay.Fact) (d deed, ok bool) {
	p, ok := payload[halt.Payload](f)
	d.State, d.Words, d.Subject, d.Link = state{"bad", "halted"}, p.Reason, "namespace", "/facts/"+string(f.ID)
	if f.Kind == assay.FactAutomationLifted {
		d.State, d.Words = state{"ok", "lifted"}, cmp.Or(p.Reason, "was halted by "+p.HaltedBy+": "+p.Why)
	}
	if f.Service != "" {
		d.Subject = f.Service
	}
	if p.StoreDown {
		d.Words += " (recorded later: the store was down)"
	}
	return d, ok
}

func deedState(a assay.Action) state {
	switch a.Kind {
	case assay.ActionAbort:
		return state{"bad", "aborted"}
	case assay.ActionFinish:
		return state{"ok", "finished"}
	case assay.ActionAdvance:
		return state{"active", "advanced"}
	}
	return state{"quiet", string(a.Kind)}
}

func deedWords(p rollout.ActedPayload) string {
	a := p.Action
	words := a.Version + " from " + num(a.From) + " % to " + num(a.Weight) + " %"
	if p.Receipt.Observed == a.Weight {
		return words + ", read back"
	}
	return words + ", read back " + num(p.Receipt.Observed) + " %"
}
