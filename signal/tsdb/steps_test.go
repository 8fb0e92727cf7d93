package tsdb_test

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/tsdb"
	"github.com/prometheus/prometheus/model/value"
)

// hours are two hours of counters as they come: restarts, gaps, versions that begin and end,
// and a version that is good for a while only.
func hours(t testing.TB, db *tsdb.DB) {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 11))
	counts := map[string]float64{}
	add := func(s int, name string, by float64, pairs ...string) signal.Sample {
		key := name + "/" + strings.Join(pairs, "/")
		if rng.IntN(500) == 0 {
			counts[key] = 0 // a restart
		}
		counts[key] += by
		return sample(name, s, counts[key], pairs...)
	}
	for s := 0; s <= 7200; s += 15 {
		var all []signal.Sample
		for _, v := range []struct {
			version    string
			from, till int
		}{{"v1", 0, 7200}, {"v2", 2000, 4100}, {"v3", 5000, 7200}} {
			version := v.version
			if s < v.from || s > v.till || version == "v1" && s > 3000 && s < 3900 { // nobody reports v1 for longer than a reading looks back
				continue
			}
			bad := float64(rng.IntN(4))
			all = append(all, add(s, "requests_total", float64(20+rng.IntN(9)), "code", "200", "version", version), add(s, "requests_total", bad, "code", "503", "version", version))
			if version != "v3" && (s < 4500 || s > 5400) {
				all = append(all, add(s, "good_total", float64(rng.IntN(20)), "version", version))
			}
			for i, le := range []string{"0.1", "0.25", "+Inf"} {
				all = append(all, add(s, "latency_seconds_bucket", float64(3*i+rng.IntN(3)), "le", le, "version", version))
			}
			if s == v.till {
				all = append(all, sample("requests_total", s+1, math.Float64frombits(value.StaleNaN), "code", "200", "version", version))
			}
		}
		if len(all) > 0 {
			put(t, db, all...)
		}
	}
}

func TestStepsThatAreReadAtOnceCountWhatEachOfThemCounts(t *testing.T) {
	db := open(t, t.TempDir())
	hours(t, db)
	for name, spec := range map[string]signal.Spec{
		"bad":        {Name: "errors", Service: "shop", Bad: `requests_total{code=~"5.."}`, Total: "requests_total", ClassLabel: "code"},
		"good":       {Name: "errors", Service: "shop", Good: "good_total", Total: "requests_total"},
		"difference": {Name: "errors", Service: "shop", Bad: "sum(requests_total) - sum(good_total)", Total: "requests_total"},
		"latency":    {Name: "latency", Service: "shop", Buckets: "latency_seconds_bucket", Threshold: 0.25},
	} {
		ind, err := signal.Compile(spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			step time.Duration
			n    int
		}{{time.Minute, 130}, {5 * time.Second, 720}, {7 * time.Minute, 18}, {90 * time.Minute, 2}} {
			q := signal.Query{Namespace: "shop", Indicator: ind, Start: at(-120).Add(333 * time.Millisecond)}
			if c.step == 5*time.Second {
				q.Start = at(3000)
			}
			got, err := db.ReadSteps(t.Context(), q, c.step, c.n)
			if err != nil || len(got) != c.n {
				t.Fatalf("%s: %d steps of %s, %v", name, len(got), c.step, err)
			}
			some, none := 0, 0
			for i := range got {
				want, err := db.Read(t.Context(), q.Step(c.step, i))
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(events(got[i]), events(want)) {
					t.Fatalf("%s, step %d of %s: %+v, want %+v", name, i, c.step, got[i], want)
				}
				if some++; len(want) == 0 {
					none++
				}
			}
			if some == none {
				t.Errorf("%s in steps of %s: nothing was read, so nothing was compared", name, c.step)
			}
		}
	}
}

// events are what a budget takes from readings.
func events(all []assay.Reading) (out []string) {
	for _, r := range all {
		out = append(out, r.Version+" "+r.Start.String()+" "+r.End.String()+" "+r.EventTime.String()+" "+strconv.FormatUint(r.Good, 10)+" of "+strconv.FormatUint(r.Total, 10))
	}
	return out
}

// Two hours of a service by the minute.
func BenchmarkReadSteps(b *testing.B) {
	db := open(b, b.TempDir())
	hours(b, db)
	ind := ratio(b)
	q := signal.Query{Namespace: "shop", Indicator: ind, Start: at(0)}
	b.Run("at once", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := db.ReadSteps(b.Context(), q, time.Minute, 120); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one by one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for i := range 120 {
				if _, err := db.Read(b.Context(), q.Step(time.Minute, i)); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
