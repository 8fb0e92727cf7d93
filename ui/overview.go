package ui

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/enforce"
)

// How many rows a list of the newest shows.
const (
	listed      = 50
	listedBrief = 8
)

// headline is the answer to "is it all right?", and the way to the reason.
type headline struct {
	State    state
	Sentence string
	Link     string
	Next     string // words of the link
}

// overview is the first page: what runs, what was done, what waits.
func overview(v *view) (page, error) {
	p := page{Title: "Overview", Nav: "/"}
	list, rolloutErr := v.s.Rollouts(v.ctx, listed)
	objectives, objectiveErr := v.s.Objectives(v.ctx)
	exceptions, waitErr := v.s.Exceptions(v.ctx)
	strategies, strategyErr := v.s.Strategies(v.ctx)
	waiting := v.waiting(list, exceptions, strategies)
	p.add(v, "headline", "", "overview/headline", append(append(v.bypasses(exceptions), v.halted()...), v.headlines(list, objectives, waiting)...))

	p.add(v, "running", "wide", "overview/running", newTable(runningOf(list), rolloutErr))
	p.add(v, "objectives", "wide", "overview/objectives", newTable(objectiveRows(objectives), objectiveErr))
	deeds, err := v.deeds(listedBrief)
	p.add(v, "actions", "wide", "overview/actions", newTable(deeds, err))

	p.add(v, "waiting", "narrow", "overview/waiting", newTable(waiting, cmp.Or(waitErr, strategyErr)))
	traffic, err := v.traffic()
	p.add(v, "traffic", "narrow", "overview/traffic", newTable(routeRows(traffic.Status, ""), trafficErr(traffic, err)))
	covered, err := v.coverage()
	p.add(v, "coverage", "narrow", "overview/coverage", coverageSummary(covered, err))
	head, err := v.head()
	p.add(v, "ledger", "narrow", "overview/ledger", struct {
		Head    headRow
		Trouble *trouble
	}{head, troubleOf(err)})
	return p, nil
}

// table is a list with the reason why it may be empty.
type table[T any] struct {
	Rows    []T
	Trouble *trouble
}

func newTable[T any](rows []T, err error) table[T] { return table[T]{rows, troubleOf(err)} }

// runningOf keeps the rollouts that go on.
func runningOf(list []api.Rollout) []rolloutRow {
	var out []rolloutRow
	for _, r := range list {
		if !r.Status.Ended() {
			out = append(out, newRolloutRow(r))
		}
	}
	return out
}

// waits is something that only a person can settle.
type waits struct {
	State state
	What  string
	Why   string
	Since time.Time
	Link  string
}

func (v *view) waiting(list []api.Rollout, exceptions []assay.Exception, strategies []api.StrategyStatus) []waits {
	var out []waits
	for _, r := range list {
		if r.Status == api.RolloutAsking {
			out = append(out, waits{state{"warn", "rollout"}, r.Service + " " + r.Plan.Canary, r.Reason, r.Created, "/rollouts/" + r.ID})
		}
	}
	for _, s := range strategies {
		if q := s.Question; q != nil {
			out = append(out, waits{state{"warn", "strategy"}, s.Name, "May it " + actionWords(*q) + "?", s.Asked, "/strategies/" + s.Name})
		}
	}
	for _, e := range exceptions {
		if e.State == assay.ExceptionRequested && v.Now.Before(e.NotAfter) {
			out = append(out, waits{
				state{"warn", "exception"}, strings.Join(e.Scope.Rules, ", "),
				e.Requester + " asks: " + e.Reason, e.Requested, "/exceptions#e-" + e.ID,
			})
		}
	}
	return out
}

// bypasses are the headlines that nothing pushes off the page: rules that somebody
// switched off alone.
func (v *view) bypasses(exceptions []assay.Exception) []headline {
	var out []headline
	for _, e := range exceptions {
		if e.Emergency && e.ActiveAt(v.Now) {
			out = append(out, headline{state{"bad", "Emergency bypass"}, e.Requester + " let " + strings.Join(e.Scope.Rules, ", ") + " through alone, until " + clock(e.NotAfter) + " UTC: " + e.Reason, "/exceptions#e-" + e.ID, "Look at it"})
		}
	}
	return out[:min(len(out), maxHeadlines)]
}

// halted says which kill switches hold something here, since when, by whom and why.
func (v *view) halted() (out []headline) {
	list, err := v.s.Halts(v.ctx)
	if err != nil {
		return []headline{{state{"bad", "Kill switch"}, "Nobody can say which kill switches are pulled: " + sentence(err.Error()), "", ""}}
	}
	for _, h := range list {
		said := "Nothing is done " + h.Scope.String() + ": "
		if h.Namespace != "" {
			said = "Nothing is done for " + h.Scope.String() + ": "
		}
		line := headline{state{"bad", "Kill switch"}, said + h.Reason + ". Since " + h.Since.UTC().Format("2 Jan 15:04") + " UTC, by " + h.By + ".", "/facts/" + string(h.ID), "See the fact"}
		if h.Namespace == "" { // a fact of the installation, which has no page here
			line.Link, line.Next = "/strategies", "See the strategies"
		}
		if out = append(out, line); len(out) == maxHeadlines {
			break
		}
	}
	return out
}

// headlines are what is true now, the most urgent first.
func (v *view) headlines(list []api.Rollout, objectives []api.Objective, waiting []waits) []headline {
	var out []headline
	if n := len(waiting); n > 0 {
		said := waiting[0].What + " needs a person."
		if n > 1 {
			said = num(n) + " things need a person; the first is " + waiting[0].What + "."
		}
		out = append(out, headline{state{"warn", "Waits for you"}, said, waiting[0].Link, "Look at it"})
	}
	for _, o := range objectives {
		if row := newObjectiveRow(o); row.State.Tone == "bad" {
			out = append(out, headline{row.State, row.Service + " " + row.Name + ": " + row.Sentence, "/services/" + row.Service, "See the service"})
		}
	}
	for _, r := range list {
		row := newRolloutRow(r)
		switch {
		case r.Status == api.RolloutAsking: // waits, and is said above
		case !r.Status.Ended():
			out = append(out, headline{row.State, row.Title + ": " + row.Sentence, row.Link, "Watch it"})
		case v.Now.Sub(r.Ended) < freshEnd && row.State.Tone == "bad":
			out = append(out, headline{row.State, row.Title + ": " + row.Sentence, row.Link, "See why"})
		}
	}
	if len(out) > 0 {
		return out[:min(len(out), maxHeadlines)]
	}
	if len(list) == 0 && len(objectives) == 0 {
		return []headline{{state{"quiet", "Nothing yet"}, "No rollout has run and no objective is kept here.", "", ""}}
	}
	return []headline{{state{"ok", "All is well"}, "Nothing runs, nothing waits, and no budget burns too fast.", "", ""}}
}

// What the top of the overview holds.
const (
	maxHeadlines = 4
	freshEnd     = 15 * time.Minute // how long a stopped rollout is news
)

// trafficErr is why nothing is known of the traffic, nil if it is known.
func trafficErr(t api.Traffic, err error) error {
	if err == nil && t.Error != "" {
		return &assay.Error{Code: assay.CodeUnavailable, Msg: t.Error, Hint: "start the control plane with --proxy URL, or see what the enforcer logs"}
	}
	return err
}

// routeRow is one route of the enforcer with its versions.
type routeRow struct {
	Name, Service string
	Versions      []versionRow
}

// versionRow is one version behind a route.
type versionRow struct {
	enforce.VersionStatus
	From  int // where its share begins, percent
	Tone  string
	Rate  assay.Rate
	State state
}

// routeRows are the routes of a service, of all for "".
func routeRows(s enforce.Status, service string) []routeRow {
	var out []routeRow
	for _, r := range s.Routes {
		if service != "" && r.Service != service {
			continue
		}
		row, at := routeRow{Name: r.Name, Service: r.Service}, 0
		most := slices.MaxFunc(append([]enforce.VersionStatus{{}}, r.Versions...), func(a, b enforce.VersionStatus) int { return a.Percent - b.Percent })
		for _, ver := range r.Versions {
			vr := versionRow{VersionStatus: ver, From: at, Tone: "canary", Rate: assay.Rate{Bad: ver.Errors, Total: ver.Requests}, State: state{"quiet", "no traffic"}}
			if ver.Name == most.Name {
				vr.Tone = "control"
			}
			switch {
			case ver.Refusal != nil:
				vr.State = state{"bad", "refused"}
			case ver.Percent > 0:
				vr.State = state{"ok", "serves"}
			}
			at += ver.Percent
			row.Versions = append(row.Versions, vr)
		}
		out = append(out, row)
	}
	return out
}
