package ui

import (
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
)

// strategyRow is a strategy as a line.
type strategyRow struct {
	api.StrategyStatus
	Link     string
	State    state
	Does     string // what its law does, in words
	Sentence string // what it decided last, or why nothing
	Turns    int    // of the lever that turned most
	Levers   []leverRow
}

// leverRow is one lever of a strategy.
type leverRow struct {
	api.StrategyBand
	Name  string
	Acked string // what the world said when it was moved last, "" if that is not known
	At    time.Time
	Fact  assay.FactID
	Chart template.HTML
	Bare  bool // its law keeps no band
}

// Word writes a value of the lever with its unit.
func (l leverRow) Word(v float64) string { return leverValue(l.Target, v) }

// Away reports whether the law wants the lever outside the band.
func (l leverRow) Away() bool { return l.Want < l.Low || l.Want > l.High }

// laws are what strategies do, in words.
var laws = map[string]string{
	"scale":     "keeps the replicas that the load to come will need",
	"stabilise": "calms an autoscaler that exists",
	"throttle":  "limits what is let in by latency, queue and database",
	"divert":    "takes traffic from a region that fails, or is about to",
	"isolate":   "holds a tenant that takes more than its part",
	"tiers":     "gives each tier the cheapest class that keeps its promise",
	"cost":      "keeps a day's spend below its cap",
	"contain":   "cuts off what attacks",
	"rollback":  "takes the traffic from a version that does harm",
	"data":      "proposes shorter retention and more read replicas",
}

func strategyRows(list []api.StrategyStatus) []strategyRow {
	var out []strategyRow
	for _, s := range list {
		out = append(out, newStrategyRow(s))
	}
	return out
}

func newStrategyRow(s api.StrategyStatus) strategyRow {
	row := strategyRow{
		StrategyStatus: s, Link: "/strategies/" + s.Name, State: strategyState(s), Does: laws[s.Law],
		Sentence: "It has not looked yet.",
	}
	if s.Decision != nil {
		row.Sentence = sentence(s.Decision.Words)
	}
	for _, b := range s.Bands {
		row.Turns = max(row.Turns, b.Toggles)
		row.Levers = append(row.Levers, leverRow{StrategyBand: b, Name: targetWords(b.Target)})
	}
	return row
}

// strategyState is what of a strategy matters first: what stops it, what it waits for,
// what it cannot know, and then how much it may do by itself.
func strategyState(s api.StrategyStatus) state {
	switch {
	case s.Halted != "":
		return state{"bad", "halted"}
	case s.Paused != "":
		return state{"warn", "paused"}
	case s.Question != nil:
		return state{"warn", "waits for you"}
	case s.Decision == nil:
		return state{"unknown", "not looked yet"}
	case s.Pending != nil:
		return state{"active", "moving"}
	case slices.ContainsFunc(s.Decision.Signals, func(x assay.Signal) bool { return !x.Known }):
		return state{"unknown", "inputs unknown"}
	}
	switch policy.Level(s.Effective) {
	case policy.LevelAct:
		return state{"ok", "acting"}
	case policy.LevelApprove:
		return state{"active", "asks before acting"}
	case policy.LevelPropose:
		return state{"quiet", "proposes"}
	}
	return state{"quiet", "observing"}
}

// targetWords is a lever with its scope: "region-share of eu".
func targetWords(target string) string { return strings.Replace(target, "/", " of ", 1) }

// leverValue writes a value in the unit of its lever.
func leverValue(target string, v float64) string {
	lever, _, _ := strings.Cut(target, "/")
	words := strconv.FormatFloat(math.Round(finite(v)*100)/100, 'f', -1, 64)
	if math.Abs(v) >= 100 {
		words = num(finite(v))
	}
	switch assay.Lever(lever) {
	case assay.LeverShare, assay.LeverRegion, assay.LeverClass:
		return words + " %"
	case assay.LeverRateLimit, assay.LeverQuota:
		return words + "/s"
	case assay.LeverRetention:
		return words + " d"
	}
	return words
}

// turnsPart is how much of the turns that an hour allows was used.
func turnsPart(n, most int) float64 { return part01(float64(n), float64(most)) }

func turnsTone(n, most int) string {
	switch {
	case n == 0:
		return "quiet"
	case n >= most-1:
		return "warn"
	}
	return "active"
}

// strategies lists the declared ones.
func strategies(v *view) (page, error) {
	p := page{Title: "Strategies", Nav: "/strategies"}
	list, err := v.s.Strategies(v.ctx)
	p.add(v, "strategies", "", "strategies/list", newTable(strategyRows(list), err))
	return p, nil
}

// strategyDetail is what the parts of a strategy's page show.
type strategyDetail struct {
	strategyRow
	Signals    []signalRow
	Candidates []candidateRow
	Beliefs    []beliefRow
	Decision   *assay.Decision
	Hit        []assay.GuardVerdict // that forbade something at the newest look
	Past       []strategyDeed
	Effects    []effectCount
	Judged     int
	Forecast   template.HTML
	MayAct     bool
	MayAllow   bool // more spend
	MayClear   bool // a source
}

// signalRow is a signal that is one number, over time.
type signalRow struct {
	Name  string
	Last  float64
	Chart template.HTML
}

// effectCount is how many judged actions came to one end.
type effectCount struct {
	State state
	Count int
	Part  float64
}

func strategyPage(v *view) (page, error) {
	s, err := v.s.Strategy(v.ctx, v.r.PathValue("name"))
	if err != nil {
		return page{}, err
	}
	facts, factErr := v.s.Facts(v.ctx, mitigationKinds, "", maxStrategyFacts)
	d := newStrategyDetail(v, s, facts)
	p := page{Title: s.Name, Nav: "/strategies"}
	p.add(v, "verdict", "", "strategy/verdict", d)
	if s.Question != nil { // what it waits for stands before what it does
		p.add(v, "act", "", "strategy/act", d)
	}
	p.add(v, "levers", "wide", "strategy/levers", d)
	if len(d.Signals) > 0 {
		p.add(v, "signals", "wide", "strategy/signals", d)
	}
	if s.Question == nil {
		p.add(v, "act", "narrow", "strategy/act", d)
	}
	p.add(v, "toggles", "narrow", "strategy/toggles", d)
	p.add(v, "outcomes", "narrow", "strategy/outcomes", d)
	if s.Model != nil {
		p.add(v, "forecast", "", "strategy/forecast", d)
	}
	p.add(v, "weighed", "left", "rollout/weighed", d)
	p.add(v, "guards", "right", "strategy/guards", d)
	p.add(v, "history", "", "strategy/history", newTable(d.Past, factErr))
	return p, nil
}

func newStrategyDetail(v *view, s api.StrategyStatus, facts []assay.Fact) strategyDetail {
	d := strategyDetail{
		strategyRow: newStrategyRow(s), Candidates: candidateRows(s.Decision), Decision: s.Decision,
		MayAct: v.SignedIn && v.Can(string(api.RoleOperator), string(api.RoleApprover)), MayAllow: s.Law == "cost", MayClear: s.Law == "contain",
	}
	if s.Decision != nil {
		d.Beliefs = beliefRows(*s.Decision)
		for _, g := range s.Decision.Guards {
			if g.Outcome != assay.OutcomePass {
				d.Hit = append(d.Hit, g)
			}
		}
	}
	for i := range d.Levers {
		d.Levers[i].Chart = leverChart(s, d.Levers[i].Target)
	}
	for _, name := range signalNames(s.Trail) {
		if chart, last := signalChart(s, name); chart != "" {
			d.Signals = append(d.Signals, signalRow{name, last, chart})
		}
	}
	if m := s.Model; m != nil {
		d.Forecast = foreseenChart(*m)
	}
	d.read(facts)
	return d
}

// mitigationKinds are the facts of strategies.
var mitigationKinds = []string{
	assay.FactMitigationDecided, assay.FactMitigationActed, assay.FactMitigationRefused, assay.FactMitigationJudged, assay.FactMitigationTold,
	assay.FactMitigationFrozen,
}

// maxStrategyFacts is how many of the newest facts of all strategies a page looks through.
const maxStrategyFacts = 400

// acked takes what the world said of a lever when it was moved.
func (d *strategyDetail) acked(f assay.Fact) {
	p, ok := payload[mitigate.ActedPayload](f)
	target := p.Action.Target()
	i := slices.IndexFunc(d.Levers, func(l leverRow) bool { return l.Target == target })
	if !ok || target == "" {
		return
	}
	if i < 0 {
		i = len(d.Levers)
		d.Levers = append(d.Levers, leverRow{Name: targetWords(target), Bare: true, StrategyBand: api.StrategyBand{Target: target, Now: p.Receipt.Stands, Want: p.Action.Want}})
	}
	if l := &d.Levers[i]; l.Acked == "" {
		l.Acked, l.At, l.Fact = l.Word(p.Receipt.Stands), p.Receipt.Time, f.ID
	}
}

// strategyDeed is a fact of a strategy as a line; of several decisions in a row that say
// the same, the newest.
type strategyDeed struct {
	Times int // in a row, 0 if it is not a decision
	Since time.Time
	Time  time.Time
	Link  string
	State state
	Words string
	Actor string
}

// read takes what facts say of the strategy, newest first.
func (d *strategyDetail) read(facts []assay.Fact) {
	counts := map[assay.Effect]int{}
	for _, f := range facts {
		deed, of := mitigationDeed(f)
		if of != d.Name {
			continue
		}
		switch f.Kind {
		case assay.FactMitigationActed:
			d.acked(f)
		case assay.FactMitigationJudged:
			p, _ := payload[mitigate.JudgedPayload](f)
			counts[p.Outcome.Effect]++
			d.Judged++
		}
		if n := len(d.Past); n > 0 && f.Kind == assay.FactMitigationDecided && d.Past[n-1].again(deed) {
			d.Past[n-1].Times, d.Past[n-1].Since = d.Past[n-1].Times+1, deed.Time
		} else if n < listed {
			d.Past = append(d.Past, deed)
		}
	}
	for _, e := range []assay.Effect{assay.EffectHelped, assay.EffectNone, assay.EffectHarmed, assay.EffectInconclusive, assay.EffectConfounded} {
		if n := counts[e]; n > 0 {
			d.Effects = append(d.Effects, effectCount{effectState(e), n, float64(n) / float64(d.Judged)})
		}
	}
}

// again reports whether an older decision says the same in other numbers.
func (d strategyDeed) again(older strategyDeed) bool { return d.Times > 0 && d.State == older.State }

// mitigationDeed says what a fact of a strategy is about, and of which.
func mitigationDeed(f assay.Fact) (d strategyDeed, strategy string) {
	d = strategyDeed{Time: f.Time, Link: "/facts/" + string(f.ID), Actor: f.Actor}
	switch f.Kind {
	case assay.FactMitigationDecided:
		p, _ := payload[mitigate.DecidedPayload](f)
		d.Times, d.Since = 1, f.Time
		d.Link, d.State, d.Words = "/decisions/"+string(f.ID), choiceState(p.Decision.Action.Kind), p.Decision.Words
		return d, p.Strategy
	case assay.FactMitigationActed:
		p, _ := payload[mitigate.ActedPayload](f)
		d.State, d.Words = state{"active", "moved"}, targetWords(p.Action.Target())+" to "+leverValue(p.Action.Target(), p.Action.Want)+", read back "+leverValue(p.Action.Target(), p.Receipt.Stands)
		return d, p.Strategy
	case assay.FactMitigationRefused:
		p, _ := payload[mitigate.RefusedPayload](f)
		d.State, d.Words = state{"bad", "refused"}, targetWords(p.Action.Target())+" to "+leverValue(p.Action.Target(), p.Action.Want)+": "+p.Detail
		return d, p.Strategy
	case assay.FactMitigationJudged:
		p, _ := payload[mitigate.JudgedPayload](f)
		d.State, d.Words = effectState(p.Outcome.Effect), actionWords(p.Outcome.Action)+": "+p.Outcome.Reason
		return d, p.Strategy
	case assay.FactMitigationTold:
		p, _ := payload[mitigate.ToldPayload](f)
		d.State, d.Words = state{"active", "told: " + p.Told}, "“"+p.Reason+"”"
		if p.Action != nil {
			d.Words = targetWords(p.Action.Target()) + " to " + leverValue(p.Action.Target(), p.Action.Want) + " " + d.Words
		}
		if p.Target != "" {
			d.Words = targetWords(p.Target) + " may move again " + d.Words
		}
		return d, p.Strategy
	case assay.FactMitigationFrozen:
		p, _ := payload[mitigate.FrozenPayload](f)
		d.State, d.Words = state{"warn", "frozen"}, targetWords(p.Target)+" swings: "+p.Words()
		return d, p.Strategy
	}
	return d, ""
}

// tellStrategy answers a strategy with what the form says.
func tellStrategy(v *view) (string, error) {
	name := v.r.PathValue("name")
	a := api.StrategyAnswer{
		Told: v.r.PostFormValue("told"), Reason: strings.TrimSpace(v.r.PostFormValue("reason")),
		Question: v.r.PostFormValue("question"), Source: strings.TrimSpace(v.r.PostFormValue("source")), Target: v.r.PostFormValue("target"),
	}
	if amount := strings.TrimSpace(v.r.PostFormValue("amount")); amount != "" {
		var err error
		if a.Amount, err = strconv.ParseFloat(amount, 64); err != nil {
			return "", &assay.Error{Code: assay.CodeInvalid, Field: "amount", Msg: "is not a number", Hint: "write how much more may be spent until the day ends, in the strategy's currency"}
		}
	}
	_, err := v.s.TellStrategy(v.ctx, name, a)
	return "/strategies/" + name, err
}
