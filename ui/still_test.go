package ui

import (
	"testing"
	"time"

	"assay.dev/assay/anomaly"
	"assay.dev/assay/api"
	"assay.dev/assay/infer"
)

// Bands of what never changed have no width and hold everything: they are neither too narrow
// nor too wide. Those of what begins to move are too narrow.
func TestBandsOfWhatNeverChangedAreRight(t *testing.T) {
	load := anomaly.Forecast{Coverage: 1, Live: 1, LiveSlots: 500, Steps: []anomaly.Step{{Time: time.Unix(0, 0)}}}
	line := anomaly.Indicator{Name: "requests", Coverage: 1, Covered: true, Points: []anomaly.Point{{Known: true, Value: 600, Band: true, Low: 600, High: 600}}}
	even := infer.Calibration{N: 500, Cover80: 0.8, ChiP: 1}
	for i := range even.Bins {
		even.Bins[i] = 0.1
	}
	for name, c := range map[string]struct {
		change func(*api.Foreseen)
		want   [4]string
	}{
		"still":           {func(*api.Foreseen) {}, [4]string{"as stated", "it never changed", "it never changed", "it never changed"}},
		"moves of late":   {func(f *api.Foreseen) { f.Load.Live = 0.5 }, [4]string{"as stated", "it never changed", "too narrow", "it never changed"}},
		"bands with room": {func(f *api.Foreseen) { f.Load.Sharpness, f.Lines[0].Points[0].High = 0.1, 700 }, [4]string{"as stated", "too wide", "too wide", "too wide"}},
	} {
		f := api.Foreseen{Load: load, Calibration: &even, Lines: []anomaly.Indicator{line}}
		f.Lines[0].Points = []anomaly.Point{line.Points[0]}
		c.change(&f)
		d := forecastDetail{Foreseen: f, Load: f.Load, Judged: f.Calibration}
		d.cover()
		for i, row := range d.Coverage {
			if row.State.Word != c.want[i] {
				t.Errorf("%s: %s is %q, want %q", name, row.Name, row.State.Word, c.want[i])
			}
		}
	}
}
