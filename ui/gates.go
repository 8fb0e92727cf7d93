package ui

import (
	"encoding/json"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
)

// payload decodes what a fact says. Facts are ours: one that cannot be read is
// left out of a list, and shown as it is on its own page.
func payload[T any](f assay.Fact) (T, bool) {
	var p T
	err := json.Unmarshal(f.Payload, &p)
	return p, err == nil
}

// verdictRow is a gate's verdict with what it objected to.
type verdictRow struct {
	Fact         assay.Fact
	Verdict      artifact.VerdictPayload
	State        state
	Sentence     string
	Next         string            // what to do about it
	Violations   []assay.Violation // from the attestation; listed up to attest.MaxListed
	Exceptions   []assay.ExceptionUse
	Satisfied    int
	Absent       int
	AttestedFact assay.FactID
	Bundle       assay.Digest
	KeyID        string
	Levels       []string
	Trouble      *trouble // why the objections are not shown
}

// verdicts are the newest verdicts, of one artifact if it is named.
func (v *view) verdicts(subject assay.Digest, limit int) ([]verdictRow, error) {
	facts, err := v.s.Facts(v.ctx, []string{assay.FactVerdict}, subject, limit)
	if err != nil {
		return nil, err
	}
	attested, err := v.s.Facts(v.ctx, []string{assay.FactAttested}, subject, 2*limit)
	if err != nil {
		return nil, err
	}
	signed := map[assay.FactID]assay.Fact{} // by the verdict that caused it
	for _, f := range attested {
		for _, cause := range f.Causes {
			signed[cause] = f
		}
	}
	var out []verdictRow
	for _, f := range facts {
		p, ok := payload[artifact.VerdictPayload](f)
		if !ok {
			continue
		}
		row := verdictRow{Fact: f, Verdict: p, State: outcomeState(p.Outcome), Levels: p.Levels}
		for _, r := range p.Requirements {
			switch r.State {
			case assay.Satisfied:
				row.Satisfied++
			case assay.Missing:
				row.Absent++
			}
		}
		if at, ok := signed[f.ID]; ok {
			v.addAttestation(&row, at)
		}
		row.Sentence, row.Next = verdictSentence(row), verdictNext(row)
		out = append(out, row)
	}
	return out, nil
}

// addAttestation adds what only the signed summary says: the objections.
func (v *view) addAttestation(row *verdictRow, f assay.Fact) {
	said, ok := payload[artifact.AttestedPayload](f)
	if !ok {
		return
	}
	row.AttestedFact, row.Bundle, row.KeyID = f.ID, said.BundleDigest, said.KeyID
	if row.Verdict.Violations == 0 && len(row.Verdict.Exceptions) == 0 {
		return
	}
	summary, err := v.summary(said.BundleDigest)
	if err != nil {
		row.Trouble = troubleOf(err)
		return
	}
	row.Exceptions = summary.Exceptions
	if summary.Violations != nil {
		row.Violations = summary.Violations.Violations
	}
}

// summary reads an attestation of this installation. Its digest stands in an
// audit fact, so these are the bytes that were signed here; whether a stranger
// may rely on them is for attest.Verify to say.
func (v *view) summary(bundle assay.Digest) (attest.Summary, error) {
	data, err := v.s.Bundle(v.ctx, bundle)
	if err != nil {
		return attest.Summary{}, err
	}
	env, err := attest.ParseSigned(data)
	if err != nil {
		return attest.Summary{}, err
	}
	st, err := attest.ParseStatement(env.Payload)
	if err != nil {
		return attest.Summary{}, err
	}
	return attest.ParseSummary(st.Predicate)
}

func verdictSentence(row verdictRow) string {
	p := row.Verdict
	n := len(p.Requirements)
	switch {
	case p.Outcome == assay.OutcomePass && len(p.Exceptions) > 0:
		return "Passed under " + plural(len(p.Exceptions), "exception", "exceptions") + "."
	case p.Outcome == assay.OutcomePass:
		return num(n) + " of " + plural(n, "required piece of evidence is", "required pieces of evidence are") + " there, and no rule objects."
	case p.Outcome == assay.OutcomeAbsent:
		return plural(row.Absent, "required piece of evidence is", "required pieces of evidence are") + " missing: the gate could not know."
	case row.Absent > 0:
		return plural(p.Violations, "violation", "violations") + ", and " + plural(row.Absent, "piece of evidence is", "pieces of evidence are") + " missing."
	}
	return plural(p.Violations, "violation", "violations") + "."
}

// verdictNext is what whoever was refused can do.
func verdictNext(row verdictRow) string {
	switch row.Verdict.Outcome {
	case assay.OutcomePass:
		return ""
	case assay.OutcomeAbsent:
		return "make the missing evidence and judge the artifact again with assay attest --evidence FILE."
	}
	return "fix what is objected to and judge the new artifact, or ask for an exception that somebody else approves."
}

// gates lists the newest verdicts.
func gates(v *view) (page, error) {
	p := page{Title: "Gates", Nav: "/gates"}
	list, err := v.verdicts("", 25)
	p.add(v, "verdicts", "", "gates/list", newTable(list, err))
	return p, nil
}

// artifactRow is an artifact as a line.
type artifactRow struct {
	api.Artifact
	State state
}

// artifacts lists what was judged.
func artifacts(v *view) (page, error) {
	p := page{Title: "Artifacts", Nav: "/gates"}
	list, err := v.s.Artifacts(v.ctx, assay.Digest(v.r.FormValue("after")), listed)
	var rows []artifactRow
	for _, a := range list {
		rows = append(rows, artifactRow{a, judgement(a)})
	}
	p.add(v, "artifacts", "", "artifacts/list", newTable(rows, err))
	return p, nil
}

// judgement is the worst of what the gates say of an artifact now.
func judgement(a api.Artifact) state {
	worst := assay.OutcomePass
	for _, j := range a.Judgements {
		if j.Outcome == assay.OutcomeFail || j.Outcome == assay.OutcomeAbsent && worst == assay.OutcomePass {
			worst = j.Outcome
		}
	}
	if len(a.Judgements) == 0 {
		return state{"unknown", "not judged"}
	}
	return outcomeState(worst)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
