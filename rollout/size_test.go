package rollout_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// copied is a stage that counts the same under as many names as one likes, and of each
// class of bad responses as many as make evidence grow in every part.
type copied struct {
	*stage
	classes []string
}

// Read implements signal.Source.
func (c copied) Read(ctx context.Context, q signal.Query) (out []assay.Reading, err error) {
	name := q.Indicator.Name
	q.Indicator.Name = errorsSpec().Name
	whole, err := c.stage.Read(ctx, q)
	for _, r := range whole {
		r.Indicator = name
		r.Good = 0
		for i, class := range c.classes {
			r.Classes = append(r.Classes, assay.Class{Name: class, Count: r.Total * uint64(30+i) / 100})
		}
		out = append(out, r)
	}
	return out, err
}

// A plan with as many tests as one may have is stored with all its evidence. A record
// that the store refuses would keep the rollout from aborting.
func TestTheLargestPlanCanBeStored(t *testing.T) {
	s := newStage(t, 80, 0.013)
	c := copied{stage: s}
	for i := range 20 {
		c.classes = append(c.classes, fmt.Sprintf("class-%02d-with-a-long-name", i))
	}
	s.with(func(conf *rollout.Config) { conf.Source = c })
	s.past(time.Minute)
	p := plan()
	p.Horizon, p.OnHorizon, p.Alpha = 24*time.Hour, decide.HorizonAsk, 1e-12
	id := s.start(p, func(prop *rollout.Proposal) {
		prop.Plan.Indicators, prop.Indicators = nil, nil
		for i := range decide.MaxTests / len(c.classes) {
			spec := errorsSpec()
			spec.Name = fmt.Sprintf("errors-of-a-long-name-%02d", i)
			prop.Plan.Indicators = append(prop.Plan.Indicators, decide.Indicator{Name: spec.Name, Weight: 1, Required: true, Classes: c.classes})
			prop.Indicators = append(prop.Indicators, rollout.Indicator{Spec: spec})
		}
		prop.Watch = time.Hour
	})
	largest, fact := 0, 0
	var r api.Rollout
	for range 60 {
		r = s.pass(id, 500*time.Millisecond)
		err := s.store.View(t.Context(), func(tx store.Reader) error {
			v, err := tx.Get(store.Key{Namespace: namespace, Bucket: "rollout", Name: id})
			largest = max(largest, len(v.Data))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range s.facts() {
		fact = max(fact, len(f.Payload))
	}
	d, err := json.Marshal(r.Decision)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d tests: record %d bytes, decision %d, path %d, fact %d; at most %d", r.Status, len(r.Decision.Tests), largest, len(d), len(r.Path), fact, store.MaxPayload)
	if largest > store.MaxPayload*3/4 || fact > store.MaxPayload*3/4 {
		t.Errorf("a record has %d and a fact %d bytes; the store takes %d, and strata and longer names come on top", largest, fact, store.MaxPayload)
	}
}
