package slo

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
	_ "time/tzdata" // calendar windows mean the same on a machine without zone files
)

// MaxWindow is the longest time window an objective may have: a quarter. A
// longer one needs coarser levels than one-minute slots.
const MaxWindow = 92 * 24 * time.Hour

// Duration is OpenSLO's shorthand: a number and one of m (minutes), h, d, w,
// M (months), Q (quarters), Y (years). Days and longer are civil: a day is from
// one wall-clock time to the same on the next date, 23 to 25 hours long.
type Duration struct {
	N    int
	Unit byte // one of m h d w M Q Y
}

var durationForm = regexp.MustCompile(`^([1-9][0-9]{0,5})([mhdwMQY])$`)

// UnmarshalText reads for example 30d.
func (d *Duration) UnmarshalText(text []byte) error {
	m := durationForm.FindSubmatch(text)
	if m == nil {
		return errors.New("it is not a whole number and one of m (minutes), h, d, w, M (months), Q, Y, for example 28d")
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return err
	}
	d.N, d.Unit = n, m[2][0]
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the shorthand, for example 30d.
func (d Duration) String() string { return strconv.Itoa(d.N) + string(rune(d.Unit)) }

// civil reports whether d is counted in dates instead of in seconds.
func (d Duration) civil() bool { return d.Unit != 'm' && d.Unit != 'h' }

// Longest is the most time that d can take, in any zone and season.
func (d Duration) Longest() time.Duration {
	const day = 24 * time.Hour
	per := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': day, 'w': 7 * day, 'M': 31 * day, 'Q': 92 * day, 'Y': 366 * day}[d.Unit]
	if time.Duration(d.N) > math.MaxInt64/per {
		return math.MaxInt64
	}
	return time.Duration(d.N) * per
}

// add moves t by k times d. A month later than the 31st is the last day of a
// shorter month; the anchor is always the original date, so a window that
// starts on the 31st does not drift to the 28th for good.
func (d Duration) add(t time.Time, k int) time.Time {
	n := k * d.N
	switch d.Unit {
	case 'm':
		return t.Add(time.Duration(n) * time.Minute)
	case 'h':
		return t.Add(time.Duration(n) * time.Hour)
	case 'd':
		return t.AddDate(0, 0, n)
	case 'w':
		return t.AddDate(0, 0, 7*n)
	case 'Q':
		n *= 3
	case 'Y':
		n *= 12
	}
	y, m, day := t.Date()
	lastDay := time.Date(y, m+time.Month(n)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return time.Date(y, m+time.Month(n), min(day, lastDay), t.Hour(), t.Minute(), t.Second(), 0, t.Location())
}

// Window is the time over which an objective is judged. A rolling window ends
// now; a calendar window is one of a row of equal civil spans from Start on.
type Window struct {
	Duration Duration  `json:"duration"`
	Rolling  bool      `json:"rolling"`
	Start    time.Time `json:"start,omitzero"` // of the first calendar window, in its zone; zero if rolling
}

// ErrNotStarted says that a calendar window's first span lies in the future.
var ErrNotStarted = errors.New("the objective's calendar starts later")

// Bounds returns the span [from, to) that counts at now. A rolling span ends
// at now. A calendar span is the one that holds now; its end lies ahead.
func (w Window) Bounds(now time.Time) (from, to time.Time, err error) {
	if w.Rolling {
		return w.Duration.add(now.UTC(), -1), now.UTC(), nil
	}
	if now.Before(w.Start) {
		return time.Time{}, time.Time{}, fmt.Errorf("%w, on %s", ErrNotStarted, w.Start.Format(time.RFC3339))
	}
	// Spans are no longer than Longest but for the hours by which clocks were
	// set back since Start; two spans of slack cover every zone's history.
	k := max(0, int(now.Sub(w.Start)/w.Duration.Longest())-2)
	from = w.Duration.add(w.Start, k)
	for {
		to = w.Duration.add(w.Start, k+1)
		if now.Before(to) {
			return from, to, nil
		}
		from, k = to, k+1
	}
}

// Longest is the most time that the window can span.
func (w Window) Longest() time.Duration {
	if w.Duration.civil() && !w.Rolling {
		return w.Duration.Longest() + time.Hour // when clocks go back
	}
	return w.Duration.Longest()
}
