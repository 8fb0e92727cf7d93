package term

import (
	"math"
	"strings"
)

// Spark draws values as a row of blocks, the least one lowest, at most columns of them,
// which is at least 1. A value that is not a number is a gap. Of more values than
// columns, each column shows the one farthest from the mean, so that no peak is lost.
func Spark(values []float64, columns int) string {
	low, high, mean, known := math.Inf(1), math.Inf(-1), 0.0, 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			low, high = min(low, v), max(high, v)
			known++
			mean += (v - mean) / known
		}
	}
	blocks := []rune("▁▂▃▄▅▆▇█")
	n := min(len(values), columns)
	var b strings.Builder
	for c := range n {
		v := math.NaN()
		for _, x := range values[c*len(values)/n : (c+1)*len(values)/n] {
			if math.IsNaN(v) || math.Abs(x-mean) > math.Abs(v-mean) {
				v = x
			}
		}
		switch {
		case math.IsNaN(v):
			b.WriteByte(' ')
		case high > low:
			b.WriteRune(blocks[min(len(blocks)-1, int((v-low)/(high-low)*float64(len(blocks)-1)))])
		default:
			b.WriteRune(blocks[0])
		}
	}
	return b.String()
}
