package gameday

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
)

// wire carries the proxy's telemetry to the control plane, and can be cut.
type wire struct {
	ln net.Listener
	to string // host:port

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// layWire makes telemetry go over a wire; after Serve and before the proxy starts.
func (w *World) layWire() error {
	ln, err := (&net.ListenConfig{}).Listen(w.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.wire = &wire{ln: ln, to: strings.TrimPrefix(w.url, "http://"), conns: map[net.Conn]bool{}}
	go w.wire.serve(w.ctx)
	return nil
}

// telemetryURL is where the proxy sends its telemetry.
func (w *World) telemetryURL() string {
	if w.wire == nil {
		return w.url
	}
	return "http://" + w.wire.ln.Addr().String()
}

func (l *wire) serve(ctx context.Context) {
	for {
		c, err := l.ln.Accept()
		if err != nil {
			return
		}
		go l.carry(ctx, c)
	}
}

// carry joins a connection with one to the control plane, unless the wire is cut.
func (l *wire) carry(ctx context.Context, near net.Conn) {
	defer near.Close()
	var dialer net.Dialer
	far, err := dialer.DialContext(ctx, "tcp", l.to)
	if err != nil {
		return
	}
	defer far.Close()
	l.mu.Lock()
	if l.cut {
		l.mu.Unlock()
		return
	}
	l.conns[near], l.conns[far] = true, true
	l.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // ends when either does, or the wire is cut
			done <- struct{}{}
		}()
	}
	<-done
	l.mu.Lock()
	delete(l.conns, near)
	delete(l.conns, far)
	l.mu.Unlock()
}

// sever cuts the wire, or mends it.
func (l *wire) sever(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for c := range l.conns {
			_ = c.Close() // it is to break
		}
	}
}

func (l *wire) close() {
	_ = l.ln.Close() // ends serve
	l.sever(true)
}
