package policy

import (
	"os"
	"slices"
	"strings"
	"testing"

	"assay.dev/assay"
)

// guardedYAML is a strategy with fields of its spec.
func guardedYAML(fields string) []byte {
	return []byte(`apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: shop-scale}
spec:
  service: shop
` + fields + `  signals:
    - {name: load, query: 'sum(rate(requests_total[1m]))'}
  scale: {perReplica: 40, max: 60}
`)
}

func TestGuardrailsAndExploringAreDeclaredAndRefusedAtTheirPlace(t *testing.T) {
	res, err := Parse("s.yaml", guardedYAML("  guardrails: {minInterval: 30s, deadTime: 2m, dwell: 10m, band: 0.1}\n  explore: 0.0001\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s := res.Strategies[0].Spec; s.Guardrails.Band != 0.1 || s.Guardrails.Dwell != "10m" || s.Explore != 0.0001 {
		t.Errorf("%+v", s)
	}
	for fields, want := range map[string]string{
		"  guardrails: {band: 0.9}\n":                "spec.guardrails.band is 0.9; expected 0 to 0.5",
		"  guardrails: {deadTime: soon}\n":           "spec.guardrails.deadTime",
		"  guardrails: {dwell: 48h}\n":               "longer than 24h",
		"  guardrails: {minInterval: 100ms}\n":       "shorter than 1s",
		"  guardrails: {deadtime: 1m}\n":             `did you mean "deadTime"`,
		"  explore: 0.5\n":                           "spec.explore",
		"  explore: -1\n":                            "spec.explore",
		"  budgetWorth: -1\n":                        "spec.budgetWorth",
		"  explore: 0.0001\n  deterministic: true\n": "deterministic forbids",
	} {
		_, err := Parse("s.yaml", guardedYAML(fields))
		if err == nil || assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", fields, err, want)
		}
	}
}

func TestClassesOfAConcurrencyLimitNeedToKnowWhatIsInside(t *testing.T) {
	data, err := os.ReadFile("../examples/strategies/throttle.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("strategy.yaml", data); err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(string(data), "\n"), func(l string) bool { return strings.Contains(l, "name: inflight") })
	if _, err := Parse("strategy.yaml", []byte(strings.Join(lines, "\n"))); err == nil || !strings.Contains(err.Error(), "need the signal inflight") {
		t.Errorf("without the signal: %v", err)
	}
}
