package admit

import "assay.dev/assay/policy"

// RulesOf are the rules by which a door objects, as its answers name them: those that an
// exception can excuse.
func RulesOf(d policy.Admission) []string {
	var out []string
	for _, rule := range []string{ruleTag, ruleUncovered, ruleFault, ruleReference, ruleKind, ruleLimit} {
		out = append(out, d.Metadata.Name+"/"+rule)
	}
	for _, r := range d.Spec.Requires {
		out = append(out, d.Metadata.Name+"/"+r.Name)
	}
	return out
}
