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

// Stepper is a Source that reads a row of adjoining intervals at once.
type Stepper interface {
	// ReadSteps returns for each of n intervals of a step, from q.Start on, readings that
	// count what Read counts there. Errors are those of Read.
	ReadSteps(ctx context.Context, q Query, step time.Duration, n int) ([][]assay.Reading, error)
}

// ReadSteps reads n intervals of a step, from q.Start on: at once from a Stepper, and one
// after the other from any other Source.
func ReadSteps(ctx context.Context, src Source, q Query, step time.Duration, n int) ([][]assay.Reading, error) {
	if s, ok := src.(Stepper); ok {
		return s.ReadSteps(ctx, q, step, n)
	}
	out := make([][]assay.Reading, n)
	for i := range out {
		var err error
		if out[i], err = src.Read(ctx, q.Step(step, i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Step is the query for the i-th interval of a step from q.Start on.
func (q Query) Step(step time.Duration, i int) Query {
	q.Start = q.Start.Add(time.Duration(i) * step)
	q.End = q.Start.Add(step)
	return q
}
