package ui_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/halt"
)

// A town whose kill switches are files of its own.
func withSwitches(t *testing.T) (*town, halt.Switches) {
	t.Helper()
	w, switches := empty(t, viewer), halt.In(t.TempDir())
	cfg := w.Config
	cfg.Halts = switches.List
	w.handler = w.pages(control.New(cfg), w.Now, viewer)
	return w, switches
}

func TestTheOverviewSaysWhichSwitchesArePulledSinceWhenByWhomAndWhy(t *testing.T) {
	w, switches := withSwitches(t)
	if body := w.get("/").Body.String(); strings.Contains(body, "Kill switch") {
		t.Errorf("nothing is pulled:\n%s", body)
	}
	at := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	p, err := switches.Pull(halt.Scope{Namespace: namespace, Service: "shop"}, "alice", "the numbers <look> wrong", at)
	must(t, err)
	_, err = switches.Pull(halt.Scope{}, "bob", "nothing works", at)
	must(t, err)
	_, err = switches.Pull(halt.Scope{Namespace: "elsewhere"}, "mallory", "a secret of others", at)
	must(t, err)
	rec := w.get("/")
	says(t, rec, http.StatusOK, "Nothing is done everywhere: nothing works. Since 1 Mar 12:30 UTC, by bob.",
		"Nothing is done for service shop of "+namespace+": the numbers &lt;look&gt; wrong. Since 1 Mar 12:30 UTC, by alice.", "/facts/"+string(p.ID))
	if strings.Contains(rec.Body.String(), "a secret of others") {
		t.Error("the page shows a switch of another namespace")
	}
}

func TestHaltsAndLiftsStandAmongTheActions(t *testing.T) {
	w, switches := withSwitches(t)
	recorder := halt.NewRecorder(switches, w.Store, w.Now, slog.New(slog.DiscardHandler), nil)
	scope := halt.Scope{Namespace: namespace, Service: "shop"}
	_, err := switches.Pull(scope, "alice", "the numbers look wrong", w.Now().Add(-time.Hour))
	must(t, err)
	must(t, recorder.Record(t.Context()))
	_, err = switches.Lift(scope, "bob", "they were right", w.Now().Add(time.Second))
	must(t, err)
	must(t, recorder.Record(t.Context()))
	dev := w.as("dev@example.com", api.RoleDeveloper)
	says(t, w.get("/", dev), http.StatusOK, "the numbers look wrong (recorded later: the store was down)", "they were right", "alice", "bob")
}
