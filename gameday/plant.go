package gameday

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/client"
	"assay.dev/assay/enforce"
)

// Names that stand in the demo's policies.
const (
	serviceName  = "shop"
	gateName     = "shop"
	resourceURI  = "pkg:generic/shop"
	gateLevel    = "SHOP_RELEASE_GATE"
	declaredLoss = 0.0005 // alpha of the Rollout resource
)

// startTime is how long the control plane and the proxy may take to start.
const startTime = 30 * time.Second

// Serve makes keys and tokens and starts the control plane. It returns when the
// page answers.
func (w *World) Serve() error {
	if _, err := w.assay(w.ctx, "key", "create"); err != nil {
		return err
	}
	people := []person{
		{"ci", "developer", &w.secrets.ci},
		{"platform", "operator", &w.secrets.platform},
		{"proxy", "agent", &w.secrets.agent},
		{"release-manager", "approver", &w.secrets.manager},
	}
	if w.hasAdmin {
		people = append(people, person{"security", "admin", &w.secrets.admin})
	}
	for _, t := range people {
		secret, err := w.assay(w.ctx, "token", "create", t.name, "--role", t.role, "--expires", "24h")
		if err != nil {
			return err
		}
		*t.secret = secret
		if err := os.WriteFile(w.path("tokens", t.name), []byte(secret+"\n"), 0o600); err != nil {
			return err
		}
	}
	// The proxy starts later; the control plane has to know where.
	control, err := freeAddress(w.ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.control = control
	if err := w.startServer(); err != nil {
		return err
	}
	if w.ci, err = client.New(w.url, w.secrets.ci); err != nil {
		return err
	}
	if w.platform, err = client.New(w.url, w.secrets.platform); err != nil {
		return err
	}
	if w.manager, err = client.New(w.url, w.secrets.manager); err != nil {
		return err
	}
	if w.hasAdmin {
		if w.admin, err = client.New(w.url, w.secrets.admin); err != nil {
			return err
		}
	}
	w.readyMS = time.Since(w.cfg.Began).Milliseconds()
	return nil
}

// person is somebody, or a machine, with a token.
type person struct {
	name, role string
	secret     *string
}

// startServer starts the control plane at its address, for the first time or again.
func (w *World) startServer() error {
	ctx, cancel := context.WithTimeoutCause(w.ctx, startTime, assay.Errorf(assay.CodeUnavailable, "the control plane did not start within %s; see %s", startTime, w.path("logs", "serve.log")))
	defer cancel()
	args := []string{"serve", "--listen", w.cfg.Listen, "--anonymous-viewer"}
	if !w.noProxy {
		args = append(args, "--proxy", "http://"+w.control)
	}
	child, line, err := w.start(ctx, command{
		name: "serve", path: w.cfg.Exe, ready: "serving http://",
		args: append(args, w.serveArgs...),
		env:  w.assayEnv(append(w.serveEnv, "ASSAY_PROXY_TOKEN="+w.secrets.control)...),
	})
	if err != nil {
		return err
	}
	w.server = child
	w.url, _, _ = strings.Cut(strings.TrimPrefix(line, "serving "), " ")
	return w.awaitPage(ctx)
}

// awaitPage asks for the page until it answers.
func (w *World) awaitPage(ctx context.Context) error {
	for {
		status, err := w.page(ctx)
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-ctx.Done():
			return assay.Errorf(assay.CodeUnavailable, "the page %s does not answer: status %d, %w", w.url, status, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (w *World) page(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 4<<20))
	return res.StatusCode, err
}

// Guard starts the proxy with one version behind it.
func (w *World) Guard(r *Release) error {
	return w.guard(enforce.Config{Routes: []enforce.Route{{
		Name: serviceName, Service: serviceName, Entry: shopEntry,
		Versions: []enforce.Version{{
			Name: r.Version.Name, Digest: r.Digest, Backend: r.Backend, Weight: 100, Attestations: []json.RawMessage{r.Bundle},
		}},
	}}})
}

// shopEntry is what a version of the shop must bring to get requests.
var shopEntry = enforce.Entry{ResourceURI: resourceURI, Levels: []string{gateLevel}}

// guard starts the proxy with its routes.
func (w *World) guard(conf enforce.Config) error {
	data, err := json.MarshalIndent(conf, "", "  ")
	if err != nil {
		return err
	}
	routes := w.path("state", "routes.json")
	if err := os.WriteFile(routes, append(data, '\n'), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(w.ctx, startTime, assay.Errorf(assay.CodeUnavailable, "the proxy did not start within %s; see %s", startTime, w.path("logs", "proxy.log")))
	defer cancel()
	_, line, err := w.start(ctx, command{
		name: "proxy", path: w.cfg.Exe, ready: "proxying http://",
		args: []string{
			"enforce", "proxy", "--listen", "127.0.0.1:0", "--control", w.control, "--routes", routes,
			"--otlp", w.telemetryURL() + "/v1/metrics", "--otlp-interval", "250ms",
		},
		env: w.assayEnv("ASSAY_PROXY_TOKEN="+w.secrets.control, "ASSAY_OTLP_TOKEN="+w.secrets.agent),
	})
	if err != nil {
		return err
	}
	w.proxyURL, _, _ = strings.Cut(strings.TrimPrefix(line, "proxying "), " ")
	return nil
}

// Load starts the load generator and waits until it has found the rate that this
// machine bears.
func (w *World) Load() (LoadReport, error) {
	settled := make(chan LoadReport, 1)
	_, _, err := w.start(w.ctx, command{
		name: "load", path: w.cfg.Exe, env: w.environment(),
		args: []string{"demo", "load", "--target", w.proxyURL, "--rate", fmt.Sprint(w.cfg.Rate), "--seed", fmt.Sprint(w.cfg.Seed)},
		line: func(s string) {
			var r LoadReport
			if json.Unmarshal([]byte(s), &r) != nil {
				return
			}
			if n := w.loaded(r); r.Found || n == 1 {
				select {
				case settled <- r:
				default: // it was settled before
				}
			}
		},
	})
	if err != nil {
		return LoadReport{}, err
	}
	select {
	case r := <-settled:
		return r, nil
	case <-w.ctx.Done():
		return LoadReport{}, context.Cause(w.ctx)
	}
}

// maxLoadReports is how many reports of the load are kept, the newest ones.
const maxLoadReports = 3600

// loaded keeps a report that counts and returns how many there are; those of the
// search for a rate do not count.
func (w *World) loaded(r LoadReport) int {
	if !r.Settled {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.load = append(w.load, r); len(w.load) > maxLoadReports {
		w.load = w.load[1:]
	}
	return len(w.load)
}

// meanRate is the achieved rate of the load since it settled, in requests per second.
func (w *World) meanRate() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var requests uint64
	var seconds float64
	for _, r := range w.load {
		requests += r.Sent
		seconds += r.Seconds
	}
	if seconds == 0 {
		return 0
	}
	return float64(requests) / seconds
}
