package client_test

import (
	"reflect"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/budget"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/policy"
	"assay.dev/assay/signal/replay"
)

const shopSLO = `apiVersion: openslo/v1
kind: SLO
metadata: {name: shop}
spec:
  service: shop
  indicator:
    metadata: {name: shop}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: 'sum(requests_total{code="200"})'}}}
        total: {metricSource: {type: Prometheus, spec: {query: 'sum(requests_total)'}}}
  timeWindow:
    - duration: 1d
      isRolling: false
      calendar: {startTime: "2026-01-01 00:00:00", timeZone: Europe/Berlin}
  objectives: [{target: 0.99}, {targetPercent: 99.9}]
`

func TestObjectivesTravelWhole(t *testing.T) {
	in := controltest.Idle(t)
	start := in.Now().UTC().Truncate(time.Minute).Add(-time.Minute)
	source, err := replay.New("default", []assay.Reading{{Service: "shop", Indicator: "shop", Version: "v1", Good: 995, Total: 1000,
		Start: start, End: start.Add(time.Minute), EventTime: start, Completeness: 1}})
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := control.ReadObjectives([]policy.File{{Path: "slo.yaml", Content: []byte(shopSLO)}})
	if err != nil {
		t.Fatal(err)
	}
	books := budget.New(budget.Config{Source: source, Namespace: "default"})
	if err := books.SetObjectives(list); err != nil {
		t.Fatal(err)
	}
	for books.Step(t.Context(), in.Now()) {
	}
	in.Config.Books = books
	fixed := in.Now()
	in.Config.Now = func() time.Time { return fixed } // both answers are about the same instant
	in.Plane = control.New(in.Config)
	remote, local := dial(t, serve(t, in), in.Token("alice", "default", api.RoleViewer)), in.As("alice", "default", api.RoleViewer)

	far, err := remote.Objectives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	near, err := local.Objectives(t.Context())
	if err != nil || len(far) != 2 || far[0].Objective.Index != 1 || far[0].Total != 1000 || far[0].Spent != 5 {
		t.Fatalf("%+v, %v", far, err)
	}
	for i := range near {
		// A zone travels as its offset.
		if !far[i].Objective.Window.Start.Equal(near[i].Objective.Window.Start) {
			t.Errorf("the window starts at %s, %s", far[i].Objective.Window.Start, near[i].Objective.Window.Start)
		}
		far[i].Objective.Window.Start = near[i].Objective.Window.Start
	}
	if !reflect.DeepEqual(far, near) {
		t.Errorf("remote\n%+v\nlocal\n%+v", far, near)
	}
	one, err := remote.Objective(t.Context(), "shop/1")
	if err != nil || one.Objective.Index != 1 || len(one.Minutes) != budget.MinutesShown {
		t.Errorf("%+v, %v", one, err)
	}
	for name, want := range map[string]assay.Code{"shop": assay.CodeInvalid, "nothing/here": assay.CodeNotFound, "a b?c#d%": assay.CodeNotFound} {
		if _, err := remote.Objective(t.Context(), name); assay.CodeOf(err) != want {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}
