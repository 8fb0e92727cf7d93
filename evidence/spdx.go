package evidence

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"assay.dev/assay"
)

// spdxVersions are the versions this reader was written for.
var spdxVersions = []string{"SPDX-2.2", "SPDX-2.3"}

// readSPDX reads the packages of an SPDX document in its JSON form. If the
// document describes exactly one package, that one is what the document is
// about, not one of its components: its SHA-256 binds the document to the
// artifact. Files and snippets are not components.
func readSPDX(r *report) error {
	s := &spdx{rep: r, c: newCursor(r)}
	c := s.c
	var version string
	for key := range c.document() {
		switch key {
		case "spdxVersion":
			version = c.name()
		case "creationInfo":
			s.creation()
		case "packages":
			for range c.array() {
				s.onePackage()
			}
		case "documentDescribes":
			for range c.array() {
				s.describes(c.id())
			}
		case "relationships":
			for range c.array() {
				s.relationship()
			}
		default:
			c.skip()
		}
	}
	switch {
	case c.err != nil:
		return c.err
	case version == "":
		return missing("spdxVersion", strings.Join(spdxVersions, ", "))
	case !slices.Contains(spdxVersions, version):
		r.note("spdxVersion %q is not one of %s; what it adds was not read", version, strings.Join(spdxVersions, ", "))
	}
	if s.tools > 1 {
		r.note("%d tools made this document; only the first is named", s.tools)
	}
	return s.finish()
}

type spdx struct {
	rep   *report
	c     *cursor
	ids   []string // SPDX ids of the packages, in the order of the components
	sums  map[string]string
	roots []string // ids of what the document describes
	tools int
}

// describes keeps the first two ids: with more than one, none is what the document is about.
func (s *spdx) describes(id string) {
	if id != "" && len(s.roots) < 2 && !slices.Contains(s.roots, id) {
		s.roots = append(s.roots, id)
	}
}

func (s *spdx) creation() {
	c := s.c
	for key := range c.object() {
		switch key {
		case "created":
			s.rep.timestamp("creationInfo.created", c.name())
		case "creators":
			for range c.array() {
				name, ok := strings.CutPrefix(c.name(), "Tool:")
				if !ok {
					continue
				}
				if s.tools++; s.tools == 1 {
					s.rep.ev.Tool = toolOf(strings.TrimSpace(name))
				}
			}
		default:
			c.skip()
		}
	}
}

// toolVersion is where the name of a tool ends and its version begins: "syft-0.100.0", "trivy-dev".
var toolVersion = regexp.MustCompile(`-(?:v?\d|dev$)`)

func toolOf(s string) assay.Tool {
	if at := toolVersion.FindStringIndex(s); at != nil && at[0] > 0 {
		return assay.Tool{Name: s[:at[0]], Version: s[at[0]+1:]}
	}
	return assay.Tool{Name: s}
}

func (s *spdx) relationship() {
	c := s.c
	var from, to, kind string
	for key := range c.object() {
		switch key {
		case "spdxElementId":
			from = c.id()
		case "relatedSpdxElement":
			to = c.id()
		case "relationshipType":
			kind = c.name()
		default:
			c.skip()
		}
	}
	switch {
	case kind == "DESCRIBES" && from == "SPDXRef-DOCUMENT":
		s.describes(to)
	case kind == "DESCRIBED_BY" && to == "SPDXRef-DOCUMENT":
		s.describes(from)
	}
}

func (s *spdx) onePackage() {
	c := s.c
	var comp assay.Component
	var id, sum, declared, concluded string
	for key := range c.object() {
		switch key {
		case "name":
			comp.Name = c.name()
		case "versionInfo":
			comp.Version = c.name()
		case "SPDXID":
			id = c.id()
		case "licenseDeclared":
			declared = c.name()
		case "licenseConcluded":
			concluded = c.name()
		case "externalRefs":
			for range c.array() {
				if purl := s.reference(); comp.PURL == "" {
					comp.PURL = purl
				}
			}
		case "checksums":
			for range c.array() {
				if v := s.checksum(); v != "" {
					sum = v
				}
			}
		default:
			c.skip()
		}
	}
	if c.err == nil && comp.Name == "" {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has no name")
	}
	for _, l := range []string{concluded, declared} {
		if l != "NOASSERTION" && l != "NONE" && len(comp.Licenses) == 0 {
			comp.Licenses = s.rep.list(comp.Licenses, l)
		}
	}
	if len(s.ids) >= MaxComponents {
		c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d components", MaxComponents))
		return
	}
	s.rep.ev.Components = append(s.rep.ev.Components, comp)
	s.ids = append(s.ids, id)
	if sum != "" {
		if s.sums == nil {
			s.sums = map[string]string{}
		}
		s.sums[id] = sum
	}
}

// reference returns the purl of an external reference, "" if it is another one.
func (s *spdx) reference() string {
	c := s.c
	var kind, locator string
	for key := range c.object() {
		switch key {
		case "referenceType":
			kind = c.name()
		case "referenceLocator":
			locator = c.name()
		default:
			c.skip()
		}
	}
	if kind == "purl" || strings.HasSuffix(kind, "/purl") {
		return locator
	}
	return ""
}

// checksum returns a SHA-256, "" for any other.
func (s *spdx) checksum() string {
	c := s.c
	var alg, value string
	for key := range c.object() {
		switch key {
		case "algorithm":
			alg = c.name()
		case "checksumValue":
			value = c.name()
		default:
			c.skip()
		}
	}
	if alg == "SHA256" {
		return value
	}
	return ""
}

// finish takes the described package out of the components.
func (s *spdx) finish() error {
	if len(s.roots) != 1 {
		return nil
	}
	i := slices.Index(s.ids, s.roots[0])
	if i < 0 {
		return nil // it describes a file
	}
	s.rep.ev.Components = slices.Delete(s.rep.ev.Components, i, i+1)
	if sum, ok := s.sums[s.roots[0]]; ok {
		if msg := s.rep.about(sum); msg != "" {
			return &assay.Error{Code: assay.CodeInvalid, Field: "packages.checksums", Msg: msg}
		}
	}
	return nil
}
