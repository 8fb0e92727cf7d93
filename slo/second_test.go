package slo_test

import (
	"strings"
	"testing"
	"time"

	"assay.dev/assay/slo"
)

const secondSLO = `apiVersion: openslo/v1
kind: SLO
metadata: {name: shop}
spec:
  service: shop
  indicator:
    metadata: {name: shop}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: app_bad, fallback: door_bad}}}
        total: {metricSource: {type: Prometheus, spec: {query: app_total, fallback: door_total}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  objectives: [{target: 0.999}]
`

func TestAnIndicatorMayHaveASecondSource(t *testing.T) {
	parse := func(text string) ([]slo.Objective, error) {
		set, err := slo.Parse("slo.yaml", []byte(text))
		if err != nil {
			return nil, err
		}
		return slo.Resolve(set)
	}
	list, err := parse(secondSLO)
	if err != nil {
		t.Fatal(err)
	}
	got, has := list[0].Indicator.Second()
	if !has || got.Bad.Text != "door_bad" || got.Total.Text != "door_total" || got.Good != nil || got.Total.Fallback != "" {
		t.Errorf("its second source is %+v", got)
	}
	if list[0].Indicator.Bad.Text != "app_bad" {
		t.Errorf("the first became %+v", list[0].Indicator.Bad)
	}
	for name, tc := range map[string]struct{ old, new, want string }{
		"of the total alone":                {", fallback: door_bad", "", "slo.yaml:11:54: spec.indicator.spec.ratioMetric.bad.metricSource.spec.fallback is missing: a second source counts all of the indicator, or nothing of it"},
		"of the bad alone":                  {", fallback: door_total", "", "ratioMetric.total.metricSource.spec.fallback is missing"},
		"the same":                          {"fallback: door_bad", "fallback: app_bad", "fallback is the query itself: it would be missing with it; name series of another sender, or leave it out"},
		"empty":                             {"fallback: door_bad", `fallback: " "`, "fallback is not PromQL: it is read while query tells nothing"},
		"not a text":                        {"fallback: door_bad", "fallback: [door_bad]", "fallback is not PromQL"},
		"what it means to others is theirs": {"type: Prometheus, spec: {query: app_bad, fallback: door_bad}", "type: Datadog, spec: {query: app_bad, fallback: 3}", "bad.metricSource.spec.fallback is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(secondSLO, tc.old) {
				t.Fatalf("%q is not in the document", tc.old)
			}
			_, err := parse(strings.Replace(secondSLO, tc.old, tc.new, 1))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestARingKnowsWhichMinutesRestOnTheSecondSource(t *testing.T) {
	r := slo.NewRing(10 * time.Minute)
	at := func(m int) time.Time { return epoch.Add(time.Duration(m) * time.Minute) }
	for m, second := range []bool{true, false, true, true, false, false, true} {
		put := r.Put
		if second {
			put = r.PutSecond
		}
		if err := put(at(m), slo.Counts{Good: 1, Total: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if s := r.Sum(at(0), at(10)); s.Known != 7 || s.Second != 4 || s.Total != 7 {
		t.Errorf("%+v", s)
	}
	if s := r.Slices(at(0), at(6), 2*time.Minute, slo.One); s.Known != 3 || s.Second != 2 {
		t.Errorf("a slice rests on the second source if a minute of it does: %+v", s)
	}
	if got := r.Seconds(at(1), at(10), 5); len(got) != 2 || got[0] != (slo.Span{From: at(2), To: at(4)}) || got[1] != (slo.Span{From: at(6), To: at(7)}) {
		t.Errorf("%v", got)
	}
	if got := r.Seconds(at(0), at(10), 1); len(got) != 1 || !got[0].From.Equal(at(6)) {
		t.Errorf("the newest one: %v", got)
	}
	// The last word counts, and what is pushed out is forgotten.
	if err := r.Put(at(6), slo.Counts{}); err != nil || r.Second(at(6)) {
		t.Errorf("put again from the first: %v", err)
	}
	if err := r.Put(at(13), slo.Counts{}); err != nil || r.Second(at(2)) || r.Second(at(12)) || r.Second(at(3)) {
		t.Errorf("what left the ring rests on nothing: %v", err)
	}
	if len(slo.NewRing(time.Hour).Seconds(at(0), at(60), 5)) != 0 {
		t.Error("an empty ring")
	}
}
