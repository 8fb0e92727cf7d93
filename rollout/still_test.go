package rollout_test

import (
	"reflect"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/store"
)

// stored is the version of the rollout's record in the store.
func (s *stage) stored(id string) (version int64) {
	s.t.Helper()
	err := s.store.View(s.t.Context(), func(r store.Reader) error {
		v, err := r.Get(store.Key{Namespace: namespace, Bucket: "rollout", Name: id})
		version = v.Version
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return version
}

// TestALookWithoutDataIsStoredOnlyIfItSaysSomething: a thousand rollouts are looked at each
// second, and of most of them there is nothing new.
func TestALookWithoutDataIsStoredOnlyIfItSaysSomething(t *testing.T) {
	s := newStage(t, 1, 0.01)
	p := plan()
	p.MinDuration, p.MaxAge = time.Hour, 5*time.Second // it stays at its first step
	r := s.propose(p)
	for range 30 {
		s.pass(r.ID, time.Second)
	}
	before := s.stored(r.ID)
	s.pass(r.ID, 0)
	if now := s.stored(r.ID); now != before {
		t.Errorf("a look without data was stored: version %d became %d", before, now)
	}
	var got api.Rollout
	for range 4 { // a reading of the tape is taken whole or not at all
		got = s.pass(r.ID, 250*time.Millisecond)
	}
	if now := s.stored(r.ID); now == before {
		t.Errorf("a look with data was not stored: the rollout is %s: %s", got.Status, got.Reason)
	}
	// Without data for longer than it is fresh, that is said, and stored.
	if _, err := s.world.Step(6 * time.Second); err != nil {
		t.Fatal(err)
	}
	before = s.stored(r.ID)
	got = s.pass(r.ID, 0)
	if now := s.stored(r.ID); now == before || got.Decision == nil || got.Decision.Signals[0].Known {
		t.Errorf("stale data were not said: version %d became %d, %s", before, now, got.Reason)
	}
}

// TestWhatIsKeptOfARecordIsWhatTheStoreHas: a controller that has seen a rollout and one
// that has not decide the same, and evaluations do not reach into each other.
func TestWhatIsKeptOfARecordIsWhatTheStoreHas(t *testing.T) {
	play := func(again bool) api.Rollout {
		s := newStage(t, 7, 0.03)
		r := s.propose(plan())
		for range 60 {
			if s.pass(r.ID, time.Second); again {
				s.restart()
			}
			s.pass(r.ID, 0)
		}
		return s.pass(r.ID, 0)
	}
	kept, fresh := play(false), play(true)
	if kept.Status != fresh.Status || kept.Canary != fresh.Canary || !kept.Ended.Equal(fresh.Ended) {
		t.Errorf("with what is kept it is %s at %v after %v, without %s at %v after %v", kept.Status, kept.Ended, kept.Canary, fresh.Status, fresh.Ended, fresh.Canary)
	}
	if kept.Status != api.RolloutAborted {
		t.Errorf("the rollout is %s, want aborted", kept.Status)
	}
	if !reflect.DeepEqual(kept.Path, fresh.Path) {
		t.Error("the paths of the evidence differ")
	}
	if kept.Decision == nil || kept.Decision.Action.Kind != assay.ActionAbort {
		t.Errorf("the newest decision is %+v", kept.Decision)
	}
}
