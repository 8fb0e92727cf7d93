package tsdb_test

import (
	"fmt"
	"runtime"
	"testing"

	"assay.dev/assay/signal"
	"assay.dev/assay/signal/tsdb"
)

// fill stores n series for the given seconds, one sample each ten seconds.
func fill(b *testing.B, n, seconds int) (db *tsdb.DB, put func(second int), batch []signal.Sample) {
	b.Helper()
	db = open(b, b.TempDir())
	for i := range n {
		code := "200"
		if i%10 == 0 {
			code = "500"
		}
		batch = append(batch, sample("requests_total", 0, 0, "code", code, "version", fmt.Sprint("v", i%2), "route", fmt.Sprint(i)))
	}
	put = func(second int) {
		for i := range batch {
			batch[i].Time, batch[i].Value = at(second).UnixMilli(), float64(second)
		}
		if _, err := db.Append(b.Context(), batch, at(second)); err != nil {
			b.Fatal(err)
		}
	}
	for s := 0; s < seconds; s += 10 {
		put(s)
	}
	return db, put, batch
}

func BenchmarkAppend(b *testing.B) {
	_, put, batch := fill(b, 2000, 10)
	s := 10
	for b.Loop() {
		put(s)
		s++
	}
	b.ReportMetric(float64(len(batch)*b.N)/b.Elapsed().Seconds(), "samples/s")
}

func BenchmarkMemoryPerSeries(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		fill(b, 10_000, 600)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/10_000, "B/series")
	}
}

// An indicator over 2,000 series and the last minute, as an arriving batch asks.
func BenchmarkReadMinute(b *testing.B) {
	db, _, _ := fill(b, 2000, 600)
	ind := ratio(b)
	for b.Loop() {
		got, err := db.Read(b.Context(), signal.Query{Namespace: "shop", Indicator: ind, Start: at(540), End: at(600)})
		if err != nil || len(got) != 2 {
			b.Fatal(got, err)
		}
	}
}

func BenchmarkQuery(b *testing.B) {
	db, _, _ := fill(b, 2000, 600)
	for b.Loop() {
		if res, err := db.Instant(b.Context(), "shop", "sum by (version) (rate(requests_total[5m]))", at(595)); err != nil || len(res.Lines) != 2 {
			b.Fatal(res, err)
		}
	}
}
