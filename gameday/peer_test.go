package gameday

import (
	"math"
	"testing"
)

func TestArgoAbortsABadReleaseAtItsFourthFailedMinute(t *testing.T) {
	p := SimulateArgo("v2", 150, 0.04, 1)
	// No values at first, which is an error and tried again after ten seconds; then
	// every minute one of 96 %: the fourth failure is one too many.
	if p.Action != "abort" || p.Seconds != 190 {
		t.Errorf("%s after %.0f s; expected an abort after 190 s", p.Action, p.Seconds)
	}
	if p.Requests != 150*190 {
		t.Errorf("%d requests; expected %d", p.Requests, 150*190)
	}
	if sd := math.Sqrt(28500 * 0.04 * 0.96); math.Abs(float64(p.Harmed)-1140) > 5*sd {
		t.Errorf("%d harmed; expected about 1140", p.Harmed)
	}
	if !p.Simulated {
		t.Error("it is not labelled as simulated")
	}
}

func TestArgoLetsAReleaseWithoutErrorsGoOn(t *testing.T) {
	if p := SimulateArgo("v3", 150, 0, 1); p.Action != "continue" || p.Seconds != 10+9*60 || p.Harmed != 0 {
		t.Errorf("%s after %.0f s, %d harmed; expected that it continues after ten measurements", p.Action, p.Seconds, p.Harmed)
	}
}

func TestArgoIsDrawnFromItsSeed(t *testing.T) {
	a, b, c := SimulateArgo("v2", 150.5, 0.04, 1), SimulateArgo("v2", 150.5, 0.04, 1), SimulateArgo("v2", 150.5, 0.04, 2)
	if a != b {
		t.Errorf("the same seed gave %+v and %+v", a, b)
	}
	if a.Harmed == c.Harmed {
		t.Error("two seeds gave the same faults")
	}
}

func TestTheFloorIsThatOfTheErrorRates(t *testing.T) {
	if math.Abs(faultyRate-0.04) > 1e-4 {
		t.Errorf("v2 is built to fail %.5f of its requests; expected 4 %%", faultyRate)
	}
	f := Floor(soundRate, faultyRate, 0.1, declaredLoss)
	if f < 150 || f > 450 {
		t.Errorf("floor %.0f canary requests", f)
	}
	if small := Floor(soundRate, faultyRate, 0.01, declaredLoss); small >= f {
		t.Errorf("with a hundredth of the traffic the old version is known better: %.0f, not below %.0f", small, f)
	}
	if later := Floor(soundRate, faultyRate, 0.1, declaredLoss/10); later <= f {
		t.Errorf("a rarer false alarm takes more: %.0f, not above %.0f", later, f)
	}
}
