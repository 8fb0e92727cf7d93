package signal_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func compile(t testing.TB, spec signal.Spec) signal.Indicator {
	t.Helper()
	ind, err := signal.Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	return ind
}

func ratioOf(t testing.TB) signal.Indicator {
	return compile(t, signal.Spec{Name: "errors", Bad: `requests_total{code="500"}`, Total: "requests_total"})
}

func at(second int) time.Time { return epoch.Add(time.Duration(second) * time.Second) }

// points at one-second steps; a negative value is a stale marker.
func points(values ...float64) (out []signal.Point) {
	for i, v := range values {
		if v < 0 {
			v = math.Float64frombits(value.StaleNaN)
		}
		out = append(out, signal.Point{Time: at(i).UnixMilli(), Value: v})
	}
	return out
}

func count(t testing.TB, ind signal.Indicator, from, to int, data signal.Data) []assay.Reading {
	t.Helper()
	got, err := signal.Count(signal.Query{Namespace: "shop", Indicator: ind, Start: at(from), End: at(to)}, data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCountersAreCountedFromSampleToSample(t *testing.T) {
	for _, c := range []struct {
		name     string
		values   []float64
		from, to int
		want     uint64 // total; 999 for no reading
	}{
		{"growth from the sample before", []float64{10, 12, 15}, 1, 3, 5},
		{"the end is not part of the interval", []float64{10, 12, 15}, 1, 2, 2},
		{"the first sample counts nothing", []float64{10, 12}, 0, 2, 2},
		{"a reset counts from zero", []float64{10, 3, 4}, 1, 3, 4},
		{"a reset to zero counts nothing", []float64{10, 0, 4}, 1, 3, 4},
		{"a stale marker hides no growth", []float64{10, -1, 12}, 1, 3, 2},
		{"only a stale marker is no data", []float64{10, -1}, 1, 3, 999},
		{"nothing in the interval is no data", []float64{10}, 1, 3, 999},
		{"no growth is a reading of zero", []float64{10, 10}, 1, 3, 0},
	} {
		got := count(t, ratioOf(t), c.from, c.to, signal.Data{Total: signal.Part{Plus: []signal.Series{{Points: points(c.values...)}}}})
		switch {
		case c.want == 999 && len(got) != 0:
			t.Errorf("%s: %+v", c.name, got)
		case c.want != 999 && (len(got) != 1 || got[0].Total != c.want || got[0].Version != signal.UnknownVersion):
			t.Errorf("%s: %+v, want %d", c.name, got, c.want)
		}
	}
}

// However an interval is cut, its parts add up to the whole: what PromQL's
// increase, which extrapolates, does not promise.
func TestIncreasesOfAdjoiningIntervalsAddUp(t *testing.T) {
	ind := ratioOf(t)
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.IntRange(-1, 50).Draw(t, "v")) }), 0, 30).Draw(t, "values")
		data := signal.Data{Total: signal.Part{Plus: []signal.Series{{Points: points(values...)}}}}
		cut := rapid.IntRange(1, 29).Draw(t, "cut")
		total := func(from, to int) uint64 {
			got, err := signal.Count(signal.Query{Namespace: "n", Indicator: ind, Start: at(from), End: at(to)}, data)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 0 {
				return 0
			}
			return got[0].Total
		}
		if a, b, whole := total(0, cut), total(cut, 30), total(0, 30); a+b != whole {
			t.Fatalf("%v cut at %d: %d + %d is not %d", values, cut, a, b, whole)
		}
	})
}

func TestAbsentGoodSeriesAreUnknownUnlessAnotherVersionHasThem(t *testing.T) {
	ind := compile(t, signal.Spec{Name: "errors", Good: `requests_total{code="200"}`, Total: "requests_total"})
	series := func(version string) signal.Series {
		return signal.Series{Labels: labels.FromStrings("version", version), Points: points(0, 10, 20)}
	}
	total := signal.Part{Plus: []signal.Series{series("v1"), series("v2")}}
	if got := count(t, ind, 1, 3, signal.Data{Total: total}); len(got) != 0 {
		t.Errorf("a selector that finds nothing reads as everything is bad: %+v", got)
	}
	got := count(t, ind, 1, 3, signal.Data{Total: total, Good: signal.Part{Plus: []signal.Series{series("v1")}}})
	if len(got) != 2 || got[0].Good != 20 || got[1].Good != 0 || got[1].Total != 20 {
		t.Errorf("a version without one good event: %+v", got)
	}
}

func TestTermsThatAreTakenAwayAreSubtracted(t *testing.T) {
	ind := compile(t, signal.Spec{Name: "errors", Good: `sum(requests_total) - sum(requests_total{code="500"})`, Total: "requests_total"})
	all, bad := signal.Series{Points: points(0, 10, 20)}, signal.Series{Points: points(0, 1, 3)}
	got := count(t, ind, 1, 3, signal.Data{Total: signal.Part{Plus: []signal.Series{all}}, Good: signal.Part{Plus: []signal.Series{all}, Minus: []signal.Series{bad}}})
	if len(got) != 1 || got[0].Good != 17 || got[0].Total != 20 {
		t.Errorf("%+v", got)
	}
}

func TestSumsOfCountersAreUnderstood(t *testing.T) {
	for text, want := range map[string]string{
		`requests_total`:                                `sum(requests_total{})`,
		`sum(requests_total{code=~"2..|4.."})`:          `sum(requests_total{code=~"2..|4.."})`,
		`sum by (code) (a) + (b - c)`:                   `sum(a{}) + sum(b{}) - sum(c{})`,
		`sum(increase(a[5m])) - -b`:                     `sum(a{}) + sum(b{})`,
		`sum(a{code="500"}) or vector(0)`:               `sum(a{code="500"})`,
		`sum(a) - (sum(b) - sum(c))`:                    `sum(a{}) - sum(b{}) + sum(c{})`,
		`sum(http_requests{k8s_cluster="prod",x!="y"})`: `sum(http_requests{k8s_cluster="prod",x!="y"})`,
	} {
		got, err := signal.ParseCounters(text)
		if err != nil || got.String() != want {
			t.Errorf("%s is %s, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`rate(a[5m])`:                    "is not a sum of counters",
		`a / b`:                          "is not a sum of counters",
		`avg(a)`:                         "is not a sum of counters",
		`a * 2`:                          "is not a sum of counters",
		`sum(a[5m:])`:                    "is not PromQL",
		`histogram_quantile(0.9, a)`:     "is not a sum of counters",
		`5`:                              "is not a sum of counters",
		`a offset 5m`:                    "looks at another time",
		`a @ end()`:                      "looks at another time",
		`{job="x"}`:                      "names no metric",
		`{__name__=~"a|b"}`:              "names no metric",
		`a{namespace="other"}`:           "which is set for you",
		`sum(rate(a[{{.window}}]))`:      "is not PromQL",
		`a or vector(1)`:                 "is not a sum of counters",
		strings.Repeat("a+", 5000) + "a": "at most 8192 are allowed",
	} {
		if _, err := signal.ParseCounters(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %s", text, err, want)
		}
	}
}

func TestSpecsThatContradictThemselvesAreRefused(t *testing.T) {
	for _, s := range []signal.Spec{
		{}, {Name: "x"}, {Name: "x", Total: "a"}, {Name: "x", Good: "a"}, {Name: "x", Good: "a", Bad: "b", Total: "c"},
		{Name: "x", Buckets: "a", Threshold: -1}, {Name: "x", Buckets: "a", Threshold: 1, Total: "b"}, {Name: "x", Good: "rate(a[1m])", Total: "a"},
	} {
		if _, err := signal.Compile(s); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func FuzzParseCounters(f *testing.F) {
	for _, s := range []string{"a", "sum(a{b=\"c\"}) - b or vector(0)", "increase(a[5m])", "((", "a offset 1s", "-a", "({\"%\"})", "{\"inf\"}", "{\"by\", __name__=\"c\"}", "{__name__=\"\",a=\"b\"}", "sum{}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		terms, err := signal.ParseCounters(text)
		if err != nil {
			return
		}
		again, err := signal.ParseCounters(terms.String())
		if err != nil || again.String() != terms.String() {
			t.Fatalf("%q is %q, which is %v, %v", text, terms, again, err)
		}
	})
}
