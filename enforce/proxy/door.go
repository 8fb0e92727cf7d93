package proxy

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"assay.dev/assay/enforce"
)

// door leads to one version of one route.
type door struct {
	proxy   *Proxy
	target  *enforce.Target
	backend *backend
	series  *series
	timeout time.Duration
	maxBody int64
	reverse *httputil.ReverseProxy
	regions []*door // of the first region's door: those of all regions; nil without
}

func (p *Proxy) newDoor(t *enforce.Target, b *backend, s *series) *door {
	d := &door{
		proxy: p, target: t, backend: b, series: s,
		timeout: time.Duration(cmp.Or(t.Way.Route.Timeout, enforce.Duration(enforce.DefaultTimeout))),
		maxBody: cmp.Or(t.Way.Route.MaxBody, enforce.DefaultBody),
	}
	d.reverse = &httputil.ReverseProxy{
		Rewrite: d.rewrite, Transport: d, BufferPool: &p.buffers, ErrorLog: p.quiet,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if x, ok := w.(*exchange); ok {
				x.fail(err)
			}
		},
	}
	return d
}

// serve forwards r and counts what came of it. It returns the exchange, nil if the
// request was refused. v is nil where the route has no levers.
func (d *door) serve(w http.ResponseWriter, r *http.Request, now time.Time, v *visit) *exchange {
	x := &exchange{ResponseWriter: w, door: d, client: r.Context(), began: now, visit: v}
	if r.ContentLength > d.maxBody {
		w.Header().Set("Connection", "close")
		d.proxy.refuse(w, http.StatusRequestEntityTooLarge, "body_too_large", tooLargeDetail(d.maxBody))
		v.count(result4xx)
		return nil
	}
	d.series.inFlight.Add(1)
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(now.Add(d.timeout + d.proxy.limits.WriteTime)) // an error means the client is gone
	if r.ContentLength != 0 {
		x.body = &clientBody{ReadCloser: r.Body, rc: rc, left: d.maxBody}
		if m := d.target.Way.Route.Mirror; m != nil && m.Copies(r.Method) && d.target != d.target.Way.Mirrored() {
			x.body.kept = new(keptBody)
		}
		_ = rc.SetReadDeadline(now.Add(d.proxy.limits.BodyTime))
	}
	broken := true
	defer func() { x.finish(broken) }() // also when the reverse proxy panics to cut the connection
	if !d.backend.circuit.allow(now) {
		w.Header().Set("Retry-After", "1")
		problem(x, http.StatusServiceUnavailable, "the backend refused several connections in a row")
		broken = false
		return x
	}
	ctx, cancel := context.WithTimeout(r.Context(), d.timeout)
	defer cancel()
	out := r.WithContext(ctx)
	if x.body != nil {
		out.Body = x.body
	}
	d.reverse.ServeHTTP(x, out)
	broken = false
	return x
}

// RoundTrip implements http.RoundTripper: one attempt, noted by the circuit. The
// exception is a kept connection that the backend had closed before the request
// went out on it: the backend never saw that request, and nothing is hidden by
// sending it on a new connection.
func (d *door) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := d.backend.transport.RoundTrip(r)
	if err != nil && replayable(r.Method) && strings.Contains(err.Error(), "server closed idle connection") && r.Context().Err() == nil {
		res, err = d.backend.transport.RoundTrip(r)
	}
	d.backend.circuit.done(err, time.Now())
	return res, err
}

// rewrite makes the outgoing request. The reverse proxy has removed hop-by-hop
// and Connection-listed headers; what speaks of the client is ours to say.
func (d *door) rewrite(pr *httputil.ProxyRequest) {
	out, in := pr.Out, pr.In
	out.URL.Scheme, out.URL.Host = d.backend.url.Scheme, d.backend.url.Host
	out.URL.RawQuery = in.URL.RawQuery
	out.Host = in.Host
	out.Header.Del("Upgrade") // only h2c comes this far, and may be ignored
	out.Header.Del("Connection")
	stripForwarded(out.Header)
	if out.Context().Value(copyKey{}) != nil {
		out.Header.Set(headerMirrored, "1")
	}
	if d.proxy.trusted(in.RemoteAddr) {
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"} {
			if v, ok := in.Header[name]; ok {
				out.Header[name] = v
			}
		}
		host, proto := out.Header["X-Forwarded-Host"], out.Header["X-Forwarded-Proto"]
		pr.SetXForwarded()
		if host != nil {
			out.Header["X-Forwarded-Host"] = host
		}
		if proto != nil {
			out.Header["X-Forwarded-Proto"] = proto
		}
	} else {
		pr.SetXForwarded()
	}
	if out.Body == nil && replayable(out.Method) {
		out.Body = noBody{}
	}
}

// replayable are the methods that a transport would send again.
func replayable(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// buffers keeps copy buffers between responses. It implements httputil.BufferPool.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
