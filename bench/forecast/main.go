// Command forecast plays recorded loads through the care of models (care.go), counts what
// intervals of outcomes hold (outcomes.go), and scores the
// blend of forecasts on the 414 hourly series of the M4
// competition, 48 hours ahead, with the competition's own measures.
//
// Without more it holds back the last 48 hours of the training part: that is where
// constants are chosen. With --final it opens the test part, and the figures may be
// held against the published ones. Run it with `make bench-forecast`, which opens it.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/infer"
)

func main() {
	open := slices.Contains(os.Args, "--final")
	os.Args = slices.DeleteFunc(os.Args, func(arg string) bool { return arg == "--final" })
	run.Main("forecast", 1,
		run.Part{Name: "m4", Run: func(_ context.Context, b *run.Bench) error { return m4(b, open) }},
		run.Part{Name: "outcomes", Run: outcomes},
		run.Part{Name: "care", Run: care})
}

// winner are the published scores of M4's winner on its hourly series (Smyl, ES-RNN).
var winner = scores{smape: 9.328, mase: 0.893, msis: 7.928}

func m4(b *run.Bench, open bool) error {
	dir, err := b.Data("M4-hourly")
	if err != nil {
		return err
	}
	files, err := corpus(dir, open)
	if err != nil {
		return err
	}
	part := "held back"
	if open {
		part = "test"
	}
	b.Say("%d series, %d hours ahead, scored on the %s part", len(files), horizon, part)
	began := time.Now()
	sum, err := mean(files)
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	row := func(name string, ours, peer float64) result.Row {
		r := result.New("M4-hourly "+name+" ("+part+")", "", []float64{ours})
		if open { // the published scores are of the test part
			r = r.Against("ES-RNN (winner)", []float64{ours}, []float64{peer})
		}
		return r
	}
	b.Rows = append(b.Rows,
		row("OWA", owa(sum), owa(winner)).Want("<=", 0.45),
		row("MASE", sum.mase, winner.mase).Want("<=", 0.98),
		row("sMAPE", sum.smape, winner.smape),
		row("MSIS", sum.msis, winner.msis).Want("<=", 7.5),
		result.New("M4-hourly coverage of 95 % intervals ("+part+")", "", []float64{sum.covered}),
		result.New("414 series, forecast and checked", "s", []float64{took}).Want("<", 10),
	)
	return nil
}

// mean forecasts every series and averages the scores.
func mean(files []series) (scores, error) {
	each, errs := make([]scores, len(files)), make([]error, len(files))
	next := make(chan int)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for i := range next {
				each[i], errs[i] = files[i].forecast()
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	workers.Wait()
	var sum scores
	for i, s := range each {
		if errs[i] != nil {
			return sum, fmt.Errorf("%s: %w", files[i].name, errs[i])
		}
		n := float64(len(files))
		sum.smape += s.smape / n
		sum.mase += s.mase / n
		sum.msis += s.msis / n
		sum.covered += s.covered / n
	}
	return sum, nil
}

func (s series) forecast() (scores, error) {
	p, err := infer.Predict(s.train, infer.ForecastConfig{Horizon: horizon, Seasons: [2]int{season, 7 * season}})
	if err != nil {
		return scores{}, err
	}
	low, high := make([]float64, horizon), make([]float64, horizon)
	for k := range horizon {
		low[k], high[k] = p.Quantile(k, 0.025), p.Quantile(k, 0.975)
	}
	return s.score(p.Mean, low, high), nil
}
