package evidence

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// vexStatuses are the words of OpenVEX.
var vexStatuses = []string{string(assay.VEXNotAffected), string(assay.VEXAffected), string(assay.VEXFixed), string(assay.VEXUnderInvestigation)}

// statement adds a VEX statement. One that settles nothing because it names no
// product or no vulnerability is refused by the caller.
func (c *cursor) statement(s assay.VEXStatement) {
	if c.err != nil {
		return
	}
	if len(c.rep.ev.VEX) >= MaxStatements {
		c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d statements", MaxStatements))
		return
	}
	c.rep.ev.VEX = append(c.rep.ev.VEX, s)
}

// readOpenVEX reads the statements of an OpenVEX document. What a statement
// leaves out it takes from the document. A statement that names subcomponents
// speaks about them, inside its products.
func readOpenVEX(r *report) error {
	o := &openVEX{rep: r, c: newCursor(r)}
	c := o.c
	var context string
	seen := false
	for key := range c.document() {
		switch key {
		case "@context":
			if c.peek() == '[' {
				context = strings.Join(c.names(), " ")
				continue
			}
			context = c.name()
		case "author":
			r.ev.Tool.Name = c.name()
		case "tooling":
			if t := c.name(); t != "" {
				r.ev.Tool.Version = t
			}
		case "timestamp":
			o.issued = o.time("timestamp")
		case "last_updated":
			o.updated = o.time("last_updated")
		case "statements":
			seen = true
			for range c.array() {
				o.statement()
			}
		default:
			c.skip()
		}
	}
	switch {
	case c.err != nil:
		return c.err
	case !strings.Contains(context, "openvex.dev/ns"):
		return missing("@context", "https://openvex.dev/ns/v0.2.0")
	case !seen:
		return missing("statements", "a list")
	}
	o.finish()
	return nil
}

type openVEX struct {
	rep             *report
	c               *cursor
	issued, updated time.Time
}

func (o *openVEX) time(field string) time.Time {
	s := o.c.name()
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		o.rep.note("%s %q is not an RFC 3339 time and was not used", field, s)
		return time.Time{}
	}
	return t.UTC()
}

// finish gives statements without a time that of the document.
func (o *openVEX) finish() {
	at := o.issued
	if o.updated.After(at) {
		at = o.updated
	}
	o.rep.produced(at)
	for i := range o.rep.ev.VEX {
		if o.rep.ev.VEX[i].Time.IsZero() {
			o.rep.ev.VEX[i].Time = at
		}
	}
}

func (o *openVEX) statement() {
	c := o.c
	var s assay.VEXStatement
	for key := range c.object() {
		switch key {
		case "vulnerability":
			o.vulnerability(&s)
		case "products":
			for range c.array() {
				o.product(&s)
			}
		case "subcomponents": // of version 0.0.1
			for range c.array() {
				s.Components = o.identified(s.Components)
			}
		case "status":
			at := c.next()
			s.Status = assay.VEXStatus(c.name())
			if known := strict.OneOf(string(s.Status), vexStatuses); c.err == nil && !isVEXStatus(s.Status) {
				c.fail(assay.CodeInvalid, at, known)
			}
		case "justification":
			s.Justification = c.name()
		case "impact_statement":
			s.Impact = c.text(MaxMessage)
		case "timestamp":
			if t := o.time("statements.timestamp"); t.After(s.Time) {
				s.Time = t
			}
		case "last_updated":
			if t := o.time("statements.last_updated"); t.After(s.Time) {
				s.Time = t
			}
		default:
			c.skip()
		}
	}
	switch {
	case c.err != nil:
	case s.Vulnerability == "":
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has no vulnerability")
	case s.Status == "":
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has no status")
	case len(s.Products) == 0:
		o.rep.note("a statement about %s names no product; it was left out", s.Vulnerability)
	default:
		c.statement(s)
	}
}

func isVEXStatus(s assay.VEXStatus) bool {
	return slices.Contains(vexStatuses, string(s))
}

// vulnerability reads both shapes: a text (0.0.1), and an object (0.2.0).
func (o *openVEX) vulnerability(s *assay.VEXStatement) {
	c := o.c
	if c.peek() == '"' {
		s.Vulnerability = c.name()
		return
	}
	var id string
	for key := range c.object() {
		switch key {
		case "name":
			s.Vulnerability = c.name()
		case "@id":
			id = c.name()
		case "aliases":
			s.Aliases = c.names()
		default:
			c.skip()
		}
	}
	if s.Vulnerability == "" {
		s.Vulnerability = id
	}
}

// product reads a product with its subcomponents.
func (o *openVEX) product(s *assay.VEXStatement) {
	c := o.c
	if c.peek() == '"' {
		s.Products = o.keep(s.Products, c.name())
		return
	}
	for key := range c.object() {
		switch key {
		case "subcomponents":
			for range c.array() {
				s.Components = o.identified(s.Components)
			}
		default:
			s.Products = o.id(s.Products, key)
		}
	}
}

// identified adds the ids of a component, which is a text or an object.
func (o *openVEX) identified(list []string) []string {
	c := o.c
	if c.peek() == '"' {
		return o.keep(list, c.name())
	}
	for key := range c.object() {
		list = o.id(list, key)
	}
	return list
}

// id adds what a member of a product says about who it is.
func (o *openVEX) id(list []string, key string) []string {
	c := o.c
	switch key {
	case "@id":
		return o.keep(list, c.name())
	case "identifiers":
		for kind := range c.object() {
			if id := c.name(); kind == "purl" {
				list = o.keep(list, id)
			}
		}
	case "hashes":
		for kind := range c.object() {
			if sum := c.name(); kind == "sha-256" || kind == "sha256" {
				list = o.keep(list, "sha256:"+strings.ToLower(sum))
			}
		}
	default:
		c.skip()
	}
	return list
}

// keep adds an id; what names more than MaxStatements is refused.
func (o *openVEX) keep(list []string, id string) []string {
	return keepID(o.c, list, id)
}

func keepID(c *cursor, list []string, id string) []string {
	if id == "" || len(list) > 0 && list[len(list)-1] == id {
		return list
	}
	if len(list) >= MaxStatements {
		c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("names more than %d products", MaxStatements))
		return list
	}
	return append(list, id)
}
