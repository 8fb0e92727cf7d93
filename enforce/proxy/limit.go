package proxy

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"assay.dev/assay/enforce"
)

// headerReason names, in the answer to a request that a lever held, which one it was.
const headerReason = "Assay-Reason"

// reason is why a lever held a request.
type reason int

const (
	reasonQuarantine reason = iota
	reasonQuota
	reasonClass
	reasonRate
	reasonConcurrency
	reasons
)

var reasonNames = [reasons]string{"quarantine", "tenant_quota", "class", "rate_limit", "concurrency"}

// held is the answer to a request that a lever holds.
type held struct {
	reason reason
	status int
	after  time.Duration // when to try again
	detail string
}

// How long those that are held are asked to wait, where nothing else says it.
const (
	waitCut  = 30 * time.Second
	waitRoom = time.Second
)

// gate is what a route's levers have counted. It outlives tables: a new limit finds
// what is under way and what was used a moment ago.
type gate struct {
	route, service string

	inFlight atomic.Int64
	rate     bucket
	quotas   map[string]*bucket // of tenants with a quota; guarded by Proxy.mu
	limited  [reasons]atomic.Uint64
	classes  map[string]*tally // guarded by Proxy.mu, as regions
	regions  map[string]*tally
	tenants  *crowd
	sources  *crowd
}

func newGate(w *enforce.Way) *gate {
	return &gate{
		route: w.Route.Name, service: w.Route.Service, quotas: map[string]*bucket{},
		classes: map[string]*tally{}, regions: map[string]*tally{}, tenants: newCrowd(), sources: newCrowd(),
	}
}

// limiter judges the requests of one route with one valve. It is part of a table.
type limiter struct {
	*gate
	valve   *enforce.Valve
	quotas  map[string]*bucket
	classes []*tally
	regions []*tally
}

// newLimiter lets a gate judge with another valve. Buckets and tallies that exist are
// used again.
func (g *gate) newLimiter(v *enforce.Valve) *limiter {
	l := &limiter{gate: g, valve: v, quotas: map[string]*bucket{}}
	for tenant := range v.Quotas() {
		if g.quotas[tenant] == nil {
			g.quotas[tenant] = new(bucket)
		}
		l.quotas[tenant] = g.quotas[tenant]
	}
	of := func(known map[string]*tally, name string) *tally {
		if known[name] == nil {
			known[name] = new(tally)
		}
		return known[name]
	}
	for _, c := range v.Levers.Classes {
		l.classes = append(l.classes, of(g.classes, c.Name))
	}
	for _, r := range v.Levers.Regions {
		l.regions = append(l.regions, of(g.regions, r.Name))
	}
	return l
}

// settle makes l the gate's only limiter: what it does not name is forgotten, and
// those that its levers name are told apart from now on.
func (g *gate) settle(l *limiter, now time.Time) {
	maps.DeleteFunc(g.quotas, func(tenant string, _ *bucket) bool { return l.quotas[tenant] == nil })
	maps.DeleteFunc(g.classes, func(_ string, t *tally) bool { return !slices.Contains(l.classes, t) })
	maps.DeleteFunc(g.regions, func(_ string, t *tally) bool { return !slices.Contains(l.regions, t) })
	tenants, sources := l.valve.Named()
	g.tenants.pin(tenants, now)
	g.sources.pin(sources, now)
}

// visit is one request as the levers of its route see it, from enter to leave.
type visit struct {
	limiter *limiter
	class   *tally // nil where there is none, as the others
	tenant  *member
	source  *member
	region  *tally
	method  string
	path    string
	began   time.Time
	counted bool
}

// enter lets a request in or says why not. One that is let in must leave.
func (l *limiter) enter(p *Proxy, w *enforce.Way, r *http.Request, now time.Time) (*visit, *held) {
	x := l.visitor(p, r)
	v := &visit{limiter: l, method: r.Method, path: r.URL.Path, began: now}
	if x.Class >= 0 {
		v.class = l.classes[x.Class]
	}
	if x.Tenant != "" {
		v.tenant = l.tenants.of(x.Tenant, now)
	}
	if x.Source != "" {
		v.source = l.sources.of(x.Source, now)
	}
	if h := l.judge(p, w, r, x, now); h != nil {
		l.limited[h.reason].Add(1)
		v.count(resultHeld)
		return nil, h
	}
	return v, nil
}

// visitor reads who sends a request, as far as it may be believed.
func (l *limiter) visitor(p *Proxy, r *http.Request) enforce.Visitor {
	levers := l.valve.Levers
	believed := levers.Claims != enforce.ClaimsProxies || p.trusted(r.RemoteAddr)
	claimed := func(header string) string {
		if header == "" || !believed {
			return ""
		}
		if s := r.Header.Get(header); len(s) <= enforce.MaxScope && s != enforce.AnyScope {
			return s
		}
		return ""
	}
	x := enforce.Visitor{Class: levers.Classify(claimed, r.URL.Path), Tenant: claimed(levers.TenantHeader)}
	switch levers.Source.By {
	case enforce.ByClient:
		x.Source = p.client(r)
	case enforce.ByHeader:
		x.Source = claimed(levers.Source.Name)
	case enforce.ByCookie:
		if c, err := r.Cookie(levers.Source.Name); err == nil && believed && len(c.Value) <= enforce.MaxScope {
			x.Source = c.Value
		}
	}
	return x
}

// judge asks the levers one after the other: who it is, then what it is, then whether
// there is room. A critical class has room in any case, and uses it.
func (l *limiter) judge(p *Proxy, w *enforce.Way, r *http.Request, x enforce.Visitor, now time.Time) *held {
	if l.valve.Cut(x) != "" {
		return &held{reasonQuarantine, http.StatusTooManyRequests, waitCut, "this source is cut off for now"}
	}
	if quota := l.valve.Quota(x.Tenant); quota > 0 {
		if wait := l.quotas[x.Tenant].take(now, quota, false); wait > 0 {
			return &held{reasonQuota, http.StatusTooManyRequests, wait, "the tenant's quota is used up"}
		}
	}
	critical := l.valve.Critical(x.Class)
	if !critical {
		var client enforce.Key
		if l.valve.Partial(x.Class) {
			client = p.keyOf(w.Route, r)
		}
		if !l.valve.Admits(x.Class, client) {
			return &held{reasonClass, http.StatusServiceUnavailable, waitRoom, "requests of this class have no room now"}
		}
	}
	if l.valve.Rate > 0 {
		if wait := l.rate.take(now, l.valve.Rate, critical); wait > 0 {
			return &held{reasonRate, http.StatusTooManyRequests, wait, "too many requests a second"}
		}
	}
	if n := l.inFlight.Add(1); l.valve.Concurrency > 0 && !critical && float64(n) > max(1, math.Floor(l.valve.Concurrency)) {
		l.inFlight.Add(-1)
		return &held{reasonConcurrency, http.StatusServiceUnavailable, waitRoom, "too many requests at once"}
	}
	return nil
}

// leave ends a visit that was let in.
func (v *visit) leave() { v.limiter.inFlight.Add(-1) }

// count notes what came of the visit. A nil visit counts nothing.
func (v *visit) count(r result) {
	if v == nil || v.counted {
		return
	}
	v.counted = true
	for _, t := range []*tally{v.class, v.region} {
		if t != nil {
			t[r].Add(1)
		}
	}
	if v.tenant != nil {
		v.tenant.results[r].Add(1)
	}
	if v.source != nil {
		v.source.results[r].Add(1)
		v.source.keep(enforce.Sample{Time: v.began.UTC(), Method: v.method, Path: v.path, Result: tallyNames[r]})
	}
}

// hold answers a request that a lever holds.
func (p *Proxy) hold(w http.ResponseWriter, h *held) {
	seconds := int64(min(math.Ceil(h.after.Seconds()), 3600))
	w.Header().Set("Retry-After", strconv.FormatInt(max(seconds, 1), 10))
	w.Header().Set(headerReason, reasonNames[h.reason])
	p.refuse(w, h.status, reasonNames[h.reason], fmt.Sprintf("%s; try again in %d s", h.detail, max(seconds, 1)))
}

// bucket spaces requests by a rate, with as many at once as the rate has in a second.
// It remembers one number, the time at which all that was taken would have come at the
// even pace, so that another rate goes on from there. The zero bucket is full.
type bucket struct{ due atomic.Int64 }

// burst is how far ahead of the even pace requests may come.
const burst = int64(time.Second)

// take takes one request and returns 0, or returns for how long there is none. With
// force there always is one, at the cost of those that come after.
func (b *bucket) take(now time.Time, rate float64, force bool) time.Duration {
	step := int64(min(1e9/rate, 1e15))
	room := max(burst, step)
	at := now.UnixNano()
	for {
		old := b.due.Load()
		next := max(old, at) + step
		if next-at > room {
			if !force {
				return time.Duration(next - at - room)
			}
			next = max(old, at+room)
		}
		if b.due.CompareAndSwap(old, next) {
			return 0
		}
	}
}
