package ui_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/ui"
)

func TestWithoutATokenEveryPageLeadsToTheLogin(t *testing.T) {
	w := empty(t, nil)
	for _, path := range []string{"/", "/rollouts?x=1", "/facts/abc", "/search?q=a", "/facts/abc/proof"} {
		rec := w.get(path)
		if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "/login?next="+url.QueryEscape(path) {
			t.Errorf("%s: %d to %q", path, rec.Code, rec.Header().Get("Location"))
		}
	}
	if rec := w.post("/exceptions", nil); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "/login" {
		t.Errorf("a change: %d to %q", rec.Code, rec.Header().Get("Location"))
	}
	if rec := w.get("/live/"); rec.Code != http.StatusUnauthorized {
		t.Errorf("a stream: %d", rec.Code)
	}
}

func TestALinkFromAnotherSiteLoadsItselfOnceMore(t *testing.T) {
	w := empty(t, nil)
	says(t, w.get("/rollouts?a=1", header("Sec-Fetch-Site", "cross-site")), http.StatusOK, `http-equiv="refresh" content="0;url=/rollouts?a=1"`)
	rec := w.get("/rollouts", header("Sec-Fetch-Site", "same-origin"))
	if rec.Code != http.StatusSeeOther {
		t.Errorf("the second time: %d", rec.Code)
	}
}

func TestLoginGivesASessionInAStrictCookieThatHoldsNoToken(t *testing.T) {
	w := empty(t, nil)
	token := w.Token("vic", namespace, api.RoleViewer)
	rec := w.post("/login", url.Values{"token": {" " + token + "\n"}, "next": {"/gates"}})
	if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "/gates" {
		t.Fatalf("%d to %q", rec.Code, rec.Header().Get("Location"))
	}
	c := rec.Result().Cookies()[0]
	if c.Name != "assay_session" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "/" || c.MaxAge != 12*3600 {
		t.Errorf("cookie %+v", c)
	}
	raw, err := base64.RawURLEncoding.DecodeString(c.Value)
	must(t, err)
	for _, part := range strings.SplitN(token, "_", 3)[1:] {
		if strings.Contains(c.Value, part) || strings.Contains(string(raw), part) {
			t.Errorf("the cookie tells %q of the token", part)
		}
	}
	overTLS := func(r *http.Request) { r.TLS = &tls.ConnectionState{} }
	over := w.post("/login", url.Values{"token": {token}}, overTLS)
	secure := over.Result().Cookies()[0]
	if !secure.Secure || !secure.HttpOnly || secure.SameSite != http.SameSiteStrictMode || secure.Name != "__Host-assay_session" {
		t.Errorf("over TLS %+v", secure)
	}
	says(t, w.get("/", overTLS, func(r *http.Request) { r.AddCookie(secure) }), http.StatusOK, "vic", "Sign out")
	says(t, w.get("/", func(r *http.Request) { r.AddCookie(c) }), http.StatusOK, "vic", "Sign out")
	out := w.post("/logout", nil, func(r *http.Request) { r.AddCookie(c) })
	if got := out.Result().Cookies()[0]; got.Name != c.Name || got.MaxAge >= 0 || got.Value != "" {
		t.Errorf("signing out leaves %+v", got)
	}
}

func TestASessionEndsAfterHalfADayAndWithNothingElseThanItsKey(t *testing.T) {
	w := empty(t, nil)
	key := bytes.Repeat([]byte{7}, ui.SessionKeyBytes)
	start := func(key []byte) {
		t.Helper()
		h, err := ui.New(ui.Config{Plane: w.Plane, SessionKey: key, Now: w.Now})
		must(t, err)
		w.handler = h
	}
	start(key)
	signIn := w.as("vic", api.RoleViewer)
	start(bytes.Clone(key)) // a restart
	says(t, w.get("/", signIn), http.StatusOK, "vic")
	start(bytes.Repeat([]byte{8}, ui.SessionKeyBytes))
	if rec := w.get("/", signIn); rec.Code != http.StatusSeeOther {
		t.Errorf("with another key: %d", rec.Code)
	}
	start(key)
	w.Advance(12*time.Hour - time.Minute)
	says(t, w.get("/", signIn), http.StatusOK, "vic")
	w.Advance(2 * time.Minute)
	if rec := w.get("/", signIn); rec.Code != http.StatusSeeOther {
		t.Errorf("after half a day: %d", rec.Code)
	}
	if _, err := ui.New(ui.Config{Plane: w.Plane, SessionKey: key[1:]}); err == nil {
		t.Error("a short key is taken")
	}
}

func TestNobodyMakesOrChangesASession(t *testing.T) {
	w := empty(t, nil)
	token := w.Token("vic", namespace, api.RoleViewer)
	good := w.post("/login", url.Values{"token": {token}}).Result().Cookies()[0]
	id := strings.Split(token, "_")[1]
	with := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: name, Value: value}) }
	}
	bad := map[string]func(*http.Request){
		"the token": with("assay_session", token), "the token where it was once": with("assay_token", token), "its id": with("assay_session", id),
		"nothing": with("assay_session", ""), "no base64": with("assay_session", "§"), "much": with("assay_session", strings.Repeat("A", 4000)),
		"the other name": with("__Host-assay_session", good.Value),
	}
	for i := range len(good.Value) - 1 { // the last character has bits that nobody reads
		flipped := []byte(good.Value)
		flipped[i] ^= 1
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", rune(flipped[i])) {
			flipped[i] ^= 3
		}
		bad["flipped at "+strconv.Itoa(i)] = with("assay_session", string(flipped))
	}
	for name, change := range bad {
		if rec := w.get("/", change); rec.Code != http.StatusSeeOther {
			t.Errorf("%s: %d", name, rec.Code)
		}
	}
	says(t, w.get("/", with("assay_session", good.Value)), http.StatusOK, "vic")
	old := w.post("/login", url.Values{"token": {token}}, with("assay_token", token)).Result().Cookies()
	if len(old) != 2 || old[0].Name != "assay_token" || old[0].MaxAge >= 0 {
		t.Errorf("a token that was left in the browser stays there: %+v", old)
	}
}

func TestARevokedTokenEndsAtOnce(t *testing.T) {
	w := empty(t, nil)
	signIn := w.as("vic", api.RoleViewer)
	says(t, w.get("/", signIn), http.StatusOK, "vic")
	admin := w.As("root", namespace, api.RoleAdmin)
	list, err := admin.Tokens(t.Context())
	must(t, err)
	_, err = admin.RevokeToken(t.Context(), list[0].ID)
	must(t, err)
	if rec := w.get("/", signIn); rec.Code != http.StatusSeeOther {
		t.Errorf("after revocation: %d", rec.Code)
	}
}

func TestAWrongTokenIsSaidClearlyAndNotTriedForEver(t *testing.T) {
	w := empty(t, nil)
	wrong := url.Values{"token": {"assay_0000000000000000_x"}}
	for range 10 {
		says(t, w.post("/login", wrong), http.StatusUnauthorized, "unknown, expired or revoked", "assay token create")
	}
	limited := w.post("/login", wrong)
	says(t, limited, http.StatusTooManyRequests, "so were too many before it")
	if limited.Header().Get("Retry-After") == "" || len(limited.Result().Cookies()) != 0 {
		t.Error("the limit says no time, or lets in")
	}
	from := func(address string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = address } }
	if rec := w.post("/login", wrong, from("192.0.2.9:1")); rec.Code != http.StatusUnauthorized {
		t.Errorf("another client is held up: %d", rec.Code)
	}
	w.Advance(time.Minute)
	if rec := w.post("/login", wrong); rec.Code != http.StatusUnauthorized {
		t.Errorf("a minute later: %d", rec.Code)
	}
}

func TestWrongTokensLockNobodyOutWhoHasAGoodOne(t *testing.T) {
	w := empty(t, nil)
	token := w.Token("vic", namespace, api.RoleViewer)
	for range 20 { // from the address of the proxy that everybody comes through
		w.post("/login", url.Values{"token": {"assay_0000000000000000_x"}})
	}
	if rec := w.post("/login", url.Values{"token": {token}}); rec.Code != http.StatusSeeOther {
		t.Errorf("a good token is answered %d", rec.Code)
	}
}

func TestWhatReadersShareIsNotShownToOthersNorSpoiledByThem(t *testing.T) {
	w := empty(t, nil)
	_, err := w.As("cluster", namespace, api.RoleAgent).Report(t.Context(), api.InventoryReport{Environment: "prod", Sightings: []api.Sighting{{Service: "shop", Image: "r.example/secret:1"}}})
	must(t, err)
	dev := w.As("ci", namespace, api.RoleDeveloper)
	req := w.Request(dev, "good", controltest.Tests, controltest.Clean)
	req.Environment = "vault"
	_, err = dev.Attest(t.Context(), req)
	must(t, err)
	agent, reader := w.as("cluster", api.RoleAgent), w.as("vic", api.RoleViewer)
	w.get("/coverage", agent) // its refusal is not what the next one is told
	for range 2 {
		says(t, w.get("/coverage", reader), http.StatusOK, "r.example/secret:1", "<b>vault</b>", "target holds")
		body := w.get("/coverage", agent).Body.String()
		for _, secret := range []string{"r.example/secret:1", "<b>vault</b>", "target holds"} {
			if strings.Contains(body, secret) {
				t.Errorf("an agent is shown %q", secret)
			}
		}
	}
}

func TestLoginLeadsNowhereElse(t *testing.T) {
	w := empty(t, nil)
	token := w.Token("vic", namespace, api.RoleViewer)
	for _, next := range []string{"//evil.example/", "https://evil.example/", `/\evil.example`, "javascript:alert(1)", "evil", "/\t/evil.example"} {
		if to := w.post("/login", url.Values{"token": {token}, "next": {next}}).Header().Get("Location"); to != "/" {
			t.Errorf("next=%q leads to %q", next, to)
		}
	}
}

func TestAChangeAskedForByAnotherSiteIsRefused(t *testing.T) {
	w := empty(t, viewer)
	signIn := w.as("olga", api.RoleOperator)
	path, form := "/rollouts/"+absentFact+"/abort", url.Values{"reason": {"forged"}}
	says(t, w.post(path, form, signIn, header("Sec-Fetch-Site", "cross-site")), http.StatusForbidden, "another site")
	says(t, w.post(path, form, signIn, header("Sec-Fetch-Site", ""), header("Origin", "http://evil.example")), http.StatusForbidden, "another site")
	if rec := w.post("/login", url.Values{"token": {"x"}}, header("Sec-Fetch-Site", "cross-site")); rec.Code != http.StatusForbidden {
		t.Errorf("a forged login: %d", rec.Code)
	}
}

func TestAnonymousPagesAreForThisMachineOnly(t *testing.T) {
	open, closed := empty(t, viewer), empty(t, nil)
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	for _, h := range []string{"localhost", "localhost:7070", "127.0.0.1:7070", "127.8.8.8", "[::1]:7070", "LOCALHOST"} {
		says(t, open.get("/", host(h)), http.StatusOK, "Overview")
	}
	for _, h := range []string{"evil.example", "evil.example:7070", "localhost.evil.example", "10.0.0.1:7070", "", "127.0.0.1.evil.example"} {
		for _, path := range []string{"/", "/live/", "/static/app.css", "/log"} {
			rec := open.get(path, host(h))
			if rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), "this machine only") {
				t.Errorf("host %q, %s: %d", h, path, rec.Code)
			}
		}
	}
	if rec := closed.get("/login", host("assay.example")); rec.Code != http.StatusOK {
		t.Errorf("with a login any host is fine: %d", rec.Code)
	}
}

func TestAnonymousMayLookAndChangeNothing(t *testing.T) {
	w := empty(t, viewer)
	says(t, w.post("/exceptions", url.Values{"rules": {"a"}}), http.StatusUnauthorized, "Changing something needs a token", "/login")
}
