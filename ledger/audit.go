package ledger

import (
	"context"
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/fsck"
)

// MaxProblems is how many problems a Report lists; the rest is counted.
const MaxProblems = 100

// Report is what an audit found.
type Report struct {
	OK          bool          `json:"ok"`
	Problems    []string      `json:"problems"`    // one sentence each
	Omitted     int           `json:"omitted"`     // problems beyond MaxProblems
	Epochs      []EpochReport `json:"epochs"`      // oldest first
	Entries     uint64        `json:"entries"`     // numbered facts in the store
	Unpublished uint64        `json:"unpublished"` // of them, not covered by a checkpoint yet
	Fsck        bool          `json:"fsck"`        // the independent check of all tiles ran
	Payloads    PayloadCounts `json:"payloads"`    // of the blobs that facts name
}

// PayloadCounts counts payloads by their state.
type PayloadCounts struct {
	Kept    uint64 `json:"kept"`
	Expired uint64 `json:"expired"`
	Lost    uint64 `json:"lost"`
	Altered uint64 `json:"altered"`
}

// AuditOptions say what an audit looks at besides store and trees.
type AuditOptions struct {
	Fsck     bool     // Tessera's own fsck reads the log once more
	Quorum   bool     // a head without the quorum of the witness policy is a problem
	Payloads Payloads // nil leaves blobs out
	// Now is what cosignatures are held against; default time.Now.
	Now func() time.Time
}

// EpochReport is what was read of one epoch.
type EpochReport struct {
	Origin string       `json:"origin"`
	Size   uint64       `json:"size"` // leaves that its checkpoint covers
	Root   assay.Digest `json:"root"`
	// GivenUp counts the leaves that a later epoch replaced (see Restore).
	GivenUp uint64 `json:"given_up"`
}

// Audit walks every epoch's tree and the store's outbox independently of each
// other and of what the sequencer noted, and reports all differences: checkpoint
// signatures, root and tiles recomputed from the leaves, each leaf against the fact
// it speaks of, order, facts missing, twice or never numbered, the head that witnesses
// cosigned, and the payloads that facts name. Damage is in the report; an error means
// that the audit could not be carried out. It may run beside a sequencer.
func (l *Ledger) Audit(ctx context.Context, o AuditOptions) (Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &auditor{ledger: l, options: o, blobs: map[assay.Digest]bool{}, report: Report{Problems: []string{}, Fsck: o.Fsck}}
	next := epochStart{seq: math.MaxUint64}
	// From the newest epoch down: each tells where the one before it ends.
	for i := len(l.epochs) - 1; i >= 0; i-- {
		e := l.epochs[i]
		first, err := a.epoch(ctx, e, next)
		if err != nil {
			return Report{}, err
		}
		if i > 0 && first == nil {
			a.problem("epoch %d does not begin with a leaf that names the epoch before it", e.Number)
		}
		if first != nil {
			next = epochStart{seq: first.Seq, previous: first.Previous}
		}
	}
	if err := a.store(ctx); err != nil {
		return Report{}, err
	}
	a.report.OK = len(a.report.Problems) == 0
	return a.report, nil
}

// epochStart is where the next epoch begins and what it says of this one.
type epochStart struct {
	seq      uint64
	previous *Previous
}

type auditor struct {
	ledger  *Ledger
	options AuditOptions
	report  Report
	trees   []auditedTree         // newest first
	blobs   map[assay.Digest]bool // looked at
}

// auditedTree says which store numbers a tree holds and where.
type auditedTree struct {
	base  epochBase
	end   uint64            // numbers from here on belong to the next epoch
	size  uint64            // leaves covered by the checkpoint
	index map[uint64]uint64 // by number, only where it is not the normal one
	seen  bitmap            // by number - base.start
}

func (a *auditor) problem(format string, args ...any) {
	if len(a.report.Problems) == MaxProblems {
		a.report.Omitted++
		return
	}
	a.report.Problems = append(a.report.Problems, fmt.Sprintf(format, args...))
}

// epoch audits one tree and returns its first leaf if that opens a later epoch.
func (a *auditor) epoch(ctx context.Context, e *epoch, next epochStart) (*Leaf, error) {
	t := auditedTree{end: next.seq, index: map[uint64]uint64{}}
	head, err := e.readHead(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		a.problem("the checkpoint of %s cannot be believed: %v", e.Origin, err)
		a.trees = append(a.trees, t)
		return nil, nil
	}
	t.size = head.Size
	w := &treeWalk{auditor: a, epoch: e, tree: &t, head: head, next: next}
	w.cosigned, w.hasCosigned = a.cosignedHead(ctx, e)
	sound, err := w.walk(ctx)
	if err != nil {
		return nil, err
	}
	if a.options.Fsck && sound {
		a.fsck(ctx, e)
	} else if a.options.Fsck {
		a.problem("the independent check of %s was left out, because its leaves or tiles are damaged already", e.Origin)
	}
	a.trees = append(a.trees, t)
	rep := EpochReport{Origin: e.Origin, Size: head.Size, Root: assay.DigestOf(head.Root), GivenUp: w.givenUp}
	a.report.Epochs = append([]EpochReport{rep}, a.report.Epochs...)
	return w.first, ctx.Err()
}

// fsck runs Tessera's check. It runs in a goroutine of its own because it panics on
// some malformed bundles and may wait for ever after two damaged tiles.
func (a *auditor) fsck(ctx context.Context, e *epoch) {
	done := make(chan error, 1)
	go func() {
		err := fmt.Errorf("the check ended without a result")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the check failed: %v", p)
			}
			done <- err
		}()
		err = fsck.New(e.Origin, e.Verifier, e.Reader, hashBundle, fsck.Opts{N: 2}).Check(ctx)
	}()
	select {
	case err := <-done:
		if err != nil {
			a.problem("fsck of %s: %s", e.Origin, clip(err.Error()))
		}
	case <-ctx.Done():
	}
}

// hashBundle returns the leaf hashes of an entry bundle.
func hashBundle(raw []byte) ([][]byte, error) {
	entries, err := ParseBundle(raw)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(entries))
	for i, e := range entries {
		out[i] = rfc6962.DefaultHasher.HashLeaf(e)
	}
	return out, nil
}

// store walks the outbox: everything placed must be where the store says.
func (a *auditor) store(ctx context.Context) error {
	for from, want := uint64(0), uint64(0); ; {
		es, err := a.ledger.outbox.Entries(ctx, from, MaxBatch)
		if err != nil {
			return err
		}
		if len(es) == 0 {
			return ctx.Err()
		}
		for _, e := range es {
			if !e.Numbered {
				continue
			}
			if e.Seq != want {
				a.problem("the store has no fact number %d, the next one is %d", want, e.Seq)
			}
			want, from = e.Seq+1, e.Seq+1
			a.report.Entries++
			a.entry(e)
			if err := a.payloads(ctx, e); err != nil {
				return err
			}
		}
		if es[len(es)-1].Seq+1 > from {
			from = es[len(es)-1].Seq + 1
		}
	}
}

// entry checks the place of one numbered fact.
func (a *auditor) entry(e store.Entry) {
	t := a.treeOf(e.Seq)
	if t == nil || !e.Placed {
		a.report.Unpublished++
		return
	}
	index := e.Index
	if e.Seq < t.base.until {
		index = e.Seq - t.base.start + t.base.base
	}
	if index >= t.size {
		a.report.Unpublished++
		return
	}
	if !t.seen.has(e.Seq - t.base.start) {
		a.problem("fact number %d (%s) is missing in the ledger; the store has it at index %d", e.Seq, e.Fact.ID, index)
		return
	}
	got, moved := t.index[e.Seq]
	if !moved {
		got = e.Seq - t.base.start + t.base.base
	}
	if got != index {
		a.problem("fact number %d (%s) is at index %d, but the store has it at %d", e.Seq, e.Fact.ID, got, index)
	}
}

func (a *auditor) treeOf(seq uint64) *auditedTree {
	for i := range a.trees {
		if t := &a.trees[i]; seq >= t.base.start && seq < t.end {
			return t
		}
	}
	return nil
}

// bitmap is a growing set of small numbers.
type bitmap []uint64

func (b bitmap) has(n uint64) bool {
	return n/64 < uint64(len(b)) && b[n/64]&(1<<(n%64)) != 0
}

// add returns false if n was in the set.
func (b *bitmap) add(n uint64) bool {
	for n/64 >= uint64(len(*b)) {
		*b = append(*b, 0)
	}
	if b.has(n) {
		return false
	}
	(*b)[n/64] |= 1 << (n % 64)
	return true
}

// newRange is an RFC 6962 tree without leaves.
func newRange() *compact.Range {
	return (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
}

// rootOf is the root of a compact range.
func rootOf(r *compact.Range) ([]byte, error) {
	if r.End() == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	return r.GetRootHash(nil)
}
