package policy

import (
	"cmp"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/golden"
	"assay.dev/assay/internal/schematest"
	"github.com/invopop/jsonschema"
)

// stated is what Go cannot say in a type.
var stated = map[reflect.Type]*jsonschema.Schema{
	reflect.TypeFor[assay.Mode]():           schematest.Words(assay.Modes...),
	reflect.TypeFor[assay.EvidenceKind]():   schematest.Words(assay.EvidenceKinds...),
	reflect.TypeFor[assay.Origin]():         schematest.Words("live", "recorded"),
	reflect.TypeFor[assay.Severity]():       schematest.Words("none", "low", "unknown", "medium", "high", "critical"),
	reflect.TypeFor[decide.HorizonPolicy](): schematest.Words(horizonPolicies...),
	reflect.TypeFor[Level]():                schematest.Words(Levels...),
	reflect.TypeFor[assay.Lever](): schematest.Words("concurrency", "rate-limit", "class-admission", "replicas", "region-share", "tenant-quota",
		"cost-class", "spend", "quarantine", "share", "retention"),
	reflect.TypeFor[RolloutWorse]():  schematest.Words(rolloutWorse...),
	reflect.TypeFor[CalendarKind]():  schematest.Words(calendarKinds...),
	reflect.TypeFor[FailurePolicy](): schematest.Words(failurePolicies...),
	reflect.TypeFor[TagPolicy]():     schematest.Words(tagPolicies...),
	reflect.TypeFor[Duration]():      {Type: "string", Pattern: `^([0-9]+d|([0-9.]+(ns|us|µs|ms|s|m|h))+)$`},
}

func TestSchemasMatchTheGoTypes(t *testing.T) {
	for kind, v := range map[string]any{
		"Gate": Gate{}, "Policy": Policy{}, "Rollout": Rollout{}, "ExceptionPolicy": ExceptionPolicy{}, "Producer": Producer{},
		"Admission": Admission{}, "Strategy": Strategy{}, "Calendar": Calendar{}, "": Input{},
	} {
		name := cmp.Or(strings.ToLower(kind), "input")
		t.Run(name, func(t *testing.T) {
			golden.Equal(t, "schema/"+name+".schema.json", schematest.Of(t, name, kind, v, stated,
				map[string][]string{"assay.dev/assay/policy": {".", "../evidence.go", "../subject.go"}}))
		})
	}
}

func TestSchemaKnowsEveryKindAndSuggests(t *testing.T) {
	for _, kind := range Kinds {
		data, err := Schema(kind)
		if err != nil {
			t.Fatal(err)
		}
		var s struct {
			Properties struct {
				Kind struct{ Const string } `json:"kind"`
			} `json:"properties"`
		}
		if err := json.Unmarshal(data, &s); err != nil || s.Properties.Kind.Const != kind {
			t.Errorf("schema of %s names kind %q (%v)", kind, s.Properties.Kind.Const, err)
		}
	}
	_, err := Schema("Gat")
	wantError(t, err, assay.CodeNotFound, `did you mean "Gate"?`)
}
