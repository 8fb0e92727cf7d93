package infer

import (
	"math"
	"testing"
)

func TestADifferenceIsAsNarrowAsItsEvidence(t *testing.T) {
	width := func(x, n, y, m, phi, alpha float64) float64 {
		t.Helper()
		low, high := Difference(Arm{x, n}, Arm{y, m}, phi, alpha)
		if !(low <= x/n-y/m && x/n-y/m <= high) {
			t.Errorf("%v of %v against %v of %v: %v to %v does not hold what was seen", x, n, y, m, low, high)
		}
		back, forth := Difference(Arm{y, m}, Arm{x, n}, phi, alpha)
		if math.Abs(back+high) > 1e-5 || math.Abs(forth+low) > 1e-5 {
			t.Errorf("the other way round it is %v to %v, want %v to %v", back, forth, -high, -low)
		}
		return high - low
	}
	plain := width(50, 1000, 100, 3000, 1, 0.01)
	if more := width(500, 10000, 1000, 30000, 1, 0.01); !(more < plain/2) {
		t.Errorf("ten times the evidence narrowed %v to %v", plain, more)
	}
	if bursts := width(500, 10000, 1000, 30000, 10, 0.01); math.Abs(bursts-plain) > 1e-5 {
		t.Errorf("ten times the evidence in bursts of ten is %v wide, want %v", bursts, plain)
	}
	if stricter := width(50, 1000, 100, 3000, 1, 1e-6); !(stricter > plain) {
		t.Errorf("a stricter level narrowed %v to %v", plain, stricter)
	}
	width(0, 200, 0, 300, 1, 0.01)
	width(200, 200, 0, 300, 1, 0.01)
	width(1, 1, 0, 1e9, 1, 0.01)
	if low, _ := Difference(Arm{60, 1000}, Arm{0, 20000}, 1, 0.001); !(low > 0.02 && low < 0.06) {
		t.Errorf("6 %% against nothing at all is at least %v", low)
	}
	for _, a := range []Arm{{0, 0}, {-1, 5}, {6, 5}, {math.NaN(), 5}, {1, math.Inf(1)}} {
		if low, high := Difference(a, Arm{1, 10}, 1, 0.01); low != -1 || high != 1 {
			t.Errorf("%v says %v to %v", a, low, high)
		}
	}
}
