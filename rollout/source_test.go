package rollout_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
)

// senders are two that count the same: each tells nothing of what is later than it was cut
// off, for as long as it is.
type senders struct {
	*stage
	cut [2]time.Time // zero while it tells everything
}

// Read implements signal.Source.
func (s *senders) Read(ctx context.Context, q signal.Query) ([]assay.Reading, error) {
	n := 0
	if q.Indicator.Bad[0].Matchers[0].Value == "door_errors_total" {
		n = 1
	}
	// A rollout reads up to a millisecond after the newest event, and what is told here begins
	// with the event before.
	start := q.Start
	q.Start = q.Start.Add(-time.Millisecond)
	whole := s.stage.readings
	defer func() { s.stage.readings = whole }()
	if cut := s.cut[n]; !cut.IsZero() {
		s.stage.readings = slices.DeleteFunc(slices.Clone(whole), func(r assay.Reading) bool { return r.End.After(cut) })
	}
	out, err := s.stage.Read(ctx, q)
	for i := range out {
		out[i].Start = start
	}
	return out, err
}

// twice is a rollout with a second source, and a minute of past.
func twice(t *testing.T, seed uint64, errors float64, change ...func(*rollout.Proposal)) (*stage, *senders, string) {
	t.Helper()
	s := newStage(t, seed, errors)
	from := &senders{stage: s}
	s.with(func(c *rollout.Config) { c.Source, c.Heartbeat = from, time.Second })
	s.past(time.Minute)
	id := s.start(plan(), func(p *rollout.Proposal) {
		p.Indicators[0].Fallback = &signal.Spec{Service: "shop", Name: p.Indicators[0].Spec.Name, Bad: "door_errors_total", Total: "door_requests_total"}
		for _, f := range change {
			f(p)
		}
	})
	return s, from, id
}

func TestASecondSourceIsReadWhileTheFirstTellsNothing(t *testing.T) {
	s, from, id := twice(t, 81, 0.05)
	s.pass(id, time.Second)
	from.cut[0] = s.world.Now()
	r := s.rollout(id)
	for range 120 {
		if r = s.pass(id, time.Second); r.Decision.Signals[0].Instead != "" || r.Status.Ended() {
			break
		}
	}
	said := r.Decision.Signals[0]
	if want := "the first has told nothing new of both versions for more than 5s"; !said.Known || said.Instead != want || said.AgeSeconds > 5 {
		t.Fatalf("the signal is %+v, want %q", said, want)
	}
	for range 300 {
		if r.Status.Ended() {
			break
		}
		r = s.pass(id, time.Second)
		if age := r.Decision.Signals[0].AgeSeconds; age > 2 && !r.Status.Ended() {
			t.Fatalf("with a source that tells something each second, what is known is %.0f s old", age)
		}
	}
	if r.Status != api.RolloutAborted {
		t.Errorf("five times the errors, seen by the second source alone: %s: %s", r.Status, r.Reason)
	}
	s.replays()
}

func TestNothingIsCountedTwiceWhenTheFirstSourceComesBack(t *testing.T) {
	s, from, id := twice(t, 82, 0.01, func(p *rollout.Proposal) { p.Plan.MinDuration = time.Hour })
	var r api.Rollout
	counted := func() (tests, world uint64) {
		t.Helper()
		d := r.Decision.Tests[0]
		return d.Canary.Total, s.counted("v2", r.Began, s.world.Now()).Total
	}
	r = s.pass(id, 3*time.Second)
	for range 3 {
		from.cut[0] = s.world.Now()
		for range 9 {
			r = s.pass(id, time.Second)
		}
		if r.Decision.Signals[0].Instead == "" {
			t.Fatalf("the second source was not read: %+v", r.Decision.Signals)
		}
		from.cut[0] = time.Time{} // with everything that it had kept to itself
		for range 3 {
			r = s.pass(id, time.Second)
		}
		if r.Status.Ended() {
			t.Fatalf("%s: %s", r.Status, r.Reason)
		}
		if said := r.Decision.Signals[0]; !said.Known || said.Instead != "" {
			t.Errorf("the first source is back, and the signal is %+v", said)
		}
		if tests, world := counted(); tests != world {
			t.Errorf("the tests counted %d requests of %d", tests, world)
		}
	}
	s.replays()
}

func TestWithoutAnySourceNothingIsPromotedOrAborted(t *testing.T) {
	s, from, id := twice(t, 83, 0.05)
	r := s.pass(id, time.Second)
	from.cut = [2]time.Time{s.world.Now(), s.world.Now()}
	for range 60 {
		r = s.pass(id, time.Second)
	}
	if said := r.Decision.Signals[0]; r.Status.Ended() || said.Known || said.Instead != "" || !strings.Contains(said.Reason, "old") {
		t.Errorf("%s with %+v: %s", r.Status, said, r.Reason)
	}
}

func TestAWatchThatSawNothingSaysSo(t *testing.T) {
	for name, tc := range map[string]struct {
		silent bool
		words  string
	}{
		"telemetry ended with the old version": {true, "but nothing of it could be seen (errors): whether v2 is worse than v1 had been is not known"},
		"telemetry went on":                    {false, "v2 is not 2 times worse than v1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 84, 0.01)
			from := &senders{stage: s}
			s.with(func(c *rollout.Config) { c.Source = from })
			s.past(time.Minute)
			id := s.start(plan(), blueGreen(20*time.Second))
			r := s.pass(id, 0)
			if r.Status != api.RolloutWatching {
				t.Fatalf("%s: %s", r.Status, r.Reason)
			}
			if tc.silent {
				from.cut[0] = s.world.Now()
			}
			for n := 0; !r.Status.Ended() && n < 60; n++ {
				r = s.pass(id, time.Second)
			}
			ended := payload[rollout.EndedPayload](t, s.facts(assay.FactRolloutEnded)[0])
			if r.Status != api.RolloutPromoted || !strings.Contains(ended.Reason, tc.words) {
				t.Errorf("%s: %s", r.Status, ended.Reason)
			}
		})
	}
}
