package signal

import (
	"context"
	"time"
)

// Gauge is one number that an expression gave, with how much it can be relied on.
type Gauge struct {
	Scope        string    // value of the label that was asked for; "" for one number
	Value        float64   // may be anything that PromQL gives, not a number included
	Time         time.Time // of the newest sample under it, of the oldest of its selectors
	Completeness float64   // share of the series under it that reported within the age that was asked for, 0 to 1
}

// GaugeQuery asks for an expression's numbers.
type GaugeQuery struct {
	Namespace string
	Expr      string
	By        string        // label that tells scopes apart; "" for one number
	Time      time.Time     // when it is evaluated
	MaxAge    time.Duration // of a series that counts as reporting
}

// Gauges evaluates expressions whose result is a number and not a count of events.
// Safe for concurrent use.
type Gauges interface {
	// Gauge returns one number for each scope that has data, sorted by scope; none if
	// there is no data at all. CodeInvalid for an expression that is wrong or gives
	// several numbers for one scope, CodeUnavailable to try again.
	Gauge(ctx context.Context, q GaugeQuery) ([]Gauge, error)
	// Past returns the expression at start, start+step … before end; not a number where
	// there is none. It must give one number.
	Past(ctx context.Context, namespace, expr string, start, end time.Time, step time.Duration) ([]float64, error)
}
