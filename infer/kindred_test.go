//go:build !race

// See montecarlo_test.go for why.

package infer_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// A fault makes a series a hundredfold, with noise as large for its level as before, and
// lasts for twenty steps until something is done. What its noise is nobody could know before.
func TestAnActionInALastingFaultOfANewLevelIsJudgedByTheFaultsOwnNoise(t *testing.T) {
	const runs, past, lasted, at = 1000, 500, 20, 520
	for _, c := range []struct {
		name string
		left float64 // of the fault, after the action
		want func(map[assay.Effect]int) bool
	}{
		{"nothing changes", 1, func(n map[assay.Effect]int) bool {
			return n[assay.EffectHelped]+n[assay.EffectHarmed] <= runs/20
		}},
		{"the fault ends", 0.01, func(n map[assay.Effect]int) bool { return n[assay.EffectHelped] >= runs*95/100 }},
		{"it becomes three times as bad", 3, func(n map[assay.Effect]int) bool { return n[assay.EffectHarmed] >= runs*95/100 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(21, 22))
			got := map[assay.Effect]int{}
			for range runs {
				y := make([]float64, past+lasted+6)
				for i := range y {
					level := 1.0
					switch {
					case i >= at:
						level = 100 * c.left
					case i >= past:
						level = 100
					}
					y[i] = level * math.Abs(1+0.2*rng.NormFloat64())
				}
				seen, err := infer.Attribute(infer.Aftermath{Series: y, At: at, Dead: 1, Window: 5, Hold: 2, Material: 0.1})
				if err != nil {
					t.Fatal(err)
				}
				got[seen.Effect]++
			}
			t.Log(got)
			if !c.want(got) {
				t.Errorf("of %d: %v", runs, got)
			}
		})
	}
}
