package rollout_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
)

// works lets a second pass in which the old version does three queries a request, the new one
// so many times that, and both keep a pool at 0.3; gone says that the new one stopped
// telling.
func (s *stage) works(times float64, gone bool) {
	s.t.Helper()
	got, err := s.world.Step(time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range got {
		s.readings = append(s.readings, r)
		if r.Indicator != sim.IndicatorErrors || gone && r.Version == "v2" {
			continue
		}
		each := 3.0
		if r.Version == "v2" {
			each *= times
		}
		r.Indicator, r.Good, r.Buckets, r.Count = "queries", r.Total, nil, uint64(each*float64(r.Total))
		s.readings = append(s.readings, r)
		r.Indicator, r.Count, r.Total, r.Good, r.Sum, r.Least, r.Greatest = "pool", 0, 1, 1, 0.3, 0.3, 0.3
		s.readings = append(s.readings, r)
	}
}

// worked is a rollout that watches queries and a pool beside errors, after a minute and a half of past.
func worked(t *testing.T, change ...func(*rollout.Proposal)) (*stage, api.Rollout) {
	t.Helper()
	s := newStage(t, 5, 0.01)
	for range 90 {
		s.works(1, false)
	}
	p := plan()
	p.Indicators = append(p.Indicators,
		decide.Indicator{Name: "queries", Weight: 1, Required: true, Kind: decide.KindCount},
		decide.Indicator{Name: "pool", Weight: 1, Kind: decide.KindGauge, Max: 1, Every: time.Second})
	s.acquire()
	proposal := rollout.Proposal{
		Namespace: namespace, Actor: "ada", Name: "shop", Plan: p, Canary: "v2", Baseline: time.Minute, Digest: assay.DigestOf([32]byte{2}),
		Indicators: []rollout.Indicator{
			{Spec: errorsSpec()},
			{Spec: signal.Spec{Service: "shop", Name: "queries", Count: "queries_total", Total: "requests_total"}},
			{Spec: signal.Spec{Service: "shop", Name: "pool", Gauge: "pool_share", Max: 1}},
		},
	}
	for _, f := range change {
		f(&proposal)
	}
	r, err := s.ctl.Propose(t.Context(), proposal)
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func (s *stage) untilWorked(id string, seconds int, times float64, gone func(second int) bool) (r api.Rollout) {
	s.t.Helper()
	for n := range seconds {
		s.works(times, gone != nil && gone(n))
		if r = s.pass(id, 0); r.Status.Ended() {
			break
		}
	}
	return r
}

func TestTwiceTheWorkIsAbortedAndTheSameIsPromoted(t *testing.T) {
	s, r := worked(t)
	for _, i := range r.Plan.Indicators[1:] {
		if i.Calibration == nil || i.Calibration.Slots < 12 || i.Calibration.Aborts > 0 {
			t.Errorf("%s learned %+v of the old version's past", i.Name, i.Calibration)
		}
	}
	if a, b := r.Plan.Indicators[1].Expected, r.Plan.Indicators[2].Expected; a < 2.99 || a > 3 || b < 0.299 || b > 0.301 {
		t.Errorf("the old version is expected to have %v queries and a pool of %v", a, b)
	}
	end := s.untilWorked(r.ID, 300, 2, nil)
	if end.Status != api.RolloutAborted || end.Weight != 0 || !strings.Contains(end.Reason, "by queries: 6 per request against 3 per request") {
		t.Errorf("%s: %s", end.Status, end.Reason)
	}
	if end.Canary.Total == 0 || end.Observed == nil {
		t.Errorf("what people see first are errors: %+v, %v", end.Canary, end.Observed)
	}
	s, r = worked(t)
	if end = s.untilWorked(r.ID, 600, 1, nil); end.Status != api.RolloutPromoted || end.Weight != 100 {
		t.Errorf("%s: %s", end.Status, end.Reason)
	}
	if v := end.Decision.Tests[2]; v.Measure != assay.MeasureGauge || v.CanaryMean < 0.299 || v.CanaryMean > 0.301 || v.Canary.Total < 5 {
		t.Errorf("the pool: %+v", v)
	}
}

// Samples of a gauge are no requests, wherever in the plan it stands.
func TestTheLoadOfVersionsIsOfWhatCountsRequests(t *testing.T) {
	loads := func(change ...func(*rollout.Proposal)) api.Load {
		s, r := worked(t, change...)
		if r = s.untilWorked(r.ID, 30, 1, nil); r.Load == nil {
			t.Fatalf("nothing is known of the load: %+v", r)
		}
		return *r.Load
	}
	gaugeFirst := func(p *rollout.Proposal) {
		slices.Reverse(p.Plan.Indicators)
		slices.Reverse(p.Indicators)
	}
	if first, usual := loads(gaugeFirst), loads(); first != usual || usual.Canary < 10 || usual.Control < 10 {
		t.Errorf("load %+v with a gauge first, and %+v with it last", first, usual)
	}
}

// A version that is about to be promoted, or aborted, and stops telling what it does: neither happens.
func TestWorkThatIsNoLongerToldHolds(t *testing.T) {
	for _, times := range []float64{1, 2} {
		s, r := worked(t)
		end := s.untilWorked(r.ID, 200, times, func(second int) bool { return second >= 1 })
		if end.Status != api.RolloutRunning || end.Weight != 10 || !strings.Contains(end.Reason, "queries is unknown") {
			t.Errorf("%v times: %s at %d %%: %s", times, end.Status, end.Weight, end.Reason)
		}
	}
}
