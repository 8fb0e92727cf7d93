package infer

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A record is made again to the byte whether or not the processor has vectors: their logarithms
// are math.Log's, from the least number that a
// polynomial over its sum may be to the greatest, and on both sides of where its steps part.
func TestVectorsTakeLogarithmsToTheSameBits(t *testing.T) {
	if !hasVectors {
		t.Skip("this processor has no vectors")
	}
	rng := rand.New(rand.NewPCG(36, 13))
	parting := []float64{1, math.Sqrt2 / 2, math.Sqrt2, 2, 0x1p-1022, math.MaxFloat64}
	draw := func(n int) float64 {
		x := parting[n%len(parting)]
		switch n % 4 {
		case 0:
			return x
		case 1:
			return max(math.Nextafter(x, 0), 0x1p-1022)
		case 2:
			return min(math.Nextafter(x, math.Inf(1)), math.MaxFloat64)
		}
		return math.Exp((1 - 2*rng.Float64()) * []float64{700, 10, 0.1, 1e-6}[rng.IntN(4)])
	}
	for n := range 20_000 {
		over := 1.0
		if n%2 == 1 {
			over = math.Exp(300 * rng.Float64())
		}
		var v, got [lanes]float64
		for i := range v {
			if v[i] = draw(n + i); over != 1 {
				v[i] = math.Exp(300 * rng.Float64())
			}
		}
		got = v
		logsVectors(&got, over)
		for i, x := range v {
			if want := math.Log(x / over); got[i] != want {
				t.Fatalf("ln of %v over %v: %v with vectors, %v without", x, over, got[i], want)
			}
		}
	}
}

// The same of exponentials: those of vectors are math.Exp's from 0 down to where they are
// negligible, and 0 below.
func TestVectorsTakeExponentialsToTheSameBits(t *testing.T) {
	if !hasVectors {
		t.Skip("this processor has no vectors")
	}
	rng := rand.New(rand.NewPCG(36, 14))
	draw := func(n int) float64 {
		switch n % 5 {
		case 0:
			return []float64{0, negligible, -math.Ln2, -math.Ln2 / 2, math.Inf(-1), -1e300, -700}[rng.IntN(7)]
		case 1:
			return math.Nextafter(negligible, 0)
		}
		return -math.Exp(rng.Float64() * []float64{10, 4, 1, -10, -40}[rng.IntN(5)])
	}
	for n := range 20_000 {
		top, some := 300*rng.NormFloat64(), 1+n%lanes
		if n%2 == 0 {
			top = 0
		}
		x := make([]float64, some)
		for i := range x {
			x[i] = top + draw(n+i)
		}
		var room [lanes]float64
		for i, got := range exps(&room, x, top) {
			want := 0.0
			if v := x[i] - top; v > negligible {
				want = math.Exp(v)
			}
			if math.Float64bits(got) != math.Float64bits(want) {
				t.Fatalf("e to the power of %v: %v with vectors, %v without", x[i]-top, got, want)
			}
		}
	}
}
