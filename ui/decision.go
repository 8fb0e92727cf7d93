package ui

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
)

// command tells a rollout what the form says.
func (v *view) command(do func(context.Context, string, api.RolloutCommand) (api.Rollout, error)) (string, error) {
	r, err := do(v.ctx, v.r.PathValue("id"), api.RolloutCommand{Reason: strings.TrimSpace(v.r.PostFormValue("reason"))})
	return "/rollouts/" + r.ID, err
}

// decisionRow is a recorded decision as a line.
type decisionRow struct {
	api.Decision
	Link     string
	Title    string // what it is about
	Done     string // what the world said when it was done
	Loss     string // that a strategy expected of its choice, in shares of the error budget
	State    state
	HarmPart float64
	SafePart float64
}

func decisionRows(list []api.Decision) []decisionRow {
	var out []decisionRow
	for _, d := range list {
		out = append(out, newDecisionRow(d))
	}
	return out
}

func newDecisionRow(d api.Decision) decisionRow {
	title, done := d.Decision.Service+" "+d.Decision.Canary, ""
	if d.Strategy != "" {
		title = d.Strategy
	}
	switch a := d.Action; {
	case a == nil:
	case a.Action.Lever != "":
		done = targetWords(a.Action.Target()) + " " + leverValue(a.Action.Target(), a.Stands)
	default:
		done = num(a.Observed) + " %"
	}
	loss := ""
	for _, c := range d.Decision.Candidates {
		if c.Loss != nil && sameAction(c.Action, d.Decision.Action) {
			loss = budgetShare(c.Loss.Total)
		}
	}
	return decisionRow{
		Decision: d, Title: title, Done: done, Loss: loss, Link: "/decisions/" + string(d.ID), State: choiceState(d.Decision.Action.Kind),
		HarmPart: part01(d.Decision.Harm, d.Decision.AbortAt), SafePart: part01(d.Decision.Safe, d.Decision.ShipAt),
	}
}

func choiceState(k assay.ActionKind) state {
	tone := map[assay.ActionKind]string{
		assay.ActionAbort: "bad", assay.ActionFinish: "ok", assay.ActionAdvance: "active", assay.ActionAsk: "warn", assay.ActionHold: "quiet",
		assay.ActionAdjust: "active", assay.ActionRestore: "ok", assay.ActionStop: "bad", assay.ActionPage: "warn",
	}[k]
	if tone == "" {
		tone = "unknown"
	}
	return state{tone, string(k)}
}

// decisions lists the newest.
func decisions(v *view) (page, error) {
	p := page{Title: "Decisions", Nav: "/decisions"}
	list, err := v.s.Decisions(v.ctx, v.r.FormValue("rollout"), listed)
	p.add(v, "decisions", "", "decisions/list", newTable(decisionRows(list), err))
	return p, nil
}

// decisionDetail is what the parts of a decision's page show.
type decisionDetail struct {
	decisionRow
	Tests      []testRow
	Candidates []candidateRow
	Beliefs    []beliefRow // of a mitigation
	Outcome    *assay.ActionOutcome
	Rollout    *api.Rollout
	Replay     *replay
}

// replay is what making the decision again came to.
type replay struct {
	State    state
	Sentence string
	Choice   string // what was chosen now
	Trouble  *trouble
	Took     time.Duration
	Bytes    int
}

func decision(v *view) (page, error) {
	rec, err := v.s.Decision(v.ctx, assay.FactID(v.r.PathValue("id")))
	if err != nil {
		return page{}, err
	}
	d := decisionDetail{decisionRow: newDecisionRow(rec), Tests: testRows(&rec.Decision), Candidates: candidateRows(&rec.Decision), Beliefs: beliefRows(rec.Decision)}
	if r, err := v.s.Rollout(v.ctx, rec.Rollout); err == nil {
		d.Rollout = &r
		if o := r.Outcome; o != nil && rec.Action != nil && o.Action.Kind == rec.Action.Action.Kind && o.Action.Weight == rec.Action.Action.Weight {
			d.Outcome = o
		}
	}
	if v.r.FormValue("replay") != "" {
		d.Replay = v.replay(rec.ID)
	}
	p := page{Title: "Decision", Nav: "/decisions"}
	p.add(v, "sentence", "", "decision/sentence", d)
	p.add(v, "belief", "", "decision/belief", d)
	p.add(v, "weighed", "left", "rollout/weighed", d)
	p.add(v, "inputs", "left", "decision/inputs", d)
	if rec.Decision.Expected != nil {
		p.add(v, "expected", "right", "decision/expected", d)
	}
	p.add(v, "replay", "right", "decision/replay", d)
	p.add(v, "guards", "right", "decision/guards", d)
	return p, nil
}

// replay makes a recorded decision again and compares.
func (v *view) replay(id assay.FactID) *replay {
	data, err := v.s.DecisionRecord(v.ctx, id)
	if err != nil {
		return &replay{State: state{"unknown", "not replayed"}, Trouble: troubleOf(err)}
	}
	began := v.ui.cfg.Now()
	again, err := decide.Replay(data)
	out := &replay{Took: v.ui.cfg.Now().Sub(began), Bytes: len(data)}
	switch {
	case err != nil:
		out.State, out.Trouble = state{"bad", "cannot be replayed"}, troubleOf(err)
	case again.Identical:
		out.State, out.Sentence = state{"ok", "identical"}, fmt.Sprintf("The same %s bytes came out.", num(len(data)))
	case again.SameChoice:
		out.State = state{"warn", "same choice, other bytes"}
		out.Sentence = difference(data, again)
	default:
		out.State = state{"bad", "different"}
		out.Sentence = difference(data, again)
	}
	if err == nil {
		out.Choice = actionWords(again.Decision.Action)
	}
	return out
}

// difference says where two forms of a record part.
func difference(was []byte, again decide.Replayed) string {
	at := 0
	for at < min(len(was), len(again.Bytes)) && was[at] == again.Bytes[at] {
		at++
	}
	line := 1 + bytes.Count(was[:at], []byte("\n"))
	said := fmt.Sprintf("The records part at byte %s (line %d).", num(at), line)
	if now := again.Decision.Engine; again.Engine != now {
		said += fmt.Sprintf(" It was made by engine %s; this is %s.", again.Engine, now)
	}
	return said
}
