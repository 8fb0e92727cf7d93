package budget

import (
	"context"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
)

// An indicator may have a second source, which is read while the first tells nothing. Each
// minute rests on one of the two, and which one follows from the series alone: so counting
// again gives the same, and what came late from the first after all takes its minutes back.
//
// A counter that comes back has grown by what happened while it was silent, and the minute
// of its return would count that once more. So the minutes beside a silence rest on the
// second source too, and a minute whose growth began before one that rests on the other
// source is unknown sooner than counted twice.

const (
	// settled is how many minutes old a minute is, at the least, to be called silent: what is
	// under way still comes.
	settled = 2
	// reach is how many minutes before one are looked at to know what its growth began with.
	reach = int64(signal.Lookback / slo.Slot)
)

// countEither counts the minutes from low to high, inclusive, each from one source.
func (b *Books) countEither(ctx context.Context, a *account, low, high, current int64) error {
	from := low - reach - 1
	first, err := b.minutes(ctx, a.indicator, from, high+1)
	if err != nil {
		return err
	}
	t := twoSources{from: from, last: current - settled, first: first, second: make([][]assay.Reading, len(first))}
	if t.silence(high + 1) {
		if t.second, err = b.minutes(ctx, *a.second, from, high+1); err != nil {
			return err
		}
	}
	for m := high; m >= low; m-- {
		readings, second := t.of(m)
		if err := b.put(a, m, readings, second); err != nil {
			return err
		}
	}
	return nil
}

// minutes are the readings of each minute from low to high, inclusive.
func (b *Books) minutes(ctx context.Context, of signal.Indicator, low, high int64) ([][]assay.Reading, error) {
	return signal.ReadSteps(ctx, b.cfg.Source, b.query(of, low, low+1), slo.Slot, int(high-low+1))
}

// twoSources is what both told in a row of minutes, of which from is the number of the first.
type twoSources struct {
	from, last    int64 // last is the newest minute that may be called silent
	first, second [][]assay.Reading
}

// silent reports whether the first source tells nothing of a minute.
func (t twoSources) silent(m int64) bool { return m <= t.last && len(t.first[m-t.from]) == 0 }

// silence reports whether any minute up to m is silent.
func (t twoSources) silence(m int64) bool {
	for ; m >= t.from; m-- {
		if t.silent(m) {
			return true
		}
	}
	return false
}

// of is what a minute counted, and whether its second source did; nothing if it is unknown.
func (t twoSources) of(m int64) (readings []assay.Reading, second bool) {
	second = t.onSecond(m)
	if second && !t.twice(m, second) {
		return t.second[m-t.from], true
	}
	if !t.twice(m, false) {
		return t.first[m-t.from], false
	}
	return nil, false
}

// onSecond reports whether a minute rests on the second source: it tells something, and the
// first is silent in the minute or beside it, where it may have told of a part of it.
func (t twoSources) onSecond(m int64) bool {
	return len(t.second[m-t.from]) > 0 && (t.silent(m-1) || t.silent(m) || t.silent(m+1))
}

// twice reports whether what a source tells of a minute has grown since before one that
// rests on the other source. Between two neighbours there is no more than the time between
// two samples, and no count is without that.
func (t twoSources) twice(m int64, second bool) bool {
	own, other := t.first, t.onSecond
	if second {
		own, other = t.second, func(k int64) bool { return !t.onSecond(k) && len(t.first[k-t.from]) > 0 }
	}
	rests := false
	for k := m - 1; k >= m-reach; k-- {
		rests = rests || other(k)
		if len(own[k-t.from]) > 0 {
			return rests && k < m-1
		}
	}
	return false // its growth begins in the minute
}
