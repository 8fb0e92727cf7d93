package budget

import (
	"context"
	"errors"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
)

const (
	// lateMinutes is how many minutes before the last look are counted again
	// every minute, since samples may come that late.
	lateMinutes = int64(signal.MaxBehind / slo.Slot)
	// freshMinutes are counted again at every step.
	freshMinutes = 2
	// stepReads is how many intervals of the past one step reads.
	stepReads = 120
	// probe is the span that is looked at as a whole before its minutes are read
	// one by one: a past without data costs one read for each.
	probe = 60
)

// books are the counts of one objective. Minutes are numbered since 1970.
// Those from low to high, inclusive, have been read.
type books struct {
	ring   *slo.Ring // guarded by Books.mu, like all of it
	begun  bool
	low    int64
	high   int64
	deep   int64     // when lateMinutes were last counted again
	newest time.Time // event time of the newest data
	failed error     // of the newest step
}

func minute(t time.Time) int64 { return t.Unix() / 60 }

func begin(m int64) time.Time { return time.Unix(m*60, 0).UTC() }

// complete reports whether all the past that the ring keeps has been read.
func (k *books) complete(now time.Time) bool {
	return k.begun && k.low <= minute(now)-int64(k.ring.Minutes())+1
}

// progress is the share of the ring's minutes that have been read, 0 to 1.
func (k *books) progress(now time.Time) float64 {
	if !k.begun {
		return 0
	}
	if k.complete(now) {
		return 1
	}
	return float64(k.high-k.low+1) / float64(k.ring.Minutes())
}

// readNewest counts the minutes up to now's. After a long silence of ours it
// starts over from the newest; what the ring holds stays until it is read again.
func (b *Books) readNewest(ctx context.Context, a *account, now time.Time) error {
	k, current := a.books, minute(now)
	switch behind := current - k.high; {
	case !k.begun, behind > int64(k.ring.Minutes()), behind < 0:
		b.mu.Lock()
		k.begun, k.low, k.high, k.deep = true, current, current, current
		b.mu.Unlock()
		return b.count(ctx, a, current)
	case behind > stepReads:
		// Newest first: what lies between is past now, and is read as such.
		b.mu.Lock()
		k.low, k.high, k.deep = current, current, current
		b.mu.Unlock()
		return b.count(ctx, a, current)
	}
	from := min(k.high, current-freshMinutes+1)
	if current > k.deep {
		from = min(from, k.deep-lateMinutes)
	}
	for m := current; m >= max(from, min(k.low, current)); m-- {
		if err := b.count(ctx, a, m); err != nil {
			return err
		}
	}
	b.mu.Lock()
	k.high, k.deep = current, current
	b.mu.Unlock()
	return nil
}

// readPast goes back from the oldest minute that was read, with at most left
// reads, and returns how many are left.
func (b *Books) readPast(ctx context.Context, a *account, now time.Time, left int) (int, error) {
	k := a.books
	first := minute(now) - int64(k.ring.Minutes()) + 1
	for left > 0 && k.low > first {
		from := max(first, k.low-probe)
		left--
		some, err := b.cfg.Source.Read(ctx, b.query(a, from, k.low))
		if err != nil {
			return left, err
		}
		// A piece is read as a whole, so that it is never probed twice.
		for m := k.low - 1; len(some) > 0 && m >= from; m-- {
			left--
			if err := b.count(ctx, a, m); err != nil {
				return left, err
			}
		}
		b.mu.Lock()
		k.low = from
		b.mu.Unlock()
	}
	return left, nil
}

func (b *Books) query(a *account, from, to int64) signal.Query {
	return signal.Query{Namespace: b.cfg.Namespace, Indicator: a.indicator, Start: begin(from), End: begin(to)}
}

// count reads one minute and puts it into the ring: the versions of a service
// share its promise.
func (b *Books) count(ctx context.Context, a *account, m int64) error {
	readings, err := b.cfg.Source.Read(ctx, b.query(a, m, m+1))
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k := a.books
	if len(readings) == 0 {
		k.ring.Forget(begin(m))
		return nil
	}
	var c slo.Counts
	for _, r := range readings {
		c.Good += r.Good
		c.Total += r.Total
		if r.EventTime.After(k.newest) {
			k.newest = r.EventTime
		}
	}
	if err := k.ring.Put(begin(m), c); err != nil && !errors.Is(err, slo.ErrTooOld) {
		return assay.Errorf(assay.CodeInvalid, "minute %s cannot be kept: %w", begin(m).Format(time.RFC3339), err)
	}
	return nil
}
