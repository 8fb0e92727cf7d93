//go:build !race

// See montecarlo_test.go for why.

package infer

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestWhatAForecastExpectsFallsEvenlyIntoItsTenths(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	y := make([]float64, 20*24)
	for i := range y {
		y[i] = 100 + 30*math.Sin(2*math.Pi*float64(i)/24) + 5*rng.NormFloat64()
	}
	var pits []float64
	for end := 10 * 24; end+6 <= len(y); end += 6 {
		p, err := Predict(y[:end], ForecastConfig{Horizon: 6, Seasons: [2]int{24, 0}})
		if err != nil {
			t.Fatal(err)
		}
		for k := range 6 {
			pits = append(pits, p.Deciles(k).PIT(y[end+k], rng.Float64()))
		}
	}
	c, err := Calibrate(pits)
	if err != nil || c.Cover80 < 0.7 || c.Cover80 > 0.92 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestAForecastThatIsAlwaysRightIsNotTooSure(t *testing.T) {
	var pits []float64
	for i := range 200 {
		pits = append(pits, Deciles{5, 5, 5, 5, 5, 5, 5, 5, 5}.PIT(5, math.Mod(float64(i)*0.6180339887498949, 1)))
	}
	c, err := Calibrate(pits)
	if err != nil || math.Abs(c.Cover80-0.8) > 0.02 || c.ChiP < 0.9 {
		t.Errorf("%+v, %v", c, err)
	}
	if low, high := (Deciles{1, 2, 3, 4, 5, 6, 7, 8, 9}).PIT(0, 0.5), (Deciles{1, 2, 3, 4, 5, 6, 7, 8, 9}).PIT(10, 0.5); low != 0.05 || high != 0.95 {
		t.Errorf("what is beyond all deciles: %v and %v", low, high)
	}
}

func TestStretchedDecilesLieFurtherFromTheirMedian(t *testing.T) {
	d := Deciles{1, 2, 3, 4, 5, 6, 7, 8, 20}
	if got, want := d.Stretched(2), (Deciles{-3, -1, 1, 3, 5, 7, 9, 11, 35}); got != want || d[0] != 1 {
		t.Errorf("%v of %v, want %v", got, d, want)
	}
	if got := d.Stretched(1); got != d {
		t.Errorf("%v", got)
	}
	if Stretch(0.1+0.2, 0.7, 1) != 0.1+0.2 {
		t.Error("what is not stretched changes in its last bit")
	}
}
