package policy

import (
	"time"

	"assay.dev/assay/internal/strict"
)

// StrategyGuardrails hold where damping is mistaken: they look at every lever of the
// service, whichever law or strategy moved it. What is left out holds nothing back, for
// damping is the stricter for what a law moves smoothly.
type StrategyGuardrails struct {
	// MinInterval is the least time between two moves of one lever; 10s if left out.
	MinInterval Duration `json:"minInterval,omitempty"`
	// DeadTime is how long after any move of the service nothing else of it moves, because what that did cannot be seen yet; none if left out.
	DeadTime Duration `json:"deadTime,omitempty"`
	// Dwell is how long nothing must have been wrong before anything is given back; the law's own if left out.
	Dwell Duration `json:"dwell,omitempty"`
	// Band is the smallest move that is worth making, as a share of where the lever stands; any if left out.
	Band float64 `json:"band,omitempty"`
}

// bounds of guardrails and of exploring.
const (
	maxGuardTime = 24 * time.Hour
	maxBand      = 0.5
	maxExplore   = 0.01
)

// checkGuardrails checks what holds a strategy back, and whether it may draw.
func (s StrategySpec) checkGuardrails(d strict.Document) error {
	at := func(field ...string) []string { return append([]string{"spec"}, field...) }
	switch {
	case !(s.Explore >= 0 && s.Explore <= maxExplore):
		return d.Errorf(at("explore"), "is %v; expected 0 (never draw) to %v of the error budget", s.Explore, maxExplore)
	case s.Explore > 0 && s.Deterministic:
		return d.Errorf(at("explore"), "draws between actions, and deterministic forbids what rests on chance; remove one of them")
	case s.Explore > 0 && s.Cost != nil:
		return d.Errorf(at("explore"), "does nothing for the law cost: a cap is a rule, and rules are not drawn")
	}
	g := s.Guardrails
	if g == nil {
		return nil
	}
	under := func(field ...string) []string { return append(at("guardrails"), field...) }
	given := map[string]Duration{}
	for name, v := range map[string]Duration{"minInterval": g.MinInterval, "deadTime": g.DeadTime, "dwell": g.Dwell} {
		if v != "" {
			given[name] = v
		}
	}
	if err := durations(d, under, given); err != nil {
		return err
	}
	for _, name := range sortedKeys(given) {
		if v := given[name].Value(); v > maxGuardTime {
			return d.Errorf(under(name), "%q is longer than 24h: nothing would move for days", given[name])
		}
	}
	if g.MinInterval.Value() > 0 && g.MinInterval.Value() < time.Second {
		return d.Errorf(under("minInterval"), "%q is shorter than 1s, and nothing is decided more often", g.MinInterval)
	}
	if !(g.Band >= 0 && g.Band <= maxBand) {
		return d.Errorf(under("band"), "is %v; expected 0 to %v: a greater one lets no lever move", g.Band, maxBand)
	}
	return nil
}
