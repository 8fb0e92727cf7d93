package gate

import (
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

// AbsentRule is the rule that an exception names to excuse the absence of a requirement.
func AbsentRule(requirement string) string { return "absent/" + requirement }

// excuse marks what the exceptions cover and says which were used. Only what
// would decide is excused; of several exceptions the one with the lowest id is used.
func (c *check) excuse() []assay.ExceptionUse {
	var active []assay.Exception
	for _, e := range c.in.Exceptions {
		if c.active(e) {
			active = append(active, e)
		}
	}
	if len(active) == 0 {
		return nil
	}
	ids := c.advisories()
	used := map[string][]string{}
	find := func(v assay.Violation) string {
		for _, e := range active {
			if covers(e.Scope, v, ids) {
				if !slices.Contains(used[e.ID], v.Rule) {
					used[e.ID] = append(used[e.ID], v.Rule)
				}
				return e.ID
			}
		}
		return ""
	}
	for i := range c.violations {
		if v := &c.violations[i]; v.Mode == assay.ModeEnforce {
			v.Exception = find(*v)
		}
	}
	for i := range c.requirements {
		// An exception is about evidence that is not there. A report that is there and
		// cannot be read may hold what nobody would excuse.
		if r := &c.requirements[i]; r.State == assay.Missing && !c.unread[i] {
			r.Exception = find(assay.Violation{Rule: AbsentRule(r.Name), Kind: r.Kind})
		}
	}
	var uses []assay.ExceptionUse
	for _, e := range active {
		rules := used[e.ID]
		if len(rules) == 0 || len(uses) > 0 && uses[len(uses)-1].ID == e.ID {
			continue
		}
		slices.Sort(rules)
		uses = append(uses, assay.ExceptionUse{
			ID: e.ID, Digest: e.Digest(), Rules: rules, Requester: e.Requester, Approver: e.Approver, ValidUntil: e.NotAfter,
		})
	}
	return uses
}

// active reports whether an exception counts for this run at all: approved by
// another person, within its time, of the gate's namespace, and its scope holds
// this artifact and environment.
func (c *check) active(e assay.Exception) bool {
	s := e.Scope
	namespace := e.Namespace
	if namespace == "" {
		namespace = policy.DefaultNamespace
	}
	return e.ID != "" && e.ActiveAt(c.in.Now) && len(s.Rules) > 0 && namespace == c.in.Gate.Metadata.Namespace &&
		(len(s.Subjects) == 0 || slices.Contains(s.Subjects, c.in.Subject.Digest)) &&
		(len(s.Environments) == 0 || slices.Contains(s.Environments, c.in.Environment))
}

// covers reports whether a scope covers a violation. A list that narrows needs
// something to match: a violation without a package is not covered by a scope
// that names packages.
func covers(s assay.ExceptionScope, v assay.Violation, ids map[string][]string) bool {
	if !slices.Contains(s.Rules, v.Rule) {
		return false
	}
	if len(s.Packages) > 0 && !slices.ContainsFunc(s.Packages, func(p string) bool { return isPackage(p, v.Package) }) {
		return false
	}
	if len(s.Advisories) == 0 {
		return true
	}
	return v.Fingerprint != "" && (slices.Contains(s.Advisories, v.Fingerprint) ||
		slices.ContainsFunc(ids[v.Fingerprint], func(id string) bool { return slices.Contains(s.Advisories, id) }))
}

// isPackage compares with the name, the package URL, or the package URL without its version.
func isPackage(p string, c assay.Component) bool {
	if p == "" {
		return false
	}
	purl, _, _ := strings.Cut(c.PURL, "?")
	purl, _, _ = strings.Cut(purl, "#")
	if i := strings.LastIndexByte(purl, '@'); i > strings.LastIndexByte(purl, '/') {
		purl = purl[:i]
	}
	return p == c.Name || p == c.PURL || p == purl
}

// advisories maps fingerprints to the ids of their findings.
func (c *check) advisories() map[string][]string {
	ids := map[string][]string{}
	if !slices.ContainsFunc(c.in.Exceptions, func(e assay.Exception) bool { return len(e.Scope.Advisories) > 0 }) {
		return ids
	}
	for _, e := range c.in.Evidence {
		for _, f := range e.Findings {
			if f.Fingerprint != "" {
				ids[f.Fingerprint] = append(append(ids[f.Fingerprint], f.Rule), f.Aliases...)
			}
		}
	}
	return ids
}
