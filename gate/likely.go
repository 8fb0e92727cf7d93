package gate

import (
	"fmt"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

// likely holds a finding to what the lists in the policy say of it.
func (c *check) likely(r policy.Require, f assay.Finding) {
	ids := append([]string{f.Rule}, f.Aliases...)
	if r.KnownExploited == policy.DenyExploited {
		if id, e, ok := c.in.Lists.FindExploited(ids); ok {
			v := findingViolation(r, "known-exploited", f)
			v.Severity = assay.SeverityCritical // somebody is doing it, whatever the scanner rates
			v.Message = fmt.Sprintf("%s is known to be exploited, since %s%s: %s", id, e.Added, ransomware(e), v.Message)
			c.violations = append(c.violations, v)
		}
	}
	if r.EPSS == nil {
		return
	}
	if id, p, ok := c.in.Lists.FindLikelihood(ids); ok && float64(p.Score) > r.EPSS.Max {
		v := findingViolation(r, "epss", f)
		v.Message = fmt.Sprintf("%s will be exploited within 30 days with probability %.1f %%; at most %.1f %% is accepted: %s",
			id, 100*p.Score, 100*r.EPSS.Max, v.Message)
		c.violations = append(c.violations, v)
	}
}

func ransomware(e policy.Exploited) string {
	if e.Ransomware {
		return ", also by ransomware"
	}
	return ""
}
