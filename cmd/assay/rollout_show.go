package main

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/term"
)

// plainKey changes when a piped watch has something new to say.
func plainKey(r api.Rollout) string {
	kind := assay.ActionKind("")
	if r.Decision != nil {
		kind = r.Decision.Action.Kind
	}
	return fmt.Sprint(r.Status, r.Weight, kind)
}

func endCode(s api.RolloutStatus) error {
	switch s {
	case api.RolloutPromoted:
		return nil
	case api.RolloutFailed:
		return exit(exitError)
	}
	return exit(exitFailed)
}

// rolloutLine is where a rollout stands, in one line.
func rolloutLine(r api.Rollout) string {
	line := fmt.Sprintf("%s  %s  %d %%", r.Status, r.Plan.Canary, r.Weight)
	if r.Decision == nil {
		return line + "  " + r.Reason
	}
	d := r.Decision
	return fmt.Sprintf("%s  %d req  harm %s %s of %s  errors %s vs %s", line, r.Canary.Total,
		sparkline(r.Evidence()), eValue(d.Harm), eValue(d.AbortAt), share(r.Canary), share(r.Control))
}

// sparkline draws the end of the path of the evidence of harm.
func sparkline(path []api.PathPoint) string {
	const width = 12
	path = path[max(0, len(path)-width):]
	values := make([]float64, len(path))
	for i, p := range path {
		values[i] = p.Harm
	}
	return term.Spark(values, width)
}

// eValue is an e value from its logarithm.
func eValue(ln float64) string {
	switch e := math.Exp(ln); {
	case ln > math.Log(1e6):
		return fmt.Sprintf("10^%.0f", ln/math.Ln10)
	case e >= 10:
		return fmt.Sprintf("%.0f", e)
	default:
		return fmt.Sprintf("%.2g", e)
	}
}

func share(r assay.Rate) string {
	if r.Total == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(r.Bad)/float64(r.Total))
}

func (a *app) rolloutEnd(r api.Rollout) {
	mark, colour := "✗", term.Vermilion
	if r.Status == api.RolloutPromoted {
		mark, colour = "✓", term.Green
	}
	took := r.Ended.Sub(r.Created).Round(100 * time.Millisecond)
	fmt.Fprintf(a.out, "%s %s  %s after %s: %s, %d of them bad\n  why: %s\n",
		a.out.Paint(colour, mark), r.Status, r.Plan.Canary, took, plural(r.Canary.Total, "canary request"), r.Canary.Bad, r.Reason)
	if r.DecidedFact != "" {
		fmt.Fprintf(a.out, "  more: assay decisions explain %s\n", r.DecidedFact)
	}
}

// The picture of the evidence in a terminal.
const (
	corridorColumns = 64
	corridorRows    = 9
	blockRows       = 20 // that are replaced; a small terminal scrolls beyond
)

// redraw replaces a block of lines on a terminal; it returns how many there are now.
func (a *app) redraw(before int, lines []string) int {
	if !a.out.Live() {
		return 0
	}
	if before > 0 {
		fmt.Fprintf(a.out, "\x1b[%dA\r\x1b[J", before)
	}
	columns := a.out.Width()
	for _, l := range lines {
		fmt.Fprintln(a.out, term.Clip(l, columns))
	}
	return len(lines)
}

// rolloutBlock is where a rollout stands, with the path of its evidence.
func (a *app) rolloutBlock(r api.Rollout) []string {
	out := []string{a.out.Paint(term.Amber, "●") + " " + rolloutLine(r)}
	path := r.Evidence()
	if r.Decision == nil || len(path) == 0 {
		return out
	}
	harm, safe := make([]float64, len(path)), make([]float64, len(path))
	for i, p := range path {
		harm[i], safe[i] = p.Harm, p.Safe
	}
	picture := term.Corridor(harm, safe, r.Decision.AbortAt, r.Decision.ShipAt, corridorColumns, corridorRows)
	for i, line := range picture {
		label := ""
		switch i {
		case 0:
			label = "stop: harm " + eValue(r.Decision.AbortAt) + " to 1"
		case len(picture) - 1:
			label = "go on: safety " + eValue(r.Decision.ShipAt) + " to 1"
		}
		out = append(out, "  "+line+"  "+label)
	}
	for _, line := range append(rolloutFigures(r), rolloutSays(r)...) {
		out = append(out, "  "+line)
	}
	return out[:min(len(out), blockRows)]
}

// rolloutSays are the numbers beside the picture.
func rolloutSays(r api.Rollout) []string {
	out := []string{r.Reason}
	if s := stepsLine(r); s != "" {
		out = append(out, s)
	}
	if s := observedWords(r); s != "" {
		out = append(out, s)
	}
	if s := r.LoadWords(); s != "" {
		out = append(out, s)
	}
	if w := r.Watch; r.Status == api.RolloutWatching && w != nil {
		out = append(out, fmt.Sprintf("watched until %s UTC against %s of %s's past", w.Until.UTC().Format(time.DateTime), w.To.Sub(w.From).Round(time.Second), r.Plan.Control))
	}
	return out
}

// observedWords says the share that was counted, where it is not the one that was set.
func observedWords(r api.Rollout) string {
	if r.Observed == nil || r.Weight == 0 || r.Weight == 100 {
		return ""
	}
	return fmt.Sprintf("%s served %.1f %% of the requests since this step began; its share is set to %d %%", r.Plan.Canary, 100**r.Observed, r.Weight)
}

// rolloutNotes are what was found out before a rollout began: how often the old version
// would have been stopped against itself, and what the plan cannot do in time.
func (a *app) rolloutNotes(r api.Rollout) {
	for _, words := range r.SelfChecks() {
		fmt.Fprintln(a.out, words)
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(a.out, "%s: %s\n", a.out.Paint(term.Amber, "warning"), w)
	}
}
