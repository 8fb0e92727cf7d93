package ui_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/store/mem"
	"assay.dev/assay/ui"
)

// wire is a connection to a browser whose side the test reads.
type wire struct {
	header http.Header
	status int
	mu     sync.Mutex
	sent   bytes.Buffer
}

func (c *wire) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent.Write(b)
}

func (c *wire) Header() http.Header    { return c.header }
func (c *wire) WriteHeader(status int) { c.status = status }
func (c *wire) Flush()                 {}

// events takes what was sent since the last call.
func (c *wire) events(t *testing.T) (parts map[string]string, ticks []string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	parts = map[string]string{}
	name := ""
	sc := bufio.NewScanner(&c.sent)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		data, isData := strings.CutPrefix(sc.Text(), "data: ")
		if n, ok := strings.CutPrefix(sc.Text(), "event: "); ok {
			name = n
		}
		switch {
		case isData && name == "part":
			var p struct{ ID, HTML string }
			must(t, json.Unmarshal([]byte(data), &p))
			parts[p.ID] = p.HTML
		case isData && name == "tick":
			ticks = append(ticks, data)
		}
	}
	return parts, ticks
}

// pass lets the time of the bubble go by; real time stands still meanwhile.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// stream opens the live side of a page in a bubble of its own time.
func stream(t *testing.T, act func(t *testing.T, c *wire, s *control.Session, cancel context.CancelFunc, ended <-chan struct{})) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st := mem.New(mem.Config{Now: time.Now})
		none := func() (control.Policy, error) {
			return control.Policy{}, assay.Errorf(assay.CodeNotFound, "no policy")
		}
		plane := control.New(control.Config{Store: st, Now: time.Now, Policy: none})
		h, err := ui.New(ui.Config{Plane: plane, Anonymous: viewer})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		c, ended := &wire{header: http.Header{}, status: http.StatusOK}, make(chan struct{})
		go func() {
			defer close(ended)
			h.ServeHTTP(c, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/live/exceptions", nil))
		}()
		synctest.Wait()
		act(t, c, plane.As(control.Caller{Name: "ada", Namespace: namespace, Roles: []api.Role{api.RoleDeveloper}}), cancel, ended)
		cancel()
		<-ended
		must(t, st.Close())
	})
}

func TestAStreamSendsWhatChangedAndNothingElse(t *testing.T) {
	stream(t, func(t *testing.T, c *wire, s *control.Session, _ context.CancelFunc, _ <-chan struct{}) {
		parts, ticks := c.events(t)
		if len(parts) < 3 || len(ticks) != 1 || c.header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("the first look sends %d parts, %d ticks, %s", len(parts), len(ticks), c.header.Get("Content-Type"))
		}
		pass(1200 * time.Millisecond)
		if parts, ticks := c.events(t); len(parts) != 0 || len(ticks) != 2 {
			t.Fatalf("nothing happened, and %d parts, %d ticks were sent", len(parts), len(ticks))
		}
		_, err := s.RequestException(t.Context(), api.ExceptionRequest{
			Scope: ruleScope("ship/no-critical"), Reason: "the fix is being tested", NotAfter: time.Now().Add(time.Hour),
		})
		must(t, err)
		pass(500 * time.Millisecond)
		parts, _ = c.events(t)
		if html := parts["waiting"]; len(parts) != 1 || !strings.Contains(html, "the fix is being tested") {
			t.Fatalf("a request for an exception sends %d parts: %v", len(parts), parts)
		}
		pass(20 * time.Second)
		if parts, _ := c.events(t); len(parts) != 0 {
			t.Errorf("because time went by, %d parts were sent: %v", len(parts), parts)
		}
	})
}

func TestAStreamEndsAfterAQuarterOfAnHour(t *testing.T) {
	stream(t, func(t *testing.T, _ *wire, _ *control.Session, _ context.CancelFunc, ended <-chan struct{}) {
		pass(15*time.Minute - time.Second)
		select {
		case <-ended:
			t.Fatal("it ended early")
		default:
		}
		pass(2 * time.Second)
		<-ended
	})
}

func TestAStreamEndsWithItsBrowser(t *testing.T) {
	stream(t, func(_ *testing.T, _ *wire, _ *control.Session, cancel context.CancelFunc, ended <-chan struct{}) {
		cancel()
		<-ended
	})
}

func TestStreamsAreBounded(t *testing.T) {
	w := empty(t, viewer)
	srv := httptest.NewServer(w.handler)
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := func() *http.Response {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/live/exceptions", nil)
		must(t, err)
		resp, err := http.DefaultTransport.RoundTrip(req)
		must(t, err)
		return resp
	}
	for i := range ui.MaxStreams {
		if resp := open(); resp.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: %s", i, resp.Status)
		}
	}
	if resp := open(); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %s", resp.Status)
	}
}

func TestAServerThatStopsEndsItsStreams(t *testing.T) {
	w := empty(t, viewer)
	srv := httptest.NewUnstartedServer(w.handler)
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	srv.Start()
	defer srv.Close()
	resp, err := http.Get(srv.URL + "/live/exceptions")
	must(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for ticks := 0; ticks < 3 && lines.Scan(); { // the deadlines of the server are over by then
		if lines.Text() == "event: tick" {
			ticks++
		}
	}
	must(t, lines.Err())
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Config.Shutdown(context.Background()) }()
	for lines.Scan() {
		continue
	}
	must(t, <-stopped)
}

func TestOnlyPagesAreLive(t *testing.T) {
	w := empty(t, viewer)
	for _, path := range []string{"/live/live/", "/live/static/app.css", "/live/login", "/live/nowhere", "/live/facts/" + absentFact, "/live/facts/x/proof"} {
		if rec := w.get(path); rec.Code != http.StatusNotFound && rec.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}
