package strict

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"assay.dev/assay"
	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// YAML decodes exactly one YAML document into v, following its json struct tags.
func YAML(data []byte, v any) error {
	docs, err := Documents(data)
	if err != nil {
		return err
	}
	switch {
	case len(docs) == 0:
		return place(data, 0, "", "is empty; expected one YAML document")
	case len(docs) > 1:
		return nodeError(docs[1].root, "", fmt.Sprintf("is one of %d YAML documents; expected one", len(docs)))
	}
	return docs[0].Decode(v)
}

// Document is one parsed YAML document that keeps the places of its values.
type Document struct {
	root *yaml.Node
}

// rawControl reports whether YAML forbids r outside of an escape.
func rawControl(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0x7f
}

// Documents parses a YAML stream and checks its form. Anchors and aliases are
// refused: they hide values from reviewers and can expand without bound.
func Documents(data []byte) ([]Document, error) {
	if off := invalidUTF8(data); off >= 0 {
		return nil, place(data, int64(off), "", "is not valid UTF-8")
	}
	// The library refuses these as well, without saying where.
	if off := bytes.IndexFunc(data, rawControl); off >= 0 {
		return nil, place(data, int64(off), "", "contains a control character")
	}
	var docs []Document
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, yamlError(err)
		}
		if len(n.Content) == 0 || n.Content[0].Tag == "!!null" {
			continue
		}
		if err := checkNode(n.Content[0], "", 0); err != nil {
			return nil, err
		}
		docs = append(docs, Document{n.Content[0]})
	}
}

// Line is the line that the document's first value starts on.
func (d Document) Line() int { return d.root.Line }

// String returns the scalar at a path of keys, "" if there is none.
func (d Document) String(path ...string) string {
	if n := d.find(path); n != nil && n.Kind == yaml.ScalarNode {
		return n.Value
	}
	return ""
}

// Errorf makes an error at the value of a path of keys, or at its nearest
// ancestor when the path ends early. Number keys with strconv.Itoa for lists.
func (d Document) Errorf(path []string, format string, args ...any) *assay.Error {
	n := d.root
	for i := range path {
		next := child(n, path[i])
		if next == nil {
			break
		}
		n = next
	}
	return nodeError(n, joinPath(path), fmt.Sprintf(format, args...))
}

// Decode decodes the document into v, following its json struct tags.
func (d Document) Decode(v any) error {
	if err := checkType(d.root, reflect.TypeOf(v), ""); err != nil {
		return err
	}
	var buf bytes.Buffer
	enc := jsontext.NewEncoder(&buf)
	if err := writeNode(enc, d.root, reflect.TypeOf(v)); err != nil {
		return err
	}
	if err := JSON(buf.Bytes(), v); err != nil {
		// The JSON is ours: its line means nothing to the reader, its field does.
		if e, ok := errors.AsType[*assay.Error](err); ok {
			at := d.Errorf(splitField(e.Field), "%s", e.Msg)
			at.Hint = e.Hint
			return at
		}
		return err
	}
	return nil
}

func (d Document) find(path []string) *yaml.Node {
	n := d.root
	for _, p := range path {
		if n = child(n, p); n == nil {
			return nil
		}
	}
	return n
}

func child(n *yaml.Node, key string) *yaml.Node {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	}
	return nil
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, -1 if there is none.
func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// checkNode refuses aliases, tags, duplicate and non-string keys, control characters and deep nesting.
func checkNode(n *yaml.Node, path string, depth int) error {
	if depth > MaxDepth {
		return nodeError(n, path, fmt.Sprintf("is nested deeper than %d levels", MaxDepth))
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return nodeError(n, path, "uses a YAML anchor or alias; write the value out")
	}
	if n.Style&yaml.TaggedStyle != 0 {
		return nodeError(n, path, "uses the YAML tag "+quote(n.Tag)+"; write the value plainly")
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if HasControl(n.Value) {
			return nodeError(n, path, "contains a control character")
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			if err := checkNode(c, fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
				return err
			}
		}
	case yaml.MappingNode:
		seen := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			field := dot(path, k.Value)
			if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" || k.Anchor != "" || k.Style&yaml.TaggedStyle != 0 {
				return nodeError(k, path, "has a key that is not a plain word")
			}
			if HasControl(k.Value) {
				return nodeError(k, path, "has a key with a control character")
			}
			if first, dup := seen[k.Value]; dup {
				return nodeError(k, field, fmt.Sprintf("is a duplicate key; first on line %d", first))
			}
			seen[k.Value] = k.Line
			if err := checkNode(n.Content[i+1], field, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
)

// isText reports whether a t is written as a string, by its own rules.
func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textUnmarshaler) }

// isBytes reports whether a t is written as a string in base64.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !isFree(t)
}

// isFree reports whether t itself decides about its shape.
func isFree(t reflect.Type) bool {
	return t.Kind() == reflect.Interface || !isText(t) && reflect.PointerTo(t).Implements(jsonUnmarshaler)
}

// checkType compares a node with the Go type it is to become, for errors with a place and a suggestion.
func checkType(n *yaml.Node, t reflect.Type, path string) error {
	t = deref(t)
	switch {
	case t == nil, isFree(t):
		return checkFree(n, path)
	case isText(t), isBytes(t):
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return wrongType(n, t, path)
		}
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		if n.Kind != yaml.MappingNode {
			return wrongType(n, t, path)
		}
		fields := structFields(t)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			ft, ok := fields[k.Value]
			if !ok {
				e := nodeError(k, dot(path, k.Value), "is not a known key")
				e.Hint = didYouMean(k.Value, fieldsAt(t, ""))
				return e
			}
			if err := checkType(n.Content[i+1], ft, dot(path, k.Value)); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		if n.Kind != yaml.SequenceNode {
			return wrongType(n, t, path)
		}
		for i, c := range n.Content {
			if err := checkType(c, t.Elem(), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			return wrongType(n, t, path)
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := checkType(n.Content[i+1], t.Elem(), dot(path, n.Content[i].Value)); err != nil {
				return err
			}
		}
	default:
		if n.Kind != yaml.ScalarNode || !scalarFits(n, t) {
			return wrongType(n, t, path)
		}
	}
	return nil
}

// checkFree refuses numbers that a value of any type would silently change.
func checkFree(n *yaml.Node, path string) error {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := checkFree(n.Content[i+1], dot(path, n.Content[i].Value)); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			if err := checkFree(c, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case yaml.ScalarNode:
		number := n.Tag == "!!int" || n.Tag == "!!float" || n.Style == 0 && jsonNumber.MatchString(n.Value)
		if number && !plainNumber(n.Value) {
			return nodeError(n, path, quote(n.Value)+" is not a plain decimal number; quote it if it is a word")
		}
	}
	return nil
}

func scalarFits(n *yaml.Node, t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String:
		// A plain 1.20 or yes is a string to whoever wrote it where a string is expected.
		return n.Tag != "!!null"
	case reflect.Bool:
		return n.Tag == "!!bool"
	case reflect.Float32, reflect.Float64:
		return (n.Tag == "!!float" || n.Tag == "!!int") && plainNumber(n.Value)
	default:
		return n.Tag == "!!int" && plainNumber(n.Value)
	}
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// plainNumber reports whether a number reads the same to everybody: 010 is
// eight to some and ten to others, and .inf and .nan have no JSON form.
func plainNumber(s string) bool {
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && !math.IsInf(f, 0) && jsonNumber.MatchString(s)
}

func wrongType(n *yaml.Node, t reflect.Type, path string) error {
	found := map[yaml.Kind]string{yaml.MappingNode: "an object", yaml.SequenceNode: "a list"}[n.Kind]
	switch {
	case n.Tag == "!!null":
		found = "null"
	case found == "":
		found = quote(n.Value)
	}
	if n.Kind == yaml.ScalarNode && (n.Tag == "!!int" || n.Tag == "!!float") && !plainNumber(n.Value) {
		return nodeError(n, path, fmt.Sprintf("%s is not a plain decimal number; expected %s", found, typeName(t)))
	}
	// The library takes a whole number of more than 64 bits for one with a fraction.
	if n.Kind == yaml.ScalarNode && n.Tag == "!!float" && whole(t) && digits.MatchString(n.Value) {
		return nodeError(n, path, beyond(n.Value, t))
	}
	return nodeError(n, path, fmt.Sprintf("has the wrong type: found %s, expected %s", found, typeName(t)))
}

// writeNode writes n as JSON; t tells where a plain scalar must stay a string.
func writeNode(enc *jsontext.Encoder, n *yaml.Node, t reflect.Type) error {
	t = deref(t)
	switch n.Kind {
	case yaml.MappingNode:
		var fields map[string]reflect.Type
		var elem reflect.Type
		if t != nil && t.Kind() == reflect.Struct {
			fields = structFields(t)
		} else if t != nil && t.Kind() == reflect.Map {
			elem = t.Elem()
		}
		if err := enc.WriteToken(jsontext.BeginObject); err != nil {
			return err
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i].Value
			if err := enc.WriteToken(jsontext.String(k)); err != nil {
				return err
			}
			ft := elem
			if fields != nil {
				ft = fields[k]
			}
			if err := writeNode(enc, n.Content[i+1], ft); err != nil {
				return err
			}
		}
		return enc.WriteToken(jsontext.EndObject)
	case yaml.SequenceNode:
		var elem reflect.Type
		if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
			elem = t.Elem()
		}
		if err := enc.WriteToken(jsontext.BeginArray); err != nil {
			return err
		}
		for _, c := range n.Content {
			if err := writeNode(enc, c, elem); err != nil {
				return err
			}
		}
		return enc.WriteToken(jsontext.EndArray)
	}
	return writeScalar(enc, n, t)
}

// writeScalar writes numbers digit for digit, so that none loses its precision on the way.
func writeScalar(enc *jsontext.Encoder, n *yaml.Node, t reflect.Type) error {
	if t != nil && (t.Kind() == reflect.String || isText(t) || isBytes(t)) {
		return enc.WriteToken(jsontext.String(n.Value))
	}
	switch n.Tag {
	case "!!null":
		return enc.WriteToken(jsontext.Null)
	case "!!bool":
		return enc.WriteToken(jsontext.Bool(strings.EqualFold(n.Value, "true")))
	case "!!int", "!!float":
		if !plainNumber(n.Value) {
			return nodeError(n, "", quote(n.Value)+" is not a plain decimal number")
		}
		return enc.WriteValue(jsontext.Value(n.Value))
	}
	return enc.WriteToken(jsontext.String(n.Value))
}

var yamlPlace = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func yamlError(err error) error {
	// The library leaves the line out when it is the first, and never gives a column.
	e := &assay.Error{Code: assay.CodeInvalid, Line: 1, Column: 1, Field: "document", Msg: "is not valid YAML: " + clip(err.Error())}
	if m := yamlPlace.FindStringSubmatch(err.Error()); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			e.Line = line
		}
		e.Msg = "is not valid YAML: " + m[2]
	}
	return e
}

func nodeError(n *yaml.Node, field, msg string) *assay.Error {
	if field == "" {
		field = "document"
	}
	return &assay.Error{Code: assay.CodeInvalid, Line: n.Line, Column: n.Column, Field: elide(field), Msg: msg}
}

func dot(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func joinPath(path []string) string {
	s := ""
	for _, p := range path {
		if isIndex(p) {
			s += "[" + p + "]"
		} else {
			s = dot(s, p)
		}
	}
	return s
}

func splitField(field string) []string {
	return strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}
