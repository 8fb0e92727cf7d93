package budget_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/budget"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/tsdb"
	"assay.dev/assay/slo"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const namespace = "default"

func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

// objective promises 99 % of the shop's requests within the window.
func objective(t testing.TB, name, window string) slo.Objective {
	t.Helper()
	o := slo.Objective{SLO: name, Name: name, Service: "shop", Method: slo.MethodOccurrences, Window: slo.Window{Rolling: true}}
	if err := o.Window.Duration.UnmarshalText([]byte(window)); err != nil {
		t.Fatal(err)
	}
	if err := o.Target.UnmarshalText([]byte("0.99")); err != nil {
		t.Fatal(err)
	}
	o.Indicator = slo.Indicator{Name: name, Counter: true,
		Bad:   &slo.Query{Type: "Prometheus", Text: `sum(requests_total{code="500"})`},
		Total: slo.Query{Type: "Prometheus", Text: `sum(requests_total)`},
	}
	return o
}

func open(t testing.TB) *tsdb.DB {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), tsdb.Options{Retention: 90 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// put stores the running totals of both codes of one version.
func put(t testing.TB, db signal.Sink, when time.Time, version string, good, bad int) {
	t.Helper()
	one := func(code string, v int) signal.Sample {
		return signal.Sample{Time: when.UnixMilli(), Value: float64(v), Labels: labels.FromStrings(
			model.MetricNameLabel, "requests_total", "code", code, signal.NamespaceLabel, namespace, "version", version)}
	}
	res, err := db.Append(context.Background(), []signal.Sample{one("200", good), one("500", bad)}, when)
	if err != nil || res.Accepted != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
}

func keep(t testing.TB, src signal.Source, list ...slo.Objective) *budget.Books {
	t.Helper()
	b := budget.New(budget.Config{Source: src, Namespace: namespace, Now: time.Now})
	if err := b.SetObjectives(list); err != nil {
		t.Fatal(err)
	}
	return b
}

// settle steps until all of the past has been read.
func settle(t testing.TB, b *budget.Books, now time.Time) {
	t.Helper()
	for range 10_000 {
		if !b.Step(context.Background(), now) {
			return
		}
	}
	t.Fatal("the past has no end")
}

func TestBooksBalanceWithTheSeries(t *testing.T) {
	db := open(t)
	for s := 0; s <= 3600; s += 15 {
		put(t, db, at(s), "v1", 9*s, s/10)
		put(t, db, at(s), "v2", s, 0)
	}
	b := keep(t, db, objective(t, "shop", "1h"))
	settle(t, b, at(3599))
	s, err := b.Snapshot("shop", at(3599))
	if err != nil {
		t.Fatal(err)
	}
	// The first samples of all count nothing: what was before them is not known.
	if s.Budget.Total != 10*3585+358 || s.Budget.Bad() != 358 || s.Budget.Completeness() != 1 || !s.Known {
		t.Errorf("%d bad of %d, completeness %v, %q", s.Budget.Bad(), s.Budget.Total, s.Budget.Completeness(), s.Reason)
	}
	if len(s.Burns) != 1 || s.Burns[0].State != slo.StateOK || !s.Newest.Equal(at(3585)) {
		t.Errorf("burns %+v, newest %s", s.Burns, s.Newest)
	}
	if len(s.Minutes) != budget.MinutesShown || !s.Minutes[len(s.Minutes)-1].Known || s.Minutes[0].Known {
		t.Errorf("minutes %+v", s.Minutes)
	}
}

// Whatever comes, in whatever order of steps and arrivals: the ring's total is
// what the source counts over the same span, late data included, and books that
// start afresh come to the same.
func TestBooksEqualTheSourceInAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		src := &ledgerOfMinutes{}
		o := objective(t, "shop", rapid.SampledFrom([]string{"5m", "1h", "4h"}).Draw(rt, "window"))
		b := keep(t, src, o)
		now := 0
		for range rapid.IntRange(1, 30).Draw(rt, "events") {
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0, 1: // events, at most 30 minutes late
				m := now/60 - rapid.IntRange(0, 30).Draw(rt, "late")
				total := rapid.Uint64Range(0, 1000).Draw(rt, "total")
				src.add(m, slo.Counts{Good: rapid.Uint64Range(0, total).Draw(rt, "good"), Total: total})
			case 2:
				now += rapid.SampledFrom([]int{1, 59, 60, 600, 7300, 50_000}).Draw(rt, "seconds")
			case 3:
				b.Step(context.Background(), at(now))
			}
		}
		now += 60 // within which every late minute is looked at again
		settle(t, b, at(now))
		fresh := keep(t, src, o)
		settle(t, fresh, at(now))
		got, want := b.Snapshots(at(now))[0], fresh.Snapshots(at(now))[0]
		from, to, _ := o.Window.Bounds(got.Time)
		if sum := src.sum(from, to); got.Budget.Counts != sum.Counts || got.Budget.Known != sum.Known {
			rt.Fatalf("books %+v, source %+v", got.Budget.Sum, sum)
		}
		if got.Budget != want.Budget || got.Known != want.Known {
			rt.Fatalf("kept books %+v, read back %+v", got.Budget, want.Budget)
		}
	})
}

func TestThePastIsReadNewestFirstAndInPieces(t *testing.T) {
	src := &ledgerOfMinutes{}
	for m := -3000; m <= 0; m++ {
		src.add(m, slo.Counts{Good: 1, Total: 1})
	}
	b := keep(t, src, objective(t, "shop", "2d"))
	if !b.Step(t.Context(), at(0)) {
		t.Fatal("one step read two days")
	}
	if n := src.reads.Load(); n > 250 {
		t.Errorf("one step made %d reads", n)
	}
	s, _ := b.Snapshot("shop", at(0))
	if s.Known || !strings.HasPrefix(s.Reason, "the past is being read back: 4 %") || s.Read <= 0 || s.Read >= 1 {
		t.Errorf("%+v %q", s.Read, s.Reason)
	}
	for _, m := range s.Minutes {
		if !m.Known {
			t.Fatalf("minute %s is not among the first that were read", m.Time)
		}
	}
	settle(t, b, at(0))
	if s, _ = b.Snapshot("shop", at(0)); !s.Known || s.Read != 1 || s.Budget.Total != 2*24*60 {
		t.Errorf("%+v %q", s.Budget, s.Reason)
	}
	before := src.reads.Load()
	b.Step(t.Context(), at(1))
	if n := src.reads.Load() - before; n > 3 {
		t.Errorf("a step that has nothing to do made %d reads", n)
	}
}

func TestAPastWithoutDataIsPassedOverQuickly(t *testing.T) {
	src := &ledgerOfMinutes{}
	src.add(0, slo.Counts{Total: 1})
	b := keep(t, src, objective(t, "shop", "30d"))
	settle(t, b, at(30))
	if n := src.reads.Load(); n > 30*24+200 {
		t.Errorf("%d reads for 30 empty days", n)
	}
	if s := b.Snapshots(at(30))[0]; s.Known || !strings.HasPrefix(s.Reason, "only 1 of the window's 43200 minutes have data") {
		t.Errorf("%q", s.Reason)
	}
}

func TestAnObjectiveThatCannotBeCountedIsUnknownAloneWithTheReason(t *testing.T) {
	src := &ledgerOfMinutes{}
	for m := -60; m <= 0; m++ {
		src.add(m, slo.Counts{Good: 9, Total: 10})
	}
	rate, other := objective(t, "rate", "1h"), objective(t, "other", "1h")
	rate.Indicator.Total.Text = `sum(rate(requests_total[5m]))`
	other.Indicator.Total.Type = "Datadog"
	b := keep(t, src, rate, objective(t, "shop", "1h"), other)
	settle(t, b, at(0))
	list := b.Snapshots(at(0))
	for i, want := range []string{"the indicator cannot be counted: indicator rate: total", "", `source is of type "Datadog"`} {
		if !strings.Contains(list[i].Reason, want) || list[i].Known != (want == "") {
			t.Errorf("objective %d: known %v, %q", i, list[i].Known, list[i].Reason)
		}
	}
}

func TestASourceThatFailsIsTriedAgain(t *testing.T) {
	src := &ledgerOfMinutes{}
	for m := -60; m <= 0; m++ {
		src.add(m, slo.Counts{Good: 10, Total: 10})
	}
	src.fail = assay.Errorf(assay.CodeUnavailable, "the disk is away")
	b := keep(t, src, objective(t, "shop", "1h"))
	if b.Step(t.Context(), at(0)) {
		t.Error("a failed step wants to go on at once")
	}
	if s := b.Snapshots(at(0))[0]; s.Known || s.Reason != "the series cannot be read: the disk is away" {
		t.Errorf("%q", s.Reason)
	}
	src.fail = nil
	settle(t, b, at(0))
	if s := b.Snapshots(at(0))[0]; !s.Known || s.Reason != "" {
		t.Errorf("%q", s.Reason)
	}
}

func TestChangedObjectivesKeepTheBooksThatStillFit(t *testing.T) {
	src := &ledgerOfMinutes{}
	for m := -60; m <= 0; m++ {
		src.add(m, slo.Counts{Good: 10, Total: 10})
	}
	b := keep(t, src, objective(t, "shop", "1h"), objective(t, "gone", "1h"))
	settle(t, b, at(0))
	tighter, longer := objective(t, "shop", "1h"), objective(t, "longer", "2h")
	tighter.Target = slo.One - 1
	if err := b.SetObjectives([]slo.Objective{longer, tighter}); err != nil {
		t.Fatal(err)
	}
	list := b.Snapshots(at(0))
	if list[1].Budget.Total != 600 || list[1].Budget.Target != slo.One-1 || list[0].Budget.Total != 0 {
		t.Errorf("%+v", list)
	}
	if _, err := b.Snapshot("gone", at(0)); assay.CodeOf(err) != assay.CodeNotFound {
		t.Error(err)
	}
	if err := b.SetObjectives(make([]slo.Objective, budget.MaxObjectives+1)); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Error(err)
	}
	if len(b.Snapshots(at(0))) != 2 {
		t.Error("a refused change changed something")
	}
}

func TestOneOfSeveralObjectivesIsNamedByItsIndex(t *testing.T) {
	first, second := objective(t, "shop", "1h"), objective(t, "shop", "2h")
	second.Index = 1
	b := keep(t, &ledgerOfMinutes{}, first, second)
	if s, err := b.Snapshot("shop/1", at(0)); err != nil || s.Objective.Index != 1 {
		t.Errorf("%+v, %v", s.Objective, err)
	}
	if _, err := b.Snapshot("shop", at(0)); assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), "write shop/0 up to 1") {
		t.Error(err)
	}
}

// A minute that has just begun is not a hole: the alert does not turn unknown
// with every full minute.
func TestTheMinuteThatHasJustBegunIsNotMissing(t *testing.T) {
	src := &ledgerOfMinutes{}
	for m := -60; m < 0; m++ {
		src.add(m, slo.Counts{Good: 10, Total: 10})
	}
	b := keep(t, src, objective(t, "shop", "1h"))
	settle(t, b, at(2))
	s := b.Snapshots(at(2))[0]
	if s.Budget.Completeness() != 1 || s.Burns[0].State != slo.StateOK || !s.Time.Equal(at(0)) {
		t.Errorf("%v %+v at %s", s.Budget.Completeness(), s.Burns, s.Time)
	}
	settle(t, b, at(62)) // but one that is over is
	if s := b.Snapshots(at(62))[0]; s.Budget.Known != 59 || s.Burns[0].State != slo.StateUnknown {
		t.Errorf("%+v %+v", s.Budget.Sum, s.Burns)
	}
}

func TestRunStepsOnArrivalAndEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &ledgerOfMinutes{base: time.Now().Unix() / 60}
		watch := signal.NewWatch()
		b := budget.New(budget.Config{Source: src, Namespace: namespace, Watch: watch, Now: time.Now})
		if err := b.SetObjectives([]slo.Objective{objective(t, "shop", "1h")}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() {
			if err := b.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		rest := func(d time.Duration) { // of the bubble's clock
			<-time.After(d)
			synctest.Wait()
		}
		rest(5 * time.Second)
		total := func() uint64 { return b.Snapshots(time.Now())[0].Budget.Total }
		src.add(0, slo.Counts{Good: 7, Total: 7})
		b.Arrived(signal.Arrival{Namespace: namespace, Indicators: []string{"rollout/x"}})
		b.Arrived(signal.Arrival{Namespace: "bank", Indicators: []string{"objective/shop/0"}})
		rest(5 * time.Second)
		if n := total(); n != 0 {
			t.Errorf("somebody else's data woke the books: %d", n)
		}
		b.Arrived(signal.Arrival{Namespace: namespace, Indicators: []string{"objective/shop/0"}})
		rest(time.Second)
		if n := total(); n != 7 {
			t.Errorf("%d events a second after they came, want 7", n)
		}
		src.add(0, slo.Counts{Good: 1, Total: 1})
		rest(2 * time.Minute)
		if n := total(); n != 8 {
			t.Errorf("%d events after two quiet minutes, want 8", n)
		}
		cancel()
		run.Wait()
	})
}

func TestWatchKnowsTheIndicatorsThatAreKept(t *testing.T) {
	db, watch := open(t), signal.NewWatch()
	var arrived [][]string
	in := signal.NewIntake(signal.Config{Sink: db, Now: func() time.Time { return epoch }, Watch: watch,
		Arrived: func(a signal.Arrival) { arrived = append(arrived, a.Indicators) }})
	b := budget.New(budget.Config{Source: db, Namespace: namespace, Watch: watch})
	take := func(n int) string {
		t.Helper()
		s := signal.Sample{Labels: labels.FromStrings(model.MetricNameLabel, "requests_total"), Time: epoch.UnixMilli() + int64(n), Value: float64(n), Counter: true}
		if _, err := in.Take(t.Context(), signal.Origin{Namespace: namespace, Name: "x"}, []signal.Sample{s}, signal.Result{}); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(arrived[len(arrived)-1])
	}
	set := func(list ...slo.Objective) {
		t.Helper()
		if err := b.SetObjectives(list); err != nil {
			t.Fatal(err)
		}
	}
	set(objective(t, "a", "1h"), objective(t, "b", "1h"))
	if got := take(1); got != "[objective/a/0 objective/b/0]" {
		t.Error(got)
	}
	longer := objective(t, "b", "2h") // the same id, other books
	set(longer)
	if got := take(2); got != "[objective/b/0]" {
		t.Error(got)
	}
	set(longer)
	if got := take(3); got != "[objective/b/0]" {
		t.Error(got)
	}
	set()
	if got := take(4); got != "[]" {
		t.Error(got)
	}
}

// Reading back a day of two versions that reported every 15 seconds.
func BenchmarkReadBackADay(b *testing.B) {
	db := open(b)
	for s := 0; s <= 24*3600; s += 15 {
		put(b, db, at(s), "v1", 9*s, s/10)
		put(b, db, at(s), "v2", s, 0)
	}
	for b.Loop() {
		settle(b, keep(b, db, objective(b, "shop", "1d")), at(24*3600))
	}
}

func TestWhatWasSpentInAnyStepIsReadBack(t *testing.T) {
	db := open(t)
	now := at(90)
	b := budget.New(budget.Config{Source: db, Namespace: namespace, Now: func() time.Time { return now }})
	if err := b.SetObjectives([]slo.Objective{objective(t, "shop", "1m")}); err != nil {
		t.Fatal(err)
	}
	for s := range 90 { // 100 requests a second, and a bad one from 60 s on
		put(t, db, at(s), "v1", 100*s, max(0, s-60))
	}
	settle(t, b, now)
	got, err := b.Spent(t.Context(), "shop", at(50), 5*time.Second, 10)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := b.Snapshot("shop", now)
	if err != nil || !snap.Known || snap.Budget.Allowed() == 0 {
		t.Fatalf("%+v, %v", snap, err)
	}
	want := 5 / float64(snap.Budget.Allowed()) * 12 // five in five seconds, a minute
	for i, v := range got {
		switch at := 50 + 5*i; {
		case at < 60 && v != 0, at >= 65 && at < 85 && math.Abs(v-want) > 0.21*want, at >= 95 && !math.IsNaN(v):
			t.Errorf("from %d s on %v of the budget is spent a minute, want %v from 65 s on, and nothing known from 90 s on", at, v, want)
		}
	}
	if _, err := b.Spent(t.Context(), "shop", at(0), time.Second, budget.MaxSpent+1); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("more steps than are read: %v", err)
	}
	if _, err := b.Spent(t.Context(), "cart", at(0), time.Second, 1); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("an objective that nobody declared: %v", err)
	}
}
