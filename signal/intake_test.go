package signal_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/tsdb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// harbour is an intake on a real database, with its clock and what it told.
type harbour struct {
	*signal.Intake
	db  *tsdb.DB
	reg *prometheus.Registry

	mu       sync.Mutex
	now      time.Time
	arrivals []signal.Arrival
	watch    *signal.Watch
	fail     error // of the next append
}

// Append hands on to the database, or fails as if its disk were full.
func (h *harbour) Append(ctx context.Context, s []signal.Sample, now time.Time) (signal.Result, error) {
	h.mu.Lock()
	err := h.fail
	h.fail = nil
	h.mu.Unlock()
	if err != nil {
		return signal.Result{}, err
	}
	return h.db.Append(ctx, s, now)
}

func newHarbour(t testing.TB, series int) *harbour {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), tsdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &harbour{db: db, now: epoch, reg: prometheus.NewRegistry(), watch: signal.NewWatch()}
	h.Intake = signal.NewIntake(signal.Config{
		Sink: h, Series: series, Registerer: h.reg, Watch: h.watch,
		Now: func() time.Time {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.now
		},
		Arrived: func(a signal.Arrival) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.arrivals = append(h.arrivals, a)
		},
	})
	return h
}

func (h *harbour) value(t testing.TB, namespace, expr string) string {
	t.Helper()
	res, err := h.db.Instant(t.Context(), namespace, expr, epoch)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range res.Lines {
		out = append(out, fmt.Sprintf("%s %g", l.Labels, l.Points[0].Value))
	}
	return strings.Join(out, "; ")
}

func one(name string, v float64, pairs ...string) signal.Sample {
	return signal.Sample{Labels: labels.FromStrings(append([]string{model.MetricNameLabel, name}, pairs...)...), Time: epoch.UnixMilli(), Value: v}
}

func shop(name string) signal.Origin {
	return signal.Origin{Namespace: "shop", Name: name, Road: signal.RoadOTLP}
}

func take(t testing.TB, h *harbour, from signal.Origin, s ...signal.Sample) signal.Result {
	t.Helper()
	res, err := h.Take(t.Context(), from, s, signal.Result{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// Each bad sample comes with a good one: the bad one is refused for its reason,
// the good one is stored, and another sender notices nothing.
func TestBadSamplesAreRefusedAndTheRestIsStored(t *testing.T) {
	dated := func(d time.Duration) signal.Sample {
		s := one("x", 1)
		s.Time = epoch.Add(d).UnixMilli()
		return s
	}
	counter := one("x", -1)
	counter.Counter = true
	broken := one("x", 0)
	broken.H = &histogram.Histogram{Count: 5, Schema: 0, PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{1}}
	many := []string{}
	for i := range signal.MaxLabels {
		many = append(many, fmt.Sprintf("l%02d", i), "x")
	}
	for _, c := range []struct {
		name string
		s    signal.Sample
		why  signal.Reason
	}{
		{"not a number", one("x", math.NaN()), signal.RefusedNaN},
		{"negative counter by name", one("x_total", -1), signal.RefusedNegative},
		{"negative counter by type", counter, signal.RefusedNegative},
		{"infinite counter", one("x_total", math.Inf(1)), signal.RefusedNaN},
		{"an hour ahead", dated(time.Hour), signal.RefusedFuture},
		{"just above the skew limit", dated(signal.MaxAhead + time.Millisecond), signal.RefusedFuture},
		{"a day old", dated(-24 * time.Hour), signal.RefusedOld},
		{"before time", dated(-math.MaxInt64), signal.RefusedOld},
		{"no name", signal.Sample{Labels: labels.FromStrings("a", "b"), Time: epoch.UnixMilli()}, signal.RefusedLabels},
		{"a name with a space", one("x y", 1), signal.RefusedLabels},
		{"too many labels", one("x", 1, many...), signal.RefusedLabels},
		{"a long label name", one("x", 1, strings.Repeat("n", signal.MaxLabelName+1), "v"), signal.RefusedLabels},
		{"a long label value", one("x", 1, "n", strings.Repeat("v", signal.MaxLabelValue+1)), signal.RefusedLabels},
		{"a label name with a dash", one("x", 1, "a-b", "v"), signal.RefusedLabels},
		{"a value that is not UTF-8", one("x", 1, "a", "\xff"), signal.RefusedLabels},
		{"a broken histogram", broken, signal.RefusedHistogram},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarbour(t, 0)
			res := take(t, h, shop("bad"), c.s, one("good", 1))
			if res.Accepted != 1 || len(res.Refused) != 1 || res.Refused[c.why] != 1 || res.First == "" || len(res.First) > 400 {
				t.Errorf("%+v, want one %s", res, c.why)
			}
			if got := h.value(t, "shop", "good"); got != `{__name__="good", namespace="shop"} 1` {
				t.Errorf("the good sample is %q", got)
			}
			if res := take(t, h, shop("other"), one("y", 2)); res.Accepted != 1 || res.Refused != nil {
				t.Errorf("another sender: %+v", res)
			}
			if n := testutil.CollectAndCount(h.reg, "assay_signal_samples_total"); n < 2 {
				t.Errorf("%d results are counted", n)
			}
			if f := h.Freshness("shop"); len(f) != 2 || f[0].Refused != 1 || f[0].Accepted != 1 || !f[0].Event.Equal(epoch) {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestSkewWithinTheLimitIsTaken(t *testing.T) {
	h := newHarbour(t, 0)
	ahead, behind := one("a", 1), one("b", 1)
	ahead.Time, behind.Time = epoch.Add(signal.MaxAhead).UnixMilli(), epoch.Add(-signal.MaxBehind).UnixMilli()
	if res := take(t, h, shop("s"), ahead); res.Accepted != 1 {
		t.Errorf("%+v", res)
	}
	if res := take(t, h, shop("s"), behind); res.Accepted != 1 {
		t.Errorf("a clock that is ahead shuts out one that is behind: %+v", res)
	}
	gone := one("a", math.Float64frombits(value.StaleNaN))
	gone.Time = ahead.Time + 1 - 1000
	if res := take(t, h, shop("s"), gone); res.Accepted != 1 {
		t.Errorf("a stale marker: %+v", res)
	}
}

func TestLabelBombHurtsOnlyItsSender(t *testing.T) {
	h := newHarbour(t, 10)
	var bomb []signal.Sample
	for i := range 1000 {
		bomb = append(bomb, one("bomb", 1, "id", fmt.Sprint(i)))
	}
	if res := take(t, h, shop("bad"), bomb...); res.Accepted != 10 || res.Refused[signal.RefusedSeries] != 990 {
		t.Errorf("%+v", res)
	}
	if res := take(t, h, shop("bad"), one("bomb", 2, "id", "3")); res.Refused[signal.RefusedSeries] != 0 {
		t.Errorf("a series it has: %+v", res)
	}
	if res := take(t, h, shop("good"), one("fine", 1)); res.Accepted != 1 {
		t.Errorf("another sender: %+v", res)
	}
	if h.db.Series() > 12 {
		t.Errorf("%d series are kept", h.db.Series())
	}
	h.now = h.now.Add(2 * time.Hour)
	later := one("fresh", 1)
	later.Time = h.now.UnixMilli()
	if res := take(t, h, shop("bad"), later); res.Accepted != 1 {
		t.Errorf("after two silent hours the sender is still full: %+v", res)
	}
}

func TestDuplicatesHaveNoEffect(t *testing.T) {
	h := newHarbour(t, 0)
	h.watch.Add("plan", "shop", ratioOf(t))
	batch := func() []signal.Sample {
		return []signal.Sample{one("requests_total", 5), one("requests_total", 1, "code", "500")}
	}
	take(t, h, shop("s"), batch()...)
	res := take(t, h, shop("s"), batch()...)
	if res.Accepted != 2 || res.Duplicates != 2 || res.Refused != nil {
		t.Errorf("%+v", res)
	}
	if len(h.arrivals) != 1 {
		t.Errorf("a duplicate woke somebody: %+v", h.arrivals)
	}
	if got := h.value(t, "shop", "count_over_time(requests_total{code=\"500\"}[1h])"); !strings.HasSuffix(got, " 1") {
		t.Errorf("stored twice: %s", got)
	}
	if res := take(t, h, shop("s"), one("requests_total", 6)); res.Refused[signal.RefusedConflict] != 1 {
		t.Errorf("another value at the same time: %+v", res)
	}
}

func TestFailureStoresNothingAndMayBeRepeated(t *testing.T) {
	h := newHarbour(t, 0)
	h.fail = assay.Errorf(assay.CodeUnavailable, "the disk is full")
	if _, err := h.Take(t.Context(), shop("s"), []signal.Sample{one("x", 1)}, signal.Result{}); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Fatal(err)
	}
	if res := take(t, h, shop("s"), one("x", 1)); res.Accepted != 1 || res.Duplicates != 0 {
		t.Errorf("what was never stored is called a duplicate: %+v", res)
	}
}

func TestArrivalNamesTheIndicatorsItTouches(t *testing.T) {
	h := newHarbour(t, 0)
	h.watch.Add("rollout-1", "shop", ratioOf(t))
	h.watch.Add("rollout-2", "shop", compile(t, signal.Spec{Name: "e", Bad: `requests_total{code="500",route="/pay"}`, Total: `requests_total{route="/pay"}`}))
	h.watch.Add("elsewhere", "bank", ratioOf(t))
	take(t, h, shop("s"), one("other_total", 1))
	take(t, h, shop("s"), one("requests_total", 1, "route", "/"))
	late := one("requests_total", 1, "route", "/pay")
	late.Time += 1000
	take(t, h, shop("s"), late)
	h.watch.Remove("rollout-1")
	take(t, h, shop("s"), one("requests_total", 1, "route", "/pay", "code", "500"))
	var got []string
	for _, a := range h.arrivals {
		got = append(got, strings.Join(a.Indicators, "+"))
	}
	if want := []string{"", "rollout-1", "rollout-1+rollout-2", "rollout-2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if a := h.arrivals[2]; !a.Newest.Equal(epoch.Add(time.Second)) || !a.Received.Equal(epoch) || a.Namespace != "shop" || a.Source != "s" {
		t.Errorf("%+v", a)
	}
}

func TestEachServiceOfAMetricIsWaitedForByItself(t *testing.T) {
	h := newHarbour(t, 0)
	for _, name := range []string{"a", "b", "c"} {
		h.watch.Add("plan-"+name, "shop", compile(t, signal.Spec{Name: "e", Bad: `errors_total{service="` + name + `"}`, Total: `requests_total{service="` + name + `",code!="0"}`}))
	}
	h.watch.Add("all", "shop", compile(t, signal.Spec{Name: "e", Bad: `errors_total`, Total: `requests_total`}))
	h.watch.Add("some", "shop", compile(t, signal.Spec{Name: "e", Bad: `errors_total{service=~"a|b"}`, Total: `requests_total{service=~"a|b"}`}))
	h.watch.Add("none", "shop", compile(t, signal.Spec{Name: "e", Bad: `errors_total{service=""}`, Total: `requests_total{service=""}`}))
	take(t, h, shop("s"), one("requests_total", 1, "service", "b"))
	take(t, h, shop("s"), one("requests_total", 1, "service", "c", "code", "0"))
	take(t, h, shop("s"), one("errors_total", 1))
	h.watch.Remove("plan-b")
	h.watch.Remove("all")
	h.watch.Remove("never there")
	take(t, h, shop("s"), one("requests_total", 1, "service", "b", "code", "1"), one("errors_total", 1, "service", "c"))
	var got []string
	for _, a := range h.arrivals {
		got = append(got, strings.Join(a.Indicators, "+"))
	}
	if want := []string{"all+plan-b+some", "all", "all+none", "plan-c+some"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestNamespaceOfACredentialWinsOverALabel(t *testing.T) {
	h := newHarbour(t, 0)
	take(t, h, shop("s"), one("x", 1, "namespace", "bank"))
	if got := h.value(t, "shop", "x"); got != `{__name__="x", exported_namespace="bank", namespace="shop"} 1` {
		t.Error(got)
	}
	if got := h.value(t, "bank", "x"); got != "" {
		t.Errorf("the label moved the series: %s", got)
	}
}

func TestLostBatchesShow(t *testing.T) {
	h := newHarbour(t, 0)
	for _, n := range []struct{ epoch, seq uint64 }{{1, 1}, {1, 2}, {1, 5}, {1, 5}, {2, 2}, {1, 6}} {
		from := shop("s")
		from.Epoch, from.Sequence = n.epoch, n.seq
		take(t, h, from, one("x", 1))
	}
	if f := h.Freshness(""); len(f) != 1 || f[0].Missing != 3 || f[0].Repeated != 2 || f[0].Batches != 6 {
		t.Errorf("%+v", f)
	}
}

func TestSilenceShowsAsAge(t *testing.T) {
	h := newHarbour(t, 0)
	take(t, h, shop("s"), one("x", 1))
	h.now = h.now.Add(3 * time.Minute)
	old := one("x", 2)
	old.Time = epoch.Add(-time.Minute).UnixMilli()
	take(t, h, shop("s"), old)
	f := h.Freshness("shop")[0]
	if f.Age(h.now) != 3*time.Minute || !f.Ingested.Equal(h.now) {
		t.Errorf("a late batch of old events made the source young: %+v", f)
	}
}

func TestBatchesAndSendersAreLimited(t *testing.T) {
	h := newHarbour(t, 0)
	if _, err := h.Take(t.Context(), shop("s"), make([]signal.Sample, signal.MaxSamples+1), signal.Result{}); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Error(err)
	}
	for i := range signal.MaxSources {
		take(t, h, shop(fmt.Sprint(i)), one("x", 1))
	}
	if _, err := h.Take(t.Context(), shop("one more"), []signal.Sample{one("x", 1)}, signal.Result{}); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Error(err)
	}
	h.now = h.now.Add(2 * time.Hour)
	s := one("x", 1)
	s.Time = h.now.UnixMilli()
	take(t, h, shop("one more"), s)
	leaves := []func(){}
	for range signal.MaxInFlight {
		leave, err := h.Enter()
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	if _, err := h.Enter(); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Error(err)
	}
	leaves[0]()
	if _, err := h.Enter(); err != nil {
		t.Error(err)
	}
}

func TestExplainSaysHowManyAndWhy(t *testing.T) {
	var r signal.Result
	r.Refuse(signal.RefusedNaN, 2, "first")
	r.Refuse(signal.RefusedOld, 1, "second")
	r.Refuse(signal.RefusedOld, 0, "none")
	if got := r.Explain(); got != "0 samples stored, 3 refused (1 old, 2 nan); the first: first" {
		t.Error(got)
	}
}
