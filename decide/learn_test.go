package decide_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"pgregory.net/rapid"
)

// result is a judged scale-out against an overload.
func result(service string, effect assay.Effect, gone float64, after time.Duration) decide.Result {
	return decide.Result{Service: service, Action: replicas(8), Hypothesis: decide.Overload, Effect: effect, Gone: gone, Time: start.Add(after)}
}

func learn(t testing.TB, l decide.Learned, results ...decide.Result) decide.Learned {
	t.Helper()
	for _, r := range results {
		var err error
		if l, err = l.Learn(r); err != nil {
			t.Fatal(err)
		}
		if err := l.Check(); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// taught is the loss of the scale-out of shop once l is known.
func taught(t testing.TB, l decide.Learned, now time.Time) (assay.Decision, assay.Loss) {
	t.Helper()
	p := problem(scaleOut())
	p.MaxHarm, p.Margin = 0.5, 1e-9
	p.Learned = l.About("shop", p.Options, now)
	d, err := decide.Weigh(p, allow, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d, lossOf(t, d, assay.ActionAdjust)
}

// The law says 0.9 and counts like 4; four own results of 0.5 make it (4·0.9+4·0.5)/8 =
// 0.7, so 0.75·0.001·(10 − 8·0.7) = 0.0033 is burned. All helped: (3+4)/(4+4) = 7/8 of
// success, so the blast is 0.1·0.01·(1 − 0.75·7/8).
func TestOwnResultsMoveTheLawsEffect(t *testing.T) {
	l := decide.NewLearned()
	for range 4 {
		l = learn(t, l, result("shop", assay.EffectHelped, 0.5, 0))
	}
	_, loss := taught(t, l, start)
	if math.Abs(loss.Burn-0.0033) > 1e-12 || math.Abs(loss.Blast-0.001*(1-0.75*7/8)) > 1e-12 {
		t.Errorf("burn %v, blast %v", loss.Burn, loss.Blast)
	}
	if helped, of := l.Success("shop"); helped != 4 || of != 4 {
		t.Errorf("%d of %d", helped, of)
	}
}

// A hundred results of other services count like eight: (4·0.9+8·0.3)/12 = 0.5.
func TestOtherServicesAreBorrowedFromAndNotObeyed(t *testing.T) {
	l := decide.NewLearned()
	for range 50 {
		l = learn(t, l, result("cart", assay.EffectHelped, 0.3, 0), result("pay", assay.EffectHelped, 0.3, 0))
	}
	_, loss := taught(t, l, start)
	if want := 0.75 * 0.001 * (10 - 8*0.5); math.Abs(loss.Burn-want) > 1e-12 {
		t.Errorf("burn %v, want %v", loss.Burn, want)
	}
	for range 36 {
		l = learn(t, l, result("shop", assay.EffectHelped, 0.9, 0))
	}
	_, loss = taught(t, l, start)
	if want := 0.75 * 0.001 * (10 - 8*(4*0.9+8*0.3+36*0.9)/48); math.Abs(loss.Burn-want) > 1e-12 {
		t.Errorf("own results: burn %v, want %v", loss.Burn, want)
	}
}

// After one half-life eight results count like four.
func TestWhatWasLearnedFades(t *testing.T) {
	l := decide.NewLearned()
	for range 8 {
		l = learn(t, l, result("shop", assay.EffectHelped, 0.5, 0))
	}
	_, loss := taught(t, l, start.Add(l.HalfLife))
	if math.Abs(loss.Burn-0.0033) > 1e-12 {
		t.Errorf("burn %v, want that of four results", loss.Burn)
	}
	_, loss = taught(t, l, start.Add(60*l.HalfLife))
	if math.Abs(loss.Burn-0.0021) > 1e-9 {
		t.Errorf("burn %v, want that of the law", loss.Burn)
	}
}

func TestRepeatedNoEffectSuppressesTheActionForThatHypothesis(t *testing.T) {
	l := learn(t, decide.NewLearned(), result("shop", assay.EffectNone, 0, 0))
	if d, _ := taught(t, l, start); d.Action.Kind != assay.ActionAdjust {
		t.Fatalf("once is not repeated: %s", d.Words)
	}
	l = learn(t, l, result("shop", assay.EffectNone, 0, time.Minute))
	d, _ := taught(t, l, start.Add(time.Hour))
	if d.Action.Kind != assay.ActionHold || !strings.Contains(d.Words, "no effect against overload too often") || !strings.Contains(d.Candidates[0].Reason, "suppressed") {
		t.Errorf("%s; %s", d.Words, d.Candidates[0].Reason)
	}
	// For another hypothesis it is tried as ever.
	p := problem(scaleOut())
	p.MaxHarm = 0.5
	p.Options[0].Gone = map[decide.Hypothesis]decide.Size{decide.Attack: {Mean: 0.9, SD: 0.1}}
	p.Prior, p.Clues = decide.Prior{decide.Attack: 1}, nil
	p.Learned = l.About("shop", p.Options, start)
	if d := weigh(t, p, nil); d.Action.Kind != assay.ActionAdjust {
		t.Errorf("against an attack: %s", d.Words)
	}
	if d, _ := taught(t, l, start.Add(l.HalfLife+time.Hour)); d.Action.Kind != assay.ActionAdjust {
		t.Errorf("it is never tried again: %s", d.Words)
	}
	l = learn(t, l, result("shop", assay.EffectHelped, 0.9, 2*time.Minute))
	if d, _ := taught(t, l, start.Add(time.Hour)); d.Action.Kind != assay.ActionAdjust {
		t.Errorf("it helped since: %s", d.Words)
	}
}

func TestRisingHarmDisablesTheActionAndPages(t *testing.T) {
	l := learn(t, decide.NewLearned(), result("shop", assay.EffectHelped, 0.9, 0), result("shop", assay.EffectHarmed, -0.1, time.Minute))
	if d, _ := taught(t, l, start.Add(time.Hour)); d.Action.Kind == assay.ActionPage {
		t.Fatalf("one harm: %s", d.Words)
	}
	l = learn(t, l, result("shop", assay.EffectHarmed, -0.1, 2*time.Minute), result("shop", assay.EffectHarmed, -0.1, 3*time.Minute))
	d, _ := taught(t, l, start.Add(time.Hour))
	if d.Action.Kind != assay.ActionPage || d.Proposed == nil || !strings.Contains(d.Words, "it is disabled: it has harmed too often") {
		t.Errorf("%s", d.Words)
	}
	// (1+3)/(10+4) = 29 %
	if !strings.Contains(d.Words, "29 %") {
		t.Errorf("without its number: %s", d.Words)
	}
}

func TestWhatCouldNotBeJudgedTeachesNothing(t *testing.T) {
	l := learn(t, decide.NewLearned(), result("shop", assay.EffectInconclusive, 0.4, 0), result("shop", assay.EffectConfounded, 0.4, 0))
	if len(l.Lessons) != 0 {
		t.Errorf("%+v", l.Lessons)
	}
	for name, r := range map[string]decide.Result{
		"NaN":        result("shop", assay.EffectHelped, math.NaN(), 0),
		"no service": result("", assay.EffectHelped, 0.5, 0),
		"hold":       {Service: "shop", Action: assay.Action{Kind: assay.ActionHold}, Hypothesis: decide.Overload},
		"hypothesis": {Service: "shop", Action: replicas(1), Hypothesis: "gremlins"},
	} {
		if _, err := l.Learn(r); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever is learned, in whatever order of services: the state stays one that can be
// read, better results never make an action look worse, and the caller's value is kept.
func TestBetterResultsNeverRaiseTheExpectedLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := decide.NewLearned()
		for range rapid.IntRange(0, 10).Draw(t, "n") {
			r := result(rapid.SampledFrom([]string{"shop", "cart", "pay"}).Draw(t, "service"), assay.EffectHelped,
				rapid.Float64Range(-1, 1).Draw(t, "gone"), time.Duration(rapid.IntRange(0, 1e6).Draw(t, "after"))*time.Second)
			before := len(l.Lessons)
			next, err := l.Learn(r)
			if err != nil || next.Check() != nil {
				t.Fatalf("%v %v", err, next.Check())
			}
			if len(l.Lessons) != before {
				t.Fatal("the caller's value changed")
			}
			l = next
		}
		worse, _ := l.Learn(result("shop", assay.EffectHelped, 0.1, time.Hour))
		better, _ := l.Learn(result("shop", assay.EffectHelped, 0.9, time.Hour))
		p := problem(scaleOut())
		total := func(l decide.Learned) float64 {
			p.Learned = l.About("shop", p.Options, start)
			d, err := decide.Weigh(p, allow, start, nil)
			if err != nil {
				t.Fatal(err)
			}
			return d.Candidates[0].Loss.Total
		}
		if total(better) > total(worse)+1e-15 {
			t.Fatal("a better result raised the loss")
		}
	})
}

func TestTheLongestUntouchedLessonIsForgottenFirst(t *testing.T) {
	l := decide.NewLearned()
	l.Lessons = make([]decide.Lesson, decide.MaxLessons)
	for i := range l.Lessons {
		l.Lessons[i] = decide.Lesson{Kind: assay.ActionAdjust, Lever: "a", Hypothesis: decide.Attack, Service: time.Unix(int64(i), 0).UTC().Format(time.RFC3339), N: 1, At: start.Add(time.Duration(i+1) * time.Second)}
	}
	oldest := l.Lessons[0].Service
	l = learn(t, l, result("shop", assay.EffectHelped, 0.5, 24*time.Hour))
	if len(l.Lessons) != decide.MaxLessons {
		t.Fatalf("%d lessons", len(l.Lessons))
	}
	for _, k := range l.Lessons {
		if k.Service == oldest {
			t.Error("the oldest is still there")
		}
	}
}

// A deterministic scope rests on no model, and a harm is none: it was counted.
func TestWhatHarmedTooOftenIsDisabledForRulesToo(t *testing.T) {
	l := learn(t, decide.NewLearned(), result("shop", assay.EffectHarmed, -0.1, 0), result("shop", assay.EffectHarmed, -0.1, time.Minute), result("shop", assay.EffectHarmed, -0.1, 2*time.Minute))
	p := busy()
	p.Deterministic, p.Learned = true, l
	for i := range p.Options {
		p.Options[i].Action.Kind, p.Options[i].Action.Lever = assay.ActionAdjust, assay.LeverReplicas
		p.Options[i].Rule = &decide.Rule{Fires: true, Words: "the queue is long"}
	}
	d, err := decide.Weigh(p, func(assay.Action) []assay.GuardVerdict { return nil }, start.Add(time.Hour), nil)
	if err != nil || d.Action.Kind != assay.ActionPage || !strings.Contains(d.Words, "it is disabled: it has harmed too often") {
		t.Errorf("%s, %v", d.Words, err)
	}
}
