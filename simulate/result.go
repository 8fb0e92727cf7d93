package simulate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"assay.dev/assay"
)

// Options choose what is run.
type Options struct {
	// Seeds is how many there are; 0 is what the scenario says.
	Seeds int
	// First is the first seed; the others follow it. 0 is 1.
	First uint64
}

// Mean is a mean over seeds with the half width of its 95 % interval, which one seed
// does not have.
type Mean struct {
	Mean float64  `json:"mean"`
	Half *float64 `json:"half,omitempty"`
}

// Row is what one controller came to over all seeds.
type Row struct {
	Controller string `json:"controller"`
	BadShare   Mean   `json:"bad_share"`
	HarmShare  Mean   `json:"harm_share"`
	Dropped    Mean   `json:"dropped_share"`
	Toggles    Mean   `json:"toggles"`
	Moves      Mean   `json:"moves"`
	Cost       Mean   `json:"cost"`
	Loss       Mean   `json:"loss"`
	// Regret is the loss above the oracle's; absent without one.
	Regret *Mean `json:"regret,omitempty"`
	// Found is, of the oracle, for how many seeds its own schedule lost least; for the
	// others it is what the best controller did.
	Found int `json:"found,omitempty"`
	// Detected and Restored are seconds, of the runs where it came to that.
	Detected *Mean `json:"detected,omitempty"`
	Restored *Mean `json:"restored,omitempty"`
	// Failed are the expectations that this controller does not meet; those that
	// everybody meets show nothing.
	Failed []string `json:"failed"`
	Runs   []Run    `json:"runs"`
}

// Result is what a scenario came to.
type Result struct {
	Scenario string  `json:"scenario"`
	About    string  `json:"about,omitempty"`
	First    uint64  `json:"first_seed"`
	Seeds    int     `json:"seeds"`
	OK       bool    `json:"ok"`
	Checks   []Check `json:"checks"`
	Rows     []Row   `json:"controllers"`
	Picture  Picture `json:"picture"` // of the first seed
	// Hours are service-hours of virtual time that were run.
	Hours float64 `json:"service_hours"`
}

// names of the controllers that are always there.
const (
	nothingName = "nothing"
	oracleName  = "oracle"
)

// Run plays a scenario with every controller and judges the one under test. The same
// scenario and options give the same result.
func (p *Prepared) Run(ctx context.Context, o Options) (Result, error) {
	spec := p.scenario.Spec
	o.Seeds, o.First = cmp.Or(o.Seeds, spec.Seeds), cmp.Or(o.First, 1)
	controllers := append(p.scenario.controllers(), &Controller{Name: nothingName})
	res := Result{Scenario: p.scenario.Metadata.Name, About: spec.About, First: o.First, Seeds: o.Seeds, Rows: make([]Row, len(controllers))}
	film := newFilm(p.scenario)
	if spec.Oracle != nil {
		res.Rows = append(res.Rows, Row{Controller: oracleName})
	}
	for n := range res.Rows {
		res.Rows[n].Runs = make([]Run, o.Seeds)
		if n < len(controllers) {
			res.Rows[n].Controller = controllers[n].Name
		}
	}
	err := parallel(ctx, o.Seeds*len(res.Rows), func(ctx context.Context, job int) (err error) {
		i, n := job/len(res.Rows), job%len(res.Rows)
		seed, to := o.First+uint64(i), &res.Rows[n].Runs[i]
		switch {
		case n >= len(controllers):
			*to, err = p.oracle(ctx, seed)
		case job == 0:
			*to, err = p.play(ctx, controllers[n], seed, film)
		default:
			*to, err = p.play(ctx, controllers[n], seed, nil)
		}
		return err
	})
	if err != nil {
		return Result{}, err
	}
	res.learn()
	res.sum()
	res.Checks = res.judge(spec.Expect, res.Rows[0])
	for i := range res.Rows {
		res.Rows[i].Failed = []string{}
		for _, c := range res.judge(spec.Expect, res.Rows[i]) {
			if !c.OK {
				res.Rows[i].Failed = append(res.Rows[i].Failed, c.Name)
			}
		}
	}
	res.OK = !slices.ContainsFunc(res.Checks, func(c Check) bool { return !c.OK })
	res.Picture = film.develop(spec.World.Tick.D())
	res.Hours = (spec.Duration.D() + spec.WarmUp.D()).Hours() * float64(len(spec.World.Services)*o.Seeds*len(controllers))
	return res, nil
}

// parallel does jobs on all processors and returns the error of the first that
// failed, in their order. Each writes to a place of its own, so what comes out does
// not depend on which ran when.
func parallel(ctx context.Context, jobs int, do func(context.Context, int) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, jobs)
	for range min(jobs, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for job := int(next.Add(1)) - 1; job < jobs && ctx.Err() == nil; job = int(next.Add(1)) - 1 {
				if errs[job] = do(ctx, job); errs[job] != nil {
					stop()
				}
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return assay.Errorf(assay.CodeUnavailable, "the simulation was given up: %w", ctx.Err())
	}
	return nil
}

// learn gives the oracle, for each seed, what the best controller did if that was better
// than every schedule it had tried.
func (r *Result) learn() {
	oracle := r.row(oracleName)
	if oracle == nil {
		return
	}
	for i := range oracle.Runs {
		best := oracle.Runs[i]
		for _, row := range r.Rows {
			if row.Runs[i].Loss < best.Loss {
				best = row.Runs[i]
			}
		}
		if best.Loss == oracle.Runs[i].Loss {
			oracle.Found++
		}
		oracle.Runs[i] = best
	}
}

func (r *Result) row(name string) *Row {
	for i := range r.Rows {
		if r.Rows[i].Controller == name {
			return &r.Rows[i]
		}
	}
	return nil
}

// sum fills in the means.
func (r *Result) sum() {
	oracle := r.row(oracleName)
	for i := range r.Rows {
		row := &r.Rows[i]
		of := func(get func(Run) float64) Mean {
			values := make([]float64, len(row.Runs))
			for j, run := range row.Runs {
				values[j] = get(run)
			}
			return mean(values)
		}
		row.BadShare = of(func(r Run) float64 { return r.BadShare })
		row.HarmShare = of(func(r Run) float64 { return r.HarmShare })
		row.Dropped = of(func(r Run) float64 { return r.DroppedShare })
		row.Toggles = of(func(r Run) float64 { return float64(r.Toggles) })
		row.Moves = of(func(r Run) float64 { return float64(r.Moves) })
		row.Cost = of(func(r Run) float64 { return r.Cost })
		row.Loss = of(func(r Run) float64 { return r.Loss })
		row.Detected = some(row.Runs, func(r Run) *float64 { return r.Detected })
		row.Restored = some(row.Runs, func(r Run) *float64 { return r.Restored })
		if oracle != nil {
			above := make([]float64, len(row.Runs))
			for j, run := range row.Runs {
				above[j] = run.Loss - oracle.Runs[j].Loss
			}
			row.Regret = new(mean(above))
		}
	}
}

func some(runs []Run, get func(Run) *float64) *Mean {
	var values []float64
	for _, r := range runs {
		if v := get(r); v != nil {
			values = append(values, *v)
		}
	}
	if len(values) == 0 {
		return nil
	}
	return new(mean(values))
}

// mean of values with Student's 95 % interval.
func mean(values []float64) Mean {
	n := float64(len(values))
	sum, squares := 0.0, 0.0
	for _, v := range values {
		sum += v
	}
	m := Mean{Mean: sum / n}
	if n < 2 {
		return m
	}
	for _, v := range values {
		squares += (v - m.Mean) * (v - m.Mean)
	}
	m.Half = new(student(len(values)-1) * math.Sqrt(squares/(n-1)/n))
	return m
}

// student is the 97.5 % quantile of Student's distribution.
func student(df int) float64 {
	table := []float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228}
	if df <= len(table) {
		return table[df-1]
	}
	// Cornish-Fisher around the normal quantile; off by less than 0.001 from here on.
	const z = 1.959964
	d := float64(df)
	return z + (z*z*z+z)/(4*d) + (5*math.Pow(z, 5)+16*z*z*z+3*z)/(96*d*d)
}

// judge holds a row against the expectations; each check shows its worst seed.
func (r *Result) judge(e Expect, row Row) []Check {
	var out []Check
	for i, run := range row.Runs {
		for n, c := range e.judge(run) {
			if len(row.Runs) > 1 {
				c.Words += fmt.Sprintf(" (seed %d)", run.Seed)
			}
			switch {
			case i == 0:
				out = append(out, c)
			case out[n].OK && !c.OK:
				out[n] = c
			}
		}
	}
	for i := range out {
		if out[i].OK && len(row.Runs) > 1 {
			out[i].Words = "with every seed"
		}
	}
	if oracle := r.row(oracleName); e.MaxRegret != nil && oracle != nil {
		limit, got := *e.MaxRegret*oracle.Loss.Mean, row.Loss.Mean-oracle.Loss.Mean
		out = append(out, Check{"maxRegret", got <= limit, fmt.Sprintf("%s above the oracle's loss of %s, at most %s", num(got), num(oracle.Loss.Mean), num(limit))})
	}
	for _, name := range e.BetterThan {
		other := r.row(name)
		out = append(out, Check{"betterThan " + name, row.Loss.Mean < other.Loss.Mean, fmt.Sprintf("a loss of %s against %s", num(row.Loss.Mean), num(other.Loss.Mean))})
	}
	return out
}

// Duration is a mean of seconds for people.
func (m *Mean) Duration() time.Duration {
	return time.Duration(m.Mean * float64(time.Second)).Round(time.Second)
}

// sortedKeys are the keys of a map in order.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
