// Package act is how a decision reaches the world: one step, applied once, by its
// rightful owner, and read back.
//
// A decision names an assay.Action; whoever applies it adds an idempotency key
// (the same step is done once, however often it is asked for) and a fence (the
// generation of the owner: whoever took over is not undone by whoever lost). An
// Actuator carries that to one kind of world, says with its Class what it can
// promise there, and answers with what it saw afterwards, not with what it asked
// for. Adapters stand below: proxy drives the embedded proxy, sim a simulated
// world. Package acttest holds what all of them must do.
package act

import (
	"context"
	"time"

	"assay.dev/assay"
)

// Class is what an adapter can promise about repeating and racing actions.
type Class string

const (
	// Fenced refuses an older generation and repeats a key without effect.
	Fenced Class = "fenced"
	// Idempotent repeats a key without effect, but cannot refuse an older owner.
	Idempotent Class = "idempotent"
	// AtMostOnce can promise neither: a person approves each action, and one
	// whose answer is lost is not repeated.
	AtMostOnce Class = "at-most-once"
)

// Receipt is an adapter's answer to an action, after it read the world back.
type Receipt struct {
	Key      string    `json:"key"`
	Time     time.Time `json:"time"`             // when the world took it
	Observed int       `json:"observed"`         // share read back, percent
	Stands   float64   `json:"stands,omitempty"` // lever read back, in its unit
	Changed  bool      `json:"changed"`          // false: the world was already as desired
	Detail   string    `json:"detail,omitempty"` // what was done, for people
}

// Observation is how a service's traffic is divided, as the world says.
type Observation struct {
	Generation uint64         `json:"generation"` // of the last owner that acted, 0 for none
	Shares     map[string]int `json:"shares"`     // percent by version
	Time       time.Time      `json:"time"`
}

// Actuator changes one kind of world. It is safe for concurrent use.
type Actuator interface {
	// Apply gives a.Version the share a.Weight of the traffic of a.Service, and
	// returns when the world was read back as desired. a.From is the share that
	// the decision believed in.
	//
	// The same a.Key returns the first Receipt and does nothing, also after a
	// crash on either side, for as long as the world remembers keys; so Apply may
	// be repeated whenever its answer was lost. These change nothing:
	//
	//   - CodeInvalid: the action has no key or fence, or does not change anything
	//     (hold and ask are not for actuators);
	//   - CodeNotFound: the world has no such service or version;
	//   - CodeConflict: a newer generation owns the service, the share is neither
	//     a.From nor a.Weight, or the key was used for another action. Stop, and
	//     decide anew;
	//   - CodeDenied: the world refuses the version, for example for want of an
	//     attestation.
	//
	// CodeUnavailable says nothing about the world: it may have changed or not.
	// Repeat with the same key. Of concurrent calls that leave the same From with
	// different keys, exactly one succeeds unless they desire the same share.
	Apply(ctx context.Context, a assay.Action) (Receipt, error)
	// Observe reads how traffic is divided now. It changes nothing and may be
	// repeated; CodeNotFound if the world does not have the service.
	Observe(ctx context.Context, service string) (Observation, error)
	// Class says what the adapter can promise; it never changes.
	Class() Class
}

// Check refuses an action that no Actuator may apply; CodeInvalid.
func Check(a assay.Action) error {
	switch {
	case !a.Kind.Changes():
		return assay.Errorf(assay.CodeInvalid, "an action of kind %q changes nothing and is not for an actuator", a.Kind)
	case a.Service == "" || a.Version == "":
		return assay.Errorf(assay.CodeInvalid, "the action names no service or no version")
	case a.Key == "":
		return assay.Errorf(assay.CodeInvalid, "the action has no idempotency key")
	case a.Fence == 0:
		return assay.Errorf(assay.CodeInvalid, "the action has no fence; generations count from 1")
	case a.Weight < 0 || a.Weight > 100 || a.From < 0 || a.From > 100:
		return assay.Errorf(assay.CodeInvalid, "the action goes from %d to %d percent; expected 0 to 100", a.From, a.Weight)
	}
	return nil
}
