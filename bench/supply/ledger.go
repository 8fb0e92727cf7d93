package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/internal/heap"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/posix"
	"assay.dev/assay/store"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/sqlite"
)

// What the ledger half of the supply chain must hold: attestations, each signed and
// committed with its ledger entry, by callers who each wait for theirs.
const (
	ledgerCallers     = 64
	ledgerRound       = 4 * time.Second
	signRound         = time.Second
	checkpointEvery   = time.Second
	recordedTarget    = 2000 // a second
	recordedP99Target = 50   // milliseconds
	publishedTarget   = 1.5  // seconds, 99th percentile, at one checkpoint a second
)

// benchLedger measures how fast attestations are recorded and when they are published.
func benchLedger(ctx context.Context, b *run.Bench) error {
	// What records is the control plane, which sets its collector so; the other parts do not.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	heap.Serve()
	var rate, recorded, published, whole, wholeP99, signs, signsP99 []float64
	for n := range b.Rounds {
		signing, err := signAlone(ctx)
		if err != nil {
			return err
		}
		m, err := ledgerOnce(ctx, b, false)
		if err != nil {
			return err
		}
		f, err := ledgerOnce(ctx, b, true)
		if err != nil {
			return err
		}
		rate, recorded, published = append(rate, m.rate), append(recorded, m.p99), append(published, m.published)
		whole, wholeP99 = append(whole, f.rate), append(wholeP99, f.p99)
		signs, signsP99 = append(signs, signing.rate), append(signsP99, signing.p99)
		b.Say("ledger %d/%d: %.0f attestations/s recorded, p99 %.1f ms, published p99 %.2f s; with verdict and bundle as files %.0f/s, p99 %.1f ms; signing alone %.0f/s, p99 %.1f ms",
			n+1, b.Rounds, m.rate, m.p99, m.published, f.rate, f.p99, signing.rate, signing.p99)
	}
	const alone = "signing alone"
	b.Rows = append(b.Rows,
		result.New(fmt.Sprintf("attestations signed and recorded, %d callers", ledgerCallers), "1/s", rate).
			Against(alone, rate, signs).Within(result.Median(signs)).Want(">=", recordedTarget),
		result.New("attestation recorded p99", "ms", recorded).
			Against(alone, recorded, signsP99).Within(result.Median(signsP99)).Want("<", recordedP99Target),
		result.New("attestation published p99, checkpoints 1 s apart", "s", published).Within(checkpointEvery.Seconds()).Want("<", publishedTarget),
		result.New("attestations with verdict and bundle as synced files", "1/s", whole).Against(alone, whole, signs).Within(result.Median(signs)),
		result.New("attestation with files recorded p99", "ms", wholeP99),
	)
	return nil
}

// measured is one round: a rate a second, milliseconds, seconds.
type measured struct{ rate, p99, published float64 }

// supply is a store, its payloads, a key and a ledger that publishes.
type supply struct {
	store  *sqlite.Store
	blobs  *files.Blobs
	signer *keyfile.Signer
	ledger *ledger.Ledger
	seq    *ledger.Sequencer
	stop   func() error
}

func ledgerOnce(ctx context.Context, b *run.Bench, withFiles bool) (m measured, err error) {
	dir, err := b.Folder()
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := openSupply(ctx, dir)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.stop(), s.store.Close(), s.blobs.Close()) }()
	record := s.recordFact
	if withFiles {
		record = s.recordWhole
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		waits []float64
		late  []float64
		next  atomic.Int64
		errs  []error
	)
	begin := time.Now()
	for range ledgerCallers {
		wg.Go(func() {
			for time.Since(begin) < ledgerRound {
				n := next.Add(1)
				start := time.Now()
				id, err := record(ctx, int(n))
				took := time.Since(start)
				mu.Lock()
				waits, errs = append(waits, took.Seconds()*1000), append(errs, err)
				mu.Unlock()
				if err != nil {
					return
				}
				if n%97 != 0 { // some are followed until they are published
					continue
				}
				wg.Go(func() {
					_, err := s.ledger.WaitPublished(ctx, "bench", id)
					mu.Lock()
					late, errs = append(late, time.Since(start).Seconds()), append(errs, err)
					mu.Unlock()
				})
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return m, err
	}
	return measured{
		rate: float64(len(waits)) / ledgerRound.Seconds(), p99: result.Percentile(waits, 0.99), published: result.Percentile(late, 0.99),
	}, nil
}

// signAlone is what the machine gives without a store and a ledger: the same callers
// make and sign the same summaries, and nobody keeps them.
func signAlone(ctx context.Context) (m measured, err error) {
	signer, err := keyfile.Generate(keyfile.ECDSAP256)
	if err != nil {
		return m, err
	}
	s := &supply{signer: signer}
	var (
		wg    sync.WaitGroup
		waits [ledgerCallers][]float64
		errs  [ledgerCallers]error
	)
	begin := time.Now()
	for c := range ledgerCallers {
		wg.Go(func() {
			for n := c; errs[c] == nil && time.Since(begin) < signRound; n += ledgerCallers {
				start := time.Now()
				_, errs[c] = s.sign(ctx, verdict(n))
				waits[c] = append(waits[c], time.Since(start).Seconds()*1000)
			}
		})
	}
	wg.Wait()
	all := slices.Concat(waits[:]...)
	return measured{rate: float64(len(all)) / signRound.Seconds(), p99: result.Percentile(all, 0.99)}, errors.Join(errs[:]...)
}

func openSupply(ctx context.Context, dir string) (*supply, error) {
	s := &supply{}
	var err error
	if s.store, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "assay.db")}); err != nil {
		return nil, err
	}
	if s.blobs, err = files.Open(filepath.Join(dir, "blobs")); err != nil {
		return nil, err
	}
	if s.signer, err = keyfile.Generate(keyfile.ECDSAP256); err != nil {
		return nil, err
	}
	skey, vkey, err := ledger.GenerateKey(rand.Reader, assay.DefaultOrigin)
	if err != nil {
		return nil, err
	}
	signer, err := ledger.ParseSigner(skey, assay.DefaultOrigin)
	if err != nil {
		return nil, err
	}
	verifier, err := ledger.ParseVerifier(vkey)
	if err != nil {
		return nil, err
	}
	tree := ledger.EpochDir(dir, 0)
	salt := []byte("the salt of a benchmark")
	s.seq, err = ledger.NewSequencer(ledger.SequencerConfig{
		Outbox: s.store, Salt: salt,
		Open: posix.Opener(posix.Config{Dir: tree, Signer: signer, Verifier: verifier, CheckpointInterval: checkpointEvery}),
	})
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.seq.Run(run) }()
	s.stop = func() error { cancel(); return <-ended }
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return nil, err
	}
	reader, err := ledger.OpenDir(tree)
	if err != nil {
		return nil, err
	}
	s.ledger, err = ledger.New(s.store, salt, []ledger.Epoch{{Origin: assay.DefaultOrigin, Reader: reader, Verifier: verifier}})
	return s, err
}

// verdict is the n-th one, of an artifact of its own.
func verdict(n int) assay.Verdict {
	return assay.Verdict{
		Gate: "release", Mode: assay.ModeEnforce, Environment: "prod", Outcome: assay.OutcomePass, Time: time.Now().UTC(),
		Subject:      assay.Subject{Name: "app", Digest: digest(n), URI: "pkg:generic/app"},
		Policy:       assay.PolicyRef{URI: "file:policies", Digest: digest(-1)},
		Levels:       []string{"ASSAY_RELEASE"},
		Requirements: []assay.Requirement{{Name: "tests", Kind: assay.KindTests, State: assay.Satisfied, Reason: "3 passed"}},
		Evidence:     []assay.EvidenceRef{{Kind: assay.KindTests, Source: "t.json", Digest: digest(-2), Origin: assay.OriginLive}},
	}
}

func digest(n int) assay.Digest { return assay.DigestOf(sha256.Sum256(fmt.Append(nil, n))) }

func (s *supply) sign(ctx context.Context, v assay.Verdict) ([]byte, error) {
	statement, err := attest.VSA(v, attest.VSAOptions{})
	if err != nil {
		return nil, err
	}
	return attest.Sign(ctx, s.signer, statement)
}

// recordFact signs, and commits the fact with its outbox row and the bundle as a value.
func (s *supply) recordFact(ctx context.Context, n int) (id assay.FactID, err error) {
	v := verdict(n)
	bundle, err := s.sign(ctx, v)
	if err != nil {
		return "", err
	}
	d := assay.DigestOf(sha256.Sum256(bundle))
	err = s.store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Put(store.Key{Namespace: "bench", Bucket: "bundle", Name: string(d)}, bundle, 0); err != nil {
			return err
		}
		id, err = tx.Append(assay.Fact{
			Kind: assay.FactAttested, Version: 1, Namespace: "bench", Subject: v.Subject.Digest, Actor: "bench",
			Retention: assay.RetainAudit, Payload: fmt.Appendf(nil, `{"bundle_digest":%q}`, d),
		})
		return err
	})
	s.seq.Poke()
	return id, err
}

// recordWhole is what assay attest does after the verdict: it also writes the verdict
// and the bundle as files, each synced with its folder.
func (s *supply) recordWhole(ctx context.Context, n int) (assay.FactID, error) {
	v := verdict(n)
	bundle, err := s.sign(ctx, v)
	if err != nil {
		return "", err
	}
	rec, err := artifact.Record(ctx, s.store, s.blobs, artifact.Entry{Namespace: "bench", Actor: "bench", Verdict: v, Bundle: bundle})
	s.seq.Poke()
	return rec.AttestedFact, err
}
