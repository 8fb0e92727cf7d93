package kubernetes

import (
	"context"

	"assay.dev/assay"
)

// whole is where a lever stands with all that belongs to it. A CronJob whose Jobs are not yet
// as it is still stands where it was.
func (c *Client) whole(ctx context.Context, m Move, o object) (float64, error) {
	own := o.stands(m.Kind)
	if m.Kind != CronJob {
		return own, nil
	}
	for _, name := range o.children() {
		if late, _, err := c.late(ctx, m, name, own == 0); err != nil {
			return 0, err
		} else if late {
			return 100 - own, nil
		}
	}
	return own, nil
}

// late reports whether a Job is not yet as its CronJob is: under way although that is
// suspended, or held by us although that is not. One that is gone is as it should be.
func (c *Client) late(ctx context.Context, m Move, name string, suspended bool) (bool, object, error) {
	j, err := c.get(ctx, Job, name)
	if assay.CodeOf(err) == assay.CodeNotFound {
		return false, j, nil
	}
	runs := j.stands(Job) == 100
	if suspended {
		return runs, j, err
	}
	return !runs && j.Metadata.Annotations[held] == m.Name, j, err
}

// follow makes the Jobs of a CronJob do as it does. Those that somebody else suspended stay
// so when it is let run again.
func (c *Client) follow(ctx context.Context, m Move, o object) error {
	if m.Kind != CronJob {
		return nil
	}
	suspended := o.stands(CronJob) == 0
	for _, name := range o.children() {
		late, j, err := c.late(ctx, m, name, suspended)
		if err != nil {
			return err
		}
		if !late {
			continue
		}
		mark := any(nil)
		if suspended {
			mark = m.Name
		}
		body, err := j.change(map[string]any{held: mark}, map[string]any{"suspend": suspended})
		if err != nil {
			return err
		}
		if _, err := c.patch(ctx, Job, name, body); err != nil && assay.CodeOf(err) != assay.CodeNotFound {
			return err
		}
	}
	return nil
}
