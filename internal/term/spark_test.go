package term_test

import (
	"math"
	"testing"

	"assay.dev/assay/internal/term"
)

func TestSparkDrawsValuesAsBlocks(t *testing.T) {
	peak := make([]float64, 1000)
	peak[617] = 5
	for _, c := range []struct {
		name    string
		values  []float64
		columns int
		want    string
	}{
		{"none", nil, 5, ""},
		{"one", []float64{3}, 5, "▁"},
		{"a ramp", []float64{0, 1, 2, 3, 4, 5, 6, 7}, 8, "▁▂▃▄▅▆▇█"},
		{"a gap is a gap", []float64{0, math.NaN(), 7}, 8, "▁ █"},
		{"only gaps", []float64{math.NaN(), math.NaN()}, 8, "  "},
		{"no peak is lost", peak, 10, "▁▁▁▁▁▁█▁▁▁"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := term.Spark(c.values, c.columns); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
