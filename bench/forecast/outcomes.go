package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"assay.dev/assay"
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
	// claimed is the share of actions without effect that the placebos call one, in percent.
	claimed = 5
	// promised is the share that was expected to go away.
	promised = 0.7
)

// kept are the parts of a promise that actions keep, with the most of them, in percent, that may be
// said to have done less than half of it: none of those that did nothing are wrong.
var kept = []struct {
	part  float64
	words string
	most  float64
}{{0, "nothing", 0}, {0.5, "half", 4}, {1, "all", 2.5}}

// moment says when the actions of a count are taken, in the words of its rows.
type moment string

const (
	anyTime moment = ""
	// afterExtreme is after a value that was high in the half day before the search for one
	// began, which is as often as not a load that grows by the hour.
	afterExtreme moment = ", after an extreme"
	// afterOwn is after a value that is high in the half day that it is held against.
	afterOwn moment = ", after an extreme of its last half day"
)

// intervals counts how often what an action that did nothing changed, which is nothing,
// lies within its intervals: of resampled pasts, and of the ranks of the past as it was.
type intervals struct {
	n     int
	hold  [2][2]int // 95 and 80 %; resampled and by ranks
	width []float64 // of 95 %, resampled by ranks
	wrong int       // called an effect
	found int       // called a help had a part of it gone
	gone  float64   // that part
	harm  [2]int    // called a harm had as much come, and those that are not because it was growing
	none  [3]int    // said to have had no effect, of actions that did so much of what was promised
	when  moment
}

func (c *intervals) add(y []float64, seed uint64) error {
	a := infer.Aftermath{Series: slices.Clone(y), At: outcomePast, Dead: outcomeDead, Window: outcomeSpan, Hold: 2, Paths: infer.BootstrapPaths, Promise: infer.Promise{Gone: promised}, Seed: seed}
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
		if k > 0 {
			break
		}
		if got.P <= 0.025 || got.PHarm <= 0.025 {
			c.wrong++
		}
		c.tell(0, got)
	}
	if err := c.keep(a, y); err != nil {
		return err
	}
	for i := outcomePast + outcomeDead; i < len(y); i++ {
		a.Series[i] *= 1 - c.gone
	}
	got, err := infer.Attribute(a)
	if err != nil {
		return err
	}
	if got.Effect == assay.EffectHelped {
		c.found++
	}
	if err := c.worse(a, y); err != nil {
		return err
	}
	c.n++
	c.width = append(c.width, widths[0]/widths[1])
	return nil
}

// tell counts actions that are said to have done less than half of what was promised.
func (c *intervals) tell(kept int, got infer.Attribution) {
	if got.Effect == assay.EffectNone && strings.Contains(got.Why, "promised") {
		c.none[kept]++
	}
}

// keep holds actions that did a part of what was promised against it.
func (c *intervals) keep(a infer.Aftermath, y []float64) error {
	a.Paths = infer.BootstrapPaths
	for k, by := range kept {
		if by.part == 0 {
			continue // those are told already
		}
		a.Series = slices.Clone(y)
		for i := outcomePast + outcomeDead; i < len(y); i++ {
			a.Series[i] *= 1 - promised*by.part
		}
		got, err := infer.Attribute(a)
		if err != nil {
			return err
		}
		c.tell(k, got)
	}
	return nil
}

// worse has as much come as went away of what was helped.
func (c *intervals) worse(a infer.Aftermath, y []float64) error {
	a.Series, a.Paths = slices.Clone(y), 0
	for i := outcomePast + outcomeDead; i < len(y); i++ {
		a.Series[i] *= 1 + c.gone
	}
	got, err := infer.Attribute(a)
	switch {
	case err != nil:
		return err
	case got.Effect == assay.EffectHarmed:
		c.harm[0]++
	case strings.Contains(got.Why, "still growing"):
		c.harm[1]++
	}
	return nil
}

// rows hold both against what they say; least are the targets of 95 % and of 80 %.
func (c *intervals) rows(name string, least [2]float64) []result.Row {
	name += string(c.when)
	var out []result.Row
	for i, says := range []string{"95 %", "80 %"} {
		share := func(k int) []float64 { return []float64{100 * float64(c.hold[i][k]) / float64(max(c.n, 1))} }
		r := result.New(fmt.Sprintf("%s: %s intervals hold", name, says), "%", share(0)).Against("ranks of the past as it was", share(0), share(1))
		r.Rounds = c.n
		out = append(out, r.Want(">=", least[i]))
	}
	width := result.New(name+": width of 95 % intervals, of that by ranks", "", []float64{result.Median(c.width)})
	percent := func(n int) []float64 { return []float64{100 * float64(n) / float64(max(c.n, 1))} }
	wrong := result.New(name+": no effect called one by placebos", "%", percent(c.wrong))
	found := result.New(fmt.Sprintf("%s: %.0f %% of it gone called a help", name, 100*c.gone), "%", percent(c.found))
	harm := result.New(fmt.Sprintf("%s: %.0f %% more of it called a harm", name, 100*c.gone), "%", percent(c.harm[0])).Against("were nothing held against growth", percent(c.harm[0]), percent(c.harm[0]+c.harm[1]))
	width.Rounds, wrong.Rounds, found.Rounds, harm.Rounds = c.n, c.n, c.n, c.n
	for k, by := range kept {
		r := result.New(fmt.Sprintf("%s: %s of the promised %.0f %% done, called no effect", name, by.words, 100*promised), "%", percent(c.none[k]))
		if r.Rounds = c.n; by.most > 0 {
			r = r.Want("<=", math.Round(10*(by.most+2*math.Sqrt(by.most*(100-by.most)/float64(max(c.n, 1)))))/10)
		}
		out = append(out, r)
	}
	// As many as are claimed, and two standard errors of so many actions.
	most := claimed + 2*math.Sqrt(claimed*(100-claimed)/float64(max(c.n, 1)))
	return append(out, width, wrong.Want("<=", math.Round(10*most)/10), found, harm)
}

// outcomes counts on series in which nobody acted.
func outcomes(_ context.Context, b *run.Bench) error {
	for _, phi := range []float64{0, 0.5, 0.8} {
		for _, when := range []moment{anyTime, afterExtreme} {
			c, err := autocorrelated(phi, when)
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
		for _, when := range []moment{anyTime, afterExtreme, afterOwn} {
			c, err := l.intervals(when)
			if err != nil {
				return err
			}
			least := [2]float64{92, 76}
			if when != anyTime { // no past of half a day says all of what follows its rarest minutes
				least = [2]float64{88, 70}
			}
			b.Rows = append(b.Rows, c.rows(l.name, least)...)
		}
	}
	return nil
}

// autocorrelated are 1,000 pasts of an AR(1) with the standard deviation 1.
func autocorrelated(phi float64, when moment) (intervals, error) {
	out := intervals{when: when, gone: 0.15} // one and a half standard deviations
	rng := rand.New(rand.NewPCG(2026, uint64(100*phi)))
	for seed := uint64(0); out.n < 1000; seed++ {
		y, v := make([]float64, outcomePast+500), rng.NormFloat64()
		for i := range y {
			v = phi*v + math.Sqrt(1-phi*phi)*rng.NormFloat64()
			y[i] = 10 + v
		}
		at := outcomePast
		for when != anyTime && at+outcomeDead+outcomeSpan < len(y) && y[at-1] < 11.645 { // 5 of 100 are above
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
func (l recorded) intervals(when moment) (intervals, error) {
	out, y := intervals{when: when, gone: 0.5}, l.values
	high := func(at int) float64 {
		past := slices.Sorted(slices.Values(y[at-outcomePast : at]))
		return past[int(extreme*float64(len(past)))]
	}
	for at := outcomePast; at+outcomeDead+outcomeSpan <= len(y); at += outcomeEvery {
		switch when {
		case afterExtreme:
			for bound := high(at); at+outcomeDead+outcomeSpan < len(y) && y[at-1] < bound; {
				at++
			}
		case afterOwn:
			for at+outcomeDead+outcomeSpan < len(y) && y[at-1] < high(at) {
				at++
			}
		}
		if err := out.add(y[at-outcomePast:at+outcomeDead+outcomeSpan], uint64(at)); err != nil {
			return out, err
		}
	}
	return out, nil
}
