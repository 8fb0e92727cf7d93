package posix_test

import (
	"context"
	"crypto/rand"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"assay.dev/assay/ledger"
	"assay.dev/assay/store/mem"
	"github.com/transparency-dev/tessera"
	tposix "github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// Tessera's own witness client is an independent peer of our witness: it posts,
// learns the size by 409, proves consistency, and publishes only with a quorum.
func TestTesseraLogIsCosignedByOurWitness(t *testing.T) {
	skey, vkey, err := ledger.GenerateKey(rand.Reader, "log.example/tessera")
	if err != nil {
		t.Fatal(err)
	}
	wkey, _, err := ledger.GenerateKey(rand.Reader, "witness.example/ours")
	if err != nil {
		t.Fatal(err)
	}
	cosigner, err := ledger.NewCosigner(wkey, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ledger.NewWitnessHandler(ledger.WitnessConfig{Store: mem.New(mem.Config{}), Cosigner: cosigner, Logs: []string{vkey}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	text := []byte("log " + vkey + "\nwitness ours " + cosigner.VKey() + " " + srv.URL + "\nquorum ours\n")
	group, err := tessera.NewWitnessGroupFromPolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	driver, err := tposix.New(ctx, tposix.Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).WithCheckpointInterval(100*time.Millisecond).WithBatching(1, 5*time.Millisecond).
		WithWitnesses(group, &tessera.WitnessOptions{Timeout: 5 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	await := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	var head []byte
	for i := range 3 { // each one a head that must extend the one before
		if _, head, err = await.Await(ctx, appender.Add(ctx, tessera.NewEntry([]byte{byte(i)}))); err != nil {
			t.Fatal(err)
		}
	}
	policy, err := ledger.ParseWitnessPolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := policy.Check(head, time.Now()); err != nil || !q.Met {
		t.Errorf("%s\nquorum %+v, %v", head, q, err)
	}
	if err := shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// Q-F5: the ledger's disk is away. Facts are recorded all the same, the sequencer says
// that it lags, and everything is published once the disk is back.
func TestFactsAreRecordedWhileTheTreeCannotBeWrittenAndPublishedLater(t *testing.T) {
	f := newFixture(t)
	first := f.commit(t, 10)
	f.run(t, first[9])
	tree := filepath.Join(ledger.EpochDir(f.data, 0), "tile")
	if err := os.Rename(tree, tree+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tree, nil, 0o644); err != nil { // no folder can be made in it, whoever asks
		t.Fatal(err)
	}
	halted := make(chan struct{}, 100)
	s, err := ledger.NewSequencer(ledger.SequencerConfig{Outbox: f.store, Open: f.opener(t), Salt: salt, MaxBackoff: 200 * time.Millisecond,
		Halted: func(h ledger.Halt) {
			if h.Final {
				t.Errorf("stopped for good: %v", h.Err)
			}
			halted <- struct{}{}
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var acknowledged []string
	for range 3 {
		<-halted
		for _, id := range f.commit(t, 5) {
			acknowledged = append(acknowledged, string(id))
		}
	}
	if _, lags := s.Lag(); !lags {
		t.Error("the sequencer cannot append, and does not say that it lags")
	}
	st, err := f.ledger(t).State(ctx, "shop", first[9])
	if err != nil || st.State != ledger.StatePublished {
		t.Errorf("what was published before is %+v, %v", st, err)
	}
	if err := os.Remove(tree); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tree+".away", tree); err != nil {
		t.Fatal(err)
	}
	last := f.commit(t, 1)
	s.Poke()
	if _, err := f.ledger(t).WaitPublished(ctx, "shop", last[0]); err != nil {
		t.Fatal(err)
	}
	for {
		if _, lags := s.Lag(); !lags {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("the sequencer lags on")
		default:
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if r := f.audit(t); !r.OK || r.Epochs[0].Size != uint64(10+len(acknowledged)+1) || r.Unpublished != 0 {
		t.Errorf("report %+v, want all %d facts", r, 10+len(acknowledged)+1)
	}
}
