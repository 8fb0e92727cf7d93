package decide

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// Measure is what an outcome is measured by.
type Measure struct {
	Name  string
	Share bool // values are shares of the whole error budget, and written in percent
}

// value writes one in words.
func (m Measure) value(v float64) string {
	if m.Share {
		return plain(100*v) + " %"
	}
	return short(v)
}

// plain writes a percentage without an exponent: of much nobody counts the decimals, and
// less than a hundred-thousandth is nothing.
func plain(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a < 1e-5:
		return "0"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// difference writes the difference of two: of shares in points of a percent.
func (m Measure) difference(v float64) string {
	if m.Share {
		return plain(100 * v)
	}
	return short(v)
}

// points writes a difference with its unit.
func (m Measure) points(v float64) string {
	if m.Share {
		return m.difference(v) + " points"
	}
	return m.difference(v)
}

// rounding is the difference, as a part of what is compared, that is left over from
// calculating with 53 bits and says nothing.
const rounding = 1e-9

// Aftermath is what came of one action: what was measured, held against what would have
// been. confounded names another change that fell into the window, empty if none did: then
// nobody can say whose effect it was.
func Aftermath(a assay.Action, h Hypothesis, by Measure, seen infer.Attribution, confounded string, now time.Time) assay.ActionOutcome {
	out := assay.ActionOutcome{Action: a, Time: now.UTC(), Effect: seen.Effect, Hypothesis: string(h)}
	if seen.Placebos > 0 && !math.IsInf(seen.Low, 0) && !math.IsInf(seen.High, 0) && seen.Would != 0 {
		out.Change, out.Interval = new(seen.Change), [2]float64{seen.Low, seen.High}
	}
	words := fmt.Sprintf("%s was %s before and %s after, and would have been %s: %s (p %.2g for better, %.2g for worse, among %d untreated windows, %d of them after %s)",
		by.Name, by.value(seen.Before), by.value(seen.After), by.value(seen.Would), by.change(seen), seen.P, seen.PHarm, seen.Placebos, seen.Similar, similar(seen))
	if seen.Promised > 0 {
		words += fmt.Sprintf("; when it was taken, %s less was expected of it", by.points(seen.Promised))
	}
	if seen.Unseen {
		words += "; it was never that extreme before, so this is held against its staying so"
	}
	if seen.Grown > 0 {
		words += fmt.Sprintf("; had it gone on growing as before, it would have been %s", by.value(seen.Grown))
	}
	if out.Change == nil {
		words = fmt.Sprintf("%s cannot be held against what would have been: %s", by.Name, seen.Why)
	}
	switch {
	case confounded != "":
		out.Effect, out.Reason = assay.EffectConfounded, confounded+" fell into the window, so nobody can say whose effect this is; "+words
	case out.Change != nil && seen.Why != "":
		out.Reason = seen.Why + "; " + words
	default:
		out.Reason = words
	}
	return out
}

// similar says what is meant by windows like the one that is judged.
func similar(seen infer.Attribution) string {
	if seen.Unseen {
		return "a smaller excursion as old"
	}
	return "a similar excursion"
}

// resampled says what resampled pasts say more, if there are any.
func (m Measure) resampled(seen infer.Attribution) string {
	b := seen.Bootstrap
	if b == nil {
		return ""
	}
	least := 1 / float64(b.Paths+1) // so many pasts cannot tell less from nothing
	return fmt.Sprintf(", 80 %% between %s and %s, better with a probability of %.3g %%, in %d resampled pasts", m.difference(seen.Low80), m.difference(seen.High80), 100*min(max(seen.Helped, least), 1-least), b.Paths)
}

// change says by how much it differs from what would have been, with intervals, or that it
// does not.
func (m Measure) change(seen infer.Attribution) string {
	size := max(math.Abs(seen.Before), math.Abs(seen.After), math.Abs(seen.Would))
	if max(math.Abs(seen.Change), math.Abs(seen.Low), math.Abs(seen.High)) <= rounding*size {
		return "no difference"
	}
	side := " less"
	if seen.Change > 0 {
		side = " more"
	}
	return fmt.Sprintf("%s%s, 95 %% between %s and %s%s", m.points(math.Abs(seen.Change)), side, m.difference(seen.Low), m.difference(seen.High), m.resampled(seen))
}

// Gone is the share of what was bad that went away, as Learn takes it. What had no effect made
// nothing worse either: it is called so where the estimate falls to that side more than to the
// other, and to learn that as harm would be to learn noise.
func Gone(seen infer.Attribution) float64 {
	if seen.Would <= 0 {
		return 0
	}
	least := -10.0
	if seen.Effect == assay.EffectNone {
		least = 0
	}
	return min(max(-seen.Change/seen.Would, least), 1)
}
