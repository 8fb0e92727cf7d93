package evidence

import (
	"fmt"
	"strings"

	"assay.dev/assay"
)

// cycloneDXSpace starts the namespace of every version of CycloneDX XML, which ends in the version.
const cycloneDXSpace = "http://cyclonedx.org/schema/bom/"

// readCycloneDXXML reads what readCycloneDX reads, from XML.
func readCycloneDXXML(r *report) error {
	x, err := newXMLCursor(r)
	if err != nil {
		return err
	}
	b := &bomXML{bom: bom{rep: r, refs: map[string]int{}, format: "CycloneDX"}, x: x}
	root := x.root()
	if x.err == nil && (root.name != "bom" || !strings.HasPrefix(root.space, cycloneDXSpace)) {
		x.fail(assay.CodeInvalid, "is no CycloneDX document; expected the root element bom in the namespace "+cycloneDXSpace+"VERSION")
	}
	b.version = clean(strings.TrimPrefix(root.space, cycloneDXSpace), MaxName).s
	for e := range x.children() {
		switch e.name {
		case "metadata":
			b.metadata()
		case "components":
			b.components()
		case "vulnerabilities":
			b.hasVulns = true
			b.vulnerabilities()
		}
	}
	if x.end(); x.err != nil {
		return x.err
	}
	if err := b.check(); err != nil {
		return err
	}
	for _, p := range b.pending {
		if err := b.resolve(p); err != nil {
			return err
		}
	}
	return nil
}

// bomXML gathers the same as bom, from another cursor.
type bomXML struct {
	bom
	x *xmlCursor
}

func (b *bomXML) metadata() {
	for e := range b.x.children() {
		switch e.name {
		case "timestamp":
			b.rep.timestamp("metadata.timestamp", b.x.name())
		case "tools":
			b.readTools()
		case "component":
			b.subject()
		case "properties":
			for p := range b.x.children() {
				if value := b.x.name(); p.attr("name") == binaryHash {
					b.setSubject(value)
				}
			}
		}
	}
}

// readTools reads both shapes: a list of tools (1.4), and components and services (1.5).
func (b *bomXML) readTools() {
	for e := range b.x.children() {
		switch e.name {
		case "tool":
			b.tool()
		case "components", "services":
			for range b.x.children() {
				b.tool()
			}
		}
	}
}

func (b *bomXML) tool() {
	var t assay.Tool
	for e := range b.x.children() {
		switch e.name {
		case "name":
			t.Name = b.x.name()
		case "version":
			t.Version = b.x.name()
		}
	}
	if b.tools++; b.tools == 1 {
		b.rep.ev.Tool = t
	}
}

// subject reads the component that the document is about.
func (b *bomXML) subject() {
	for e := range b.x.children() {
		switch e.name {
		case "hashes":
			for h := range b.x.children() {
				if sum := b.x.name(); h.attr("alg") == "SHA-256" {
					b.setSubject(sum)
				}
			}
		case "components":
			b.components()
		}
	}
}

func (b *bomXML) setSubject(sum string) {
	if b.x.err != nil {
		return
	}
	if msg := b.rep.about(sum); msg != "" {
		b.x.fail(assay.CodeInvalid, msg)
	}
}

func (b *bomXML) components() {
	for e := range b.x.children() {
		if e.name == "component" {
			b.component(e)
		}
	}
}

func (b *bomXML) component(e element) {
	i := len(b.rep.ev.Components)
	if i >= MaxComponents {
		b.x.fail(assay.CodeTooLarge, fmt.Sprintf("has more than %d components", MaxComponents))
		return
	}
	b.rep.ev.Components = append(b.rep.ev.Components, assay.Component{}) // its place, before those inside it
	if ref := e.attr("bom-ref"); ref != "" {
		b.refs[ref] = i
	}
	var comp assay.Component
	var group string
	for e := range b.x.children() {
		switch e.name {
		case "name":
			comp.Name = b.x.name()
		case "group":
			group = b.x.name()
		case "version":
			comp.Version = b.x.name()
		case "purl":
			comp.PURL = b.x.name()
		case "licenses":
			comp.Licenses = b.licenses()
		case "components":
			b.components()
		}
	}
	if comp.Name == "" {
		b.x.fail(assay.CodeInvalid, "has a component without a name")
	}
	if group != "" {
		comp.Name = group + "/" + comp.Name
	}
	b.rep.ev.Components[i] = comp
}

func (b *bomXML) licenses() []string {
	var list []string
	for e := range b.x.children() {
		switch e.name {
		case "expression":
			list = b.rep.list(list, b.x.name())
		case "license":
			var id, name string
			for e := range b.x.children() {
				switch e.name {
				case "id":
					id = b.x.name()
				case "name":
					name = b.x.name()
				}
			}
			if id == "" {
				id = name
			}
			list = b.rep.list(list, id)
		}
	}
	return list
}

func (b *bomXML) vulnerabilities() {
	for e := range b.x.children() {
		if e.name != "vulnerability" {
			continue
		}
		v := b.vulnerability()
		switch {
		case b.x.err != nil:
			return
		case v.Rule == "":
			b.x.fail(assay.CodeInvalid, "has a vulnerability without an id")
		case len(b.pending) >= MaxFindings:
			b.x.fail(assay.CodeTooLarge, fmt.Sprintf("has more than %d findings", MaxFindings))
		}
		b.pending = append(b.pending, v)
	}
}

func (b *bomXML) vulnerability() bomFinding {
	v := bomFinding{Finding: assay.Finding{Severity: assay.SeverityUnknown}}
	var detail string
	for e := range b.x.children() {
		switch e.name {
		case "id":
			v.Rule = b.x.name()
		case "description":
			v.Message = b.x.text(MaxMessage)
		case "detail":
			detail = b.x.text(MaxMessage)
		case "ratings":
			for range b.x.children() {
				v.Severity = worst(v.Severity, b.rating())
			}
		case "references":
			for range b.x.children() {
				for e := range b.x.children() {
					if e.name == "id" {
						v.Aliases = b.rep.list(v.Aliases, b.x.name())
					}
				}
			}
		case "analysis":
			v.Suppressed = b.analysis()
		case "affects":
			v.refs = b.targets()
		}
	}
	if v.Message == "" {
		v.Message = detail
	}
	return v
}

func (b *bomXML) rating() assay.Severity {
	var word, score, method string
	for e := range b.x.children() {
		switch e.name {
		case "severity":
			word = b.x.name()
		case "score":
			score = b.x.name()
		case "method":
			method = b.x.name()
		}
	}
	return ratingOf(word, score, method)
}

func (b *bomXML) analysis() string {
	var state, why, detail string
	for e := range b.x.children() {
		switch e.name {
		case "state":
			state = b.x.name()
		case "justification":
			why = b.x.name()
		case "detail":
			detail = b.x.text(MaxMessage / 2)
		}
	}
	return settled(state, why, detail)
}

// targets reads the refs of the affected components.
func (b *bomXML) targets() []string {
	var refs []string
	for range b.x.children() {
		for e := range b.x.children() {
			if ref := b.x.name(); e.name == "ref" && len(refs) < MaxFindings {
				refs = append(refs, ref)
			}
		}
	}
	return refs
}
