package mitigate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// contain cuts off what attacks and lets it in again quickly. A source is cut off after
// its score has been above the bound for a while and its traces are kept: evidence
// first, because a source that is gone leaves none. It is let in again when a person
// calls it harmless, at once, or when its score has been low for a while. Each return
// that was followed by another attack doubles that while. More sources, or more of all
// requests, than declared are not cut off without a person. However many attack, the most
// conspicuous are listed, and one is cut off at a time.
func (v *view) contain(l *policy.ContainLaw) (f finding) {
	f.indicator = "anomaly"
	cut, share := 0, 0.0
	for _, s := range v.in.Settings {
		if s.Lever == assay.LeverQuarantine && s.Now > 0 {
			cut++
			share += v.hadShare(s.Scope)
		}
	}
	v.forgetSources()
	known := 0
	order := slices.DeleteFunc(slices.Clone(v.in.Settings), func(s Setting) bool { return s.Lever != assay.LeverQuarantine })
	slices.SortFunc(order, conspicuous(v.in.Cleared, func(source string) (float64, bool) { return v.get("anomaly", source) }))
	for _, s := range order {
		score, ok := v.get("anomaly", s.Scope)
		if ok {
			known++
		}
		cleared := slices.Contains(v.in.Cleared, s.Scope)
		switch {
		case s.Now > 0:
			v.release(&f, l, s, score, ok, cleared)
		case ok && !cleared:
			v.quarantine(&f, l, s, score, cut, share)
		default: // for how long its score has been high begins anew
			v.held("above/"+s.Scope, false)
			v.held("below/"+s.Scope, false)
		}
	}
	if known == 0 {
		f.thin = orElse(v.why["anomaly"], "anomaly has no data")
	}
	f.notes = append(f.notes, v.partly...)
	f.listed(v.in.Omitted)
	return f
}

// mostSources is how many returns, cuts, clues and reasons to wait a decision of contain
// lists of each. One source is moved at a time, and the next look lists anew.
const mostSources = 40

// listed keeps the most conspicuous of what was found and says how much is left out.
func (f *finding) listed(omitted int) {
	slices.SortStableFunc(f.options, func(a, b decide.Option) int { return cmp.Compare(a.Rule.Rank, b.Rule.Rank) })
	back, away := 0, 0
	f.options = slices.DeleteFunc(f.options, func(o decide.Option) bool {
		n := &away
		if o.Action.Kind == assay.ActionRestore {
			n = &back
		}
		*n++
		return *n > mostSources
	})
	for _, x := range []struct {
		n    int
		what string
	}{{back, "that may be let in again"}, {away, "that may be cut off"}, {len(f.clues), "above the bound"}, {len(f.held), "that wait"}} {
		if x.n > mostSources {
			f.notes = append(f.notes, fmt.Sprintf("of %d sources %s the %d most conspicuous are listed", x.n, x.what, mostSources))
		}
	}
	f.clues, f.held = f.clues[:min(len(f.clues), mostSources)], f.held[:min(len(f.held), mostSources)]
	if omitted > 0 {
		f.notes = append(f.notes, fmt.Sprintf("%d sources that are less conspicuous were not looked at", omitted))
	}
}

// conspicuous orders sources: those to be let in because a person says so, others that are
// cut off, the calmest first, and then who scores highest.
func conspicuous(cleared []string, score func(source string) (float64, bool)) func(a, b Setting) int {
	place := func(s Setting) (rank int, by float64) {
		v, known := score(s.Scope)
		switch {
		case s.Now > 0 && slices.Contains(cleared, s.Scope):
			return 0, 0
		case s.Now > 0 && known:
			return 1, v
		case s.Now > 0:
			return 2, 0
		case known:
			return 3, -v
		}
		return 4, 0
	}
	return func(a, b Setting) int {
		rankA, byA := place(a)
		rankB, byB := place(b)
		return cmp.Or(cmp.Compare(rankA, rankB), cmp.Compare(byA, byB), cmp.Compare(a.Scope, b.Scope))
	}
}

// narrow keeps of a contain law's inputs what belongs to sources that are cut off or
// conspicuous, as many as a decision looks at, and counts the others.
func (in *Inputs) narrow() {
	scores := map[string]float64{}
	var all []Setting
	seen := map[string]bool{}
	for _, s := range in.Settings {
		if s.Lever == assay.LeverQuarantine {
			all, seen[s.Scope] = append(all, s), true
		}
	}
	for _, x := range in.Values {
		if x.Name == "anomaly" {
			scores[x.Scope] = x.Value
		}
		if !seen[x.Scope] {
			all, seen[x.Scope] = append(all, Setting{Scope: x.Scope}), true
		}
	}
	if len(all) <= MaxSettings && len(in.Values) <= MaxValues {
		return
	}
	slices.SortFunc(all, conspicuous(in.Cleared, func(source string) (float64, bool) {
		v, ok := scores[source]
		return v, ok
	}))
	for _, s := range all[min(len(all), MaxSettings):] {
		seen[s.Scope] = false
		in.Omitted++
	}
	in.Settings = slices.DeleteFunc(in.Settings, func(s Setting) bool { return s.Lever == assay.LeverQuarantine && !seen[s.Scope] })
	in.Values = slices.DeleteFunc(in.Values, func(x Value) bool { return !seen[x.Scope] })
}

// hadShare is the share of all requests that a source which is cut off had: it has none
// any more, or nobody counts them.
func (v *view) hadShare(source string) float64 {
	x, _ := v.get("share", source)
	return max(x, v.next.Last["share/"+source])
}

// forgetSources drops what is remembered of sources that are not there any more.
func (v *view) forgetSources() {
	gone := func(name string) bool {
		kind, source, ok := strings.Cut(name, "/")
		return ok && (kind == "above" || kind == "below" || kind == "share") && !slices.ContainsFunc(v.in.Settings, func(s Setting) bool {
			return s.Lever == assay.LeverQuarantine && s.Scope == source
		})
	}
	maps.DeleteFunc(v.next.Since, func(name string, _ time.Time) bool { return gone(name) })
	maps.DeleteFunc(v.next.Last, func(name string, _ float64) bool { return gone(name) })
	// Who was let in by somebody else is as free as who was let in here.
	free, known := map[string]bool{}, false
	for _, s := range v.in.Settings {
		known = true
		free[assay.Action{Lever: s.Lever, Scope: s.Scope}.Target()] = s.Now <= 0
	}
	maps.DeleteFunc(v.next.Dampers, func(target string, d Damper) bool {
		n := len(d.Moves)
		lets, listed := free[target]
		return known && (lets || !listed) && (n == 0 || v.now.Sub(d.Moves[n-1].Time) > max(toggleWindow, v.rails.DeadTime, widest*v.rails.MinInterval))
	})
}

func (v *view) quarantine(f *finding, l *policy.ContainLaw, s Setting, score float64, cut int, already float64) {
	v.held("below/"+s.Scope, false)
	above := v.held("above/"+s.Scope, score > l.Above)
	if score <= l.Above {
		return
	}
	f.trouble = true
	share, okShare := v.get("share", s.Scope)
	if okShare {
		v.next.Last["share/"+s.Scope] = share
	}
	f.burn = max(f.burn, burnOf(min(share, 0.2)))
	words := fmt.Sprintf("source %s scores %.2f, the bound is %.2f, for %s", s.Scope, score, l.Above, above.Round(time.Second))
	f.clues = append(f.clues, decide.Clue{Name: "source/" + s.Scope, Source: "anomaly", Words: words, LogLR: map[decide.Hypothesis]float64{decide.Attack: 4, decide.NoFault: -3}})
	if kept, _ := v.get("evidence", s.Scope); kept < 1 {
		f.held = append(f.held, fmt.Sprintf("%s: its traces are not kept yet", s.Scope))
		return
	}
	if above < l.For.Value() {
		f.held = append(f.held, fmt.Sprintf("%s: its score must stand for %s", s.Scope, l.For))
		return
	}
	rank := 1
	if cut >= l.MaxSources || !okShare || already+share > l.MaxShare {
		// The blast radius is declared: above it the option is there, and a person decides.
		share, rank = max(share, 1), 2 // who needs nobody goes first
		words += fmt.Sprintf("; %d sources with %.1f %% of the requests are cut off already, more needs a person", cut, 100*already)
	}
	f.options = append(f.options, decide.Option{
		Action: v.action(assay.ActionAdjust, assay.LeverQuarantine, s.Scope, s.Now, 1), Words: "cut off: " + words, Reversible: true, Blast: min(share, 1),
		Gone: map[decide.Hypothesis]decide.Size{decide.Attack: {Mean: 0.9, SD: 0.1}, decide.NoisyTenant: {Mean: 0.6, SD: 0.3}},
		Rule: &decide.Rule{Rank: rank, Fires: true, Words: words},
	})
}

func (v *view) release(f *finding, l *policy.ContainLaw, s Setting, score float64, known, cleared bool) {
	v.held("above/"+s.Scope, false)
	low := v.held("below/"+s.Scope, known && score < l.Below)
	moved := v.next.Dampers[assay.Action{Lever: assay.LeverQuarantine, Scope: s.Scope}.Target()]
	wait := l.Clear.Value() << min(moved.turns(v.now, toggleWindow)/2, 6) // a return and a cut after it are two turns
	words := fmt.Sprintf("let in again: source %s has scored below %.2f for %s", s.Scope, l.Below, low.Round(time.Second))
	switch {
	case cleared:
		words = fmt.Sprintf("let in again: a person calls source %s harmless", s.Scope)
	case low < wait:
		f.held = append(f.held, fmt.Sprintf("%s stays cut off until its score has been below %.2f for %s", s.Scope, l.Below, wait))
		return
	case moved.swings(v.now) != "": // the next cut would be refused
		f.held = append(f.held, s.Scope+" stays cut off: "+moved.swings(v.now))
		return
	}
	f.options = append(f.options, decide.Option{
		Action: v.action(assay.ActionRestore, assay.LeverQuarantine, s.Scope, s.Now, 0), Words: words, Reversible: true,
		Rule: &decide.Rule{Rank: 0, Fires: true, Words: words}, Told: cleared,
	})
}
