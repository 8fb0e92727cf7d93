package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/acttest"
	"assay.dev/assay/act/proxy"
	"assay.dev/assay/enforce"
	door "assay.dev/assay/enforce/proxy"
)

const token = "a-control-token-for-tests"

// shop is a route with the suite's versions. Dry-run keeps keys out of these
// tests: entry has tests of its own.
func shop() enforce.Config {
	r := enforce.Route{Name: "front", Service: acttest.Service, Entry: enforce.Entry{ResourceURI: "pkg:generic/shop", Mode: assay.ModeDryRun}}
	for i, v := range []string{acttest.V1, acttest.V2} {
		r.Versions = append(r.Versions, enforce.Version{Name: v, Digest: assay.Digest(fmt.Sprintf("sha256:%064x", i)), Backend: "http://127.0.0.1:1", Weight: 100 - 100*i})
	}
	return enforce.Config{Routes: []enforce.Route{r}}
}

// start runs a proxy in dir until stop.
func start(t *testing.T, dir string, c enforce.Config) (url string, stop func()) {
	t.Helper()
	p, err := door.Open(door.Options{Dir: dir, Initial: c, AllowDryRun: true, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	data, control := listen(t), listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(ctx, data, control) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return "http://" + control.Addr().String(), stop
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func client(t *testing.T, url string) *proxy.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := proxy.New(proxy.Options{URL: url, Token: token, ReadBack: time.Millisecond, Client: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProxyKeepsTheContractOfActuators(t *testing.T) {
	acttest.Run(t, func(t *testing.T) acttest.World {
		dir := t.TempDir()
		url, stop := start(t, dir, shop())
		return acttest.World{Actuator: client(t, url), Reopen: func(t *testing.T) act.Actuator {
			stop()
			again, _ := start(t, dir, enforce.Config{})
			return client(t, again)
		}}
	})
}

func TestProxyKeepsTheContractOfLevers(t *testing.T) {
	levers := &enforce.Levers{
		Limits:       []assay.Lever{assay.LeverRateLimit, assay.LeverConcurrency},
		TenantHeader: "X-Tenant", Source: enforce.Sticky{By: enforce.ByClient},
	}
	for name, l := range map[string]act.LeverAt{
		"the whole route": {Lever: assay.LeverConcurrency},
		"a tenant":        {Lever: assay.LeverQuota, Scope: "acme"},
	} {
		t.Run(name, func(t *testing.T) {
			acttest.RunLevers(t, func(t *testing.T) acttest.LeverWorld {
				c := shop()
				c.Routes[0].Levers = levers
				dir := t.TempDir()
				url, stop := start(t, dir, c)
				return acttest.LeverWorld{Actuator: client(t, url), Lever: l.Lever, Scope: l.Scope, Unknown: assay.LeverReplicas, Reopen: func(t *testing.T) act.Actuator {
					stop()
					again, _ := start(t, dir, enforce.Config{})
					return client(t, again)
				}}
			})
		})
	}
}

func step() assay.Action {
	return assay.Action{Kind: assay.ActionAdvance, Service: acttest.Service, Version: acttest.V2, From: 0, Weight: 10, Key: "k", Fence: 1}
}

// TestLostAnswerIsRepeatedWithoutHarm: the proxy takes the change, its answer does
// not arrive, and the repeat gets it.
func TestLostAnswerIsRepeatedWithoutHarm(t *testing.T) {
	url, _ := start(t, t.TempDir(), shop())
	var lose atomic.Bool
	lossy := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		res, err := http.DefaultTransport.RoundTrip(r)
		if err == nil && r.Method == http.MethodPut && lose.Load() {
			res.Body.Close()
			return nil, fmt.Errorf("connection reset")
		}
		return res, err
	})}
	c, err := proxy.New(proxy.Options{URL: url, Token: token, Client: lossy})
	if err != nil {
		t.Fatal(err)
	}
	lose.Store(true)
	if _, err := c.Apply(t.Context(), step()); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Fatalf("Apply = %v; want unavailable", err)
	}
	lose.Store(false)
	r, err := c.Apply(t.Context(), step())
	if err != nil || !r.Changed || r.Observed != 10 {
		t.Errorf("the repeat got %+v, %v; want the receipt of the change", r, err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestEntryRefusalIsDenied(t *testing.T) {
	c := shop()
	c.Routes[0].Entry.Mode = assay.ModeEnforce
	url, _ := start(t, t.TempDir(), c)
	if _, err := client(t, url).Apply(t.Context(), step()); assay.CodeOf(err) != assay.CodeDenied || !strings.Contains(err.Error(), "signature") {
		t.Errorf("Apply = %v; want denied, with the step that failed", err)
	}
}

func TestShareThatIsNeverSeenIsUnavailable(t *testing.T) {
	// A proxy that answers but does not act: only reading back tells.
	lying := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			fmt.Fprint(w, `{"receipt":{"key":"k","percent":10,"changed":true,"generation":1}}`)
			return
		}
		fmt.Fprint(w, `{"routes":[{"name":"front","service":"shop","generation":1,"versions":[{"name":"v2","percent":0}]}]}`)
	}))
	defer lying.Close()
	c, err := proxy.New(proxy.Options{URL: lying.URL, Timeout: 50 * time.Millisecond, ReadBack: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(t.Context(), step()); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Errorf("Apply = %v; want unavailable", err)
	}
}

func TestAnActionOfARouteThatIsGoneAfterwardsIsNotRefused(t *testing.T) {
	pull := step()
	pull.Lever, pull.Version, pull.From, pull.Weight, pull.Now, pull.Want = assay.LeverRateLimit, "", 0, 0, 0, 100
	for name, a := range map[string]assay.Action{"a share": step(), "a lever": pull} {
		t.Run(name, func(t *testing.T) {
			taken := false
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPut:
					taken = true
					fmt.Fprint(w, `{"receipt":{"key":"k","percent":10,"value":100,"changed":true,"generation":1}}`)
				case taken:
					fmt.Fprint(w, `{"routes":[]}`)
				default:
					fmt.Fprint(w, `{"routes":[{"name":"front","service":"shop","levers":[{"lever":"rate-limit","value":0}],"versions":[{"name":"v2","percent":0}]}]}`)
				}
			}))
			defer s.Close()
			if _, err := client(t, s.URL).Apply(t.Context(), a); !taken || assay.CodeOf(err) != assay.CodeUnavailable {
				t.Errorf("Apply = %v, taken %v; want unavailable, to be repeated with the same key", err, taken)
			}
		})
	}
}

func TestAnswersThatAreNotTheProxysAreUnavailable(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"not JSON":      func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"another error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) },
		"redirect":      func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(h)
			defer s.Close()
			if _, err := client(t, s.URL).Apply(t.Context(), step()); assay.CodeOf(err) != assay.CodeUnavailable {
				t.Errorf("Apply = %v; want unavailable", err)
			}
		})
	}
}

// TestAnActionReadsTheRoutesOfItsServiceAlone: what an action costs does not grow with the
// other services' routes; a proxy that does not know the question answers with all of them,
// and the action is the same.
func TestAnActionReadsTheRoutesOfItsServiceAlone(t *testing.T) {
	for name, older := range map[string]bool{"this proxy": false, "an older one": true} {
		t.Run(name, func(t *testing.T) {
			c := shop()
			for _, other := range []string{"bank", "mail"} {
				r := c.Routes[0]
				r.Name, r.Service, r.Path = other, other, "/"+other
				c.Routes = append(c.Routes, r)
			}
			url, _ := start(t, t.TempDir(), c)
			var read []int
			watching := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if older {
					r.URL.RawQuery = ""
				}
				res, err := http.DefaultTransport.RoundTrip(r)
				if err != nil || r.Method != http.MethodGet {
					return res, err
				}
				data, err := io.ReadAll(res.Body)
				if err != nil {
					return nil, err
				}
				res.Body = io.NopCloser(bytes.NewReader(data))
				var s enforce.Status
				if err := json.Unmarshal(data, &s); err != nil {
					return nil, err
				}
				read = append(read, len(s.Routes))
				return res, nil
			})}
			p, err := proxy.New(proxy.Options{URL: url, Token: token, Client: watching})
			if err != nil {
				t.Fatal(err)
			}
			if r, err := p.Apply(t.Context(), step()); err != nil || r.Observed != 10 {
				t.Fatalf("Apply = %+v, %v", r, err)
			}
			o, err := p.Observe(t.Context(), acttest.Service)
			if err != nil || o.Shares[acttest.V2] != 10 || o.Generation != 1 {
				t.Errorf("Observe = %+v, %v", o, err)
			}
			want := 1
			if older {
				want = 3
			}
			for _, n := range read {
				if n != want {
					t.Errorf("a status of %d routes was read, want %d", n, want)
				}
			}
			if len(read) < 3 {
				t.Errorf("%d statuses were read; the route, the read-back and the observation are three", len(read))
			}
			if _, err := p.Observe(t.Context(), "nobody"); assay.CodeOf(err) != assay.CodeNotFound {
				t.Errorf("Observe of a service without a route = %v; want not found", err)
			}
		})
	}
}

func TestAServiceWithSeveralRoutesIsRefused(t *testing.T) {
	c := shop()
	second := c.Routes[0]
	second.Name, second.Path = "second", "/second"
	c.Routes = append(c.Routes, second)
	url, _ := start(t, t.TempDir(), c)
	if _, err := client(t, url).Apply(t.Context(), step()); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("Apply = %v; want a conflict", err)
	}
}
