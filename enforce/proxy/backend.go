package proxy

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// backend is one address that versions run at: its connections and its circuit.
// It outlives tables, so that connections are reused across them.
type backend struct {
	url       *url.URL
	transport *http.Transport
	circuit   circuit
}

func newBackend(address string, l Limits) (*backend, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	d := &net.Dialer{Timeout: l.DialTime, KeepAlive: 30 * time.Second}
	return &backend{
		url:     u,
		circuit: circuit{failures: int64(l.DialFailures), open: l.CircuitTime},
		transport: &http.Transport{
			Proxy:                  nil, // a backend is reached directly, whatever the environment says
			DialContext:            d.DialContext,
			MaxIdleConns:           l.BackendIdle,
			MaxIdleConnsPerHost:    l.BackendIdle,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: l.ResponseHeaders,
			ExpectContinueTimeout:  time.Second,
			DisableCompression:     true, // bodies pass as they are
		},
	}, nil
}

// circuit spares a backend that refuses connections: after a number of failed
// dials in a row nobody is sent there for a while, then one request tries. Only
// dialling counts; what a backend answers is the statistics' business. It is safe
// for concurrent use.
type circuit struct {
	failures int64
	open     time.Duration

	row   atomic.Int64 // failed dials since the last good one
	until atomic.Int64 // Unix nanoseconds; closed to requests before it
}

// allow reports whether a request may be sent at now. While the circuit is open
// it lets one request through for each period.
func (c *circuit) allow(now time.Time) bool {
	if c.row.Load() < c.failures {
		return true
	}
	until := c.until.Load()
	return now.UnixNano() >= until && c.until.CompareAndSwap(until, now.Add(c.open).UnixNano())
}

// done tells what came of a request at now.
func (c *circuit) done(err error, now time.Time) {
	if !isDial(err) {
		if err == nil && c.row.Load() != 0 {
			c.row.Store(0)
		}
		return
	}
	if c.row.Add(1) >= c.failures {
		c.until.Store(now.Add(c.open).UnixNano())
	}
}

// isDial reports whether err means that no connection came about.
func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
