package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

// arrivals measures what "about so many more canary requests" is worth: healthy
// rollouts are asked at 15 minutes, and run until safety is shown.
func (s *simulation) arrivals(log io.Writer) ([]result.Row, error) {
	var rows []result.Row
	for i, w := range []world{
		{name: "1 request/s, 1 % errors", rps: 1, rate: 0.01, phi: 1},
		{name: "2 requests/s, 0.5 % errors", rps: 2, rate: 0.005, phi: 1},
		{name: "10 requests/s, 0.1 % errors", rps: 10, rate: 0.001, phi: 1},
		{name: "3 requests/s, 1 % errors in bursts of 5", rps: 3, rate: 0.01, phi: 5},
	} {
		w.look, w.horizon = time.Minute, 96*time.Hour
		runs := max(100, s.runs/20)
		groups := (runs + sameHistory - 1) / sameHistory
		type answer struct {
			held, covered bool
			said, took    float64
		}
		answers := make([]answer, groups*sameHistory)
		err := parallel(groups, func(g int) error {
			past, p, err := s.ready(w, uint64(400+i), g*sameHistory)
			if err != nil {
				return err
			}
			for k := range sameHistory {
				one := *past
				one.rng = rand.New(rand.NewPCG(s.seed, uint64(400+i)<<40|uint64(g)<<8|uint64(k+1)))
				a := &answers[g*sameHistory+k]
				if a.held, a.covered, a.said, a.took, err = one.arrive(p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		var said, took, covered []float64
		for _, a := range answers {
			if a.held {
				said, took, covered = append(said, a.said), append(took, a.took), append(covered, 100*float64(b2u(a.covered)))
			}
		}
		mean, _ := meanSD(covered)
		ratio := result.Median(said) / result.Median(took)
		fmt.Fprintf(log, "time to go, %s: %d held, interval holds %.1f %%, median said %.0f, median took %.0f (%.2f)\n", w.name, len(said), mean, result.Median(said), result.Median(took), ratio)
		held := result.New("80 % interval of the time to go holds, "+w.name, "%", []float64{mean})
		held.Rounds, held.Target, held.Holds = len(said), "75 to 85", mean >= 75 && mean <= 85
		medians := result.New("median of the time to go over the median stop, "+w.name, "x", []float64{ratio})
		medians.Rounds, medians.Target, medians.Holds = len(said), "0.7 to 1.3", ratio >= 0.7 && ratio <= 1.3
		rows = append(rows, held, medians)
	}
	return rows, nil
}

// arrive asks at 15 minutes how many canary requests it takes until safety is shown,
// both counted from the start, and says how many it took.
func (s *simulated) arrive(p decide.Plan) (held, covered bool, said, took float64, err error) {
	p.Horizon = s.horizon
	st, err := decide.Begin(p, worldStart)
	if err != nil {
		return false, false, 0, 0, err
	}
	low, high := 0.0, 0.0
	for t := time.Duration(0); t < s.horizon; t += s.look {
		d, next, err := decide.Next(p, st, s.readings(t, share), allow, worldStart.Add(t+s.look))
		if err != nil {
			return false, false, 0, 0, err
		}
		st = next
		n := float64(d.Tests[0].Canary.Total)
		if d.Safe >= d.ShipAt {
			return held, n >= low && n <= high, said, n, nil
		}
		if d.Action.Kind == assay.ActionAbort {
			return false, false, 0, 0, nil // a false abort: nothing arrives
		}
		if t+s.look == 15*time.Minute {
			held = d.Remaining >= 0
			said, low, high = n+d.Remaining, n+d.RemLow, n+d.RemHigh
		}
	}
	return held, false, said, math.Inf(1), nil
}

// outages loses telemetry for ten minutes in the middle of rollouts, good and bad.
func (s *simulation) outages(log io.Writer) ([]result.Row, error) {
	runs := max(100, s.runs/10)
	got, err := s.each(runs, 500, func(rng *rand.Rand) (float64, error) {
		w := world{rps: 20, rate: 0.01, phi: 1, ratio: []float64{1, 1, 3, 10}[rng.IntN(4)], look: 10 * time.Second, horizon: 30 * time.Minute}
		return w.begin(rng).outage(worldPlan(), time.Duration(rng.IntN(600))*time.Second)
	})
	if err != nil {
		return nil, err
	}
	row := result.New("aborts and promotions during 10 minutes without telemetry", "per rollout", []float64{0}).Want("<=", 0)
	row.Ours, _ = meanSD(got)
	row.Holds, row.Rounds = row.Ours == 0, runs
	fmt.Fprintf(log, "%s: %.4f over %d rollouts\n", row.Name, row.Ours, runs)
	return []result.Row{row}, nil
}

// outage counts actions that change the world while nothing can be known. What the
// last readings decide, when they were fresh, is none.
func (s *simulated) outage(p decide.Plan, at time.Duration) (actions float64, err error) {
	st, err := decide.Begin(p, worldStart)
	if err != nil {
		return 0, err
	}
	for t := time.Duration(0); t < s.horizon && st.Phase == decide.Running; t += s.look {
		readings := s.readings(t, float64(st.Weight(p))/100)
		dark := t >= at && t < at+10*time.Minute
		if dark {
			readings = nil
		}
		now := worldStart.Add(t + s.look)
		d, next, err := decide.Next(p, st, readings, allow, now)
		if err != nil {
			return 0, err
		}
		// The newest event is still fresh for MaxAge after the lights went out.
		if dark && t+s.look > at+p.MaxAge && d.Action.Kind.Changes() {
			actions++
		}
		if st, err = next.Applied(p, d.Action, now); err != nil {
			return 0, err
		}
	}
	return actions, nil
}

// late measures faults that begin after 20 good minutes, with the evidence that begins
// again and without.
func (s *simulation) late(log io.Writer) ([]result.Row, error) {
	runs := max(100, s.runs/10)
	var means [2]float64
	for i, restarts := range []bool{true, false} {
		config := worldPlan().Comparison(worldPlan().Indicators[0])
		config.Lattice = nil
		if !restarts {
			config.Late = 0
		}
		k, err := infer.New(config)
		if err != nil {
			return nil, err
		}
		got, err := s.each(runs, 600, func(rng *rand.Rand) (float64, error) {
			w := world{rps: 100, rate: 0.01, phi: 1, ratio: 1.5, after: 20 * time.Minute, look: 5 * time.Second}
			return w.begin(rng).lateDelay(k)
		})
		if err != nil {
			return nil, err
		}
		means[i], _ = meanSD(got)
	}
	fmt.Fprintf(log, "a fault of 1.5 times after 20 minutes at 100 requests/s: %.0f canary requests with later beginnings, %.0f without\n", means[0], means[1])
	row := result.New("canary requests to abort, 1 to 1.5 % after 20 good minutes", "requests", []float64{means[0]}).
		Against("one beginning", []float64{means[0]}, []float64{means[1]}).WantRatio("<=", 1)
	row.Rounds = runs
	return []result.Row{row}, nil
}

// lateDelay is canary requests from the fault on until harm is shown.
func (s *simulated) lateDelay(k *infer.Comparison) (float64, error) {
	var st infer.State
	before := 0.0
	for t := time.Duration(0); ; t += s.look {
		r := s.readings(t, share)
		var err error
		if st, err = k.Update(st, infer.Pair{Treated: infer.Count{Events: r[0].Bad(), Exposure: r[0].Total}, Control: infer.Count{Events: r[1].Bad(), Exposure: r[1].Total}}); err != nil {
			return 0, err
		}
		n := float64(st.Treated.Exposure)
		if t+s.look == s.after {
			before = n
		}
		if k.Harm(st) >= math.Log(infer.Overshoot(share))-math.Log(alpha) && t >= s.after {
			return n - before, nil
		}
		if n > 1e7 {
			return 0, fmt.Errorf("the fault was not seen")
		}
	}
}

// fixed measures the error of a design with five looks.
func (s *simulation) fixed(log io.Writer) ([]result.Row, error) {
	var rows []result.Row
	for i, spending := range []infer.Spending{infer.OBrienFleming, infer.Pocock} {
		p := worldPlan()
		p.Fixed = &decide.FixedLooks{Requests: 6000, Looks: 5, Spending: spending}
		got, err := s.each(max(200, s.runs/5), uint64(700+i), func(rng *rand.Rand) (float64, error) {
			w := world{rps: 20, rate: 0.01, phi: 1}
			aborted, _, err := w.begin(rng).play(p)
			return float64(b2u(aborted)), err
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, rateRow(fmt.Sprintf("false aborts at 5 fixed looks, %s", spending), got, 1.5, "", log))
	}
	return rows, nil
}

const (
	// hourLooks is how many looks a rollout of cost has: an hour of them.
	hourLooks = 360
	// costHours is how often a round of cost decides its rollout: often enough for the
	// collector to run ten times and more.
	costHours = 10
	// costRounds is how many rounds there are at least.
	costRounds = 5
)

// cost measures what a decision costs, nothing beside it, and then on all processors that
// recorded ones come out the same.
func (s *simulation) cost(log io.Writer) ([]result.Row, error) {
	var means []float64
	for i := range max(costRounds, s.runs/1000) {
		mean, err := s.mean(i)
		if err != nil {
			return nil, err
		}
		means = append(means, mean)
	}
	rollouts := max(1, 10*s.runs/hourLooks+1)
	differ := make([]float64, rollouts)
	err := parallel(rollouts, func(i int) error {
		d, err := s.again(i)
		differ[i] = float64(d)
		return err
	})
	if err != nil {
		return nil, err
	}
	different, _ := meanSD(differ)
	different = math.Round(different * float64(rollouts))
	replayed := rollouts * hourLooks
	fmt.Fprintf(log, "a decision of 6 tests over 1,500 new requests: %.1f µs of processor time, collector included, the median of %d means of %d decisions (%.1f to %.1f); %.0f of %d replayed decisions differ\n",
		result.Median(means), len(means), costHours*hourLooks, slices.Min(means), slices.Max(means), different, replayed)
	same := result.New("recorded decisions that do not come out the same", "decisions", []float64{different}).Want("<=", 0)
	same.Rounds = replayed
	return []result.Row{result.New("CPU of a decision, 6 tests, 1,500 new requests", "µs", means).Want("<=", 50), same}, nil
}

// costPlan watches errors and five latency bounds.
func costPlan() decide.Plan {
	p := worldPlan()
	p.Indicators = append(p.Indicators, decide.Indicator{Name: "latency", Weight: 1, Required: true, Bounds: []float64{1, 2, 3, 4, 5}})
	return p
}

// mean is the processor time of one decision in µs: all that this process computed while it
// decided one rollout again and again, divided by its decisions. The collector's work is in
// it, and the garbage of the last decisions too, because the time ends with a collection.
// The readings are there before, and one rollout goes by uncounted: what a process does once
// is no part of a decision.
func (s *simulation) mean(n int) (float64, error) {
	p, hour := costPlan(), s.hour(n)
	nothing := func(int, decide.State, assay.Decision, decide.State) error { return nil }
	if err := decideAll(p, hour, nothing); err != nil {
		return 0, err
	}
	runtime.GC()
	began := cpu()
	for range costHours {
		if err := decideAll(p, hour, nothing); err != nil {
			return 0, err
		}
	}
	runtime.GC()
	return (cpu() - began).Seconds() * 1e6 / (costHours * hourLooks), nil
}

// again counts the recorded decisions of a rollout that do not come out the same.
func (s *simulation) again(n int) (differ int, err error) {
	p, hour := costPlan(), s.hour(n)
	return differ, decideAll(p, hour, func(i int, before decide.State, d assay.Decision, after decide.State) error {
		data, err := decide.Record{Plan: p, Before: before, Readings: hour[i], Now: d.Time, Decision: d, After: after}.Encode()
		if err != nil {
			return err
		}
		again, err := decide.Replay(data)
		differ += int(b2u(!again.Identical))
		return err
	})
}

// hour draws the readings of one rollout at 150 requests a second for an hour, by look.
func (s *simulation) hour(n int) [][]assay.Reading {
	w := world{rps: 150, rate: 0.01, phi: 1, look: hourLook}
	one := w.begin(rand.New(rand.NewPCG(s.seed, 800<<32|uint64(n))))
	out := make([][]assay.Reading, hourLooks)
	for i := range out {
		out[i] = withLatency(one, one.readings(time.Duration(i)*hourLook, share))
	}
	return out
}

// hourLook is the time between two looks of cost.
const hourLook = 10 * time.Second

// decideAll decides one rollout.
func decideAll(p decide.Plan, hour [][]assay.Reading, did func(look int, before decide.State, d assay.Decision, after decide.State) error) error {
	st, err := decide.Begin(p, worldStart)
	if err != nil {
		return err
	}
	for i, readings := range hour {
		d, next, err := decide.Next(p, st, readings, allow, worldStart.Add(time.Duration(i+1)*hourLook))
		if err != nil {
			return err
		}
		if err := did(i, st, d, next); err != nil {
			return err
		}
		st = next
	}
	return nil
}

func withLatency(s *simulated, errs []assay.Reading) []assay.Reading {
	out := errs
	for _, r := range errs {
		r.Indicator, r.Good = "latency", r.Total
		above, before := r.Total, 1.0
		for i, q := range exceed {
			above = binomial(s.rng, above, q/before)
			before = q
			r.Buckets = append(r.Buckets, assay.Bucket{LE: float64(i + 1), Count: r.Total - above})
		}
		out = append(out, r)
	}
	return out
}

// cpu is the time this process has computed.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
