package ui

import (
	"slices"
	"strings"

	"assay.dev/assay"
)

// factDetail is what the parts of a fact's page show.
type factDetail struct {
	Entry   entryRow
	Causes  []assay.Fact
	Effects []assay.Fact
	Related link // the page that tells the same in words
}

type link struct{ Href, Text string }

func factPage(v *view) (page, error) {
	f, err := v.s.Fact(v.ctx, assay.FactID(v.r.PathValue("id")))
	if err != nil {
		return page{}, err
	}
	d := factDetail{Entry: v.entry(f), Related: related(f)}
	for _, id := range f.Causes {
		if cause, err := v.s.Fact(v.ctx, id); err == nil {
			d.Causes = append(d.Causes, cause)
		}
	}
	if d.Effects, err = v.s.Effects(v.ctx, f.ID, 25); err != nil {
		return page{}, err
	}
	p := page{Title: "Fact", Nav: "/log"}
	p.add(v, "fact", "", "fact/title", d)
	p.add(v, "causes", "left", "fact/causes", d)
	p.add(v, "effects", "right", "fact/effects", d)
	p.add(v, "payload", "", "fact/payload", d)
	return p, nil
}

// related finds the page that tells what a fact is about.
func related(f assay.Fact) link {
	type named struct {
		Rollout string `json:"rollout"`
	}
	switch {
	case f.Kind == assay.FactRolloutDecided || f.Kind == assay.FactMitigationDecided:
		return link{"/decisions/" + string(f.ID), "the decision in words"}
	case strings.HasPrefix(f.Kind, "rollout."):
		if p, ok := payload[named](f); ok && p.Rollout != "" {
			return link{"/rollouts/" + p.Rollout, "its rollout"}
		}
	case slices.Contains(mitigationKinds, f.Kind):
		if _, of := mitigationDeed(f); of != "" {
			return link{"/strategies/" + of, "its strategy"}
		}
	case strings.HasPrefix(f.Kind, "exception."):
		return link{"/exceptions", "the exceptions"}
	case f.Subject != "":
		return link{"/artifacts/" + string(f.Subject), "its artifact"}
	}
	return link{}
}

// hit is something that a search found.
type hit struct {
	Kind, Text, Detail, Link string
}

// found are the hits of a search.
type found struct {
	Query string
	Hits  []hit
}

// maxHits is how many hits a search shows.
const maxHits = 50

// search looks for ids and digests by their beginning, and for names by any part.
// What is found is listed, also if it is found alone.
func search(v *view) (page, error) {
	q := strings.TrimSpace(v.r.FormValue("q"))
	q = q[:min(len(q), 200)]
	f := found{Query: q}
	if q != "" {
		var err error
		if f.Hits, err = v.find(strings.ToLower(strings.TrimPrefix(strings.ToLower(q), "sha256:"))); err != nil {
			return page{}, err
		}
	}
	p := page{Title: "Search", Nav: ""}
	p.add(v, "found", "", "search/found", f)
	return p, nil
}

func (v *view) find(q string) ([]hit, error) {
	var hits []hit
	add := func(h hit, prefixes []string, names ...string) {
		byPrefix := func(s string) bool { return strings.HasPrefix(strings.TrimPrefix(strings.ToLower(s), "sha256:"), q) }
		byName := func(s string) bool { return s != "" && strings.Contains(strings.ToLower(s), q) }
		if len(hits) < maxHits && !slices.Contains(hits, h) && (slices.ContainsFunc(prefixes, byPrefix) || slices.ContainsFunc(names, byName)) {
			hits = append(hits, h)
		}
	}
	rolls, err := v.s.Rollouts(v.ctx, 200)
	if err != nil {
		return nil, err
	}
	for _, r := range rolls {
		add(hit{"service", r.Service, "", "/services/" + r.Service}, nil, r.Service)
		add(hit{"rollout", r.Service + " " + r.Plan.Canary, string(r.Status), "/rollouts/" + r.ID},
			[]string{r.ID, string(r.Digest)}, r.Name, r.Service, r.Plan.Canary)
	}
	strategies, err := v.s.Strategies(v.ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range strategies {
		add(hit{"strategy", s.Name, s.Service + " " + s.Law, "/strategies/" + s.Name}, nil, s.Name, s.Service, s.Law)
	}
	if objectives, err := v.s.Objectives(v.ctx); err == nil { // a plane without objectives has none to find
		for _, o := range objectives {
			add(hit{"service", o.Objective.Service, "", "/services/" + o.Objective.Service}, nil, o.Objective.Service, o.Objective.SLO)
		}
	}
	arts, err := v.s.Artifacts(v.ctx, "", 500)
	if err != nil {
		return nil, err
	}
	for _, a := range arts {
		add(hit{"artifact", a.Subject.Name, a.Subject.Digest.Short(), "/artifacts/" + string(a.Subject.Digest)},
			[]string{string(a.Subject.Digest), a.Subject.Commit}, a.Subject.Name)
	}
	return hits, v.findFacts(q, add)
}

// findFacts adds decisions, exceptions and other facts.
func (v *view) findFacts(q string, add func(h hit, prefixes []string, names ...string)) error {
	exceptions, err := v.s.Exceptions(v.ctx)
	if err != nil {
		return err
	}
	for _, e := range exceptions {
		add(hit{"exception", strings.Join(e.Scope.Rules, ", "), e.Reason, "/exceptions#e-" + e.ID}, []string{e.ID}, e.Scope.Rules...)
	}
	facts, err := v.s.Facts(v.ctx, nil, "", 500)
	if err != nil {
		return err
	}
	for _, f := range facts {
		kind, to := factLabel(f.Kind), "/facts/"+string(f.ID)
		if f.Kind == assay.FactRolloutDecided || f.Kind == assay.FactMitigationDecided {
			kind, to = "decision", "/decisions/"+string(f.ID)
		}
		add(hit{kind, shortID(f.ID), f.Actor, to}, []string{string(f.ID)})
	}
	if f, err := v.s.Fact(v.ctx, assay.FactID(q)); err == nil { // however old it is
		add(hit{factLabel(f.Kind), shortID(f.ID), f.Actor, "/facts/" + q}, []string{q})
	}
	return nil
}
