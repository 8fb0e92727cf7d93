package enforce

import (
	"net/netip"
	"strings"

	"assay.dev/assay"
)

// Valve is what the levers of a route stand at, ready to judge requests with. It is
// part of a Snapshot and immutable. It counts nothing: how much of a rate or a number
// of requests at once is used is the enforcer's to know.
type Valve struct {
	Levers      *Levers
	Rate        float64 // requests a second, 0 without a limit
	Concurrency float64 // requests at once, 0 without a limit

	classes []float64          // percent let in, as the route lists its classes
	quotas  map[string]float64 // requests a second, of tenants that have one
	cut     map[string]bool    // sources that are cut off, as a quarantine names them
	nets    []netip.Prefix     // networks among them
	regions []arm
}

// Visitor is who sends a request, as far as the route's levers tell requests apart.
type Visitor struct {
	Class  int    // index of the route's classes, -1 for none
	Tenant string // "" for none
	Source string // "" for none
}

// newValve makes the valve of a route, nil if it has no levers.
func newValve(l *Levers, p Panel) *Valve {
	if l == nil {
		return nil
	}
	v := &Valve{Levers: l, quotas: map[string]float64{}, cut: map[string]bool{}}
	v.Rate, _ = p.Value(l, assay.LeverRateLimit, "")
	v.Concurrency, _ = p.Value(l, assay.LeverConcurrency, "")
	for _, c := range l.Classes {
		percent, _ := p.Value(l, assay.LeverClass, c.Name)
		v.classes = append(v.classes, percent)
	}
	for _, r := range l.Regions {
		share, _ := p.Value(l, assay.LeverRegion, r.Name)
		v.regions = append(v.regions, arm{seed: mix(fnv(fnv(fnvOffset, "region "), r.Name)), weight: share})
	}
	for _, s := range p.Stands {
		switch s.Lever {
		case assay.LeverQuota:
			v.quotas[s.Scope] = s.Value
		case assay.LeverQuarantine:
			v.cut[s.Scope] = true
			if n, err := netip.ParsePrefix(s.Scope); err == nil && l.Source.By == ByClient {
				v.nets = append(v.nets, n)
			}
		}
	}
	return v
}

// Cut is the quarantine that a visitor falls under, "" if none does.
func (v *Valve) Cut(x Visitor) string {
	if len(v.cut) == 0 {
		return ""
	}
	if x.Tenant != "" && v.cut[tenantSource+x.Tenant] {
		return tenantSource + x.Tenant
	}
	if x.Source == "" || strings.HasPrefix(x.Source, tenantSource) {
		return ""
	}
	if v.cut[x.Source] {
		return x.Source
	}
	if len(v.nets) > 0 {
		if a, err := netip.ParseAddr(x.Source); err == nil {
			for _, n := range v.nets {
				if n.Contains(a) {
					return n.String()
				}
			}
		}
	}
	return ""
}

// Quota is what a tenant may use, requests a second; 0 is no quota.
func (v *Valve) Quota(tenant string) float64 { return v.quotas[tenant] }

// Quotas are the tenants that have one; do not change them.
func (v *Valve) Quotas() map[string]float64 { return v.quotas }

// Named are the tenants and sources that stand under a quota or a quarantine, for an
// enforcer that keeps what it saw of them. A network is no one's name.
func (v *Valve) Named() (tenants, sources map[string]bool) {
	tenants, sources = map[string]bool{}, map[string]bool{}
	for tenant := range v.quotas {
		tenants[tenant] = true
	}
	for scope := range v.cut {
		if tenant, is := strings.CutPrefix(scope, tenantSource); is {
			tenants[tenant] = true
		} else {
			sources[scope] = true
		}
	}
	return tenants, sources
}

// Critical reports whether requests of a class are never dropped for want of room.
func (v *Valve) Critical(class int) bool { return class >= 0 && v.Levers.Classes[class].Critical }

// Admits reports whether a client's request is among those of its class that are let
// in. It falls alike for all requests of one client, so that whoever is served is
// served whole, and to try again gains nothing.
func (v *Valve) Admits(class int, client Key) bool {
	if class < 0 || v.classes[class] >= 100 {
		return true
	}
	u := float64(mix(uint64(client)^admitSeed)>>11) / (1 << 53)
	return 100*u < v.classes[class]
}

// Partial reports whether a class is let in in part, so that the client counts.
func (v *Valve) Partial(class int) bool {
	return class >= 0 && v.classes[class] > 0 && v.classes[class] < 100
}

// admitSeed keeps who is let in apart from who gets which version.
const admitSeed = 0x5851f42d4c957f2d

// Region is the index of the region that serves a client, -1 if the route has none.
func (v *Valve) Region(client Key) int { return pick(v.regions, client) }

// Standing lists where the route's levers stand, those at rest too; AnyScope stands
// for the tenants and sources that have not been moved.
func (w *Way) Standing() (out []Stand) {
	l, p := w.Route.Levers, w.Panel
	if l == nil {
		return nil
	}
	add := func(lever assay.Lever, scope string) {
		s := Stand{Lever: lever, Scope: scope}
		s.Value, _ = p.Value(l, lever, scope)
		if i := p.index(lever, scope); i >= 0 {
			s = p.Stands[i]
		}
		out = append(out, s)
	}
	for _, lever := range l.Limits {
		add(lever, "")
	}
	for _, c := range l.Classes {
		add(assay.LeverClass, c.Name)
	}
	for _, r := range l.Regions {
		add(assay.LeverRegion, r.Name)
	}
	for _, s := range p.Stands {
		if s.Lever == assay.LeverQuota || s.Lever == assay.LeverQuarantine {
			out = append(out, s)
		}
	}
	if l.TenantHeader != "" {
		out = append(out, Stand{Lever: assay.LeverQuota, Scope: AnyScope})
	}
	if l.TenantHeader != "" || l.Source.By != "" {
		out = append(out, Stand{Lever: assay.LeverQuarantine, Scope: AnyScope})
	}
	return out
}
