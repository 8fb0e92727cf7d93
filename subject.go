package assay

import (
	"encoding/hex"
	"strings"
)

// Digest is "sha256:" and 64 lower-case hexadecimal digits. The zero value is "no digest".
type Digest string

// ParseDigest accepts only the exact form that Digest documents.
func ParseDigest(s string) (Digest, error) {
	h, ok := strings.CutPrefix(s, "sha256:")
	if !ok {
		return "", Errorf(CodeInvalid, "digest %q does not start with \"sha256:\"", clip(s))
	}
	if len(h) != 64 || strings.ToLower(h) != h {
		return "", Errorf(CodeInvalid, "digest %q is not 64 lower-case hexadecimal digits", clip(s))
	}
	if _, err := hex.DecodeString(h); err != nil {
		return "", Errorf(CodeInvalid, "digest %q is not hexadecimal", clip(s))
	}
	return Digest(s), nil
}

// DigestOf makes a Digest of a SHA-256 sum.
func DigestOf(sum [32]byte) Digest {
	var room [7 + 2*32]byte
	return Digest(hex.AppendEncode(append(room[:0], "sha256:"...), sum[:]))
}

// Hex returns the digits without the algorithm, "" for the zero value.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), "sha256:") }

// Short returns the first 12 digits, for people; never compare it.
func (d Digest) Short() string { return d.Hex()[:min(12, len(d.Hex()))] }

// Subject is the artifact that is judged. Only Digest identifies it.
type Subject struct {
	Name   string `json:"name"`             // file or image name, for people
	Digest Digest `json:"digest"`           // what identifies it
	URI    string `json:"uri,omitempty"`    // SLSA resourceUri, for example "pkg:generic/assay"
	Commit string `json:"commit,omitempty"` // source revision it was built from, if known
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
