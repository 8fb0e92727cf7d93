package report

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

//go:embed frameworks/*.yaml
var files embed.FS

// Framework is a catalogue of controls and where their evidence is.
type Framework struct {
	Name     string    `json:"name"`
	Title    string    `json:"title"`
	Version  string    `json:"version"`
	Source   string    `json:"source"` // where it is published
	Controls []Control `json:"controls"`
}

// Control is one thing that an auditor asks for.
type Control struct {
	ID        string  `json:"id"`
	Title     string  `json:"title"`
	Text      string  `json:"text"`
	Queries   []Query `json:"queries,omitempty"`
	Gap       string  `json:"gap,omitempty"`       // what the evidence does not show
	Uncovered string  `json:"uncovered,omitempty"` // why there is none; instead of Queries
}

// Query asks for evidence: facts of a period, or the coverage now.
type Query struct {
	Title    string             `json:"title"`
	Facts    []string           `json:"facts,omitempty"`    // kinds
	Outcome  assay.Outcome      `json:"outcome,omitempty"`  // only facts with this outcome
	Evidence assay.EvidenceKind `json:"evidence,omitempty"` // only verdicts in which this kind was required and satisfied
	System   bool               `json:"system,omitempty"`   // facts of the installation, not of the namespace
	Optional bool               `json:"optional,omitempty"` // that there is none is no gap
	Coverage float64            `json:"coverage,omitempty"` // smallest share of what runs that must be attested, instead of Facts
}

// Frameworks lists the names of the frameworks that reports can be made for.
func Frameworks() []string {
	entries, _ := files.ReadDir("frameworks") // embedded: it cannot fail
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Lookup returns a framework by name.
func Lookup(name string) (Framework, error) {
	if !slices.Contains(Frameworks(), name) {
		return Framework{}, &assay.Error{Code: assay.CodeInvalid, Field: "framework", Msg: strict.OneOf(name, Frameworks())}
	}
	data, err := files.ReadFile("frameworks/" + name + ".yaml")
	if err != nil {
		return Framework{}, err
	}
	return ParseFramework(data)
}

// MaxFramework is the largest framework file, in bytes.
const MaxFramework = 1 << 20

// ParseFramework reads a framework, strictly.
func ParseFramework(data []byte) (Framework, error) {
	var f Framework
	if len(data) > MaxFramework {
		return f, assay.Errorf(assay.CodeTooLarge, "the framework has %d bytes; at most %d are read", len(data), MaxFramework)
	}
	if err := strict.YAML(data, &f); err != nil {
		return f, err
	}
	if f.Name == "" || f.Title == "" || len(f.Controls) == 0 {
		return f, assay.Errorf(assay.CodeInvalid, "the framework has no name, title or controls")
	}
	seen := map[string]bool{}
	for i, c := range f.Controls {
		at := fmt.Sprintf("controls[%d]", i)
		if c.ID == "" || c.Title == "" || c.Text == "" || seen[c.ID] {
			return f, &assay.Error{Code: assay.CodeInvalid, Field: at, Msg: "lacks an id of its own, a title or a text"}
		}
		seen[c.ID] = true
		if (len(c.Queries) == 0) == (c.Uncovered == "") {
			return f, &assay.Error{Code: assay.CodeInvalid, Field: at, Msg: "needs either queries, or the reason why it is not covered"}
		}
		for j, q := range c.Queries {
			if q.Title == "" || (len(q.Facts) == 0) == (q.Coverage == 0) || q.Coverage < 0 || q.Coverage > 1 {
				return f, &assay.Error{Code: assay.CodeInvalid, Field: fmt.Sprintf("%s.queries[%d]", at, j), Msg: "needs a title, and either facts or a coverage from 0 to 1"}
			}
		}
	}
	return f, nil
}
