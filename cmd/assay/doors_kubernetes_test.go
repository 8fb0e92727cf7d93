package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/internal/testenv"
)

const clusterStrategies = `apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: shop-scale}
spec:
  service: shop
  level: act
  levers: [{lever: replicas, door: cluster}]
  damping: {protect: {period: 1s}}
  signals: [{name: load, query: vector(400)}]
  scale: {perReplica: 50, max: 20}
---
apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: staging-cost}
spec:
  service: staging
  level: act
  deterministic: true
  levers: [{lever: class-admission, door: cluster}]
  signals:
    - {name: spent, query: vector(130)}
    - {name: spend_rate, query: 'label_replace(vector(40), "job", "load-tests", "", "")', by: job}
  cost:
    currency: EUR
    dailyCap: 100
    zone: Europe/Vienna
    jobs: [{name: load-tests}]
`

const clusterDoor = `apiVersion: assay.dev/v1alpha1
kind: Doors
spec:
  - name: cluster
    kubernetes:
      config: KUBECONFIG
      namespace: shop
      moves:
        - {service: shop, lever: replicas, deployment: shop, least: 2, most: 20}
        - {service: staging, lever: class-admission, scope: load-tests, cronJob: load-tests}
`

// A control plane beside a real API server: what strategies decide is seen there.
func TestStrategiesMoveWorkloadsOfARealCluster(t *testing.T) {
	api := testenv.Kubernetes(t)
	do := func(method, path, body string) []byte {
		t.Helper()
		a := api.Do(t, method, path, "application/yaml", []byte(body))
		if a.Status/100 != 2 {
			t.Fatalf("%s %s: %d %s", method, path, a.Status, a.Body)
		}
		return a.Body
	}
	const pods = `{metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: "registry.example/c:1"}], restartPolicy: `
	do(http.MethodPost, "/api/v1/namespaces", "metadata: {name: shop}")
	do(http.MethodPost, "/apis/apps/v1/namespaces/shop/deployments", "metadata: {name: shop}\nspec: {replicas: 3, selector: {matchLabels: {app: a}}, template: "+pods+"Always}}}")
	do(http.MethodPost, "/apis/batch/v1/namespaces/shop/cronjobs", "metadata: {name: load-tests}\nspec: {schedule: '@hourly', jobTemplate: {spec: {template: "+pods+"Never}}}}}")

	w := newWorld(t)
	w.write("policies/cluster.yaml", clusterStrategies)
	w.write("doors.yaml", strings.Replace(clusterDoor, "KUBECONFIG", api.Config, 1))
	if out, _ := w.must(0, nil, "policy", "lint", "--doors", "doors.yaml"); strings.Contains(out, "door") {
		t.Errorf("lint says %q", out)
	}
	viewer := w.token("alice", "viewer")
	env := []string{"ASSAY_SERVER=" + w.serve("--doors", "doors.yaml", "--prove", "0").url, viewer}

	var seen struct {
		Spec struct {
			Replicas int  `json:"replicas"`
			Suspend  bool `json:"suspend"`
		} `json:"spec"`
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	read := func(path string) {
		t.Helper()
		if err := json.Unmarshal(do(http.MethodGet, path, ""), &seen); err != nil {
			t.Fatal(err)
		}
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	comes := func(strategy, path string, there func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; <-tick.C {
			if read(path); there() {
				break
			} else if time.Now().After(end) {
				out, _ := w.must(0, env, "strategy", "explain", strategy)
				t.Fatalf("%+v; the strategy says\n%s", seen, out)
			}
		}
		if !strings.Contains(seen.Metadata.Annotations["assay.dev/lever"], `"key":"mitigation/`) {
			t.Errorf("%s does not say who moved it: %v", path, seen.Metadata.Annotations)
		}
	}
	comes("shop-scale", "/apis/apps/v1/namespaces/shop/deployments/shop", func() bool { return seen.Spec.Replicas > 3 && seen.Spec.Replicas <= 20 })
	comes("staging-cost", "/apis/batch/v1/namespaces/shop/cronjobs/load-tests", func() bool { return seen.Spec.Suspend })
	if out, _ := w.must(0, env, "strategy", "explain", "staging-cost"); !strings.Contains(out, "cluster (fenced)") || !strings.Contains(out, "load-tests 0 at ") {
		t.Errorf("the strategy says\n%s", out)
	}
}
