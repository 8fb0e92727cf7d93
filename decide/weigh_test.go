package decide_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

func replicas(want float64) assay.Action {
	return assay.Action{Kind: assay.ActionAdjust, Service: "shop", Lever: assay.LeverReplicas, Now: 4, Want: want}
}

// problem burns 0.1 % of the budget a minute for ten minutes: 1 % if nothing is done and
// it is an overload, which it is with a probability of 3/4.
func problem(options ...decide.Option) decide.Problem {
	p := decide.NewProblem()
	p.Strategy, p.Service, p.Indicator, p.Burn = "throttle", "shop", "errors", 0.001
	p.Prior = decide.Prior{decide.Overload: 0.2, decide.NoFault: 0.8}
	p.Clues = []decide.Clue{clue("queue", 12, decide.Overload)}
	p.Signals = []assay.Signal{{Indicator: "errors", Known: true, AgeSeconds: 2, Completeness: 1}}
	p.Options = options
	return p
}

func scaleOut() decide.Option {
	return decide.Option{
		Action: replicas(8), Words: "the queue needs twice the workers", Reversible: true, Lead: 2 * time.Minute,
		Gone:  map[decide.Hypothesis]decide.Size{decide.Overload: {Mean: 0.9, SD: 0.1}},
		Money: 6, Disruption: 0.0001, Blast: 0.1,
	}
}

func weigh(t testing.TB, p decide.Problem, g decide.Guard, draws ...float64) assay.Decision {
	t.Helper()
	if g == nil {
		g = allow
	}
	d, err := decide.Weigh(p, g, start, draws)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func lossOf(t testing.TB, d assay.Decision, kind assay.ActionKind) assay.Loss {
	t.Helper()
	for _, c := range d.Candidates {
		if c.Action.Kind == kind && c.Loss != nil {
			return *c.Loss
		}
	}
	t.Fatalf("no loss of %s", kind)
	return assay.Loss{}
}

// By hand, b(overload) = 3/4, 10 minutes, 8 of them with the new replicas:
//
//	nothing  0.75·0.001·10                          = 0.0075
//	burn     0.75·0.001·(10 − 8·0.9)                = 0.0021
//	money    6 an hour · 10/60 h ÷ 1000             = 0.001
//	blast    0.1·0.01·(1 − 0.75·3/4)                = 0.0004375
//	total    0.0021 + 0.001 + 0.0001 + 0.0004375    = 0.0036375
//	ask      half the time nothing, then the best:  0.0075/2 + 0.0036375/2 + 0.0001 = 0.00566875
func TestExpectedLossesAreThoseComputedByHand(t *testing.T) {
	p := problem(scaleOut())
	p.Rates.BudgetWorth = 1000
	p.MaxHarm = 0.3
	d := weigh(t, p, nil)
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	near("nothing", lossOf(t, d, assay.ActionHold).Total, 0.0075)
	l := lossOf(t, d, assay.ActionAdjust)
	near("burn", l.Burn, 0.0021)
	near("money", l.Money, 0.001)
	near("blast", l.Blast, 0.0004375)
	near("total", l.Total, 0.0036375)
	near("ask", lossOf(t, d, assay.ActionAsk).Total, 0.00566875)
	// If it is no overload, the change costs 0.0001, ten times the margin: harm.
	near("harm", l.Harm, 0.25)
	if d.Action.Want != 8 || d.Expected == nil || !d.Expected.CheckAt.Equal(start.Add(5*time.Minute)) {
		t.Errorf("%+v, expected %+v", d.Action, d.Expected)
	}
	near("expected change", d.Expected.Change, -0.675)
	if want := "Set replicas from 4 to 8: overload is most probable (75 %), and it is expected to cost 0.364 % of the error budget in 10m instead of 0.75 %."; d.Words != want {
		t.Errorf("words %q\nwant  %q", d.Words, want)
	}
}

func TestNothingIsDoneThatIsNotBetterByTheMargin(t *testing.T) {
	p := problem(scaleOut())
	p.MaxHarm = 0.3
	p.Margin = 0.0075 - 0.0026375 - 1e-9 // nothing less the total without money
	if d := weigh(t, p, nil); d.Action.Kind != assay.ActionAdjust {
		t.Errorf("just better: %s", d.Words)
	}
	p.Margin += 2e-9
	d := weigh(t, p, nil)
	if d.Action.Kind != assay.ActionHold || !strings.HasPrefix(d.Words, "Do nothing: ") {
		t.Errorf("not better by the margin: %s", d.Words)
	}
}

func TestAnActionThatMayHarmIsAskedAbout(t *testing.T) {
	p := problem(scaleOut())
	p.MaxHarm = 0.2 // it harms with 0.25
	d := weigh(t, p, nil)
	if d.Action.Kind != assay.ActionAsk || d.Proposed == nil || d.Proposed.Want != 8 || !strings.Contains(d.Words, "harms with a probability of 25 %") {
		t.Errorf("%s, proposed %+v", d.Words, d.Proposed)
	}
	p = problem(scaleOut())
	p.MaxHarm, p.MaxBlast = 1, 0.05
	if d = weigh(t, p, nil); d.Action.Kind != assay.ActionAsk || !strings.Contains(d.Words, "touches 10 % of the users") {
		t.Errorf("blast: %s", d.Words)
	}
}

func TestAPersonLiftsTheBoundsOfExactlyTheActionThatWasAsked(t *testing.T) {
	yes := decide.Approval{Action: replicas(8), Asked: start.Add(-time.Minute), Answer: "yes", Answered: start, By: "grace"}
	forbid := func(assay.Action) []assay.GuardVerdict {
		return []assay.GuardVerdict{{Guard: "limit", Outcome: assay.OutcomeFail, Reason: "at most 6"}}
	}
	for _, bound := range []func(p *decide.Problem){
		func(p *decide.Problem) { p.MaxBlast = 0.05 },
		func(p *decide.Problem) { p.MaxHarm = 0.2 },
	} {
		p := problem(scaleOut())
		bound(&p)
		p.Answers = []decide.Approval{yes}
		if d := weigh(t, p, nil); d.Action.Kind != assay.ActionAdjust || d.Action.Want != 8 {
			t.Errorf("allowed: %s", d.Words)
		}
		if d := weigh(t, p, forbid); d.Action.Kind != assay.ActionHold {
			t.Errorf("a person allows what a guard forbids: %s", d.Words)
		}
		p.Answers[0].Action.Want = 7
		if d := weigh(t, p, nil); d.Action.Kind != assay.ActionAsk {
			t.Errorf("another action was allowed: %s", d.Words)
		}
		p.Answers[0] = yes
		p.Answers[0].Answer = "no"
		if d := weigh(t, p, nil); d.Action.Kind != assay.ActionHold || d.Proposed != nil {
			t.Errorf("refused: %s", d.Words)
		}
	}
}

func TestASafeSecondBestIsTakenWhereAskingCostsMore(t *testing.T) {
	second := scaleOut()
	second.Action.Want, second.Disruption = 6, 0
	second.Gone = map[decide.Hypothesis]decide.Size{decide.Overload: {Mean: 0.8, SD: 0.1}}
	p := problem(scaleOut(), second)
	p.MaxHarm = 0.2
	if d := weigh(t, p, nil); d.Action.Want != 6 {
		t.Errorf("%s", d.Words)
	}
	second.Gone[decide.Overload] = decide.Size{Mean: 0.2, SD: 0.05}
	p = problem(scaleOut(), second)
	if d := weigh(t, p, nil); d.Action.Kind != assay.ActionAsk {
		t.Errorf("waiting for the answer is better than the second best, got %s", d.Words)
	}
}

func TestStaleInputsForbidWhatIsAutomatic(t *testing.T) {
	stale := assay.Signal{Indicator: "queue", Reason: "the newest event is 5m old"}
	p := problem(scaleOut())
	p.MaxHarm = 1
	p.Signals = append(p.Signals, stale)
	d := weigh(t, p, nil)
	if d.Action.Kind != assay.ActionAsk || !strings.Contains(d.Words, "queue is unknown: the newest event is 5m old") {
		t.Errorf("protecting on stale inputs: %s", d.Words)
	}
	if len(d.Guards) != 1 || d.Guards[0].Guard != "inputs" || d.Guards[0].Outcome != assay.OutcomeAbsent {
		t.Errorf("guards %+v", d.Guards)
	}
	relax := scaleOut()
	relax.Action.Kind, relax.Action.Want, relax.Money, relax.Own, relax.Gone = assay.ActionRestore, 2, -60, -0.01, nil
	p = problem(relax)
	p.MaxHarm, p.Rates.BudgetWorth = 1, 1000
	if d = weigh(t, p, nil); d.Action.Kind != assay.ActionRestore {
		t.Fatalf("relaxing pays: %s", d.Words)
	}
	p.Signals = append(p.Signals, stale)
	if d = weigh(t, p, nil); d.Action.Kind != assay.ActionHold || d.Proposed != nil {
		t.Errorf("relaxing on stale inputs: %s", d.Words)
	}
}

func TestAHardStopRestsOnNoModel(t *testing.T) {
	stop := decide.Option{
		Action: assay.Action{Kind: assay.ActionStop, Service: "shop", Lever: assay.LeverSpend, Now: 120, Want: 100}, Words: "the daily cap",
		Rule: &decide.Rule{Fires: true, Words: "120 spent today, the cap is 100"},
	}
	p := problem(scaleOut(), stop)
	p.MaxHarm = 1
	p.Signals = []assay.Signal{{Indicator: "errors", Reason: "nothing is known"}}
	if d := weigh(t, p, nil); d.Action.Kind != assay.ActionStop || d.Words != "Stop spend at 100: 120 spent today, the cap is 100." {
		t.Errorf("%s", d.Words)
	}
	p.Options[1].Rule.Fires = false
	p.Signals[0].Known = true
	if d := weigh(t, p, nil); d.Action.Kind != assay.ActionAdjust {
		t.Errorf("a stop whose rule does not fire is no option: %s", d.Words)
	}
}

func TestRulesOnlyModeTakesTheFirstRuleThatFires(t *testing.T) {
	one, two, three := scaleOut(), scaleOut(), scaleOut()
	one.Action.Want, one.Rule = 5, &decide.Rule{Rank: 1, Words: "queue 90 is below 100"}
	two.Action.Want, two.Rule = 6, &decide.Rule{Rank: 3, Fires: true, Words: "queue 90 is above 50"}
	three.Action.Want, three.Rule = 7, &decide.Rule{Rank: 2, Fires: true, Words: "latency 2s is above 1s"}
	for name, set := range map[string]func(*decide.Problem){
		"rules":         func(p *decide.Problem) { p.Rules = true },
		"deterministic": func(p *decide.Problem) { p.Deterministic, p.Explore = true, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			p := problem(one, two, three)
			set(&p)
			d := weigh(t, p, nil)
			if d.Action.Want != 7 || d.Words != "Set replicas from 4 to 7: latency 2s is above 1s." || len(d.Beliefs) != 0 || d.Expected != nil {
				t.Errorf("%s, beliefs %v, expected %v", d.Words, d.Beliefs, d.Expected)
			}
			for _, c := range d.Candidates {
				if c.Loss != nil {
					t.Errorf("%s has a loss without a model", c.Action.Kind)
				}
			}
			refuse := func(a assay.Action) []assay.GuardVerdict {
				if a.Want == 7 {
					return []assay.GuardVerdict{{Guard: "limit", Outcome: assay.OutcomeFail, Reason: "at most 6"}}
				}
				return nil
			}
			if d = weigh(t, p, refuse); d.Action.Want != 6 {
				t.Errorf("refused by a guard: %s", d.Words)
			}
			p.Options = []decide.Option{one}
			if d = weigh(t, p, nil); d.Words != "Do nothing: no rule fires." {
				t.Errorf("%s", d.Words)
			}
		})
	}
}

func TestDrawsChooseOnlyAmongReversibleActionsThatAreAboutAsGood(t *testing.T) {
	a, b, c := scaleOut(), scaleOut(), scaleOut()
	a.Disruption, b.Disruption, c.Disruption = 0, 0, 0
	b.Action.Want, b.Gone = 7, map[decide.Hypothesis]decide.Size{decide.Overload: {Mean: 0.85, SD: 0.3}}
	c.Action.Want, c.Gone, c.Reversible = 6, map[decide.Hypothesis]decide.Size{decide.Overload: {Mean: 0.89, SD: 0.3}}, false
	p := problem(a, b, c)
	p.MaxHarm = 0.3
	p.Explore = 0.001
	if _, err := decide.Weigh(p, allow, start, []float64{0.5}); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("too few draws: %v", err)
	}
	if d := weigh(t, p, nil, 0.5, 0.5, 0.5); d.Action.Want != 8 {
		t.Errorf("median draws choose the best: %s", d.Words)
	}
	if d := weigh(t, p, nil, 0.5, 0.9, 0.999); d.Action.Want != 7 {
		t.Errorf("a lucky draw chooses the second, and never what cannot be undone: %s", d.Words)
	}
	p.Explore = 1e-9
	if d := weigh(t, p, nil, 0.5, 0.9, 0.999); d.Action.Want != 8 {
		t.Errorf("nothing is near: %s", d.Words)
	}
	p.Explore = 0
	if d := weigh(t, p, nil); d.Action.Want != 8 || lossOf(t, d, assay.ActionAdjust).Drawn != 0 {
		t.Errorf("exploring is off: %s", d.Words)
	}
}

func TestProblemsThatCannotBeAreRefused(t *testing.T) {
	for name, change := range map[string]func(*decide.Problem){
		"burn NaN":            func(p *decide.Problem) { p.Burn = math.NaN() },
		"negative burn":       func(p *decide.Problem) { p.Burn = -1 },
		"stands for nothing":  func(p *decide.Problem) { p.Stands = 0 },
		"effect NaN":          func(p *decide.Problem) { p.Options[0].Gone[decide.Overload] = decide.Size{Mean: math.NaN()} },
		"negative spread":     func(p *decide.Problem) { p.Options[0].Gone[decide.Overload] = decide.Size{SD: -1} },
		"unknown hypothesis":  func(p *decide.Problem) { p.Options[0].Gone["gremlins"] = decide.Size{} },
		"proposes to hold":    func(p *decide.Problem) { p.Options[0].Action.Kind = assay.ActionHold },
		"proposes twice":      func(p *decide.Problem) { p.Options = append(p.Options, p.Options[0]) },
		"blast above all":     func(p *decide.Problem) { p.Options[0].Blast = 2 },
		"infinite value":      func(p *decide.Problem) { p.Options[0].Action.Want = math.Inf(1) },
		"money NaN":           func(p *decide.Problem) { p.Options[0].Money = math.NaN() },
		"rates NaN":           func(p *decide.Problem) { p.Rates.Failure = math.NaN() },
		"no strategy":         func(p *decide.Problem) { p.Strategy = "" },
		"learned in disorder": func(p *decide.Problem) { p.Learned.Lessons = make([]decide.Lesson, 2) },
		"no half-life":        func(p *decide.Problem) { p.Learned.HalfLife = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			p := problem(scaleOut())
			change(&p)
			if _, err := decide.Weigh(p, allow, start, nil); assay.CodeOf(err) != assay.CodeInvalid {
				t.Errorf("%v", err)
			}
		})
	}
	p := problem()
	p.Options = make([]decide.Option, decide.MaxOptions+1)
	if _, err := decide.Weigh(p, allow, start, nil); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("too many options: %v", err)
	}
}

// busy has eight hypotheses, eight clues, ten options and full lessons.
func busy() decide.Problem {
	p := problem()
	p.Prior, p.Clues = nil, nil
	for i, name := range []string{"queue", "cpu", "deploy", "region", "tenant", "agent", "lag", "dependency"} {
		c := decide.Clue{Name: name, Words: name + " is seen", LogLR: map[decide.Hypothesis]float64{}}
		for j, h := range decide.Hypotheses() {
			c.LogLR[h] = float64((i+j)%5) - 2
		}
		p.Clues = append(p.Clues, c)
	}
	learned := decide.NewLearned()
	for i := range 10 {
		o := scaleOut()
		o.Action.Want = float64(5 + i)
		for j, h := range decide.Hypotheses() {
			o.Gone[h] = decide.Size{Mean: float64(j) / 10, SD: 0.2}
			learned, _ = learned.Learn(decide.Result{Service: "shop", Action: o.Action, Hypothesis: h, Effect: assay.EffectHelped, Gone: 0.5, Time: start})
			learned, _ = learned.Learn(decide.Result{Service: "cart", Action: o.Action, Hypothesis: h, Effect: assay.EffectHelped, Gone: 0.4, Time: start})
		}
		p.Options = append(p.Options, o)
	}
	p.Learned = learned.About("shop", p.Options, start)
	return p
}

func BenchmarkWeigh(b *testing.B) {
	p := busy()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decide.Weigh(p, allow, start, nil); err != nil {
			b.Fatal(err)
		}
	}
}
