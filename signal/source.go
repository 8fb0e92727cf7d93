package signal

import (
	"context"
	"time"

	"assay.dev/assay"
)

// Lookback is how old a series' last sample before an interval may be to be the
// base that the interval's increase is counted from. It is PromQL's.
const Lookback = 5 * time.Minute

// UnknownVersion is the version of series that carry no version label.
const UnknownVersion = "unknown"

// Query asks for what an indicator counted in [Start, End).
type Query struct {
	Namespace  string
	Indicator  Indicator
	Start, End time.Time
}

// Check refuses a query that nothing can answer; CodeInvalid.
func (q Query) Check() error {
	switch {
	case q.Namespace == "":
		return assay.Errorf(assay.CodeInvalid, "the query for %s names no namespace", q.Indicator.Name)
	case !q.Start.Before(q.End):
		return assay.Errorf(assay.CodeInvalid, "the query for %s has an interval that does not end after it starts", q.Indicator.Name)
	case len(q.Indicator.Total) == 0 && len(q.Indicator.Buckets) == 0 && !q.Indicator.measures():
		return assay.Errorf(assay.CodeInvalid, "the query names no indicator that Compile made")
	}
	return nil
}

// Source hands out readings. signal/tsdb and signal/replay are two.
type Source interface {
	// Read returns one reading per version that has data for the interval, or one
	// per version and stratum if the indicator tells strata, sorted by both. A version without data has no reading: whoever needs
	// one treats its absence as unknown. Readings of adjoining intervals add up
	// to the reading of both. It reads no clock: freshness is in the readings.
	// Errors: CodeInvalid for a query or data that cannot be counted,
	// CodeUnavailable to try again. Safe for concurrent use.
	Read(ctx context.Context, q Query) ([]assay.Reading, error)
}
