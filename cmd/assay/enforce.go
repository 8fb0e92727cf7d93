package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/enforce"
	"github.com/spf13/cobra"
)

// door is an open enforcer; wire.go knows which.
type door interface {
	// Serve answers requests on data and the control API on control until ctx ends.
	Serve(ctx context.Context, data, control net.Listener) error
	// Believe replaces whose attestations let a version in, at once.
	Believe(trust attest.TrustPolicy, verify enforce.Verify) error
	Close() error
}

// doorOptions are what a door needs of its operator.
type doorOptions struct {
	dir         string
	initial     enforce.Config
	trust       attest.Trust
	allowDryRun bool
	token       string // of the control API
	otlp        string // where metrics are pushed, "" for nowhere
	otlpToken   string
	otlpEvery   time.Duration
	proxies     []netip.Prefix // whose headers say whom they speak for
}

// proxyFlags are the flags of `enforce proxy`.
type proxyFlags struct {
	listen, control string
	routes          string
	trust           string
	verifiers       []string
	allowDryRun     bool
	proxies         []string
	otlp            string
	otlpEvery       time.Duration
}

func (a *app) enforceCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "enforce", Short: "Run enforcers: they let in what is attested, and divide traffic"}
	cmd.AddCommand(a.enforceProxyCmd())
	return cmd
}

func (a *app) enforceProxyCmd() *cobra.Command {
	var f proxyFlags
	cmd := &cobra.Command{
		Use:   "proxy --routes FILE",
		Short: "Run the embedded proxy: attested versions only, traffic by weight, metrics out",
		Long: `Run the embedded proxy: it sends each request to the version that its weight
and key choose, and lets no version in whose digest no valid attestation speaks for.

Reads the routes from FILE the first time; what the control API changed later is
kept in DIR/proxy and wins. Believes the keys of the --trust file and nobody else;
a change of that file counts within a second, also for versions that have traffic.
Changes DIR/proxy only. Runs until it is stopped (Ctrl-C, or SIGTERM: requests
under way finish first). Speaks HTTP without TLS, so put it behind what has it.

ASSAY_PROXY_TOKEN opens the control API, at least 16 characters; ASSAY_OTLP_TOKEN
goes to the collector.

Exit codes: 0 stopped · 1 error · 2 usage.`,
		Example: `  assay enforce proxy --routes routes.json --dir /var/lib/assay --otlp http://127.0.0.1:7070/v1/metrics`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.enforceProxy(cmd.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "listen", "127.0.0.1:8080", "address for requests")
	fs.StringVar(&f.control, "control", "127.0.0.1:7071", "address of the control API")
	fs.StringVar(&f.routes, "routes", "", "file of routes, versions and their attestations, in JSON (docs/enforcer.md)")
	fs.StringVar(&f.trust, "trust", "", "trust file or public file of who may attest (default DIR/keys/assay.trust.yaml, or assay.pub if there is none)")
	fs.StringArrayVar(&f.verifiers, "allow-verifier", nil, "verifier.id that the keys may sign (default --verifier-id); may be repeated")
	fs.BoolVar(&f.allowDryRun, "allow-dry-run", false, "accept routes that only record what they would refuse")
	fs.StringArrayVar(&f.proxies, "trusted-proxy", nil, "address or network of proxies whose X-Forwarded headers, and claims of class and tenant, are believed; may be repeated")
	fs.StringVar(&f.otlp, "otlp", "", "URL that metrics are pushed to as OTLP, for example http://127.0.0.1:7070/v1/metrics")
	fs.DurationVar(&f.otlpEvery, "otlp-interval", 5*time.Second, "time between two batches of metrics")
	_ = cmd.MarkFlagRequired("routes") // fails only for a flag that does not exist
	return cmd
}

func (a *app) enforceProxy(ctx context.Context, f proxyFlags) error {
	o, err := a.doorOptions(f)
	if err != nil {
		return err
	}
	data, err := listenOn(ctx, f.listen, "--listen")
	if err != nil {
		return err
	}
	defer data.Close() // Serve closes it as well, if it comes to that
	control, err := listenOn(ctx, f.control, "--control")
	if err != nil {
		return err
	}
	defer control.Close()
	d, err := a.openDoor(o)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "proxying http://%s  control http://%s\n", data.Addr(), control.Addr())
	following, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		a.followTrust(following, f.trustSource(), func(t attest.Trust) error { return d.Believe(t.Policy, verifyAny(t.Ledger)) })
	})
	err = d.Serve(ctx, data, control)
	stop()
	done.Wait()
	return errors.Join(err, d.Close())
}

func (f proxyFlags) trustSource() trustSource { return trustSource{f.trust, f.verifiers} }

// doorOptions turns flags, files and variables into options.
func (a *app) doorOptions(f proxyFlags) (doorOptions, error) {
	o := doorOptions{
		dir: filepath.Join(a.cfg.get("dir"), "proxy"), allowDryRun: f.allowDryRun,
		token: a.cfg.get("proxy-token"), otlp: f.otlp, otlpToken: a.env("ASSAY_OTLP_TOKEN"), otlpEvery: f.otlpEvery,
	}
	if o.token == "" {
		return o, &assay.Error{
			Code: assay.CodeInvalid, Msg: "ASSAY_PROXY_TOKEN is not set: nobody could move traffic",
			Hint: `set it to a secret that the control plane has too, for example "$(head -c 24 /dev/urandom | base64)"`,
		}
	}
	if err := checkCollector(f); err != nil {
		return o, err
	}
	for _, text := range f.proxies {
		n, err := netip.ParsePrefix(text)
		if a, errAddr := netip.ParseAddr(text); errAddr == nil {
			n, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return o, usageError{fmt.Errorf("--trusted-proxy %q is no address and no network", text)}
		}
		o.proxies = append(o.proxies, n)
	}
	raw, err := readFile(f.routes, enforce.MaxConfig)
	if err != nil {
		return o, err
	}
	if o.initial, err = enforce.ParseConfig(raw); err != nil {
		return o, inFile(err, f.routes)
	}
	o.trust, err = a.trust(f.trustSource())
	return o, err
}

// checkCollector refuses a collector that no metrics would reach.
func checkCollector(f proxyFlags) error {
	if f.otlpEvery < 50*time.Millisecond {
		return usageError{fmt.Errorf("--otlp-interval is %s; at least 50ms", f.otlpEvery)}
	}
	if f.otlp == "" {
		return nil
	}
	u, err := url.Parse(f.otlp)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return usageError{fmt.Errorf("--otlp %q is not of the form http://host:port/v1/metrics", f.otlp)}
	}
	return nil
}

// listenOn opens a listener; flag is what to change when the address is taken.
func listenOn(ctx context.Context, address, flag string) (net.Listener, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &assay.Error{Code: assay.CodeConflict, Msg: "the address " + address + " is in use", Hint: "stop who uses it or choose another with " + flag}
	}
	return ln, err
}
