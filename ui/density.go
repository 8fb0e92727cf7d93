package ui

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// labelApart is how far two labels of a scale are apart at least, as a part of the width: of
// a panel beside others, at the smallest size.
const labelApart = 0.15

// ratioChart draws how the counts of a test speak about the ratio of the two rates:
// the density of the ratio, given how many bad events each version had of how many,
// with the interval that holds at every look, the line of no change, and the margin.
func ratioChart(t assay.TestValue, margin float64) template.HTML {
	a, b := t.Canary, t.Control
	if a.Total == 0 || b.Total == 0 || a.Bad+b.Bad == 0 {
		return ""
	}
	// Given the sum of bad events, each is the canary's with theta = r·w/(r·w+1); half
	// an event is added to each side, so that none at all has a density as well.
	x, y := float64(a.Bad)+0.5, float64(b.Bad)+0.5
	w := float64(a.Total) / float64(b.Total)
	log := func(u float64) float64 { // of the density over u = ln r
		return x*(u+math.Log(w)) - (x+y)*math.Log1p(math.Exp(u)*w)
	}
	mode := math.Log(x / y / w)
	half := min(4*math.Sqrt(1/x+1/y), math.Log(40))
	lo, hi := min(mode-half, -math.Log(1.5)), max(mode+half, math.Log(max(margin, 1)*1.3))
	if hi-lo < 1e-6 {
		return ""
	}
	p := plot{x: scale{lo, hi}, y: scale{0, 1.35}, height: 120}
	const points = 120
	var curve []pt
	for i := range points + 1 {
		u := lo + (hi-lo)*float64(i)/points
		curve = append(curve, pt{u, math.Exp(log(u) - log(mode))})
	}
	p.across("zero", 0)
	from, to := lo, hi
	if t.RatioLow > 0 {
		from = max(lo, math.Log(t.RatioLow))
	}
	if t.RatioHigh > 0 {
		to = min(hi, math.Log(t.RatioHigh))
	}
	p.area("canary", within(curve, from, to), 0, false)
	p.line("canary", curve)
	p.down("zero", 0)
	if margin > 1 {
		p.down("harm", math.Log(margin))
		p.text("label harm", "end", math.Log(margin), p.y.hi, -5, 11, "too bad to ship")
	}
	var labelled []float64 // parts of the width; what is no worse comes first, then what is far from it
	for _, r := range []float64{1, 10, 0.1, 50, 0.02, 4, 0.25, 2, 0.5} {
		u := math.Log(r)
		at := p.x.at(u)
		if u < lo || u > hi || slices.ContainsFunc(labelled, func(other float64) bool { return math.Abs(at-other) < labelApart }) {
			continue
		}
		labelled = append(labelled, at)
		p.xTick(u, timesShort(r))
	}
	return p.svg(fmt.Sprintf("How likely each ratio of the rates is: most likely %s, %s at every look", times(math.Exp(mode)), between(t.RatioLow, t.RatioHigh)))
}

// within keeps the points of a curve whose x lies in a span.
func within(curve []pt, from, to float64) (out []pt) {
	for _, q := range curve {
		if q.x >= from && q.x <= to {
			out = append(out, q)
		}
	}
	return out
}

// latencyChart overlays the latency distributions of both versions: the share of
// requests between each two bounds of the histogram, bounds in equal steps because
// they grow by factors.
func latencyChart(l api.Latency) template.HTML {
	n := len(l.Bounds)
	if n == 0 || l.CanaryTotal == 0 || l.ControlTotal == 0 || len(l.Canary) != n || len(l.Control) != n {
		return ""
	}
	shares := func(counts []uint64, total uint64) (out []float64) {
		before := uint64(0)
		for _, c := range append(append([]uint64(nil), counts...), total) {
			out = append(out, float64(c-min(before, c))/float64(total))
			before = c
		}
		return out
	}
	canary, control := shares(l.Canary, l.CanaryTotal), shares(l.Control, l.ControlTotal)
	first, last := n, 0 // what neither version has is not drawn
	for i := range canary {
		if canary[i] > 0 || control[i] > 0 {
			first, last = min(first, i), i
		}
	}
	first, last = max(0, first-1), min(n, last+1)
	most := 0.0
	for i := first; i <= last; i++ {
		most = max(most, canary[i], control[i])
	}
	p := plot{x: scale{float64(first), float64(last + 1)}, y: scale{0, nice(most)}, height: 130}
	p.across("zero", 0)
	p.across("grid", p.y.hi)
	steps := func(of []float64) (out []pt) {
		for i := first; i <= last; i++ {
			out = append(out, pt{float64(i), of[i]})
		}
		return append(out, pt{float64(last + 1), of[last]})
	}
	p.area("control", steps(control), 0, true)
	p.step("control", steps(control))
	p.area("canary", steps(canary), 0, true)
	p.step("canary", steps(canary))
	p.yTick(0, "0 %")
	p.yTick(p.y.hi, percent(p.y.hi))
	stride := 1 + (last-first)/7
	for i := first; i < last && i < n; i += stride {
		p.xTick(float64(i+1), tookSeconds(l.Bounds[i]))
	}
	for i := first; i <= last; i++ {
		span := "above " + tookSeconds(l.Bounds[n-1])
		if i < n {
			span = "up to " + tookSeconds(l.Bounds[i])
		}
		p.hit(float64(i), float64(i+1), fmt.Sprintf("%s: new %s, old %s", span, percent(canary[i]), percent(control[i])))
	}
	return p.svg(fmt.Sprintf("Latencies of %s: %s requests of the new version over %s of the old one", l.Indicator, num(l.CanaryTotal), num(l.ControlTotal)))
}

// tookSeconds is a bound of a histogram, which need not be in seconds but most often is.
func tookSeconds(v float64) string {
	switch {
	case v < 0.001:
		return strconv.FormatFloat(v*1e6, 'g', 4, 64) + " µs"
	case v < 1:
		return strconv.FormatFloat(v*1e3, 'g', 4, 64) + " ms"
	}
	return strconv.FormatFloat(v, 'g', 4, 64) + " s"
}

// mixRow is one part of the traffic: which share of each version's requests it is.
type mixRow struct {
	Name            string
	Canary, Control float64 // shares
	Most            float64 // of all rows, for the bars
}

// mixRows are the parts of the traffic of both versions, the largest first.
func mixRows(list []assay.Stratum) (out []mixRow) {
	var canary, control uint64
	for _, s := range list {
		canary, control = canary+s.Canary, control+s.Control
	}
	if canary == 0 || control == 0 {
		return nil
	}
	most := 0.0
	for _, s := range list {
		r := mixRow{Name: s.Name, Canary: float64(s.Canary) / float64(canary), Control: float64(s.Control) / float64(control)}
		most = max(most, r.Canary, r.Control)
		out = append(out, r)
	}
	for i := range out {
		out[i].Most = most
	}
	return out
}
