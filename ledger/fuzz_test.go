package ledger_test

import (
	"bytes"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
)

func FuzzParseLeaf(f *testing.F) {
	l, err := ledger.LeafOf(entry(41, fullFact()), salt)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.Marshal())
	f.Add(ledger.EpochLeaf(ledger.Checkpoint{Origin: "a", Size: 3}, 1, 2, 3).Marshal())
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := ledger.ParseLeaf(raw)
		if err == nil && !bytes.Equal(l.Marshal(), raw) {
			t.Errorf("%q is accepted but not canonical", raw)
		}
	})
}

func FuzzParseProof(f *testing.F) {
	f.Add(ledger.Proof{Index: 3, Hashes: make([][32]byte, 2), Checkpoint: []byte("o\n4\nAA==\n\n— o AAAA\n")}.Marshal())
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"))
	_, v := keys(f, 1, assay.DefaultOrigin)
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ledger.ParseProof(raw)
		if err == nil && !bytes.Equal(p.Marshal(), raw) {
			t.Errorf("%q is accepted but not canonical", raw)
		}
		if ledger.VerifyProof([]byte("leaf"), raw, v, assay.DefaultOrigin) == nil {
			t.Errorf("%q verifies without a signature of the key", raw)
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add([]byte("assay.dev/ledger\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— assay.dev/ledger AAAA\n"))
	f.Add([]byte("assay.dev/ledger\n01\n\n"))
	_, v := keys(f, 1, assay.DefaultOrigin)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := ledger.ParseCheckpoint(raw, assay.DefaultOrigin, v); err == nil {
			t.Errorf("%q is accepted without a signature of the key", raw)
		}
	})
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte("assay.dev/ledger\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := ledger.ParseHead(raw); err == nil && (c.Origin == "" || strings.Contains(c.Origin, "\n")) {
			t.Errorf("%q has origin %q", raw, c.Origin)
		}
	})
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte{0, 1, 'x', 0, 0})
	f.Add([]byte{0, 9, 'x'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := ledger.ParseBundle(raw)
		if err != nil {
			return
		}
		n := 0
		for _, e := range entries {
			n += 2 + len(e)
		}
		if n != len(raw) {
			t.Errorf("%q: leaves cover %d of %d bytes", raw, n, len(raw))
		}
	})
}

func FuzzParseVerifier(f *testing.F) {
	skey, vkey, err := ledger.GenerateKey(&stream{1}, assay.DefaultOrigin)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(vkey)
	f.Add(skey)
	f.Add("a+b+c")
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ledger.ParseVerifier(s); err == nil && !strings.HasPrefix(strings.TrimSpace(s), v.Name()+"+") {
			t.Errorf("%q has name %q", s, v.Name())
		}
		if v, err := ledger.ParseVerifierFor(s, "other"); err == nil && v.Name() != "other" {
			t.Errorf("%q has name %q, want other", s, v.Name())
		}
	})
}

func FuzzParseSigner(f *testing.F) {
	skey, _, err := ledger.GenerateKey(&stream{1}, assay.DefaultOrigin)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(skey)
	f.Add("PRIVATE+KEY+a+b+c")
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ledger.ParseSigner(s, "other"); err == nil && k.Name() != "other" {
			t.Errorf("signer has name %q, want other", k.Name())
		} else if err != nil && len(s) > 40 && strings.Contains(err.Error(), s) {
			t.Errorf("the error tells the key: %v", err)
		}
	})
}
