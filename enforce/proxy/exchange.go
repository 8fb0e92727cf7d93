package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// exchange is one request on its way through a door. It is the ResponseWriter
// that the reverse proxy writes to, and notes when and how the version answered.
type exchange struct {
	http.ResponseWriter
	door   *door
	client context.Context // ends when the client is gone
	body   *clientBody     // nil if the request has none
	began  time.Time
	visit  *visit // nil where the route has no levers

	status   int           // that the client got, 0 before
	took     time.Duration // to the head of the response
	failed   bool          // the version did not answer properly
	canceled bool          // the client did not wait
	refused  string        // the client's own fault: "body_too_large", "body_timeout", "body_broken"
}

// WriteHeader implements http.ResponseWriter. The time to the head of the final
// response is the version's latency: how slowly a client reads is not.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 {
		x.status, x.took = status, time.Since(x.began)
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	return x.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// fail answers for a backend that did not. What the client did wrong is not held
// against the version.
func (x *exchange) fail(err error) {
	switch fault := x.body.fault(); {
	case fault != nil: // net/http ends the client's context too when a body breaks
		x.clientFault(fault)
	case errors.Is(x.client.Err(), context.Canceled):
		x.canceled = true
	case errors.Is(err, context.DeadlineExceeded) && x.body.unfinished():
		x.clientFault(os.ErrDeadlineExceeded)
	case errors.Is(err, context.DeadlineExceeded):
		x.failed = true
		problem(x, http.StatusGatewayTimeout, "the backend did not answer within "+x.door.timeout.String())
	case isDial(err):
		x.failed = true
		problem(x, http.StatusBadGateway, "the backend cannot be reached")
	default:
		x.failed = true
		problem(x, http.StatusBadGateway, "the backend's answer broke off or is not HTTP within the limits")
	}
}

// clientFault answers a request whose body did not come as it must.
func (x *exchange) clientFault(fault error) {
	x.Header().Set("Connection", "close")
	switch {
	case errors.Is(fault, errTooLarge):
		x.refused = "body_too_large"
		problem(x, http.StatusRequestEntityTooLarge, tooLargeDetail(x.door.maxBody))
	case errors.Is(fault, os.ErrDeadlineExceeded):
		x.refused = "body_timeout"
		problem(x, http.StatusRequestTimeout, "the request's body did not come in time")
	default:
		x.refused = "body_broken"
		problem(x, http.StatusBadRequest, "the request's body broke off or is not framed as it must be")
	}
}

// finish counts the exchange. broken means that the response's body was cut.
func (x *exchange) finish(broken bool) {
	s := x.door.series
	s.inFlight.Add(-1)
	gone := x.client.Err() != nil
	switch {
	case x.refused != "":
		x.door.proxy.refusals.count(x.refused)
		x.visit.count(result4xx)
		return
	case x.canceled, broken && gone, x.status == 0 && gone:
		s.finish(resultCanceled, false, 0)
		x.visit.count(resultCanceled)
		return
	}
	if x.status == 0 { // the handler ended without an answer
		x.status, x.took = http.StatusBadGateway, time.Since(x.began)
	}
	if x.failed || broken { // what the client got may say otherwise
		x.visit.count(result5xx)
	}
	x.visit.count(resultOf(x.status))
	s.finish(resultOf(x.status), x.failed || broken || x.status >= 500, x.took)
}

// errTooLarge is what a clientBody answers beyond its limit.
var errTooLarge = errors.New("the request's body is too large")

// clientBody is the body of a request within its limits of size and time. What
// went wrong with it is remembered: the transport hides it behind its own errors.
type clientBody struct {
	io.ReadCloser
	rc   *http.ResponseController
	left int64
	err  atomic.Pointer[error] // the first error, io.EOF included
	kept *keptBody             // what was read, for a copy of the request; nil keeps nothing
}

// Read implements io.Reader.
func (b *clientBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more than allowed tells too much from just enough
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		n, err = max(0, n-1), errTooLarge
	}
	b.kept.add(p[:n])
	if err != nil {
		b.err.CompareAndSwap(nil, &err)
		if err == io.EOF { // the deadline was for the body; net/http goes on reading to notice a client that leaves
			_ = b.rc.SetReadDeadline(time.Time{})
		}
	}
	return n, err
}

// fault is what went wrong on the client's side, nil if nothing did.
func (b *clientBody) fault() error {
	if b == nil {
		return nil
	}
	if e := b.err.Load(); e != nil && *e != io.EOF && *e != http.ErrBodyReadAfterClose {
		return *e
	}
	return nil
}

// unfinished reports whether the client still owes a part of the body.
func (b *clientBody) unfinished() bool { return b != nil && b.err.Load() == nil }

// noBody is an empty body that the transport cannot tell from a stream, so that
// it never sends a request twice: a second try would hide the first failure.
type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }
func (noBody) Close() error             { return nil }
