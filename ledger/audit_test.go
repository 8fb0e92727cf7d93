package ledger_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
)

// tampered changes what a reader returns.
type tampered struct {
	ledger.Reader
	checkpoint func([]byte) []byte
	tile       func(level, index uint64, b []byte) []byte
	bundle     func(index uint64, b []byte) []byte
}

func (r tampered) ReadCheckpoint(ctx context.Context) ([]byte, error) {
	b, err := r.Reader.ReadCheckpoint(ctx)
	if err == nil && r.checkpoint != nil {
		b = r.checkpoint(b)
	}
	return b, err
}

func (r tampered) ReadTile(ctx context.Context, level, index uint64, p uint8) ([]byte, error) {
	b, err := r.Reader.ReadTile(ctx, level, index, p)
	if err == nil && r.tile != nil {
		b = r.tile(level, index, b)
	}
	return b, err
}

func (r tampered) ReadEntryBundle(ctx context.Context, index uint64, p uint8) ([]byte, error) {
	b, err := r.Reader.ReadEntryBundle(ctx, index, p)
	if err == nil && r.bundle != nil {
		b = r.bundle(index, b)
	}
	return b, err
}

// without is a store that lost a fact's row.
type without struct {
	store.Outbox
	seq uint64
}

func (w without) Entries(ctx context.Context, from uint64, limit int) ([]store.Entry, error) {
	es, err := w.Outbox.Entries(ctx, from, limit)
	var out []store.Entry
	for _, e := range es {
		if e.Seq != w.seq {
			out = append(out, e)
		}
	}
	return out, err
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b = bytes.Clone(b); b[at] ^= 1; return b }
}

// damages are done to a sound ledger of 400 facts.
var damages = map[string]struct {
	reader tampered
	outbox func(store.Outbox) store.Outbox
	want   []string // each in some problem
}{
	"nothing in a sound ledger": {},
	"altered fact payload": {
		outbox: func(o store.Outbox) store.Outbox {
			return rewritten{o, 300, func(e *store.Entry) { e.Fact.Payload = []byte(`{"n":0}`) }}
		},
		want: []string{"fact number 300", "was altered in the store after it entered the ledger"},
	},
	"fact replaced by another": {
		outbox: func(o store.Outbox) store.Outbox {
			return rewritten{o, 3, func(e *store.Entry) { e.Fact.ID = store.NewFactID() }}
		},
		want: []string{"but the store's number 3 is fact"},
	},
	"fact removed from the store": {
		outbox: func(o store.Outbox) store.Outbox { return without{o, 17} },
		want:   []string{"leaf 17 of assay.dev/ledger is about fact number 17", "the store has no fact number 17"},
	},
	"index altered in the store": {
		outbox: func(o store.Outbox) store.Outbox {
			return rewritten{o, 3, func(e *store.Entry) { e.Index = 4 }}
		},
		want: []string{"is at index 3, but the store has it at 4"},
	},
	"altered leaf": {
		reader: tampered{bundle: func(i uint64, b []byte) []byte {
			return bytes.Replace(b, []byte(`"seq":300`), []byte(`"seq":299`), 1)
		}},
		want: []string{"twice", "the tile was altered", "the root recomputed", "missing in the ledger"},
	},
	"removed leaf": {
		reader: tampered{bundle: func(i uint64, b []byte) []byte {
			n := 2 + int(b[0])<<8 + int(b[1])
			return b[n:]
		}},
		want: []string{"cannot be read from index 0 on", "missing in the ledger"},
	},
	"altered tile of the leaves": {
		reader: tampered{tile: func(l, i uint64, b []byte) []byte {
			if l == 0 && i == 1 {
				return flip(40)(b)
			}
			return b
		}},
		want: []string{"tile/0/001.p/144 of assay.dev/ledger does not hold the hashes"},
	},
	"altered tile above": {
		reader: tampered{tile: func(l, i uint64, b []byte) []byte {
			if l == 1 {
				return flip(0)(b)
			}
			return b
		}},
		want: []string{"tile/1/000.p/1 of assay.dev/ledger does not hold the hashes"},
	},
	"altered checkpoint": {
		reader: tampered{checkpoint: func(b []byte) []byte { return bytes.Replace(b, []byte("\n400\n"), []byte("\n399\n"), 1) }},
		want:   []string{"cannot be believed", "does not verify with key"},
	},
}

func TestAuditFinds(t *testing.T) {
	for name, c := range damages {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := filled(t, 400)
				c.reader.Reader = w.log
				var outbox store.Outbox = w.store
				if c.outbox != nil {
					outbox = c.outbox(outbox)
				}
				l, err := ledger.New(outbox, salt, []ledger.Epoch{{Origin: assay.DefaultOrigin, Reader: c.reader, Verifier: w.verifier}})
				if err != nil {
					t.Fatal(err)
				}
				r, err := l.Audit(t.Context(), ledger.AuditOptions{Fsck: true})
				if err != nil {
					t.Fatal(err)
				}
				all := strings.Join(r.Problems, "\n")
				for _, want := range c.want {
					if !strings.Contains(all, want) {
						t.Errorf("no problem says %q; there are %q", want, r.Problems)
					}
				}
				if r.OK != (len(c.want) == 0) || r.OK != (len(r.Problems) == 0) {
					t.Errorf("OK = %v with problems %q", r.OK, r.Problems)
				}
			})
		})
	}
}

func TestAuditListsABoundedNumberOfProblems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := filled(t, 400)
		l, err := ledger.New(w.store, []byte("another salt, also long"), []ledger.Epoch{{Origin: assay.DefaultOrigin, Reader: w.log, Verifier: w.verifier}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := l.Audit(t.Context(), ledger.AuditOptions{})
		if err != nil || len(r.Problems) != ledger.MaxProblems || r.Omitted != 400-ledger.MaxProblems {
			t.Errorf("%d problems, %d omitted, %v", len(r.Problems), r.Omitted, err)
		}
	})
}

func TestProveRefusesAFactThatIsNotWhatTheLedgerHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := filled(t, 20)
		l := w.open(t, rewrittenEntry{w.store})
		if _, err := l.Prove(t.Context(), "shop", ids[4]); assay.CodeOf(err) != assay.CodeUnverified || !strings.Contains(err.Error(), "audit") {
			t.Errorf("Prove = %v, want a refusal that names the audit", err)
		}
	})
}

type rewrittenEntry struct{ store.Outbox }

func (r rewrittenEntry) Entry(ctx context.Context, ns string, id assay.FactID) (store.Entry, error) {
	e, err := r.Outbox.Entry(ctx, ns, id)
	e.Fact.Actor = "somebody else"
	return e, err
}
