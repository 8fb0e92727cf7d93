package gate

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

// AbsentRule is the rule that an exception names to excuse the absence of a requirement.
func AbsentRule(requirement string) string { return "absent/" + requirement }

// Case is one objection that somebody may hold an exception for.
type Case struct {
	Namespace   string // of the gate or policy that objects; "" is policy.DefaultNamespace
	Environment string // where the artifact is to go, "" if the run names none
	Subject     assay.Subject
	Rule        string          // as reports name it, or AbsentRule
	Package     assay.Component // affected, zero if there is none
	IDs         []string        // of the finding: its fingerprint, its rule and aliases
}

// Covers reports whether an exception's scope holds a case, whatever the time and
// whoever approved it. Every list of a scope that is not empty needs an entry that
// matches; a list that narrows has nothing to match in a case that lacks what it is about.
func Covers(e assay.Exception, c Case) bool {
	s := e.Scope
	return e.ID != "" && namespaceOf(e.Namespace) == namespaceOf(c.Namespace) && slices.Contains(s.Rules, c.Rule) &&
		among(s.Subjects, c.Subject.Digest) && among(s.Environments, c.Environment) &&
		(len(s.Names) == 0 || slices.ContainsFunc(s.Names, func(p string) bool { return glob(p, c.Subject.Name) })) &&
		(len(s.Packages) == 0 || slices.ContainsFunc(s.Packages, func(p string) bool { return isPackage(p, c.Package) })) &&
		(len(s.Advisories) == 0 || slices.ContainsFunc(c.IDs, func(id string) bool { return id != "" && slices.Contains(s.Advisories, id) }))
}

// Excuses is the one answer to whether an exception excuses a case at an instant:
// granted, in force, and its scope holds the case. Gates in CI, admission to a
// cluster and enforcement all ask it. It is a pure function.
func Excuses(e assay.Exception, c Case, at time.Time) bool { return e.ActiveAt(at) && Covers(e, c) }

// Excuse returns the exception of the list that excuses a case at an instant; of
// several the one with the lowest id.
func Excuse(list []assay.Exception, c Case, at time.Time) (assay.Exception, bool) {
	var best assay.Exception
	for _, e := range list {
		if Excuses(e, c, at) && (best.ID == "" || e.ID < best.ID) {
			best = e
		}
	}
	return best, best.ID != ""
}

// Use is how a verdict, an attestation and a fact name an exception that excused rules.
func Use(e assay.Exception, rules []string) assay.ExceptionUse {
	u := assay.ExceptionUse{
		ID: e.ID, Digest: e.Digest(), Rules: rules, Requester: e.Requester, Approver: e.Approver, Emergency: e.Emergency, ValidUntil: e.NotAfter,
	}
	for _, a := range e.Approvals {
		u.Approvers = append(u.Approvers, a.Approver)
	}
	return u
}

func namespaceOf(ns string) string {
	if ns == "" {
		return policy.DefaultNamespace
	}
	return ns
}

// among reports whether a list that narrows holds v; an empty one does not narrow.
func among[T ~string](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

// excuse marks what the exceptions cover and says which were used. Only what
// would decide is excused.
func (c *check) excuse() []assay.ExceptionUse {
	if len(c.in.Exceptions) == 0 {
		return nil
	}
	ids := c.advisories()
	used := map[string][]string{}
	byID := map[string]assay.Exception{}
	find := func(v assay.Violation) string {
		k := c.caseOf(v, ids)
		e, ok := Excuse(c.in.Exceptions, k, c.in.Now)
		if !ok {
			c.nearly(k)
			return ""
		}
		if !slices.Contains(used[e.ID], v.Rule) {
			used[e.ID] = append(used[e.ID], v.Rule)
		}
		byID[e.ID] = e
		return e.ID
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
	for _, id := range slices.Sorted(maps.Keys(used)) {
		slices.Sort(used[id])
		uses = append(uses, Use(byID[id], used[id]))
	}
	return uses
}

func (c *check) caseOf(v assay.Violation, ids map[string][]string) Case {
	return Case{
		Namespace: c.in.Gate.Metadata.Namespace, Environment: c.in.Environment, Subject: c.in.Subject,
		Rule: v.Rule, Package: v.Package, IDs: append([]string{v.Fingerprint}, ids[v.Fingerprint]...),
	}
}

// nearly says of an exception that covers a case and does not excuse it why not:
// people who were told that it is approved look for the reason in vain.
func (c *check) nearly(k Case) {
	for _, e := range c.in.Exceptions {
		if !Covers(e, k) {
			continue
		}
		v := assay.Violation{Rule: "exception/not-in-force", Severity: assay.SeverityLow, Mode: assay.ModeWarn,
			Message: fmt.Sprintf("exception %s covers %s, but %s", e.ID, k.Rule, c.whyNot(e))}
		if ahead := e.NotBefore.Sub(c.in.Now); e.Granted() && ahead > 0 && ahead <= MaxClockSkew {
			v.Remedy = "compare the clocks of this machine and of whoever approved it"
		}
		c.warnings = append(c.warnings, v)
	}
}

func (c *check) whyNot(e assay.Exception) string {
	switch {
	case e.State == assay.ExceptionRevoked:
		return "it was revoked"
	case !e.Granted() && e.Emergency:
		return fmt.Sprintf("a bypass longer than %s is none", span(assay.MaxBypass))
	case !e.Granted():
		return fmt.Sprintf("it is not approved: it has %d of %s", len(e.Approvals), count(max(1, e.Needs), "approval"))
	case e.NotAfter.IsZero():
		return "it has no end"
	case c.in.Now.Before(e.NotBefore):
		return fmt.Sprintf("it starts %s after the instant of this verdict", span(e.NotBefore.Sub(c.in.Now)))
	}
	return fmt.Sprintf("it ended %s ago", span(c.in.Now.Sub(e.NotAfter)))
}

// isPackage compares with the name, the package URL, or the package URL without its version.
func isPackage(p string, c assay.Component) bool {
	return p != "" && (p == c.Name || p == c.PURL || p == unversioned(c.PURL))
}

// unversioned is a package URL without its version, qualifiers and subpath.
func unversioned(purl string) string {
	purl = unqualified(purl)
	if i := strings.LastIndexByte(purl, '@'); i > strings.LastIndexByte(purl, '/') {
		purl = purl[:i]
	}
	return purl
}

// unqualified is a package URL without its qualifiers and subpath.
func unqualified(purl string) string {
	purl, _, _ = strings.Cut(purl, "?")
	purl, _, _ = strings.Cut(purl, "#")
	return purl
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

// glob matches a name with a pattern in which * stands for any characters but /
// and ** for any; everything else stands for itself.
func glob(pattern, name string) bool {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for pattern != "" {
		i := strings.IndexByte(pattern, '*')
		if i < 0 {
			i = len(pattern)
		}
		b.WriteString(regexp.QuoteMeta(pattern[:i]))
		rest := strings.TrimLeft(pattern[i:], "*")
		switch stars := len(pattern) - i - len(rest); {
		case stars == 1:
			b.WriteString(`[^/]*`)
		case stars > 1:
			b.WriteString(`.*`)
		}
		pattern = rest
	}
	re, err := regexp.Compile(b.String() + `\z`)
	return err == nil && re.MatchString(name) // quoted text always compiles, unless it is not UTF-8
}
