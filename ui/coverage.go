package ui

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// coverageFresh is how long a measurement is shown: each one verifies the
// signature of everything that runs.
const coverageFresh = 5 * time.Second

// coverage measures how much of what runs is attested.
func (v *view) coverage() ([]api.Coverage, error) {
	return shared(v, v.ui.coverage, func(ctx context.Context) ([]api.Coverage, error) {
		return v.s.Coverage(ctx, "")
	})
}

// coverageRow is one environment.
type coverageRow struct {
	api.Coverage
	State   state
	Missing []coveredRow // by name; what is attested is apart
	Good    []coveredRow
}

// coveredRow is one artifact in one environment.
type coveredRow struct {
	api.Covered
	Digest  assay.Digest // "" if only its tag is known
	Word    state
	Command string // that fixes it
}

// coverageDetail is what the parts of the page show.
type coverageDetail struct {
	State             state
	Sentence          string
	Running, Attested int
	Environments      table[coverageRow]
	Findings          table[findingRow]
}

// findingRow is a vulnerability that became known in something that runs.
type findingRow struct {
	api.Finding
	Word  state
	Why   string // nobody has to act, "" if somebody has
	Where []string
}

// coveragePage says how much of what runs is attested, and what to do about the rest.
func coveragePage(v *view) (page, error) {
	p := page{Title: "Coverage", Nav: "/coverage"}
	list, err := v.coverage()
	d := coverageSummary(list, err)
	findings, findErr := v.s.Findings(v.ctx, false)
	d.Findings = newTable(findingRows(findings), findErr)
	p.add(v, "summary", "", "coverage/summary", d)
	for _, e := range d.Environments.Rows {
		p.add(v, "env-"+e.Environment, "", "coverage/environment", e)
	}
	p.add(v, "checks", "", "coverage/verification", newRateDetail(v.verification()))
	p.add(v, "findings", "", "coverage/findings", d)
	return p, nil
}

func coverageSummary(list []api.Coverage, err error) coverageDetail {
	d := coverageDetail{}
	var rows []coverageRow
	for _, c := range list {
		rows = append(rows, newCoverageRow(c))
		d.Running, d.Attested = d.Running+c.Running, d.Attested+c.Attested
	}
	d.Environments = newTable(rows, err)
	d.State = coverageState(d.Attested, d.Running)
	switch missing := d.Running - d.Attested; {
	case d.Running == 0:
		d.Sentence = "Nothing is known to run."
	case missing == 0:
		d.Sentence = "Everything that is known to run has an attestation that is valid now."
	default:
		d.Sentence = plural(missing, "artifact runs", "artifacts run") + " without an attestation that is valid now."
	}
	return d
}

// coverageState is a count of artifacts in a word.
func coverageState(attested, running int) state {
	switch {
	case running == 0:
		return state{"unknown", "not known"}
	case attested == running:
		return state{"ok", "all attested"}
	}
	return state{"warn", num(attested) + " of " + num(running) + " attested"}
}

func newCoverageRow(c api.Coverage) coverageRow {
	row := coverageRow{Coverage: c, State: coverageState(c.Attested, c.Running)}
	for _, a := range c.Artifacts {
		r := coveredRow{Covered: a, Word: coveredState(a.State), Command: coverageFix(a, c.Environment)}
		if digest, err := assay.ParseDigest(a.Artifact); err == nil {
			r.Digest = digest
		}
		if a.State == "attested" {
			row.Good = append(row.Good, r)
		} else {
			row.Missing = append(row.Missing, r)
		}
	}
	return row
}

// coveredState gives a state of package inventory its tone: what nobody knows is
// not the same as what was refused.
func coveredState(s string) state {
	switch s {
	case "attested":
		return state{"ok", s}
	case "refused", "unverified":
		return state{"bad", s}
	case "lapsed", "unattested":
		return state{"warn", s}
	}
	return state{"unknown", s}
}

// coverageFix is the command that makes an artifact count.
func coverageFix(a api.Covered, environment string) string {
	judge := "assay attest --digest " + a.Artifact + " --name NAME"
	if a.Name != "" {
		judge = "assay attest --digest " + a.Artifact + " --name " + shellWord(a.Name)
	}
	judge += " --environment " + shellWord(environment) + " --evidence FILE"
	switch a.State {
	case "attested":
		return ""
	case "unresolved":
		return `assay inventory push running.json --environment ` + shellWord(environment) + `  # with "digest" beside "image"`
	}
	return judge
}

// shellWord quotes what a shell would not take as one word: names come from
// agents, and commands are copied.
func shellWord(s string) string {
	special := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:@+=", r)
	}
	if s != "" && !strings.ContainsFunc(s, special) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func findingRows(list []api.Finding) []findingRow {
	var out []findingRow
	for _, f := range list[:min(len(list), listed)] {
		row := findingRow{Finding: f, Word: state{"warn", string(f.Severity)}}
		switch {
		case f.VEX != nil:
			row.Word, row.Why = state{"quiet", "not affected"}, f.VEX.Words+"; says "+f.VEX.By
		case len(f.Excused) > 0:
			row.Word, row.Why = state{"quiet", "excused"}, "by an exception, until "+f.Excused[0].Until.UTC().Format(time.DateOnly)
		case f.Severity == assay.SeverityCritical || f.Severity == assay.SeverityHigh:
			row.Word.Tone = "bad"
		}
		where := map[string]bool{}
		for _, p := range f.Places {
			where[p.Service+" in "+p.Environment] = true
		}
		row.Where = slices.Sorted(maps.Keys(where))
		out = append(out, row)
	}
	return out
}
