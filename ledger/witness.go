package ledger

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

const (
	// MaxWitnessHashes is the largest number of hashes in a request to a witness.
	MaxWitnessHashes = 63
	// MaxWitnessRequest is the largest request to a witness in bytes.
	MaxWitnessRequest = MaxCheckpoint + (MaxWitnessHashes+1)*(hashLine+1)

	witnessBucket = "witness"
	sizeType      = "text/x.tlog.size"
)

// WitnessConfig says for whom a witness cosigns. All fields but Log and Metrics are needed.
type WitnessConfig struct {
	Store    store.Store // keeps the last head of each log
	Cosigner *Cosigner
	Logs     []string // vkeys of the logs; later epochs of a log of ours are the same log
	Log      *slog.Logger
	Metrics  prometheus.Registerer
}

// WitnessHandler cosigns the heads of other logs: C2SP tlog-witness. For each log it keeps
// the newest head it ever cosigned, and cosigns only what extends that one, so two
// different histories never both get its cosignature. The head is durable in the
// store before the cosignature is sent.
type WitnessHandler struct {
	cfg      WitnessConfig
	requests *prometheus.CounterVec
}

// NewWitnessHandler returns the handler of one path, add-checkpoint.
func NewWitnessHandler(cfg WitnessConfig) (*WitnessHandler, error) {
	for _, k := range cfg.Logs {
		if _, _, err := parseVerifier(k); err != nil {
			return nil, err
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &WitnessHandler{cfg: cfg, requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "assay_witness_requests_total", Help: "Heads of other logs that were offered for a cosignature.",
	}, []string{"status"})}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(h.requests)
	}
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *WitnessHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	status, body := http.StatusMethodNotAllowed, "a head is offered with POST\n"
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
	} else {
		status, body = h.answer(r)
	}
	h.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	kind := "text/plain; charset=utf-8"
	if status == http.StatusConflict {
		kind = sizeType
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // who asked is gone if this fails
}

// refusal is an answer other than 200.
type refusal struct {
	status int
	body   string
	kept   []byte // the head that contradicts the offered one
}

func (r *refusal) Error() string { return r.body }

func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, body: fmt.Sprintf(format, args...) + "\n"}
}

func (h *WitnessHandler) answer(r *http.Request) (status int, body string) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, MaxWitnessRequest+1))
	if err != nil {
		return http.StatusBadRequest, "the request was cut off\n"
	}
	line, err := h.cosign(r.Context(), raw)
	if err == nil {
		return http.StatusOK, line
	}
	if no, ok := errors.AsType[*refusal](err); ok {
		return no.status, no.body
	}
	h.cfg.Log.Error("witness cannot keep a head; nothing was cosigned", "error", err)
	return http.StatusServiceUnavailable, "the witness cannot keep the head now\n"
}

// witnessed is the state of one log.
type witnessed struct {
	Size       uint64 `json:"size"`
	Root       []byte `json:"root"`
	Checkpoint []byte `json:"checkpoint"` // as it was offered
}

// cosign answers one request: a cosignature line, a *refusal, or an error of the store.
func (h *WitnessHandler) cosign(ctx context.Context, raw []byte) (string, error) {
	req, err := parseWitnessRequest(raw)
	if err != nil {
		return "", err
	}
	claimed, err := ParseHead(req.checkpoint)
	if err != nil {
		return "", refuse(http.StatusBadRequest, "%v", err)
	}
	v := h.logOf(claimed.Origin)
	if v == nil {
		return "", refuse(http.StatusNotFound, "this witness does not know the log %s", clip(claimed.Origin))
	}
	head, err := ParseCheckpoint(req.checkpoint, claimed.Origin, v)
	if err != nil {
		return "", refuse(http.StatusForbidden, "%v", err)
	}
	if req.old > head.Size {
		return "", refuse(http.StatusBadRequest, "old size %d is above the size %d of the checkpoint", req.old, head.Size)
	}
	err = h.cfg.Store.Update(ctx, func(tx store.Tx) error { return h.advance(tx, req, head) })
	if no, ok := errors.AsType[*refusal](err); ok && no.kept != nil {
		// Both heads are signed: together they prove what the log did, or the proof was bad.
		h.cfg.Log.Error("a log offered a head that does not extend the one that was cosigned",
			"origin", head.Origin, "kept", string(no.kept), "offered", string(head.Raw))
	}
	if err != nil {
		return "", err
	}
	text, _, _ := bytes.Cut(req.checkpoint, []byte("\n\n"))
	sig, err := h.cfg.Cosigner.Sign(append(bytes.Clone(text), '\n'))
	if err != nil {
		return "", err
	}
	return h.cfg.Cosigner.line(sig), nil
}

// advance keeps the head if it extends the one that is kept.
func (h *WitnessHandler) advance(tx store.Tx, req witnessRequest, head Checkpoint) error {
	k := store.Key{Namespace: store.SystemNamespace, Bucket: witnessBucket, Name: head.Origin}
	last := witnessed{Root: rfc6962.DefaultHasher.EmptyRoot()}
	value, err := tx.Get(k)
	if err == nil {
		err = json.Unmarshal(value.Data, &last)
	} else if assay.CodeOf(err) == assay.CodeNotFound {
		err = nil
	}
	if err != nil {
		return err
	}
	if req.old != last.Size {
		return &refusal{status: http.StatusConflict, body: strconv.FormatUint(last.Size, 10) + "\n"}
	}
	if err := verifyConsistency(last.Size, head.Size, req.hashes, last.Root, head.Root[:]); err != nil {
		return &refusal{
			status: http.StatusUnprocessableEntity, kept: last.Checkpoint,
			body: fmt.Sprintf("%s: the head of size %d does not extend the one of size %d that this witness cosigned: %v\n", head.Origin, head.Size, last.Size, err),
		}
	}
	if value.Version > 0 && head.Size == last.Size {
		return nil // the same head again
	}
	data, err := json.Marshal(witnessed{head.Size, head.Root[:], head.Raw})
	if err != nil {
		return err
	}
	_, err = tx.Put(k, data, value.Version)
	return err
}

// logOf is the key of the log with that origin, nil if it is not known.
func (h *WitnessHandler) logOf(origin string) note.Verifier {
	for _, k := range h.cfg.Logs {
		base, _, _ := strings.Cut(k, "+")
		if _, ok := EpochOf(base, origin); !ok {
			continue
		}
		if v, err := ParseVerifierFor(k, origin); err == nil {
			return v
		}
	}
	return nil
}

type witnessRequest struct {
	old        uint64
	hashes     [][]byte
	checkpoint []byte
}

// parseWitnessRequest reads what is posted to add-checkpoint; its error is a *refusal.
func parseWitnessRequest(raw []byte) (witnessRequest, error) {
	bad := func(format string, args ...any) (witnessRequest, error) {
		return witnessRequest{}, refuse(http.StatusBadRequest, format, args...)
	}
	if len(raw) > MaxWitnessRequest {
		return bad("the request has more than %d bytes", MaxWitnessRequest)
	}
	line, rest, ok := bytes.Cut(raw, []byte("\n"))
	number, isOld := strings.CutPrefix(string(line), "old ")
	old, err := strconv.ParseUint(number, 10, 63)
	if !ok || !isOld || err != nil || strconv.FormatUint(old, 10) != number {
		return bad("the request does not begin with a line: old SIZE")
	}
	req := witnessRequest{old: old}
	for {
		if line, rest, ok = bytes.Cut(rest, []byte("\n")); !ok {
			return bad("the request is cut off before the checkpoint")
		}
		if len(line) == 0 {
			break
		}
		if len(req.hashes) == MaxWitnessHashes {
			return bad("the request has more than %d hashes", MaxWitnessHashes)
		}
		hash, err := exactBase64(string(line))
		if err != nil || len(hash) != rfc6962.DefaultHasher.Size() {
			return bad("hash %d is not the base64 form of %d bytes", len(req.hashes), rfc6962.DefaultHasher.Size())
		}
		req.hashes = append(req.hashes, hash)
	}
	if len(rest) > MaxCheckpoint {
		return bad("the checkpoint has more than %d bytes", MaxCheckpoint)
	}
	req.checkpoint = rest
	return req, nil
}

// marshal is the request as it is posted.
func (r witnessRequest) marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", r.old)
	for _, h := range r.hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(h) + "\n")
	}
	b.WriteByte('\n')
	b.Write(r.checkpoint)
	return b.Bytes()
}
