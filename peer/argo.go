// Package peer ports the decision rules of other progressive-delivery controllers,
// exactly, so that they can be run beside ours on the same rates and compared.
//
// A port is a value with a next function: the caller measures, or simulates a
// measurement, and asks what the controller would conclude. Nothing here acts,
// waits or draws random numbers. Every rule cites the behaviour it copies, odd
// parts included: a port that is kinder than the original proves nothing.
package peer

import (
	"math"
	"time"
)

// Phase is the state of an Argo Rollouts measurement, metric or run.
type Phase string

const (
	Running      Phase = "Running"
	Successful   Phase = "Successful"
	Failed       Phase = "Failed"
	Inconclusive Phase = "Inconclusive"
	Errored      Phase = "Error"
)

// ArgoErrorRetry is the wait after a measurement that could not be taken. It is
// fixed in the controller and ignores the metric's interval (old versions used the
// interval where there was one).
const ArgoErrorRetry = 10 * time.Second

// ArgoMetric is the metric of an AnalysisTemplate, with the names it has there.
// Start from NewArgoMetric, which has the controller's defaults.
type ArgoMetric struct {
	Interval                time.Duration // 0: not given
	InitialDelay            time.Duration
	Count                   int // 0: not given
	FailureLimit            int // -1 disables
	InconclusiveLimit       int
	ConsecutiveErrorLimit   int
	ConsecutiveSuccessLimit int // 0 is off
	// Success and Failure are the two conditions on the first value of the
	// query's result; nil is not given.
	Success, Failure func(float64) bool
}

// NewArgoMetric has the defaults: no failure and no inconclusive measurement is
// tolerated, four errors in a row are.
func NewArgoMetric() ArgoMetric { return ArgoMetric{ConsecutiveErrorLimit: 4} }

// ArgoSuccessRate is the metric that the documentation shows: every minute ten
// times, at least 99 % good, three failures tolerated.
func ArgoSuccessRate() ArgoMetric {
	m := NewArgoMetric()
	m.Interval, m.Count, m.FailureLimit = time.Minute, 10, 3
	m.Success = func(v float64) bool { return v >= 0.99 }
	return m
}

// ArgoSample is what a query gave. No values, or Err, is a measurement error.
type ArgoSample struct {
	Values []float64
	Err    error
}

// Measure is the phase of one measurement. NaN satisfies no comparison: with only
// a failure condition such as "result < 0.95" it counts as a success, with only a
// success condition as a failure, with both as inconclusive. That is the
// controller's behaviour.
func (m ArgoMetric) Measure(s ArgoSample) Phase {
	conditions := m.Success != nil || m.Failure != nil
	switch {
	case s.Err != nil || conditions && len(s.Values) == 0:
		return Errored // "index out of range" of result[0]
	case !conditions:
		return Successful
	case m.Failure == nil:
		if m.Success(s.Values[0]) {
			return Successful
		}
		return Failed
	case m.Failure(s.Values[0]):
		return Failed
	case m.Success == nil || m.Success(s.Values[0]):
		return Successful
	}
	return Inconclusive
}

// ArgoResult is the state of a metric. The zero value has no phase yet and has
// measured nothing.
type ArgoResult struct {
	Phase              Phase
	Successful         int
	Failed             int
	Inconclusive       int
	Error              int
	Count              int // measurements that gave an answer; errors are not counted
	ConsecutiveError   int
	ConsecutiveSuccess int
}

// Done reports whether the metric has ended.
func (r ArgoResult) Done() bool { return r.Phase != "" && r.Phase != Running }

// Next counts one measurement and concludes; a metric that has ended stays as it is.
func (m ArgoMetric) Next(r ArgoResult, s ArgoSample) ArgoResult {
	if r.Done() {
		return r
	}
	phase := m.Measure(s)
	if phase == Errored {
		r.Error++
		r.ConsecutiveError++
		r.ConsecutiveSuccess = 0
	} else {
		r.Count++
		r.ConsecutiveError = 0
		switch phase {
		case Successful:
			r.Successful++
			r.ConsecutiveSuccess++
		case Failed:
			r.Failed++
			r.ConsecutiveSuccess = 0
		default:
			r.Inconclusive++
			r.ConsecutiveSuccess = 0
		}
	}
	r.Phase = m.conclude(r)
	return r
}

// conclude is the metric's phase after a measurement. The three limits are looked
// at in this order and a later one overrides an earlier one.
func (m ArgoMetric) conclude(r ArgoResult) Phase {
	var phase Phase
	if m.FailureLimit >= 0 && r.Failed > m.FailureLimit {
		phase = Failed
	}
	if r.Inconclusive > m.InconclusiveLimit {
		phase = Inconclusive
	}
	if r.ConsecutiveError > m.ConsecutiveErrorLimit {
		phase = Errored
	}
	if phase != "" {
		return phase
	}
	if m.ConsecutiveSuccessLimit > 0 && r.ConsecutiveSuccess >= m.ConsecutiveSuccessLimit {
		return Successful
	}
	if r.Count < m.effectiveCount() {
		return Running
	}
	switch {
	case m.ConsecutiveSuccessLimit == 0:
		return Successful
	case m.FailureLimit >= 0:
		return Inconclusive
	default:
		return Failed
	}
}

// effectiveCount is how many answers end the metric.
func (m ArgoMetric) effectiveCount() int {
	switch {
	case m.Count > 0:
		return m.Count
	case m.Interval == 0:
		return 1
	}
	return math.MaxInt
}

// Wait is how long the controller waits after r before it measures again; before
// the first measurement it is the initial delay.
func (m ArgoMetric) Wait(r ArgoResult) time.Duration {
	switch {
	case r.Phase == "":
		return m.InitialDelay
	case r.ConsecutiveError > 0:
		return ArgoErrorRetry
	}
	return m.Interval
}

// Terminate is what becomes of a metric that is still running when another one
// ends the run, or when the rollout ends: it counts as successful.
func (r ArgoResult) Terminate() ArgoResult {
	if !r.Done() {
		r.Phase = Successful
	}
	return r
}

// ArgoRun is the phase of a run: the worst of its metrics once one of them ended
// badly or all have ended, Running before. Metrics that still run are then
// terminated, in place.
func ArgoRun(metrics []ArgoResult) Phase {
	worst := func(p Phase) int {
		switch p {
		case Errored:
			return 3
		case Failed:
			return 4
		case Inconclusive:
			return 2
		case Successful:
			return 1
		}
		return 0
	}
	bad, running := false, false
	for _, r := range metrics {
		bad = bad || worst(r.Phase) > 1
		running = running || !r.Done()
	}
	if running && !bad {
		return Running
	}
	out := Successful
	for i := range metrics {
		metrics[i] = metrics[i].Terminate()
		if worst(metrics[i].Phase) > worst(out) {
			out = metrics[i].Phase
		}
	}
	return out
}

// ArgoAction is what the rollout does when its analysis run has this phase:
// "abort" (all traffic back), "pause" (a person must resume), "continue" or "wait".
func ArgoAction(run Phase) string {
	switch run {
	case Failed, Errored:
		return "abort"
	case Inconclusive:
		return "pause"
	case Successful:
		return "continue"
	}
	return "wait"
}
