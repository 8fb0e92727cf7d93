package gameday

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// nightShare is the part of a day's load that a night has.
const nightShare = 0.3

// Nights are for a process that loads: the share of its rate to send, which is that of a
// night from SIGUSR1 to SIGUSR2. stop ends the listening.
func Nights() (share func() float64, stop func()) {
	var night atomic.Bool
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range signals {
			night.Store(s == syscall.SIGUSR1)
		}
	}()
	share = func() float64 {
		if night.Load() {
			return nightShare
		}
		return 1
	}
	return share, func() { signal.Stop(signals); close(signals) }
}

// newestLoad is the newest report of the load.
func (d *drama) newestLoad() (r LoadReport) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.load); n > 0 {
		r = d.load[n-1]
	}
	return r
}

// falls lets the night or the day come, and waits until the load is like that.
func (d *drama) falls(night bool) (rate float64, err error) {
	if night {
		d.dayAim = d.newestLoad().Aim
	}
	s := syscall.SIGUSR2
	if night {
		s = syscall.SIGUSR1
	}
	if pid := d.Processes()["load"]; pid == 0 || syscall.Kill(pid, s) != nil {
		return 0, assay.Errorf(assay.CodeInternal, "there is no load")
	}
	_, there, err := d.until(5*time.Second, func() (bool, error) {
		now := d.newestLoad()
		rate = now.Rate
		return (now.Aim < d.dayAim/2) == night, nil
	})
	if err == nil && !there {
		err = assay.Errorf(assay.CodeUnavailable, "the load does not follow the hour: it is %.0f requests/s", rate)
	}
	return rate, err
}

// nightTime is how much of a night is known before a release: more than the baseline.
const nightTime = 4 * time.Second

// loadFault releases v11 at night, and a sound version in the next one.
func loadFault(d *drama) error {
	return acts(d.tooFewConnections, d.enoughOfThem)
}

// connections are as many as v11 needs for three fifths of a day: each is away for 50 ms.
func connections(day float64) int { return max(4, int(0.6*0.05*day)) }

func (d *drama) tooFewConnections() error {
	r, err := d.version("v11")
	if err != nil {
		return err
	}
	n := connections(d.newestLoad().Aim)
	if err := d.launch(r, "/usr/bin/env", fmt.Sprintf("SHOP_CONNECTIONS=%d", n), r.Binary, "-seed", fmt.Sprint(d.cfg.Seed)); err != nil {
		return err
	}
	return d.step("night", "v11", func() (bool, string, error) {
		p, night, err := d.releasedAtNight(r, "shop-night")
		if err != nil {
			return false, "", err
		}
		had, failed, err := d.exposure(r.Version.Name)
		if err != nil {
			return false, "", err
		}
		d.check("at night v11 passes all steps", fmt.Sprint(stepsOf(p)) == fmt.Sprint(p.Plan.Steps) && float64(failed) < 0.03*float64(had), "%v, %d of %d failed", stepsOf(p), failed, had)
		if err := d.waitsForDay(p); err != nil {
			return false, "", err
		}
		if had, failed, err = d.exposure(r.Version.Name); err != nil {
			return false, "", err
		}
		dawn := time.Now()
		if _, err := d.falls(false); err != nil {
			return false, "", err
		}
		end, err := d.follow(p.ID, nil)
		if err != nil {
			return false, "", err
		}
		d.check("by day the watch takes it back", end.Status == api.RolloutReverted, "%s: %s", end.Status, end.Reason)
		all, bad, err := d.takenBack(r, end)
		if err != nil {
			return false, "", err
		}
		all, bad = all-had, bad-failed
		d.check("its connections ran out", float64(bad) > 0.05*float64(all), "%d of %d failed", bad, all)
		// Three fifths of a day's requests have a connection; the others of a minute would have failed.
		minute := 0.4 * d.dayAim * 60
		d.check("few were harmed of those that a minute of the day would have harmed", float64(bad) < minute/5, "%d of %.0f", bad, minute)
		return false, fmt.Sprintf("v11  with %d connections it passed at %.0f requests/s; by day %d of %s failed until it was taken back %.1f s after dawn, of %s in a minute",
			n, night, bad, Thousands(all), end.Ended.Sub(dawn).Seconds(), Thousands(int(minute))), nil
	})
}

// releasedAtNight lets a version have all the traffic of a night.
func (d *drama) releasedAtNight(r *Release, resource string) (p api.Rollout, rate float64, err error) {
	if rate, err = d.falls(true); err != nil {
		return p, 0, err
	}
	if err := d.pause(nightTime); err != nil {
		return p, 0, err
	}
	if p, err = d.begun(r, resource, nil); err != nil {
		return p, 0, err
	}
	p, err = d.follow(p.ID, func(r api.Rollout) bool { return r.Status == api.RolloutWatching })
	return p, rate, err
}

// waitsForDay asserts that the watch does not end at night, and says why.
func (d *drama) waitsForDay(p api.Rollout) error {
	name := p.Plan.Canary
	if p.Watch == nil || p.Watch.Began.IsZero() {
		d.check(name+" is watched", false, "%s: %s", p.Status, p.Reason)
		return nil
	}
	seen, err := d.follow(p.ID, func(r api.Rollout) bool {
		return r.Status == api.RolloutWatching && time.Since(r.Watch.Began) > r.Watch.Duration+time.Second && strings.Contains(r.Reason, "waits for")
	})
	if err != nil {
		return err
	}
	d.check("its watch waits for the day, and says what was not seen of "+name,
		!seen.Status.Ended() && seen.Watch.Met.IsZero() && strings.Contains(seen.LoadWords(), "how it bears more than it had was not seen"), "%s: %s", seen.Status, seen.Reason)
	d.cfg.Log.Say(seen.LoadWords())
	return nil
}

func (d *drama) enoughOfThem() error {
	r, err := d.sound()
	if err != nil {
		return err
	}
	name := r.Version.Name
	return d.step("night", name, func() (bool, string, error) {
		p, night, err := d.releasedAtNight(r, "shop-night-sound")
		if err != nil {
			return false, "", err
		}
		if err := d.waitsForDay(p); err != nil {
			return false, "", err
		}
		if _, err := d.falls(false); err != nil {
			return false, "", err
		}
		end, err := d.follow(p.ID, nil)
		if err != nil {
			return false, "", err
		}
		ok := end.Status == api.RolloutPromoted && end.Watch != nil && !end.Watch.Met.IsZero()
		d.check("under the same load a sound version keeps the traffic", ok, "%s: %s", end.Status, end.Reason)
		d.check("it was seen with the day's load", ok && end.Load.Canary > 2*night, "%s", end.LoadWords())
		if end.Status == api.RolloutPromoted {
			d.current = r
		}
		return ok, fmt.Sprintf("%s  %s", name, end.LoadWords()), nil
	})
}
