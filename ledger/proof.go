package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"

	"assay.dev/assay"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// Proof shows that a leaf is in the ledger. With the ledger's public key it is all
// that a third party needs.
type Proof struct {
	Leaf       []byte              // the leaf's bytes; they stand beside the serialised proof, not in it
	Index      uint64              // position of the leaf
	Hashes     [][sha256.Size]byte // RFC 6962 inclusion proof
	Checkpoint []byte              // the signed head it leads to
}

// proofHeader begins a tlog-proof.
const proofHeader = "c2sp.org/tlog-proof@v1\n"

// hashLine is the length of a hash in a tlog-proof.
const hashLine = (sha256.Size + 2) / 3 * 4

// Marshal returns the proof in C2SP's tlog-proof format, without the leaf.
func (p Proof) Marshal() []byte {
	b := make([]byte, 0, len(proofHeader)+len("index \n\n")+20+len(p.Hashes)*(hashLine+1)+len(p.Checkpoint))
	b = append(b, proofHeader+"index "...)
	b = strconv.AppendUint(b, p.Index, 10)
	b = append(b, '\n')
	for _, h := range p.Hashes {
		b = base64.StdEncoding.AppendEncode(b, h[:])
		b = append(b, '\n')
	}
	b = append(b, '\n')
	return append(b, p.Checkpoint...)
}

// ParseProof reads a C2SP tlog-proof. Only the exact form that Marshal writes is
// accepted, so that two different files are never the same proof. It verifies nothing.
func ParseProof(raw []byte) (Proof, error) {
	if len(raw) > MaxProof {
		return Proof{}, tooLarge("ledger proof", len(raw), MaxProof)
	}
	rest, ok := bytes.CutPrefix(raw, []byte(proofHeader))
	if !ok {
		return Proof{}, assay.Errorf(assay.CodeInvalid, "ledger proof is not a tlog-proof: it does not begin with the line %q", strings.TrimSpace(proofHeader))
	}
	inexact := assay.Errorf(assay.CodeInvalid, "ledger proof is cut off or not in the exact form of a tlog-proof without extra data")
	line, rest, ok := bytes.Cut(rest, []byte("\n"))
	number, isIndex := bytes.CutPrefix(line, []byte("index "))
	index, err := strconv.ParseUint(string(number), 10, 64)
	if !ok || !isIndex || err != nil {
		return Proof{}, inexact
	}
	p := Proof{Index: index}
	for {
		if line, rest, ok = bytes.Cut(rest, []byte("\n")); !ok {
			return Proof{}, inexact
		}
		if len(line) == 0 {
			break
		}
		if len(p.Hashes) == MaxHashes {
			return Proof{}, assay.Errorf(assay.CodeTooLarge, "ledger proof has more than %d hashes", MaxHashes)
		}
		hash, err := exactBase64(string(line))
		if err != nil || len(hash) != sha256.Size {
			return Proof{}, assay.Errorf(assay.CodeInvalid, "ledger proof is not a tlog-proof: hash %d is not the base64 form of %d bytes", len(p.Hashes), sha256.Size)
		}
		p.Hashes = append(p.Hashes, [sha256.Size]byte(hash))
	}
	if n := len(rest); n > 0 && rest[n-1] != '\n' || bytes.IndexByte(rest, '\r') >= 0 {
		return Proof{}, inexact
	}
	p.Checkpoint = bytes.Clone(rest)
	if !bytes.Equal(p.Marshal(), raw) {
		return Proof{}, inexact // for example an index with a leading zero
	}
	return p, nil
}

// ProofOrigin returns the origin that a serialised proof claims, to choose the key
// that VerifyProof is given. The claim means nothing before VerifyProof succeeded.
func ProofOrigin(raw []byte) (string, error) {
	p, err := ParseProof(raw)
	if err != nil {
		return "", err
	}
	c, err := ParseHead(p.Checkpoint)
	return c.Origin, err
}

// VerifyProof reports whether the leaf is in the ledger of that origin, by a
// tlog-proof and the ledger's public key. It needs no network, clock or file. It
// says nothing about what the leaf means: read it with ParseLeaf and compare its
// digest with what you hold.
func VerifyProof(leaf, tlogProof []byte, v note.Verifier, origin string) error {
	if len(leaf) > MaxLeaf {
		return tooLarge("ledger leaf", len(leaf), MaxLeaf)
	}
	p, err := ParseProof(tlogProof)
	if err != nil {
		return err
	}
	c, err := ParseCheckpoint(p.Checkpoint, origin, v)
	if err != nil {
		return err
	}
	if p.Index >= c.Size {
		return unverified("ledger proof is for index %d, but its checkpoint covers only %d leaves", p.Index, c.Size)
	}
	return VerifyInclusion(p.Index, c.Size, rfc6962.DefaultHasher.HashLeaf(leaf), slices32(p.Hashes), c.Root[:])
}

// VerifyInclusion verifies an RFC 6962 inclusion proof for a leaf hash: that of the
// subtree which is the whole tree.
func VerifyInclusion(index, size uint64, leafHash []byte, hashes [][]byte, root []byte) error {
	if size == 0 {
		return unverified("a tree without leaves holds nothing")
	}
	return VerifySubtreeInclusion(index, 0, size, leafHash, hashes, root)
}

func verifyInclusion(index, size uint64, leafHash []byte, hashes [][]byte, root []byte) error {
	err := proof.VerifyInclusion(hasher{}, index, size, leafHash, hashes, root)
	if err == nil {
		return nil
	}
	if _, ok := err.(proof.RootMismatchError); ok {
		return unverified("ledger proof leads to another root than the signed one: leaf or proof altered")
	}
	return unverified("ledger proof does not fit index %d of a tree with %d leaves: %w", index, size, err)
}

// VerifyConsistency verifies that the newer of two heads extends the older one,
// by an RFC 6962 consistency proof.
func VerifyConsistency(older, newer Checkpoint, hashes [][]byte) error {
	if older.Origin != newer.Origin {
		return unverified("checkpoints are of different ledgers: %q and %q", clip(older.Origin), clip(newer.Origin))
	}
	return verifyConsistency(older.Size, newer.Size, hashes, older.Root[:], newer.Root[:])
}

func verifyConsistency(size1, size2 uint64, hashes [][]byte, root1, root2 []byte) error {
	// A tree without leaves is the beginning of every tree, but only by its own
	// root; the proof library leaves that to its caller.
	if size1 == 0 && (!bytes.Equal(root1, rfc6962.DefaultHasher.EmptyRoot()) || len(root2) != sha256.Size) {
		return unverified("checkpoint of size 0 does not have the root of an empty tree")
	}
	err := proof.VerifyConsistency(hasher{}, size1, size2, hashes, root1, root2)
	if err == nil && size1 > 0 {
		// The library and our own verifier must agree: a mistake in one of them alone
		// neither signs nor cosigns a fork.
		return VerifySubtreeConsistency(0, size1, size2, hashes, root1, root2)
	}
	if err == nil {
		return nil
	}
	if _, ok := err.(proof.RootMismatchError); ok {
		return unverified("the ledger of size %d is not a continuation of the one of size %d: history was rewritten", size2, size1)
	}
	return unverified("consistency proof does not fit sizes %d and %d: %w", size1, size2, err)
}

func slices32(in [][sha256.Size]byte) [][]byte {
	out := make([][]byte, len(in))
	for i := range in {
		out[i] = in[i][:]
	}
	return out
}
