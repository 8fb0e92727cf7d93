package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
	"assay.dev/assay/enforce/proxy"
)

// page is the proxy's own metrics.
func (d *door) page() string {
	d.t.Helper()
	return d.call(http.MethodGet, "/metrics", nil, nil).body
}

// metric waits until a series has a value: copies are sent after the answer.
func (d *door) metric(series, want string) {
	d.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	line := ""
	for time.Now().Before(deadline) {
		for l := range strings.Lines(d.page()) {
			if rest, ok := strings.CutPrefix(l, series+" "); ok {
				line = strings.TrimSpace(rest)
			}
		}
		if line == want {
			return
		}
	}
	d.t.Errorf("%s is %q, want %s", series, line, want)
}

func pairs(metric, version string) string {
	return fmt.Sprintf(`%s{service="shop",route="shop",version="%s"}`, metric, version)
}

func mirrored(m enforce.Mirror, versions ...enforce.Version) enforce.Config {
	c := shop(versions...)
	c.Routes[0].Mirror = &m
	return c
}

func TestACopyIsSentAndItsAnswerIsThrownAway(t *testing.T) {
	s := newSigner(t)
	seen := make(chan *http.Request, 8)
	v2 := backend(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		http.SetCookie(w, &http.Cookie{Name: "from", Value: "v2"})
		w.WriteHeader(http.StatusInternalServerError)
	})
	d := open(t, mirrored(enforce.Mirror{Version: "v2", Percent: 100},
		version(t, s, "v1", backend(t, says("old")), 100), version(t, s, "v2", v2, 0)), s)

	a := d.get("/cart?id=7", "Authorization", "Bearer user")
	if a.status != http.StatusOK || a.body != "old" || a.header.Get("Set-Cookie") != "" {
		t.Fatalf("the client got %d %q %v; want what v1 said", a.status, a.body, a.header)
	}
	copied := <-seen
	if copied.URL.RequestURI() != "/cart?id=7" || copied.Header.Get("Authorization") != "Bearer user" || copied.Header.Get("Assay-Mirrored") != "1" {
		t.Errorf("the copy is %s with %v", copied.URL, copied.Header)
	}
	// One pair: v2 was the worse one. Its failure is not held against its share.
	d.metric(pairs("assay_enforce_mirror_worse_total", "v2"), "1")
	d.metric(pairs("assay_enforce_mirror_worse_total", "v1"), "0")
	d.metric(pairs("assay_enforce_mirror_duration_seconds_count", "v1"), "1")
	d.metric(pairs("assay_enforce_mirror_duration_seconds_count", "v2"), "1")
	if v := d.version("v2"); v.Requests != 0 || v.Errors != 0 {
		t.Errorf("copies count as traffic: %+v", v)
	}
}

func TestAClientCannotCallItsRequestACopy(t *testing.T) {
	s := newSigner(t)
	live, copied := make(chan http.Header, 8), make(chan http.Header, 8)
	v1 := backend(t, func(_ http.ResponseWriter, r *http.Request) { live <- r.Header })
	v2 := backend(t, func(_ http.ResponseWriter, r *http.Request) { copied <- r.Header })
	d := open(t, mirrored(enforce.Mirror{Version: "v2", Percent: 100}, version(t, s, "v1", v1, 100), version(t, s, "v2", v2, 0)), s)
	for _, spelling := range []string{"Assay-Mirrored", "assay_mirrored", "ASSAY_Mirrored"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.data+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header[spelling] = []string{"1"}
		d.do(req)
		for where, headers := range map[string]http.Header{"live": <-live, "copy": <-copied} {
			var seen []string
			for name, values := range headers {
				if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "Assay-Mirrored") {
					seen = append(seen, append(values, name)...)
				}
			}
			want := ""
			if where == "copy" {
				want = "1 Assay-Mirrored"
			}
			if got := strings.Join(seen, " "); got != want {
				t.Errorf("%s: the %s request has %q, want %q", spelling, where, got, want)
			}
		}
	}
}

func TestTheStatusShowsRules(t *testing.T) {
	s := newSigner(t)
	conf := mirrored(enforce.Mirror{Version: "v2", Percent: 40}, version(t, s, "v1", backend(t, says("old")), 100), version(t, s, "v2", backend(t, says("new")), 0))
	match := enforce.Match{Header: "Beta", Value: "yes", Version: "v2"}
	conf.Routes[0].Matches = []enforce.Match{match}
	d := open(t, conf, s)
	if v := d.version("v2"); len(v.Matches) != 1 || v.Matches[0] != match || v.Mirror == nil || v.Mirror.Percent != 40 {
		t.Errorf("v2 is shown with %+v and %+v", v.Matches, v.Mirror)
	}
	if v := d.version("v1"); len(v.Matches) != 0 || v.Mirror != nil {
		t.Errorf("v1 is shown with rules of v2: %+v and %+v", v.Matches, v.Mirror)
	}
}

func TestOnlyNamedMethodsAreCopied(t *testing.T) {
	s := newSigner(t)
	bodies := make(chan string, 8)
	record := func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- r.Method + " " + string(body)
	}
	post := func(d *door, body string) {
		t.Helper()
		res, err := http.Post("http://"+d.data+"/orders", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if a := read(t, res); a.status != http.StatusOK {
			t.Fatalf("POST answered %d %s", a.status, a.body)
		}
	}
	v1, v2 := version(t, s, "v1", backend(t, says("old")), 100), version(t, s, "v2", backend(t, record), 0)

	d := open(t, mirrored(enforce.Mirror{Version: "v2", Percent: 100}, v1, v2), s)
	post(d, "pay")
	d.get("/")
	if got := <-bodies; got != "GET " {
		t.Errorf("copied %q; by default a POST is not", got)
	}

	d = open(t, mirrored(enforce.Mirror{Version: "v2", Percent: 100, Methods: []string{"POST"}}, v1, v2), s)
	d.get("/")
	post(d, "pay")
	if got := <-bodies; got != "POST pay" {
		t.Errorf("copied %q, want the POST with its body", got)
	}
	post(d, strings.Repeat("x", 65<<10)) // larger than what is kept
	d.metric("assay_enforce_mirror_dropped_total", "1")
}

func TestAHangingMirrorNeitherSlowsNorFailsAnybody(t *testing.T) {
	s := newSigner(t)
	gate := make(chan struct{})
	var copied atomic.Int64
	slow := backend(t, func(http.ResponseWriter, *http.Request) {
		copied.Add(1)
		<-gate
	})
	d := open(t, mirrored(enforce.Mirror{Version: "v2", Percent: 100},
		version(t, s, "v1", backend(t, says("old")), 100), version(t, s, "v2", slow, 0)), s,
		func(o *proxy.Options) { o.Limits.Copies = 2 })
	defer close(gate)
	for i := range 10 {
		if a := d.get("/"); a.status != http.StatusOK || a.body != "old" {
			t.Fatalf("request %d answered %d %q while copies hang", i, a.status, a.body)
		}
	}
	d.metric("assay_enforce_mirror_dropped_total", "8") // two are under way, and no more are taken
	if n := copied.Load(); n > 2 {
		t.Errorf("%d copies were under way, at most 2 are allowed", n)
	}
	d.stop() // ends the copies under way; would hang otherwise
}

func TestAVersionThatMayNotEnterGetsNoCopies(t *testing.T) {
	s := newSigner(t)
	d := open(t, shop(version(t, s, "v1", backend(t, says("old")), 100)), s)
	conf := mirrored(enforce.Mirror{Version: "v2", Percent: 100}, version(t, s, "v1", backend(t, says("old")), 100),
		enforce.Version{Name: "v2", Digest: digest("v2"), Backend: backend(t, says("new"))})
	a := d.call(http.MethodPut, "/v1/config", enforce.Replacement{Generation: 1, Key: "k", Config: conf}, nil)
	if a.status != http.StatusForbidden || a.problem(t).Refusal == nil {
		t.Errorf("copies to what nobody attested: %d %s", a.status, a.body)
	}
}

func TestRulesChangeWhileRequestsFlow(t *testing.T) {
	s := newSigner(t)
	versions := []enforce.Version{version(t, s, "v1", backend(t, says("old")), 100), version(t, s, "v2", backend(t, says("new")), 0)}
	d := open(t, shop(versions...), s)
	if a := d.get("/", "Beta", "yes"); a.body != "old" {
		t.Fatalf("without a rule: %q", a.body)
	}
	conf := shop(versions...)
	base, err := conf.Digest()
	if err != nil {
		t.Fatal(err)
	}
	conf.Routes[0].Matches = []enforce.Match{{Header: "Beta", Value: "yes", Version: "v2"}, {Cookie: "group", Value: "b", Version: "v2"}}
	conf.Routes[0].Mirror = &enforce.Mirror{Version: "v2", Percent: 100}
	first := enforce.Replacement{Generation: 1, Key: "rules", Config: conf, Base: base}
	if a := d.call(http.MethodPut, "/v1/config", first, nil); a.status != http.StatusOK {
		t.Fatalf("rules refused: %d %s", a.status, a.body)
	}
	for header, want := range map[[2]string]string{
		{"Beta", "yes"}: "new", {"Beta", "no"}: "old", {"Cookie", "group=b"}: "new", {"Cookie", "group=a"}: "old",
	} {
		if a := d.get("/", header[0], header[1]); a.body != want {
			t.Errorf("%s: %s is answered by %q, want %q", header[0], header[1], a.body, want)
		}
	}
	d.metric(pairs("assay_enforce_mirror_worse_total", "v2"), "0")

	// Somebody who made his change from the old configuration would undo the rules.
	stale := enforce.Replacement{Generation: 1, Key: "other", Config: shop(versions...), Base: base}
	if a := d.call(http.MethodPut, "/v1/config", stale, nil); a.status != http.StatusConflict {
		t.Errorf("a change of an older configuration is answered %d %s", a.status, a.body)
	}
	if a := d.call(http.MethodPut, "/v1/config", first, nil); a.status != http.StatusOK {
		t.Errorf("the same change again is answered %d %s", a.status, a.body)
	}
	stale.Base, stale.Key = "", "back"
	if a := d.call(http.MethodPut, "/v1/config", stale, nil); a.status != http.StatusOK {
		t.Fatalf("rules cannot be taken back: %d %s", a.status, a.body)
	}
	if a := d.get("/", "Beta", "yes"); a.body != "old" {
		t.Errorf("after the rules: %q", a.body)
	}
}

func TestRulesThatCannotBeAreRefused(t *testing.T) {
	s := newSigner(t)
	v1 := version(t, s, "v1", "http://127.0.0.1:9", 100)
	for name, change := range map[string]func(*enforce.Route){
		"neither header nor cookie": func(r *enforce.Route) { r.Matches = []enforce.Match{{Value: "x", Version: "v1"}} },
		"both": func(r *enforce.Route) {
			r.Matches = []enforce.Match{{Header: "A", Cookie: "b", Value: "x", Version: "v1"}}
		},
		"no value":           func(r *enforce.Route) { r.Matches = []enforce.Match{{Header: "A", Version: "v1"}} },
		"an unknown version": func(r *enforce.Route) { r.Matches = []enforce.Match{{Header: "A", Value: "x", Version: "v9"}} },
		"too many rules": func(r *enforce.Route) {
			r.Matches = make([]enforce.Match, enforce.MaxMatches+1)
		},
		"a mirror of 0 %":     func(r *enforce.Route) { r.Mirror = &enforce.Mirror{Version: "v1"} },
		"a mirror of 101 %":   func(r *enforce.Route) { r.Mirror = &enforce.Mirror{Version: "v1", Percent: 101} },
		"a mirror to nowhere": func(r *enforce.Route) { r.Mirror = &enforce.Mirror{Version: "v9", Percent: 1} },
		"an unknown method": func(r *enforce.Route) {
			r.Mirror = &enforce.Mirror{Version: "v1", Percent: 1, Methods: []string{"BREW"}}
		},
	} {
		c := shop(v1)
		change(&c.Routes[0])
		if code := assay.CodeOf(c.Check()); code != assay.CodeInvalid && code != assay.CodeTooLarge {
			t.Errorf("%s: %v", name, c.Check())
		}
	}
}
