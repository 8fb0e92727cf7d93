package evidence

import (
	"slices"
	"strings"

	"assay.dev/assay"
)

// readGrype reads the matches of a Grype report. Severity is Grype's word;
// matches that its own rules ignore are suppressed. The image that was scanned
// binds the report to an artifact if one digest names it.
func readGrype(r *report) error {
	g := &grype{rep: r, c: newCursor(r)}
	c := g.c
	seen := false
	for key := range c.document() {
		switch key {
		case "matches":
			seen = c.peek() == '['
			for range c.array() {
				g.match(false)
			}
		case "ignoredMatches":
			for range c.array() {
				g.match(true)
			}
		case "source":
			g.source()
		case "descriptor":
			g.descriptor()
		case "alertsByPackage":
			for range c.array() {
				g.alerts++
				c.skip()
			}
		default:
			c.skip()
		}
	}
	switch {
	case c.err != nil:
		return c.err
	case !seen:
		return missing("matches", "a list")
	}
	if r.ev.Tool.Name == "" {
		r.ev.Tool.Name = "grype"
	}
	if g.alerts > 0 {
		r.note("%s alerts that are no vulnerabilities (such as an end of life); they were not read", plural(g.alerts, "package has", "packages have"))
	}
	return g.names.bind(r)
}

type grype struct {
	rep    *report
	c      *cursor
	names  digests
	alerts int
}

func (g *grype) match(ignored bool) {
	c := g.c
	f := assay.Finding{Severity: assay.SeverityUnknown}
	var aliases []string
	var why string
	for key := range c.object() {
		switch key {
		case "vulnerability":
			g.vulnerability(&f)
		case "relatedVulnerabilities":
			for range c.array() {
				for key := range c.object() {
					if key == "id" {
						aliases = g.rep.list(aliases, c.name())
						continue
					}
					c.skip()
				}
			}
		case "artifact":
			g.artifact(&f)
		case "appliedIgnoreRules":
			why = g.ignoreRules()
		default:
			c.skip()
		}
	}
	if c.err == nil && f.Rule == "" {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has no vulnerability.id")
	}
	for _, a := range aliases {
		if a != f.Rule {
			f.Aliases = g.rep.list(f.Aliases, a)
		}
	}
	if ignored {
		if f.Suppressed = "ignored by a rule of grype"; why != "" {
			f.Suppressed += ": " + why
		}
	}
	if f.Message == "" {
		f.Message = "the report gives no summary"
	}
	f.Fingerprint = g.rep.prints.of("grype", f.Rule, packageKey(f.Package), fileKey(f.Location.File))
	c.add(f)
}

func (g *grype) vulnerability(f *assay.Finding) {
	c := g.c
	for key := range c.object() {
		switch key {
		case "id":
			f.Rule = c.name()
		case "severity":
			f.Severity = severityWord(c.name())
		case "description":
			f.Message = c.text(MaxMessage)
		case "fix":
			for key := range c.object() {
				if key == "versions" {
					f.FixedIn = c.names()
					continue
				}
				c.skip()
			}
		default:
			c.skip()
		}
	}
}

func (g *grype) artifact(f *assay.Finding) {
	c := g.c
	for key := range c.object() {
		switch key {
		case "name":
			f.Package.Name = c.name()
		case "version":
			f.Package.Version = c.name()
		case "purl":
			f.Package.PURL = c.name()
		case "locations":
			for range c.array() {
				for key := range c.object() {
					if key == "path" && f.Location.File == "" {
						f.Location.File = c.name()
						continue
					}
					c.skip()
				}
			}
		default:
			c.skip()
		}
	}
}

// ignoreRules words the first rule that ignores a match.
func (g *grype) ignoreRules() string {
	c := g.c
	var why string
	for range c.array() {
		var id, reason, namespace string
		for key := range c.object() {
			switch key {
			case "vulnerability":
				id = c.name()
			case "reason":
				reason = c.name()
			case "namespace":
				namespace = c.name()
			default:
				c.skip()
			}
		}
		if why == "" {
			why = strings.Join(strings.Fields(id+" "+namespace+" "+reason), " ")
		}
	}
	return why
}

func (g *grype) descriptor() {
	c := g.c
	for key := range c.object() {
		switch key {
		case "name":
			g.rep.ev.Tool.Name = c.name()
		case "version":
			if v := c.name(); v != "[not provided]" {
				g.rep.ev.Tool.Version = v
			}
		case "timestamp":
			g.rep.timestamp("descriptor.timestamp", c.name())
		default:
			c.skip()
		}
	}
}

// source reads which image was scanned; a folder or file has no digest there.
func (g *grype) source() {
	c := g.c
	for key := range c.object() {
		if key != "target" || c.peek() != '{' {
			c.skip()
			continue
		}
		for key := range c.object() {
			switch key {
			case "manifestDigest":
				g.names.add(c.name())
			case "repoDigests":
				for range c.array() {
					g.names.add(c.name())
				}
			default:
				c.skip()
			}
		}
	}
}

// digests are the digests by which a scanner names an image: of its manifest,
// and of the lists of manifests it was found in.
type digests []assay.Digest

// add takes "sha256:…" or "name@sha256:…".
func (d *digests) add(s string) {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[i+1:]
	}
	sum, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(sum) != 64 {
		return
	}
	if slices.Contains(*d, assay.Digest(s)) {
		return
	}
	if len(*d) < MaxList {
		*d = append(*d, assay.Digest(s))
	}
}

// bind makes a report one about the image, if exactly one digest names it.
func (d digests) bind(r *report) error {
	switch len(d) {
	case 0:
	case 1:
		if msg := r.about(strings.TrimPrefix(string(d[0]), "sha256:")); msg != "" {
			return &assay.Error{Code: assay.CodeInvalid, Field: "image", Msg: msg}
		}
	default:
		r.note("the scanned image has %d digests, the first: %s; the report is bound to none of them", len(d), d[0])
	}
	return nil
}
