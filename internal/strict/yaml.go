package strict

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

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
	if len(docs) != 1 {
		return place(data, 0, "", fmt.Sprintf("has %d YAML documents; expected one", len(docs)))
	}
	return docs[0].Decode(v)
}

// Document is one parsed YAML document that keeps the places of its values.
type Document struct {
	root *yaml.Node
}

// Documents parses a YAML stream and checks its form. Anchors and aliases are
// refused: they hide values from reviewers and can expand without bound.
func Documents(data []byte) ([]Document, error) {
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
			return d.Errorf(splitField(e.Field), "%s", e.Msg)
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

// checkNode refuses aliases, duplicate and non-string keys, control characters and deep nesting.
func checkNode(n *yaml.Node, path string, depth int) error {
	if depth > MaxDepth {
		return nodeError(n, path, fmt.Sprintf("is nested deeper than %d levels", MaxDepth))
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return nodeError(n, path, "uses a YAML anchor or alias; write the value out")
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
			if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
				return nodeError(k, path, "has a key that is not a plain word")
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

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// checkType compares a node with the Go type it is to become, for errors with a place and a suggestion.
func checkType(n *yaml.Node, t reflect.Type, path string) error {
	t = deref(t)
	if t == nil || t.Kind() == reflect.Interface || reflect.PointerTo(t).Implements(textUnmarshaler) {
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
	case reflect.Slice:
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

func scalarFits(n *yaml.Node, t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String:
		// A plain 1.20 or yes is a string to whoever wrote it where a string is expected.
		return n.Tag != "!!null"
	case reflect.Bool:
		return n.Tag == "!!bool"
	case reflect.Float32, reflect.Float64:
		return n.Tag == "!!float" || n.Tag == "!!int"
	default:
		return n.Tag == "!!int"
	}
}

func wrongType(n *yaml.Node, t reflect.Type, path string) error {
	found := map[yaml.Kind]string{yaml.MappingNode: "an object", yaml.SequenceNode: "a list"}[n.Kind]
	if found == "" {
		found = strconv.Quote(n.Value)
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
		if t != nil && t.Kind() == reflect.Slice {
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
	return enc.WriteToken(scalarToken(n, t))
}

func scalarToken(n *yaml.Node, t reflect.Type) jsontext.Token {
	if t != nil && (t.Kind() == reflect.String || reflect.PointerTo(t).Implements(textUnmarshaler)) {
		return jsontext.String(n.Value)
	}
	switch n.Tag {
	case "!!null":
		return jsontext.Null
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return jsontext.Bool(b)
		}
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return jsontext.Int(i)
		}
	case "!!float":
		var f float64
		if n.Decode(&f) == nil && f == f && f-f == 0 {
			return jsontext.Float(f)
		}
	}
	return jsontext.String(n.Value)
}

var yamlPlace = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func yamlError(err error) error {
	e := &assay.Error{Code: assay.CodeInvalid, Field: "document", Msg: "is not valid YAML: " + err.Error()}
	if m := yamlPlace.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Msg = "is not valid YAML: " + m[2]
	}
	return e
}

func nodeError(n *yaml.Node, field, msg string) *assay.Error {
	if field == "" {
		field = "document"
	}
	return &assay.Error{Code: assay.CodeInvalid, Line: n.Line, Column: n.Column, Field: field, Msg: msg}
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
