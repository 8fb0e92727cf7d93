package ui

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// evidenceChart draws the corridor of a sequential test: canary requests across,
// evidence of harm upward to the line where the rollout is stopped, evidence of
// safety downward to the line where it goes on. Evidence below 1 is no evidence,
// and lies on the middle line.
func evidenceChart(r api.Rollout) template.HTML {
	path := r.Evidence()
	if r.Decision == nil || len(path) == 0 {
		return ""
	}
	abortAt, shipAt := r.Decision.AbortAt, r.Decision.ShipAt
	harm, safe := []pt{{0, 0}}, []pt{{0, 0}}
	topHarm, topSafe := 0.0, 0.0
	for _, q := range path {
		x := float64(q.Canary.Total)
		h, s := max(0, finite(q.Harm)), max(0, finite(q.Safe))
		harm, safe = append(harm, pt{x, h}), append(safe, pt{x, -s})
		topHarm, topSafe = max(topHarm, h), max(topSafe, s)
	}
	last := path[len(path)-1]
	p := plot{
		x:      scale{0, max(1, float64(last.Canary.Total)) * 1.04},
		y:      scale{-max(shipAt*1.5, min(topSafe*1.12, shipAt*2.6)), max(abortAt*1.22, min(topHarm*1.12, abortAt*2.6))},
		height: 300,
	}
	p.across("zero", 0)
	p.area("harm", harm, 0, false)
	p.area("safe", safe, 0, false)
	p.line("harm", harm)
	p.line("safe", safe)
	p.across("harm", abortAt)
	p.across("safe", -shipAt)
	p.text("label harm", "start", p.x.lo, abortAt, 6, -6, "stop: harm "+evalue(abortAt)+" to 1")
	p.text("label safe", "start", p.x.lo, -shipAt, 6, 15, "go on: safety "+evalue(shipAt)+" to 1")
	p.weights(path)
	end := harm[len(harm)-1]
	p.dot("harm", end.x, end.y)
	p.dot("safe", end.x, safe[len(safe)-1].y)
	for e := 1.0; e*math.Ln10 < abortAt*0.9; e++ {
		p.yTick(e*math.Ln10, group(fmt.Sprintf("%.0f", math.Pow(10, e))))
	}
	p.yTick(0, "1")
	for e := 1.0; e*math.Ln10 < -p.y.lo*0.95; e++ {
		p.yTick(-e*math.Ln10, group(fmt.Sprintf("%.0f", math.Pow(10, e))))
	}
	p.countTicks()
	p.evidenceHits(path)
	return p.svg(fmt.Sprintf("Evidence after %d canary requests: harm %s of %s, safety %s of %s",
		last.Canary.Total, evalue(last.Harm), evalue(abortAt), evalue(last.Safe), evalue(shipAt)))
}

// maxHints is in how many places a chart tells its numbers.
const maxHints = 48

// evidenceHits tell the numbers along the path.
func (p *plot) evidenceHits(path []api.PathPoint) {
	stride := 1 + len(path)/maxHints
	from := p.x.lo
	for i := stride - 1; i < len(path); i += stride {
		q := path[i]
		to := float64(q.Canary.Total)
		if to <= from {
			continue
		}
		p.hit(from, to, fmt.Sprintf("%s, %s canary requests at %d %%: harm %s, safety %s, %s bad against %s",
			clock(q.Time), num(q.Canary.Total), q.Weight, evalue(q.Harm), evalue(q.Safe), ratePercent(q.Canary), ratePercent(q.Control)))
		from = to
	}
}

// weights marks where the canary's share changed.
func (p *plot) weights(path []api.PathPoint) {
	before, free := -1, -1.0
	for _, q := range path {
		if q.Weight == before {
			continue
		}
		before = q.Weight
		x := float64(q.Canary.Total)
		p.down("weight", x)
		if at := p.x.at(x); at >= free { // labels do not overlap
			anchor, dx := "start", 4
			if at > 0.9 {
				anchor, dx = "end", -4
			}
			p.text("tick", anchor, x, p.y.hi, dx, 10, fmt.Sprintf("%d %%", q.Weight))
			free = at + 0.12
		}
	}
}

// countTicks labels the x axis with counts.
func (p *plot) countTicks() {
	for step, v := max(1, nice(p.x.hi/5)), 0.0; v <= p.x.hi; v += step {
		p.xTick(v, num(int64(v)))
	}
}

// timeTicks labels the x axis, in Unix seconds, with times of day.
func (p *plot) timeTicks() {
	layout := "15:04:05"
	switch span := p.x.hi - p.x.lo; {
	case span > 24*3600:
		layout = "2 Jan 15:04"
	case span > 1800:
		layout = "15:04"
	}
	for _, f := range []float64{0, 0.5, 1} {
		v := p.x.lo + f*(p.x.hi-p.x.lo)
		p.xTick(v, time.Unix(int64(v), 0).UTC().Format(layout))
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// course is the path of all that a rollout did, and of its watch: there the counts begin
// anew, and go on here. began is when it is watched, in Unix seconds; NaN if it was not yet.
func course(r api.Rollout) (path []api.PathPoint, began float64) {
	if r.Watch == nil || r.Watch.Began.IsZero() {
		return r.Path, math.NaN()
	}
	began = seconds(r.Watch.Began)
	if len(r.Path) == 0 { // all the traffic at once: there is but the watch
		return r.Watch.Path, began
	}
	before := r.Path[len(r.Path)-1]
	path = slices.Clone(r.Path)
	for _, q := range r.Watch.Path {
		q.Canary = assay.Rate{Bad: before.Canary.Bad + q.Canary.Bad, Total: before.Canary.Total + q.Canary.Total}
		q.Control = assay.Rate{Bad: before.Control.Bad + q.Control.Bad, Total: before.Control.Total + q.Control.Total}
		path = append(path, q)
	}
	return path, began
}

// watch marks when the watch began, from which on the old version is its own past.
func (p *plot) watch(began float64, words string) {
	if math.IsNaN(began) || began <= p.x.lo || began >= p.x.hi {
		return
	}
	p.down("weight", began)
	anchor, dx := "start", 4
	if p.x.at(began) > 0.6 {
		anchor, dx = "end", -4
	}
	p.text("tick", anchor, began, p.y.hi, dx, 10, words)
}

// shareChart draws the canary's share of the traffic over time, as it was set and as it
// was counted among the requests. Under watch there is no other version to count.
func shareChart(r api.Rollout) template.HTML {
	path, began := course(r)
	if len(path) < 2 {
		return ""
	}
	first, last := path[0].Time, path[len(path)-1].Time
	p := plot{x: scale{seconds(first), seconds(last)}, height: 72}
	var pts []pt
	most := 0.0
	for _, q := range path {
		most = max(most, float64(q.Weight))
		pts = append(pts, pt{seconds(q.Time), float64(q.Weight)})
	}
	if r.Status.Ended() {
		pts = append(pts, pt{seconds(last), float64(r.Weight)})
		most = max(most, float64(r.Weight)) // the last step is taken after the last look
	}
	var counted []pt
	for _, b := range bins(path) {
		y := math.NaN()
		if all := b.canary.Total + b.control.Total; all > 0 && !(b.mid+b.width/2 > began) {
			y = 100 * float64(b.canary.Total) / float64(all)
			p.hit(b.mid-b.width/2, b.mid+b.width/2, fmt.Sprintf("%s: %.3g %% of %s requests", time.Unix(int64(b.mid), 0).UTC().Format("15:04:05"), y, num(all)))
		}
		if !math.IsNaN(y) {
			most = max(most, y)
		}
		counted = append(counted, pt{b.mid, y})
	}
	p.y = scale{0, min(100, nice(max(most, 1)*1.2))}
	p.across("zero", 0)
	p.area("canary", pts, 0, true)
	p.step("canary", pts)
	p.line("want", counted)
	p.watch(began, "watch")
	p.yTick(0, "0 %")
	p.yTick(p.y.hi, percent(p.y.hi/100))
	return p.svg(fmt.Sprintf("Share of %s in the traffic, now %d percent", r.Plan.Canary, r.Weight))
}

// The error chart has as many intervals as the data bear: a rate of a handful of
// requests says nothing.
const (
	maxBins = 40
	minBins = 4
	perBin  = 120 // canary requests
)

// bin is what both arms counted in one interval.
type bin struct {
	mid, width      float64 // Unix seconds
	canary, control assay.Rate
}

// bins are the differences of the path, in intervals of equal length.
func bins(path []api.PathPoint) []bin {
	if len(path) < 3 {
		return nil
	}
	from, to := seconds(path[0].Time), seconds(path[len(path)-1].Time)
	requests := less(path[len(path)-1].Canary, path[0].Canary).Total
	n := min(maxBins, len(path)-1, max(minBins, int(min(requests, 1<<20))/perBin))
	width := (to - from) / float64(n)
	if !(width > 0) {
		return nil
	}
	var out []bin
	before, i := path[0], 0
	for k := range n {
		end := from + width*float64(k+1)
		for i+1 < len(path) && (seconds(path[i+1].Time) <= end || k == n-1) {
			i++
		}
		out = append(out, bin{end - width/2, width, less(path[i].Canary, before.Canary), less(path[i].Control, before.Control)})
		before = path[i]
	}
	return out
}

// less is what was counted between two running totals; nothing if they go back.
func less(now, before assay.Rate) assay.Rate {
	if now.Total < before.Total || now.Bad < before.Bad {
		return assay.Rate{}
	}
	return assay.Rate{Bad: now.Bad - before.Bad, Total: now.Total - before.Total}
}

// errorsChart draws the error rate of both arms over time, with 95 % intervals.
// An interval of time without events is a gap.
func errorsChart(r api.Rollout) template.HTML {
	path, began := course(r)
	all := bins(path)
	if len(all) == 0 {
		return ""
	}
	p := plot{x: scale{seconds(path[0].Time), seconds(path[len(path)-1].Time)}, height: 150}
	top, highest := 0.0, 0.0
	curve := func(of func(bin) assay.Rate) (mid, low, high []pt) {
		for _, b := range all {
			rate, lo, hi := wilson(of(b))
			mid, low, high = append(mid, pt{b.mid, rate}), append(low, pt{b.mid, lo}), append(high, pt{b.mid, hi})
			if !math.IsNaN(rate) {
				top, highest = max(top, rate), max(highest, hi)
			}
		}
		return mid, low, high
	}
	oldMid, oldLow, oldHigh := curve(func(b bin) assay.Rate { return b.control })
	newMid, newLow, newHigh := curve(func(b bin) assay.Rate { return b.canary })
	p.y = scale{0, nice(max(min(highest, 2*top), 0.0001))}
	p.across("zero", 0)
	p.across("grid", p.y.hi/2)
	p.across("grid", p.y.hi)
	p.band("control", oldLow, oldHigh)
	p.band("canary", newLow, newHigh)
	p.line("control", oldMid)
	p.line("canary", newMid)
	p.watch(began, "watch, beside "+r.Plan.Control+" in its past")
	p.yTick(0, "0 %")
	p.yTick(p.y.hi/2, percent(p.y.hi/2))
	p.yTick(p.y.hi, percent(p.y.hi))
	p.timeTicks()
	for _, b := range all {
		p.hit(b.mid-b.width/2, b.mid+b.width/2, fmt.Sprintf("%s: %s %s of %s, %s %s of %s", time.Unix(int64(b.mid), 0).UTC().Format("15:04:05"),
			r.Plan.Canary, ratePercent(b.canary), num(b.canary.Total), r.Plan.Control, ratePercent(b.control), num(b.control.Total)))
	}
	return p.svg(fmt.Sprintf("Errors over time: %s %s, %s %s", r.Plan.Canary, ratePercent(r.Canary), r.Plan.Control, ratePercent(r.Control)))
}

// wilson is a rate with its 95 % score interval; NaN without events.
func wilson(r assay.Rate) (rate, low, high float64) {
	if r.Total == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	const z = 1.96
	n := float64(r.Total)
	rate = float64(r.Bad) / n
	mid := (rate + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(rate*(1-rate)/n+z*z/(4*n*n))
	return rate, max(0, mid-half), min(1, mid+half)
}

// beliefChart draws one e value before and after a look, against its threshold.
func beliefChart(tone string, before, after, threshold float64) template.HTML {
	before, after = max(-3, finite(before)), max(-3, finite(after))
	p := plot{x: scale{-3, max(threshold*1.3, before, after) * 1.04}, y: scale{0, 1}, height: 20}
	p.across("grid", 0.5)
	p.down("zero", 0)
	p.down(tone, threshold)
	p.line(tone+" thick", []pt{{before, 0.5}, {after, 0.5}})
	p.dot(tone+" hollow", before, 0.5)
	p.dot(tone, after, 0.5)
	return p.svg(fmt.Sprintf("from %s to %s, threshold %s", evalue(before), evalue(after), evalue(threshold)))
}

// sizesChart draws the posterior over sizes of harm.
func sizesChart(sizes []assay.HarmSize) template.HTML {
	if len(sizes) == 0 {
		return ""
	}
	sizes = slices.SortedFunc(slices.Values(sizes), func(a, b assay.HarmSize) int {
		if a.Ratio < b.Ratio {
			return -1
		}
		return 1
	})
	most := 0.0
	for _, s := range sizes {
		most = max(most, s.Share)
	}
	p := plot{x: scale{0, float64(len(sizes))}, y: scale{0, max(most, 0.01)}, height: 64}
	p.across("zero", 0)
	for i, s := range sizes {
		p.column("harm", float64(i)+0.12, float64(i)+0.88, s.Share)
		if len(sizes) <= 8 || i%2 == 0 {
			p.text("tick", "middle", float64(i)+0.5, 0, 0, 14, timesShort(s.Ratio))
		}
	}
	return p.svg("How large the harm is, if there is any")
}

func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
