package mitigate

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

// view is what a law sees: the inputs that are fresh and complete, and the memory that
// it leaves for the next decision.
type view struct {
	s       *Strategy
	rails   decide.Rails // of the strategy
	in      *Inputs
	now     time.Time
	next    *State // of which the law writes Since, Last, Dampers and Bands
	values  []readings
	why     map[string]string // by signal: why it is unknown
	signals []assay.Signal
	partly  []string        // signals of which some scopes are unknown, where that says nothing of the others
	past    *decide.History // once it was asked for
}

// readings are the values of one signal that can be used, ascending by scope.
type readings struct {
	name   string
	values []reading
}

type reading struct {
	scope string
	value float64
}

// at is the value of a scope, the last one where there are several.
func (r *readings) at(scope string) (float64, bool) {
	i := sort.Search(len(r.values), func(i int) bool { return r.values[i].scope > scope })
	if i == 0 || r.values[i-1].scope != scope {
		return 0, false
	}
	return r.values[i-1].value, true
}

// finding is what a law found: what could be done, and what speaks for which cause.
type finding struct {
	options   []decide.Option
	clues     []decide.Clue
	indicator string  // that is to become better
	burn      float64 // share of the budget a minute that the law estimates, if nobody knows better
	notes     []string
	thin      string        // the input that is missing, empty if none that it needs is
	stands    time.Duration // for how long the choice is reckoned to stand; stands if 0
	rules     bool          // there is no model to weigh with: declared thresholds are all
	trouble   bool          // something is wrong, or soon will be
	held      []string
}

// newView sorts the inputs into known and unknown.
func newView(s *Strategy, next *State, in *Inputs, now time.Time) *view {
	v := &view{s: s, rails: s.Rails(), in: in, now: now, next: next, values: make([]readings, 0, len(s.Spec.Signals))}
	usable := make([]reading, 0, len(in.Values)) // of all signals
	if v.next.Since == nil {
		v.next.Since = map[string]time.Time{}
	}
	if v.next.Last == nil {
		v.next.Last = map[string]float64{}
	}
	if v.next.Dampers == nil {
		v.next.Dampers = map[string]Damper{}
	}
	v.next.Bands = map[string]Settled{}
	v.signals = append(slices.Grow(v.signals, len(in.Unknown)+len(s.Spec.Signals)), in.Unknown...)
	for n := range s.Spec.Signals {
		decl := &s.Spec.Signals[n]
		sig := assay.Signal{Indicator: decl.Name, Known: true, Completeness: 1}
		seen, from := 0, len(usable)
		for i := range in.Values {
			x := &in.Values[i]
			if x.Name != decl.Name {
				continue
			}
			seen++
			age, reason := now.Sub(x.Time), s.unusable(x, now)
			if reason == "" {
				usable = append(usable, reading{x.Scope, x.counted()})
			} else if sig.Known {
				sig.Known, sig.Reason = false, reason
			}
			if reason == "" || !s.apart() {
				sig.AgeSeconds = max(sig.AgeSeconds, age.Seconds())
				sig.Completeness = min(sig.Completeness, x.Completeness)
			}
		}
		known := usable[from:]
		if s.apart() && len(known) > 0 && len(known) < seen {
			v.partly = append(v.partly, fmt.Sprintf("%s: %d of %d are not known, and nothing is done about those: %s", decl.Name, seen-len(known), seen, sig.Reason))
			sig.Known, sig.Reason = true, ""
		}
		slices.SortStableFunc(known, func(a, b reading) int { return strings.Compare(a.scope, b.scope) })
		v.values = append(v.values, readings{decl.Name, known})
		if seen == 0 {
			sig.Known, sig.Reason, sig.Completeness = false, fmt.Sprintf("%s has no data", decl.Name), 0
		}
		if i := slices.IndexFunc(in.Second, func(x Second) bool { return x.Name == decl.Name }); i >= 0 {
			sig.Instead = in.Second[i].Why
		}
		if !sig.Known {
			if v.why == nil {
				v.why = map[string]string{}
			}
			v.why[decl.Name] = sig.Reason
		}
		v.signals = append(v.signals, sig)
	}
	return v
}

// apart reports whether each scope is judged by its own values alone: sources come and
// go, and what is not known of one says nothing of the others.
func (s *Strategy) apart() bool { return s.Spec.Contain != nil }

// unfit says why a source's values of a signal are of no use, "" if they are.
func (s *Strategy) unfit(name string, values []Value, now time.Time) (why string) {
	if len(values) == 0 {
		return name + " has no data"
	}
	for i := range values {
		switch reason := s.unusable(&values[i], now); {
		case reason == "" && s.apart():
			return ""
		case why == "":
			why = reason
		}
	}
	return why
}

// counted is what a value counts as: a disk that empties does not fill, and what is given
// back is not used up.
func (x *Value) counted() float64 {
	if (x.Name == "disk_growth" || x.Name == "strain_growth") && !math.IsInf(x.Value, 0) {
		return max(x.Value, 0)
	}
	return x.Value
}

// unusable says why a value is unknown, "" if it is not.
func (s *Strategy) unusable(x *Value, now time.Time) string {
	value, age, maxAge := x.counted(), now.Sub(x.Time), s.Spec.MaxAge.Value()
	switch {
	case math.IsNaN(value) || math.IsInf(value, 0):
		return fmt.Sprintf("%s is not a number", label(x.Name, x.Scope))
	case value < 0:
		return fmt.Sprintf("%s is %s, below 0", label(x.Name, x.Scope), number(value))
	case age > maxAge:
		return fmt.Sprintf("%s is %s old, and at most %s is fresh", label(x.Name, x.Scope), age.Round(time.Second), maxAge)
	case age < -maxAge:
		return fmt.Sprintf("%s is dated %s ahead of now", label(x.Name, x.Scope), (-age).Round(time.Second))
	case !(x.Completeness >= s.Spec.MinCompleteness):
		return fmt.Sprintf("%s has %.0f %% of its sources, and %.0f %% are needed", label(x.Name, x.Scope), 100*x.Completeness, 100*s.Spec.MinCompleteness)
	}
	return ""
}

func label(name, scope string) string {
	if scope == "" {
		return name
	}
	return name + " of " + scope
}

// get is a signal's value, if it is known.
func (v *view) get(name, scope string) (float64, bool) {
	for i := range v.values {
		if v.values[i].name == name {
			return v.values[i].at(scope)
		}
	}
	return 0, false
}

// declared reports whether the strategy reads a signal at all.
func (v *view) declared(name string) bool {
	for _, s := range v.s.Spec.Signals {
		if s.Name == name {
			return true
		}
	}
	return false
}

// need is a signal's value; a finding without it is thin.
func (v *view) need(f *finding, name, scope string) (float64, bool) {
	x, ok := v.get(name, scope)
	if !ok && f.thin == "" {
		if f.thin = v.why[name]; f.thin == "" {
			f.thin = label(name, scope) + " has no data"
		}
	}
	return x, ok
}

// setting is where a lever stands. A lever that nobody reads back cannot be moved.
func (v *view) setting(f *finding, lever assay.Lever, scope string) (float64, bool) {
	for _, s := range v.in.Settings {
		if s.Lever == lever && s.Scope == scope {
			return s.Now, true
		}
	}
	if f.thin == "" {
		f.thin = fmt.Sprintf("nobody says where %s stands", label(string(lever), scope))
	}
	return 0, false
}

// held is since when a condition has been true without a break, 0 if it is not.
func (v *view) held(name string, holds bool) time.Duration {
	if !holds {
		delete(v.next.Since, name)
		return 0
	}
	since, ok := v.next.Since[name]
	if !ok || since.After(v.now) {
		v.next.Since[name] = v.now
		return 0
	}
	return v.now.Sub(since)
}

// settle lets damping say where a lever may go, and keeps it for people.
func (v *view) settle(d Damping, lever assay.Lever, scope string, current, want float64) Settled {
	d = d.with(v.s.Spec.Damping)
	target := assay.Action{Lever: lever, Scope: scope}.Target()
	out, m := d.Settle(v.next.Dampers[target], v.now, current, want)
	v.next.Dampers[target], v.next.Bands[target] = m, out
	return out
}

// action moves a lever of the strategy's service.
func (v *view) action(kind assay.ActionKind, lever assay.Lever, scope string, now, want float64) assay.Action {
	return assay.Action{Kind: kind, Service: v.s.Spec.Service, Lever: lever, Scope: scope, Now: now, Want: want}
}

// window is what an error budget is reckoned over where no objective says otherwise.
const window = 30 * 24 * time.Hour

// allowed is the share of bad requests that is reckoned with where no objective says
// otherwise.
const allowed = 0.001

// burnOf is the share of the budget that a share of bad requests spends in a minute.
func burnOf(bad float64) float64 { return max(bad, 0) / allowed / window.Minutes() }
