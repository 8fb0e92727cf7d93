package attest_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/attest"
)

func proof(t testing.TB) attest.Proof {
	t.Helper()
	s := newSigner(t, "ecdsa")
	return attest.Proof{
		Bundle: signed(t, s, statement(t, verdict(assay.OutcomePass, assay.ModeEnforce))),
		Fact:   []byte(`{"id":"x"}`), Leaf: []byte{0, 1, 2}, TlogProof: "c2sp.org/tlog-proof@v1\nindex 0\n",
	}
}

func TestProofRoundTripsAndSurvivesReformatting(t *testing.T) {
	p := proof(t)
	data, err := attest.MarshalProof(p)
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, data, "", "    "); err != nil {
		t.Fatal(err)
	}
	for _, form := range [][]byte{data, pretty.Bytes()} {
		got, err := attest.ParseProof(form)
		if err != nil {
			t.Fatal(err)
		}
		if got.BundleDigest() != p.BundleDigest() || !bytes.Equal(got.Bundle, p.Bundle) || !bytes.Equal(got.Fact, p.Fact) ||
			!bytes.Equal(got.Leaf, p.Leaf) || got.TlogProof != p.TlogProof {
			t.Errorf("ParseProof = %+v; want what was written", got)
		}
	}
}

func TestProofIsRefused(t *testing.T) {
	data, err := attest.MarshalProof(proof(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"another media type", assay.ProofMediaType, assay.BundleMediaType, "mediaType is"},
		{"stripped of its leaf", `"leaf":"AAEC"`, `"leaf":""`, "leaf is missing"},
		{"stripped of its proof", `"tlogProof":"`, `"tlogProof":"","odd":"`, "odd"},
		{"null bundle", `"bundle":{`, `"bundle":null,"odd":{`, "odd"},
		{"a misspelt bundle", `"bundle":{`, `"bundel":{`, "bundel"},
		{"a duplicate key", `"leaf":`, `"leaf":"AA==","leaf":`, "duplicate key"},
		{"a duplicate key in the bundle", `"verificationMaterial":`, `"mediaType":"x","verificationMaterial":`, "duplicate key"},
		{"a fact that is not base64", `"fact":"`, `"fact":"*`, "fact is not base64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(string(data), c.old, c.new, 1)
			if changed == string(data) {
				t.Fatalf("%q is not in the proof", c.old)
			}
			if _, err := attest.ParseProof([]byte(changed)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v; want one with %q", err, c.want)
			}
		})
	}
	p := proof(t)
	p.Leaf = make([]byte, attest.MaxProofLeaf+1)
	if _, err := attest.MarshalProof(p); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("a leaf above the limit: %v; want too_large", err)
	}
	if _, err := attest.ParseProof([]byte(`{"mediaType":"` + assay.ProofMediaType + `","bundle":null,"fact":"AA==","leaf":"AA==","tlogProof":"x"}`)); err == nil || !strings.Contains(err.Error(), "bundle is missing") {
		t.Errorf("a null bundle: %v; want it refused", err)
	}
	p = proof(t)
	p.Bundle = append(p.Bundle, '\n')
	if _, err := attest.MarshalProof(p); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("a bundle that is not compact: %v; want invalid", err)
	}
}
