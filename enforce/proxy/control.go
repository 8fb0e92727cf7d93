package proxy

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
	"assay.dev/assay/internal/strict"
)

// maxShift is the largest body of a shift, in bytes.
const maxShift = 4 << 10

// Control returns the handler of the control API. It belongs on a listener of its
// own, by default on a loopback address:
//
//	GET  /v1/status                enforce.Status; with ?service=NAME of the routes of that service alone
//	GET  /v1/config                enforce.Config, the active one
//	PUT  /v1/config                enforce.Replacement → enforce.Answer
//	PUT  /v1/routes/{route}/share  enforce.Shift → enforce.Answer
//	PUT  /v1/routes/{route}/lever  enforce.Pull → enforce.Answer
//	GET  /metrics                  Prometheus text
//	GET  /healthz                  200 without a token
//
// Errors are enforce.Problem: 409 for an older generation, a wrong "from" or a key
// used twice, 403 with the failed step for a version that is refused entry.
func (p *Proxy) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.Handle("GET /v1/status", p.authorised(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Has("service") {
			writeAnswer(w, p.StatusOf(q.Get("service")))
			return
		}
		writeAnswer(w, p.Status())
	}))
	mux.Handle("GET /v1/config", p.authorised(func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		c := p.state.Config
		p.mu.Unlock()
		writeAnswer(w, c)
	}))
	mux.Handle("PUT /v1/config", p.authorised(func(w http.ResponseWriter, r *http.Request) {
		var c enforce.Replacement
		if err := decode(w, r, enforce.MaxConfig, &c); err != nil {
			writeError(w, nil, err)
			return
		}
		answer, refusal, err := p.change(func(s enforce.State, now time.Time) (enforce.State, enforce.Receipt, bool, error) {
			return s.Replace(c, now)
		})
		answerOr(w, answer, refusal, err)
	}))
	mux.Handle("PUT /v1/routes/{route}/share", p.authorised(func(w http.ResponseWriter, r *http.Request) {
		var sh enforce.Shift
		if err := decode(w, r, maxShift, &sh); err != nil {
			writeError(w, nil, err)
			return
		}
		sh.Route = r.PathValue("route")
		answer, refusal, err := p.change(func(s enforce.State, now time.Time) (enforce.State, enforce.Receipt, bool, error) {
			return s.Shift(sh, now)
		})
		answerOr(w, answer, refusal, err)
	}))
	mux.Handle("PUT /v1/routes/{route}/lever", p.authorised(func(w http.ResponseWriter, r *http.Request) {
		var x enforce.Pull
		if err := decode(w, r, maxShift, &x); err != nil {
			writeError(w, nil, err)
			return
		}
		x.Route = r.PathValue("route")
		answer, refusal, err := p.change(func(s enforce.State, now time.Time) (enforce.State, enforce.Receipt, bool, error) {
			return s.Pull(x, now)
		})
		answerOr(w, answer, refusal, err)
	}))
	mux.Handle("GET /metrics", p.authorised(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(p.text()) // the scraper is gone if this fails
	}))
	return mux
}

// authorised lets only bearers of the control token pass.
func (p *Proxy) authorised(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(token)))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], p.token[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="assay proxy"`)
			writeError(w, nil, assay.Errorf(assay.CodeUnauthenticated, "the control API needs its bearer token"))
			return
		}
		h(w, r)
	})
}

// Status reports what is enforced now.
func (p *Proxy) Status() enforce.Status {
	out := p.status(func(*enforce.Way) bool { return true })
	out.Refused = p.entries.read()
	return out
}

// StatusOf reports what is enforced now of the routes of one service: none if it has
// none. What was refused is of all routes, and is left out.
func (p *Proxy) StatusOf(service string) enforce.Status {
	return p.status(func(w *enforce.Way) bool { return w.Route.Service == service })
}

// status reports the routes that are wanted.
func (p *Proxy) status(wanted func(*enforce.Way) bool) enforce.Status {
	p.mu.Lock()
	t, s := p.table.Load(), p.state
	p.mu.Unlock()
	now := p.now()
	out := enforce.Status{Revision: t.snap.Revision, Generation: s.Generation, Started: p.started.UTC(), Time: now.UTC(), Export: p.export.status()}
	for _, w := range t.snap.Ways() {
		if !wanted(w) {
			continue
		}
		rs := p.levers(t, w)
		rs.Name, rs.Service, rs.Mode, rs.Generation = w.Route.Name, w.Route.Service, cmp.Or(w.Route.Entry.Mode, assay.ModeEnforce), w.Dial.Generation
		for _, target := range w.Targets {
			c := t.doors[target.Index].series.read()
			refusal, _ := target.Enter(now)
			vs := enforce.VersionStatus{
				Name: target.Version.Name, Digest: target.Version.Digest, Backend: target.Version.Backend, Places: target.Version.Places, Percent: target.Percent,
				Refusal: refusal, Requests: c.answered(), Errors: c.errors, InFlight: c.inFlight,
			}
			for _, m := range w.Route.Matches {
				if m.Version == vs.Name {
					vs.Matches = append(vs.Matches, m)
				}
			}
			if m := w.Route.Mirror; m != nil && m.Version == vs.Name {
				vs.Mirror = m
			}
			rs.Versions = append(rs.Versions, vs)
		}
		out.Routes = append(out.Routes, rs)
	}
	return out
}

// levers reports where the levers of a route stand, and what they held.
func (p *Proxy) levers(t *table, w *enforce.Way) (rs enforce.RouteStatus) {
	l := t.limiters[w]
	if l == nil {
		return rs
	}
	rs.LeverGeneration, rs.Limited = w.Panel.Generation, map[string]uint64{}
	for i := range l.limited {
		rs.Limited[reasonNames[i]] = l.limited[i].Load()
	}
	for _, s := range w.Standing() {
		ls := enforce.LeverStatus{Lever: s.Lever, Scope: s.Scope, Value: s.Value, Key: s.Key, Since: s.Since}
		if s.Lever == assay.LeverQuarantine && s.Scope != enforce.AnyScope {
			if tenant, is := strings.CutPrefix(s.Scope, "tenant:"); is {
				ls.Evidence = l.tenants.evidence(tenant)
			} else {
				ls.Evidence = l.sources.evidence(s.Scope)
			}
		}
		rs.Levers = append(rs.Levers, ls)
	}
	return rs
}

func decode(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	ct := r.Header.Get("Content-Type")
	if kind, _, err := mime.ParseMediaType(ct); err != nil || kind != "application/json" {
		return assay.Errorf(assay.CodeInvalid, "Content-Type is %q; expected application/json", ct)
	}
	data, err := strict.Bounded(http.MaxBytesReader(w, r.Body, limit+1), limit, "the request body")
	if err != nil {
		return err
	}
	return strict.JSON(data, v)
}

func answerOr(w http.ResponseWriter, a enforce.Answer, refusal *enforce.Refusal, err error) {
	if err != nil {
		writeError(w, refusal, err)
		return
	}
	writeAnswer(w, a)
}

func writeAnswer(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		writeError(w, nil, assay.Errorf(assay.CodeInternal, "the answer cannot be written: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n')) // the client is gone if this fails
}

var statusOf = map[assay.Code]int{
	assay.CodeInvalid:         http.StatusBadRequest,
	assay.CodeTooLarge:        http.StatusRequestEntityTooLarge,
	assay.CodeNotFound:        http.StatusNotFound,
	assay.CodeConflict:        http.StatusConflict,
	assay.CodeUnauthenticated: http.StatusUnauthorized,
	assay.CodeDenied:          http.StatusForbidden,
	assay.CodeUnverified:      http.StatusUnprocessableEntity,
	assay.CodeUnavailable:     http.StatusServiceUnavailable,
}

func writeError(w http.ResponseWriter, refusal *enforce.Refusal, err error) {
	code := assay.CodeOf(err)
	status, known := statusOf[code]
	if !known {
		status = http.StatusInternalServerError
	}
	pr := enforce.Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: err.Error(), Refusal: refusal}
	if older, is := errors.AsType[*enforce.OlderError](err); is {
		pr.Owner = older.Owner
	}
	writeProblem(w, pr)
}
