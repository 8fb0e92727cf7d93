package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/store"
)

// Kind is what a model says.
type Kind string

// The kinds.
const (
	KindForecast Kind = "forecast" // how much load is to come
	KindEffects  Kind = "effects"  // what actions do
)

const (
	// MaxVersions is how many versions of one model are remembered, the newest of them.
	MaxVersions = 20
	// Patience is how long a version runs beside without being ahead; then a newer one,
	// fitted on that time, takes its place.
	Patience = 3 * 24 * time.Hour

	bucket  = "model"
	actor   = "assay-model"
	payload = 1 // version of Payload
)

// Version is one version of a model.
type Version struct {
	Name string    `json:"version"` // v1, v2, …
	Made time.Time `json:"made"`
	// Since is the instant from which on it learns; zero is everything that is kept.
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason"` // it was fitted for, one sentence
}

// Model is a model with its versions. It is a value that its owner steps and puts back.
type Model struct {
	Namespace string      `json:"namespace"`
	Name      string      `json:"name"` // for example "strategy/shop-scale/load"
	Service   string      `json:"service"`
	Kind      Kind        `json:"kind"`
	Pinned    string      `json:"pinned,omitempty"` // who rolled it back and why: nothing is promoted meanwhile
	Care      decide.Care `json:"care"`
	Versions  []Version   `json:"versions"` // oldest first
	Made      int         `json:"made"`     // versions, ever

	row     int64 // version of the stored row, 0 if there is none
	pending []change
	stepped bool // since it was put
}

// change is a fact to be written with the model.
type change struct {
	kind string
	at   time.Time
	what Payload
}

// Payload is the payload of the facts model.refitted, model.demoted, model.promoted and
// model.rolled-back, version 1.
type Payload struct {
	Model  string    `json:"model"`
	Kind   Kind      `json:"kind"`
	From   string    `json:"from,omitempty"` // that decided before; none for a version that was fitted
	To     string    `json:"to"`             // that decides now, or was fitted
	Since  time.Time `json:"since,omitzero"` // a fitted version learns from then on
	Reason string    `json:"reason"`
}

// New is a model whose first version decides and learns from all that is kept.
func New(namespace, service, name string, kind Kind, now time.Time) Model {
	m := Model{Namespace: namespace, Name: name, Service: service, Kind: kind}
	v := m.fit(now, time.Time{}, "the first version")
	m.Care = decide.NewCare(v.Name)
	return m
}

// fit makes a version.
func (m *Model) fit(now, since time.Time, reason string) Version {
	m.Made++
	v := Version{Name: fmt.Sprintf("v%d", m.Made), Made: now.UTC(), Since: since, Reason: reason}
	m.Versions = append(slices.Clone(m.Versions), v)
	for len(m.Versions) > MaxVersions { // the one that decides is never forgotten
		i := slices.IndexFunc(m.Versions, func(x Version) bool { return x.Name != m.Care.Active })
		m.Versions = slices.Delete(m.Versions, i, i+1)
	}
	m.tell(assay.FactModelRefitted, now, Payload{To: v.Name, Since: v.Since, Reason: reason})
	return v
}

func (m *Model) tell(kind string, now time.Time, p Payload) {
	p.Model, p.Kind = m.Name, m.Kind
	m.pending = append(m.pending, change{kind, now.UTC(), p})
}

// Active is the version that decides; false if the rules do.
func (m *Model) Active() (Version, bool) { return m.version(m.Care.Active) }

// Shadow is the version that runs beside the one that decides, if there is one.
func (m *Model) Shadow() (Version, bool) { return m.version(m.Care.Shadow) }

func (m *Model) version(name string) (Version, bool) {
	i := slices.IndexFunc(m.Versions, func(v Version) bool { return v.Name == name })
	if i < 0 {
		return Version{}, false
	}
	return m.Versions[i], true
}

// Why is why the rules decide, "" if they do not.
func (m *Model) Why() string {
	if m.Care.Active != decide.ModelRules {
		return ""
	}
	if n := len(m.Care.Past); n > 0 {
		return "the model was demoted to rules: " + m.Care.Past[n-1].Reason
	}
	return "rules decide"
}

// Step takes one more step of the world in; back is the instant so many steps ago. What
// changes is a fact of the next Put.
func (m *Model) Step(cfg decide.CareConfig, came decide.Came, now time.Time, back func(steps int) time.Time) {
	next, changed := m.Care.Step(cfg, came, now)
	m.Care, m.stepped = next, true
	switch {
	case changed != nil && changed.To == decide.ModelRules:
		m.tell(assay.FactModelDemoted, now, Payload{From: changed.From, To: changed.To, Reason: changed.Reason})
		m.propose(now, back(max(changed.Recent, 1)), fmt.Sprintf("%s was demoted: what came since has been like now", changed.From))
	case changed != nil:
		m.tell(assay.FactModelPromoted, now, Payload{From: changed.From, To: changed.To, Reason: changed.Reason})
	default:
		// One that is ahead stays: to begin anew would throw its evidence away.
		if v, ok := m.Shadow(); ok && now.Sub(v.Made) >= Patience && m.Care.Evidence() < 1 {
			m.propose(now, now.Add(-Patience), fmt.Sprintf("%s has not been ahead for %s", v.Name, Patience))
		}
	}
}

// Ago is back of a Step for steps of one length.
func Ago(now time.Time, step time.Duration) func(int) time.Time {
	return func(steps int) time.Time { return now.Add(-time.Duration(steps) * step) }
}

// propose fits a version and lets it run beside, unless a person pinned what decides.
func (m *Model) propose(now, since time.Time, reason string) {
	if m.Pinned == "" {
		m.Care = m.Care.Propose(m.fit(now, since.UTC(), reason).Name)
	}
}

// rollback lets an earlier version, or the rules, decide.
func (m *Model) rollback(to, who, reason string, now time.Time) error {
	known := []string{decide.ModelRules}
	for _, v := range m.Versions {
		known = append(known, v.Name)
	}
	switch {
	case !slices.Contains(known, to):
		return &assay.Error{Code: assay.CodeInvalid, Field: "to", Msg: strict.OneOf(to, known), Hint: "see them with: assay model show " + m.Name}
	case to == m.Care.Active && m.Pinned != "":
		return assay.Errorf(assay.CodeConflict, "%s of model %s decides already: %s", to, m.Name, m.Pinned)
	}
	from := m.Care.Active
	m.Care = m.Care.Rollback(to, who, now)
	m.Pinned = who + ": " + reason
	m.tell(assay.FactModelRolledBack, now, Payload{From: from, To: to, Reason: reason})
	return nil
}

// Put writes the model and its facts within a transaction, and returns what is to be
// called once that is committed. CodeConflict if somebody changed the model since it was
// loaded: then it is to be loaded anew. who names whom facts are of, "" the machine.
func (m *Model) Put(tx store.Tx, who string) (committed func(), err error) {
	if !m.stepped && len(m.pending) == 0 {
		return func() {}, nil
	}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "model %s cannot be stored: %w", m.Name, err)
	}
	row, err := tx.Put(m.key(), data, m.row)
	if err != nil {
		return nil, err
	}
	for _, c := range m.pending {
		f := assay.Fact{
			Kind: c.kind, Version: payload, Time: c.at, Namespace: m.Namespace, Service: m.Service, Actor: actor, Retention: assay.RetainOperational,
		}
		if who != "" {
			f.Actor, f.Retention = who, assay.RetainAudit
		}
		if f.Payload, err = json.Marshal(c.what); err != nil {
			return nil, assay.Errorf(assay.CodeInternal, "fact %s of model %s cannot be written: %w", c.kind, m.Name, err)
		}
		if _, err := tx.Append(f); err != nil {
			return nil, err
		}
	}
	return func() { m.row, m.pending, m.stepped = row, nil, false }, nil
}

// Changed reports whether facts wait for a Put.
func (m *Model) Changed() bool { return len(m.pending) > 0 }

func (m *Model) key() store.Key {
	return store.Key{Namespace: m.Namespace, Bucket: bucket, Name: m.Name}
}
