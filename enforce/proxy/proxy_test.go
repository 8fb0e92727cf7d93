package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
	"assay.dev/assay/enforce/proxy"
)

// twoVersions opens a proxy before v1 and v2, which answer with their names.
func twoVersions(t testing.TB, canary int, change ...func(*proxy.Options)) (*door, signer) {
	t.Helper()
	s := newSigner(t)
	c := shop(version(t, s, "v1", backend(t, says("v1")), 100-canary), version(t, s, "v2", backend(t, says("v2")), canary))
	return open(t, c, s, change...), s
}

func TestProxySendsEachClientToItsVersion(t *testing.T) {
	d, _ := twoVersions(t, 20)
	seen := map[string]int{}
	for i := range 400 {
		user := fmt.Sprint("user-", i)
		a := d.get("/", "User", user)
		if a.status != http.StatusOK {
			t.Fatalf("status %d: %s", a.status, a.body)
		}
		seen[a.body]++
		if i%20 == 0 {
			if again := d.get("/", "User", user); again.body != a.body {
				t.Fatalf("%s went to %s and then to %s", user, a.body, again.body)
			}
		}
	}
	if seen["v2"] < 40 || seen["v2"] > 120 {
		t.Errorf("of 400 clients %d went to v2; want about 80", seen["v2"])
	}
}

func TestEveryWayToBeSticky(t *testing.T) {
	for _, c := range []struct {
		sticky enforce.Sticky
		header []string
		want   int // distinct versions over many requests
	}{
		{enforce.Sticky{By: enforce.ByCookie, Name: "sid"}, []string{"Cookie", "sid=abc"}, 1},
		{enforce.Sticky{By: enforce.ByClient}, nil, 1},
		{enforce.Sticky{By: enforce.ByHeader, Name: "User"}, []string{"User", "ann"}, 1},
		{enforce.Sticky{By: enforce.ByHeader, Name: "User"}, nil, 2},
		{enforce.Sticky{By: enforce.ByRequest}, []string{"User", "ann"}, 2},
	} {
		t.Run(string(c.sticky.By), func(t *testing.T) {
			s := newSigner(t)
			conf := shop(version(t, s, "v1", backend(t, says("v1")), 50), version(t, s, "v2", backend(t, says("v2")), 50))
			conf.Routes[0].Sticky = c.sticky
			d := open(t, conf, s)
			seen := map[string]bool{}
			for range 60 {
				seen[d.get("/", c.header...).body] = true
			}
			if len(seen) != c.want {
				t.Errorf("60 requests of one client saw %v; want %d versions", seen, c.want)
			}
		})
	}
}

func TestVersionWithoutValidAttestationIsRefusedEntry(t *testing.T) {
	s, stranger := newSigner(t), newSigner(t)
	now := time.Now()
	for name, c := range map[string]struct {
		change func(*enforce.Config, *enforce.Version)
		step   string
	}{
		"no attestation":    {func(_ *enforce.Config, v *enforce.Version) { v.Attestations = nil }, "signature"},
		"signed by others":  {func(_ *enforce.Config, v *enforce.Version) { v.Attestations[0] = stranger.attests(t, "v5", now) }, "signature"},
		"another artifact":  {func(_ *enforce.Config, v *enforce.Version) { v.Attestations[0] = s.attests(t, "v1", now) }, "subject digest"},
		"another resource":  {func(c *enforce.Config, _ *enforce.Version) { c.Routes[0].Entry.ResourceURI = "pkg:generic/other" }, "resource URI"},
		"level not granted": {func(c *enforce.Config, _ *enforce.Version) { c.Routes[0].Entry.Levels = []string{"SLSA_BUILD_LEVEL_3"} }, "levels"},
		"too old": {func(c *enforce.Config, v *enforce.Version) {
			c.Routes[0].Entry.MaxAge = enforce.Duration(time.Hour)
			v.Attestations[0] = s.attests(t, "v5", now.Add(-2*time.Hour))
		}, "time"},
		"exception ended": {func(_ *enforce.Config, v *enforce.Version) {
			v.Attestations[0] = s.attests(t, "v5", now.Add(-2*time.Hour), assay.ExceptionUse{ID: "e1", Digest: digest("e1"), Rules: []string{"r"}, Requester: "ann", Approver: "bob", ValidUntil: now.Add(-time.Hour)})
		}, "exception"},
		"exception revoked": {func(c *enforce.Config, v *enforce.Version) {
			v.Attestations[0] = s.attests(t, "v5", now, assay.ExceptionUse{ID: "e0", Digest: digest("e0"), Rules: []string{"r"}, Requester: "ann", Approver: "bob", ValidUntil: now.Add(9 * time.Hour)},
				assay.ExceptionUse{ID: "e1", Digest: digest("e1"), Rules: []string{"q"}, Requester: "ann", Approver: "bob", ValidUntil: now.Add(time.Hour)})
			c.Withdrawn = []string{"another", "e0"}
		}, "exception"},
		"artifact revoked": {func(c *enforce.Config, v *enforce.Version) { c.Revoked = append(c.Revoked, v.Digest) }, "revocation"},
	} {
		t.Run(name, func(t *testing.T) {
			var reached atomic.Int64
			b := backend(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
			v := version(t, s, "v5", b, 100)
			conf := shop(v)
			c.change(&conf, &conf.Routes[0].Versions[0])
			d := open(t, conf, s)
			a := d.get("/", "User", "ann", "X-Artifact-Digest", string(digest("v1")))
			p := a.problem(t)
			if a.status != http.StatusForbidden || p.Refusal == nil || p.Refusal.Name != c.step || !strings.Contains(p.Detail, c.step) {
				t.Errorf("answered %d %+v; want 403 that names the step %q", a.status, p, c.step)
			}
			if reached.Load() != 0 {
				t.Error("the request reached the version that was refused")
			}
			d.get("/", "User", "ann")
			var st enforce.Status
			d.call(http.MethodGet, "/v1/status", nil, &st)
			if len(st.Refused) != 1 || st.Refused[0].Count != 2 || st.Refused[0].Version != "v5" || st.Refused[0].Refusal.Name != c.step {
				t.Errorf("recorded %+v; want v5 refused twice for %s", st.Refused, c.step)
			}
		})
	}
}

func TestEntryIsJudgedAtEachRequest(t *testing.T) {
	s := newSigner(t)
	began := time.Now()
	var ahead atomic.Int64
	conf := shop(version(t, s, "v1", backend(t, says("v1")), 100))
	conf.Routes[0].Entry.MaxAge = enforce.Duration(time.Hour)
	d := open(t, conf, s, func(o *proxy.Options) {
		o.Now = func() time.Time { return began.Add(time.Duration(ahead.Load())) }
	})
	if a := d.get("/"); a.status != http.StatusOK {
		t.Fatalf("fresh: %d %s", a.status, a.body)
	}
	ahead.Store(int64(61 * time.Minute))
	if a := d.get("/"); a.status != http.StatusForbidden || a.problem(t).Refusal.Name != "time" {
		t.Errorf("an hour later: %d %s; want 403 for its time", a.status, a.body)
	}
	ahead.Store(-int64(time.Hour))
	if a := d.get("/"); a.status != http.StatusForbidden || a.problem(t).Refusal.Name != "time" {
		t.Errorf("an hour before: %d %s; want 403, it is of the future", a.status, a.body)
	}
}

func TestTrafficIsNotGivenToAVersionThatMayNotEnter(t *testing.T) {
	s := newSigner(t)
	v5 := version(t, s, "v5", backend(t, says("v5")), 0)
	v5.Attestations = nil
	d := open(t, shop(version(t, s, "v1", backend(t, says("v1")), 100), v5), s)
	a := d.call(http.MethodPut, "/v1/routes/shop/share", enforce.Shift{Version: "v5", From: 0, Weight: 5, Generation: 1, Key: "k"}, nil)
	if p := a.problem(t); a.status != http.StatusForbidden || p.Refusal == nil || p.Refusal.Name != "signature" {
		t.Fatalf("shift answered %d %s; want 403 that names the step", a.status, a.body)
	}
	if v := d.version("v5"); v.Percent != 0 || v.Refusal == nil {
		t.Errorf("v5 is %+v; want no traffic, and its refusal shown", v)
	}
	if a := d.get("/", "User", "ann"); a.body != "v1" {
		t.Errorf("traffic answered %q; want v1, unharmed", a.body)
	}
}

func TestArtifactBehindALiveVersionCannotBeSwappedUnattested(t *testing.T) {
	s := newSigner(t)
	v1 := version(t, s, "v1", backend(t, says("v1")), 100)
	d := open(t, shop(v1), s)
	v1.Digest, v1.Backend = digest("evil"), backend(t, says("evil"))
	a := d.call(http.MethodPut, "/v1/config", enforce.Replacement{Generation: 1, Key: "swap", Config: shop(v1)}, nil)
	if a.status != http.StatusForbidden || a.problem(t).Refusal.Name != "subject digest" {
		t.Errorf("answered %d %s; want 403 for the subject digest", a.status, a.body)
	}
	if a := d.get("/"); a.body != "v1" {
		t.Errorf("traffic answered %q; want v1", a.body)
	}
}

func TestDryRunRecordsAndLetsPassOnlyWhereTheOperatorAllows(t *testing.T) {
	s := newSigner(t)
	v := version(t, s, "v1", backend(t, says("v1")), 100)
	v.Attestations = nil
	conf := shop(v)
	conf.Routes[0].Entry.Mode = assay.ModeDryRun
	if _, err := proxy.Open(proxy.Options{Dir: t.TempDir(), Initial: conf, Trust: s.trust(), Token: token}); assay.CodeOf(err) != assay.CodeDenied {
		t.Fatalf("Open without leave: %v; want denied", err)
	}
	d := open(t, conf, s, func(o *proxy.Options) { o.AllowDryRun = true })
	if a := d.get("/"); a.status != http.StatusOK {
		t.Errorf("dry-run answered %d", a.status)
	}
	var st enforce.Status
	if d.call(http.MethodGet, "/v1/status", nil, &st); len(st.Refused) != 1 {
		t.Errorf("dry-run recorded %+v; want one refusal", st.Refused)
	}
}

func TestHotReloadDropsNoRequest(t *testing.T) {
	d, _ := twoVersions(t, 0)
	const workers = 8
	var wg sync.WaitGroup
	var sent, wrong atomic.Int64
	stop := make(chan struct{})
	for w := range workers {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				body := strings.Repeat("x", 1+i%5000)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+d.data+"/", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("User", fmt.Sprint(w, "-", i))
				res, err := client.Do(req)
				if err != nil {
					t.Errorf("request dropped: %v", err)
					return
				}
				text, err := io.ReadAll(res.Body)
				res.Body.Close()
				sent.Add(1)
				if err != nil || res.StatusCode != http.StatusOK || (string(text) != "v1" && string(text) != "v2") {
					wrong.Add(1)
				}
			}
		})
	}
	at := 0
	for i := range 150 {
		next := (at + 37) % 101
		d.shift("v2", at, next, fmt.Sprint("flip-", i))
		at = next
	}
	close(stop)
	wg.Wait()
	if wrong.Load() != 0 || sent.Load() < 100 {
		t.Errorf("%d of %d requests went wrong while shares changed 150 times", wrong.Load(), sent.Load())
	}
	v1, v2 := d.version("v1"), d.version("v2")
	if got := int64(v1.Requests + v2.Requests); got != sent.Load() || v1.Errors+v2.Errors != 0 || v1.InFlight+v2.InFlight != 0 {
		t.Errorf("counted %d requests, %d errors; sent %d", got, v1.Errors+v2.Errors, sent.Load())
	}
}

func TestRequestUnderWayEndsOnItsVersion(t *testing.T) {
	s := newSigner(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	slow := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		fmt.Fprint(w, "v1")
	})
	v1, v2 := version(t, s, "v1", slow, 100), version(t, s, "v2", backend(t, says("v2")), 0)
	d := open(t, shop(v1, v2), s)
	got := make(chan string)
	go func() { got <- d.get("/").body }()
	<-arrived
	d.shift("v2", 0, 100, "k")
	v2.Weight = 100
	if a := d.call(http.MethodPut, "/v1/config", enforce.Replacement{Generation: 1, Key: "drop", Config: shop(v2)}, nil); a.status != http.StatusOK {
		t.Fatalf("dropping v1 answered %d %s", a.status, a.body)
	}
	if a := d.get("/"); a.body != "v2" {
		t.Errorf("a new request got %q, want v2", a.body)
	}
	close(release)
	if body := <-got; body != "v1" {
		t.Errorf("the request under way got %q, want v1", body)
	}
}

func TestProxyStartsFromItsLastGoodStateAlone(t *testing.T) {
	dir := t.TempDir()
	at := func(o *proxy.Options) { o.Dir = dir }
	d, s := twoVersions(t, 0, at)
	d.shift("v2", 0, 100, "k1")
	var before enforce.Status
	d.call(http.MethodGet, "/v1/status", nil, &before)
	var conf enforce.Config
	d.call(http.MethodGet, "/v1/config", nil, &conf)
	d.stop()

	again := open(t, enforce.Config{}, s, at) // the initial configuration is not asked
	if a := again.get("/"); a.body != "v2" {
		t.Errorf("after a restart the answer is %d %q, want v2", a.status, a.body)
	}
	var after enforce.Status
	if again.call(http.MethodGet, "/v1/status", nil, &after); after.Revision != before.Revision {
		t.Errorf("revision %s became %s", before.Revision, after.Revision)
	}
	if r := again.shift("v2", 0, 100, "k1"); r.Generation != 1 || !r.Changed {
		t.Errorf("the key's receipt after a restart is %+v; want the first one", r)
	}
}

func TestDamagedStateIsNotGuessed(t *testing.T) {
	s, dir := newSigner(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(`{"config":{"routes":[]},"gener`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := proxy.Open(proxy.Options{Dir: dir, Trust: s.trust(), Token: token})
	if assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), "state.json") {
		t.Errorf("Open = %v; want an error that names the file", err)
	}
	if err := os.Remove(filepath.Join(dir, "state.json")); err != nil {
		t.Fatal(err)
	}
	p, err := proxy.Open(proxy.Options{Dir: dir, Trust: s.trust(), Token: token})
	if err != nil {
		t.Fatalf("after the file was removed: %v (the folder's lock must have been given back)", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestControlFencesAndRemembers(t *testing.T) {
	d, _ := twoVersions(t, 10)
	put := func(s enforce.Shift) (*answer, enforce.Answer) {
		var out enforce.Answer
		return d.call(http.MethodPut, "/v1/routes/shop/share", s, &out), out
	}
	a, first := put(enforce.Shift{Version: "v2", From: 10, Weight: 25, Generation: 5, Key: "a"})
	if a.status != http.StatusOK || first.Replayed || !first.Receipt.Changed {
		t.Fatalf("first: %d %+v", a.status, first)
	}
	if a, again := put(enforce.Shift{Version: "v2", From: 10, Weight: 25, Generation: 5, Key: "a"}); a.status != http.StatusOK || !again.Replayed || again.Receipt != first.Receipt {
		t.Errorf("the same key again: %d %+v; want the first receipt", a.status, again)
	}
	for name, c := range map[string]struct {
		shift  enforce.Shift
		status int
	}{
		"key for something else": {enforce.Shift{Version: "v2", From: 25, Weight: 50, Generation: 5, Key: "a"}, http.StatusConflict},
		"older generation":       {enforce.Shift{Version: "v2", From: 25, Weight: 50, Generation: 4, Key: "b"}, http.StatusConflict},
		"wrong share before":     {enforce.Shift{Version: "v2", From: 10, Weight: 50, Generation: 5, Key: "c"}, http.StatusConflict},
		"unknown version":        {enforce.Shift{Version: "v9", From: 10, Weight: 50, Generation: 5, Key: "d"}, http.StatusNotFound},
		"no key":                 {enforce.Shift{Version: "v2", From: 25, Weight: 50, Generation: 5}, http.StatusBadRequest},
		"no generation":          {enforce.Shift{Version: "v2", From: 25, Weight: 50, Key: "e"}, http.StatusBadRequest},
		"too much":               {enforce.Shift{Version: "v2", From: 25, Weight: 101, Generation: 5, Key: "f"}, http.StatusBadRequest},
	} {
		if a, _ := put(c.shift); a.status != c.status {
			t.Errorf("%s: %d %s; want %d", name, a.status, a.body, c.status)
		}
	}
	if v := d.version("v2"); v.Percent != 25 {
		t.Errorf("v2 has %d %%; refused shifts must change nothing", v.Percent)
	}
}

func TestControlNeedsItsToken(t *testing.T) {
	d, _ := twoVersions(t, 0)
	for _, path := range []string{"/v1/status", "/v1/config", "/metrics"} {
		for _, auth := range []string{"", "Bearer wrong-token-wrong-token", "Basic " + token} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.control+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", auth)
			if a := d.do(req); a.status != http.StatusUnauthorized {
				t.Errorf("%s with %q answered %d; want 401", path, auth, a.status)
			}
		}
	}
	if a := d.get("/v1/status"); a.body != "v1" {
		t.Errorf("the data listener answered %q on a control path; want the version behind it", a.body)
	}
}

func TestForwardedHeadersAreOurs(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprint("trusted ", trusted), func(t *testing.T) {
			s := newSigner(t)
			var got http.Header
			b := backend(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })
			d := open(t, shop(version(t, s, "v1", b, 100)), s, func(o *proxy.Options) {
				if trusted {
					o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				}
			})
			d.get("/", "X-Forwarded-For", "203.0.113.7", "X-Forwarded-Proto", "https", "X-Forwarded-User", "root", "X-Real-Ip", "203.0.113.7",
				"X_Forwarded_For", "203.0.113.7", "X-Original-Uri", "/admin", "Forwarded", "for=203.0.113.7",
				"Connection", "X-Secret", "X-Secret", "hop", "Keep-Alive", "timeout=5", "Proxy-Authorization", "x", "Te", "gzip")
			for _, name := range []string{"X-Forwarded-User", "X-Real-Ip", "X_forwarded_for", "X-Original-Uri", "X-Secret", "Keep-Alive", "Proxy-Authorization", "Connection", "Te", "Upgrade"} {
				if v, there := got[name]; there {
					t.Errorf("the backend got %s: %q", name, v)
				}
			}
			wantFor, wantProto := "127.0.0.1", "http"
			if trusted {
				wantFor, wantProto = "203.0.113.7, 127.0.0.1", "https"
			}
			if f, p := got.Get("X-Forwarded-For"), got.Get("X-Forwarded-Proto"); f != wantFor || p != wantProto {
				t.Errorf("the backend got X-Forwarded-For %q and -Proto %q; want %q and %q", f, p, wantFor, wantProto)
			}
			if _, there := got["Forwarded"]; there != trusted {
				t.Errorf("Forwarded passed: %v", there)
			}
		})
	}
}
