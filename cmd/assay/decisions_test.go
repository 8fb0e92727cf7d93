package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// quiet decides once, after a while.
type quiet struct {
	decisionReads
	asked int
}

func (q *quiet) Decisions(context.Context, string, int) ([]api.Decision, error) {
	if q.asked++; q.asked < 5 {
		return nil, nil
	}
	return []api.Decision{{ID: "one", Decision: assay.Decision{Words: "Hold at 10 %."}}}, nil
}

func TestFollowingDecisionsSaysNothingUntilThereIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, errs strings.Builder
		a := newApp(func(string) string { return "" }, strings.NewReader(""), &out, &errs)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := a.tail(ctx, &quiet{}, "", 20, true); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(out.String()); strings.Count(got, "\n") != 0 || !strings.HasSuffix(got, "Hold at 10 %.") {
			t.Errorf("it prints %q", got)
		}
	})
}

func TestTheRulesOfAStrategyAreExplainedWithoutTheWordsOfARollout(t *testing.T) {
	hold := assay.Action{Kind: assay.ActionHold}
	move := assay.Action{Kind: assay.ActionAdjust, Lever: assay.LeverCostClass, Scope: "gold", Now: 1, Want: 0}
	explain := func(d assay.Decision) string {
		var out, errs strings.Builder
		newApp(func(string) string { return "" }, strings.NewReader(""), &out, &errs).explainCandidates(d)
		return out.String()
	}
	ruled := explain(assay.Decision{Action: move, Candidates: []assay.Candidate{{Action: hold, Reason: "always possible"}, {Action: move, Reason: "the promise is broken"}}})
	if strings.Contains(ruled, "%") || strings.Contains(ruled, "bad responses") || !strings.Contains(ruled, "by the declared rules") || !strings.Contains(ruled, "adjust cost-class/gold  0   chosen  the promise is broken") {
		t.Errorf("of a strategy: %s", ruled)
	}
	hold.Weight = 10
	if rolled := explain(assay.Decision{Canary: "v2", Action: hold, Candidates: []assay.Candidate{{Action: hold, Errors: 2.5}}}); !strings.Contains(rolled, "hold    10 %   2.50") {
		t.Errorf("of a rollout: %s", rolled)
	}
}
