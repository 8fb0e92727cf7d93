package tsdb_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/tsdb"
	"github.com/prometheus/prometheus/model/labels"
)

// today is the clock of these tests.
var today = time.Date(2026, 11, 20, 12, 40, 7, 0, time.UTC)

// counted are the samples of a counter that grows by ten each minute, from one time to
// before another; bad ones grow by one.
func counted(instance string, from, to time.Time) (out []signal.Sample) {
	origin := today.Add(-30 * 24 * time.Hour)
	for _, code := range []string{"200", "500"} {
		ls := labels.FromStrings("__name__", "requests_total", "code", code, "instance", instance)
		for at := from.Truncate(time.Minute); at.Before(to); at = at.Add(time.Minute) {
			n := 10 * at.Sub(origin).Minutes()
			if code == "500" {
				n /= 10
			}
			out = append(out, signal.Sample{Labels: ls, Time: at.UnixMilli(), Value: n})
		}
	}
	return out
}

func openIn(t testing.TB, dir string, opts tsdb.Options) *tsdb.DB {
	t.Helper()
	db, err := tsdb.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// live stores samples as if each had come at its time.
func live(t testing.TB, db *tsdb.DB, samples []signal.Sample) {
	t.Helper()
	intake := signal.NewIntake(signal.Config{Sink: db, Now: func() time.Time { return today }})
	res, err := intake.Take(context.Background(), signal.Origin{Namespace: "shop", Name: "a"}, samples, signal.Result{})
	if err != nil || res.RefusedTotal() > 0 {
		t.Fatal(res.Explain(), err)
	}
}

// staged imports samples up to where they could be published.
func staged(t testing.TB, db *tsdb.DB, through map[string]int64, samples []signal.Sample) (signal.Staging, signal.Imported) {
	t.Helper()
	s, err := db.Stage("shop", nil, today)
	if err != nil {
		t.Fatal(err)
	}
	var refused signal.Result
	for len(samples) > 0 {
		n := min(len(samples), 1000)
		res, err := s.Add(context.Background(), piece(t, samples[:n]))
		if err != nil {
			t.Fatal(err)
		}
		for why, n := range res.Refused {
			refused.Refuse(why, n, res.First)
		}
		samples = samples[n:]
	}
	out, err := s.Build(context.Background(), "fact-1", through)
	if err != nil {
		t.Fatal(err)
	}
	for why, n := range refused.Refused {
		out.Refuse(why, n, refused.First)
	}
	return s, out
}

func piece(t testing.TB, samples []signal.Sample) []byte {
	t.Helper()
	packed, err := signal.MarshalWrite(samples)
	if err != nil {
		t.Fatal(err)
	}
	data, err := signal.ReadPiece(strings.NewReader(string(packed)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func publish(t testing.TB, s signal.Staging) {
	t.Helper()
	if err := s.Publish(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// minutes are the readings of each minute of a span.
func minutes(t testing.TB, db *tsdb.DB, from, to time.Time) (out [][]assay.Reading) {
	t.Helper()
	ind, err := signal.Compile(signal.Spec{Service: "shop", Name: "errors", Bad: `requests_total{code="500"}`, Total: "requests_total"})
	if err != nil {
		t.Fatal(err)
	}
	for at := from.Truncate(time.Minute); at.Before(to); at = at.Add(time.Minute) {
		list, err := db.Read(context.Background(), signal.Query{Namespace: "shop", Indicator: ind, Start: at, End: at.Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, list)
	}
	return out
}

func TestHistoryIsCountedLikeWhatWasMeasuredHereAndTwiceIsOnce(t *testing.T) {
	t.Parallel()
	db := openIn(t, t.TempDir(), tsdb.Options{})
	defer db.Close()
	from, to := today.Add(-2*24*time.Hour), today.Add(-time.Hour)
	history := counted("a", from, to)
	s, got := staged(t, db, nil, history)
	if before := minutes(t, db, to.Add(-time.Hour), to); before[0] != nil {
		t.Errorf("history is seen before it is published: %v", before[0])
	}
	publish(t, s)
	if got.Samples != len(history) || got.Series != 2 || got.RefusedTotal() != 0 || got.Duplicates != 0 {
		t.Errorf("%+v", got)
	}
	if !got.Oldest.Equal(from.Truncate(time.Minute)) || !got.Newest.Equal(to.Truncate(time.Minute)) {
		t.Errorf("from %s to %s", got.Oldest, got.Newest)
	}
	for i, list := range minutes(t, db, from.Add(time.Minute), to) {
		if len(list) != 1 || list[0].Total != 11 || list[0].Bad() != 1 {
			t.Fatalf("minute %d: %+v", i, list)
		}
	}
	s, again := staged(t, db, got.Through, history)
	if again.Samples != 0 || again.Duplicates != len(history) || again.RefusedTotal() != 0 || again.Digest != got.Digest {
		t.Errorf("the second time: %+v", again)
	}
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	// Another replica of the same service comes later, in an import of its own.
	s, other := staged(t, db, got.Through, counted("b", from, to))
	publish(t, s)
	if other.Samples != len(history) {
		t.Errorf("another series: %+v", other)
	}
	if list := minutes(t, db, to.Add(-time.Hour), to)[0]; len(list) != 1 || list[0].Total != 22 {
		t.Errorf("with both: %+v", list)
	}
}

func TestMinutesThatWereCountedWithoutHistoryNeverChange(t *testing.T) {
	t.Parallel()
	db := openIn(t, t.TempDir(), tsdb.Options{})
	defer db.Close()
	own := today.Add(-29 * time.Minute) // the first sample that was measured here
	live(t, db, counted("a", own, today))
	was := minutes(t, db, own, today)
	history := append(counted("a", today.Add(-48*time.Hour), today), counted("b", today.Add(-48*time.Hour), today)...)
	s, got := staged(t, db, nil, history)
	publish(t, s)
	if now := minutes(t, db, own, today); !reflect.DeepEqual(was, now) {
		t.Errorf("a minute that was counted changed:\n%v\n%v", was, now)
	}
	end := time.UnixMilli(signal.OwnFrom(today.Add(-signal.MaxBehind).UnixMilli()))
	if got.Refused[signal.RefusedRecent] == 0 || !got.Newest.Before(end) || end.Sub(got.Newest) > time.Minute {
		t.Errorf("%+v", got)
	}
	if before := minutes(t, db, end.Add(-2*time.Hour), end.Add(-time.Minute)); len(before[0]) != 1 || before[0][0].Total != 22 {
		t.Errorf("before that: %+v", before[0])
	}
}

func TestHistoryEndsBeforeTheFirstSampleThatWasMeasuredHere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := openIn(t, dir, tsdb.Options{})
	defer db.Close()
	// It was measured here from three hours ago on, but for an hour in which nothing ran.
	first := today.Add(-3 * time.Hour).Truncate(time.Minute)
	app := append(counted("a", first, first.Add(time.Hour)), counted("a", first.Add(2*time.Hour), today)...)
	for i := range app {
		app[i].Labels = labels.NewBuilder(app[i].Labels).Set("namespace", "shop").Labels()
	}
	slices.SortStableFunc(app, func(a, b signal.Sample) int { return cmp.Compare(a.Time, b.Time) })
	for at := range slices.Chunk(app, 2) { // both series
		if _, err := db.Append(context.Background(), at, today); err != nil {
			t.Fatal(err)
		}
	}
	was := minutes(t, db, first, today)
	s, got := staged(t, db, nil, counted("b", today.Add(-48*time.Hour), today.Add(-time.Hour)))
	publish(t, s)
	if now := minutes(t, db, first, today); !reflect.DeepEqual(was, now) {
		t.Error("a minute that was counted changed, or a gap of ours was filled")
	}
	end := time.UnixMilli(signal.OwnFrom(first.UnixMilli()))
	if got.Refused[signal.RefusedMeasured] == 0 || !got.Newest.Before(end) || !strings.Contains(got.First, "is measured here since") {
		t.Errorf("%+v", got)
	}
	// A second import is held against the same end: what the first brought is not ours.
	s, again := staged(t, db, got.Through, counted("c", today.Add(-48*time.Hour), today.Add(-time.Hour)))
	publish(t, s)
	if again.Samples != got.Samples || !again.Newest.Equal(got.Newest) {
		t.Errorf("the second: %+v", again)
	}
}

func TestAnImportLosesNothingOfTheLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := openIn(t, dir, tsdb.Options{})
	own := counted("a", today.Add(-29*time.Minute), today)
	live(t, db, own)
	// The block of the newest history ends after the first sample of the log.
	s, _ := staged(t, db, nil, counted("a", today.Add(-4*time.Hour), today))
	publish(t, s)
	was := minutes(t, db, today.Add(-4*time.Hour), today)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openIn(t, dir, tsdb.Options{})
	defer db.Close()
	now := minutes(t, db, today.Add(-4*time.Hour), today)
	if len(was[len(was)-1]) != len(now[len(now)-1]) {
		t.Fatalf("the newest minute was %+v and is %+v", was[len(was)-1], now[len(now)-1])
	}
	for i := range was { // when a series last got something is forgotten by a restart
		for j := range was[i] {
			was[i][j].Ingested, now[i][j].Ingested = time.Time{}, time.Time{}
		}
	}
	if !reflect.DeepEqual(was, now) {
		t.Error("a restart after an import reads other minutes")
	}
}

func TestAnImportThatBrokeOffIsPublishedIfItsFactIsThereAndDroppedIfNot(t *testing.T) {
	t.Parallel()
	for _, committed := range []bool{true, false} {
		t.Run(fmt.Sprint(committed), func(t *testing.T) {
			dir := t.TempDir()
			db := openIn(t, dir, tsdb.Options{})
			history := counted("a", today.Add(-6*time.Hour), today.Add(-time.Hour))
			staged(t, db, nil, history)
			half, err := db.Stage("shop", nil, today) // and another that was not built
			if err != nil {
				t.Fatal(err)
			}
			if _, err := half.Add(context.Background(), piece(t, history)); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = openIn(t, dir, tsdb.Options{})
			defer db.Close()
			asked := ""
			err = db.Recover(context.Background(), func(namespace string, fact assay.FactID) (bool, error) {
				asked += namespace + "/" + string(fact)
				return committed, nil
			})
			if err != nil || asked != "shop/fact-1" {
				t.Fatalf("%v, asked for %q", err, asked)
			}
			if list := minutes(t, db, today.Add(-5*time.Hour), today)[0]; (list != nil) != committed {
				t.Errorf("%+v", list)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "import-*")); left != nil {
				t.Errorf("%v is left", left)
			}
		})
	}
}

func TestAnImportIsBounded(t *testing.T) {
	t.Parallel()
	one := func(name string, at time.Time) signal.Sample {
		return signal.Sample{Labels: labels.FromStrings("__name__", name), Time: at.UnixMilli(), Value: 1}
	}
	past := today.Add(-time.Hour)
	for _, tt := range []struct {
		name   string
		free   uint64
		pieces int
		sample func(i int) signal.Sample
		code   assay.Code
		want   string
	}{
		{"disk", signal.MinImportFree - 1, 1, func(int) signal.Sample { return one("x", past) }, assay.CodeUnavailable, "the disk of the series has 1023 MiB left"},
		{"metrics", 1 << 40, 2, func(i int) signal.Sample { return one(fmt.Sprintf("x%d", i), past) }, assay.CodeTooLarge, "more than 1000 metrics"},
		{"series", 1 << 40, 121, func(i int) signal.Sample {
			return signal.Sample{Labels: labels.FromStrings("__name__", "x", "i", fmt.Sprint(i)), Time: past.UnixMilli(), Value: 1}
		}, assay.CodeTooLarge, "more than 120000 series"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := openIn(t, t.TempDir(), tsdb.Options{Free: func(string) (uint64, error) { return tt.free, nil }})
			defer db.Close()
			s, err := db.Stage("shop", nil, today)
			if err != nil {
				t.Fatal(err)
			}
			for p := range tt.pieces {
				var samples []signal.Sample
				for i := range 1000 {
					samples = append(samples, tt.sample(p*1000+i))
				}
				if _, err = s.Add(context.Background(), piece(t, samples)); err != nil {
					break
				}
			}
			if assay.CodeOf(err) != tt.code || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
			if err := s.Discard(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestWhatCannotBeHistoryIsRefusedSampleBySample(t *testing.T) {
	t.Parallel()
	db := openIn(t, t.TempDir(), tsdb.Options{Retention: 24 * time.Hour})
	defer db.Close()
	ls := labels.FromStrings("__name__", "requests_total", "namespace", "bank")
	_, got := staged(t, db, nil, []signal.Sample{
		{Labels: ls, Time: today.Add(-25 * time.Hour).UnixMilli(), Value: 1},
		{Labels: ls, Time: today.Add(-2 * time.Hour).UnixMilli(), Value: -1},
		{Labels: labels.FromStrings("__name__", "no name"), Time: today.Add(-2 * time.Hour).UnixMilli(), Value: 1},
		{Labels: ls, Time: today.Add(-time.Minute).UnixMilli(), Value: 2},
		{Labels: ls, Time: today.Add(-2 * time.Hour).UnixMilli(), Value: 2},
	})
	want := map[signal.Reason]int{signal.RefusedOld: 1, signal.RefusedNegative: 1, signal.RefusedLabels: 1, signal.RefusedRecent: 1}
	if got.Samples != 1 || !reflect.DeepEqual(got.Refused, want) {
		t.Errorf("%+v", got)
	}
}

func TestStagingLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := openIn(t, dir, tsdb.Options{})
	defer db.Close()
	s, _ := staged(t, db, nil, counted("a", today.Add(-6*time.Hour), today.Add(-time.Hour)))
	publish(t, s)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "import-") {
			t.Errorf("%s is left", e.Name())
		}
	}
}
