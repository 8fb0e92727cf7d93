package main

import (
	"fmt"
	"math"
	"strings"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/infer"
)

// leastMissed is the least share of regressions of the plan's margin that a controller
// promotes whose loss on healthy releases of c is at most the given one, in percent of the
// error budget, if an hour brings it so many nats at the most.
//
// With the share q of healthy releases that it promotes and the mean time T until the end,
// the loss allows costHour·T + costAsk·(1−q), and what is held is held for the period. What
// T brings in information bounds by how much a controller can tell the two releases apart:
// d(q‖missed) is at most it (data processing, and Wald's identity for the mean).
func leastMissed(healthy, hourly float64) float64 {
	least := 1.0
	const steps = 400
	for i := range steps + 1 {
		q := float64(i) / steps
		hours := min((healthy-costAsk*(1-q))/costHour, period.Hours())
		if hours < (1-q)*period.Hours() {
			continue // too few are promoted for that loss
		}
		least = min(least, indistinct(q, hourly*hours))
	}
	return least
}

// shares are what a version may have of the traffic before it is cleared: the first one up
// to half, the most that our plan gives and about where two versions side by side tell most.
func shares(c cell) []float64 { return []float64{c.Weight, (c.Weight + most) / 2, most} }

// most is the greatest share before all.
const most = 0.5

// asFloors is what an hour tells, in nats, as the floors count it, at the best of shares:
// the old version's rate is not known, and a burst of phi is one event.
func asFloors(c cell) (hourly float64) {
	for _, c.Weight = range shares(c) {
		hourly = max(hourly, -math.Log(beta)*c.expected()/c.clearing())
	}
	return hourly / horizon.Hours()
}

// allKnown is what it tells whoever knows the old version's rate to the last digit and
// sees each burst as the one event that it is here: nobody is told more at these shares.
func allKnown(c cell) float64 {
	c.Weight = most
	return infer.KL(c.Base, margin*c.Base) * 2 / (c.Phi + 1) * c.expected() / horizon.Hours()
}

// indistinct is the least probability at which an event of probability q is not told from
// it by so many nats.
func indistinct(q, nats float64) float64 {
	low, high := 0.0, q
	for range 60 {
		if m := (low + high) / 2; infer.KL(q, m) > nats {
			low = m
		} else {
			high = m
		}
	}
	return high
}

// price tells, for the cells where ours is worse, what a loss as low as the best peer's
// costs: it is that of somebody who knows how bad a bad release is.
func (r report) price(b *strings.Builder) {
	var lines [][]string
	for _, g := range r.grid {
		if !half(g.cell) {
			continue
		}
		s := r.standing(g, anybody)
		if s.difference <= chance*s.se {
			continue
		}
		twin, same := r.twin(g.cell), g.cell
		same.Ratio = margin
		ours, _ := expectedLoss(g.tallies[0], twin.tallies[0])
		allowed := (ours - s.difference) / (1 - badShare)
		missed := func(contender int) string {
			for _, o := range r.grid {
				if o.cell == same {
					return result.Figure(100 * float64(o.tallies[contender].promoted) / float64(o.tallies[contender].runs))
				}
			}
			return "–"
		}
		lines = append(lines, append(setting(g.cell), result.Figure(g.Ratio), result.Figure(ours), r.contenders[s.best].Name, result.Figure(ours-s.difference),
			result.Figure(min(allowed/costHour, period.Hours())*3600), result.Figure(100*leastMissed(allowed, asFloors(g.cell))), result.Figure(100*leastMissed(allowed, allKnown(g.cell))), missed(s.best), missed(0)))
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, `
## What the lower loss would cost

In these cells some peer's loss is lower than ours. Bad releases there are so bad that everybody stops them soon, so the loss is that of good releases that wait: ours waits until failing %d times as often is excluded, at the plan's risk of %g %% (beta), and asks a person when the horizon comes first.
But a controller does not know how bad a bad release would be. It sees the same good releases where the bad ones fail %d times as often, and whoever promotes these so soon promotes those too. What the time brings in information bounds how many, for any controller that gives the new version at most half of the traffic, and as soon as it likes, until it promotes: as the floors count information, and for somebody who knows the old version's rate to the last digit and tells every burst for what it is.
Where that is above %g %%, the promise of beta and the peer's loss exclude each other; below, the bound leaves room that neither the peer, which misses what stands beside it, nor ours uses. The plan keeps its promise and asks.
More than half of the traffic tells less, because the old version is compared with. Without any of it a release is held against the past, which is what the `+"`watch`"+` after a promotion does: that is as good as knowing all where nothing ever changes, but an incident that hits both versions is then harm, and an old version that was worse yesterday excuses a bad release. So ours does not clear a release by it, and no promoted release is taken back here, neither ours nor a peer's. Whoever prefers the lower loss says so: a larger margin, or `+"`onHorizon: promote-with-watch`"+`.

`, margin, 100*beta, margin, 100*beta)
	result.Head(b, append(settings, "times worse", "ours", "best peer", "its loss", "seconds that it lets good ones wait", fmt.Sprintf("of %d times worse, least missed at that loss, %%", margin), "if all is known, %", "missed by the peer, %", "by ours, %")...)
	for _, l := range lines {
		result.Line(b, l...)
	}
}
