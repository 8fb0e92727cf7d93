package rollout_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
)

// senders are two that count the same: each tells nothing of what is later than it was cut
// off, for as long as it is.
type senders struct {
	*stage
	cut [2]time.Time // zero while it tells everything
	// missed are times of which the first tells only what came of them all together, in its
	// first report afterwards: so do counters that were not read for a while.
	missed [][2]time.Time
	more   uint64 // how many errors the second counts for each, 0 is one
}

// growth is what the first sender tells: of what it missed, nothing by itself.
func (s *senders) growth(whole []assay.Reading) []assay.Reading {
	out := slices.Clone(whole)
	for _, gap := range s.missed {
		for i, r := range out {
			if !r.End.After(gap[0]) || r.End.After(gap[1]) {
				continue
			}
			after := slices.IndexFunc(out, func(x assay.Reading) bool {
				return x.Version == r.Version && x.Indicator == r.Indicator && x.End.After(gap[1])
			})
			if after < 0 {
				out[i].End = gap[1].Add(time.Hour) // nobody has read it yet
				continue
			}
			out[i].Start, out[i].End, out[i].EventTime = out[after].Start, out[after].End, out[after].EventTime
		}
	}
	return out
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
	if n == 0 && len(s.missed) > 0 {
		s.stage.readings = s.growth(whole)
	}
	if cut := s.cut[n]; !cut.IsZero() {
		s.stage.readings = slices.DeleteFunc(slices.Clone(s.stage.readings), func(r assay.Reading) bool { return r.End.After(cut) })
	}
	out, err := s.stage.Read(ctx, q)
	for i := range out {
		if bad := out[i].Bad(); n == 1 && s.more > 0 {
			out[i].Good = out[i].Total - min(out[i].Total, s.more*bad)
		}
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
	for name, late := range map[string]bool{"what it kept to itself comes late": true, "its counters have grown by what it missed": false} {
		t.Run(name, func(t *testing.T) { countedOnce(t, late) })
	}
}

func countedOnce(t *testing.T, late bool) {
	t.Helper()
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
		if !late {
			from.missed = append(from.missed, [2]time.Time{from.cut[0], s.world.Now()})
		}
		from.cut[0] = time.Time{}
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

// watchedTwice is a version with all the traffic in a watch of four minutes, from the fourth on, that
// fails with errors from the sixth on, with a second source.
func watchedTwice(t *testing.T, seed uint64, errors float64) (*stage, *senders, string) {
	t.Helper()
	latency := sim.Latency{Median: 10 * time.Millisecond, Spread: 0.3}
	s := newStage(t, seed, 0.01)
	world, err := sim.New(sim.Config{Seed: seed, Start: began, Services: []sim.Service{{
		Name: "shop", Rate: 1500,
		Versions: []sim.Version{{Name: "v1", Weight: 100, Errors: 0.01, Latency: latency}, {Name: "v2", Errors: 0.01, Latency: latency}},
		Changes:  []sim.Change{{After: 6 * time.Minute, Version: "v2", Errors: errors, Latency: latency}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s.world, s.actuator = world, world
	from := &senders{stage: s}
	s.with(func(c *rollout.Config) {
		c.Source, c.Actuator, c.Now, c.Heartbeat = from, world, world.Now, time.Second
	})
	s.past(4 * time.Minute)
	id := s.start(plan(), func(p *rollout.Proposal) {
		blueGreen(4 * time.Minute)(p)
		p.Baseline = 4 * time.Minute
		p.Indicators[0].Fallback = &signal.Spec{Service: "shop", Name: p.Indicators[0].Spec.Name, Bad: "door_errors_total", Total: "door_requests_total"}
	})
	if r := s.rollout(id); r.Status != api.RolloutWatching {
		t.Fatalf("it is not watched: %s: %s", r.Status, r.Reason)
	}
	return s, from, id
}

func TestAWatchGoesOnWithItsSecondSource(t *testing.T) {
	s, from, id := watchedTwice(t, 91, 0.04)
	for s.world.Now().Before(began.Add(5 * time.Minute)) {
		s.pass(id, time.Second)
	}
	from.cut[0] = s.world.Now()
	r, seen := s.rollout(id), false
	for range 150 {
		if r.Status.Ended() {
			break
		}
		r = s.pass(id, time.Second)
		said := r.Decision.Signals[0]
		silent := s.world.Now().Sub(from.cut[0])
		switch seen = seen || said.Instead != ""; {
		case silent <= 5*time.Second && said.Instead != "":
			t.Fatalf("after %s the first is not silent yet: %+v", silent, said)
		case silent > 7*time.Second && (!said.Known || said.Instead != "the first has told nothing new for more than 5s"):
			t.Fatalf("after %s the signal is %+v", silent, said)
		}
	}
	if late := r.Ended.Sub(began.Add(6 * time.Minute)); r.Status != api.RolloutReverted || !seen || late < 0 || late > time.Minute {
		t.Errorf("four times the errors, seen by the second source alone: %s after %s: %s", r.Status, late, r.Reason)
	}
	s.replays()
}

// The old version's past is of the same source as what it is held against: the second counts
// three times the errors, before and after.
func TestSourcesThatCountDifferentlyAreNotHeldAgainstEachOther(t *testing.T) {
	s, from, id := watchedTwice(t, 92, 0.01)
	from.more = 3
	for s.world.Now().Before(began.Add(5 * time.Minute)) {
		s.pass(id, time.Second)
	}
	from.cut[0] = s.world.Now()
	for range 120 {
		if r := s.pass(id, time.Second); r.Status != api.RolloutWatching {
			t.Fatalf("a version that is no worse: %s: %s", r.Status, r.Reason)
		}
	}
	if d := s.rollout(id).Decision; d.Signals[0].Instead == "" || float64(d.Tests[0].Control.Bad) < 0.015*float64(d.Tests[0].Control.Total) {
		t.Errorf("the second source was not read of both: %+v, %+v", d.Signals[0], d.Tests[0])
	}
}

func TestNothingOfAWatchIsCountedTwice(t *testing.T) {
	for name, late := range map[string]bool{"what the first kept to itself comes late": true, "its counters have grown by what it missed": false} {
		t.Run(name, func(t *testing.T) {
			s, from, id := watchedTwice(t, 93, 0.01)
			r := s.pass(id, 3*time.Second)
			for range 3 {
				from.cut[0] = s.world.Now()
				for range 12 {
					r = s.pass(id, time.Second)
				}
				if r.Decision.Signals[0].Instead == "" {
					t.Fatalf("the second source was not read: %+v", r.Decision.Signals)
				}
				if !late {
					from.missed = append(from.missed, [2]time.Time{from.cut[0], s.world.Now()})
				}
				from.cut[0] = time.Time{}
				for range 3 {
					r = s.pass(id, time.Second)
				}
				said := r.Decision.Signals[0]
				if counted, world := r.Decision.Tests[0].Canary.Total, s.counted("v2", r.Watch.Began, s.world.Now()).Total; !said.Known || said.Instead != "" || counted != world {
					t.Errorf("the first is back, the signal is %+v and the tests counted %d requests of %d", said, counted, world)
				}
			}
			s.replays()
		})
	}
}

// Without either source the watch holds; what one of them tells afterwards is not held against
// what was missed.
func TestAWatchWithoutAnySourceHolds(t *testing.T) {
	s, from, id := watchedTwice(t, 94, 0.04)
	s.pass(id, 3*time.Second)
	from.cut = [2]time.Time{s.world.Now(), s.world.Now()}
	r := s.rollout(id)
	for range 150 {
		r = s.pass(id, time.Second)
	}
	if said := r.Decision.Signals[0]; r.Status != api.RolloutWatching || said.Known || said.Instead != "" || !strings.Contains(said.Reason, "old") {
		t.Fatalf("%s with %+v: %s", r.Status, said, r.Reason)
	}
	from.missed = [][2]time.Time{{from.cut[0], s.world.Now()}}
	from.cut[0] = time.Time{}
	for range 60 {
		if r = s.pass(id, time.Second); r.Status.Ended() {
			break
		}
	}
	if r.Status != api.RolloutReverted {
		t.Errorf("once the first tells again: %s: %s", r.Status, r.Reason)
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
