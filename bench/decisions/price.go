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
		hourly = max(hourly, asFloorsAt(c))
	}
	return hourly
}

// asFloorsAt is the same at the cell's weight alone.
func asFloorsAt(c cell) float64 {
	return -math.Log(beta) * c.expected() / c.clearing() / horizon.Hours()
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

// dearer is a cell where some peer's loss is lower than ours beyond chance, and what so low
// a loss costs.
type dearer struct {
	cell
	best       int        // the peer
	ours, loss float64    // expected, ours and the peer's
	healthy    float64    // the most that healthy releases may cost at the peer's loss
	missed     [2]float64 // of the margin, by the peer and by ours; NaN if they were not played
	widest     [2]float64 // largest share before the promotion, of the peer and of ours
	// floors, first and known are the least missed that information leaves: at the best
	// share as the floors count, at the cell's weight so, and if all is known.
	floors, first, known float64
	// exact and burst are the least missed at the cell's weight by anybody, and cheapest is
	// the least loss that keeps the promise there; anywhere and cheapestAnywhere are the
	// same for the best weight of shares.
	exact, burst, anywhere, cheapest, cheapestAnywhere float64
}

// dearer finds those cells.
func (r report) dearer() []dearer {
	var out []dearer
	for _, g := range r.grid {
		if !half(g.cell) {
			continue
		}
		s := r.standing(g, anybody)
		if s.difference <= chance*s.se {
			continue
		}
		twin := r.twin(g.cell)
		d := dearer{cell: g.cell, best: s.best}
		d.ours, _ = expectedLoss(g.tallies[0], twin.tallies[0])
		d.loss = d.ours - s.difference
		d.healthy = d.loss / (1 - badShare)
		for i, k := range []int{s.best, 0} {
			d.missed[i] = math.NaN()
			d.widest[i] = max(g.tallies[k].widest, twin.tallies[k].widest)
			for _, o := range r.grid {
				if o.cell == g.atMargin() {
					d.missed[i] = float64(o.tallies[k].promoted) / float64(o.tallies[k].runs)
				}
			}
		}
		out = append(out, d)
	}
	return out
}

// atMargin is the same setting with a regression of the plan's margin.
func (c cell) atMargin() cell {
	c.Ratio = margin
	return c
}

// bound reckons the bounds.
func (d *dearer) bound() {
	d.floors, d.first, d.known = leastMissed(d.healthy, asFloors(d.cell)), leastMissed(d.healthy, asFloorsAt(d.cell)), leastMissed(d.healthy, allKnown(d.cell))
	o := atFirstWeight(d.cell)
	d.exact, d.burst, d.cheapest = o.missed(d.loss), o.tellsBursts().missed(d.loss), o.loss(beta)
	d.anywhere, d.cheapestAnywhere = d.exact, d.cheapest
	for _, o.Weight = range shares(d.cell)[1:] {
		d.anywhere, d.cheapestAnywhere = min(d.anywhere, o.missed(d.loss)), min(d.cheapestAnywhere, o.loss(beta))
	}
}

// above counts the cells whose bound is above the plan's risk.
func above(all []dearer, bound func(dearer) float64) (n int) {
	for _, d := range all {
		if bound(d) > beta {
			n++
		}
	}
	return n
}

// inPercent is a share in percent, or a dash where it was not measured.
func inPercent(share float64) string {
	if math.IsNaN(share) {
		return "–"
	}
	return result.Figure(100 * share)
}

// priceHeading begins the section that price writes.
const priceHeading = "## What the lower loss would cost"

// price tells, for the cells where ours is worse, what a loss as low as the best peer's
// costs: it is that of somebody who knows how bad a bad release is.
func (r report) price(b *strings.Builder) error {
	all := r.dearer()
	if len(all) == 0 {
		return nil
	}
	if err := parallel(len(all), func(i int) error { all[i].bound(); return nil }); err != nil {
		return err
	}
	fmt.Fprintf(b, "\n"+priceHeading+`

In these cells some peer's loss is lower than ours. Bad releases there are so bad that everybody stops them soon, so the loss is that of good releases that wait: ours waits until failing %d times as often is excluded, at the plan's risk of %g %% (beta), and asks a person when the horizon comes first.
But a controller does not know how bad a bad release would be. It sees the same good releases where the bad ones fail %d times as often, and whoever promotes these so soon promotes those too. What the time brings in information bounds how many, for any controller that gives the new version at most half of the traffic, and as soon as it likes, until it promotes: as the floors count information, and for somebody who knows the old version's rate to the last digit and tells every burst for what it is.
Where that is above %g %%, the promise of beta and the peer's loss exclude each other: as the floors count information in %d of the %d cells, for somebody who knows all in %d. Below, this bound leaves room that neither the peer, which misses what stands beside it, nor ours uses. The plan keeps its promise and asks.
More than half of the traffic tells less, because the old version is compared with. Without any of it a release is held against the past, which is what the `+"`watch`"+` after a promotion does: that is as good as knowing all where nothing ever changes, but an incident that hits both versions is then harm, and an old version that was worse yesterday excuses a bad release. So ours does not clear a release by it, and no promoted release is taken back here, neither ours nor a peer's. Whoever prefers the lower loss says so: a larger margin, or `+"`onHorizon: promote-with-watch`"+`.

`, margin, 100*beta, margin, 100*beta, above(all, func(d dearer) float64 { return d.floors }), len(all), above(all, func(d dearer) float64 { return d.known }))
	result.Head(b, append(settings, "times worse", "ours", "best peer", "its loss", "seconds that it lets good ones wait", fmt.Sprintf("of %d times worse, least missed at that loss, %%", margin), "if all is known, %", "missed by the peer, %", "by ours, %")...)
	for _, d := range all {
		result.Line(b, append(setting(d.cell), result.Figure(d.Ratio), result.Figure(d.ours), r.contenders[d.best].Name, result.Figure(d.loss),
			result.Figure(min(d.healthy/costHour, period.Hours())*3600), inPercent(d.floors), inPercent(d.known), inPercent(d.missed[0]), inPercent(d.missed[1]))...)
	}
	r.atTheWeight(b, all)
	return nil
}

// atTheWeight tells the same for those who hold a weight until they promote.
func (r report) atTheWeight(b *strings.Builder, all []dearer) {
	exact, burst := above(all, func(d dearer) float64 { return d.exact }), above(all, func(d dearer) float64 { return d.burst })
	anywhere := above(all, func(d dearer) float64 { return d.anywhere })
	stay := 0
	for _, d := range all {
		if d.widest[0] <= d.Weight {
			stay++
		}
	}
	fmt.Fprintf(b, `
### For whoever holds the cell's weight

The bound above gives the new version half of the traffic at once. Argo Rollouts and Kayenta keep it at the cell's weight until they promote; Flagger and ours take larger steps on the way. The largest weights as they were played stand in the table: the best peer stays at the cell's weight in %d of the %d cells.
For a controller that holds one weight until the end the best one can be reckoned exactly, by backward induction over the failures counted every minute: it knows the rates, and only not whether the release is healthy, the cell's regression, or fails %d times as often as an old version that is a little better. Nobody who holds that weight and has the peer's loss misses less than it does, and nobody who misses at most %g %% has a lower loss than its.
It counts information as the floors do, a burst as phi requests, which is exact where all bursts have that length. Here their lengths are geometric, and whoever knows that and tells every burst apart is told more: that stands beside it.

**At the cell's weight the promise of beta and the peer's loss exclude each other in %d of the %d cells as the floors count, and in %d for whoever tells bursts apart.** Held throughout at the best of the cell's weight, half of the traffic and the middle of the two, they do so in %d as the floors count. Left open are, where that is fewer, controllers that tell bursts apart or hold a larger weight, and those that change the weight on the way, for which only the first table holds: for these a lower loss with the promise kept is not excluded, and ours, which goes up to half, does not reach it. Ours learns how far failures come in bursts, not how long each is, does not know the old version's rate, and keeps its promise whenever one looks.

`, stay, len(all), margin, 100*beta, exact, len(all), burst, anywhere)
	result.Head(b, append(settings, "times worse", "best peer", "its largest weight, %", "ours, %", "least missed at the cell's weight, by information alone, %", "exactly, %", "exactly, if bursts are told apart, %", "exactly, at the best weight held, %", "the peer's loss", fmt.Sprintf("least loss that misses %g %%, at the cell's weight", 100*beta), "at the best weight held")...)
	for _, d := range all {
		result.Line(b, append(setting(d.cell), result.Figure(d.Ratio), r.contenders[d.best].Name, inPercent(d.widest[0]), inPercent(d.widest[1]),
			inPercent(d.first), inPercent(d.exact), inPercent(d.burst), inPercent(d.anywhere), fine(d.loss), fine(d.cheapest), fine(d.cheapestAnywhere))...)
	}
}

// fine is a loss to a ten-thousandth percent of the budget: two of them are compared.
func fine(loss float64) string { return fmt.Sprintf("%.4f", loss) }
