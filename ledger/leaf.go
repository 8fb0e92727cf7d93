package ledger

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strconv"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/store"
	"github.com/go-json-experiment/json/jsontext"
)

// LeafVersion is the version of the leaf format that is written.
const LeafVersion = 1

// Leaf is one record of the tree. It says that a fact exists and what its digest
// is, never what the fact says: payload, actor and namespace stay out of it. Its
// one serialised form is JSON with the fields in this order and no white space.
type Leaf struct {
	V         int          `json:"v"`           // LeafVersion
	Seq       uint64       `json:"seq"`         // the store's sequence number, below 2^53; of an epoch leaf the first one of the epoch
	Fact      assay.FactID `json:"fact"`        // "" in an epoch leaf
	Kind      string       `json:"kind"`        // the fact's kind
	Version   int          `json:"version"`     // the fact's version, from 1
	Digest    assay.Digest `json:"digest"`      // FactDigest; of an epoch leaf the digest of the old checkpoint's bytes
	Namespace string       `json:"namespace"`   // 64 hexadecimal digits, see SaltNamespace; "" in an epoch leaf
	Time      int64        `json:"time,string"` // event time in nanoseconds since 1970, as a string: it is above 2^53
	Subject   assay.Digest `json:"subject"`     // the artifact, or ""
	Policy    assay.Digest `json:"policy"`      // the policy revision, or ""
	Previous  *Previous    `json:"previous,omitempty"`
}

// Previous is what the first leaf of a later epoch says about the one before.
type Previous struct {
	Origin string       `json:"origin"` // of the old ledger
	Size   uint64       `json:"size"`   // leaves its last known head covers
	Root   assay.Digest `json:"root"`   // its root at that size
	Until  uint64       `json:"until"`  // facts numbered below it were placed before, and are placed again here
}

// originForm is stricter than C2SP's (no spaces, no plus), so that an origin is also a key name.
var originForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:-]{0,255}$`)

// isKind accepts 1 to 128 of a-z, 0-9 and, behind the first, ". _ -".
func isKind(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || i > 0 && (c == '.' || c == '_' || c == '-')) {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 128
}

// isFactID accepts a UUID in its lower-case text form.
func isFactID(s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
		isHex(s[:8]) && isHex(s[9:13]) && isHex(s[14:18]) && isHex(s[19:23]) && isHex(s[24:])
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// CanonicalFact returns the bytes that FactDigest hashes: one JSON object with the
// fact's fields in a fixed order, all present, times as nanoseconds since 1970 in a
// string, and the payload with its keys sorted and white space removed but every
// number exactly as written. Recorded is left out, because it is the store's, not
// the fact's. A payload that is not JSON appears as a string under "payload_raw".
func CanonicalFact(f assay.Fact) []byte {
	payload := jsontext.Value(bytes.Clone(f.Payload))
	if len(payload) == 0 {
		payload = jsontext.Value("null")
	}
	// Numbers stay as written: a canonical form that rounds them to 64-bit floats
	// would let two different payloads have one digest.
	err := payload.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	o := object{b: make([]byte, 0, 1024+len(payload))}
	o.text("id", string(f.ID))
	o.text("kind", f.Kind)
	o.number("version", int64(f.Version))
	o.text("time", strconv.FormatInt(f.Time.UnixNano(), 10))
	o.text("namespace", f.Namespace)
	o.text("service", f.Service)
	o.text("environment", f.Environment)
	o.text("subject", string(f.Subject))
	o.text("trace_id", f.TraceID)
	o.text("deployment_id", f.DeploymentID)
	o.text("policy_revision", string(f.PolicyRevision))
	o.text("actor", f.Actor)
	o.key("causes")
	for i, c := range f.Causes {
		o.b = append(o.b, "[,"[min(i, 1)])
		o.quote(string(c))
	}
	if len(f.Causes) == 0 {
		o.b = append(o.b, '[')
	}
	o.b = append(o.b, ']')
	o.text("retention", string(f.Retention))
	if err == nil {
		o.key("payload")
		o.b = append(o.b, payload...)
	} else {
		o.text("payload_raw", base64.StdEncoding.EncodeToString(f.Payload))
	}
	return append(o.b, '}')
}

// FactDigest is the SHA-256 of CanonicalFact. The fact must be as it was written,
// not upcast to a newer version of its kind.
func FactDigest(f assay.Fact) assay.Digest {
	return assay.DigestOf(sha256.Sum256(CanonicalFact(f)))
}

// SaltNamespace returns HMAC-SHA256(salt, namespace) in hexadecimal. Who knows the
// salt can tell which leaves are of a namespace; who does not cannot guess names.
func SaltNamespace(salt []byte, namespace string) string {
	m := hmac.New(sha256.New, salt)
	m.Write([]byte(namespace))
	return hex.EncodeToString(m.Sum(nil))
}

// LeafOf makes the leaf of a numbered outbox entry.
func LeafOf(e store.Entry, salt []byte) (Leaf, error) {
	return leafOf(e, SaltNamespace(salt, e.Fact.Namespace))
}

// leafOf makes the leaf of an entry whose namespace was salted before: facts come
// in runs of one namespace.
func leafOf(e store.Entry, namespace string) (Leaf, error) {
	if !e.Numbered {
		return Leaf{}, assay.Errorf(assay.CodeInternal, "fact %s has no sequence number yet", e.Fact.ID)
	}
	l := Leaf{
		V: LeafVersion, Seq: e.Seq, Fact: e.Fact.ID, Kind: leafKind(e.Fact.Kind), Version: e.Fact.Version,
		Digest: FactDigest(e.Fact), Namespace: namespace,
		Time: e.Fact.Time.UnixNano(), Subject: e.Fact.Subject, Policy: e.Fact.PolicyRevision,
	}
	if err := l.check(); err != nil {
		return Leaf{}, assay.Errorf(assay.CodeInvalid, "fact %s (sequence number %d) has no valid leaf: %w", e.Fact.ID, e.Seq, err)
	}
	return l, nil
}

// leafKind is the fact's kind, or, for one that does not fit a leaf, "x-" and the
// beginning of its SHA-256: no fact that a store took may block the ledger.
func leafKind(kind string) string {
	if isKind(kind) {
		return kind
	}
	sum := sha256.Sum256([]byte(kind))
	return "x-" + hex.EncodeToString(sum[:16])
}

// epochLeaf is the first leaf of every epoch but the first.
func epochLeaf(old Checkpoint, start, until uint64, nanos int64) Leaf {
	return Leaf{
		V: LeafVersion, Seq: start, Kind: assay.FactLedgerEpoch, Version: 1,
		Digest: assay.DigestOf(sha256.Sum256(old.Raw)), Time: nanos,
		Previous: &Previous{Origin: old.Origin, Size: old.Size, Root: assay.DigestOf(old.Root), Until: until},
	}
}

// Marshal returns the leaf's one serialised form.
func (l Leaf) Marshal() []byte {
	o := object{b: make([]byte, 0, 512)}
	o.number("v", int64(l.V))
	o.number("seq", int64(l.Seq))
	o.text("fact", string(l.Fact))
	o.text("kind", l.Kind)
	o.number("version", int64(l.Version))
	o.text("digest", string(l.Digest))
	o.text("namespace", l.Namespace)
	o.text("time", strconv.FormatInt(l.Time, 10))
	o.text("subject", string(l.Subject))
	o.text("policy", string(l.Policy))
	if p := l.Previous; p != nil {
		in := object{}
		in.text("origin", p.Origin)
		in.number("size", int64(p.Size))
		in.text("root", string(p.Root))
		in.number("until", int64(p.Until))
		o.key("previous")
		o.b = append(append(o.b, in.b...), '}')
	}
	return append(o.b, '}')
}

// object writes a JSON object with its members in the order they are given.
type object struct{ b []byte }

func (o *object) key(name string) {
	o.b = append(o.b, "{,"[min(len(o.b), 1)], '"')
	o.b = append(append(o.b, name...), '"', ':')
}

func (o *object) text(name, value string) {
	o.key(name)
	o.quote(value)
}

// quote writes a string with the fewest escapes. What is not UTF-8 becomes U+FFFD,
// which the error would say; stores refuse it.
func (o *object) quote(s string) { o.b, _ = jsontext.AppendQuote(o.b, s) }

func (o *object) number(name string, value int64) {
	o.key(name)
	o.b = strconv.AppendInt(o.b, value, 10)
}

// ParseLeaf reads one leaf and refuses every byte sequence but the one that
// Marshal gives for it: unknown, missing, duplicate and reordered keys, white
// space, and values outside their form.
func ParseLeaf(raw []byte) (Leaf, error) {
	if len(raw) > MaxLeaf {
		return Leaf{}, tooLarge("ledger leaf", len(raw), MaxLeaf)
	}
	var l Leaf
	if err := strict.JSON(raw, &l); err != nil {
		return Leaf{}, err
	}
	if err := l.check(); err != nil {
		return Leaf{}, err
	}
	if !bytes.Equal(l.Marshal(), raw) {
		return Leaf{}, assay.Errorf(assay.CodeInvalid, "ledger leaf is not in its canonical form: fields in fixed order, all present, no white space")
	}
	return l, nil
}

// check returns what is wrong with l's values.
func (l Leaf) check() error {
	bad := func(field, msg string) error {
		return &assay.Error{Code: assay.CodeInvalid, Field: "leaf." + field, Msg: msg}
	}
	switch {
	case l.V != LeafVersion:
		return bad("v", "is not 1, the only leaf version known here")
	case l.Seq >= maxExact:
		return bad("seq", "is not below 2^53")
	case !isKind(l.Kind):
		return bad("kind", "is not 1 to 128 of a-z, 0-9, dot, underscore and hyphen")
	case l.Version < 1 || l.Version >= maxExact:
		return bad("version", "is not a fact version from 1")
	case l.Previous == nil && !isFactID(string(l.Fact)):
		return bad("fact", "is not a UUID in its 36-character lower-case form")
	case l.Previous == nil && (len(l.Namespace) != 64 || !isHex(l.Namespace)):
		return bad("namespace", "is not 64 hexadecimal digits")
	}
	if _, err := assay.ParseDigest(string(l.Digest)); err != nil {
		return bad("digest", err.Error())
	}
	for i, d := range [...]assay.Digest{l.Subject, l.Policy} {
		if d == "" {
			continue
		}
		if _, err := assay.ParseDigest(string(d)); err != nil {
			return bad([...]string{"subject", "policy"}[i], err.Error())
		}
	}
	if p := l.Previous; p != nil {
		_, err := assay.ParseDigest(string(p.Root))
		switch {
		case l.Kind != assay.FactLedgerEpoch || l.Fact != "" || l.Namespace != "" || l.Subject != "" || l.Policy != "":
			return bad("previous", "is only for an epoch leaf, which names no fact, namespace, subject or policy")
		case !originForm.MatchString(p.Origin) || err != nil || p.Size >= maxExact || p.Until >= maxExact || p.Until < l.Seq:
			return bad("previous", "is not the origin, size and root of a head")
		}
	}
	return nil
}
