package signal

import (
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/common/model"
)

// Watch knows which indicators are waited for, so that a batch can be answered
// with the ids it touches. Safe for concurrent use; a nil Watch knows none.
type Watch struct {
	mu     sync.RWMutex
	byName map[watchKey][]watched
}

type watchKey struct{ namespace, metric string }

type watched struct {
	id   string
	term Term
}

// NewWatch returns a Watch that waits for nothing.
func NewWatch() *Watch { return &Watch{byName: map[watchKey][]watched{}} }

// Add waits for every series that the indicator counts, under an id of the
// caller's, for example the plan's. An id may wait for several indicators.
func (w *Watch) Add(id, namespace string, ind Indicator) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, term := range slices.Concat(ind.Good, ind.Bad, ind.Total, ind.Buckets) {
		key := watchKey{namespace, term.metricName()}
		w.byName[key] = append(w.byName[key], watched{id, term})
	}
}

// Remove stops waiting for an id.
func (w *Watch) Remove(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, list := range w.byName {
		list = slices.DeleteFunc(slices.Clone(list), func(x watched) bool { return x.id == id })
		if w.byName[key] = list; len(list) == 0 {
			delete(w.byName, key)
		}
	}
}

// touched lists the ids that the samples touch, sorted.
func (w *Watch) touched(namespace string, samples []Sample) []string {
	if w == nil {
		return nil
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if len(w.byName) == 0 {
		return nil
	}
	ids := map[string]bool{}
	for _, s := range samples {
		for _, x := range w.byName[watchKey{namespace, s.Labels.Get(model.MetricNameLabel)}] {
			if !ids[x.id] && x.term.matches(s.Labels) {
				ids[x.id] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}
