package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"assay.dev/assay"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	kyaml "sigs.k8s.io/yaml"
)

// readManifests validates Kubernetes objects, YAML or JSON, one or several,
// Lists included, against the types of Kubernetes itself: unknown and duplicate
// fields, wrong types, objects without a name, pods without containers,
// containers without a name or image, and versions of an API that Kubernetes
// has removed. Objects of a kind that is not Kubernetes' own are counted in the
// notes. What only the server knows (formats, immutable fields, quotas) is not
// judged here. The manifests are themselves the evidence.
func readManifests(r *report) error {
	r.ev.Tool = assay.Tool{Name: "assay"}
	data, err := io.ReadAll(r.in.buf)
	if err != nil {
		return err
	}
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return assay.Errorf(assay.CodeInvalid, "is not valid UTF-8 text")
	}
	m := &manifests{rep: r}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		err = m.json(data)
	} else {
		err = m.yaml(data)
	}
	if err != nil {
		return err
	}
	r.count("validated", m.known)
	if m.unknown > 0 {
		r.count("not-validated", m.unknown)
	}
	if m.known == 0 && len(r.ev.Findings) == 0 {
		return assay.Errorf(assay.CodeInvalid, "holds no object of a kind that is known here, so nothing could be validated (%s)", strings.Join(r.ev.Notes, "; "))
	}
	return nil
}

type manifests struct {
	rep            *report
	known, unknown int
	line           int // where the current document starts, 1-based
	doc            *yaml.Node
	item           []string // path of the current object in its document
}

// json takes one JSON object or several in a row.
func (m *manifests) json(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		var raw json.RawMessage
		start := dec.InputOffset()
		err := dec.Decode(&raw)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			line, column := placeIn(data, dec.InputOffset())
			if syn, ok := errors.AsType[*json.SyntaxError](err); ok {
				line, column = placeIn(data, syn.Offset)
			}
			if errors.Is(err, io.ErrUnexpectedEOF) {
				line, column = placeIn(data, int64(len(data)))
				return &assay.Error{Code: assay.CodeInvalid, Line: line, Column: column, Field: "document", Msg: "is cut off: the JSON ends before its value does"}
			}
			return &assay.Error{Code: assay.CodeInvalid, Line: line, Column: column, Field: "document", Msg: "is not valid JSON: " + err.Error()}
		}
		gap := len(data[start:dec.InputOffset()]) - len(raw)
		m.line, _ = placeIn(data, start+int64(gap))
		m.doc = nil
		if err := m.object(raw); err != nil {
			return err
		}
	}
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// yaml takes the documents of a YAML stream, read as kubectl reads them.
func (m *manifests) yaml(data []byte) error {
	line, start := 1, 1
	var doc []byte
	for l := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(l, []byte("---")); ok && (len(bytes.TrimSpace(rest)) == 0 || bytes.HasPrefix(bytes.TrimSpace(rest), []byte("#"))) {
			if err := m.document(doc, start); err != nil {
				return err
			}
			doc, start = nil, line+1
		} else {
			doc = append(doc, l...)
		}
		line++
	}
	return m.document(doc, start)
}

func (m *manifests) document(doc []byte, start int) error {
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil
	}
	fail := func(err error) error {
		e := &assay.Error{Code: assay.CodeInvalid, Line: start, Column: 1, Field: "document"}
		msg := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
		if at := yamlLine.FindStringSubmatch(msg); at != nil {
			n, _ := strconv.Atoi(at[1]) // digits
			e.Line = start + n - 1
			msg = strings.Replace(msg, at[0]+": ", "", 1)
		}
		e.Msg = "is not valid YAML: " + clean(strings.TrimPrefix(msg, "yaml: "), 300).s
		return e
	}
	raw, err := kyaml.YAMLToJSONStrict(doc)
	if err != nil {
		return fail(err)
	}
	if string(raw) == "null" {
		return nil // only comments
	}
	var node yaml.Node
	if err := yaml.Unmarshal(doc, &node); err == nil && len(node.Content) > 0 {
		m.doc = node.Content[0]
	} else {
		m.doc = nil // the two parsers differ: places are then those of the document
	}
	m.line = start
	for i := range bytes.Count(doc, newline) + 1 { // up to its first line with content
		l, rest, _ := bytes.Cut(doc, newline)
		if t := bytes.TrimSpace(l); len(t) > 0 && t[0] != '#' {
			m.line = start + i
			break
		}
		doc = rest
	}
	if m.doc != nil {
		shift(m.doc, start-1, 0)
	}
	return m.object(raw)
}

// shift makes the lines of nodes those of the whole file.
func shift(n *yaml.Node, by, depth int) {
	n.Line += by
	if depth > MaxDepth {
		return
	}
	for _, c := range n.Content {
		shift(c, by, depth+1)
	}
}

// object validates one object, or the items of a List.
func (m *manifests) object(raw []byte) error {
	if m.known+m.unknown >= MaxResources {
		return assay.Errorf(assay.CodeTooLarge, "has more than %d objects", MaxResources)
	}
	var head struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
		Metadata   struct {
			Name         string `json:"name"`
			GenerateName string `json:"generateName"`
			Namespace    string `json:"namespace"`
		} `json:"metadata"`
	}
	err := json.Unmarshal(raw, &head)
	at := manifest{kind: head.Kind, name: strings.TrimPrefix(head.Metadata.Namespace+"/"+head.Metadata.Name, "/")}
	if head.APIVersion == "" || head.Kind == "" {
		m.known++
		if err != nil {
			return m.problem(at, "wrong-type", "", "is no Kubernetes object: "+err.Error())
		}
		return m.problem(at, "missing-kind", "", "has no apiVersion and kind")
	}
	if head.APIVersion == "v1" && head.Kind == "List" && m.item == nil {
		for i, item := range head.Items {
			m.item = []string{"items", strconv.Itoa(i)}
			if err := m.object(item); err != nil {
				return err
			}
			m.item = nil
		}
		return nil
	}
	gvk := schema.FromAPIVersionAndKind(head.APIVersion, head.Kind)
	obj, err := kubernetesKinds().New(gvk)
	if err != nil {
		m.unknown++
		m.rep.note("%s of %s is not a kind of Kubernetes itself and was not validated", clean(head.Kind, 100).s, clean(head.APIVersion, 100).s)
		return nil
	}
	m.known++
	if whole, err := m.decode(at, raw, obj); !whole || err != nil {
		return err
	}
	if head.Metadata.Name == "" && head.Metadata.GenerateName == "" && !strings.HasSuffix(head.Kind, "List") {
		if err := m.problem(at, "missing-name", "metadata", "has no metadata.name"); err != nil {
			return err
		}
	}
	if old, ok := obj.(interface{ APILifecycleRemoved() (int, int) }); ok {
		major, minor := old.APILifecycleRemoved()
		if err := m.problem(at, "removed-api", "apiVersion", fmt.Sprintf("apiVersion %s is not served by Kubernetes %d.%d and later", gvk.GroupVersion(), major, minor)); err != nil {
			return err
		}
	}
	return m.pods(at, obj)
}

// manifest names an object in findings.
type manifest struct{ kind, name string }

var (
	unknownField = regexp.MustCompile(`^unknown field "(.*)"$`)
	wrongType    = regexp.MustCompile(`cannot unmarshal (\S+) into Go (?:struct field \S+?\.)?(\S+) of type (\S+)`)
)

// decode reads raw into its type as the API server does with strict validation,
// and reports whether all of it could be read.
func (m *manifests) decode(at manifest, raw []byte, obj runtime.Object) (whole bool, _ error) {
	strictErrs, err := kjson.UnmarshalStrict(raw, obj)
	for _, e := range strictErrs {
		rule, path, msg := "duplicate-field", "", e.Error()
		if f := unknownField.FindStringSubmatch(msg); f != nil {
			rule, path, msg = "unknown-field", f[1], "has no field "+f[1]
		}
		if err := m.problem(at, rule, path, msg); err != nil {
			return false, err
		}
	}
	if err == nil {
		return true, nil
	}
	path, msg := "", err.Error()
	if t := wrongType.FindStringSubmatch(msg); t != nil {
		path = t[2]
		msg = fmt.Sprintf("%s has the wrong type: found a %s, expected %s", path, t[1], t[3])
	}
	return false, m.problem(at, "wrong-type", path, strings.TrimPrefix(msg, "json: "))
}

// problem adds a finding about an object.
func (m *manifests) problem(at manifest, rule, path, msg string) error {
	sev := assay.SeverityHigh
	if rule == "removed-api" {
		sev = assay.SeverityMedium
	}
	what := strings.TrimSpace(at.kind + " " + at.name)
	return m.rep.finding(assay.Finding{
		Rule: rule, Severity: sev, Message: m.rep.text(strings.TrimSpace(what+" "+msg), MaxMessage),
		Location:    assay.Location{File: m.rep.ev.Source, Line: m.lineOf(path)},
		Fingerprint: m.rep.prints.of("manifest", rule, at.kind, at.name, path),
	})
}

// lineOf finds the line of "spec.containers[0].image", or of the nearest thing
// around it. Errors about types leave the indices of lists out.
func (m *manifests) lineOf(path string) int {
	steps := append([]string(nil), m.item...)
	steps = append(steps, strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })...)
	n, line := m.doc, m.line
	for _, s := range steps {
		if n != nil && n.Kind == yaml.SequenceNode {
			if i, err := strconv.Atoi(s); err == nil && i >= 0 && i < len(n.Content) {
				n = n.Content[i]
				line = n.Line
				continue
			}
			n = onlyWith(n, s)
		}
		key, value := member(n, s)
		if value == nil {
			return line
		}
		n, line = value, key.Line
	}
	return line
}

// onlyWith returns the entry of a list that has a key, nil unless exactly one has.
func onlyWith(list *yaml.Node, key string) *yaml.Node {
	var found *yaml.Node
	for _, n := range list.Content {
		if _, v := member(n, key); v != nil {
			if found != nil {
				return nil
			}
			found = n
		}
	}
	return found
}

// member finds a key of a mapping with its value.
func member(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}
