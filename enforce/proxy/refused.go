package proxy

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"assay.dev/assay/enforce"
)

// refusals counts requests that reached no version, by reason. The reasons are
// ours, so there are few.
type refusals struct {
	mu     sync.Mutex
	counts map[string]uint64
}

func (c *refusals) count(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]uint64{}
	}
	c.counts[reason]++
}

// reasonCount is how many requests were refused for one reason.
type reasonCount struct {
	reason string
	n      uint64
}

func (c *refusals) read() (out []reasonCount) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, reason := range slices.Sorted(maps.Keys(c.counts)) {
		out = append(out, reasonCount{reason, c.counts[reason]})
	}
	return out
}

// maxEntries is how many different refusals of entry are told apart.
const maxEntries = 256

// entries records who was refused entry, exactly counted: one record for each
// route, version and step, with its first and last time.
type entries struct {
	mu   sync.Mutex
	seen map[entryKey]*enforce.RefusalSeen
}

type entryKey struct {
	route, version string
	step           int
}

func (e *entries) record(t *enforce.Target, r enforce.Refusal, now time.Time, log *slog.Logger) {
	k := entryKey{t.Way.Route.Name, t.Version.Name, r.Step}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil {
		e.seen = map[entryKey]*enforce.RefusalSeen{}
	}
	s := e.seen[k]
	if s == nil {
		if len(e.seen) >= maxEntries {
			e.dropOldest()
		}
		s = &enforce.RefusalSeen{Route: k.route, Version: k.version, First: now.UTC()}
		e.seen[k] = s
		log.Warn("requests refused entry", "route", k.route, "version", k.version, "step", r.Name, "detail", r.Detail)
	}
	s.Refusal, s.Last = r, now.UTC()
	s.Count++
}

func (e *entries) dropOldest() {
	var oldest entryKey
	for k, s := range e.seen {
		if o := e.seen[oldest]; o == nil || s.Last.Before(o.Last) {
			oldest = k
		}
	}
	delete(e.seen, oldest)
}

func (e *entries) read() (out []enforce.RefusalSeen) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.seen {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b enforce.RefusalSeen) int { return b.Last.Compare(a.Last) })
	return out
}
