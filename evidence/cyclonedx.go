package evidence

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
)

// cycloneDXVersions are the versions this reader was written for.
var cycloneDXVersions = []string{"1.4", "1.5", "1.6"}

// readCycloneDX reads a bill of materials. Nested components are listed flat,
// the outer one first. The entries of a vulnerabilities section become
// findings, one for each affected component; those that the document's own
// analysis settles are marked as suppressed.
func readCycloneDX(r *report) error {
	b := &bom{rep: r, c: newCursor(r), refs: map[string]int{}}
	if err := b.read(); err != nil {
		return err
	}
	for _, p := range b.pending {
		if err := b.resolve(p); err != nil {
			return err
		}
	}
	return nil
}

type bom struct {
	rep     *report
	c       *cursor
	refs    map[string]int // bom-ref to index of component
	pending []bomFinding   // vulnerabilities may come before the components they name

	format, version string
	hasVulns        bool
	tools           int
}

func (b *bom) read() error {
	c := b.c
	for key := range c.document() {
		switch key {
		case "bomFormat":
			if b.format = c.name(); c.err == nil && b.format != "CycloneDX" {
				c.fail(assay.CodeInvalid, c.dec.InputOffset(), fmt.Sprintf("%q is not understood; expected \"CycloneDX\"", b.format))
			}
		case "specVersion":
			b.version = c.name()
		case "metadata":
			b.metadata()
		case "components":
			b.components()
		case "vulnerabilities":
			b.hasVulns = true
			b.vulnerabilities()
		default:
			c.skip()
		}
	}
	if c.err != nil {
		return c.err
	}
	return b.check()
}

// check refuses a document without what every one has.
func (b *bom) check() error {
	switch {
	case b.format == "":
		return missing("bomFormat", `"CycloneDX"`)
	case b.version == "":
		return missing("specVersion", strings.Join(cycloneDXVersions, ", "))
	case b.rep.ev.Kind == assay.KindVulnerabilities && !b.hasVulns:
		return missing("vulnerabilities", "a list, to be read as evidence of kind vulnerabilities")
	}
	if !slices.Contains(cycloneDXVersions, b.version) {
		b.rep.note("specVersion %q is not one of %s; what it adds was not read", b.version, strings.Join(cycloneDXVersions, ", "))
	}
	if b.tools > 1 {
		b.rep.note("%d tools made this document; only the first is named", b.tools)
	}
	return nil
}

// missing refuses a report without a field that every report of its format has.
func missing(field, expected string) error {
	return &assay.Error{Code: assay.CodeInvalid, Field: field, Msg: "is missing; expected " + expected}
}

func (b *bom) metadata() {
	c := b.c
	for key := range c.object() {
		switch key {
		case "timestamp":
			b.rep.timestamp("metadata.timestamp", c.name())
		case "tools":
			b.readTools()
		case "component":
			b.subject()
		case "properties":
			b.properties()
		default:
			c.skip()
		}
	}
}

// binaryHash is the property that names the digest of a looked-into binary.
const binaryHash = "cdx:gomod:binary:hash:SHA-256"

// properties reads the digest that cyclonedx-gomod gives of the binary it
// looked into, by its registered property taxonomy.
func (b *bom) properties() {
	c := b.c
	for range c.array() {
		var name, value string
		for key := range c.object() {
			switch key {
			case "name":
				name = c.name()
			case "value":
				value = strings.ToLower(c.name())
			default:
				c.skip()
			}
		}
		if name == binaryHash {
			b.setSubject(value)
		}
	}
}

// readTools reads both shapes: a list of tools (1.4), and an object of components and services (1.5).
func (b *bom) readTools() {
	c := b.c
	if c.peek() == '[' {
		b.toolList()
		return
	}
	for key := range c.object() {
		switch key {
		case "components", "services":
			b.toolList()
		default:
			c.skip()
		}
	}
}

func (b *bom) toolList() {
	c := b.c
	for range c.array() {
		var t assay.Tool
		for key := range c.object() {
			switch key {
			case "name":
				t.Name = c.name()
			case "version":
				t.Version = c.name()
			default:
				c.skip()
			}
		}
		if b.tools++; b.tools == 1 {
			b.rep.ev.Tool = t
		}
	}
}

// subject reads the component that the document is about. It is not one of the document's components.
func (b *bom) subject() {
	c := b.c
	for key := range c.object() {
		switch key {
		case "hashes":
			b.hashes()
		case "components":
			b.components()
		default:
			c.skip()
		}
	}
}

func (b *bom) hashes() {
	c := b.c
	for range c.array() {
		var alg, content string
		for key := range c.object() {
			switch key {
			case "alg":
				alg = c.name()
			case "content":
				content = strings.ToLower(c.name())
			default:
				c.skip()
			}
		}
		if alg == "SHA-256" {
			b.setSubject(content)
		}
	}
}

// setSubject takes a digest of what the document is about. Two that differ are refused.
func (b *bom) setSubject(sum string) {
	c := b.c
	if c.err != nil {
		return
	}
	if msg := b.rep.about(sum); msg != "" {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), msg)
	}
}

// about takes the SHA-256 of what the report is about, and says what is wrong with it.
func (r *report) about(sum string) (msg string) {
	sum = strings.ToLower(strings.TrimSpace(sum))
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
		return "is not a SHA-256 sum; expected 64 hexadecimal digits"
	}
	d := assay.Digest("sha256:" + sum)
	if have := r.ev.Subject; have != "" && have != d {
		return "names another artifact than " + string(have) + ", which the document names as well"
	}
	r.ev.Subject = d
	return ""
}

func (b *bom) components() {
	for range b.c.array() {
		b.component()
	}
}

func (b *bom) component() {
	c := b.c
	i := len(b.rep.ev.Components)
	if i >= MaxComponents {
		c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d components", MaxComponents))
		return
	}
	b.rep.ev.Components = append(b.rep.ev.Components, assay.Component{}) // its place, before those inside it
	var comp assay.Component
	var group string
	for key := range c.object() {
		switch key {
		case "name":
			comp.Name = c.name()
		case "group":
			group = c.name()
		case "version":
			comp.Version = c.name()
		case "purl":
			comp.PURL = c.name()
		case "bom-ref":
			b.refs[c.id()] = i
		case "licenses":
			comp.Licenses = b.licenses()
		case "components":
			b.components()
		default:
			c.skip()
		}
	}
	if comp.Name == "" && c.err == nil {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has no name")
	}
	if group != "" {
		comp.Name = group + "/" + comp.Name
	}
	b.rep.ev.Components[i] = comp
}

func (b *bom) licenses() []string {
	c := b.c
	var list []string
	for range c.array() {
		for key := range c.object() {
			switch key {
			case "expression":
				list = b.rep.list(list, c.name())
			case "license":
				list = b.rep.list(list, b.license())
			default:
				c.skip()
			}
		}
	}
	return list
}

// license returns the SPDX id of a license, or its name.
func (b *bom) license() string {
	var id, name string
	for key := range b.c.object() {
		switch key {
		case "id":
			id = b.c.name()
		case "name":
			name = b.c.name()
		default:
			b.c.skip()
		}
	}
	if id != "" {
		return id
	}
	return name
}
