package admit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/admit"
	"assay.dev/assay/internal/golden"
	"assay.dev/assay/internal/testenv"
	"assay.dev/assay/policy"
)

// The example below deploy/ is what the program makes of the example's policy, but
// for the authority, which every cluster has its own of.
func TestTheExampleWebhookIsWhatTheExamplePolicyGives(t *testing.T) {
	root := testenv.ModuleRoot(t)
	dir := filepath.Join(root, "deploy", "kubernetes")
	data, err := os.ReadFile(filepath.Join(dir, "policies", "admission.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := policy.NewRevision([]policy.File{{Path: "admission.yaml", Content: data}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := admit.Configuration(r.Admissions(), admit.Webhook{Name: "assay", Service: "assay", ServiceNamespace: "assay-system"})
	if err != nil {
		t.Fatal(err)
	}
	golden.Equal(t, filepath.Join(dir, "webhook.yaml"), got)
}

func TestAConfigurationFollowsItsDoors(t *testing.T) {
	of := func(yaml string) ([]policy.Admission, error) {
		r, err := policy.NewRevision([]policy.File{{Path: "a.yaml", Content: []byte(yaml)}})
		if err != nil {
			return nil, err
		}
		return r.Admissions(), nil
	}
	with := func(lines string) string {
		return strings.Replace(doorYAML, "  environment: prod\n", "  environment: prod\n"+lines, 1)
	}
	service := admit.Webhook{Name: "assay", Service: "assay", ServiceNamespace: "assay-system", CA: []byte("PEM")}
	for _, c := range []struct {
		name, yaml string
		w          admit.Webhook
		has        []string
		code       assay.Code
	}{
		{"enforced", doorYAML, service, []string{
			"failurePolicy: Fail", "timeoutSeconds: 3", "sideEffects: NoneOnDryRun", "- v1\n", "path: /admission/default/prod",
			`!(request.namespace in ["kube-system", "kube-node-lease", "assay-system"])`, `!(request.namespace in ["sandbox"])`, "caBundle: UEVN", "pods/ephemeralcontainers",
		}, ""},
		{"open", with("  failurePolicy: open\n"), service, []string{"failurePolicy: Ignore"}, ""},
		{"only watching", with("  mode: dry-run\n"), service, []string{"failurePolicy: Ignore"}, ""},
		{"namespaces", with("  namespaces: [shop, \"team-*\"]\n"), service, []string{`request.namespace in ["shop"] || request.namespace.startsWith("team-")`}, ""},
		{"a door that names kube-system guards it", with("  namespaces: [kube-system]\n"), service, []string{`!(request.namespace in ["kube-node-lease", "assay-system"])`}, ""},
		{"outside of the cluster", doorYAML, admit.Webhook{Name: "assay", URL: "https://assay.example:8443/"}, []string{"url: https://assay.example:8443/admission/default/prod"}, ""},
		{"off", with("  mode: \"off\"\n"), service, nil, assay.CodeNotFound},
		{"without TLS", doorYAML, admit.Webhook{URL: "http://assay.example"}, nil, assay.CodeInvalid},
		{"nowhere", doorYAML, admit.Webhook{}, nil, assay.CodeInvalid},
	} {
		doors, err := of(c.yaml)
		if err != nil {
			t.Fatal(err)
		}
		got, err := admit.Configuration(doors, c.w)
		if assay.CodeOf(err) != c.code {
			t.Errorf("%s: %v; want %q", c.name, err, c.code)
		}
		for _, h := range c.has {
			if !strings.Contains(string(got), h) {
				t.Errorf("%s: no %q in\n%s", c.name, h, got)
			}
		}
	}
}
