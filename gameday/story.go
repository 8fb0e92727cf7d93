package gameday

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
)

// maxDecisions is how many decisions of one rollout are replayed.
const maxDecisions = 1000

// Demo is the long play: v1 as it stands, v2 stopped (or promoted, if healthy), v3
// promoted, v4 refused at the gate but for an exception, v5 refused at the door;
// then the books, a proof and the replay of every decision. It returns what it has
// even with an error.
func (w *World) Demo(healthy bool) (Report, error) {
	d := drama{World: w, healthy: healthy}
	err := d.play()
	r := d.result("demo")
	r.OK = r.OK && err == nil
	return r, err
}

// drama is a long play under way and what came of it so far.
type drama struct {
	*World
	healthy bool

	current    *Release // has all the traffic
	rollouts   []string
	stop       *Stop
	promotions []Promotion
	peers      []Peer
	books      *Books
	functions  *Functions

	yard *yard // of plays on the yard

	dayAim float64 // requests a second of a day, of plays with a night

	decisions, identical int
	verify               string
}

func (d *drama) play() error {
	plot := []func() error{d.opening, d.prompt, d.v2}
	if !d.healthy {
		plot = append(plot, func() error { return d.promote("v3", false) })
	}
	return acts(append(plot, d.vulnerable, d.stranger, d.objective, d.proof, d.replay)...)
}

// readyTime is how soon people see the page.
const readyTime = 5 * time.Second

func (d *drama) prompt() error {
	d.check("the page is ready in time", d.readyMS < readyTime.Milliseconds(), "%d ms of %d", d.readyMS, readyTime.Milliseconds())
	return nil
}

// v2 is the release with the regression, or without it.
func (d *drama) v2() error {
	if d.healthy {
		return d.promote("v2", true)
	}
	r, a, err := d.judged("v2")
	if err != nil {
		return err
	}
	d.check("v2 passes the gate: its tests do not show the fault", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
	if d.stop, err = d.stopped(r, func(p api.Rollout) (api.Rollout, error) { return d.follow(p.ID, nil) }); err != nil || d.stop == nil {
		return err
	}
	d.rollouts = append(d.rollouts, d.stop.Rollout)
	d.compare("v2", d.stop.Weight, faultyRate)
	return nil
}

// promote takes a release through gate and rollout.
func (d *drama) promote(name string, calm bool) error {
	r, a, err := d.judged(name)
	if err != nil {
		return err
	}
	d.check(name+" passes the gate", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
	p, err := d.promoted(r, calm)
	if err != nil || p == nil {
		return err
	}
	d.promotions = append(d.promotions, *p)
	d.rollouts = append(d.rollouts, p.Rollout)
	d.current = r
	d.compare(name, 0.10, soundRate)
	return nil
}

// compare says what another controller would have done at the same rates.
func (d *drama) compare(version string, weight, fails float64) {
	p := SimulateArgo(version, d.meanRate()*weight, fails, d.cfg.Seed)
	d.peers = append(d.peers, p)
	what := map[string]string{"abort": "would abort it", "continue": "would let it go on", "pause": "would pause it"}[p.Action]
	d.cfg.Log.Say(fmt.Sprintf("simulated: Argo Rollouts' counters at the same rates %s after %.0f s: %s canary requests, %s harmed",
		what, p.Seconds, Thousands(p.Requests), Thousands(p.Harmed)))
}

// objective tells how the service's promise stands.
func (d *drama) objective() error {
	return d.step("objective", "", func() (bool, string, error) {
		list, err := d.kept()
		if err != nil {
			return false, "", err
		}
		if len(list) != 1 {
			d.check("the shop has one objective", false, "%d", len(list))
			return false, fmt.Sprintf("there are %d objectives; expected that of the shop", len(list)), nil
		}
		o := list[0]
		d.books = &Books{
			Name: o.Objective.SLO, Target: o.Objective.Target.Percent(), Good: o.Good, Total: o.Total, Spent: o.Spent, Remaining: o.Remaining,
			Completeness: o.Completeness, Known: o.Known, Reason: o.Reason,
		}
		burn := ""
		if len(o.Burns) > 0 {
			b := o.Burns[0]
			d.books.Burn = b.Long
			burn = fmt.Sprintf("   burns %.1f× (%s)", b.Long, b.State)
		}
		d.check("the objective's books have the traffic", o.Total > 0 && o.Good > 0, "%d of %d good", o.Good, o.Total)
		return true, fmt.Sprintf("%s ≥ %s %%: %s of %s good, %.0f %% of the hour's budget spent%s   %.0f %% of the hour is known",
			o.Objective.SLO, o.Objective.Target.Percent(), Thousands(o.Good), Thousands(o.Total), 100*o.Spent, burn, 100*o.Completeness), nil
	})
}

// booksTime is how long the books may take to have counted anything.
const booksTime = 15 * time.Second

// kept are the objectives, once their books have counted something.
func (w *World) kept() ([]api.Objective, error) {
	for deadline := time.Now().Add(booksTime); ; {
		list, err := w.ci.Objectives(w.ctx)
		if err != nil || len(list) > 0 && list[0].Total > 0 || time.Now().After(deadline) {
			return list, err
		}
		if err := w.pause(look); err != nil {
			return nil, err
		}
	}
}

// proof saves the proof of the running release's attestation and verifies it as an
// auditor would: three files, no network.
func (d *drama) proof() error {
	return d.step("proof", d.current.Version.Name, func() (bool, string, error) {
		proof, err := d.ci.Proof(d.ctx, d.current.Fact)
		if err != nil {
			return false, "", err
		}
		file := filepath.Join("proofs", d.current.Version.Name+".proof.json")
		if err := os.WriteFile(d.path(file), proof, 0o600); err != nil {
			return false, "", err
		}
		pub, err := os.ReadFile(d.path("state", "keys", "assay.pub"))
		if err != nil {
			return false, "", err
		}
		if err := os.WriteFile(d.path("proofs", "assay.pub"), pub, 0o600); err != nil {
			return false, "", err
		}
		at := func(dir string, elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
		args := func(dir string) []string {
			return []string{
				"attestation", "verify", at(dir, "bin", filepath.Base(d.current.Binary)),
				"--proof", at(dir, file), "--pub", at(dir, "proofs", "assay.pub"), "--resource", resourceURI,
			}
		}
		for _, a := range append([]string{at(d.shown, "bin", "assay")}, args(d.shown)...) {
			if d.verify != "" {
				d.verify += " "
			}
			d.verify += a
		}
		_, err = d.assay(d.ctx, args(d.cfg.Dir)...)
		d.check("the proof verifies offline", err == nil, "%v", err)
		if err != nil {
			return false, "the proof does not verify: " + err.Error(), nil
		}
		d.cfg.Log.Say("verify it yourself: " + d.verify)
		return true, fmt.Sprintf("%s  saved in %s and verified with the public file alone", d.current.Version.Name, at(d.shown, file)), nil
	})
}

// replay makes every recorded decision again.
func (d *drama) replay() error {
	return d.step("replay", "all decisions", func() (bool, string, error) {
		for _, id := range d.rollouts {
			n, same, err := d.replayOf(id)
			if err != nil {
				return false, "", err
			}
			d.decisions += n
			d.identical += same
		}
		ok := d.decisions > 0 && d.identical == d.decisions
		d.check("every decision comes out identical when it is made again", ok, "%d of %d", d.identical, d.decisions)
		return ok, fmt.Sprintf("%d of %d recorded decisions come out identical, byte for byte", d.identical, d.decisions), nil
	})
}

// replayOf makes the decisions of one rollout again.
func (w *World) replayOf(rollout string) (n, same int, err error) {
	list, err := w.ci.Decisions(w.ctx, rollout, maxDecisions)
	if err != nil {
		return 0, 0, err
	}
	for _, x := range list {
		record, err := w.ci.DecisionRecord(w.ctx, x.ID)
		if err != nil {
			return n, same, err
		}
		again, err := decide.Replay(record)
		if err != nil {
			return n, same, err
		}
		n++
		if again.Identical {
			same++
		}
	}
	return n, same, nil
}

// Stay waits until the world ends: somebody stops it, or a child dies.
func (w *World) Stay() error {
	<-w.ctx.Done()
	if w.outside.Err() != nil {
		return nil
	}
	return fmt.Errorf("after %s: %w", time.Since(w.cfg.Began).Round(time.Second), context.Cause(w.ctx))
}
