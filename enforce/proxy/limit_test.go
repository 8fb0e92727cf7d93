package proxy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
	"assay.dev/assay/enforce/proxy"
)

// levered is the shop with levers on its route.
func levered(l enforce.Levers, versions ...enforce.Version) enforce.Config {
	c := shop(versions...)
	c.Routes[0].Levers = &l
	return c
}

func classes() enforce.Levers {
	return enforce.Levers{
		Limits:      []assay.Lever{assay.LeverConcurrency, assay.LeverRateLimit},
		ClassHeader: "X-Class", TenantHeader: "X-Tenant", Source: enforce.Sticky{By: enforce.ByClient},
		Classes: []enforce.Class{{Name: "checkout", Critical: true, Paths: []string{"/pay"}}, {Name: "batch"}},
	}
}

// pull moves a lever from where it stands and demands that it works.
func (d *door) pull(lever assay.Lever, scope string, want float64) enforce.Receipt {
	d.t.Helper()
	x := enforce.Pull{Lever: lever, Scope: scope, Now: d.stands(lever, scope), Want: want, Generation: 1, Key: fmt.Sprint(lever, scope, want, time.Now().UnixNano())}
	var out enforce.Answer
	if a := d.call(http.MethodPut, "/v1/routes/shop/lever", x, &out); a.status != http.StatusOK {
		d.t.Fatalf("%s of %q to %v answered %d: %s", lever, scope, want, a.status, a.body)
	}
	if got := d.stands(lever, scope); got != want {
		d.t.Fatalf("%s of %q stands at %v, want %v", lever, scope, got, want)
	}
	return out.Receipt
}

func (d *door) route() enforce.RouteStatus {
	d.t.Helper()
	var s enforce.Status
	d.call(http.MethodGet, "/v1/status", nil, &s)
	return s.Routes[0]
}

func (d *door) stands(lever assay.Lever, scope string) float64 {
	d.t.Helper()
	any := 0.0
	for _, l := range d.route().Levers {
		if l.Lever == lever && l.Scope == scope {
			return l.Value
		}
		if l.Lever == lever && l.Scope == enforce.AnyScope {
			any = l.Value
		}
	}
	return any
}

func (d *door) metrics() string {
	d.t.Helper()
	return d.call(http.MethodGet, "/metrics", nil, nil).body
}

// held demands that an answer is that of a lever.
func held(t *testing.T, a *answer, status int, reason string) {
	t.Helper()
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != status || a.header.Get("Assay-Reason") != reason || err != nil || wait < 1 {
		t.Errorf("status %d, reason %q, Retry-After %q; want %d, %s and seconds", a.status, a.header.Get("Assay-Reason"), a.header.Get("Retry-After"), status, reason)
	}
	if p := a.problem(t); p.Status != status || p.Detail == "" {
		t.Errorf("the problem is %+v", p)
	}
}

func TestAClassIsHeldAndACriticalOneNeverIs(t *testing.T) {
	s := newSigner(t)
	d := open(t, levered(classes(), version(t, s, "v1", backend(t, says("v1")), 100)), s)
	if a := d.get("/", "X-Class", "batch"); a.status != http.StatusOK {
		t.Fatalf("at rest batch gets %d: %s", a.status, a.body)
	}
	d.pull(assay.LeverClass, "batch", 0)
	held(t, d.get("/", "X-Class", "batch"), http.StatusServiceUnavailable, "class")
	for _, a := range []*answer{d.get("/pay"), d.get("/", "X-Class", "checkout"), d.get("/")} {
		if a.status != http.StatusOK {
			t.Errorf("what is not batch gets %d: %s", a.status, a.body)
		}
	}
	a := d.call(http.MethodPut, "/v1/routes/shop/lever", enforce.Pull{Lever: assay.LeverClass, Scope: "checkout", Now: 100, Want: 0, Generation: 1, Key: "never"}, nil)
	if p := a.problem(t); p.Code != assay.CodeDenied {
		t.Errorf("dropping a critical class is answered %+v", p)
	}
	d.pull(assay.LeverClass, "batch", 100)
	if a := d.get("/", "X-Class", "batch"); a.status != http.StatusOK {
		t.Errorf("given back, batch gets %d", a.status)
	}
	m := d.metrics()
	for _, want := range []string{
		`assay_enforce_held_total{service="shop",route="shop",reason="class"} 1`,
		`assay_enforce_refused_total{result="class"} 1`,
		`assay_enforce_class_requests_total{service="shop",route="shop",class="batch",result="held"} 1`,
		`assay_enforce_class_requests_total{service="shop",route="shop",class="batch",result="2xx"} 2`,
		`assay_enforce_class_requests_total{service="shop",route="shop",class="checkout",result="2xx"} 2`,
		`assay_enforce_lever{service="shop",route="shop",lever="class-admission",scope="batch"} 100`,
	} {
		if !strings.Contains(m, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestAPartOfAClassIsLetInByClient(t *testing.T) {
	s := newSigner(t)
	d := open(t, levered(classes(), version(t, s, "v1", backend(t, says("v1")), 100)), s)
	d.pull(assay.LeverClass, "batch", 40)
	in := 0
	for i := range 200 {
		user := fmt.Sprint("user-", i)
		first := d.get("/", "X-Class", "batch", "User", user).status
		if again := d.get("/", "X-Class", "batch", "User", user).status; again != first {
			t.Fatalf("%s gets %d and then %d", user, first, again)
		}
		if first == http.StatusOK {
			in++
		}
	}
	if in < 52 || in > 108 { // 40 % of 200, four standard deviations are 28
		t.Errorf("%d of 200 clients are let in at 40 %%", in)
	}
}

// stopped is a clock that moves only when it is told to.
func stopped() (use func(*proxy.Options), skip func(time.Duration)) {
	began := time.Now()
	var passed atomic.Int64
	use = func(o *proxy.Options) { o.Now = func() time.Time { return began.Add(time.Duration(passed.Load())) } }
	return use, func(d time.Duration) { passed.Add(int64(d)) }
}

func TestATenantAboveItsQuotaIsHeldAndOthersAreNot(t *testing.T) {
	s := newSigner(t)
	clock, skip := stopped()
	d := open(t, levered(classes(), version(t, s, "v1", backend(t, says("v1")), 100)), s, clock)
	d.pull(assay.LeverQuota, "acme", 5)
	for i := range 5 {
		if a := d.get("/", "X-Tenant", "acme"); a.status != http.StatusOK {
			t.Fatalf("request %d of a quota of 5 gets %d", i, a.status)
		}
	}
	held(t, d.get("/pay", "X-Tenant", "acme"), http.StatusTooManyRequests, "tenant_quota") // critical or not
	if a := d.get("/", "X-Tenant", "other"); a.status != http.StatusOK {
		t.Errorf("another tenant gets %d", a.status)
	}
	skip(400 * time.Millisecond) // two more at 5 a second
	for _, want := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests} {
		if a := d.get("/", "X-Tenant", "acme"); a.status != want {
			t.Errorf("after 0.4 s it gets %d, want %d", a.status, want)
		}
	}
	d.pull(assay.LeverQuota, "acme", 0)
	if a := d.get("/", "X-Tenant", "acme"); a.status != http.StatusOK {
		t.Errorf("without a quota it gets %d", a.status)
	}
}

func TestARateIsForAllAndCriticalRequestsUseItUp(t *testing.T) {
	s := newSigner(t)
	clock, skip := stopped()
	d := open(t, levered(classes(), version(t, s, "v1", backend(t, says("v1")), 100)), s, clock)
	d.pull(assay.LeverRateLimit, "", 4)
	for range 20 {
		if a := d.get("/pay"); a.status != http.StatusOK {
			t.Fatalf("a critical request gets %d", a.status)
		}
	}
	held(t, d.get("/"), http.StatusTooManyRequests, "rate_limit")
	skip(300 * time.Millisecond) // what critical requests took beyond the rate is forgotten, not owed
	if a := d.get("/"); a.status != http.StatusOK {
		t.Errorf("0.3 s later, at 4 a second, it gets %d", a.status)
	}
}

func TestConcurrencyIsLimitedAndANewLimitCountsThoseUnderWay(t *testing.T) {
	s := newSigner(t)
	entered, leave := make(chan struct{}, 16), make(chan struct{})
	slow := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-leave
		fmt.Fprint(w, "done")
	})
	d := open(t, levered(classes(), version(t, s, "v1", slow, 100)), s)
	var wg sync.WaitGroup
	under := func() {
		wg.Go(func() {
			if a := d.get("/"); a.status != http.StatusOK {
				t.Errorf("a request that was let in gets %d: %s", a.status, a.body)
			}
		})
		<-entered
	}
	under()
	under()
	d.pull(assay.LeverConcurrency, "", 2)
	held(t, d.get("/"), http.StatusServiceUnavailable, "concurrency")
	wg.Go(func() {
		if a := d.get("/pay"); a.status != http.StatusOK {
			t.Errorf("a critical request gets %d", a.status)
		}
	})
	<-entered
	d.pull(assay.LeverConcurrency, "", 4)
	under()
	held(t, d.get("/"), http.StatusServiceUnavailable, "concurrency")
	close(leave)
	wg.Wait()
	if a := d.get("/"); a.status != http.StatusOK {
		t.Errorf("when all have left it gets %d", a.status)
	}
	if m := d.metrics(); !strings.Contains(m, `assay_enforce_route_in_flight{service="shop",route="shop"} 0`) {
		t.Error("requests are counted as under way although all have left")
	}
}

func TestASourceIsCutOffWithEvidenceAndLetInAtOnce(t *testing.T) {
	s := newSigner(t)
	l := classes()
	l.Source = enforce.Sticky{By: enforce.ByHeader, Name: "X-Key"}
	d := open(t, levered(l, version(t, s, "v1", backend(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusNotFound) }), 100)), s)
	for i := range 20 {
		d.get(fmt.Sprint("/probe-", i, "?secret=1"), "X-Key", "mallory")
	}
	d.pull(assay.LeverQuarantine, "mallory", 1)
	for range 3 {
		held(t, d.get("/pay", "X-Key", "mallory"), http.StatusTooManyRequests, "quarantine")
	}
	if a := d.get("/", "X-Key", "alice"); a.status != http.StatusNotFound {
		t.Errorf("another source gets %d", a.status)
	}
	var e *enforce.Evidence
	for _, x := range d.route().Levers {
		if x.Scope == "mallory" {
			e = x.Evidence
		}
	}
	if e == nil || e.Results["4xx"] != 20 || e.Results["held"] != 3 || len(e.Samples) == 0 || e.Samples[len(e.Samples)-1].Path != "/probe-19" {
		t.Errorf("the evidence is %+v; want 20 times 4xx, 3 times held and its newest requests before it was cut off, without queries", e)
	}
	d.pull(assay.LeverQuarantine, "tenant:acme", 1)
	held(t, d.get("/", "X-Tenant", "acme"), http.StatusTooManyRequests, "quarantine")
	d.pull(assay.LeverQuarantine, "mallory", 0)
	if a := d.get("/", "X-Key", "mallory"); a.status != http.StatusNotFound {
		t.Errorf("let in again, it gets %d", a.status)
	}
}

func TestANetworkIsCutOff(t *testing.T) {
	s := newSigner(t)
	d := open(t, levered(classes(), version(t, s, "v1", backend(t, says("v1")), 100)), s)
	d.pull(assay.LeverQuarantine, "127.0.0.0/8", 1)
	held(t, d.get("/"), http.StatusTooManyRequests, "quarantine")
	d.pull(assay.LeverQuarantine, "127.0.0.0/8", 0)
	d.pull(assay.LeverQuarantine, "10.0.0.0/8", 1)
	if a := d.get("/"); a.status != http.StatusOK {
		t.Errorf("another network gets %d", a.status)
	}
}

func TestARegionGetsItsShareAndKeepsAProbe(t *testing.T) {
	s := newSigner(t)
	v := version(t, s, "v1", "", 100)
	v.Places = []enforce.Place{{Region: "eu", Backend: backend(t, says("eu"))}, {Region: "us", Backend: backend(t, says("us"))}}
	l := enforce.Levers{Regions: []enforce.Region{{Name: "eu", Share: 50}, {Name: "us", Share: 50}}}
	d := open(t, levered(l, v), s)
	count := func() (eu int) {
		for i := range 400 {
			switch a := d.get("/", "User", fmt.Sprint("user-", i)); a.body {
			case "eu":
				eu++
			case "us":
			default:
				t.Fatalf("status %d: %s", a.status, a.body)
			}
		}
		return eu
	}
	before := count()
	d.pull(assay.LeverRegion, "eu", 5)
	after := count()
	if before < 160 || before > 240 || after < 4 || after > 40 { // four standard deviations are 40 and 17
		t.Errorf("eu serves %d and then %d of 400 clients; want about 200 and 20", before, after)
	}
	if got := d.stands(assay.LeverRegion, "us"); got != 95 {
		t.Errorf("us has %v percent, want 95", got)
	}
	if m := d.metrics(); !strings.Contains(m, fmt.Sprintf(`assay_enforce_region_requests_total{service="shop",route="shop",region="eu",result="2xx"} %d`, before+after)) {
		t.Error("the requests of eu are not counted")
	}
}

func TestClaimsAreBelievedFromTrustedProxiesAlone(t *testing.T) {
	s := newSigner(t)
	l := classes()
	l.Claims = enforce.ClaimsProxies
	d := open(t, levered(l, version(t, s, "v1", backend(t, says("v1")), 100)), s)
	d.pull(assay.LeverRateLimit, "", 1)
	d.get("/")
	held(t, d.get("/", "X-Class", "checkout"), http.StatusTooManyRequests, "rate_limit")
	if a := d.get("/pay"); a.status != http.StatusOK {
		t.Errorf("what is critical by its path gets %d", a.status)
	}
}

func TestNoPathClaimsTheClassOfAnother(t *testing.T) {
	s := newSigner(t)
	d := open(t, levered(classes(), version(t, s, "v1", backend(t, says("v1")), 100)), s)
	for _, path := range []string{
		"/pay/../search", "/pay/%2e%2e/search", "/pay/.%2E/search", "/pay/..;x=1/search", "/pay/%2f..%2fsearch", "/pay/./x", "/pay/..", `/pay/..\search`, "/pay/..%5csearch", `/pay\x`,
	} {
		if a := d.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"); a.status != http.StatusBadRequest {
			t.Errorf("%s is answered %d", path, a.status)
		}
	}
	for _, path := range []string{"/pay/.well-known/x", "/pay/..x", "/pay/x..", "/pay/a.b", "/pay/...", "/?next=/pay/../x"} {
		if a := d.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"); a.status != http.StatusOK {
			t.Errorf("%s is answered %d", path, a.status)
		}
	}
}

// A client that sends a new tenant with each request fills neither the memory nor the
// metrics, and does not hide the tenant that has most of the requests.
func TestABombOfTenantsIsBounded(t *testing.T) {
	s := newSigner(t)
	d := open(t, levered(classes(), version(t, s, "v1", backend(t, says("v1")), 100)), s)
	d.pull(assay.LeverClass, "batch", 0) // held at the door: the bomb reaches nobody, and is counted all the same
	const bomb = 3000
	for i := range bomb {
		d.get("/", "X-Class", "batch", "X-Tenant", fmt.Sprintf("bomb-%d\"\\", i))
		if i%10 == 0 {
			d.get("/", "X-Tenant", "acme")
		}
	}
	m := d.metrics()
	if n := strings.Count(m, `assay_enforce_tenant_requests_total{`); n > 600 {
		t.Errorf("%d series of tenants are exported", n)
	}
	if want := fmt.Sprintf(`tenant="acme",result="2xx"} %d`, bomb/10); !strings.Contains(m, want) {
		t.Errorf("the tenant with most requests is not told apart: no %s", want)
	}
	if !strings.Contains(m, `tenant="",result="held"}`) {
		t.Error("those that are not told apart are not counted")
	}
}

// Requests run all the time while limits are changed hundreds of times: each gets an
// answer of its version or of a lever, and none is lost.
func TestChangingLeversDropsNoRequest(t *testing.T) {
	s := newSigner(t)
	d := open(t, levered(classes(), version(t, s, "v1", backend(t, says("v1")), 100)), s)
	done := make(chan struct{})
	var wg sync.WaitGroup
	answers := make([]map[int]int, 4)
	for i := range answers {
		answers[i] = map[int]int{}
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				answers[i][d.get("/", "X-Class", "batch", "User", fmt.Sprint(i, n%50)).status]++ // get fails the test if there is none
			}
		})
	}
	for i := range 60 {
		d.pull(assay.LeverClass, "batch", float64(1+i%99))
		d.pull(assay.LeverConcurrency, "", float64(2+i%7))
	}
	close(done)
	wg.Wait()
	for _, m := range answers {
		for status, n := range m {
			if status != http.StatusOK && status != http.StatusServiceUnavailable {
				t.Errorf("%d requests got %d", n, status)
			}
		}
	}
}

func TestLeversOutliveTheProxy(t *testing.T) {
	s := newSigner(t)
	dir := t.TempDir()
	c := levered(classes(), version(t, s, "v1", backend(t, says("v1")), 100))
	d := open(t, c, s, func(o *proxy.Options) { o.Dir = dir })
	d.pull(assay.LeverClass, "batch", 0)
	d.stop()
	d = open(t, c, s, func(o *proxy.Options) { o.Dir = dir })
	held(t, d.get("/", "X-Class", "batch"), http.StatusServiceUnavailable, "class")
}

// TestLeversCostLittle reports what levers add to a request that they let in, as one
// line of JSON, and with ASSAY_BENCH=1 holds it to its bound: 10 µs at the median.
func TestLeversCostLittle(t *testing.T) {
	n, strict := 200, os.Getenv("ASSAY_BENCH") == "1"
	if strict {
		n = 20_000
	}
	s := newSigner(t)
	b := backend(t, says("v1"))
	bare := open(t, shop(version(t, s, "v1", b, 100)), s)
	full := open(t, levered(classes(), version(t, s, "v1", b, 100)), s)
	full.pull(assay.LeverConcurrency, "", 1000)
	full.pull(assay.LeverRateLimit, "", 1e6)
	full.pull(assay.LeverClass, "batch", 99.99)
	full.pull(assay.LeverQuota, "acme", 1e6)
	full.pull(assay.LeverQuarantine, "10.0.0.0/8", 1)
	took := [2][]time.Duration{}
	const round = 100
	for i := -2 * round; i < n; i += round { // the first rounds warm up and are not kept
		for a, d := range []*door{bare, full} {
			for range round {
				began := time.Now()
				d.get("/", "X-Class", "batch", "X-Tenant", "acme", "User", "u")
				if l := time.Since(began); i >= 0 {
					took[a] = append(took[a], l)
				}
			}
		}
	}
	without, with := figuresOf(took[0]), figuresOf(took[1])
	line, err := json.Marshal(map[string]figures{"without": without, "with": with})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("lever-overhead %s", line)
	if added := with.P50 - without.P50; strict && added >= 10 {
		t.Errorf("levers add %.1f µs at the median; the bound is 10 µs", added)
	}
}
