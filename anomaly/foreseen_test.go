package anomaly_test

import (
	"math"
	"reflect"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

// What people saw before a restart they see after it, and what came is held against what
// was forecast of it, as if the process had not ended: wherever it ended.
func TestARestartForgetsNoBandAndChangesNoCalibration(t *testing.T) {
	const end = 700
	make1 := func() *world {
		w := newWorld(t, "")
		w.usual(end + 60)
		return w
	}
	w := make1()
	a := w.watcher()
	w.until(a, end)
	want, err := a.Foreseen("checkout", "checkout/0", w.now)
	if err != nil || want.Calibration == nil {
		t.Fatalf("%+v, %v", want.Calibration, err)
	}
	bands := 0
	for _, s := range want.Past {
		if len(s.Deciles) == 9 {
			bands++
		}
	}
	if bands < 50 {
		t.Fatalf("only %d slots have a band", bands)
	}
	for name, ends := range map[string][]int{
		"just after a forecast": {601}, "in the middle of a slot": {633}, "before the notebook was kept": {659},
		"again and again": {300, 304, 481, 482, 633, 634, 659, 690, 699},
	} {
		t.Run(name, func(t *testing.T) {
			w := make1()
			b := w.watcher()
			for _, n := range ends {
				w.until(b, n)
				b = w.watcher() // killed: nothing is written at the end
			}
			w.until(b, end)
			got, err := b.Foreseen("checkout", "checkout/0", w.now)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Calibration, want.Calibration) {
				t.Errorf("calibration %+v, without a restart %+v", got.Calibration, want.Calibration)
			}
			if !reflect.DeepEqual(got.Load, want.Load) {
				t.Errorf("forecast %+v, without a restart %+v", got.Load, want.Load)
			}
			for i, s := range want.Past {
				if i >= len(got.Past) || !reflect.DeepEqual(got.Past[i], s) {
					t.Fatalf("slot %d of %d is not what it was without a restart: %+v", i, len(got.Past), s)
				}
			}
		})
	}
}

// What was expected of a slot before it began stands beside what came, and its tenths say
// how good such forecasts were; both outlive the process as far as the notebook goes.
func TestAForecastIsShownNextToWhatCame(t *testing.T) {
	w := newWorld(t, "  zone: Europe/Vienna\n  events:\n    - {name: sale, kind: event, start: \"2026-10-13T08:00\", end: \"2026-10-13T20:00\", factor: 3}\n"+
		"    - {name: long-past, kind: event, start: \"2026-01-01\", end: \"2026-01-02\"}\n")
	w.usual(900)
	a := w.watcher()
	w.until(a, 600)
	f, err := a.Foreseen("checkout", "checkout/0", w.now)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Past) < 115 || len(f.Load.Steps) == 0 || len(f.Load.Steps[0].Deciles) != 9 {
		t.Fatalf("%d slots are over and %d are to come", len(f.Past), len(f.Load.Steps))
	}
	forecast := 0
	for _, s := range f.Past {
		if math.Abs(s.Value-620) > 20 {
			t.Errorf("%s had %v requests a minute", s.Time.Format(time.TimeOnly), s.Value)
		}
		if len(s.Deciles) == 9 {
			forecast++
		}
	}
	if c := f.Calibration; c == nil || c.N != forecast || c.N < 50 || c.Cover80 < 0.5 {
		t.Errorf("%d slots had a forecast, which is judged %+v", forecast, c)
	}
	if len(f.Planned) != 1 || f.Planned[0].Name != "sale" || f.Planned[0].Kind != policy.CalendarPlanned || f.Planned[0].Start.UTC().Hour() != 6 {
		t.Errorf("planned: %+v", f.Planned)
	}
	if _, err := a.Foreseen("checkout", "other/0", w.now); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("another objective: %v", err)
	}
	if _, err := a.Foreseen("unknown", "checkout/0", w.now); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("another service: %v", err)
	}
	again := w.watcher() // the process ended
	w.until(again, 610)
	g, err := again.Foreseen("checkout", "checkout/0", w.now)
	if err != nil || len(g.Past) < 115 || g.Calibration == nil || g.Calibration.N < 50 {
		t.Errorf("after a restart %d slots and %+v are known, %v", len(g.Past), g.Calibration, err)
	}
}
