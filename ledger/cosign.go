package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"golang.org/x/mod/sumdb/note"
)

// MaxClockSkew is how far in the future a cosignature's time may lie: a witness
// whose clock is further off says nothing about when it saw a head.
const MaxClockSkew = 5 * time.Minute

const (
	algCosignature = 4    // C2SP signed-note: Ed25519 cosignature v1
	cosigTime      = 8    // bytes of time before the signature
	maxWitnessKey  = 4096 // an ML-DSA-44 public key alone has 1,752 characters
)

// Algorithm is how a witness signs.
type Algorithm string

// The algorithms of C2SP tlog-cosignature.
const (
	Ed25519 Algorithm = "ed25519"
	// MLDSA44 withstands quantum computers (FIPS 204). Its cosignature covers the
	// origin, the size and the root of a head, not lines after them.
	MLDSA44 Algorithm = "ml-dsa-44"
)

// cosigningKey is one algorithm's way to sign a head at a time.
type cosigningKey interface {
	sign(t uint64, text []byte) ([]byte, error)
	verifier(name string) cosignatureVerifier
}

// Cosigner signs the heads of other logs as a C2SP witness does (cosignature/v1).
// It implements note.Signer.
type Cosigner struct {
	key    cosigningKey
	public cosignatureVerifier
	now    func() time.Time
}

// GenerateWitnessKey makes a witness's secret key, one line. Random is
// crypto/rand.Reader outside tests.
func GenerateWitnessKey(random io.Reader, name string, a Algorithm) (skey string, err error) {
	switch a {
	case Ed25519:
		skey, _, err = GenerateKey(random, name)
		return skey, err
	case MLDSA44:
		return generateMLDSA(random, name)
	}
	return "", assay.Errorf(assay.CodeInvalid, "witnesses do not sign with %q; expected %s or %s", a, Ed25519, MLDSA44)
}

// NewCosigner reads a secret key as GenerateWitnessKey makes one; the witness has the
// key's name. The same seed must not sign a log of its own. Errors never contain the key.
func NewCosigner(skey string, now func() time.Time) (*Cosigner, error) {
	bad := assay.Errorf(assay.CodeInvalid, "witness key is not a signer key of Ed25519 or ML-DSA-44 (PRIVATE+KEY+name+id+data)")
	body, ok := strings.CutPrefix(strings.TrimSpace(skey), signerPrefix)
	parts := strings.SplitN(body, "+", 3)
	if !ok || len(body) > maxWitnessKey || len(parts) != 3 || !originForm.MatchString(parts[0]) {
		return nil, bad
	}
	data, err := exactBase64(parts[2])
	if err != nil || len(data) < 1 {
		return nil, bad
	}
	var key cosigningKey
	switch data[0] {
	case algEd25519:
		if _, err := note.NewSigner(strings.TrimSpace(skey)); err != nil || len(data) != 1+ed25519.SeedSize {
			return nil, bad
		}
		key = edKey(ed25519.NewKeyFromSeed(data[1:]))
	case algMLDSA:
		if key, err = readMLDSA(parts[0], data[1:]); err != nil || keyHex(key.verifier(parts[0]).hash) != parts[1] {
			return nil, bad
		}
	default:
		return nil, bad
	}
	return &Cosigner{key: key, public: key.verifier(parts[0]), now: now}, nil
}

// Name implements note.Signer.
func (c *Cosigner) Name() string { return c.public.name }

// KeyHash implements note.Signer.
func (c *Cosigner) KeyHash() uint32 { return c.public.hash }

// Sign implements note.Signer.
func (c *Cosigner) Sign(text []byte) ([]byte, error) {
	t := c.now().Unix()
	if t < 0 {
		return nil, assay.Errorf(assay.CodeInternal, "the witness's clock is before 1970")
	}
	sig, err := c.key.sign(uint64(t), text)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint64(nil, uint64(t)), sig...), nil
}

// VKey is the witness's public key in C2SP's form, type 0x04 or 0x06.
func (c *Cosigner) VKey() string {
	v := c.public
	return v.name + "+" + keyHex(v.hash) + "+" + base64.StdEncoding.EncodeToString(append([]byte{v.alg}, v.public...))
}

// line is a signature as it stands in a note.
func (c *Cosigner) line(sig []byte) string {
	raw := append(binary.BigEndian.AppendUint32(nil, c.public.hash), sig...)
	return "— " + c.public.name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
}

// edKey cosigns with Ed25519.
type edKey ed25519.PrivateKey

func (k edKey) sign(t uint64, text []byte) ([]byte, error) {
	return ed25519.Sign(ed25519.PrivateKey(k), cosigned(t, text)), nil
}

func (k edKey) verifier(name string) cosignatureVerifier {
	return edVerifier(name, ed25519.PrivateKey(k).Public().(ed25519.PublicKey))
}

func edVerifier(name string, public ed25519.PublicKey) cosignatureVerifier {
	return newVerifier(name, algCosignature, public, func(t uint64, text, sig []byte) bool {
		return ed25519.Verify(public, cosigned(t, text), sig) // checks the length, too
	})
}

// cosigned is what an Ed25519 cosignature signs.
func cosigned(t uint64, text []byte) []byte {
	return append([]byte("cosignature/v1\ntime "+strconv.FormatUint(t, 10)+"\n"), text...)
}

// cosignatureVerifier verifies one witness's cosignatures; a note.Verifier.
type cosignatureVerifier struct {
	name   string
	hash   uint32
	alg    byte
	public []byte
	holds  func(t uint64, text, sig []byte) bool
}

// newVerifier names a key as signed notes do.
func newVerifier(name string, alg byte, public []byte, holds func(t uint64, text, sig []byte) bool) cosignatureVerifier {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write([]byte{alg})
	h.Write(public)
	return cosignatureVerifier{name, binary.BigEndian.Uint32(h.Sum(nil)), alg, public, holds}
}

func keyHex(hash uint32) string { return fmt.Sprintf("%08x", hash) }

func (v cosignatureVerifier) Name() string    { return v.name }
func (v cosignatureVerifier) KeyHash() uint32 { return v.hash }

func (v cosignatureVerifier) Verify(text, sig []byte) bool {
	return len(sig) > cosigTime && v.holds(binary.BigEndian.Uint64(sig), text, sig[cosigTime:])
}

// ParseWitnessKey reads a witness's public key: a C2SP vkey of type 0x04 or 0x06.
func ParseWitnessKey(vkey string) (note.Verifier, error) {
	bad := assay.Errorf(assay.CodeInvalid, "witness key is not name+id+data with a cosignature key of Ed25519 (type 0x04) or ML-DSA-44 (0x06)")
	bad.Hint = "copy the whole line that the witness publishes, for example from `assay ledger witness`"
	parts := strings.SplitN(strings.TrimSpace(vkey), "+", 3)
	if len(vkey) > maxWitnessKey || len(parts) != 3 || !originForm.MatchString(parts[0]) {
		return nil, bad
	}
	data, err := exactBase64(parts[2])
	if err != nil || len(data) < 1 {
		return nil, bad
	}
	var v cosignatureVerifier
	switch {
	case data[0] == algCosignature && len(data) == 1+ed25519.PublicKeySize:
		v = edVerifier(parts[0], data[1:])
	case data[0] == algMLDSA:
		if v, err = mldsaVerifier(parts[0], data[1:]); err != nil {
			return nil, bad
		}
	default:
		return nil, bad
	}
	if keyHex(v.hash) != parts[1] {
		bad.Msg = "witness key id does not belong to its name and key: one of them was altered"
		return nil, bad
	}
	return v, nil
}

// Cosignature says that a witness saw a head.
type Cosignature struct {
	Witness string    `json:"witness"` // its name in the policy
	Time    time.Time `json:"time"`    // by the witness's clock, whole seconds
}

// Quorum is what a policy says of a head.
type Quorum struct {
	Met          bool          `json:"met"`
	Cosignatures []Cosignature `json:"cosignatures"` // of the policy's witnesses; in the order of the head's lines
}

// Check verifies the cosignatures on a head that was verified before. Signatures of
// keys that the policy does not name are ignored. One of a named key that does not
// hold, and one from more than MaxClockSkew after now, refuse the head.
func (p *WitnessPolicy) Check(head []byte, now time.Time) (Quorum, error) {
	q := Quorum{Cosignatures: []Cosignature{}}
	if len(head) > MaxCheckpoint {
		return q, tooLarge("checkpoint", len(head), MaxCheckpoint)
	}
	seen := map[string]bool{}
	n, err := note.Open(head, p.verifiers())
	if err != nil {
		if bad, ok := errors.AsType[*note.InvalidSignatureError](err); ok {
			return q, unverified("the cosignature of witness %s does not hold", bad.Name)
		}
		if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
			q.Met = p.satisfied(seen)
			return q, nil
		}
		return q, assay.Errorf(assay.CodeInvalid, "checkpoint is not a signed note: %w", err)
	}
	for _, s := range n.Sigs {
		raw, err := exactBase64(s.Base64)
		if err != nil || len(raw) < 4+cosigTime {
			return q, assay.Errorf(assay.CodeInvalid, "cosignature is not in the exact form of base64")
		}
		name := p.names[keyID{s.Name, s.Hash}]
		t := time.Unix(int64(min(binary.BigEndian.Uint64(raw[4:]), 1<<40)), 0).UTC()
		if t.After(now.Add(MaxClockSkew)) {
			e := unverified("witness %s cosigned at %s, which is %s in the future", name, t.Format(time.RFC3339), t.Sub(now).Round(time.Second))
			e.Hint = "one of the two clocks is wrong; up to " + MaxClockSkew.String() + " is allowed"
			return q, e
		}
		seen[name] = true
		q.Cosignatures = append(q.Cosignatures, Cosignature{Witness: name, Time: t})
	}
	q.Met = p.satisfied(seen)
	return q, nil
}

// sameText reports whether two signed notes say the same, whoever signed them.
func sameText(a, b []byte) bool {
	x, _, ok1 := bytes.Cut(a, []byte("\n\n"))
	y, _, ok2 := bytes.Cut(b, []byte("\n\n"))
	return ok1 && ok2 && bytes.Equal(x, y)
}
