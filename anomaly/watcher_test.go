package anomaly_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/anomaly"
	"assay.dev/assay/slo"
	"assay.dev/assay/store"
)

const learnt = 600 // minutes after which a world here is known

func TestWhatNeverWasIsOneFactWithItsChannelInWords(t *testing.T) {
	w := newWorld(t, "")
	w.usual(learnt + 60)
	for n := learnt; n < learnt+20; n++ {
		w.set(n, minuteOf{total: 620, bad: 200})
	}
	a := w.watcher()
	w.until(a, learnt+15)
	got := w.since(learnt)
	if len(got) == 0 {
		t.Fatal("a third of the requests fails and nothing is found")
	}
	f := got[0]
	if f.Service != "checkout" || f.Objective != "checkout/0" || f.Indicator != "bad share" || !f.Time.Equal(begin.Add(learnt*time.Minute)) {
		t.Errorf("found %+v", f)
	}
	if !strings.Contains(f.Words, "bad share: ") || !strings.Contains(f.Words, "above anything") || f.Suppressed != "" || f.Certainty != string(assay.Calibrated) {
		t.Errorf("found %+v", f)
	}
	if f.Value == nil || f.Expected == nil || f.High == nil || *f.Value < *f.High {
		t.Errorf("value, forecast and band: %+v", f)
	}
	for _, g := range got[1:] {
		if g.Indicator == f.Indicator && g.Time.Sub(f.Time) < 10*time.Minute {
			t.Errorf("the same indicator again after %s: %s", g.Time.Sub(f.Time), g.Words)
		}
	}
}

func TestNothingIsFoundInServicesThatAreAsEver(t *testing.T) {
	for name, minute := range map[string]func(int) (minuteOf, bool){
		"constant":   func(int) (minuteOf, bool) { return minuteOf{total: 100}, true },
		"no traffic": func(int) (minuteOf, bool) { return minuteOf{}, true },
		"two points": func(n int) (minuteOf, bool) { return minuteOf{total: uint64(n)}, n < 2 },
		"all bad":    func(int) (minuteOf, bool) { return minuteOf{total: 50, bad: 50}, true },
		"gaps":       func(n int) (minuteOf, bool) { return minuteOf{total: 100}, n%30 < 10 },
		"no data":    func(int) (minuteOf, bool) { return minuteOf{}, false },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			for n := range learnt {
				if m, ok := minute(n); ok {
					w.set(n, m)
				}
			}
			w.until(w.watcher(), learnt)
			// Gaps of twenty minutes are news until one has been seen after an hour of data.
			for _, f := range w.found() {
				if name != "gaps" || f.Channel != anomaly.ChannelSilence {
					t.Errorf("%s: %s", f.Time, f.Words)
				}
			}
		})
	}
}

func TestTelemetryThatStopsOrChangesItsMeaningIsFoundOnce(t *testing.T) {
	unreadable := assay.Errorf(assay.CodeInvalid, "indicator checkout grew by 0.5, which is no number of events")
	for name, c := range map[string]struct {
		change  func(w *world, n int)
		channel string
		says    string
	}{
		"a metric that disappeared": {func(w *world, n int) {
			delete(w.minutes, begin.Unix()/60+int64(n))
		}, "silence", "no data for 5 minutes"},
		"a counter that counts in parts": {func(w *world, n int) {
			if w.broken == nil {
				w.broken, w.brokenAt = unreadable, begin.Add(time.Duration(n)*time.Minute)
			}
		}, "meaning", "can no longer be counted: indicator checkout grew by 0.5"},
		"versions that have no name any more": {func(w *world, n int) {
			m := w.minutes[begin.Unix()/60+int64(n)]
			m.version = "unknown"
			w.set(n, m)
		}, "meaning", "no series names its version"},
		"half of the series": {func(w *world, n int) {
			m := w.minutes[begin.Unix()/60+int64(n)]
			m.complete = 0.3
			w.set(n, m)
		}, "completeness", "only 30 % of the series report"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			w.usual(learnt + 60)
			for n := learnt; n < learnt+60; n++ {
				c.change(w, n)
			}
			w.until(w.watcher(), learnt+60)
			var got []anomaly.Found
			for _, f := range w.since(learnt) {
				if f.Indicator == "telemetry" {
					got = append(got, f)
				}
			}
			if len(got) != 1 || string(got[0].Channel) != c.channel || !strings.Contains(got[0].Words, c.says) {
				t.Errorf("found %+v", got)
			}
		})
	}
}

func TestAKnownChangeSuppressesAndIsNeverSilent(t *testing.T) {
	for name, c := range map[string]struct {
		calendar, changing, says string
	}{
		"a rollout":     {"", "rollout 17 of checkout is under way", "rollout 17"},
		"a maintenance": {"  events: [{name: database, kind: maintenance, start: 2026-10-12T09:50:00Z, end: 2026-10-12T11:00:00Z, services: [checkout]}]\n", "", "maintenance database of calendar shop until 2026-10-12T11:00:00Z"},
		"an event":      {"  events: [{name: sale, kind: event, start: 2026-10-12T09:50:00Z, end: 2026-10-12T11:00:00Z, factor: 3}]\n", "", "event sale"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.calendar)
			w.usual(learnt + 30)
			w.set(learnt+5, minuteOf{total: 5000})
			a := w.watcher()
			w.until(a, learnt)
			w.changing = c.changing
			w.until(a, learnt+30)
			got := w.since(learnt)
			if len(got) == 0 {
				t.Fatal("nothing is recorded")
			}
			for _, f := range got {
				if !strings.Contains(f.Suppressed, c.says) {
					t.Errorf("%s: suppressed %q, want %q in it", f.Words, f.Suppressed, c.says)
				}
			}
		})
	}
}

func TestNothingIsLearntFromAMaintenance(t *testing.T) {
	w := newWorld(t, "  events: [{name: database, kind: maintenance, start: 2026-10-12T10:00:00Z, end: 2026-10-12T10:30:00Z}]\n")
	w.usual(learnt + 90)
	for n := learnt; n < learnt+20; n++ {
		w.set(n, minuteOf{total: 5000, bad: 5000})
	}
	w.set(learnt+60, minuteOf{total: 3000, bad: 20}) // above the usual, below the maintenance
	w.until(w.watcher(), learnt+70)
	for _, f := range w.since(learnt + 60) {
		if f.Indicator == "requests" && f.Suppressed == "" {
			return
		}
	}
	t.Error("what is far from usual is not found, for it was so in a maintenance")
}

func TestWhatIsFoundDoesNotDependOnWhatFollows(t *testing.T) {
	find := func(minutes int) []anomaly.Found {
		w := newWorld(t, "")
		r := rand.New(rand.NewPCG(3, 4))
		for n := range minutes {
			m := minuteOf{total: uint64(600 + r.IntN(40)), bad: uint64(r.IntN(5))}
			if r.IntN(150) == 0 {
				m.total *= uint64(2 + r.IntN(4))
			}
			w.set(n, m)
		}
		w.until(w.watcher(), 700)
		return w.found()
	}
	if whole, part := find(1400), find(700); len(part) == 0 || !reflect.DeepEqual(whole, part) {
		t.Errorf("with what follows %d alarms, without %d", len(whole), len(part))
	}
}

func TestARestartGoesOnAndFindsNothingTwice(t *testing.T) {
	build := func() *world {
		w := newWorld(t, "")
		w.usual(learnt + 200)
		w.set(learnt+5, minuteOf{total: 2500, bad: 5})
		w.set(learnt+100, minuteOf{total: 9000, bad: 5})
		return w
	}
	whole := build()
	whole.until(whole.watcher(), learnt+150)
	parts := build()
	for n := 50; n <= learnt+150; n += 50 {
		parts.until(parts.watcher(), n) // a new one each time, as after a restart
	}
	a, b := whole.found(), parts.found()
	if len(a) < 2 || !reflect.DeepEqual(a, b) {
		t.Errorf("without a restart:\n%+v\nwith restarts:\n%+v", a, b)
	}
}

func TestALostNotebookIsLearntAnewFromTheSeries(t *testing.T) {
	w := newWorld(t, "")
	w.usual(learnt + 60)
	w.until(w.watcher(), learnt)
	old := w.store
	w.store = newWorld(t, "").store // all that was kept is gone
	_ = old
	w.set(learnt+30, minuteOf{total: 9000, bad: 5})
	w.until(w.watcher(), learnt+40)
	if got := w.since(learnt); len(got) == 0 || got[0].Indicator != "requests" {
		t.Errorf("found %+v", got)
	}
}

func TestAlarmsThatCouldNotBeWrittenAreWrittenLater(t *testing.T) {
	w := newWorld(t, "")
	w.usual(learnt + 60)
	w.set(learnt+5, minuteOf{total: 9000, bad: 5})
	down := &failing{Store: w.store}
	w.store = down
	a := w.watcher()
	w.until(a, learnt)
	down.err = assay.Errorf(assay.CodeUnavailable, "the disk is full")
	w.until(a, learnt+20)
	if s, err := a.Service("checkout"); err != nil || !strings.Contains(s.Trouble, "the disk is full") {
		t.Fatalf("a store that takes no facts is no trouble: %q, %v", s.Trouble, err)
	}
	down.err = nil
	if got := w.since(learnt); len(got) != 0 {
		t.Fatalf("%d alarms in a store that took nothing", len(got))
	}
	w.until(a, learnt+30)
	got := w.since(learnt)
	if len(got) == 0 || got[0].Indicator != "requests" || !got[0].Time.Equal(begin.Add((learnt+5)*time.Minute)) || got[0].Late {
		t.Errorf("found %+v", got)
	}
	if s, _ := a.Service("checkout"); s.Trouble != "" {
		t.Errorf("trouble %q", s.Trouble)
	}
}

// failing is a store that answers nothing while it has an error.
type failing struct {
	store.Store
	err error
}

func (f *failing) Update(ctx context.Context, fn func(store.Tx) error) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.Update(ctx, fn)
}

func TestWhatIsFoundAfterAnOutageIsRecordedAndLate(t *testing.T) {
	w := newWorld(t, "")
	w.usual(learnt + 400)
	w.set(learnt+5, minuteOf{total: 9000, bad: 5})
	w.until(w.watcher(), learnt)
	w.now = begin.Add((learnt + 300) * time.Minute) // five hours in which nothing watched
	a := w.watcher()
	w.until(a, learnt+310)
	got := w.since(learnt)
	if len(got) == 0 || !got[0].Late || !got[0].Time.Equal(begin.Add((learnt+5)*time.Minute)) {
		t.Fatalf("what was hours ago is lost: %+v", got)
	}
	lost := newWorld(t, "")
	lost.usual(learnt + 400)
	lost.set(learnt+5, minuteOf{total: 9000, bad: 5})
	lost.now = begin.Add((learnt + 300) * time.Minute)
	lost.until(lost.watcher(), learnt+310)
	if got := lost.found(); len(got) != 0 {
		t.Errorf("of a past that is learnt from, news are made: %+v", got)
	}
}

func TestAMetricThatIsCountedInAnotherUnitChangedItsMeaning(t *testing.T) {
	for name, c := range map[string]struct {
		change func(minuteOf) minuteOf
		want   string
	}{
		"in thousandths":   {func(m minuteOf) minuteOf { m.total *= 1000; m.bad *= 1000; return m }, "1000 times the rate"},
		"in seconds":       {func(m minuteOf) minuteOf { m.total *= 60; m.bad *= 60; return m }, "60 times the rate"},
		"a crowd":          {func(m minuteOf) minuteOf { m.total *= 8; return m }, ""},
		"an outage":        {func(m minuteOf) minuteOf { m.total, m.bad = m.total/100, 0; return m }, ""},
		"one wild minute":  {nil, ""},
		"nothing happened": {func(m minuteOf) minuteOf { return m }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			w.usual(learnt + 60)
			for n := learnt; n < learnt+60; n++ {
				m := w.minutes[begin.Unix()/60+int64(n)]
				switch {
				case c.change != nil:
					w.set(n, c.change(m))
				case n == learnt+5:
					m.total *= 1000
					w.set(n, m)
				}
			}
			w.until(w.watcher(), learnt+60)
			var got []string
			for _, f := range w.since(learnt) {
				if f.Channel == anomaly.ChannelMeaning {
					got = append(got, f.Words)
				}
			}
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("found %v", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
				t.Errorf("found %v, want %q once", got, c.want)
			}
		})
	}
}

func TestIndicatorsOfManyObjectivesAreWatchedTogetherInGroups(t *testing.T) {
	w := newWorld(t, "")
	a := w.watcher()
	for count, want := range map[int]int{1: 1, 4: 1, 5: 2, 9: 3} {
		var list []slo.Objective
		for i := range count {
			o := objective()
			o.Index = i
			list = append(list, o)
		}
		if err := a.SetObjectives(list); err != nil {
			t.Fatal(err)
		}
		if s, err := a.Service("checkout"); err != nil || s.Together != want {
			t.Errorf("%d objectives are watched in %d groups, %v; want %d", count, s.Together, err, want)
		}
	}
	w.usual(120)
	w.until(a, 100)
	if s, err := a.Service("checkout"); err != nil || s.Trouble != "" {
		t.Errorf("%q, %v", s.Trouble, err)
	}
}

// A service that is read from its beginning does not hold up one that is watched.
func TestWhatIsBehindIsReadInTurnAndNeverBeforeWhatHappensNow(t *testing.T) {
	w := newWorld(t, "")
	w.usual(3000)
	a := w.watcher()
	w.until(a, 2000)
	var list []slo.Objective
	for _, name := range []string{"checkout", "mail", "search"} {
		o := objective()
		o.Service = name
		list = append(list, o)
	}
	if err := a.SetObjectives(list); err != nil {
		t.Fatal(err)
	}
	w.now = begin.Add(2002*time.Minute + anomaly.Settle)
	reads := w.reads
	if more := a.Step(t.Context(), w.now); !more {
		t.Fatal("nothing is behind")
	}
	until := func(name string) time.Time {
		s, err := a.Service(name)
		if err != nil {
			t.Fatal(err)
		}
		return s.Until
	}
	if got := until("checkout"); !got.Equal(begin.Add(2002 * time.Minute)) {
		t.Errorf("what is watched is at %s", got)
	}
	if n := w.reads - reads; n > 600 {
		t.Errorf("one step reads %d times", n)
	}
	for a.Step(t.Context(), w.now) {
	}
	if m, s := until("mail"), until("search"); !m.Equal(begin.Add(2002*time.Minute)) || !s.Equal(m) {
		t.Errorf("in the end they are at %s and %s", m, s)
	}
}

func TestFailuresOfGatesAreWatched(t *testing.T) {
	w := newWorld(t, "")
	a := w.watcher()
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 100 {
		for range 25 + r.IntN(5) {
			outcome := assay.OutcomePass
			if r.IntN(10) == 0 || n >= 90 {
				outcome = assay.OutcomeAbsent // at the end all evidence is missing
			}
			w.verdict(outcome)
		}
		w.until(a, 10*(n+1))
	}
	w.until(a, 1020)
	for _, f := range w.since(890) {
		if f.Indicator == "gate failures" && f.Service == "" && strings.Contains(f.Words, "above anything") {
			return
		}
	}
	t.Errorf("found %+v", w.found())
}

func TestTooManyObjectivesAreRefusedAndNothingChanges(t *testing.T) {
	w := newWorld(t, "")
	a := w.watcher()
	if err := a.SetObjectives(make([]slo.Objective, anomaly.MaxObjectives+1)); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("%v", err)
	}
	if _, err := a.Service("checkout"); err != nil {
		t.Errorf("the service is gone: %v", err)
	}
	if _, err := a.Service("mail"); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("%v", err)
	}
}

func TestAForecastOfTooLittleSaysThatItIsReactive(t *testing.T) {
	w := newWorld(t, "")
	w.usual(20)
	a := w.watcher()
	w.until(a, 20)
	s, err := a.Service("checkout")
	if err != nil {
		t.Fatal(err)
	}
	if load := s.Objectives[0].Load; load.Trusted || !strings.HasPrefix(load.Reason, "reactive: ") {
		t.Errorf("%+v", load)
	}
}

func FuzzDecodeFound(f *testing.F) {
	f.Add([]byte(`{"indicator":"requests","channel":"value","time":"2026-10-12T00:00:00Z","words":"w"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := anomaly.DecodeFound(data)
		if err != nil {
			if assay.CodeOf(err) != assay.CodeInvalid {
				t.Fatal(err)
			}
			return
		}
		if _, err := json.Marshal(found); err != nil {
			t.Fatal(err)
		}
	})
}
