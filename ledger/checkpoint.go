package ledger

import (
	"bytes"
	"errors"
	"strconv"

	"assay.dev/assay"
	"golang.org/x/mod/sumdb/note"
)

// Checkpoint is a verified tree head.
type Checkpoint struct {
	Origin string
	Size   uint64   // leaves it covers
	Root   [32]byte // RFC 6962 hash of them
	Raw    []byte   // the signed note, as read
}

// ParseCheckpoint reads a C2SP checkpoint and verifies that v signed it and that
// it is of origin. Signatures of other keys (witnesses) are ignored; a signature
// of v that does not hold refuses the checkpoint.
func ParseCheckpoint(raw []byte, origin string, v note.Verifier) (Checkpoint, error) {
	if len(raw) > MaxCheckpoint {
		return Checkpoint{}, tooLarge("checkpoint", len(raw), MaxCheckpoint)
	}
	text, _, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok {
		return Checkpoint{}, assay.Errorf(assay.CodeInvalid, "checkpoint is cut off: it has no signature part")
	}
	c, err := ParseHead(append(bytes.Clone(text), '\n'))
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != origin {
		return Checkpoint{}, unverified("checkpoint is of origin %q, expected %q", clip(c.Origin), origin)
	}
	n, err := note.Open(raw, note.VerifierList(v))
	if err != nil {
		if _, ok := errors.AsType[*note.InvalidSignatureError](err); ok {
			return Checkpoint{}, unverified("checkpoint signature does not verify with key %s", v.Name())
		}
		if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
			e := unverified("checkpoint carries no signature of key %s+%08x", v.Name(), v.KeyHash())
			e.Hint = "it was signed with another key; give the public key of this ledger"
			return Checkpoint{}, e
		}
		return Checkpoint{}, assay.Errorf(assay.CodeInvalid, "checkpoint is not a signed note: %w", err)
	}
	for _, s := range n.Sigs {
		// The library takes other forms of the same signature too.
		if _, err := exactBase64(s.Base64); err != nil {
			return Checkpoint{}, assay.Errorf(assay.CodeInvalid, "checkpoint signature is not in the exact form of base64")
		}
	}
	c.Raw = bytes.Clone(raw)
	return c, nil
}

// ParseHead reads the unsigned text of a checkpoint. It verifies nothing, and Raw is not set.
func ParseHead(text []byte) (Checkpoint, error) {
	bad := func(what string) (Checkpoint, error) {
		return Checkpoint{}, assay.Errorf(assay.CodeInvalid, "checkpoint %s", what)
	}
	l := bytes.SplitN(text, []byte("\n"), 4)
	if len(l) < 4 {
		return bad("does not have the lines origin, size and root")
	}
	if len(l[0]) == 0 {
		return bad("has an empty origin")
	}
	size, err := strconv.ParseUint(string(l[1]), 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != string(l[1]) {
		return bad("size is not a plain decimal number")
	}
	root, err := exactBase64(string(l[2]))
	if err != nil || len(root) != 32 {
		return bad("root is not the base64 form of 32 bytes")
	}
	return Checkpoint{Origin: string(l[0]), Size: size, Root: [32]byte(root)}, nil
}

// sizeOf reads the size of a checkpoint whose signature does not matter, because
// the bytes come from our own directory.
func sizeOf(raw []byte) (uint64, error) {
	c, err := ParseHead(raw)
	return c.Size, err
}
