package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// Limits that every adapter enforces; above them the answer is assay.CodeTooLarge.
const (
	// MaxName is the longest name-like field of a fact or key, in bytes.
	MaxName = 1024
	// MaxCauses is the largest number of causes of one fact.
	MaxCauses = 256
	// MaxKinds is the largest number of kinds in one query.
	MaxKinds = 64
	// DefaultLimit is what a limit of 0 means.
	DefaultLimit = 1000
	// MaxLimit is the most that one call returns.
	MaxLimit = 10000
)

// NewFactID returns a fresh UUIDv7, as adapters use it for facts without an id.
// Ids of one process grow.
func NewFactID() assay.FactID { return assay.FactID(uuid.Must(uuid.NewV7()).String()) }

// Complete checks a fact that is about to be appended and fills in what the
// store sets: Recorded, and ID and Time where they are empty. Times become UTC.
// Adapters call it in Append, so that all of them refuse and store the same.
func Complete(f assay.Fact, now time.Time, newID func() assay.FactID) (assay.Fact, error) {
	if err := checkFact(&f); err != nil {
		return assay.Fact{}, err
	}
	if f.ID == "" {
		f.ID = newID()
	}
	if f.Time.IsZero() {
		f.Time = now
	}
	f.Time, f.Recorded = stamp(f.Time), stamp(now)
	f.Causes, f.Payload = slices.Clone(f.Causes), bytes.Clone(f.Payload)
	return f, nil
}

// SameFact reports whether offered, as a caller passed it to Append, says the
// same as the stored fact of that id. Recorded is the store's own and does not
// count; an empty Time asks the store to choose, so it matches any.
func SameFact(stored, offered assay.Fact) bool {
	if !offered.Time.IsZero() && !offered.Time.Equal(stored.Time) {
		return false
	}
	return stored.ID == offered.ID && stored.Kind == offered.Kind && stored.Version == offered.Version &&
		stored.Namespace == offered.Namespace && stored.Service == offered.Service &&
		stored.Environment == offered.Environment && stored.Subject == offered.Subject &&
		stored.TraceID == offered.TraceID && stored.DeploymentID == offered.DeploymentID &&
		stored.PolicyRevision == offered.PolicyRevision && stored.Actor == offered.Actor &&
		stored.Retention == offered.Retention && slices.Equal(stored.Causes, offered.Causes) &&
		bytes.Equal(stored.Payload, offered.Payload)
}

// CheckKey refuses a key that no store may hold a value at.
func CheckKey(k Key) error {
	return firstError(name("namespace", k.Namespace, true), name("bucket", k.Bucket, true), name("name", k.Name, true))
}

// CheckList checks the arguments of Reader.List and returns the limit to use.
func CheckList(k Key, after string, limit int) (int, error) {
	err := firstError(name("namespace", k.Namespace, true), name("bucket", k.Bucket, true),
		name("name", k.Name, false), name("after", after, false))
	if err != nil {
		return 0, err
	}
	return CheckLimit(limit)
}

// CheckData refuses a state value above MaxPayload.
func CheckData(data []byte) error {
	if len(data) > MaxPayload {
		return tooLarge("data", len(data), MaxPayload, "bytes")
	}
	return nil
}

// CheckQuery checks a query and sets its limit.
func CheckQuery(q Query) (Query, error) {
	if err := firstError(name("namespace", q.Namespace, true), digest("subject", q.Subject), id("cause", q.Cause, false)); err != nil {
		return q, err
	}
	if len(q.Kinds) > MaxKinds {
		return q, tooLarge("kinds", len(q.Kinds), MaxKinds, "kinds")
	}
	for _, k := range q.Kinds {
		if err := name("kind", k, true); err != nil {
			return q, err
		}
	}
	if err := firstError(instant("since", q.Since), instant("until", q.Until)); err != nil {
		return q, err
	}
	limit, err := CheckLimit(q.Limit)
	q.Limit = limit
	return q, err
}

// CheckLimit returns the limit to use for one that a caller gave.
func CheckLimit(limit int) (int, error) {
	switch {
	case limit < 0:
		return 0, invalid("limit", "%d is negative", limit)
	case limit == 0:
		return DefaultLimit, nil
	case limit > MaxLimit:
		return 0, tooLarge("limit", limit, MaxLimit, "results")
	}
	return limit, nil
}

func checkFact(f *assay.Fact) error {
	err := firstError(
		id("id", f.ID, false),
		name("namespace", f.Namespace, true), name("kind", f.Kind, true), name("actor", f.Actor, true),
		name("service", f.Service, false), name("environment", f.Environment, false),
		name("trace_id", f.TraceID, false), name("deployment_id", f.DeploymentID, false),
		digest("subject", f.Subject), digest("policy_revision", f.PolicyRevision),
		instant("time", f.Time),
	)
	if err != nil {
		return err
	}
	if f.Version < 1 {
		return invalid("version", "is %d; the version of a payload's shape counts from 1", f.Version)
	}
	if f.Retention != assay.RetainAudit && f.Retention != assay.RetainOperational {
		return invalid("retention", "%q is not one of %s, %s", clip(string(f.Retention)), assay.RetainAudit, assay.RetainOperational)
	}
	if len(f.Causes) > MaxCauses {
		return tooLarge("causes", len(f.Causes), MaxCauses, "causes")
	}
	for i, c := range f.Causes {
		if err := id(fmt.Sprintf("causes[%d]", i), c, true); err != nil {
			return err
		}
		if slices.Contains(f.Causes[:i], c) {
			return invalid("causes", "names %s twice", c)
		}
	}
	return checkPayload(f.Payload)
}

func checkPayload(p []byte) error {
	if len(p) > MaxPayload {
		e := tooLarge("payload", len(p), MaxPayload, "bytes")
		e.Hint = "keep the bytes as a blob and put its digest into the fact"
		return e
	}
	if jsontext.Value(p).IsValid() {
		return nil
	}
	err := strict.CheckJSON(p) // slower, and says where
	if err == nil {
		return invalid("payload", "is not valid JSON")
	}
	return &assay.Error{Code: assay.CodeInvalid, Field: "payload", Msg: "is not valid JSON: " + err.Error(), Err: err}
}

// name checks a name-like field: valid UTF-8, one line, nothing that drives a terminal.
func name(field, s string, mandatory bool) error {
	if s == "" {
		if mandatory {
			return invalid(field, "is empty")
		}
		return nil
	}
	if len(s) > MaxName {
		return tooLarge(field, len(s), MaxName, "bytes")
	}
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return slowName(field, s)
		}
	}
	return nil
}

func slowName(field, s string) error {
	if !utf8.ValidString(s) {
		return invalid(field, "is not valid UTF-8")
	}
	control := func(r rune) bool {
		return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029
	}
	if strings.ContainsFunc(s, control) {
		return invalid(field, "%q contains a control character", clip(s))
	}
	return nil
}

func id(field string, v assay.FactID, mandatory bool) error {
	if v == "" && !mandatory {
		return nil
	}
	u, err := uuid.Parse(string(v))
	if err != nil || u.Version() != 7 || u.String() != string(v) {
		return invalid(field, "%q is not a UUIDv7 in its lower-case, 36-character form", clip(string(v)))
	}
	return nil
}

// CheckID refuses what is not a fact id.
func CheckID(v assay.FactID) error { return id("id", v, true) }

func digest(field string, d assay.Digest) error {
	if d == "" {
		return nil
	}
	if _, err := assay.ParseDigest(string(d)); err != nil {
		return invalid(field, "%s", err)
	}
	return nil
}

// instant refuses times that do not fit into int64 nanoseconds since 1970.
func instant(field string, t time.Time) error {
	if !t.IsZero() && (t.Year() < 1678 || t.Year() > 2261) {
		return invalid(field, "is in the year %d; expected 1678 to 2261", t.Year())
	}
	return nil
}

// stamp drops what storage does not keep: the zone and the monotonic reading.
func stamp(t time.Time) time.Time { return time.Unix(0, t.UnixNano()).UTC() }

// firstError is errors.Join without the list: a person mends one thing at a time.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func invalid(field, format string, args ...any) *assay.Error {
	return &assay.Error{Code: assay.CodeInvalid, Field: field, Msg: fmt.Sprintf(format, args...)}
}

func tooLarge(field string, got, limit int, unit string) *assay.Error {
	return &assay.Error{Code: assay.CodeTooLarge, Field: field, Msg: fmt.Sprintf("has %d %s; at most %d are accepted", got, unit, limit)}
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// CheckVersion holds ifVersion of Tx.Put and Tx.Delete against the version
// that k has, 0 if it has none.
func CheckVersion(k Key, have, ifVersion int64) error {
	if ifVersion < AnyVersion {
		return invalid("version", "%d is not a version", ifVersion)
	}
	if ifVersion == AnyVersion || ifVersion == have {
		return nil
	}
	found := fmt.Sprintf("is at version %d", have)
	if have == 0 {
		found = "does not exist"
	}
	expected := fmt.Sprintf("version %d", ifVersion)
	if ifVersion == 0 {
		expected = "it not to exist"
	}
	return &assay.Error{Code: assay.CodeConflict,
		Msg:  fmt.Sprintf("%s %q %s; expected %s", k.Bucket, clip(k.Name), found, expected),
		Hint: "read it again and retry"}
}

// TooManyPlacements is the answer to more than MaxLimit placements in one call.
func TooManyPlacements(n int) error { return tooLarge("placements", n, MaxLimit, "entries") }
