// Package server puts the control plane on the network: a JSON API with bearer
// tokens, the ledger's public files, health and metrics.
//
// The server adds nothing to what package control does. It turns a credential
// into a caller, bounds what comes in, and turns errors into answers. Routes
// under /v1 need a token; /healthz, /readyz, /metrics and /ledger/ do not: the
// ledger is public by design, health tells nothing about a tenant, and metrics name
// the environments, services and routes that they are about, and never a person, an
// artifact or a token. Who must not know those names is kept from /metrics by a proxy.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/control"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what a server is made of. Every field is needed unless it says otherwise.
type Config struct {
	Plane    *control.Plane
	Ledger   http.Handler // C2SP tiles and checkpoint, mounted at /ledger/
	Registry *prometheus.Registry
	Ready    func(context.Context) error // nil when requests can be served
	Log      *slog.Logger

	// Lagging says in lines what /readyz adds though requests can be served, "" for
	// nothing. May be nil.
	Lagging func(context.Context) string
	// Telemetry are handlers by pattern, for example "POST /v1/metrics", that
	// identify their senders themselves (see Identify). May be nil.
	Telemetry map[string]http.Handler
	// Witness cosigns the heads of other logs, at /witness/add-checkpoint (C2SP
	// tlog-witness); requests prove themselves by the logs' signatures. May be nil.
	Witness http.Handler
	// Pages are for people, mounted at /: what no other route takes. May be nil.
	Pages http.Handler
}

// Limits of the listener. The slow routes get uploadTime through http.ResponseController.
const (
	headerTimeout = 5 * time.Second
	requestTime   = 30 * time.Second
	uploadTime    = 10 * time.Minute
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
	drainTime     = 20 * time.Second
)

// apiRoot is the pattern that takes what no route of the API takes.
const apiRoot = "/v1/"

type server struct {
	cfg      Config
	requests *prometheus.HistogramVec
}

// New returns the handler for all routes.
func New(cfg Config) http.Handler {
	s := &server{cfg: cfg, requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "assay_server_request_seconds",
		Help:    "Time from a request's headers to the end of its answer.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
	}, []string{"route", "result"})}
	cfg.Registry.MustRegister(s.requests)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{}))
	mux.Handle("/ledger/", http.StripPrefix("/ledger", cfg.Ledger))

	for pattern, h := range routes() {
		mux.Handle(pattern, s.authenticated(h))
	}
	for pattern, h := range cfg.Telemetry {
		mux.Handle(pattern, h)
	}
	if cfg.Witness != nil {
		mux.Handle("/witness/add-checkpoint", cfg.Witness)
	}
	if cfg.Pages != nil {
		mux.Handle("/", cfg.Pages)
	}
	mux.HandleFunc(apiRoot, unrouted(mux))
	return s.observed(mux)
}

// Serve answers requests on ln, with TLS and HTTP/2 if secure is not nil, until ctx ends,
// then stops accepting, lets the running requests finish for at most 20 s, and returns nil.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, secure *tls.Config, log *slog.Logger) error {
	srv := &http.Server{
		TLSConfig:         secure,
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTime,
		WriteTimeout:      requestTime + 5*time.Second,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() {
		if secure != nil {
			failed <- srv.ServeTLS(ln, "", "") // the configuration has the certificate
			return
		}
		failed <- srv.Serve(ln)
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping: no new requests, waiting for running ones")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		return errors.Join(err, srv.Close())
	}
	return nil
}

func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.Ready(r.Context()); err != nil {
		s.cfg.Log.Warn("not ready", "error", err)
		writeText(w, http.StatusServiceUnavailable, "not ready\n")
		return
	}
	text := "ready\n"
	if s.cfg.Lagging != nil {
		text += s.cfg.Lagging(r.Context())
	}
	writeText(w, http.StatusOK, text)
}

// observed counts, times and logs every request. The route label is the
// pattern, never the path, so that its values are bounded.
func (s *server) observed(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		_, pattern := mux.Handler(r)
		if pattern == "" {
			pattern = "none"
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		s.guarded(mux, rec, r, pattern)
		took := time.Since(start)
		s.requests.WithLabelValues(pattern, strconv.Itoa(rec.status/100)+"xx").Observe(took.Seconds())
		s.cfg.Log.Debug("request", "method", r.Method, "route", pattern, "status", rec.status, "took", took)
	})
}

// guarded turns a panic into a logged error and an answer like any other.
func (s *server) guarded(mux *http.ServeMux, rec *statusRecorder, r *http.Request, pattern string) {
	defer func() {
		if rec.sent {
			return // if it panics, half an answer is out: net/http breaks the connection
		}
		fault := recover()
		if fault == nil {
			return
		}
		s.cfg.Log.Error("request panicked", "route", pattern, "panic", fault, "stack", string(debug.Stack()))
		writeProblem(rec, assay.Errorf(assay.CodeInternal, "panic"))
	}()
	mux.ServeHTTP(rec, r)
}

// statusRecorder remembers the status that was sent.
type statusRecorder struct {
	http.ResponseWriter
	status int
	sent   bool
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status, r.sent = status, true
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Write(b []byte) (int, error) {
	r.sent = true
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
