package ledger

import (
	"context"
	"slices"
	"time"
)

// gatherPoll is how often a sequencer that waits for the next checkpoint looks
// whether a whole batch has come together meanwhile.
const gatherPoll = 100 * time.Millisecond

// Paced is a Tree that signs at intervals, when something is appended.
type Paced interface {
	// Due is for how long no checkpoint will be signed, whatever is appended; 0 or
	// less if the next append will be covered at once.
	Due() time.Duration
}

// due is for how long an append would wait for its checkpoint.
func due(t Tree) time.Duration {
	if p, ok := t.(Paced); ok {
		return max(0, p.Due())
	}
	return 0
}

// gather returns the batch to append now. A whole one is appended at once; what is
// less waits until a checkpoint is due. So what was recorded before the cut is in
// the checkpoint, a fact waits for one interval and not for two, and the disk syncs
// once for what would otherwise have been many small batches.
func (s *Sequencer) gather(ctx context.Context, tree Tree) (batch, error) {
	if room := s.cfg.Batch - len(s.ahead.entries); room > 0 {
		var from uint64
		if n := len(s.ahead.entries); n > 0 {
			from = s.ahead.entries[n-1].Seq + 1
		}
		more, err := s.load(ctx, from, room)
		if err != nil {
			return batch{}, err
		}
		s.ahead = s.ahead.and(more)
	}
	if len(s.ahead.entries) < s.cfg.Batch && due(tree) > 0 {
		return batch{}, nil
	}
	b := s.ahead
	s.ahead = batch{}
	return b, nil
}

// and is b with what follows it.
func (b batch) and(more batch) batch {
	if len(b.entries) == 0 {
		return more
	}
	return batch{
		entries:  slices.Concat(b.entries, more.entries),
		leaves:   slices.Concat(b.leaves, more.leaves),
		recorded: slices.Concat(b.recorded, more.recorded),
	}
}

// wait returns at a poke or a tick; while facts wait for a checkpoint, when it is
// due or a whole batch may be there. Meanwhile it looks for what was published.
func (s *Sequencer) wait(ctx context.Context, tree Tree) error {
	d, poke := s.cfg.Tick, s.poke
	if len(s.ahead.entries) > 0 {
		d, poke = min(gatherPoll, due(tree)), nil // news changes nothing before it is due
	}
	end := time.NewTimer(d)
	defer end.Stop()
	for {
		var look <-chan time.Time
		if len(s.waiting) > 0 {
			look = time.After(publishPoll)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poke:
			return nil
		case <-end.C:
			return nil
		case <-look:
			s.observePublished(ctx)
			s.noteLag(nil)
		}
	}
}
