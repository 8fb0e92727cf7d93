package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// stand is a server over a whole installation.
type stand struct {
	*controltest.Installation
	t      *testing.T
	url    string
	log    *logs
	ready  func(context.Context) error
	client *http.Client
}

// logs collects a log; it may be written while it is read.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (s *stand) handler(plane *control.Plane, ledger http.Handler) http.Handler {
	return server.New(server.Config{
		Plane: plane, Ledger: ledger, Registry: prometheus.NewRegistry(),
		Ready: func(ctx context.Context) error { return s.ready(ctx) },
		Log:   slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{Installation: controltest.New(t), t: t, log: &logs{}, ready: func(context.Context) error { return nil }}
	srv := httptest.NewServer(s.handler(s.Plane, http.NotFoundHandler()))
	t.Cleanup(srv.Close)
	s.url, s.client = srv.URL, srv.Client()
	return s
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (s *stand) do(method, path, token, contentType, body string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

func (s *stand) post(path, token, body string) answer {
	s.t.Helper()
	return s.do(http.MethodPost, path, token, "application/json", body)
}

// problem requires a problem document with the status, and returns it.
func (s *stand) problem(what string, a answer, status int, code assay.Code) api.Problem {
	s.t.Helper()
	var p api.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		s.t.Fatalf("%s: %d %q is no problem document", what, a.status, a.body)
	}
	if a.status != status || p.Status != status || p.Code != code || p.Title != http.StatusText(status) || p.Detail == "" ||
		a.header.Get("Content-Type") != "application/problem+json" {
		s.t.Errorf("%s: %d %s %+v, want %d %s", what, a.status, a.header.Get("Content-Type"), p, status, code)
	}
	return p
}

// The table of all routes: who may use them, and a request that reaches them.
var (
	someDigest = string(controltest.DigestOf("app"))
	someID     = "0197f2c1-0000-7000-8000-000000000000"
	checkers   = []api.Role{api.RoleDeveloper, api.RoleOperator}
	approvers  = []api.Role{api.RoleApprover}
	commanders = []api.Role{api.RoleOperator, api.RoleApprover}
	admins     = []api.Role{api.RoleAdmin}

	table = []struct {
		method, path string
		allowed      []api.Role
	}{
		{"POST", "/v1/evidence", checkers},
		{"POST", "/v1/checks", checkers},
		{"POST", "/v1/attestations", checkers},
		{"POST", "/v1/statements", checkers},
		{"GET", "/v1/attestations/" + someDigest, api.Readers},
		{"GET", "/v1/artifacts", api.Readers},
		{"GET", "/v1/artifacts/" + someDigest, api.Readers},
		{"GET", "/v1/facts", api.Readers},
		{"GET", "/v1/facts/" + someID + "/publication", api.Readers},
		{"GET", "/v1/facts/" + someID + "/proof", api.Readers},
		{"GET", "/v1/ledger/head", api.Readers},
		{"POST", "/v1/exceptions", checkers},
		{"GET", "/v1/exceptions", api.Readers},
		{"POST", "/v1/exceptions/bypass", []api.Role{api.RoleOperator, api.RoleApprover}},
		{"GET", "/v1/exceptions/report", api.Readers},
		{"POST", "/v1/exceptions/" + someID + "/approval", approvers},
		{"POST", "/v1/exceptions/" + someID + "/revocation", []api.Role{api.RoleDeveloper, api.RoleOperator, api.RoleApprover}},
		{"POST", "/v1/tokens", admins},
		{"GET", "/v1/tokens", admins},
		{"DELETE", "/v1/tokens/0123456789abcdef", admins},
		{"GET", "/v1/keys", api.Roles},
		{"POST", "/v1/keys/rotations", admins},
		{"POST", "/v1/keys/revocations", admins},
		{"GET", "/v1/trust", api.Roles},
		{"GET", "/v1/facts/" + someID, api.Readers},
		{"GET", "/v1/facts/" + someID + "/effects", api.Readers},
		{"POST", "/v1/rollouts", checkers},
		{"GET", "/v1/rollouts", api.Readers},
		{"GET", "/v1/rollouts/" + someID, api.Readers},
		{"POST", "/v1/rollouts/" + someID + "/promotion", commanders},
		{"POST", "/v1/rollouts/" + someID + "/abort", commanders},
		{"POST", "/v1/rollouts/" + someID + "/approval", approvers},
		{"POST", "/v1/rollouts/rollbacks", commanders},
		{"GET", "/v1/strategies", api.Readers},
		{"GET", "/v1/strategies/shop-scale", api.Readers},
		{"POST", "/v1/strategies/shop-scale/answers", commanders},
		{"GET", "/v1/traffic", api.Readers},
		{"GET", "/v1/halts", api.Readers},
		{"GET", "/v1/decisions", api.Readers},
		{"GET", "/v1/decisions/" + someID, api.Readers},
		{"GET", "/v1/decisions/" + someID + "/record", api.Readers},
		{"GET", "/v1/anomalies", api.Readers},
		{"GET", "/v1/divergences", api.Readers},
		{"GET", "/v1/regions", api.Readers},
		{"GET", "/v1/indicators/shop", api.Readers},
		{"GET", "/v1/models", api.Readers},
		{"GET", "/v1/models/shop", api.Readers},
		{"POST", "/v1/models/rollbacks", commanders},
		{"POST", "/v1/models/refits", commanders},
		{"GET", "/v1/forecasts/shop/shop/0", api.Readers},
		{"GET", "/v1/objectives", api.Readers},
		{"GET", "/v1/objectives/shop", api.Readers},
		{"GET", "/v1/attestations/" + someDigest + "/verdict", api.Readers},
		{"POST", "/v1/inventory", []api.Role{api.RoleAgent, api.RoleOperator}},
		{"GET", "/v1/inventory", api.Readers},
		{"POST", "/v1/inventory/scans", []api.Role{api.RoleOperator}},
		{"POST", "/v1/inventory/rebuild", []api.Role{api.RoleOperator}},
		{"GET", "/v1/coverage", api.Readers},
		{"GET", "/v1/findings", api.Readers},
		{"POST", "/v1/reports/compliance", api.Readers},
		{"POST", "/v1/reports/operations", api.Readers},
		{"POST", "/v1/reports/verification", api.Readers},
		{"GET", "/v1/policies/schema/Gate", api.Roles},
		{"POST", "/v1/admission/check", checkers},
		{"POST", "/v1/telemetry/imports", []api.Role{api.RoleOperator}},
		{"POST", "/v1/telemetry/imports/" + someID + "/pieces/1", []api.Role{api.RoleOperator}},
		{"POST", "/v1/telemetry/imports/" + someID + "/completion", []api.Role{api.RoleOperator}},
		{"DELETE", "/v1/telemetry/imports/" + someID, []api.Role{api.RoleOperator}},
	}
)

func TestTheTableOfRoutesIsComplete(t *testing.T) {
	var patterns []string
	for _, r := range table {
		path := strings.NewReplacer(someID, "{id}", "0123456789abcdef", "{id}", someDigest, "{digest}", "schema/Gate", "schema/{kind}", "objectives/shop", "objectives/{name...}", "indicators/shop", "indicators/{service}", "forecasts/shop/shop/0", "forecasts/{service}/{objective...}", "models/shop", "models/{name...}", "strategies/shop-scale", "strategies/{name}", "pieces/1", "pieces/{n}").Replace(r.path)
		patterns = append(patterns, r.method+" "+path)
	}
	slices.Sort(patterns)
	if got := slices.Sorted(maps.Keys(server.Routes())); !slices.Equal(got, patterns) {
		t.Errorf("routes\n%s\nthe table has\n%s", strings.Join(got, "\n"), strings.Join(patterns, "\n"))
	}
}

func TestEveryRouteNeedsATokenAndItsRole(t *testing.T) {
	s := newStand(t)
	tokens := map[api.Role]string{}
	for _, role := range api.Roles {
		tokens[role] = s.Token("somebody", "default", role)
	}
	for _, r := range table {
		name := r.method + " " + r.path
		a := s.do(r.method, r.path, "", "application/json", "{}")
		s.problem(name+" without a token", a, 401, assay.CodeUnauthenticated)
		if got := a.header.Get("WWW-Authenticate"); got != `Bearer realm="assay"` {
			t.Errorf("%s: WWW-Authenticate %q", name, got)
		}
		for _, role := range api.Roles {
			a := s.do(r.method, r.path, tokens[role], "application/json", "{}")
			if denied := a.status == 403; denied == slices.Contains(r.allowed, role) || a.status == 401 || a.status >= 500 {
				t.Errorf("%s as %s: %d %s", name, role, a.status, a.body)
			}
			if a.status == 403 {
				s.problem(name, a, 403, assay.CodeDenied)
			}
		}
	}
}

func TestOnlyTheBearerSchemeIsUnderstood(t *testing.T) {
	s := newStand(t)
	token := s.Token("alice", "default", api.RoleViewer)
	for header, want := range map[string]int{
		"Bearer " + token: 200, "bearer " + token: 200, "BEARER  " + token: 200,
		token: 401, "Basic " + token: 401, "Bearer": 401, "Bearer " + token + "x": 401, "Bearer " + token + " x": 401,
		"Bearer assay_\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8aaaaaaaa_x": 401,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/exceptions", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", header)
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", header, resp.StatusCode, want)
		}
	}
}

func TestBadBodiesAreRefusedWithThePlace(t *testing.T) {
	s := newStand(t)
	token := s.Token("alice", "default", api.RoleDeveloper)
	subject := `{"name":"app","digest":"` + someDigest + `"}`
	for name, tt := range map[string]struct {
		contentType, body string
		status            int
		code              assay.Code
		detail            string
	}{
		"no content type":     {"", `{}`, 400, assay.CodeInvalid, "expected application/json"},
		"a form":              {"application/x-www-form-urlencoded", `{}`, 400, assay.CodeInvalid, "expected application/json"},
		"almost JSON":         {"application/jsonp", `{}`, 400, assay.CodeInvalid, "expected application/json"},
		"nothing":             {"application/json", ``, 400, assay.CodeInvalid, ""},
		"an unknown key":      {"application/json", "{\"subject\":" + subject + ",\n\"evidence\":[]}", 400, assay.CodeInvalid, "line 2"},
		"a duplicate key":     {"application/json", "{\"gate\":\"a\",\n \"gate\":\"b\"}", 400, assay.CodeInvalid, "line 2"},
		"a key in other case": {"application/json", `{"Subject":` + subject + `}`, 400, assay.CodeInvalid, "subject"},
		"a wrong type":        {"application/json", "{\n\"reports\":{}}", 400, assay.CodeInvalid, "line 2"},
		"cut off":             {"application/json", `{"subject":`, 400, assay.CodeInvalid, "line 1"},
		"two values":          {"application/json", `{"subject":` + subject + `}{}`, 400, assay.CodeInvalid, "line 1"},
		"too deep":            {"application/json", strings.Repeat(`{"subject":`, 200), 400, assay.CodeInvalid, ""},
		"not UTF-8":           {"application/json", "{\"gate\":\"\xff\"}", 400, assay.CodeInvalid, ""},
		"too large":           {"application/json", `{"gate":"` + strings.Repeat("a", api.MaxBody) + `"}`, 413, assay.CodeTooLarge, "1048576"},
		"a bad field":         {"application/json", `{"subject":{"name":"app","digest":"sha256:00"}}`, 400, assay.CodeInvalid, "subject.digest"},
		"no such gate":        {"application/json; charset=utf-8", `{"gate":"shop","subject":` + subject + `}`, 404, assay.CodeNotFound, "shop"},
	} {
		p := s.problem(name, s.do("POST", "/v1/checks", token, tt.contentType, tt.body), tt.status, tt.code)
		if !strings.Contains(p.Detail, tt.detail) || strings.ContainsAny(p.Detail, "\n\x1b") {
			t.Errorf("%s: detail %q does not contain %q on one line", name, p.Detail, tt.detail)
		}
	}
}

func TestBadParametersAreRefused(t *testing.T) {
	s := newStand(t)
	token := s.Token("alice", "default", api.RoleViewer)
	for path, want := range map[string]struct {
		status int
		code   assay.Code
	}{
		"/v1/artifacts?limit=0":                                 {400, assay.CodeInvalid},
		"/v1/artifacts?limit=1001":                              {400, assay.CodeInvalid},
		"/v1/artifacts?limit=ten":                               {400, assay.CodeInvalid},
		"/v1/artifacts?after=x":                                 {400, assay.CodeInvalid},
		"/v1/artifacts/sha256:00":                               {400, assay.CodeInvalid},
		"/v1/artifacts/" + someDigest:                           {404, assay.CodeNotFound},
		"/v1/attestations/..%2f..%2fetc":                        {400, assay.CodeInvalid},
		"/v1/attestations/" + someDigest:                        {404, assay.CodeNotFound},
		"/v1/facts?subject=x":                                   {400, assay.CodeInvalid},
		"/v1/facts?system=yes":                                  {400, assay.CodeInvalid},
		"/v1/facts?system=true":                                 {403, assay.CodeDenied},
		"/v1/facts/" + someID + "/proof?system=true":            {403, assay.CodeDenied},
		"/v1/facts/" + someID + "/publication?system=1":         {400, assay.CodeInvalid},
		"/v1/facts?kind=":                                       {400, assay.CodeInvalid},
		"/v1/facts/x/proof":                                     {400, assay.CodeInvalid},
		"/v1/facts/" + someID + "/proof":                        {404, assay.CodeNotFound},
		"/v1/facts/" + someID + "/publication":                  {404, assay.CodeNotFound},
		"/v1/policies/schema/Gat":                               {404, assay.CodeNotFound},
		"/v1/nothing":                                           {404, assay.CodeNotFound},
		"/v1/":                                                  {404, assay.CodeNotFound},
		"/v1/facts?kind=" + strings.Repeat("a&kind=", 64) + "a": {413, assay.CodeTooLarge},
	} {
		s.problem(path, s.do("GET", path, token, "", ""), want.status, want.code)
	}
}

func TestOtherMethodsAreRefusedWithThoseThatWork(t *testing.T) {
	s := newStand(t)
	token := s.Token("alice", "default", api.RoleViewer)
	for _, tt := range []struct{ method, path, allow string }{
		{"PUT", "/v1/checks", "POST"},
		{"GET", "/v1/checks", "POST"},
		{"OPTIONS", "/v1/exceptions", "GET, HEAD, POST"},
		{"PATCH", "/v1/tokens/0123456789abcdef", "DELETE"},
		{"DELETE", "/v1/artifacts", "GET, HEAD"},
		{"BREW", "/v1/evidence", "POST"},
	} {
		a := s.do(tt.method, tt.path, token, "", "")
		s.problem(tt.method+" "+tt.path, a, 405, assay.CodeInvalid)
		if got := a.header.Get("Allow"); got != tt.allow {
			t.Errorf("%s %s: Allow %q, want %q", tt.method, tt.path, got, tt.allow)
		}
	}
	if a := s.do("HEAD", "/v1/exceptions", token, "", ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
	if a := s.do("HEAD", "/healthz", "", "", ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD /healthz: %d %q", a.status, a.body)
	}
}

func TestOversizedEvidenceIsRefusedAndLeavesNothing(t *testing.T) {
	s := newStand(t)
	token := s.Token("alice", "default", api.RoleDeveloper)
	for name, length := range map[string]int64{"announced": api.MaxEvidence + 1, "not announced": -1} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/evidence", io.LimitReader(zeros{}, api.MaxEvidence+1))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, _ := io.ReadAll(resp.Body) // half an answer fails below
		resp.Body.Close()
		s.problem(name, answer{resp.StatusCode, resp.Header, string(body)}, 413, assay.CodeTooLarge)
	}
	err := filepath.WalkDir(s.BlobDir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s stays behind", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestWhatGoesWrongInsideIsLoggedAndNotTold(t *testing.T) {
	s := newStand(t)
	token := s.Token("alice", "default", api.RoleDeveloper)
	cfg := s.Config
	cfg.Policy = func() (control.Policy, error) { return control.Policy{}, errors.New("disk /secret/path is on fire") }
	srv := httptest.NewServer(s.handler(control.New(cfg), http.NotFoundHandler()))
	defer srv.Close()
	s.url = srv.URL
	p := s.problem("a fault", s.post("/v1/checks", token, `{"subject":{"name":"app","digest":"`+someDigest+`"}}`), 500, assay.CodeInternal)
	if strings.Contains(p.Detail, "secret") {
		t.Errorf("the answer tells %q", p.Detail)
	}
	if !strings.Contains(s.log.String(), "disk /secret/path is on fire") {
		t.Error("the log does not tell")
	}
	cfg.Policy = func() (control.Policy, error) { panic("a bug at /secret/path") }
	srv2 := httptest.NewServer(s.handler(control.New(cfg), http.NotFoundHandler()))
	defer srv2.Close()
	s.url = srv2.URL
	p = s.problem("a panic", s.post("/v1/checks", token, `{"subject":{"name":"app","digest":"`+someDigest+`"}}`), 500, assay.CodeInternal)
	if strings.Contains(p.Detail, "bug") || !strings.Contains(s.log.String(), "a bug at /secret/path") {
		t.Errorf("told %q, logged %q", p.Detail, s.log)
	}
}

// connection is an answer whose connection notes how much time it is given.
type connection struct {
	*httptest.ResponseRecorder
	read, write time.Time
}

func (c *connection) SetReadDeadline(t time.Time) error  { c.read = t; return nil }
func (c *connection) SetWriteDeadline(t time.Time) error { c.write = t; return nil }

func TestWhatGoesThroughMuchIsNotCutOffAfterHalfAMinute(t *testing.T) {
	s := newStand(t)
	h := s.handler(s.Plane, http.NotFoundHandler())
	token := s.Token("olga", "default", api.Roles...)
	for route, slow := range map[string]bool{
		"POST /v1/evidence": true, "POST /v1/inventory/scans": true, "POST /v1/inventory/rebuild": true, "POST /v1/reports/compliance": true,
		"POST /v1/checks": false, "GET /v1/facts": false,
	} {
		method, path, _ := strings.Cut(route, " ")
		req := httptest.NewRequest(method, path, strings.NewReader("{}"))
		req.Header.Set("Authorization", "Bearer "+token)
		c := &connection{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(c, req)
		for _, deadline := range []time.Time{c.read, c.write} {
			if given := !deadline.IsZero() && time.Until(deadline) > 5*time.Minute; given != slow {
				t.Errorf("%s has until %v", route, deadline)
			}
		}
	}
}

func TestARequestWhoseTimeIsOverIsUnavailableAndLogged(t *testing.T) {
	s := newStand(t)
	token := s.Token("alice", "default", api.RoleDeveloper)
	cfg := s.Config
	cfg.Policy = func() (control.Policy, error) { return control.Policy{}, fmt.Errorf("reading: %w", context.Canceled) }
	srv := httptest.NewServer(s.handler(control.New(cfg), http.NotFoundHandler()))
	defer srv.Close()
	s.url = srv.URL
	s.problem("no time", s.post("/v1/checks", token, `{"subject":{"name":"app","digest":"`+someDigest+`"}}`), 503, assay.CodeUnavailable)
	if !strings.Contains(s.log.String(), "request was not finished") {
		t.Errorf("the log does not tell: %s", s.log)
	}
}

func TestSecretsAppearInNoAnswerButTheFirstAndInNoLog(t *testing.T) {
	s := newStand(t)
	admin := s.Token("root", "default", api.RoleAdmin)
	a := s.post("/v1/tokens", admin, `{"name":"alice","roles":["viewer"],"expires":"`+s.Now().Add(time.Hour).Format(time.RFC3339)+`"}`)
	var made api.NewToken
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	secret := strings.SplitN(made.Secret, "_", 3)[2] // which may have more of them
	if a := s.do("GET", "/v1/exceptions", made.Secret, "", ""); a.status != 200 {
		t.Errorf("the new token: %d", a.status)
	}
	answers := s.do("GET", "/v1/tokens", admin, "", "").body + s.do("GET", "/v1/facts", admin, "", "").body +
		s.do("DELETE", "/v1/tokens/"+made.Token.ID, admin, "", "").body + s.do("GET", "/v1/exceptions", made.Secret, "", "").body
	if strings.Contains(answers, secret) || strings.Contains(s.log.String(), secret) {
		t.Error("the secret was repeated")
	}
	s.problem("the revoked token", s.do("GET", "/v1/exceptions", made.Secret, "", ""), 401, assay.CodeUnauthenticated)
}

func TestHealthIsOpenAndReadinessFollowsTheInstallation(t *testing.T) {
	s := newStand(t)
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if a := s.do("GET", path, "", "", ""); a.status != 200 || a.body != want {
			t.Errorf("%s: %d %q", path, a.status, a.body)
		}
	}
	s.ready = func(context.Context) error { return errors.New("the sequencer stopped at /secret/path") }
	if a := s.do("GET", "/readyz", "", "", ""); a.status != 503 || a.body != "not ready\n" {
		t.Errorf("not ready: %d %q", a.status, a.body)
	}
	if !strings.Contains(s.log.String(), "the sequencer stopped") {
		t.Error("the log does not say why")
	}
	if a := s.do("GET", "/healthz", "", "", ""); a.status != 200 {
		t.Errorf("alive: %d", a.status)
	}
}

func TestMetricsParseAndTheirLabelsAreBounded(t *testing.T) {
	s := newStand(t)
	token := s.Token("alice", "default", api.RoleViewer)
	for i := range 20 {
		s.do("GET", fmt.Sprintf("/v1/artifacts/sha256:%064x", i), token, "", "")
		s.do("GET", fmt.Sprintf("/v1/nothing/%d", i), "", "", "")
		s.do("GET", fmt.Sprintf("/elsewhere/%d", i), "", "", "")
		s.do(fmt.Sprintf("BREW%d", i), "/v1/facts", "", "", "")
		s.do("GET", fmt.Sprintf("/ledger/%d", i), "", "", "")
		s.do("GET", fmt.Sprintf("//v1//%d", i), "", "", "")
	}
	a := s.do("GET", "/metrics", "", "", "")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	requests := families["assay_server_request_seconds"]
	if requests == nil {
		t.Fatalf("no assay_server_request_seconds in %s", a.body)
	}
	known := slices.AppendSeq([]string{"none", "GET /healthz", "GET /readyz", "GET /metrics", "/ledger/", "/v1/"}, maps.Keys(server.Routes()))
	for _, m := range requests.GetMetric() {
		for _, l := range m.GetLabel() {
			switch {
			case l.GetName() == "route" && slices.Contains(known, l.GetValue()):
			case l.GetName() == "result" && slices.Contains([]string{"2xx", "3xx", "4xx", "5xx"}, l.GetValue()):
			default:
				t.Errorf("label %s=%q is not bounded", l.GetName(), l.GetValue())
			}
		}
	}
	if strings.Contains(a.body, "default") || strings.Contains(a.body, "alice") {
		t.Error("metrics tell about a tenant")
	}
}

func TestLedgerIsServedWithoutATokenAndNothingElseOfIt(t *testing.T) {
	s := newStand(t)
	var got []string
	ledger := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = append(got, r.Method+" "+r.URL.Path) })
	h := s.handler(s.Plane, ledger)
	for _, path := range []string{"/ledger/checkpoint", "/ledger/epoch-0/tile/0/000"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	}
	if want := []string{"GET /checkpoint", "GET /epoch-0/tile/0/000"}; !slices.Equal(got, want) {
		t.Errorf("the ledger was asked for %v", got)
	}
}

func TestARunningRequestIsFinishedBeforeTheServerStops(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-finish
		_, _ = io.WriteString(w, "done") // read below
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	stopping := make(chan struct{})
	log := slog.New(slog.NewTextHandler(signalling{stopping}, nil))
	go func() { ended <- server.Serve(ctx, ln, slow, nil, log) }()

	answered := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + ln.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body) // compared below
		answered <- string(b)
	}()
	<-started
	stop()
	<-stopping
	select {
	case err := <-ended:
		t.Fatalf("the server ended with %v while a request was running", err)
	default:
	}
	close(finish)
	if got := <-answered; got != "done" {
		t.Errorf("the running request got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("it still accepts connections")
	}
}

// signalling is a log whose first line closes a channel.
type signalling struct{ first chan struct{} }

func (s signalling) Write(p []byte) (int, error) {
	close(s.first)
	return len(p), nil
}
