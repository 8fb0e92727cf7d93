package act

import (
	"context"
	"fmt"
	"math"

	"assay.dev/assay"
)

// AnyScope stands, in what Levers answers, for every scope of a lever that is not
// named: a door cannot list the tenants and sources that it has not met.
const AnyScope = "*"

// Deposed is the refusal of a fence: somebody who took over later has acted already.
// It comes inside an assay.Error of CodeConflict. Whoever gets it stops acting; no
// repetition helps.
type Deposed struct {
	Fence uint64 // of the action
	Owner uint64 // the generation that acted last
}

// Error implements error.
func (d *Deposed) Error() string {
	return fmt.Sprintf("generation %d is older than %d, which owns the lever now", d.Fence, d.Owner)
}

// LeverAt is where a lever stands.
type LeverAt struct {
	Lever assay.Lever `json:"lever"`
	Scope string      `json:"scope,omitempty"`
	Value float64     `json:"value"` // in the lever's unit
}

// Levers is what an Actuator can be asked beside if it moves more than shares of
// traffic. Its Apply then takes actions of other levers too, with the contract that it
// has for shares: Now and Want stand for From and Weight, and Receipt.Stands is what
// was read back.
type Levers interface {
	// Levers reads where the levers of a service stand; none if the world knows the
	// service and no lever of it. CodeNotFound if it does not know the service.
	Levers(ctx context.Context, service string) ([]LeverAt, error)
}

// CheckLever refuses an action that no Actuator may apply to a lever; CodeInvalid.
func CheckLever(a assay.Action) error {
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	switch {
	case !a.Kind.Changes():
		return assay.Errorf(assay.CodeInvalid, "an action of kind %q changes nothing and is not for an actuator", a.Kind)
	case a.Service == "" || a.Lever == "" || a.Lever == assay.LeverShare:
		return assay.Errorf(assay.CodeInvalid, "the action names no service or no lever")
	case a.Key == "":
		return assay.Errorf(assay.CodeInvalid, "the action has no idempotency key")
	case a.Fence == 0:
		return assay.Errorf(assay.CodeInvalid, "the action has no fence; generations count from 1")
	case !finite(a.Now) || !finite(a.Want) || a.Want < 0:
		return assay.Errorf(assay.CodeInvalid, "the action moves %s from %v to %v", a.Target(), a.Now, a.Want)
	}
	return nil
}
