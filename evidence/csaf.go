package evidence

import (
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
)

// readCSAF reads what a CSAF 2.0 document says about products as VEX
// statements, whatever its category. A product is named by its purl where the
// product tree gives one, and by its name otherwise; one that is a part of
// another becomes a statement about the part. Justifications are CSAF's flags,
// impacts its threats of category impact. Products only recommended are left out.
func readCSAF(r *report) error {
	s := &csaf{rep: r, c: newCursor(r), products: map[string]string{}, parts: map[string][2]string{}}
	c := s.c
	seen := false
	for key := range c.document() {
		switch key {
		case "document":
			s.document()
		case "product_tree":
			s.tree()
		case "vulnerabilities":
			seen = true
			for range c.array() {
				s.vulnerability()
			}
		default:
			c.skip()
		}
	}
	switch {
	case c.err != nil:
		return c.err
	case s.version == "":
		return missing("document.csaf_version", `"2.0"`)
	case s.version != "2.0":
		r.note("csaf_version %q is not 2.0; what it adds was not read", s.version)
	}
	if !seen {
		r.note("the document speaks of no vulnerability")
	}
	s.finish()
	return c.err
}

type csaf struct {
	rep      *report
	c        *cursor
	version  string
	released time.Time
	products map[string]string    // names by product id
	parts    map[string][2]string // product id of a part in a whole: ids of both
	pending  []csafStatement      // the product tree may come last
	ids      int                  // product ids in pending
}

// csafStatement is one status of one vulnerability with product ids.
type csafStatement struct {
	assay.VEXStatement
	products []string
	flags    map[string]string // label by product id
	impacts  map[string]string // text by product id
}

// csafStatuses maps the lists of CSAF to the words of OpenVEX.
var csafStatuses = map[string]assay.VEXStatus{
	"known_affected": assay.VEXAffected, "first_affected": assay.VEXAffected, "last_affected": assay.VEXAffected,
	"known_not_affected": assay.VEXNotAffected,
	"fixed":              assay.VEXFixed, "first_fixed": assay.VEXFixed,
	"under_investigation": assay.VEXUnderInvestigation,
}

func (s *csaf) document() {
	c := s.c
	for key := range c.object() {
		switch key {
		case "csaf_version":
			s.version = c.name()
		case "publisher":
			for key := range c.object() {
				if key == "name" {
					s.rep.ev.Tool.Name = c.name()
					continue
				}
				c.skip()
			}
		case "tracking":
			for key := range c.object() {
				switch key {
				case "current_release_date":
					text := c.name()
					s.released, _ = time.Parse(time.RFC3339Nano, text) // timestamp notes a bad one
					s.rep.timestamp("document.tracking.current_release_date", text)
				case "status":
					if status := c.name(); status == "draft" {
						s.rep.note("the document is a draft")
					}
				default:
					c.skip()
				}
			}
		default:
			c.skip()
		}
	}
}

// tree reads a product tree, or a branch of it.
func (s *csaf) tree() {
	c := s.c
	for key := range c.object() {
		switch key {
		case "branches":
			for range c.array() {
				s.tree()
			}
		case "product":
			s.product()
		case "full_product_names":
			for range c.array() {
				s.product()
			}
		case "relationships":
			for range c.array() {
				s.relationship()
			}
		default:
			c.skip()
		}
	}
}

// product reads one product, and returns its id.
func (s *csaf) product() string {
	c := s.c
	var id, name, purl string
	for key := range c.object() {
		switch key {
		case "product_id":
			id = c.id()
		case "name":
			name = c.name()
		case "product_identification_helper":
			for key := range c.object() {
				if key == "purl" {
					purl = c.name()
					continue
				}
				c.skip()
			}
		default:
			c.skip()
		}
	}
	if purl != "" {
		name = purl
	}
	if len(s.products) >= MaxComponents {
		c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d products", MaxComponents))
		return id
	}
	s.products[id] = name
	return id
}

// relationship reads that one product is a part of another.
func (s *csaf) relationship() {
	c := s.c
	var id, part, whole string
	for key := range c.object() {
		switch key {
		case "full_product_name":
			id = s.product()
		case "product_reference":
			part = c.id()
		case "relates_to_product_reference":
			whole = c.id()
		default:
			c.skip()
		}
	}
	if id != "" && part != "" && whole != "" {
		s.parts[id] = [2]string{part, whole}
	}
}

func (s *csaf) vulnerability() {
	c := s.c
	var v assay.VEXStatement
	var lists []csafStatement
	flags, impacts := map[string]string{}, map[string]string{}
	for key := range c.object() {
		switch key {
		case "cve":
			v.Vulnerability = c.name()
		case "ids":
			for range c.array() {
				for key := range c.object() {
					if key == "text" {
						v.Aliases = s.rep.list(v.Aliases, c.name())
						continue
					}
					c.skip()
				}
			}
		case "product_status":
			for list := range c.object() {
				lists = append(lists, s.status(list))
			}
		case "flags":
			for range c.array() {
				s.perProduct("label", "", flags)
			}
		case "threats":
			for range c.array() {
				s.perProduct("details", "impact", impacts)
			}
		default:
			c.skip()
		}
	}
	if v.Vulnerability == "" && len(v.Aliases) > 0 {
		v.Vulnerability, v.Aliases = v.Aliases[0], v.Aliases[1:]
	}
	if c.err == nil && v.Vulnerability == "" && len(lists) > 0 {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has neither a cve nor an id")
	}
	for _, l := range lists {
		if l.Status == "" {
			continue
		}
		status := l.Status
		l.VEXStatement, l.Status, l.flags, l.impacts = v, status, flags, impacts
		s.pending = append(s.pending, l)
	}
}

// status reads one list of product ids.
func (s *csaf) status(list string) csafStatement {
	l := csafStatement{VEXStatement: assay.VEXStatement{Status: csafStatuses[list]}}
	if l.Status == "" {
		if list != "recommended" {
			s.rep.note("product_status %s is no list of CSAF 2.0 and was not read", list)
		}
		s.c.skip()
		return l
	}
	for range s.c.array() {
		l.products = append(l.products, s.c.id())
		if s.ids++; s.ids > MaxStatements {
			s.c.fail(assay.CodeTooLarge, s.c.dec.InputOffset(), fmt.Sprintf("has more than %d statements", MaxStatements))
			return l
		}
	}
	return l
}

// perProduct reads a flag or threat into texts by product id. One without
// product ids counts for every product, under "".
func (s *csaf) perProduct(field, category string, texts map[string]string) {
	c := s.c
	var text, kind string
	var products []string
	for key := range c.object() {
		switch key {
		case field:
			text = c.text(MaxMessage)
		case "category":
			kind = c.name()
		case "product_ids":
			for range c.array() {
				if id := c.id(); len(products) < MaxStatements {
					products = append(products, id)
				}
			}
		case "group_ids":
			s.rep.note("product groups were not read")
			c.skip()
			products = append(products, "\x00") // for nobody, rather than for everybody
		default:
			c.skip()
		}
	}
	if kind != category {
		return
	}
	if len(products) == 0 {
		products = []string{""}
	}
	for _, p := range products {
		if texts[p] == "" {
			texts[p] = text
		}
	}
}

// finish resolves product ids, and makes one statement of the products that agree in everything.
func (s *csaf) finish() {
	unknown := 0
	for _, p := range s.pending {
		var made []assay.VEXStatement
		for _, id := range p.products {
			st := p.VEXStatement
			st.Time = s.released.UTC()
			st.Justification, st.Impact = either(p.flags, id), either(p.impacts, id)
			product := id
			if of, ok := s.parts[id]; ok {
				product = of[1]
				st.Components = []string{s.nameOf(of[0])}
			}
			if s.products[product] == "" {
				unknown++
				continue
			}
			st.Products = []string{s.products[product]}
			i := slices.IndexFunc(made, func(m assay.VEXStatement) bool {
				return m.Justification == st.Justification && m.Impact == st.Impact && len(m.Components)+len(st.Components) == 0
			})
			if i >= 0 {
				made[i].Products = append(made[i].Products, st.Products[0])
				continue
			}
			made = append(made, st)
		}
		for _, st := range made {
			s.c.statement(st)
		}
	}
	if unknown > 0 {
		s.rep.note("%s in the product tree; what is said about them was left out", plural(unknown, "product id is not", "product ids are not"))
	}
}

func (s *csaf) nameOf(id string) string {
	if n := s.products[id]; n != "" {
		return n
	}
	return s.rep.text(id, MaxName)
}

func either(texts map[string]string, id string) string {
	if t := texts[id]; t != "" {
		return t
	}
	return texts[""]
}
