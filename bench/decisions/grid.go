package main

import (
	"runtime"
	"sync"
	"time"
)

// sizes is how large a run of the benchmark is.
type sizes struct {
	healthy, bad, extra, outage, eta int // rollouts per cell
	pasts                            int // of the old version, per healthy setting
	traffic, base, ratio, phi        []float64
	weight                           []float64
}

func fullSizes() sizes {
	return sizes{
		healthy: 700, bad: 200, extra: 400, outage: 1000, eta: 200, pasts: 20,
		traffic: []float64{1, 10, 100, 1000}, base: []float64{0.001, 0.01}, ratio: []float64{1.5, 2, 3, 10},
		phi: []float64{1, 5}, weight: []float64{0.1, 0.25},
	}
}

func quickSizes() sizes {
	return sizes{
		healthy: 60, bad: 40, extra: 20, outage: 30, eta: 10, pasts: 1,
		traffic: []float64{10, 100}, base: []float64{0.01}, ratio: []float64{3}, phi: []float64{1, 5}, weight: []float64{0.1},
	}
}

// grid is every setting with a regression; each has a healthy twin.
func (s sizes) grid() (cells []cell) {
	for _, phi := range s.phi {
		for _, w := range s.weight {
			for _, base := range s.base {
				for _, traffic := range s.traffic {
					for _, ratio := range s.ratio {
						cells = append(cells, cell{steady, traffic, base, ratio, phi, w})
					}
				}
			}
		}
	}
	return cells
}

// scenes are cells off the grid.
func scenes(t traces) (cells []cell) {
	list := []scene{incident, late, daily}
	if t.nasa != nil {
		list = append(list, nasa, worldcup)
	}
	for _, s := range list {
		for _, phi := range []float64{1, 5} {
			cells = append(cells, cell{s, 200, 0.01, 3, phi, 0.1})
		}
	}
	return cells
}

// cellResult is what every contender came to in one cell.
type cellResult struct {
	cell
	tallies []tally // in the order of contenders
}

// board measures cells, over all processors.
type board struct {
	seed       uint64
	contenders []contender
	traces     traces
	known      map[cell]past // by healthy setting
	// only is the part that is played, nil everything; what is not keeps its place, so
	// that the rest is drawn as ever.
	only *part
}

// measure plays runs rollouts of each cell under each contender. offset keeps the
// random numbers of two calls apart.
func (b board) measure(cells []cell, runs func(cell) int, outage [2]time.Duration, offset int) ([]cellResult, error) {
	type job struct{ cell, contender int }
	var jobs []job
	out := make([]cellResult, len(cells))
	for i, c := range cells {
		out[i] = cellResult{c, make([]tally, len(b.contenders))}
		for k, who := range b.contenders {
			if b.only.has(c) && b.only.plays(who) {
				jobs = append(jobs, job{i, k})
			}
		}
	}
	err := parallel(len(jobs), func(n int) error {
		j := jobs[n]
		c := cells[j.cell]
		for run := range runs(c) {
			w := newWorld(c, b.traces, stream(b.seed, offset+j.cell, j.contender, run))
			w.known = b.known[c.healthy()].of(run)
			o, err := play(w, b.contenders[j.contender], outage)
			if err != nil {
				return err
			}
			out[j.cell].tallies[j.contender].add(c, o)
		}
		return nil
	})
	return out, err
}

// parallel runs n jobs, each once; the first error ends the others.
func parallel(n int, one func(int) error) error {
	next := make(chan int)
	stop := make(chan struct{})
	var once sync.Once
	var first error
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				if err := one(i); err != nil {
					once.Do(func() { first = err; close(stop) })
					return
				}
			}
		})
	}
	func() {
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-stop:
				return
			}
		}
	}()
	wg.Wait()
	return first
}
