package simulate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/internal/golden"
	"assay.dev/assay/internal/schematest"
	"assay.dev/assay/internal/simtest"
	"github.com/invopop/jsonschema"
	"github.com/open-policy-agent/opa/v1/rego"
	"go.yaml.in/yaml/v3"
)

func TestSchemaMatchesTheGoTypes(t *testing.T) {
	stated := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[simtest.FaultKind](): schematest.Words(simtest.FaultKinds()...),
		reflect.TypeFor[assay.Lever]():       schematest.Words(levers...),
		reflect.TypeFor[simtest.Duration]():  {Type: "string", Pattern: `^(0|([0-9.]+(ns|us|µs|ms|s|m|h))+)$`},
	}
	golden.Equal(t, "schema/scenario.schema.json", schematest.Of(t, "scenario", Kind, Scenario{}, stated, map[string][]string{
		"assay.dev/assay/simulate":         {"."},
		"assay.dev/assay/internal/simtest": {"../internal/simtest"},
		"assay.dev/assay/policy":           {"../policy/resource.go"},
	}))
}

// What editors are told must be true of what is shipped: an editor that marks a good file as
// bad is switched off.
func TestScenariosOfTheExamplesMatchTheSchema(t *testing.T) {
	// The validator knows drafts up to 7, whose keywords are all that is used.
	old := bytes.Replace(Schema(), []byte("https://json-schema.org/draft/2020-12/schema"), []byte("http://json-schema.org/draft-07/schema#"), 1)
	var schema map[string]any
	if err := json.Unmarshal(old, &schema); err != nil {
		t.Fatal(err)
	}
	ask := func(doc any) (said string, ok bool) {
		found, err := rego.New(rego.Query("[ok, errs] := json.match_schema(input.doc, input.schema)"),
			rego.Input(map[string]any{"doc": doc, "schema": schema})).Eval(t.Context())
		if err != nil || len(found) != 1 {
			t.Fatalf("%d answers, %v", len(found), err)
		}
		return fmt.Sprint(found[0].Bindings["errs"]), found[0].Bindings["ok"] == true
	}
	files, err := filepath.Glob("../examples/scenarios/*.scenario.yaml")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		if said, ok := ask(doc); !ok {
			t.Errorf("%s does not match: %s", file, said)
		}
		doc.(map[string]any)["spec"].(map[string]any)["durration"] = "1h"
		if said, ok := ask(doc); ok || !strings.Contains(said, "durration") {
			t.Errorf("%s matches with a field that does not exist: %s", file, said)
		}
	}
}
