package peer

import "math"

// FlaggerPhase is where a Flagger canary stands.
type FlaggerPhase string

const (
	FlaggerProgressing FlaggerPhase = "Progressing"
	FlaggerPromoting   FlaggerPhase = "Promoting"
	FlaggerFinalising  FlaggerPhase = "Finalising"
	FlaggerSucceeded   FlaggerPhase = "Succeeded"
	FlaggerFailed      FlaggerPhase = "Failed"
)

// FlaggerAnalysis is the analysis of a Canary with progressive traffic, as
// scheduler.go of fluxcd/flagger runs it. Weights are in percent.
type FlaggerAnalysis struct {
	Threshold  int // failed checks that roll back; 0 is the default, 1
	MaxWeight  int // 0: the last of StepWeights, or 100
	StepWeight int
	// StepWeights are the weights themselves, used when StepWeight is 0.
	StepWeights []int
	// StepWeightPromotion is how traffic goes back to the new primary; 0 is at once.
	StepWeightPromotion int
}

// FlaggerDefault is what the documentation shows: five failed checks, 10 % steps to 50 %.
func FlaggerDefault() FlaggerAnalysis {
	return FlaggerAnalysis{Threshold: 5, MaxWeight: 50, StepWeight: 10}
}

// FlaggerRange is a metric's thresholdRange; nil is open.
type FlaggerRange struct {
	Min, Max *float64
}

// OK reports whether a query's result passes. Of several series the last counts; no
// value and NaN fail.
func (r FlaggerRange) OK(values []float64) bool {
	if len(values) == 0 || math.IsNaN(values[len(values)-1]) {
		return false
	}
	v := values[len(values)-1]
	return (r.Min == nil || v >= *r.Min) && (r.Max == nil || v <= *r.Max)
}

// FlaggerState is what the controller keeps in the Canary's status and its router.
// The zero value is a canary whose new revision was just seen.
type FlaggerState struct {
	Phase        FlaggerPhase
	Weight       int // of the canary
	FailedChecks int
}

// Done reports whether the rollout has ended.
func (s FlaggerState) Done() bool { return s.Phase == FlaggerSucceeded || s.Phase == FlaggerFailed }

// Next is one tick of the analysis interval. ok says whether all checks of this tick
// passed; it is only asked while traffic is routed. A failed check is never forgiven
// by a good one, a rollback comes one tick after the last failure, and nothing is
// checked any more once promotion began: that is the controller's behaviour.
func (a FlaggerAnalysis) Next(s FlaggerState, ok func() bool) FlaggerState {
	switch s.Phase {
	case "": // scales the new revision up; traffic comes with the next tick
		s.Phase = FlaggerProgressing
		return s
	case FlaggerPromoting:
		s.Weight -= a.StepWeightPromotion
		if a.StepWeightPromotion == 0 || s.Weight <= 0 {
			s.Phase, s.Weight = FlaggerFinalising, 0
		}
		return s
	case FlaggerFinalising:
		s.Phase = FlaggerSucceeded
		return s
	case FlaggerSucceeded, FlaggerFailed:
		return s
	}
	if s.FailedChecks >= max(1, a.Threshold) {
		return FlaggerState{Phase: FlaggerFailed, FailedChecks: s.FailedChecks}
	}
	if s.Weight > 0 && !ok() {
		s.FailedChecks++
		return s
	}
	step := a.next(s.Weight)
	switch {
	case step <= 0: // no steps declared: nothing advances
	case s.Weight < a.max():
		s.Weight = min(s.Weight+step, 100)
	default:
		s.Phase = FlaggerPromoting // the primary becomes the new version
	}
	return s
}

func (a FlaggerAnalysis) max() int {
	switch {
	case len(a.StepWeights) > 0:
		return min(100, a.StepWeights[len(a.StepWeights)-1])
	case a.MaxWeight > 0:
		return a.MaxWeight
	}
	return 100
}

// next is how much weight the next step adds.
func (a FlaggerAnalysis) next(weight int) int {
	if a.StepWeight > 0 || len(a.StepWeights) == 0 {
		return a.StepWeight
	}
	most := 100 - weight
	if most == 0 {
		return 1 // any step above 0 promotes
	}
	if weight == 0 {
		return min(most, a.StepWeights[0])
	}
	for i, w := range a.StepWeights[:len(a.StepWeights)-1] {
		if w == weight {
			return min(most, a.StepWeights[i+1]-weight)
		}
	}
	return most
}
