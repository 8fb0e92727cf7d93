package mitigate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/model"
)

const loadModel = "strategy/shop-scale/load"

// days is a board whose load follows the clocks around a level that wanders, and from
// drift on the same curve half a day later, three times as high.
type days struct {
	*board
	drift  time.Time
	levels []float64 // by hour from two weeks before noon on
}

func (d *days) at(t time.Time) float64 {
	curve, level := 300*math.Sin(2*math.Pi*float64(t.Hour())/24), d.levels[int(t.Sub(noon.AddDate(0, 0, -15))/time.Hour)]
	if t.Before(d.drift) {
		return 500 + curve + level
	}
	return 3 * (500 - curve + level)
}

func (d *days) Past(_ context.Context, _, _ string, start, end time.Time, step time.Duration) ([]float64, error) {
	var out []float64
	for t := start; t.Before(end); t = t.Add(step) {
		out = append(out, d.at(t))
	}
	return out, nil
}

func newDays(t *testing.T) *days {
	t.Helper()
	d := &days{board: newBoard(t, "scale", replicas), drift: noon.AddDate(1, 0, 0)}
	rng, level := rand.New(rand.NewPCG(7, 7)), 0.0
	for range 60 * 24 {
		level = 0.9*level + 12*rng.NormFloat64()
		d.levels = append(d.levels, level)
	}
	f := d.s.Spec.Scale.Forecast
	f.Step, f.Past, f.Zone = "1h", "14d", "UTC"
	d.s.Spec.Scale.Events = nil
	d.s.Spec.Scale.Max = 200
	d.ctl = d.controller(d.declared, func(c *mitigate.Config) { c.Gauges = d })
	return d
}

// hours runs the strategy, an hour at a time, until something is so, at most n times.
func (d *days) hours(n int, until func() bool) bool {
	d.t.Helper()
	for range n {
		d.set("load", d.at(d.now.Add(time.Hour)))
		if d.step(time.Hour); until != nil && until() {
			return true
		}
	}
	return until == nil
}

func (d *days) model() *model.Model {
	d.t.Helper()
	m, err := model.Get(d.t.Context(), d.store, d.s.Namespace, loadModel)
	if err != nil {
		d.t.Fatal(err)
	}
	return &m
}

func (d *days) words() string {
	d.t.Helper()
	s := d.step(time.Second)
	return strings.Join(s.Decision.Reasons, "\n")
}

// replayAll makes every recorded decision again.
func replayAll(t *testing.T, b *board) {
	t.Helper()
	facts := b.facts(assay.FactMitigationDecided)
	if len(facts) == 0 {
		t.Fatal("nothing is recorded")
	}
	for _, f := range facts {
		var p mitigate.DecidedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			t.Fatal(err)
		}
		r, err := b.blobs.Open(t.Context(), p.Law)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err := firstErr(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		if _, identical, err := mitigate.Replay(data); err != nil || !identical {
			t.Fatalf("the decision of %s is made again: %t, %v", f.Time, identical, err)
		}
	}
}

func firstErr(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestRulesDecideWhileWhatActionsDoIsNotKnownAnyMore(t *testing.T) {
	r := example(t, "scale")
	trouble(r, "scale")
	r.fresh()
	r.in.Reactive = "the model was demoted to rules: its errors have risen"
	d, err := mitigate.Decide(r.s, r.st, r.in, nil, r.now)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Decision(); got.Action.Kind != assay.ActionAdjust || len(got.Beliefs) > 0 || !strings.Contains(strings.Join(got.Reasons, "\n"), "reactive: declared thresholds decide") {
		t.Errorf("%+v", got)
	}
	data, err := d.Encode()
	if err != nil || !bytes.Contains(data, []byte(`"reactive":"the model was demoted`)) {
		t.Fatalf("what it rests on is not recorded: %v", err)
	}
	if _, identical, err := mitigate.Replay(data); err != nil || !identical {
		t.Errorf("made again: %t, %v", identical, err)
	}
}

func TestAForecastIsMadeAnewWhenThePastIsAnother(t *testing.T) {
	d := newDays(t)
	d.ctl = d.controller(d.declared, func(c *mitigate.Config) { c.Gauges = d.board }) // it knows no past
	d.set("load", 500)
	d.step(time.Minute)
	if got := d.words(); strings.Contains(got, "predictive: ") {
		t.Fatalf("without a past it says %s", got)
	}
	d.ctl = d.controller(d.declared, func(c *mitigate.Config) { c.Gauges = d })
	if err := d.ctl.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.words(); strings.Contains(got, "predictive: ") {
		t.Errorf("its forecast is not due, and it says %s", got)
	}
	d.ctl.Foresee()
	if got := d.words(); !strings.Contains(got, "predictive: ") {
		t.Errorf("once history came in it says %s", got)
	}
}
