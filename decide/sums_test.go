//go:build !race

package decide_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

// Thousands of simulated rollouts in one goroutine: the race detector would make them ten
// times as long and has nothing to watch in them. `make test` runs the package with it, which
// leaves this file out, and without.

// Work that comes in bursts, of which the old version's past says how great they are: of
// versions that do the same next to none is stopped, and one that does twice as much is.
func TestBurstsOfWorkStopNoGoodVersion(t *testing.T) {
	const rollouts, seconds, past = 150, 60, 90
	draw := func(rng *rand.Rand, mean float64, size uint64) (n uint64) {
		for left := mean/float64(size) - rng.ExpFloat64(); left > 0; left -= rng.ExpFloat64() {
			n += size
		}
		return n
	}
	for _, size := range []uint64{1, 5} {
		stopped := map[float64]uint64{}
		for _, times := range []float64{1, 2} {
			for run := range uint64(rollouts) {
				rng := rand.New(rand.NewPCG(81+size, run))
				p := measured(decide.Indicator{Kind: decide.KindCount})
				p.Indicators = p.Indicators[1:]
				p.Steps, p.MinRequests = []int{10, 100}, 1<<40 // it is watched to the end
				var history [][]assay.Reading
				for n := range past {
					r := both(n-past, func(_ bool, share uint64, r *assay.Reading) { r.Count = draw(rng, 30*float64(share), size) })
					history = append(history, []assay.Reading{r[3]})
				}
				var err error
				if p.Indicators[0], err = decide.Calibrate(p, "work", history, decide.Draws{Seed: run, Next: rng.Float64}); err != nil {
					t.Fatal(err)
				}
				d, _ := follow(t, p, seconds, func(n int) []assay.Reading {
					return both(n, func(canary bool, share uint64, r *assay.Reading) {
						mean := 30 * float64(share)
						if canary {
							mean *= times
						}
						r.Count = draw(rng, mean, size)
					})[2:]
				})
				if d.Action.Kind == assay.ActionAbort {
					stopped[times]++
				}
			}
		}
		if low, _ := infer.ClopperPearson(stopped[1], rollouts, 0.95); low > 0.01 {
			t.Errorf("bursts of %d: %d of %d good versions stopped", size, stopped[1], rollouts)
		}
		if stopped[2] < rollouts*95/100 {
			t.Errorf("bursts of %d: %d of %d versions with twice the work stopped", size, stopped[2], rollouts)
		}
	}
}

// With a tolerable rate of 1 %, a version at 2 % in bursts of nine must not be shown
// safe more often than beta: long clean stretches are what bursts look like.
func TestATolerableRateIsNotShownByTheQuietBetweenBursts(t *testing.T) {
	p := plan()
	p.Indicators[0].Tolerable, p.Indicators[0].Dispersion = 0.01, 9
	p.MinRequests = 1
	rng := rand.New(rand.NewPCG(1, 9))
	shipped, runs := 0, 400
	for range runs {
		s := begin(t, p)
		for n := range 30 {
			bad := uint64(0)
			for range 50 { // 50 requests, 2 % of them bad, in bursts of 9
				if rng.Float64() < 0.02/9 {
					bad += 9
				}
			}
			var d assay.Decision
			d, s = next(t, p, s, second(n, [2]uint64{min(bad, 50), 50}, [2]uint64{5, 450}), allow, start.Add(time.Duration(n+1)*time.Second))
			if d.Action.Kind == assay.ActionAdvance {
				shipped++
				break
			}
		}
	}
	if share := float64(shipped) / float64(runs); share > 2*p.Beta {
		t.Errorf("%.0f %% of the runs were shown safe, beta is %.0f %%", 100*share, 100*p.Beta)
	}
}
