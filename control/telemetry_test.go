package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/budget"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/tsdb"
	"assay.dev/assay/store"
	"github.com/prometheus/prometheus/model/labels"
)

const importSLO = `apiVersion: openslo/v1
kind: SLO
metadata: {name: shop-works}
spec:
  service: shop
  indicator:
    metadata: {name: shop-works}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: 'sum(requests_total{code="500"})'}}}
        total: {metricSource: {type: Prometheus, spec: {query: sum(requests_total)}}}
  timeWindow: [{duration: 1d, isRolling: true}]
  objectives: [{target: 0.99}]
`

// archive is an installation that takes history.
type archive struct {
	*controltest.Installation
	t     *testing.T
	db    *tsdb.DB
	plane *control.Plane
	told  []string // what learns anew
}

func newArchive(t *testing.T, wrap func(signal.Staging) signal.Staging) *archive {
	t.Helper()
	in := controltest.Idle(t)
	in.AddPolicy("slo.yaml", importSLO)
	db, err := tsdb.Open(t.TempDir(), tsdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	p, err := in.Config.Policy()
	if err != nil {
		t.Fatal(err)
	}
	objectives, _, err := control.ReadObjectives(p.Revision.Objectives())
	if err != nil {
		t.Fatal(err)
	}
	watch := signal.NewWatch()
	books := budget.New(budget.Config{Source: db, Namespace: "default", Watch: watch, Now: in.Now})
	if err := books.SetObjectives(objectives); err != nil {
		t.Fatal(err)
	}
	a := &archive{Installation: in, t: t, db: db}
	cfg := in.Config
	cfg.History = &control.History{
		Namespace: "default",
		Stage: func(now time.Time) (signal.Staging, error) {
			s, err := db.Stage("default", watch, now)
			if err == nil && wrap != nil {
				s = wrap(s)
			}
			return s, err
		},
		Relearn: func(services []string, publish func() error) error {
			a.told = append(a.told, services...)
			return publish()
		},
		Recount: func(ids []string) { a.told = append(a.told, ids...) },
		Foresee: func() { a.told = append(a.told, "forecasts") },
	}
	a.plane = control.New(cfg)
	return a
}

func (a *archive) as(name, namespace string, roles ...api.Role) *control.Session {
	return a.plane.As(control.Caller{Name: name, Namespace: namespace, Roles: roles})
}

// piece is an hour of a counter that ends two hours ago, shifted by a value.
func (a *archive) piece(instance string) io.Reader {
	a.t.Helper()
	var list []signal.Sample
	for m := range 60 {
		at := a.Now().Add(-3 * time.Hour).Truncate(time.Minute).Add(time.Duration(m) * time.Minute)
		list = append(list, signal.Sample{Labels: labels.FromStrings("__name__", "requests_total", "code", "200", "instance", instance), Time: at.UnixMilli(), Value: float64(m)})
	}
	data, err := signal.MarshalWrite(list)
	if err != nil {
		a.t.Fatal(err)
	}
	return bytes.NewReader(data)
}

func (a *archive) imports() (out []assay.Fact) {
	a.t.Helper()
	err := a.Store.View(a.t.Context(), func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: "default", Kinds: []string{assay.FactTelemetryImported}})
		for _, row := range rows {
			out = append(out, row.Fact)
		}
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

// readable is how many series can be read.
func (a *archive) readable() int {
	a.t.Helper()
	res, err := a.db.Instant(a.t.Context(), "default", "last_over_time(requests_total[4h])", a.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	return len(res.Lines)
}

func TestAnImportIsReadableAsAWholeWithItsFactAndToldToWhoLearns(t *testing.T) {
	a := newArchive(t, nil)
	s, ctx := a.as("olga", "default", api.RoleOperator), t.Context()
	begun, err := s.BeginImport(ctx, api.ImportRequest{Source: "file history.om"})
	if err != nil {
		t.Fatal(err)
	}
	for n, instance := range []string{"a", "b", "b"} { // the answer to the second is lost, and it comes again
		taken, err := s.ImportPiece(ctx, begun.ID, min(n+1, 2), a.piece(instance))
		if err != nil || taken.Accepted != 60 {
			t.Fatalf("%+v, %v", taken, err)
		}
	}
	_, err = s.ImportPiece(ctx, begun.ID, 4, a.piece("c"))
	wantCode(t, "a piece out of turn", err, assay.CodeConflict)
	if a.readable() != 0 || len(a.imports()) != 0 {
		t.Error("it is readable before it is complete")
	}
	done, err := s.CompleteImport(ctx, begun.ID, api.ImportCompletion{})
	if err != nil || done.Samples != 120 || done.Series != 2 || a.readable() != 2 {
		t.Fatalf("%+v, %v: %d series", done, err, a.readable())
	}
	facts := a.imports()
	var recorded api.Import
	if len(facts) != 1 || facts[0].ID != done.Fact || facts[0].Actor != "olga" || facts[0].Retention != assay.RetainAudit || json.Unmarshal(facts[0].Payload, &recorded) != nil {
		t.Fatalf("%+v", facts)
	}
	if recorded.Fact = done.Fact; !reflect.DeepEqual(recorded, done) {
		t.Errorf("recorded %+v, answered %+v", recorded, done)
	}
	if want := []string{"shop", "shop-works/0", "forecasts"}; !reflect.DeepEqual(a.told, want) {
		t.Errorf("told %v", a.told)
	}
	_, err = s.CompleteImport(ctx, begun.ID, api.ImportCompletion{})
	wantCode(t, "the same once more", err, assay.CodeNotFound)
	// The same again is no news.
	a.told = nil
	for _, dry := range []bool{true, false} {
		begun, err := s.BeginImport(ctx, api.ImportRequest{Source: "file history.om"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.ImportPiece(ctx, begun.ID, 1, a.piece("a")); err != nil {
			t.Fatal(err)
		}
		if again, err := s.CompleteImport(ctx, begun.ID, api.ImportCompletion{DryRun: dry}); err != nil || again.Samples != 0 || again.Duplicates != 60 || again.Fact != "" {
			t.Errorf("%+v, %v", again, err)
		}
	}
	if len(a.imports()) != 1 || len(a.told) != 0 {
		t.Errorf("%d facts, told %v", len(a.imports()), a.told)
	}
}

func TestOnlyAnOperatorImportsAndOneAtATime(t *testing.T) {
	a := newArchive(t, nil)
	ctx := t.Context()
	req := api.ImportRequest{Source: "file history.om"}
	for _, role := range api.Roles {
		if role == api.RoleOperator {
			continue
		}
		s := a.as("eve", "default", role)
		_, err := s.BeginImport(ctx, req)
		wantCode(t, string(role), err, assay.CodeDenied)
		_, err = s.ImportPiece(ctx, "x", 1, a.piece("a"))
		wantCode(t, string(role), err, assay.CodeDenied)
		_, err = s.CompleteImport(ctx, "x", api.ImportCompletion{})
		wantCode(t, string(role), err, assay.CodeDenied)
		wantCode(t, string(role), s.AbandonImport(ctx, "x"), assay.CodeDenied)
	}
	_, err := a.as("olga", "bank", api.RoleOperator).BeginImport(ctx, req)
	wantCode(t, "another namespace", err, assay.CodeNotFound)
	olga, otto := a.as("olga", "default", api.RoleOperator), a.as("otto", "default", api.RoleOperator)
	_, err = olga.BeginImport(ctx, api.ImportRequest{Source: "a\nb"})
	wantCode(t, "a source of two lines", err, assay.CodeInvalid)
	begun, err := olga.BeginImport(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	_, err = otto.BeginImport(ctx, req)
	wantCode(t, "beside another", err, assay.CodeConflict)
	_, err = otto.ImportPiece(ctx, begun.ID, 1, a.piece("a"))
	wantCode(t, "a piece of somebody else's", err, assay.CodeNotFound)
	wantCode(t, "somebody else's", otto.AbandonImport(ctx, begun.ID), assay.CodeNotFound)
	_, err = olga.ImportPiece(ctx, begun.ID, 1, strings.NewReader("no snappy"))
	wantCode(t, "no piece", err, assay.CodeInvalid)
	_, err = olga.ImportPiece(ctx, begun.ID, 1, bytes.NewReader(make([]byte, signal.MaxBody+1)))
	wantCode(t, "a long piece", err, assay.CodeTooLarge)
	a.Advance(signal.MaxImportIdle)
	if _, err := otto.BeginImport(ctx, req); err != nil {
		t.Errorf("once the other has been silent: %v", err)
	}
	_, err = olga.CompleteImport(ctx, begun.ID, api.ImportCompletion{})
	wantCode(t, "one that was dropped", err, assay.CodeNotFound)
	if a.readable() != 0 || len(a.imports()) != 0 {
		t.Error("something was imported")
	}
}

// unmoved is a staging whose blocks cannot be moved once.
type unmoved struct {
	signal.Staging
	fails error
}

func (u *unmoved) Publish(context.Context) error { return u.fails }

func TestAnImportThatIsRecordedIsFinishedByTheNextStart(t *testing.T) {
	fails := assay.Errorf(assay.CodeUnavailable, "the disk is gone")
	a := newArchive(t, func(s signal.Staging) signal.Staging { return &unmoved{s, fails} })
	s, ctx := a.as("olga", "default", api.RoleOperator), t.Context()
	begun, err := s.BeginImport(ctx, api.ImportRequest{Source: "file history.om"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ImportPiece(ctx, begun.ID, 1, a.piece("a")); err != nil {
		t.Fatal(err)
	}
	_, err = s.CompleteImport(ctx, begun.ID, api.ImportCompletion{})
	if wantCode(t, "it cannot be moved", err, assay.CodeUnavailable); err == nil || !strings.Contains(err.Error(), "finished when the server starts next") {
		t.Errorf("%v", err)
	}
	if len(a.imports()) != 1 || a.readable() != 0 {
		t.Fatalf("%d facts, %d series", len(a.imports()), a.readable())
	}
	err = a.db.Recover(ctx, func(namespace string, fact assay.FactID) (bool, error) {
		return control.ImportRecorded(ctx, a.Store, namespace, fact)
	})
	if err != nil || a.readable() != 1 {
		t.Errorf("%v: %d series", err, a.readable())
	}
}
