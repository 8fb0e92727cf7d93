//go:build !race

package mitigate_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/model"
	"assay.dev/assay/store"
)

// Hours of simulated time, strategy after strategy in one goroutine: the race detector would
// make them ten times as long and has next to nothing to watch in them. `make test` runs the
// package with it, which leaves this file out, and without.

// Twice in a row more replicas did not help: when the same comes again they are not tried,
// and the decision says why. The controller judged, learned and chose; nobody told it. What
// is spent varies as it does in life, so that nobody can show that nothing at all changed:
// the verdict says against which promise it was held.
func TestWhatHadNoEffectTwiceIsNotTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		varies  float64 // standard deviation of a value, by its mean
		against string  // in the words of each verdict of no effect
	}{
		"what is spent hardly varies": {0.0001, "whatever it did is less than what matters"},
		"it varies by a fifth":        {0.2, "it did less than half of what was promised of it"},
	} {
		t.Run(name, func(t *testing.T) { triedTwice(t, c.varies, c.against) })
	}
}

func triedTwice(t *testing.T, varies float64, against string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(23, 24))
	b := spending(t, func() float64 { return max(2e-3*(1+varies*rng.NormFloat64()), 0) })
	for again, want := range []struct {
		tried bool
		none  int // verdicts of no effect by then
	}{{true, 1}, {true, 2}, {false, 2}, {false, 2}} {
		b.set("load", 150)
		for range 360 {
			b.step(30 * time.Second)
		}
		before, words := b.at(assay.LeverReplicas), ""
		b.set("load", 1000)
		for range 60 {
			if s := b.step(30 * time.Second); s.Decision != nil {
				words = s.Decision.Words
			}
		}
		none := 0
		for _, f := range b.facts(assay.FactMitigationJudged) {
			var p mitigate.JudgedPayload
			if err := json.Unmarshal(f.Payload, &p); err != nil {
				t.Fatal(err)
			}
			if p.Outcome.Effect != assay.EffectNone {
				continue
			}
			if none++; !strings.HasPrefix(p.Outcome.Reason, against+"; ") || !strings.Contains(p.Outcome.Reason, "; when it was taken, 0.") || p.Learned.Gone < 0 || p.Learned.Gone >= 0.5 {
				t.Errorf("%v of it is gone: %s", p.Learned.Gone, p.Outcome.Reason)
			}
		}
		if tried := b.at(assay.LeverReplicas) > before; tried != want.tried || none != want.none {
			t.Errorf("time %d: tried %t, %d verdicts of no effect, want %+v: %s", again+1, tried, none, want, words)
		}
		if !want.tried && !strings.Contains(words, "had no effect against overload too often") {
			t.Errorf("time %d: it says %q", again+1, words)
		}
	}
}

func TestAnActionInWhoseWindowAnotherVersionCameIsConfounded(t *testing.T) {
	for name, c := range map[string]func(now time.Time) mitigate.Change{
		"it comes in the window":   func(now time.Time) mitigate.Change { return mitigate.Change{Time: now.Add(time.Minute)} },
		"it goes on in the window": func(now time.Time) mitigate.Change { return mitigate.Change{Time: now.Add(-time.Hour), Open: true} },
		"it is ended in the window": func(now time.Time) mitigate.Change {
			return mitigate.Change{Time: now.Add(time.Minute), Began: now.Add(-time.Hour)}
		},
	} {
		t.Run(name, func(t *testing.T) { confounds(t, c, true) })
	}
	t.Run("it was ended long before", func(t *testing.T) {
		confounds(t, func(now time.Time) mitigate.Change {
			return mitigate.Change{Time: now.Add(-time.Hour), Began: now.Add(-2 * time.Hour)}
		}, false)
	})
}

func TestAStrategyWhoseForecastNoLongerHoldsSaysThatItIsReactiveUntilANewVersionWins(t *testing.T) {
	d := newDays(t)
	d.hours(72, nil)
	if m := d.model(); m.Care.Active != "v1" || m.Care.Steps < 48 || !strings.Contains(d.words(), "predictive: ") {
		t.Fatalf("%s decides after %d steps: %s", m.Care.Active, m.Care.Steps, d.words())
	}
	d.drift = d.now
	if !d.hours(48, func() bool { return d.model().Care.Active == decide.ModelRules }) {
		t.Fatal("two days after the load changed for good its model still decides")
	}
	d.hours(1, nil)
	if got := d.words(); !strings.Contains(got, "reactive: the model was demoted to rules: its errors have risen") {
		t.Errorf("it says %s", got)
	}
	if !d.hours(24*14, func() bool { _, ok := d.model().Active(); return ok }) {
		t.Fatalf("two weeks later no version has won: %+v", d.model().Care.Past)
	}
	if v, _ := d.model().Active(); v.Name == "v1" || v.Since.IsZero() {
		t.Errorf("%+v decides", v)
	}
	var kinds []string
	for _, f := range d.facts(assay.FactModelDemoted, assay.FactModelPromoted) {
		kinds = append(kinds, f.Kind)
	}
	if !slices.Equal(kinds[:2], []string{assay.FactModelDemoted, assay.FactModelPromoted}) {
		t.Errorf("facts %v", kinds)
	}
	replayAll(t, d.board)
}

func TestAnActionIsHeldAgainstWhatWouldHaveBeen(t *testing.T) {
	b, list := judged(t, true, 5*time.Minute)
	if len(list) == 0 {
		t.Fatal("nothing is judged")
	}
	helped := 0
	for _, p := range list {
		t.Logf("%s %s: %s", p.Outcome.Action.Kind, p.Outcome.Effect, p.Outcome.Reason)
		if b := p.Seen.Bootstrap; p.Seen.Placebos > 0 && (b == nil || b.Paths != infer.BootstrapPaths || b.Seed == 0 || !strings.Contains(p.Outcome.Reason, "in 999 resampled pasts") || p.Outcome.Interval != [2]float64{p.Seen.Low, p.Seen.High}) {
			t.Errorf("the interval cannot be made again: %+v, %v", b, p.Outcome)
		}
		if p.Outcome.Effect == assay.EffectHelped {
			helped++
			if p.Learned.Gone < 0.5 || p.Seen.Placebos < 39 {
				t.Errorf("%v of it is gone, among %d placebos", p.Learned.Gone, p.Seen.Placebos)
			}
		}
		if p.Outcome.Effect == assay.EffectHarmed {
			t.Errorf("it harmed: %s", p.Outcome.Reason)
		}
	}
	if helped == 0 {
		t.Error("what ended the trouble is not called a help")
	}
	if s := b.step(time.Second); s.Outcome == nil || s.Attempts == 0 || s.Helped > s.Attempts {
		t.Errorf("people see %+v, %d of %d", s.Outcome, s.Helped, s.Attempts)
	}
	_, list = judged(t, false, 5*time.Minute)
	for _, p := range list {
		if p.Outcome.Effect == assay.EffectHelped {
			t.Errorf("nothing changed, and it is called a help: %s", p.Outcome.Reason)
		}
		if p.Outcome.Effect == assay.EffectConfounded && !strings.Contains(p.Outcome.Reason, "fell into the window") {
			t.Errorf("%s", p.Outcome.Reason)
		}
	}
}

// The budget never was spent like that, and it had been so for a minute. The minutes that
// were high before passed by themselves: nobody can say that this one would not have.
func TestAnActionOnASpikeThatIsAMinuteOldIsNotCalledAHelp(t *testing.T) {
	_, list := judged(t, true, 0)
	if len(list) == 0 {
		t.Fatal("nothing is judged")
	}
	first := list[0]
	if first.Outcome.Effect != assay.EffectInconclusive || !first.Seen.Unseen || !strings.Contains(first.Outcome.Reason, "smaller excursions as old went back by themselves") || first.Seen.High < 0 {
		t.Errorf("%s: %s, %+v", first.Outcome.Effect, first.Outcome.Reason, first.Seen)
	}
	for _, p := range list {
		if p.Outcome.Effect == assay.EffectHarmed {
			t.Errorf("it harmed: %s", p.Outcome.Reason)
		}
	}
}

func TestAStrategyHonoursARollbackOfItsModelAtItsNextLook(t *testing.T) {
	d := newDays(t)
	d.hours(72, nil)
	if _, err := model.Rollback(t.Context(), d.store, d.s.Namespace, loadModel, decide.ModelRules, "ada", "a sale begins", d.now); err != nil {
		t.Fatal(err)
	}
	if got := d.words(); !strings.Contains(got, "reactive: the model was demoted to rules: ada rolled it back") {
		t.Errorf("it says %s", got)
	}
	if _, err := model.Rollback(t.Context(), d.store, d.s.Namespace, loadModel, "v1", "ada", "the sale is over", d.now); err != nil {
		t.Fatal(err)
	}
	if got := d.words(); !strings.Contains(got, "predictive: ") {
		t.Errorf("it says %s", got)
	}
}

func TestAnActionIsJudgedInTheStepsThatItsStrategyDeclares(t *testing.T) {
	const usual, much = 2e-5, 2e-3
	var trouble, acted time.Time
	after := func(at, since time.Time) bool { return !since.IsZero() && at.Sub(since) > 1500*time.Millisecond }
	for _, c := range []struct {
		name  string
		known time.Duration // of the past
		spent func(time.Time) float64
		want  assay.Effect
		never assay.Effect
		back  bool
	}{
		{"it ended what had lasted", 10 * time.Minute, func(at time.Time) float64 {
			if at.After(trouble) && !after(at, acted) {
				return much * noise(at)
			}
			return usual * noise(at)
		}, assay.EffectHelped, assay.EffectHarmed, false},
		{"it cost what was not spent before", 10 * time.Minute, func(at time.Time) float64 {
			if after(at, acted) {
				return much * noise(at)
			}
			return usual * noise(at)
		}, assay.EffectHarmed, assay.EffectHelped, true},
		{"it changed nothing, and the trouble went on", 10 * time.Minute, func(at time.Time) float64 {
			if at.After(trouble) {
				return much * noise(at)
			}
			return usual * noise(at)
		}, "", assay.EffectHelped, false},
		{"too little is known to tell in that time", 30 * time.Second, func(at time.Time) float64 {
			if after(at, acted) {
				return much * noise(at)
			}
			return usual * noise(at)
		}, assay.EffectInconclusive, assay.EffectHarmed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			acted, trouble = time.Time{}, noon.Add(5*time.Minute)
			known := trouble.Add(20 * time.Second).Add(-c.known)
			b := quick(t, func(at time.Time) float64 {
				if at.Before(known) {
					return math.NaN()
				}
				return c.spent(at)
			})
			b.set("load", 150)
			for b.now.Before(trouble.Add(20 * time.Second)) {
				b.step(10 * time.Second)
			}
			was := b.at(assay.LeverReplicas)
			b.set("load", 1000)
			var reached float64
			for range 90 {
				b.step(time.Second)
				if reached = max(reached, b.at(assay.LeverReplicas)); acted.IsZero() && reached > was {
					acted = b.now
				}
			}
			list := b.facts(assay.FactMitigationJudged)
			if acted.IsZero() || len(list) == 0 {
				t.Fatalf("acted %s, %d outcomes", acted, len(list))
			}
			var first mitigate.JudgedPayload
			for i := len(list) - 1; i >= 0; i-- {
				var p mitigate.JudgedPayload
				if err := json.Unmarshal(list[i].Payload, &p); err != nil {
					t.Fatal(err)
				}
				if p.Outcome.Effect == c.never {
					t.Errorf("%s: %s", p.Outcome.Effect, p.Outcome.Reason)
				}
				if first.Strategy == "" || list[i].Time.Before(acted.Add(10*time.Second)) {
					first = p
				}
			}
			if took := first.Outcome.Time.Sub(acted); took < 8*time.Second || took > 10*time.Second {
				t.Errorf("it is judged %s after the action, want eight steps", took)
			}
			if c.want != "" && first.Outcome.Effect != c.want {
				t.Errorf("it is judged %s: %s", first.Outcome.Effect, first.Outcome.Reason)
			}
			if back := b.at(assay.LeverReplicas) == was; back != c.back {
				t.Errorf("it went from %v to %v and stands at %v", was, reached, b.at(assay.LeverReplicas))
			}
			if s := b.step(time.Second); c.back && !strings.Contains(strings.Join(s.Decision.Reasons, " "), "it is not done again before") {
				t.Errorf("it says %v", s.Decision.Reasons)
			}
		})
	}
}

func TestAPersonLiftsAFreezeAndNotTheBudgetOfAnHour(t *testing.T) {
	b := swinger(t)
	b.set("recommended", 4)
	b.step(time.Second)
	for target, code := range map[string]assay.Code{"": assay.CodeConflict, "replicas": assay.CodeConflict} {
		if err := b.thaw(target); assay.CodeOf(err) != code {
			t.Errorf("nothing is frozen: %v", err)
		}
	}
	b.provoke(15 * time.Minute)
	if err := b.thaw("rate-limit"); assay.CodeOf(err) != assay.CodeConflict || !strings.Contains(err.Error(), "replicas") {
		t.Errorf("another lever: %v", err)
	}
	if err := b.thaw(""); err != nil { // there is one
		t.Fatal(err)
	}
	if s, err := mitigate.Get(t.Context(), b.store, b.s.Namespace, b.s.Name); err != nil || len(s.Frozen) != 0 {
		t.Errorf("%+v, %v; expected none at once", s.Frozen, err)
	}
	told := b.facts(assay.FactMitigationTold)
	if len(told) != 1 || told[0].Actor != "grace" || !strings.Contains(string(told[0].Payload), `"target":"replicas"`) {
		t.Errorf("what grace said: %v", told)
	}
	s, turns := b.provoke(10 * time.Minute) // down, up, and frozen again
	if turns != 1 || b.at(assay.LeverReplicas) != 8 || len(s.Frozen) != 1 || len(b.frozen()) != 2 {
		t.Fatalf("it turned %d times, stands at %v, frozen %+v, %d facts", turns, b.at(assay.LeverReplicas), s.Frozen, len(b.frozen()))
	}
	if err := b.thaw("replicas"); err != nil {
		t.Fatal(err)
	}
	// Four of the hour's five are spent, and the last is for protecting.
	if s, turns = b.provoke(20 * time.Minute); turns != 0 || b.at(assay.LeverReplicas) != 8 || !strings.Contains(s.Bands[0].Held, "4 times in the last hour") {
		t.Errorf("it turned %d times more, stands at %v: %s", turns, b.at(assay.LeverReplicas), s.Bands[0].Held)
	}
	for _, f := range b.facts(assay.FactMitigationDecided) {
		b.replays(f)
	}
}

// To learn that replicas do not help would suppress them for months. It cannot be learned where
// what would have been spent is a thousandth of what would matter, so that nothing could have
// been saved, nor where nothing was wrong yet: then they came in time.
func TestWhatCouldNotHaveHelpedIsNotJudgedToHaveNoEffect(t *testing.T) {
	for name, c := range map[string]struct {
		spent, varies float64
		why           string
	}{
		"nothing could have been saved": {1e-8, 0.2, "nothing that it could have made better"},
		"they came before the trouble":  {1e-5, 0.01, "it came before what it was to prevent"},
	} {
		t.Run(name, func(t *testing.T) { couldNotHelp(t, c.spent, c.varies, c.why) })
	}
}

func couldNotHelp(t *testing.T, spent, varies float64, why string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(19, 20))
	b := spending(t, func() float64 { return spent * (1 + varies*rng.NormFloat64()) })
	b.set("load", 150)
	for range 240 {
		b.step(30 * time.Second)
	}
	b.set("load", 1000)
	for range 30 {
		b.step(30 * time.Second)
	}
	judged := b.facts(assay.FactMitigationJudged)
	if len(judged) == 0 {
		t.Fatal("nothing is judged")
	}
	for _, f := range judged {
		var p mitigate.JudgedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil || p.Outcome.Effect != assay.EffectInconclusive || !strings.Contains(p.Outcome.Reason, why) {
			t.Errorf("%s: %s, %v", p.Outcome.Effect, p.Outcome.Reason, err)
		}
	}
	if s := b.step(time.Second); s.Attempts != 0 {
		t.Errorf("%d attempts are held against it", s.Attempts)
	}
}

func TestAMoveThatHarmedIsRememberedAsSuch(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	var b *board
	b = spending(t, func() float64 {
		v := 2e-5
		if b.at(assay.LeverReplicas) > 20 { // more of them make it worse
			v = 2e-3
		}
		return max(v*(1+0.1*rng.NormFloat64()), 0)
	})
	b.set("load", 150)
	for range 240 {
		b.step(30 * time.Second)
	}
	b.set("load", 1000)
	for range 40 {
		b.step(30 * time.Second)
	}
	harmed := false
	for _, f := range b.facts(assay.FactMitigationJudged) {
		var p mitigate.JudgedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s %s: %s", p.Outcome.Action.Kind, p.Outcome.Effect, p.Outcome.Reason)
		harmed = harmed || p.Outcome.Effect == assay.EffectHarmed
	}
	err := b.store.View(t.Context(), func(r store.Reader) error {
		v, err := r.Get(store.Key{Namespace: b.s.Namespace, Bucket: "strategy", Name: b.s.Name})
		if err == nil && (!harmed || !strings.Contains(string(v.Data), `"harmed":true`)) {
			t.Errorf("judged a harm: %t, and what is remembered: %s", harmed, v.Data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
