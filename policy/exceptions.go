package policy

import (
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Bounds of an exception policy.
const (
	// MaxApprovals is the most approvals that a policy may ask for.
	MaxApprovals = 8
	// MaxException is the longest that an exception may be in force.
	MaxException = 90 * 24 * time.Hour
	// DefaultReminder is how long before its end an exception is reminded of, unless the policy says otherwise.
	DefaultReminder = 24 * time.Hour
)

// ExceptionPolicy says how exceptions are granted in a namespace. There is at most one for each.
type ExceptionPolicy struct {
	// APIVersion is always assay.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always ExceptionPolicy.
	Kind string `json:"kind"`
	// Metadata names the policy.
	Metadata Metadata `json:"metadata"`
	// Spec says how exceptions are granted.
	Spec ExceptionPolicySpec `json:"spec"`

	Place Place `json:"-"`
}

// ExceptionPolicySpec says how exceptions are granted.
type ExceptionPolicySpec struct {
	// Approvals is how many people other than the requester must approve; 1 if left out, at most 8.
	Approvals int `json:"approvals,omitempty"`
	// MaxDuration is the longest an exception may be in force; 90d if left out, which is also the most.
	MaxDuration Duration `json:"maxDuration,omitempty"`
	// RemindBefore is how long before its end a reminder is recorded, once; 24h if left out.
	RemindBefore Duration `json:"remindBefore,omitempty"`
	// Bypass says what an emergency may do; left out, a bypass of at most 4h is possible.
	Bypass BypassPolicy `json:"bypass,omitzero"`
}

// BypassPolicy says what an emergency bypass may do.
type BypassPolicy struct {
	// Forbidden turns the emergency bypass off.
	Forbidden bool `json:"forbidden,omitempty"`
	// MaxDuration is the longest a bypass may be in force; 4h if left out, which is also the most.
	MaxDuration Duration `json:"maxDuration,omitempty"`
	// Page names who is paged when somebody bypasses: people, teams or rotas, as your alerting knows them.
	Page []string `json:"page,omitempty"`
}

func (x *ExceptionPolicy) defaults() {
	if x.Metadata.Namespace == "" {
		x.Metadata.Namespace = DefaultNamespace
	}
	s := &x.Spec
	if s.Approvals == 0 {
		s.Approvals = 1
	}
	if s.MaxDuration == "" {
		s.MaxDuration = Duration(fmt.Sprintf("%dd", int(MaxException.Hours()/24)))
	}
	if s.RemindBefore == "" {
		s.RemindBefore = Duration(fmt.Sprintf("%dh", int(DefaultReminder.Hours())))
	}
	if s.Bypass.MaxDuration == "" {
		s.Bypass.MaxDuration = Duration(fmt.Sprintf("%dh", int(assay.MaxBypass.Hours())))
	}
}

func (x ExceptionPolicy) check(d strict.Document) error {
	if err := x.Metadata.check(d); err != nil {
		return err
	}
	s := x.Spec
	if s.Approvals < 1 || s.Approvals > MaxApprovals {
		return d.Errorf([]string{"spec", "approvals"}, "is %d; expected 1 to %d", s.Approvals, MaxApprovals)
	}
	for _, l := range []struct {
		at    []string
		value Duration
		most  time.Duration
	}{
		{[]string{"spec", "maxDuration"}, s.MaxDuration, MaxException},
		{[]string{"spec", "remindBefore"}, s.RemindBefore, MaxException},
		{[]string{"spec", "bypass", "maxDuration"}, s.Bypass.MaxDuration, assay.MaxBypass},
	} {
		v, err := parseDuration(string(l.value))
		if err != nil {
			return d.Errorf(l.at, "%v", err)
		}
		if v > l.most {
			return d.Errorf(l.at, "is %s; at most %s is possible", l.value, l.most)
		}
	}
	return checkTexts(d, []string{"spec", "bypass", "page"}, s.Bypass.Page)
}

// ExceptionPolicy returns how exceptions are granted in a namespace: the declared
// policy, or the defaults where none is.
func (r *Revision) ExceptionPolicy(namespace string) ExceptionPolicySpec {
	i := slices.IndexFunc(r.exceptionPolicies, func(x ExceptionPolicy) bool { return x.Metadata.Namespace == namespace })
	if i >= 0 {
		return r.exceptionPolicies[i].Spec
	}
	var x ExceptionPolicy
	x.defaults()
	return x.Spec
}

// Namespaces lists the namespaces that have a gate or an exception policy, sorted.
func (r *Revision) Namespaces() []string {
	var list []string
	for _, g := range r.gates {
		list = append(list, g.Metadata.Namespace)
	}
	for _, x := range r.exceptionPolicies {
		list = append(list, x.Metadata.Namespace)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// uniqueExceptionPolicies refuses a second policy for a namespace: which of them held could not be told.
func (r *Revision) uniqueExceptionPolicies() error {
	seen := map[string]Place{}
	for _, x := range r.exceptionPolicies {
		ns := x.Metadata.Namespace
		if first, ok := seen[ns]; ok {
			e := assay.Errorf(assay.CodeInvalid, "ExceptionPolicy %q is the second of namespace %s; first at %s:%d", x.Metadata.Name, ns, first.File, first.Line)
			e.File, e.Line, e.Column, e.Field = x.Place.File, x.Place.Line, 1, "metadata.namespace"
			return e
		}
		seen[ns] = x.Place
	}
	return nil
}
