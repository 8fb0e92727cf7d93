package ledger

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/pause"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"
)

// Defaults of WitnessingConfig.
const (
	DefaultWitnessInterval = time.Second
	DefaultWitnessTimeout  = 5 * time.Second
	maxWitnessBackoff      = 30 * time.Second
	maxWitnessAnswer       = 16 << 10
)

// WitnessingConfig says whose heads are cosigned by whom. Policy, Epoch, Save and
// Client are needed.
type WitnessingConfig struct {
	Policy *WitnessPolicy
	Epoch  Epoch                   // the newest one
	Save   func(head []byte) error // keeps the newest cosigned head, durably; see CosignedPath
	Client *http.Client

	Interval time.Duration // how often the head is offered; default DefaultWitnessInterval
	Timeout  time.Duration // for one witness; default DefaultWitnessTimeout
	Now      func() time.Time
	Log      *slog.Logger
	Metrics  prometheus.Registerer
}

// Witnessing asks the witnesses of a policy for cosignatures on our heads. It runs
// beside the sequencer and never holds it up: a head is published at once, and what
// witnesses say of it is added when they have said it.
type Witnessing struct {
	cfg     WitnessingConfig
	peers   []*peer
	head    []byte // the newest one with what was said of it so far
	kept    []byte // saved last, nil before
	loaded  bool   // what an earlier process kept was read
	quorum  prometheus.Gauge
	size    prometheus.Gauge
	answers *prometheus.CounterVec
}

// peer is what we know of one witness.
type peer struct {
	Witness
	size    uint64 // of our last head that it cosigned, as it says
	done    []byte // the head it cosigned last
	wait    time.Duration
	next    time.Time // not asked before
	problem string    // said once
}

// NewWitnessing checks the configuration.
func NewWitnessing(cfg WitnessingConfig) (*Witnessing, error) {
	cfg.Interval = cmpOr(cfg.Interval, DefaultWitnessInterval)
	cfg.Timeout = cmpOr(cfg.Timeout, DefaultWitnessTimeout)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	w := &Witnessing{
		cfg:     cfg,
		quorum:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "assay_ledger_witness_quorum_state", Help: "1 if the newest cosigned head meets the quorum."}),
		size:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "assay_ledger_witnessed_leaves", Help: "Leaves that the newest head with a quorum of cosignatures covers."}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "assay_ledger_witness_answers_total", Help: "Answers of witnesses to our heads."}, []string{"witness", "result"}),
	}
	for _, p := range cfg.Policy.Witnesses {
		if p.URL == "" {
			return nil, assay.Errorf(assay.CodeInvalid, "witness %s has no URL in the policy: it cannot be asked", p.Name)
		}
		w.peers = append(w.peers, &peer{Witness: p})
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(w.quorum, w.size, w.answers)
	}
	return w, nil
}

func cmpOr(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// Run asks until ctx ends, and returns nil then. A witness that does not answer is asked less
// and less often, at least twice a minute.
func (w *Witnessing) Run(ctx context.Context) error {
	for {
		if _, err := w.Round(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("witnesses could not be asked", "error", err)
		}
		if !pause.For(ctx, w.cfg.Interval) {
			return nil
		}
	}
}

// Round offers the newest head to every witness that has not cosigned it and is due,
// keeps what came back, and says what the policy thinks of the head now. It takes at
// most the timeout.
func (w *Witnessing) Round(ctx context.Context) (Quorum, error) {
	raw, err := w.cfg.Epoch.Reader.ReadCheckpoint(ctx)
	if err != nil {
		return Quorum{}, err
	}
	head, err := ParseCheckpoint(raw, w.cfg.Epoch.Origin, w.cfg.Epoch.Verifier)
	if err != nil {
		return Quorum{}, err
	}
	if err := w.load(ctx); err != nil {
		return Quorum{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	lines := make([]string, len(w.peers))
	var wg sync.WaitGroup
	for i, p := range w.peers {
		if sameText(p.done, raw) || w.cfg.Now().Before(p.next) {
			continue
		}
		wg.Go(func() { lines[i] = w.ask(ctx, p, head) })
	}
	wg.Wait()
	if !sameText(w.head, raw) {
		w.head = raw
	}
	w.head = append(bytes.Clone(w.head), strings.Join(lines, "")...)
	q, err := w.cfg.Policy.Check(w.head, w.cfg.Now())
	if err != nil {
		return q, err
	}
	if len(q.Cosignatures) > 0 && !bytes.Equal(w.head, w.kept) && w.better(q) {
		if err := w.cfg.Save(w.head); err != nil {
			return Quorum{}, assay.Errorf(assay.CodeUnavailable, "cannot keep a cosigned head: %w", err)
		}
		w.kept = w.head
	}
	w.quorum.Set(0)
	if q.Met {
		w.quorum.Set(1)
		w.size.Set(float64(head.Size))
	}
	return q, nil
}

// load reads what an earlier process kept, once: whoever cosigned it need not be asked
// again, and what was said of it is not lost for something that says less.
func (w *Witnessing) load(ctx context.Context) error {
	if w.loaded || w.cfg.Epoch.Cosigned == nil {
		return nil
	}
	raw, err := w.cfg.Epoch.Cosigned(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		w.loaded = true
		return nil
	}
	if err != nil {
		return err
	}
	w.loaded = true
	head, err := ParseCheckpoint(raw, w.cfg.Epoch.Origin, w.cfg.Epoch.Verifier)
	var q Quorum
	if err == nil {
		q, err = w.cfg.Policy.Check(raw, w.cfg.Now())
	}
	if err != nil { // the audit says so too; a sound one takes its place
		w.cfg.Log.Error("the cosigned head that was kept cannot be believed", "error", err)
		return nil
	}
	w.kept, w.head = raw, raw
	for _, p := range w.peers {
		if slices.ContainsFunc(q.Cosignatures, func(c Cosignature) bool { return c.Witness == p.Name }) {
			p.done, p.size = raw, head.Size
		}
	}
	return nil
}

// better reports whether the newest head, of which the policy thinks next, is to take
// the place of the kept one. One with a quorum yields only to another with a quorum.
func (w *Witnessing) better(next Quorum) bool {
	if w.kept == nil || next.Met {
		return true
	}
	old, err := w.cfg.Policy.Check(w.kept, w.cfg.Now())
	return err != nil || !old.Met && len(next.Cosignatures) >= len(old.Cosignatures)
}

// ask returns a cosignature line, or "" after it said why there is none.
func (w *Witnessing) ask(ctx context.Context, p *peer, head Checkpoint) string {
	line, err := w.post(ctx, p, head)
	if err == nil {
		p.done, p.size, p.wait, p.problem = head.Raw, head.Size, 0, ""
		w.answers.WithLabelValues(p.Name, "cosigned").Inc()
		return line
	}
	result := "unavailable"
	if assay.CodeOf(err) == assay.CodeConflict {
		result = "refused"
	}
	w.answers.WithLabelValues(p.Name, result).Inc()
	p.wait = min(max(2*p.wait, w.cfg.Interval), maxWitnessBackoff)
	p.next = w.cfg.Now().Add(p.wait)
	if p.problem != result { // once, not every second
		p.problem = result
		w.cfg.Log.Error("no cosignature", "witness", p.Name, "size", head.Size, "error", err)
	}
	return ""
}

// post offers the head, a second time with the size that the witness names.
func (w *Witnessing) post(ctx context.Context, p *peer, head Checkpoint) (string, error) {
	for again := false; ; again = true {
		hashes, err := consistency(ctx, w.cfg.Epoch.Reader, p.size, head.Size)
		if err != nil {
			return "", err
		}
		status, kind, body, err := w.send(ctx, p, witnessRequest{p.size, hashes, head.Raw})
		if err != nil {
			return "", assay.Errorf(assay.CodeUnavailable, "witness %s: %w", p.Name, err)
		}
		switch {
		case status == http.StatusOK:
			return w.accept(p, head, body)
		case status == http.StatusConflict && kind == sizeType && !again:
			size, err := strconv.ParseUint(strings.TrimSuffix(string(body), "\n"), 10, 63)
			if err != nil {
				return "", assay.Errorf(assay.CodeUnavailable, "witness %s answered 409 without a size", p.Name)
			}
			if size > head.Size {
				e := assay.Errorf(assay.CodeConflict, "witness %s has seen our ledger with %d leaves, but it has only %d: it was set back", p.Name, size, head.Size)
				e.Hint = "open a new epoch with `assay ledger restore --head` and the witness's checkpoint"
				return "", e
			}
			p.size = size
		case status == http.StatusUnprocessableEntity || status == http.StatusForbidden || status == http.StatusNotFound:
			return "", assay.Errorf(assay.CodeConflict, "witness %s refused the head with %d: %s", p.Name, status, clip(strings.TrimSpace(string(body))))
		default:
			return "", assay.Errorf(assay.CodeUnavailable, "witness %s answered %d", p.Name, status)
		}
	}
}

func (w *Witnessing) send(ctx context.Context, p *peer, body witnessRequest) (status int, kind string, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(body.marshal()))
	if err != nil {
		return 0, "", nil, err
	}
	resp, err := w.cfg.Client.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxWitnessAnswer))
	return resp.StatusCode, resp.Header.Get("Content-Type"), answer, err
}

// accept verifies what a witness answered and returns its cosignature alone.
func (w *Witnessing) accept(p *peer, head Checkpoint, body []byte) (string, error) {
	text, _, _ := bytes.Cut(head.Raw, []byte("\n\n"))
	n, err := note.Open(append(append(bytes.Clone(text), "\n\n"...), body...), note.VerifierList(p.Verifier))
	if err != nil {
		if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
			return "", assay.Errorf(assay.CodeConflict, "witness %s answered without a cosignature of the key in the policy", p.Name)
		}
		return "", assay.Errorf(assay.CodeConflict, "witness %s answered with a cosignature that does not hold: %w", p.Name, err)
	}
	line := "— " + n.Sigs[0].Name + " " + n.Sigs[0].Base64 + "\n"
	// A clock that is far ahead would make every reader refuse the whole head.
	if _, err := w.cfg.Policy.Check(append(bytes.Clone(head.Raw), line...), w.cfg.Now()); err != nil {
		return "", assay.Errorf(assay.CodeConflict, "witness %s: %w", p.Name, err)
	}
	return line, nil
}
