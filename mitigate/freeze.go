package mitigate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/store"
)

// Freeze is that a lever swings and is held for it. It ends when the turns are half an hour
// old, or a person lifts it.
type Freeze struct {
	Turns int       `json:"turns"` // changes of direction in half an hour
	Until time.Time `json:"until"` // if it does not turn again
	// All is that nothing moves it. Otherwise nothing is given back, and what protects is
	// still done, once.
	All bool `json:"all,omitempty"`
}

// Words say how often it turned and what is held, for people.
func (f Freeze) Words() string {
	held := "nothing is given back"
	if f.All {
		held = "nothing moves it"
	}
	return fmt.Sprintf("it changed its direction %d times in %.0fm: %s until %s", f.Turns, oscillationWindow.Minutes(), held, f.Until.UTC().Format("15:04:05 UTC"))
}

// FrozenPayload is the payload of a mitigation.frozen fact, version 1.
type FrozenPayload struct {
	Strategy string `json:"strategy"`
	Target   string `json:"target"`
	Freeze
}

// freeze finds the levers that swing: by the strategy's own moves, and by those of all
// strategies that move them.
func (v *view) freeze() {
	v.next.Frozen = nil
	for target, d := range v.next.Dampers {
		if len(d.Moves) == 0 {
			continue
		}
		var f Freeze
		if past := d.swung(v.now); len(past) >= oscillationAt-1 {
			f = Freeze{Turns: len(past), Until: past[len(past)-oscillationAt+1].Add(oscillationWindow)}
		}
		lever, scope, _ := strings.Cut(target, "/")
		at := assay.Action{Service: v.s.Spec.Service, Lever: assay.Lever(lever), Scope: scope}
		if n, until := decide.Swing(v.history(), at, v.now); n > 0 {
			f.Turns, f.All = max(f.Turns, n), true
			if until.After(f.Until) {
				f.Until = until
			}
		}
		if f.Turns == 0 {
			continue
		}
		if v.next.Frozen == nil {
			v.next.Frozen = map[string]Freeze{}
		}
		v.next.Frozen[target] = f
	}
}

// thaws are the freezes that a person lifted.
func (v *view) thaws(targets []string) (out []decide.Thaw) {
	for _, target := range targets {
		if at := v.next.Dampers[target].Thawed; !at.IsZero() {
			out = append(out, decide.Thaw{Time: at, Target: target})
		}
	}
	return out
}

// froze are the targets that this decision met frozen, or frozen for longer, for the first
// time.
func (r Record) froze() (out []string) {
	for _, target := range slices.Sorted(maps.Keys(r.After.Frozen)) {
		was, now := r.Before.Frozen[target], r.After.Frozen[target]
		if now.Turns > was.Turns || now.All && !was.All {
			out = append(out, target)
		}
	}
	return out
}

// announce makes a fact of each target that a decision met frozen for the first time.
func (r *record) announce(tx store.Tx, d Record) error {
	for _, target := range d.froze() {
		_, err := r.fact(tx, assay.FactMitigationFrozen, assay.RetainAudit, actor, d.Now, []assay.FactID{r.Fact},
			FrozenPayload{Strategy: r.Name, Target: target, Freeze: d.After.Frozen[target]})
		if err != nil {
			return err
		}
	}
	return nil
}

// thaw takes over that a person lifts a freeze: the only one if target is empty.
func (r *record) thaw(target string, now time.Time) (string, error) {
	frozen := slices.Sorted(maps.Keys(r.State.Frozen))
	if target == "" && len(frozen) == 1 {
		target = frozen[0]
	}
	if target == "" && len(frozen) > 1 {
		return "", &assay.Error{Code: assay.CodeInvalid, Field: "target", Msg: "it is not said which lever may move again", Hint: "one of " + strings.Join(frozen, ", ")}
	}
	if !slices.Contains(frozen, target) {
		e := &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("no lever of strategy %s is frozen", r.Name)}
		if len(frozen) > 0 {
			e.Field, e.Msg, e.Hint = "target", fmt.Sprintf("%q of strategy %s is not frozen", target, r.Name), "one of "+strings.Join(frozen, ", ")
		}
		return "", e
	}
	r.State = r.State.clone()
	r.State.Frozen = maps.Clone(r.State.Frozen)
	d := r.State.Dampers[target]
	d.Thawed, d.Wide, d.Widened = now, 0, time.Time{}
	r.State.Dampers[target] = d
	delete(r.State.Frozen, target)
	return target, nil
}

// freezes are what people see of them.
func (r *record) freezes() (out []api.StrategyFreeze) {
	for _, target := range slices.Sorted(maps.Keys(r.State.Frozen)) {
		f := r.State.Frozen[target]
		out = append(out, api.StrategyFreeze{Target: target, Turns: f.Turns, Until: f.Until, All: f.All, Words: f.Words()})
	}
	return out
}
