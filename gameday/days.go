package gameday

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// shopStage is the shop with a sound version that has all the traffic. Plays on it
// release other versions; what they leave behind is again a sound version with all of it.
var shopStage = &stage{prepare: shopWorld}

// nightStage is such a shop of its own: what a version bears is held against the load that
// the one before had, and after a play that cuts the wire what had waited behind it comes
// at once and looks like load.
var nightStage = &stage{prepare: shopWorld}

func shopWorld(d *drama) (err error) {
	for _, file := range []string{"days.yaml", "minute.yaml"} {
		if err := d.declare(file); err != nil {
			return err
		}
	}
	if err := d.openPage(); err != nil {
		return err
	}
	if err := d.layWire(); err != nil {
		return err
	}
	d.current, err = d.first()
	return err
}

// version is a version that the gate let pass, built and judged once in a world.
func (d *drama) version(name string) (*Release, error) {
	if r := d.releases[name]; r != nil && r.Bundle != nil {
		return r, nil
	}
	r, a, err := d.judged(name)
	if err != nil {
		return nil, err
	}
	d.check(name+" passes the gate", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
	return r, nil
}

// sound is a version without a fault that does not have the traffic, running.
func (d *drama) sound() (*Release, error) {
	name := "v3"
	if d.current.Version.Name == name {
		name = "v1"
	}
	r, err := d.version(name)
	if err != nil || r.process != nil {
		return r, err
	}
	return r, d.Run(r, false)
}

// begun starts the rollout of a version that runs, by the resource of that name.
func (d *drama) begun(r *Release, resource string, change *api.Change) (api.Rollout, error) {
	p, err := d.platform.StartRollout(d.ctx, api.RolloutRequest{
		Rollout: resource, Canary: r.Version.Name, Digest: r.Digest, Backend: r.Backend, Change: change,
	})
	if err == nil {
		d.rollouts = append(d.rollouts, p.ID)
	}
	return p, err
}

// takenBack asserts that a version has no traffic any more, within a second of the decision.
func (d *drama) takenBack(r *Release, end api.Rollout) (exposed, harmed uint64, err error) {
	p, err := d.ending(end)
	if err != nil {
		return 0, 0, err
	}
	if exposed, harmed, err = d.exposure(r.Version.Name); err != nil {
		return 0, 0, err
	}
	share, err := d.percent(r.Version.Name)
	if err != nil {
		return 0, 0, err
	}
	d.check(r.Version.Name+" has no traffic any more", share == 0, "%d %% at the proxy", share)
	d.check("the traffic is back within a second of the decision", p.TrafficBack > 0 && p.TrafficBack < 1, "%.3f s", p.TrafficBack)
	return exposed, harmed, nil
}

// dismissed has a person end a rollout that showed what it was to show.
func (d *drama) dismissed(p api.Rollout) error {
	if _, err := d.platform.AbortRollout(d.ctx, p.ID, api.RolloutCommand{Reason: "it has shown what it was to show"}); err != nil {
		return err
	}
	for {
		r, err := d.ci.Rollout(d.ctx, p.ID)
		if err != nil || r.Status.Ended() {
			return err
		}
		if err := d.pause(look); err != nil {
			return err
		}
	}
}

func harmBudget(d *drama) error { return acts(d.stoppedWithin, d.heldWithout, d.promotedWithin) }

// minuteTime is how long the minute's budget may take to be known and worth something.
const minuteTime = 90 * time.Second

// How many errors the minute's budget allows before a share of it is worth a rollout. It
// begins anew with each minute of the clock, and a plan keeps the budget that it began with:
// a bad version is stopped for a fifth of a few hundred, and a good one goes on once the
// least regression that is not excluded yet would cost less than a fifth. A slow machine
// has fewer: worthLeast of its load are enough.
const (
	worthABad  = 200
	worthAGood = 600
	worthLeast = 30 * time.Second
)

// minuteKnown waits for a minute that is worth something, and has a second left in which a
// rollout may begin.
func (d *drama) minuteKnown(worth float64) error {
	aim := cmp.Or(d.newestLoad().Aim, d.cfg.Rate)
	worth = min(worth, (1-slowObjective)*aim*worthLeast.Seconds())
	return d.step("budget", "waiting for a minute that is worth something", func() (bool, string, error) {
		for deadline := time.Now().Add(minuteTime); ; {
			list, err := d.ci.Objectives(d.ctx)
			if err != nil {
				return false, "", err
			}
			for _, o := range list {
				if o.Objective.SLO != "shop-minute" {
					continue
				}
				if o.Known && o.Allowed > 0 && float64(o.Allowed) >= worth && time.Now().Second() < 59 {
					return true, fmt.Sprintf("%s allows %s errors a minute, of which a rollout may spend a fifth", o.Objective.SLO, Thousands(o.Allowed)), nil
				}
				if time.Now().After(deadline) {
					d.check("the minute's budget is known", false, "known %v, allows %d: %s", o.Known, o.Allowed, o.Reason)
					return false, o.Reason, nil
				}
			}
			if err := d.pause(look); err != nil {
				return false, "", err
			}
		}
	})
}

// beyond is how many errors a version had beyond the rate of the other one.
func beyond(exposed, harmed uint64, control assay.Rate) float64 {
	if control.Total == 0 {
		return float64(harmed)
	}
	return max(0, float64(harmed)-float64(exposed)*float64(control.Bad)/float64(control.Total))
}

func (d *drama) stoppedWithin() error {
	r, err := d.version("v2")
	if err != nil {
		return err
	}
	if err := d.Run(r, false); err != nil {
		return err
	}
	if err := d.minuteKnown(worthABad); err != nil {
		return err
	}
	return d.step("budgeted", "v2", func() (bool, string, error) {
		p, err := d.begun(r, "shop-harm-budget", nil)
		if err != nil {
			return false, "", err
		}
		end, err := d.follow(p.ID, nil)
		if err != nil {
			return false, "", err
		}
		d.check("v2 is aborted", end.Status == api.RolloutAborted, "%s: %s", end.Status, end.Reason)
		exposed, harmed, err := d.takenBack(r, end)
		if err != nil {
			return false, "", err
		}
		may, cost := end.Plan.HarmBudget*end.Plan.Budget, beyond(exposed, harmed, end.Control)
		d.check("it spent no more than its share of the error budget", may > 0 && cost <= may, "%.0f of %.0f errors", cost, may)
		return false, fmt.Sprintf("v2  stopped at %.0f of the %.0f errors that it might have spent", cost, may), nil
	})
}

func (d *drama) heldWithout() error {
	r, err := d.sound()
	if err != nil {
		return err
	}
	if err := d.minuteKnown(worthABad); err != nil {
		return err
	}
	return d.step("no budget", r.Version.Name, func() (bool, string, error) {
		p, err := d.begun(r, "shop-no-budget", nil)
		if err != nil {
			return false, "", err
		}
		seen, err := d.follow(p.ID, func(r api.Rollout) bool { return strings.Contains(r.Reason, "harm budget") && r.Canary.Total >= 500 })
		if err != nil {
			return false, "", err
		}
		ok := !seen.Status.Ended() && seen.Weight == seen.Plan.Steps[0] && strings.Contains(seen.Reason, "harm budget")
		d.check("without a budget it stays at its first step, and says why", ok, "%s at %d %%: %s", seen.Status, seen.Weight, seen.Reason)
		return ok, fmt.Sprintf("%s  stays at %d %%: %s", r.Version.Name, seen.Weight, seen.Reason), d.dismissed(p)
	})
}

func (d *drama) promotedWithin() error {
	r, err := d.sound()
	if err != nil {
		return err
	}
	if err := d.minuteKnown(worthAGood); err != nil {
		return err
	}
	return d.step("budgeted", r.Version.Name, func() (bool, string, error) {
		before, failed, err := d.exposure(r.Version.Name) // without a budget it had some traffic already
		if err != nil {
			return false, "", err
		}
		p, err := d.begun(r, "shop-harm-budget", nil)
		if err != nil {
			return false, "", err
		}
		end, err := d.follow(p.ID, nil)
		if err != nil {
			return false, "", err
		}
		ok := end.Status == api.RolloutPromoted
		d.check(r.Version.Name+" is promoted", ok, "%s: %s", end.Status, end.Reason)
		if !ok {
			return false, end.Reason, nil
		}
		d.current = r
		after, bad, err := d.exposure(r.Version.Name)
		if err != nil {
			return false, "", err
		}
		may, cost := end.Plan.HarmBudget*end.Plan.Budget, beyond(after-before, bad-failed, end.Control)
		d.check("a good release goes through within its share as well", cost <= may, "%.0f of %.0f errors", cost, may)
		return true, fmt.Sprintf("%s  %s in %.0f s, with %.0f of %.0f errors spent", r.Version.Name, arrows(stepsOf(end)), end.Ended.Sub(end.Began).Seconds(), cost, may), nil
	})
}
