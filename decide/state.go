package decide

import (
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// Phase is where a rollout stands.
type Phase string

const (
	Running  Phase = "running"
	Finished Phase = "finished"
	Aborted  Phase = "aborted"
)

// State is everything that a plan's decisions remember. It is a value: the caller
// stores it and hands it back. Begin makes the first one.
type State struct {
	Phase     Phase     `json:"phase"`
	Step      int       `json:"step"` // index into Plan.Steps
	Began     time.Time `json:"began"`
	StepBegan time.Time `json:"step_began"`
	// Shown is since when safety has been shown without a break, in plans whose steps may
	// go ahead of it: the last step waits for as long after it as after the one before.
	Shown time.Time `json:"shown,omitzero"`
	// Watches are the plan's indicators, in its order.
	Watches []Watch `json:"watches"`

	// said is what the plan's tests said of Watches when Next made the state: the next
	// decision begins with it. It is no part of the state, and whoever reads one from outside
	// has none: then the same numbers are reckoned again.
	said []said
}

// Watch is what is remembered of one indicator.
type Watch struct {
	Through      time.Time `json:"through"`    // readings up to here are in the evidence
	EventTime    time.Time `json:"event_time"` // newest event, of the arm that is further behind
	Completeness float64   `json:"completeness"`
	// Instead is why the newest readings are of the second source, empty if they are of the first.
	Instead string `json:"instead,omitempty"`
	// StepRequests are canary requests since the step began.
	StepRequests uint64 `json:"step_requests"`
	// StepControl are the old version's since then.
	StepControl uint64 `json:"step_control,omitempty"`
	// Tests are the evidence: one State, or one per bound or class.
	Tests []infer.State `json:"tests"`
	// Bursts are what the old version's counts say about bursts, one per test, since
	// the rollout began; none when the plan wants exact bounds.
	Bursts []Bursts `json:"bursts,omitempty"`
	// Strata are the requests of both versions by stratum, if readings have strata.
	Strata []assay.Stratum `json:"strata,omitempty"`
	// Carry are the parts of units that a KindValue has not counted yet.
	Carry [2]float64 `json:"carry,omitzero"`
	// Gathered is what was had of a KindGauge since the last bet, and Wander what the old
	// version's values say about how they hang together in time.
	Gathered *Gathered     `json:"gathered,omitempty"`
	Wander   *infer.Wander `json:"wander,omitempty"`
	// Replicas are the old version's replicas that were compared last, by name.
	Replicas []string `json:"replicas,omitempty"`
	// Looks is how many looks of a fixed design were taken.
	Looks int `json:"looks,omitempty"`
}

// Bursts are what one test has learned about bursts.
type Bursts struct {
	// Learned is the old version's dispersion.
	Learned infer.Dispersion `json:"learned"`
	// Worst is how many events of the new version one reading had at the most.
	Worst uint64 `json:"worst,omitempty"`
	// Spread is the new version's dispersion, of tests without a bound; nil if nothing was
	// seen. Evidence is not divided by it: it says whether harm may rest on a few bursts.
	Spread *infer.Dispersion `json:"spread,omitempty"`
	// Stretch is what is being counted; nil between two, as most readings leave it.
	*Stretch
	// Whole is the dispersion in time of all replicas of the old version together, of what hits
	// them at once, too; nil unless they are told apart.
	Whole *infer.Dispersion `json:"whole,omitempty"`
	// Visit is the new version's busiest stretch, of counts and values.
	Visit *Visit `json:"visit,omitempty"`
}

// Stretch is a stretch of time that is not long enough yet to be learned from.
type Stretch struct {
	Slot   infer.Count `json:"slot,omitzero"`   // of the old version
	Canary infer.Count `json:"canary,omitzero"` // of the new one
	Began  time.Time   `json:"began,omitzero"`
	// Beside is Slot by replica, if they are told apart.
	Beside infer.Slot `json:"beside,omitempty"`
}

// Begin is the state of a rollout whose canary just got the first step's share.
// Readings of before now are not evidence.
func Begin(p Plan, now time.Time) (State, error) {
	if err := p.Check(); err != nil {
		return State{}, err
	}
	s := State{Phase: Running, Began: now.UTC(), StepBegan: now.UTC()}
	for _, i := range p.Indicators {
		s.Watches = append(s.Watches, Watch{Through: now.UTC(), Tests: make([]infer.State, i.slots())})
	}
	return s, nil
}

// Weight is the canary's share of traffic in percent.
func (s State) Weight(p Plan) int {
	switch {
	case s.Phase == Aborted:
		return 0
	case s.Phase == Finished:
		return 100
	}
	return p.Steps[s.Step]
}

// Applied is the state after an action was read back from the world. The evidence
// stays: it speaks of the version, not of its share.
func (s State) Applied(p Plan, a assay.Action, now time.Time) (State, error) {
	s.Watches = slices.Clone(s.Watches)
	switch a.Kind {
	case assay.ActionHold, assay.ActionAsk:
		return s, nil
	case assay.ActionAbort:
		s.Phase = Aborted
	case assay.ActionFinish:
		s.Phase, s.Step = Finished, len(p.Steps)-1
	case assay.ActionAdvance:
		i := slices.Index(p.Steps, a.Weight)
		if i != s.Step+1 || s.Phase != Running {
			return s, assay.Errorf(assay.CodeConflict, "an advance to %d %% does not follow step %d of %v", a.Weight, s.Step, p.Steps)
		}
		s.Step = i
	default:
		return s, assay.Errorf(assay.CodeInvalid, "action %q is not one of hold, advance, finish, abort, ask", a.Kind)
	}
	s.StepBegan = now.UTC()
	for i := range s.Watches {
		w := &s.Watches[i]
		w.StepRequests, w.StepControl = 0, 0
		w.Tests = slices.Clone(w.Tests)
		for t := range w.Tests {
			w.Tests[t] = w.Tests[t].Close() // the share changes: what follows is another block
		}
	}
	return s, nil
}

// check refuses a state that does not belong to p and its tests.
func (s State) check(p Plan, tests []test) error {
	if s.Step < 0 || s.Step >= len(p.Steps) || len(s.Watches) != len(p.Indicators) {
		return assay.Errorf(assay.CodeConflict, "state of %d indicators at step %d does not belong to plan %q", len(s.Watches), s.Step, p.Name)
	}
	for i, w := range s.Watches {
		if len(w.Tests) != p.Indicators[i].slots() || len(w.Bursts) != 0 && len(w.Bursts) != len(w.Tests) {
			return assay.Errorf(assay.CodeConflict, "state of %s has %d tests and does not belong to plan %q", p.Indicators[i].Name, len(w.Tests), p.Name)
		}
	}
	for _, t := range tests {
		if err := t.comparison.Check(s.Watches[t.indicator].Tests[t.slot]); err != nil {
			return err
		}
	}
	return nil
}

// clone copies s so that Next never changes what the caller holds: what a Watch points to
// is replaced and never changed.
func (s State) clone() State {
	s.Watches = slices.Clone(s.Watches)
	return s
}
