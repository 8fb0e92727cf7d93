package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// errFraming ends a connection whose body is not framed as it must be.
var errFraming = errors.New("the body's framing is broken")

// refusedMethod is the method of the request that the guard puts in place of one
// it refuses, so that the answer comes in its turn and in our form. A client that
// sends it refuses itself.
const refusedMethod = "REFUSED"

const refusedRequest = refusedMethod + " / HTTP/1.1\r\nHost: refused\r\n\r\n"

// guardListener hands out guarded connections, at most as many at a time as it
// has places.
type guardListener struct {
	net.Listener
	limits Limits
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newGuardListener(l net.Listener, limits Limits) *guardListener {
	return &guardListener{Listener: l, limits: limits, places: make(chan struct{}, limits.Connections), closed: make(chan struct{})}
}

// Accept waits for a free place before it takes a connection from the kernel.
func (g *guardListener) Accept() (net.Conn, error) {
	select {
	case g.places <- struct{}{}:
	case <-g.closed:
		return nil, net.ErrClosed
	}
	c, err := g.Listener.Accept()
	if err != nil {
		<-g.places
		return nil, err
	}
	return &guardConn{
		Conn: c, limits: g.limits, leave: sync.OnceFunc(func() { <-g.places }),
		framer: framer{maxHead: g.limits.HeaderBytes, maxFields: g.limits.Headers},
	}, nil
}

// Close stops Accept, also one that waits for a place.
func (g *guardListener) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.Listener.Close()
}

// guardConn reads requests from a client and hands them on once their framing is
// judged: a head only as a whole, a body as it comes. net/http reads from it in
// one goroutine at a time.
type guardConn struct {
	net.Conn
	limits Limits
	leave  func() // gives the place back
	framer framer

	buf     []byte // read from the client
	from    int    // buf[from:ready] may be handed on
	ready   int    // buf[ready:] is still to be judged
	final   error  // returned when buf[from:ready] is spent
	refused atomic.Pointer[violation]

	mu       sync.Mutex
	asked    time.Time // read deadline that net/http set
	headEnds time.Time // when the head under way must be complete; zero if none is
}

// Read implements net.Conn.
func (g *guardConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if g.from < g.ready {
			n := copy(p, g.buf[g.from:g.ready])
			g.from += n
			return n, nil
		}
		if g.final != nil {
			return 0, g.final
		}
		if g.ready < len(g.buf) && g.judge() {
			continue
		}
		if g.framer.phase == inBody && g.ready == len(g.buf) {
			return g.direct(p)
		}
		if err := g.fill(); err != nil {
			return 0, err
		}
	}
}

// direct reads body bytes past the buffer: their number is known, they need no look.
func (g *guardConn) direct(p []byte) (int, error) {
	n, err := g.Conn.Read(p[:min(int64(len(p)), g.framer.left)])
	_, _ = g.framer.next(p[:n]) // inBody takes everything up to what is left
	return n, err
}

// judge asks the framer about the unread bytes. It reports whether there is
// something to hand on now, or an end.
func (g *guardConn) judge() bool {
	head := g.framer.phase == inHead
	n, v := g.framer.next(g.buf[g.ready:])
	switch {
	case v != nil && head:
		g.refused.Store(v)
		g.buf = append(g.buf[:0], refusedRequest...)
		g.from, g.ready, g.final = 0, len(g.buf), io.EOF
		g.hurry(time.Time{})
		return true
	case v != nil:
		g.refused.Store(v)
		g.final = errFraming
		return true
	case n == 0:
		return false
	}
	g.ready += n
	if head {
		g.hurry(time.Time{})
	}
	return true
}

// fill reads more bytes behind those that are still to be judged. The first byte
// of a head starts its deadline.
func (g *guardConn) fill() error {
	if g.from > 0 {
		g.buf = g.buf[:copy(g.buf, g.buf[g.from:])]
		g.ready -= g.from
		g.from = 0
	}
	if cap(g.buf)-len(g.buf) < 2048 {
		g.buf = append(make([]byte, 0, max(4096, 2*cap(g.buf))), g.buf...)
	}
	if g.framer.phase == inHead && len(g.buf) > 0 {
		g.mu.Lock()
		started := !g.headEnds.IsZero()
		g.mu.Unlock()
		if !started {
			g.hurry(time.Now().Add(g.limits.HeaderTime))
		}
	}
	n, err := g.Conn.Read(g.buf[len(g.buf):cap(g.buf)])
	g.buf = g.buf[:len(g.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// hurry sets until when the head under way must be complete.
func (g *guardConn) hurry(t time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.headEnds.Equal(t) {
		return
	}
	g.headEnds = t
	_ = g.apply() // the next Read tells if the connection is gone
}

// SetReadDeadline implements net.Conn. The deadline of a head under way holds
// whatever net/http thinks it waits for.
func (g *guardConn) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = t
	return g.apply()
}

func (g *guardConn) apply() error {
	t := g.asked
	if !g.headEnds.IsZero() && (t.IsZero() || g.headEnds.Before(t)) {
		t = g.headEnds
	}
	return g.Conn.SetReadDeadline(t)
}

// lingers is how long, and how much, a refused client may still send. Closing on
// unread bytes makes the kernel reset the connection, and the answer is lost.
const (
	lingers    = 250 * time.Millisecond
	lingerByte = 256 << 10
)

// Close implements net.Conn.
func (g *guardConn) Close() error {
	defer g.leave()
	if g.refused.Load() != nil && g.CloseWrite() == nil {
		_ = g.Conn.SetReadDeadline(time.Now().Add(lingers))
		_, _ = io.CopyN(io.Discard, g.Conn, lingerByte)
	}
	return g.Conn.Close()
}

// CloseWrite ends our side of the connection, which lets net/http close gently.
func (g *guardConn) CloseWrite() error {
	if c, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// guardKey finds the guarded connection of a request in its context.
type guardKey struct{}

func withGuard(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, guardKey{}, c)
}

// refusal is why the guard refused the request in whose place r stands.
func refusal(r *http.Request) *violation {
	if g, ok := r.Context().Value(guardKey{}).(*guardConn); ok {
		return g.refused.Load()
	}
	return nil
}
