package ui

import (
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/control"
)

// artifactDetail is what the parts of an artifact's page show.
type artifactDetail struct {
	api.Artifact
	State    state
	Doubt    string // why a pass does not count, in a sentence
	Verdicts []verdictRow
	Signed   []signedRow
	Places   []placeRow
	Runs     []runsAs
	Rollouts []rolloutRow
}

// signedRow is one attestation: what it says, who signed it, what it leaned on.
type signedRow struct {
	Fact       assay.Fact
	Says       string // gate or kind of statement
	Outcome    *state // nil for a statement, which says what was found and judges nothing
	KeyID      string
	Key        *keyRow // nil if it is none of this installation's
	Believed   state
	Exceptions []string // ids
	Bundle     assay.Digest
	Entry      entryRow
}

// placeRow is where the inventory sees the artifact, and whether it may be there.
type placeRow struct {
	api.Running
	Covered *coveredRow // what coverage says of it in that environment, nil if it is not measured
}

// runsAs is a place where an artifact serves.
type runsAs struct {
	Service, Route string
	versionRow
}

func artifactPage(v *view) (page, error) {
	digest, err := assay.ParseDigest(v.r.PathValue("digest"))
	if err != nil {
		return page{}, err
	}
	found, err := v.s.Artifact(v.ctx, digest)
	if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return page{}, err
	}
	d := artifactDetail{Artifact: found, State: judgement(found)}
	d.Subject.Digest = digest
	traffic, _ := v.traffic() // where it runs is left out while the enforcer does not answer
	for _, r := range routeRows(traffic.Status, "") {
		for _, ver := range r.Versions {
			if ver.Digest == digest {
				d.Runs = append(d.Runs, runsAs{r.Service, r.Name, ver})
			}
		}
	}
	list, err := v.s.Rollouts(v.ctx, 200)
	if err != nil {
		return page{}, err
	}
	for _, r := range list {
		if r.Digest == digest {
			d.Rollouts = append(d.Rollouts, newRolloutRow(r))
		}
	}
	if d.Verdicts, err = v.verdicts(digest, 20); err != nil {
		return page{}, err
	}
	if d.Signed, err = v.signed(digest, d.Verdicts); err != nil {
		return page{}, err
	}
	d.Places = v.places(digest)
	d.doubt()
	if d.Total == 0 && len(d.Places) == 0 && len(d.Signed) == 0 && len(d.Runs) == 0 && len(d.Rollouts) == 0 && len(d.Verdicts) == 0 {
		return page{}, &assay.Error{Code: assay.CodeNotFound, Msg: "nothing is known of the artifact " + string(digest), Hint: "judge it with: assay attest FILE"}
	}
	p := page{Title: orElse(d.Subject.Name, digest.Short()), Nav: "/gates"}
	p.add(v, "artifact", "", "artifact/title", d)
	p.add(v, "runs", "", "artifact/runs", d)
	p.add(v, "signed", "", "artifact/signed", d)
	p.add(v, "verdicts", "", "gates/list", newTable(d.Verdicts, nil))
	return p, nil
}

// doubt takes a pass back that nobody believes any more: a gate's verdict outlives
// the key that signed it and the exception it leaned on.
func (d *artifactDetail) doubt() {
	if d.State.Tone != "ok" {
		return
	}
	for _, p := range d.Places {
		if p.Covered != nil && p.Covered.Word.Tone != "ok" {
			d.State = p.Covered.Word
			d.Doubt = "It runs in " + p.Environment + " and does not count as attested there: " + sentence(p.Covered.Reason)
		}
	}
	for _, s := range d.Signed {
		counts := slices.ContainsFunc(d.Judgements, func(j api.Judgement) bool { return j.Fact == s.Fact.ID })
		if counts && s.Believed.Tone == "bad" {
			d.State = state{"bad", "not believed"}
			d.Doubt = "A gate let it pass, and signed that with a key whose word does not count for it: " + s.Believed.Word + "."
		}
	}
}

// places are where the inventory sees an artifact. A page does without it while it
// cannot be read.
func (v *view) places(digest assay.Digest) []placeRow {
	list, _ := v.s.Inventory(v.ctx, "", digest)
	coverage, _ := v.coverage()
	var out []placeRow
	for _, r := range list {
		row := placeRow{Running: r}
		for _, c := range coverage {
			for _, a := range c.Artifacts {
				if c.Environment == r.Environment && a.Artifact == string(digest) {
					row.Covered = &coveredRow{Covered: a, Digest: digest, Word: coveredState(a.State), Command: coverageFix(a, c.Environment)}
				}
			}
		}
		out = append(out, row)
	}
	return out
}

// signed are the newest attestations of an artifact, the newest first: verdicts and
// statements.
func (v *view) signed(digest assay.Digest, verdicts []verdictRow) ([]signedRow, error) {
	facts, err := v.s.Facts(v.ctx, []string{assay.FactAttested, assay.FactStatementSigned}, digest, 20)
	if err != nil {
		return nil, err
	}
	used := map[assay.FactID][]string{} // by the fact of the attestation
	for _, row := range verdicts {
		used[row.AttestedFact] = row.Verdict.Exceptions
	}
	keys := v.keyNames()
	var out []signedRow
	for _, f := range facts {
		row := signedRow{Fact: f, Exceptions: used[f.ID], Entry: v.entry(f), Believed: state{"unknown", "key not known here"}}
		if f.Kind == assay.FactAttested {
			said, ok := payload[artifact.AttestedPayload](f)
			if !ok {
				continue
			}
			row.Says, row.Outcome, row.KeyID, row.Bundle = "gate "+said.Gate, new(outcomeState(said.Outcome)), said.KeyID, said.BundleDigest
		} else {
			said, ok := payload[control.StatementPayload](f)
			if !ok {
				continue
			}
			row.Says, row.KeyID, row.Bundle = said.PredicateType, said.KeyID, said.BundleDigest
		}
		if k, ok := keys[row.KeyID]; ok {
			row.Key, row.Believed = &k, believed(k.Key, f.Recorded)
		}
		out = append(out, row)
	}
	return out, nil
}

// believed says whether a key's word counts for what the ledger recorded at t.
func believed(k api.Key, t time.Time) state {
	switch {
	case k.Revoked != nil && !t.Before(k.Revoked.CompromisedSince):
		return state{"bad", "key revoked"}
	case !k.NotAfter.IsZero() && t.After(k.NotAfter):
		return state{"bad", "after its key's end"}
	case t.Before(k.NotBefore):
		return state{"bad", "before its key's beginning"}
	}
	return state{"ok", "key trusted"}
}
