package main

import (
	"context"
	"sync"

	"assay.dev/assay/control"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/ledger"
	"golang.org/x/mod/sumdb/note"
)

func (in *installation) openReaders(data string, salt []byte, verifier note.Verifier, witnesses *ledger.WitnessPolicy) error {
	numbers, err := ledger.Epochs(data)
	if err != nil {
		return err
	}
	if len(numbers) == 0 {
		return nil // nothing was published yet
	}
	for _, n := range numbers {
		d, err := ledgerDir(data, n)
		if err != nil {
			return err
		}
		in.readers = append(in.readers, d)
		origin := ledger.EpochOrigin(verifier.Name(), n)
		v, err := ledger.ParseVerifierFor(in.vkey, origin)
		if err != nil {
			return err
		}
		in.epochs = append(in.epochs, ledger.Epoch{Number: n, Origin: origin, Reader: d, Verifier: v, Cosigned: d.ReadCosigned})
	}
	in.epochs[len(in.epochs)-1].Witnesses = witnesses
	in.ledger, err = ledger.New(in.store, salt, in.epochs)
	return err
}

// close stops the sequencer after what it has under way and releases the directory.
func (in *installation) close() {
	in.stop()
	in.done.Wait()
	_ = in.telemetry.close() // samples that were acknowledged are in its log already
	for _, s := range in.signers {
		_ = s.Close() // it holds nothing that could be lost
	}
	for _, r := range in.readers {
		_ = r.Close() // read-only
	}
	if in.store != nil {
		_ = in.store.Close() // everything acknowledged is durable already
	}
	if in.blobs != nil {
		_ = in.blobs.Close()
	}
	if in.lock != nil {
		_ = in.lock.Release()
	}
}

func ledgerDir(data string, epoch int) (*ledger.Dir, error) {
	path := ledger.EpochDir(data, epoch)
	if err := durable.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	return ledger.OpenDir(path)
}

// policySource loads and compiles the policy directory once, when it is first asked for.
func (a *app) policySource() func() (control.Policy, error) {
	if a.policies != nil {
		return a.policies
	}
	return sync.OnceValues(func() (control.Policy, error) { return a.loadPolicy(context.Background()) })
}
