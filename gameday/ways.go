package gameday

import (
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// otherWays releases the bad v2 without giving anybody a bad answer, and then all at
// once with the way back open. Both share one world.
func otherWays(d *drama) error {
	if err := d.declare("ways.yaml"); err != nil {
		return err
	}
	if err := d.opening(); err != nil {
		return err
	}
	r, a, err := d.judged("v2")
	if err != nil {
		return err
	}
	d.check("v2 passes the gate", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
	if err := d.Run(r, false); err != nil {
		return err
	}
	return acts(func() error { return d.mirrored(r) }, func() error { return d.reverted(r) }, d.replay)
}

// release starts a rollout of a version that runs by the resource of that name, and
// follows it to its end.
func (d *drama) release(r *Release, resource string) (api.Rollout, error) {
	p, err := d.platform.StartRollout(d.ctx, api.RolloutRequest{Rollout: resource, Canary: r.Version.Name, Digest: r.Digest, Backend: r.Backend})
	if err != nil {
		return p, err
	}
	d.rollouts = append(d.rollouts, p.ID)
	return d.follow(p.ID, nil)
}

// mirrored is the act in which v2 gets copies: it is stopped, and no customer ever
// got an answer of it.
func (d *drama) mirrored(r *Release) error {
	return d.step("mirrored", "v2 gets copies of half of the readers' requests", func() (bool, string, error) {
		end, err := d.release(r, "shop-mirrored")
		if err != nil {
			return false, "", err
		}
		d.check("the mirrored v2 is stopped", end.Status == api.RolloutAborted, "%s: %s", end.Status, end.Reason)
		requests, failed, err := d.exposure("v2")
		if err != nil {
			return false, "", err
		}
		d.check("no customer got an answer of the mirrored v2", requests == 0 && failed == 0, "%d requests, %d failed", requests, failed)
		t, ok := worst(end)
		// Its interval holds at every look and may still reach below zero when all tests
		// together have said enough.
		d.check("the divergence is in the decision", ok && t.Divergence != nil && t.Divergence.Value > 0 && t.Divergence.Low < t.Divergence.Value, "%+v", t.Divergence)
		score := scoreOf(end)
		d.check("the score says that harm is shown", score == 0, "%d of 100", score)
		return end.Status == api.RolloutAborted && requests == 0, fmt.Sprintf("v2  after %s pairs: it answered worse in %s of them, v1 in %s; 0 customers harmed",
			Thousands(t.Canary.Total), percentOf(t.Canary), percentOf(t.Control)), nil
	})
}

// reverted is the act in which v2 gets everything at once: it is held against v1's
// past, and the traffic goes back.
func (d *drama) reverted(r *Release) error {
	return d.step("blue/green", "v2 gets all the traffic at once", func() (bool, string, error) {
		end, err := d.release(r, "shop-blue-green")
		if err != nil {
			return false, "", err
		}
		d.check("v2 is taken back", end.Status == api.RolloutReverted, "%s: %s", end.Status, end.Reason)
		p, err := d.ending(end)
		if err != nil {
			return false, "", err
		}
		share, err := d.percent("v2")
		if err != nil {
			return false, "", err
		}
		d.check("v1 has the traffic again", share == 0, "v2 has %d %%", share)
		d.check("the traffic is back within a second of the decision", p.TrafficBack > 0 && p.TrafficBack < 1, "%.3f s", p.TrafficBack)
		recover := end.Ended.Sub(end.Began)
		d.check("from the first request to the way back it takes less than 15 s", recover < 15*time.Second, "%s", recover.Round(time.Millisecond))
		return end.Status == api.RolloutReverted, fmt.Sprintf("v2  had everything for %.1f s; %s of its %s requests failed against %s of v1's past; traffic back in %s",
			recover.Seconds(), percentOf(p.Canary), Thousands(p.Canary.Total), percentOf(p.Control), time.Duration(p.TrafficBack*float64(time.Second)).Round(time.Millisecond)), nil
	})
}

// slowRelease releases v6, which fails as rarely as v1 and is slow for some: the
// tail of its latency stops it.
func slowRelease(d *drama) error {
	if err := d.declare("ways.yaml"); err != nil {
		return err
	}
	if err := d.opening(); err != nil {
		return err
	}
	r, a, err := d.judged("v6")
	if err != nil {
		return err
	}
	d.check("v6 passes the gate: its tests do not measure time", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
	if err := d.Run(r, false); err != nil {
		return err
	}
	return acts(func() error { return d.slow(r) }, d.replay)
}

func (d *drama) slow(r *Release) error {
	return d.step("canary", "v6", func() (bool, string, error) {
		end, err := d.release(r, "shop-latency")
		if err != nil {
			return false, "", err
		}
		d.check("v6 is aborted", end.Status == api.RolloutAborted, "%s: %s", end.Status, end.Reason)
		t, ok := worst(end)
		d.check("what stopped it is the tail of its latency", ok && t.Bound > 0, "%s", t.Name)
		errors, ok := testNamed(end, "errors")
		d.check("its errors would not have", ok && errors.Harm < end.Decision.AbortAt, "harm e^%.1f", errors.Harm)
		share, err := d.percent("v6")
		if err != nil {
			return false, "", err
		}
		d.check("v6 has no traffic any more", share == 0, "%d %%", share)
		return end.Status == api.RolloutAborted, fmt.Sprintf("v6  after %s canary requests: %s took more than %g s against %s of v1's",
			Thousands(t.Canary.Total), percentOf(t.Canary), t.Bound, percentOf(t.Control)), nil
	})
}

// worst is the test with the most evidence of harm.
func worst(r api.Rollout) (out assay.TestValue, ok bool) {
	if r.Decision == nil {
		return out, false
	}
	for i, t := range r.Decision.Tests {
		if i == 0 || t.Harm > out.Harm {
			out, ok = t, true
		}
	}
	return out, ok
}

func testNamed(r api.Rollout, name string) (assay.TestValue, bool) {
	if r.Decision != nil {
		for _, t := range r.Decision.Tests {
			if t.Name == name {
				return t, true
			}
		}
	}
	return assay.TestValue{}, false
}

// scoreOf is the score of the last decision, -1 without one.
func scoreOf(r api.Rollout) int {
	if r.Decision == nil || r.Decision.Score == nil {
		return -1
	}
	return *r.Decision.Score
}
