package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// lawSignals are the names that each law reads: in every set of which all are
// declared, the law can work; the rest is optional.
var lawSignals = map[string]struct {
	sets     [][]string
	optional []string
}{
	"scale":     {sets: [][]string{{"load"}}},
	"stabilise": {sets: [][]string{{"recommended"}, {"metric"}}, optional: []string{"missing"}},
	"throttle":  {sets: [][]string{{"latency"}, {"queue_age"}, {"db_utilisation"}}, optional: []string{"inflight", "samples", "queue_depth", "demand"}},
	"divert":    {sets: [][]string{{"bad", "total", "load", "probe"}, {"bad", "total", "load", "latency"}}, optional: []string{"leaving", "strain", "strain_growth"}},
	"isolate":   {sets: [][]string{{"usage"}}, optional: []string{"latency", "saturation"}},
	"tiers":     {sets: [][]string{{"good", "total"}}},
	"cost":      {sets: [][]string{{"spent", "spend_rate"}}},
	"contain":   {sets: [][]string{{"anomaly", "evidence", "share"}}},
	"rollback":  {sets: [][]string{{"bad", "total"}}},
	"data":      {sets: [][]string{{"disk_used", "disk_growth"}}, optional: []string{"io_latency"}},
}

// leastOutcomeStep is the shortest step of outcomes: telemetry is seldom sent more often.
const leastOutcomeStep = 500 * time.Millisecond

// scoped are the signals that are one number for each value of a label.
var scoped = map[string][]string{
	"throttle": {"demand"}, "divert": {"bad", "total", "load", "probe", "latency", "leaving", "strain", "strain_growth"}, "isolate": {"usage"},
	"tiers": {"good", "total"}, "cost": {"spend_rate"}, "contain": {"anomaly", "evidence", "share"}, "rollback": {"bad", "total"},
}

func (s Strategy) check(d strict.Document) error {
	if err := s.Metadata.check(d); err != nil {
		return err
	}
	p := s.Spec
	at := func(field ...string) []string { return append([]string{"spec"}, field...) }
	switch {
	case p.Service == "":
		return d.Errorf(at("service"), "is missing")
	case !serviceForm.MatchString(p.Service):
		return d.Errorf(at("service"), "%q is not a word of letters, digits and _.:/-", p.Service)
	case p.Environment != "" && !nameForm.MatchString(p.Environment):
		return d.Errorf(at("environment"), "%q is not 1 to 63 lower-case letters, digits and dashes", p.Environment)
	case p.Objective != "" && !objectiveForm.MatchString(p.Objective):
		return d.Errorf(at("objective"), "%q is not the name of an SLO such as shop-availability, or name/index", p.Objective)
	case p.OutcomeStep != "" && (p.OutcomeStep.Value() < leastOutcomeStep || p.OutcomeStep.Value() > time.Minute):
		return d.Errorf(at("outcomeStep"), "%q is not from %s to 1m", p.OutcomeStep, leastOutcomeStep)
	case p.OutcomeStep != "" && p.Objective == "":
		return d.Errorf(at("outcomeStep"), "is of what is spent of an error budget; name the objective")
	case !(p.BudgetWorth >= 0 && p.BudgetWorth < 1e15):
		return d.Errorf(at("budgetWorth"), "is %g; expected 0 to 1e15 of the strategy's currency", p.BudgetWorth)
	case p.Precedence < 1 || p.Precedence > 999:
		return d.Errorf(at("precedence"), "is %d; expected 1 to 999", p.Precedence)
	case !(p.MinCompleteness > 0 && p.MinCompleteness <= 1):
		return d.Errorf(at("minCompleteness"), "%v is not above 0 and at most 1", p.MinCompleteness)
	}
	if err := oneOf(d, at("level"), p.Level, Levels); err != nil {
		return err
	}
	if err := oneOf(d, at("onTimeout"), p.OnTimeout, []string{OnTimeoutDrop, OnTimeoutAct}); err != nil {
		return err
	}
	if err := durations(d, at, map[string]Duration{"maxAge": p.MaxAge, "approvalTimeout": p.ApprovalTimeout}); err != nil {
		return err
	}
	switch laws := p.declared(); len(laws) {
	case 1:
	case 0:
		return d.Errorf(at(), "declares no law; give one of %s", strings.Join(Laws, ", "))
	default:
		return d.Errorf(at(laws[1]), "stands beside %s; a strategy has one law, so that it can be said which one moved a lever", laws[0])
	}
	if err := s.checkSignals(d); err != nil {
		return err
	}
	if err := p.checkLevers(d); err != nil {
		return err
	}
	if err := firstError(p.Damping.check(d), p.checkGuardrails(d)); err != nil {
		return err
	}
	if err := p.checkCapacity(d); err != nil {
		return err
	}
	return p.checkTraffic(d)
}

// durations checks named fields in the order of their names.
func durations(d strict.Document, at func(...string) []string, list map[string]Duration) error {
	for _, name := range sortedKeys(list) {
		if _, err := parseDuration(string(list[name])); err != nil {
			return d.Errorf(at(name), "%v", err)
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (s Strategy) checkSignals(d strict.Document) error {
	law := s.Spec.Law()
	known := slices.Clone(lawSignals[law].optional)
	for _, set := range lawSignals[law].sets {
		known = append(known, set...)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	at := []string{"spec", "signals"}
	if n := len(s.Spec.Signals); n > MaxSignals {
		return d.Errorf(at, "has %d entries; at most %d are read", n, MaxSignals)
	}
	have := map[string]bool{}
	for i, sig := range s.Spec.Signals {
		in := func(field string) []string { return append(slices.Clone(at), strconv.Itoa(i), field) }
		by := slices.Contains(scoped[law], sig.Name)
		switch {
		case !slices.Contains(known, sig.Name):
			return d.Errorf(in("name"), "%s, which law %s reads", strict.OneOf(sig.Name, known), law)
		case have[sig.Name]:
			return d.Errorf(in("name"), "%q is declared twice", sig.Name)
		case strings.TrimSpace(sig.Query) == "":
			return d.Errorf(in("query"), "is missing")
		case sig.Fallback != "" && strings.TrimSpace(sig.Fallback) == strings.TrimSpace(sig.Query):
			return d.Errorf(in("fallback"), "is the query itself: it would be missing with it; name series of another sender, or leave it out")
		case by && sig.By == "":
			return d.Errorf(in("by"), "is missing: law %s reads %s for each of several; name the label that tells them apart", law, sig.Name)
		case !by && sig.By != "":
			return d.Errorf(in("by"), "is %q, but law %s reads %s as one number", sig.By, law, sig.Name)
		}
		if err := checkPromQL(d, in("query"), sig.Query); err != nil {
			return err
		}
		if sig.Fallback != "" {
			if err := checkPromQL(d, in("fallback"), sig.Fallback); err != nil {
				return err
			}
		}
		have[sig.Name] = true
	}
	for _, set := range lawSignals[law].sets {
		if !slices.ContainsFunc(set, func(n string) bool { return !have[n] }) {
			return nil
		}
	}
	var words []string
	for _, set := range lawSignals[law].sets {
		words = append(words, strings.Join(set, " and "))
	}
	return d.Errorf(at, "law %s cannot work: it reads %s", law, strings.Join(words, ", or "))
}

func (s StrategySpec) checkLevers(d strict.Document) error {
	var known []string
	for _, l := range s.levers() {
		known = append(known, string(l))
	}
	for i, l := range s.Levers {
		at := []string{"spec", "levers", strconv.Itoa(i)}
		switch {
		case i >= MaxSignals:
			return d.Errorf(at, "is more than the %d that are read", MaxSignals)
		case !slices.Contains(known, string(l.Lever)):
			return d.Errorf(append(at, "lever"), "%s, which law %s moves", strict.OneOf(string(l.Lever), known), s.Law())
		case strings.TrimSpace(l.Query) == "" && l.Door == "":
			return d.Errorf(append(at, "query"), "is missing, and so is door; give one of them")
		case l.Query != "" && l.Door != "":
			return d.Errorf(append(at, "query"), "stands beside door %s, which says itself where the lever stands", l.Door)
		case l.Door != "" && !nameForm.MatchString(l.Door):
			return d.Errorf(append(at, "door"), "%q is not 1 to 63 lower-case letters, digits and dashes", l.Door)
		case l.Door != "" && l.By != "":
			return d.Errorf(append(at, "by"), "belongs to query; door %s knows its scopes", l.Door)
		case l.Door != "" && s.Door(l.Lever) != l.Door:
			return d.Errorf(append(at, "door"), "is the second one of %s: %s is named already", l.Lever, s.Door(l.Lever))
		case l.Query != "":
			if err := checkPromQL(d, append(at, "query"), l.Query); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *Damping) check(d strict.Document) error {
	if x == nil {
		return nil
	}
	if x.MaxToggles < 0 || x.MaxToggles > 60 {
		return d.Errorf([]string{"spec", "damping", "maxToggles"}, "is %d; expected 1 to 60 an hour", x.MaxToggles)
	}
	for _, p := range []struct {
		name string
		pace *Pace
	}{{"protect", x.Protect}, {"relax", x.Relax}} {
		if p.pace == nil {
			continue
		}
		at := func(field ...string) []string { return append([]string{"spec", "damping", p.name}, field...) }
		if err := durations(d, at, map[string]Duration{"window": p.pace.Window, "period": p.pace.Period, "deadTime": p.pace.DeadTime}); err != nil {
			return err
		}
		switch {
		case p.pace.DeadBand != nil && !(*p.pace.DeadBand >= 0 && *p.pace.DeadBand <= 1):
			return d.Errorf(at("deadBand"), "%v is not between 0 and 1", *p.pace.DeadBand)
		case !(p.pace.Share >= 0 && p.pace.Share <= 100):
			return d.Errorf(at("share"), "%v is not between 0 and 100", p.pace.Share)
		case !(p.pace.Step >= 0 && p.pace.Step < 1e12):
			return d.Errorf(at("step"), "%v is not a size", p.pace.Step)
		case p.name == "relax" && p.pace.Window != "" && p.pace.Window.Value() > time.Hour*24*7:
			return d.Errorf(at("window"), "%q is longer than 7d", p.pace.Window)
		}
	}
	return nil
}

// ordered refuses two strategies of one precedence that move one lever: which of them
// goes first would be an accident.
func ordered(list []Strategy) error {
	for i, b := range list {
		for _, a := range list[:i] {
			if a.Metadata.Namespace != b.Metadata.Namespace || a.Spec.Service != b.Spec.Service || a.Spec.Environment != b.Spec.Environment || a.Spec.Precedence != b.Spec.Precedence {
				continue
			}
			for _, l := range a.Spec.levers() {
				if slices.Contains(b.Spec.levers(), l) {
					err := b.Errorf([]string{"spec", "precedence"}, "%d is also that of strategy %q (%s:%d), which moves %s of %s too; give one of them the higher one",
						b.Spec.Precedence, a.Metadata.Name, a.Place.File, a.Place.Line, l, a.Spec.Service)
					return err
				}
			}
		}
	}
	return nil
}

// levers are what the law moves.
func (s StrategySpec) levers() []assay.Lever {
	switch s.Law() {
	case "scale", "stabilise":
		return []assay.Lever{assay.LeverReplicas}
	case "throttle":
		return []assay.Lever{s.Throttle.Lever, assay.LeverClass}
	case "divert":
		return []assay.Lever{assay.LeverRegion}
	case "isolate":
		return []assay.Lever{assay.LeverQuota}
	case "tiers":
		return []assay.Lever{assay.LeverCostClass}
	case "cost":
		return []assay.Lever{assay.LeverClass, assay.LeverCostClass, assay.LeverSpend}
	case "contain":
		return []assay.Lever{assay.LeverQuarantine}
	case "rollback":
		return []assay.Lever{assay.LeverShare}
	case "data":
		return []assay.Lever{assay.LeverRetention, assay.LeverReplicas}
	}
	return nil
}

// positive refuses numbers that are not above 0 and finite.
func positive(d strict.Document, at []string, v float64) error {
	if !(v > 0 && v < 1e12) {
		return d.Errorf(at, "is %v; expected a number above 0", v)
	}
	return nil
}

func between(d strict.Document, at []string, v, low, high float64) error {
	if !(v >= low && v <= high) {
		return d.Errorf(at, "is %v; expected %v to %v", v, low, high)
	}
	return nil
}

// named checks the names of a list of scopes.
func named(d strict.Document, at []string, least int, names []string) error {
	if len(names) < least || len(names) > MaxScopes {
		return d.Errorf(at, "has %d entries; expected %d to %d", len(names), least, MaxScopes)
	}
	for i, n := range names {
		in := append(slices.Clone(at), strconv.Itoa(i), "name")
		if !serviceForm.MatchString(n) {
			return d.Errorf(in, "%q is not a word of letters, digits and _.:/-", n)
		}
		if slices.Contains(names[:i], n) {
			return d.Errorf(in, "%q is used twice", n)
		}
	}
	return nil
}

func firstError(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

func replicaBounds(d strict.Document, at func(...string) []string, least, most int) error {
	if least < 0 || most < 1 || most > 1_000_000 || least > most {
		return d.Errorf(at("max"), "%s", fmt.Sprintf("is %d for a min of %d; expected min up to max, and max at least 1", most, least))
	}
	return nil
}
