// Package schematest describes Go types as JSON Schemas, for the tests that keep the
// published schemas as the types are.
package schematest

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"assay.dev/assay"
	"github.com/invopop/jsonschema"
)

// Words describes a string that is one of list.
func Words[T any](list ...T) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, v := range list {
		s.Enum = append(s.Enum, v)
	}
	return s
}

// Of returns the indented JSON Schema (2020-12) of v's type, whose file is named name.
// kind is what a resource has in its field kind, "" for what is no resource. What Go cannot
// state in a type, such as an enumeration, is in stated; comments of fields are read from the
// files at paths (package by its import path), relative to the folder of the test.
func Of(t *testing.T, name, kind string, v any, stated map[reflect.Type]*jsonschema.Schema, paths map[string][]string) []byte {
	t.Helper()
	r := &jsonschema.Reflector{DoNotReference: true, Mapper: func(t reflect.Type) *jsonschema.Schema {
		if s, ok := stated[t]; ok {
			own := *s // the reflector writes the comment of each field into it
			return &own
		}
		return nil
	}}
	for pkg, list := range paths {
		for _, path := range list {
			if err := r.AddGoComments(pkg, path); err != nil {
				t.Fatal(err)
			}
			addLineComments(t, r.CommentMap, pkg, path)
		}
	}
	s := r.Reflect(v)
	s.ID = jsonschema.ID("https://assay.dev/schemas/v1alpha1/" + name + ".schema.json")
	if kind != "" {
		p, _ := s.Properties.Get("kind")
		p.Const = kind
		version, _ := s.Properties.Get("apiVersion")
		version.Const = assay.APIVersion
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// addLineComments adds what stands behind the fields of structs, which the reflector passes
// over. path is a file or a folder.
func addLineComments(t *testing.T, comments map[string]string, pkg, path string) {
	t.Helper()
	files := []string{path}
	if filepath.Ext(path) != ".go" {
		files, _ = filepath.Glob(filepath.Join(path, "*.go")) // fails of bad patterns only
	}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			fields, ok := spec.Type.(*ast.StructType)
			if !ok {
				return false
			}
			for _, f := range fields.Fields.List {
				for _, name := range f.Names {
					if words := strings.TrimSpace(f.Comment.Text()); f.Doc == nil && words != "" {
						comments[pkg+"."+spec.Name.Name+"."+name.Name] = words
					}
				}
			}
			return false
		})
	}
}
