package main

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

// What the benchmark measures is what the product decides with: the same counts,
// handed to decide as readings, give the same evidence and abort at the same look.
func TestSimulationIsTheShippedDecision(t *testing.T) {
	sim, err := newSimulation(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := decide.NewPlan()
	p.Service, p.Canary, p.Control = "shop", "v2", "v1"
	p.Indicators = []decide.Indicator{
		{Name: "errors", Weight: 1, Required: true},
		{Name: "latency", Weight: 1, Required: true, Bounds: []float64{1, 2, 3, 4, 5}},
	}
	for run := range uint64(10) {
		now := time.Unix(1_800_000_000, 0)
		s, err := decide.Begin(p, now)
		if err != nil {
			t.Fatal(err)
		}
		r := rollout{sim: sim, rng: rand.New(rand.NewPCG(7, run)), all: true}
		for aborted := false; !aborted; {
			before := r
			e, err := r.look(50, 0.01, 0.06)
			if err != nil {
				t.Fatal(err)
			}
			readings := append(reading("v2", before, r, treated, now), reading("v1", before, r, control, now)...)
			now = now.Add(time.Second)
			var d assay.Decision
			if d, s, err = decide.Next(p, s, readings, func(assay.Action) []assay.GuardVerdict { return nil }, now); err != nil {
				t.Fatal(err)
			}
			alone := math.IsInf(e, -1) // harm that rests on one look
			if ours := d.Harm - d.AbortAt - math.Log(alpha); !alone && math.Abs(ours-e) > 1e-9 {
				t.Fatalf("run %d: decide has ln E %v above its threshold, the simulation %v", run, ours, e)
			}
			if aborted = d.Action.Kind == assay.ActionAbort; aborted != (e >= -math.Log(alpha)) {
				t.Fatalf("run %d: decided %s at ln E %v", run, d.Action.Kind, e)
			}
		}
	}
}

func treated(s infer.State) infer.Count { return s.Treated }
func control(s infer.State) infer.Count { return s.Control }

// reading is what one arm counted between two states.
func reading(version string, before, after rollout, arm func(infer.State) infer.Count, from time.Time) []assay.Reading {
	r := assay.Reading{Service: "shop", Version: version, Start: from, End: from.Add(time.Second), EventTime: from.Add(time.Second), Completeness: 1}
	r.Total = arm(after.errors).Exposure - arm(before.errors).Exposure
	errors, latency := r, r
	errors.Indicator, latency.Indicator = "errors", "latency"
	errors.Good = r.Total - (arm(after.errors).Events - arm(before.errors).Events)
	latency.Good = r.Total
	for i := range after.bounds {
		above := arm(after.bounds[i]).Events - arm(before.bounds[i]).Events
		latency.Buckets = append(latency.Buckets, assay.Bucket{LE: float64(i + 1), Count: r.Total - above})
	}
	return []assay.Reading{errors, latency}
}

func TestFiguresDependOnTheSeedAlone(t *testing.T) {
	sim, err := newSimulation(40, 3)
	if err != nil {
		t.Fatal(err)
	}
	var means [2]float64
	for i := range means {
		delays, err := sim.detect(changes[0], true, 40, 9)
		if err != nil {
			t.Fatal(err)
		}
		means[i], _ = meanSD(delays)
	}
	if means[0] != means[1] {
		t.Errorf("the same seed gave %v and %v", means[0], means[1])
	}
}
