package evidence

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"assay.dev/assay"
)

// xmlCursor walks an XML report element by element. Its first error sticks:
// every later call does nothing, so that a reader checks err once, at its end.
// Names count without their namespace. Entities other than XML's own five and
// numbered characters are refused, so that nothing expands.
type xmlCursor struct {
	dec   *xml.Decoder
	guard *xmlGuard
	rep   *report
	err   error
	stack []string // names of the open elements
}

// element is the start of an element.
type element struct {
	name, space string
	attrs       []xml.Attr
}

// newXMLCursor reads the XML of a report.
func newXMLCursor(r *report) (*xmlCursor, error) {
	src, note, err := xmlReader(r.head, r.in.buf)
	if err != nil {
		return nil, err
	}
	if note != "" {
		r.note("%s", note)
	}
	return xmlCursorOf(r, newXMLGuard(src)), nil
}

func xmlCursorOf(r *report, g *xmlGuard) *xmlCursor {
	x := &xmlCursor{dec: xml.NewDecoder(g), guard: g, rep: r}
	// The guard hands on UTF-8, whatever the declaration says.
	x.dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	return x
}

// root returns the first element.
func (x *xmlCursor) root() element {
	for x.err == nil {
		if e, ok := x.token().(xml.StartElement); ok {
			return elementOf(e)
		}
	}
	return element{}
}

// end checks that nothing follows the root element, and reads the report to its end.
func (x *xmlCursor) end() {
	for len(x.stack) > 0 && x.err == nil {
		x.token()
	}
	for x.err == nil {
		tok, err := x.dec.RawToken()
		if err == io.EOF {
			return
		}
		if err != nil {
			x.syntax(err)
			return
		}
		text, isText := tok.(xml.CharData)
		_, isStart := tok.(xml.StartElement)
		_, isEnd := tok.(xml.EndElement)
		if isStart || isEnd || isText && len(bytes.TrimSpace(text)) > 0 {
			x.fail(assay.CodeInvalid, "has data after the end of its root element")
		}
	}
}

// children yields the elements right below the open one, and leaves it. What
// the body does not read of a child is skipped.
func (x *xmlCursor) children() iter.Seq[element] {
	return func(yield func(element) bool) {
		depth := len(x.stack)
		for x.err == nil {
			tok := x.token()
			if len(x.stack) < depth {
				return
			}
			start, ok := tok.(xml.StartElement)
			if !ok {
				continue
			}
			more := yield(elementOf(start))
			for x.err == nil && len(x.stack) > depth {
				x.token()
			}
			if !more {
				return
			}
		}
	}
}

// text reads the text of the open element without that of its children, and leaves it.
func (x *xmlCursor) text(limit int) string {
	depth := len(x.stack)
	var b strings.Builder
	for x.err == nil && len(x.stack) >= depth {
		if t, ok := x.token().(xml.CharData); ok && len(x.stack) == depth && b.Len() <= 4*limit {
			b.Write(t[:min(len(t), 4*limit)])
		}
	}
	return x.rep.text(strings.ToValidUTF8(b.String(), "\uFFFD"), limit)
}

// name reads the text of the open element as an id, name or version.
func (x *xmlCursor) name() string { return x.text(MaxName) }

// maxAttributes is how many one element may have.
const maxAttributes = 1000

// token reads one token and keeps count of the open elements.
func (x *xmlCursor) token() xml.Token {
	if x.err != nil {
		return nil
	}
	tok, err := x.dec.Token()
	if err != nil {
		x.syntax(err)
		return nil
	}
	switch t := tok.(type) {
	case xml.StartElement:
		x.stack = append(x.stack, t.Name.Local)
		if len(x.stack) > MaxDepth {
			x.fail(assay.CodeTooLarge, fmt.Sprintf("is nested deeper than %d levels", MaxDepth))
		}
		if len(t.Attr) > maxAttributes { // each is compared with all others
			x.fail(assay.CodeTooLarge, fmt.Sprintf("has more than %d attributes", maxAttributes))
			return tok
		}
		for i, a := range t.Attr {
			if slices.ContainsFunc(t.Attr[:i], func(b xml.Attr) bool { return a.Name == b.Name }) {
				x.fail(assay.CodeInvalid, "has the attribute "+clean(a.Name.Local, 100).s+" twice")
			}
		}
	case xml.EndElement:
		x.stack = x.stack[:len(x.stack)-1]
	case xml.Directive:
		if bytes.Contains(t, []byte("<!ENTITY")) {
			x.fail(assay.CodeInvalid, "declares entities, which are not expanded; write the report without them")
		}
	}
	return tok
}

func (x *xmlCursor) fail(code assay.Code, msg string) {
	if x.err != nil {
		return
	}
	x.err = &assay.Error{Code: code, Line: x.guard.line, Column: max(x.guard.column, 1), Field: x.field(), Msg: msg}
}

// field names the open element by the last of the elements around it.
func (x *xmlCursor) field() string {
	if len(x.stack) == 0 {
		return "document"
	}
	const shown = 4
	return clean(strings.Join(x.stack[max(0, len(x.stack)-shown):], "."), 200).s
}

func (x *xmlCursor) syntax(err error) {
	if e, ok := errors.AsType[*assay.Error](err); ok { // of our reader
		if e.Code == assay.CodeTooLarge {
			x.fail(e.Code, e.Msg)
			return
		}
		x.err = e
		return
	}
	syn, ok := errors.AsType[*xml.SyntaxError](err)
	switch {
	case err == io.EOF:
		x.fail(assay.CodeInvalid, "is empty; expected an element")
	case ok && syn.Msg == "unexpected EOF":
		x.fail(assay.CodeInvalid, "is cut off: the XML ends before its element does")
	case ok:
		x.fail(assay.CodeInvalid, "is not valid XML: "+syn.Msg)
	default:
		x.fail(assay.CodeInvalid, "is not valid XML: "+strings.TrimPrefix(err.Error(), "xml: "))
	}
}

func elementOf(e xml.StartElement) element {
	return element{name: e.Name.Local, space: e.Name.Space, attrs: e.Attr}
}

// attr returns an attribute by its name without namespace, "" if the element has none.
func (e element) attr(name string) string {
	for _, a := range e.attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// number returns a whole attribute that is not negative; ok is false without one.
func (e element) number(name string) (n int64, ok bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(e.attr(name)), 10, 64)
	return n, err == nil && n >= 0
}

// sniffXML names the format of an XML report by its root element.
func sniffXML(head []byte, whole bool) (string, error) {
	r := &report{head: head, in: newInput(bytes.NewReader(head))}
	r.in.skipBOM()
	x, err := newXMLCursor(r)
	if err != nil {
		return "", err
	}
	root := x.root()
	if x.err != nil {
		if !whole && strings.Contains(x.err.Error(), "is cut off") {
			return "", unknown("XML of an unknown format")
		}
		return "", x.err
	}
	has := func(s string) bool { return bytes.Contains(head, []byte(s)) }
	switch {
	case root.name == "testsuites" || root.name == "testsuite":
		return FormatJUnit, nil
	case root.name == "report" && (has("//JACOCO//") || has("<sessioninfo") || has("<counter") || has("<group")):
		return FormatJaCoCo, nil
	case root.name == "coverage" && root.attr("line-rate") != "":
		return FormatCobertura, nil
	case root.name == "bom" && strings.HasPrefix(root.space, cycloneDXSpace):
		return FormatCycloneDXXML, nil
	}
	for name, what := range map[string]string{
		"coverage": "Clover XML", "checkstyle": "Checkstyle XML", "assemblies": "xUnit.net XML",
		"test-run": "NUnit XML", "TestRun": "Visual Studio test results (TRX)", "testng-results": "TestNG XML",
	} {
		if root.name == name {
			return "", unknown(what)
		}
	}
	return "", unknown("XML with the root element " + clean(root.name, 100).s)
}
