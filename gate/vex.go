package gate

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

// vexPrefix starts the Suppressed of a finding that a VEX document speaks of.
const vexPrefix = "vex: "

// Said is a VEX statement with the document that makes it.
type Said struct {
	assay.VEXStatement
	By string // the document, and who vouches for it
}

// applyVEX marks the findings that trusted VEX documents say do not matter, and
// tells each with its justification.
func (c *check) applyVEX() {
	words := NewWords(c.trustedVEX())
	if len(words.byID) == 0 {
		return
	}
	for i := range c.in.Evidence {
		e := &c.in.Evidence[i]
		if e.Kind != assay.KindVulnerabilities || len(e.Findings) == 0 {
			continue
		}
		e.Findings = slices.Clone(e.Findings) // the caller's are not changed
		for j := range e.Findings {
			if f := &e.Findings[j]; f.Suppressed == "" {
				c.applyTo(f, words)
			}
		}
	}
}

// trustedVEX returns the statements that count, and says which documents do not.
func (c *check) trustedVEX() []Said {
	var out []Said
	for _, e := range c.in.Evidence {
		if len(e.VEX) == 0 {
			continue
		}
		if why := DistrustVEX(c.in.Gate.Spec.VEX, e, c.in.Subject.Digest); why != "" {
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
		out = append(out, SaidBy(e, by, c.in.Now)...)
	}
	return out
}

// SaidBy returns what a VEX document says, but for statements from the future: one of
// those could outdate every other.
func SaidBy(e assay.Evidence, by string, now time.Time) []Said {
	var out []Said
	for _, s := range e.VEX {
		if !s.Time.After(now.Add(MaxClockSkew)) {
			out = append(out, Said{s, by})
		}
	}
	return out
}

// DistrustVEX says why a gate does not apply a VEX document to an artifact, "" if it does.
func DistrustVEX(trust *policy.VEXTrust, e assay.Evidence, artifact assay.Digest) string {
	switch {
	case trust == nil:
		return "the gate trusts no VEX (spec.vex)"
	case e.Subject != "" && e.Subject != artifact:
		return fmt.Sprintf("it is about another artifact (%s)", e.Subject.Short())
	case e.Producer == "" && !trust.TrustUnsigned:
		return "nobody that is known here signed it"
	case e.Producer != "" && !slices.Contains(trust.Producers, e.Producer):
		return fmt.Sprintf("the gate does not trust the VEX of %s", e.Producer)
	}
	return ""
}

// applyTo suppresses f if the word that counts says that it does not matter.
func (c *check) applyTo(f *assay.Finding, words Words) {
	last, ok := words.About(c.in.Subject, f.Package, append([]string{f.Rule}, f.Aliases...))
	if !ok {
		return
	}
	word, ok := last.Dismisses()
	switch {
	case ok:
		f.Suppressed = vexPrefix + word + "; " + last.By
		c.warnings = append(c.warnings, vexWarning(*f, "vex/applied", word+"; says "+last.By))
	case last.Status == assay.VEXNotAffected:
		c.warnings = append(c.warnings, vexWarning(*f, "vex/not-applied", fmt.Sprintf("%s says not_affected without a justification", last.By)))
	}
}

// Words are the statements of VEX that are believed, by what they are about. Gates
// and the search in what runs ask the same ones the same way.
type Words struct{ byID map[string][]Said }

// NewWords sorts statements by vulnerability.
func NewWords(list []Said) Words {
	w := Words{map[string][]Said{}}
	for _, s := range list {
		for _, id := range append([]string{s.Vulnerability}, s.Aliases...) {
			w.byID[strings.ToUpper(id)] = append(w.byID[strings.ToUpper(id)], s)
		}
	}
	return w
}

// About returns the statement that counts about a vulnerability, by any of its ids, in
// a package of an artifact. Of several the latest counts; of those of one instant the
// least favourable.
func (w Words) About(artifact assay.Subject, p assay.Component, ids []string) (Said, bool) {
	var about []Said
	for _, id := range ids {
		for _, s := range w.byID[strings.ToUpper(id)] {
			if speaksOf(artifact, s.VEXStatement, p) {
				about = append(about, s)
			}
		}
	}
	if len(about) == 0 {
		return Said{}, false
	}
	return slices.MaxFunc(about, func(a, b Said) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(gravity(a.Status), gravity(b.Status)), -strings.Compare(a.By, b.By))
	}), true
}

// Dismisses reports whether s says that the vulnerability does not matter, and in which
// words. That it is not affected needs a justification.
func (s Said) Dismisses() (words string, ok bool) {
	if s.Status != assay.VEXFixed && (s.Status != assay.VEXNotAffected || s.Justification == "" && s.Impact == "") {
		return "", false
	}
	words = string(s.Status)
	if s.Justification != "" {
		words += ", " + s.Justification
	}
	if s.Impact != "" {
		words += ": " + s.Impact
	}
	if !s.Time.IsZero() {
		words += s.Time.UTC().Format(" (2006-01-02)")
	}
	return words, true
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
// products, as a component of the artifact, or because the artifact as a
// whole is a product.
func speaksOf(a assay.Subject, s assay.VEXStatement, p assay.Component) bool {
	of := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return namesPackage(name, p) })
	}
	artifact := slices.ContainsFunc(s.Products, func(id string) bool { return namesArtifact(id, a) })
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

// namesArtifact reports whether an id of a VEX document is an artifact's.
func namesArtifact(id string, s assay.Subject) bool {
	return id != "" && (id == s.Name || id == string(s.Digest) || strings.HasSuffix(unqualified(id), "@"+string(s.Digest)) ||
		strings.HasSuffix(unqualified(id), "@sha256%3A"+s.Digest.Hex()) || s.URI != "" && unqualified(id) == s.URI)
}
