package mitigate_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/store"
)

// spending is a board whose service spends what burn says.
func spending(t *testing.T, burn func() float64) *board {
	t.Helper()
	b := newBoard(t, "scale", replicas)
	b.s.Spec.Objective = "checkout"
	b.ctl = mitigate.New(mitigate.Config{
		Store: b.store, Blobs: b.blobs, Gauges: b, Actuator: b.door, Rollouts: b,
		Strategies: func() ([]mitigate.Strategy, assay.Digest, error) { return []mitigate.Strategy{b.s}, "sha256:00", nil },
		Burn:       func(context.Context, string, string) (float64, bool) { return burn(), true },
		Now:        func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler), Holder: "test", Prove: -1,
	})
	if err := b.ctl.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// judged runs two calm hours, then trouble that makes what is spent a hundredfold until the
// new replicas serve it, or for ever if they do not help. The load that the strategy acts on
// is seen a while after the trouble began.
func judged(t *testing.T, helps bool, seen time.Duration) (*board, []mitigate.JudgedPayload) {
	t.Helper()
	rng := rand.New(rand.NewPCG(17, 18))
	var b *board
	trouble, acted := false, time.Time{}
	b = spending(t, func() float64 {
		v := 2e-5 * (1 + 0.2*rng.NormFloat64())
		if trouble && !(helps && !acted.IsZero() && b.now.Sub(acted) > 30*time.Second) {
			v += 2e-3 * (1 + 0.1*rng.NormFloat64())
		}
		return max(v, 0)
	})
	b.set("load", 150)
	for range 240 {
		b.step(30 * time.Second)
	}
	trouble = true
	for range seen / (30 * time.Second) {
		b.step(30 * time.Second)
	}
	b.set("load", 1000)
	for range 40 {
		b.step(30 * time.Second)
		if acted.IsZero() && b.at(assay.LeverReplicas) > 20 {
			acted = b.now
		}
	}
	var out []mitigate.JudgedPayload
	for _, f := range b.facts(assay.FactMitigationJudged) {
		var p mitigate.JudgedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return b, out
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

func confounds(t *testing.T, change func(now time.Time) mitigate.Change, want bool) {
	t.Helper()
	rng := rand.New(rand.NewPCG(23, 24))
	trouble := false
	var b *board
	b = spending(t, func() float64 {
		v := 2e-5
		if trouble && b.at(assay.LeverReplicas) <= 20 {
			v = 2e-3
		}
		return max(v*(1+0.1*rng.NormFloat64()), 0)
	})
	b.set("load", 150)
	for range 240 {
		b.step(30 * time.Second)
	}
	trouble = true
	b.set("load", 1000)
	for range 40 {
		b.step(30 * time.Second)
		if len(b.changes) == 0 && b.at(assay.LeverReplicas) > 5 {
			x := change(b.now)
			x.Version, x.Old = "v7", "v6"
			b.changes = []mitigate.Change{x}
		}
	}
	for _, f := range b.facts(assay.FactMitigationJudged) {
		var p mitigate.JudgedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			t.Fatal(err)
		}
		if p.Outcome.Effect == assay.EffectConfounded && strings.HasPrefix(p.Outcome.Reason, "the change to version v7 fell into the window") {
			if !want {
				t.Errorf("%s", p.Outcome.Reason)
			}
			return
		}
		t.Logf("%s: %s", p.Outcome.Effect, p.Outcome.Reason)
	}
	if want {
		t.Error("a version came in the window, and the action is judged all the same")
	}
}

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
