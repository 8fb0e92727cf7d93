// Package otlp takes metrics in by the OpenTelemetry protocol over HTTP.
//
// The mental model is three sieves. A body is read and decoded whole or not at
// all; each data point is looked at by itself and dropped with a reason if
// nothing can be made of it; what is left is translated into series exactly as
// Prometheus does it, by Prometheus' own translator, and goes to the intake.
package otlp

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"strconv"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// Path is where the protocol puts metrics.
const Path = "/v1/metrics"

// Headers by which a sender may number its batches, so that a lost one shows.
const (
	EpochHeader    = "Assay-Epoch"
	SequenceHeader = "Assay-Sequence"
)

// Handler serves POST /v1/metrics: protobuf or JSON, plain or gzip. Safe for
// concurrent use.
type Handler struct {
	intake   *signal.Intake
	identify signal.Identify
	deltas   *deltas
}

// NewHandler returns a handler that gives to the intake what identified senders send.
func NewHandler(intake *signal.Intake, identify signal.Identify) *Handler {
	return &Handler{intake: intake, identify: identify, deltas: newDeltas()}
}

// ServeHTTP answers 200, with partial_success if samples were refused; 4xx for
// what must not be sent again; 429 and 503 for what may.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	isJSON := media == "application/json"
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.fail(w, isJSON, http.StatusMethodNotAllowed, "unsupported", "send metrics with POST", 0)
		return
	}
	if err != nil || !isJSON && media != "application/x-protobuf" {
		h.fail(w, false, http.StatusUnsupportedMediaType, "unsupported", "the content type is neither application/x-protobuf nor application/json", 0)
		return
	}
	from := signal.Origin{Road: signal.RoadOTLP}
	if from.Namespace, from.Name, err = h.identify(r); err != nil {
		h.refuse(w, isJSON, err, 0)
		return
	}
	from.Epoch, from.Sequence = number(r.Header.Get(EpochHeader)), number(r.Header.Get(SequenceHeader))
	leave, err := h.intake.Enter()
	if err != nil {
		w.Header().Set("Retry-After", "1")
		h.fail(w, isJSON, http.StatusTooManyRequests, "busy", err.Error(), 0)
		return
	}
	defer leave()
	data, sent, err := h.intake.Body(w, r, r.Header.Get("Content-Encoding"))
	if err != nil {
		h.refuse(w, isJSON, err, sent)
		return
	}
	metrics, err := Unmarshal(data, isJSON)
	if err != nil {
		h.refuse(w, isJSON, err, sent)
		return
	}
	res, err := h.take(r.Context(), from, metrics)
	if err != nil {
		h.refuse(w, isJSON, err, sent)
		return
	}
	h.answer(w, isJSON, res, sent)
}

// take sieves, translates and hands over.
func (h *Handler) take(ctx context.Context, from signal.Origin, metrics pmetric.Metrics) (signal.Result, error) {
	var res signal.Result
	sieve(metrics, h.intake.Now(), &res)
	h.deltas.cumulate(from, metrics, &res)
	samples, err := translate(ctx, metrics, &res)
	if err != nil {
		return signal.Result{}, err
	}
	return h.intake.Take(ctx, from, samples, res)
}

// Unmarshal decodes an export request, whole or not at all; CodeInvalid.
func Unmarshal(data []byte, isJSON bool) (m pmetric.Metrics, err error) {
	req := pmetricotlp.NewExportRequest()
	if isJSON {
		err = req.UnmarshalJSON(data)
	} else {
		err = req.UnmarshalProto(data)
	}
	if err != nil {
		return m, assay.Errorf(assay.CodeInvalid, "the body is no OTLP metrics request: %w", err)
	}
	return req.Metrics(), nil
}

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0 // a sender that counts wrongly is one that does not count
	}
	return n
}

func (h *Handler) answer(w http.ResponseWriter, isJSON bool, res signal.Result, sent int) {
	resp, outcome := pmetricotlp.NewExportResponse(), "ok"
	if n := res.RefusedTotal(); n > 0 {
		outcome = "partial"
		resp.PartialSuccess().SetRejectedDataPoints(int64(n))
		resp.PartialSuccess().SetErrorMessage(res.Explain())
	}
	h.intake.Request(signal.RoadOTLP, outcome, sent)
	var body []byte
	var err error
	if isJSON {
		w.Header().Set("Content-Type", "application/json")
		body, err = resp.MarshalJSON()
	} else {
		w.Header().Set("Content-Type", "application/x-protobuf")
		body, err = resp.MarshalProto()
	}
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body) // the sender is gone if this fails, and will send again
}

func (h *Handler) refuse(w http.ResponseWriter, isJSON bool, err error, sent int) {
	status, outcome := signal.Status(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	h.fail(w, isJSON, status, outcome, err.Error(), sent)
}

// fail writes the Status message that the protocol asks for: code and message.
func (h *Handler) fail(w http.ResponseWriter, isJSON bool, status int, outcome, message string, sent int) {
	h.intake.Request(signal.RoadOTLP, outcome, sent)
	if !isJSON {
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.WriteHeader(status)
		_, _ = w.Write(statusProto(message))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Message string `json:"message"`
	}{message})
}

// statusProto is google.rpc.Status with its message only: field 2, a string.
func statusProto(message string) []byte {
	b := []byte{2<<3 | 2}
	n := len(message)
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(append(b, byte(n)), message...)
}
