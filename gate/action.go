package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// actionPackage is the Rego package that judges proposed actions; those below it do too.
const actionPackage = "action"

// Proposer is the rollout or strategy whose actions are judged.
type Proposer struct {
	Namespace   string
	Environment string // may be empty
	Plan        string // its declared name
}

// ActionGuard judges proposed actions by the policies of a namespace whose package is
// action, or begins with action. — for example "nothing moves in production on a Friday
// evening" or "no region gets more than 60 % of the traffic". What a policy in enforce mode
// denies is forbidden; in the other modes it is a pass that says what it objects to. A
// policy that cannot be evaluated forbids: nobody knows what it would have said. The guard
// answers from the input and the instant alone. nil if no policy judges actions.
func ActionGuard(ctx context.Context, engine Engine, policies []policy.Policy, by Proposer, now time.Time) decide.Guard {
	judges := slices.DeleteFunc(slices.Clone(policies), func(p policy.Policy) bool {
		named := p.Spec.Package == actionPackage || strings.HasPrefix(p.Spec.Package, actionPackage+".")
		return !named || p.Metadata.Namespace != by.Namespace || p.Spec.Mode == assay.ModeOff
	})
	if len(judges) == 0 || engine == nil {
		return nil
	}
	var packages []string
	for _, p := range judges {
		if !slices.Contains(packages, p.Spec.Package) {
			packages = append(packages, p.Spec.Package)
		}
	}
	return func(a assay.Action) (out []assay.GuardVerdict) {
		answers, err := engine.Evaluate(ctx, by.input(a, now), packages)
		for _, p := range judges {
			v := assay.GuardVerdict{Guard: "policy/" + p.Metadata.Name, Action: a.Kind, Target: a.Target(), Want: a.Want, Outcome: assay.OutcomePass}
			if err != nil {
				v.Outcome, v.Reason = assay.OutcomeAbsent, "it cannot be evaluated: "+err.Error()
			} else {
				v.Outcome, v.Reason = objected(p, answers[p.Spec.Package])
			}
			out = append(out, v)
		}
		return out
	}
}

func (by Proposer) input(a assay.Action, now time.Time) policy.Input {
	return policy.Input{
		Environment: by.Environment, Time: now.UTC(), Gate: policy.InputGate{Namespace: by.Namespace}, Evidence: []policy.InputEvidence{},
		Action: &policy.InputAction{
			Plan: by.Plan, Kind: a.Kind, Service: a.Service, Version: a.Version, From: a.From, Weight: a.Weight,
			Lever: a.Lever, Scope: a.Scope, Now: a.Now, Want: a.Want,
		},
	}
}

// objected is what a policy's objections come to, in its mode.
func objected(p policy.Policy, objections []policy.Objection) (assay.Outcome, string) {
	outcome, words := assay.OutcomePass, []string{}
	for _, o := range objections {
		text := o.Message
		if remedy := strings.TrimSpace(o.Remedy); remedy != "" {
			text += " (" + remedy + ")"
		}
		if blocks := p.Spec.Mode == assay.ModeEnforce || p.Spec.Mode == ""; blocks && !o.Advice {
			outcome = assay.OutcomeFail
		} else {
			text = fmt.Sprintf("%s only: %s", softly(p, o), text)
		}
		words = append(words, text)
	}
	slices.Sort(words)
	return outcome, strings.Join(words, "; ")
}

// softly says why an objection does not block.
func softly(p policy.Policy, o policy.Objection) string {
	if o.Advice {
		return "advice"
	}
	return string(p.Spec.Mode)
}
