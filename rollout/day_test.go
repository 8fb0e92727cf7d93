package rollout_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/rollout"
)

// A day has 1,500 requests/s and a night 300: half a minute of the day, half a minute of the
// night, then v2 gets all the traffic, and in the middle of its watch comes the morning.
const (
	nightAfter   = 30 * time.Second
	releaseAfter = time.Minute
	morningAfter = 90 * time.Second
)

// busy are the shares of the two versions' requests that fail by day; at night 1 % do.
type busy struct{ old, new float64 }

func newDay(t *testing.T, seed uint64, b busy, knowsDay bool) *stage {
	t.Helper()
	latency := sim.Latency{Median: 10 * time.Millisecond, Spread: 0.3}
	by := func(after time.Duration, version string, errors float64) sim.Change {
		return sim.Change{After: after, Version: version, Errors: errors, Latency: latency}
	}
	first, errors := 1500.0, b.old
	if !knowsDay {
		first, errors = 300, 0.01
	}
	world, err := sim.New(sim.Config{Seed: seed, Start: began, Services: []sim.Service{{
		Name: "shop", Rate: first,
		Versions: []sim.Version{{Name: "v1", Weight: 100, Errors: errors, Latency: latency}, {Name: "v2", Errors: 0.01, Latency: latency}},
		Rates:    []sim.RateChange{{After: nightAfter, Rate: 300}, {After: morningAfter, Rate: 1500}},
		Changes:  []sim.Change{by(nightAfter, "v1", 0.01), by(morningAfter, "v1", b.old), by(morningAfter, "v2", b.new)},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, seed, 0.01)
	s.world, s.actuator = world, world
	s.restart()
	s.past(releaseAfter)
	return s
}

// watched releases v2 at night; the past that belongs to its watch is of the night alone.
func (s *stage) watched(watch time.Duration, change func(*rollout.Proposal)) api.Rollout {
	s.t.Helper()
	id := s.start(plan(), func(p *rollout.Proposal) {
		blueGreen(watch)(p)
		p.Baseline = 20 * time.Second
		change(p)
	})
	return s.run(id)
}

func TestUnderTheLoadOfTheMorningAVersionIsHeldAgainstTheOldOnesDay(t *testing.T) {
	for _, c := range []struct {
		name   string
		by     busy
		knows  bool
		status api.RolloutStatus
		words  string
	}{
		{"what fails by day failed in the old version too", busy{0.04, 0.04}, true, api.RolloutPromoted, ""},
		{"only the new version fails by day", busy{0.01, 0.04}, true, api.RolloutReverted, ""},
		{"the new version fails more by day than the old one did", busy{0.03, 0.12}, true, api.RolloutReverted, ""},
		// Nobody can tell the load from the version then: the traffic goes back, and that is said.
		{"the old version never had such a day", busy{0.04, 0.04}, false, api.RolloutReverted, "whether the old version would have borne as much is not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := uint64(1); seed <= 2; seed++ {
				s := newDay(t, 100+seed, c.by, c.knows)
				r := s.watched(time.Minute, func(*rollout.Proposal) {})
				if r.Status != c.status {
					t.Fatalf("seed %d: it ends %s: %s", seed, r.Status, r.Reason)
				}
				if late := r.Ended.Sub(began.Add(morningAfter)); r.Status == api.RolloutReverted && (late < 0 || late > 20*time.Second) {
					t.Errorf("seed %d: the fault of the morning was seen %s after it", seed, late)
				}
				if !strings.Contains(r.LoadWords(), c.words) {
					t.Errorf("seed %d: it says %q, not %q", seed, r.LoadWords(), c.words)
				}
				// The day before had 30 s at 1500/s, the night's past 20 s at 300/s: no count is used twice.
				if most := uint64(32*1500 + 22*300); r.Control.Total > most {
					t.Errorf("seed %d: %d requests of the past were used; it had %d", seed, r.Control.Total, most)
				}
			}
		})
	}
}

func TestAWatchWaitsForTheLoadThatTheOldVersionHad(t *testing.T) {
	for _, c := range []struct {
		name   string
		until  float64
		by     busy
		status api.RolloutStatus
		words  string
	}{
		{"one that does not wait ends at night and says what it has not seen", 0, busy{0.01, 0.04}, api.RolloutPromoted, "how it bears more than it had was not seen"},
		{"one that waits sees the fault of the morning", 0.8, busy{0.01, 0.04}, api.RolloutReverted, ""},
		{"and promotes a healthy version once it bore the load", 0.8, busy{0.01, 0.01}, api.RolloutPromoted, "v2 had up to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newDay(t, 111, c.by, true)
			r := s.watched(15*time.Second, func(p *rollout.Proposal) {
				if p.UntilLoad = c.until; c.until > 0 {
					p.Longest = time.Hour
				}
			})
			if r.Status != c.status || !strings.Contains(r.LoadWords(), c.words) {
				t.Fatalf("it ends %s: %s; %s", r.Status, r.Reason, r.LoadWords())
			}
			if w := r.Watch; c.until > 0 && r.Status == api.RolloutPromoted && (w.Met.Before(began.Add(morningAfter)) || r.Ended.Sub(w.Met) < 14*time.Second) {
				t.Errorf("the load was met at %s, and the watch ended at %s", w.Met, r.Ended)
			}
		})
	}
}

// arrive puts what a version counted in a stretch into the reading that ends it, as a
// counter does that could not be asked for so long.
func (s *stage) arrive(version string, from, to time.Time) {
	s.t.Helper()
	into, sum := -1, assay.Reading{}
	for i := range s.readings {
		r := &s.readings[i]
		if r.Version != version || r.Indicator != sim.IndicatorErrors || r.Start.Before(from) || r.End.After(to) {
			continue
		}
		into, sum.Good, sum.Total = i, sum.Good+r.Good, sum.Total+r.Total
		r.Good, r.Total = 0, 0
	}
	if into < 0 {
		s.t.Fatalf("nothing of %s from %s to %s", version, from, to)
	}
	s.readings[into].Good, s.readings[into].Total = sum.Good, sum.Total
}

// peak makes a version's counts of a stretch so many times as great.
func (s *stage) peak(version string, from, to time.Time, times uint64) {
	for i := range s.readings {
		if r := &s.readings[i]; r.Version == version && !r.Start.Before(from) && !r.End.After(to) {
			r.Good, r.Total = times*r.Good, times*r.Total
		}
	}
}

// The old version's minute, of 300 requests a second, is known in slots of two and a half
// seconds. The new one's readings lie a millisecond beside those of the world, so that it has
// half of them: it waits for two fifths.
func TestCountsThatArriveLateAreNoLoadToWaitFor(t *testing.T) {
	at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
	for _, c := range []struct {
		name    string
		change  func(*stage)
		control [2]float64 // that the old version had, by the record
		waits   bool       // for the 1,500 of the morning
	}{
		{"every slot is like the others", func(*stage) {}, [2]float64{240, 340}, false},
		{"twenty seconds arrive in one slot", func(s *stage) { s.arrive("v1", at(20), at(40)) }, [2]float64{240, 340}, false},
		{"twice", func(s *stage) { s.arrive("v1", at(5), at(22)); s.arrive("v1", at(31), at(52)) }, [2]float64{240, 340}, false},
		{"in the newest slot of all", func(s *stage) { s.arrive("v1", at(40), at(60)) }, [2]float64{240, 340}, false},
		{"a true peak of two slots", func(s *stage) { s.peak("v1", at(30), at(36), 5) }, [2]float64{1000, 1650}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newDay(t, 113, busy{0.01, 0.01}, false)
			c.change(s)
			r := s.watched(10*time.Second, func(p *rollout.Proposal) { p.UntilLoad, p.Longest = 0.4, time.Hour })
			if l := r.Load; l.Slot < 2400*time.Millisecond || l.Slot > 2500*time.Millisecond || l.Control < c.control[0] || l.Control > c.control[1] {
				t.Errorf("slots of %s; the old version had up to %.0f/s, want %v", l.Slot, l.Control, c.control)
			}
			if morning := began.Add(morningAfter); r.Status != api.RolloutPromoted || r.Watch.Met.IsZero() || r.Watch.Met.After(morning) != c.waits {
				t.Errorf("it ends %s; the load was met at %s, the morning came at %s", r.Status, r.Watch.Met, morning)
			}
		})
	}
}

// scraped leaves of a version's readings one in every so many seconds, with the counts of all
// of them, as of a page that is looked at as often.
func (s *stage) scraped(version string, every int) {
	s.t.Helper()
	for i := 0; i*every < 60; i++ {
		from := began.Add(time.Duration(i*every) * time.Second)
		s.arrive(version, from, from.Add(time.Duration(every)*time.Second))
	}
	s.readings = slices.DeleteFunc(s.readings, func(r assay.Reading) bool {
		return r.Version == version && r.Indicator == sim.IndicatorErrors && r.Total == 0
	})
}

// The same minute of 300 requests a second, by telemetry that comes less often than a slot of
// two and a half seconds is long.
func TestALoadIsNotThatOfTheSecondsInWhichItsCountsArrive(t *testing.T) {
	for _, every := range []int{5, 8, 10} {
		t.Run(fmt.Sprintf("every %d seconds", every), func(t *testing.T) {
			s := newDay(t, 115, busy{0.01, 0.01}, false)
			s.scraped("v1", every)
			r := s.pass(s.start(plan(), func(*rollout.Proposal) {}), 0)
			if l := r.Load; l == nil || l.Control < 200 || l.Control > 400 {
				t.Errorf("%+v; the old version had 300 requests a second", l)
			}
		})
	}
}

// Two or three looks at a page do not tell a load: each has the counts of all the time since
// the one before, also of what was before the first that is known.
func TestALoadIsNotToldFromTwoOrThreeArrivals(t *testing.T) {
	for _, every := range []int{15, 20, 25, 30, 60} {
		t.Run(fmt.Sprintf("every %d seconds", every), func(t *testing.T) {
			s := newDay(t, 115, busy{0.01, 0.01}, false)
			s.scraped("v1", every)
			id := s.start(plan(), func(p *rollout.Proposal) {
				blueGreen(10 * time.Second)(p)
				p.Baseline, p.UntilLoad, p.Longest = time.Minute, 0.4, time.Hour
			})
			r := s.pass(id, 0)
			if l := r.Load; l == nil || l.Control != 0 || l.Recent != 0 {
				t.Errorf("%+v of %d arrivals", l, 60/every)
			}
			if len(r.Warnings) == 0 || !strings.Contains(r.Warnings[len(r.Warnings)-1], "too little history to tell the load of v1") {
				t.Errorf("nobody is told: %q", r.Warnings)
			}
			if r = s.run(id); r.Status != api.RolloutPromoted || s.world.Now().After(began.Add(releaseAfter+20*time.Second)) {
				t.Errorf("it is %s at %s: nothing was to be waited for", r.Status, s.world.Now())
			}
		})
	}
}

// A watch that waits for the morning, 600 of the 1,500 requests a second of the day before,
// does not take a night's counts that came at once for it.
func TestCountsOfTheNewVersionThatArriveLateEndNoWait(t *testing.T) {
	s := newDay(t, 114, busy{0.01, 0.01}, true)
	id := s.start(plan(), func(p *rollout.Proposal) {
		blueGreen(10 * time.Second)(p)
		p.Baseline, p.UntilLoad, p.Longest = 20*time.Second, 0.4, time.Hour
	})
	var r api.Rollout
	cut, back := began.Add(70*time.Second), began.Add(82*time.Second)
	held, looked := assay.Rate{}, false
	for s.world.Now().Before(began.Add(morningAfter + 4*time.Second)) {
		got, err := s.world.Step(250 * time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			r := &got[i]
			if r.Version != "v2" || r.Indicator != sim.IndicatorErrors || r.Start.Before(cut) {
				continue
			}
			if r.Start.Before(back) {
				held.Bad, held.Total = held.Bad+r.Bad(), held.Total+r.Total
				r.Good, r.Total = 0, 0
			} else if r.Start.Before(back.Add(500 * time.Millisecond)) { // of two readings one is taken
				r.Good, r.Total = r.Good+(held.Total-held.Bad)/2, r.Total+held.Total/2
			}
		}
		s.readings = append(s.readings, got...)
		r = s.pass(id, 0)
		looked = looked || r.Load.Now > 600 && s.world.Now().Before(began.Add(morningAfter))
	}
	if !looked {
		t.Fatal("no slot looked like the morning: nothing is shown")
	}
	if !r.Watch.Met.IsZero() {
		t.Errorf("the load was met at %s, before two slots of the morning were over; the new version had up to %.0f/s", r.Watch.Met, r.Load.Canary)
	}
	if r = s.run(id); r.Status != api.RolloutPromoted || !r.Watch.Met.After(began.Add(morningAfter)) {
		t.Errorf("it ends %s, the load was met at %s", r.Status, r.Watch.Met)
	}
}

func TestAWatchThatWaitsForLoadEndsAtItsLongest(t *testing.T) {
	s := newDay(t, 112, busy{0.01, 0.01}, true)
	r := s.watched(5*time.Second, func(p *rollout.Proposal) { p.UntilLoad, p.Longest = 0.9, 20*time.Second })
	if took := r.Ended.Sub(r.Watch.Began); r.Status != api.RolloutPromoted || took < 20*time.Second || took > 22*time.Second || !r.Watch.Met.IsZero() {
		t.Errorf("it ends %s after %s: %s", r.Status, took, r.Reason)
	}
	if !strings.Contains(r.LoadWords(), "how it bears more than it had was not seen") {
		t.Errorf("it says %q", r.LoadWords())
	}
}
