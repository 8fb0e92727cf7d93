package ui

import (
	"fmt"
	"html/template"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/diverge"
)

// divergencesShown is how many verdicts about regions the page of a service lists.
const divergencesShown = 20

// regionsCard is an SLO of a service with its regions.
type regionsCard struct {
	api.ComparedRegions
	Points float64 // the bound, in percentage points
	Rows   []regionRow
}

// regionRow is one region.
type regionRow struct {
	diverge.Standing
	State state
	Chart template.HTML // its interval, with zero and the bound
}

// regions puts how the regions of a service compare onto its page. A service whose regions
// are not compared has none of it.
func (p *page) regions(v *view, service string) {
	list, err := v.s.ComparedRegions(v.ctx, service)
	if assay.CodeOf(err) != assay.CodeNotFound {
		var cards []regionsCard
		for _, c := range list {
			cards = append(cards, newRegionsCard(c))
		}
		p.add(v, "regions", "", "service/regions", newTable(cards, err))
	}
	said, err := v.s.Divergences(v.ctx, service, divergencesShown)
	p.add(v, "divergences", "", "service/divergences", newTable(said, err))
}

func newRegionsCard(c api.ComparedRegions) regionsCard {
	out := regionsCard{ComparedRegions: c, Points: 100 * c.Bound}
	low, high := 0.0, out.Points
	for _, r := range c.Regions {
		if d := r.Difference; d != nil {
			low, high = min(low, d.Low), max(high, d.High)
		}
	}
	for _, r := range c.Regions {
		row := regionRow{Standing: r, State: regionState(r.State)}
		if d := r.Difference; d != nil {
			row.Chart = intervalBar(d, out.Points, scale{low, high})
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

func regionState(s diverge.State) state {
	switch s {
	case diverge.Alike:
		return state{"ok", "alike"}
	case diverge.Diverges:
		return state{"bad", "diverges"}
	case diverge.Unheard:
		return state{"unknown", "no telemetry"}
	}
	return state{"unknown", "cannot say yet"}
}

// verdictState says in a word what began or ended.
func verdictState(v diverge.Verdict) state {
	switch v {
	case diverge.Begins:
		return state{"bad", "began"}
	case diverge.Ends:
		return state{"ok", "ended"}
	case diverge.Silent:
		return state{"unknown", "fell silent"}
	}
	return state{"quiet", "telemetry is back"}
}

// intervalBar draws an interval on a scale that all regions share, with no difference and
// the bound marked.
func intervalBar(d *diverge.Difference, bound float64, x scale) template.HTML {
	const width, height = 160.0, 14.0
	at := func(v float64) float64 { return width * x.at(v) }
	tone := "control"
	if d.Low > bound {
		tone = "bad"
	}
	return template.HTML(fmt.Sprintf( // made of numbers
		`<svg class="bar %s" width="%g" height="%g" role="img" aria-label="%.3g to %.3g percentage points"><rect class="fill" x="%.1f" y="4" width="%.1f" height="6" rx="3"/>`+
			`<line class="rule" x1="%.1f" x2="%.1f" y1="0" y2="%g"/><line class="rule harm" x1="%.1f" x2="%.1f" y1="0" y2="%g"/></svg>`,
		tone, width, height, d.Low, d.High, at(d.Low), max(at(d.High)-at(d.Low), 1), at(0), at(0), height, at(bound), at(bound), height))
}
