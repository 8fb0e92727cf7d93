package evidence_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

const goodManifests = `# two objects
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ports: [{port: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: example.org/web@sha256:1
`

func TestManifestsThatKubernetesAcceptsHaveNoFindings(t *testing.T) {
	asJSON := `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"p-"},"spec":{"containers":[{"name":"a","image":"b"}]}},` +
		`{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"c"},"spec":{"schedule":"@daily","jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"b"}]}}}}}}]}`
	for _, report := range []string{goodManifests, asJSON, strings.ReplaceAll(goodManifests, "\n", "\r\n")} {
		e := mustRead(t, report, evidence.Options{})
		if e.Kind != assay.KindManifests || len(e.Findings) != 0 || len(e.Notes) != 0 || evidence.Summary(e) != "2 validated, 0 critical, 0 high, 0 medium, 0 low" {
			t.Errorf("%s: %s %s %v", evidence.Summary(e), e.Kind, dump(t, e.Findings), e.Notes)
		}
	}
}

func TestManifestsThatKubernetesRefusesAreFindingsWithALine(t *testing.T) {
	pod := func(spec string) string { return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n" + spec }
	for _, tt := range []struct {
		name, manifest, rule string
		line                 int
		message              string
	}{
		{"unknown field", strings.Replace(goodManifests, "replicas", "replica", 1), "unknown-field", 13, "Deployment web has no field spec.replica"},
		{"unknown field in a list", pod("  containers:\n    - name: a\n      imag: x\n      image: z\n"), "unknown-field", 8, "Pod p has no field spec.containers[0].imag"},
		{"wrong type", strings.Replace(goodManifests, "replicas: 2", `replicas: "two"`, 1), "wrong-type", 13, "Deployment web spec.replicas has the wrong type: found a string, expected int32"},
		{"a yes that is no text", pod("  containers:\n    - name: a\n      image: b\n      env: [{name: X, value: yes}]\n"), "wrong-type", 9, "Pod p spec.containers.env.value has the wrong type: found a bool, expected string"},
		{"no name", "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n", "missing-name", 1, "ConfigMap has no metadata.name"},
		{"no containers", pod("  containers: []\n"), "missing-containers", 5, "Pod p has no containers in spec"},
		{"no image", pod("  initContainers:\n    - name: a\n  containers:\n    - {name: b, image: c}\n"), "missing-image", 7, "Pod p spec.initContainers[0] has no image"},
		{"no container name", pod("  containers:\n    - image: c\n"), "missing-name", 7, "Pod p spec.containers[0] has no name"},
		{"removed API", "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: i}\n", "removed-api", 1, "Ingress i apiVersion extensions/v1beta1 is not served by Kubernetes 1.22 and later"},
		{"no kind", goodManifests + "---\n\nreplicaCount: 3\n", "missing-kind", 23, "has no apiVersion and kind"},
		{"in a List", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: s}\n  dat: {}\n", "unknown-field", 7, "Secret s has no field dat"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := mustRead(t, tt.manifest, evidence.Options{Format: evidence.FormatManifests})
			if len(e.Findings) != 1 {
				t.Fatalf("findings %s, want one", dump(t, e.Findings))
			}
			f := e.Findings[0]
			if f.Rule != tt.rule || f.Location.Line != tt.line || f.Message != tt.message || f.Location.File != "report.json" {
				t.Errorf("got  %s at line %d: %s\nwant %s at line %d: %s", f.Rule, f.Location.Line, f.Message, tt.rule, tt.line, tt.message)
			}
		})
	}
}

func TestManifestsOfOtherKindsAreSaidToBeUnchecked(t *testing.T) {
	rollout := "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: r}\nspec: {anything: goes}\n"
	e := mustRead(t, goodManifests+"---\n"+rollout, evidence.Options{})
	want := []string{"Rollout of argoproj.io/v1alpha1 is not a kind of Kubernetes itself and was not validated"}
	if !slices.Equal(e.Notes, want) || evidence.Summary(e) != "2 validated, 1 not validated, 0 critical, 0 high, 0 medium, 0 low" {
		t.Errorf("notes %q, summary %q", e.Notes, evidence.Summary(e))
	}
	_, err := evidence.Read(strings.NewReader(rollout), "r.yaml", evidence.Options{})
	refused(t, err, assay.CodeInvalid, "r.yaml: holds no object of a kind that is known here, so nothing could be validated ("+want[0]+")")
}

func TestManifestsThatAreNoYAMLAreRefused(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("apiVersion: v1\nkind: ConfigMap\na: &a [x,x,x,x,x,x,x,x,x]\n")
	for c := 'b'; c < 'k'; c++ {
		bomb.WriteString(fmt.Sprintf("%c: &%c [%s*%c]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 8), c-1))
	}
	for name, tt := range map[string]struct{ report, want string }{
		"a duplicate key": {goodManifests + "---\napiVersion: v1\nkind: Pod\nkind: Pod\n", `r.yaml:24:1: document is not valid YAML: unmarshal errors: key "kind" already set in map`},
		"alias bomb":      {bomb.String(), "r.yaml:1:1: document is not valid YAML: document contains excessive aliasing"},
		"cut-off JSON":    {`{"apiVersion":"v1","kind":"Pod"`, "r.yaml:1:32: document is cut off: the JSON ends before its value does"},
		"a NUL byte":      {"apiVersion: v1\nkind: Pod\n\x00", "r.yaml: is not valid UTF-8 text"},
		"a tab":           {"apiVersion: v1\nkind: Pod\n\tname: x\n", "r.yaml:3:1: document is not valid YAML: found a tab character that violates indentation"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := evidence.Read(strings.NewReader(tt.report), "r.yaml", evidence.Options{})
			refused(t, err, assay.CodeInvalid, tt.want)
		})
	}
}
