package admit

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"time"

	"assay.dev/assay"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Path is where reviews are taken, with the door's namespace and name behind it.
const Path = "/admission/"

const (
	// maxInFlight bounds the reviews that are worked on at once, and with it their
	// memory: each may hold MaxReview bytes, and what is decoded of them.
	maxInFlight = 64
	// maxSend is how long a review may take to arrive: an API server sends at once, and
	// who does not would hold a place.
	maxSend = 2 * time.Second
	// maxPatience is believed of an API server; Kubernetes allows 30 s.
	maxPatience = 10 * time.Second
	// defaultTimeout is assumed where an API server does not say how long it waits.
	defaultTimeout = 3 * time.Second
	// margin is kept of an API server's patience for the way back.
	margin = 250 * time.Millisecond
)

// handler answers the reviews of an API server.
type handler struct {
	door *Door
	busy chan struct{}
}

// Handler answers POST requests to Path + "NAMESPACE/NAME" that hold a review with
// the decision of that door. Whatever can be answered as a review is; the rest is
// refused with a status and one line, which an API server treats by the failure
// policy of its webhook configuration.
func Handler(d *Door) http.Handler {
	h := &handler{door: d, busy: make(chan struct{}, maxInFlight)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path+"{namespace}/{name}", h.review)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	return mux
}

func (h *handler) review(w http.ResponseWriter, r *http.Request) {
	if !h.enter(r) {
		w.Header().Set("Retry-After", "1")
		h.refuse(w, http.StatusServiceUnavailable, "busy", "too many reviews are under way")
		return
	}
	defer func() { <-h.busy }()
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(maxSend)) // without it the server's own holds
	review, err := readReview(w, r)
	if err != nil {
		status, result := http.StatusBadRequest, "invalid"
		switch {
		case assay.CodeOf(err) == assay.CodeTooLarge:
			status, result = http.StatusRequestEntityTooLarge, "too_large"
		case errors.Is(err, errContentType):
			status = http.StatusUnsupportedMediaType
		}
		h.refuse(w, status, result, err.Error())
		return
	}
	answer, err := h.door.Ask(r.Context(), Request{
		Door: r.PathValue("namespace") + "/" + r.PathValue("name"), Review: review, Actor: "kubernetes:" + review.Target.User, Wait: patience(r),
	})
	switch assay.CodeOf(err) {
	case "":
		h.door.metrics.requests.WithLabelValues("ok").Inc()
		writeReview(w, review.UID, answer)
	case assay.CodeNotFound:
		h.refuse(w, http.StatusNotFound, "not_found", err.Error())
	default:
		h.door.cfg.Log.Error("a review cannot be decided", "uid", review.UID, "error", err)
		h.refuse(w, http.StatusInternalServerError, "internal", "internal error; the log has it")
	}
}

// enter waits for a place among the reviews that are worked on, as long as an answer
// would still be of use: a queue of waiting requests costs little, their bodies much.
func (h *handler) enter(r *http.Request) bool {
	select {
	case h.busy <- struct{}{}:
		return true
	default:
	}
	late := time.NewTimer(patience(r))
	defer late.Stop()
	select {
	case h.busy <- struct{}{}:
		return true
	case <-late.C:
	case <-r.Context().Done():
	}
	return false
}

// patience is how long the review may wait: what the API server says, less a margin.
func patience(r *http.Request) time.Duration {
	t, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil || t <= 0 {
		t = defaultTimeout
	}
	return max(0, min(t, maxPatience)-margin)
}

var errContentType = assay.Errorf(assay.CodeInvalid, "the Content-Type is not application/json")

func readReview(w http.ResponseWriter, r *http.Request) (Review, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return Review{}, errContentType
	}
	if r.ContentLength > MaxReview {
		return Review{}, assay.Errorf(assay.CodeTooLarge, "the review has %d bytes; at most %d are read", r.ContentLength, MaxReview)
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxReview))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return Review{}, assay.Errorf(assay.CodeTooLarge, "the review has more than %d bytes", MaxReview)
	}
	if err != nil {
		return Review{}, assay.Errorf(assay.CodeInvalid, "the review broke off: %w", err)
	}
	return DecodeReview(data)
}

func (h *handler) refuse(w http.ResponseWriter, status int, result, why string) {
	h.door.metrics.requests.WithLabelValues(result).Inc()
	http.Error(w, "assay: "+clip(why, 500), status)
}

func writeReview(w http.ResponseWriter, uid string, d Decision) {
	answer := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{Kind: "AdmissionReview", APIVersion: admissionv1.SchemeGroupVersion.String()},
		Response: &admissionv1.AdmissionResponse{
			UID: types.UID(uid), Allowed: d.Allowed, AuditAnnotations: d.AuditAnnotations(), Warnings: d.Warnings,
		},
	}
	if !d.Allowed {
		answer.Response.Result = &metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: d.Message(),
		}
	}
	data, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "assay: the answer cannot be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) // the API server has gone if this fails
}

// Limits of the webhook's listener.
const (
	headerTimeout = 5 * time.Second
	requestTime   = 15 * time.Second // an API server waits 30 s at most
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
	drainTime     = 10 * time.Second
)

// Serve answers over TLS on ln until ctx ends, then lets the reviews under way
// finish. Give tc a GetCertificate, and ClientCAs with RequireAndVerifyClientCert to
// let only API servers in.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, tc *tls.Config, log *slog.Logger) error {
	tc = tc.Clone()
	tc.MinVersion = tls.VersionTLS12
	srv := &http.Server{
		Handler: h, TLSConfig: tc, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTime, WriteTimeout: requestTime,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.ServeTLS(ln, "", "") }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		return errors.Join(err, srv.Close())
	}
	return nil
}
