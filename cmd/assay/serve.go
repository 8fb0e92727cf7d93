package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"assay.dev/assay"
	"assay.dev/assay/control"
	"assay.dev/assay/ledger"
	"assay.dev/assay/server"
	"assay.dev/assay/store"
	rungroup "github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
)

// systemNamespace holds what belongs to the installation and to no tenant.
const systemNamespace = store.SystemNamespace

func (a *app) serveCmd() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the control plane: JSON API, ledger, health and metrics",
		Long: `Run the control plane: JSON API, ledger, health and metrics.

Uses the state directory alone until it is stopped (Ctrl-C, or SIGTERM: running
requests finish first). SIGHUP loads the policy directory again; a policy with
mistakes is refused and the old one stays in force. Callers need a token:
assay token create. Listens without TLS, so put it behind a proxy that has it.

Reads the policy directory; changes the state directory.

Exit codes: 0 stopped · 1 error · 2 usage.`,
		Example: `  assay key create --dir /var/lib/assay
  assay token create ci --role developer --dir /var/lib/assay
  assay serve --dir /var/lib/assay --policy policies`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), listen) },
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:7070", "address to listen on")
	return cmd
}

func (a *app) serve(ctx context.Context, listen string) error {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	policies := &reloading{load: a.loadPolicy}
	if err := policies.reload(ctx); err != nil {
		return err
	}
	a.policies = policies.current
	in, err := a.open(ctx, true, reg)
	if err != nil {
		return err
	}
	defer in.close()
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return &assay.Error{Code: assay.CodeConflict, Msg: "the address " + listen + " is in use", Hint: "stop who uses it or choose another with --listen"}
	}
	if err != nil {
		return err
	}
	handler := server.New(server.Config{
		Plane: in.plane, Ledger: in.ledgerFiles(), Registry: reg, Ready: in.ready, Log: a.log,
	})
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // before anybody is told that we run
	defer signal.Stop(hup)
	fmt.Fprintf(a.out, "serving http://%s  (stop with Ctrl-C)\n", ln.Addr())
	return a.runGroup(ctx, in, ln, handler, func(ctx context.Context) error { return a.watchPolicies(ctx, hup, policies) })
}

// runGroup runs the parts of the server; when one ends, all end.
func (a *app) runGroup(ctx context.Context, in *installation, ln net.Listener, h http.Handler, watch func(context.Context) error) error {
	var group rungroup.Group
	serving, stop := context.WithCancel(ctx)
	group.Add(func() error { return server.Serve(serving, ln, h, a.log) }, func(error) { stop() })

	watching, stopWatching := context.WithCancel(ctx)
	group.Add(func() error {
		select {
		case err := <-in.halted:
			return err
		case <-watching.Done():
			return nil
		}
	}, func(error) { stopWatching() })

	reloads, stopReloads := context.WithCancel(ctx)
	group.Add(func() error { return watch(reloads) }, func(error) { stopReloads() })
	return group.Run()
}

// watchPolicies loads the policy again for every signal, until ctx ends.
func (a *app) watchPolicies(ctx context.Context, hup <-chan os.Signal, policies *reloading) error {
	for {
		select {
		case <-hup:
			if err := policies.reload(ctx); err != nil {
				a.log.Error("policy refused; the old one stays in force", "error", err)
				continue
			}
			p, _ := policies.current() // never fails
			a.log.Info("policy loaded", "uri", p.URI, "digest", p.Revision.Digest())
		case <-ctx.Done():
			return nil
		}
	}
}

// ready reports whether the store answers and the sequencer has not stopped for good.
func (in *installation) ready(ctx context.Context) error {
	select {
	case <-in.stopped:
		return assay.Errorf(assay.CodeUnavailable, "the ledger sequencer stopped; see the log")
	default:
	}
	return in.store.View(ctx, func(store.Reader) error { return nil })
}

// reloading holds the policy in force and replaces it as a whole.
type reloading struct {
	load func(context.Context) (control.Policy, error)
	now  atomic.Pointer[control.Policy]
}

func (r *reloading) reload(ctx context.Context) error {
	p, err := r.load(ctx)
	if err != nil {
		return err
	}
	r.now.Store(&p)
	return nil
}

func (r *reloading) current() (control.Policy, error) { return *r.now.Load(), nil }

// ledgerFiles serves the newest epoch's C2SP files at the root and every epoch's below its name.
func (in *installation) ledgerFiles() http.Handler {
	mux := http.NewServeMux()
	for i, d := range in.readers[1:] { // the first one is the sequencer's own
		prefix := fmt.Sprintf("/epoch-%d", i)
		mux.Handle(prefix+"/", http.StripPrefix(prefix, ledger.Handler(d.FS())))
	}
	mux.Handle("/", ledger.Handler(in.readers[len(in.readers)-1].FS()))
	return mux
}
