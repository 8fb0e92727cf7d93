package gameday

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/enforce"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/rollout"
)

// Scenario is a play with outcomes that are asserted.
type Scenario struct {
	Name  string
	About string // one sentence: what happens, and what is to come of it
	play  func(*drama) error
	// stage prepares what the play needs, once for all plays of the same stage that
	// are played together; nil if the play prepares a world of its own.
	stage *stage
	// patient plays use little of the processors, and nothing that they assert is lost by
	// waiting for one of them for a few hundred milliseconds.
	patient bool
}

// stage is what several plays stand on: a world that each of them leaves as it found it.
type stage struct{ prepare func(*drama) error }

// Shares reports whether two plays can be played one after the other on one world.
func (s Scenario) Shares(other Scenario) bool { return s.stage != nil && s.stage == other.stage }

// Patient reports whether a play may be played beside another such play on one machine.
func (s Scenario) Patient() bool { return s.patient }

// Scenarios are all there are, in the order of the documentation.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "bad-release", About: "v2 fails four times as often, which its tests do not show: it is stopped and the traffic returns", play: badRelease},
		{Name: "healthy-release", About: "v2 without the regression: it gets all the traffic, step by step", play: healthyRelease},
		{Name: "slow-release", About: "v6 fails as rarely as v1 and is slow for a few: the tail of its latency stops it", play: slowRelease},
		{Name: "other-ways", About: "v2 as a mirror, which harms nobody, and then blue/green: all the traffic at once, and back", play: otherWays},
		{Name: "control-plane-killed", About: "the control plane is killed while v2 has its first traffic and comes back: v2 is stopped all the same, once", play: controlPlaneKilled},
		{Name: "key-compromise", About: "the signing key is stolen and revoked: what it signed afterwards is listed and refused everywhere until it is attested anew", play: keyCompromise, patient: true},
		{Name: "attestation-store-down", About: "the ledger's files cannot be written, and the control plane is killed meanwhile: what was acknowledged is kept, published and proved", play: attestationStoreDown, patient: true},
		{Name: "serverless-payment", About: "a payment function without an attestation is neither deployed nor invoked, an attested one is both, a tampered copy neither", play: serverlessPayment, patient: true},
		{Name: "gate-blocked", About: "a policy refuses every release: two people excuse one, and in an emergency one person does, for hours and for all to see", play: gateBlocked, patient: true},
		{Name: "harm-budget", About: "a release may spend a fifth of the error budget: a bad one is stopped within it, a good one goes through, and without a budget nothing goes on", play: harmBudget, stage: shopStage},
		{Name: "risky-release", About: "the score of a large change asks a person first and starts at 1 %; it is rolled back with at most a hundred harmed, and its history makes the next one slower", play: riskyRelease, stage: shopStage},
		{Name: "telemetry-outage", About: "the control plane hears nothing while a bad version has a tenth of the traffic: it holds, and stops it when it hears again", play: telemetryOutage, stage: shopStage},
		{Name: "late-fault", About: "v7 is well at a tenth of the traffic and breaks a quota with all of it: the watch takes it back", play: lateFault, stage: shopStage},
		{Name: "load-fault", About: "v11 has too few connections for the day: released at night it passes, its watch waits for the day and takes it back then; a sound version keeps the traffic under the same load", play: loadFault, stage: nightStage},
		{Name: "slow-dependency", About: "v8 asks a new dependency through a wrong circuit breaker, which adds latency and no error: it is stopped", play: slowDependency, stage: shopStage},
		{Name: "slow-burn", About: "v2 fails a little more often than v1 and within the objective: no burn-rate rule sees it, and it is stopped with a small part of the budget spent", play: slowBurn, stage: shopStage},
		{Name: "memory-limit", About: "v9 keeps pages in memory and runs under a limit that the kernel enforces: the limit kills it while it has traffic, and the traffic is back", play: memoryLimit, stage: shopStage},
		{Name: "regional-outage", About: "the eu of two regions dies: its traffic goes to the other one but for a probe, and comes back when it is well", play: regionalOutage, stage: yardStage, patient: true},
		{Name: "regional-spike", About: "eu becomes slow, retries fill the queues of the region that is well too: what has no room is held, the traffic goes where there is room, and all comes back when eu is well; us is emptied before its machines are taken back", play: regionalSpike, stage: yardStage},
		{Name: "noisy-tenant", About: "one tenant asks for more than all may have and another fails: it is held at a fair part, and the other is well again", play: noisyTenant, stage: yardStage},
		{Name: "attack", About: "one address tries door after door: it is cut off with what it did kept, no customer is held, and it is let in again when it is quiet", play: attack, stage: yardStage, patient: true},
		{Name: "limit-bypass", About: "somebody without the right tries to lift a rate limit in five ways: none works, and the limit holds all the while", play: limitBypass, stage: yardStage, patient: true},
		{Name: "autoscaler", About: "an autoscaler starts and stops real workers with every burst of tasks; through a strategy they are there within seconds, none is stopped before it calms down, and tasks wait less", play: autoscaler, stage: yardStage},
		{Name: "seasonal", About: "workers run before their load comes: that of a morning, which a forecast of three weeks foretells, and that of an event in the calendar; a load that goes astray ends the forecast", play: seasonal, stage: yardStage},
		{Name: "event-burst", About: "ten times the usual events arrive at functions for AWS Lambda: more are started, the least important events go a cheaper path, and all is given back", play: eventBurst, stage: yardStage},
		{Name: "batch-cap", About: "test jobs run away with the money: the least important goes to a cheaper class, at what a person allowed all but the release stop, and with a new day they come back and finish", play: batchCap, stage: yardStage},
		{Name: "service-tiers", About: "basic has more than it was promised and goes to a cheaper machine; what customers ask for changes, promises are broken, and dearer machines keep them again", play: serviceTiers, stage: yardStage},
		{Name: "verdicts", About: "a cheaper machine costs more of the budget than it saves: the engine judges that it harmed and gives it back; a dearer one ends trouble that had lasted, and is judged to have helped", play: verdicts, stage: yardStage},
		{Name: "oscillation", About: "what customers ask for changes whenever a class fits it: the lever that follows them swings, is frozen, which is a fact and shown, and moves again when a person says so", play: oscillation, stage: yardStage},
	}
}

// ScenarioNamed finds a scenario; assay.CodeNotFound with the one that was meant.
func ScenarioNamed(name string) (Scenario, error) {
	var names []string
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, assay.Errorf(assay.CodeNotFound, "game day %s", strict.OneOf(name, names))
}

// Play plays scenarios, several only if they share a stage. It returns what it has even
// with an error.
func (w *World) Play(list ...Scenario) (Report, error) {
	d := drama{World: w}
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
		if !s.Shares(list[0]) && len(list) > 1 {
			return d.result(s.Name), assay.Errorf(assay.CodeInvalid, "game days %s and %s do not stand on one world", list[0].Name, s.Name)
		}
	}
	err := d.playAll(list)
	r := d.result(strings.Join(names, " "))
	r.OK = r.OK && err == nil
	return r, err
}

func (d *drama) playAll(list []Scenario) error {
	if on := list[0].stage; on != nil {
		if err := on.prepare(d); err != nil {
			return err
		}
	}
	for _, s := range list {
		if len(list) > 1 {
			d.cfg.Log.Say(s.Name + ": " + s.About)
			d.playing = s.Name + ": "
		}
		if err := s.play(d); err != nil {
			return err
		}
	}
	if list[0].stage != nil && len(d.rollouts) > 0 {
		return d.replay()
	}
	return nil
}

func badRelease(d *drama) error {
	return acts(d.opening, d.v2, d.replay)
}

func healthyRelease(d *drama) error {
	d.healthy = true
	return acts(d.opening, d.v2, d.wentBack, d.replay)
}

func (d *drama) opening() (err error) {
	if err = d.openPage(); err != nil {
		return err
	}
	d.current, err = d.first()
	return err
}

func acts(list ...func() error) error {
	for _, act := range list {
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}

// killAfter is how many canary requests there are when the control plane is
// killed: it is in the middle of its work, and far from a decision.
const killAfter = 20

func controlPlaneKilled(d *drama) error {
	if err := d.opening(); err != nil {
		return err
	}
	r, a, err := d.judged("v2")
	if err != nil {
		return err
	}
	d.check("v2 passes the gate", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
	d.stop, err = d.stopped(r, d.killInTheMiddle)
	if err != nil || d.stop == nil {
		return err
	}
	d.rollouts = append(d.rollouts, d.stop.Rollout)
	return acts(d.once, d.replay)
}

// killInTheMiddle follows a rollout, kills the control plane when the canary has
// its first traffic, and starts it again on the same folder and port.
func (d *drama) killInTheMiddle(p api.Rollout) (api.Rollout, error) {
	mid, err := d.follow(p.ID, func(r api.Rollout) bool { return r.Weight > 0 && r.Canary.Total >= killAfter })
	if err != nil {
		return mid, err
	}
	d.check("the control plane is killed in mid-rollout", mid.Status == api.RolloutRunning, "%s at %d %% after %d canary requests", mid.Status, mid.Weight, mid.Canary.Total)
	old := d.server
	old.kill()
	d.cfg.Log.Say(fmt.Sprintf("kill -9 %d: the control plane is dead at %s canary requests; the proxy goes on by itself", old.PID, Thousands(mid.Canary.Total)))
	if err := d.startServer(); err != nil {
		return mid, err
	}
	d.cfg.Log.Say(fmt.Sprintf("started again as %d on the same folder and port", d.server.PID))
	d.check("another process carries on", d.server.PID != old.PID, "%d after %d", d.server.PID, old.PID)
	return d.follow(p.ID, nil)
}

// once asserts that everything happened exactly once: in the facts, and in what the
// proxy keeps of its own.
func (d *drama) once() error {
	return d.step("once", "", func() (bool, string, error) {
		count := map[string]int{}
		var receipts []string
		for _, kind := range []string{assay.FactRolloutActed, assay.FactRolloutEnded} {
			list, err := d.ci.Facts(d.ctx, []string{kind}, "", maxDecisions)
			if err != nil {
				return false, "", err
			}
			for _, f := range list {
				if kind == assay.FactRolloutEnded {
					count["ended"]++
					continue
				}
				var p rollout.ActedPayload
				if err := json.Unmarshal(f.Payload, &p); err != nil {
					return false, "", err
				}
				if p.Action.Kind == assay.ActionAbort {
					count["abort"]++
					receipts = append(receipts, fmt.Sprintf("fact %s, receipt %s at %s", f.ID, p.Receipt.Key, p.Receipt.Time.Format("15:04:05.000")))
				}
			}
		}
		taken, err := d.taken("v2", 0)
		if err != nil {
			return false, "", err
		}
		d.check("exactly one abort is a fact", count["abort"] == 1, "%d", count["abort"])
		d.check("exactly one end is a fact", count["ended"] == 1, "%d", count["ended"])
		d.check("the proxy took exactly one abort", taken == 1, "%d receipts", taken)
		for _, r := range receipts {
			d.cfg.Log.Say("abort: " + r)
		}
		return count["abort"] == 1 && taken == 1, fmt.Sprintf("%d abort fact, %d end, %d abort receipt at the proxy", count["abort"], count["ended"], taken), nil
	})
}

// taken counts the receipts that the proxy itself keeps for setting a version's share.
func (w *World) taken(version string, percent int) (n int, err error) {
	data, err := os.ReadFile(w.path("state", "proxy", "state.json"))
	if err != nil {
		return 0, err
	}
	s, err := enforce.ParseState(data)
	if err != nil {
		return 0, err
	}
	for _, r := range s.Receipts {
		if r.Version == version && r.Percent == percent && r.Changed {
			n++
		}
	}
	return n, nil
}

// result is the report with the figures of the play.
func (d *drama) result(play string) Report {
	r := d.report(play)
	r.Healthy, r.Stopped, r.Promoted, r.Peers, r.Objective = d.healthy, d.stop, slices.Clone(d.promotions), append(r.Peers, d.peers...), d.books
	r.Functions = d.functions
	r.Decisions, r.Identical, r.Verify = d.decisions, d.identical, d.verify
	if d.stop != nil {
		r.StoppedAfter, r.Harmed, r.Floor = d.stop.After, d.stop.Harmed, d.stop.Floor
	}
	if n := len(d.promotions); n > 0 {
		r.PromotedAfter = d.promotions[n-1].After
	}
	return r
}
