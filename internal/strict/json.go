// Package strict decodes JSON and YAML that came from outside without guessing.
//
// Both decoders refuse what lenient ones let pass: unknown and duplicate keys,
// wrong types, trailing data, nesting beyond a limit, invalid UTF-8 and control
// characters in strings. Every refusal is an *assay.Error with line, column and
// field, and a suggestion where a key or word looks misspelt. Documents are
// bounded by the caller's limit before they are read.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// MaxDepth is the nesting that both decoders accept.
const MaxDepth = 64

// JSON decodes exactly one JSON value into v, which must be a pointer. It
// follows the struct tags of encoding/json, but member names match exactly. A
// null member leaves its field as it is, since encoding/json writes nil slices
// so; a document that is null as a whole is refused.
func JSON(data []byte, v any) error {
	if !plain(data) {
		if err := CheckJSON(data); err != nil {
			return err
		}
	}
	if t := deref(reflect.TypeOf(v)); t.Kind() == reflect.Struct && string(bytes.TrimSpace(data)) == "null" {
		return place(data, int64(bytes.IndexByte(data, 'n')), "", "has the wrong type: found null, expected "+typeName(t))
	}
	err := json.Unmarshal(data, v,
		jsonv1.DefaultOptionsV1(),
		jsonv1.ReportErrorsWithLegacySemantics(false), // they carry no place
		jsontext.AllowDuplicateNames(false),
		jsontext.AllowInvalidUTF8(false),
		json.MatchCaseInsensitiveNames(false),
		json.RejectUnknownMembers(true),
	)
	if err == nil {
		return nil
	}
	if err := CheckJSON(data); err != nil {
		return err // it says where the form is wrong
	}
	return jsonError(data, err, reflect.TypeOf(v))
}

// Open decodes exactly one JSON value into v as its own rules have it: members that
// v does not know are ignored, as an open format demands. The form is checked as
// strictly as by JSON. form reports whether the error is of the form, not of the types.
func Open(data []byte, v any) (form bool, err error) {
	if !plain(data) {
		if err := CheckJSON(data); err != nil {
			return true, err
		}
	}
	if err := json.Unmarshal(data, v); err != nil {
		if err := CheckJSON(data); err != nil {
			return true, err
		}
		return false, err
	}
	return false, nil
}

// plain reports whether a document that a decoder accepts passes CheckJSON too: the
// decoder finds bad syntax, duplicate names and data after the end by itself, and
// text of printable ASCII without escapes holds no control character. Most documents
// are so, and are then read once and not twice.
func plain(data []byte) bool {
	depth, text := 0, false
	for _, c := range data {
		switch {
		case c == '\\' || c >= 0x7f:
			return false
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return len(data) > 0
}

// CheckJSON verifies the form of one JSON value without decoding it: syntax,
// unique keys, nesting, valid UTF-8, no control characters, nothing after it.
func CheckJSON(data []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		tok, err := dec.ReadToken()
		if err == io.EOF {
			return place(data, int64(len(data)), "", "is empty; expected a JSON value")
		}
		if err != nil {
			return jsonError(data, err, nil)
		}
		if dec.StackDepth() > MaxDepth {
			return place(data, dec.InputOffset(), Field(dec.StackPointer()),
				fmt.Sprintf("is nested deeper than %d levels", MaxDepth))
		}
		if tok.Kind() == '"' && HasControl(tok.String()) {
			return place(data, dec.InputOffset(), Field(dec.StackPointer()), "contains a control character")
		}
		if dec.StackDepth() == 0 {
			break
		}
	}
	if _, err := dec.ReadToken(); err == nil {
		return place(data, dec.InputOffset(), "", "has data after the end of the JSON value")
	} else if err != io.EOF {
		return jsonError(data, err, nil)
	}
	return nil
}

// HasControl reports whether s holds a control character other than tab and
// line feed, or one that reorders the text around it on a screen.
func HasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 ||
			r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	})
}

func jsonError(data []byte, err error, t reflect.Type) error {
	if syn, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		field := Field(syn.JSONPointer)
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			return place(data, syn.ByteOffset, field, "is a duplicate key")
		case errors.Is(err, io.ErrUnexpectedEOF):
			return place(data, int64(len(data)), field, "is cut off: the JSON ends before its value does")
		}
		return place(data, syn.ByteOffset, field, "is not valid JSON: "+syn.Err.Error())
	}
	if sem, ok := errors.AsType[*json.SemanticError](err); ok {
		field := Field(sem.JSONPointer)
		if errors.Is(err, json.ErrUnknownName) {
			e := place(data, sem.ByteOffset, field, "is not a known key")
			e.Hint = didYouMean(sem.JSONPointer.LastToken(), fieldsAt(t, sem.JSONPointer.Parent()))
			return e
		}
		off := valueAt(data, sem.ByteOffset)
		return place(data, off, field, wrongValue(sem, data[off:]))
	}
	return place(data, 0, "", err.Error())
}

// wrongValue says what the value that rest starts with is, and what was expected instead.
func wrongValue(sem *json.SemanticError, rest []byte) string {
	found := kindName(byte(sem.JSONKind))
	var text string
	if tok, err := jsontext.NewDecoder(bytes.NewReader(rest)).ReadToken(); err == nil {
		text = tok.String()
	}
	t := deref(sem.GoType)
	switch {
	case t == nil:
		return "has the wrong type: found " + found
	case t == reflect.TypeFor[time.Time]() && sem.JSONKind == '"':
		return quote(text) + " is not a time; expected RFC 3339, for example 2026-11-21T15:04:05Z"
	case isText(t) && sem.JSONKind == '"' && sem.Err != nil:
		return quote(text) + " is not valid: " + sem.Err.Error()
	case isBytes(t) && sem.JSONKind == '"':
		return "is not base64"
	case sem.JSONKind == '0' && whole(t) && digits.MatchString(text):
		return beyond(text, t)
	case sem.JSONKind == '0':
		found = clip(text)
	}
	return "has the wrong type: found " + found + ", expected " + typeName(t)
}

// valueAt moves an offset over what stands before a value.
func valueAt(data []byte, off int64) int64 {
	off = max(0, min(off, int64(len(data))))
	rest := data[off:]
	return off + int64(len(rest)-len(bytes.TrimLeft(rest, " \t\r\n:,")))
}

// Bounded reads all of r if it is at most limit bytes, so that a document is
// never held above its limit. The error says what is too large by name.
func Bounded(r io.Reader, limit int64, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "%s cannot be read: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, assay.Errorf(assay.CodeTooLarge, "%s is larger than %d bytes", name, limit)
	}
	return data, nil
}

// clip keeps an error readable when what it quotes is long.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

func quote(s string) string { return strconv.Quote(clip(s)) }

// place makes an Error at a byte offset of data.
func place(data []byte, off int64, field, msg string) *assay.Error {
	off = max(0, min(off, int64(len(data))))
	head := data[:off]
	line := bytes.Count(head, []byte{'\n'}) + 1
	col := len(head) - (bytes.LastIndexByte(head, '\n') + 1) + 1
	if field == "" {
		field = "document"
	}
	return &assay.Error{Code: assay.CodeInvalid, Line: line, Column: col, Field: field, Msg: msg}
}

// Field turns the JSON pointer "/spec/rules/0" into "spec.rules[0]". The middle of a very long one is left out.
func Field(p jsontext.Pointer) string {
	var b strings.Builder
	for tok := range p.Tokens() {
		switch {
		case isIndex(tok):
			fmt.Fprintf(&b, "[%s]", tok)
		case b.Len() > 0:
			b.WriteByte('.')
			fallthrough
		default:
			b.WriteString(tok)
		}
	}
	return elide(b.String())
}

// elide leaves out the middle of a very long field.
func elide(field string) string {
	const end = 2 * MaxDepth
	if len(field) <= 2*end {
		return field
	}
	return strings.ToValidUTF8(field[:end]+"…"+field[len(field)-end:], "")
}

func isIndex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func kindName(k byte) string {
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
	case 'n':
		return "null"
	}
	return "nothing"
}
