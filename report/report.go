package report

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
)

// Limits of a report.
const (
	// MaxLines is how many lines of evidence one query shows: the newest. It counts all.
	MaxLines = 1000
	// DefaultLines is how many it shows unless more are asked for.
	DefaultLines = 25
	// MaxReport is the largest report that is read, in bytes.
	MaxReport = 256 << 20
)

// State says what a report found for a control.
type State string

const (
	Evidenced  State = "evidenced"   // every query that must find something did
	Gap        State = "gap"         // evidence that should be there is not
	NotCovered State = "not-covered" // Assay has no evidence of this
)

// Report is the evidence for a framework's controls in a period.
type Report struct {
	Type      string         `json:"type"` // ReportType
	Framework string         `json:"framework"`
	Title     string         `json:"title"`
	Version   string         `json:"version"` // of the framework
	Source    string         `json:"source"`
	Namespace string         `json:"namespace"`
	From      time.Time      `json:"from"` // inclusive
	To        time.Time      `json:"to"`   // exclusive
	Made      time.Time      `json:"made"`
	Head      api.Head       `json:"head"` // the ledger's head when it was made
	Controls  []Answer       `json:"controls"`
	Coverage  []Environ      `json:"coverage"`
	Counts    map[string]int `json:"counts"` // of controls, by state
}

// ReportType names the format of a report.
const ReportType = "https://assay.dev/report/compliance/v1"

// Environ is the coverage of one environment when the report was made.
type Environ struct {
	Environment string   `json:"environment"`
	Running     int      `json:"running"`
	Attested    int      `json:"attested"`
	Missing     []string `json:"missing"` // what runs without a valid attestation, with the reason
}

// Answer is what was found for one control.
type Answer struct {
	ID     string  `json:"id"`
	Title  string  `json:"title"`
	Text   string  `json:"text"`
	State  State   `json:"state"`
	Reason string  `json:"reason"`           // one sentence
	Limits string  `json:"limits,omitempty"` // what the evidence does not show
	Found  []Found `json:"found"`
}

// Found is the evidence that one query found.
type Found struct {
	Title      string `json:"title"`
	Optional   bool   `json:"optional,omitempty"`
	Total      int    `json:"total"`              // that match in the period
	Unproved   int    `json:"unproved"`           // of the lines: the ledger does not cover them yet
	Lines      []Line `json:"lines"`              // the newest
	Coverage   bool   `json:"coverage,omitempty"` // the evidence is the report's coverage
	Sufficient bool   `json:"sufficient"`
}

// Line is one fact, with its proof.
type Line struct {
	Fact        assay.FactID    `json:"fact"`
	Kind        string          `json:"kind"`
	Time        time.Time       `json:"time"`
	Namespace   string          `json:"namespace"`
	Actor       string          `json:"actor"`
	Environment string          `json:"environment,omitempty"`
	Subject     assay.Digest    `json:"subject,omitempty"`
	Summary     string          `json:"summary"`
	Proved      bool            `json:"proved"`
	Index       uint64          `json:"index"`           // of the leaf, if it is proved
	Proof       json.RawMessage `json:"proof,omitempty"` // a proof file, as assay ledger prove writes it
}

// Config is what Build reads.
type Config struct {
	Store     store.Store
	Outbox    store.Outbox
	Ledger    artifact.Prover
	Head      api.Head
	System    string // the namespace of facts that belong to the installation
	Namespace string
	Coverage  []api.Coverage // as of now
	Lines     int            // 0 means DefaultLines
}

// Build makes the report of a period. A fact that the ledger does not cover yet is
// shown without a proof and counted apart; it evidences nothing.
func Build(ctx context.Context, cfg Config, f Framework, from, to, now time.Time) (Report, error) {
	if !from.Before(to) {
		return Report{}, &assay.Error{Code: assay.CodeInvalid, Field: "to", Msg: "is not after from"}
	}
	if cfg.Lines = cmp.Or(cfg.Lines, DefaultLines); cfg.Lines < 0 || cfg.Lines > MaxLines {
		return Report{}, &assay.Error{Code: assay.CodeInvalid, Field: "lines", Msg: fmt.Sprintf("is not from 1 to %d", MaxLines)}
	}
	r := Report{
		Type: ReportType, Framework: f.Name, Title: f.Title, Version: f.Version, Source: f.Source, Namespace: cfg.Namespace,
		From: from.UTC(), To: to.UTC(), Made: now.UTC(), Head: cfg.Head, Counts: map[string]int{}, Coverage: environs(cfg.Coverage),
	}
	b := &builder{Config: cfg, from: from, to: to, proofs: map[assay.FactID]Line{}}
	for _, c := range f.Controls {
		a, err := b.answer(ctx, c)
		if err != nil {
			return Report{}, err
		}
		r.Counts[string(a.State)]++
		r.Controls = append(r.Controls, a)
	}
	return r, nil
}

func environs(list []api.Coverage) []Environ {
	out := []Environ{}
	for _, c := range list {
		e := Environ{Environment: c.Environment, Running: c.Running, Attested: c.Attested, Missing: []string{}}
		for _, v := range c.Artifacts {
			if v.State != "attested" {
				e.Missing = append(e.Missing, fmt.Sprintf("%s (%s): %s, %s", cmp.Or(v.Name, v.Artifact), strings.Join(v.Services, ", "), v.State, v.Reason))
			}
		}
		out = append(out, e)
	}
	return out
}

type builder struct {
	Config
	from, to time.Time
	proofs   map[assay.FactID]Line // lines that were made already
}

func (b *builder) answer(ctx context.Context, c Control) (Answer, error) {
	a := Answer{ID: c.ID, Title: c.Title, Text: c.Text, Limits: c.Gap, Found: []Found{}}
	if c.Uncovered != "" {
		a.State, a.Reason = NotCovered, c.Uncovered
		return a, nil
	}
	var missing []string
	for _, q := range c.Queries {
		found, err := b.find(ctx, q)
		if err != nil {
			return a, err
		}
		if !found.Sufficient {
			missing = append(missing, q.Title)
		}
		a.Found = append(a.Found, found)
	}
	if len(missing) > 0 {
		a.State, a.Reason = Gap, "Nothing that is proved was found for: "+strings.Join(missing, "; ")+"."
		if slices.ContainsFunc(a.Found, func(f Found) bool { return f.Coverage && !f.Sufficient }) {
			a.Reason += " Of coverage: see what runs without a valid attestation."
		}
		return a, nil
	}
	total := 0
	for _, f := range a.Found {
		total += f.Total
	}
	a.State, a.Reason = Evidenced, counted(total, "fact")+" in the period."
	return a, nil
}

// find answers one query.
func (b *builder) find(ctx context.Context, q Query) (Found, error) {
	found := Found{Title: q.Title, Optional: q.Optional, Lines: []Line{}}
	if q.Coverage > 0 {
		found.Coverage, found.Sufficient = true, len(b.Coverage) > 0
		for _, c := range b.Coverage {
			found.Total += c.Running
			found.Sufficient = found.Sufficient && c.Ratio >= q.Coverage
		}
		return found, nil
	}
	facts, total, err := b.matching(ctx, q)
	if err != nil {
		return found, err
	}
	found.Total = total
	for _, f := range facts {
		line, err := b.line(ctx, f)
		if err != nil {
			return found, err
		}
		if !line.Proved {
			found.Unproved++
		}
		found.Lines = append(found.Lines, line)
	}
	found.Sufficient = q.Optional || len(found.Lines) > found.Unproved
	return found, nil
}

// matching returns the newest facts that a query asks for, and how many there are.
func (b *builder) matching(ctx context.Context, q Query) (newest []assay.Fact, total int, err error) {
	namespace := b.Namespace
	if q.System {
		namespace = b.System
	}
	err = b.Store.View(ctx, func(r store.Reader) error {
		for before := int64(0); ; {
			rows, err := r.Facts(store.Query{
				Namespace: namespace, Kinds: q.Facts, Since: b.from, Until: b.to, Newest: true, After: before, Limit: store.DefaultLimit,
			})
			if err != nil || len(rows) == 0 {
				return err
			}
			for _, row := range rows {
				before = row.Commit
				if row.Fact.Retention != assay.RetainAudit || !q.accepts(read(row.Fact)) {
					continue
				}
				if total++; len(newest) < b.Lines {
					newest = append(newest, row.Fact)
				}
			}
		}
	})
	return newest, total, err
}

// line proves one fact.
func (b *builder) line(ctx context.Context, f assay.Fact) (Line, error) {
	if l, done := b.proofs[f.ID]; done {
		return l, nil
	}
	l := Line{
		Fact: f.ID, Kind: f.Kind, Time: f.Time, Namespace: f.Namespace, Actor: f.Actor, Environment: f.Environment, Subject: f.Subject, Summary: read(f).summary(f),
	}
	spy := &spy{Prover: b.Ledger}
	proof, err := artifact.ProveFact(ctx, b.Outbox, spy, f.Namespace, f.ID)
	switch code := assay.CodeOf(err); {
	case err == nil:
		l.Proved, l.Index, l.Proof = true, spy.index, proof
	case code != assay.CodeUnavailable && code != assay.CodeNotFound:
		return l, err
	}
	b.proofs[f.ID] = l
	return l, nil
}

// spy remembers where the leaf of the last proof is.
type spy struct {
	artifact.Prover
	index uint64
}

// Prove implements artifact.Prover.
func (s *spy) Prove(ctx context.Context, namespace string, id assay.FactID) (ledger.Proof, error) {
	p, err := s.Prover.Prove(ctx, namespace, id)
	s.index = p.Index
	return p, err
}

// ParseReport reads a report that was written as JSON. It verifies nothing.
func ParseReport(data []byte) (Report, error) {
	var r Report
	if len(data) > MaxReport {
		return r, assay.Errorf(assay.CodeTooLarge, "the report has %d bytes; at most %d are read", len(data), MaxReport)
	}
	if err := strict.JSON(data, &r); err != nil {
		return r, err
	}
	if r.Type != ReportType {
		return r, &assay.Error{Code: assay.CodeInvalid, Field: "type", Msg: fmt.Sprintf("is %.80q; expected %s", r.Type, ReportType)}
	}
	return r, nil
}

// Checked says what Verify checked.
type Checked struct {
	Lines    int `json:"lines"`    // different facts
	Unproved int `json:"unproved"` // of those, shown without a proof
}

// Verify checks a report offline: every line that claims to be proved is in the
// ledger of the given key, and is the fact that the line names. It does not judge
// whether the report shows all there is. The first line that does not hold is
// assay.CodeUnverified.
func Verify(r Report, ledgerKey string) (Checked, error) {
	var out Checked
	seen := map[assay.FactID]bool{}
	for _, a := range r.Controls {
		for _, f := range a.Found {
			for _, l := range f.Lines {
				if l.Time.Before(r.From) || !l.Time.Before(r.To) {
					return out, assay.Errorf(assay.CodeUnverified, "control %s, fact %s: it is of %s, outside the period of the report", a.ID, l.Fact, l.Time.Format(time.RFC3339))
				}
				if err := l.verify(ledgerKey); err != nil {
					return out, assay.Errorf(assay.CodeUnverified, "control %s, fact %s: %w", a.ID, l.Fact, err)
				}
				if seen[l.Fact] {
					continue
				}
				seen[l.Fact] = true
				out.Lines++
				if !l.Proved {
					out.Unproved++
				}
			}
		}
	}
	return out, nil
}

func (l Line) verify(ledgerKey string) error {
	if !l.Proved {
		if len(l.Proof) > 0 {
			return assay.Errorf(assay.CodeUnverified, "it has a proof and says that it has none")
		}
		return nil
	}
	p, err := artifact.VerifyFactProof(l.Proof, ledgerKey)
	if err != nil {
		return err
	}
	f := assay.Fact{ID: p.ID, Kind: p.Kind, Namespace: p.Namespace, Actor: p.Actor, Environment: p.Environment, Subject: p.Subject, Payload: p.Payload}
	if p.ID != l.Fact || p.Kind != l.Kind || p.Namespace != l.Namespace || p.Actor != l.Actor || read(f).summary(f) != l.Summary ||
		!p.Time.Equal(l.Time) || p.Environment != l.Environment || p.Subject != l.Subject || p.Index != l.Index {
		return assay.Errorf(assay.CodeUnverified, "the ledger holds another fact than the line says")
	}
	return nil
}
