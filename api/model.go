package api

import (
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/model"
)

// Model is a model that decisions rest on, as it stands.
type Model struct {
	Name     string             `json:"name"`
	Service  string             `json:"service"`
	Kind     model.Kind         `json:"kind"`
	Active   string             `json:"active"`                // the version that decides, or rules
	Reason   string             `json:"reason,omitempty"`      // why the rules decide
	Shadow   string             `json:"shadow,omitempty"`      // the version that runs beside
	Evidence float64            `json:"evidence"`              // that the shadow errs less, this many to one; promoted at 100
	Pinned   string             `json:"pinned,omitempty"`      // who rolled it back and why
	Steps    int                `json:"steps"`                 // that the active version was held against
	Skill    *float64           `json:"skill,omitempty"`       // over the newest day, against repeating the last season
	Versions []model.Version    `json:"versions"`              // oldest first
	Changes  []ModelChange      `json:"changes"`               // of who decides, oldest first
	Fit      *infer.Calibration `json:"calibration,omitempty"` // of the active version's newest steps
}

// ModelChange is that another version decides since a time.
type ModelChange = decide.ModelChange

// ModelOrder is what a person wants of a model: an earlier version, or a new one.
type ModelOrder struct {
	Model  string `json:"model"`
	To     string `json:"to,omitempty"` // version, or rules; of a rollback alone
	Reason string `json:"reason"`
}

// ModelOf is a model as it is shown.
func ModelOf(m model.Model) Model {
	c := m.Care
	out := Model{
		Name: m.Name, Service: m.Service, Kind: m.Kind, Active: c.Active, Reason: m.Why(), Shadow: c.Shadow, Evidence: c.Evidence(),
		Pinned: m.Pinned, Steps: c.Steps, Versions: m.Versions, Changes: append([]ModelChange{}, c.Past...),
	}
	if c.Errors[1] > 0 {
		out.Skill = new(1 - c.Errors[0]/c.Errors[1])
	}
	if fit, err := infer.Calibrate(c.PITs); err == nil {
		out.Fit = &fit
	}
	return out
}
