package mitigate

import (
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// tiers gives each tier the cheapest class that keeps its promise. A tier whose
// interval of good requests is above its target has more than it was promised: it may
// try the next cheaper class. One whose interval is below gets a dearer one at once.
// While the interval holds the target nothing is known and nothing is done. A class
// that broke the promise is tried again, at most once an hour, when the dearer one has
// more than was promised again.
func (v *view) tiers(l *policy.TiersLaw) (f finding) {
	f.indicator, f.stands = "good", time.Hour // the signals count an hour
	for i, t := range l.Tiers {
		good, okG := v.need(&f, "good", t.Name)
		total, okT := v.need(&f, "total", t.Name)
		class, there := v.setting(&f, assay.LeverCostClass, t.Name)
		if !okG || !okT || !there {
			return f
		}
		low, high := interval(good, total)
		cheapest := len(l.Classes) - 1
		if n := slices.IndexFunc(l.Classes, func(c policy.TierClass) bool { return c.Name == t.Cheapest }); n >= 0 {
			cheapest = n
		}
		words := fmt.Sprintf("tier %s has %.3f to %.3f %% good of a promise of %.3f %% in class %s", t.Name, 100*low, 100*high, 100*t.Target, l.Classes[clamp(class, len(l.Classes))].Name)
		f.notes = append(f.notes, words)
		want := class
		switch {
		case total > 0 && high < t.Target:
			want = max(0, class-1)
			f.trouble = true
			f.burn = max(f.burn, (1-good/total)/(1-t.Target)/window.Minutes())
			f.clues = append(f.clues, tierClue(t.Name, words, 1.5))
		case total > 0 && low > t.Target:
			want = min(float64(cheapest), class+1)
		}
		want = min(want, float64(cheapest))
		v.tier(&f, l, t, class, want, words, float64(i))
	}
	return f
}

func clamp(v float64, n int) int { return min(max(int(v), 0), n-1) }

func (v *view) tier(f *finding, l *policy.TiersLaw, t policy.Tier, class, want float64, words string, rank float64) {
	d := newDamping(Down, 0, float64(len(l.Classes)-1))
	d.Whole, d.Burst, d.Refill = true, 6, 10*time.Minute
	d.Protect = Pace{Step: 1, Period: 10 * time.Minute}
	d.Relax = Pace{Window: 30 * time.Minute, Step: 1, Period: time.Hour, DeadTime: 30 * time.Minute}
	set := v.settle(d, assay.LeverCostClass, t.Name, class, want)
	if set.Held != "" {
		f.held = append(f.held, "tier "+t.Name+": "+set.Held)
	}
	if set.To == class {
		return
	}
	from, to := l.Classes[clamp(class, len(l.Classes))], l.Classes[clamp(set.To, len(l.Classes))]
	o := decide.Option{
		Action: v.action(assay.ActionAdjust, assay.LeverCostClass, t.Name, class, set.To), Reversible: true,
		Words: fmt.Sprintf("tier %s goes from class %s to %s, %s instead of %s for a thousand requests: %s", t.Name, from.Name, to.Name, number(to.Cost), number(from.Cost), words),
		Gone:  map[decide.Hypothesis]decide.Size{decide.Overload: {Mean: 0.7, SD: 0.2}, decide.DependencySlow: {Mean: 0.3, SD: 0.3}},
	}
	if total, ok := v.get("total", t.Name); ok {
		o.Money = (to.Cost - from.Cost) * total / 1000 // the signal counts an hour
	}
	if set.To > class {
		o.Action.Kind, o.Gone = assay.ActionRestore, nil
	}
	o.Rule = &decide.Rule{Rank: 1 + int(rank), Fires: true, Words: o.Words}
	f.options = append(f.options, o)
}

func tierClue(name, words string, lr float64) decide.Clue {
	return decide.Clue{Name: "tier/" + name, Source: "good", Words: words, LogLR: map[decide.Hypothesis]float64{decide.Overload: lr, decide.NoFault: -lr}}
}
