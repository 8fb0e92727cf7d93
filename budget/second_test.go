package budget_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/budget"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"
)

// twoSenders are series of the same events as two senders report them, every twenty
// seconds: ten events a second, one of a hundred bad. What they report arrives when it is put.
type twoSenders struct {
	points map[string][]signal.Point // by metric
}

var _ signal.Source = (*twoSenders)(nil)

const (
	sampled = 20 // seconds between two samples
	perTick = 10 * sampled
)

// put lets the samples arrive that a sender took from one second on until before another.
func (s *twoSenders) put(sender string, from, to int) {
	if s.points == nil {
		s.points = map[string][]signal.Point{}
	}
	from = (from + sampled - 1) / sampled * sampled
	for t := from; t < to; t += sampled {
		for metric, v := range map[string]int{"_total": 10 * t, "_bad": t / 10} {
			l := s.points[sender+metric]
			p := signal.Point{Time: at(t).UnixMilli(), Value: float64(v + 1_000_000)}
			i, _ := slices.BinarySearchFunc(l, p, func(a, b signal.Point) int { return int(a.Time - b.Time) })
			s.points[sender+metric] = slices.Insert(l, i, p)
		}
	}
}

// Read implements signal.Source.
func (s *twoSenders) Read(_ context.Context, q signal.Query) ([]assay.Reading, error) {
	part := func(c signal.Counters) (p signal.Part) {
		for _, term := range c {
			name := term.Matchers[0].Value
			p.Plus = append(p.Plus, signal.Series{Labels: labels.FromStrings("__name__", name, "version", "v1"), Points: s.points[name]})
		}
		return p
	}
	return signal.Count(q, signal.Data{Bad: part(q.Indicator.Bad), Total: part(q.Indicator.Total)}.Within(q))
}

// twice is an objective with a second source.
func twice(t testing.TB, window string) slo.Objective {
	o := objective(t, "shop", window)
	o.Indicator.Bad = &slo.Query{Type: "Prometheus", Text: "app_bad", Fallback: "door_bad"}
	o.Indicator.Total = slo.Query{Type: "Prometheus", Text: "app_total", Fallback: "door_total"}
	return o
}

// walk steps once a minute, as the books do without arrivals.
func walk(b *budget.Books, from, to int) {
	for s := from; s <= to; s += 60 {
		for b.Step(context.Background(), at(s)) {
		}
	}
}

// onSecond are the minutes of the last two hours that rest on the second source.
func onSecond(s budget.Snapshot) (out []int) {
	for _, m := range s.Minutes {
		if m.Second {
			out = append(out, int(m.Time.Sub(epoch)/time.Minute))
		}
	}
	return out
}

func TestMinutesRestOnTheSecondSourceWhileTheFirstIsSilent(t *testing.T) {
	for name, tc := range map[string]struct {
		silent [2]int // seconds from and to which the first sender is
		want   []int
	}{
		"long": {[2]int{610, 1225}, []int{10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}},
		"shorter than a counter is looked back for": {[2]int{610, 745}, []int{10, 11, 12}},
		"no whole minute":  {[2]int{610, 670}, nil},
		"of whole minutes": {[2]int{600, 720}, []int{9, 10, 11, 12}},
	} {
		t.Run(name, func(t *testing.T) {
			src := &twoSenders{}
			src.put("door", -600, 3600)
			src.put("app", -600, tc.silent[0])
			src.put("app", tc.silent[1], 3600)
			b := keep(t, src, twice(t, "1h"))
			settle(t, b, at(3599))
			s := book(t, b, at(3599))
			if want := uint64(10 * 3600); s.Budget.Total != want || s.Budget.Bad() != want/100 || s.Budget.Known != 60 {
				t.Errorf("%d bad of %d in %d minutes, want all of %d once", s.Budget.Bad(), s.Budget.Total, s.Budget.Known, want)
			}
			if got := onSecond(s); !slices.Equal(got, tc.want) || s.Budget.Second != len(tc.want) {
				t.Errorf("on the second source: %v (%d), want %v", got, s.Budget.Second, tc.want)
			}
			if s.Instead != "" {
				t.Errorf("the first is back, and %q", s.Instead)
			}
			var spans []slo.Span
			if n := len(tc.want); n > 0 {
				spans = []slo.Span{{From: at(60 * tc.want[0]), To: at(60 * (tc.want[n-1] + 1))}}
			}
			if !slices.Equal(s.Second, spans) {
				t.Errorf("said to rest on the second: %v, want %v", s.Second, spans)
			}
		})
	}
}

func TestASilentFirstSourceIsSeenAndSaid(t *testing.T) {
	src := &twoSenders{}
	src.put("door", -600, 7200)
	src.put("app", -600, 3610)
	b := keep(t, src, twice(t, "1h"))
	walk(b, 0, 3660)
	if s := book(t, b, at(3660)); s.Instead != "" || s.Budget.Second != 0 {
		t.Errorf("nothing is under way for a minute: %q, %v", s.Instead, onSecond(s))
	}
	walk(b, 3720, 3900)
	s := book(t, b, at(3900))
	if want := "the first has told nothing since 2026-11-21T13:00:00Z"; s.Instead != want {
		t.Errorf("said %q, want %q", s.Instead, want)
	}
	if got := onSecond(s); !slices.Equal(got, []int{60, 61, 62, 63, 64}) || !s.Known || s.Budget.Known != 60 {
		t.Errorf("%v, %d minutes known: %s", got, s.Budget.Known, s.Reason)
	}
	short := s.Burns[0].Short
	if short.Second != 5 || short.Known != 5 || short.Bad() == 0 {
		t.Errorf("the burn of five minutes: %+v", short)
	}
	// Without the second source its budget would not be known.
	alone := twice(t, "5m")
	alone.Indicator.Bad.Fallback, alone.Indicator.Total.Fallback = "", ""
	c := keep(t, src, alone)
	walk(c, 3600, 3900)
	if s := book(t, c, at(3900)); s.Known {
		t.Errorf("known without data: %+v", s.Budget)
	}
}

// What the first source kept to itself and sends within the time that samples may be late
// takes its minutes back: nothing is counted of both.
func TestLateDataOfTheFirstSourceTakeTheirMinutesBack(t *testing.T) {
	src := &twoSenders{}
	src.put("door", -600, 3600)
	src.put("app", -600, 610)
	b := keep(t, src, twice(t, "1h"))
	walk(b, 0, 1260)
	if got := onSecond(book(t, b, at(1260))); len(got) == 0 {
		t.Fatal("the second source was not read")
	}
	src.put("app", 610, 3600)
	walk(b, 1320, 3599)
	settle(t, b, at(3599))
	s := book(t, b, at(3599))
	if got := onSecond(s); len(got) != 0 || s.Budget.Total != 10*3600 {
		t.Errorf("%v still rest on the second; %d events", got, s.Budget.Total)
	}
}

func TestASecondSourceThatIsSilentTooLeavesTheMinuteUnknown(t *testing.T) {
	src := &twoSenders{}
	src.put("door", -600, 700)
	src.put("app", -600, 610)
	src.put("app", 790, 3600)
	b := keep(t, src, twice(t, "1h"))
	settle(t, b, at(3599))
	s := book(t, b, at(3599))
	// Minute 10 rests on the second, 11 too as far as it goes; when the first comes back in
	// 13 it has grown by all that the second has counted.
	if m := s.Minutes[len(s.Minutes)-60+13]; m.Known {
		t.Errorf("the minute of the return counts %+v once more", m)
	}
	if s.Budget.Known != 58 || s.Budget.Total >= 10*3600 {
		t.Errorf("%d events in %d minutes", s.Budget.Total, s.Budget.Known)
	}
}

func TestAnObjectiveWhoseSecondSourceIsDeadIsAsWithoutOne(t *testing.T) {
	src := &twoSenders{}
	src.put("app", -600, 610)
	src.put("app", 745, 3600)
	with, without := twice(t, "1h"), twice(t, "1h")
	without.Indicator.Bad.Fallback, without.Indicator.Total.Fallback = "", ""
	b, c := keep(t, src, with), keep(t, src, without)
	settle(t, b, at(3599))
	settle(t, c, at(3599))
	got, want := book(t, b, at(3599)), book(t, c, at(3599))
	if got.Budget != want.Budget || !slices.Equal(got.Minutes, want.Minutes) {
		t.Errorf("%+v, without one %+v", got.Budget, want.Budget)
	}
}

// Whoever is silent when, and in whatever order what they saw arrives: no event is counted
// twice, and books that begin afresh come to the same.
func TestNoEventIsCountedOfBothSources(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const end = 60 * 60
		src := &twoSenders{}
		type piece struct {
			sender   string
			from, to int
			late     int // minutes
		}
		var pieces []piece
		for _, sender := range []string{"app", "door"} {
			for now := 0; now < end; {
				to := now + rapid.IntRange(120, 1500).Draw(rt, "told")
				late := rapid.IntRange(0, 25).Draw(rt, "late")
				for s := now; s < to; s += 60 {
					pieces = append(pieces, piece{sender, s, min(s+60, to, end), late})
				}
				now = to + rapid.IntRange(120, 900).Draw(rt, "silent")
			}
		}
		b := keep(t, src, twice(t, "2h"))
		for m := 0; m <= end/60+27; m++ {
			for _, p := range pieces {
				if (p.to+59)/60+p.late == m {
					src.put(p.sender, p.from, p.to)
				}
			}
			if rapid.IntRange(0, 3).Draw(rt, "steps") > 0 {
				b.Step(context.Background(), at(60*m))
			}
		}
		now := at(end + 28*60)
		settle(t, b, now)
		fresh := keep(t, src, twice(t, "2h"))
		settle(t, fresh, now)
		got, want := b.Snapshots(now)[0], fresh.Snapshots(now)[0]
		if got.Budget != want.Budget {
			rt.Fatalf("kept books %+v, read back %+v", got.Budget, want.Budget)
		}
		const events = 10 * (end - sampled) // from the first sample to the last
		if got.Budget.Total > events {
			rt.Fatalf("%d events were counted of %d", got.Budget.Total, events)
		}
	})
}

func TestSecondSourcesThatCannotBeCountedAreSaid(t *testing.T) {
	o := twice(t, "1h")
	o.Indicator.Total.Fallback = "sum(rate(door_total[5m]))"
	if err := budget.Check(o); err != nil {
		t.Error(err)
	}
	if err := budget.CheckSecond(o); assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(fmt.Sprint(err), "rate") {
		t.Errorf("a rate is no count: %v", err)
	}
	if err := budget.CheckSecond(objective(t, "shop", "1h")); err != nil {
		t.Errorf("without one: %v", err)
	}
}
