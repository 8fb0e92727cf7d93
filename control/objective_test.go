package control_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/budget"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/policy"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/replay"
	"assay.dev/assay/slo"
)

const openSLO = `apiVersion: openslo/v1
kind: SLO
metadata: {name: NAME}
spec:
  service: shop
  indicator:
    metadata: {name: NAME}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: 'sum(requests_total{code="500"})'}}}
        total: {metricSource: {type: Prometheus, spec: {query: sum(requests_total)}}}
  timeWindow: [{duration: 1h, isRolling: true}]
  objectives: [{target: TARGET}]
`

func openSLOFile(path, name, target string) policy.File {
	return policy.File{Path: path, Content: []byte(strings.NewReplacer("NAME", name, "TARGET", target).Replace(openSLO))}
}

// withBooks gives an installation the books of two objectives, over an hour in
// which one of 200 requests failed.
func withBooks(t *testing.T) *controltest.Installation {
	t.Helper()
	in := controltest.New(t)
	now := in.Now().UTC().Truncate(time.Minute)
	var tape []assay.Reading
	for m := range 61 {
		at := now.Add(time.Duration(m-60) * time.Minute)
		for _, name := range []string{"strict", "lax"} {
			tape = append(tape, assay.Reading{Service: "shop", Indicator: name, Version: "v1", Good: 199, Total: 200,
				Start: at, End: at.Add(time.Minute), EventTime: at.Add(time.Second), Completeness: 1})
		}
	}
	source, err := replay.New("default", tape)
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := control.ReadObjectives([]policy.File{openSLOFile("a.yaml", "lax", "0.9"), openSLOFile("b.yaml", "strict", "0.999")})
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
	in.Plane = control.New(in.Config)
	return in
}

func TestObjectivesAreSortedByWhatTheyHaveSpent(t *testing.T) {
	s := withBooks(t).As("alice", "default", api.RoleViewer)
	list, err := s.Objectives(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	strict, lax := list[0], list[1]
	if strict.Objective.SLO != "strict" || strict.Spent != 5 || strict.Remaining != -48 || strict.Allowed != 12 || !strict.Known {
		t.Errorf("%+v", strict)
	}
	if lax.Spent != 0.05 || lax.Total != 12_000 || lax.Good != 11_940 || lax.Minutes != nil || lax.Burns[0].State != slo.StateOK || lax.Burns[0].Long != 0.05 {
		t.Errorf("%+v", lax)
	}
	one, err := s.Objective(t.Context(), "strict/0")
	if err != nil || len(one.Minutes) != budget.MinutesShown || one.Minutes[len(one.Minutes)-2].Total != 200 {
		t.Errorf("%+v, %v", one, err)
	}
	_, err = s.Objective(t.Context(), "unheard-of")
	wantCode(t, "an unknown name", err, assay.CodeNotFound)
}

// told are the counts of two senders: "app" has told nothing of the last ten minutes.
type told struct{ now time.Time }

func (s told) Read(_ context.Context, q signal.Query) ([]assay.Reading, error) {
	end := q.End
	if q.Indicator.Bad[0].Matchers[0].Value == "app_bad" && end.After(s.now.Add(-10*time.Minute)) {
		end = s.now.Add(-10 * time.Minute)
	} else if end.After(s.now) {
		end = s.now
	}
	minutes := uint64(max(0, end.Sub(q.Start)/time.Minute))
	if minutes == 0 {
		return nil, nil
	}
	return []assay.Reading{{Service: "shop", Indicator: "shop", Version: "v1", Good: 199 * minutes, Total: 200 * minutes,
		Start: q.Start, End: q.End, EventTime: end.Add(-time.Second), Completeness: 1}}, nil
}

func TestAnObjectiveSaysWhatRestsOnItsSecondSource(t *testing.T) {
	in := controltest.New(t)
	now := in.Now().UTC().Truncate(time.Minute)
	file := openSLOFile("a.yaml", "shop", "0.9")
	file.Content = []byte(strings.NewReplacer("{query: 'sum(requests_total{code=\"500\"})'}", "{query: app_bad, fallback: door_bad}", "{query: sum(requests_total)}", "{query: app_total, fallback: door_total}").Replace(string(file.Content)))
	list, _, err := control.ReadObjectives([]policy.File{file})
	if err != nil {
		t.Fatal(err)
	}
	books := budget.New(budget.Config{Source: told{now}, Namespace: "default"})
	if err := books.SetObjectives(list); err != nil {
		t.Fatal(err)
	}
	for books.Step(t.Context(), now) {
	}
	in.Config.Books = books
	in.Plane = control.New(in.Config)
	o, err := in.As("alice", "default", api.RoleViewer).Objective(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	// The minute before the silence is among them: the first may have told of a part of it.
	want := []slo.Span{{From: now.Add(-11 * time.Minute), To: now}}
	if o.Second != 11 || !slices.Equal(o.SecondSpans, want) || !o.Known || o.Total != 60*200 || !strings.HasPrefix(o.Instead, "the first has told nothing since ") {
		t.Errorf("%d minutes, %v, of %d events: %q", o.Second, o.SecondSpans, o.Total, o.Instead)
	}
	if b := o.Burns[0]; b.LongSecond != 11 || b.ShortSecond != 5 {
		t.Errorf("the burn does not say so: %+v", b)
	}
	for _, m := range o.Minutes {
		if second := !m.Time.Before(want[0].From) && m.Time.Before(now); m.Second != second {
			t.Errorf("minute %s: %+v", m.Time, m)
		}
	}
}

func TestObjectivesOfAnotherNamespaceAreNotFound(t *testing.T) {
	s := withBooks(t).As("bob", "team-b", api.RoleViewer)
	if list, err := s.Objectives(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	_, err := s.Objective(t.Context(), "strict")
	wantCode(t, "another namespace's objective", err, assay.CodeNotFound)
	_, err = controltest.Idle(t).As("carol", "default", api.RoleViewer).Objective(t.Context(), "strict")
	wantCode(t, "a plane without books", err, assay.CodeNotFound)
}

func TestSignalsOfAPolicyAreCheckedTogether(t *testing.T) {
	const head = "apiVersion: assay.dev/v1alpha1\nkind: Rollout\nmetadata: {name: shop}\nspec:\n  service: shop\n  objective: OBJECTIVE\n" +
		"  indicators:\n    - name: errors\n      bad: BAD\n      total: sum(requests_total)\n"
	rollout := func(objective, bad string) policy.File {
		return policy.File{Path: "rollout.yaml", Content: []byte(strings.NewReplacer("OBJECTIVE", objective, "BAD", bad).Replace(head))}
	}
	slos := openSLOFile("slo.yaml", "availability", "0.99")
	for name, c := range map[string]struct {
		files []policy.File
		want  []string
	}{
		"good":       {[]policy.File{slos, rollout("availability", "sum(errors_total)")}, nil},
		"by index":   {[]policy.File{slos, rollout("availability/0", "sum(errors_total)")}, nil},
		"unknown":    {[]policy.File{slos, rollout("latency", "sum(errors_total)")}, []string{`rollout.yaml:6:14: spec.objective "latency" is no objective of an OpenSLO file in this policy`}},
		"a rate":     {[]policy.File{slos, rollout("availability", "rate(errors_total[1m])")}, []string{`rollout.yaml:9:12: spec.indicators[0].bad`, "is not a sum of counters"}},
		"not PromQL": {[]policy.File{slos, rollout("availability", "sum(")}, []string{`rollout.yaml:9:12: spec.indicators[0].bad "sum(" is not PromQL`}},
		"a mean of a gauge": {[]policy.File{slos, {Path: "rollout.yaml", Content: []byte(strings.NewReplacer("OBJECTIVE", "availability", "bad: BAD", "gauge: avg(pool_share)", "total: sum(requests_total)", "max: 1").Replace(head))}},
			[]string{`rollout.yaml:9:14: spec.indicators[0].gauge`, "is not a selector of a gauge"}},
		"work that is no counter": {[]policy.File{slos, {Path: "rollout.yaml", Content: []byte(strings.NewReplacer("OBJECTIVE", "availability", "bad: BAD", "count: rate(queries_total[1m])").Replace(head))}},
			[]string{`rollout.yaml:9:14: spec.indicators[0].count`, "is not a sum of counters"}},
		"a second source that is a rate": {[]policy.File{slos, {Path: "rollout.yaml", Content: []byte(strings.NewReplacer("OBJECTIVE", "availability", "BAD", "sum(errors_total)",
			"total: sum(requests_total)", "total: sum(requests_total)\n      fallback: {bad: 'rate(door_errors_total[1m])', total: sum(door_requests_total)}").Replace(head))}},
			[]string{`rollout.yaml:11:23: spec.indicators[0].fallback.bad`, "is not a sum of counters"}},
		"a strategy's objective": {[]policy.File{slos, {Path: "strategy.yaml", Content: []byte("apiVersion: assay.dev/v1alpha1\nkind: Strategy\nmetadata: {name: shop-scale}\nspec:\n  service: shop\n  objective: latency\n  signals: [{name: load, query: sum(load)}]\n  scale: {perReplica: 60, max: 12}\n")}},
			[]string{`strategy.yaml:6:14: spec.objective "latency" is no objective of an OpenSLO file in this policy`}},
		"a wrong SLO":        {[]policy.File{openSLOFile("slo.yaml", "availability", "1.2"), rollout("availability", "x_total")}, []string{"slo.yaml:14:25: spec.objectives[0].target", "rollout.yaml:6:14"}},
		"the same SLO twice": {[]policy.File{slos, openSLOFile("twice.yaml", "availability", "0.9")}, []string{`twice.yaml:3:18: metadata.name "availability" is used by an SLO of another file`}},
	} {
		t.Run(name, func(t *testing.T) {
			rev, err := policy.NewRevision(c.files)
			if err != nil {
				t.Fatal(err)
			}
			err = control.CheckSignals(rev)
			if (err == nil) != (c.want == nil) {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\ndoes not say %s", err, want)
				}
			}
		})
	}
}

func TestNotesOfObjectiveFilesKeepTheirPlace(t *testing.T) {
	f := openSLOFile("slo.yaml", "availability", "0.99")
	f.Content = []byte(strings.Replace(string(f.Content), "duration: 1h", "duration: 60m", 1))
	_, notes, err := control.ReadObjectives([]policy.File{f})
	if err != nil || len(notes) != 1 || notes[0].File != "slo.yaml" || notes[0].Line != 1 || !strings.HasPrefix(notes[0].Msg, "SLO availability: the time window 60m is minutes") {
		t.Errorf("%+v, %v", notes, err)
	}
}
