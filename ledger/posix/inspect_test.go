package posix_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
)

// promises are what was acknowledged about one directory, by all who worked on it.
type promises struct {
	facts     map[assay.FactID]bool
	published map[assay.FactID]uint64 // its index
	heads     map[uint64]string       // root by size, in hexadecimal
	sites     map[string]int64        // calls that a fault could have hit, of the last child that ended by itself
}

func newPromises() *promises {
	return &promises{facts: map[assay.FactID]bool{}, published: map[assay.FactID]uint64{}, heads: map[uint64]string{}, sites: map[string]int64{}}
}

func (p *promises) clone() *promises {
	return &promises{facts: maps.Clone(p.facts), published: maps.Clone(p.published), heads: maps.Clone(p.heads), sites: maps.Clone(p.sites)}
}

// hear notes one line of a child.
func (p *promises) hear(line string) error {
	var id assay.FactID
	var index, size uint64
	var root string
	switch word, rest, _ := strings.Cut(line, " "); word {
	case "fact":
		p.facts[assay.FactID(rest)] = true
		return nil
	case "site":
		number, site, _ := strings.Cut(rest, " ")
		n, err := strconv.ParseInt(number, 10, 64)
		p.sites[site] = n
		return err
	case "published":
		if _, err := fmt.Sscan(rest, &id, &index, &size, &root); err != nil {
			return err
		}
		if index >= size {
			return fmt.Errorf("fact %s was published at index %d by a head of size %d", id, index, size)
		}
		p.published[id] = index
		return p.head(size, root)
	}
	return fmt.Errorf("the child said %q", line)
}

// head notes a signed head. Two with one size and different roots are a fork.
func (p *promises) head(size uint64, root string) error {
	if other, ok := p.heads[size]; ok && other != root {
		return fmt.Errorf("two heads of size %d were signed, with the roots %s and %s", size, other, root)
	}
	p.heads[size] = root
	return nil
}

// diskHeads notes the heads that lie in a directory that was crashed.
func (p *promises) diskHeads(data string) error {
	_, verifier, err := crashKey()
	if err != nil {
		return err
	}
	dir := ledger.EpochDir(data, 0)
	for _, path := range []string{ledger.HeadPath(dir), dir + "/checkpoint"} {
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		c, err := ledger.ParseCheckpoint(raw, assay.DefaultOrigin, verifier)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := p.head(c.Size, hex.EncodeToString(c.Root[:])); err != nil {
			return err
		}
	}
	return nil
}

// recover opens what a crash left in a directory, lets it go on until everything is
// published, and returns what is wrong with it, nil if nothing is. What recovery
// acknowledges is added to p.
func (p *promises) recover(ctx context.Context, data string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, childPatience)
	defer cancel()
	if err := p.diskHeads(data); err != nil {
		return err
	}
	in, err := openInstallation(ctx, data)
	if err != nil {
		return fmt.Errorf("cannot be opened: %w", err)
	}
	defer func() { err = errors.Join(err, in.close()) }()
	// One fact more stands behind all others, and shows that the directory is of use.
	last := assay.Fact{ID: store.NewFactID(), Kind: assay.FactVerdict, Version: 1, Namespace: crashNamespace, Actor: "recovery",
		Retention: assay.RetainAudit, Payload: json.RawMessage(`{}`)}
	if err := in.append(ctx, last); err != nil {
		return err
	}
	p.facts[last.ID] = true
	in.seq.Poke()
	if err := in.awaitPublished(ctx, last.ID); err != nil {
		return err
	}
	in.stop()
	in.done.Wait()
	if err := in.firstHalt(false); err != nil {
		return err
	}
	return p.check(ctx, in)
}

// awaitPublished waits until a fact is published or the sequencer gives up.
func (in *installation) awaitPublished(ctx context.Context, id assay.FactID) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil && in.firstHalt(true) == nil {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		cancel()
	}()
	if _, err := in.ledger.WaitPublished(ctx, crashNamespace, id); err != nil {
		return errors.Join(in.firstHalt(true), err)
	}
	return nil
}

// check compares promises, store, tree and heads.
func (p *promises) check(ctx context.Context, in *installation) error {
	stored, err := p.checkStore(ctx, in)
	if err != nil {
		return err
	}
	entries, err := in.entries(ctx)
	if err != nil {
		return err
	}
	if len(entries) != len(stored) {
		return fmt.Errorf("%d outbox entries for %d audit facts", len(entries), len(stored))
	}
	if err := p.checkTree(ctx, in, entries); err != nil {
		return err
	}
	if err := p.checkPublished(ctx, in); err != nil {
		return err
	}
	r, err := in.ledger.Audit(ctx, ledger.AuditOptions{Fsck: true})
	if err != nil {
		return err
	}
	if !r.OK || r.Unpublished != 0 || r.Entries != uint64(len(stored)) || !r.Fsck {
		return fmt.Errorf("audit: %+v", r)
	}
	return nil
}

// checkStore wants each promised fact once, with its blob, and returns all facts.
func (p *promises) checkStore(ctx context.Context, in *installation) (map[assay.FactID]bool, error) {
	stored := map[assay.FactID]bool{}
	for after := int64(0); ; {
		var page []store.Row
		err := in.store.View(ctx, func(r store.Reader) (err error) {
			page, err = r.Facts(store.Query{Namespace: crashNamespace, After: after, Limit: store.MaxLimit})
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, row := range page {
			if stored[row.Fact.ID] {
				return nil, fmt.Errorf("fact %s is in the store twice", row.Fact.ID)
			}
			stored[row.Fact.ID] = true
			var payload crashPayload
			if err := json.Unmarshal(row.Fact.Payload, &payload); err != nil {
				return nil, err
			}
			if payload.Blob == "" {
				continue
			}
			if err := in.readBlob(ctx, payload.Blob); err != nil {
				return nil, fmt.Errorf("the blob of fact %s: %w", row.Fact.ID, err)
			}
		}
		if len(page) < store.MaxLimit {
			break
		}
		after = page[len(page)-1].Commit
	}
	for id := range p.facts {
		if !stored[id] {
			return nil, fmt.Errorf("acknowledged fact %s is missing; %d of %d are there", id, len(stored), len(p.facts))
		}
	}
	return stored, nil
}

func (in *installation) entries(ctx context.Context) (all []store.Entry, err error) {
	for {
		page, err := in.store.Entries(ctx, uint64(len(all)), store.MaxLimit)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
	}
}

// checkTree wants in the tree exactly the entries, in their order, and every head
// that was ever seen to be of a beginning of it.
func (p *promises) checkTree(ctx context.Context, in *installation, entries []store.Entry) error {
	head, err := in.ledger.Head(ctx)
	if err != nil {
		return err
	}
	if err := p.head(head.Size, hex.EncodeToString(head.Root[:])); err != nil {
		return err
	}
	if head.Size != uint64(len(entries)) {
		return fmt.Errorf("the head covers %d leaves of %d", head.Size, len(entries))
	}
	for size := range p.heads {
		if size > head.Size {
			return fmt.Errorf("a head of size %d was signed, now there are %d leaves", size, head.Size)
		}
	}
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for l, err := range ledger.ReadLeaves(ctx, in.dir, 0, head.Size, head.Size) {
		if err != nil {
			return err
		}
		leaf, err := ledger.ParseLeaf(l.Raw)
		if err != nil {
			return err
		}
		e := entries[l.Index]
		if leaf.Seq != l.Index || leaf.Fact != e.Fact.ID || e.Seq != l.Index || !e.Placed || e.Index != l.Index {
			return fmt.Errorf("leaf %d is fact %s, number %d; the outbox has there fact %s, number %d, placed %v at %d",
				l.Index, leaf.Fact, leaf.Seq, e.Fact.ID, e.Seq, e.Placed, e.Index)
		}
		if err := tree.Append(rfc6962.DefaultHasher.HashLeaf(l.Raw), nil); err != nil {
			return err
		}
		if want, seen := p.heads[l.Index+1]; seen {
			root, err := tree.GetRootHash(nil)
			if err != nil {
				return err
			}
			if hex.EncodeToString(root) != want {
				return fmt.Errorf("the head of size %d that was signed is of another tree", l.Index+1)
			}
		}
	}
	return nil
}

// proofs is how many published facts are proven anew at each recovery.
const proofs = 50

// checkPublished wants each published fact at its index, and some of them proven.
func (p *promises) checkPublished(ctx context.Context, in *installation) error {
	_, verifier, err := crashKey()
	if err != nil {
		return err
	}
	left := proofs
	for id, index := range p.published { // in random order
		s, err := in.ledger.State(ctx, crashNamespace, id)
		if err != nil {
			return fmt.Errorf("published fact %s: %w", id, err)
		}
		if s.State != ledger.StatePublished || s.Index != index {
			return fmt.Errorf("fact %s was published at index %d, now it is %s at %d", id, index, s.State, s.Index)
		}
		if left--; left < 0 {
			continue
		}
		proof, err := in.ledger.Prove(ctx, crashNamespace, id)
		if err != nil {
			return err
		}
		if err := ledger.VerifyProof(proof.Leaf, proof.Marshal(), verifier, assay.DefaultOrigin); err != nil || proof.Index != index {
			return fmt.Errorf("the proof of fact %s at %d, published at %d: %w", id, proof.Index, index, err)
		}
	}
	return nil
}
