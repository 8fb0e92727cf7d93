package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/peer"
)

// Latencies of the old version are lognormal around 50 ms, so that its P99 is 0.32 s, and
// 1 in 500 is slower than the objective's half a second.
const (
	medianLatency = 0.05
	sigmaLatency  = 0.8
	objective     = 0.5
	slowPath      = 5 // times that a request of the slow path takes
)

// histogram are the bounds that telemetry counts at, in seconds; requests above the last
// one are counted after it.
var histogram = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}

// latencyCell is one setting of the latency table.
type latencyCell struct {
	Traffic float64 // requests per second of both versions, a tenth of them the new one's
	Times   float64 // all requests of the new version take so many times as long
	Slow    float64 // this share of them takes the slow path
}

func (c latencyCell) healthy() bool { return c.Times == 1 && c.Slow == 0 }

func (c latencyCell) String() string {
	switch {
	case c.healthy():
		return "none"
	case c.Slow > 0:
		return fmt.Sprintf("%g %% of requests take %d times as long", 100*c.Slow, slowPath)
	}
	return fmt.Sprintf("all requests take %g times as long", c.Times)
}

func latencyCells() (out []latencyCell) {
	for _, traffic := range []float64{10, 100} {
		out = append(out, latencyCell{traffic, 1, 0}, latencyCell{traffic, 1.2, 0}, latencyCell{traffic, 1.5, 0}, latencyCell{traffic, 1, 0.01}, latencyCell{traffic, 1, 0.05})
	}
	return out
}

// shares are how the requests of a version spread over the histogram.
func (c latencyCell) shares() []float64 {
	below := func(x float64) float64 {
		cdf := func(x float64) float64 {
			return 0.5 * math.Erfc(-math.Log(x/medianLatency/c.Times)/sigmaLatency/math.Sqrt2)
		}
		return (1-c.Slow)*cdf(x) + c.Slow*cdf(x/slowPath)
	}
	var out []float64
	before := 0.0
	for _, b := range histogram {
		out = append(out, below(b)-before)
		before = below(b)
	}
	return append(out, 1-before)
}

// spread is what one arm served in a stretch of time, by the histogram's buckets.
type spread []uint64

func drawSpread(rng *rand.Rand, requests float64, shares []float64) spread {
	out := make(spread, len(shares))
	for i, s := range shares {
		out[i] = poisson(rng, requests*s)
	}
	return out
}

func (s spread) plus(more spread) spread {
	if s == nil {
		s = make(spread, len(more))
	}
	for i, n := range more {
		s[i] += n
	}
	return s
}

// p99 is what a query for the 99th percentile answers: linear within the bucket, as
// Prometheus' histogram_quantile has it; NaN without requests.
func (s spread) p99() float64 {
	var total uint64
	for _, n := range s {
		total += n
	}
	rank, below, from := 0.99*float64(total), 0.0, 0.0
	for i, n := range s[:len(s)-1] {
		if below+float64(n) >= rank && total > 0 {
			return from + (histogram[i]-from)*(rank-below)/float64(n)
		}
		below, from = below+float64(n), histogram[i]
	}
	if total == 0 {
		return math.NaN()
	}
	return from
}

// latencyController decides one rollout by latency.
type latencyController interface {
	look(t time.Duration, canary, control spread) (share float64, e end, err error)
}

type latencyContender struct {
	Name, Rule string
	baseline   bool // compares with a group of the canary's size
	begin      func(rng *rand.Rand) (latencyController, error)
}

// oldP99 is what somebody who knows the service knows.
func oldP99() float64 {
	return drawSpread(rand.New(rand.NewPCG(1, 1)), 1e6, latencyCell{Times: 1}.shares()).p99()
}

func latencyContenders() []latencyContender {
	tuned := 1.25 * oldP99()
	return []latencyContender{
		{"Assay", "the default plan with errors and latency; bounds frozen from the last hour: P50, P90, P95, P99 and the objective", false, beginOurLatency},
		{"Argo Rollouts", "P99 of the last minute at most the objective, ten times, three failures tolerated", false, func(*rand.Rand) (latencyController, error) { return beginArgoLatency(objective), nil }},
		{"Argo tuned", "the same with 1.25 times the old version's true P99", false, func(*rand.Rand) (latencyController, error) { return beginArgoLatency(tuned), nil }},
		{"Flagger", "P99 at most the objective, threshold 5, steps to 50 %", false, func(*rand.Rand) (latencyController, error) { return beginFlaggerLatency(objective), nil }},
		{"Flagger tuned", "the same with 1.25 times the old version's true P99", false, func(*rand.Rand) (latencyController, error) { return beginFlaggerLatency(tuned), nil }},
		{"Kayenta", "P99 of each minute against a baseline of the canary's size, judged every hour for three hours", true, func(rng *rand.Rand) (latencyController, error) { return beginKayentaLatency(rng, false), nil }},
		{"Kayenta tuned", "P99 of every 10 seconds, judged every ten minutes for an hour, at least 1.1 times", true, func(rng *rand.Rand) (latencyController, error) { return beginKayentaLatency(rng, true), nil }},
	}
}

// ourLatency is decide.Next with two indicators: errors, which are the same in both
// versions, and latency.
type ourLatency struct {
	plan  decide.Plan
	state decide.State
	rng   *rand.Rand
	at    time.Duration
}

func beginOurLatency(rng *rand.Rand) (latencyController, error) {
	past := drawSpread(rng, 36_000, latencyCell{Times: 1}.shares())
	var bounds []infer.Bound
	total := uint64(0)
	for i, le := range histogram {
		total += past[i]
		bounds = append(bounds, infer.Bound{LE: le, Count: total})
	}
	total += past[len(histogram)]
	frozen, err := infer.Freeze(bounds, total, []float64{0.5, 0.9, 0.95, 0.99}, objective)
	if err != nil {
		return nil, err
	}
	p := plan(cell{Weight: 0.1})
	i := decide.Indicator{Name: "latency", Weight: 1, Required: true}
	for _, f := range frozen {
		i.Bounds = append(i.Bounds, f.LE)
	}
	p.Indicators = append(p.Indicators, i)
	s, err := decide.Begin(p, epoch)
	return &ourLatency{plan: p, state: s, rng: rng}, err
}

func (o *ourLatency) look(t time.Duration, canary, control spread) (float64, end, error) {
	from, to := epoch.Add(o.at), epoch.Add(t)
	var readings []assay.Reading
	for i, arm := range []spread{canary, control} {
		total := uint64(0)
		var buckets []assay.Bucket
		for j, le := range histogram {
			total += arm[j]
			buckets = append(buckets, assay.Bucket{LE: le, Count: total})
		}
		total += arm[len(histogram)]
		r := reading([]string{"v2", "v1"}[i], count{min(poisson(o.rng, 0.005*float64(total)), total), total}, from, to)
		readings = append(readings, r)
		r.Indicator, r.Good, r.Buckets = "latency", total, buckets
		readings = append(readings, r)
	}
	o.at = t
	d, next, err := decide.Next(o.plan, o.state, readings, pass, to)
	if err != nil {
		return 0, running, err
	}
	if o.state, err = next.Applied(o.plan, d.Action, to); err != nil {
		return 0, running, err
	}
	switch o.state.Phase {
	case decide.Aborted:
		return 0, aborted, nil
	case decide.Finished:
		return 1, promoted, nil
	}
	return float64(o.state.Weight(o.plan)) / 100, running, nil
}

// minuteOf adds ticks up to what a query over the last minute answers.
type minuteOf struct{ sum spread }

func (m *minuteOf) add(t time.Duration, s spread) (values []float64, done bool) {
	m.sum = m.sum.plus(s)
	if t%time.Minute != 0 {
		return nil, false
	}
	v := m.sum.p99()
	m.sum = nil
	if math.IsNaN(v) {
		return nil, true
	}
	return []float64{v}, true
}

type argoLatency struct {
	argo
	minute minuteOf
}

func beginArgoLatency(most float64) *argoLatency {
	m := peer.ArgoSuccessRate()
	m.Success = func(v float64) bool { return v <= most }
	return &argoLatency{argo: argo{metric: m, share: 0.1}}
}

func (a *argoLatency) look(t time.Duration, canary, _ spread) (float64, end, error) {
	if values, done := a.minute.add(t, canary); done {
		a.result = a.metric.Next(a.result, peer.ArgoSample{Values: values})
	}
	return a.verdict()
}

type flaggerLatency struct {
	flagger
	minute minuteOf
}

func beginFlaggerLatency(most float64) *flaggerLatency {
	f := beginFlagger(&world{cell: cell{Weight: 0.1}}, 0)
	f.check = peer.FlaggerRange{Max: &most}
	return &flaggerLatency{flagger: *f}
}

func (f *flaggerLatency) look(t time.Duration, canary, _ spread) (float64, end, error) {
	if values, done := f.minute.add(t, canary); done {
		f.state = f.analysis.Next(f.state, func() bool { return f.check.OK(values) })
	}
	return f.verdict()
}

type kayentaLatency struct {
	kayenta
	sums [2]spread
}

func beginKayentaLatency(rng *rand.Rand, tuned bool) *kayentaLatency {
	k := beginKayenta(&world{cell: cell{Weight: 0.1}, rng: rng}, tuned)
	k.metric = peer.NewKayentaMetric("latency", "latency")
	k.metric.Direction = peer.Increase
	if tuned {
		k.metric.AllowedIncrease = 1.1
	}
	return &kayentaLatency{kayenta: *k}
}

func (k *kayentaLatency) look(t time.Duration, canary, control spread) (float64, end, error) {
	k.sums[0], k.sums[1] = k.sums[0].plus(canary), k.sums[1].plus(control)
	if t%k.bin == 0 {
		k.canary, k.control = append(k.canary, k.sums[0].p99()), append(k.control, k.sums[1].p99())
		k.sums = [2]spread{}
	}
	return k.judge(t)
}

// latencyRow is what a contender did in one cell.
type latencyRow struct {
	latencyCell
	contender               int
	runs, aborted, promoted int
	seconds, requests       moments // of the new version until an abort
}

// latencies plays every cell under every contender.
func latencies(seed uint64, healthy, bad int) ([]latencyRow, error) {
	list := latencyContenders()
	var out []latencyRow
	for _, c := range latencyCells() {
		for k := range list {
			runs := bad
			if c.healthy() {
				runs = healthy
			}
			out = append(out, latencyRow{latencyCell: c, contender: k, runs: runs})
		}
	}
	return out, parallel(len(out), func(i int) error {
		row := &out[i]
		for run := range row.runs {
			rng := stream(seed, 5000+i/len(list), row.contender, run)
			e, at, requests, err := playLatency(rng, row.latencyCell, list[row.contender])
			if err != nil {
				return err
			}
			switch e {
			case aborted:
				row.aborted++
				row.seconds.add(at.Seconds())
				row.requests.add(requests)
			case promoted:
				row.promoted++
			}
		}
		return nil
	})
}

func playLatency(rng *rand.Rand, c latencyCell, by latencyContender) (e end, at time.Duration, requests float64, err error) {
	k, err := by.begin(rng)
	if err != nil {
		return running, 0, 0, err
	}
	old, now, share := latencyCell{Times: 1}.shares(), c.shares(), 0.1
	for t := time.Duration(0); t < period; {
		d := step(t)
		if by.Name == "Kayenta tuned" {
			d = tick
		}
		n := c.Traffic * d.Seconds()
		rest := n * (1 - share)
		if by.baseline {
			rest = n * share
		}
		requests += n * share
		canary, control := drawSpread(rng, n*share, now), drawSpread(rng, rest, old)
		t += d
		if share, e, err = k.look(t, canary, control); err != nil || e != running {
			return e, t, requests, err
		}
	}
	return running, period, requests, nil
}

// latencyRows are the measures of ours that have a target.
func latencyRows(rows []latencyRow) (out []result.Row) {
	worst, missed, runs, bad := 0.0, 0.0, 0, 0
	for _, r := range rows {
		switch {
		case r.contender != 0:
		case r.healthy():
			worst, runs = max(worst, float64(r.aborted)/float64(r.runs)), r.runs
		case r.Traffic >= 100:
			missed, bad = max(missed, float64(r.promoted)/float64(r.runs)), r.runs
		}
	}
	if runs == 0 {
		return nil
	}
	one := func(name string, v float64, n int) result.Row {
		row := result.New(name, "%", []float64{100 * v})
		row.Rounds = n
		return row
	}
	return []result.Row{
		one("latency: false aborts, worst healthy setting", worst, runs).Want("<=", 100*alpha),
		one("latency: promoted regressions, worst of four at 100 requests/s", missed, bad),
	}
}

func latencyTable(b *strings.Builder, rows []latencyRow) {
	if len(rows) == 0 {
		return
	}
	list := latencyContenders()
	fmt.Fprintf(b, "\n## Latency regressions\n\nErrors stay as they are. The old version's latency is lognormal around %g ms with a P99 of %.2g s; telemetry has a histogram of %d bounds. Percent aborted / percent promoted / mean seconds until the abort, of %d healthy or %d bad rollouts that are followed for three hours; what is missing to 100 is held. Latency bounds weigh %g %% of what errors weigh in ours, so a regression of latency alone takes longer than one of errors; a regression that doubles the odds at none of the bounds is within our margin, and may be accepted on purpose.\n\n",
		1000*medianLatency, oldP99(), len(histogram), rows[0].runs, rows[len(rows)-1].runs, 12.0)
	result.Head(b, "controller", "configuration")
	for _, c := range list {
		result.Line(b, c.Name, c.Rule)
	}
	b.WriteString("\n")
	names := []string{"requests/s", "regression"}
	for _, c := range list {
		names = append(names, c.Name)
	}
	result.Head(b, names...)
	for group := range slices.Chunk(rows, len(list)) {
		row := []string{result.Figure(group[0].Traffic), group[0].latencyCell.String()}
		for _, r := range group {
			share := func(n int) string { return result.Figure(100 * float64(n) / float64(r.runs)) }
			row = append(row, fmt.Sprintf("%s / %s / %s", share(r.aborted), share(r.promoted), result.Figure(r.seconds.mean())))
		}
		result.Line(b, row...)
	}
}
