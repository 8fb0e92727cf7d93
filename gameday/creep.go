package gameday

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/peer"
)

// creepAway is the share of the questions that the recommender does not answer in the play
// of a canary that eats the budget slowly: of v2's requests 1.8 % fail, of v1's 1 %, and the
// objective allows 2 %.
const creepAway = 0.008

// enoughCounted is from how many requests of the version on rules are asked: of a few, one
// that fails is many.
const enoughCounted = 200

// slowObjective is what policies/objective.yaml promises.
const slowObjective = 0.98

// tallied is what a version had counted at a time, as Assay knew it then.
type tallied struct {
	time time.Time
	rate assay.Rate
}

// firing are the static burn-rate rules of a severity that fire on what was counted until
// the last of list: over each window, or as much of it as there is, which is in their favour.
func firing(list []tallied, severity string, objective float64) (out []string) {
	if len(list) == 0 {
		return nil
	}
	now := list[len(list)-1]
	count := func(window time.Duration) (bad, total float64) {
		var before assay.Rate // nothing, where the window is longer than the list
		for _, t := range list {
			if now.time.Sub(t.time) < window {
				break
			}
			before = t.rate
		}
		return float64(now.rate.Bad - before.Bad), float64(now.rate.Total - before.Total)
	}
	for _, r := range peer.BurnRules() {
		if r.Severity == severity && r.Fires(objective, count) {
			out = append(out, fmt.Sprintf("%g over %s and %s", r.Factor, r.Long, r.Short))
		}
	}
	return out
}

// slowBurn releases v2 with a recommender that is away rarely: too little for a threshold.
func slowBurn(d *drama) error {
	r, err := d.version("v2")
	if err != nil {
		return err
	}
	if err := d.launch(r, r.Binary, "-seed", fmt.Sprint(d.cfg.Seed), "-away", fmt.Sprint(creepAway)); err != nil {
		return err
	}
	return d.step("slow burn", "v2", func() (bool, string, error) {
		had, failed, err := d.earlier(r.Version.Name)
		if err != nil {
			return false, "", err
		}
		p, err := d.begun(r, "shop-slow-burn", nil)
		if err != nil {
			return false, "", err
		}
		var own, all []tallied
		var fired []string // by rules that page, and by any on what the whole service counted
		see := func(r api.Rollout) bool {
			now := time.Now()
			own = append(own, tallied{now, r.Canary})
			all = append(all, tallied{now, assay.Rate{Bad: r.Canary.Bad + r.Control.Bad, Total: r.Canary.Total + r.Control.Total}})
			if r.Canary.Total >= enoughCounted {
				fired = slices.Concat(fired, firing(own, "page", slowObjective), firing(all, "page", slowObjective), firing(all, "ticket", slowObjective))
			}
			return false
		}
		end, err := d.follow(p.ID, see)
		if err != nil {
			return false, "", err
		}
		see(end)
		d.check("v2 is aborted", end.Status == api.RolloutAborted, "%s: %s", end.Status, end.Reason)
		exposed, harmed, err := d.takenBack(r, end)
		if err != nil {
			return false, "", err
		}
		exposed, harmed = exposed-had, harmed-failed
		d.check("until then no burn-rate rule pages for it or the service, nor writes a ticket for the service", len(fired) == 0 && end.Canary.Total >= enoughCounted, "%s after %d requests", strings.Join(fired, ", "), end.Canary.Total)
		cost, allowed := beyond(exposed, harmed, end.Control), (1-slowObjective)*float64(end.Canary.Total+end.Control.Total)
		d.check("it ate less than a quarter of what the objective allows for that traffic", cost < allowed/4, "%.0f of %.0f errors", cost, allowed)
		return false, fmt.Sprintf("v2  %s of %s requests fail against %s of v1's: it is stopped after %.0f s with %.0f of %.0f errors of the budget spent; alone it burns the budget %.1f times, and rules page from %g times on",
			percentOf(end.Canary), Thousands(end.Canary.Total), percentOf(end.Control), end.Ended.Sub(end.Began).Seconds(), cost, allowed, burned(end.Canary), leastPaging()), nil
	})
}

// earlier is what a version of this name had and failed in the plays before, if any.
func (d *drama) earlier(version string) (requests, failed uint64, err error) {
	if share, err := d.percent(version); err != nil || share < 0 {
		return 0, 0, err
	}
	return d.exposure(version)
}

// burned is how many times too fast a rate burns the budget of the objective.
func burned(r assay.Rate) float64 {
	return float64(r.Bad) / max(1, float64(r.Total)) / (1 - slowObjective)
}

// leastPaging is the least burn rate that a rule pages for.
func leastPaging() float64 {
	least := math.Inf(1)
	for _, r := range peer.BurnRules() {
		if r.Severity == "page" {
			least = min(least, r.Factor)
		}
	}
	return least
}
