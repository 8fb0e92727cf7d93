package gameday

import (
	"fmt"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// step narrates one act: result tells its end, and error stops the play.
func (w *World) step(name, doing string, act func() (ok bool, result string, err error)) error {
	done := w.cfg.Log.Step(name, doing)
	ok, result, err := act()
	if err != nil {
		done(false, name, "did not come off")
		return err
	}
	done(ok, name, result)
	return nil
}

// openPage is the first act: the page answers.
func (w *World) openPage() error {
	return w.step("ready", "keys, tokens, control plane", func() (bool, string, error) {
		if err := w.Serve(); err != nil {
			return false, "", err
		}
		return true, fmt.Sprintf("%s  after %.1f s     seed %d  state %s", w.url, float64(w.readyMS)/1000, w.cfg.Seed, w.shown), w.copyProgram()
	})
}

// judged builds a release and hands it to the gate.
func (w *World) judged(name string) (*Release, api.Attested, error) {
	var r *Release
	v := versionNamed(name)
	err := w.step("build", name+"  "+v.About+": tests and build, from source", func() (ok bool, _ string, err error) {
		if r, err = w.Build(v); err != nil {
			return false, "", err
		}
		return true, fmt.Sprintf("%s  %s: tested and built  %s", name, v.About, short(r.Digest)), nil
	})
	if err != nil {
		return nil, api.Attested{}, err
	}
	var a api.Attested
	return r, a, w.step("gate", name, func() (ok bool, _ string, err error) {
		if a, err = w.Gate(r); err != nil {
			return false, "", err
		}
		index, err := w.position(a.Fact)
		return a.Verdict.Outcome == assay.OutcomePass, gateLine(name, a.Verdict, a.BundleDigest, index), err
	})
}

// gateLine is a verdict in one line.
func gateLine(name string, v assay.Verdict, bundle assay.Digest, index uint64) string {
	live, recorded := 0, 0
	for _, e := range v.Evidence {
		if e.Origin == assay.OriginRecorded {
			recorded++
		} else {
			live++
		}
	}
	objections := 0
	for _, x := range v.Violations {
		if x.Exception == "" {
			objections++
		}
	}
	word := map[assay.Outcome]string{assay.OutcomePass: "passed", assay.OutcomeFail: "refused", assay.OutcomeAbsent: "cannot know"}[v.Outcome]
	return fmt.Sprintf("%s  %s   %d live and %d recorded reports, %s   attestation %s  ledger #%d",
		name, word, live, recorded, count(objections, "violation"), short(bundle), index)
}

// first puts v1 behind the proxy and the load on it.
func (w *World) first() (*Release, error) {
	r, a, err := w.judged("v1")
	if err != nil {
		return nil, err
	}
	w.check("v1 passes the gate", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
	err = w.step("proxy", "v1", func() (bool, string, error) {
		if err := w.Run(r, false); err != nil {
			return false, "", err
		}
		if err := w.Guard(r); err != nil {
			return false, "", err
		}
		return true, "v1  has 100 % of the traffic at " + w.proxyURL + ", let in by its attestation", nil
	})
	if err != nil {
		return nil, err
	}
	return r, w.step("load", "finding what this machine bears", func() (bool, string, error) {
		l, err := w.Load()
		if err != nil {
			return false, "", err
		}
		return true, fmt.Sprintf("%s requests/s of %s aimed at is what this machine bears   p50 %.1f ms  p99 %.1f ms",
			Thousands(int(l.Rate)), Thousands(int(w.cfg.Rate)), l.P50MS, l.P99MS), w.sayProcesses()
	})
}

func (w *World) sayProcesses() error {
	var list []string
	for _, name := range []string{"serve", "proxy", "shop-v1", "load"} {
		list = append(list, fmt.Sprintf("%s %d", name, w.Processes()[name]))
	}
	w.cfg.Log.Say("processes  " + strings.Join(list, " · ") + "   baseline: 1 % of requests fail, drawn per request")
	return nil
}

// begin runs a release and starts its rollout.
func (w *World) begin(r *Release, calm bool) (api.Rollout, error) {
	if err := w.Run(r, calm); err != nil {
		return api.Rollout{}, err
	}
	return w.propose(r)
}

// stopped is the act of a bad release: it is to be aborted.
func (w *World) stopped(r *Release, follow func(api.Rollout) (api.Rollout, error)) (*Stop, error) {
	proposed, err := w.begin(r, false)
	if err != nil {
		return nil, err
	}
	done := w.cfg.Log.Step("canary", r.Version.Name)
	end, err := follow(proposed)
	if err != nil {
		done(false, "canary", r.Version.Name+"  did not come off")
		return nil, err
	}
	name := r.Version.Name
	w.check(name+" is aborted", end.Status == api.RolloutAborted, "%s: %s", end.Status, end.Reason)
	if end.Status != api.RolloutAborted {
		done(false, string(end.Status), fmt.Sprintf("%s  %s", name, end.Reason))
		return nil, nil
	}
	s, err := w.account(r, end)
	if err != nil {
		done(false, "canary", name+"  did not come off")
		return nil, err
	}
	done(false, "stopped", fmt.Sprintf("%s  after %s canary requests (floor %.0f), %s harmed     traffic back in %s",
		name, Thousands(s.After), s.Floor, Thousands(s.Harmed), time.Duration(s.TrafficBack*float64(time.Second)).Round(time.Millisecond)))
	w.cfg.Log.Say("why: " + s.Reason)
	w.cfg.Log.Say(fmt.Sprintf("it had %.0f %% of the traffic for %.1f s; its errors were %s against %s; the floor is what no test of the error rates can do without, on average",
		100*s.Weight, s.Seconds, percentOf(end.Canary), percentOf(end.Control)))
	if s.Decision != "" {
		w.cfg.Log.Say("see " + w.url + "/decisions/" + string(s.Decision))
	}
	return s, nil
}

// account gathers the figures of an aborted rollout from the facts and from the proxy.
func (w *World) account(r *Release, end api.Rollout) (*Stop, error) {
	p, err := w.ending(end)
	if err != nil {
		return nil, err
	}
	exposed, harmed, err := w.exposure(r.Version.Name)
	if err != nil {
		return nil, err
	}
	weight, err := w.percent(r.Version.Name)
	if err != nil {
		return nil, err
	}
	w.check(r.Version.Name+" has no traffic any more", weight == 0, "%d %% at the proxy", weight)
	s := &Stop{
		Version: r.Version.Name, Rollout: end.ID, Decision: end.DecidedFact, After: p.Canary.Total, Exposed: exposed, Harmed: harmed,
		Weight: share(p.Canary, p.Control), TrafficBack: p.TrafficBack, Reason: p.Reason,
	}
	s.Floor = Floor(soundRate, faultyRate, s.Weight, end.Plan.Alpha)
	if end.Decision != nil {
		s.Seconds = end.Decision.Time.Sub(end.Began).Seconds()
	}
	w.check("the score says that harm is shown", scoreOf(end) == 0, "%d of 100", scoreOf(end))
	w.check("the traffic is back within a second of the decision", s.TrafficBack > 0 && s.TrafficBack < 1, "%.3f s", s.TrafficBack)
	w.check("harm is a small part of what the canary had", s.Harmed > 0 && s.Exposed >= s.After && s.Exposed < 20*uint64(s.Floor)+2000,
		"%d harmed of %d exposed, %d at the decision", s.Harmed, s.Exposed, s.After)
	return s, nil
}

// promoted is the act of a good release: it is to get all the traffic.
func (w *World) promoted(r *Release, calm bool) (*Promotion, error) {
	proposed, err := w.begin(r, calm)
	if err != nil {
		return nil, err
	}
	name := r.Version.Name
	done := w.cfg.Log.Step("canary", name)
	end, err := w.follow(proposed.ID, nil)
	if err != nil {
		done(false, "canary", name+"  did not come off")
		return nil, err
	}
	steps := stepsOf(end)
	w.check(name+" is promoted", end.Status == api.RolloutPromoted, "%s: %s", end.Status, end.Reason)
	if end.Status != api.RolloutPromoted {
		done(false, string(end.Status), fmt.Sprintf("%s  %s", name, end.Reason))
		return nil, nil
	}
	watched := "not watched"
	if end.Watch != nil {
		watched = "for " + time.Duration(end.Watch.Duration).String()
	}
	w.check(name+" is watched with all the traffic", end.Watch != nil && !end.Watch.Began.IsZero(), "%s", watched)
	w.check(name+" went through all steps", fmt.Sprint(steps) == fmt.Sprint(end.Plan.Steps), "%v", steps)
	share, err := w.percent(name)
	if err != nil {
		return nil, err
	}
	w.check(name+" has all the traffic", share == 100, "%d %% at the proxy", share)
	w.check("the score says that safety is shown", scoreOf(end) >= 75, "%d of 100", scoreOf(end))
	p := &Promotion{Version: name, Rollout: end.ID, After: end.Canary.Total, Seconds: end.Ended.Sub(end.Began).Seconds(), Steps: steps}
	done(true, "promoted", fmt.Sprintf("%s  %s after %s canary requests in %.0f s   errors %s against %s",
		name, arrows(steps), Thousands(p.After), p.Seconds, percentOf(end.Canary), percentOf(end.Control)))
	w.cfg.Log.Say("why: " + end.Reason)
	return p, nil
}

// vulnerable is the act of v4: refused, excused for a few seconds, refused again.
func (w *World) vulnerable() error {
	r, a, err := w.judged("v4")
	if err != nil {
		return err
	}
	w.check("v4 is refused at the gate", a.Verdict.Blocks() && a.Verdict.Outcome == assay.OutcomeFail, "%s", a.Verdict.Outcome)
	w.check("the refusal has a reason and a remedy", len(a.Verdict.Violations) == 1 && a.Verdict.Violations[0].Remedy != "", "%d violations", len(a.Verdict.Violations))
	for _, v := range a.Verdict.Violations {
		w.cfg.Log.Say(fmt.Sprintf("why: %s %s: %s   remedy: %s", v.Rule, v.Severity, v.Message, v.Remedy))
	}
	if len(a.Verdict.Violations) == 0 {
		return nil
	}
	var until time.Time
	err = w.step("exception", "v4", func() (bool, string, error) {
		e, err := w.excuse(r, a.Verdict.Violations[0].Rule)
		until = e.NotAfter
		return true, fmt.Sprintf("v4  asked for by %s, approved by %s, ends at %s", e.Requester, e.Approver, e.NotAfter.Format("15:04:05")), err
	})
	if err != nil {
		return err
	}
	if err := w.again(r, "under the exception", assay.OutcomePass); err != nil {
		return err
	}
	if err := w.pause(time.Until(until) + 50*time.Millisecond); err != nil {
		return err
	}
	return w.again(r, "after its end", assay.OutcomeFail)
}

// exceptionTime is how long the exception of the play lasts from now on.
const exceptionTime = 6 * time.Second

// excuse asks for an exception in one name and approves it in another.
func (w *World) excuse(r *Release, rule string) (assay.Exception, error) {
	e, err := w.ci.RequestException(w.ctx, api.ExceptionRequest{
		Scope:  assay.ExceptionScope{Rules: []string{rule}, Subjects: []assay.Digest{r.Digest}},
		Reason: "the image is replaced within the minute", Ticket: "SHOP-4",
		NotAfter: time.Now().Add(exceptionTime),
	})
	if err != nil {
		return e, err
	}
	_, err = w.ci.ApproveException(w.ctx, e.ID)
	w.check("nobody approves their own request", assay.CodeOf(err) == assay.CodeDenied, "%v", err)
	return w.manager.ApproveException(w.ctx, e.ID)
}

// again asks the gate once more about a release.
func (w *World) again(r *Release, when string, want assay.Outcome) error {
	return w.step("gate", r.Version.Name, func() (bool, string, error) {
		a, err := w.Gate(r)
		if err != nil {
			return false, "", err
		}
		index, err := w.position(a.Fact)
		w.check(fmt.Sprintf("v4 %s: %s", when, want), a.Verdict.Outcome == want, "%s", a.Verdict.Outcome)
		return a.Verdict.Outcome == assay.OutcomePass, gateLine(r.Version.Name, a.Verdict, a.BundleDigest, index) + "   " + when, err
	})
}

// stranger is the act of v5: what nobody attested gets no request.
func (w *World) stranger() error {
	var r *Release
	v := versionNamed("v5")
	err := w.step("build", "v5  "+v.About, func() (ok bool, _ string, err error) {
		if r, err = w.Build(v); err != nil {
			return false, "", err
		}
		return true, fmt.Sprintf("v5  %s  %s", v.About, short(r.Digest)), nil
	})
	if err != nil {
		return err
	}
	return w.step("entry", "v5  at the proxy", func() (bool, string, error) {
		proposed, err := w.begin(r, false)
		if err != nil {
			return false, "", err
		}
		end, err := w.follow(proposed.ID, nil)
		if err != nil {
			return false, "", err
		}
		w.check("v5 is refused entry at the proxy", end.Status == api.RolloutRefused, "%s: %s", end.Status, end.Reason)
		w.check("the refusal names the failed step", strings.Contains(end.Reason, "step "), "%s", end.Reason)
		w.check("v5 never had traffic", end.Canary.Total == 0 && end.Weight == 0, "%d requests", end.Canary.Total)
		return false, "v5  " + end.Reason, nil
	})
}

func short(d assay.Digest) string { return d.Short() }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func arrows(steps []int) string {
	var list []string
	for _, s := range steps {
		list = append(list, fmt.Sprint(s))
	}
	return strings.Join(list, "→") + " %"
}
