package gate

import "assay.dev/assay/policy"

// RulesOf are the rules by which a requirement may object, as reports name them: those that
// an exception can excuse. control refuses an exception for any other.
func RulesOf(r policy.Require) []string {
	out := []string{AbsentRule(r.Name)}
	for _, threshold := range []string{"failed", "passed", "severity", "known-exploited", "epss", "coverage", "min", "max", "regression"} {
		out = append(out, r.Name+"/"+threshold)
	}
	return out
}
