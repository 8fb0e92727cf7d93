package ledger

import (
	"bytes"
	"encoding/base64"

	"assay.dev/assay"
	"golang.org/x/mod/sumdb/note"
)

// A .tlog-proof file is a C2SP tlog-proof that carries its leaf as the format's extra
// data: all that a stranger needs besides the ledger's public key. Any reader of the
// format takes it; the entry whose hash it proves is the extra data.

const (
	// TlogProofExtension is the usual end of such a file's name.
	TlogProofExtension = ".tlog-proof"
	// MaxProofFile is the largest .tlog-proof file in bytes.
	MaxProofFile = MaxProof + MaxLeaf*4/3 + 16

	extraPrefix = "extra "
)

// IsProofFile reports whether the bytes begin as a tlog-proof does.
func IsProofFile(raw []byte) bool { return bytes.HasPrefix(raw, []byte(proofHeader)) }

// MarshalFile returns the proof as a .tlog-proof file, with the leaf.
func (p Proof) MarshalFile() []byte {
	rest := bytes.TrimPrefix(p.Marshal(), []byte(proofHeader))
	b := append([]byte(nil), proofHeader+extraPrefix...)
	b = base64.StdEncoding.AppendEncode(b, p.Leaf)
	b = append(b, '\n')
	return append(b, rest...)
}

// ParseProofFile reads a .tlog-proof file in the exact form that MarshalFile writes.
// It verifies nothing.
func ParseProofFile(raw []byte) (Proof, error) {
	if len(raw) > MaxProofFile {
		return Proof{}, tooLarge("ledger proof", len(raw), MaxProofFile)
	}
	rest, ok := bytes.CutPrefix(raw, []byte(proofHeader+extraPrefix))
	line, rest, cut := bytes.Cut(rest, []byte("\n"))
	if !ok || !cut {
		e := assay.Errorf(assay.CodeInvalid, "tlog-proof carries no leaf: its second line is not extra data")
		e.Hint = "make one with: assay ledger prove FACT --format tlog-proof"
		return Proof{}, e
	}
	leaf, err := exactBase64(string(line))
	if err != nil || len(leaf) == 0 || len(leaf) > MaxLeaf {
		return Proof{}, assay.Errorf(assay.CodeInvalid, "tlog-proof's extra data is not the base64 form of a leaf of at most %d bytes", MaxLeaf)
	}
	p, err := ParseProof(append([]byte(proofHeader), rest...))
	if err != nil {
		return Proof{}, err
	}
	p.Leaf = leaf
	return p, nil
}

// VerifyProofFile reports, offline, which leaf a .tlog-proof file proves, and under
// which head. The ledger is the one of the public key vkey, in any of its epochs.
func VerifyProofFile(raw []byte, vkey string) (Leaf, Checkpoint, error) {
	p, err := ParseProofFile(raw)
	if err != nil {
		return Leaf{}, Checkpoint{}, err
	}
	v, err := verifierOf(p.Checkpoint, vkey)
	if err != nil {
		return Leaf{}, Checkpoint{}, err
	}
	if err := VerifyProof(p.Leaf, p.Marshal(), v, v.Name()); err != nil {
		return Leaf{}, Checkpoint{}, err
	}
	leaf, err := ParseLeaf(p.Leaf)
	if err != nil {
		return Leaf{}, Checkpoint{}, err
	}
	c, err := ParseCheckpoint(p.Checkpoint, v.Name(), v)
	return leaf, c, err
}

// verifierOf is the ledger's key under the name of the epoch that a head claims.
func verifierOf(head []byte, vkey string) (note.Verifier, error) {
	base, err := ParseVerifier(vkey)
	if err != nil {
		return nil, err
	}
	c, err := ParseHead(head)
	if err != nil {
		return nil, err
	}
	if _, ok := EpochOf(base.Name(), c.Origin); !ok {
		return nil, unverified("the proof is of ledger %q, expected %q", clip(c.Origin), base.Name())
	}
	return ParseVerifierFor(vkey, c.Origin)
}
