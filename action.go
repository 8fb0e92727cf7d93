package assay

import "time"

// ActionKind is what an action does to a rollout.
type ActionKind string

const (
	ActionHold    ActionKind = "hold"    // leave everything as it is and look again when data arrive
	ActionAdvance ActionKind = "advance" // give the new version the next, larger share of the traffic
	ActionFinish  ActionKind = "finish"  // give the new version all the traffic; ends the rollout
	ActionAbort   ActionKind = "abort"   // take all traffic from the new version; ends the rollout
	ActionAsk     ActionKind = "ask"     // leave everything as it is and ask a person
)

// Changes reports whether the action changes the world; hold and ask do not.
func (k ActionKind) Changes() bool { return k != ActionHold && k != ActionAsk }

// Action is one step that an adapter may take. Whoever applies it sets Key and
// Fence; the decision leaves them empty.
type Action struct {
	Kind    ActionKind `json:"kind"`
	Service string     `json:"service"`
	Version string     `json:"version"` // that gets or loses the traffic
	From    int        `json:"from"`    // its share before, percent
	Weight  int        `json:"weight"`  // its desired share, percent

	Key   string `json:"key,omitempty"`   // idempotency key: the same key is applied once
	Fence uint64 `json:"fence,omitempty"` // generation of the owner; an older one is refused
}

// GuardVerdict is what one guard says to a proposed action. Anything but pass
// forbids it; absent means that the guard could not know.
type GuardVerdict struct {
	Guard   string     `json:"guard"`
	Action  ActionKind `json:"action"`
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
}
