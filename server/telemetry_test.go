package server_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"assay.dev/assay/api"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/server"
	"github.com/prometheus/client_golang/prometheus"
)

// besides is a server with a handler that identifies its senders, and with pages.
func besides(t *testing.T) (*stand, *prometheus.Registry) {
	t.Helper()
	s := &stand{Installation: controltest.New(t), t: t, log: &logs{}}
	reg := prometheus.NewRegistry()
	identify := server.Identify(s.Plane, api.RoleAgent)
	srv := httptest.NewServer(server.New(server.Config{
		Plane: s.Plane, Ledger: http.NotFoundHandler(), Registry: reg, Log: slog.New(slog.DiscardHandler),
		Telemetry: map[string]http.Handler{"POST /v1/metrics": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			namespace, name, err := identify(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, namespace+"/"+name)
		})},
		Pages: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page "+r.URL.Path) }),
	}))
	t.Cleanup(srv.Close)
	s.url, s.client = srv.URL, srv.Client()
	return s, reg
}

func TestTelemetryIsTakenFromAgentsOnly(t *testing.T) {
	s, reg := besides(t)
	for _, role := range api.Roles {
		a := s.do("POST", "/v1/metrics", s.Token("host-1", "team-a", role), "", "")
		if ok := a.status == 200 && a.body == "team-a/host-1"; ok != (role == api.RoleAgent) {
			t.Errorf("as %s: %d %q", role, a.status, a.body)
		}
	}
	if a := s.do("POST", "/v1/metrics", "", "", ""); a.status != 403 {
		t.Errorf("without a token: %d %q", a.status, a.body)
	}
	if a := s.do("GET", "/v1/metrics", "", "", ""); a.status != 405 || a.header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, allowed %q", a.status, a.header.Get("Allow"))
	}
	// It is observed like any other route.
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				seen = seen || l.GetValue() == "POST /v1/metrics"
			}
		}
	}
	if !seen {
		t.Error("the handler's requests are not counted")
	}
}

func TestPagesTakeWhatNoOtherRouteTakes(t *testing.T) {
	s, _ := besides(t)
	for path, want := range map[string]string{"/": "page /", "/rollouts/1": "page /rollouts/1", "/healthz": "ok\n"} {
		if a := s.do("GET", path, "", "", ""); a.status != 200 || a.body != want {
			t.Errorf("%s: %d %q", path, a.status, a.body)
		}
	}
	if a := s.do("GET", "/v1/nothing", "", "", ""); a.status != 404 || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("an unknown API path: %d %q", a.status, a.body)
	}
}
