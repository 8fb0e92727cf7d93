package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

const (
	alpha     = 0.01   // of the delays
	alphaDemo = 0.0005 // that the demonstration declares
)

// exceed are the shares of requests above the five latency bounds: the old version's
// P50, P90, P95 and P99, and an objective that one in 200 misses.
var exceed = []float64{0.5, 0.1, 0.05, 0.01, 0.005}

// simulation holds the shipped comparisons: errors first, then the bounds.
type simulation struct {
	runs    int
	seed    uint64
	errors  *infer.Comparison
	latency *infer.Comparison
}

func newSimulation(runs int, seed uint64) (*simulation, error) {
	p := decide.NewPlan()
	s := &simulation{runs: runs, seed: seed}
	for _, c := range []struct {
		indicator decide.Indicator
		into      **infer.Comparison
	}{
		{decide.Indicator{Name: "errors", Weight: 1}, &s.errors},
		{decide.Indicator{Name: "latency", Weight: 1, Bounds: []float64{1, 2, 3, 4, 5}}, &s.latency},
	} {
		config := p.Comparison(c.indicator)
		config.Lattice = nil // of the interval, which nobody looks at here
		var err error
		if *c.into, err = infer.New(config); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// rollout is one simulated release.
type rollout struct {
	sim    *simulation
	rng    *rand.Rand
	errors infer.State
	bounds [5]infer.State
	all    bool // latency bounds too
	worst  uint64
	// learned and spread are what the old and the new version's readings say of bursts.
	learned, spread infer.Dispersion
}

const (
	// boundsWeight is what five bounds together weigh beside errors in decide's plans.
	boundsWeight = 0.12
	// burstEvents and burstHarm are decide's: harm counts if without so many events of the
	// worst look it is still at least that, unless the looks rule bursts out (burstGone),
	// and while bursts are no better an explanation (burstDoubt).
	burstEvents = 30
	burstHarm   = 2
	burstDoubt  = 0.3
	burstGone   = 0.1
)

// burstSizes are decide's.
var burstSizes = [...]float64{3, 9}

// look simulates n requests and returns how far the combined ln E of harm lies above
// the shipped threshold, −Inf where it may be a few bursts.
func (r *rollout) look(n uint64, from, to float64) (float64, error) {
	m := binomial(r.rng, n, share)
	var err error
	pair := infer.Pair{Treated: infer.Count{Events: binomial(r.rng, m, to), Exposure: m}, Control: infer.Count{Events: binomial(r.rng, n-m, from), Exposure: n - m}}
	if r.errors, err = r.sim.errors.Update(r.errors, pair); err != nil {
		return 0, err
	}
	r.worst = max(r.worst, pair.Treated.Events)
	if r.learned, err = r.learned.Observe(infer.Slot{pair.Control}); err != nil {
		return 0, err
	}
	if r.spread, err = r.spread.Observe(infer.Slot{pair.Treated}); err != nil {
		return 0, err
	}
	phi := r.learned.Beyond(1)
	tests := []infer.Weighted{{LogE: r.sim.errors.Deflated(phi).Harm(r.errors), Weight: 1}}
	if r.all {
		// A request above one bound is above all lower ones.
		x, y, before := m, n-m, 1.0
		for i, q := range exceed {
			x, y = binomial(r.rng, x, q/before), binomial(r.rng, y, q/before)
			before = q
			p := infer.Pair{Treated: infer.Count{Events: x, Exposure: m}, Control: infer.Count{Events: y, Exposure: n - m}}
			if r.bounds[i], err = r.sim.latency.Update(r.bounds[i], p); err != nil {
				return 0, err
			}
			tests = append(tests, infer.Weighted{LogE: r.sim.latency.Harm(r.bounds[i]), Weight: boundsWeight / float64(len(exceed))})
		}
	}
	harm, err := infer.Average(tests)
	if err != nil {
		return 0, err
	}
	if harm >= burstHarm && r.bursts(phi, tests) {
		return math.Inf(-1), nil
	}
	m, n = r.errors.Treated.Exposure, r.errors.Treated.Exposure+r.errors.Control.Exposure
	return harm - math.Log(infer.Overshoot(max(share, float64(m)/float64(n))))/phi, nil
}

// bursts reports whether harm may be a few bursts, as decide would say. The first test is
// that of errors, which harm rests on here.
func (r *rollout) bursts(phi float64, tests []infer.Weighted) bool {
	doubt, plain := 0.0, 0.0
	for _, times := range burstSizes {
		tests[0].LogE = r.sim.errors.Deflated(phi * times).Harm(r.errors)
		e, _ := infer.Average(tests) // as it was averaged before
		odds := math.Exp(r.learned.Odds(phi, phi*times) + r.spread.Odds(phi, phi*times))
		doubt, plain = doubt+odds*math.Exp(-max(0, e)), plain+odds
	}
	if doubt > burstDoubt {
		return true
	}
	tests[0].LogE = r.sim.errors.Deflated(phi).HarmWithout(r.errors, min(r.worst, burstEvents))
	e, _ := infer.Average(tests)
	return plain >= burstGone && e < burstHarm
}

// lookEvery is how many requests lie between two looks: about one look in every
// hundredth of the floor.
func lookEvery(floor float64) uint64 { return max(10, uint64(floor/100/share)) }

// detect returns the canary requests until harm is shown, one per run.
func (s *simulation) detect(c change, all bool, runs int, stream uint64) ([]float64, error) {
	floor := infer.TwoSampleFloor(c.from, c.to, share, alpha)
	return s.each(runs, stream, func(rng *rand.Rand) (float64, error) {
		r := rollout{sim: s, rng: rng, all: all}
		for {
			e, err := r.look(lookEvery(floor), c.from, c.to)
			if err != nil {
				return 0, err
			}
			n := float64(r.errors.Treated.Exposure)
			if e >= -math.Log(alpha) {
				return n, nil
			}
			if n > 100*floor {
				return 0, fmt.Errorf("%s was not seen within 100 floors: the comparison has no power", c.name)
			}
		}
	})
}

// falseAborts runs the healthy version to the horizon and counts the runs whose
// greatest evidence would have aborted, for both levels and both combinations.
func (s *simulation) falseAborts(rate float64, horizon int, stream uint64, log io.Writer) ([]result.Row, error) {
	var rows []result.Row
	for _, all := range []bool{false, true} {
		between := 100 + 100*b2u(all)
		most, err := s.each(2*s.runs, stream*2+b2u(all), func(rng *rand.Rand) (float64, error) {
			r := rollout{sim: s, rng: rng, all: all}
			greatest := math.Inf(-1)
			for r.errors.Treated.Exposure < uint64(horizon) {
				e, err := r.look(between, rate, rate)
				if err != nil {
					return 0, err
				}
				greatest = max(greatest, e)
			}
			return greatest, nil
		})
		if err != nil {
			return nil, err
		}
		for _, a := range []float64{alpha, alphaDemo} {
			hits := make([]float64, len(most))
			for i, e := range most {
				hits[i] = float64(b2u(e >= -math.Log(a)))
			}
			what := "errors alone"
			if all {
				what = "errors and 5 latency bounds"
			}
			name := fmt.Sprintf("false aborts at alpha %g %%, %g %% healthy, %s", 100*a, 100*rate, what)
			rows = append(rows, rateRow(name, hits, 100*a, fmt.Sprintf(", %d canary requests", horizon), log))
		}
	}
	return rows, nil
}

// each runs the simulation runs times, spread over the processors. Every run has its
// own stream of the seed, so the figures do not depend on how many there are.
func (s *simulation) each(runs int, stream uint64, one func(*rand.Rand) (float64, error)) ([]float64, error) {
	out := make([]float64, runs)
	err := parallel(runs, func(i int) (err error) {
		out[i], err = one(rand.New(rand.NewPCG(s.seed, stream<<32|uint64(i))))
		return err
	})
	return out, err
}

// parallel does n things, spread over the processors, up to the first error of each.
func parallel(n int, one func(i int) error) error {
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = one(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// binomial jumps from event to event.
func binomial(rng *rand.Rand, n uint64, p float64) (x uint64) {
	if p > 0.5 {
		return n - binomial(rng, n, 1-p)
	}
	for i := -1.0; ; x++ {
		if i += 1 + math.Floor(math.Log1p(-rng.Float64())/math.Log1p(-p)); i >= float64(n) {
			return x
		}
	}
}
