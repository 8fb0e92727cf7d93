package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/internal/term"
)

func TestTheNewestOutcomeOfAStrategyIsExplainedWithItsIntervals(t *testing.T) {
	var said bytes.Buffer
	a := &app{out: term.New(&said, func(string) string { return "" })}
	seen := infer.Attribution{
		Effect: assay.EffectHelped, Before: 20, After: 2, Would: 10, Change: -8, Low: -9, High: -7, Low80: -8.5, High80: -7.5, Helped: 0.97,
		P: 0.01, PHarm: 1, Placebos: 99, Similar: 40, Bootstrap: &infer.Bootstrap{Seed: 7, Paths: 999, Block: 3},
	}
	act := assay.Action{Kind: assay.ActionAdjust, Lever: assay.LeverReplicas, Now: 4, Want: 8}
	out := decide.Aftermath(act, decide.Overload, decide.Measure{Name: "the budget spent per minute"}, seen, "", time.Now())
	a.explainStrategy(api.StrategyStatus{Name: "shop-scale", Decision: &assay.Decision{Words: "hold"}, Outcome: &out})
	for _, want := range []string{"newest outcome: adjust of replicas, helped: ", "8 less, 95 % between -9 and -7, 80 % between -8.5 and -7.5, better with a probability of 97 %, in 999 resampled pasts"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is not said:\n%s", want, said.String())
		}
	}
}

func TestAFrozenLeverIsExplainedWithHowToLiftIt(t *testing.T) {
	var said bytes.Buffer
	a := &app{out: term.New(&said, func(string) string { return "" })}
	s := api.StrategyStatus{Name: "shop-scale", Decision: &assay.Decision{Words: "hold"}, Frozen: []api.StrategyFreeze{{Target: "replicas", Turns: 2, Words: "it changed its direction 2 times"}}}
	a.explainStrategy(s)
	if want := "frozen: replicas swings, it changed its direction 2 times; lift it with: assay strategy thaw shop-scale --target replicas --reason"; !strings.Contains(said.String(), want) {
		t.Errorf("%q is not said:\n%s", want, said.String())
	}
	said.Reset()
	a.strategyTable([]api.StrategyStatus{s})
	if !strings.Contains(said.String(), "frozen: replicas; hold") {
		t.Errorf("the list does not say it:\n%s", said.String())
	}
}
