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
	told   time.Time // of the newest data of the first source
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
		return b.countAll(ctx, a, current, current, current)
	case behind > stepReads:
		// Newest first: what lies between is past now, and is read as such.
		b.mu.Lock()
		k.low, k.high, k.deep = current, current, current
		b.mu.Unlock()
		return b.countAll(ctx, a, current, current, current)
	}
	from := min(k.high, current-freshMinutes+1)
	if current > k.deep {
		from = min(from, k.deep-lateMinutes)
	}
	if err := b.countAll(ctx, a, max(from, min(k.low, current)), current, current); err != nil {
		return err
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
		some, err := b.any(ctx, a, from, k.low)
		if err != nil {
			return left, err
		}
		// A piece is read as a whole, so that it is never probed twice.
		if some {
			left -= int(k.low - from)
			if err := b.countAll(ctx, a, from, k.low-1, minute(now)); err != nil {
				return left, err
			}
		}
		b.mu.Lock()
		k.low = from
		b.mu.Unlock()
	}
	return left, nil
}

// any reports whether either source has data in the minutes from low up to high.
func (b *Books) any(ctx context.Context, a *account, low, high int64) (bool, error) {
	some, err := b.cfg.Source.Read(ctx, b.query(a.indicator, low, high))
	if err == nil && len(some) == 0 && a.second != nil {
		some, err = b.cfg.Source.Read(ctx, b.query(*a.second, low, high))
	}
	return len(some) > 0, err
}

func (b *Books) query(of signal.Indicator, from, to int64) signal.Query {
	return signal.Query{Namespace: b.cfg.Namespace, Indicator: of, Start: begin(from), End: begin(to)}
}

// countAll counts the minutes from low to high, inclusive, newest first. current is the
// minute of now.
func (b *Books) countAll(ctx context.Context, a *account, low, high, current int64) error {
	if a.second != nil {
		return b.countEither(ctx, a, low, high, current)
	}
	for m := high; m >= low; m-- {
		readings, err := b.cfg.Source.Read(ctx, b.query(a.indicator, m, m+1))
		if err != nil {
			return err
		}
		if err := b.put(a, m, readings, false); err != nil {
			return err
		}
	}
	return nil
}

// put sets what one minute counted: the versions of a service share its promise. Without
// readings it is unknown. second says of which source they are.
func (b *Books) put(a *account, m int64, readings []assay.Reading, second bool) error {
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
		if !second && r.EventTime.After(k.told) {
			k.told = r.EventTime
		}
	}
	put := k.ring.Put
	if second {
		put = k.ring.PutSecond
	}
	if err := put(begin(m), c); err != nil && !errors.Is(err, slo.ErrTooOld) {
		return assay.Errorf(assay.CodeInvalid, "minute %s cannot be kept: %w", begin(m).Format(time.RFC3339), err)
	}
	return nil
}
