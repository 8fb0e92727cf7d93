package ledger_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	f_proof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// proofFile is a .tlog-proof of the third of five facts, and the ledger's key.
func proofFile(t testing.TB) (raw []byte, vkey string) {
	t.Helper()
	w := newWorld(t)
	ids := commit(t, w.store, 0, 5)
	publish(t, w, ids[4])
	p, err := w.ledger.Prove(t.Context(), "shop", ids[2])
	if err != nil {
		t.Fatal(err)
	}
	if _, vkey, err = ledger.GenerateKey(&stream{1}, assay.DefaultOrigin); err != nil {
		t.Fatal(err)
	}
	return p.MarshalFile(), vkey
}

// publish sequences until the fact is published.
func publish(t testing.TB, w *world, last assay.FactID) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.sequencer(t, nil).Run(ctx) }()
	if _, err := w.ledger.WaitPublished(ctx, "shop", last); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTlogProofFileVerifiesWithThePublicKeyAlone(t *testing.T) {
	raw, vkey := proofFile(t)
	leaf, head, err := ledger.VerifyProofFile(raw, vkey)
	if err != nil || leaf.Seq != 2 || leaf.Kind != assay.FactVerdict || head.Size != 5 {
		t.Errorf("leaf %+v under %d, %v", leaf, head.Size, err)
	}
	for i := range raw { // every byte counts
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if _, _, err := ledger.VerifyProofFile(changed, vkey); err == nil {
			t.Fatalf("byte %d can be changed: %q", i, raw[max(0, i-20):min(len(raw), i+20)])
		}
	}
	_, other, err := ledger.GenerateKey(&stream{2}, assay.DefaultOrigin)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ledger.VerifyProofFile(raw, other); assay.CodeOf(err) != assay.CodeUnverified {
		t.Errorf("with another ledger's key: %v", err)
	}
	if _, _, err := ledger.VerifyProofFile(bytes.Replace(raw, []byte("extra "), []byte("other "), 1), vkey); err == nil || !strings.Contains(err.Error(), "extra data") {
		t.Errorf("without extra data: %v", err)
	}
}

func TestTransparencyDevReadsOurTlogProofFile(t *testing.T) {
	raw, vkey := proofFile(t)
	_, head, err := ledger.VerifyProofFile(raw, vkey)
	if err != nil {
		t.Fatal(err)
	}
	var theirs f_proof.TLogProof
	if err := theirs.Unmarshal(raw); err != nil {
		t.Fatal(err)
	}
	var hashes [][]byte
	for _, h := range theirs.Hashes {
		hashes = append(hashes, h[:])
	}
	h := rfc6962.DefaultHasher
	if err := proof.VerifyInclusion(h, theirs.Index, head.Size, h.HashLeaf(theirs.ExtraData), hashes, head.Root[:]); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(theirs.Marshal(), raw) {
		t.Error("the library writes another file than ours")
	}
}

func FuzzParseProofFile(f *testing.F) {
	raw, _ := proofFile(f)
	f.Add(raw)
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra AA==\nindex 0\n\n"))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra AA=\r=\nindex 0\n\n")) // the library's decoder passes over line ends
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ledger.ParseProofFile(raw)
		if err == nil && !bytes.Equal(p.MarshalFile(), raw) {
			t.Errorf("%q is accepted but not canonical", raw)
		}
	})
}
