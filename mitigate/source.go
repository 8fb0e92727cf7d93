package mitigate

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"assay.dev/assay/policy"
	"assay.dev/assay/signal"
)

// readEither reads a signal, from its second source if the first is of no use and the
// second is; why says why.
func (c *Controller) readEither(ctx context.Context, s *Strategy, sig policy.StrategySignal, now time.Time) (values []Value, why string) {
	return s.Either(&sig, now, func(query string) []Value { return c.read(ctx, s, sig, query, now) })
}

// Either is what a signal's sources tell, read by their queries: the second if the first is of
// no use and the second is; why says why. It is never of both: two sources may count
// differently, and their parts would not compare.
func (s *Strategy) Either(sig *policy.StrategySignal, now time.Time, read func(query string) []Value) (values []Value, why string) {
	values = read(sig.Query)
	if sig.Fallback == "" {
		return values, ""
	}
	if why = s.unfit(sig.Name, values, now); why == "" {
		return values, ""
	}
	second := read(sig.Fallback)
	if s.unfit(sig.Name, second, now) != "" {
		return values, "" // neither is of use: what is said of the first is what there is to repair
	}
	return second, why
}

// burnRead begins the name that the burn of an objective has among what was read from a second
// source.
const burnRead = "the burn of "

// spent is what the first source says is spent of the budget in a minute, below 0 if that is
// not known: what an action did is not told by a change of the sender.
func (in *Inputs) spent() float64 {
	if slices.ContainsFunc(in.Second, func(x Second) bool { return strings.HasPrefix(x.Name, burnRead) }) {
		return -1
	}
	return in.Burn
}

// read asks for the values of a signal now.
func (c *Controller) read(ctx context.Context, s *Strategy, sig policy.StrategySignal, query string, now time.Time) (values []Value) {
	q := signal.GaugeQuery{Namespace: s.Namespace, Expr: query, By: sig.By, Time: now, MaxAge: s.Spec.MaxAge.Value()}
	list, err := c.cfg.Gauges.Gauge(ctx, q)
	if err != nil {
		c.cfg.Log.Warn("a signal cannot be read", "strategy", s.Name, "signal", sig.Name, "error", err)
	}
	for _, g := range list {
		if math.IsNaN(g.Value) || math.IsInf(g.Value, 0) {
			g.Value, g.Completeness = 0, 0 // a record has no room for what is no number; it is unknown
		}
		values = append(values, Value{Name: sig.Name, Scope: g.Scope, Value: g.Value, Time: g.Time.UTC(), Completeness: g.Completeness})
	}
	return values
}
