package posix

import (
	"context"
	"log/slog"
	"runtime"

	"k8s.io/klog/v2"
)

// RedirectLog sends what Tessera logs through klog to log, one level lower: what
// it calls information is of interest only to who looks for a fault. It also keeps
// klog from ending the process. It changes the whole process, so it is called once,
// by main, before a ledger is opened.
func RedirectLog(log *slog.Logger) {
	klog.SetSlogLogger(slog.New(lower{log.Handler()}))
	klog.OsExit = func(code int) {
		log.Error("the ledger library wanted to end the process; only its goroutine ends", "code", code)
		runtime.Goexit()
	}
}

// lower turns information into debug output.
type lower struct{ slog.Handler }

func (h lower) Enabled(ctx context.Context, l slog.Level) bool {
	return h.Handler.Enabled(ctx, shift(l))
}

func (h lower) Handle(ctx context.Context, r slog.Record) error {
	r.Level = shift(r.Level)
	return h.Handler.Handle(ctx, r)
}

func (h lower) WithAttrs(a []slog.Attr) slog.Handler { return lower{h.Handler.WithAttrs(a)} }
func (h lower) WithGroup(name string) slog.Handler   { return lower{h.Handler.WithGroup(name)} }

func shift(l slog.Level) slog.Level {
	if l < slog.LevelWarn {
		return slog.LevelDebug
	}
	return l
}
