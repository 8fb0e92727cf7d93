package simulate

import _ "embed" // the schema

//go:embed schema/scenario.schema.json
var schema []byte

// Schema is the JSON Schema (2020-12) of a scenario, for editors. It is generated from the
// Go types and their comments by the package's test, which fails when it is stale.
func Schema() []byte { return schema }
