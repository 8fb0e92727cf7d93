package admit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// manifest reads the document of a kind in a file of deploy/kubernetes, strictly.
func manifest(t *testing.T, name, kind string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "deploy", "kubernetes", name))
	if err != nil {
		t.Fatal(err)
	}
	for doc := range bytes.SplitSeq(data, []byte("\n---\n")) {
		var is v1.TypeMeta
		if err := yaml.Unmarshal(doc, &is); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if is.Kind != kind {
			continue
		}
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return
	}
	t.Fatalf("%s has no %s", name, kind)
}

func TestTheNetworkPolicyLetsApiServersReachTheWebhookAndNobodyElse(t *testing.T) {
	var policy networkingv1.NetworkPolicy
	manifest(t, "networkpolicy.yaml", "NetworkPolicy", &policy)
	var set appsv1.StatefulSet
	manifest(t, "assay.yaml", "StatefulSet", &set)

	pod := set.Spec.Template
	for k, v := range policy.Spec.PodSelector.MatchLabels {
		if pod.Labels[k] != v {
			t.Errorf("the policy is about pods with %s=%s; ours has %q", k, v, pod.Labels[k])
		}
	}
	if policy.Namespace != set.Namespace || !slices.Equal(policy.Spec.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}) {
		t.Errorf("policy of namespace %q, types %v", policy.Namespace, policy.Spec.PolicyTypes)
	}
	open := map[string]bool{} // ports that some rule names
	for _, rule := range policy.Spec.Ingress {
		if len(rule.From) == 0 || len(rule.Ports) == 0 {
			t.Errorf("a rule lets in everybody, or to every port: %+v", rule)
		}
		for _, p := range rule.Ports {
			open[p.Port.String()] = true
			for _, from := range rule.From {
				if p.Port.String() == "webhook" && (from.IPBlock == nil || from.IPBlock.CIDR == "0.0.0.0/0") {
					t.Errorf("the webhook is open to %+v; only addresses of API servers may reach it", from)
				}
			}
		}
	}
	for _, p := range pod.Spec.Containers[0].Ports {
		if !open[p.Name] {
			t.Errorf("nobody may reach port %s, which the container serves", p.Name)
		}
		delete(open, p.Name)
	}
	if len(open) > 0 {
		t.Errorf("the policy names ports that the container does not have: %v", open)
	}
}

func TestTheClientAuthorityIsWhereTheManifestMountsIt(t *testing.T) {
	var set appsv1.StatefulSet
	manifest(t, "assay.yaml", "StatefulSet", &set)
	raw, err := os.ReadFile(filepath.Join("..", "deploy", "kubernetes", "assay.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte("--admission-client-ca=/etc/assay/apiserver/ca.crt")) {
		t.Error("the manifest does not say how to ask API servers for a certificate")
	}
	mounted := slices.ContainsFunc(set.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Name == "apiserver" && v.ConfigMap != nil && v.ConfigMap.Optional != nil && *v.ConfigMap.Optional
	})
	if !mounted {
		t.Error("no optional volume holds the authority")
	}
	var config struct {
		v1.TypeMeta `json:",inline"`
		Plugins     []struct {
			Name          string `json:"name"`
			Configuration struct {
				v1.TypeMeta    `json:",inline"`
				KubeConfigFile string `json:"kubeConfigFile"`
			} `json:"configuration"`
		} `json:"plugins"`
	}
	manifest(t, "apiserver.yaml", "AdmissionConfiguration", &config)
	if len(config.Plugins) != 1 || config.Plugins[0].Name != "ValidatingAdmissionWebhook" || config.Plugins[0].Configuration.KubeConfigFile == "" {
		t.Errorf("the API server's configuration is %+v", config)
	}
}
