package gameday

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
	"assay.dev/assay/mitigate"
)

// yardStage is several small services behind one proxy, each with its levers, a
// platform that moves what lives elsewhere, and strategies that may act at once. Plays
// on it break something and see what the strategy does.
var yardStage = &stage{prepare: yardWorld}

// Services of the yard, and hosts of their routes.
const (
	atlas = "atlas" // runs in two regions
	api1  = "api"   // has tenants
	edge  = "edge"  // stands on the street
	till  = "till"  // has a rate limit that no strategy moves
)

// yard is what a play on the yard uses beside the world.
type yard struct {
	platform *platform
	routes   enforce.Config
	eu, us   *Release // atlas in its regions
	zones    string   // folder of time zones
}

func yardWorld(d *drama) (err error) {
	d.yard = &yard{zones: d.path("tmp", "zones")}
	d.serveEnv = []string{"ZONEINFO=" + d.yard.zones}
	for _, file := range []string{"strategies.yaml", "events.yaml"} {
		if err := d.declare(file); err != nil {
			return err
		}
	}
	if d.yard.platform, err = d.openPlatform(); err != nil {
		return err
	}
	d.serveArgs = []string{"--prove", "0s", "--doors", d.path("tokens", "doors.yaml")}
	if err := d.openPage(); err != nil {
		return err
	}
	v1, err := d.version("v1")
	if err != nil {
		return err
	}
	v7, err := d.version("v7")
	if err != nil {
		return err
	}
	return d.step("yard", "services, proxy and platform", func() (bool, string, error) {
		conf, err := d.yardRoutes(v1, v7)
		if err != nil {
			return false, "", err
		}
		return true, fmt.Sprintf("%d services at %s, the platform at %s", len(conf.Routes), d.proxyURL, d.yard.platform.url), nil
	})
}

// yardRoutes runs the services and starts the proxy before them.
func (d *drama) yardRoutes(v1, v7 *Release) (conf enforce.Config, err error) {
	// Each service has a process of its own, though two of them run one version.
	backend := func(r *Release) *Release {
		one := *r
		if one.process = nil; err == nil {
			err = d.Run(&one, false)
		}
		return &one
	}
	version := func(r *Release) enforce.Version {
		return enforce.Version{Name: r.Version.Name, Digest: r.Digest, Weight: 100, Attestations: []json.RawMessage{r.Bundle}}
	}
	route := func(name string, v enforce.Version, l *enforce.Levers) {
		conf.Routes = append(conf.Routes, enforce.Route{
			Name: name, Service: name, Host: name + ".yard", Entry: shopEntry, Versions: []enforce.Version{v}, Levers: l,
			Timeout: enforce.Duration(2 * time.Second),
		})
	}
	d.yard.eu, d.yard.us = backend(v1), backend(v1)
	v := version(v1)
	v.Places = []enforce.Place{{Region: "eu", Backend: d.yard.eu.Backend}, {Region: "us", Backend: d.yard.us.Backend}}
	route(atlas, v, &enforce.Levers{Regions: []enforce.Region{{Name: "eu", Share: 60}, {Name: "us", Share: 40}}, Probe: 10})
	v = version(v7)
	v.Backend = backend(v7).Backend
	route(api1, v, &enforce.Levers{TenantHeader: "X-Tenant", Limits: []assay.Lever{assay.LeverRateLimit}})
	v = version(v1)
	v.Backend = backend(v1).Backend
	route(edge, v, &enforce.Levers{Source: enforce.Sticky{By: enforce.ByClient}})
	v = version(v1)
	v.Backend = backend(v1).Backend
	route(till, v, &enforce.Levers{Limits: []assay.Lever{assay.LeverRateLimit}})
	if err != nil {
		return conf, err
	}
	d.yard.routes = conf
	return conf, d.guard(conf)
}

// visitors send requests of one kind to a service at a steady rate, in the open: none
// waits for another.
type visitors struct {
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu           sync.Mutex
	method, path string        // what they ask for
	within       time.Duration // what takes longer is late; 0 is never
	now          seen          // since the last look
}

// visit begins to send requests; header is "X-Tenant: acme" or "", from is the address
// they come from, "" for any.
func (d *drama) visit(host, path string, rate int, header, value, from string) *visitors {
	ctx, cancel := context.WithCancel(d.ctx)
	v := &visitors{cancel: cancel, method: http.MethodGet, path: path}
	dialer := &net.Dialer{Timeout: time.Second}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64}}
	const lots, gap = 20, time.Second / 20 // a second, and between them
	v.group.Go(func() {
		defer client.CloseIdleConnections()
		tick := time.NewTicker(gap)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for range rate / lots {
				v.group.Go(func() {
					// Anywhere in the gap: who comes in lots meets a limit always before or always
					// after the lots of others.
					if pause(ctx, rand.N(gap)) == nil {
						v.one(ctx, client, d.proxyURL, host, header, value)
					}
				})
			}
		}
	})
	return v
}

func (v *visitors) one(ctx context.Context, client *http.Client, url, host, header, value string) {
	v.mu.Lock()
	method, path, within := v.method, v.path, v.within
	v.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, method, url+path, nil)
	if err != nil {
		return
	}
	req.Host = host
	began := time.Now()
	if header != "" {
		req.Header.Set(header, value)
	}
	res, err := client.Do(req)
	took := time.Since(began)
	if ctx.Err() != nil {
		if err == nil {
			_ = res.Body.Close()
		}
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.now.bad++
		return
	}
	_, _ = io.Copy(io.Discard, res.Body) // only what came of it counts
	_ = res.Body.Close()
	switch {
	case res.Header.Get("Assay-Reason") != "":
		v.now.held++
	case res.StatusCode >= http.StatusInternalServerError:
		v.now.bad++
	default:
		v.now.ok++
		v.now.took += took
		if within > 0 && took > within {
			v.now.late++
		}
	}
}

// askFor makes them ask for something else from now on.
func (v *visitors) askFor(method, path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.method, v.path = method, path
}

// seen is what came of the requests since the last look.
func (v *visitors) seen() (s seen) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, v.now = v.now, seen{}
	return s
}

// seen is what came of requests: answered, answered 5xx or not at all, held at the door.
type seen struct {
	ok, bad, held uint64
	late          uint64        // of those that were answered
	took          time.Duration // all that were answered
}

// failing is the share of requests that failed or were held.
func (s seen) failing() float64 {
	if n := s.ok + s.bad + s.held; n > 0 {
		return float64(s.bad+s.held) / float64(n)
	}
	return 1
}

// kept is the share of requests that were answered well and in time.
func (s seen) kept() float64 {
	return float64(s.ok-s.late) / float64(max(1, s.ok+s.bad+s.held))
}

// mean is how long an answer took.
func (s seen) mean() time.Duration { return s.took / time.Duration(max(1, s.ok)) }

func (v *visitors) leave() {
	v.cancel()
	v.group.Wait()
}

// during lets time pass and returns what came of the visitors' requests in it.
func (d *drama) during(t time.Duration, v *visitors) (seen, error) {
	v.seen()
	err := d.pause(t)
	return v.seen(), err
}

// lever is where a lever of a service stands at the proxy, with what it keeps of a source.
func (d *drama) lever(service string, lever assay.Lever, scope string) (enforce.LeverStatus, error) {
	status, data, err := d.request(http.MethodGet, "http://"+d.control+"/v1/status", "", d.secrets.control, nil)
	if err != nil {
		return enforce.LeverStatus{}, err
	}
	var now enforce.Status
	if err := json.Unmarshal(data, &now); err != nil {
		return enforce.LeverStatus{}, assay.Errorf(assay.CodeUnavailable, "the proxy answered %d with what is no status: %w", status, err)
	}
	var out enforce.LeverStatus
	for _, r := range now.Routes {
		for _, l := range r.Levers {
			if r.Service == service && l.Lever == lever && (l.Scope == scope || l.Scope == enforce.AnyScope && out.Lever == "") {
				out = l
			}
		}
	}
	return out, nil
}

// until waits for something to become true, and returns how long that took.
func (d *drama) until(limit time.Duration, is func() (bool, error)) (took time.Duration, ok bool, err error) {
	for began := time.Now(); ; {
		ok, err := is()
		if took = time.Since(began); err != nil || ok || took > limit {
			return took, ok, err
		}
		if err := d.pause(look); err != nil {
			return took, false, err
		}
	}
}

// strategyWords is what a strategy decided last, for people.
func (d *drama) strategyWords(name string) string {
	s, err := d.ci.Strategy(d.ctx, name)
	switch {
	case err != nil:
		return err.Error()
	case s.Decision == nil:
		return "it has decided nothing"
	}
	return s.Decision.Words
}

// move is an action that a strategy took.
type move struct {
	assay.Action
	time time.Time
}

// movesOf are the actions of strategies among the facts, oldest first.
func (d *drama) movesOf(strategies ...string) (out []move, err error) {
	list, err := d.ci.Facts(d.ctx, []string{assay.FactMitigationActed}, "", maxDecisions)
	for _, f := range slices.Backward(list) {
		var p mitigate.ActedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			return nil, err
		}
		if slices.Contains(strategies, p.Strategy) {
			out = append(out, move{p.Action, f.Time})
		}
	}
	return out, err
}

// declareNow adds a policy file while the control plane runs, and tells it.
func (d *drama) declareNow(name, text string) error {
	if err := os.WriteFile(d.path("policies", name), []byte(text), 0o600); err != nil {
		return err
	}
	return syscall.Kill(d.server.PID, syscall.SIGHUP)
}
