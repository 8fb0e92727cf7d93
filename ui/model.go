package ui

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/model"
)

// modelRow is a model that decisions rest on, as a line.
type modelRow struct {
	api.Model
	Link     string
	State    state
	Says     string // what it says, in words
	Sentence string
}

// modelKinds are what models say, in words.
var modelKinds = map[model.Kind]string{model.KindForecast: "how much load is to come", model.KindEffects: "what actions do"}

func newModelRow(m api.Model) modelRow {
	row := modelRow{Model: m, Link: "/models/" + m.Name, Says: cmp.Or(modelKinds[m.Kind], string(m.Kind))}
	switch {
	case m.Pinned != "":
		row.State, row.Sentence = state{"warn", "pinned"}, sentence(m.Active+" decides because "+m.Pinned)
	case m.Active == decide.ModelRules:
		row.State, row.Sentence = state{"unknown", "rules decide"}, sentence(m.Reason)
	case m.Skill != nil && *m.Skill < 0:
		row.State, row.Sentence = state{"warn", "worse than repeating"}, fmt.Sprintf("Over the newest day %s erred more than repeating the last season.", m.Active)
	case m.Skill == nil:
		row.State, row.Sentence = state{"active", "new"}, m.Active+" has not been held against anything yet."
	default:
		row.State, row.Sentence = state{"ok", "describes what comes"}, fmt.Sprintf("Over the newest day %s erred %s less than repeating the last season.", m.Active, percent(*m.Skill))
	}
	if m.Shadow != "" {
		row.Sentence += " " + m.Shadow + " runs beside."
	}
	return row
}

// models lists them, those that need a look first.
func models(v *view) (page, error) {
	p := page{Title: "Models", Nav: "/models"}
	list, err := v.s.Models(v.ctx)
	var rows []modelRow
	for _, m := range list {
		rows = append(rows, newModelRow(m))
	}
	urgent := map[string]int{"warn": -2, "unknown": -1}
	slices.SortStableFunc(rows, func(a, b modelRow) int { return urgent[a.State.Tone] - urgent[b.State.Tone] })
	p.add(v, "models", "", "models/list", newTable(rows, err))
	return p, nil
}

// modelDetail is what the parts of a model's page show.
type modelDetail struct {
	modelRow
	Calibration template.HTML
	Fitting     string // what the calibration says, in words
	Won         float64
	MayAct      bool
	Choices     []string // that may be rolled back to
	Origin      link     // what rests on it
}

// promotedAt is the evidence at which a version that runs beside decides.
const promotedAt = 100

func modelPage(v *view) (page, error) {
	m, err := v.s.Model(v.ctx, v.r.PathValue("name"))
	if err != nil {
		return page{}, err
	}
	d := modelDetail{modelRow: newModelRow(m), Won: part01(m.Evidence, promotedAt), MayAct: v.SignedIn && v.Can(string(api.RoleOperator), string(api.RoleApprover)), Origin: restsOn(m)}
	if m.Fit != nil {
		d.Calibration, d.Fitting = calibrationChart(*m.Fit), calibrationWords(*m.Fit)
	}
	for _, x := range slices.Backward(m.Versions) {
		if x.Name != m.Active {
			d.Choices = append(d.Choices, x.Name)
		}
	}
	if m.Active != decide.ModelRules {
		d.Choices = append(d.Choices, decide.ModelRules)
	}
	p := page{Title: "Model " + m.Name, Nav: "/models"}
	p.add(v, "verdict", "", "model/verdict", d)
	p.add(v, "calibration", "wide", "model/calibration", d)
	p.add(v, "versions", "wide", "model/versions", d)
	p.add(v, "act", "narrow", "model/act", d)
	p.add(v, "beside", "narrow", "model/beside", d)
	p.add(v, "changes", "", "model/changes", d)
	return p, nil
}

// restsOn is the page of what decides by a model.
func restsOn(m api.Model) link {
	parts := strings.Split(m.Name, "/")
	switch {
	case parts[0] == "strategy" && len(parts) > 1:
		return link{"/strategies/" + parts[1], "strategy " + parts[1]}
	case parts[0] == "objective" && len(parts) >= 4:
		return link{"/services/" + parts[1] + "/forecasts/" + parts[2] + "/" + parts[3], "forecast of " + parts[1]}
	}
	return link{"/services/" + m.Service, "service " + m.Service}
}

func rollbackModel(v *view) (string, error) { return v.orderModel(v.s.RollbackModel) }

func refitModel(v *view) (string, error) { return v.orderModel(v.s.RefitModel) }
