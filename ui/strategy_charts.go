package ui

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"time"

	"assay.dev/assay/api"
)

// trailGap is the distance of two points of a trail from which on nobody looked between
// them: the line is broken there.
const trailGap = 3 * time.Minute

// leverChart draws one lever over time: where it stood, the band in which a
// recommendation changes nothing, and what the law recommended. Where that leaves the
// band for long enough, the lever follows; moves are dots.
func leverChart(s api.StrategyStatus, target string) template.HTML {
	var now, want, low, high []pt
	var last time.Time
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, q := range s.Trail {
		i := slices.IndexFunc(q.Levers, func(l api.LeverPoint) bool { return l.Target == target })
		if i < 0 {
			continue
		}
		l, at := q.Levers[i], seconds(q.Time)
		if !last.IsZero() && q.Time.Sub(last) > trailGap {
			gap := pt{at - 1, math.NaN()}
			now, want, low, high = append(now, gap), append(want, gap), append(low, gap), append(high, gap)
		}
		last = q.Time
		now, want = append(now, pt{at, l.Now}), append(want, pt{at, l.Want})
		low, high = append(low, pt{at, l.Low}), append(high, pt{at, l.High})
		lo, hi = min(lo, l.Now, l.Want, l.Low), max(hi, l.Now, l.Want, l.High)
	}
	if len(now) < 2 {
		return ""
	}
	p := plot{x: scale{now[0].x, max(now[len(now)-1].x, now[0].x+60)}, y: roomy(lo, hi), height: 160}
	p.across("zero", p.y.lo)
	p.across("grid", p.y.hi)
	p.band("safe", low, high)
	p.line("want", want)
	p.step("canary", now)
	for _, m := range s.Moves {
		if m.Target == target && seconds(m.Time) >= p.x.lo {
			tone := "canary"
			if m.Harmed {
				tone = "harm"
			}
			p.dot(tone, seconds(m.Time), m.To)
		}
	}
	p.yTick(p.y.lo, leverValue(target, p.y.lo))
	p.yTick(p.y.hi, leverValue(target, p.y.hi))
	p.timeTicks()
	p.leverHits(s, target)
	end := len(now) - 1
	return p.svg(fmt.Sprintf("%s over %d minutes: it stands at %s, %s is wanted, nothing changes between %s and %s", targetWords(target), len(now),
		leverValue(target, now[end].y), leverValue(target, want[end].y), leverValue(target, low[end].y), leverValue(target, high[end].y)))
}

// leverHits tell the numbers along a lever's line.
func (p *plot) leverHits(s api.StrategyStatus, target string) {
	stride := 1 + len(s.Trail)/maxHints
	for i := 0; i < len(s.Trail); i += stride {
		q := s.Trail[i]
		for _, l := range q.Levers {
			if l.Target == target {
				at := seconds(q.Time)
				p.hit(at, at+60*float64(stride), fmt.Sprintf("%s: stands at %s, %s wanted, band %s to %s", clock(q.Time),
					leverValue(target, l.Now), leverValue(target, l.Want), leverValue(target, l.Low), leverValue(target, l.High)))
			}
		}
	}
}

// roomy is a scale that holds lo to hi with air, from zero where that is near.
func roomy(lo, hi float64) scale {
	if !(hi > lo) {
		lo, hi = min(lo, 0), max(hi, 1)
	}
	air := 0.08 * (hi - lo)
	if lo >= 0 && lo < 0.5*hi {
		return scale{0, nice(hi + air)}
	}
	return scale{lo - air, hi + air}
}

// signalNames are those that a trail has, in the order of its newest point.
func signalNames(trail []api.StrategyPoint) (out []string) {
	for _, q := range slices.Backward(trail) {
		for _, x := range q.Signals {
			if !slices.Contains(out, x.Name) {
				out = append(out, x.Name)
			}
		}
	}
	return out
}

// signalChart draws one signal over time; a minute without it is a gap.
func signalChart(s api.StrategyStatus, name string) (chart template.HTML, last float64) {
	var line []pt
	lo, hi, known := math.Inf(1), math.Inf(-1), 0
	var before time.Time
	for _, q := range s.Trail {
		y := math.NaN()
		if i := slices.IndexFunc(q.Signals, func(x api.SignalPoint) bool { return x.Name == name }); i >= 0 {
			y = q.Signals[i].Value
			lo, hi, last, known = min(lo, y), max(hi, y), y, known+1
		}
		if !before.IsZero() && q.Time.Sub(before) > trailGap {
			line = append(line, pt{seconds(q.Time) - 1, math.NaN()})
		}
		before = q.Time
		line = append(line, pt{seconds(q.Time), y})
	}
	if known < 2 {
		return "", last
	}
	p := plot{x: scale{line[0].x, max(line[len(line)-1].x, line[0].x+60)}, y: roomy(lo, hi), height: 80}
	p.across("zero", p.y.lo)
	p.line("control", line)
	p.yTick(p.y.lo, num(p.y.lo))
	p.yTick(p.y.hi, num(p.y.hi))
	p.timeTicks()
	return p.svg(fmt.Sprintf("%s, now %s, between %s and %s", name, num(last), num(lo), num(hi))), last
}

// foreseenChart draws the forecast that a strategy may act on: what is expected, and up
// to where capacity is kept.
func foreseenChart(m api.StrategyModel) template.HTML {
	n := min(len(m.Mean), len(m.Upper))
	if n < 2 || !(m.Step > 0) {
		return ""
	}
	var mean, upper []pt
	top := 0.0
	for i := range n {
		at := seconds(m.At) + float64(i)*m.Step
		mean, upper = append(mean, pt{at, m.Mean[i]}), append(upper, pt{at, m.Upper[i]})
		top = max(top, m.Mean[i], m.Upper[i])
	}
	p := plot{x: scale{mean[0].x, mean[n-1].x}, y: scale{0, nice(max(top, 1e-9) * 1.05)}, height: 140}
	p.across("zero", 0)
	p.band("control", mean, upper)
	p.line("control", upper)
	p.line("canary", mean)
	p.yTick(0, "0")
	p.yTick(p.y.hi, num(p.y.hi))
	p.timeTicks()
	for i := range n {
		p.hit(mean[i].x, mean[i].x+m.Step, fmt.Sprintf("%s: %s expected, capacity is kept for %s", time.Unix(int64(mean[i].x), 0).UTC().Format("15:04"), num(m.Mean[i]), num(m.Upper[i])))
	}
	return p.svg(fmt.Sprintf("What is expected over %d steps, and up to where capacity is kept", n))
}
