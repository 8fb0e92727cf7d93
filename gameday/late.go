package gameday

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// outageTime is how long the control plane hears nothing: longer than a signal may be
// old, and long enough to have decided.
const outageTime = 8 * time.Second

// telemetryOutage cuts the wire between proxy and control plane while a bad version
// has its first traffic.
func telemetryOutage(d *drama) error {
	r, err := d.version("v2")
	if err != nil {
		return err
	}
	if err := d.Run(r, false); err != nil {
		return err
	}
	return d.step("outage", "v2", func() (bool, string, error) {
		p, err := d.begun(r, "shop-deaf", nil)
		if err != nil {
			return false, "", err
		}
		if _, err := d.follow(p.ID, func(r api.Rollout) bool { return r.Weight > 0 && r.Canary.Total >= killAfter }); err != nil {
			return false, "", err
		}
		d.wire.sever(true)
		d.cfg.Log.Say("the wire between proxy and control plane is cut")
		deaf, err := d.held(p)
		if err != nil {
			return false, "", err
		}
		served, _, err := d.exposure("v2")
		if err != nil {
			return false, "", err
		}
		d.check("meanwhile v2 went on serving", served > deaf.Canary.Total, "%d requests, %d known", served, deaf.Canary.Total)
		d.wire.sever(false)
		mended := time.Now()
		end, err := d.follow(p.ID, nil)
		if err != nil {
			return false, "", err
		}
		d.check("v2 is aborted when it hears again", end.Status == api.RolloutAborted && end.Ended.After(mended), "%s: %s", end.Status, end.Reason)
		if _, _, err := d.takenBack(r, end); err != nil {
			return false, "", err
		}
		return false, fmt.Sprintf("v2  held for %.0f s without telemetry, stopped %.1f s after it was back", outageTime.Seconds(), end.Ended.Sub(mended).Seconds()), nil
	})
}

// held asserts that nothing is done for as long as the outage lasts.
func (d *drama) held(p api.Rollout) (api.Rollout, error) {
	acted := func() (int, error) {
		list, err := d.ci.Facts(d.ctx, []string{assay.FactRolloutActed}, "", maxDecisions)
		return len(list), err
	}
	before, err := acted()
	if err != nil {
		return p, err
	}
	unknown := false
	for until := time.Now().Add(outageTime); time.Now().Before(until); {
		if p, err = d.ci.Rollout(d.ctx, p.ID); err != nil {
			return p, err
		}
		unknown = unknown || p.Decision != nil && slices.ContainsFunc(p.Decision.Signals, func(s assay.Signal) bool { return !s.Known })
		if p.Status.Ended() {
			break
		}
		if err := d.pause(look); err != nil {
			return p, err
		}
	}
	after, err := acted()
	d.check("without telemetry it holds: no abort, no step", p.Status == api.RolloutRunning && after == before, "%s at %d %%, %d actions", p.Status, p.Weight, after-before)
	d.check("it says that its signals are unknown", unknown, "%s", p.Reason)
	return p, err
}

// lateFault releases v7, which is well with a tenth of the traffic and breaks with all of it.
func lateFault(d *drama) error {
	r, err := d.version("v7")
	if err != nil {
		return err
	}
	if err := d.Run(r, false); err != nil {
		return err
	}
	return d.step("late fault", "v7", func() (bool, string, error) {
		p, err := d.begun(r, "shop-busy", nil)
		if err != nil {
			return false, "", err
		}
		end, err := d.follow(p.ID, nil)
		if err != nil {
			return false, "", err
		}
		d.check("v7 passes with a tenth of the traffic and gets all of it", end.Watch != nil && !end.Watch.Began.IsZero(), "%v", stepsOf(end))
		d.check("the watch takes it back", end.Status == api.RolloutReverted, "%s: %s", end.Status, end.Reason)
		_, _, err = d.takenBack(r, end)
		watched := 0.0
		if end.Watch != nil {
			watched = end.Ended.Sub(end.Watch.Began).Seconds()
		}
		return false, fmt.Sprintf("v7  was well at 10 %%; with all the traffic %s failed, and it was taken back after %.1f s", percentOf(end.Canary), watched), err
	})
}

// wentBack is a person's word once v2 was promoted and nobody watches it any more: the
// service goes back to v1, by a rollout of its own.
func (d *drama) wentBack() error {
	return d.step("rollback", "v2", func() (bool, string, error) {
		asked := time.Now()
		p, err := d.platform.RollbackRollout(d.ctx, api.RollbackRequest{Of: serviceName, Reason: "a customer found a fault that no metric shows"})
		if err != nil {
			return false, "", err
		}
		d.rollouts = append(d.rollouts, p.ID)
		r, err := d.follow(p.ID, func(r api.Rollout) bool { return r.Status == api.RolloutWatching })
		if err != nil {
			return false, "", err
		}
		took := time.Since(asked)
		share, err := d.percent("v1")
		if err != nil {
			return false, "", err
		}
		d.check("v1 has all the traffic again, in one step", share == 100 && p.Plan.Canary == "v1" && p.Plan.Control == "v2" && len(p.Plan.Steps) == 1, "%d %% at the proxy, %s", share, r.Reason)
		if _, err := d.platform.PromoteRollout(d.ctx, p.ID, api.RolloutCommand{Reason: "seen enough"}); err != nil {
			return false, "", err
		}
		end, err := d.follow(p.ID, nil)
		d.check("the rollback is recorded as a rollout that took another one back", err == nil && end.Status == api.RolloutPromoted && end.Back != nil && end.Back.Of != "", "%s: %s", end.Status, end.Reason)
		return true, fmt.Sprintf("v1  has all the traffic again %.1f s after the word", took.Seconds()), err
	})
}

// slowDependency releases v8, whose new dependency makes it slow and never fail.
func slowDependency(d *drama) error {
	r, err := d.version("v8")
	if err != nil {
		return err
	}
	if err := d.Run(r, false); err != nil {
		return err
	}
	return d.step("dependency", "v8", func() (bool, string, error) {
		p, err := d.begun(r, "shop-days-latency", nil)
		if err != nil {
			return false, "", err
		}
		end, err := d.follow(p.ID, nil)
		if err != nil {
			return false, "", err
		}
		d.check("v8 is aborted", end.Status == api.RolloutAborted, "%s: %s", end.Status, end.Reason)
		t, ok := worst(end)
		d.check("what stopped it is its latency", ok && t.Bound > 0, "%s", t.Name)
		errors, ok := testNamed(end, "errors")
		d.check("its errors would not have", ok && errors.Harm < end.Decision.AbortAt, "harm e^%.1f", errors.Harm)
		_, _, err = d.takenBack(r, end)
		return false, fmt.Sprintf("v8  after %s canary requests: %s took more than %g s against %s of the old version's",
			Thousands(t.Canary.Total), percentOf(t.Canary), t.Bound, percentOf(t.Control)), err
	})
}

// memoryKB is what v9 may have of data, heap and all else, in kilobytes.
const memoryKB = 160 << 10

// outOfMemory is how a program says what it died of, wherever it noticed.
var outOfMemory = regexp.MustCompile(`fatal error: .*memory`)

// limited runs a program under the kernel's limit, again and again as a platform does.
const limited = `ulimit -d "$1" || exit 1; shift; while :; do "$@"; sleep 0.2; done`

// memoryLimit releases v9, which keeps what its limit has no room for once there are
// enough customers.
func memoryLimit(d *drama) error {
	r, err := d.version("v9")
	if err != nil {
		return err
	}
	address, err := freeAddress(d.ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := d.launch(r, "/bin/sh", "-c", limited, "limited", fmt.Sprint(memoryKB), r.Binary, "-seed", fmt.Sprint(d.cfg.Seed), "-listen", address); err != nil {
		return err
	}
	return d.step("limit", "v9", func() (bool, string, error) {
		p, err := d.begun(r, "shop-limits", nil)
		if err != nil {
			return false, "", err
		}
		end, err := d.follow(p.ID, nil)
		if err != nil {
			return false, "", err
		}
		d.check("v9 is aborted", end.Status == api.RolloutAborted, "%s: %s", end.Status, end.Reason)
		if _, _, err := d.takenBack(r, end); err != nil {
			return false, "", err
		}
		r.process.stop()
		log, err := os.ReadFile(d.path("logs", "shop-v9.log"))
		if err != nil {
			return false, "", err
		}
		deaths := len(outOfMemory.FindAllIndex(log, -1))
		d.check("it died of its limit", deaths > 0, "%d times in its log", deaths)
		steps := stepsOf(end)
		return false, fmt.Sprintf("v9  was well until %d %% of the traffic; its limit of %d MB killed it %s", steps[len(steps)-1], memoryKB>>10, count(deaths, "time")), nil
	})
}
