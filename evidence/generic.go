package evidence

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"assay.dev/assay"
)

// readGeneric reads the findings of a JSON report where its mapping says they
// are. A report without that list is refused: it would look clean. Keys of
// findings that the mapping does not speak of, words for severities that nobody
// knows, and values of other types than expected are said in the notes.
func readGeneric(r *report) error {
	m := r.mapping
	r.ev.Tool.Name = r.text(m.Tool, MaxName)
	g := &generic{rep: r, c: newCursor(r), m: m, fields: &pathTree{}, top: &pathTree{}, left: map[string]bool{}, odd: map[string]int{}}
	for _, f := range m.Fields.all() {
		g.fields.add(f.path, f.name)
	}
	for _, f := range []struct{ name, path string }{{"findings", m.Findings}, {"version", m.Version}, {"produced", m.Produced}} {
		g.top.add(f.path, f.name)
	}
	for _, key := range m.Ignore {
		g.left[key] = true
	}
	g.walk(g.top)
	if g.c.end(); g.c.err != nil {
		return g.c.err
	}
	if !g.found {
		return &assay.Error{Code: assay.CodeInvalid, Field: strings.TrimSuffix(m.Findings, each), Msg: "is missing; the mapping says that the findings are there"}
	}
	g.notes()
	return nil
}

type generic struct {
	rep         *report
	c           *cursor
	m           *Mapping
	top, fields *pathTree
	found       bool            // the list of findings is there
	n           int             // findings seen
	left        map[string]bool // keys of findings that are ignored, or were told
	told        []string
	odd         map[string]int // what could not be taken, by what it is
	now         *mapped        // the finding that is being read
}

// mapped is what is gathered of one finding.
type mapped struct {
	assay.Finding
	print string
}

// pathTree is a set of paths by their steps.
type pathTree struct {
	next  map[string]*pathTree
	names []string // what lies here, none if paths only pass
}

func (t *pathTree) add(path, name string) {
	steps, _ := splitPath(path) // checked by ParseMapping
	if path == "" {
		return
	}
	for _, s := range steps {
		if t.next == nil {
			t.next = map[string]*pathTree{}
		}
		if t.next[s] == nil {
			t.next[s] = &pathTree{}
		}
		t = t.next[s]
	}
	t.names = append(t.names, name)
}

// walk reads a value along the paths of t, and skips what no path leads to.
func (g *generic) walk(t *pathTree) {
	c := g.c
	k := c.peek()
	switch {
	case c.err != nil:
	case len(t.names) > 0:
		g.take(t.names)
	case t.next[each] != nil && k == '[':
		g.found = g.found || slices.Contains(t.next[each].names, "findings")
		for range c.array() {
			g.walk(t.next[each])
		}
	case k == '{':
		for key := range c.object() {
			if sub := t.next[key]; sub != nil {
				g.walk(sub)
				continue
			}
			g.leave(t, key)
		}
	case k == 'n':
		c.skip()
	default:
		if g.now == nil {
			g.c.wrong(k, "what the mapping says")
			return
		}
		g.odd["values of another shape than the mapping says"]++
		c.skip()
	}
}

// leave skips a key that the mapping does not speak of.
func (g *generic) leave(t *pathTree, key string) {
	if g.now != nil && t == g.fields && !g.left[key] && len(g.told) < MaxList {
		g.left[key] = true
		g.told = append(g.told, clean(key, 100).s)
	}
	g.c.skip()
}

// take reads the value that lies at the end of a path, for all that it is.
func (g *generic) take(names []string) {
	c := g.c
	if slices.Contains(names, "findings") {
		g.finding()
		return
	}
	var s string
	switch k := c.peek(); k {
	case '"', '0':
		s = c.harmless(c.bytes(true), MaxMessage)
	case 't', 'f':
		if c.boolean(false) {
			s = "true"
		}
	default:
		if k != 'n' {
			g.odd[names[0]+" that are no text"]++
		}
		c.skip()
	}
	for _, name := range names {
		switch {
		case c.err != nil:
		case g.now != nil:
			g.set(name, s)
		case name == "version":
			g.rep.ev.Tool.Version = clean(s, MaxName).s
		case name == "produced":
			g.rep.timestamp(g.m.Produced, s)
		}
	}
}

func (g *generic) set(name, s string) {
	f := g.now
	short := clean(s, MaxName).s
	switch name {
	case "rule":
		f.Rule = short
	case "message":
		f.Message = s
	case "severity":
		f.Severity = g.severity(short)
	case "file":
		f.Location.File = fileName(short)
	case "line":
		f.Location.Line = g.position(short)
	case "column":
		f.Location.Column = g.position(short)
	case "package":
		f.Package.Name = short
	case "version":
		f.Package.Version = short
	case "purl":
		f.Package.PURL = short
	case "fixedIn":
		f.FixedIn = g.rep.list(f.FixedIn, short)
	case "aliases":
		f.Aliases = g.rep.list(f.Aliases, short)
	case "suppressed":
		f.Suppressed = s
	case "fingerprint":
		f.print = short
	}
}

func (g *generic) severity(word string) assay.Severity {
	for w, s := range g.m.Severities {
		if strings.EqualFold(w, word) {
			return s
		}
	}
	s := severityWord(word)
	if s == assay.SeverityUnknown {
		s = bandOfText(word)
	}
	if s == assay.SeverityUnknown && word != "" && !strings.EqualFold(word, "unknown") {
		g.odd["findings of a severity that the mapping does not know, such as "+clean(word, 40).s]++
	}
	return s
}

func (g *generic) position(s string) int {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		if s != "" {
			g.odd["lines or columns that are no whole numbers"]++
		}
		return 0
	}
	return int(n)
}

// finding reads one entry of the list of findings.
func (g *generic) finding() {
	c := g.c
	if k := c.peek(); c.err == nil && k != '{' {
		c.wrong(k, "an object")
		return
	}
	g.n++
	f := &mapped{Finding: assay.Finding{Severity: assay.SeverityUnknown}}
	g.now = f
	g.walk(g.fields)
	g.now = nil
	if c.err != nil {
		return
	}
	if f.Rule == "" && f.Message == "" {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has neither a rule nor a message where the mapping says they are")
		return
	}
	if f.Rule == "" {
		f.Rule = g.rep.ev.Tool.Name
	}
	if f.Message == "" {
		f.Message = f.Rule
	}
	if f.Suppressed == "true" {
		f.Suppressed = "suppressed by the tool without a justification"
	}
	kind := messageKind(f.Message)
	if f.print != "" {
		kind = f.print
	}
	f.Fingerprint = g.rep.prints.of(g.m.Tool, f.Rule, fileKey(f.Location.File), packageKey(f.Package), kind)
	c.add(f.Finding)
}

func (g *generic) notes() {
	if len(g.told) > 0 {
		g.rep.note("the mapping does not speak of these keys of findings: %s", strings.Join(g.told, ", "))
	}
	for _, what := range slices.Sorted(maps.Keys(g.odd)) {
		g.rep.note("not understood: %s (%d)", what, g.odd[what])
	}
	if g.n == 0 {
		g.rep.note("the list of findings is empty")
	}
}
