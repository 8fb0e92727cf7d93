package peer

import (
	"math"
	"time"
)

// HPA is the scaling rule of Kubernetes' HorizontalPodAutoscaler for one metric
// (pkg/controller/podautoscaler: replica_calculator.go, horizontal.go), with the
// default behaviour of autoscaling/v2. Start from NewHPA.
type HPA struct {
	Min, Max  int
	Target    float64 // of the metric per replica
	Tolerance float64
	Down      time.Duration // stabilisation window before scaling in
	Sync      time.Duration // how often the controller looks
}

// NewHPA has the controller's defaults: 10 % tolerance, scaling in only to the
// highest recommendation of 300 seconds, a look every 15 seconds.
func NewHPA(least, most int, target float64) HPA {
	return HPA{Min: least, Max: most, Target: target, Tolerance: 0.1, Down: 300 * time.Second, Sync: 15 * time.Second}
}

// Metric is the mean over all replicas of a metric that only the ready ones have. One that
// is starting counts as idle when the others ask for more, and as at its target when they
// ask for less; if that turns the direction round, nothing is asked for.
func (h HPA) Metric(mean float64, ready, current int) float64 {
	missing := float64(current - ready)
	if missing <= 0 || math.IsNaN(mean) {
		return mean
	}
	silent := 0.0
	if mean < h.Target {
		silent = h.Target
	}
	all := (float64(ready)*mean + missing*silent) / float64(current)
	if (all-h.Target)*(mean-h.Target) <= 0 {
		return h.Target
	}
	return all
}

// HPAState is what the controller remembers: its recommendations, and the replicas
// that it had set, for its limit on scaling out.
type HPAState struct {
	Recommended []HPAPoint
	Set         []HPAPoint
}

// HPAPoint is a number of replicas at a time.
type HPAPoint struct {
	At       time.Time
	Replicas int
}

// Next is the number of replicas from a metric's mean over the ready replicas, NaN if
// there is no value: then nothing changes. now must not go back. s is not changed.
func (h HPA) Next(s HPAState, current int, metric float64, now time.Time) (int, HPAState) {
	desired := current
	if ratio := metric / h.Target; !math.IsNaN(ratio) && math.Abs(ratio-1) > h.Tolerance {
		desired = int(min(math.Ceil(float64(current)*ratio), 1e9))
	}
	s.Recommended = append(since(s.Recommended, now.Add(-h.Down)), HPAPoint{now, desired})
	if desired < current { // scale in only as far as every recommendation of the window allows
		for _, r := range s.Recommended {
			desired = max(desired, r.Replicas)
		}
		desired = min(desired, current)
	}
	if desired > current { // at most double, or four more, in 15 seconds
		before := current
		s.Set = since(s.Set, now.Add(-15*time.Second))
		for _, p := range s.Set {
			before = min(before, p.Replicas)
		}
		desired = max(current, min(desired, max(2*before, before+4)))
	}
	desired = min(max(desired, h.Min), h.Max)
	s.Set = append(since(s.Set, now.Add(-15*time.Second)), HPAPoint{now, current})
	return desired, s
}

// since copies the points after a time.
func since(points []HPAPoint, from time.Time) []HPAPoint {
	var out []HPAPoint
	for _, p := range points {
		if p.At.After(from) {
			out = append(out, p)
		}
	}
	return out
}
