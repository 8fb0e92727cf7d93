package policy

import (
	"encoding/json"
	"reflect"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/golden"
	"github.com/invopop/jsonschema"
)

// reflector describes the Go types; enumerations, which Go cannot state in a
// type, are stated here.
func reflector(t *testing.T) *jsonschema.Reflector {
	t.Helper()
	words := func(list ...any) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Enum: list} }
	enums := map[reflect.Type]func() *jsonschema.Schema{
		reflect.TypeFor[assay.Mode]():         func() *jsonschema.Schema { return words(anys(assay.Modes)...) },
		reflect.TypeFor[assay.EvidenceKind](): func() *jsonschema.Schema { return words(anys(assay.EvidenceKinds)...) },
		reflect.TypeFor[assay.Origin]():       func() *jsonschema.Schema { return words("live", "recorded") },
		reflect.TypeFor[assay.Severity](): func() *jsonschema.Schema {
			return words("none", "low", "unknown", "medium", "high", "critical")
		},
		reflect.TypeFor[decide.HorizonPolicy](): func() *jsonschema.Schema { return words(anys(horizonPolicies)...) },
		reflect.TypeFor[Level]():                func() *jsonschema.Schema { return words(anys(Levels)...) },
		reflect.TypeFor[assay.Lever](): func() *jsonschema.Schema {
			return words("concurrency", "rate-limit", "class-admission", "replicas", "region-share", "tenant-quota", "cost-class", "spend", "quarantine", "share", "retention")
		},
		reflect.TypeFor[RolloutWorse]():  func() *jsonschema.Schema { return words(anys(rolloutWorse)...) },
		reflect.TypeFor[CalendarKind]():  func() *jsonschema.Schema { return words(anys(calendarKinds)...) },
		reflect.TypeFor[FailurePolicy](): func() *jsonschema.Schema { return words(anys(failurePolicies)...) },
		reflect.TypeFor[TagPolicy]():     func() *jsonschema.Schema { return words(anys(tagPolicies)...) },
		reflect.TypeFor[Duration](): func() *jsonschema.Schema {
			return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+d|([0-9.]+(ns|us|µs|ms|s|m|h))+)$`}
		},
	}
	r := &jsonschema.Reflector{DoNotReference: true, Mapper: func(t reflect.Type) *jsonschema.Schema {
		if f, ok := enums[t]; ok {
			return f()
		}
		return nil
	}}
	for _, path := range []string{".", "../evidence.go", "../subject.go"} {
		if err := r.AddGoComments("assay.dev/assay/policy", path); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

func schemaOf(t *testing.T, kind string, v any) []byte {
	t.Helper()
	s := reflector(t).Reflect(v)
	s.ID = jsonschema.ID("https://assay.dev/schemas/v1alpha1/" + kind + ".schema.json")
	if p, ok := s.Properties.Get("kind"); ok && kind != "input" {
		p.Const = map[string]string{"gate": "Gate", "policy": "Policy", "rollout": "Rollout", "exceptionpolicy": "ExceptionPolicy", "producer": "Producer", "admission": "Admission", "strategy": "Strategy", "calendar": "Calendar"}[kind]
		version, _ := s.Properties.Get("apiVersion")
		version.Const = assay.APIVersion
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

func TestSchemasMatchTheGoTypes(t *testing.T) {
	for kind, v := range map[string]any{"gate": Gate{}, "policy": Policy{}, "rollout": Rollout{}, "exceptionpolicy": ExceptionPolicy{}, "producer": Producer{}, "admission": Admission{}, "strategy": Strategy{}, "calendar": Calendar{}, "input": Input{}} {
		t.Run(kind, func(t *testing.T) {
			golden.Equal(t, "schema/"+kind+".schema.json", schemaOf(t, kind, v))
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
