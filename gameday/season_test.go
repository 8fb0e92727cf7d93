package gameday

import (
	"math"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

func TestTheLoadOfTheSeasonHasADayToLearn(t *testing.T) {
	counts := tideLoad(daysKnown + 2)
	if !slices.Equal(counts, tideLoad(daysKnown+2)) {
		t.Error("two plays have two loads")
	}
	sum := func(from, to int) (n float64) { // hours of all days
		for day := range len(counts) / quarters {
			for _, c := range counts[day*quarters+4*from : day*quarters+4*to] {
				n += c
			}
		}
		return n
	}
	if night, noon := sum(3, 6), sum(11, 14); noon < 3*night {
		t.Errorf("%.0f at noon and %.0f at night: there is no day to learn", noon, night)
	}
}

func TestTheTideGoesByTheTraceFromWhatIsKnownOn(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	x := tide{start: start, trace: make([]float64, (daysKnown+2)*quarters)}
	for i := range x.trace {
		x.trace[i] = float64(i)
	}
	first := float64(daysKnown*quarters + 4*fromHour)
	for _, c := range []struct {
		after time.Duration
		want  float64
	}{
		{0, first}, {quarterTime - 1, first}, {quarterTime, first + 1}, {-1, first - 1}, {-quarterTime, first - 1},
		{-daysKnown * tideDay, 4 * fromHour}, {-100 * tideDay, 0}, {100 * tideDay, float64(len(x.trace) - 1)},
	} {
		if got := x.at(start.Add(c.after)); got != c.want {
			t.Errorf("%s after the start it is quarter %.0f; expected %.0f", c.after, got, c.want)
		}
	}
}

func TestAWorkerAsksForItsFirstTaskOnceItHasStarted(t *testing.T) {
	y := newTray()
	y.add(2)
	y.finish()
	srv := httptest.NewServer(y)
	defer srv.Close()
	const warms = 60 * time.Millisecond
	began := time.Now()
	if err := Worker(t.Context(), WorkerConfig{Tray: srv.URL, Name: "a", Warms: warms}); err != nil {
		t.Fatal(err)
	}
	if s := y.stands(); time.Since(began) < warms || s.done != 2 || s.workers != 1 {
		t.Errorf("after %s: %+v", time.Since(began), s)
	}
}

func TestTheLoadIsWhatIsCountedAndBeforeThatWhatCountingWouldHaveShown(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	x := tide{start: start, trace: make([]float64, (daysKnown+2)*quarters)}
	for i := range x.trace {
		x.trace[i] = float64(i % quarters)
	}
	first := float64(4 * fromHour)
	for _, c := range []struct {
		after time.Duration
		want  float64
	}{
		{-quarterTime, first - 2.5}, {0, first - 1.5}, {countedTime - 1, first - 0.5},
		{countedTime, 25 * 3 * 2}, {countedTime + 10*time.Millisecond, 25 * 3 * 2}, {2 * countedTime, 25 * 3 * 2}, {3 * countedTime, 0},
	} {
		x.seen = nil
		for at := time.Duration(0); at < min(c.after, time.Second); at += 20 * time.Millisecond { // three tasks, and after a second none
			x.seen = append(x.seen, moment{at: start.Add(at), tasks: 3})
		}
		if got := x.counted(start.Add(c.after)); math.Abs(got-c.want) > 6 {
			t.Errorf("%s after the start the load is %v; expected about %v", c.after, got, c.want)
		} else if c.after < countedTime && got != c.want {
			t.Errorf("%s after the start the load is %v; expected %v", c.after, got, c.want)
		}
	}
}
