package gate

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"assay.dev/assay"
)

// vexPrefix starts the Suppressed of a finding that a VEX document speaks of.
const vexPrefix = "vex: "

// said is a statement with the document that makes it.
type said struct {
	assay.VEXStatement
	by string // the document, and who vouches for it
}

// applyVEX marks the findings that trusted VEX documents say do not matter, and
// tells each with its justification. Of several statements about one vulnerability
// in one package the latest counts; of those of one instant the least favourable.
func (c *check) applyVEX() {
	statements := c.trustedVEX()
	if len(statements) == 0 {
		return
	}
	byID := map[string][]said{}
	for _, s := range statements {
		for _, id := range append([]string{s.Vulnerability}, s.Aliases...) {
			byID[strings.ToUpper(id)] = append(byID[strings.ToUpper(id)], s)
		}
	}
	for i := range c.in.Evidence {
		e := &c.in.Evidence[i]
		if e.Kind != assay.KindVulnerabilities || len(e.Findings) == 0 {
			continue
		}
		e.Findings = slices.Clone(e.Findings) // the caller's are not changed
		for j := range e.Findings {
			if f := &e.Findings[j]; f.Suppressed == "" {
				c.applyTo(f, byID)
			}
		}
	}
}

// trustedVEX returns the statements that count, and says which documents do not.
func (c *check) trustedVEX() []said {
	var out []said
	for _, e := range c.in.Evidence {
		if len(e.VEX) == 0 {
			continue
		}
		if why := c.distrust(e); why != "" {
			c.warnings = append(c.warnings, assay.Violation{
				Rule: "vex/not-applied", Severity: assay.SeverityLow, Kind: assay.KindVEX, Mode: assay.ModeWarn,
				Message: fmt.Sprintf("%s of %s not applied: %s", count(len(e.VEX), "statement"), e.Source, why),
				Remedy:  "have the document signed by a producer that spec.vex of the gate names",
			})
			continue
		}
		by := e.Source
		if e.Producer != "" {
			by += ", signed by " + e.Producer
		} else {
			by += ", which nobody signed"
		}
		for _, s := range e.VEX {
			if s.Time.After(c.in.Now.Add(MaxClockSkew)) {
				continue // a statement from the future could outdate every other one
			}
			out = append(out, said{s, by})
		}
	}
	return out
}

// distrust says why a VEX document is not applied, "" if it is.
func (c *check) distrust(e assay.Evidence) string {
	trust := c.in.Gate.Spec.VEX
	switch {
	case trust == nil:
		return "the gate trusts no VEX (spec.vex)"
	case e.Subject != "" && e.Subject != c.in.Subject.Digest:
		return fmt.Sprintf("it is about another artifact (%s)", e.Subject.Short())
	case e.Producer == "" && !trust.TrustUnsigned:
		return "nobody that is known here signed it"
	case e.Producer != "" && !slices.Contains(trust.Producers, e.Producer):
		return fmt.Sprintf("the gate does not trust the VEX of %s", e.Producer)
	}
	return ""
}

// applyTo suppresses f if the word that counts says that it does not matter.
func (c *check) applyTo(f *assay.Finding, byID map[string][]said) {
	var about []said
	for _, id := range append([]string{f.Rule}, f.Aliases...) {
		for _, s := range byID[strings.ToUpper(id)] {
			if c.speaksOf(s.VEXStatement, f.Package) {
				about = append(about, s)
			}
		}
	}
	if len(about) == 0 {
		return
	}
	last := slices.MaxFunc(about, func(a, b said) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(gravity(a.Status), gravity(b.Status)), -strings.Compare(a.by, b.by))
	})
	word := string(last.Status)
	switch {
	case last.Status == assay.VEXFixed:
	case last.Status != assay.VEXNotAffected:
		return
	case last.Justification == "" && last.Impact == "":
		c.warnings = append(c.warnings, vexWarning(*f, "vex/not-applied", fmt.Sprintf("%s says not_affected without a justification", last.by)))
		return
	}
	if last.Justification != "" {
		word += ", " + last.Justification
	}
	if last.Impact != "" {
		word += ": " + last.Impact
	}
	if !last.Time.IsZero() {
		word += last.Time.UTC().Format(" (2006-01-02)")
	}
	f.Suppressed = vexPrefix + word + "; " + last.by
	c.warnings = append(c.warnings, vexWarning(*f, "vex/applied", word+"; says "+last.by))
}

// gravity orders statements of one instant: the one that excuses least counts.
func gravity(s assay.VEXStatus) int {
	return slices.Index([]assay.VEXStatus{assay.VEXFixed, assay.VEXNotAffected, assay.VEXUnderInvestigation, assay.VEXAffected}, s)
}

func vexWarning(f assay.Finding, rule, message string) assay.Violation {
	return assay.Violation{
		Rule: rule, Severity: assay.SeverityNone, Kind: assay.KindVEX, Mode: assay.ModeWarn,
		Message: f.Rule + ": " + message, Location: f.Location, Package: f.Package, Fingerprint: f.Fingerprint,
	}
}

// speaksOf reports whether a statement is about an affected package: as one of its
// products, as a component of the judged artifact, or because the artifact as a
// whole is a product.
func (c *check) speaksOf(s assay.VEXStatement, p assay.Component) bool {
	of := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return namesPackage(name, p) })
	}
	artifact := slices.ContainsFunc(s.Products, c.namesArtifact)
	if len(s.Components) > 0 {
		return artifact && of(s.Components)
	}
	return artifact || of(s.Products)
}

// namesPackage reports whether an id of a VEX document is a package's; one without a version is every version's.
func namesPackage(id string, p assay.Component) bool {
	if strings.HasPrefix(id, "pkg:") && p.PURL != "" {
		id = unqualified(id)
		return id == unqualified(p.PURL) || id == unversioned(p.PURL)
	}
	if strings.HasPrefix(id, "pkg:") {
		return plainlyNames(unqualified(id), p)
	}
	return id != "" && (id == p.Name || p.Version != "" && id == p.Name+"@"+p.Version)
}

// plainlyNames compares a package URL with a package of which a scanner gives only
// name and version. That ecosystems share names does no harm: the vulnerability is
// the same one too.
func plainlyNames(purl string, p assay.Component) bool {
	bare := unversioned(purl)
	version, err := url.PathUnescape(strings.TrimPrefix(strings.TrimPrefix(purl, bare), "@"))
	_, path, ok := strings.Cut(strings.TrimPrefix(bare, "pkg:"), "/")
	if !ok || err != nil || version != "" && version != p.Version {
		return false
	}
	name, err := url.PathUnescape(path)
	if err != nil || name == "" {
		return false
	}
	if i := strings.LastIndexByte(name, '/'); i > 0 && p.Name == name[:i]+":"+name[i+1:] {
		return true // as Maven writes it
	}
	return p.Name == name
}

// namesArtifact reports whether an id of a VEX document is the judged artifact's.
func (c *check) namesArtifact(id string) bool {
	s := c.in.Subject
	return id != "" && (id == s.Name || id == string(s.Digest) || strings.HasSuffix(unqualified(id), "@"+string(s.Digest)) ||
		strings.HasSuffix(unqualified(id), "@sha256%3A"+s.Digest.Hex()) || s.URI != "" && unqualified(id) == s.URI)
}
