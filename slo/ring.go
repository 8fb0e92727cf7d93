package slo

import (
	"errors"
	"math"
	"slices"
	"time"
)

// Slot is the time one entry of a Ring covers.
const Slot = time.Minute

// Counts are events in a span: how many there were, and how many were good.
type Counts struct {
	Good  uint64 `json:"good"`
	Total uint64 `json:"total"`
}

// Bad is the number of events that were not good.
func (c Counts) Bad() uint64 { return c.Total - c.Good }

// Sum is what a Ring knows about a span: the counts of its known minutes, how
// many minutes those are, and how many the span has.
type Sum struct {
	Counts
	Known   int `json:"known"`
	Minutes int `json:"minutes"`
	Second  int `json:"second,omitempty"` // of the known ones, those that rest on the indicator's second source
}

// Completeness is the share of minutes with data, 0 to 1; 0 of an empty span.
func (s Sum) Completeness() float64 {
	if s.Minutes == 0 {
		return 0
	}
	return float64(s.Known) / float64(s.Minutes)
}

// Errors of Ring.Put and Ring.Add. None of them changes the ring.
var (
	// ErrTooOld means that the minute has left the window for good.
	ErrTooOld = errors.New("the minute is older than the ring keeps")
	// ErrImpossible means that more events were good than there were, or that the counts overflow.
	ErrImpossible = errors.New("more events are good than there are, or they overflow")
)

// A Ring keeps counts of each of the last n minutes. A reading that comes late
// or out of order lands in its own minute. All memory is taken by NewRing: 17
// bytes a minute, 734 kB for 30 days. Owned by one goroutine.
//
// The ring believes what it is told: differences across counter resets, and
// duplicates of a sample, are resolved where the counts are made.
type Ring struct {
	good, total []uint64
	from        []source
	head        int64 // newest minute since 1970 that was put, valid if used
	used        bool
}

// source is where a minute's counts are from.
type source byte

const (
	unknown source = iota
	first
	second
)

// NewRing returns a ring that holds the minutes of span, at least one.
func NewRing(span time.Duration) *Ring {
	n := int(max(1, (span+Slot-1)/Slot))
	return &Ring{good: make([]uint64, n), total: make([]uint64, n), from: make([]source, n)}
}

// Minutes is how many minutes the ring keeps.
func (r *Ring) Minutes() int { return len(r.from) }

// Head is the newest minute that has data; ok is false when none has.
func (r *Ring) Head() (minute time.Time, ok bool) { return time.Unix(r.head*60, 0).UTC(), r.used }

// Put sets the counts of the minute that holds t, whatever was there: putting
// the same minute again, better known, corrects it.
func (r *Ring) Put(t time.Time, c Counts) error { return r.put(t, c, first) }

// PutSecond is Put for counts of the indicator's second source: a minute rests on one
// source, the one that was put last.
func (r *Ring) PutSecond(t time.Time, c Counts) error { return r.put(t, c, second) }

func (r *Ring) put(t time.Time, c Counts, from source) error {
	m := minuteOf(t)
	if c.Good > c.Total {
		return ErrImpossible
	}
	if r.used && m <= r.head-int64(len(r.from)) {
		return ErrTooOld
	}
	r.advance(m)
	i := r.slot(m)
	r.good[i], r.total[i], r.from[i] = c.Good, c.Total, from
	return nil
}

// Add adds to the counts of the minute that holds t. It is not idempotent: a
// caller that may repeat itself uses Put.
func (r *Ring) Add(t time.Time, c Counts) error {
	had, _ := r.At(t)
	if c.Good > c.Total || math.MaxUint64-had.Total < c.Total {
		return ErrImpossible
	}
	return r.Put(t, Counts{Good: had.Good + c.Good, Total: had.Total + c.Total})
}

// Forget makes the minute that holds t unknown, if the ring keeps it.
func (r *Ring) Forget(t time.Time) {
	if m := minuteOf(t); r.holds(m) {
		i := r.slot(m)
		r.good[i], r.total[i], r.from[i] = 0, 0, unknown
	}
}

// At returns the counts of the minute that holds t; ok is false if it is unknown.
func (r *Ring) At(t time.Time) (c Counts, ok bool) {
	m := minuteOf(t)
	if !r.holds(m) {
		return Counts{}, false
	}
	i := r.slot(m)
	return Counts{Good: r.good[i], Total: r.total[i]}, r.from[i] != unknown
}

// Second reports whether the minute that holds t rests on the indicator's second source.
func (r *Ring) Second(t time.Time) bool {
	m := minuteOf(t)
	return r.holds(m) && r.from[r.slot(m)] == second
}

// Span is a stretch of whole minutes, [From, To).
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Seconds are the newest stretches that begin in [from, to) and rest on the indicator's
// second source, at most so many, oldest first.
func (r *Ring) Seconds(from, to time.Time, most int) (out []Span) {
	for m := min(ceilMinute(to), r.head+1) - 1; m >= ceilMinute(from) && r.holds(m); m-- {
		at := time.Unix(m*60, 0).UTC()
		switch n := len(out); {
		case !r.Second(at):
		case n > 0 && out[n-1].From.Equal(at.Add(Slot)):
			out[n-1].From = at
		case n == most:
			slices.Reverse(out)
			return out
		default:
			out = append(out, Span{at, at.Add(Slot)})
		}
	}
	slices.Reverse(out)
	return out
}

// Sum adds up the minutes that begin in [from, to). Minutes that the ring does
// not keep, past or future, are unknown: they count in Minutes and not in Known.
func (r *Ring) Sum(from, to time.Time) Sum {
	lo, hi := ceilMinute(from), ceilMinute(to)
	if hi <= lo {
		return Sum{}
	}
	s := Sum{Minutes: int(hi - lo)}
	if !r.used {
		return s
	}
	lo, hi = max(lo, r.head-int64(len(r.from))+1), min(hi, r.head+1)
	for m := lo; m < hi; m++ {
		i := r.slot(m)
		if r.from[i] == unknown {
			continue
		}
		s.Good += r.good[i]
		s.Total += r.total[i]
		if s.Known++; r.from[i] == second {
			s.Second++
		}
	}
	return s
}

// Slices judges spans of width minutes, aligned to the hour and fully inside
// [from, to): a slice is good when at least share of its events are. Counts and
// minutes of the result are slices; one with an unknown minute is unknown, and
// one without events is good.
func (r *Ring) Slices(from, to time.Time, width time.Duration, share Ratio) Sum {
	var out Sum
	step := int64(max(1, width/Slot))
	lo, hi := ceilMinute(from), ceilMinute(to)
	lo += ((-lo)%step + step) % step
	for m := lo; m+step <= hi; m += step {
		out.Minutes++
		s := r.Sum(time.Unix(m*60, 0), time.Unix((m+step)*60, 0))
		if s.Known < s.Minutes {
			continue
		}
		out.Known++
		out.Total++
		if s.Second > 0 {
			out.Second++
		}
		if s.Bad() <= (One - share).Of(s.Total) {
			out.Good++
		}
	}
	return out
}

// advance makes m the newest minute if it is, and forgets what it pushes out.
func (r *Ring) advance(m int64) {
	if !r.used {
		r.head, r.used = m, true
		return
	}
	if m <= r.head {
		return
	}
	// A jump of a whole turn clears every slot once, not once a minute.
	for k := max(r.head+1, m-int64(len(r.from))+1); k <= m; k++ {
		i := r.slot(k)
		r.good[i], r.total[i], r.from[i] = 0, 0, unknown
	}
	r.head = m
}

func (r *Ring) holds(m int64) bool {
	return r.used && m <= r.head && m > r.head-int64(len(r.from))
}

func (r *Ring) slot(m int64) int {
	n := int64(len(r.from))
	return int(((m % n) + n) % n)
}

func minuteOf(t time.Time) int64 {
	s := t.Unix()
	return (s - ((s%60)+60)%60) / 60
}

// ceilMinute is the first minute that begins at or after t.
func ceilMinute(t time.Time) int64 {
	m := minuteOf(t)
	if t.After(time.Unix(m*60, 0)) {
		m++
	}
	return m
}
