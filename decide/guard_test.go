package decide_test

import (
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"pgregory.net/rapid"
)

func automatic() decide.Rails {
	r := newRails()
	r.Level = decide.LevelAutomatic
	return r
}

func restore(want float64) assay.Action {
	a := replicas(want)
	a.Kind = assay.ActionRestore
	return a
}

func moved(ago time.Duration, from, to float64) decide.Move {
	return decide.Move{Time: start.Add(-ago), Strategy: "throttle", Rank: 100, Kind: assay.ActionAdjust, Service: "shop", Target: "replicas", From: from, To: to}
}

// refusals are the verdicts that are no pass, and how many there were in all.
func refusals(g decide.Guard, a assay.Action) (out []assay.GuardVerdict, all int) {
	verdicts := g(a)
	for _, v := range verdicts {
		if v.Outcome != assay.OutcomePass {
			out = append(out, v)
		}
	}
	return out, len(verdicts)
}

func TestGuardrails(t *testing.T) {
	quiet := decide.History{Strategy: "throttle", Quiet: start.Add(-time.Hour)}
	with := func(moves ...decide.Move) decide.History {
		h := quiet
		h.Moves = moves
		return h
	}
	swing := []decide.Move{moved(28*time.Minute, 4, 8), moved(24*time.Minute, 8, 4), moved(20*time.Minute, 4, 8), moved(16*time.Minute, 8, 4)}
	other := decide.Move{Time: start.Add(-time.Hour), Strategy: "cost", Rank: 10, Service: "shop", Target: "replicas", From: 6, To: 4, Stands: true}
	harmed := moved(10*time.Second, 2, 4)
	harmed.Harmed = true
	thawed := func(ago time.Duration, target string) decide.History {
		h := with(swing...)
		h.Thaws = []decide.Thaw{{Time: start.Add(-ago), Target: target}}
		return h
	}
	for name, tc := range map[string]struct {
		rails   func(*decide.Rails)
		history decide.History
		action  assay.Action
		guard   string // that refuses; empty: none
		reason  string
	}{
		"nothing in the way":           {nil, quiet, replicas(8), "", ""},
		"kill switch":                  {nil, decide.History{Halts: []decide.Halt{{Scope: "service", Name: "shop", Reason: "game day"}}}, replicas(8), "kill-switch", "the automation of service shop is halted: game day"},
		"kill switch everywhere":       {nil, decide.History{Halts: []decide.Halt{{Scope: "global", Reason: "incident 7"}}}, assay.Action{Kind: assay.ActionStop, Lever: assay.LeverSpend}, "kill-switch", "everywhere"},
		"above the cap":                {func(r *decide.Rails) { r.Limits = []decide.Limit{{Target: "replicas", Max: new(6.0)}} }, quiet, replicas(8), "limit", "at most 6, not 8"},
		"below the floor":              {func(r *decide.Rails) { r.Limits = []decide.Limit{{Target: "replicas", Min: new(3.0)}} }, quiet, restore(2), "limit", "at least 3, not 2"},
		"too much at once":             {func(r *decide.Rails) { r.Limits = []decide.Limit{{Target: "replicas", MaxStep: 0.5}} }, quiet, replicas(8), "limit", "by at most 50 %"},
		"within its step":              {func(r *decide.Rails) { r.Limits = []decide.Limit{{Target: "replicas", MaxStep: 0.5}} }, quiet, replicas(6), "", ""},
		"limit of another target":      {func(r *decide.Rails) { r.Limits = []decide.Limit{{Target: "rate-limit", Max: new(1.0)}} }, quiet, replicas(8), "", ""},
		"observing only":               {func(r *decide.Rails) { r.Level = decide.LevelObserve }, quiet, replicas(8), "level", "recorded and nothing is done"},
		"held by who goes before":      {nil, with(other), replicas(8), "precedence", "strategy cost goes before this one"},
		"held by who goes after":       {func(r *decide.Rails) { r.Rank = 5 }, with(other), replicas(8), "", ""},
		"moved a moment ago":           {func(r *decide.Rails) { r.DeadTime = 0 }, with(moved(30*time.Second, 2, 4)), replicas(8), "min-interval", "moves at most every 1m"},
		"effect not seen yet":          {nil, with(moved(90*time.Second, 2, 4)), replicas(8), "dead-time", "cannot be seen for 2m"},
		"too small to matter":          {func(r *decide.Rails) { r.Band = 0.3 }, quiet, replicas(5), "hysteresis", "less than 30 %"},
		"not good":                     {nil, decide.History{}, restore(2), "hysteresis", "the indicator is not good"},
		"not good for long enough":     {nil, decide.History{Quiet: start.Add(-time.Minute)}, restore(2), "hysteresis", "good for 1m of 10m"},
		"swinging":                     {nil, with(swing...), replicas(8), "oscillation", "changed its direction 3 times in 30m and is frozen for another 6m"},
		"swung before it was lifted":   {nil, thawed(10*time.Minute, "replicas"), replicas(8), "", ""},
		"swings with others since":     {nil, thawed(26*time.Minute, "replicas"), replicas(8), "oscillation", "frozen for another 6m"},
		"another target was lifted":    {nil, thawed(10*time.Minute, "rate-limit"), replicas(8), "oscillation", "frozen for another 6m"},
		"what harmed is given back":    {nil, with(harmed), restore(2), "", ""},
		"a stop waits for nothing":     {nil, with(swing...), assay.Action{Kind: assay.ActionStop, Service: "shop", Lever: assay.LeverReplicas, Now: 4, Want: 0}, "", ""},
		"toggles are spent":            {func(r *decide.Rails) { r.Toggles = 3 }, with(moved(59*time.Minute, 4, 8), moved(50*time.Minute, 8, 4), moved(40*time.Minute, 4, 8), moved(35*time.Minute, 8, 4)), replicas(8), "toggles", "3 times in an hour, at most 3"},
		"the last toggle protects":     {func(r *decide.Rails) { r.Toggles = 3 }, with(moved(59*time.Minute, 4, 8), moved(50*time.Minute, 8, 4), moved(40*time.Minute, 2, 4)), restore(2), "toggles", "the last one to protect"},
		"steps one way are no toggles": {func(r *decide.Rails) { r.Toggles = 1 }, with(moved(50*time.Minute, 1, 2), moved(40*time.Minute, 2, 3), moved(30*time.Minute, 3, 4)), replicas(5), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := automatic()
			if tc.rails != nil {
				tc.rails(&r)
			}
			got, all := refusals(decide.Guardrails(r, tc.history, start), tc.action)
			switch {
			case all == 0:
				t.Error("no guard says anything")
			case tc.guard == "" && len(got) > 0:
				t.Errorf("refused: %+v", got)
			case tc.guard != "" && (len(got) == 0 || got[0].Guard != tc.guard || !strings.Contains(got[0].Reason, tc.reason)):
				t.Errorf("%+v, want %s: %s", got, tc.guard, tc.reason)
			}
		})
	}
}

func TestAWidenedIntervalDecaysAfterSwinging(t *testing.T) {
	r := automatic()
	r.MinInterval, r.DeadTime, r.Toggles = 40*time.Minute, 0, 100
	// Four moves, three turns, the third last of them ago.
	moves := func(ago time.Duration) decide.History {
		return decide.History{Strategy: "throttle", Moves: []decide.Move{
			moved(ago+time.Minute, 4, 8), moved(ago, 8, 4), moved(ago-time.Minute, 4, 8), moved(ago-2*time.Minute, 8, 4)}}
	}
	for ago, refused := range map[time.Duration]bool{
		32*time.Minute + time.Second: true,  // thawed, and the interval is stretched to 75 minutes
		50 * time.Minute:             true,  // the last move is 48 minutes old, the interval still 53
		55 * time.Minute:             false, // 53 minutes old, 47
	} {
		got, _ := refusals(decide.Guardrails(r, moves(ago), start), replicas(8))
		if (len(got) > 0) != refused {
			t.Errorf("turns %s ago: %+v", ago, got)
		}
	}
}

func TestApprovals(t *testing.T) {
	ask := func(age time.Duration, answer string, answered time.Duration) []decide.Approval {
		return []decide.Approval{{Action: replicas(8), Asked: start.Add(-age), Answer: answer, Answered: start.Add(-answered), By: "ada"}}
	}
	for name, tc := range map[string]struct {
		approvals []decide.Approval
		yes       bool // the default
		outcome   assay.Outcome
		reason    string
	}{
		"nobody was asked":           {nil, true, assay.OutcomeAbsent, "a person must allow it"},
		"asked":                      {ask(time.Minute, "", 0), true, assay.OutcomeAbsent, "asked 1m ago, and has 15m"},
		"allowed":                    {ask(time.Minute, "yes", 0), false, assay.OutcomePass, "ada allowed it"},
		"allowed late":               {ask(14*time.Minute, "yes", time.Second), false, assay.OutcomePass, "ada allowed it"},
		"allowed long ago":           {ask(40*time.Minute, "yes", 30*time.Minute), true, assay.OutcomeAbsent, "must allow it"},
		"refused":                    {ask(time.Minute, "no", 0), true, assay.OutcomeFail, "ada refused it"},
		"time-out, default no":       {ask(16*time.Minute, "", 0), false, assay.OutcomeFail, "the default is not to do it"},
		"time-out, default yes":      {ask(16*time.Minute, "", 0), true, assay.OutcomePass, "the default is to do it"},
		"forgotten":                  {ask(time.Hour, "", 0), true, assay.OutcomeAbsent, "must allow it"},
		"allowed for another action": {[]decide.Approval{{Action: replicas(7), Asked: start, Answer: "yes", Answered: start}}, false, assay.OutcomeAbsent, "must allow it"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRails()
			r.ApprovalDefault = tc.yes
			g := decide.Guardrails(r, decide.History{Approvals: tc.approvals}, start)
			for _, v := range g(replicas(8)) {
				if v.Guard == decide.GuardApproval && (v.Outcome != tc.outcome || !strings.Contains(v.Reason, tc.reason)) {
					t.Errorf("%+v", v)
				}
			}
			p := problem(scaleOut())
			p.MaxHarm = 1
			want := map[assay.Outcome]assay.ActionKind{assay.OutcomePass: assay.ActionAdjust, assay.OutcomeAbsent: assay.ActionAsk, assay.OutcomeFail: assay.ActionHold}[tc.outcome]
			if d := weigh(t, p, g); d.Action.Kind != want {
				t.Errorf("%s", d.Words)
			}
		})
	}
}

func TestTheLevelRisesOnlyWhilePrerequisitesHold(t *testing.T) {
	need := decide.Prerequisite{Name: "objective", Met: true, Words: "it has counted for 40 of 30 days"}
	h := decide.History{Prerequisites: []decide.Prerequisite{need}}
	if got, _ := refusals(decide.Guardrails(automatic(), h, start), replicas(8)); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	h.Prerequisites[0].Met, h.Prerequisites[0].Words = false, "it has counted for 3 of 30 days"
	got, _ := refusals(decide.Guardrails(automatic(), h, start), replicas(8))
	if len(got) != 1 || got[0].Guard != decide.GuardApproval || !strings.Contains(got[0].Reason, "objective does not hold: it has counted for 3 of 30 days") {
		t.Errorf("%+v", got)
	}
}

// However a law flips, a target changes direction fewer than six times in any hour.
func TestTogglesStayBelowSixAnHourWhateverTheLawWants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := automatic()
		r.MinInterval, r.DeadTime, r.Dwell = 0, 0, 0
		h := decide.History{Strategy: "throttle", Quiet: start.Add(-time.Hour)}
		value := 4.0
		var turns []time.Time
		for i := range 600 {
			now := start.Add(time.Duration(i) * 20 * time.Second)
			a := replicas(rapid.Float64Range(1, 20).Draw(t, "want"))
			if rapid.Bool().Draw(t, "restores") {
				a.Kind = assay.ActionRestore
			}
			a.Now = value
			if got, _ := refusals(decide.Guardrails(r, h, now), a); len(got) > 0 || a.Want == value {
				continue
			}
			m := decide.Move{Time: now, Strategy: "throttle", Service: "shop", Target: "replicas", From: value, To: a.Want}
			if n := len(h.Moves); n > 0 && (h.Moves[n-1].To > h.Moves[n-1].From) != (m.To > m.From) {
				turns = append(turns, now)
			}
			h.Moves, value = append(h.Moves, m), a.Want
		}
		for i := 5; i < len(turns); i++ {
			if turns[i].Sub(turns[i-5]) < time.Hour {
				t.Fatalf("six turns between %s and %s", turns[i-5], turns[i])
			}
		}
	})
}

func newRails() decide.Rails {
	return decide.Rails{
		MinInterval: time.Minute, DeadTime: 2 * time.Minute, Dwell: 10 * time.Minute, Band: 0.05,
		Toggles: 5, Level: decide.LevelApprove, Rank: 100, ApprovalTimeout: 15 * time.Minute,
	}
}

func TestARefusalHoldsItsTargetBackEverLongerAlsoAStop(t *testing.T) {
	for _, kind := range []assay.ActionKind{assay.ActionAdjust, assay.ActionRestore, assay.ActionStop} {
		for _, c := range []struct {
			target string
			count  int
			age    time.Duration
			want   bool
		}{
			{"replicas", 1, time.Minute, true}, {"replicas", 1, 3 * time.Minute, false},
			{"replicas", 3, 3 * time.Minute, true}, {"replicas", 100, 9 * time.Minute, true}, {"replicas", 100, 11 * time.Minute, false},
			{"replicas/eu", 1, time.Second, false},
		} {
			now := time.Date(2026, 11, 9, 12, 0, 0, 0, time.UTC)
			h := decide.History{Refusals: []decide.Refusal{{Time: now.Add(-c.age), Target: c.target, Count: c.count, Reason: "it may not"}}}
			held := false
			for _, v := range decide.Guardrails(newRails(), h, now)(assay.Action{Kind: kind, Lever: assay.LeverReplicas, Now: 1, Want: 2}) {
				held = held || v.Guard == "back-off" && v.Outcome == assay.OutcomeFail
			}
			if held != c.want {
				t.Errorf("%s of replicas %s after refusal %d of %s is held back: %t", kind, c.age, c.count, c.target, held)
			}
		}
	}
}
