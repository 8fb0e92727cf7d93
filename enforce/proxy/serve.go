package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Serve answers requests on data and the control API on control until ctx ends;
// then it lets requests under way end within Limits.Drain and returns nil. Both
// listeners are closed when it returns. It may be called once.
func (p *Proxy) Serve(ctx context.Context, data, control net.Listener) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	servers := []*http.Server{
		{
			Handler:           p,
			ReadHeaderTimeout: p.limits.HeaderTime,
			WriteTimeout:      p.limits.WriteTime, // a door sets its own
			IdleTimeout:       p.limits.IdleTime,
			MaxHeaderBytes:    p.limits.HeaderBytes + 4096, // the guard's limit comes first
			ErrorLog:          p.quiet,
			ConnContext:       withGuard,
			// OPTIONS * never comes past the guard.
			DisableGeneralOptionsHandler: true,
		},
		{
			Handler:           p.Control(),
			ReadHeaderTimeout: p.limits.HeaderTime,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       p.limits.IdleTime,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          p.quiet,
		},
	}
	listeners := []net.Listener{newGuardListener(data, p.limits), control}
	var group sync.WaitGroup
	for i, s := range servers {
		group.Go(func() {
			if err := s.Serve(listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				stop(err)
			}
		})
	}
	group.Go(func() { p.export.run(ctx, p) })
	<-ctx.Done()
	failed := context.Cause(ctx)
	if errors.Is(failed, context.Canceled) || errors.Is(failed, context.DeadlineExceeded) {
		failed = nil
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.limits.Drain)
	defer cancel()
	for _, s := range servers {
		if s.Shutdown(drain) != nil {
			failed = errors.Join(failed, s.Close()) // what is still under way is cut
		}
	}
	group.Wait()
	return failed
}
