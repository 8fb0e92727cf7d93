package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestABypassPagesItsOwner(t *testing.T) {
	t.Parallel()
	type alert struct {
		Labels, Annotations map[string]string
		StartsAt, EndsAt    time.Time
	}
	alerts := make(chan alert, 100)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var list []alert
		if err := json.NewDecoder(r.Body).Decode(&list); err != nil || r.URL.Path != "/api/v2/alerts" {
			t.Errorf("%s %v", r.URL.Path, err)
		}
		for _, a := range list {
			alerts <- a
		}
	}))
	defer s.Close()
	w := newWorld(t)
	bob := w.token("bob", "approver")
	d := w.serve("--notify", s.URL)
	as := []string{"ASSAY_SERVER=" + d.url, bob}
	out, _ := w.must(0, as, "exception", "bypass", "--rule", "ship/no-critical-vulnerabilities", "--reason", "INC-42: the shop is down", "--until", "1h", "-o", "json")
	var by struct{ ID string }
	field(t, out, &by)
	next := func() alert {
		t.Helper()
		select {
		case a := <-alerts:
			return a
		case <-time.After(30 * time.Second):
			t.Fatal("nobody was told within 30 s")
			return alert{}
		}
	}
	a := next()
	if a.Labels["alertname"] != "AssayEmergencyBypass" || a.Labels["exception"] != by.ID || a.Labels["owner"] != "bob" || a.Annotations["description"] != "INC-42: the shop is down" || !time.Now().Before(a.EndsAt) {
		t.Errorf("%+v", a)
	}
	w.must(0, as, "exception", "revoke", by.ID, "--reason", "it is up again")
	if over := next(); over.Labels["exception"] != by.ID || time.Now().Before(over.EndsAt) || !strings.Contains(over.Annotations["revoked"], "it is up again") {
		t.Errorf("%+v", over)
	}
}
