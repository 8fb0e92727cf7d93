package proxy

import (
	"sync/atomic"
	"time"
)

// latencyBounds are the upper bounds of the latency histogram. They are fixed, so
// that counts of different versions and proxies can be compared and added.
var latencyBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// result sorts finished requests. Those that the client gave up are counted
// apart: they say nothing about the version.
type result int

const (
	result2xx result = iota
	result3xx
	result4xx
	result5xx
	resultCanceled
	results
)

var resultNames = [results]string{"2xx", "3xx", "4xx", "5xx", "canceled"}

func resultOf(status int) result {
	switch {
	case status >= 500:
		return result5xx
	case status >= 400:
		return result4xx
	case status >= 300:
		return result3xx
	}
	return result2xx
}

// series counts what one version of one route did since the proxy started. It is
// safe for concurrent use and outlives tables.
type series struct {
	route, service, version string

	inFlight atomic.Int64
	requests [results]atomic.Uint64
	errors   atomic.Uint64                         // answered 5xx, or not answered properly
	latency  [len(latencyBounds) + 1]atomic.Uint64 // not cumulative; the last is above all bounds
	sum      atomic.Uint64                         // nanoseconds
}

// finish counts one request. The total is written before the error and read
// after it, so that no reader sees more errors than requests.
func (s *series) finish(r result, failed bool, took time.Duration) {
	s.requests[r].Add(1)
	if r == resultCanceled {
		return
	}
	i := 0
	for i < len(latencyBounds) && took > latencyBounds[i] {
		i++
	}
	s.latency[i].Add(1)
	s.sum.Add(uint64(max(took, 0)))
	if failed {
		s.errors.Add(1)
	}
}

// counts is a series at one instant.
type counts struct {
	route, service, version string
	percent                 int
	admitted                bool
	inFlight                int64
	requests                [results]uint64
	errors                  uint64
	latency                 [len(latencyBounds) + 1]uint64
	observed                uint64 // sum of latency
	sum                     time.Duration
}

func (s *series) read() counts {
	c := counts{route: s.route, service: s.service, version: s.version, errors: s.errors.Load(), inFlight: s.inFlight.Load(), sum: time.Duration(s.sum.Load())}
	for i := range s.latency {
		c.latency[i] = s.latency[i].Load()
		c.observed += c.latency[i]
	}
	for i := range s.requests {
		c.requests[i] = s.requests[i].Load()
	}
	return c
}

// answered is the number of requests that count for the version.
func (c counts) answered() (n uint64) {
	for r, k := range c.requests {
		if result(r) != resultCanceled {
			n += k
		}
	}
	return n
}
