package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/term"
)

// Widths of the pictures beside the path of the evidence, in columns.
const (
	barColumns   = 20
	rateColumns  = 24
	ratioColumns = 25
)

// rolloutFigures are what the page of a rollout shows beside its evidence: how far both
// kinds of evidence came, the ratio of the error rates, both versions' errors and
// latencies, the mix of the traffic, and how much longer it takes.
func rolloutFigures(r api.Rollout) (out []string) {
	d := r.Decision
	if d == nil {
		return nil
	}
	out = append(out, fmt.Sprintf("harm    %s %s of %s    safety %s %s of %s",
		term.Bar(d.Harm/d.AbortAt, barColumns), eValue(d.Harm), eValue(d.AbortAt), term.Bar(d.Safe/d.ShipAt, barColumns), eValue(d.Safe), eValue(d.ShipAt)))
	if i := slices.IndexFunc(d.Tests, func(t assay.TestValue) bool { return t.Bound == 0 && t.Measure == "" }); i >= 0 {
		out = append(out, ratioLine(d.Tests[i], r.Plan.Margin))
	}
	for _, t := range d.Tests {
		if t.Measure != "" {
			out = append(out, measureLine(r, t))
		}
	}
	canary, control := rates(r.Evidence(), func(p api.PathPoint) assay.Rate { return p.Canary }), rates(r.Evidence(), func(p api.PathPoint) assay.Rate { return p.Control })
	out = append(out, fmt.Sprintf("errors  %s %s %s    %s %s %s", r.Plan.Canary, canary, share(r.Canary), r.Plan.Control, control, share(r.Control)))
	for _, l := range r.Latencies {
		if line := latencyLine(r, l); line != "" {
			out = append(out, line)
		}
	}
	if d.Mix != nil {
		out = append(out, "traffic "+d.Mix.Words)
	}
	return append(out, "to go   "+remainingWords(*d))
}

// ratioLine draws the ratio of two rates on a scale of factors, with the interval that
// holds at every look and the ratio that is too bad to ship.
func ratioLine(t assay.TestValue, margin float64) string {
	ratio := math.NaN()
	if t.Canary.Total > 0 && t.Control.Total > 0 && t.Control.Bad > 0 {
		ratio = float64(t.Canary.Bad) / float64(t.Canary.Total) / (float64(t.Control.Bad) / float64(t.Control.Total))
	}
	ends := [2]float64{math.Inf(-1), math.Inf(1)} // of the logarithm
	if t.RatioLow > 0 {
		ends[0] = math.Log(t.RatioLow)
	}
	if t.RatioHigh > 0 {
		ends[1] = math.Log(t.RatioHigh)
	}
	reach := math.Log(4 * max(margin, 1))
	words := "no ratio yet"
	if !math.IsNaN(ratio) {
		words = fmt.Sprintf("%.2g× the old errors (%s at every look); ┊ %.2g× is too bad", ratio, ratioInterval(t), margin)
	}
	return fmt.Sprintf("ratio  [%s] %s", term.Interval(math.Log(ratio), ends[0], ends[1], math.Log(margin), -reach, reach, ratioColumns), words)
}

// measureLine is how far both versions are apart in a count, value or gauge, on the scale of
// ratioLine.
func measureLine(r api.Rollout, t assay.TestValue) string {
	margin := cmp.Or(t.Margin, r.Plan.Margin)
	if t.Less && t.Measure == assay.MeasureCount || t.Less && t.Measure == assay.MeasureTime {
		margin = 1 / margin
	}
	ends := [2]float64{math.Inf(-1), math.Inf(1)}
	if t.RatioLow > 0 {
		ends[0] = math.Log(t.RatioLow)
	}
	if t.RatioHigh > 0 {
		ends[1] = math.Log(t.RatioHigh)
	}
	reach, at := math.Log(4*max(margin, 1/margin)), math.NaN()
	if t.Ratio > 0 {
		at = math.Log(t.Ratio)
	}
	return fmt.Sprintf("%-7s[%s] %s %s    %s %s (ratio %s at every look)", t.Name,
		term.Interval(at, ends[0], ends[1], math.Log(margin), -reach, reach, ratioColumns),
		r.Plan.Canary, armOf(t, t.Canary, t.CanaryMean), r.Plan.Control, armOf(t, t.Control, t.ControlMean), ratioInterval(t))
}

// rates are a version's bad share along the path, as blocks.
func rates(path []api.PathPoint, of func(api.PathPoint) assay.Rate) string {
	values := make([]float64, 0, rateColumns)
	n := min(rateColumns, len(path)-1)
	for i := range n {
		from, to := of(path[i*(len(path)-1)/n]), of(path[(i+1)*(len(path)-1)/n])
		if to.Total <= from.Total || to.Bad < from.Bad {
			values = append(values, math.NaN())
			continue
		}
		values = append(values, float64(to.Bad-from.Bad)/float64(to.Total-from.Total))
	}
	return term.Spark(values, rateColumns)
}

// latencyLine has both versions' distributions as blocks, and bounds below which half and
// 95 of 100 requests lie; "" for a histogram that nothing was counted in.
func latencyLine(r api.Rollout, l api.Latency) string {
	one := func(counts []uint64, total uint64) string {
		shares, before := make([]float64, 0, len(counts)), uint64(0)
		for _, c := range counts {
			shares = append(shares, float64(c-min(before, c)))
			before = c
		}
		return fmt.Sprintf("%s half ≤ %s, 95 %% ≤ %s", term.Spark(shares, barColumns), boundAt(l.Bounds, counts, total, 0.5), boundAt(l.Bounds, counts, total, 0.95))
	}
	if l.CanaryTotal == 0 || l.ControlTotal == 0 || len(l.Canary) != len(l.Bounds) || len(l.Control) != len(l.Bounds) {
		return ""
	}
	return fmt.Sprintf("%-7s %s %s    %s %s", l.Indicator, r.Plan.Canary, one(l.Canary, l.CanaryTotal), r.Plan.Control, one(l.Control, l.ControlTotal))
}

// boundAt is the least bound of a histogram below which a share of the requests lies.
func boundAt(bounds []float64, counts []uint64, total uint64, part float64) string {
	for i, c := range counts {
		if float64(c) >= part*float64(total) {
			return fmt.Sprintf("%.4g", bounds[i])
		}
	}
	return "∞"
}

// remainingWords say how much longer a rollout takes.
func remainingWords(d assay.Decision) string {
	switch {
	case d.Remaining < 0:
		return "at these rates it will not be shown safe"
	case d.Remaining == 0:
		return "nothing: it is shown safe"
	case d.RemHigh > 0:
		return fmt.Sprintf("about %.0f canary requests until it is shown safe, %.0f to %.0f in 8 of 10 cases", math.Ceil(d.Remaining), math.Ceil(d.RemLow), math.Ceil(d.RemHigh))
	}
	return fmt.Sprintf("about %.0f canary requests until it is shown safe", math.Ceil(d.Remaining))
}

// stepsLine is where a rollout stands among the steps of its plan; "" if it has none.
func stepsLine(r api.Rollout) string {
	if len(r.Plan.Steps) < 2 {
		return ""
	}
	var out []string
	for i, w := range r.Plan.Steps {
		word := fmt.Sprintf("%d %%", w)
		switch {
		case r.Weight > w || r.Status == api.RolloutWatching:
			word += " ✓"
		case r.Weight == w || i > 0 && r.Weight > r.Plan.Steps[i-1]:
			word += " ●"
		}
		out = append(out, word)
	}
	return "steps   " + strings.Join(out, " · ")
}
