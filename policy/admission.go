package policy

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Limits of an Admission resource.
const (
	// MaxAdmissionRequires is how many requirements one Admission may have.
	MaxAdmissionRequires = 100
	// MaxAdmissionPatterns is how many entries each list of patterns and names may have.
	MaxAdmissionPatterns = 1000
)

// Admission is a door: which images may run in an environment, and whose word on
// them is believed. It judges digests by the attestations that are known here; it
// runs no gate.
type Admission struct {
	// APIVersion is always assay.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Admission.
	Kind string `json:"kind"`
	// Metadata names the door; its namespace is the tenant whose attestations and exceptions count.
	Metadata Metadata `json:"metadata"`
	// Spec says what the door asks for.
	Spec AdmissionSpec `json:"spec"`

	Place Place `json:"-"`
}

// AdmissionSpec says what a door asks for.
type AdmissionSpec struct {
	// Mode says what the door does with its answer: off, dry-run (records), warn (answers with warnings) or enforce (denies, the default).
	Mode assay.Mode `json:"mode,omitempty"`
	// FailurePolicy says what happens when the door cannot know, because of a fault of its own: closed (deny, the default) or open (admit with a warning).
	FailurePolicy FailurePolicy `json:"failurePolicy,omitempty"`
	// Environment is what the admitted things run in; attestations for another environment do not count.
	Environment string `json:"environment"`
	// Namespaces of the cluster that the door guards: names, or beginnings that end in "*". Left out, it guards all.
	Namespaces []string `json:"namespaces,omitempty"`
	// ExcludeNamespaces of the cluster that the door does not guard, in the same form.
	ExcludeNamespaces []string `json:"excludeNamespaces,omitempty"`
	// Tags says what happens to an image that is named by a tag alone: deny (the default), or resolve it to the digest that the gate judged under this name.
	Tags TagPolicy `json:"tags,omitempty"`
	// Requires lists what must be attested. Every requirement that covers an image must hold, and an image that none covers is denied.
	Requires []AdmissionRequire `json:"requires"`
	// Allow lists images that need no attestation, each with the reason.
	Allow []AllowedImage `json:"allow,omitempty"`
}

// AdmissionRequire is one attestation that an image cannot do without.
type AdmissionRequire struct {
	// Name of the requirement; an exception calls it "door/requirement".
	Name string `json:"name"`
	// Images that must have it: a repository such as registry.example/shop/web, or a folder of them that ends in "/*". Left out, all.
	Images []string `json:"images,omitempty"`
	// Gate that must have let the image pass; its newest verdict counts.
	Gate string `json:"gate"`
	// ResourceURI that the attestation must be for, as the gate states it.
	ResourceURI string `json:"resourceUri"`
	// Verifiers are the verifier ids that are believed; left out, each that the trusted keys may sign for.
	Verifiers []string `json:"verifiers,omitempty"`
	// Levels that the attestation must grant.
	Levels []string `json:"levels,omitempty"`
	// MaxAge accepts only verdicts that are at most this old, for example 30d.
	MaxAge Duration `json:"maxAge,omitempty"`
}

// AllowedImage is an image, or a folder of them, that needs no attestation.
type AllowedImage struct {
	// Images is a repository such as registry.k8s.io/pause, a folder that ends in "/*", or a repository with its digest.
	Images string `json:"images"`
	// Reason is why it needs none, for whoever reads the policy.
	Reason string `json:"reason"`
}

// FailurePolicy says what a door does when it cannot know.
type FailurePolicy string

const (
	// FailClosed denies.
	FailClosed FailurePolicy = "closed"
	// FailOpen admits, warns and records it.
	FailOpen FailurePolicy = "open"
)

// TagPolicy says what a door does with an image that is named by a tag alone.
type TagPolicy string

const (
	// TagsDenied refuses it, with the digest to write instead if one is known.
	TagsDenied TagPolicy = "deny"
	// TagsResolved judges the digest that the name stood for when a gate judged it, and warns:
	// the registry may give the cluster another one.
	TagsResolved TagPolicy = "resolve"
)

var (
	failurePolicies = []FailurePolicy{FailClosed, FailOpen}
	tagPolicies     = []TagPolicy{TagsDenied, TagsResolved}

	clusterNamespaceForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$|^[a-z0-9][a-z0-9-]{0,61}\*$`)
	imagePatternForm     = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(/\*|@sha256:[0-9a-f]{64})?$`)
)

// minAllowReason is the shortest reason: a word explains nothing.
const minAllowReason = 10

// reservedRequirements are rules that a door has by itself.
var reservedRequirements = []string{"tag", "reference", "uncovered", "limit", "kind", "fault"}

func (a *Admission) defaults() {
	if a.Metadata.Namespace == "" {
		a.Metadata.Namespace = DefaultNamespace
	}
	s := &a.Spec
	if s.Mode == "" {
		s.Mode = assay.ModeEnforce
	}
	if s.FailurePolicy == "" {
		s.FailurePolicy = FailClosed
	}
	if s.Tags == "" {
		s.Tags = TagsDenied
	}
}

func (a Admission) check(d strict.Document) error {
	if err := a.Metadata.check(d); err != nil {
		return err
	}
	s := a.Spec
	if err := oneOf(d, []string{"spec", "mode"}, s.Mode, assay.Modes); err != nil {
		return err
	}
	if err := oneOf(d, []string{"spec", "failurePolicy"}, s.FailurePolicy, failurePolicies); err != nil {
		return err
	}
	if err := oneOf(d, []string{"spec", "tags"}, s.Tags, tagPolicies); err != nil {
		return err
	}
	switch {
	case s.Environment == "":
		return d.Errorf([]string{"spec", "environment"}, "is missing; attestations are for an environment")
	case !nameForm.MatchString(s.Environment):
		return d.Errorf([]string{"spec", "environment"}, "%q is not 1 to 63 lower-case letters, digits and dashes", s.Environment)
	case len(s.Requires) == 0 && len(s.Allow) == 0:
		return d.Errorf([]string{"spec", "requires"}, "is empty, and so is allow; this door would let nothing in")
	case len(s.Requires) > MaxAdmissionRequires:
		return d.Errorf([]string{"spec", "requires"}, "has %d entries; at most %d are accepted", len(s.Requires), MaxAdmissionRequires)
	}
	if err := s.checkNamespaces(d); err != nil {
		return err
	}
	for i, r := range s.Requires {
		at := []string{"spec", "requires", strconv.Itoa(i)}
		if slices.ContainsFunc(s.Requires[:i], func(o AdmissionRequire) bool { return o.Name == r.Name }) {
			return d.Errorf(append(at, "name"), "%q is used twice", r.Name)
		}
		if err := r.check(d, at); err != nil {
			return err
		}
	}
	return s.checkAllow(d)
}

func (s AdmissionSpec) checkNamespaces(d strict.Document) error {
	for _, list := range []struct {
		field string
		names []string
	}{{"namespaces", s.Namespaces}, {"excludeNamespaces", s.ExcludeNamespaces}} {
		if len(list.names) > MaxAdmissionPatterns {
			return d.Errorf([]string{"spec", list.field}, "has %d entries; at most %d are accepted", len(list.names), MaxAdmissionPatterns)
		}
		for i, n := range list.names {
			at := []string{"spec", list.field, strconv.Itoa(i)}
			if !clusterNamespaceForm.MatchString(n) {
				return d.Errorf(at, "%q is neither a namespace's name nor the beginning of one and \"*\"", n)
			}
			if slices.Contains(list.names[:i], n) {
				return d.Errorf(at, "%q is listed twice", n)
			}
		}
	}
	return nil
}

func (r AdmissionRequire) check(d strict.Document, at []string) error {
	in := func(field ...string) []string { return append(slices.Clone(at), field...) }
	switch {
	case r.Name == "":
		return d.Errorf(in("name"), "is missing")
	case !nameForm.MatchString(r.Name):
		return d.Errorf(in("name"), "%q is not 1 to 63 lower-case letters, digits and dashes", r.Name)
	case slices.Contains(reservedRequirements, r.Name):
		return d.Errorf(in("name"), "%q is the name of a rule that every door has", r.Name)
	case r.Gate == "":
		return d.Errorf(in("gate"), "is missing; name the gate that must have let the image pass")
	case !nameForm.MatchString(r.Gate):
		return d.Errorf(in("gate"), "%q is not 1 to 63 lower-case letters, digits and dashes", r.Gate)
	case r.ResourceURI == "":
		return d.Errorf(in("resourceUri"), "is missing; an attestation about something else proves nothing")
	case len(r.Images) > MaxAdmissionPatterns || len(r.Verifiers) > MaxAdmissionPatterns || len(r.Levels) > MaxAdmissionPatterns:
		return d.Errorf(at, "has a list of more than %d entries", MaxAdmissionPatterns)
	}
	if u, err := url.Parse(r.ResourceURI); err != nil || u.Scheme == "" {
		return d.Errorf(in("resourceUri"), "%q is not a URI; write for example pkg:oci/web", r.ResourceURI)
	}
	for i, v := range r.Verifiers {
		if u, err := url.Parse(v); err != nil || u.Scheme == "" {
			return d.Errorf(in("verifiers", strconv.Itoa(i)), "%q is not a URI such as %s", v, assay.DefaultVerifierID)
		}
	}
	for i, p := range r.Images {
		if err := checkImagePattern(d, in("images", strconv.Itoa(i)), p); err != nil {
			return err
		}
	}
	for i, l := range r.Levels {
		if !levelForm.MatchString(l) || l == "FAILED" {
			return d.Errorf(in("levels", strconv.Itoa(i)), "%q is not a level that a gate can grant", l)
		}
	}
	if _, err := parseDuration(string(r.MaxAge)); err != nil {
		return d.Errorf(in("maxAge"), "%v", err)
	}
	return nil
}

func (s AdmissionSpec) checkAllow(d strict.Document) error {
	if len(s.Allow) > MaxAdmissionPatterns {
		return d.Errorf([]string{"spec", "allow"}, "has %d entries; at most %d are accepted", len(s.Allow), MaxAdmissionPatterns)
	}
	for i, a := range s.Allow {
		at := []string{"spec", "allow", strconv.Itoa(i)}
		if err := checkImagePattern(d, append(at, "images"), a.Images); err != nil {
			return err
		}
		if len(strings.TrimSpace(a.Reason)) < minAllowReason {
			return d.Errorf(append(at, "reason"), "is missing or shorter than %d characters; say why this needs no attestation", minAllowReason)
		}
	}
	return nil
}

// checkImagePattern accepts full names only: in "nginx" nobody sees the registry.
func checkImagePattern(d strict.Document, at []string, p string) error {
	host, rest, _ := strings.Cut(p, "/")
	switch {
	case p == "":
		return d.Errorf(at, "is missing")
	case !imagePatternForm.MatchString(p) || rest == "":
		return d.Errorf(at, "%q is not a repository such as registry.example/shop/web, with \"/*\" behind a folder or a digest behind a repository", p)
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		return d.Errorf(at, "%q does not begin with a registry; write docker.io/library/%s for Docker Hub's", p, rest)
	}
	return nil
}

// Guards reports whether the door guards a namespace of the cluster.
func (a Admission) Guards(namespace string) bool {
	in := func(list []string) bool {
		return slices.ContainsFunc(list, func(n string) bool {
			prefix, open := strings.CutSuffix(n, "*")
			return n == namespace || open && strings.HasPrefix(namespace, prefix)
		})
	}
	return (len(a.Spec.Namespaces) == 0 || in(a.Spec.Namespaces)) && !in(a.Spec.ExcludeNamespaces)
}

// Admissions returns all doors, in the order of their files.
func (r *Revision) Admissions() []Admission { return slices.Clone(r.admissions) }

// Admission finds a door as Gate finds a gate.
func (r *Revision) Admission(name string) (Admission, error) {
	return find("admission", name, r.admissions, func(a Admission) Metadata { return a.Metadata })
}

func (r *Revision) uniqueAdmissions() error {
	return unique("Admission", r.admissions, func(a Admission) (Metadata, Place) { return a.Metadata, a.Place })
}
