package budget

import (
	"errors"
	"fmt"
	"time"

	"assay.dev/assay/slo"
)

// Snapshot is an objective as its books stand.
type Snapshot struct {
	Objective slo.Objective
	Time      time.Time // as of
	// Known says whether the window is complete enough to judge; without it the
	// numbers speak of the known minutes only.
	Known  bool
	Reason string    // why it is not known, one sentence
	Newest time.Time // event time of the newest data; zero if there is none
	// Read is the share of the past that has been read back since the start, 0 to 1.
	Read    float64
	Budget  slo.Budget // events, or slices for objectives that are judged by slices
	Burns   []Burn
	Minutes []Minute // the newest MinutesShown, oldest first
	// Instead is why the newest minutes rest on the indicator's second source, empty if they
	// rest on the first. How many of the window's do is in Budget.
	Instead string
	// Second are the newest SpansShown stretches of the window that rest on the second source.
	Second []slo.Span
}

// Burn is one row of the burn-rate table.
type Burn struct {
	Alert       slo.Alert
	Long, Short slo.Burn
	State       slo.State
}

// Minute is what one minute counted.
type Minute struct {
	Time   time.Time
	Known  bool
	Second bool // it rests on the indicator's second source
	slo.Counts
}

// Snapshots returns all objectives as they stand at now, in their order, each
// without its minutes.
func (b *Books) Snapshots(now time.Time) []Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Snapshot, 0, len(b.accounts))
	for _, a := range b.accounts {
		out = append(out, a.snapshot(now, b.cfg.Complete))
	}
	return out
}

// Snapshot returns one objective with its minutes, and those that rest on its second source. The name is that of its SLO,
// or "slo/index" for one of several. CodeNotFound, or CodeInvalid for the name
// of an SLO that has several.
func (b *Books) Snapshot(name string, now time.Time) (Snapshot, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, err := b.find(name)
	if err != nil {
		return Snapshot{}, err
	}
	s := a.snapshot(now, b.cfg.Complete)
	last := minute(now)
	for m := last - MinutesShown + 1; m <= last; m++ {
		c, known := a.books.ring.At(begin(m))
		s.Minutes = append(s.Minutes, Minute{Time: begin(m), Known: known, Second: a.books.ring.Second(begin(m)), Counts: c})
	}
	if from, _, err := a.objective.Window.Bounds(s.Time); err == nil && a.second != nil {
		s.Second = a.books.ring.Seconds(from, s.Time, SpansShown)
	}
	return s, nil
}

func (a *account) snapshot(now time.Time, complete float64) Snapshot {
	k, at := a.books, now.UTC()
	// The minute that has just begun and has no data yet is not missing.
	if _, known := k.ring.At(at); !known {
		at = at.Truncate(slo.Slot)
	}
	s := Snapshot{Objective: a.objective, Time: at, Newest: k.newest, Read: k.progress(now)}
	for _, alert := range slo.AlertsWithin(slo.DefaultAlerts, a.objective.Window) {
		row := Burn{Alert: alert, Long: a.objective.Burn(k.ring, alert.Long, at), Short: a.objective.Burn(k.ring, alert.Short, at)}
		row.State = alert.Judge(row.Long, row.Short, complete)
		s.Burns = append(s.Burns, row)
	}
	var err error
	s.Budget, err = a.objective.Budget(k.ring, at)
	s.Budget.Target = a.objective.Target
	s.Instead = k.instead(at)
	s.Reason = a.reason(s, err, complete)
	s.Known = s.Reason == ""
	return s
}

// instead says why the newest known minute before an instant rests on the second source, ""
// if it does not.
func (k *books) instead(at time.Time) string {
	for m := minute(at); m > minute(at)-settled-1; m-- {
		switch _, known := k.ring.At(begin(m)); {
		case !known:
		case !k.ring.Second(begin(m)):
			return ""
		case k.told.IsZero():
			return "the first tells nothing"
		default:
			return "the first has told nothing since " + k.told.Format(time.RFC3339)
		}
	}
	return ""
}

// reason says why the budget is not known, "" if it is.
func (a *account) reason(s Snapshot, err error, complete float64) string {
	sum := s.Budget.Sum
	switch {
	case a.refused != nil:
		return "the indicator cannot be counted: " + a.refused.Error()
	case errors.Is(err, slo.ErrNotStarted):
		return err.Error()
	case a.books.failed != nil:
		return "the series cannot be read: " + a.books.failed.Error()
	case sum.Completeness() >= complete:
		return ""
	case sum.Minutes == 0:
		return "the window has only begun"
	case s.Read < 1:
		return fmt.Sprintf("the past is being read back: %.0f %% so far", 100*s.Read)
	case sum.Known == 0 && s.Newest.IsZero():
		return "there is no data: no series match the indicator"
	case sum.Known == 0:
		return "there is no data in the window; the newest is of " + s.Newest.Format(time.RFC3339)
	}
	unit := "minutes"
	if a.objective.Method == slo.MethodTimeslices {
		unit = "slices"
	}
	return fmt.Sprintf("only %d of the window's %d %s have data; %.0f %% are needed", sum.Known, sum.Minutes, unit, 100*complete)
}
