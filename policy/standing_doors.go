package policy

import (
	"slices"
	"strconv"

	"assay.dev/assay"
)

// ProxyDoor is the door that moves what a strategy names no door for: the embedded
// proxy, where the installation has one.
const ProxyDoor = "proxy"

// proxied are the levers that the embedded proxy can have.
var proxied = []assay.Lever{
	assay.LeverShare, assay.LeverRateLimit, assay.LeverConcurrency, assay.LeverClass, assay.LeverQuota, assay.LeverQuarantine, assay.LeverRegion,
}

// Door is the name of the door that moves a lever of the strategy.
func (s StrategySpec) Door(l assay.Lever) string {
	for _, x := range s.Levers {
		if x.Lever == l && x.Door != "" {
			return x.Door
		}
	}
	return ProxyDoor
}

// Moves lists the levers that the strategy moves as it is declared.
func (s StrategySpec) Moves() []assay.Lever {
	return slices.DeleteFunc(s.levers(), func(l assay.Lever) bool {
		switch {
		case s.Throttle != nil && l == assay.LeverClass:
			return len(s.Throttle.Classes) == 0
		case s.Cost != nil && l == assay.LeverCostClass:
			return s.Cost.Saving == 0
		case s.Data != nil && l == assay.LeverReplicas:
			return s.Data.MaxLatency == 0
		}
		return l == assay.LeverSpend // shown, and moved through jobs
	})
}

// Lint says which levers nothing can move although the strategy is to act: errors at
// the place of what to change. known are the names of the installation's doors beside
// the proxy; nil means that they are not known, and every name is believed.
func (s Strategy) Lint(known []string) (out []error) {
	if s.Spec.Level != LevelApprove && s.Spec.Level != LevelAct {
		return nil
	}
	say := func(field []string, hint, format string, args ...any) {
		err := s.errorf(field, format, args...)
		err.Hint = hint
		out = append(out, err)
	}
	for _, l := range s.Spec.Moves() {
		name := s.Spec.Door(l)
		if name == ProxyDoor && !slices.Contains(proxied, l) {
			say([]string{"spec", "levers"}, "name a door that moves it, see docs/doors.md, or set level: propose", "name no door for %s, and the proxy has none: this strategy will only propose", l)
		}
	}
	for i, x := range s.Spec.Levers {
		if x.Door != "" && x.Door != ProxyDoor && known != nil && !slices.Contains(known, x.Door) {
			say([]string{"spec", "levers", strconv.Itoa(i), "door"}, "declare it in the file of --doors", "is %q, and there is no such door: this strategy will only propose", x.Door)
		}
	}
	return out
}
