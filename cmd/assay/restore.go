package main

import (
	"context"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"github.com/prometheus/client_golang/prometheus"
)

// restoreLedger opens a new epoch. It runs alone: no sequencer works meanwhile.
func (a *app) restoreLedger(ctx context.Context, headFile string) (int, error) {
	in, err := a.open(ctx, false, prometheus.NewRegistry())
	if err != nil {
		return 0, err
	}
	defer in.close()
	if in.ledger == nil {
		return 0, assay.Errorf(assay.CodeNotFound, "%s has no ledger to restore", a.cfg.get("dir"))
	}
	if headFile == "" && !a.cameFromBackup() {
		if err := in.refuseNeedlessEpoch(ctx, a.cfg.get("dir")); err != nil {
			return 0, err
		}
	}
	skey, err := a.ledgerSecret()
	if err != nil {
		return 0, err
	}
	salt, err := readFile(a.saltPath(), maxSalt)
	if err != nil {
		return 0, err
	}
	old := in.epochs[len(in.epochs)-1]
	var raw []byte
	if headFile != "" {
		raw, err = readFile(headFile, ledger.MaxCheckpoint)
	} else {
		raw, err = old.Reader.ReadCheckpoint(ctx)
	}
	if err != nil {
		return 0, err
	}
	head, err := ledger.ParseCheckpoint(raw, old.Origin, old.Verifier)
	if err != nil {
		return 0, inFile(err, headFile)
	}
	n, err := ledger.Restore(ctx, ledger.RestoreConfig{
		Data: a.cfg.get("dir"), Outbox: in.store, Salt: salt, Old: old, OldHead: head, Base: in.epochs[0].Origin,
		OpenAt: func(path, origin string) ledger.Opener {
			return func(ctx context.Context, vet ledger.Vet) (ledger.Tree, error) {
				open, err := a.epochOpener(path, skey, in.vkey, origin)
				if err != nil {
					return nil, err
				}
				return open(ctx, vet)
			}
		},
	})
	if err != nil {
		return 0, err
	}
	return n, a.signOn()
}
