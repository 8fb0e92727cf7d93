package mitigate_test

import (
	"testing"
	"time"

	"assay.dev/assay/mitigate"
)

// The trail keeps one look of each minute, for three hours, with the band that was in
// force and the signals that were known.
func TestATrailTellsMinuteByMinuteWhereALeverStood(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	b.set("load", 150)
	s := b.step(10 * time.Second)
	for range 12 {
		s = b.step(10 * time.Second)
	}
	if len(s.Trail) < 3 || len(s.Trail) > 4 {
		t.Fatalf("%d points of two minutes", len(s.Trail))
	}
	last := s.Trail[len(s.Trail)-1]
	if len(last.Levers) != 1 || last.Levers[0].Target != "replicas" || last.Levers[0].Now != 5 || !(last.Levers[0].Low < 5 && last.Levers[0].High > 5) {
		t.Errorf("the lever stood at %+v", last.Levers)
	}
	if len(last.Signals) != 1 || last.Signals[0].Value != 150 {
		t.Errorf("the signals were %+v", last.Signals)
	}
	b.set("load", 1000)
	for range 6 {
		s = b.step(20 * time.Second)
	}
	if n := len(s.Moves); n == 0 || s.Moves[n-1].To != b.at("replicas") || s.MostToggles != 5 {
		t.Errorf("moves %+v, and the lever stands at %v; it may turn %d times", s.Moves, b.at("replicas"), s.MostToggles)
	}
	b.age = time.Hour // what is stale was not known
	b.step(time.Minute)
	if s = b.step(time.Minute); len(s.Trail[len(s.Trail)-1].Signals) != 0 {
		t.Error("a stale value stands in the trail")
	}
	for range 200 {
		s = b.step(time.Minute)
	}
	if len(s.Trail) != 180 {
		t.Errorf("%d points are kept", len(s.Trail))
	}
	list, err := mitigate.List(t.Context(), b.store, b.s.Namespace)
	if err != nil || len(list) != 1 || list[0].Trail != nil || list[0].Moves != nil {
		t.Errorf("a list has trails: %d, %v", len(list), err)
	}
}
