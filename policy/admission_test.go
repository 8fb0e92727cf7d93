package policy

import (
	"strings"
	"testing"

	"assay.dev/assay"
)

const wholeAdmission = `apiVersion: assay.dev/v1alpha1
kind: Admission
metadata: {name: prod}
spec:
  environment: prod
  namespaces: [shop, "team-*"]
  excludeNamespaces: [team-sandbox]
  requires:
    - {name: release, gate: release, resourceUri: "pkg:oci/shop", images: ["registry.example/shop/*"], levels: [L], maxAge: 30d}
  allow:
    - {images: registry.k8s.io/pause, reason: the cluster's own image}
`

func TestAnAdmissionHasDefaultsAndGuardsItsNamespaces(t *testing.T) {
	r, err := NewRevision([]File{{Path: "a.yaml", Content: []byte(wholeAdmission)}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Admission("prod")
	if err != nil || a.Spec.Mode != assay.ModeEnforce || a.Spec.FailurePolicy != FailClosed || a.Spec.Tags != TagsDenied || a.Metadata.Namespace != "default" {
		t.Errorf("admission %+v, %v; want enforce, closed and deny", a, err)
	}
	for ns, want := range map[string]bool{"shop": true, "shop2": false, "team-a": true, "team-sandbox": false, "": false} {
		if got := a.Guards(ns); got != want {
			t.Errorf("guards %q: %v; want %v", ns, got, want)
		}
	}
	if _, err := NewRevision([]File{{Path: "a.yaml", Content: []byte(wholeAdmission + "---\n" + wholeAdmission)}}); err == nil {
		t.Error("two doors of one name are accepted")
	}
}

func TestAMistakeInAnAdmissionIsRefusedWithItsPlace(t *testing.T) {
	for _, c := range []struct{ name, old, new, says string }{
		{"no environment", "  environment: prod\n", "", "spec.environment is missing"},
		{"an unknown mode", "spec:\n", "spec:\n  mode: deny\n", "spec.mode"},
		{"an unknown failure policy", "spec:\n", "spec:\n  failurePolicy: Fail\n", `spec.failurePolicy "Fail" is not one of closed, open`},
		{"an unknown tag policy", "spec:\n", "spec:\n  tags: allow\n", "spec.tags"},
		{"an unknown field", "spec:\n", "spec:\n  gates: [x]\n", "gates"},
		{"a namespace with a pattern inside", `"team-*"`, `"team-*-x"`, "spec.namespaces[1]"},
		{"a namespace twice", `"team-*"`, "shop", "listed twice"},
		{"no gate", "gate: release, ", "", "spec.requires[0].gate is missing"},
		{"no resource", `resourceUri: "pkg:oci/shop", `, "", "spec.requires[0].resourceUri is missing"},
		{"a reserved name", "name: release", "name: tag", "every door has"},
		{"an image without a registry", "registry.example/shop/*", "shop/*", "does not begin with a registry"},
		{"an image pattern that is none", "registry.example/shop/*", "registry.example/sh*p", "is not a repository"},
		{"an image pattern of a whole registry's beginning", "registry.example/shop/*", "registry.example*", "is not a repository"},
		{"an allowed image without a reason", "the cluster's own image", "why", "say why this needs no attestation"},
		{"a duration that is none", "30d", "month", "spec.requires[0].maxAge"},
	} {
		text := strings.Replace(wholeAdmission, c.old, c.new, 1)
		_, err := Parse("a.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "a.yaml:") {
			t.Errorf("%s: %v; want %q with its place", c.name, err, c.says)
		}
	}
	empty := strings.Split(wholeAdmission, "  requires:")[0]
	if _, err := Parse("a.yaml", []byte(empty)); err == nil || !strings.Contains(err.Error(), "would let nothing in") {
		t.Errorf("a door without requirements: %v", err)
	}
}
