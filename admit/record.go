package admit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/exception"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
)

// Admissions that need no fact of their own are counted together.
const (
	// FlushEvery is how often the counts of admissions are recorded: a process that
	// dies loses at most so much of them. Denials are never lost.
	FlushEvery = 10 * time.Second
	// maxTally is how many different admissions are counted at once.
	maxTally = 10_000
)

// Payload is what an admission fact says. Of admissions that are counted together
// the decision is the first one.
type Payload struct {
	Decision Decision  `json:"decision"`
	Count    uint64    `json:"count"` // decisions that differ only in their time, name and user
	Last     time.Time `json:"last"`  // time of the last one
}

// record makes a decision a fact. A denial, and what an exception let in, is
// recorded before this returns; a plain admission is counted. A bypass that cannot
// be recorded does not count, so the answer may become a denial.
func (d *Door) record(ctx context.Context, out Decision, in Inputs, actor string) Decision {
	if out.Allowed && len(out.Exceptions) == 0 {
		id, ok := d.tally.note(out, actor)
		if !ok {
			d.metrics.unrecorded.Inc()
			d.cfg.Log.Error("an admission is not recorded: too many different ones wait for the store", "decision", out.ID)
		}
		out.ID = id
		return out
	}
	err := d.write(ctx, out, actor)
	if err == nil {
		d.cfg.Poke()
		return out
	}
	d.metrics.unrecorded.Inc()
	d.cfg.Log.Error("an admission decision cannot be recorded", "decision", out.ID, "allowed", out.Allowed, "error", err)
	if !out.Allowed || in.Door.Spec.FailurePolicy == policy.FailOpen {
		return out
	}
	in.Exceptions = nil
	return Decide(in)
}

// write appends the facts of one decision, in one transaction: the exceptions it
// used name it as their cause.
func (d *Door) write(ctx context.Context, out Decision, actor string) error {
	f, err := factOf(out, 1, out.Time, actor)
	if err != nil {
		return err
	}
	return d.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Append(f); err != nil {
			return err
		}
		for _, x := range out.Exceptions {
			v := assay.Verdict{Gate: out.Door, Environment: out.Environment, Time: out.Time, Outcome: out.Outcome, Policy: out.Policy, Subject: subjectOf(out)}
			if _, err := exception.RecordUse(tx, out.Namespace, v, x, f.ID, actor); err != nil {
				return err
			}
		}
		return nil
	})
}

// subjectOf is the one artifact that a decision is about, zero if there are several.
func subjectOf(out Decision) assay.Subject {
	if len(out.Images) != 1 {
		return assay.Subject{}
	}
	return assay.Subject{Name: out.Images[0].Reference, Digest: out.Images[0].Digest}
}

// factOf makes the fact of a decision. Warnings are for the caller alone.
func factOf(out Decision, count uint64, last time.Time, actor string) (assay.Fact, error) {
	kind, keep := assay.FactAdmissionDenied, assay.RetainAudit
	if out.Allowed {
		kind = assay.FactAdmissionAllowed
		if len(out.Exceptions) == 0 {
			keep = assay.RetainOperational
		}
	}
	out.Warnings = nil
	payload, err := json.Marshal(Payload{Decision: out, Count: count, Last: last.UTC()})
	if err == nil && len(payload) > store.MaxPayload {
		out.Images, out.Violations = out.Images[:min(len(out.Images), 10)], out.Violations[:min(len(out.Violations), 10)]
		payload, err = json.Marshal(Payload{Decision: out, Count: count, Last: last.UTC()})
	}
	if err != nil {
		return assay.Fact{}, assay.Errorf(assay.CodeInternal, "admission decision cannot be encoded: %w", err)
	}
	return assay.Fact{
		ID: out.ID, Kind: kind, Version: 1, Time: out.Time, Namespace: out.Namespace, Environment: out.Environment,
		Subject: subjectOf(out).Digest, PolicyRevision: out.Policy.Digest, Actor: actor, Retention: keep, Payload: payload,
	}, nil
}

// tally counts admissions until they are recorded.
type tally struct {
	mu   sync.Mutex
	open map[string]*count
	full chan struct{} // poked when it fills up
}

type count struct {
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
		if len(t.open) >= maxTally {
			return out.ID, false
		}
		c = &count{first: out, actor: actor}
		t.open[k] = c
		if len(t.open) == maxTally/2 {
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

func (t *tally) take() map[string]*count {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.open
	t.open = map[string]*count{}
	return all
}

// giveBack returns counts that could not be recorded. They keep their fact's id:
// what was answered stays true.
func (t *tally) giveBack(all map[string]*count) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, c := range all {
		if newer := t.open[k]; newer != nil {
			k += "\x00" + string(c.first.ID) // the newer one has an id of its own that was answered
		}
		t.open[k] = c
	}
}

// Run records what is counted every FlushEvery, and the rest when ctx ends.
func (d *Door) Run(ctx context.Context) error {
	tick := time.NewTicker(FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			// What was answered is recorded, even though nothing else goes on.
			last, stop := context.WithTimeout(context.WithoutCancel(ctx), FlushEvery)
			defer stop()
			return d.Flush(last)
		case <-tick.C:
		case <-d.tally.full:
		}
		if err := d.Flush(ctx); err != nil {
			d.cfg.Log.Error("admissions are not recorded yet", "error", err)
		}
	}
}

// flushBatch is how many facts one transaction takes.
const flushBatch = 500

// Flush records the admissions that were counted so far. What cannot be recorded
// is kept for the next time; repeating is safe, for facts keep their ids.
func (d *Door) Flush(ctx context.Context) error {
	all := d.tally.take()
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	for batch := range slices.Chunk(keys, flushBatch) {
		err := d.cfg.Store.Update(ctx, func(tx store.Tx) error {
			for _, k := range batch {
				f, err := factOf(all[k].first, all[k].n, all[k].last, all[k].actor)
				if err != nil {
					return err
				}
				if _, err := tx.Append(f); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			d.tally.giveBack(all)
			return err
		}
		for _, k := range batch {
			delete(all, k)
		}
	}
	return nil
}
