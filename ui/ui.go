// Package ui is the pages of Assay: what people look at when they want to know
// whether all is well, or what happened and what they can do about it.
//
// # Mental model
//
// A page is a title and a row of parts. A part is a template with its data, an
// element with an id of its own, and nothing else: the whole page is its parts
// rendered one after the other, and the live page is the same parts rendered
// again, of which those that changed are sent. So what a browser without
// JavaScript loads and what a live one shows cannot differ.
//
// The package adds nothing to what package control does: it turns a session into
// a caller, asks the caller's session, and draws the answer. Charts are drawn
// here, as SVG; the browser gets no inline style, no inline script, and nothing
// from another origin.
package ui

import (
	"crypto/rand"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/report"
)

// Config is what the pages are made of.
type Config struct {
	Plane *control.Plane
	// Anonymous is who somebody without a token is; nil demands a login for every
	// page. With it, requests must name a loopback host, so that a page elsewhere
	// cannot read this one through a name of its own (DNS rebinding).
	Anonymous *control.Caller
	// SessionKey seals what browsers keep of who is signed in, SessionKeyBytes random
	// bytes. Without one it is made anew, and sessions end with the process.
	SessionKey []byte
	Now        func() time.Time // default time.Now
	Log        *slog.Logger     // default discards
}

//go:embed templates/*.html
var templateFiles embed.FS

// ui is the handler behind New.
type ui struct {
	cfg       Config
	templates *template.Template
	static    map[string]asset
	pages     *http.ServeMux
	streams   chan struct{} // one entry for each open stream
	stopping  stopping
	logins    *limiter
	sessions  sealer
	traffic   *cache[api.Traffic]
	coverage  *cache[[]api.Coverage]
	verified  *cache[report.Verification]
	operated  *cache[report.Operations]
}

// New returns the handler of all pages, to be mounted at "/". It answers below
// every path that is not somebody else's; its own are listed in routes.
func New(cfg Config) (http.Handler, error) {
	if cfg.Plane == nil {
		return nil, assay.Errorf(assay.CodeInvalid, "the pages need a control plane")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.SessionKey == nil {
		cfg.SessionKey = make([]byte, SessionKeyBytes)
		_, _ = rand.Read(cfg.SessionKey) // never fails
	}
	sessions, err := newSealer(cfg.SessionKey)
	if err != nil {
		return nil, err
	}
	u := &ui{
		sessions: sessions,
		cfg:      cfg, streams: make(chan struct{}, MaxStreams), logins: newLimiter(),
		traffic: newCache[api.Traffic](streamTick), coverage: newCache[[]api.Coverage](coverageFresh),
		verified: newCache[report.Verification](rateFresh), operated: newCache[report.Operations](rateFresh),
	}
	if u.static, err = loadAssets(); err != nil {
		return nil, err
	}
	if u.templates, err = template.New("").Funcs(u.funcs()).ParseFS(templateFiles, "templates/*.html"); err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "the page templates: %w", err)
	}
	u.pages = u.routes()
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.fail(w, r, nil, &assay.Error{
			Code: assay.CodeDenied, Msg: "this change was asked for by another site",
			Hint: "open the page here and press the button again",
		})
	}))
	return u.guarded(crossOrigin.Handler(u.pages)), nil
}

// routes are all pages, one line each. What changes something is a POST.
func (u *ui) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, build := range map[string]builder{
		"GET /{$}":             overview,
		"GET /services":        services,
		"GET /services/{name}": service,
		"GET /services/{name}/forecasts/{objective...}": forecastPage,
		"GET /rollouts":           rollouts,
		"GET /rollouts/{id}":      rolloutPage,
		"GET /strategies":         strategies,
		"GET /strategies/{name}":  strategyPage,
		"GET /models":             models,
		"GET /models/{name...}":   modelPage,
		"GET /decisions":          decisions,
		"GET /decisions/{id}":     decision,
		"GET /gates":              gates,
		"GET /artifacts":          artifacts,
		"GET /artifacts/{digest}": artifactPage,
		"GET /log":                logPage,
		"GET /facts/{id}":         factPage,
		"GET /exceptions":         exceptions,
		"GET /coverage":           coveragePage,
		"GET /operations":         operationsPage,
		"GET /keys":               keysPage,
		"GET /search":             search,
		"GET /":                   unknown,
	} {
		mux.Handle(pattern, u.page(build))
	}
	for pattern, do := range map[string]change{
		"POST /rollouts/{id}/promotion":    promote,
		"POST /rollouts/{id}/abort":        abort,
		"POST /rollouts/{id}/rollback":     rollback,
		"POST /strategies/{name}/answers":  tellStrategy,
		"POST /models/rollbacks":           rollbackModel,
		"POST /models/refits":              refitModel,
		"POST /rollouts/{id}/approval":     approve,
		"POST /exceptions":                 requestException,
		"POST /exceptions/{id}/approval":   approveException,
		"POST /exceptions/{id}/revocation": revokeException,
	} {
		mux.Handle(pattern, u.change(do))
	}
	mux.Handle("POST /log/verification", u.page(verifyPage))
	mux.HandleFunc("GET /facts/{id}/proof", u.proof)
	mux.HandleFunc("GET /keys/trust", u.trustFile)
	mux.HandleFunc("GET /live/{page...}", u.live)
	mux.HandleFunc("GET /static/{file}", u.asset)
	mux.HandleFunc("GET /login", u.loginPage)
	mux.HandleFunc("POST /login", u.login)
	mux.HandleFunc("POST /logout", u.logout)
	return mux
}

// contentPolicy is the Content-Security-Policy of every answer.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// guarded sets the headers of every answer and refuses hosts that are not ours.
func (u *ui) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if u.cfg.Anonymous != nil && (!loopback(r.Host) || forwarded(r)) {
			u.fail(w, r, nil, &assay.Error{
				Code: assay.CodeDenied, Msg: "these pages are open to this machine only, and the address names another host or the request came through a proxy",
				Hint: "open them as http://127.0.0.1 or http://localhost with the same port",
			})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

// forwarded reports whether a proxy says that it speaks for somebody else.
func forwarded(r *http.Request) bool {
	return r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != ""
}

// maxForm is the largest form that is read, in bytes.
const maxForm = 64 << 10
