package ui

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
)

// rolloutRow is a rollout as a line or a card.
type rolloutRow struct {
	api.Rollout
	Title    string
	Link     string
	State    state
	Sentence string
	HarmPart float64 // of the way to the threshold, 0 to 1
	SafePart float64
	Lasted   time.Duration // 0 while it runs
	Spark    template.HTML
}

func rolloutRows(list []api.Rollout) []rolloutRow {
	var out []rolloutRow
	for _, r := range list {
		out = append(out, newRolloutRow(r))
	}
	return out
}

func newRolloutRow(r api.Rollout) rolloutRow {
	row := rolloutRow{
		Rollout: r, Title: r.Service + " " + r.Plan.Canary, Link: "/rollouts/" + r.ID,
		State: statusState(r.Status), Sentence: sentence(r.Reason),
	}
	if d := r.Decision; d != nil {
		row.HarmPart, row.SafePart = part01(d.Harm, d.AbortAt), part01(d.Safe, d.ShipAt)
		if row.Sentence == "" {
			row.Sentence = sentence(d.Words)
		}
	}
	if r.Status.Ended() && !r.Began.IsZero() {
		row.Lasted = r.Ended.Sub(r.Began)
	}
	return row
}

func part01(v, of float64) float64 {
	if of <= 0 {
		return 0
	}
	return max(0, min(1, finite(v)/of))
}

// rollouts lists them, newest first.
func rollouts(v *view) (page, error) {
	p := page{Title: "Rollouts", Nav: "/rollouts"}
	list, err := v.s.Rollouts(v.ctx, listed)
	p.add(v, "rollouts", "", "rollouts/list", newTable(rolloutRows(list), err))
	return p, nil
}

// arm is one side of the comparison.
type arm struct {
	Role, Version string
	Share         int
	Errors        assay.Rate
	Low, High     float64 // 95 % interval of the rate
}

// testRow is one sequential test of a decision.
type testRow struct {
	assay.TestValue
	HarmChart, SafeChart, Sizes template.HTML
	HarmPart, SafePart          float64
	Signal                      *assay.Signal
}

func testRows(d *assay.Decision) []testRow {
	if d == nil {
		return nil
	}
	var out []testRow
	for _, t := range d.Tests {
		row := testRow{
			TestValue: t, HarmPart: part01(t.Harm, d.AbortAt), SafePart: part01(t.Safe, d.ShipAt), Sizes: sizesChart(t.Sizes),
			HarmChart: beliefChart("harm", t.HarmBefore, t.Harm, d.AbortAt),
			SafeChart: beliefChart("safe", t.SafeBefore, t.Safe, d.ShipAt),
		}
		out = append(out, row)
	}
	return out
}

// candidateRow is an action that was weighed.
type candidateRow struct {
	assay.Candidate
	Name   string
	Chosen bool
	Part   float64 // of the largest expected loss
	Tone   string
	Ruled  bool          // by the declared rules of a strategy, which expect no loss of anything
	Fall   template.HTML // the parts of a mitigation's expected loss
	Parts  []lossPart
}

func candidateRows(d *assay.Decision) []candidateRow {
	if d == nil {
		return nil
	}
	most := 0.0
	for _, c := range d.Candidates {
		most = max(most, c.Errors)
	}
	var out []candidateRow
	low, high := lossEnds(d.Candidates)
	for _, c := range d.Candidates {
		row := candidateRow{Candidate: c, Name: actionWords(c.Action), Chosen: sameAction(c.Action, d.Action), Tone: "quiet"}
		standing := d.Canary == "" // a strategy compares no versions
		row.Ruled = standing && c.Loss == nil
		if standing && c.Action.Kind == assay.ActionHold && c.Action.Lever == "" {
			row.Name = "do nothing"
		}
		if c.Loss != nil {
			row.Fall, row.Parts = waterfall(*c.Loss, low, high), lossParts(*c.Loss)
		}
		if most > 0 {
			row.Part = c.Errors / most
		}
		if row.Chosen {
			row.Tone = "accent"
		}
		out = append(out, row)
	}
	return out
}

// sameAction compares what two actions would do.
func sameAction(a, b assay.Action) bool {
	return a.Kind == b.Kind && a.Weight == b.Weight && a.Lever == b.Lever && a.Scope == b.Scope && a.Want == b.Want
}

// actionWords names an action with the share that it leads to.
func actionWords(a assay.Action) string {
	if a.Lever != "" {
		where := string(a.Lever)
		if a.Scope != "" {
			where += " of " + a.Scope
		}
		if a.Kind == assay.ActionHold {
			return "leave " + where + " at " + num(a.Now)
		}
		return string(a.Kind) + " " + where + ": " + num(a.Now) + " → " + num(a.Want)
	}
	switch a.Kind {
	case assay.ActionAbort:
		return "abort"
	case assay.ActionHold:
		return fmt.Sprintf("hold at %d %%", a.Weight)
	case assay.ActionAsk:
		return "ask a person"
	}
	return fmt.Sprintf("%s to %d %%", a.Kind, a.Weight)
}

// rolloutDetail is what the parts of a rollout's page show.
type rolloutDetail struct {
	rolloutRow
	Arms       []arm
	Ratio      *assay.TestValue // the test that the error rates are compared by
	Decided    *decided         // what harm was shown in, if it was not the errors
	Tests      []testRow
	Candidates []candidateRow
	Evidence   template.HTML
	Share      template.HTML
	Counted    bool // the share among the requests of both versions, in the steps
	Errors     template.HTML
	Density    template.HTML // of the ratio
	Latencies  []latencyRow
	Mix        []mixRow
	Steps      []stepMark
	Rule       string   // by which requests reach the new version, "" if it is a share
	Trust      []string // how often a version that is no worse would have been stopped here
	MayAct     bool
	MayReturn  bool // to the version before: it has ended with all the traffic
}

// decided is what both versions had of the indicator in which harm was shown.
type decided struct {
	assay.TestValue
	What     string // its name, with the bound of a latency in words
	New, Old string
	Times    float64 // the old version's, 0 if nobody can say
}

// decidedBy is what a decision that shows harm rests on, nil if it is the errors that are
// shown anyway: who looks at those alone would not see why the version was stopped.
func decidedBy(d *assay.Decision, errors *assay.TestValue) *decided {
	at := decide.Decisive(d)
	if at < 0 || &d.Tests[at] == errors {
		return nil
	}
	t := d.Tests[at]
	out := decided{TestValue: t, What: t.Name, New: armWords(t, true), Old: armWords(t, false), Times: t.Ratio}
	if t.Measure == "" {
		out.New, out.Old, out.Times = shareOf(t.Canary), shareOf(t.Control), ratio(t.Canary, t.Control)
	}
	return &out
}

// shareOf is a share with the counts that it is made of.
func shareOf(r assay.Rate) string {
	if r.Total == 0 {
		return "no data"
	}
	return percent(float64(r.Bad)/float64(r.Total)) + ", " + num(r.Bad) + " of " + num(r.Total)
}

// latencyRow is one histogram of both versions.
type latencyRow struct {
	Indicator string
	Chart     template.HTML
}

// stepMark is one step of the plan.
type stepMark struct {
	Weight int
	Tone   string // done, now or next
}

func rolloutPage(v *view) (page, error) {
	r, err := v.s.Rollout(v.ctx, v.r.PathValue("id"))
	if err != nil {
		return page{}, err
	}
	d := newRolloutDetail(v, r)
	p := page{Title: d.Title, Nav: "/rollouts"}
	p.add(v, "verdict", "", "rollout/verdict", d)
	p.add(v, "evidence", "wide", "rollout/evidence", d)
	p.add(v, "course", "wide", "rollout/course", d)
	if len(d.Latencies) > 0 || len(d.Mix) > 0 {
		p.add(v, "shapes", "wide", "rollout/shapes", d)
	}
	p.add(v, "arms", "narrow", "rollout/arms", d)
	p.add(v, "act", "narrow", "rollout/act", d)
	p.add(v, "tests", "", "rollout/tests", d)
	p.add(v, "weighed", "left", "rollout/weighed", d)
	p.add(v, "guards", "right", "rollout/guards", d)
	list, err := v.s.Decisions(v.ctx, r.ID, 12)
	p.add(v, "history", "", "decisions/list", newTable(decisionRows(list), err))
	p.add(v, "about", "", "rollout/about", d)
	return p, nil
}

func newRolloutDetail(v *view, r api.Rollout) rolloutDetail {
	d := rolloutDetail{
		rolloutRow: newRolloutRow(r), Evidence: evidenceChart(r), Share: shareChart(r), Errors: errorsChart(r), Counted: len(r.Path) > 0,
		Tests: testRows(r.Decision), Candidates: candidateRows(r.Decision),
		MayAct:    !r.Status.Ended() && v.SignedIn && v.Can("operator", "approver"),
		MayReturn: r.Status == api.RolloutPromoted && v.SignedIn && v.Can("operator", "approver"),
	}
	for _, a := range []arm{
		{Role: "new", Version: r.Plan.Canary, Share: r.Weight, Errors: r.Canary},
		{Role: "old", Version: r.Plan.Control, Share: 100 - r.Weight, Errors: r.Control},
	} {
		if a.Role == "old" && r.Watch != nil && !r.Watch.Began.IsZero() {
			a.Role = "old, in its past"
		}
		_, a.Low, a.High = wilson(a.Errors)
		d.Arms = append(d.Arms, a)
	}
	if r.Decision != nil {
		if i := slices.IndexFunc(r.Decision.Tests, func(t assay.TestValue) bool { return t.Bound == 0 && t.Measure == "" }); i >= 0 {
			d.Ratio = &r.Decision.Tests[i]
			d.Density = ratioChart(*d.Ratio, r.Plan.Margin)
		}
		d.Decided = decidedBy(r.Decision, d.Ratio)
		if m := r.Decision.Mix; m != nil {
			d.Mix = mixRows(m.Strata)
		}
	}
	for _, l := range r.Latencies {
		if chart := latencyChart(l); chart != "" {
			d.Latencies = append(d.Latencies, latencyRow{l.Indicator, chart})
		}
	}
	d.Rule, d.Trust = ruleSentence(r), r.SelfChecks()
	for i, w := range r.Plan.Steps {
		tone := "next"
		switch {
		case r.Status == api.RolloutPromoted || r.Status == api.RolloutWatching || r.Weight > w:
			tone = "done"
		case r.Weight == w || i > 0 && r.Weight > r.Plan.Steps[i-1]:
			tone = "now"
		}
		d.Steps = append(d.Steps, stepMark{w, tone})
	}
	return d
}

// ruleSentence says how requests reach the new version, where it is not by a share.
func ruleSentence(r api.Rollout) string {
	switch {
	case r.Back != nil:
		return "a rollback from " + r.Plan.Control + ", which had all the traffic"
	case r.Strategy == api.StrategyBlueGreen:
		return "all the traffic at once, then watched"
	case r.Mirror != nil:
		return num(r.Mirror.Percent) + " % of the requests are copied to it; its answers are thrown away"
	case r.Match != nil && r.Match.Header != "":
		return "requests with " + r.Match.Header + ": " + r.Match.Value
	case r.Match != nil:
		return "requests with the cookie " + r.Match.Cookie + "=" + r.Match.Value
	}
	return ""
}

func promote(v *view) (string, error) {
	return v.command(v.s.PromoteRollout)
}

func approve(v *view) (string, error) {
	return v.command(v.s.ApproveRollout)
}

func rollback(v *view) (string, error) {
	r, err := v.s.RollbackRollout(v.ctx, api.RollbackRequest{Of: v.r.PathValue("id"), Reason: strings.TrimSpace(v.r.PostFormValue("reason"))})
	return "/rollouts/" + r.ID, err
}

func abort(v *view) (string, error) {
	return v.command(v.s.AbortRollout)
}
