package decide_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

// Each line of what telemetry may hand in that is not what it should be.
func TestBadInput(t *testing.T) {
	p := fullPlan()
	refused := func(name string, change func(r *assay.Reading)) {
		t.Helper()
		r := fullSecond(0)
		change(&r[2])
		if _, _, err := decide.Next(p, begin(t, p), r, allow, start.Add(time.Second)); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	refused("NaN series", func(r *assay.Reading) { r.Sum = math.NaN() })
	refused("NaN completeness", func(r *assay.Reading) { r.Completeness = math.NaN() })
	refused("NaN bound", func(r *assay.Reading) { r.Buckets[0].LE = math.NaN() })
	refused("negative latencies", func(r *assay.Reading) { r.Buckets[0].LE = -0.01 })
	refused("buckets that fall", func(r *assay.Reading) { r.Buckets[1].Count = 1 })
	refused("an interval that goes back", func(r *assay.Reading) { r.End = r.Start })
	many := fullSecond(0)
	many[2].Buckets = make([]assay.Bucket, 1_000_000)
	if _, _, err := decide.Next(p, begin(t, p), many, allow, start.Add(time.Second)); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("a million buckets: %v, want too large", err)
	}
}

func TestConstantSeriesAndTwoPointsHold(t *testing.T) {
	p := plan()
	s := begin(t, p)
	for n := range 2 { // two points
		var d assay.Decision
		if d, s = next(t, p, s, second(n, [2]uint64{0, 5}, [2]uint64{0, 45}), allow, start.Add(time.Duration(n+1)*time.Second)); d.Action.Kind != assay.ActionHold {
			t.Errorf("two points: %s", d.Words)
		}
	}
	for n := 2; n < 600; n++ { // nothing ever happens
		var d assay.Decision
		if d, s = next(t, p, s, second(n, [2]uint64{0, 100}, [2]uint64{0, 900}), allow, start.Add(time.Duration(n+1)*time.Second)); d.Action.Kind != assay.ActionHold || d.Remaining != -1 {
			t.Fatalf("a constant series: %s", d.Words)
		}
	}
}

func TestBucketLayoutThatChangesIsUnknownAndSaid(t *testing.T) {
	p := fullPlan()
	s := begin(t, p)
	_, s = next(t, p, s, fullSecond(0), allow, start.Add(time.Second))
	r := fullSecond(1)
	for i := range r {
		if len(r[i].Buckets) > 0 {
			r[i].Buckets = r[i].Buckets[:3]
		}
	}
	d, s := next(t, p, s, r, allow, start.Add(2*time.Second))
	if d.Signals[1].Known || !strings.Contains(d.Signals[1].Reason, "no bound at 0.5") || d.Action.Kind != assay.ActionHold {
		t.Errorf("%+v: %s", d.Signals[1], d.Words)
	}
	if d, _ = next(t, p, s, fullSecond(2), allow, start.Add(3*time.Second)); !d.Signals[1].Known {
		t.Errorf("the old layout is back: %+v", d.Signals[1])
	}
}

// A counter that was reset shows as an interval with fewer requests, or none in one
// arm. It is no evidence in either direction.
func TestCounterThatWasResetIsNoEvidence(t *testing.T) {
	p := plan()
	s := begin(t, p)
	d, s := next(t, p, s, second(0, [2]uint64{2, 150}, [2]uint64{18, 1350}), allow, start.Add(time.Second))
	before := d.Harm
	for n, r := range [][]assay.Reading{
		second(1, [2]uint64{0, 0}, [2]uint64{18, 1350}),
		second(2, [2]uint64{2, 150}, [2]uint64{0, 0}),
	} {
		d, s = next(t, p, s, r, allow, start.Add(time.Duration(n+2)*time.Second))
	}
	if math.Abs(d.Harm-before) > 1e-9 || d.Action.Kind != assay.ActionHold {
		t.Errorf("harm went from %v to %v: %s", before, d.Harm, d.Words)
	}
}

// A share that is not what was asked for, changes between readings, or is all or
// nothing: evidence goes by what was observed, and equal versions stay equal.
func TestWeightsThatChangeInMidSegmentAreNoHarm(t *testing.T) {
	p := plan()
	s := begin(t, p)
	for n := range 200 {
		share := []uint64{10, 60, 3, 0, 100, 25}[n%6] // percent of 2,000 requests
		canary, control := 20*share, 20*(100-share)
		var d assay.Decision
		d, s = next(t, p, s, second(n, [2]uint64{canary / 50, canary}, [2]uint64{control / 50, control}), allow, start.Add(time.Duration(n+1)*time.Second))
		if d.Action.Kind == assay.ActionAbort {
			t.Fatalf("second %d: %s", n, d.Words)
		}
		if v := d.Tests[0]; v.RatioLow > 1 || v.RatioHigh != 0 && v.RatioHigh < 1 {
			t.Fatalf("second %d: the ratio of equal versions is said to be %v to %v", n, v.RatioLow, v.RatioHigh)
		}
	}
}
