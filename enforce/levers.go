package enforce

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Limits of a route's levers.
const (
	// MaxClasses is the number of classes of one route.
	MaxClasses = 16
	// MaxRegions is the number of regions of one route.
	MaxRegions = 16
	// MaxStands is how many levers of one route may stand away from where they rest.
	MaxStands = 256
	// MaxScope is the length of a tenant, source or other scope, in bytes.
	MaxScope = 128
	// MaxLever is the greatest value of a lever at this door.
	MaxLever = 1e12
)

// DefaultProbe is the share of its own traffic that a region keeps, percent.
const DefaultProbe = 10

// AnyScope stands, in a status, for every scope that has not been moved.
const AnyScope = "*"

// Levers declares what can be moved at a route's door beside the shares of its
// versions: how the class, tenant and source of a request are read, and where each
// lever rests. Where they stand now is a Panel, and only a Pull moves it.
//
// Headers are claims of whoever sends them. Where clients could gain by lying, put
// the door behind something that sets them, and believe that alone (Claims).
type Levers struct {
	// Limits are those of the whole route: rate-limit (requests a second) and
	// concurrency (requests at once). Both rest at 0, which is no limit.
	Limits []assay.Lever `json:"limits,omitempty"`
	// Classes of requests, by ClassHeader or by path. Each rests at 100 percent.
	Classes     []Class `json:"classes,omitempty"`
	ClassHeader string  `json:"class_header,omitempty"`
	// TenantHeader names the tenant. Each may have a quota, requests a second; it
	// rests at 0, which is no quota.
	TenantHeader string `json:"tenant_header,omitempty"`
	// Source is who can be cut off beside tenants: a client's address, or the value
	// of a header or cookie.
	Source Sticky `json:"source,omitzero"`
	// Claims says whose headers and cookies name class, tenant and source.
	Claims Claims `json:"claims,omitempty"`
	// Regions divide the requests of every version; their shares add up to 100.
	Regions []Region `json:"regions,omitempty"`
	// Probe is the percent of its own share that a region keeps in any case, so that
	// its recovery is seen; 0 is DefaultProbe.
	Probe int `json:"probe,omitempty"`
	// Drain lets a region be emptied: it has Probe of its share at least, or nothing.
	Drain bool `json:"drain,omitempty"`
}

// Claims says whose word is taken for the class, tenant and source of a request.
type Claims string

const (
	// ClaimsAnyone believes every request.
	ClaimsAnyone Claims = "anyone"
	// ClaimsProxies believes requests from trusted proxies alone: the others have no
	// class but by path, no tenant, and no source but their address.
	ClaimsProxies Claims = "proxies"
)

// Class is a class of requests, as a strategy names it.
type Class struct {
	Name string `json:"name"` // also the value of the class header
	// Critical requests are let in whatever the limits of their class and route are.
	// Only a quarantine and the quota of their tenant hold them.
	Critical bool     `json:"critical,omitempty"`
	Paths    []string `json:"paths,omitempty"` // prefixes at a segment boundary; the longest counts
}

// Region is a group of backends, one of each version.
type Region struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"` // percent of the requests while nothing is moved
}

// Place is where a version runs in a region.
type Place struct {
	Region  string `json:"region"`
	Backend string `json:"backend"` // "http://host:port"
}

// Check says what is wrong with the levers of a route.
func (l *Levers) check(field string) error {
	if l == nil {
		return nil
	}
	for i, x := range l.Limits {
		if x != assay.LeverRateLimit && x != assay.LeverConcurrency || slices.Contains(l.Limits[:i], x) {
			return at(fmt.Sprintf("%s.limits[%d]", field, i), "%q is not %s or %s, each at most once", clip(string(x)), assay.LeverRateLimit, assay.LeverConcurrency)
		}
	}
	switch {
	case l.ClassHeader != "" && !tokenForm.MatchString(l.ClassHeader):
		return at(field+".class_header", "%q is not the name of a header", clip(l.ClassHeader))
	case l.TenantHeader != "" && !tokenForm.MatchString(l.TenantHeader):
		return at(field+".tenant_header", "%q is not the name of a header", clip(l.TenantHeader))
	case l.Source.By == ByRequest:
		return at(field+".source.by", "is %q, which tells nobody apart; expected client, header or cookie", ByRequest)
	}
	if err := l.Source.check(field + ".source"); err != nil {
		return err
	}
	switch l.Claims {
	case "", ClaimsAnyone, ClaimsProxies:
	default:
		return at(field+".claims", "%s", strict.OneOf(string(l.Claims), []string{string(ClaimsAnyone), string(ClaimsProxies)}))
	}
	if err := l.checkClasses(field); err != nil {
		return err
	}
	return l.checkRegions(field)
}

func (l *Levers) checkClasses(field string) error {
	if n := len(l.Classes); n > MaxClasses {
		return tooMany(field+".classes", n, MaxClasses)
	}
	names, paths := map[string]bool{}, map[string]string{}
	for i, c := range l.Classes {
		cf := fmt.Sprintf("%s.classes[%d]", field, i)
		switch {
		case !validName(c.Name):
			return badName(cf+".name", c.Name)
		case names[c.Name]:
			return at(cf+".name", "%q is already the name of another class", c.Name)
		case len(c.Paths) > MaxMatches:
			return tooMany(cf+".paths", len(c.Paths), MaxMatches)
		case len(c.Paths) == 0 && l.ClassHeader == "":
			return at(cf+".paths", "are missing, and there is no class_header: no request would be of class %s", c.Name)
		}
		names[c.Name] = true
		for k, p := range c.Paths {
			if !validPath(p) {
				return at(fmt.Sprintf("%s.paths[%d]", cf, k), "%q is not a plain path that starts with /", clip(p))
			}
			if other, taken := paths[p]; taken {
				return at(fmt.Sprintf("%s.paths[%d]", cf, k), "%q belongs to class %s already", clip(p), other)
			}
			paths[p] = c.Name
		}
	}
	return nil
}

func (l *Levers) checkRegions(field string) error {
	switch n := len(l.Regions); {
	case n > MaxRegions:
		return tooMany(field+".regions", n, MaxRegions)
	case n == 1:
		return at(field+".regions", "has one entry; traffic is divided among two at least")
	case l.Probe < 0 || l.Probe > 100:
		return at(field+".probe", "is %d; expected 1 to 100 percent", l.Probe)
	}
	names, sum := map[string]bool{}, 0.0
	for i, r := range l.Regions {
		rf := fmt.Sprintf("%s.regions[%d]", field, i)
		switch {
		case !validName(r.Name):
			return badName(rf+".name", r.Name)
		case names[r.Name]:
			return at(rf+".name", "%q is already the name of another region", r.Name)
		case !(r.Share > 0 && r.Share < 100):
			return at(rf+".share", "is %v; expected above 0 and below 100 percent", r.Share)
		}
		names[r.Name] = true
		sum += r.Share
	}
	if len(l.Regions) > 0 && (sum < 99.999 || sum > 100.001) {
		return at(field+".regions", "have shares that add up to %v; expected 100", sum)
	}
	return nil
}

// checkPlaces checks that a version runs in each region of its route, and nowhere else.
func (v Version) checkPlaces(field string, l *Levers) error {
	var regions []Region
	if l != nil {
		regions = l.Regions
	}
	if len(v.Places) != len(regions) {
		return at(field+".places", "are %d for %d regions of the route", len(v.Places), len(regions))
	}
	for i, p := range v.Places {
		pf := fmt.Sprintf("%s.places[%d]", field, i)
		if p.Region != regions[i].Name {
			return at(pf+".region", "is %q; expected %q, as the route lists its regions", clip(p.Region), regions[i].Name)
		}
		if !validBackend(p.Backend) {
			return at(pf+".backend", "%q is not of the form http://host:port", clip(p.Backend))
		}
	}
	if len(regions) > 0 && v.Backend != "" {
		return at(field+".backend", "stands beside places; a version of a route with regions has places alone")
	}
	return nil
}

// tenantSource is how a quarantine names a tenant.
const tenantSource = "tenant:"

// rest is where a lever rests, and whether the route has it.
func (l *Levers) rest(lever assay.Lever, scope string) (float64, bool) {
	if l == nil {
		return 0, false
	}
	switch lever {
	case assay.LeverRateLimit, assay.LeverConcurrency:
		return 0, scope == "" && slices.Contains(l.Limits, lever)
	case assay.LeverClass:
		return 100, l.class(scope) >= 0
	case assay.LeverQuota:
		return 0, l.TenantHeader != "" && validScope(scope)
	case assay.LeverQuarantine:
		return 0, l.knowsSource(scope)
	case assay.LeverRegion:
		if i := slices.IndexFunc(l.Regions, func(r Region) bool { return r.Name == scope }); i >= 0 {
			return l.Regions[i].Share, true
		}
	}
	return 0, false
}

// knowsSource reports whether a quarantine's scope names something that requests are
// told apart by. An address or network has one spelling, so that it is read back as
// it was written.
func (l *Levers) knowsSource(scope string) bool {
	if tenant, is := strings.CutPrefix(scope, tenantSource); is {
		return l.TenantHeader != "" && validScope(tenant)
	}
	if l.Source.By == ByClient {
		if p, err := netip.ParsePrefix(scope); err == nil {
			return p.Masked().String() == scope
		}
		a, err := netip.ParseAddr(scope)
		return err == nil && a.Unmap().String() == scope && a.Zone() == ""
	}
	return l.Source.By != "" && validScope(scope)
}

func validScope(s string) bool {
	return s != "" && s != AnyScope && len(s) <= MaxScope && !strict.HasControl(s)
}

// class is the index of a class by name, -1 if there is none.
func (l *Levers) class(name string) int {
	return slices.IndexFunc(l.Classes, func(c Class) bool { return c.Name == name })
}

// Classify finds the class of a request: what the header says, then the longest path;
// -1 if it has none. claimed reads a header that may be believed.
func (l *Levers) Classify(claimed func(header string) string, path string) int {
	if l.ClassHeader != "" {
		if name := claimed(l.ClassHeader); name != "" {
			if i := l.class(name); i >= 0 {
				return i
			}
		}
	}
	best, length := -1, -1
	for i, c := range l.Classes {
		for _, p := range c.Paths {
			if len(p) > length && below(p, path) {
				best, length = i, len(p)
			}
		}
	}
	return best
}
