package kube_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/internal/kube"
)

const config = `apiVersion: v1
kind: Config
current-context: a
contexts: [{name: a, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://k.example:6443"}}]
users: [{name: u, user: {tokenFile: token}}]
`

func TestAKubeconfigSaysHowAClusterIsReached(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := kube.Open(path)
	if err != nil || a.Server != "https://k.example:6443" || a.TokenFile != filepath.Join(dir, "token") {
		t.Errorf("%+v, %v", a, err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"no context": {strings.Replace(config, "current-context: a", "current-context: b", 1), "current-context"},
		"insecure":   {strings.Replace(config, `6443"`, `6443", insecure-skip-tls-verify: true`, 1), "certificate-authority"},
		"a program":  {strings.Replace(config, "tokenFile: token", "exec: {command: aws}", 1), "kubectl create token"},
		"a password": {strings.Replace(config, "tokenFile: token", "username: u, password: p", 1), "kubectl create token"},
		"no YAML":    {"{", "is no kubeconfig"},
		"too large":  {strings.Repeat("#", kube.MaxKubeconfig+1), "at most"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := kube.Open(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v; want it to say %q", name, err, c.want)
		}
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := kube.Open(kube.InCluster); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("outside of a cluster: %v", err)
	}
}

func FuzzParseKubeconfig(f *testing.F) {
	f.Add([]byte(config))
	f.Add([]byte(`{"current-context":"a","users":[{"user":{"client-key-data":"!"}}]}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = kube.ParseKubeconfig(data, "/", func(string) ([]byte, error) { return nil, nil }) // must not panic
	})
}
