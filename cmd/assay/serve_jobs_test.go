package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/gameday"
	"assay.dev/assay/internal/term"
	"github.com/prometheus/client_golang/prometheus"
)

func TestEvidenceExpiresHoweverOftenTheLedgerIsAudited(t *testing.T) {
	for every, want := range map[time.Duration]string{
		0:              "4 expired, 0 audited",
		time.Hour:      "24 expired, 24 audited",
		12 * time.Hour: "4 expired, 2 audited",
	} {
		t.Run(every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour+time.Minute)
				defer cancel()
				expired, audited := 0, 0
				(&audits{every: every}).run(ctx, func() { expired++ }, func() { audited++ })
				if got := fmt.Sprintf("%d expired, %d audited", expired, audited); got != want {
					t.Errorf("a day saw %s; want %s", got, want)
				}
			})
		})
	}
}

func TestCoverageThatCannotBeMeasuredLeavesTheOtherMetrics(t *testing.T) {
	in := controltest.New(t)
	_, err := in.As("agent", "default", api.RoleAgent).Report(t.Context(), api.InventoryReport{Environment: "prod", Sightings: []api.Sighting{{Service: "s", Image: "i:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	reg.MustRegister(&coverageMetrics{plane: in.Plane, namespace: "default", now: in.Now, log: slog.New(slog.NewTextHandler(&log, nil))},
		prometheus.NewGauge(prometheus.GaugeOpts{Name: "another"}))
	names := func() (list []string) {
		t.Helper()
		all, err := reg.Gather()
		if err != nil {
			t.Errorf("/metrics would answer 500: %v", err)
		}
		for _, m := range all {
			list = append(list, m.GetName())
		}
		return list
	}
	if got := names(); len(got) != 3 {
		t.Fatalf("metrics %v", got)
	}
	if err := in.Store.Close(); err != nil {
		t.Fatal(err)
	}
	in.Advance(time.Minute)
	for range 3 {
		if got := names(); len(got) != 1 || got[0] != "another" {
			t.Errorf("with a store that is gone: %v", got)
		}
	}
	if n := strings.Count(log.String(), "could not be measured"); n != 1 {
		t.Errorf("it was tried %d times at once:\n%s", n, &log)
	}
}

func TestAPlayThatIsInterruptedDidNotComeOut(t *testing.T) {
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	stay := func() error { return nil } // until somebody stops looking
	good := gameday.Report{OK: true, Checks: []gameday.Check{{Name: "one", OK: true}}}
	for name, c := range map[string]struct {
		ctx    context.Context
		failed error
		stay   func() error
		code   int
		ok     bool
		says   string
	}{
		"all came out":                      {t.Context(), nil, nil, exitOK, true, ""},
		"it stayed up until it was stopped": {stopped, nil, stay, exitOK, true, ""},
		"it was stopped before its end":     {stopped, context.Canceled, stay, exitError, false, "interrupted before its end: 1 outcomes"},
		"and was not to stay":               {stopped, context.Canceled, nil, exitError, false, "interrupted before its end"},
		"it could not be played":            {t.Context(), errors.New("no go command"), nil, exitError, false, "no go command"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, said bytes.Buffer
			env := func(string) string { return "" }
			a := &app{format: "json", out: term.New(&out, env), err: term.New(&said, env)}
			code := a.code(a.tellPlay(c.ctx, good, c.failed, c.stay))
			var r gameday.Report
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatalf("no report: %v in %q", err, &out)
			}
			a.format, out = "table", bytes.Buffer{}
			_ = a.tellPlay(c.ctx, good, c.failed, c.stay) // the error is that of above
			if verdict := out.String(); c.ok != strings.Contains(verdict, "came out as described: 1 of 1 outcomes") || !c.ok && !strings.Contains(verdict, "ended before it was over: 1 of 1 outcomes") {
				t.Errorf("the verdict is %q", verdict)
			}
			if code != c.code || r.OK != c.ok || !strings.Contains(said.String(), c.says) {
				t.Errorf("exit %d, ok %v, %q", code, r.OK, &said)
			}
		})
	}
}

func TestAReportIsCutToWhatAServerTakes(t *testing.T) {
	r := api.InventoryReport{Source: "cluster", Environment: "prod", Complete: true}
	for i := range 5000 {
		r.Sightings = append(r.Sightings, api.Sighting{Service: fmt.Sprint("s", i), Image: strings.Repeat("i", 400)})
	}
	seen := 0
	for _, part := range fitting(r, api.MaxBody) {
		data, err := json.Marshal(part)
		if err != nil || len(data) > api.MaxBody || part.Complete || part.Environment != "prod" || part.Source != "cluster" {
			t.Errorf("a part of %d bytes, complete %v, %v", len(data), part.Complete, err)
		}
		for _, g := range part.Sightings {
			if g.Service != fmt.Sprint("s", seen) {
				t.Fatalf("%s is at the place of s%d", g.Service, seen)
			}
			seen++
		}
	}
	if seen != len(r.Sightings) {
		t.Errorf("%d of %d were sent", seen, len(r.Sightings))
	}
	r.Sightings = r.Sightings[:10]
	if got := fitting(r, api.MaxBody); len(got) != 1 || !got[0].Complete {
		t.Errorf("what fits is cut into %d", len(got))
	}
}
