package ledger

import (
	"sync"
	"time"
)

// lagAfter is how long facts may wait for publication before that is called lagging.
const lagAfter = 5 * time.Second

// lag is since when publication is behind.
type lag struct {
	mu     sync.Mutex
	since  time.Time // zero if it is not
	halted bool      // the tree cannot be written
	hung   bool      // an append does not end
}

// noteLag is told after each step, and after each error that ended a session.
func (s *Sequencer) noteLag(err error) {
	now := s.cfg.Now()
	s.lag.mu.Lock()
	defer s.lag.mu.Unlock()
	s.lag.halted = err != nil
	switch {
	case err == nil && len(s.waiting) == 0:
		s.lag.since = time.Time{}
	case len(s.waiting) > 0 && len(s.waiting[0].recorded) > 0 && !s.waiting[0].recorded[0].IsZero():
		s.lag.since = s.waiting[0].recorded[0]
	case s.lag.since.IsZero():
		s.lag.since = now
	}
	s.cfg.Metrics.lagging.Set(0)
	if s.lag.halted || !s.lag.since.IsZero() && now.Sub(s.lag.since) > lagAfter {
		s.cfg.Metrics.lagging.Set(1)
	}
}

// appending is told that an append begins; the caller says when it ended. One that
// hangs is lag too, though nothing of it returns that could say so.
func (s *Sequencer) appending() (ended func()) {
	began := s.cfg.Now()
	late := time.AfterFunc(lagAfter, func() {
		s.lag.mu.Lock()
		defer s.lag.mu.Unlock()
		s.lag.hung = true
		if s.lag.since.IsZero() {
			s.lag.since = began
		}
		s.cfg.Metrics.lagging.Set(1)
		s.cfg.Log.Warn("ledger append does not end", "after", lagAfter)
	})
	return func() {
		late.Stop()
		s.lag.mu.Lock()
		defer s.lag.mu.Unlock()
		s.lag.hung = false
	}
}

// Lag says for how long publication is behind: since the sequencer cannot append, or
// since an append hangs, or since the oldest fact that waits was recorded. Facts are recorded nevertheless, and
// published once the cause is gone.
func (s *Sequencer) Lag() (time.Duration, bool) {
	s.lag.mu.Lock()
	defer s.lag.mu.Unlock()
	if s.lag.since.IsZero() {
		return 0, false
	}
	d := s.cfg.Now().Sub(s.lag.since)
	return d, s.lag.halted || s.lag.hung || d > lagAfter
}
