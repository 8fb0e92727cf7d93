package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// fold adds to s every new pair of readings, and returns what each indicator is
// worth at now. A pair is the canary's and the control's reading of the same
// interval. Readings that were folded before are passed over, so handing the same
// one twice changes nothing; a reading without its partner waits for it.
func fold(p Plan, tests []test, s *State, readings []assay.Reading, now time.Time) ([]assay.Signal, error) {
	for _, r := range readings {
		if err := r.Check(); err != nil {
			return nil, err
		}
	}
	var signals []assay.Signal
	for i, ind := range p.Indicators {
		w := &s.Watches[i]
		refused := ""
		for _, pair := range pairs(p, ind.Name, readings) {
			canary, control := pair[0], pair[1]
			if canary.Start.Before(w.Through) {
				continue
			}
			if c := min(canary.Completeness, control.Completeness); c < p.MinCompleteness {
				if now.Sub(canary.End) > p.MaxAge {
					continue // nobody will complete it any more: it stays a hole
				}
				refused = fmt.Sprintf("%.0f %% of its sources reported, %.0f %% are needed", 100*c, 100*p.MinCompleteness)
				w.Completeness = c
				break // it may still be completed: wait for it
			}
			if why, err := w.add(ind, tests, i, canary, control); err != nil {
				return nil, err
			} else if why != "" {
				refused = why
				break
			}
		}
		signals = append(signals, w.signal(p, ind.Name, refused, now))
	}
	return signals, nil
}

// pairs matches the readings of one indicator by interval, oldest first.
func pairs(p Plan, indicator string, readings []assay.Reading) (out [][2]assay.Reading) {
	type interval struct{ start, end int64 }
	of := func(r assay.Reading) interval { return interval{r.Start.UnixNano(), r.End.UnixNano()} }
	mine := func(r assay.Reading, version string) bool {
		return r.Indicator == indicator && r.Version == version && r.Service == p.Service && r.Environment == p.Environment
	}
	control := map[interval]assay.Reading{}
	for _, r := range readings {
		if mine(r, p.Control) {
			control[of(r)] = r
		}
	}
	for _, r := range readings {
		if c, ok := control[of(r)]; ok && mine(r, p.Canary) {
			out = append(out, [2]assay.Reading{r, c})
		}
	}
	slices.SortStableFunc(out, func(x, y [2]assay.Reading) int { return x[0].Start.Compare(y[0].Start) })
	return out
}

// add folds one pair into the tests of an indicator. It returns why the pair
// cannot be used, "" if it was.
func (w *Watch) add(ind Indicator, tests []test, indicator int, canary, control assay.Reading) (string, error) {
	next := slices.Clone(w.Tests)
	for _, t := range tests {
		if t.indicator != indicator {
			continue
		}
		x, ok1 := count(canary, t.bound)
		y, ok2 := count(control, t.bound)
		if !ok1 || !ok2 {
			return fmt.Sprintf("its histogram has no bound at %s", number(t.bound)), nil
		}
		var err error
		if next[t.slot], err = t.comparison.Update(next[t.slot], infer.Pair{Treated: x, Control: y}); err != nil {
			return "", err
		}
	}
	w.Tests = next
	w.Through = canary.End.UTC()
	w.StepRequests += canary.Total
	w.Completeness = min(canary.Completeness, control.Completeness)
	if older := oldest(canary.EventTime, control.EventTime).UTC(); older.After(w.EventTime) {
		w.EventTime = older
	}
	return "", nil
}

func oldest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// count is the bad events of r: those above bound, or those that were not good.
func count(r assay.Reading, bound float64) (infer.Count, bool) {
	if bound == 0 {
		return infer.Count{Events: r.Bad(), Exposure: r.Total}, true
	}
	for _, b := range r.Buckets {
		if b.LE == bound {
			return infer.Count{Events: r.Total - b.Count, Exposure: r.Total}, true
		}
	}
	return infer.Count{}, false
}

// signal says whether the indicator may be decided upon.
func (w *Watch) signal(p Plan, name, refused string, now time.Time) assay.Signal {
	s := assay.Signal{Indicator: name, Known: true, Completeness: w.Completeness}
	if w.EventTime.IsZero() {
		s.Known, s.Reason = false, "no readings of both versions yet"
	} else {
		age := now.Sub(w.EventTime)
		s.AgeSeconds = age.Seconds()
		if age > p.MaxAge {
			s.Known, s.Reason = false, fmt.Sprintf("the newest event is %s old, at most %s is fresh", age.Round(time.Millisecond), p.MaxAge)
		}
		if age < -p.MaxAge {
			s.Known, s.Reason = false, fmt.Sprintf("the newest event is %s in the future", (-age).Round(time.Millisecond))
		}
	}
	if refused != "" {
		s.Known, s.Reason = false, strings.TrimSpace(refused)
	}
	return s
}
