package proxy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
)

// ServeHTTP implements http.Handler: it answers one request of the data listener.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := p.table.Load()
	if !p.wellFormed(w, r) {
		return
	}
	way := t.snap.Match(r.Host, r.URL.Path)
	if way == nil {
		p.refuse(w, http.StatusNotFound, "no_route", "no route takes this host and path")
		return
	}
	now := p.now()
	var v *visit
	if l := t.limiters[way]; l != nil {
		var h *held
		if v, h = l.enter(p, way, r, now); h != nil {
			p.hold(w, h)
			return
		}
		defer v.leave()
	}
	target := choose(way, r, p)
	if target == nil {
		p.refuse(w, http.StatusServiceUnavailable, "no_version", "no version of route "+way.Route.Name+" has traffic")
		v.count(result5xx)
		return
	}
	refusal, pass := target.Enter(now)
	if refusal != nil {
		p.entries.record(target, *refusal, now, p.log)
	}
	if !pass {
		p.refusals.count("entry")
		v.count(result4xx)
		writeProblem(w, enforce.Problem{
			Title: http.StatusText(http.StatusForbidden), Status: http.StatusForbidden, Code: assay.CodeDenied,
			Detail: refusal.Err(target.Version.Name).Error(), Refusal: refusal,
		})
		return
	}
	d := t.doors[target.Index]
	if len(d.regions) > 0 {
		i := way.Valve.Region(p.keyOf(way.Route, r))
		d, v.region = d.regions[i], v.limiter.regions[i]
	}
	x := d.serve(w, r, now, v)
	if m := t.mirrors[way]; m != nil && x != nil && target != way.Mirrored() {
		m.offer(x, r, now)
	}
}

// choose finds the version of a request: by the route's rules, then by its shares.
func choose(way *enforce.Way, r *http.Request, p *Proxy) *enforce.Target {
	if len(way.Route.Matches) > 0 {
		target := way.Matched(func(m enforce.Match) string {
			if m.Header != "" {
				return r.Header.Get(m.Header)
			}
			c, err := r.Cookie(m.Cookie)
			if err != nil {
				return ""
			}
			return c.Value
		})
		if target != nil {
			return target
		}
	}
	return way.Choose(p.keyOf(way.Route, r))
}

// wellFormed refuses what no backend should see. The guard has judged the framing.
func (p *Proxy) wellFormed(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == refusedMethod {
		v := refusal(r)
		if v == nil {
			v = bad("the method %s is not served", refusedMethod)
		}
		w.Header().Set("Connection", "close")
		p.refuse(w, v.status, "malformed", v.detail)
		return false
	}
	switch upgrade := r.Header.Get("Upgrade"); {
	case r.Method == http.MethodTrace || r.Method == http.MethodConnect:
		p.refuse(w, http.StatusMethodNotAllowed, "method", "the method "+r.Method+" is not served")
		return false
	case upgrade != "" && !strings.EqualFold(upgrade, "h2c"):
		// An upgraded connection is a tunnel: what passes it could not be counted or judged.
		p.refuse(w, http.StatusBadRequest, "upgrade", "this proxy does not upgrade connections")
		return false
	case len(r.RequestURI) == 0 || r.RequestURI[0] != '/':
		p.refuse(w, http.StatusBadRequest, "malformed", "the request target is not a path")
		return false
	case !plainPath(r.URL.Path):
		p.refuse(w, http.StatusBadRequest, "malformed", `the path has a segment "." or "..", or a backslash: this proxy and its backends could read two paths from it`)
		return false
	}
	return true
}

// plainPath refuses decoded paths that servers read differently: one that means
// /search to a backend must not have the route or the class of /pay here. Some servers
// take what follows a semicolon as a parameter of the segment.
func plainPath(path string) bool {
	if !strings.Contains(path, "/.") {
		return !strings.Contains(path, `\`)
	}
	for segment := range strings.SplitSeq(path, "/") {
		name, _, _ := strings.Cut(segment, ";")
		if name == "." || name == ".." {
			return false
		}
	}
	return !strings.Contains(path, `\`)
}

// keyOf is the identity that holds a request's client to its version.
func (p *Proxy) keyOf(r enforce.Route, req *http.Request) enforce.Key {
	var id string
	switch r.Sticky.By {
	case enforce.ByHeader:
		id = req.Header.Get(r.Sticky.Name)
	case enforce.ByCookie:
		if c, err := req.Cookie(r.Sticky.Name); err == nil {
			id = c.Value
		}
	case enforce.ByClient:
		id = p.client(req)
	}
	if id == "" {
		return enforce.Key(rand.Uint64())
	}
	return enforce.KeyOf(r.Name, id)
}

// client is the address of the nearest peer that is not a proxy of ours.
func (p *Proxy) client(r *http.Request) string {
	peer := address(r.RemoteAddr)
	if len(p.proxies) == 0 || !p.isProxy(peer) {
		return peer.String()
	}
	chain := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(chain) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(chain[i]))
		if err != nil {
			break
		}
		if peer = a.Unmap(); !p.isProxy(peer) {
			break
		}
	}
	return peer.String()
}

func (p *Proxy) trusted(remote string) bool {
	return len(p.proxies) > 0 && p.isProxy(address(remote))
}

func (p *Proxy) isProxy(a netip.Addr) bool {
	for _, n := range p.proxies {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

func address(remote string) netip.Addr {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

// stripForwarded removes every header that claims to know the client or to come from
// this proxy, and the spellings that some servers read as one.
func stripForwarded(h http.Header) {
	for name := range h {
		plain := strings.ReplaceAll(name, "_", "-")
		claims := len(plain) >= 11 && (strings.EqualFold(plain[:11], "x-forwarded") || strings.EqualFold(plain[:11], "x-original-"))
		if claims || strings.EqualFold(plain, "x-real-ip") || strings.EqualFold(plain, "forwarded") || strings.EqualFold(plain, headerMirrored) {
			delete(h, name)
		}
	}
}

// refuse answers a request that reaches no version.
func (p *Proxy) refuse(w http.ResponseWriter, status int, reason, detail string) {
	p.refusals.count(reason)
	problem(w, status, detail)
}

// problem answers with a status of the proxy itself.
func problem(w http.ResponseWriter, status int, detail string) {
	writeProblem(w, enforce.Problem{Title: http.StatusText(status), Status: status, Code: codeOf(status), Detail: detail})
}

func writeProblem(w http.ResponseWriter, pr enforce.Problem) {
	body, err := json.Marshal(pr)
	if err != nil {
		body = []byte(`{"title":"problem"}`) // strings and numbers can always be written
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(pr.Status)
	_, _ = w.Write(append(body, '\n')) // the client is gone if this fails
}

func codeOf(status int) assay.Code {
	switch status {
	case http.StatusForbidden:
		return assay.CodeDenied
	case http.StatusNotFound:
		return assay.CodeNotFound
	case http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		return assay.CodeTooLarge
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests:
		return assay.CodeUnavailable
	}
	return assay.CodeInvalid
}

func tooLargeDetail(limit int64) string {
	return fmt.Sprintf("the request's body is larger than %d bytes", limit)
}
