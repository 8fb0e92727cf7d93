// Package remotewrite takes samples in by Prometheus' remote-write protocol,
// version 1.
//
// The mental model is the OTLP handler's: a body is decoded whole or not at
// all, then each sample is judged by itself. The protocol has no partial
// success: a sender whose samples were refused gets 400 with the reason and
// does not send them again; the good samples of the same request are stored.
package remotewrite

import (
	"mime"
	"net/http"

	"assay.dev/assay/signal"
)

// Path is where Prometheus puts the receiver.
const Path = "/api/v1/write"

// Handler serves POST /api/v1/write. Safe for concurrent use.
type Handler struct {
	intake   *signal.Intake
	identify signal.Identify
}

// NewHandler returns a handler that gives to the intake what identified senders send.
func NewHandler(intake *signal.Intake, identify signal.Identify) *Handler {
	return &Handler{intake, identify}
}

// ServeHTTP answers 204, 400 if samples were refused, 415 for version 2, 429
// and 503 for what may be sent again.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.fail(w, http.StatusMethodNotAllowed, "unsupported", "send samples with POST", 0)
		return
	}
	if why := unsupported(r.Header); why != "" {
		h.fail(w, http.StatusUnsupportedMediaType, "unsupported", why, 0)
		return
	}
	from := signal.Origin{Road: signal.RoadRemoteWrite}
	var err error
	if from.Namespace, from.Name, err = h.identify(r); err != nil {
		h.refuse(w, err, 0)
		return
	}
	leave, err := h.intake.Enter()
	if err != nil {
		w.Header().Set("Retry-After", "1")
		h.fail(w, http.StatusTooManyRequests, "busy", err.Error(), 0)
		return
	}
	defer leave()
	data, sent, err := h.intake.Body(w, r, "snappy")
	if err != nil {
		h.refuse(w, err, sent)
		return
	}
	var res signal.Result
	samples, err := signal.UnmarshalWrite(data, &res)
	if err != nil {
		h.refuse(w, err, sent)
		return
	}
	if res, err = h.intake.Take(r.Context(), from, samples, res); err != nil {
		h.refuse(w, err, sent)
		return
	}
	if n := res.RefusedTotal(); n > 0 {
		h.fail(w, http.StatusBadRequest, "partial", res.Explain(), sent)
		return
	}
	h.intake.Request(signal.RoadRemoteWrite, "ok", sent)
	w.WriteHeader(http.StatusNoContent)
}

// unsupported says why a request is not version 1 in snappy, "" if it is.
func unsupported(head http.Header) string {
	media, params, err := mime.ParseMediaType(head.Get("Content-Type"))
	switch proto := params["proto"]; {
	case err != nil || media != "application/x-protobuf":
		return "the content type is not application/x-protobuf"
	case proto != "" && proto != "prometheus.WriteRequest":
		return "remote write 2.0 is not taken yet; send prometheus.WriteRequest (version 1)"
	}
	if c := head.Get("Content-Encoding"); c != "" && c != "snappy" {
		return "the content encoding is not snappy"
	}
	return ""
}

func (h *Handler) refuse(w http.ResponseWriter, err error, sent int) {
	status, outcome := signal.Status(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	h.fail(w, status, outcome, err.Error(), sent)
}

func (h *Handler) fail(w http.ResponseWriter, status int, outcome, message string, sent int) {
	h.intake.Request(signal.RoadRemoteWrite, outcome, sent)
	http.Error(w, message, status)
}
