package advisory

import (
	"maps"
	"slices"
	"strings"

	"assay.dev/assay"
)

// Packages is an index of the components of bills of materials. It is not safe for
// concurrent use.
type Packages struct {
	byName  map[packageKey][]*occurrence
	exact   map[Package]*occurrence
	read    map[purlKey]known // what was read of a purl already: bills of materials repeat each other
	skipped map[string]int
	added   int
}

type purlKey struct{ purl, version string }

// known is what a purl turned out to be: an occurrence, or a reason why it is none.
type known struct {
	found *occurrence
	why   string
}

type packageKey struct {
	ecosystem Ecosystem
	name      string
}

// occurrence is one version of a package and who has it.
type occurrence struct {
	pkg     Package
	part    assay.Component
	holders []int
}

// NewPackages returns an empty index.
func NewPackages() *Packages {
	return &Packages{byName: map[packageKey][]*occurrence{}, exact: map[Package]*occurrence{}, read: map[purlKey]known{}, skipped: map[string]int{}}
}

// Add says that holder, a number that means something to the caller, contains a
// component. One that no advisory could name is counted; see Skipped.
func (p *Packages) Add(holder int, c assay.Component) {
	key := purlKey{c.PURL, c.Version}
	k, seen := p.read[key]
	if !seen {
		k = p.place(c)
		p.read[key] = k
	}
	if k.found == nil {
		p.skipped[k.why]++
		return
	}
	p.added++
	o := k.found
	if n := len(o.holders); n == 0 || o.holders[n-1] != holder {
		o.holders = append(o.holders, holder)
	}
}

// place finds or makes the occurrence of a component.
func (p *Packages) place(c assay.Component) known {
	pkg, err := ParsePackage(c)
	if err != nil {
		return known{why: err.Error()}
	}
	o := p.exact[pkg]
	if o == nil {
		o = &occurrence{pkg: pkg, part: c}
		k := packageKey{pkg.Ecosystem, pkg.Name}
		p.exact[pkg], p.byName[k] = o, append(p.byName[k], o)
	}
	return known{found: o}
}

// Len is how many components can be matched.
func (p *Packages) Len() int { return p.added }

// Skipped counts the components that no advisory could name, by reason.
func (p *Packages) Skipped() map[string]int { return maps.Clone(p.skipped) }

// Hit is a component that an advisory is about.
type Hit struct {
	Component assay.Component
	Holders   []int    // who contain it; do not change it
	Fixed     []string // versions that fix it, as the advisory says
	Note      string   // what makes the answer less than certain, "" if nothing does
}

// Match returns what an advisory is about, in the order of the components' names
// and versions, and the reasons why parts of it could not be compared. A withdrawn
// advisory is about nothing.
func (p *Packages) Match(a Advisory) (hits []Hit, doubts []string) {
	if !a.Withdrawn.IsZero() {
		return nil, nil
	}
	found := map[*occurrence]*Hit{}
	for _, af := range a.Affected {
		for _, o := range p.byName[packageKey{af.Ecosystem, af.Name}] {
			if af.Release != "" && o.pkg.Release != "" && af.Release != o.pkg.Release {
				continue
			}
			yes, doubt := af.has(o.pkg.Version)
			if doubt != "" && !slices.Contains(doubts, doubt) {
				doubts = append(doubts, doubt)
			}
			if !yes {
				continue
			}
			h := found[o]
			if h == nil {
				h = &Hit{Component: o.part, Holders: o.holders}
				found[o] = h
			}
			h.Fixed = appendNew(h.Fixed, af.fixes()...)
			if af.Release != "" && o.pkg.Release == "" {
				h.Note = "the bill of materials does not say which release of " + string(af.Ecosystem) + " this is"
			}
		}
	}
	order := slices.SortedFunc(maps.Keys(found), func(x, y *occurrence) int {
		return strings.Compare(x.part.PURL, y.part.PURL)
	})
	for _, o := range order {
		hits = append(hits, *found[o])
	}
	return hits, doubts
}

// has reports whether a version is affected, by OSV's algorithm, and why the answer
// may be wrong.
func (a Affected) has(version string) (yes bool, doubt string) {
	if slices.Contains(a.Versions, version) {
		return true, ""
	}
	if a.Ecosystem == "Go" && slices.Contains(a.Versions, strings.TrimPrefix(version, "v")) {
		return true, ""
	}
	ord := orders[a.Ecosystem]
	for _, r := range a.Ranges {
		if r.Git {
			continue
		}
		if ord == nil {
			doubt = "the order of versions of " + string(a.Ecosystem) + " is not known"
			continue
		}
		in, ok := r.has(ord, version)
		if in {
			return true, ""
		}
		if !ok {
			doubt = string(a.Ecosystem) + " version " + version + " of " + a.Name + " cannot be ordered"
		}
	}
	return false, doubt
}

// has evaluates one range; ok is false if a version in question has no place in the order.
func (r Range) has(ord order, version string) (in, ok bool) {
	if !ord.valid(version) {
		return false, false
	}
	limited, before := false, false
	for _, e := range r.Events {
		switch {
		case e.Limit == "":
		case e.Limit == "*":
			limited, before = true, true
		case !ord.valid(e.Limit):
			return false, false
		default:
			limited = true
			before = before || ord.compare(version, e.Limit) < 0
		}
	}
	if limited && !before {
		return false, true
	}
	events, ok := r.sorted(ord)
	if !ok {
		return false, false
	}
	for _, e := range events {
		switch {
		case e.Introduced == "0" || e.Introduced != "" && ord.compare(version, e.Introduced) >= 0:
			in = true
		case e.Fixed != "" && ord.compare(version, e.Fixed) >= 0:
			in = false
		case e.LastAffected != "" && ord.compare(version, e.LastAffected) > 0:
			in = false
		}
	}
	return in, true
}

// sorted returns the events but limits in the order of their versions; of one
// version a beginning comes first.
func (r Range) sorted(ord order) ([]Event, bool) {
	events := make([]Event, 0, len(r.Events))
	for _, e := range r.Events {
		v := e.at()
		if v == "" {
			continue
		}
		if e.Introduced != "0" && !ord.valid(v) {
			return nil, false
		}
		events = append(events, e)
	}
	slices.SortStableFunc(events, func(a, b Event) int {
		switch {
		case a.Introduced == "0" || b.Introduced == "0":
			return boolOrder(b.Introduced == "0", a.Introduced == "0")
		}
		if c := ord.compare(a.at(), b.at()); c != 0 {
			return c
		}
		return boolOrder(a.Introduced == "", b.Introduced == "")
	})
	return events, true
}

// at is the version of an event that is no limit.
func (e Event) at() string {
	switch {
	case e.Introduced != "":
		return e.Introduced
	case e.Fixed != "":
		return e.Fixed
	}
	return e.LastAffected
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// fixes lists the versions that fix it.
func (a Affected) fixes() (list []string) {
	for _, r := range a.Ranges {
		for _, e := range r.Events {
			if e.Fixed != "" && !r.Git {
				list = appendNew(list, e.Fixed)
			}
		}
	}
	return list
}

// maxFixed is how many fixing versions a hit names.
const maxFixed = 50

func appendNew(list []string, more ...string) []string {
	for _, s := range more {
		if len(list) < maxFixed && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
