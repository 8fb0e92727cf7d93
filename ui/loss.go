package ui

import (
	"fmt"
	"html/template"
	"math"

	"assay.dev/assay"
)

// lossPart is one part of an expected loss.
type lossPart struct {
	Class, Name string
	Value       float64 // share of the error budget; below zero it saves
}

func lossParts(l assay.Loss) []lossPart {
	all := []lossPart{
		{"burn", "what stays wrong", l.Burn}, {"own", "what the action costs itself", l.Own}, {"money", "money", l.Money},
		{"disruption", "the change", l.Disruption}, {"blast", "failing, for all that it touches", l.Blast},
	}
	out := all[:0]
	for _, p := range all {
		if p.Value != 0 && !math.IsNaN(p.Value) {
			out = append(out, p)
		}
	}
	return out
}

// waterfall draws the parts of an expected loss one behind the other, from nothing to
// the total. low and high are the ends over all actions, so that their pictures can
// be compared.
func waterfall(l assay.Loss, low, high float64) template.HTML {
	p := plot{x: scale{low, high}, y: scale{0, 1}, height: 22}
	at := 0.0
	for _, part := range lossParts(l) {
		from, to := at, at+part.Value
		fmt.Fprintf(&p.marks, `<rect class="lost %s" x="%s" width="%s" y="3" height="16"><title>%s: %s of the error budget</title></rect>`,
			part.Class, share(p.x.at(min(from, to))), share(math.Abs(p.x.at(to)-p.x.at(from))), template.HTMLEscapeString(part.Name), budgetShare(part.Value))
		at = to
	}
	p.down("zero", 0)
	p.down("total", at)
	return p.svg("expected loss " + budgetShare(l.Total) + " of the error budget")
}

// budgetShare is a part of the error budget with its sign.
func budgetShare(v float64) string {
	if v < 0 {
		return "−" + percent(-v)
	}
	return percent(v)
}

// lossEnds are the least and the greatest place that a waterfall of any action reaches.
func lossEnds(list []assay.Candidate) (low, high float64) {
	for _, c := range list {
		if c.Loss == nil {
			continue
		}
		at := 0.0
		for _, p := range lossParts(*c.Loss) {
			at += p.Value
			low, high = min(low, at), max(high, at)
		}
	}
	if !(high > low) {
		high = low + 1e-6
	}
	return low, high
}

// beliefRow is one hypothesis before and after the evidence.
type beliefRow struct {
	assay.Belief
	Chart template.HTML
	Clues []clueRow
}

// clueRow is what one clue was worth to a hypothesis.
type clueRow struct {
	Words  string
	Times  string // the likelihood ratio
	Tone   string // for or against
	Capped string // what it said before the cap
}

func beliefRows(d assay.Decision) (out []beliefRow) {
	words := map[string]string{}
	for _, c := range d.Clues {
		words[c.Name] = c.Words
	}
	for _, b := range d.Beliefs {
		row := beliefRow{Belief: b, Chart: probabilityChart(b.Before, b.After)}
		for _, c := range b.Clues {
			if math.Abs(c.LogLR) < 0.05 {
				continue // it speaks for neither side
			}
			clue := clueRow{Words: c.Clue, Times: times(math.Exp(c.LogLR)), Tone: "harm"}
			if w := words[c.Clue]; w != "" {
				clue.Words = w
			}
			if c.LogLR < 0 {
				clue.Tone, clue.Times = "safe", "1/"+times(math.Exp(-c.LogLR))
			}
			if c.Stated != 0 && c.Stated != c.LogLR {
				clue.Capped = times(math.Exp(math.Abs(c.Stated)))
			}
			row.Clues = append(row.Clues, clue)
		}
		out = append(out, row)
	}
	return out
}

// probabilityChart draws a probability before and after.
func probabilityChart(before, after float64) template.HTML {
	p := plot{x: scale{0, 1}, y: scale{0, 1}, height: 20}
	p.across("grid", 0.5)
	p.line("harm thick", []pt{{before, 0.5}, {after, 0.5}})
	p.dot("harm hollow", before, 0.5)
	p.dot("harm", after, 0.5)
	return p.svg(fmt.Sprintf("from %s to %s", percent(before), percent(after)))
}

// changeWords says a relative change: −0.8 is "80 % less".
func changeWords(v float64) string {
	switch {
	case v < 0:
		return percent(-v) + " less"
	case v > 0:
		return percent(v) + " more"
	}
	return "no change"
}

// armWords is what a version had of a count, value or gauge.
func armWords(t assay.TestValue, canary bool) string {
	r, mean := t.Control, t.ControlMean
	if canary {
		r, mean = t.Canary, t.CanaryMean
	}
	if r.Total == 0 {
		return "no data"
	}
	return t.Measure.Words(mean)
}

// divergenceWords says how far apart the versions are.
func divergenceWords(d assay.Divergence) string {
	write := func(v float64) string {
		if d.Unit != "points" {
			return fmt.Sprintf("%+.0f %%", 100*v)
		}
		return fmt.Sprintf("%+.2g", v)
	}
	unit, high := " percentage points", "open"
	switch d.Unit {
	case "relative":
		unit = " latency"
	case "more": // of what was measured
		unit = ""
	case "further":
		unit = " of the distance from the best"
	}
	if d.High != 0 {
		high = write(d.High)
	}
	return write(d.Value) + unit + " (" + write(d.Low) + " to " + high + ")"
}
