package control

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/inventory"
	"assay.dev/assay/store"
)

// Report takes in what a source sees running.
func (s *Session) Report(ctx context.Context, req api.InventoryReport) (api.InventoryChange, error) {
	if err := s.require(api.RoleAgent, api.RoleOperator); err != nil {
		return api.InventoryChange{}, err
	}
	r := inventory.Report{
		Namespace: s.caller.Namespace, Actor: s.caller.Name, Source: s.source(req.Source),
		Complete: req.Complete, Environment: req.Environment,
	}
	for _, g := range req.Sightings {
		r.Sightings = append(r.Sightings, inventory.Sighting(g))
	}
	out, err := inventory.Push(ctx, s.p.cfg.Store, r, s.p.cfg.Now())
	if err == nil && out.Appeared+out.Gone > 0 {
		s.p.cfg.Poke()
	}
	return api.InventoryChange(out), err
}

// source is who a report speaks for. A complete report ends what its source saw before,
// so an agent speaks for itself only: what it names is a part of it. Operators may
// speak for anybody.
func (s *Session) source(named string) string {
	own := s.caller.Name + "/"
	switch {
	case named == "" || named == s.caller.Name:
		return s.caller.Name
	case s.caller.Has(api.RoleOperator) || strings.HasPrefix(named, own):
		return named
	}
	return own + named
}

// Inventory lists what runs: in one environment or one artifact, if they are named.
func (s *Session) Inventory(ctx context.Context, environment string, digest assay.Digest) ([]api.Running, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	if _, err := assay.ParseDigest(string(digest)); digest != "" && err != nil {
		return nil, fieldError("digest", err)
	}
	return s.p.running(ctx, s.caller.Namespace, environment, digest)
}

func (p *Plane) running(ctx context.Context, namespace, environment string, digest assay.Digest) ([]api.Running, error) {
	list, err := inventory.List(ctx, p.cfg.Store, namespace, inventory.Filter{Environment: environment, Digest: digest}, p.cfg.Now())
	out := make([]api.Running, 0, len(list))
	for _, v := range list {
		out = append(out, api.Running(v))
	}
	return out, err
}

// inventoried answers where artifacts run from the inventory.
type inventoried struct{ p *Plane }

// Running implements Running.
func (i inventoried) Running(ctx context.Context, namespace string, digests []assay.Digest) ([]api.RunningArtifact, error) {
	wanted := map[assay.Digest]bool{}
	for _, d := range digests {
		wanted[d] = true
	}
	list, err := i.p.running(ctx, namespace, "", "")
	if err != nil {
		return nil, err
	}
	where := map[assay.Digest][]string{}
	for _, v := range list {
		at := v.Service + " in " + v.Environment
		if wanted[v.Digest] && !slices.Contains(where[v.Digest], at) {
			where[v.Digest] = append(where[v.Digest], at)
		}
	}
	out := []api.RunningArtifact{}
	for _, d := range digests {
		if where[d] != nil {
			out = append(out, api.RunningArtifact{Digest: d, Where: strings.Join(where[d], ", ")})
			delete(where, d)
		}
	}
	return out, nil
}

// Coverage says for each environment how much of what runs is attested, now.
func (s *Session) Coverage(ctx context.Context, environment string) ([]api.Coverage, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	return s.p.Coverage(ctx, s.caller.Namespace, environment)
}

// Coverage measures a namespace. Without keys nothing is believed, and nothing is attested.
func (p *Plane) Coverage(ctx context.Context, namespace, environment string) ([]api.Coverage, error) {
	trust, err := p.Trust(ctx)
	if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return nil, err
	}
	now := p.cfg.Now().UTC()
	list, err := inventory.Coverages(ctx, inventory.Measure{
		Store: p.cfg.Store, Blobs: p.cfg.Blobs, Namespace: namespace, Trust: trust.Policy,
	}, environment, now)
	out := make([]api.Coverage, 0, len(list))
	for _, c := range list {
		ratio, _ := c.Ratio() // what is listed runs
		v := api.Coverage{Environment: c.Environment, Time: now, Running: c.Running, Attested: c.Attested, Ratio: ratio, Artifacts: []api.Covered{}}
		for _, a := range c.Artifacts {
			v.Artifacts = append(v.Artifacts, api.Covered{
				Artifact: a.Artifact, Name: a.Name, Services: a.Services, State: string(a.State), Reason: a.Reason, Gate: a.Gate, Bundle: a.Bundle, Fact: a.Fact,
			})
		}
		out = append(out, v)
	}
	return out, err
}

// Findings lists the vulnerabilities found in what runs, the most severe first; with
// closed also those that are closed.
func (s *Session) Findings(ctx context.Context, closed bool) ([]api.Finding, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	list, err := inventory.Findings(ctx, s.p.cfg.Store, s.caller.Namespace, closed, s.p.cfg.Now())
	return apiFindings(list), err
}

func apiFindings(list []inventory.Finding) []api.Finding {
	out := make([]api.Finding, 0, len(list))
	for _, f := range list {
		v := api.Finding{
			ID: f.ID, Advisory: f.Advisory, Aliases: f.Aliases, Severity: f.Severity, Summary: f.Summary, Package: f.Package, Fixed: f.Fixed,
			Note: f.Note, Artifact: f.Artifact, Name: f.Name, Places: apiPlaces(f.Places), Database: f.Database, Opened: f.Opened, Fact: f.Fact,
			Closed: f.Closed, ClosedFor: f.ClosedFor, Standing: string(f.Standing()),
		}
		if f.VEX != nil {
			v.VEX = new(api.VEXWord(*f.VEX))
		}
		for _, e := range f.Excused {
			v.Excused = append(v.Excused, api.Excuse(e))
		}
		out = append(out, v)
	}
	return out
}

func apiPlaces(list []inventory.Place) []api.Place {
	out := make([]api.Place, 0, len(list))
	for _, p := range list {
		out = append(out, api.Place(p))
	}
	return out
}

// Scan holds what runs against this installation's database of advisories.
func (s *Session) Scan(ctx context.Context) (api.Scan, error) {
	if err := s.require(api.RoleOperator); err != nil {
		return api.Scan{}, err
	}
	return s.p.Scan(ctx, s.caller.Namespace, s.caller.Name)
}

// Scan searches a namespace in the name of actor; the installation's own job calls it too.
func (p *Plane) Scan(ctx context.Context, namespace, actor string) (api.Scan, error) {
	if p.cfg.Advisories == nil {
		return api.Scan{}, &assay.Error{Code: assay.CodeConflict, Msg: "no database of advisories is configured",
			Hint: "give a folder or zip file of OSV records with --advisories"}
	}
	in := inventory.Search{Store: p.cfg.Store, Blobs: p.cfg.Blobs, Namespace: namespace, Actor: actor}
	pol, err := p.cfg.Policy()
	switch {
	case err == nil:
		in.TrustVEX = inventory.Trusts(pol.Revision, namespace)
	case assay.CodeOf(err) != assay.CodeNotFound: // without a policy directory no gate believes anybody
		return api.Scan{}, err
	}
	var problems []string
	if p.cfg.VEX != nil {
		if in.VEX, problems, err = p.cfg.VEX(ctx); err != nil {
			return api.Scan{}, err
		}
	}
	d, err := inventory.Discover(ctx, in, p.cfg.Advisories, p.cfg.Now())
	if err != nil {
		return api.Scan{}, err
	}
	p.cfg.Poke()
	return apiScan(d, problems), nil
}

func apiScan(d inventory.Discovered, problems []string) api.Scan {
	out := api.Scan{
		Problems: problems,
		Database: api.Database(d.Database), Artifacts: d.Artifacts, Components: d.Components, Skipped: d.Skipped, Doubts: d.Doubts,
		Opened: d.Opened, Closed: d.Closed, Findings: apiFindings(d.Open),
	}
	for _, u := range d.Unexamined {
		out.Unexamined = append(out.Unexamined, api.Unexamined{Artifact: u.Artifact, Places: apiPlaces(u.Places), Reason: u.Reason})
	}
	for _, f := range d.Open {
		switch f.Standing() {
		case inventory.FindingOpen:
			out.Open++
		case inventory.FindingNotAffected:
			out.Dismissed++
		case inventory.FindingExcused:
			out.Excused++
		}
	}
	return out
}

// RebuildIndex makes the index of the namespace's artifacts again from the facts.
func (s *Session) RebuildIndex(ctx context.Context) (api.Rebuilt, error) {
	if err := s.require(api.RoleOperator); err != nil {
		return api.Rebuilt{}, err
	}
	r, err := artifact.Rebuild(ctx, s.p.cfg.Store, s.caller.Namespace)
	return api.Rebuilt(r), err
}

// Verdict returns the full verdict of an attestation: its requirements, violations and evidence.
func (s *Session) Verdict(ctx context.Context, bundle assay.Digest) (assay.Verdict, error) {
	if err := s.read(); err != nil {
		return assay.Verdict{}, err
	}
	a, err := artifact.FindBundle(ctx, s.p.cfg.Store, s.caller.Namespace, bundle)
	if err != nil {
		return assay.Verdict{}, err
	}
	r, err := s.p.cfg.Blobs.Open(ctx, a.Document)
	if err != nil {
		return assay.Verdict{}, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, artifact.MaxVerdict+1)) // reading to the end verifies the digest
	if err != nil {
		return assay.Verdict{}, err
	}
	var v assay.Verdict
	if err := json.Unmarshal(data, &v); err != nil {
		return v, assay.Errorf(assay.CodeInternal, "verdict %s cannot be read: %w", a.Document, err)
	}
	return v, nil
}

// ObserveFrom asks a source what runs, every interval until ctx ends, and ends what
// expired; src may be nil. failed is told what went wrong.
func (p *Plane) ObserveFrom(ctx context.Context, src inventory.Source, namespace string, interval time.Duration, failed func(error)) error {
	poking := poker{p.cfg.Store, p.cfg.Poke}
	return inventory.Follow(ctx, poking, src, namespace, "assay.inventory", interval, p.cfg.Now, failed)
}

// poker tells the sequencer of what it commits.
type poker struct {
	store.Store
	poke func()
}

// Update implements store.Store.
func (s poker) Update(ctx context.Context, fn func(store.Tx) error) error {
	err := s.Store.Update(ctx, fn)
	s.poke()
	return err
}
