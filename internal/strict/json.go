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
	"strings"

	"assay.dev/assay"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// MaxDepth is the nesting that both decoders accept.
const MaxDepth = 64

// JSON decodes exactly one JSON value into v, which must be a pointer. It
// follows the struct tags of encoding/json, but member names match exactly.
func JSON(data []byte, v any) error {
	if err := CheckJSON(data); err != nil {
		return err
	}
	err := json.Unmarshal(data, v,
		jsonv1.DefaultOptionsV1(),
		jsontext.AllowDuplicateNames(false),
		jsontext.AllowInvalidUTF8(false),
		json.MatchCaseInsensitiveNames(false),
		json.RejectUnknownMembers(true),
	)
	if err != nil {
		return jsonError(data, err, reflect.TypeOf(v))
	}
	return nil
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
			return place(data, dec.InputOffset(), pointerField(dec.StackPointer()),
				fmt.Sprintf("is nested deeper than %d levels", MaxDepth))
		}
		if tok.Kind() == '"' && HasControl(tok.String()) {
			return place(data, dec.InputOffset(), pointerField(dec.StackPointer()), "contains a control character")
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

// HasControl reports whether s holds a control character other than tab and line feed.
func HasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0
	})
}

func jsonError(data []byte, err error, t reflect.Type) error {
	if syn, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		field := pointerField(syn.JSONPointer)
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			return place(data, syn.ByteOffset, field, "is a duplicate key")
		case errors.Is(err, io.ErrUnexpectedEOF):
			return place(data, int64(len(data)), field, "is cut off: the JSON ends before its value does")
		}
		return place(data, syn.ByteOffset, field, "is not valid JSON: "+syn.Err.Error())
	}
	if sem, ok := errors.AsType[*json.SemanticError](err); ok {
		field := pointerField(sem.JSONPointer)
		if errors.Is(err, json.ErrUnknownName) {
			e := place(data, sem.ByteOffset, field, "is not a known key")
			e.Hint = didYouMean(sem.JSONPointer.LastToken(), fieldsAt(t, sem.JSONPointer.Parent()))
			return e
		}
		msg := fmt.Sprintf("has the wrong type: found %s", kindName(byte(sem.JSONKind)))
		if sem.GoType != nil {
			msg += ", expected " + typeName(sem.GoType)
		}
		if sem.Err != nil {
			msg += ": " + sem.Err.Error()
		}
		return place(data, sem.ByteOffset, field, msg)
	}
	return place(data, 0, "", err.Error())
}

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

// pointerField turns the JSON pointer "/spec/rules/0" into "spec.rules[0]".
func pointerField(p jsontext.Pointer) string {
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
	return b.String()
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
