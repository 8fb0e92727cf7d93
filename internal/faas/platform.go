// Package faas is a platform of functions on one machine: it has the side of the AWS
// Lambda Runtime API (2018-06-01) that AWS has, so that a function built for AWS Lambda runs
// on it as it is. An instance of the function is a process with an endpoint of its own. It
// is started when an invocation finds none free, works on one invocation at a time, and is
// ended when it was idle for long enough. How long invocations wait for that is measured.
package faas

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// ErrThrottled is the answer to an invocation for which no instance is free and none may
// be started. It did not run; it may be asked for again.
var ErrThrottled = errors.New("as many instances work as may; ask again later")

// errClosed is the answer once the platform is closed.
var errClosed = errors.New("the platform of functions is closed")

// FunctionError is what a function says of itself, or what the platform says of a function
// that ended or took too long. The invocation may have had effects all the same.
type FunctionError struct {
	Type    string // for example "Runtime.ExitError", or the name of the function's own error
	Message string
}

func (e *FunctionError) Error() string { return e.Type + ": " + e.Message }

// Process is what an instance runs as.
type Process interface {
	Kill()                  // ends it at once, and waits until it is gone; again does nothing
	Ended() <-chan struct{} // closed when it is gone, whoever ended it
}

// Config says what the function is and how its instances live.
type Config struct {
	Function string // its name
	// Start runs an instance: a process that has the environment beside its own, and finds the
	// Runtime API by it. It is called by several goroutines at once.
	Start func(instance string, environment []string) (Process, error)
	Init  time.Duration // how long an instance may take until it asks for its first invocation
	Limit time.Duration // how long an invocation may take: its deadline
	Idle  time.Duration // how long an instance is kept that has nothing to do
}

// Platform runs one function. Its methods may be called by several goroutines at once.
type Platform struct {
	cfg Config

	mu        sync.Mutex
	closed    bool
	reserved  int
	instances map[string]*instance
	free      []*instance // the one that worked last at the end: it is the next to work, and the others grow idle
	stats     Stats
}

// Stats are counts since the beginning, except Instances.
type Stats struct {
	Invocations uint64 // that came out well
	Errors      uint64 // invocations that did not; throttled ones did not run and are not among them
	ColdStarts  uint64 // invocations, well or not, that waited for an instance to start
	Crashes     uint64 // instances that ended by themselves or were killed by others, at work or not
	Throttled   uint64
	Started     uint64
	Instances   int
	Init        Histogram // from the start of an instance to its first question, seconds
	Duration    Histogram // of invocations that came out well, from their handing out, seconds
}

// bounds of Histograms: those that OpenTelemetry names for durations of functions.
var bounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// NewHistogram is an empty one of durations in seconds.
func NewHistogram() Histogram {
	return Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
}

// Histogram counts durations.
type Histogram struct {
	Bounds   []float64 // upper ones, seconds
	Counts   []uint64  // one more than bounds
	Sum, Max float64   // seconds
}

// Observe counts one.
func (h *Histogram) Observe(d time.Duration) {
	s := d.Seconds()
	n, _ := slices.BinarySearch(h.Bounds, s)
	h.Counts[n]++
	h.Sum += s
	h.Max = max(h.Max, s)
}

// Count is how many were counted.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Mean is the mean in seconds, 0 if none was counted.
func (h *Histogram) Mean() float64 { return h.Sum / max(1, float64(h.Count())) }

// Clone shares nothing that Observe changes.
func (h *Histogram) Clone() Histogram {
	out := *h
	out.Counts = slices.Clone(h.Counts)
	return out
}

// New is a platform without an instance, which may start none before Reserve.
func New(c Config) *Platform {
	return &Platform{cfg: c, instances: map[string]*instance{}, stats: Stats{Init: NewHistogram(), Duration: NewHistogram()}}
}

// Reserve sets how many instances there may be. Those beyond it that work are ended when
// they are done, and the others at once.
func (p *Platform) Reserve(n int) {
	p.mu.Lock()
	p.reserved = n
	var surplus []*instance
	for len(p.instances) > n && len(p.free) > 0 {
		surplus = append(surplus, p.free[0])
		p.remove(p.free[0])
	}
	p.mu.Unlock()
	for _, i := range surplus {
		i.stop()
	}
}

// Invoke runs the function once and returns its answer, after the function asked for its
// next invocation or ended. ErrThrottled if it did not run; a *FunctionError if it failed;
// the context's error if that ends before, while the function goes on.
func (p *Platform) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	inv := &invocation{id: requestID(), payload: payload, done: make(chan struct{})}
	i, err := p.place(ctx, inv)
	if err != nil {
		return nil, err
	}
	if inv.cold {
		i.boot()
	}
	select {
	case <-inv.done:
		return inv.answer, inv.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// place finds an instance for an invocation, or makes one that is to be booted.
func (p *Platform) place(ctx context.Context, inv *invocation) (*instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	var i *instance
	switch n := len(p.free); {
	case n > 0:
		i, p.free = p.free[n-1], p.free[:n-1]
		i.idle.Stop()
	case len(p.instances) >= p.reserved:
		p.stats.Throttled++
		return nil, ErrThrottled
	default:
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("an endpoint of the Runtime API: %w", err)
		}
		p.stats.Started++
		i = &instance{
			p: p, name: fmt.Sprintf("%s-%d", p.cfg.Function, p.stats.Started), endpoint: ln.Addr().String(),
			began: time.Now(), work: make(chan *invocation, 1), stopped: make(chan struct{}),
		}
		i.serve(ln)
		p.instances[i.name] = i
		inv.cold = true
	}
	i.inv = inv
	i.work <- inv // has room: the instance has nothing else
	return i, nil
}

// remove takes an instance out of the platform; with the lock. False if it was out already.
func (p *Platform) remove(i *instance) bool {
	if p.instances[i.name] != i {
		return false
	}
	delete(p.instances, i.name)
	p.free = slices.DeleteFunc(p.free, func(o *instance) bool { return o == i })
	if i.idle != nil {
		i.idle.Stop()
	}
	close(i.stopped)
	return true
}

// complete ends the invocation that an instance has; with the lock.
func (p *Platform) complete(i *instance) {
	inv := i.inv
	i.inv = nil
	if inv.timer != nil {
		inv.timer.Stop()
	}
	if inv.cold {
		p.stats.ColdStarts++
	}
	if inv.err != nil {
		p.stats.Errors++
	} else {
		p.stats.Invocations++
		p.stats.Duration.Observe(inv.finished.Sub(inv.handed))
	}
	close(inv.done)
}

// end ends an instance if a condition still holds; what it worked on ends with why, if it
// has no answer yet. A nil condition always holds.
func (p *Platform) end(i *instance, why *FunctionError, crashed bool, still func() bool) {
	p.mu.Lock()
	mine := (still == nil || still()) && p.remove(i)
	if mine {
		if crashed {
			p.stats.Crashes++
		}
		if inv := i.inv; inv != nil {
			switch {
			case inv.answered:
				inv.finished = time.Now()
			case i.failed != nil:
				inv.err = i.failed
			default:
				inv.err = why
			}
			p.complete(i)
		}
	}
	p.mu.Unlock()
	if mine {
		i.stop()
	}
}

// Working are the payloads of the invocations that are handed out, by instance.
func (p *Platform) Working() map[string][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string][]byte{}
	for name, i := range p.instances {
		if i.inv != nil && !i.inv.handed.IsZero() && !i.inv.answered {
			out[name] = i.inv.payload
		}
	}
	return out
}

// Stats are the counts as they stand.
func (p *Platform) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Instances, s.Init, s.Duration = len(p.instances), s.Init.Clone(), s.Duration.Clone()
	return s
}

// Close ends every instance. Invocations under way fail, and so does every later one.
func (p *Platform) Close() {
	p.mu.Lock()
	p.closed = true
	list := make([]*instance, 0, len(p.instances))
	for _, i := range p.instances {
		list = append(list, i)
	}
	p.mu.Unlock()
	for _, i := range list {
		p.end(i, &FunctionError{Type: "Runtime.Shutdown", Message: errClosed.Error()}, false, nil)
	}
}

// requestID names an invocation: a random UUID.
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (i *instance) serve(ln net.Listener) {
	i.srv = &http.Server{Handler: i.api(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = i.srv.Serve(ln) }() // ends with stop
}
