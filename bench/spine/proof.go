package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/ledger"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
)

// Sizes of the measure of proofs.
const (
	treeLeaves  = 100 * ledger.MaxBatch
	proofs      = 2000 // per round
	proofTarget = 1    // milliseconds, build and verify
)

// measureProof measures what one proof costs in a large tree: found in the store, built
// from tiles on disk, serialised, and verified with the public key alone.
func measureProof(ctx context.Context, b *run.Bench) (err error) {
	in, err := install(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	if err := in.commit(ctx, treeLeaves); err != nil {
		return err
	}
	took, stop, err := in.run(ctx)
	if err != nil {
		return err
	}
	b.Say("proof: tree of %d leaves in %.1f s", treeLeaves, took.Seconds())
	if err := stop(); err != nil { // signs a last checkpoint, over all leaves
		return err
	}
	dir, err := ledger.OpenDir(in.tree())
	if err != nil {
		return err
	}
	defer dir.Close()
	_, verifier, err := in.keys()
	if err != nil {
		return err
	}
	l, err := ledger.New(in.store, salt, []ledger.Epoch{{Origin: assay.DefaultOrigin, Reader: dir, Verifier: verifier}})
	if err != nil {
		return err
	}
	return proofRounds(ctx, b, in, l, dir, verifier)
}

func proofRounds(ctx context.Context, b *run.Bench, in *installation, l *ledger.Ledger, r ledger.Reader, v note.Verifier) error {
	var p50, p99, raw50, raw99, verify, objects []float64
	for n := range b.Rounds {
		var both, check []float64
		count, _, err := allocated(func() (err error) {
			both, check, err = in.proveAll(ctx, l, v)
			return err
		})
		if err != nil {
			return err
		}
		raw, err := rawProofs(ctx, in, l, r)
		if err != nil {
			return err
		}
		p50, p99 = append(p50, result.Percentile(both, 0.5)), append(p99, result.Percentile(both, 0.99))
		raw50, raw99 = append(raw50, result.Percentile(raw, 0.5)), append(raw99, result.Percentile(raw, 0.99))
		verify, objects = append(verify, result.Percentile(check, 0.5)), append(objects, count/proofs)
		b.Say("proof %d/%d: build and verify p50 %.3f ms, p99 %.3f ms, tiles alone p50 %.3f ms", n+1, b.Rounds, p50[n], p99[n], raw50[n])
	}
	const peer = "tiles alone, no store, no signature"
	of := fmt.Sprintf(" of %d leaves", treeLeaves)
	b.Rows = append(b.Rows,
		result.New("proof build + verify p50"+of, "ms", p50).Against(peer, p50, raw50).Want("<", proofTarget),
		result.New("proof build + verify p99"+of, "ms", p99).Against(peer, p99, raw99).Want("<", proofTarget),
		result.New("proof verify alone p50", "ms", verify),
		result.New("proof build + verify allocations", "objects", objects))
	return nil
}

// pick spreads the proofs over the tree, the newest leaves included.
func (in *installation) pick(i int) int { return (i*7919 + len(in.facts) - 1) % len(in.facts) }

// proveAll measures proofs one by one, in milliseconds: whole, and verified alone.
func (in *installation) proveAll(ctx context.Context, l *ledger.Ledger, v note.Verifier) (both, check []float64, err error) {
	for i := range proofs {
		start := time.Now()
		p, err := l.Prove(ctx, "bench", in.facts[in.pick(i)])
		if err != nil {
			return nil, nil, err
		}
		raw := p.Marshal()
		built := time.Now()
		if err := ledger.VerifyProof(p.Leaf, raw, v, assay.DefaultOrigin); err != nil {
			return nil, nil, err
		}
		both, check = append(both, millis(time.Since(start))), append(check, millis(time.Since(built)))
	}
	return both, check, nil
}

// rawProofs is the peer: the hashes of the same leaves' proofs read from tiles and
// verified against the root, with the libraries below the ledger.
func rawProofs(ctx context.Context, in *installation, l *ledger.Ledger, r ledger.Reader) ([]float64, error) {
	head, err := l.Head(ctx)
	if err != nil {
		return nil, err
	}
	if head.Size != treeLeaves {
		return nil, fmt.Errorf("the checkpoint covers %d leaves, expected %d", head.Size, treeLeaves)
	}
	var out []float64
	for i := range proofs {
		index := uint64(in.pick(i))
		var leaf []byte
		for found, err := range ledger.ReadLeaves(ctx, r, index, index+1, head.Size) {
			if err != nil {
				return nil, err
			}
			leaf = found.Raw
		}
		start := time.Now()
		builder, err := client.NewProofBuilder(ctx, head.Size, r.ReadTile)
		if err != nil {
			return nil, err
		}
		hashes, err := builder.InclusionProof(ctx, index)
		if err != nil {
			return nil, err
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, head.Size, rfc6962.DefaultHasher.HashLeaf(leaf), hashes, head.Root[:]); err != nil {
			return nil, err
		}
		out = append(out, millis(time.Since(start)))
	}
	return out, nil
}
