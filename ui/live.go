package ui

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"

	"assay.dev/assay"
)

// MaxStreams is how many live pages may be open at once, of all callers together.
const MaxStreams = 64

const (
	streamTick  = 500 * time.Millisecond // between two looks at a page
	streamLife  = 15 * time.Minute       // then the browser connects anew
	writeTime   = 10 * time.Second       // for one batch of changes
	streamRetry = 2 * time.Second        // that a browser waits before it connects again
)

// sink takes the page that a route would have answered with.
type sink struct {
	page page
	err  error
}

type sinkKey struct{}

func sinkOf(r *http.Request) *sink {
	s, _ := r.Context().Value(sinkKey{}).(*sink)
	return s
}

// live sends what changes on a page, as server-sent events: "part" carries the
// new HTML of one part, "tick" the time of the look.
func (u *ui) live(w http.ResponseWriter, r *http.Request) {
	select {
	case u.streams <- struct{}{}:
		defer func() { <-u.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many live pages are open", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), streamLife)
	defer cancel()
	stop := u.stopping.of(r)
	st := &stream{w: w, control: http.NewResponseController(w), sent: map[string][sha256.Size]byte{}}
	_ = st.control.SetReadDeadline(time.Time{}) // unsupported only in tests without a connection
	p, err := u.rendered(ctx, r)
	if err != nil {
		http.Error(w, "the page cannot be shown", statusFor(err))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if err := st.send("retry: %d\n\n", streamRetry.Milliseconds()); err != nil {
		return
	}
	tick := time.NewTicker(streamTick)
	defer tick.Stop()
	for {
		if err == nil {
			err = st.changes(p, u.cfg.Now())
		} else {
			err = st.send(": the last look failed\n\n") // without a tick: what is shown is not of now
		}
		if err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-stop:
			return
		case <-tick.C:
		}
		if p, err = u.rendered(ctx, r); err != nil {
			if code := assay.CodeOf(err); code == assay.CodeUnauthenticated || code == assay.CodeNotFound {
				_ = st.event("gone", "") // the client is gone if this fails
				return
			}
		}
	}
}

func statusFor(err error) int {
	if s, ok := statusOf[assay.CodeOf(err)]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// rendered builds the page whose address stands behind /live/, as its route does.
func (u *ui) rendered(ctx context.Context, r *http.Request) (page, error) {
	s := &sink{err: assay.Errorf(assay.CodeNotFound, "this page is not live")}
	inner := r.Clone(context.WithValue(ctx, sinkKey{}, s))
	inner.URL = &url.URL{Path: "/" + r.PathValue("page"), RawQuery: r.URL.RawQuery}
	inner.RequestURI = inner.URL.RequestURI()
	if _, pattern := u.pages.Handler(inner); !liveRoute(pattern) {
		return page{}, s.err
	}
	u.pages.ServeHTTP(discard{}, inner)
	return s.page, s.err
}

// liveRoute keeps streams away from routes that are no pages.
func liveRoute(pattern string) bool {
	switch pattern {
	case "", "GET /", "GET /live/{page...}", "GET /static/{file}", "GET /login", "GET /facts/{id}/proof", "GET /keys/trust":
		return false
	}
	return true
}

// discard is where a page would go that goes to a sink.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// stream is one open page and what was sent to it.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	sent    map[string][sha256.Size]byte // by id, without what only says how long ago
}

// clocks are the texts that say how long ago something was. The browser keeps
// them itself, so that a part is not sent again because time goes by.
var clocks = regexp.MustCompile(`(<time [^>]*>)[^<]*</time>`)

// changes sends the parts that differ from what was sent before. The first look
// sends all of them: between the page and its stream some may have changed.
func (st *stream) changes(p page, now time.Time) error {
	for _, part := range p.Parts {
		sum := sha256.Sum256([]byte(clocks.ReplaceAllString(string(part.HTML), "$1")))
		if st.sent[part.ID] == sum {
			continue
		}
		st.sent[part.ID] = sum
		data, err := json.Marshal(struct {
			ID   string `json:"id"`
			HTML string `json:"html"`
		}{part.ID, string(part.HTML)})
		if err != nil {
			return err
		}
		if err := st.event("part", string(data)); err != nil {
			return err
		}
	}
	return st.event("tick", now.UTC().Format(time.RFC3339Nano))
}

func (st *stream) event(name, data string) error {
	return st.send("event: %s\ndata: %s\n\n", name, data)
}

// send writes and flushes, and gives the client writeTime to take it.
func (st *stream) send(format string, args ...any) error {
	if err := st.control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := fmt.Fprintf(st.w, format, args...); err != nil {
		return err
	}
	return st.control.Flush()
}

// stopping tells streams that their server shuts down: a server waits for its
// requests, and a stream would make it wait for long.
type stopping struct {
	mu   sync.Mutex
	once map[*http.Server]chan struct{}
}

// of returns what is closed when the server of r shuts down, nil if it has none.
func (s *stopping) of(r *http.Request) <-chan struct{} {
	srv, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if srv == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.once == nil {
		s.once = map[*http.Server]chan struct{}{}
	}
	ended, ok := s.once[srv]
	if !ok {
		ended = make(chan struct{})
		s.once[srv] = ended
		srv.RegisterOnShutdown(func() { close(ended) })
	}
	return ended
}
