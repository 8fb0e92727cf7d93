package rollout

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
)

// withdrawEvery is how often the door is asked whether it knows which exceptions were
// taken back: one that was away, or whose configuration somebody else replaced, learns
// it then.
const withdrawEvery = 10 * time.Second

// withdrawal is what the door was told last.
type withdrawal struct {
	mu       sync.Mutex
	told     bool
	revision assay.Digest // of the door, when that stood in its configuration
	ids      []string
	changes  int // asked for by this process
}

// Withdraw makes the door refuse every version whose verdict rests on an exception that
// was taken back: a signed verdict names the exceptions it rests on and cannot know
// what became of them. Run does it again and again, so nothing is lost when it fails.
// A nil Controller, and one without a door, has nobody to tell.
func (c *Controller) Withdraw(ctx context.Context) error {
	if c == nil || c.cfg.Door == nil || c.cfg.Withdrawn == nil {
		return nil
	}
	err := c.withdraw(ctx)
	result := "ok"
	if err != nil {
		result = "unavailable"
		if ctx.Err() == nil {
			c.cfg.Log.Error("the enforcer does not know which exceptions were revoked", "error", err)
		}
	}
	c.metrics.withdrawn.WithLabelValues(result).Inc()
	return err
}

func (c *Controller) withdraw(ctx context.Context) error {
	ids, err := c.cfg.Withdrawn(ctx)
	if err != nil {
		return err
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	unsaid := max(0, len(ids)-enforce.MaxWithdrawn)
	ids = ids[unsaid:] // ids begin with their time: the newest
	c.withdrawal.mu.Lock()
	defer c.withdrawal.mu.Unlock()
	c.replacing.Lock()
	defer c.replacing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	status, err := c.cfg.Door.StatusOf(ctx, "")
	if err != nil {
		return err
	}
	if w := &c.withdrawal; w.told && w.revision == status.Revision && slices.Equal(w.ids, ids) {
		return nil
	}
	if unsaid > 0 {
		c.cfg.Log.Error("the enforcer takes no more revoked exceptions: what rests on the oldest is let in until they end",
			"left_out", unsaid, "limit", enforce.MaxWithdrawn, "hint", "revoke those attestations or artifacts by their digest")
	}
	for try := 1; ; try++ {
		revision, err := c.withdrawOnce(ctx, ids, status.Revision)
		if err == nil {
			c.withdrawal.told, c.withdrawal.revision, c.withdrawal.ids = true, revision, ids
		}
		if assay.CodeOf(err) != assay.CodeConflict || try == maxReplace {
			return err
		}
	}
}

// withdrawOnce puts the ids into the door's configuration and returns its revision.
func (c *Controller) withdrawOnce(ctx context.Context, ids []string, revision assay.Digest) (assay.Digest, error) {
	conf, err := c.cfg.Door.Config(ctx)
	if err != nil {
		return "", err
	}
	if slices.Equal(conf.Withdrawn, ids) {
		return revision, nil
	}
	base, err := conf.Digest()
	if err != nil {
		return "", err
	}
	lease := c.lease.Held()
	if lease.Name == "" {
		return "", assay.Errorf(assay.CodeUnavailable, "the enforcer is driven by another process now")
	}
	gone := slices.DeleteFunc(slices.Clone(conf.Withdrawn), func(id string) bool { return slices.Contains(c.withdrawal.ids, id) || slices.Contains(ids, id) })
	conf.Withdrawn = ids
	c.withdrawal.changes++
	a, err := c.cfg.Door.Replace(ctx, enforce.Replacement{
		// It was read anew, so no key has to recognise a repetition.
		Generation: uint64(lease.Generation), Key: fmt.Sprintf("withdrawn/%d/%d", c.cfg.Now().UnixNano(), c.withdrawal.changes), Config: conf, Base: base,
	})
	if err == nil {
		c.cfg.Log.Info("the enforcer knows which exceptions were revoked", "exceptions", len(ids))
		if len(gone) > 0 { // ended since another process told it, or somebody else's
			c.cfg.Log.Warn("exceptions that the control plane does not know as revoked are let in again", "exceptions", len(gone), "first", gone[0])
		}
	}
	return a.Receipt.Revision, err
}

// keepWithdrawn tells the door again and again, until ctx ends.
func (c *Controller) keepWithdrawn(ctx context.Context) {
	tick := time.NewTicker(withdrawEvery)
	defer tick.Stop()
	for {
		_ = c.Withdraw(ctx) // logged and counted there
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
