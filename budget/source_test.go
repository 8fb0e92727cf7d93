package budget_test

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
)

// ledgerOfMinutes is a source whose truth is a table of minutes, so that books
// can be held against it. Minutes are numbered from epoch, or from base.
type ledgerOfMinutes struct {
	base  int64
	reads atomic.Int64
	fail  error

	mu      sync.Mutex
	minutes map[int64]slo.Counts
}

var _ signal.Source = (*ledgerOfMinutes)(nil)

func (l *ledgerOfMinutes) zero() int64 {
	if l.base != 0 {
		return l.base
	}
	return epoch.Unix() / 60
}

func (l *ledgerOfMinutes) add(m int, c slo.Counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.minutes == nil {
		l.minutes = map[int64]slo.Counts{}
	}
	had := l.minutes[l.zero()+int64(m)]
	l.minutes[l.zero()+int64(m)] = slo.Counts{Good: had.Good + c.Good, Total: had.Total + c.Total}
}

// sum adds up the minutes that begin in [from, to).
func (l *ledgerOfMinutes) sum(from, to time.Time) (s slo.Sum) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for m, c := range l.minutes {
		if t := time.Unix(m*60, 0); !t.Before(from) && t.Before(to) {
			s.Good += c.Good
			s.Total += c.Total
			s.Known++
		}
	}
	return s
}

// Read implements signal.Source; two versions share the events.
func (l *ledgerOfMinutes) Read(_ context.Context, q signal.Query) ([]assay.Reading, error) {
	l.reads.Add(1)
	if l.fail != nil {
		return nil, l.fail
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	s := l.sum(q.Start, q.End)
	if s.Known == 0 {
		return nil, nil
	}
	one := assay.Reading{Indicator: q.Indicator.Name, Start: q.Start, End: q.End, EventTime: q.End, Completeness: 1}
	half := one
	one.Version, one.Good, one.Total = "v1", s.Good/2, s.Total/2
	half.Version, half.Good, half.Total = "v2", s.Good-one.Good, s.Total-one.Total
	return []assay.Reading{one, half}, nil
}
