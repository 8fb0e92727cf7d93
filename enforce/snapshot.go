package enforce

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
)

// Snapshot is a State made ready to decide with. It is immutable: a new State
// is a new Snapshot, and a request that began with an old one ends with it.
type Snapshot struct {
	Revision assay.Digest
	Targets  []*Target // of all routes; Target.Index is the place here

	ways []*Way // in the order they are tried
	// hosts are the ways that name a host, by it, and open are those that name none, each in
	// that order: a request looks at its host's alone.
	hosts map[string][]*Way
	open  []*Way
}

// Way is a route, ready to choose.
type Way struct {
	Route   Route
	Targets []*Target // as the route lists its versions
	Dial    Dial
	Panel   Panel
	Valve   *Valve // of Panel, nil if the route has no levers

	arms []arm
	only int // the one version with traffic, -1 if there are several

	matched  []*Target // by Route.Matches
	mirrored *Target   // of Route.Mirror
}

// Target is one version behind a route.
type Target struct {
	Way     *Way
	Version Version
	Percent int
	Index   int

	ruled  bool // a rule of the route sends requests here
	claims []*claim
	ended  *endings
}

// Build makes the Snapshot of s. Attestations that the last Build of the same
// Doorman verified are not verified again. A version without a valid one is part
// of the Snapshot all the same: it is refused per request, with its reason.
func (d *Doorman) Build(s State) (*Snapshot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ended := s.Config.endings()
	keep := map[claimKey]*claim{}
	snap := &Snapshot{Revision: s.Revision()}
	for _, r := range s.Config.Routes {
		if r.Entry.Mode == assay.ModeDryRun && !d.dryRun {
			e := assay.Errorf(assay.CodeDenied, "route %s lets versions in without an attestation", r.Name)
			e.Hint = "remove entry.mode, or allow it where this enforcer is started"
			return nil, e
		}
		w := &Way{Route: r}
		for _, v := range r.Versions {
			t := &Target{Way: w, Version: v, Index: len(snap.Targets), ended: ended}
			for _, a := range v.Attestations {
				t.claims = append(t.claims, d.claimOf(a, v.Digest, r.Entry, keep))
			}
			w.Targets = append(w.Targets, t)
			snap.Targets = append(snap.Targets, t)
		}
		w.turn(s.Dials[r.Name])
		w.rule()
		w.Panel = s.Panels[r.Name]
		w.Valve = newValve(r.Levers, w.Panel)
		snap.ways = append(snap.ways, w)
	}
	slices.SortStableFunc(snap.ways, func(a, b *Way) int {
		if (a.Route.Host == "") != (b.Route.Host == "") {
			return cmp.Compare(len(b.Route.Host), len(a.Route.Host)) // the one that names a host first
		}
		return cmp.Compare(len(b.Route.path()), len(a.Route.path()))
	})
	snap.hosts = map[string][]*Way{}
	for _, w := range snap.ways {
		if w.Route.Host == "" {
			snap.open = append(snap.open, w)
		} else {
			snap.hosts[w.Route.Host] = append(snap.hosts[w.Route.Host], w)
		}
	}
	d.known = keep
	return snap, nil
}

// turn sets the shares of w.
func (w *Way) turn(d Dial) {
	w.Dial, w.arms, w.only = d, nil, -1
	live := 0
	for i, t := range w.Targets {
		t.Percent, _ = d.Percent(t.Version.Name)
		w.arms = append(w.arms, newArm(t.Version.Name, t.Percent))
		if t.Percent > 0 {
			live, w.only = live+1, i
		}
	}
	if live != 1 {
		w.only = -1
	}
}

// Entering checks the versions that s would let in and old did not: those that
// get their first traffic, by a share or by a rule, and those whose artifact or backend is another one.
// One that may not be entered at now is an *assay.Error with assay.CodeDenied
// and is returned with its Refusal. A version that has traffic already is not
// asked again here, so that traffic can always be moved among those that serve;
// it is asked at every request.
func (s *Snapshot) Entering(old *Snapshot, now time.Time) (*Refusal, error) {
	for _, t := range s.Targets {
		if !t.fed() || old.serves(t) {
			continue
		}
		if refusal, pass := t.Enter(now); !pass {
			return refusal, refusal.Err(t.Version.Name)
		}
	}
	return nil, nil
}

// serves reports whether s sends traffic to the same artifact at the same place.
func (s *Snapshot) serves(t *Target) bool {
	if s == nil {
		return false
	}
	w := s.Way(t.Way.Route.Name)
	return w != nil && slices.ContainsFunc(w.Targets, func(o *Target) bool {
		return o.fed() && o.Version.Name == t.Version.Name && o.Version.Digest == t.Version.Digest && o.Version.Backend == t.Version.Backend &&
			slices.Equal(o.Version.Places, t.Version.Places)
	})
}

// Match finds the route of a request, nil if there is none. host may carry a port.
func (s *Snapshot) Match(host, path string) *Way {
	for _, ways := range [2][]*Way{s.hosts[strings.ToLower(hostname(host))], s.open} {
		for _, w := range ways {
			if below(w.Route.path(), path) {
				return w
			}
		}
	}
	return nil
}

// Way finds a route by name, nil if there is none.
func (s *Snapshot) Way(name string) *Way {
	for _, w := range s.ways {
		if w.Route.Name == name {
			return w
		}
	}
	return nil
}

// Ways returns the routes in the order they are tried.
func (s *Snapshot) Ways() []*Way { return slices.Clone(s.ways) }

// Choose returns the version that serves the client with this key; nil if no
// version of the route has traffic.
func (w *Way) Choose(k Key) *Target {
	i := w.only
	if i < 0 {
		i = pick(w.arms, k)
	}
	if i < 0 {
		return nil
	}
	return w.Targets[i]
}

// hostname strips a port: "shop.test:80" and "[::1]:80" lose it.
func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") && strings.IndexByte(host, ':') == i || i > 0 && host[i-1] == ']' {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

// below reports whether path lies below prefix at a segment boundary.
func below(prefix, path string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || strings.HasSuffix(prefix, "/") || rest[0] == '/')
}
