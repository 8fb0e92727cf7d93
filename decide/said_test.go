package decide

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"assay.dev/assay"
)

// What tests said before is remembered beside the state and is no part of it: a decision is
// the same to the byte whether the state was kept or read back, also where the factor that
// evidence is divided by changes from look to look, and after a step was taken.
func TestWhatWasSaidBeforeIsRememberedAndDecidesNothing(t *testing.T) {
	p := NewPlan()
	p.Name, p.Service, p.Canary, p.Control = "kept", "shop", "v2", "v1"
	p.Indicators = []Indicator{
		{Name: "errors", Weight: 1, Required: true, Tolerable: 0.01},
		{Name: "latency", Weight: 1, Required: true, Bounds: []float64{0.1, 1}},
	}
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	allow := func(assay.Action) []assay.GuardVerdict { return nil }
	s, err := Begin(p, start)
	if err != nil {
		t.Fatal(err)
	}
	remembered, divided, steps := 0, 0, 0
	for n := range 120 {
		from := start.Add(time.Duration(n) * time.Second)
		var readings []assay.Reading
		for _, version := range []string{"v2", "v1"} {
			r := assay.Reading{Service: "shop", Indicator: "errors", Version: version, Good: 1000, Total: 1000, Start: from, End: from.Add(time.Second), EventTime: from.Add(time.Second), Completeness: 1}
			if n%5 == 0 && n > 40 {
				r.Good -= 20 // bursts, as both versions have them
			}
			latency := r
			latency.Indicator, latency.Good = "latency", r.Total
			latency.Buckets = []assay.Bucket{{LE: 0.1, Count: 500 + uint64(n%7)}, {LE: 1, Count: 990}}
			readings = append(readings, r, latency)
		}
		if n%10 == 9 {
			readings = nil // nothing new: everything was said
		}
		made := func(s State) (Record, []byte) {
			r, err := Decide(p, s, readings, allow, from.Add(time.Second))
			if err != nil {
				t.Fatal(err)
			}
			data, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			return r, data
		}
		for i := range s.said {
			if a := s.Watches[min(i, 1)].Tests[max(i-1, 0)]; s.said[i].evidence == &a.LogNorm[0] {
				remembered++
			}
		}
		r, kept := made(s)
		read := s
		read.said = nil
		if _, again := made(read); !bytes.Equal(kept, again) {
			t.Fatalf("look %d decides\n%s\nand without what was said before\n%s", n, kept, again)
		}
		for _, v := range r.Decision.Tests {
			if v.Dispersion > 1 {
				divided++
			}
		}
		if s = r.After; r.Decision.Action.Kind == assay.ActionAdvance {
			steps++
			if s, err = s.Applied(p, r.Decision.Action, from.Add(time.Second)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if remembered < 300 || divided < 20 || steps < 1 {
		t.Error(fmt.Sprint("remembered ", remembered, ", divided ", divided, " and stepped ", steps, " times: too seldom to show anything"))
	}
	// Evidence that is not what was spoken of is weighed itself.
	tests, err := p.tests()
	if err != nil {
		t.Fatal(err)
	}
	changed := s.Watches[0].Tests[0]
	changed.Treated.Events += 50
	if got := tests[0].say(&changed, s.said[0].phi, s.said[0].calm, &s.said[0]); got.harm <= s.said[0].harm {
		t.Errorf("50 bad events more: harm is %v, and was %v before them", got.harm, s.said[0].harm)
	}
}
