package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"github.com/go-json-experiment/json/jsontext"
)

// cursor walks one JSON value token by token. Its first error sticks: every
// later call does nothing and returns a zero value, so that a reader checks err
// once, at its end. A null counts as an absent value.
type cursor struct {
	dec   *jsontext.Decoder
	place func(off int64) (line, column int)
	rep   *report
	err   error

	keys    map[string]string // object keys seen before, so that each is allocated once
	scratch []byte            // for strings with escapes
}

// newCursor reads the one JSON value of a report.
func newCursor(r *report) *cursor {
	c := &cursor{dec: jsontext.NewDecoder(r.in), place: r.in.place, rep: r, keys: map[string]string{}}
	r.in.consumed = c.dec.InputOffset
	return c
}

// document yields the members of the report's one object and checks that nothing follows it.
func (c *cursor) document() iter.Seq[string] {
	return func(yield func(string) bool) {
		if k := c.peek(); c.err == nil && k != '{' {
			c.wrong(k, "an object")
		}
		c.object()(yield)
		c.end()
	}
}

// list yields the indices of the report's one list and checks that nothing follows it.
func (c *cursor) list() iter.Seq[int] {
	return func(yield func(int) bool) {
		if k := c.peek(); c.err == nil && k != '[' {
			c.wrong(k, "a list")
		}
		c.array()(yield)
		c.end()
	}
}

// end checks that nothing follows the report's one value.
func (c *cursor) end() {
	if c.err != nil {
		return
	}
	if c.dec.PeekKind() != jsontext.KindInvalid {
		c.failAt(assay.CodeInvalid, c.next(), "", "has data after the end of the JSON value")
		return
	}
	if _, err := c.dec.ReadToken(); err != nil && err != io.EOF {
		c.syntax(err)
	}
}

// object yields the keys of an object. The body must read or skip each value.
func (c *cursor) object() iter.Seq[string] {
	return func(yield func(string) bool) {
		if !c.open('{', "an object") {
			return
		}
		for c.more('}') {
			if key := c.key(); c.err != nil || !yield(key) {
				return
			}
		}
		c.shut()
	}
}

// array yields the indices of a list. The body must read or skip each value.
func (c *cursor) array() iter.Seq[int] {
	return func(yield func(int) bool) {
		if !c.open('[', "a list") {
			return
		}
		for i := 0; c.more(']'); i++ {
			if !yield(i) {
				return
			}
		}
		c.shut()
	}
}

func (c *cursor) open(kind jsontext.Kind, what string) bool {
	k := c.peek()
	if c.err != nil || k == 'n' {
		c.skip()
		return false
	}
	if k != kind {
		c.wrong(k, what)
		return false
	}
	c.token()
	return c.err == nil
}

func (c *cursor) shut() {
	if c.err == nil {
		c.token()
	}
}

// more reports whether a value comes before the closing token.
func (c *cursor) more(end jsontext.Kind) bool {
	k := c.peek()
	return c.err == nil && k != end
}

// peek returns the kind of the next token, and notices a broken one.
func (c *cursor) peek() jsontext.Kind {
	if c.err != nil {
		return jsontext.KindInvalid
	}
	k := c.dec.PeekKind()
	if k == jsontext.KindInvalid {
		if _, err := c.dec.ReadToken(); err != nil {
			c.syntax(err)
		}
	}
	return k
}

// token reads one token within the limits on nesting and members.
func (c *cursor) token() jsontext.Kind {
	tok, err := c.dec.ReadToken()
	if err != nil {
		c.syntax(err)
		return jsontext.KindInvalid
	}
	c.bounds()
	return tok.Kind()
}

func (c *cursor) bounds() {
	depth := c.dec.StackDepth()
	if depth > MaxDepth {
		c.fail(assay.CodeTooLarge, c.dec.InputOffset()-1, fmt.Sprintf("is nested deeper than %d levels", MaxDepth))
		return
	}
	if kind, n := c.dec.StackIndex(depth); kind == '{' && n > 2*MaxMembers {
		c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d members", MaxMembers))
	}
}

func (c *cursor) key() string {
	raw, err := c.dec.ReadValue()
	if err != nil {
		c.syntax(err)
		return ""
	}
	if len(raw) > MaxName {
		c.fail(assay.CodeTooLarge, c.dec.InputOffset()-int64(len(raw)), fmt.Sprintf("has a key longer than %d bytes", MaxName))
		return ""
	}
	b := c.unquote(raw)
	c.bounds()
	if k, ok := c.keys[string(b)]; ok {
		return k
	}
	k := string(b)
	if len(c.keys) < 1000 {
		c.keys[k] = k
	}
	return k
}

// skip passes over the next value, whatever it is.
func (c *cursor) skip() {
	if c.err != nil {
		return
	}
	for depth := c.dec.StackDepth(); ; {
		c.token()
		if c.err != nil || c.dec.StackDepth() <= depth {
			return
		}
	}
}

// text reads a string, harmless and clipped to limit bytes.
func (c *cursor) text(limit int) string {
	return c.harmless(c.bytes(false), limit)
}

// excerpt reads the start of a string that is expected to be long.
func (c *cursor) excerpt(limit int) string {
	b := c.bytes(false)
	return clean(string(b[:min(len(b), 4*limit)]), limit).s
}

// name reads an id, name, version or file name.
func (c *cursor) name() string { return c.text(MaxName) }

// scalar reads a string or a number, as text.
func (c *cursor) scalar() string {
	return c.harmless(c.bytes(true), MaxName)
}

// names reads a list of strings of at most MaxList entries.
func (c *cursor) names() []string {
	var list []string
	for range c.array() {
		list = c.rep.list(list, c.name())
	}
	return list
}

// bytes reads a string, and a number if numbers is set. The result is valid until the next read.
func (c *cursor) bytes(numbers bool) []byte {
	k := c.peek()
	switch {
	case c.err != nil:
		return nil
	case k == 'n':
		c.skip()
		return nil
	case k != '"' && (k != '0' || !numbers):
		c.wrong(k, "a string")
		return nil
	}
	raw, err := c.dec.ReadValue()
	if err != nil {
		c.syntax(err)
		return nil
	}
	if k == '0' {
		return raw
	}
	return c.unquote(raw)
}

func (c *cursor) unquote(raw jsontext.Value) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	// The decoder has checked the string, so that unquoting cannot fail.
	c.scratch, _ = jsontext.AppendUnquote(c.scratch[:0], raw)
	return c.scratch
}

// whole reads a whole number; a larger one than fits, or a negative one, is 0.
func (c *cursor) whole() int {
	k := c.peek()
	switch {
	case c.err != nil:
		return 0
	case k == 'n':
		c.skip()
		return 0
	case k != '0':
		c.wrong(k, "a whole number")
		return 0
	}
	off := c.next()
	raw, err := c.dec.ReadValue()
	if err != nil {
		c.syntax(err)
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 32)
	if errors.Is(err, strconv.ErrSyntax) {
		c.fail(assay.CodeInvalid, off, "has the wrong type: found a fraction, expected a whole number")
	}
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}

// number reads a number; ok is false for null, and for one that no float64 holds.
func (c *cursor) number() (n float64, ok bool) {
	k := c.peek()
	if c.err == nil && k != 'n' && k != '0' {
		c.wrong(k, "a number")
	}
	if c.err != nil || k == 'n' {
		c.skip()
		return 0, false
	}
	raw, err := c.dec.ReadValue()
	if err != nil {
		c.syntax(err)
		return 0, false
	}
	n, err = strconv.ParseFloat(string(raw), 64)
	return n, err == nil
}

// boolean reads true or false; absent says what null means.
func (c *cursor) boolean(absent bool) bool {
	switch k := c.peek(); {
	case c.err != nil:
		return absent
	case k == 'n':
		c.skip()
		return absent
	case k != 't' && k != 'f':
		c.wrong(k, "a boolean")
		return absent
	}
	return c.token() == 't'
}

// next is the offset of the value that a peek found.
func (c *cursor) next() int64 {
	rest := c.dec.UnreadBuffer()
	return c.dec.InputOffset() + int64(len(rest)-len(bytes.TrimLeft(rest, " \t\r\n:,")))
}

func (c *cursor) wrong(found jsontext.Kind, expected string) {
	off := c.next()
	field := c.field()
	if kind, n := c.dec.StackIndex(c.dec.StackDepth()); kind == '[' {
		// The pointer still names the element before this one.
		field = c.listField(n)
	}
	c.failAt(assay.CodeInvalid, off, field, fmt.Sprintf("has the wrong type: found %s, expected %s", kindName(found), expected))
}

func (c *cursor) listField(n int64) string {
	p := c.dec.StackPointer()
	if n > 0 {
		p = p.Parent()
	}
	return strict.Field(p.AppendToken(strconv.FormatInt(n, 10)))
}

func (c *cursor) field() string { return strict.Field(c.dec.StackPointer()) }

func (c *cursor) fail(code assay.Code, off int64, msg string) {
	c.failAt(code, off, c.field(), msg)
}

func (c *cursor) failAt(code assay.Code, off int64, field, msg string) {
	if c.err != nil {
		return
	}
	line, column := c.place(off)
	if field == "" {
		field = "document"
	}
	c.err = &assay.Error{Code: code, Line: line, Column: column, Field: field, Msg: msg}
}

// syntax turns an error of the decoder into one with a place.
func (c *cursor) syntax(err error) {
	if e, ok := errors.AsType[*assay.Error](err); ok { // of our reader
		if e.Code == assay.CodeTooLarge && e.Line == 0 {
			c.failAt(e.Code, c.dec.InputOffset(), c.field(), e.Msg)
			return
		}
		c.err = e
		return
	}
	if err == io.EOF {
		c.failAt(assay.CodeInvalid, c.dec.InputOffset(), "", "is empty; expected a JSON value")
		return
	}
	syn, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "cannot be read: "+err.Error())
		return
	}
	field := strict.Field(syn.JSONPointer)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		c.failAt(assay.CodeInvalid, syn.ByteOffset, field, "is a duplicate key")
	case errors.Is(err, io.ErrUnexpectedEOF):
		end := c.dec.InputOffset() + int64(len(c.dec.UnreadBuffer()))
		c.failAt(assay.CodeInvalid, end, field, "is cut off: the JSON ends before its value does")
	default:
		c.failAt(assay.CodeInvalid, syn.ByteOffset, field, "is not valid JSON: "+syn.Err.Error())
	}
}

// add adds a finding to the report, or fails above MaxFindings.
func (c *cursor) add(f assay.Finding) {
	if c.err != nil {
		return
	}
	if err := c.rep.finding(f); err != nil {
		c.fail(assay.CodeTooLarge, c.dec.InputOffset(), asError(err).Msg)
	}
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "a boolean"
	}
	return "null"
}

// harmless cleans and clips b without making a string of all of it.
func (c *cursor) harmless(b []byte, limit int) string {
	// White space shrinks when cleaned, so look further than limit.
	far := 4 * limit
	if len(b) <= far {
		return c.rep.text(string(b), limit)
	}
	s := clean(string(b[:far]), limit).s
	c.rep.clipped++
	return s
}
