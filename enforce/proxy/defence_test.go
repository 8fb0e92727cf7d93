package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay/enforce"
	"assay.dev/assay/enforce/proxy"
)

// besides demands that other traffic is served as if nothing happened.
func besides(t *testing.T, d *door) {
	t.Helper()
	if a := d.get("/", "User", "bystander"); a.status != http.StatusOK || a.body != "v1" {
		t.Errorf("other traffic was answered %d %q", a.status, a.body)
	}
	if v := d.version("v1"); v.Errors != 0 {
		t.Errorf("v1 is charged with %d errors that were the clients' own", v.Errors)
	}
}

func TestSmuggledRequestsAreRefused(t *testing.T) {
	s := newSigner(t)
	var smuggled atomic.Int64
	b := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/admin" {
			smuggled.Add(1)
		}
		fmt.Fprint(w, "v1")
	})
	d := open(t, shop(version(t, s, "v1", b, 100)), s)
	inner := "GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, head := range map[string]string{
		"CL and TE":                  "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE and CL":                  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
		"two lengths":                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 35\r\n\r\n",
		"two equal lengths":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
		"list of lengths":            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 0\r\n\r\n",
		"signed length":              "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n",
		"hexadecimal length":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x0\r\n\r\n",
		"length in underscores":      "POST / HTTP/1.1\r\nHost: x\r\nContent_Length: 3\r\n\r\n",
		"folded header":              "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
		"folded TE":                  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		"TE with tab inside":         "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chun\tked\r\n\r\n0\r\n\r\n",
		"TE with vertical tab":       "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n",
		"TE identity":                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
		"TE list":                    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"TE twice":                   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
		"space before colon":         "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"TE in HTTP/1.0":             "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"bare LF":                    "GET / HTTP/1.1\nHost: x\n\n",
		"bare LF in a header":        "GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
		"bare CR":                    "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\rTransfer-Encoding: chunked\r\n\r\n",
		"zero byte":                  "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\x00\r\n\r\n",
		"no host":                    "GET / HTTP/1.1\r\n\r\n",
		"two hosts":                  "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"header without colon":       "GET / HTTP/1.1\r\nHost: x\r\nGET /admin HTTP/1.1\r\n\r\n",
		"absolute form":              "GET http://elsewhere.test/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT":                    "CONNECT elsewhere.test:443 HTTP/1.1\r\nHost: elsewhere.test:443\r\n\r\n",
		"asterisk form":              "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"HTTP/2 preface":             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"unknown version":            "GET / HTTP/1.2\r\nHost: x\r\n\r\n",
		"space in the target":        "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
		"the guard's own method":     "REFUSED / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"upgrade to a web socket":    "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n",
		"blank line before the head": "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			a := d.raw(head + inner)
			if p := a.problem(t); a.status != http.StatusBadRequest || p.Detail == "" {
				t.Errorf("answered %d %s; want 400 with a reason", a.status, a.body)
			}
			if smuggled.Load() != 0 {
				t.Fatal("the inner request reached the backend")
			}
		})
	}
	besides(t, d)
}

func TestPlainRequestsPassTheGuard(t *testing.T) {
	s := newSigner(t)
	b := backend(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %d;", r.URL.Path, n)
	})
	d := open(t, shop(version(t, s, "v1", b, 100)), s)
	c := d.dial()
	defer c.Close()
	// Pipelined, with every kind of body, and torn into pieces at awkward places.
	stream := "GET /a HTTP/1.1\r\nHost: x\r\n\r\n" +
		"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" +
		"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n" +
		"POST /d HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("y", 9000) +
		"GET /e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	go func() {
		for len(stream) > 0 {
			n := min(len(stream), 7)
			if _, err := io.WriteString(c, stream[:n]); err != nil {
				return
			}
			stream = stream[n:]
		}
	}()
	r := bufio.NewReader(c)
	for _, want := range []string{"/a 0;", "/b 5;", "/c 13;", "/d 9000;", "/e 0;"} {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("before %s: %v", want, err)
		}
		if a := read(t, res); a.status != http.StatusOK || a.body != want {
			t.Errorf("answered %d %q, want %q", a.status, a.body, want)
		}
	}
}

func TestBrokenChunksAreRefused(t *testing.T) {
	d, _ := twoVersions(t, 0)
	for name, body := range map[string]string{
		"no size": "\r\nabc\r\n0\r\n\r\n", "negative": "-1\r\nabc\r\n0\r\n\r\n", "bare LF": "3\nabc\n0\n\n", "extension": "3;a=b\r\nabc\r\n0\r\n\r\n",
		"too large": "fffffffffffffffff\r\nabc", "space": "3 \r\nabc\r\n0\r\n\r\n", "prefix": "0x3\r\nabc\r\n0\r\n\r\n", "no CRLF after the chunk": "3\r\nabcX0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			a := d.raw("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
			if a.status != http.StatusBadRequest {
				t.Errorf("answered %d %s, want 400", a.status, a.body)
			}
		})
	}
	besides(t, d)
}

// hurried makes all patience with clients short.
func hurried(o *proxy.Options) {
	o.Limits = proxy.Limits{HeaderTime: 150 * time.Millisecond, BodyTime: 150 * time.Millisecond, HeaderBytes: 8 << 10, Headers: 20, Connections: 512}
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	d, _ := twoVersions(t, 0, hurried)
	for name, first := range map[string]string{"first request": "", "later request": "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			var conns []net.Conn
			for range 50 {
				c := d.dial()
				defer c.Close()
				if _, err := io.WriteString(c, first); err != nil {
					t.Fatal(err)
				}
				if first != "" {
					res, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil {
						t.Fatal(err)
					}
					read(t, res)
				}
				if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
					t.Fatal(err)
				}
				conns = append(conns, c)
			}
			besides(t, d)
			began := time.Now()
			for _, c := range conns {
				_, err := io.Copy(io.Discard, c) // returns when the proxy hangs up
				if e, ok := err.(net.Error); ok && e.Timeout() {
					t.Fatal("the proxy still waits for the head")
				}
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("cutting off took %s", took)
			}
		})
	}
}

func TestSlowBodiesAreCutOff(t *testing.T) {
	d, _ := twoVersions(t, 0, hurried)
	for name, head := range map[string]string{"length": "Content-Length: 100", "chunked": "Transfer-Encoding: chunked"} {
		t.Run(name, func(t *testing.T) {
			if a := d.raw("POST / HTTP/1.1\r\nHost: x\r\n" + head + "\r\n\r\n5\r\nab"); a.status != http.StatusRequestTimeout {
				t.Errorf("answered %d %s; want 408", a.status, a.body)
			}
		})
	}
	besides(t, d)
}

func TestOversizedHeadersAreRefused(t *testing.T) {
	d, _ := twoVersions(t, 0, hurried)
	for name, headers := range map[string]string{
		"one large":  "X-A: " + strings.Repeat("a", 20<<10) + "\r\n",
		"many":       strings.Repeat("X-A: b\r\n", 30),
		"never ends": strings.Repeat("a", 64<<10),
	} {
		t.Run(name, func(t *testing.T) {
			if a := d.raw("GET / HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n"); a.status != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("answered %d %s; want 431", a.status, a.body)
			}
		})
	}
	besides(t, d)
}

func TestOversizedBodiesAreRefused(t *testing.T) {
	s := newSigner(t)
	conf := shop(version(t, s, "v1", backend(t, says("v1")), 100))
	conf.Routes[0].MaxBody = 1 << 20
	d := open(t, conf, s)
	if a := d.raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n"); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a declared body above the limit was answered %d; want 413 before it is read", a.status)
	}
	post := func(n int64) *answer { // chunked: nothing says how long it is
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+d.data+"/", io.LimitReader(zeros{}, n))
		if err != nil {
			t.Fatal(err)
		}
		return d.do(req)
	}
	if a := post(1 << 20); a.status != http.StatusOK {
		t.Errorf("a chunked body at the limit was answered %d %s", a.status, a.body)
	}
	if a := d.raw("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n" + strings.Repeat("z", 1<<20+1)); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a chunked body above the limit was answered %d %s; want 413", a.status, a.body)
	}
	besides(t, d)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestSlowBackendIsAnErrorOfItsVersion(t *testing.T) {
	s := newSigner(t)
	release := make(chan struct{})
	defer close(release)
	slow := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	conf := shop(version(t, s, "v1", backend(t, says("v1")), 0), version(t, s, "v2", slow, 100))
	conf.Routes[0].Timeout = enforce.Duration(100 * time.Millisecond)
	d := open(t, conf, s)
	if a := d.get("/"); a.status != http.StatusGatewayTimeout {
		t.Errorf("answered %d %s; want 504", a.status, a.body)
	}
	if v := d.version("v2"); v.Errors != 1 || v.Requests != 1 {
		t.Errorf("v2 has %d errors of %d requests; want 1 of 1", v.Errors, v.Requests)
	}
}

// scripted is a backend that answers raw bytes, one script for each request.
func scripted(t *testing.T, answers ...string) (address string, requests *atomic.Int64) {
	t.Helper()
	l := listen(t)
	t.Cleanup(func() { l.Close() })
	requests = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					n := int(requests.Add(1)) - 1
					if n >= len(answers) || answers[n] == "" {
						return // cut the connection without an answer
					}
					if _, err := io.WriteString(c, answers[n]); err != nil || strings.Contains(answers[n], "close") {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), requests
}

const plainOK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nv1"

func TestRequestIsNeverSentTwice(t *testing.T) {
	s := newSigner(t)
	b, requests := scripted(t, plainOK, "", plainOK)
	d := open(t, shop(version(t, s, "v1", b, 100)), s)
	if a := d.get("/"); a.status != http.StatusOK {
		t.Fatalf("first: %d", a.status)
	}
	if a := d.get("/"); a.status != http.StatusBadGateway {
		t.Errorf("a request that the backend dropped was answered %d %q; a second try hides the failure", a.status, a.body)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("the backend saw %d requests, want 2", n)
	}
	if v := d.version("v1"); v.Errors != 1 || v.Requests != 2 {
		t.Errorf("v1 has %d errors of %d requests; want 1 of 2", v.Errors, v.Requests)
	}
}

func TestBackendsOutOfBoundsAreErrorsOfTheirVersion(t *testing.T) {
	for name, response := range map[string]string{
		"large headers":     "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 200<<10) + "\r\nContent-Length: 0\r\n\r\nclose",
		"not HTTP":          "hello there, close\r\n\r\n",
		"switches protocol": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nclose",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSigner(t)
			b, _ := scripted(t, response)
			d := open(t, shop(version(t, s, "v1", b, 100)), s)
			if a := d.get("/"); a.status != http.StatusBadGateway {
				t.Errorf("answered %d %.100s; want 502", a.status, a.body)
			}
			if v := d.version("v1"); v.Errors != 1 {
				t.Errorf("v1 has %d errors, want 1", v.Errors)
			}
		})
	}
}

func TestBrokenOffResponseIsAnErrorOfItsVersion(t *testing.T) {
	s := newSigner(t)
	b, _ := scripted(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nclose")
	d := open(t, shop(version(t, s, "v1", b, 100)), s)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.data+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := d.client.Do(req); err == nil {
		if _, err = io.ReadAll(res.Body); err == nil {
			t.Error("the client took a cut response for a whole one")
		}
		res.Body.Close()
	}
	waitFor(t, func() bool { v := d.version("v1"); return v.Errors == 1 && v.InFlight == 0 })
}

func TestClientThatLeavesIsNoErrorOfTheVersion(t *testing.T) {
	s := newSigner(t)
	arrived := make(chan struct{})
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	d := open(t, shop(version(t, s, "v1", b, 100)), s)
	c := d.dial()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-arrived
	c.Close()
	waitFor(t, func() bool { return d.version("v1").InFlight == 0 })
	if v := d.version("v1"); v.Errors != 0 || v.Requests != 0 {
		t.Errorf("v1 has %d errors of %d requests; the client left, it did not fail", v.Errors, v.Requests)
	}
}

// waitFor asks until it is so; each question is a round trip to the proxy.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not become so within a minute")
		}
	}
}

func TestCircuitSparesABackendThatRefusesConnections(t *testing.T) {
	s := newSigner(t)
	l := listen(t)
	dead := "http://" + l.Addr().String()
	l.Close()
	began := time.Now()
	var ahead atomic.Int64
	d := open(t, shop(version(t, s, "v1", dead, 100)), s, func(o *proxy.Options) {
		o.Limits.DialFailures = 3
		o.Limits.CircuitTime = time.Hour
		o.Now = func() time.Time { return began.Add(time.Duration(ahead.Load())) }
	})
	for i := range 5 {
		want := http.StatusBadGateway
		if i >= 3 {
			want = http.StatusServiceUnavailable
		}
		if a := d.get("/"); a.status != want {
			t.Errorf("request %d answered %d, want %d", i, a.status, want)
		}
	}
	back, err := net.Listen("tcp", strings.TrimPrefix(dead, "http://"))
	if err != nil {
		t.Skipf("the port was taken by another process: %v", err)
	}
	srv := &http.Server{Handler: says("v1")}
	go func() { _ = srv.Serve(back) }()
	defer srv.Close()
	ahead.Store(int64(2 * time.Hour))
	for i := range 3 {
		if a := d.get("/"); a.status != http.StatusOK {
			t.Errorf("request %d after the backend came back answered %d", i, a.status)
		}
	}
	if v := d.version("v1"); v.Errors != 5 || v.Requests != 8 {
		t.Errorf("v1 has %d errors of %d requests; want 5 of 8", v.Errors, v.Requests)
	}
}
