package signal

import (
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Watch knows which indicators are waited for, so that a batch can be answered
// with the ids it touches. Safe for concurrent use; a nil Watch knows none.
//
// Terms are found by the value that they ask of a label, such as their service: a
// thousand services count by the same metric, and each sample is one service's.
type Watch struct {
	mu     sync.RWMutex
	byName map[watchKey]byLabel
	places map[string][]place // by id
}

type watchKey struct{ namespace, metric string }

// byLabel are terms by the label and the value that they ask for; both are "" for terms
// that ask for no value.
type byLabel map[string]map[string][]watched

// place is where terms of an id are kept.
type place struct {
	key          watchKey
	label, value string
}

type watched struct {
	id   string
	term Term
}

// NewWatch returns a Watch that waits for nothing.
func NewWatch() *Watch { return &Watch{byName: map[watchKey]byLabel{}, places: map[string][]place{}} }

// Add waits for every series that the indicator counts, under an id of the
// caller's, for example the plan's. An id may wait for several indicators.
func (w *Watch) Add(id, namespace string, ind Indicator) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, term := range slices.Concat(ind.Good, ind.Bad, ind.Total, ind.Buckets, ind.Count, ind.Sum, ind.Gauge) {
		at := place{key: watchKey{namespace, term.metricName()}}
		at.label, at.value = term.asks()
		if w.byName[at.key] == nil {
			w.byName[at.key] = byLabel{}
		}
		values := w.byName[at.key][at.label]
		if values == nil {
			values = map[string][]watched{}
			w.byName[at.key][at.label] = values
		}
		values[at.value] = append(values[at.value], watched{id, term})
		w.places[id] = append(w.places[id], at)
	}
}

// asks is the first label beside the name that must have one value, and that value.
func (t Term) asks() (label, value string) {
	for _, m := range t.Matchers {
		if m.Name != model.MetricNameLabel && m.Type == labels.MatchEqual && m.Value != "" {
			return m.Name, m.Value
		}
	}
	return "", ""
}

// Remove stops waiting for an id.
func (w *Watch) Remove(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.places[id] {
		values := w.byName[at.key][at.label]
		if len(values[at.value]) == 0 {
			continue // another term of the id was kept there too
		}
		values[at.value] = slices.DeleteFunc(values[at.value], func(x watched) bool { return x.id == id })
		if len(values[at.value]) > 0 {
			continue
		}
		delete(values, at.value)
		if len(values) == 0 {
			delete(w.byName[at.key], at.label)
		}
		if len(w.byName[at.key]) == 0 {
			delete(w.byName, at.key)
		}
	}
	delete(w.places, id)
}

// Touched lists the ids that the samples touch, sorted.
func (w *Watch) Touched(namespace string, samples []Sample) []string {
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
		for label, values := range w.byName[watchKey{namespace, s.Labels.Get(model.MetricNameLabel)}] {
			value := ""
			if label != "" {
				value = s.Labels.Get(label)
			}
			for _, x := range values[value] {
				if !ids[x.id] && x.term.matches(s.Labels) {
					ids[x.id] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}
