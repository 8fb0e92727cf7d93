package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/internal/heap"
	"assay.dev/assay/ledger"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/server"
	"assay.dev/assay/store"
	"assay.dev/assay/ui"
	rungroup "github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
)

// systemNamespace holds what belongs to the installation and to no tenant.
const systemNamespace = store.SystemNamespace

func (a *app) serveCmd() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the control plane: pages, JSON API, telemetry, rollouts, ledger",
		Long: `Run the control plane: pages, JSON API, telemetry, rollouts, ledger.

Uses the state directory alone until it is stopped (Ctrl-C, or SIGTERM: running
requests finish first). SIGHUP loads the policy directory again; a policy with
mistakes is refused and the old one stays in force. Callers need a token:
assay token create. With --tls-cert and --tls-key pages and API are served by TLS 1.2
or later, and a renewed certificate is taken over within a second; without them put it
behind a proxy that has TLS before it leaves the machine.

Telemetry comes in by OTLP/HTTP at /v1/metrics and by Prometheus remote write at
/api/v1/write, from tokens of the role agent, and from the pages of --scrape; the
objectives of the policy directory are counted from it, for --namespace.

With --admission-listen it is also the admission webhook of a Kubernetes API server,
by the Admission resources of the policy directory; see assay admit.

With --advisories PATH, a folder or zip file of OSV records, it holds what runs
against them every hour, and applies the VEX documents of --vex; see assay inventory scan.

With --kubernetes ENVIRONMENT=KUBECONFIG and --registry ENVIRONMENT=HOST it asks those
every 30 seconds what runs, or lies, there; see assay inventory push.

With --proxy URL, the control address of an enforcer (its token in ASSAY_PROXY_TOKEN),
it carries rollouts out, and moves what strategies may move there; with --doors FILE
also levers that live elsewhere. A file DIR/halt stops every such action until it is
removed.

Reads the policy directory; changes the state directory.

Exit codes: 0 stopped · 1 error · 2 usage.`,
		Example: `  assay key create --dir /var/lib/assay
  assay token create ci --role developer --dir /var/lib/assay
  assay serve --dir /var/lib/assay --policy policies`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			heap.Serve()
			if err := a.checkServed(f); err != nil {
				return err
			}
			return a.serve(cmd.Context(), f)
		},
	}
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:7070", "address to listen on")
	cmd.Flags().Var(&f.targets, "scrape", "page of metrics to fetch every 15 s; may be repeated")
	f.tls.add(cmd)
	f.admission.add(cmd)
	f.places.add(cmd)
	cmd.Flags().StringVar(&a.advisories, "advisories", "", "folder or zip file of OSV records to hold what runs against, every hour")
	cmd.Flags().DurationVar(&f.prove, "prove", mitigate.DefaultProve, "how long the inputs of a strategy must have been known before it acts by itself; 0 for at once")
	cmd.Flags().StringVar(&a.vex, "vex", "", "VEX document, or folder of them, that you vouch for; goes with --advisories")
	cmd.Flags().BoolVar(&f.anonymous, "anonymous-viewer", false, "show the pages of --namespace without a token; only on a loopback address")
	return cmd
}

// serveFlags are the flags of serve.
type serveFlags struct {
	listen    string
	targets   scrapeTargets
	anonymous bool
	prove     time.Duration
	tls       tlsFlags
	admission admissionFlags
	places    watchedPlaces
}

// checkServed refuses at once what would otherwise be said in the log, every hour.
func (a *app) checkServed(f serveFlags) error {
	if f.prove < 0 {
		return usageError{fmt.Errorf("--prove %s is below 0; 0 lets a strategy act at once", f.prove)}
	}
	for _, path := range []string{a.advisories, a.vex} {
		if _, err := os.Stat(path); path != "" && err != nil {
			return err // byPath names the flag
		}
	}
	return nil
}

func (a *app) serve(ctx context.Context, f serveFlags) error {
	visitor, err := a.anonymous(f.anonymous, f.listen)
	if err != nil {
		return err
	}
	secure, err := f.tls.config(a)
	if err != nil {
		return err
	}
	places, err := f.places.sources(a)
	if err != nil {
		return err
	}
	reg := newRegistry()
	policies := &reloading{load: a.loadServedPolicy}
	if err := policies.reload(ctx, func(control.Policy) error { return nil }); err != nil { // doors are opened below
		return err
	}
	a.policies = policies.current
	var door control.Enforcer // nil if there is none
	a.extend = a.extending(f, reg, &door)
	in, err := a.open(ctx, true, reg)
	if err != nil {
		return err
	}
	defer in.close()
	ln, err := listenAt(ctx, f.listen)
	if err != nil {
		return err
	}
	pages, err := a.pages(in, visitor)
	if err != nil {
		return err
	}
	side, err := a.openLedgerSide(in, reg)
	if err != nil {
		return err
	}
	doors, err := a.openAdmission(ctx, in, policies.now.Load().Revision, f.admission.or(f.tls))
	if err != nil {
		return err
	}
	reg.MustRegister(&coverageMetrics{plane: in.plane, namespace: a.cfg.get("namespace"), now: a.now, log: a.log})
	handler := server.New(server.Config{
		Lagging: in.lagging, Witness: side.witness, Plane: in.plane, Ledger: in.ledgerFiles(), Registry: reg, Ready: in.ready, Log: a.log, Pages: pages,
		Telemetry: roads(in.telemetry.intake, server.Identify(in.plane, api.RoleAgent)),
	})
	tell, err := a.notifier(in, reg)
	if err != nil {
		return err
	}
	hup := hangups() // before anybody is told that we run
	defer signal.Stop(hup)
	debug.FreeOSMemory() // opening keys and compiling policies needed much that an idle server would go on holding
	fmt.Fprintf(a.out, "serving %s://%s  (stop with Ctrl-C)\n", scheme(secure), ln.Addr())
	err = a.runGroup(ctx, in, func(ctx context.Context) error { return server.Serve(ctx, ln, handler, secure, a.log) }, append(append(doors, side.parts...),
		func(ctx context.Context) error { return a.watchPolicies(ctx, hup, policies, in) },
		in.telemetry.run, in.halts.Run, in.runRollouts, in.strategies.Run, a.observe(in.plane, door, places), a.scan(in.plane), a.watchExceptions(in), tell)...)
	return errors.Join(err, in.plane.Door().Flush(context.WithoutCancel(ctx))) // reviews were answered until now
}

// pages are what people look at in a browser.
func (a *app) pages(in *installation, visitor *control.Caller) (http.Handler, error) {
	key, err := sessionKey(a.cfg.get("dir"))
	if err != nil {
		return nil, err
	}
	return ui.New(ui.Config{Plane: in.plane, Anonymous: visitor, SessionKey: key, Now: a.now, Log: a.log})
}

// hangups are the SIGHUPs from now on.
func hangups() chan os.Signal {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup
}

// extending adds what only a server has to the parts of an installation. The enforcer,
// if there is one, becomes door.
func (a *app) extending(f serveFlags, reg *prometheus.Registry, door *control.Enforcer) func(context.Context, *installation, *control.Config) error {
	return func(ctx context.Context, in *installation, cfg *control.Config) error {
		cfg.Admission = control.AdmissionConfig{Log: a.log, Registry: reg}
		if err := a.addTelemetry(in, cfg, f.targets, reg); err != nil {
			return err
		}
		if err := a.addRollouts(in, cfg, reg); err != nil {
			return err
		}
		*door = cfg.Enforcer
		if err := a.addStrategies(in, cfg, f.prove, reg); err != nil {
			return err
		}
		if err := a.addHistory(ctx, in, cfg); err != nil {
			return err
		}
		cfg.History.Foresee = in.strategies.Foresee
		return nil
	}
}

func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// listenAt opens the address that serve answers on.
func listenAt(ctx context.Context, address string) (net.Listener, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &assay.Error{Code: assay.CodeConflict, Msg: "the address " + address + " is in use", Hint: "stop who uses it or choose another with --listen"}
	}
	return ln, err
}

// addTelemetry opens the series and lets samples come in.
func (a *app) addTelemetry(in *installation, cfg *control.Config, targets scrapeTargets, reg prometheus.Registerer) (err error) {
	p, err := cfg.Policy()
	if err != nil {
		return err
	}
	if in.telemetry, err = a.openTelemetry(a.cfg.get("dir"), p.Revision); err != nil {
		return err
	}
	cfg.Books = in.telemetry.books
	a.takeIn(in.telemetry, targets, reg)
	if err := a.addAnomalies(in, cfg, reg); err != nil {
		return err
	}
	return a.addRegions(in, cfg, reg)
}

// loadServedPolicy also refuses what only a server would stumble over.
func (a *app) loadServedPolicy(ctx context.Context) (control.Policy, error) {
	p, err := a.loadPolicy(ctx)
	if err != nil {
		return p, err
	}
	return p, belowAll(control.CheckSignals(p.Revision), a.cfg.get("policy"))
}

// runGroup runs the parts of the server; when one ends, all end.
func (a *app) runGroup(ctx context.Context, in *installation, listens func(context.Context) error, parts ...func(context.Context) error) error {
	var group rungroup.Group
	serving, stop := context.WithCancel(ctx)
	group.Add(func() error { return listens(serving) }, func(error) { stop() })

	watching, stopWatching := context.WithCancel(ctx)
	group.Add(func() error {
		select {
		case err := <-in.halted:
			return err
		case <-watching.Done():
			return nil
		}
	}, func(error) { stopWatching() })

	for _, part := range parts {
		running, stop := context.WithCancel(ctx)
		group.Add(func() error { return part(running) }, func(error) { stop() })
	}
	return group.Run()
}

// watchPolicies loads the policy again for every signal, until ctx ends.
func (a *app) watchPolicies(ctx context.Context, hup <-chan os.Signal, policies *reloading, in *installation) error {
	warm := func(p control.Policy) error { return in.plane.WarmAdmission(ctx, p.Revision) }
	for {
		select {
		case <-hup:
			if err := policies.reload(ctx, warm); err != nil {
				a.log.Error("policy refused; the old one stays in force", "error", err)
				continue
			}
			p, _ := policies.current() // never fails
			if err := in.telemetry.follow(p.Revision); err != nil {
				a.log.Error("the books keep the old objectives", "error", err)
			}
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

// reload loads the policy and, once prepare is ready for it, puts it in force.
func (r *reloading) reload(ctx context.Context, prepare func(control.Policy) error) error {
	p, err := r.load(ctx)
	if err == nil {
		err = prepare(p)
	}
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
