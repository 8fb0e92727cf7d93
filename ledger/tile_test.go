package ledger_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	tproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"pgregory.net/rapid"
)

// levels is a tree of leaf hashes as tiles: every eighth level of its nodes.
type levels [][][]byte

// newLevels makes a tree of n leaves, each of them different.
func newLevels(n int) levels {
	row := make([][]byte, n)
	for i := range row {
		row[i] = rfc6962.DefaultHasher.HashLeaf(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	var out levels
	for level := 0; len(row) > 0; level++ {
		if level%8 == 0 {
			out = append(out, row)
		}
		above := make([][]byte, len(row)/2)
		for i := range above {
			above[i] = rfc6962.DefaultHasher.HashChildren(row[2*i], row[2*i+1])
		}
		row = above
	}
	return out
}

// ReadTile answers as a tree does whose edge is at any size: what is asked for.
func (l levels) ReadTile(_ context.Context, level, index uint64, p uint8) ([]byte, error) {
	from, n := index*256, uint64(p)
	if n == 0 {
		n = 256
	}
	if level >= uint64(len(l)) || from+n > uint64(len(l[level])) {
		return nil, fmt.Errorf("the tree has no tile %d/%d.p/%d", level, index, p)
	}
	return slices.Concat(l[level][from : from+n]...), nil
}

// ReadCheckpoint implements ledger.Reader.
func (levels) ReadCheckpoint(context.Context) ([]byte, error) { panic("not read here") }

// ReadEntryBundle implements ledger.Reader.
func (levels) ReadEntryBundle(context.Context, uint64, uint8) ([]byte, error) {
	panic("not read here")
}

func TestProofsFromTilesAreThoseOfTheReferenceBuilder(t *testing.T) {
	const n = 3*65536 + 700 // four tiles at level 1, one at level 2
	tree := newLevels(n)
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint64Range(1, n).Draw(t, "size")
		if rapid.Bool().Draw(t, "round") { // edges of tiles are where mistakes are
			size = max(256, size&^255)
		}
		index := rapid.Uint64Range(0, size-1).Draw(t, "index")
		builder, err := client.NewProofBuilder(t.Context(), size, tree.ReadTile)
		if err != nil {
			t.Fatal(err)
		}
		want, err := builder.InclusionProof(t.Context(), index)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ledger.InclusionHashes(t.Context(), tree, index, size)
		if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("inclusion of %d in %d: %x, %v; the reference has %x", index, size, got, err, want)
		}
		older := rapid.Uint64Range(1, size).Draw(t, "older")
		if want, err = builder.ConsistencyProof(t.Context(), older, size); err != nil {
			t.Fatal(err)
		}
		got, err = ledger.ConsistencyHashes(t.Context(), tree, older, size)
		if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("consistency of %d and %d: %x, %v; the reference has %x", older, size, got, err, want)
		}
	})
}

func TestATileThatIsCutOffIsNotUsed(t *testing.T) {
	tree := newLevels(300)
	for name, cut := range map[string]int{"empty": 0, "one byte short": 44*32 - 1} {
		r := tampered{Reader: tree, tile: func(level, index uint64, b []byte) []byte {
			if index == 1 {
				return b[:cut]
			}
			return b
		}}
		_, err := ledger.InclusionHashes(t.Context(), r, 7, 300)
		if assay.CodeOf(err) != assay.CodeUnverified || !strings.Contains(err.Error(), "tile/0/001.p/44 is cut off") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// spoiled is a reader whose leaf hash number at is wrong while on is set.
func spoiled(w *world, at int, on *bool) tampered {
	return tampered{Reader: w.log, tile: func(level, index uint64, b []byte) []byte {
		if *on && level == 0 && index == uint64(at/256) {
			return flip(at % 256 * sha256.Size)(b)
		}
		return b
	}}
}

// What a cache means for a verifier: memory goes on proving what was signed, and
// the audit, which has no memory, says that the disk does not hold it any more.
func TestATileAlteredAfterItWasReadIsProvedAsSignedAndFoundByAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := filled(t, 600)
		on := false
		open := func() *ledger.Ledger {
			l, err := ledger.New(w.store, salt, []ledger.Epoch{{Origin: assay.DefaultOrigin, Reader: spoiled(w, 20, &on), Verifier: w.verifier}})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		l := open()
		prove := func(l *ledger.Ledger, i int) error {
			p, err := l.Prove(t.Context(), "shop", ids[i])
			if err != nil {
				return err
			}
			return ledger.VerifyProof(p.Leaf, p.Marshal(), w.verifier, assay.DefaultOrigin)
		}
		if err := prove(l, 4); err != nil {
			t.Fatal(err)
		}
		on = true
		if err := prove(l, 5); err != nil {
			t.Errorf("from memory: %v", err)
		}
		if err := prove(open(), 5); assay.CodeOf(err) != assay.CodeUnverified {
			t.Errorf("from disk: %v, want unverified", err)
		}
		for name, l := range map[string]*ledger.Ledger{"which remembers": l, "which does not": open()} {
			r, err := l.Audit(t.Context(), ledger.AuditOptions{Fsck: true})
			if err != nil || r.OK || !strings.Contains(strings.Join(r.Problems, "\n"), "tile/0/000 of assay.dev/ledger does not hold") {
				t.Errorf("audit of a ledger %s: %+v, %v", name, r, err)
			}
		}
	})
}

// A proof does not look at its own leaf's place in the tile, so a tile that is
// wrong just there can enter the cache. It must not outlive its repair.
func TestATileThatWasWrongWhereNothingLookedIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := filled(t, 600)
		on := true
		l, err := ledger.New(w.store, salt, []ledger.Epoch{{Origin: assay.DefaultOrigin, Reader: spoiled(w, 20, &on), Verifier: w.verifier}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Prove(t.Context(), "shop", ids[20]); err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			if _, err := l.Prove(t.Context(), "shop", ids[21]); assay.CodeOf(err) != assay.CodeUnverified {
				t.Errorf("proof %d over the altered tile: %v, want unverified", i, err)
			}
		}
		on = false
		if _, err := l.Prove(t.Context(), "shop", ids[21]); err != nil {
			t.Errorf("after the repair: %v", err)
		}
	})
}

func TestTileCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	var c ledger.TileCache
	const n = 3 * ledger.MaxCachedTiles
	for i := range uint64(n) {
		if err := ledger.CacheTile(&c, 0, i, make([]byte, 256*32)); err != nil {
			t.Fatal(err)
		}
		if !ledger.IsCached(&c, 0, 0) { // which makes it the one used last
			t.Fatalf("tile 0 was given up after %d others, although it is used", i)
		}
	}
	kept := 0
	for i := range uint64(n) {
		if ledger.IsCached(&c, 0, i) {
			kept++
		}
	}
	if kept != ledger.MaxCachedTiles || ledger.IsCached(&c, 0, 1) || !ledger.IsCached(&c, 0, n-1) {
		t.Errorf("%d tiles are kept, want %d, the ones used last", kept, ledger.MaxCachedTiles)
	}
}

// Our reader and writer of proofs are held to those of the library for the format.
func FuzzParseProofAgreesWithTheLibrary(f *testing.F) {
	f.Add(ledger.Proof{Index: 3, Hashes: make([][32]byte, 2), Checkpoint: []byte("o\n4\nAA==\n\n— o AAAA\n")}.Marshal())
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 00\n\na\r\n"))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra AA==\nindex 1\n\na\n"))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 3\n\no\n4\rAA==\n\n— o AAAA\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 60_000 { // the library gives up at longer lines
			return
		}
		var want tproof.TLogProof
		err := want.Unmarshal(raw)
		// The library keeps a carriage return within a line of the checkpoint; a note has none.
		exact := err == nil && want.ExtraData == nil && len(want.Hashes) <= ledger.MaxHashes && bytes.Equal(want.Marshal(), raw) && bytes.IndexByte(raw, '\r') < 0
		got, err := ledger.ParseProof(raw)
		if (err == nil) != exact {
			t.Fatalf("%q: error %v, but the library takes it: %v", raw, err, exact)
		}
		if err != nil {
			return
		}
		if got.Index != want.Index || !slices.Equal(got.Hashes, want.Hashes) || !bytes.Equal(got.Checkpoint, want.Checkpoint) || !bytes.Equal(got.Marshal(), raw) {
			t.Fatalf("%q was read as %+v, the library reads %+v", raw, got, want)
		}
	})
}
