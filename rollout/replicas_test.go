package rollout_test

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/rollout"
)

// shaken are readings of a service with four replicas of each version that all fail for a second
// out of eight.
func shaken(readings []assay.Reading, random *rand.Rand) []assay.Reading {
	for i := range readings {
		r := &readings[i]
		if r.Indicator != sim.IndicatorErrors {
			continue
		}
		if r.Start.Unix()%8 == 0 {
			r.Good -= r.Good * 2 / 5
		}
		r.Replicas = make([]assay.Replica, 4)
		for n := range r.Replicas {
			r.Replicas[n].Name = string(rune('a' + n))
		}
		for n := range r.Total {
			p := &r.Replicas[random.IntN(4)]
			p.Total++
			if n < r.Good {
				p.Good++
			}
		}
	}
	return readings
}

// records are those of a rollout's decisions, oldest first.
func (s *stage) records() (out []decide.Record) {
	s.t.Helper()
	for _, f := range s.facts(assay.FactRolloutDecided) {
		blob, err := s.blobs.Open(s.t.Context(), payload[rollout.DecidedPayload](s.t, f).Record)
		if err != nil {
			s.t.Fatal(err)
		}
		data, err := io.ReadAll(blob)
		_ = blob.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		r, err := decide.ParseRecord(data)
		if err != nil {
			s.t.Fatal(err)
		}
		if again, err := decide.Replay(data); err != nil || !again.Identical {
			s.t.Errorf("decision %s is not made again to the byte: %v", f.ID, err)
		}
		out = append(out, r)
	}
	return out
}

// What hits all replicas together is no burst while both versions have traffic, and is one
// again once the new version is held against the old one's past.
func TestReplicasAreComparedSideBySideAndThePastHasNone(t *testing.T) {
	s := newStage(t, 2, 0.01)
	random := rand.New(rand.NewPCG(1, 1))
	step := func() {
		got, err := s.world.Step(250 * time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		s.readings = append(s.readings, shaken(got, random)...)
	}
	for range 4 * 90 {
		step()
	}
	p := plan()
	p.Indicators[0].Replicas = true
	s.acquire() // simulated time ran past its lease
	spec := errorsSpec()
	spec.ReplicaLabel = "pod"
	r, err := s.ctl.Propose(t.Context(), rollout.Proposal{
		Namespace: namespace, Actor: "ada", Name: "shop", Plan: p, Canary: "v2", Baseline: 90 * time.Second, Watch: 30 * time.Second,
		Digest: assay.DigestOf([32]byte{2}), Indicators: []rollout.Indicator{{Spec: spec}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Plan.Indicators[0].Calibration; c == nil || c.Arms != 4 || c.Dispersion > 2 {
		t.Fatalf("the past of four replicas says %+v", c)
	}
	for range 4 * 300 {
		step()
		if r = s.pass(r.ID, 0); r.Status.Ended() {
			break
		}
	}
	if r.Status != api.RolloutPromoted {
		t.Fatalf("ended %s: %s", r.Status, r.Reason)
	}
	beside, past := 0, 0
	for _, d := range s.records() {
		watched := len(d.Plan.Steps) == 1
		for _, one := range d.Readings {
			if sides := len(one.Replicas); sides > 0 && (watched || one.Version != "v1" || sides != 4) {
				t.Errorf("%s has %d replicas; watched %v", one.Version, sides, watched)
			} else if sides > 0 {
				beside++
			}
		}
		v := d.Decision.Tests[0]
		switch {
		case watched:
			past++
			if d.Plan.Indicators[0].Replicas || v.Dispersion < 10 {
				t.Errorf("the watch divides evidence by %v: %s", v.Dispersion, v.Basis)
			}
		case v.Dispersion > 3:
			t.Errorf("with replicas side by side evidence is divided by %v: %s", v.Dispersion, v.Basis)
		case d.Decision.Engine != decide.Engine:
			t.Errorf("replicas are compared by %s", d.Decision.Engine)
		}
	}
	if beside == 0 || past == 0 {
		t.Errorf("%d readings with replicas, %d decisions of the watch: nothing was looked at", beside, past)
	}
	if !strings.Contains(r.Reason, "watch") {
		t.Errorf("it ended without the watch: %s", r.Reason)
	}
}
