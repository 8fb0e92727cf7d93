package tsdb

import (
	"cmp"
	"math"
	"slices"

	"assay.dev/assay/signal"
)

// fitted is what of a series' imported points is new.
type fitted struct {
	kept       []signal.Point
	duplicates int // equal to a point that is there
	conflicts  int // another value is there for the time
	covered    int // an earlier import brought the series for the time
}

// fit keeps of imported points, in any order, those that say something new of their
// series, in order of time. What stands stays: between two points that stand and lie no
// further apart than a reading looks back, nothing is put. Else samples that two roads
// brought of one counter would alternate, and each step back would read as a reset.
// Standing points are in order of time.
func fit(standing, imported []signal.Point) (out fitted) {
	slices.SortStableFunc(imported, func(a, b signal.Point) int { return cmp.Compare(a.Time, b.Time) })
	same := func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
	next := 0 // the first standing point that is not before the imported one
	for i, p := range imported {
		if i > 0 && imported[i-1].Time == p.Time { // the first of them counts
			if same(imported[i-1].Value, p.Value) {
				out.duplicates++
			} else {
				out.conflicts++
				imported[i].Value = imported[i-1].Value
			}
			continue
		}
		for next < len(standing) && standing[next].Time < p.Time {
			next++
		}
		switch {
		case next < len(standing) && standing[next].Time == p.Time && same(standing[next].Value, p.Value):
			out.duplicates++
		case next < len(standing) && standing[next].Time == p.Time:
			out.conflicts++
		case next > 0 && next < len(standing) && standing[next].Time-standing[next-1].Time <= signal.Lookback.Milliseconds():
			out.covered++
		default:
			out.kept = append(out.kept, p)
		}
	}
	return out
}
