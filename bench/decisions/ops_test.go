package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/simulate"
)

func lost(name string, loss float64) simulate.Row {
	return simulate.Row{Controller: name, Loss: simulate.Mean{Mean: loss}}
}

// Regret is a share of what could be avoided, and the oracle is no better than the best
// that anybody found.
func TestRegretOfOperationsIsAShareOfWhatCouldBeAvoided(t *testing.T) {
	o := operation{ours: lost("assay", 30), nothing: lost("nothing", 110), oracle: lost("oracle", 10), peers: []simulate.Row{lost("hpa", 60), lost("other", 80)}}
	if o.best().Controller != "hpa" || math.Abs(o.regret(o.ours)-0.2) > 1e-12 || math.Abs(o.regret(o.best())-0.5) > 1e-12 || !o.good() {
		t.Errorf("best %s, regret %v of ours and %v of the best, good %v", o.best().Controller, o.regret(o.ours), o.regret(o.best()), o.good())
	}
	o.ours = lost("assay", 36) // more than half of the peer's regret, more than 5 % above the oracle
	if o.good() {
		t.Error("0.26 of regret is within half of 0.5")
	}
	o.ours = lost("assay", 5)
	if o.reference() != 5 || o.regret(o.ours) != 0 {
		t.Errorf("reference %v, regret %v: ours found something better than the oracle", o.reference(), o.regret(o.ours))
	}
}

// A scenario is played with everybody, and moves while only telemetry was wrong are
// counted.
func TestOperationsArePlayedFromAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "scenarios")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"scaled.yaml": `
apiVersion: assay.dev/v1alpha1
kind: Scenario
metadata: {name: scaled}
spec:
  about: a burst
  duration: 20m
  seeds: 1
  world:
    services:
      - {name: shop, replicas: 2, max: 10, traffic: {rate: 100, events: [{at: 5m, for: 5m, factor: 4}]}, price: {replica: 0.1}}
  controller:
    hpa: [{service: shop, min: 2, max: 10}]
  against:
    - {name: slow, hpa: [{service: shop, min: 2, max: 3}]}
  oracle: {levers: [replicas]}
  expect: {betterThan: [nothing]}
`, "silent.yaml": `
apiVersion: assay.dev/v1alpha1
kind: Scenario
metadata: {name: silent}
spec:
  duration: 20m
  seeds: 1
  world:
    services: [{name: shop, replicas: 2, traffic: {rate: 10}}]
    faults: [{kind: telemetry-loss, at: 5m, for: 5m, share: 1}]
  controller:
    steps: [{at: 7m, service: shop, lever: replicas, want: 1}]
  expect: {maxBadShare: 1}
`, "alone.yaml": `
apiVersion: assay.dev/v1alpha1
kind: Scenario
metadata: {name: alone}
spec:
  duration: 20m
  world:
    services: [{name: shop, replicas: 2, traffic: {rate: 10}}]
  controller: {}
  expect: {maxBadShare: 1}
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.TrimLeft(text, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := readOperations(dir)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d scenarios, %v; one has nobody to compare with", len(list), err)
	}
	all, err := operate(list, 2, 5)
	if err != nil {
		t.Fatal(err)
	}
	rows := operationRows(all)
	if len(rows) != 4 || rows[3].Ours != 100 {
		t.Errorf("rows %+v: the step in the silence moved something in each run", rows)
	}
	for _, o := range all {
		if o.name == "scaled" && (o.blind || !o.compared() || len(o.ours.Runs) != 2 || o.ours.Runs[0].Seed != 5) {
			t.Errorf("%+v", o)
		}
		if o.name == "silent" && o.ours.Runs[0].During[simtest.TelemetryLoss] == 0 {
			t.Errorf("%+v", o.ours.Runs[0])
		}
	}
	var page strings.Builder
	operationTable(&page, all, 2)
	for _, want := range []string{"| scaled | a burst |", "In 2 of 2 runs something moved while only telemetry was wrong."} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, page.String())
		}
	}
	if none, err := readOperations(filepath.Join(dir, "absent")); err != nil || len(none) != 0 {
		t.Errorf("%d scenarios in no folder, %v", len(none), err)
	}
}
