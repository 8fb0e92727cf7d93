package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store/mem"
	"golang.org/x/mod/sumdb/note"
)

// kept is where a test keeps the cosigned head.
type kept struct {
	mu  sync.Mutex
	raw []byte
}

func (k *kept) save(raw []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.raw = bytes.Clone(raw)
	return nil
}

func (k *kept) read(context.Context) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.raw == nil {
		return nil, fs.ErrNotExist
	}
	return k.raw, nil
}

// asked is a world whose heads are cosigned.
type asked struct {
	*world
	kept *kept
	now  time.Time
	asks *ledger.Witnessing

	cfg ledger.WitnessingConfig
}

// restart is another process on what the one before kept.
func (a *asked) restart(t *testing.T) {
	t.Helper()
	var err error
	if a.asks, err = ledger.NewWitnessing(a.cfg); err != nil {
		t.Fatal(err)
	}
}

// ask prepares a world for the witnesses of a policy, which may name $URL and $KEY of
// the handlers by their numbers.
func ask(t *testing.T, text string, witnesses ...http.Handler) *asked {
	t.Helper()
	a := &asked{world: newWorld(t), kept: &kept{}, now: clock}
	for i, h := range witnesses {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		text = strings.ReplaceAll(text, fmt.Sprintf("$URL%d", i), srv.URL)
	}
	p := policy(t, text)
	epoch := ledger.Epoch{Origin: assay.DefaultOrigin, Reader: a.log, Verifier: a.verifier, Cosigned: a.kept.read, Witnesses: p}
	var err error
	if a.ledger, err = ledger.New(a.store, salt, []ledger.Epoch{epoch}); err != nil {
		t.Fatal(err)
	}
	a.cfg = ledger.WitnessingConfig{
		Policy: p, Epoch: epoch, Save: a.kept.save, Client: http.DefaultClient, Timeout: 300 * time.Millisecond,
		Now: func() time.Time { return a.now },
	}
	a.restart(t)
	return a
}

func (a *asked) round(t *testing.T) ledger.Quorum {
	t.Helper()
	q, err := a.asks.Round(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// ourKey is the public key of a world's ledger.
func ourKey(t *testing.T) string {
	t.Helper()
	_, vkey, err := ledger.GenerateKey(&stream{1}, assay.DefaultOrigin)
	if err != nil {
		t.Fatal(err)
	}
	return vkey
}

func TestHeadIsCosignedByTheWitnessesThatAnswerInTime(t *testing.T) {
	ended := make(chan struct{})
	hangs := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	})
	defer close(ended)
	a, b, c := cosigner(t, 30, "w.example/a", clock), cosigner(t, 31, "w.example/b", clock), cosigner(t, 32, "w.example/c", clock)
	w := ask(t, "witness a "+a.VKey()+" $URL0\nwitness b "+b.VKey()+" $URL1\nwitness c "+c.VKey()+" $URL2\ngroup g 2 a b c\nquorum g\n",
		newWitness(t, mem.New(mem.Config{}), a, ourKey(t)), hangs, newWitness(t, mem.New(mem.Config{}), c, ourKey(t)))
	ids := commit(t, w.store, 0, 3)
	publish(t, w.world, ids[2])
	if _, err := w.ledger.Witnessed(t.Context(), clock); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("before anybody was asked: %v", err)
	}
	start := time.Now()
	q := w.round(t)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a round took %v with a witness that hangs", took)
	}
	if !q.Met || len(q.Cosignatures) != 2 {
		t.Errorf("quorum %+v, want 2 of 3", q)
	}
	got, err := w.ledger.Witnessed(t.Context(), clock)
	if err != nil || !got.Quorum.Met || got.Checkpoint.Size != 3 {
		t.Errorf("witnessed %+v, %v", got, err)
	}
	// A proof takes the head that others saw.
	p, err := w.ledger.Prove(t.Context(), "shop", ids[1])
	if err != nil {
		t.Fatal(err)
	}
	if q, err := policy(t, "witness a "+a.VKey()+"\nquorum a\n").Check(p.Checkpoint, clock); err != nil || !q.Met {
		t.Errorf("the proof's head: %+v, %v", q, err)
	}
	// The log grows: the next round proves it to the witnesses.
	more := commit(t, w.store, 3, 40)
	publish(t, w.world, more[39])
	w.now = w.now.Add(time.Hour)
	if q := w.round(t); !q.Met {
		t.Errorf("after the log grew: %+v", q)
	}
	if r, err := w.ledger.Audit(t.Context(), ledger.AuditOptions{Quorum: true, Now: func() time.Time { return clock }}); err != nil || !r.OK {
		t.Errorf("audit %+v, %v", r, err)
	}
}

func TestHeadWithAQuorumIsNotReplacedByOneWithoutAlsoAfterARestart(t *testing.T) {
	a, b := cosigner(t, 30, "w.example/a", clock), cosigner(t, 31, "w.example/b", clock)
	var asked, down atomic.Int32
	counted := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); h.ServeHTTP(w, r) })
	}
	second := newWitness(t, mem.New(mem.Config{}), b, ourKey(t))
	w := ask(t, "witness a "+a.VKey()+" $URL0\nwitness b "+b.VKey()+" $URL1\ngroup g all a b\nquorum g\n",
		counted(newWitness(t, mem.New(mem.Config{}), a, ourKey(t))),
		counted(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if down.Load() > 0 {
				http.Error(rw, "down", http.StatusServiceUnavailable)
				return
			}
			second.ServeHTTP(rw, r)
		})))
	holds := func(when string, size uint64) {
		t.Helper()
		got, err := w.ledger.Witnessed(t.Context(), clock)
		if err != nil || !got.Quorum.Met || got.Checkpoint.Size != size {
			t.Errorf("%s: kept a head of %d leaves, quorum %v, %v; want %d leaves with a quorum", when, got.Checkpoint.Size, got.Quorum.Met, err, size)
		}
	}
	ids := commit(t, w.store, 0, 3)
	publish(t, w.world, ids[2])
	w.round(t)
	holds("both answered", 3)

	before := asked.Load()
	w.restart(t)
	if q := w.round(t); !q.Met || asked.Load() != before {
		t.Errorf("after a restart: %+v, and %d witnesses asked again about the same head", q, asked.Load()-before)
	}
	down.Store(1)
	more := commit(t, w.store, 3, 4)
	publish(t, w.world, more[3])
	w.restart(t)
	if q := w.round(t); q.Met || len(q.Cosignatures) != 1 {
		t.Errorf("one of two answered: %+v", q)
	}
	holds("one of two answered about the newer head", 3)
	down.Store(0)
	w.now = w.now.Add(time.Hour)
	w.round(t)
	holds("the other answered too", 7)
}

func TestHeadThatCouldNotBeKeptIsKeptLater(t *testing.T) {
	a := cosigner(t, 30, "w.example/a", clock)
	w := ask(t, "witness a "+a.VKey()+" $URL0\nquorum a\n", newWitness(t, mem.New(mem.Config{}), a, ourKey(t)))
	full := true
	w.cfg.Save = func(raw []byte) error {
		if full {
			return errors.New("disk full")
		}
		return w.kept.save(raw)
	}
	w.restart(t)
	ids := commit(t, w.store, 0, 3)
	publish(t, w.world, ids[2])
	if _, err := w.asks.Round(t.Context()); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Errorf("a full disk: %v", err)
	}
	full = false
	w.round(t)
	if got, err := w.ledger.Witnessed(t.Context(), clock); err != nil || !got.Quorum.Met {
		t.Errorf("%+v, %v; want the cosignature that came before", got.Quorum, err)
	}
}

func TestWitnessThatLiesLeavesTheHeadAsItWas(t *testing.T) {
	honest, liar := cosigner(t, 30, "w.example/a", clock), cosigner(t, 31, "w.example/a", clock) // the same name, another key
	late := cosigner(t, 30, "w.example/a", clock.Add(time.Hour))
	say := func(status int, kind, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		})
	}
	for name, h := range map[string]http.Handler{
		"another key":             newWitness(t, mem.New(mem.Config{}), liar, ourKey(t)),
		"a clock an hour ahead":   newWitness(t, mem.New(mem.Config{}), late, ourKey(t)),
		"200 and nothing":         say(200, "text/plain", ""),
		"200 and rubbish":         say(200, "text/plain", "— w.example/a AAAA\n"),
		"200 and two megabytes":   say(200, "text/plain", strings.Repeat("— w.example/a AAAA\n", 100000)),
		"409 with a size above":   say(409, "text/x.tlog.size", "99\n"),
		"409 again and again":     say(409, "text/x.tlog.size", "1\n"),
		"409 without a size":      say(409, "text/x.tlog.size", "many\n"),
		"409 of another type":     say(409, "text/plain", "1\n"),
		"422":                     say(422, "text/plain", "no\n"),
		"500":                     say(500, "text/plain", "no\n"),
		"a redirect to elsewhere": http.RedirectHandler("http://127.0.0.1:1/", http.StatusTemporaryRedirect),
	} {
		w := ask(t, "witness a "+honest.VKey()+" $URL0\nquorum a\n", h)
		ids := commit(t, w.store, 0, 3)
		publish(t, w.world, ids[2])
		if q := w.round(t); q.Met || len(q.Cosignatures) != 0 || w.kept.raw != nil {
			t.Errorf("%s: %+v, kept %q", name, q, w.kept.raw)
		}
		if w.round(t); w.kept.raw != nil {
			t.Errorf("%s: kept something in the second round", name)
		}
	}
}

func TestAuditNamesACosignedHeadOfAnotherHistory(t *testing.T) {
	a := cosigner(t, 30, "w.example/a", clock)
	w := ask(t, "witness a "+a.VKey()+" $URL0\nquorum a\n", newWitness(t, mem.New(mem.Config{}), a, ourKey(t)))
	ids := commit(t, w.store, 0, 5)
	publish(t, w.world, ids[4])
	check := func(want string) {
		t.Helper()
		r, err := w.ledger.Audit(t.Context(), ledger.AuditOptions{Quorum: true, Now: func() time.Time { return clock }})
		if err != nil || r.OK || !strings.Contains(strings.Join(r.Problems, "\n"), want) {
			t.Errorf("audit %q, %v; want %q", r.Problems, err, want)
		}
	}
	check("cannot be believed") // nobody cosigned, and a quorum is asked for
	// Our own key signed another history, and a witness cosigned that one.
	signer, _ := keys(t, 1, assay.DefaultOrigin)
	other := forkOf(t, signer, 4)
	_, _, line := post(t, newWitness(t, mem.New(mem.Config{}), a, ourKey(t)), request(0, nil, other))
	if err := w.kept.save(append(bytes.Clone(other), line...)); err != nil {
		t.Fatal(err)
	}
	check("history was rewritten")
	far := forkOf(t, signer, 9)
	_, _, line = post(t, newWitness(t, mem.New(mem.Config{}), a, ourKey(t)), request(0, nil, far))
	if err := w.kept.save(append(bytes.Clone(far), line...)); err != nil {
		t.Fatal(err)
	}
	check("it was set back")
}

// forkOf is a head of n other leaves.
func forkOf(t *testing.T, signer note.Signer, n int) []byte {
	t.Helper()
	var head []byte
	_ = newLog(t, signer, func(_ int, cp []byte) { head = bytes.Clone(cp) }, n)
	return head
}
