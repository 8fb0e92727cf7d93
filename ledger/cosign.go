package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
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
	algCosignature = 4 // C2SP signed-note: Ed25519 cosignature v1
	cosigTime      = 8 // bytes of time before the signature
)

// Cosigner signs the heads of other logs as a C2SP witness does (cosignature/v1,
// Ed25519). It implements note.Signer.
type Cosigner struct {
	name string
	hash uint32
	key  ed25519.PrivateKey
	now  func() time.Time
}

// NewCosigner reads a secret key as GenerateKey makes one; the witness has the key's
// name. The same seed must not sign a log of its own. Errors never contain the key.
func NewCosigner(skey string, now func() time.Time) (*Cosigner, error) {
	bad := assay.Errorf(assay.CodeInvalid, "witness key is not an Ed25519 signer key (PRIVATE+KEY+name+id+data)")
	if _, err := note.NewSigner(strings.TrimSpace(skey)); err != nil {
		return nil, bad
	}
	parts := strings.SplitN(strings.TrimPrefix(strings.TrimSpace(skey), signerPrefix), "+", 3)
	if len(parts) != 3 || !originForm.MatchString(parts[0]) {
		return nil, bad
	}
	data, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(data) != 1+ed25519.SeedSize || data[0] != algEd25519 {
		return nil, bad
	}
	key := ed25519.NewKeyFromSeed(data[1:])
	return &Cosigner{name: parts[0], hash: cosignerHash(parts[0], key.Public().(ed25519.PublicKey)), key: key, now: now}, nil
}

// Name implements note.Signer.
func (c *Cosigner) Name() string { return c.name }

// KeyHash implements note.Signer.
func (c *Cosigner) KeyHash() uint32 { return c.hash }

// Sign implements note.Signer.
func (c *Cosigner) Sign(text []byte) ([]byte, error) {
	t := c.now().Unix()
	if t < 0 {
		return nil, assay.Errorf(assay.CodeInternal, "the witness's clock is before 1970")
	}
	sig := binary.BigEndian.AppendUint64(nil, uint64(t))
	return append(sig, ed25519.Sign(c.key, cosigned(uint64(t), text))...), nil
}

// VKey is the witness's public key in C2SP's form, type 0x04.
func (c *Cosigner) VKey() string {
	public := c.key.Public().(ed25519.PublicKey)
	return fmt.Sprintf("%s+%08x+%s", c.name, c.hash, base64.StdEncoding.EncodeToString(append([]byte{algCosignature}, public...)))
}

// line is a signature as it stands in a note.
func (c *Cosigner) line(sig []byte) string {
	raw := append(binary.BigEndian.AppendUint32(nil, c.hash), sig...)
	return "— " + c.name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
}

// cosigned is what a cosignature signs.
func cosigned(t uint64, text []byte) []byte {
	return append([]byte("cosignature/v1\ntime "+strconv.FormatUint(t, 10)+"\n"), text...)
}

func cosignerHash(name string, public ed25519.PublicKey) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write([]byte{algCosignature})
	h.Write(public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// cosignatureVerifier verifies one witness's cosignatures; a note.Verifier.
type cosignatureVerifier struct {
	name   string
	hash   uint32
	public ed25519.PublicKey
}

func (v cosignatureVerifier) Name() string    { return v.name }
func (v cosignatureVerifier) KeyHash() uint32 { return v.hash }

func (v cosignatureVerifier) Verify(text, sig []byte) bool {
	if len(sig) != cosigTime+ed25519.SignatureSize {
		return false
	}
	return ed25519.Verify(v.public, cosigned(binary.BigEndian.Uint64(sig), text), sig[cosigTime:])
}

// ParseWitnessKey reads a witness's public key: a C2SP vkey of type 0x04.
func ParseWitnessKey(vkey string) (note.Verifier, error) {
	bad := assay.Errorf(assay.CodeInvalid, "witness key is not name+id+data with an Ed25519 cosignature key (type 0x04)")
	bad.Hint = "copy the whole line that the witness publishes, for example from `assay ledger witness`"
	parts := strings.SplitN(strings.TrimSpace(vkey), "+", 3)
	if len(vkey) > maxKey || len(parts) != 3 || !originForm.MatchString(parts[0]) {
		return nil, bad
	}
	data, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(data) != 1+ed25519.PublicKeySize || data[0] != algCosignature {
		return nil, bad
	}
	v := cosignatureVerifier{name: parts[0], public: data[1:]}
	v.hash = cosignerHash(v.name, v.public)
	if fmt.Sprintf("%08x", v.hash) != parts[1] {
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
		raw, err := base64.StdEncoding.Strict().DecodeString(s.Base64)
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
