package gameday

import (
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// Changes of the play: a large one that cannot be changed back, and a small one.
var (
	largeChange = api.Change{Lines: 2600, Files: 90, Irreversible: true}
	smallChange = api.Change{Lines: 8, Files: 1}
)

// recoverTime is how long a risky release may last from its first request to the way back.
const recoverTime = 20 * time.Second

// riskyHarm is how many customers a risky release may harm on its first percent.
const riskyHarm = 100

func riskyRelease(d *drama) error {
	r, err := d.version("v2")
	if err != nil {
		return err
	}
	// The recommender is away for half of its questions: this is no small regression.
	if err := d.launch(r, r.Binary, "-seed", fmt.Sprint(d.cfg.Seed), "-away", "0.5"); err != nil {
		return err
	}
	large, err := d.scored(r)
	if err != nil {
		return err
	}
	return acts(func() error { return d.rolledBack(r, large) }, func() error { return d.slowerNow(large) })
}

// scored asks for the rollout of a large change, which waits for a person.
func (d *drama) scored(r *Release) (p api.Rollout, err error) {
	return p, d.step("risk", "v2", func() (bool, string, error) {
		if p, err = d.begun(r, "shop-risky", &largeChange); err != nil {
			return false, "", err
		}
		if p.Risk == nil {
			d.check("the change is scored", false, "it is not")
			return false, "v2  has no score", nil
		}
		d.check("a large change waits for a yes", p.Risk.Gate == api.RiskApprove && p.Unapproved(), "%s with %d points", p.Risk.Gate, p.Risk.Score)
		d.check("its first step is 1 %", p.Plan.Steps[0] == 1, "%v", p.Plan.Steps)
		if err := d.pause(2 * time.Second); err != nil {
			return false, "", err
		}
		share, err := d.percent("v2")
		if err != nil {
			return false, "", err
		}
		d.check("before the yes it has no traffic", share <= 0, "%d %%", share)
		_, err = d.platform.ApproveRollout(d.ctx, p.ID, api.RolloutCommand{Reason: "we are in a hurry"})
		d.check("who asked for it cannot say yes", assay.CodeOf(err) == assay.CodeDenied, "%v", err)
		for _, f := range p.Risk.Factors {
			d.cfg.Log.Say(fmt.Sprintf("%2d of %2d points for %s: %s", f.Points, f.Most, f.Name, f.Words))
		}
		return true, fmt.Sprintf("v2  %d of 100: %s", p.Risk.Score, p.Risk.Words), nil
	})
}

// rolledBack approves the risky release, and it comes back by itself.
func (d *drama) rolledBack(r *Release, p api.Rollout) error {
	return d.step("rollback", "v2", func() (bool, string, error) {
		if _, err := d.manager.ApproveRollout(d.ctx, p.ID, api.RolloutCommand{Reason: "read it; the way back is tried"}); err != nil {
			return false, "", err
		}
		end, err := d.follow(p.ID, nil)
		if err != nil {
			return false, "", err
		}
		d.check("the risky release is rolled back", end.Status == api.RolloutAborted, "%s: %s", end.Status, end.Reason)
		exposed, harmed, err := d.takenBack(r, end)
		if err != nil {
			return false, "", err
		}
		took := end.Ended.Sub(end.Began)
		d.check("it never had more than 1 %", fmt.Sprint(stepsOf(end)) == "[1]" || end.Status != api.RolloutAborted, "%v", stepsOf(end))
		d.check("few customers were harmed", harmed <= riskyHarm, "%d of %d", harmed, exposed)
		d.check("it is rolled back in time", took < recoverTime, "%s", took.Round(time.Millisecond))
		return false, fmt.Sprintf("v2  back after %.1f s: %s requests, %s failed", took.Seconds(), Thousands(exposed), Thousands(harmed)), nil
	})
}

// slowerNow asks for a small change, whose steps have become smaller by what went wrong.
func (d *drama) slowerNow(large api.Rollout) error {
	r, err := d.sound()
	if err != nil {
		return err
	}
	return d.step("risk", r.Version.Name, func() (bool, string, error) {
		p, err := d.begun(r, "shop-risky", &smallChange)
		if err != nil || p.Risk == nil {
			return false, "", err
		}
		ok := p.Risk.Gate == api.RiskSlow && p.Plan.Steps[0] == 5 && p.Plan.MinDuration > time.Second
		d.check("a small change goes in smaller steps after that", ok, "%s with %d points: %v of %s at least", p.Risk.Gate, p.Risk.Score, p.Plan.Steps, p.Plan.MinDuration)
		d.check("because of the history", pointsOf(p, "history") > pointsOf(large, "history"), "%d points after %d", pointsOf(p, "history"), pointsOf(large, "history"))
		return ok, fmt.Sprintf("%s  %d of 100: %s", r.Version.Name, p.Risk.Score, p.Risk.Words), d.dismissed(p)
	})
}

func pointsOf(r api.Rollout, factor string) int {
	for _, f := range r.Risk.Factors {
		if f.Name == factor {
			return f.Points
		}
	}
	return 0
}
