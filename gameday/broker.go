package gameday

import (
	"context"
	"slices"
	"sync"
	"time"
)

// How a broker hands events out.
const (
	waitFor        = time.Second // for an event, before who asks is told that there is none
	aggregateEvery = time.Second // what goes the cheaper path is written
)

// kind is a class of events, the most important first in a list.
type kind struct {
	name     string
	share    float64 // of all events
	critical bool    // never held: whatever the levers are, it is queued and handled by itself
}

// event is something that happened.
type event struct {
	ID    uint64 `json:"id"`
	Class string `json:"class"`

	since time.Time
}

// broker queues events for functions. It has two levers: how many events a second it
// queues (rate-limit), and which percentage of a class (class-admission). What they hold
// goes the cheaper path: it is written together with others, and no function sees it. An
// event of which nothing came is given back, and handed out again.
type broker struct {
	kinds []kind
	db    *database

	mu       sync.Mutex
	wake     chan struct{} // closed when an event is there
	last     uint64        // event
	waiting  map[string][]event
	aside    []uint64
	batches  int
	percent  map[string]float64 // class-admission
	credit   map[string]float64 // that a class has towards its next admission
	limit    float64            // rate-limit, events a second
	tokens   float64
	filled   time.Time
	offered  map[string]uint64
	rerouted map[string]uint64
	handed   map[string]uint64
	waited   map[string]time.Duration // of what was handed out, each time
	critics  []event                  // the critical ones
	deepest  int
	again    []uint64 // events that were given back
	meters   map[string]*meter
}

func newBroker(db *database, limit float64, kinds ...kind) *broker {
	b := &broker{
		kinds: kinds, db: db, wake: make(chan struct{}), limit: limit, tokens: limit, filled: time.Now(),
		waiting: map[string][]event{},
		percent: map[string]float64{}, credit: map[string]float64{}, offered: map[string]uint64{}, rerouted: map[string]uint64{},
		handed: map[string]uint64{}, waited: map[string]time.Duration{}, meters: map[string]*meter{},
	}
	for _, k := range kinds {
		b.percent[k.name] = 100
	}
	return b
}

// admit moves class-admission.
func (b *broker) admit(class string, percent float64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.percent[class] = percent
	return nil
}

// limitTo moves rate-limit.
func (b *broker) limitTo(_ string, limit float64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = limit
	return nil
}

// offer takes one event, into the queue or to the cheaper path.
func (b *broker) offer(k kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	e := event{ID: b.last, Class: k.name, since: time.Now()}
	b.offered[k.name]++
	if k.critical {
		b.critics = append(b.critics, e)
	}
	if !b.admitted(k, e.since) {
		b.rerouted[k.name]++
		b.aside = append(b.aside, e.ID)
		return
	}
	b.waiting[k.name] = append(b.waiting[k.name], e)
	b.deepest = max(b.deepest, b.depth())
	b.call()
}

// call wakes who waits for an event.
func (b *broker) call() {
	close(b.wake)
	b.wake = make(chan struct{})
}

// admitted is what the levers say: what is critical is counted and never held.
func (b *broker) admitted(k kind, now time.Time) bool {
	b.tokens = min(b.limit, b.tokens+b.limit*now.Sub(b.filled).Seconds())
	b.filled = now
	if k.critical {
		b.tokens = max(-b.limit, b.tokens-1)
		return true
	}
	if b.credit[k.name] += b.percent[k.name] / 100; b.credit[k.name] < 1 {
		return false
	}
	b.credit[k.name]--
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (b *broker) depth() (n int) {
	for _, list := range b.waiting {
		n += len(list)
	}
	return n
}

// take hands out the oldest event of the most important class, and waits a while for one;
// false if there is none.
func (b *broker) take(ctx context.Context) (event, bool) {
	timer := time.NewTimer(waitFor)
	defer timer.Stop()
	for {
		e, ok, wake := b.next()
		if ok {
			return e, true
		}
		select {
		case <-wake:
		case <-timer.C:
			return event{}, false
		case <-ctx.Done():
			return event{}, false
		}
	}
}

func (b *broker) next() (e event, ok bool, wake <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.kinds {
		if list := b.waiting[k.name]; len(list) > 0 {
			e, b.waiting[k.name] = list[0], list[1:]
			b.handed[k.name]++
			b.waited[k.name] += time.Since(e.since)
			return e, true, nil
		}
	}
	return e, false, b.wake
}

// back takes back an event of which nothing came: it is the next of its class.
func (b *broker) back(e event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.again = append(b.again, e.ID)
	b.waiting[e.Class] = append([]event{e}, b.waiting[e.Class]...)
	b.call()
}

// gaveBack reports whether an event was given back.
func (b *broker) gaveBack(e event) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.again, e.ID)
}

// aggregate writes what went the cheaper path, many events at once, until ctx ends.
func (b *broker) aggregate(ctx context.Context) {
	tick := time.NewTicker(aggregateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		b.mu.Lock()
		list := b.aside
		b.aside = nil
		if len(list) > 0 {
			b.batches++
		}
		batch := b.batches
		b.mu.Unlock()
		if len(list) > 0 {
			_ = b.db.write(ctx, list, row{batch: batch}) // only fails once ctx has ended
		}
	}
}

// meter makes rates of what is counted, over the last second.
type meter struct{ list []reading }

type reading struct {
	at    time.Time
	total float64
}

func (m *meter) rate(now time.Time, total float64) float64 {
	m.list = append(m.list, reading{now, total})
	for len(m.list) > 2 && now.Sub(m.list[1].at) >= time.Second {
		m.list = m.list[1:]
	}
	first := m.list[0]
	if !now.After(first.at) {
		return 0
	}
	return (total - first.total) / now.Sub(first.at).Seconds()
}

// reports is what strategies read of it.
func (b *broker) reports(service string) (out []gauge) {
	busy := b.db.worked()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	rate := func(name string, total float64) float64 {
		if b.meters[name] == nil {
			b.meters[name] = &meter{}
		}
		return b.meters[name].rate(now, total)
	}
	all, oldest := 0.0, now
	for _, k := range b.kinds {
		n := rate(k.name, float64(b.offered[k.name]))
		all += n
		out = append(out, gauge{name: "yard_events", label: "class", value: k.name, service: service, number: n})
		if list := b.waiting[k.name]; len(list) > 0 && list[0].since.Before(oldest) {
			oldest = list[0].since
		}
	}
	return append(out,
		gauge{name: "yard_load", service: service, number: all},
		gauge{name: "yard_queue_depth", service: service, number: float64(b.depth())},
		gauge{name: "yard_queue_age", service: service, number: now.Sub(oldest).Seconds()},
		gauge{name: "yard_db_utilisation", service: service, number: rate("", busy) / float64(cap(b.db.slots))})
}

// counts are what a play asks a broker for.
type counts struct {
	offered, rerouted uint64 // since the beginning
	batches, again    int
	waiting, deepest  int
}

func (b *broker) counts() (c counts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.batches, c.again, c.waiting, c.deepest = b.batches, len(b.again), b.depth(), b.deepest
	for _, k := range b.kinds {
		c.offered += b.offered[k.name]
		c.rerouted += b.rerouted[k.name]
	}
	return c
}

// critical is how many critical events there were, how many of them are in the database by
// themselves, and how many of those with what had to come of them.
func (b *broker) critical() (all, alone, right int) {
	b.mu.Lock()
	list := slices.Clone(b.critics)
	b.mu.Unlock()
	for _, e := range list {
		r, there := b.db.row(e.ID)
		if !there || r.batch > 0 {
			continue
		}
		alone++
		if r.sum == handled(e) {
			right++
		}
	}
	return len(list), alone, right
}

// meanWait is how long events of the classes waited until they were handed out.
func (b *broker) meanWait(list ...kind) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var sum time.Duration
	var n uint64
	for _, k := range list {
		sum += b.waited[k.name]
		n += b.handed[k.name]
	}
	return sum / time.Duration(max(n, 1))
}
