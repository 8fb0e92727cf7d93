package tsdb_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/tsdb"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, dir string) *tsdb.DB {
	t.Helper()
	db, err := tsdb.Open(dir, tsdb.Options{})
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

// sample is one value of a series of namespace shop, seconds after the epoch.
func sample(name string, second int, v float64, pairs ...string) signal.Sample {
	return signal.Sample{
		Labels: labels.FromStrings(append([]string{model.MetricNameLabel, name, signal.NamespaceLabel, "shop"}, pairs...)...),
		Time:   epoch.Add(time.Duration(second) * time.Second).UnixMilli(), Value: v,
	}
}

func put(t testing.TB, db *tsdb.DB, samples ...signal.Sample) signal.Result {
	t.Helper()
	res, err := db.Append(context.Background(), samples, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func at(second int) time.Time { return epoch.Add(time.Duration(second) * time.Second) }

// what a query gives at a second, as labels and values
func ask(t testing.TB, db *tsdb.DB, expr string, second int) string {
	t.Helper()
	res, err := db.Instant(t.Context(), "shop", expr, at(second))
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	var out []string
	for _, l := range res.Lines {
		out = append(out, fmt.Sprintf("%s %.6g", l.Labels, l.Points[0].Value))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// The semantics that indicators and pages rely on, on data whose answers are
// known. If an upgrade of the engine changes one of them, this says which.
func TestQueriesMeanWhatPromQLSays(t *testing.T) {
	db := open(t, t.TempDir())
	for s := 0; s <= 600; s += 15 {
		n := float64(s)
		put(t, db,
			sample("requests_total", s, 10*n, "code", "200", "version", "v1"),
			sample("requests_total", s, n, "code", "500", "version", "v1"),
			sample("resets_total", s, math.Mod(n, 300)),
			sample("temperature", s, 20+n/60),
			sample("latency_bucket", s, 5*n, "le", "0.1"),
			sample("latency_bucket", s, 9*n, "le", "0.5"),
			sample("latency_bucket", s, 10*n, "le", "+Inf"),
		)
	}
	put(t, db, sample("ended", 540, 1), sample("ended", 555, math.Float64frombits(value.StaleNaN)), sample("silent", 200, 1))
	for expr, want := range map[string]string{
		`rate(requests_total{code="500"}[5m])`:                               `{code="500", namespace="shop", version="v1"} 1`,
		`sum(rate(requests_total[5m]))`:                                      `{} 11`,
		`sum by (code) (increase(requests_total[1m]))`:                       `{code="200"} 600; {code="500"} 60`,
		`increase(resets_total[10m])`:                                        `{namespace="shop"} 569.231`,
		`resets(resets_total[11m])`:                                          `{namespace="shop"} 2`,
		`histogram_quantile(0.5, rate(latency_bucket[5m]))`:                  `{namespace="shop"} 0.1`,
		`histogram_quantile(0.7, rate(latency_bucket[5m]))`:                  `{namespace="shop"} 0.3`,
		`avg_over_time(temperature[1m])`:                                     `{namespace="shop"} 29.625`,
		`ended`:                                                              ``,
		`silent`:                                                             ``,
		`absent(silent)`:                                                     `{namespace="shop"} 1`,
		`sum(requests_total) / sum(requests_total offset 5m)`:                `{} 2`,
		`count_over_time(requests_total{code="500"}[1m])`:                    `{code="500", namespace="shop", version="v1"} 4`,
		`scalar(sum(temperature))`:                                           `{} 30`,
		`max_over_time(rate(requests_total{code="500"}[1m])[2m:])`:           `{code="500", namespace="shop", version="v1"} 1`,
		`sum(requests_total{code="200"}) - sum(requests_total{code="500"})`:  `{} 5400`,
		`topk(1, sum by (code) (requests_total))`:                            `{code="200"} 6000`,
		`sum(rate(requests_total[5m])) > 100 or vector(0)`:                   `{} 0`,
		`label_replace(temperature, "x", "$1", "__name__", "(temp).*") > 29`: `{__name__="temperature", namespace="shop", x="temp"} 30`,
	} {
		if got := ask(t, db, expr, 600); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", expr, got, want)
		}
	}
	res, err := db.Range(t.Context(), "shop", `temperature`, at(60), at(120), 30*time.Second)
	if err != nil || len(res.Lines) != 1 || len(res.Lines[0].Points) != 3 || res.Lines[0].Points[2].Value != 22 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestEverySelectorIsConfinedToTheNamespace(t *testing.T) {
	db := open(t, t.TempDir())
	other := sample("requests_total", 0, 100)
	other.Labels = labels.FromStrings(model.MetricNameLabel, "requests_total", signal.NamespaceLabel, "bank")
	put(t, db, sample("requests_total", 0, 1), other)
	for _, expr := range []string{
		`requests_total`, `requests_total{namespace="shop"}`, `sum(requests_total)`, `{__name__=~".+"}`, `max_over_time(requests_total[5m])`,
		`sum_over_time(sum(requests_total)[1m:1m])`, `requests_total or requests_total`, `requests_total + on() group_left() (0 * requests_total)`,
		`last_over_time(requests_total[1m] @ end())`, `-(-requests_total)`, `count(requests_total)`,
	} {
		got := ask(t, db, expr, 30)
		if !strings.HasSuffix(got, " 1") || strings.Contains(got, "bank") || strings.Contains(got, ";") {
			t.Errorf("%s gives %s", expr, got)
		}
	}
	for _, expr := range []string{
		`requests_total{namespace="bank"}`, `requests_total{namespace=~".*"}`, `requests_total{namespace!="shop"}`, `requests_total{namespace=""}`,
		`sum(rate(requests_total{namespace="bank"}[5m]))`, `requests_total or requests_total{namespace="bank"}`, `requests_total{namespace="shop",namespace="bank"}`,
		`absent(requests_total{namespace="bank"})`, `max_over_time(sum(requests_total{namespace="bank"})[1m:])`,
	} {
		if _, err := db.Instant(t.Context(), "shop", expr, at(0)); assay.CodeOf(err) != assay.CodeDenied {
			t.Errorf("%s: %v", expr, err)
		}
		if _, err := db.Range(t.Context(), "shop", expr, at(0), at(60), time.Minute); assay.CodeOf(err) != assay.CodeDenied {
			t.Errorf("%s over a range: %v", expr, err)
		}
	}
	if _, err := db.Instant(t.Context(), "", "requests_total", at(0)); assay.CodeOf(err) != assay.CodeDenied {
		t.Errorf("a query for no namespace: %v", err)
	}
	if got := ask(t, db, `label_replace(requests_total, "namespace", "bank", "", "")`, 30); !strings.HasSuffix(got, " 1") {
		t.Errorf("a relabelled result reads other data: %s", got)
	}
}

func TestQueriesAreBounded(t *testing.T) {
	db := open(t, t.TempDir())
	put(t, db, sample("x", 0, 1))
	for _, c := range []struct {
		expr string
		step time.Duration
		want assay.Code
	}{
		{"x +", time.Minute, assay.CodeInvalid},
		{"rate(x)", time.Minute, assay.CodeInvalid},
		{"x{" + strings.Repeat(`a="b",`, 2000) + "}", time.Minute, assay.CodeTooLarge},
		{"x", time.Millisecond, assay.CodeTooLarge},
		{"x", 0, assay.CodeInvalid},
		{strings.Repeat("(", 5000) + "x" + strings.Repeat(")", 3000), time.Minute, assay.CodeInvalid},
	} {
		if _, err := db.Range(t.Context(), "shop", c.expr, at(0), at(3600), c.step); assay.CodeOf(err) != c.want || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40s: %v, want %s", c.expr, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Instant(ctx, "shop", "x", at(0)); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Errorf("a query that was given up: %v", err)
	}
}

func TestSamplesOutOfOrderConflictingAndTooOld(t *testing.T) {
	db := open(t, t.TempDir())
	window := int((signal.MaxBehind + signal.MaxAhead).Seconds())
	put(t, db, sample("x", 0, 1), sample("y", window+100, 1))
	for _, c := range []struct {
		name     string
		s        signal.Sample
		accepted int
		why      signal.Reason
	}{
		{"the same again", sample("y", window+100, 1), 1, ""},
		{"another value at the same time", sample("y", window+100, 2), 0, signal.RefusedConflict},
		{"late", sample("y", 200, 5), 1, ""},
		{"too late", sample("y", 50, 5), 0, signal.RefusedOld},
	} {
		res := put(t, db, c.s)
		if res.Accepted != c.accepted || c.why != "" && res.Refused[c.why] != 1 {
			t.Errorf("%s: %+v", c.name, res)
		}
	}
	if got := ask(t, db, "y", 210); got != `{__name__="y", namespace="shop"} 5` {
		t.Errorf("a late sample is not found: %s", got)
	}
}

func TestSeriesSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	db, err := tsdb.Open(dir, tsdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, sample("x", 0, 41), sample("x", 15, 42))
	if _, err := tsdb.Open(dir, tsdb.Options{}); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Errorf("a second process got in: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, open(t, dir), "x", 20); got != `{__name__="x", namespace="shop"} 42` {
		t.Errorf("after a restart x is %s", got)
	}
}

func ratio(t testing.TB) signal.Indicator {
	t.Helper()
	ind, err := signal.Compile(signal.Spec{Service: "shop", Name: "errors", Bad: `sum(requests_total{code=~"5.."})`, Total: `sum(requests_total)`})
	if err != nil {
		t.Fatal(err)
	}
	return ind
}

func read(t testing.TB, db *tsdb.DB, ind signal.Indicator, from, to int) []assay.Reading {
	t.Helper()
	got, err := db.Read(t.Context(), signal.Query{Namespace: "shop", Indicator: ind, Start: at(from), End: at(to)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range got {
		if err := r.Check(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	return got
}

func TestRatioIsCountedExactlyPerVersion(t *testing.T) {
	db := open(t, t.TempDir())
	for s := 0; s <= 120; s += 10 {
		n := float64(s)
		put(t, db,
			sample("requests_total", s, 7*n, "code", "200", "version", "v1", "instance", "a"),
			sample("requests_total", s, 3*n, "code", "200", "version", "v1", "instance", "b"),
			sample("requests_total", s, n, "code", "503", "version", "v1", "instance", "a"),
			sample("requests_total", s, 2*n, "code", "200", "version", "v2", "instance", "c"),
		)
	}
	got := read(t, db, ratio(t), 30, 90)
	// samples at 30, 40 … 80 count, each ten seconds' worth
	if len(got) != 2 || got[0].Version != "v1" || got[0].Total != 660 || got[0].Good != 600 || got[1].Total != 120 || got[1].Bad() != 0 {
		t.Fatalf("%+v", got)
	}
	if !got[0].EventTime.Equal(at(80)) || !got[0].Ingested.Equal(epoch) || got[0].Completeness != 1 || got[0].Service != "shop" || got[0].Indicator != "errors" {
		t.Errorf("%+v", got[0])
	}
	if got := read(t, db, ratio(t), 200, 260); len(got) != 0 {
		t.Errorf("an interval without samples has readings: %+v", got)
	}
	if other, err := db.Read(t.Context(), signal.Query{Namespace: "bank", Indicator: ratio(t), Start: at(0), End: at(90)}); err != nil || len(other) != 0 {
		t.Errorf("another namespace reads %+v, %v", other, err)
	}
}

func TestSeriesThatFallSilentLowerCompleteness(t *testing.T) {
	db := open(t, t.TempDir())
	for s := 0; s <= 120; s += 10 {
		put(t, db, sample("requests_total", s, float64(s), "version", "v1", "instance", "a"))
		if s < 60 {
			put(t, db, sample("requests_total", s, float64(s), "version", "v1", "instance", "b"), sample("requests_total", s, float64(s), "version", "v1", "instance", "c"))
		}
	}
	put(t, db, sample("requests_total", 60, math.Float64frombits(value.StaleNaN), "version", "v1", "instance", "c"))
	got := read(t, db, ratio(t), 70, 110)
	if len(got) != 1 || got[0].Completeness != 0.5 {
		t.Errorf("a reports, b is silent, c said goodbye: %+v", got)
	}
}

func TestHistogramIsCountedPerBucketAndVersion(t *testing.T) {
	db := open(t, t.TempDir())
	for s := 0; s <= 60; s += 10 {
		for _, i := range []string{"a", "b"} {
			for le, per := range map[string]float64{"0.1": 5, "0.25": 8, "+Inf": 9} {
				put(t, db, sample("latency_seconds_bucket", s, per*float64(s), "le", le, "version", "v2", "instance", i))
			}
		}
	}
	ind, err := signal.Compile(signal.Spec{Name: "latency", Buckets: "latency_seconds_bucket", Threshold: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, db, ind, 10, 60)
	want := []assay.Bucket{{LE: 0.1, Count: 500}, {LE: 0.25, Count: 800}}
	if len(got) != 1 || got[0].Total != 900 || got[0].Good != 800 || !slices.Equal(got[0].Buckets, want) {
		t.Errorf("%+v", got)
	}
	ind.Threshold = 0.2
	if _, err := db.Read(t.Context(), signal.Query{Namespace: "shop", Indicator: ind, Start: at(0), End: at(60)}); err == nil || !strings.Contains(err.Error(), "0.2, which is no bound") {
		t.Errorf("%v", err)
	}
}

func TestCounterWithKnownStartCountsFromItsFirstSample(t *testing.T) {
	db := open(t, t.TempDir())
	first := sample("requests_total", 30, 25, "version", "v2")
	put(t, db, sample("requests_total", 0, 100, "version", "v1"), sample("requests_total", 30, 100, "version", "v1"))
	first.Start = at(20).UnixMilli()
	put(t, db, first)
	second := sample("requests_total", 40, 30, "version", "v2")
	second.Start = first.Start
	put(t, db, second)
	got := read(t, db, ratio(t), 10, 60)
	if len(got) != 2 || got[1].Version != "v2" || got[1].Total != 30 {
		t.Errorf("%+v", got)
	}
}

func TestCountsThatAreNotWholeAreRefused(t *testing.T) {
	db := open(t, t.TempDir())
	put(t, db, sample("requests_total", 0, 0), sample("requests_total", 10, 1.5))
	_, err := db.Read(t.Context(), signal.Query{Namespace: "shop", Indicator: ratio(t), Start: at(0), End: at(60)})
	if assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), "no number of events") {
		t.Error(err)
	}
}

// Reading minute by minute gives the same as reading the hour, late samples included.
func TestReadingsOfAdjoiningIntervalsAddUp(t *testing.T) {
	db := open(t, t.TempDir())
	v, late := 0.0, []signal.Sample(nil)
	for s := 0; s <= 1800; s += 7 {
		v += float64(s % 11)
		if s%700 == 0 {
			v = 0
		}
		if one := sample("requests_total", s, v, "version", "v1"); s%21 == 0 {
			late = append(late, one)
		} else {
			put(t, db, one)
		}
	}
	put(t, db, late...)
	var sum uint64
	for s := 60; s < 1800; s += 60 {
		for _, r := range read(t, db, ratio(t), s, s+60) {
			sum += r.Total
		}
	}
	if all := read(t, db, ratio(t), 60, 1800); len(all) != 1 || all[0].Total != sum || sum == 0 {
		t.Errorf("minutes sum to %d, the whole is %+v", sum, all)
	}
}
