package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"assay.dev/assay/enforce"
)

// maxKeptBody is the largest request body that is copied, in bytes; a request with
// a larger one is not copied.
const maxKeptBody = 64 << 10

// headerMirrored tells a version that nobody waits for its answer. Clients cannot set it.
const headerMirrored = "Assay-Mirrored"

// copyKey marks the context of a copy.
type copyKey struct{}

// mirror copies the requests of one route to one version. Each copy makes a pair:
// the same request, answered by the version that the client got and by the copy's.
// Both sides of a pair are counted at once, so that their totals are equal.
type mirror struct {
	rule enforce.Mirror
	door *door              // of the version that gets the copies
	pair map[string]*series // by version: what the pairs came to
}

// copies is what all mirrors of a proxy share: how much is under way.
type copies struct {
	room    chan struct{} // a token for each copy under way
	ctx     context.Context
	cancel  context.CancelFunc
	group   sync.WaitGroup
	dropped atomic.Uint64 // for want of room

	mu     sync.Mutex
	closed bool
}

func newCopies(limit int) *copies {
	c := &copies{room: make(chan struct{}, limit)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// start runs send beside the caller if there is room for it.
func (c *copies) start(send func()) {
	select {
	case c.room <- struct{}{}:
	default:
		c.dropped.Add(1)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.group.Go(func() {
		defer func() { <-c.room }()
		send()
	})
}

// close ends all copies under way and waits for them.
func (c *copies) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.group.Wait()
}

// offer copies a request that was answered, if the rule wants it and there is room.
// It never waits.
func (m *mirror) offer(x *exchange, r *http.Request, now time.Time) {
	p := m.door.proxy
	if !m.rule.Copies(r.Method) || x.refused != "" || x.canceled || x.client.Err() != nil || x.status == 0 {
		return
	}
	if m.rule.Percent < 100 && rand.IntN(100) >= m.rule.Percent {
		return
	}
	if _, pass := m.door.target.Enter(now); !pass {
		return // what may not have traffic gets no copies either
	}
	body, whole := x.body.copied()
	if !whole {
		p.copies.dropped.Add(1)
		return
	}
	ctx := context.WithValue(p.copies.ctx, http.ServerContextKey, m) // with it, a body that breaks off panics, as for a client
	again := r.Clone(context.WithValue(ctx, copyKey{}, true))
	again.Body, again.ContentLength, again.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	first := answered{rank: rankOf(x.status, x.failed), status: x.status, took: x.took}
	first.series = m.pair[x.door.target.Version.Name]
	p.copies.start(func() {
		if second, ok := m.send(again); ok {
			first.against(second)
			second.against(first)
		}
	})
}

// answered is one side of a pair.
type answered struct {
	series *series
	rank   int // how badly
	status int
	took   time.Duration
}

// against counts one side; it is the worse one if it was answered worse.
func (a answered) against(b answered) { a.series.finish(resultOf(a.status), a.rank > b.rank, a.took) }

// rankOf orders answers: as asked for, refused, failed.
func rankOf(status int, failed bool) int {
	switch {
	case failed || status >= 500:
		return 2
	case status >= 400:
		return 1
	}
	return 0
}

// send makes the copy and throws its answer away. It is not ok if the proxy stops
// meanwhile.
func (m *mirror) send(r *http.Request) (out answered, ok bool) {
	ctx, cancel := context.WithTimeout(r.Context(), m.door.timeout)
	defer cancel()
	x := &exchange{ResponseWriter: &nowhere{}, door: m.door, client: r.Context(), began: time.Now()}
	if m.door.backend.circuit.allow(x.began) {
		if broken := m.forward(x, r.WithContext(ctx)); broken {
			x.failed = true
		}
	} else {
		problem(x, http.StatusServiceUnavailable, "the backend refused several connections in a row")
	}
	if x.status == 0 {
		x.status, x.took, x.failed = http.StatusBadGateway, time.Since(x.began), true
	}
	version := m.door.target.Version.Name
	return answered{series: m.pair[version], rank: rankOf(x.status, x.failed), status: x.status, took: x.took},
		!x.canceled && !errors.Is(r.Context().Err(), context.Canceled)
}

// forward passes the copy on; broken means that the answer's body was cut.
func (m *mirror) forward(x *exchange, r *http.Request) (broken bool) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler: // how the reverse proxy says that a body broke off
			broken = true
		default:
			panic(v)
		}
	}()
	m.door.reverse.ServeHTTP(x, r)
	return false
}

// nowhere is a ResponseWriter that keeps nothing.
type nowhere struct{ header http.Header }

// Header implements http.ResponseWriter.
func (n *nowhere) Header() http.Header {
	if n.header == nil {
		n.header = http.Header{}
	}
	return n.header
}

// Write implements http.ResponseWriter.
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (n *nowhere) WriteHeader(int) {}

// keptBody is a request's body as it was read, up to maxKeptBody. The transport
// may still read while the exchange ends.
type keptBody struct {
	mu   sync.Mutex
	data []byte
	over bool
}

func (k *keptBody) add(p []byte) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over = k.over || len(k.data)+len(p) > maxKeptBody; k.over {
		k.data = nil
		return
	}
	k.data = append(k.data, p...)
}

// copied is the body that was read, if it is known whole.
func (b *clientBody) copied() (body []byte, whole bool) {
	if b == nil {
		return nil, true
	}
	if e := b.err.Load(); e == nil || *e != io.EOF || b.kept == nil {
		return nil, false
	}
	b.kept.mu.Lock()
	defer b.kept.mu.Unlock()
	return b.kept.data, !b.kept.over
}
