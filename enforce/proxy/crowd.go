package proxy

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"assay.dev/assay/enforce"
)

// crowdSize is how many tenants, and how many sources, of one route are told apart
// beside those that a lever names. What a client may choose freely must not be able
// to fill the memory, here or wherever the metrics go.
const crowdSize = 256

// keptSamples is how many requests of a source are kept as evidence.
const keptSamples = 8

// resultHeld is a request that a lever held, beside the results of a version.
const resultHeld = results

// tally counts requests by what came of them.
type tally [results + 1]atomic.Uint64

var tallyNames = [results + 1]string{"2xx", "3xx", "4xx", "5xx", "canceled", "held"}

func (t *tally) read() (out [results + 1]uint64) {
	for i := range t {
		out[i] = t[i].Load()
	}
	return out
}

// crowd tells the heaviest of many apart (space saving): who is not known takes the
// place of whoever was seen least, and inherits its rank. So anybody with more than a
// 256th of the requests is in it, however many names pass by, and a name counts as
// known, and is exported, once most of its rank is its own.
type crowd struct {
	mu      sync.Mutex
	members map[string]*member
	list    []*member // that may be replaced
	others  tally     // of those that were replaced
}

// member is one of a crowd.
type member struct {
	name    string
	pinned  bool   // a lever names it: it is not replaced
	rank    uint64 // requests, with what was inherited
	heir    uint64 // of that, inherited
	first   time.Time
	last    time.Time
	results tally

	mu      sync.Mutex
	samples []enforce.Sample // a ring; next is the oldest once it is full
	next    int
}

func newCrowd() *crowd { return &crowd{members: map[string]*member{}} }

// of is the member of a name, which was seen now.
func (c *crowd) of(name string, now time.Time) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[name]
	if m == nil {
		m = &member{name: name, first: now}
		c.members[name] = m
		c.enter(m)
	}
	m.rank++
	m.last = now
	return m
}

// enter gives m a place.
func (c *crowd) enter(m *member) {
	if len(c.list) < crowdSize {
		c.list = append(c.list, m)
		return
	}
	least := 0
	for i, x := range c.list {
		if x.rank < c.list[least].rank {
			least = i
		}
	}
	old := c.list[least]
	c.list[least] = m
	m.rank, m.heir = old.rank, old.rank
	delete(c.members, old.name)
	for i, n := range old.results.read() {
		c.others[i].Add(n)
	}
}

// pin keeps those that a lever names, and no others.
func (c *crowd) pin(names map[string]bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range names {
		m := c.members[name]
		if m == nil {
			m = &member{name: name, first: now, last: now}
			c.members[name] = m
		}
		if !m.pinned {
			m.pinned = true
			c.list = slices.DeleteFunc(c.list, func(x *member) bool { return x == m })
		}
	}
	for name, m := range c.members {
		if m.pinned && !names[name] {
			m.pinned = false
			c.enter(m)
		}
	}
}

// head is one exported member at one instant.
type head struct {
	name    string
	results [results + 1]uint64
}

// read returns the members that are exported, by name, and what all others that left did.
func (c *crowd) read() (out []head, others [results + 1]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, m := range c.members {
		if m.pinned || m.rank-m.heir >= m.heir {
			out = append(out, head{name, m.results.read()})
		}
	}
	slices.SortFunc(out, func(a, b head) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return out, c.others.read()
}

// evidence is what is kept of a name, nil if it is not known.
func (c *crowd) evidence(name string) *enforce.Evidence {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[name]
	if m == nil {
		return nil
	}
	e := &enforce.Evidence{First: m.first.UTC(), Last: m.last.UTC(), Results: map[string]uint64{}}
	for i, n := range m.results.read() {
		if n > 0 {
			e.Results[tallyNames[i]] = n
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e.Samples = append(slices.Clone(m.samples[m.next:]), m.samples[:m.next]...)
	return e
}

// keep remembers one request of a source. Once it is cut off, what it did before is
// the evidence, and what it is refused does not push that out.
func (m *member) keep(s enforce.Sample) {
	if len(s.Path) > enforce.MaxScope {
		s.Path = s.Path[:enforce.MaxScope]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(m.samples) < keptSamples:
		m.samples = append(m.samples, s)
	case s.Result == tallyNames[resultHeld]:
	default:
		m.samples[m.next] = s
		m.next = (m.next + 1) % keptSamples
	}
}
