package gameday

import (
	"fmt"
	"net/http"
	"time"

	"assay.dev/assay"
)

// reactTime is how long a strategy of the yard may take to see what is wrong and move
// its lever: its signals look back three seconds.
const reactTime = 15 * time.Second

// regionalOutage kills the region eu.
func regionalOutage(d *drama) error {
	people := d.visit("atlas.yard", "/items", 400, "", "", "")
	defer people.leave()
	y := d.yard
	probes := map[string]string{"eu": y.eu.Backend, "us": y.us.Backend}
	stop := d.reporting(func() []gauge { return d.probed(probes) })
	calm, err := d.during(4*time.Second, people)
	if err != nil {
		return err
	}
	d.check("both regions are well", calm.failing() < 0.05, "%.1f %% fail", 100*calm.failing())
	err = acts(func() error { return d.diverted(people) }, func() error { return d.returned(people) })
	if serr := stop(); err == nil {
		err = serr
	}
	return err
}

// probed asks each region for a page past the proxy, as a prober elsewhere does.
func (d *drama) probed(regions map[string]string) (out []gauge) {
	for region, backend := range regions {
		failed := 1.0
		client := &http.Client{Timeout: 200 * time.Millisecond}
		if res, err := client.Get(backend + "/items/1"); err == nil {
			_ = res.Body.Close()
			failed = 0 // also a 503 answers: what is probed is whether it is there
		}
		client.CloseIdleConnections()
		out = append(out, gauge{name: "yard_probe_failed", label: "region", value: region, service: atlas, number: failed})
	}
	return out
}

func (d *drama) diverted(people *visitors) error {
	return d.step("outage", "eu dies", func() (bool, string, error) {
		y := d.yard
		if err := y.eu.process.freeze(true); err != nil {
			return false, "", err
		}
		took, ok, err := d.until(2*reactTime, func() (bool, error) {
			l, err := d.lever(atlas, assay.LeverRegion, "eu")
			return l.Value <= 6.5, err
		})
		if err != nil {
			return false, "", err
		}
		l, err := d.lever(atlas, assay.LeverRegion, "eu")
		if err != nil {
			return false, "", err
		}
		d.check("eu keeps a probe of its traffic and no more", ok && l.Value > 0, "%.3g %% after %s: %s", l.Value, took.Round(time.Millisecond), d.strategyWords("atlas-divert"))
		if err := d.pause(2 * time.Second); err != nil { // what was under way runs into its end
			return false, "", err
		}
		after, err := d.during(2*time.Second, people)
		d.check("customers are well again but for the probe", after.failing() < 0.15, "%.1f %% fail", 100*after.failing())
		return ok, fmt.Sprintf("eu has %.3g %% after %.1f s; %.0f %% of the requests fail", l.Value, took.Seconds(), 100*after.failing()), err
	})
}

func (d *drama) returned(people *visitors) error {
	return d.step("recovery", "eu is there again", func() (bool, string, error) {
		if err := d.yard.eu.process.freeze(false); err != nil {
			return false, "", err
		}
		took, ok, err := d.until(2*reactTime, func() (bool, error) {
			l, err := d.lever(atlas, assay.LeverRegion, "eu")
			return l.Value == 60, err
		})
		if err != nil {
			return false, "", err
		}
		d.check("eu has its traffic back", ok, "after %s: %s", took.Round(time.Millisecond), d.strategyWords("atlas-divert"))
		moves, err := d.movesOf("atlas-divert")
		d.check("in steps", len(moves) >= 3, "%d moves", len(moves))
		return ok, fmt.Sprintf("eu has its 60 %% again after %.1f s, %s in all", took.Seconds(), count(len(moves), "move")), err
	})
}

// noisyTenant lets one tenant ask for more than the service has.
func noisyTenant(d *drama) error {
	tenants := map[string]*visitors{"acme": d.visit("api.yard", "/items", 60, "X-Tenant", "acme", ""), "beta": d.visit("api.yard", "/items", 60, "X-Tenant", "beta", "")}
	defer tenants["acme"].leave()
	defer tenants["beta"].leave()
	calm, err := d.during(3*time.Second, tenants["acme"])
	if err != nil {
		return err
	}
	d.check("acme is well while nobody takes too much", calm.failing() < 0.05, "%.1f %% fail", 100*calm.failing())
	return d.step("noisy", "corp asks 1,000 times a second", func() (bool, string, error) {
		// Somebody holds the strategy for two seconds, so that what it is for is seen.
		if _, err := d.assay(d.ctx, "halt", "set", "--service", api1, "--reason", "what corp does is looked at first"); err != nil {
			return false, "", err
		}
		corp := d.visit("api.yard", "/items", 1000, "X-Tenant", "corp", "")
		defer corp.leave()
		suffered, err := d.during(2*time.Second, tenants["acme"])
		if err != nil {
			return false, "", err
		}
		d.check("acme suffers from corp", suffered.failing() > 0.15, "%.1f %% fail", 100*suffered.failing())
		quota, err := d.lever(api1, assay.LeverQuota, "corp")
		if err != nil {
			return false, "", err
		}
		d.check("nothing is done while the kill switch is pulled", quota.Scope != "corp" || quota.Value == 0, "%+v: %s", quota, d.strategyWords("api-neighbours"))
		if _, err := d.assay(d.ctx, "halt", "lift", "--service", api1); err != nil {
			return false, "", err
		}
		took, ok, err := d.until(reactTime, func() (held bool, err error) {
			quota, err = d.lever(api1, assay.LeverQuota, "corp")
			return quota.Scope == "corp" && quota.Value > 0, err
		})
		if err != nil {
			return false, "", err
		}
		d.check("corp is held at its fair part", ok && quota.Value > 100 && quota.Value < 360, "%.0f/s after %s: %s", quota.Value, took.Round(time.Millisecond), d.strategyWords("api-neighbours"))
		if err := d.pause(2 * time.Second); err != nil {
			return false, "", err
		}
		after, err := d.during(3*time.Second, tenants["acme"])
		if err != nil {
			return false, "", err
		}
		d.check("the others are well, and nobody holds them", after.failing() < 0.08 && after.held == 0, "%.1f %% fail, %d held", 100*after.failing(), after.held)
		return ok, fmt.Sprintf("corp is held at %.0f/s after %.1f s; of acme's requests %.0f %% failed, and now %.1f %%", quota.Value, took.Seconds(), 100*suffered.failing(), 100*after.failing()), nil
	})
}

// attack lets one address try doors that are not there.
func attack(d *drama) error {
	const stranger = "127.0.0.2"
	people := d.visit("edge.yard", "/items", 200, "", "", "127.0.0.1")
	defer people.leave()
	if err := d.pause(2 * time.Second); err != nil {
		return err
	}
	thief := d.visit("edge.yard", "/admin.php", 200, "", "", stranger)
	left := false
	leave := func() {
		if !left {
			left = true
			thief.leave()
		}
	}
	defer leave()
	err := d.step("attack", stranger+" tries door after door", func() (bool, string, error) {
		took, ok, err := d.until(reactTime, func() (bool, error) {
			l, err := d.lever(edge, assay.LeverQuarantine, stranger)
			return l.Scope == stranger && l.Value == 1, err
		})
		if err != nil {
			return false, "", err
		}
		l, err := d.lever(edge, assay.LeverQuarantine, stranger)
		if err != nil {
			return false, "", err
		}
		d.check("it is cut off", ok, "after %s: %s", took.Round(time.Millisecond), d.strategyWords("edge-contain"))
		d.check("what it did is kept", l.Evidence != nil && len(l.Evidence.Results) > 0, "%+v", l.Evidence)
		people.seen()
		held, err := d.during(2*time.Second, thief)
		if err != nil {
			return false, "", err
		}
		others := people.seen()
		d.check("none of its requests reaches the service", held.ok == 0 && held.bad == 0 && held.held > 0, "%+v", held)
		d.check("customers notice nothing", others.held == 0 && others.failing() < 0.05, "%d held, %.1f %% fail", others.held, 100*others.failing())
		return ok, fmt.Sprintf("%s is cut off after %.1f s, with %s kept; of the customers nobody is held", stranger, took.Seconds(), "its newest requests"), nil
	})
	if err != nil {
		return err
	}
	return d.step("undo", stranger+" is quiet", func() (bool, string, error) {
		leave()
		took, ok, err := d.until(2*reactTime, func() (bool, error) {
			l, err := d.lever(edge, assay.LeverQuarantine, stranger)
			return l.Scope != stranger || l.Value == 0, err
		})
		d.check("it is let in again", ok, "after %s: %s", took.Round(time.Millisecond), d.strategyWords("edge-contain"))
		return ok, fmt.Sprintf("%s is let in again after %.1f s", stranger, took.Seconds()), err
	})
}
