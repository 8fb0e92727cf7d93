package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/internal/testenv"
)

func TestAClusterAndARegistryAreAskedWhatRuns(t *testing.T) {
	t.Parallel()
	api := testenv.Kubernetes(t)
	digest := strings.Repeat("a", 64)
	for _, step := range []struct{ method, path, kind, body string }{
		{http.MethodPost, "/pods", "application/json", `{"metadata":{"name":"web-1","labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"registry.example/web:1"}]}}`},
		{http.MethodPatch, "/pods/web-1/status", "application/merge-patch+json", fmt.Sprintf(`{"status":{"phase":"Running","containerStatuses":[
			{"name":"web","image":"x","imageID":"registry.example/web@sha256:%s","ready":true,"restartCount":0,"state":{"running":{}}}]}}`, digest)},
	} {
		if a := api.Do(t, step.method, "/api/v1/namespaces/default"+step.path, step.kind, []byte(step.body)); a.Status >= 300 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	host := testenv.DockerRegistry(t)

	w := newWorld(t)
	if out, _ := w.must(0, nil, "inventory", "push", "--dir", "state", "--from-kubernetes", api.Config, "--environment", "prod"); !strings.HasPrefix(out, "1 appeared, 0 refreshed") {
		t.Errorf("the cluster: %s", out)
	}
	if out, _ := w.must(0, nil, "inventory", "push", "--dir", "state", "--from-registry", host, "--environment", "hub"); !strings.HasPrefix(out, "0 appeared") {
		t.Errorf("an empty registry: %s", out)
	}
	if out, _ := w.must(0, nil, "inventory", "list", "--dir", "state"); !strings.Contains(out, "prod") || !strings.Contains(out, "registry.example/web:1") {
		t.Errorf("listed is\n%s", out)
	}
	for _, wrong := range []struct {
		code int
		args []string
		want string
	}{
		{exitUsage, []string{}, "give one of FILE"},
		{exitUsage, []string{"x.json", "--from-registry", host}, "give one of FILE"},
		{exitUsage, []string{"--from-registry", host}, "--environment"},
		{exitError, []string{"--from-kubernetes", "nosuch", "--environment", "prod"}, "nosuch"},
		{exitError, []string{"--from-registry", host, "--environment", "hub", "--registry-ca", "app"}, "holds no certificate"},
	} {
		if _, stderr := w.must(wrong.code, nil, append([]string{"inventory", "push", "--dir", "state"}, wrong.args...)...); !strings.Contains(stderr, wrong.want) {
			t.Errorf("%v says %q; want %q", wrong.args, stderr, wrong.want)
		}
	}
	if _, stderr := w.must(exitUsage, nil, "serve", "--dir", "state", "--kubernetes", api.Config); !strings.Contains(stderr, "ENVIRONMENT=PLACE") {
		t.Errorf("serve says %q", stderr)
	}

	other := newWorld(t)
	ann := other.token("ann", "viewer")
	d := other.serve("--kubernetes", "prod="+api.Config, "--registry", "hub="+host)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		out, _ := other.must(0, []string{"ASSAY_SERVER=" + d.url, ann}, "inventory", "list")
		if strings.Contains(out, "registry.example/web:1") && strings.Contains(out, "kubernetes "+api.Config) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a server that asks a cluster lists\n%s", out)
		}
	}
}
