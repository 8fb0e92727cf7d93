package slo

import (
	"math/big"
	"time"
)

// Budget is what an objective allows to go wrong among the events of a window.
type Budget struct {
	Target Ratio `json:"target"`
	Sum
}

// Allowed is the number of events that may be bad, rounded down.
func (b Budget) Allowed() uint64 { return (One - b.Target).Of(b.Total) }

// Remaining is how many more events may be bad; below zero it says by how many
// the budget is overdrawn.
func (b Budget) Remaining() int64 {
	allowed, bad := b.Allowed(), b.Bad()
	if bad > allowed {
		return -int64(min(bad-allowed, 1<<63-1))
	}
	return int64(min(allowed-bad, 1<<63-1))
}

// Spent is the exact share of the budget that is gone, 1 when nothing is left
// and more when it is overdrawn. Without events nothing is spent. It is the
// burn rate over the whole window.
func (b Budget) Spent() *big.Rat { return spent(b.Counts, b.Target) }

// spent is bad / (total × (1 − target)).
func spent(c Counts, target Ratio) *big.Rat {
	if c.Total == 0 {
		return new(big.Rat)
	}
	bad := new(big.Int).Mul(new(big.Int).SetUint64(c.Bad()), big.NewInt(ratioDen))
	allowed := new(big.Int).Mul(new(big.Int).SetUint64(c.Total), big.NewInt(int64(One-target)))
	return new(big.Rat).SetFrac(bad, allowed) // a target is below 1: never zero
}

// Burn is how fast a budget is spent over a span: 1 spends exactly the budget
// when it goes on for the whole window.
type Burn struct {
	Span   time.Duration `json:"span"`
	Target Ratio         `json:"target"`
	Sum
}

// Rate is the exact burn rate of the known minutes, 0 without events.
func (b Burn) Rate() *big.Rat { return spent(b.Counts, b.Target) }

// Float is Rate for display and charts.
func (b Burn) Float() float64 {
	f, _ := b.Rate().Float64()
	return f
}

// State is what can be said about an alert.
type State string

// States of an alert. Unknown is not OK: it says that nobody can tell.
const (
	StateOK      State = "ok"
	StateFiring  State = "firing"
	StateUnknown State = "unknown"
)

// Alert is one row of the multi-window, multi-burn-rate table: it fires when
// the budget burns at least Factor times too fast over both spans. The long
// span says that it matters, the short one that it is still going on.
type Alert struct {
	Name   string        `json:"name"`
	Factor int64         `json:"factor"`
	Long   time.Duration `json:"long"`
	Short  time.Duration `json:"short"`
}

// DefaultAlerts is the table for windows of about a month. Fourteen times for
// an hour spends 2 % of a 30-day budget, four times for six hours 3.3 %.
var DefaultAlerts = []Alert{
	{Name: "immediate", Factor: 14, Long: time.Hour, Short: 5 * time.Minute},
	{Name: "page", Factor: 4, Long: 6 * time.Hour, Short: 30 * time.Minute},
	{Name: "ticket", Factor: 1, Long: 3 * 24 * time.Hour, Short: 6 * time.Hour},
}

// AlertsWithin returns the alerts whose long span fits into the window.
func AlertsWithin(alerts []Alert, w Window) []Alert {
	var out []Alert
	for _, a := range alerts {
		if a.Long <= w.Longest() {
			out = append(out, a)
		}
	}
	return out
}

// Judge compares two burns with the alert. It fires on what is known, however
// little that is; it is OK only if both spans are at least complete (0 to 1),
// since what is missing might have been bad.
func (a Alert) Judge(long, short Burn, complete float64) State {
	factor := new(big.Rat).SetInt64(a.Factor)
	switch {
	case long.Known == 0 || short.Known == 0:
		return StateUnknown
	case long.Rate().Cmp(factor) >= 0 && short.Rate().Cmp(factor) >= 0:
		return StateFiring
	case long.Completeness() >= complete && short.Completeness() >= complete:
		return StateOK
	}
	return StateUnknown
}

// Budget returns the objective's books at now. Minutes that have not come yet
// are not part of a calendar window's sum.
func (o Objective) Budget(r *Ring, now time.Time) (Budget, error) {
	from, to, err := o.Window.Bounds(now)
	if err != nil {
		return Budget{}, err
	}
	if to.After(now) {
		to = now
	}
	return Budget{Target: o.Target, Sum: o.sum(r, from, to)}, nil
}

// Burn returns how fast the budget was spent over the span that ends at now.
func (o Objective) Burn(r *Ring, span time.Duration, now time.Time) Burn {
	return Burn{Span: span, Target: o.Target, Sum: o.sum(r, now.Add(-span), now)}
}

// sum counts events, or slices for objectives that are judged by slices.
func (o Objective) sum(r *Ring, from, to time.Time) Sum {
	if o.Method == MethodTimeslices {
		return r.Slices(from, to, o.SliceWindow, o.SliceTarget)
	}
	return r.Sum(from, to)
}

// NewRing returns a ring that is long enough for the objective's window and alerts.
func (o Objective) NewRing() *Ring { return NewRing(o.Window.Longest()) }
