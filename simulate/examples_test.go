//go:build !race

// What these play is one goroutine for each controller and minutes of sums: `make test` runs
// the package with the race detector, which leaves this file out, and without.

package simulate_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"assay.dev/assay/internal/testenv"
	"assay.dev/assay/simulate"
)

// TestScenariosOfTheExamplesHold runs what is shipped. Where a strategy matters,
// doing nothing fails: a scenario that anybody passes shows nothing.
func TestScenariosOfTheExamplesHold(t *testing.T) {
	files, err := filepath.Glob("../examples/scenarios/*.scenario.yaml")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p, err := simulate.Load(os.DirFS(".."), "examples/scenarios/"+filepath.Base(file))
			if err != nil {
				t.Fatal(err)
			}
			r, err := p.Run(t.Context(), simulate.Options{Seeds: 1})
			if err != nil {
				t.Fatal(err)
			}
			idle := 0
			for _, c := range r.Checks {
				if !c.OK {
					t.Errorf("%s: %s", c.Name, c.Words)
				}
			}
			for _, row := range r.Rows[1:] {
				idle += len(row.Failed)
			}
			if idle == 0 {
				t.Error("everybody passes, so nothing is shown")
			}
			if t.Failed() || testing.Verbose() {
				for _, row := range r.Rows {
					t.Logf("%-20s bad %.4f dropped %.4f toggles %.1f moves %.0f cost %.1f loss %.1f detected %v restored %v", row.Controller, row.BadShare.Mean, row.Dropped.Mean, row.Toggles.Mean, row.Moves.Mean, row.Cost.Mean, row.Loss.Mean, row.Detected, row.Restored)
				}
				for i, m := range r.Picture.Moves[:min(12, len(r.Picture.Moves))] {
					text, _ := json.Marshal(m)
					t.Logf("%d %s", i, text)
				}
			}
		})
	}
}

// TestTheNASALogIsTraffic plays an hour of the public log of July 1995.
func TestTheNASALogIsTraffic(t *testing.T) {
	data, err := os.ReadFile(testenv.Data(t, "requests/nasa_http_per_second.tbz2"))
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{"nasa.tbz2": {Data: data}}
	r := run(t, fsys, head+`  duration: 1h
  seeds: 1
  traces: [{service: shop, file: nasa.tbz2, step: 1s, from: 40000, rows: 7200}]
  world: {services: [{name: shop, traffic: {rate: 200}, work: 40ms, replicas: 4}]}
`, simulate.Options{})
	if n := r.Rows[0].Runs[0].Requests; n < 400_000 || n > 1_100_000 {
		t.Fatalf("%d requests", n)
	}
}
