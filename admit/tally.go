package admit

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

const (
	// FlushEvery is how long admissions are counted together before their count is
	// recorded: a process that dies loses at most so much of them. Denials are never lost.
	FlushEvery = 10 * time.Second
	// flushTick is how often counts that are old enough are looked for: a few at a
	// time, for a denial waits for what is being recorded, and recording takes
	// processors from who is answered meanwhile. At five hundred different ones a
	// second it is one transaction each time.
	flushTick = 50 * time.Millisecond
	// flushBatch is how many facts one transaction takes, for the same reason.
	flushBatch = 32
	// maxTally is how many different admissions are counted at once.
	maxTally = 10_000
)

// tally counts admissions until they are recorded. A count that was taken out to be
// recorded never grows again: should nobody know whether it was recorded, recording
// the very same once more changes nothing.
type tally struct {
	mu     sync.Mutex
	open   map[string]*count
	order  []*count      // of open, oldest first
	sealed []*count      // taken out and not recorded yet
	full   chan struct{} // poked when it fills up
}

type count struct {
	key   string
	first Decision
	actor string
	n     uint64
	last  time.Time
}

func newTally() *tally { return &tally{open: map[string]*count{}, full: make(chan struct{}, 1)} }

// note counts a decision and returns the id of the fact that will hold it. ok is
// false if there is no room.
func (t *tally) note(out Decision, actor string) (id assay.FactID, ok bool) {
	k := tallyKey(out)
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.open[k]
	if c == nil {
		held := len(t.open) + len(t.sealed)
		if held >= maxTally {
			return out.ID, false
		}
		c = &count{key: k, first: out, actor: actor}
		t.open[k], t.order = c, append(t.order, c)
		if held+1 >= maxTally/2 {
			select {
			case t.full <- struct{}{}:
			default: // asked for already
			}
		}
	}
	c.n++
	if out.Time.After(c.last) {
		c.last = out.Time
	}
	return c.first.ID, true
}

// tallyKey is the same for decisions that say the same of the same images.
func tallyKey(out Decision) string {
	parts := []string{out.Namespace, out.Door, string(out.Policy.Digest), string(out.Mode), string(out.Outcome), out.Target.Namespace, out.Target.Kind}
	for _, i := range out.Images {
		parts = append(parts, i.Reference, string(i.Digest))
	}
	for _, v := range out.Violations {
		parts = append(parts, v.Rule)
	}
	return strings.Join(append(parts, fmt.Sprint(out.ImageCount)), "\x00")
}

// take seals and returns the counts that are to be recorded: what was sealed before,
// and what began at or before a time.
func (t *tally) take(began time.Time) []*count {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for n < len(t.order) && !t.order[n].first.Time.After(began) {
		delete(t.open, t.order[n].key)
		n++
	}
	all := append(t.sealed, t.order[:n:n]...)
	t.sealed, t.order = nil, t.order[n:]
	return all
}

// takeAll seals and returns all counts.
func (t *tally) takeAll() []*count {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := append(t.sealed, t.order...)
	t.open, t.order, t.sealed = map[string]*count{}, nil, nil
	return all
}

// giveBack returns counts that may not have been recorded, to be recorded as they are.
func (t *tally) giveBack(rest []*count) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sealed = append(t.sealed, rest...)
}

// Run records what is counted when it is FlushEvery old, and the rest when ctx ends.
func (d *Door) Run(ctx context.Context) error {
	tick := time.NewTicker(flushTick)
	defer tick.Stop()
	for {
		var due []*count
		select {
		case <-ctx.Done():
			// What was answered is recorded, even though nothing else goes on.
			last, stop := context.WithTimeout(context.WithoutCancel(ctx), FlushEvery)
			defer stop()
			return d.Flush(last)
		case <-tick.C:
			due = d.tally.take(d.cfg.Now().Add(-FlushEvery))
		case <-d.tally.full:
			due = d.tally.takeAll()
		}
		if err := d.recordCounts(ctx, due); err != nil {
			d.cfg.Log.Error("admissions are not recorded yet", "error", err)
		}
	}
}

// Flush records the admissions that were counted so far. What cannot be recorded
// is kept for the next time; repeating is safe, for facts keep their ids. Call it
// when the last review was answered: what is counted after Run ended waits for it.
func (d *Door) Flush(ctx context.Context) error { return d.recordCounts(ctx, d.tally.takeAll()) }

func (d *Door) recordCounts(ctx context.Context, all []*count) error {
	for len(all) > 0 {
		n := min(flushBatch, len(all))
		if err := d.recordSome(ctx, all[:n]); err != nil {
			d.tally.giveBack(all)
			return err
		}
		all = all[n:]
	}
	return nil
}

// recordSome records counts in one transaction. One that can never be recorded does
// not keep the others from it: it is reported, and given up.
func (d *Door) recordSome(ctx context.Context, some []*count) error {
	facts := make([]assay.Fact, 0, len(some)) // outside of the transaction, for which others wait
	for _, c := range some {
		f, err := factOf(c.first, c.n, c.last, c.actor)
		if err != nil {
			d.giveUp(c, err)
			continue
		}
		facts = append(facts, f)
	}
	err := d.cfg.Store.Update(ctx, func(tx store.Tx) error {
		for _, f := range facts {
			if _, err := tx.Append(f); err != nil {
				return err
			}
		}
		return nil
	})
	switch assay.CodeOf(err) {
	case assay.CodeConflict, assay.CodeInvalid, assay.CodeTooLarge:
	default:
		return err
	}
	if len(some) == 1 {
		d.giveUp(some[0], err)
		return nil
	}
	for i := range some {
		if err := d.recordSome(ctx, some[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (d *Door) giveUp(c *count, err error) {
	d.metrics.unrecorded.Add(float64(c.n))
	d.cfg.Log.Error("admissions cannot be recorded", "decision", c.first.ID, "count", c.n, "error", err)
}
