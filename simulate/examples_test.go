package simulate_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

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
