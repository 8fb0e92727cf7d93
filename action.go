package assay

import "time"

// ActionKind is what an action does to a rollout or to a lever.
type ActionKind string

const (
	ActionHold    ActionKind = "hold"    // leave everything as it is and look again when data arrive
	ActionAdvance ActionKind = "advance" // give the new version the next, larger share of the traffic
	ActionFinish  ActionKind = "finish"  // give the new version all the traffic; ends the rollout
	ActionAbort   ActionKind = "abort"   // take all traffic from the new version; ends the rollout
	ActionAsk     ActionKind = "ask"     // leave everything as it is and ask a person
	ActionAdjust  ActionKind = "adjust"  // move a lever away from where it rests
	ActionRestore ActionKind = "restore" // move a lever back: give again what was taken
	ActionStop    ActionKind = "stop"    // move a lever to its hard cap; rests on no model
	ActionPage    ActionKind = "page"    // leave everything as it is and wake a person
)

// Changes reports whether the action changes the world; hold, ask and page do not.
func (k ActionKind) Changes() bool { return k != ActionHold && k != ActionAsk && k != ActionPage }

// Lever is what an action moves. The unit of Now and Want is the lever's.
type Lever string

const (
	LeverShare       Lever = "share"           // percent of a service's traffic that Version gets
	LeverReplicas    Lever = "replicas"        // instances; Scope is the region, if it has several
	LeverRateLimit   Lever = "rate-limit"      // requests a second; Scope is the route or class
	LeverConcurrency Lever = "concurrency"     // requests at once
	LeverClass       Lever = "class-admission" // percent of a class's requests that are let in; Scope is the class
	LeverRegion      Lever = "region-share"    // percent of the traffic that a region gets; Scope is the region
	LeverQuota       Lever = "tenant-quota"    // requests a second; Scope is the tenant
	LeverQuarantine  Lever = "quarantine"      // 1 cuts Scope off, 0 lets it in again
	LeverSpend       Lever = "spend"           // money a day, in the declared currency
	LeverCostClass   Lever = "cost-class"      // 0 is the dearest class, more are cheaper
	LeverRetention   Lever = "retention"       // days
)

// Action is one step that an adapter may take. Whoever applies it sets Key and
// Fence; the decision leaves them empty.
type Action struct {
	Kind    ActionKind `json:"kind"`
	Service string     `json:"service"`
	Version string     `json:"version"` // that gets or loses the traffic
	From    int        `json:"from"`    // its share before, percent
	Weight  int        `json:"weight"`  // its desired share, percent

	// A lever other than a share of traffic says what moves, where, and from what to what.
	Lever Lever   `json:"lever,omitempty"`
	Scope string  `json:"scope,omitempty"` // region, tenant, class, route
	Now   float64 `json:"now,omitempty"`   // in the lever's unit
	Want  float64 `json:"want,omitempty"`  // in the lever's unit

	Key   string `json:"key,omitempty"`   // idempotency key: the same key is applied once
	Fence uint64 `json:"fence,omitempty"` // generation of the owner; an older one is refused
}

// Target is what an action moves, for example "replicas" or "region-share/eu"; empty
// for a share of traffic without a lever.
func (a Action) Target() string {
	if a.Scope == "" {
		return string(a.Lever)
	}
	return string(a.Lever) + "/" + a.Scope
}

// GuardVerdict is what one guard says to a proposed action. Anything but pass
// forbids it; absent means that the guard could not know.
type GuardVerdict struct {
	Guard   string     `json:"guard"`
	Action  ActionKind `json:"action"`
	Target  string     `json:"target,omitempty"` // what the action would move, if several were proposed
	Want    float64    `json:"want,omitempty"`   // to where
	Outcome Outcome    `json:"outcome"`
	Reason  string     `json:"reason,omitempty"`
}

// Effect is what an action did, judged after its window.
type Effect string

const (
	EffectHelped       Effect = "helped"
	EffectHarmed       Effect = "harmed"
	EffectNone         Effect = "no-effect"
	EffectInconclusive Effect = "inconclusive"
	EffectConfounded   Effect = "confounded" // another change fell into the window
)

// ActionOutcome closes the loop of one action: what was read after it. (Outcome
// is the answer of a gate.)
type ActionOutcome struct {
	Action Action    `json:"action"`
	Time   time.Time `json:"time"` // when it was judged
	Effect Effect    `json:"effect"`
	Reason string    `json:"reason"` // one sentence with the numbers

	// Change is by how much the indicator is lower (better) or higher than it would
	// have been, in its unit, with the ends of its interval; absent if nothing could be said.
	Change   *float64   `json:"change,omitempty"`
	Interval [2]float64 `json:"interval,omitzero"`
	// Hypothesis is what the action was taken for; empty for a rollout.
	Hypothesis string `json:"hypothesis,omitempty"`
}
