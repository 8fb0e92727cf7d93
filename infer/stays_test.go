//go:build !race

package infer_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// A help that stays is seldom called none because its last two steps happened to be high, and one that
// ends is still found out where it can be told from noise. The bounds are three standard
// errors from what was seen with other seeds.
func TestAHelpIsCalledNoneOnlyIfItIsShownNotToHaveStayed(t *testing.T) {
	const runs = 400
	for _, c := range []struct {
		name  string
		make  trouble
		less  float64 // of ten, in the steps where it helps
		steps int     // of those that are judged
		most  float64 // called no effect, because it did not stay
		least float64
	}{
		{"it stays, one standard deviation", standing(0.2, 0, false, false), 2, promiseSpan, 0.045, 0},
		{"it stays, one and a half", standing(0.2, 0, false, false), 3, promiseSpan, 0.052, 0},
		{"it stays, two", standing(0.2, 0, false, false), 4, promiseSpan, 0.05, 0},
		{"it stays, two, after an extreme", standing(0.2, 0, false, true), 4, promiseSpan, 0.045, 0},
		{"it stays, one and a half, and goes together", standing(0.2, 0.5, false, false), 3, promiseSpan, 0.045, 0},
		{"it ends after three steps, two", standing(0.2, 0, false, false), 4, 3, 1, 0.37},
		{"it ends after three steps, three", standing(0.2, 0, false, false), 6, 3, 1, 0.82},
		{"it ends after three steps, five", standing(0.2, 0, false, true), 10, 3, 1, 0.96},
		{"it ends after two steps, five", standing(0.2, 0, false, false), 10, 2, 1, 0.87},
		{"it ends after three steps, five, and goes together", standing(0.2, 0.8, false, true), 10, 3, 1, 0.91},
		{"a fault of a new level comes back after three steps", begun(100, 20, 0, 0.05, 0), 90, 3, 1, 0.4},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng, seen, open := rand.New(rand.NewPCG(81, 82)), map[assay.Effect]int{}, 0
			for range runs {
				y := c.make(rng)
				from := promisePast + promiseDead
				for i := from; i < from+c.steps; i++ {
					y[i] = max(0, y[i]-c.less)
				}
				got, err := infer.Attribute(infer.Aftermath{Series: y, At: promisePast, Dead: promiseDead, Window: promiseSpan, Hold: 2, Material: 1e-6})
				switch {
				case err != nil:
					t.Fatal(err)
				case strings.Contains(got.Why, "its end does not tell"):
					if open++; got.Effect != assay.EffectInconclusive || got.P > 0.025 {
						t.Fatalf("%+v", got)
					}
				case strings.Contains(got.Why, "did not stay"):
					seen[got.Effect]++
				}
			}
			none := seen[assay.EffectNone]
			if t.Logf("of %d: %d did not stay, of %d nobody can say", runs, none, open); float64(none) > c.most*runs || float64(none) < c.least*runs {
				t.Errorf("%d of %d are called no effect because they did not stay, want %v to %v", none, runs, c.least*runs, c.most*runs)
			}
		})
	}
}
