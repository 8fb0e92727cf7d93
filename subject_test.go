package assay_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"assay.dev/assay"
)

func FuzzParseDigest(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("ab", 32))
	f.Add("sha256:" + strings.Repeat("AB", 32))
	f.Add("sha512:00")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := assay.ParseDigest(s)
		if err != nil {
			if assay.CodeOf(err) != assay.CodeInvalid || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Fatalf("%q: error %q", s, err)
			}
			return
		}
		if string(d) != s || len(d.Hex()) != 64 || d.Short() != d.Hex()[:12] {
			t.Fatalf("%q was read as %q", s, d)
		}
	})
}

func TestDigestIsOnlyTheCanonicalForm(t *testing.T) {
	sum := sha256.Sum256([]byte("x"))
	d := assay.DigestOf(sum)
	if got, err := assay.ParseDigest(string(d)); err != nil || got != d {
		t.Fatalf("ParseDigest(%s) = %s, %v", d, got, err)
	}
	for _, bad := range []string{d.Hex(), "sha1:" + d.Hex(), "sha256:" + strings.ToUpper(d.Hex()), string(d) + " ", string(d[:70]), "sha256:" + strings.Repeat("g", 64)} {
		if _, err := assay.ParseDigest(bad); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%q was accepted (%v)", bad, err)
		}
	}
}

func TestErrorIsOneLineWithPlaceFieldAndHint(t *testing.T) {
	e := &assay.Error{Code: assay.CodeInvalid, File: "p.yaml", Line: 12, Column: 5, Field: "spec.mode", Msg: "is\n\x1b[31mwrong", Hint: "write enforce"}
	if got, want := e.Error(), "p.yaml:12:5: spec.mode is  [31mwrong (write enforce)"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if assay.CodeOf(nil) != "" || assay.CodeOf(e.In("other")) != assay.CodeInvalid {
		t.Error("CodeOf does not find the code")
	}
}
