package evidence

import (
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
)

// readOSV reads the report of osv-scanner. Advisories about one package that
// osv-scanner groups as the same vulnerability are one finding: the first id
// is its rule, all other ids are aliases. Its severity is the highest that
// anybody gave: the group's max_severity, a CVSS v3 vector or the database's
// own word; unknown if nobody did.
func readOSV(r *report) error {
	r.ev.Tool = assay.Tool{Name: "osv-scanner"} // the report does not say which version
	o := &osv{rep: r, c: newCursor(r)}
	seen, sources := false, 0
	for key := range o.c.document() {
		if key != "results" {
			o.c.skip()
			continue
		}
		seen = true
		for range o.c.array() {
			sources++
			o.result()
		}
	}
	switch {
	case o.c.err != nil:
		return o.c.err
	case !seen:
		return missing("results", "a list of scanned sources")
	case sources == 0:
		r.note("no scanned source is listed: osv-scanner lists only sources with something to report")
	}
	if o.licenses > 0 {
		r.note("%s license violations, which were not read", plural(o.licenses, "package has", "packages have"))
	}
	return nil
}

type osv struct {
	rep      *report
	c        *cursor
	licenses int
}

// osvPackage is one package of a result while it is read.
type osvPackage struct {
	comp      assay.Component
	ecosystem string
	vulns     []osvVuln
	groups    []osvGroup
}

type osvVuln struct {
	id, summary string
	aliases     []string
	severity    assay.Severity
	affected    []osvAffected
}

// osvAffected says for one package where an advisory is fixed.
type osvAffected struct {
	name, ecosystem, purl string
	fixed                 []string
}

type osvGroup struct {
	ids, aliases []string
	severity     assay.Severity
}

// result reads one scanned source. Its path may come after its packages.
func (o *osv) result() {
	c := o.c
	first := len(o.rep.ev.Findings)
	var file string
	for key := range c.object() {
		switch key {
		case "source":
			for key := range c.object() {
				if key == "path" {
					file = c.name()
					continue
				}
				c.skip()
			}
		case "packages":
			for range c.array() {
				o.packageOf()
			}
		default:
			c.skip()
		}
	}
	for i := range o.rep.ev.Findings[first:] {
		f := &o.rep.ev.Findings[first+i]
		f.Location.File = file
		f.Fingerprint = o.rep.prints.of("osv-scanner", f.Rule, fileKey(file), f.Fingerprint)
	}
}

func (o *osv) packageOf() {
	c := o.c
	var p osvPackage
	for key := range c.object() {
		switch key {
		case "package":
			o.identity(&p)
		case "vulnerabilities":
			for range c.array() {
				if p.vulns = append(p.vulns, o.vulnerability(&p)); len(p.vulns) > MaxFindings {
					c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d findings", MaxFindings))
				}
			}
		case "groups":
			for range c.array() {
				if p.groups = append(p.groups, o.group()); len(p.groups) > MaxFindings {
					c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d findings", MaxFindings))
				}
			}
		case "license_violations":
			if len(c.names()) > 0 {
				o.licenses++
			}
		default:
			c.skip()
		}
	}
	if c.err == nil {
		o.report(p)
	}
}

func (o *osv) identity(p *osvPackage) {
	c := o.c
	var commit string
	for key := range c.object() {
		switch key {
		case "name":
			p.comp.Name = c.name()
		case "version":
			p.comp.Version = c.name()
		case "ecosystem":
			p.ecosystem = c.name()
		case "commit":
			commit = c.name()
		default:
			c.skip()
		}
	}
	if p.comp.Version == "" {
		p.comp.Version = commit
	}
	if p.comp.Name == "" {
		p.comp.Name = commit
	}
}

func (o *osv) group() osvGroup {
	c := o.c
	g := osvGroup{severity: assay.SeverityUnknown}
	for key := range c.object() {
		switch key {
		case "ids":
			g.ids = c.names()
		case "aliases":
			g.aliases = c.names()
		case "max_severity":
			g.severity = bandOfText(c.scalar())
		default:
			c.skip()
		}
	}
	return g
}

func (o *osv) vulnerability(p *osvPackage) osvVuln {
	c := o.c
	v := osvVuln{severity: assay.SeverityUnknown}
	var details string
	for key := range c.object() {
		switch key {
		case "id":
			v.id = c.name()
		case "summary":
			v.summary = c.text(MaxMessage)
		case "details":
			details = c.excerpt(300)
		case "aliases":
			v.aliases = c.names()
		case "severity":
			v.severity = worst(v.severity, o.ratings())
		case "database_specific":
			v.severity = worst(v.severity, o.databaseSeverity())
		case "affected":
			for range c.array() {
				// The package comes first in practice; if not, it is compared later.
				if a := o.affected(); p.comp.Name == "" || a.of(p) {
					v.affected = append(v.affected, a)
				}
				if len(v.affected) > MaxList {
					v.affected = v.affected[:MaxList]
				}
			}
		default:
			c.skip()
		}
	}
	if v.summary == "" {
		v.summary = details
	}
	if v.id == "" && c.err == nil {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has no id")
	}
	return v
}

func (o *osv) ratings() assay.Severity {
	c := o.c
	w := assay.SeverityUnknown
	for range c.array() {
		var score string
		for key := range c.object() {
			if key == "score" {
				score = c.scalar()
				continue
			}
			c.skip()
		}
		if base, ok := cvss3(score); ok {
			w = worst(w, bandOf(base))
		}
	}
	return w
}

// databaseSeverity reads the word that a database gives; the object's shape is the database's own.
func (o *osv) databaseSeverity() assay.Severity {
	c := o.c
	w := assay.SeverityUnknown
	if c.peek() != '{' {
		c.skip()
		return w
	}
	for key := range c.object() {
		if key == "severity" && c.peek() == '"' {
			w = severityWord(c.name())
			continue
		}
		c.skip()
	}
	return w
}

func (o *osv) affected() osvAffected {
	c := o.c
	var a osvAffected
	for key := range c.object() {
		switch key {
		case "package":
			for key := range c.object() {
				switch key {
				case "name":
					a.name = c.name()
				case "ecosystem":
					a.ecosystem = c.name()
				case "purl":
					a.purl = c.name()
				default:
					c.skip()
				}
			}
		case "ranges":
			for range c.array() {
				a.fixed = o.fixedIn(a.fixed)
			}
		default:
			c.skip()
		}
	}
	return a
}

func (o *osv) fixedIn(list []string) []string {
	c := o.c
	for key := range c.object() {
		if key != "events" {
			c.skip()
			continue
		}
		for range c.array() {
			for key := range c.object() {
				if key == "fixed" {
					list = o.rep.list(list, c.name())
					continue
				}
				c.skip()
			}
		}
	}
	return list
}

// report turns the groups of one package into findings, and every advisory
// that is in no group into one of its own.
func (o *osv) report(p osvPackage) {
	byID := map[string]*osvVuln{}
	for i := range p.vulns {
		byID[p.vulns[i].id] = &p.vulns[i]
	}
	grouped := map[string]bool{}
	for _, g := range p.groups {
		if len(g.ids) == 0 {
			continue
		}
		for _, id := range g.ids {
			grouped[id] = true
		}
		o.add(p, g, byID)
	}
	for _, v := range p.vulns {
		if !grouped[v.id] {
			grouped[v.id] = true
			o.add(p, osvGroup{ids: []string{v.id}, severity: assay.SeverityUnknown}, byID)
		}
	}
}

func (o *osv) add(p osvPackage, g osvGroup, byID map[string]*osvVuln) {
	f := assay.Finding{Rule: g.ids[0], Severity: g.severity, Package: p.comp}
	ids := append(slices.Clone(g.ids[1:]), g.aliases...)
	for _, id := range g.ids {
		v := byID[id]
		if v == nil {
			continue
		}
		ids = append(ids, v.aliases...)
		f.Severity = worst(f.Severity, v.severity)
		if f.Message == "" {
			f.Message = v.summary
		}
		for _, a := range v.affected {
			if !a.of(&p) {
				continue
			}
			for _, fix := range a.fixed {
				f.FixedIn = o.rep.list(f.FixedIn, fix)
			}
			if f.Package.PURL == "" {
				f.Package.PURL = a.purl
			}
		}
	}
	if f.Message == "" {
		f.Message = "the report gives no summary"
	}
	for _, id := range ids {
		if id != f.Rule {
			f.Aliases = o.rep.list(f.Aliases, id)
		}
	}
	// The file is not known yet: result completes the fingerprint from this part of it.
	f.Fingerprint = p.ecosystem + "/" + p.comp.Name
	if err := o.rep.finding(f); err != nil {
		o.c.fail(assay.CodeTooLarge, o.c.dec.InputOffset(), asError(err).Msg)
	}
}

// of reports whether a speaks of p. Ecosystems are compared without their
// release: "Debian:12" is Debian.
func (a osvAffected) of(p *osvPackage) bool {
	x, _, _ := strings.Cut(a.ecosystem, ":")
	y, _, _ := strings.Cut(p.ecosystem, ":")
	return a.name == p.comp.Name && x == y
}
