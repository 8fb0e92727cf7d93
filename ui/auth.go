package ui

import (
	"bytes"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/control"
)

// look finds out who asks. The token of a session is looked up at each request, so a
// revoked one ends every page and stream that was opened with it.
func (u *ui) look(r *http.Request) (*view, error) {
	v := &view{ui: u, r: r, ctx: r.Context(), Now: u.cfg.Now()}
	err := error(assay.Errorf(assay.CodeUnauthenticated, "these pages need a token"))
	if c, cerr := r.Cookie(cookieName(r)); cerr == nil {
		var caller control.Caller
		id, _ := u.sessions.open(c.Value, v.Now) // "" is no token's
		if caller, err = u.cfg.Plane.Resume(r.Context(), id); err == nil {
			v.caller, v.SignedIn = caller, true
		} else if assay.CodeOf(err) != assay.CodeUnauthenticated {
			return nil, err
		}
	}
	if !v.SignedIn {
		if u.cfg.Anonymous == nil {
			return nil, err
		}
		v.caller = *u.cfg.Anonymous
	}
	v.s = u.cfg.Plane.As(v.caller)
	return v, nil
}

// unidentified sends who shows no token to the login. A link from another site
// comes without the strict cookie, however well its owner is known: the page
// then loads itself once more, and that request is our own.
func (u *ui) unidentified(w http.ResponseWriter, r *http.Request, err error) {
	if assay.CodeOf(err) != assay.CodeUnauthenticated {
		u.fail(w, r, nil, err)
		return
	}
	target := "/login?next=" + url.QueryEscape(r.URL.RequestURI())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		target = "/login"
	}
	if _, cerr := r.Cookie(cookieName(r)); cerr != nil && r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		var b bytes.Buffer
		if err := u.templates.ExecuteTemplate(&b, "again", r.URL.RequestURI()); err == nil {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(b.Bytes()) // the client is gone if this fails
			return
		}
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
}

// loginForm is what the login page shows.
type loginForm struct {
	Next  string
	Wrong *trouble
}

func (u *ui) loginPage(w http.ResponseWriter, r *http.Request) {
	u.showLogin(w, r, http.StatusOK, nil)
}

func (u *ui) showLogin(w http.ResponseWriter, r *http.Request, status int, wrong *trouble) {
	v := &view{ui: u, r: r, ctx: r.Context(), Now: u.cfg.Now()}
	p := page{Title: "Sign in", Status: status}
	p.add(v, "login", "", "login", loginForm{Next: ownPath(r.FormValue("next")), Wrong: wrong})
	u.write(w, v, p)
}

// login exchanges a token for a session. A good token is let in whatever
// went wrong before: behind a proxy all people are one client, and none of them must be
// able to lock out the others.
func (u *ui) login(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimSpace(r.PostFormValue("token"))
	if _, err := u.cfg.Plane.Authenticate(r.Context(), token); err != nil {
		if assay.CodeOf(err) != assay.CodeUnauthenticated {
			u.fail(w, r, nil, err)
			return
		}
		if u.logins.wait(clientOf(r), u.cfg.Now()) > 0 {
			w.Header().Set("Retry-After", "60")
			u.showLogin(w, r, http.StatusTooManyRequests, &trouble{
				Sentence: "This token is wrong, and so were too many before it.", Hint: "wait a minute, then try again",
			})
			return
		}
		u.logins.miss(clientOf(r), u.cfg.Now())
		u.showLogin(w, r, http.StatusUnauthorized, &trouble{
			Sentence: "This token is unknown, expired or revoked.", Hint: "paste the whole line that assay token create printed, or ask your admin for a new one",
		})
		return
	}
	forgetToken(w, r)
	http.SetCookie(w, sessionOf(r, u.sessions.seal(control.TokenID(token), u.cfg.Now().Add(sessionLife))))
	http.Redirect(w, r, ownPath(r.PostFormValue("next")), http.StatusSeeOther)
}

// logout makes the browser forget its session. The token itself goes on to be good.
func (u *ui) logout(w http.ResponseWriter, r *http.Request) {
	forgetToken(w, r)
	http.SetCookie(w, sessionOf(r, ""))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// ownPath keeps a path of this site and turns everything else into "/".
func ownPath(s string) string {
	target, err := url.Parse(s)
	if err != nil || target.IsAbs() || target.Host != "" || !strings.HasPrefix(s, "/") ||
		strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n\t") {
		return "/"
	}
	return s
}

// loopback reports whether a Host header names this machine and no other.
func loopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip := net.ParseIP(name)
	return ip != nil && ip.IsLoopback()
}

func clientOf(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

// Wrong logins of one client in a window that are told what is wrong with them; those
// above it are told to wait. Nobody guesses a token: its secret has 256 random bits, and
// is compared in constant time.
const (
	maxMisses  = 10
	missWindow = time.Minute
	maxClients = 4096
)

// limiter counts the wrong logins of each client.
type limiter struct {
	mu     sync.Mutex
	misses map[string]missed
}

type missed struct {
	n     int
	since time.Time
}

func newLimiter() *limiter { return &limiter{misses: map[string]missed{}} }

// wait is how long the client must wait before it may try again.
func (l *limiter) wait(client string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.misses[client]
	if m.n < maxMisses {
		return 0
	}
	return max(0, missWindow-now.Sub(m.since))
}

func (l *limiter) miss(client string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.misses[client]
	if now.Sub(m.since) >= missWindow {
		m = missed{since: now}
	}
	m.n++
	if len(l.misses) >= maxClients {
		clear(l.misses) // many clients at once: forgetting them is cheaper than keeping them
	}
	l.misses[client] = m
}
