package signal

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/common/model"
)

// Freshness is what is known about one sender. Pushed data has no markers that
// say "gone", so silence shows here and nowhere else.
type Freshness struct {
	Namespace string    `json:"namespace"`
	Source    string    `json:"source"`
	Road      Road      `json:"road"`
	Event     time.Time `json:"event"`    // newest event time that was accepted; zero if none was
	Ingested  time.Time `json:"ingested"` // when the newest batch came, even if all of it was refused
	Batches   uint64    `json:"batches"`
	Accepted  uint64    `json:"accepted"` // samples
	Refused   uint64    `json:"refused"`  // samples
	Series    int       `json:"series"`   // that count against the limit
	// Missing is how many numbered batches never came, Repeated how many came
	// again; both 0 for a sender that does not number its batches.
	Missing  uint64 `json:"missing"`
	Repeated uint64 `json:"repeated"`
}

// Age is how far the newest event is behind now.
func (f Freshness) Age(now time.Time) time.Duration { return now.Sub(f.Event) }

// source is one sender's record.
type source struct {
	mu     sync.Mutex // guards all of it
	fresh  Freshness
	series map[uint64]seriesState // by the hash of its labels
	swept  time.Time

	epoch, sequence uint64 // of the newest numbered batch
}

type seriesState struct {
	last int64 // event time of the newest sample, Unix milliseconds
	bits uint64
	seen int64 // when it came, Unix milliseconds
}

func newSource() *source { return &source{series: map[uint64]seriesState{}} }

func (src *source) freshness(key sourceKey) Freshness {
	src.mu.Lock()
	defer src.mu.Unlock()
	f := src.fresh
	f.Namespace, f.Source, f.Series = key.namespace, key.name, len(src.series)
	return f
}

// admit keeps the samples of series that the sender may have, and counts those
// that repeat the newest sample of their series.
func (src *source) admit(samples []Sample, now time.Time, limit int, res *Result) []Sample {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.sweep(now)
	kept := samples[:0]
	for _, s := range samples {
		hash := s.Labels.Hash()
		state, known := src.series[hash]
		if !known && len(src.series) >= limit {
			res.Refuse(RefusedSeries, 1, fmt.Sprintf("the sender has %d series, its limit; %s is not taken", limit, clip(s.Labels.Get(model.MetricNameLabel))))
			continue
		}
		if s.Time == state.last && s.bits() == state.bits {
			res.Duplicates++
		}
		state.seen = now.UnixMilli()
		src.series[hash] = state
		kept = append(kept, s)
	}
	return kept
}

// sweep forgets series that were silent for seriesLife, at most once a minute.
func (src *source) sweep(now time.Time) {
	if now.Sub(src.swept) < time.Minute {
		return
	}
	src.swept = now
	for hash, s := range src.series {
		if now.UnixMilli()-s.seen > seriesLife.Milliseconds() {
			delete(src.series, hash)
		}
	}
}

// note records a batch after it was stored: what is sent again after a failure
// is no duplicate.
func (src *source) note(from Origin, kept []Sample, res *Result, now time.Time) {
	src.mu.Lock()
	defer src.mu.Unlock()
	f := &src.fresh
	f.Road, f.Ingested = from.Road, now
	f.Batches++
	f.Accepted += uint64(res.Accepted)
	f.Refused += uint64(res.RefusedTotal())
	if res.Accepted > 0 {
		for _, s := range kept {
			hash := s.Labels.Hash()
			if state := src.series[hash]; s.Time > state.last {
				state.last, state.bits = s.Time, s.bits()
				src.series[hash] = state
			}
			if t := time.UnixMilli(s.Time).UTC(); t.After(f.Event) {
				f.Event = t
			}
		}
	}
	if from.Sequence == 0 {
		return
	}
	switch {
	case from.Epoch > src.epoch:
		// A new life: what came before its first batch we saw is missing too.
		f.Missing += from.Sequence - 1
		src.epoch, src.sequence = from.Epoch, from.Sequence
	case from.Epoch < src.epoch, from.Sequence <= src.sequence:
		f.Repeated++
	default:
		f.Missing += from.Sequence - src.sequence - 1
		src.sequence = from.Sequence
	}
}
