package signal_test

import (
	"math"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"
)

func line(version string, values ...float64) signal.Series {
	return signal.Series{Labels: labels.FromStrings("version", version), Points: points(values...)}
}

func plus(list ...signal.Series) signal.Part { return signal.Part{Plus: list} }

func TestWorkIsCountedPerRequest(t *testing.T) {
	ind := compile(t, signal.Spec{Name: "queries", Count: "queries_total", Total: "requests_total"})
	for _, c := range []struct {
		name            string
		count, total    []float64
		events, request uint64
	}{
		{"growth of both", []float64{5, 11, 17}, []float64{2, 4, 6}, 12, 4},
		{"the counters begin again in between", []float64{5, 11, 3}, []float64{2, 4, 1}, 9, 3},
		{"nothing is done", []float64{5, 5, 5}, []float64{2, 4, 6}, 0, 4},
		{"one request does a lot", []float64{0, 1e6, 2e6}, []float64{0, 1, 2}, 2e6, 2},
	} {
		got := count(t, ind, 1, 3, signal.Data{Count: plus(line("v2", c.count...)), Total: plus(line("v2", c.total...))})
		if len(got) != 1 || got[0].Count != c.events || got[0].Total != c.request || got[0].Bad() != 0 || got[0].Completeness != 1 {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// A counter of work that is not there says that nobody knows how much was done, which must
// never look like none: with less work a version would look better.
func TestWorkThatIsNotCountedIsUnknownAndNotNone(t *testing.T) {
	ind := compile(t, signal.Spec{Name: "queries", Count: "queries_total", Total: "requests_total"})
	total := plus(line("v1", 0, 10, 20), line("v2", 0, 10, 20))
	for name, counts := range map[string]signal.Part{
		"never came":            plus(line("v1", 0, 30, 60)),
		"went away":             plus(line("v1", 0, 30, 60), line("v2", 0, -1)),
		"came for the old only": plus(line("v1", 0, 30, 60), line("v2", 0)),
	} {
		got := count(t, ind, 1, 3, signal.Data{Count: counts, Total: total})
		if len(got) != 1 || got[0].Version != "v1" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	got := count(t, ind, 1, 3, signal.Data{Count: plus(line("v2", 0, 30)), Total: plus(line("v2", 0, 10, 20))})
	if len(got) != 1 || !got[0].EventTime.Equal(at(1)) {
		t.Errorf("what came is as new as the part that is behind: %+v", got)
	}
}

func TestWorkIsCountedPerTimeOfEachSeries(t *testing.T) {
	ind := compile(t, signal.Spec{Name: "restarts", Count: "restarts_total"})
	got := count(t, ind, 1, 4, signal.Data{Count: plus(line("v1", 0, 0, 1, 1), line("v1", 7, 8, 8, 8), line("v2", 0, 2, 2, 5))})
	if len(got) != 2 || got[0].Count != 2 || got[0].Total != 6000 || got[1].Count != 5 || got[1].Total != 3000 {
		t.Errorf("%+v", got)
	}
}

func TestSumsOfValuesNeedNotBeWhole(t *testing.T) {
	ind := compile(t, signal.Spec{Name: "cpu", Sum: "cpu_seconds_total", Total: "requests_total"})
	got := count(t, ind, 1, 3, signal.Data{Sum: plus(line("v2", 1.5, 1.75, 0.25)), Total: plus(line("v2", 0, 10, 20))})
	if len(got) != 1 || got[0].Sum != 0.5 || got[0].Total != 20 {
		t.Errorf("%+v", got)
	}
}

func TestSamplesOfGaugesAreValues(t *testing.T) {
	ind := compile(t, signal.Spec{Name: "queue", Gauge: "queue_share", Min: -1, Max: 1})
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name            string
		values          []float64
		sum             float64
		n               uint64
		least, greatest float64
	}{
		{"each sample", []float64{0.9, 0.5, 0.25}, 2.75, 2, 0.25, 0.5},
		{"one that is no number is none", []float64{0.9, nan, 0.25}, 1.25, 1, 0.25, 0.25},
		{"one outside of the bounds shows", []float64{0.9, 0.5, 1.5}, 4, 2, 0.5, 1.5},
		{"one without end shows too", []float64{0.9, 0.5, inf}, 1e18, 2, 0.5, math.MaxFloat64},
	} {
		got := count(t, ind, 1, 3, signal.Data{Gauge: plus(line("v2", c.values...))})
		if len(got) != 1 || math.Abs(got[0].Sum-c.sum) > 1e-9 || got[0].Total != c.n || got[0].Least != c.least || got[0].Greatest != c.greatest {
			t.Errorf("%s: %+v", c.name, got)
			continue
		}
		if err := got[0].Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	below := signal.Series{Labels: labels.FromStrings("version", "v2"), Points: []signal.Point{{Time: at(1).UnixMilli(), Value: -7}}}
	if got := count(t, ind, 1, 3, signal.Data{Gauge: plus(below)}); len(got) != 1 || got[0].Least != -7 || got[0].Check() != nil {
		t.Errorf("below the bounds: %+v", got)
	}
	if got := count(t, ind, 1, 3, signal.Data{Gauge: plus(line("v2", 0.5, nan, nan))}); len(got) != 0 {
		t.Errorf("a gauge that went away: %+v", got)
	}
	half := signal.Data{Gauge: plus(line("v2", 0.5, 0.5, 0.5), line("v2", 0.5))}
	if got := count(t, ind, 1, 3, half); len(got) != 1 || got[0].Completeness != 0.5 {
		t.Errorf("one of two gauges is silent: %+v", got)
	}
}

func TestWhatIsNoNumberOfEventsIsRefused(t *testing.T) {
	per := signal.Spec{Name: "queries", Count: "a - b", Total: "c"}
	total := plus(line("v2", 0, 10, 20))
	for name, data := range map[string]signal.Data{
		"fewer than none": {Count: signal.Part{Plus: []signal.Series{line("v2", 0, 1, 1)}, Minus: []signal.Series{line("v2", 0, 5, 9)}}, Total: total},
		"half an event":   {Count: plus(line("v2", 0, 1, 1.5)), Total: total},
	} {
		_, err := signal.Count(signal.Query{Namespace: "shop", Indicator: compile(t, per), Start: at(1), End: at(3)}, data)
		if assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), "no number of events") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMeasuresThatContradictThemselvesAreRefused(t *testing.T) {
	for want, s := range map[string]signal.Spec{
		"exactly one of them":      {Name: "x", Count: "a", Sum: "b", Total: "c"},
		"total is missing":         {Name: "x", Sum: "a"},
		"stands beside a gauge":    {Name: "x", Gauge: "a", Total: "b", Max: 1},
		"is not above the min":     {Name: "x", Gauge: "a"},
		"not a selector of":        {Name: "x", Gauge: "sum(a)", Max: 1},
		"names no metric":          {Name: "x", Gauge: `{a="b"}`, Max: 1},
		"is not PromQL":            {Name: "x", Gauge: "((", Max: 1},
		"parts of the requests":    {Name: "x", Count: "a", StratumLabel: "route"},
		"is not a sum of counters": {Name: "x", Count: "rate(a[1m])", Total: "b"},
	} {
		if _, err := signal.Compile(s); assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", s, err, want)
		}
	}
}

// However an interval is cut, its parts add up: no sample, no event and no time is counted
// twice or left out.
func TestReadingsOfMeasuresAddUp(t *testing.T) {
	counter := compile(t, signal.Spec{Name: "restarts", Count: "a"})
	gauge := compile(t, signal.Spec{Name: "queue", Gauge: "b", Max: 10})
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.SampledFrom([]float64{-1, 0, 1, 2, 5}), 1, 20).Draw(t, "values")
		cut := rapid.IntRange(1, 20).Draw(t, "cut")
		read := func(from, to int) (sum assay.Reading) {
			for _, ind := range []signal.Indicator{counter, gauge} {
				data := signal.Data{Count: plus(line("v2", values...))}
				if len(ind.Gauge) > 0 {
					data = signal.Data{Gauge: plus(line("v2", values...))}
				}
				got, err := signal.Count(signal.Query{Namespace: "shop", Indicator: ind, Start: at(from), End: at(to)}, data)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range got {
					sum.Count, sum.Total, sum.Sum = sum.Count+r.Count, sum.Total+r.Total, sum.Sum+r.Sum
				}
			}
			return sum
		}
		a, b, whole := read(0, cut), read(cut, 30), read(0, 30)
		if a.Count+b.Count != whole.Count || a.Total+b.Total != whole.Total || a.Sum+b.Sum != whole.Sum {
			t.Fatalf("%v cut at %d: %+v and %+v are not %+v", values, cut, a, b, whole)
		}
	})
}
