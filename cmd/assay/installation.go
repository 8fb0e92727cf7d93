package main

import (
	"context"
	"sync"

	"assay.dev/assay/control"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/ledger"
	"github.com/prometheus/client_golang/prometheus"
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

// startSequencer loads the private keys and starts the one goroutine that moves audit facts into the ledger.
func (a *app) startSequencer(ctx context.Context, in *installation, data string, salt []byte, verifier note.Verifier, cfg *control.Config, reg *prometheus.Registry) error {
	if err := a.refuseRestored(); err != nil {
		return err
	}
	signer, err := a.openSigner(ctx, in, a.attestKeyPath())
	if err != nil {
		return err
	}
	skey, err := a.ledgerSecret()
	if err != nil {
		return err
	}
	epochs, err := ledger.Epochs(data)
	if err != nil {
		return err
	}
	epoch := max(0, len(epochs)-1)
	opener, err := a.epochOpener(ledger.EpochDir(data, epoch), skey, in.vkey, ledger.EpochOrigin(verifier.Name(), epoch))
	if err != nil {
		return err
	}
	reader, err := ledgerDir(data, epoch)
	if err != nil {
		return err
	}
	in.readers = append(in.readers, reader)
	in.seq, err = ledger.NewSequencer(ledger.SequencerConfig{
		Outbox: in.store, Open: opener, Salt: salt, Log: a.log, Metrics: ledger.NewMetrics(reg),
		Head: reader.ReadCheckpoint, Halted: func(h ledger.Halt) { in.recordHalt(ctx, h) },
	})
	if err != nil {
		return err
	}
	cfg.Signer, cfg.Publishes, cfg.Poke, cfg.Halted = signer, true, in.seq.Poke, in.stopped
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	in.stop = stop
	in.done.Go(func() {
		if err := in.seq.Run(run); err != nil {
			close(in.stopped)
			in.halted <- err
		}
	})
	return nil
}
