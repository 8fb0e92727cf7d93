package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/infer"
)

// How an outcome is judged by a strategy: minutes that are remembered, that cannot show an
// action yet, and that are judged.
const (
	outcomePast = 714
	outcomeDead = 1
	outcomeSpan = 5
	// outcomeEvery is how many minutes lie between two actions on a recorded load.
	outcomeEvery = 97
	// extreme is the share of the past that is less than what triggers an action.
	extreme = 0.95
)

// intervals counts how often what an action that did nothing changed, which is nothing,
// lies within its intervals: of resampled pasts, and of the ranks of the past as it was.
type intervals struct {
	n         int
	hold      [2][2]int // 95 and 80 %; resampled and by ranks
	width     []float64 // of 95 %, resampled by ranks
	wrong     int       // called an effect
	triggered bool
}

func (c *intervals) add(y []float64, seed uint64) error {
	a := infer.Aftermath{Series: y, At: outcomePast, Dead: outcomeDead, Window: outcomeSpan, Hold: 2, Paths: infer.BootstrapPaths, Seed: seed}
	var widths [2]float64
	for k := range 2 {
		if k == 1 {
			a.Paths = 0
		}
		got, err := infer.Attribute(a)
		if err != nil {
			return err
		}
		if got.Placebos == 0 || got.Low == got.High {
			return nil // it stood still
		}
		if widths[k] = got.High - got.Low; got.Low <= 0 && 0 <= got.High {
			c.hold[0][k]++
		}
		if got.Low80 <= 0 && 0 <= got.High80 {
			c.hold[1][k]++
		}
		if k == 0 && (got.P <= 0.025 || got.PHarm <= 0.025) {
			c.wrong++
		}
	}
	c.n++
	c.width = append(c.width, widths[0]/widths[1])
	return nil
}

// rows hold both against what they say; least are the targets of 95 % and of 80 %.
func (c *intervals) rows(name string, least [2]float64) []result.Row {
	if c.triggered {
		name += ", after an extreme"
	}
	var out []result.Row
	for i, says := range []string{"95 %", "80 %"} {
		share := func(k int) []float64 { return []float64{100 * float64(c.hold[i][k]) / float64(max(c.n, 1))} }
		r := result.New(fmt.Sprintf("%s: %s intervals hold", name, says), "%", share(0)).Against("ranks of the past as it was", share(0), share(1))
		r.Rounds = c.n
		out = append(out, r.Want(">=", least[i]))
	}
	width := result.New(name+": width of 95 % intervals, of that by ranks", "", []float64{result.Median(c.width)})
	wrong := result.New(name+": no effect called one by placebos", "%", []float64{100 * float64(c.wrong) / float64(max(c.n, 1))})
	width.Rounds, wrong.Rounds = c.n, c.n
	return append(out, width, wrong)
}

// outcomes counts on series in which nobody acted.
func outcomes(_ context.Context, b *run.Bench) error {
	for _, phi := range []float64{0, 0.5, 0.8} {
		for _, triggered := range []bool{false, true} {
			c, err := autocorrelated(phi, triggered)
			if err != nil {
				return err
			}
			b.Rows = append(b.Rows, c.rows(fmt.Sprintf("errors autocorrelated %.1f", phi), [2]float64{92, 76})...)
		}
	}
	list, err := loads(b)
	if err != nil {
		return err
	}
	for _, l := range list {
		for _, triggered := range []bool{false, true} {
			c, err := l.intervals(triggered)
			if err != nil {
				return err
			}
			least := [2]float64{92, 76}
			if triggered { // no past of half a day says all of what follows its rarest minutes
				least = [2]float64{88, 70}
			}
			b.Rows = append(b.Rows, c.rows(l.name, least)...)
		}
	}
	return nil
}

// autocorrelated are 1,000 pasts of an AR(1) with the standard deviation 1.
func autocorrelated(phi float64, triggered bool) (intervals, error) {
	out := intervals{triggered: triggered}
	rng := rand.New(rand.NewPCG(2026, uint64(100*phi)))
	for seed := uint64(0); out.n < 1000; seed++ {
		y, v := make([]float64, outcomePast+500), rng.NormFloat64()
		for i := range y {
			v = phi*v + math.Sqrt(1-phi*phi)*rng.NormFloat64()
			y[i] = 10 + v
		}
		at := outcomePast
		for triggered && at+outcomeDead+outcomeSpan < len(y) && y[at-1] < 11.645 { // 5 of 100 are above
			at++
		}
		if at+outcomeDead+outcomeSpan > len(y) {
			continue
		}
		if err := out.add(y[at-outcomePast:at+outcomeDead+outcomeSpan], seed); err != nil {
			return out, err
		}
	}
	return out, nil
}

// intervals of a recorded load, at times that have nothing to do with it, or whenever a
// minute is among the highest of its past.
func (l recorded) intervals(triggered bool) (intervals, error) {
	out, y := intervals{triggered: triggered}, l.values
	for at := outcomePast; at+outcomeDead+outcomeSpan <= len(y); at += outcomeEvery {
		if triggered {
			past := slices.Sorted(slices.Values(y[at-outcomePast : at]))
			high := past[int(extreme*float64(len(past)))]
			for at+outcomeDead+outcomeSpan < len(y) && y[at-1] < high {
				at++
			}
		}
		if err := out.add(y[at-outcomePast:at+outcomeDead+outcomeSpan], uint64(at)); err != nil {
			return out, err
		}
	}
	return out, nil
}
