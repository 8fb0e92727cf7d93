package registry

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"assay.dev/assay"
)

// dockerConfig writes a config.json with a password for host.
func dockerConfig(t *testing.T, host string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	text := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("ci:secret")))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// elsewhere is another host: it answers with answer and keeps what credentials reached it.
type elsewhere struct {
	mu     sync.Mutex
	asked  int
	saw    []string
	answer func(http.ResponseWriter, *http.Request)
}

func (e *elsewhere) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	e.mu.Lock()
	e.asked++
	for _, name := range []string{"Authorization", "Cookie"} {
		if v := req.Header.Get(name); v != "" {
			e.saw = append(e.saw, v)
		}
	}
	e.mu.Unlock()
	e.answer(w, req)
}

// guarded is a registry that wants ci's password; before may answer in its place.
func guarded(t *testing.T, before func(w http.ResponseWriter, req *http.Request) bool) (host string, honest http.Handler) {
	honest = withAPI()
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user, password, ok := req.BasicAuth(); !ok || user != "ci" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if before == nil || !before(w, req) {
			honest.ServeHTTP(w, req)
		}
	})), honest
}

func TestCredentialsComeFromTheDockerConfig(t *testing.T) {
	host, honest := guarded(t, nil)
	_, subject := putImage(t, serve(t, honest), "app")
	ref := host + "/app@" + string(subject)
	if _, err := newClient(t).Discover(t.Context(), ref, Filter{}); assay.CodeOf(err) != assay.CodeUnauthenticated {
		t.Errorf("without credentials: %v", err)
	}
	c := clientWith(t, Config{DockerConfig: dockerConfig(t, host)})
	if _, err := c.Push(t.Context(), ref, bundleAbout(t, subject, testPredicate, ""), created); err != nil {
		t.Errorf("with credentials: %v", err)
	}
	other := clientWith(t, Config{DockerConfig: dockerConfig(t, "registry.example")})
	if _, err := other.Discover(t.Context(), ref, Filter{}); assay.CodeOf(err) != assay.CodeUnauthenticated {
		t.Errorf("with the credentials of another registry: %v", err)
	}
	if _, err := New(Config{DockerConfig: filepath.Join(t.TempDir(), "config.json")}); err != nil {
		t.Errorf("a config that does not exist: %v", err)
	}
}

func TestCredentialsDoNotCrossHostsOnRedirects(t *testing.T) {
	var honest http.Handler
	cdn := &elsewhere{answer: func(w http.ResponseWriter, req *http.Request) { honest.ServeHTTP(w, req) }}
	cdnHost := serve(t, cdn)
	host, honest := guarded(t, func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/blobs/sha256:") {
			return false
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "secret"})
		http.Redirect(w, req, "http://"+cdnHost+req.URL.Path, http.StatusTemporaryRedirect)
		return true
	})
	_, subject := putImage(t, serve(t, honest), "app")
	cdn.answer = func(w http.ResponseWriter, req *http.Request) { honest.ServeHTTP(w, req) }
	ref := host + "/app@" + string(subject)
	c := clientWith(t, Config{DockerConfig: dockerConfig(t, host)})
	pushed, err := c.Push(t.Context(), ref, bundleAbout(t, subject, testPredicate, ""), created)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := c.Pull(t.Context(), ref, pushed.Referrer); err != nil || len(data) == 0 {
		t.Errorf("a blob that is kept elsewhere: %v", err)
	}
	if cdn.asked != 1 || len(cdn.saw) > 0 {
		t.Errorf("the other host was asked %d times and saw %q", cdn.asked, cdn.saw)
	}
}

func TestAnotherHostThatAsksForCredentialsGetsNone(t *testing.T) {
	thief := &elsewhere{answer: func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="give"`)
		w.WriteHeader(http.StatusUnauthorized)
	}}
	thiefHost := serve(t, thief)
	host, _ := guarded(t, func(w http.ResponseWriter, req *http.Request) bool {
		http.Redirect(w, req, "http://"+thiefHost+req.URL.Path, http.StatusTemporaryRedirect)
		return true
	})
	c := clientWith(t, Config{DockerConfig: dockerConfig(t, host)})
	_, err := c.Discover(t.Context(), host+"/app@sha256:"+strings.Repeat("ab", 32), Filter{})
	if assay.CodeOf(err) != assay.CodeUnauthenticated || thief.asked == 0 || len(thief.saw) > 0 {
		t.Errorf("gave %v; the other host was asked %d times and saw %q", err, thief.asked, thief.saw)
	}
}

func TestARedirectIsFollowedOnlyWhereADownloadMayLieAndWithoutCredentials(t *testing.T) {
	for _, c := range []struct {
		method, from, to string
		want             string // "" if it is followed
		keeps            bool   // credentials, on the same host
	}{
		{"GET", "https://registry.example/a", "https://registry.example:443/b", "", true},
		{"GET", "https://registry.example/a", "https://cdn.example/b", "", false},
		{"HEAD", "https://registry.example/a", "https://registry.example:8443/b", "", false},
		{"GET", "https://registry.example/a", "http://registry.example/b", "HTTPS to plain HTTP", false},
		{"GET", "https://registry.example/a", "http://cdn.example/b", "HTTPS to plain HTTP", false},
		{"GET", "https://registry.example/a", "https://10.1.2.3/b", "private network", false},
		{"GET", "https://registry.example/a", "https://[fe80::1]/b", "private network", false},
		{"GET", "https://registry.example/a", "https://[::ffff:169.254.169.254]/b", "private network", false},
		{"GET", "https://registry.example/a", "https://localhost/b", "private network", false},
		{"GET", "http://127.0.0.1:5000/a", "http://127.0.0.1:5001/b", "", false},
		{"PUT", "https://registry.example/a", "https://cdn.example/b", "redirects an upload", false},
		{"PUT", "https://registry.example/a", "https://registry.example/b", "", true},
	} {
		first, next := httptest.NewRequest(c.method, c.from, nil), httptest.NewRequest(c.method, c.to, nil)
		next.Header.Set("Authorization", "Basic x")
		next.Header.Set("Cookie", "session=x")
		err := checkRedirect(next, []*http.Request{first})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s to %s: %v, expected %q", c.method, c.from, c.to, err, c.want)
		}
		if kept := next.Header.Get("Authorization") != "" || next.Header.Get("Cookie") != ""; err == nil && kept != c.keeps {
			t.Errorf("%s %s to %s: credentials kept is %v", c.method, c.from, c.to, kept)
		}
	}
}

func TestAnUploadIsNotSentToAnotherHost(t *testing.T) {
	for name, lead := range map[string]func(http.ResponseWriter, *http.Request, string){
		"location": func(w http.ResponseWriter, req *http.Request, to string) {
			w.Header().Set("Location", to+"/v2/app/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		},
		"redirect": func(w http.ResponseWriter, req *http.Request, to string) {
			http.Redirect(w, req, to+req.URL.Path, http.StatusTemporaryRedirect)
		},
	} {
		t.Run(name, func(t *testing.T) {
			thief := &elsewhere{answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }}
			thiefHost := serve(t, thief)
			host, honest := guarded(t, func(w http.ResponseWriter, req *http.Request) bool {
				if req.Method == http.MethodPost {
					lead(w, req, "http://"+thiefHost)
					return true
				}
				return false
			})
			_, subject := putImage(t, serve(t, honest), "app")
			c := clientWith(t, Config{DockerConfig: dockerConfig(t, host)})
			_, err := c.Push(t.Context(), host+"/app@"+string(subject), bundleAbout(t, subject, testPredicate, ""), created)
			if err == nil || thief.asked > 0 || !strings.Contains(err.Error(), "host") {
				t.Errorf("gave %v; the other host was asked %d times and saw %q", err, thief.asked, thief.saw)
			}
		})
	}
}

func TestPlainHTTPIsSpokenOnlyWithThisMachine(t *testing.T) {
	reached := false
	base := roundTripper(func(*http.Request) (*http.Response, error) {
		reached = true
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	})
	for _, c := range []struct {
		url     string
		allowed bool // without PlainHTTP
	}{
		{"https://registry.example/v2/", true}, {"http://127.0.0.1:5000/v2/", true}, {"http://localhost:5000/v2/", true},
		{"http://[::1]:5000/v2/", true}, {"http://registry.example/v2/", false}, {"http://10.0.0.1/v2/", false},
		{"http://localhost.example/v2/", false}, {"http://token.example/token", false},
	} {
		for _, plain := range []bool{false, true} {
			reached = false
			_, err := encrypted{base, plain}.RoundTrip(httptest.NewRequest(http.MethodGet, c.url, nil))
			if want := c.allowed || plain; reached != want || (err == nil) != want {
				t.Errorf("%s with PlainHTTP %v: reached %v, %v", c.url, plain, reached, err)
			}
		}
	}
	c := newClient(t)
	for reference, scheme := range map[string]string{
		"registry.example/app:1": "https", "10.0.0.1:5000/app:1": "https", "localhost:5000/app:1": "http", "127.0.0.1:5000/app:1": "http",
	} {
		if r, err := c.open(reference); err != nil || r.door.scheme != scheme {
			t.Errorf("%s is opened with %v (%v), expected %s", reference, r, err, scheme)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestHelpersForCredentialsRunOnlyIfAllowed(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	helper := "#!/bin/sh\ntouch " + ran + "\necho '{\"ServerURL\":\"x\",\"Username\":\"ci\",\"Secret\":\"secret\"}'\n"
	config := filepath.Join(dir, "config.json")
	for path, text := range map[string]string{filepath.Join(dir, "docker-credential-assaytest"): helper, config: `{"credsStore":"assaytest"}`} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	host, honest := guarded(t, nil)
	_, subject := putImage(t, serve(t, honest), "app")
	ref := host + "/app@" + string(subject)

	_, err := clientWith(t, Config{DockerConfig: config}).Discover(t.Context(), ref, Filter{})
	if _, stat := os.Stat(ran); stat == nil || assay.CodeOf(err) != assay.CodeUnauthenticated || !strings.Contains(err.Error(), "--credential-helpers") {
		t.Errorf("the helper ran: %v; discovering gave %v", stat == nil, err)
	}
	_, err = clientWith(t, Config{DockerConfig: config, Helpers: true}).Discover(t.Context(), ref, Filter{})
	if _, stat := os.Stat(ran); stat != nil || err != nil {
		t.Errorf("the helper ran: %v; discovering gave %v", stat == nil, err)
	}
}
