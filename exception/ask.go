package exception

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"assay.dev/assay"
	"assay.dev/assay/store"
	"github.com/google/uuid"
)

// Limits of a request. Above them the answer is assay.CodeInvalid, or
// assay.CodeTooLarge for counts and lengths.
const (
	// MaxDuration is the longest time an exception may be in force, and the furthest its start may lie ahead.
	MaxDuration = 90 * 24 * time.Hour
	// MinDuration is the shortest: below it a request would end before anybody can answer.
	MinDuration = 5 * time.Second
	// MinReason is the shortest reason, in characters: a word or two explain nothing to whoever approves.
	MinReason = 10
	// MaxReason is the longest reason, in bytes.
	MaxReason = 2000
	// MaxScope is the number of entries in each list of a scope.
	MaxScope = 64
	// MaxText is the longest of every other text, in bytes.
	MaxText = 256
)

// Ask is a request for an exception.
type Ask struct {
	ID        string `json:"id,omitempty"` // UUIDv7; "" makes one. A caller that may have to repeat a request chooses it.
	Namespace string `json:"namespace"`
	// Scope needs at least one rule. Every entry is matched exactly: wildcards are refused.
	Scope     assay.ExceptionScope `json:"scope"`
	Reason    string               `json:"reason"`
	Ticket    string               `json:"ticket,omitempty"`
	NotBefore time.Time            `json:"not_before,omitzero"` // zero or past means from approval on
	NotAfter  time.Time            `json:"not_after"`           // mandatory, at most MaxDuration after NotBefore

	// What the namespace's policy says; no requester chooses it.
	Approvals   int           `json:"-"` // that it takes, 0 means 1
	MaxDuration time.Duration `json:"-"` // shorter than the constant of this name, 0 for that
}

// exception checks a and makes the requested exception of it.
func (a Ask) exception(requester string, now time.Time) (assay.Exception, error) {
	e := assay.Exception{
		ID: a.ID, Namespace: a.Namespace, Scope: a.Scope, Reason: strings.TrimSpace(a.Reason), Ticket: a.Ticket,
		State: assay.ExceptionRequested, Needs: max(0, a.Approvals), Requester: strings.TrimSpace(requester), Requested: now,
		NotBefore: a.NotBefore.UTC(), NotAfter: a.NotAfter.UTC(),
	}
	if e.ID == "" {
		e.ID = string(store.NewFactID())
	} else if id, err := uuid.Parse(e.ID); err != nil || id.Version() != 7 || id.String() != e.ID {
		return e, invalid("id", "is not a UUIDv7 in its 36-character lower-case form")
	}
	if e.NotBefore.Before(now) {
		e.NotBefore = now
	}
	if err := checkIdentity("requester", requester); err != nil {
		return e, err
	}
	if err := checkText("namespace", e.Namespace, MaxText); err != nil || e.Namespace == "" {
		return e, orInvalid(err, "namespace", "is missing")
	}
	if err := checkText("ticket", e.Ticket, MaxText); err != nil {
		return e, err
	}
	if err := checkReason(e.Reason, "why this may pass"); err != nil {
		return e, err
	}
	if err := checkPeriod(a, e, now); err != nil {
		return e, err
	}
	return e, checkScope(e.Scope)
}

// checkReason checks a reason; what it has to say is said to whoever left it out.
func checkReason(reason, what string) error {
	if utf8.RuneCountInString(reason) < MinReason {
		return invalid("reason", fmt.Sprintf("is missing or shorter than %d characters; say %s", MinReason, what))
	}
	return checkText("reason", strings.ReplaceAll(reason, "\n", " "), MaxReason)
}

func checkPeriod(a Ask, e assay.Exception, now time.Time) error {
	longest := MaxDuration
	if a.MaxDuration > 0 {
		longest = min(longest, a.MaxDuration)
	}
	switch length := e.NotAfter.Sub(e.NotBefore); {
	case a.NotAfter.IsZero():
		return invalid("not_after", "is missing; every exception ends")
	case !e.NotBefore.Before(e.NotAfter) && now.Before(e.NotAfter):
		return invalid("not_after", "is "+e.NotAfter.Format(time.RFC3339)+", before the start at "+e.NotBefore.Format(time.RFC3339))
	case !now.Before(e.NotAfter):
		return invalid("not_after", "is "+e.NotAfter.Format(time.RFC3339)+", which is not in the future")
	case e.NotBefore.Sub(now) > MaxDuration:
		return invalid("not_before", fmt.Sprintf("lies more than %s ahead", days(MaxDuration)))
	case length < MinDuration:
		return invalid("not_after", fmt.Sprintf("is less than %s after the start", MinDuration))
	case length > longest:
		return invalid("not_after", fmt.Sprintf("is more than %s after the start; shorten it, and renew it if it is still needed", days(longest)))
	}
	return nil
}

func checkScope(s assay.ExceptionScope) error {
	if len(s.Rules) == 0 {
		return invalid("scope.rules", "is empty; an exception names the rules it excuses")
	}
	subjects := make([]string, len(s.Subjects))
	for i, d := range s.Subjects {
		subjects[i] = string(d)
		if _, err := assay.ParseDigest(string(d)); err != nil {
			return invalid(fmt.Sprintf("scope.subjects[%d]", i), "is not a digest: "+err.Error())
		}
	}
	for _, l := range []struct {
		field   string
		entries []string
	}{
		{"scope.rules", s.Rules}, {"scope.subjects", subjects}, {"scope.packages", s.Packages},
		{"scope.advisories", s.Advisories}, {"scope.environments", s.Environments}, {namesField, s.Names},
	} {
		if len(l.entries) > MaxScope {
			return &assay.Error{Code: assay.CodeTooLarge, Field: l.field, Msg: fmt.Sprintf("has %d entries; at most %d are accepted", len(l.entries), MaxScope)}
		}
		for i, entry := range l.entries {
			if err := checkEntry(fmt.Sprintf("%s[%d]", l.field, i), entry, l.field); err != nil {
				return err
			}
			if slices.Contains(l.entries[:i], entry) {
				return invalid(fmt.Sprintf("%s[%d]", l.field, i), "stands there twice")
			}
		}
	}
	return nil
}

// namesField is the one list of a scope whose entries may be patterns.
const namesField = "scope.names"

// minLiteral is how many characters of a pattern must stand for themselves, and
// maxStars how many may not.
const (
	minLiteral = 3
	maxStars   = 8
)

// checkEntry refuses what looks like a pattern where none is: whoever approves a
// "*" expects it to mean something, and it would be the whole gate.
func checkEntry(field, entry, list string) error {
	if err := checkText(field, entry, MaxText); err != nil {
		return err
	}
	patterns := map[string]string{"scope.rules": "*?[]{}", namesField: "?[]{}"}[list]
	if patterns == "" {
		patterns = "*"
	}
	stars := strings.Count(entry, "*")
	switch {
	case strings.TrimSpace(entry) == "" || strings.ContainsFunc(entry, unicode.IsSpace):
		return invalid(field, "is empty or holds white space")
	case strings.ContainsAny(entry, patterns) && list == namesField:
		return invalid(field, "is not a pattern of names; * stands for any characters but /, ** for any")
	case strings.ContainsAny(entry, patterns):
		e := invalid(field, "is a pattern; an exception covers exact names only")
		e.Hint = "list each one"
		return e
	case list == "scope.rules" && !strings.Contains(entry, "/"):
		e := invalid(field, fmt.Sprintf("%q is not the whole name of a rule and would excuse nothing", entry))
		e.Hint = "write it as the report does, for example release/" + entry + " or absent/" + entry
		return e
	case stars > maxStars || stars > 0 && utf8.RuneCountInString(strings.Trim(entry, "*/"))-stars < minLiteral:
		return invalid(field, fmt.Sprintf("is too wide; write at least %d characters that stand for themselves, and at most %d stars", minLiteral, maxStars))
	}
	return nil
}

// checkText refuses invisible and control characters, which could make two
// texts look alike, and what is longer than limit.
func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return &assay.Error{Code: assay.CodeTooLarge, Field: field, Msg: fmt.Sprintf("has %d bytes; at most %d are accepted", len(s), limit)}
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return invalid(field, "contains a control or invisible character")
	}
	return nil
}

func checkIdentity(field, who string) error {
	if strings.TrimSpace(who) == "" {
		return invalid(field, "is missing")
	}
	return checkText(field, who, MaxText)
}

// SameIdentity reports whether two identities name the same person: case and
// surrounding space do not make a second one.
func SameIdentity(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}

func invalid(field, msg string) *assay.Error {
	return &assay.Error{Code: assay.CodeInvalid, Field: field, Msg: msg}
}

func orInvalid(err error, field, msg string) error {
	if err != nil {
		return err
	}
	return invalid(field, msg)
}

func days(d time.Duration) string {
	switch {
	case d == 24*time.Hour:
		return "a day"
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}
