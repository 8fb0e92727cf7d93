package advisory

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// Limits of one OSV record; above them it is assay.CodeTooLarge.
const (
	// MaxAdvisory is the size of one record, in bytes.
	MaxAdvisory = 16 << 20
	// MaxAffected is how many packages one record may name.
	MaxAffected = 20_000
	// MaxVersions is how many versions one package may list, and how many events its ranges may have together.
	MaxVersions = 200_000
	// MaxText is the longest id, name or version, in bytes; a longer summary is cut.
	MaxText = 1000
)

// Advisory is one OSV record, as far as matching needs it.
type Advisory struct {
	ID        string
	Aliases   []string // other ids of the same vulnerability
	Summary   string
	Modified  time.Time
	Withdrawn time.Time // zero if it stands
	Severity  assay.Severity
	Affected  []Affected
}

// Affected says which versions of one package are concerned.
type Affected struct {
	Ecosystem Ecosystem
	Release   string // "12" of "Debian:12"; "" for all
	Name      string // as Ecosystem spells it
	Versions  []string
	Ranges    []Range
}

// Range is a list of events on the line of versions.
type Range struct {
	Git    bool // about commits, which a bill of materials does not know
	Events []Event
}

// Event is one event; exactly one field is set. Introduced "0" is before every version.
type Event struct {
	Introduced   string `json:"introduced"`
	Fixed        string `json:"fixed"`
	LastAffected string `json:"last_affected"`
	Limit        string `json:"limit"` // "*" is behind every version
}

// record is the JSON of OSV, schema 1.x; fields that do not matter here are left out.
type record struct {
	ID        string    `json:"id"`
	Aliases   []string  `json:"aliases"`
	Summary   string    `json:"summary"`
	Details   string    `json:"details"`
	Modified  time.Time `json:"modified"`
	Withdrawn time.Time `json:"withdrawn"`
	Severity  []score   `json:"severity"`
	Affected  []struct {
		Package struct {
			Ecosystem string `json:"ecosystem"`
			Name      string `json:"name"`
		} `json:"package"`
		Severity []score `json:"severity"`
		Ranges   []struct {
			Type   string  `json:"type"`
			Events []Event `json:"events"`
		} `json:"ranges"`
		Versions []string        `json:"versions"`
		Database json.RawMessage `json:"database_specific"`
		System   json.RawMessage `json:"ecosystem_specific"`
	} `json:"affected"`
	Database json.RawMessage `json:"database_specific"`
}

type score struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

// ParseAdvisory reads one OSV record. What is not an OSV record is
// assay.CodeInvalid, what is above a limit assay.CodeTooLarge; fields that OSV may
// get in later versions are let be.
func ParseAdvisory(data []byte) (Advisory, error) {
	if len(data) > MaxAdvisory {
		return Advisory{}, assay.Errorf(assay.CodeTooLarge, "the advisory has %d bytes; at most %d are read", len(data), MaxAdvisory)
	}
	if !utf8.Valid(data) {
		return Advisory{}, assay.Errorf(assay.CodeInvalid, "the advisory is not valid UTF-8")
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return Advisory{}, assay.Errorf(assay.CodeInvalid, "the advisory is not an OSV record: %w", err)
	}
	if err := checkText("id", r.ID); err != nil {
		return Advisory{}, err
	}
	if len(r.Affected) > MaxAffected {
		return Advisory{}, assay.Errorf(assay.CodeTooLarge, "advisory %s names %d packages; at most %d are read", r.ID, len(r.Affected), MaxAffected)
	}
	a := Advisory{ID: r.ID, Summary: summary(r), Modified: r.Modified.UTC(), Withdrawn: r.Withdrawn, Severity: severity(r)}
	for _, alias := range r.Aliases {
		if checkText("aliases", alias) == nil && !slices.Contains(a.Aliases, alias) && len(a.Aliases) < evidence.MaxList {
			a.Aliases = append(a.Aliases, alias)
		}
	}
	for i := range r.Affected {
		one, err := affected(r, i)
		if err != nil {
			return Advisory{}, err
		}
		a.Affected = append(a.Affected, one)
	}
	return a, nil
}

func affected(r record, i int) (Affected, error) {
	in := r.Affected[i]
	a := Affected{Versions: in.Versions}
	if in.Package.Ecosystem == "" && in.Package.Name == "" {
		return a, nil // about commits only
	}
	for field, text := range map[string]string{"package.ecosystem": in.Package.Ecosystem, "package.name": in.Package.Name} {
		if err := checkText("affected."+field, text); err != nil {
			return a, err
		}
	}
	a.Ecosystem, a.Release = ParseEcosystem(in.Package.Ecosystem)
	a.Name = a.Ecosystem.normal(in.Package.Name)
	events := 0
	for _, rg := range in.Ranges {
		if events += len(rg.Events); events > MaxVersions {
			break
		}
		out := Range{Git: rg.Type == "GIT"}
		for _, e := range rg.Events {
			if e.Introduced == "" && e.Fixed == "" && e.LastAffected == "" && e.Limit == "" {
				return a, assay.Errorf(assay.CodeInvalid, "advisory %s has a range with an event that says nothing", r.ID)
			}
			out.Events = append(out.Events, e)
		}
		a.Ranges = append(a.Ranges, out)
	}
	if len(in.Versions) > MaxVersions || events > MaxVersions {
		return a, assay.Errorf(assay.CodeTooLarge, "advisory %s lists more than %d versions of %s", r.ID, MaxVersions, in.Package.Name)
	}
	return a, nil
}

// summary is one line for people.
func summary(r record) string {
	s := r.Summary
	if s == "" {
		s, _, _ = strings.Cut(strings.TrimSpace(r.Details), "\n")
	}
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
	if len(s) > MaxText {
		s = strings.ToValidUTF8(s[:MaxText], "") + "…"
	}
	return strings.TrimSpace(s)
}

// severity is the highest rating that anybody gave the advisory.
func severity(r record) assay.Severity {
	var vectors, words []string
	add := func(scores []score, specific ...json.RawMessage) {
		for _, s := range scores {
			vectors = append(vectors, s.Score)
		}
		for _, raw := range specific {
			var d struct {
				Severity string `json:"severity"`
			}
			if len(raw) > 0 && json.Unmarshal(raw, &d) == nil { // what a database adds has no fixed shape
				words = append(words, d.Severity)
			}
		}
	}
	add(r.Severity, r.Database)
	for _, a := range r.Affected {
		add(a.Severity, a.Database, a.System)
	}
	return evidence.Rate(vectors, words)
}

// checkText refuses what could not be shown to a person or kept as a key.
func checkText(field, s string) error {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	if s == "" || len(s) > MaxText || strings.ContainsFunc(s, hidden) {
		return &assay.Error{Code: assay.CodeInvalid, Field: field, Msg: "is not 1 to 1000 bytes of printable characters"}
	}
	return nil
}
