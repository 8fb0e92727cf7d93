package ledger_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"
)

// filled is a world with n facts in the ledger.
func filled(t *testing.T, n int) (*world, []assay.FactID) {
	t.Helper()
	w := newWorld(t)
	ids := commit(t, w.store, 0, n)
	stop := run(t, w.sequencer(t, func(c *ledger.SequencerConfig) { c.Batch = 100 }))
	synctest.Wait()
	stop()
	return w, ids
}

func TestVerifyProofSaysWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := filled(t, 300)
		p, err := w.ledger.Prove(t.Context(), "shop", ids[270])
		if err != nil {
			t.Fatal(err)
		}
		good := p.Marshal()
		if err := ledger.VerifyProof(p.Leaf, good, w.verifier, assay.DefaultOrigin); err != nil {
			t.Fatal(err)
		}
		_, sameName := keys(t, 2, assay.DefaultOrigin)
		otherSigner, otherKey := keys(t, 3, "example.com/ledger")
		change := func(f func(p *ledger.Proof)) []byte {
			c := ledger.Proof{Index: p.Index, Hashes: append([][32]byte{}, p.Hashes...), Checkpoint: bytes.Clone(p.Checkpoint)}
			f(&c)
			return c.Marshal()
		}
		spare := bytes.Clone(good) // the signature's last character has unused bits
		spare[bytes.LastIndexByte(spare, '=')-1]++
		altered := bytes.Replace(p.Leaf, []byte(`"seq":270`), []byte(`"seq":271`), 1)
		for name, c := range map[string]struct {
			leaf, proof []byte
			key         note.Verifier
			origin      string
			want        string
			code        assay.Code
		}{
			"leaf altered":           {altered, good, w.verifier, assay.DefaultOrigin, "leaf or proof altered", assay.CodeUnverified},
			"hash altered":           {p.Leaf, change(func(p *ledger.Proof) { p.Hashes[3][7] ^= 1 }), w.verifier, assay.DefaultOrigin, "leaf or proof altered", assay.CodeUnverified},
			"other index":            {p.Leaf, change(func(p *ledger.Proof) { p.Index-- }), w.verifier, assay.DefaultOrigin, "leaf or proof altered", assay.CodeUnverified},
			"index beyond":           {p.Leaf, change(func(p *ledger.Proof) { p.Index = 300 }), w.verifier, assay.DefaultOrigin, "covers only 300 leaves", assay.CodeUnverified},
			"hash removed":           {p.Leaf, change(func(p *ledger.Proof) { p.Hashes = p.Hashes[1:] }), w.verifier, assay.DefaultOrigin, "does not fit index 270", assay.CodeUnverified},
			"proof truncated":        {p.Leaf, good[:len(good)-1], w.verifier, assay.DefaultOrigin, "cut off", assay.CodeInvalid},
			"signature truncated":    {p.Leaf, good[:len(good)-40], w.verifier, assay.DefaultOrigin, "cut off", assay.CodeInvalid},
			"signature's spare bits": {p.Leaf, spare, w.verifier, assay.DefaultOrigin, "not in the exact form of base64", assay.CodeInvalid},
			"checkpoint removed":     {p.Leaf, change(func(p *ledger.Proof) { p.Checkpoint = nil }), w.verifier, assay.DefaultOrigin, "no signature part", assay.CodeInvalid},
			"checkpoint tampered":    {p.Leaf, bytes.Replace(good, []byte("\n300\n"), []byte("\n301\n"), 1), w.verifier, assay.DefaultOrigin, "does not verify with key " + assay.DefaultOrigin, assay.CodeUnverified},
			"wrong key, same name":   {p.Leaf, good, sameName, assay.DefaultOrigin, "carries no signature of key", assay.CodeUnverified},
			"wrong key, other name":  {p.Leaf, good, otherKey, assay.DefaultOrigin, "carries no signature of key", assay.CodeUnverified},
			"wrong origin":           {p.Leaf, good, otherKey, otherSigner.Name(), `is of origin "assay.dev/ledger", expected "example.com/ledger"`, assay.CodeUnverified},
			"extra data":             {p.Leaf, bytes.Replace(good, []byte("index "), []byte("extra AAAA\nindex "), 1), w.verifier, assay.DefaultOrigin, "without extra data", assay.CodeInvalid},
			"too large":              {p.Leaf, make([]byte, ledger.MaxProof+1), w.verifier, assay.DefaultOrigin, "the limit is", assay.CodeTooLarge},
			"empty":                  {p.Leaf, nil, w.verifier, assay.DefaultOrigin, "is not a tlog-proof", assay.CodeInvalid},
		} {
			err := ledger.VerifyProof(c.leaf, c.proof, c.key, c.origin)
			if err == nil || !strings.Contains(err.Error(), c.want) || assay.CodeOf(err) != c.code {
				t.Errorf("%s: %v (%s), want %q (%s)", name, err, assay.CodeOf(err), c.want, c.code)
			}
		}
	})
}

func TestAnyEarlierHeadIsConsistentWithAnyLaterOne(t *testing.T) {
	signer, verifier := keys(t, 1, assay.DefaultOrigin)
	const n = 700
	heads := make([]ledger.Checkpoint, n+1)
	log := newLog(t, signer, func(size int, raw []byte) {
		c, err := ledger.ParseCheckpoint(raw, assay.DefaultOrigin, verifier)
		if err != nil {
			t.Fatal(err)
		}
		heads[size] = c
	}, n)
	rapid.Check(t, func(t *rapid.T) {
		older := rapid.IntRange(0, n).Draw(t, "older")
		newer := rapid.IntRange(older, n).Draw(t, "newer")
		if err := ledger.CheckExtends(t.Context(), log, heads[older], heads[newer]); err != nil {
			t.Fatalf("%d to %d: %v", older, newer, err)
		}
		if older == newer || older == 0 {
			return
		}
		forged := heads[older]
		forged.Root[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1
		if err := ledger.CheckExtends(t.Context(), log, forged, heads[newer]); assay.CodeOf(err) != assay.CodeUnverified {
			t.Fatalf("%d to %d with a forged root: %v", older, newer, err)
		}
		if err := ledger.CheckExtends(t.Context(), log, heads[newer], heads[older]); assay.CodeOf(err) != assay.CodeUnverified {
			t.Fatalf("%d back to %d: %v", newer, older, err)
		}
	})
}

func TestLedgerKeyCanBeNamedForEveryEpoch(t *testing.T) {
	skey, vkey, err := ledger.GenerateKey(&stream{9}, assay.DefaultOrigin)
	if err != nil {
		t.Fatal(err)
	}
	origin := ledger.EpochOrigin(assay.DefaultOrigin, 3)
	s, err := ledger.ParseSigner(skey, origin)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ledger.ParseVerifierFor(vkey, origin)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: "x\n"}, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(signed, note.VerifierList(v)); err != nil {
		t.Error(err)
	}
	if n, ok := ledger.EpochOf(assay.DefaultOrigin, origin); !ok || n != 3 {
		t.Errorf("EpochOf = %d, %v", n, ok)
	}
	for _, o := range []string{"other", origin + "x", assay.DefaultOrigin + "/epoch-0", assay.DefaultOrigin + "/epoch-01"} {
		if _, ok := ledger.EpochOf(assay.DefaultOrigin, o); ok {
			t.Errorf("%q counts as an epoch", o)
		}
	}
	for _, bad := range []string{"", "a b", "a+b", strings.Repeat("x", 300)} {
		if _, _, err := ledger.GenerateKey(&stream{}, bad); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("origin %q: %v", bad, err)
		}
	}
}
