package main

import (
	"time"

	"assay.dev/assay/peer"
)

// end is how a rollout came out.
type end int

const (
	running end = iota // at the end of the period: held
	aborted
	promoted
)

// controller decides one rollout. look takes what the interval that ends at t counted
// and returns the new version's share from now on; counts that telemetry lost are nil.
type controller interface {
	look(t time.Duration, canary, control *count) (share float64, e end, err error)
	// baseline reports whether the control is a group of the canary's size.
	baseline() bool
}

// contender is a controller of the scoreboard.
type contender struct {
	Name  string
	Rule  string // its configuration, in words
	begin func(*world) (controller, error)
}

// contenders are ours first and the oracle last.
func contenders() []contender {
	return []contender{
		{"Assay", "the default plan with an objective; calibrated on the last 12 hours of the old version; half of the traffic as soon as the step budget allows it, all of it when cleared", beginOurs},
		{"Argo Rollouts", "success rate of the last minute at least 99 %, ten times, three failures tolerated", func(w *world) (controller, error) { return beginArgo(w, 0.99), nil }},
		{"Argo tuned", "the same with 1.5 times the old version's true error rate allowed", func(w *world) (controller, error) { return beginArgo(w, tunedMin(w)), nil }},
		{"Flagger", "success rate at least 99 %, threshold 5, steps to 50 %", func(w *world) (controller, error) { return beginFlagger(w, 0.99), nil }},
		{"Flagger tuned", "the same with 1.5 times the old version's true error rate allowed", func(w *world) (controller, error) { return beginFlagger(w, tunedMin(w)), nil }},
		{"Kayenta", "a baseline of the canary's size, a value a minute, judged every hour for three hours", func(w *world) (controller, error) { return beginKayenta(w, false), nil }},
		{"Kayenta tuned", "a value every 10 seconds, judged every ten minutes for an hour, at least 1.5 times the errors", func(w *world) (controller, error) { return beginKayenta(w, true), nil }},
		{"oracle", "knows from the first request whether the version is bad", func(w *world) (controller, error) { return &oracle{w}, nil }},
	}
}

// tunedMin is the success rate that a team sets that knows its service: half as many
// errors again as the old version really has.
func tunedMin(w *world) float64 { return 1 - 1.5*w.Base }

// minute adds up ticks to what a query over the last minute answers.
type minute struct {
	counts []count
	lost   bool
}

// add returns true at the end of a minute, with the success rate, if there is one.
func (m *minute) add(t time.Duration, c *count) (done bool, rate []float64, lost bool) {
	if c == nil {
		m.lost = true
	} else {
		m.counts = append(m.counts, *c)
	}
	if t%time.Minute != 0 {
		return false, nil, false
	}
	var sum count
	for _, c := range m.counts {
		sum.bad += c.bad
		sum.total += c.total
	}
	lost = m.lost
	*m = minute{}
	if sum.total == 0 || lost {
		return true, nil, lost
	}
	return true, []float64{1 - float64(sum.bad)/float64(sum.total)}, false
}

// argo is a canary step of the first weight with an analysis run, then all traffic.
type argo struct {
	metric peer.ArgoMetric
	result peer.ArgoResult
	share  float64
	minute minute
}

func beginArgo(w *world, least float64) *argo {
	m := peer.ArgoSuccessRate()
	m.Success = func(v float64) bool { return v >= least }
	if bake := w.bake(); bake > 0 {
		m.Count = int(bake / time.Minute)
		m.FailureLimit = 3 * m.Count / 10
	}
	return &argo{metric: m, share: w.Weight}
}

func (a *argo) baseline() bool { return false }

func (a *argo) look(t time.Duration, canary, _ *count) (float64, end, error) {
	done, rate, lost := a.minute.add(t, canary)
	// An error is tried again after ten seconds, which is our tick.
	if lost || canary == nil {
		a.result = a.metric.Next(a.result, peer.ArgoSample{})
	} else if done {
		a.result = a.metric.Next(a.result, peer.ArgoSample{Values: rate})
	}
	return a.verdict()
}

func (a *argo) verdict() (float64, end, error) {
	switch peer.ArgoAction(peer.ArgoRun([]peer.ArgoResult{a.result})) {
	case "abort":
		return 0, aborted, nil
	case "continue":
		return 1, promoted, nil
	}
	return a.share, running, nil // waits, or a person must resume
}

// flagger walks from the first weight in steps of it to half of the traffic.
type flagger struct {
	analysis peer.FlaggerAnalysis
	state    peer.FlaggerState
	check    peer.FlaggerRange
	minute   minute
}

func beginFlagger(w *world, least float64) *flagger {
	a := peer.FlaggerDefault()
	a.StepWeight = int(100 * w.Weight)
	if bake := w.bake(); bake > 0 { // one weight a minute
		a.StepWeight, a.MaxWeight = 1, int(bake/time.Minute)
		a.Threshold = 15
	}
	f := &flagger{analysis: a, check: peer.FlaggerRange{Min: &least}}
	for f.state.Weight == 0 { // the clock starts with the first traffic
		f.state = a.Next(f.state, func() bool { return true })
	}
	return f
}

func (f *flagger) baseline() bool { return false }

func (f *flagger) look(t time.Duration, canary, _ *count) (float64, end, error) {
	if done, rate, _ := f.minute.add(t, canary); done {
		f.state = f.analysis.Next(f.state, func() bool { return f.check.OK(rate) })
	}
	return f.verdict()
}

func (f *flagger) verdict() (float64, end, error) {
	switch f.state.Phase {
	case peer.FlaggerFailed:
		return 0, aborted, nil
	case peer.FlaggerPromoting, peer.FlaggerFinalising, peer.FlaggerSucceeded:
		return 1, promoted, nil
	}
	return float64(f.state.Weight) / 100, running, nil
}

// kayenta is a canary stage with a growing window.
type kayenta struct {
	metric           peer.KayentaMetric
	stage            peer.KayentaThresholds
	every, life, bin time.Duration
	share            float64
	noise            func() float64
	canary, control  []float64
	sum              [2]count
}

func beginKayenta(w *world, tuned bool) *kayenta {
	k := &kayenta{
		metric: peer.KayentaErrors(), stage: peer.KayentaThresholds{Marginal: 75, Pass: 95},
		every: time.Hour, life: 3 * time.Hour, bin: time.Minute, share: min(w.Weight, 0.5), noise: w.rng.NormFloat64,
	}
	if tuned {
		k.every, k.life, k.bin = 10*time.Minute, time.Hour, 10*time.Second
		k.metric.AllowedIncrease = 1.5
	}
	return k
}

func (k *kayenta) baseline() bool { return true }

func (k *kayenta) look(t time.Duration, canary, control *count) (float64, end, error) {
	if canary != nil {
		for i, c := range []*count{canary, control} {
			k.sum[i].bad += c.bad
			k.sum[i].total += c.total
		}
	}
	if t%k.bin == 0 {
		k.canary = append(k.canary, float64(k.sum[0].bad)/float64(k.sum[0].total)) // NaN without requests
		k.control = append(k.control, float64(k.sum[1].bad)/float64(k.sum[1].total))
		k.sum = [2]count{}
	}
	return k.judge(t)
}

func (k *kayenta) judge(t time.Duration) (float64, end, error) {
	if t%k.every != 0 {
		return k.share, running, nil
	}
	result := k.metric.Classify(k.canary, k.control, k.noise)
	switch k.stage.Judge(peer.KayentaScore([]peer.KayentaResult{result}, nil), t >= k.life) {
	case "abort":
		return 0, aborted, nil
	case "promote":
		return 1, promoted, nil
	}
	return k.share, running, nil
}

// oracle needs no evidence.
type oracle struct{ w *world }

func (o *oracle) baseline() bool { return false }

func (o *oracle) look(t time.Duration, _, _ *count) (float64, end, error) {
	switch old, now := o.w.fails(t); {
	case now > old:
		return 0, aborted, nil
	case t < o.w.bake():
		return o.w.Weight, running, nil
	}
	return 1, promoted, nil
}
