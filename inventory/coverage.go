package inventory

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/exception"
	"assay.dev/assay/store"
)

// State says whether something that runs has a valid attestation.
type State string

const (
	Attested     State = "attested"     // a trusted, valid attestation says that it passed
	Unregistered State = "unregistered" // nobody ever asked a gate about it
	Unresolved   State = "unresolved"   // only its tag is known
	Refused      State = "refused"      // its newest enforcing verdict is not a pass
	Unattested   State = "unattested"   // it was judged, but never passed an enforcing gate for this environment
	Unverified   State = "unverified"   // an attestation exists and does not verify now
	Lapsed       State = "lapsed"       // it passed by an exception that is no longer in force
)

// Covered is one artifact in one environment.
type Covered struct {
	Artifact string       // digest, or image if that is all that is known
	Name     string       // as its newest verdict calls it, else its image
	Services []string     // that it serves there
	State    State        //
	Reason   string       // one sentence
	Gate     string       // of the attestation that counts
	Bundle   assay.Digest // that attestation
	Fact     assay.FactID // its attest.signed fact
}

// Coverage is Q-M2: how much of what runs in an environment is attested.
type Coverage struct {
	Environment string
	Running     int // different artifacts
	Attested    int // of those
	Artifacts   []Covered
}

// Ratio is the share of artifacts that are attested, 0 to 1. Of nothing there is no
// share: known is false.
func (c Coverage) Ratio() (ratio float64, known bool) {
	if c.Running == 0 {
		return 0, false
	}
	return float64(c.Attested) / float64(c.Running), true
}

// Measure says what coverage is measured with.
type Measure struct {
	Store     store.Store
	Blobs     store.Blobs
	Namespace string
	Trust     attest.TrustPolicy
	TTL       time.Duration // of sightings; 0 means DefaultTTL
}

// Coverages evaluates every artifact that runs, now: signature, trust, the verdict
// that it passed, and that the exceptions it used still hold. One environment if it
// is named, else all that anything runs in.
func Coverages(ctx context.Context, m Measure, environment string, now time.Time) ([]Coverage, error) {
	list, err := List(ctx, m.Store, m.Namespace, Filter{Environment: environment, TTL: m.TTL}, now)
	if err != nil {
		return nil, err
	}
	by := map[string]map[string]*Covered{}
	for _, v := range list {
		if by[v.Environment] == nil {
			by[v.Environment] = map[string]*Covered{}
		}
		c := by[v.Environment][v.Artifact()]
		if c == nil {
			c = &Covered{Artifact: v.Artifact(), Name: v.Image}
			by[v.Environment][v.Artifact()] = c
		}
		if !slices.Contains(c.Services, v.Service) {
			c.Services = append(c.Services, v.Service)
		}
	}
	out := []Coverage{}
	for _, env := range slices.Sorted(maps.Keys(by)) {
		cov := Coverage{Environment: env, Running: len(by[env]), Artifacts: []Covered{}}
		for _, k := range slices.Sorted(maps.Keys(by[env])) {
			c := by[env][k]
			if err := m.judge(ctx, env, c, now); err != nil {
				return nil, err
			}
			if c.State == Attested {
				cov.Attested++
			}
			cov.Artifacts = append(cov.Artifacts, *c)
		}
		slices.SortStableFunc(cov.Artifacts, func(a, b Covered) int {
			bad := func(c Covered) int { // what is missing comes first
				if c.State == Attested {
					return 1
				}
				return 0
			}
			return cmp.Or(bad(a)-bad(b), strings.Compare(a.Name, b.Name))
		})
		out = append(out, cov)
	}
	return out, nil
}

// judge fills in what an artifact is worth in an environment. An error means that
// it could not be found out.
func (m Measure) judge(ctx context.Context, env string, c *Covered, now time.Time) error {
	digest, err := assay.ParseDigest(c.Artifact)
	if err != nil {
		c.State, c.Reason = Unresolved, "only its tag is known, which may mean anything; report its digest"
		return nil
	}
	sum, err := artifact.Get(ctx, m.Store, m.Namespace, digest)
	if assay.CodeOf(err) == assay.CodeNotFound {
		c.State, c.Reason = Unregistered, "no gate was ever asked about it"
		return nil
	}
	if err != nil {
		return err
	}
	c.Name = sum.Subject.Name
	c.State, c.Reason = Unattested, fmt.Sprintf("no enforcing gate let it pass for %s", env)
	for _, a := range sum.Judgements {
		if a.Mode != assay.ModeEnforce || a.Environment != "" && a.Environment != env {
			continue
		}
		c.Gate, c.Bundle, c.Fact = a.Gate, a.Bundle, a.AttestedFact
		if a.Outcome != assay.OutcomePass {
			c.State, c.Reason = Refused, fmt.Sprintf("gate %s: the newest verdict is %s, of %s", a.Gate, a.Outcome, a.Time.Format(time.RFC3339))
			return nil // one gate that refuses is enough
		}
		state, why, err := m.verify(ctx, sum.Subject, a, now)
		if err != nil {
			return err
		}
		if c.State, c.Reason = state, why; state != Attested {
			return nil
		}
	}
	return nil
}

// verify checks one attestation that says that an artifact passed.
func (m Measure) verify(ctx context.Context, subject assay.Subject, a artifact.Attestation, now time.Time) (State, string, error) {
	data, err := artifact.ReadBundle(ctx, m.Blobs, a.Bundle)
	if code := assay.CodeOf(err); code == assay.CodeNotFound || code == assay.CodeUnverified {
		return Unverified, "its attestation is lost or damaged: " + err.Error(), nil
	}
	if err != nil {
		return "", "", err
	}
	var uri string
	var recorded time.Time
	var lapsed string
	err = m.Store.View(ctx, func(r store.Reader) error {
		row, err := r.Fact(m.Namespace, a.AttestedFact)
		if err != nil {
			return err
		}
		var said artifact.AttestedPayload
		if err := json.Unmarshal(row.Fact.Payload, &said); err != nil {
			return assay.Errorf(assay.CodeInternal, "fact %s cannot be read: %w", a.AttestedFact, err)
		}
		uri, recorded = said.ResourceURI, row.Fact.Recorded
		return nil
	})
	if err != nil {
		return "", "", err
	}
	if lapsed, err = m.lapsed(ctx, a, now); err != nil || lapsed != "" {
		return Lapsed, lapsed, err
	}
	report := attest.Verify(data, m.Trust, attest.Expect{
		Subject: string(subject.Digest), ResourceURI: cmp.Or(uri, subject.URI), Recorded: recorded,
	}, now)
	if err := report.Err(); err != nil {
		return Unverified, "gate " + a.Gate + ": " + err.Error(), nil
	}
	return Attested, fmt.Sprintf("gate %s let it pass at %s", a.Gate, a.Time.Format(time.RFC3339)), nil
}

// lapsed says which of the exceptions that a verdict used no longer holds, "" if all do.
func (m Measure) lapsed(ctx context.Context, a artifact.Attestation, now time.Time) (string, error) {
	for _, id := range a.UseFacts {
		var use exception.Use
		err := m.Store.View(ctx, func(r store.Reader) error {
			row, err := r.Fact(m.Namespace, id)
			if err != nil {
				return err
			}
			return json.Unmarshal(row.Fact.Payload, &use)
		})
		if err != nil {
			return "", err
		}
		e, err := exception.Get(ctx, m.Store, m.Namespace, use.ID)
		if err != nil {
			return "", err
		}
		if e.ActiveAt(now) {
			continue
		}
		if !e.Revoked.IsZero() {
			return fmt.Sprintf("gate %s let it pass by exception %s, which %s revoked at %s", a.Gate, e.ID, e.Revoker, e.Revoked.Format(time.RFC3339)), nil
		}
		return fmt.Sprintf("gate %s let it pass by exception %s, which ended at %s", a.Gate, e.ID, e.NotAfter.Format(time.RFC3339)), nil
	}
	return "", nil
}
