//go:build !race

// See sums_test.go for why.

package decide

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// Numbers are written as strconv writes them, to the byte: a record's words depend on it.
func TestNumbersAreWrittenAsStrconvWritesThem(t *testing.T) {
	fast := 0
	same := func(v float64) {
		t.Helper()
		for digits := 2; digits <= 3; digits++ {
			if got, want := string(appendDigits(nil, v, digits)), strconv.FormatFloat(v, 'g', digits, 64); got != want {
				t.Fatalf("%v in %d digits is %s, want %s", v, digits, got, want)
			}
			if v >= 0.001 && v < tens[digits]-1 {
				fast++
			}
		}
		if got, want := string(appendWhole(nil, v)), strconv.FormatFloat(v, 'f', 0, 64); got != want {
			t.Fatalf("%v in whole numbers is %s, want %s", v, got, want)
		}
		if got, want := number(v), strconv.FormatFloat(v, 'g', -1, 64); got != want {
			t.Fatalf("%v exactly is %s, want %s", v, got, want)
		}
	}
	around := func(v float64) {
		for _, w := range []float64{v, math.Nextafter(v, math.Inf(1)), math.Nextafter(v, math.Inf(-1)), -v} {
			same(w)
		}
	}
	for _, v := range []float64{0, math.Copysign(0, -1), 0.5, 1.5, 2.5, -0.4, -0.5, -2.5, 1e15, 1e16, 1e300, 1e-300, math.Inf(1), math.Inf(-1), math.NaN()} {
		same(v)
	}
	for n := range 20_000 { // every number of up to five digits with its halves, and what lies beside them
		for e := -6; e <= 2; e++ {
			around(float64(n) / 2 * math.Pow10(e))
			around(float64(n) / 2 / math.Pow10(-e))
		}
	}
	for n := uint64(math.MaxUint64); ; n /= 3 {
		if got, want := string(appendCounted(nil, n)), strconv.FormatUint(n, 10); got != want {
			t.Fatalf("the count %d is %s", n, got)
		}
		if n == 0 {
			break
		}
	}
	for n := range 1_000_002 {
		if got, want := number(float64(n)), strconv.FormatFloat(float64(n), 'g', -1, 64); got != want {
			t.Fatalf("%d exactly is %s, want %s", n, got, want)
		}
	}
	rng := rand.New(rand.NewPCG(11, 23))
	for range 500_000 {
		same(math.Exp(24*rng.Float64() - 12))
		same(100 * float64(rng.IntN(5000)) / float64(1+rng.IntN(5000))) // as rates are
	}
	if fast < 1_000_000 {
		t.Errorf("only %d numbers were in the range that is written without strconv", fast)
	}
}
