package policy

import (
	"embed"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// The schemas are generated from the Go types and their comments by the
// package's test (go test ./policy -update), which fails when they are stale.
//
//go:embed schema/*.schema.json
var schemas embed.FS

// Schema returns the JSON Schema (2020-12) of a resource kind, for editors.
func Schema(kind string) ([]byte, error) {
	if slices.Contains(Kinds, kind) {
		return schemas.ReadFile("schema/" + strings.ToLower(kind) + ".schema.json")
	}
	return nil, assay.Errorf(assay.CodeNotFound, "kind %s", strict.OneOf(kind, Kinds))
}

// InputSchema returns the JSON Schema of Input, with which Rego is type-checked.
func InputSchema() []byte {
	data, err := schemas.ReadFile("schema/input.schema.json")
	if err != nil {
		return []byte("true") // cannot be: the file is embedded above; "true" checks nothing
	}
	return data
}
