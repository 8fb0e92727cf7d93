package mitigate

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// calmWindow is for how long an autoscaler must have wanted less before it gets it, unless
// the strategy declares another: bursts that come a few times in an hour find the capacity
// of the one before, which costs less than to be short again while replicas start.
const calmWindow = 20 * time.Minute

// stabilise calms an autoscaler that exists: its recommendation passes through the
// same damping as everything else. Where the autoscaler gives a metric instead, the
// recommendation is HPA's own: ceil(current × metric ⁄ target), and replicas that do
// not report count as 0 when it would scale up and as 100 % when it would scale down,
// so that missing telemetry makes it more careful in both directions.
func (v *view) stabilise(l *policy.StabiliseLaw) (f finding) {
	f.indicator = "replicas"
	current, there := v.setting(&f, assay.LeverReplicas, "")
	if !there {
		return f
	}
	want, why := 0.0, ""
	if v.declared("recommended") {
		r, ok := v.need(&f, "recommended", "")
		if !ok {
			return f
		}
		want, why = r, fmt.Sprintf("the autoscaler recommends %s", number(r))
	} else {
		metric, ok := v.need(&f, "metric", "")
		if !ok {
			return f
		}
		missing, _ := v.get("missing", "")
		want = Recommend(current, metric, l.Target, missing)
		why = fmt.Sprintf("the metric is %s for a target of %s with %s of %s replicas missing: %s", number(metric), number(l.Target), number(missing), number(current), number(want))
	}
	f.notes = append(f.notes, why)
	d := newDamping(Up, float64(l.Min), float64(l.Max))
	d.Whole = true
	d.Relax.Window = calmWindow
	set := v.settle(d, assay.LeverReplicas, "", current, want)
	f.trouble = want > current
	f.clues = append(f.clues, overloadClue(want, current))
	if want > current {
		f.burn = burnOf(1 - current/want)
	}
	if set.Held != "" {
		f.held = append(f.held, "replicas stay at "+number(current)+": "+set.Held)
	}
	if set.To == current {
		return f
	}
	o := decide.Option{
		Action: v.action(assay.ActionAdjust, assay.LeverReplicas, "", current, set.To), Reversible: true,
		Words: fmt.Sprintf("%s replicas instead of %s: %s", number(set.To), number(current), why),
		Gone:  map[decide.Hypothesis]decide.Size{decide.Overload: sized(min(1, max(0, set.To-current)/max(want-current, 1)), 0.2)},
	}
	if set.To < current {
		o.Action.Kind, o.Gone = assay.ActionRestore, nil
	}
	o.Rule = &decide.Rule{Fires: true, Words: o.Words}
	f.options = append(f.options, o)
	return f
}

// Recommend is what HPA's rule asks for: current replicas, of which missing do not
// report, the mean metric of those that do, and its target. Inside a tolerance of
// 10 % it is current.
func Recommend(current, metric, target, missing float64) float64 {
	if target <= 0 || current <= 0 {
		return current
	}
	ready := max(current-missing, 0)
	ratio := metric / target
	if missing > 0 {
		silent := target // scaling down: they are taken to be as busy as they should be
		if ratio > 1 {
			silent = 0
		}
		again := (ready*metric + missing*silent) / current / target
		if (again-1)*(ratio-1) <= 0 { // counted so, it would turn round: nothing is done
			return current
		}
		ratio = again
	}
	if math.Abs(ratio-1) <= 0.1 {
		return current
	}
	return math.Ceil(current*ratio - 1e-9)
}
