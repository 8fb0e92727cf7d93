package gameday

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnAutoscalerWantsWhatTheLoadOfHalfASecondAsksFor(t *testing.T) {
	for load, expected := range map[float64]int{0: 2, 30: 2, 31: 3, 110: 8, 10_000: 8} {
		if got := want(load); got != expected {
			t.Errorf("%d workers for %v tasks a second; expected %d", got, load, expected)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := &scaler{tray: newTray(), wants: fewWorkers, bursts: true, began: time.Now()}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+scaleEvery/2)
		defer cancel()
		go func() { // somebody does what comes
			for ctx.Err() == nil {
				if given, ok, _ := s.tray.ask(ctx, asking{Worker: "w"}); ok {
					s.tray.note(asking{Worker: "w", Done: given.ID})
				}
			}
		}()
		if err := s.run(ctx); err != nil {
			t.Fatal(err)
		}
		if _, changes, events, _ := s.counts(); changes < 8 || events != 0 {
			t.Errorf("it changed its mind %d times in ten seconds of bursts and moved %d workers that it does not move", changes, events)
		}
		if n := s.tray.last; n < 670 || n > 685 { // five seconds of each, and the first quarter of another burst
			t.Errorf("%d tasks came", n)
		}
	})
}

func TestAnAutoscalerThatThrashesBreaksTasksOffAndNoneIsLost(t *testing.T) {
	j := testJob(t, 0) // its tray, and the address of that
	j.tray.closed = false
	w := j.d.World
	w.cfg.Env = append(os.Environ(), "TEST_WORKER=1")
	workers := &crew{w: w, name: "worker", gone: j.tray.drop, run: func(name string) command {
		return command{path: w.cfg.Exe, env: w.environment(), args: []string{"demo", "worker", "--tray", j.url, "--name", name, "--takes", "20ms"}}
	}}
	s := &scaler{tray: j.tray, crew: workers, itself: true, wants: 0}
	look := func(arrived int) {
		t.Helper()
		s.arrived = arrived
		s.tray.add(arrived)
		if err := s.look(); err != nil {
			t.Fatal(err)
		}
	}
	look(60)
	if n := len(w.Processes()); n != manyWorkers || s.events != manyWorkers {
		t.Errorf("%d workers and %d events for 60 tasks in half a second", n, s.events)
	}
	untilDone(t, j, 8)
	for s.tray.stands().again == 0 { // until some were broken off
		if err := workers.hold("", 0); err != nil {
			t.Fatal(err)
		}
		if err := workers.hold("", manyWorkers); err != nil {
			t.Fatal(err)
		}
		s.tray.add(8)
		untilDone(t, j, s.tray.stands().done+8)
	}
	untilDone(t, j, int(s.tray.last))
	if j.tray.right() != int(s.tray.last) {
		t.Errorf("%d of %d are right", j.tray.right(), s.tray.last)
	}
	look(0)
	if n := len(w.Processes()); n != fewWorkers || s.changes != 2 {
		t.Errorf("%d workers after %d changes", n, s.changes)
	}
	if err := workers.hold("", 0); err != nil {
		t.Fatal(err)
	}
}
