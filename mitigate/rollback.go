package mitigate

import (
	"fmt"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// rollback takes the traffic from a version that does harm: by the abort of its rollout, or
// once that has ended by a rollback to the version before. The evidence is the difference
// between two versions at the same time, which a common cause (load, a dependency, a
// region) cannot make: such causes hit both. A version that stands alone is held against
// what the old one did before the change, which such causes explain as well. A version that
// was gone back to is not suspected: two versions are never exchanged for ever.
func (v *view) rollback(l *policy.RollbackLaw) (f finding) {
	f.indicator = "bad"
	c, ok := v.suspect(l)
	if !ok {
		f.notes = append(f.notes, fmt.Sprintf("no version was changed in the last %s", l.Within))
		return f
	}
	if v.returns(&f) {
		return f
	}
	bad, okB := v.need(&f, "bad", c.Version)
	total, okT := v.need(&f, "total", c.Version)
	share, there := v.setting(&f, assay.LeverShare, c.Version)
	if !okB || !okT || !there {
		return f
	}
	if share <= 0 {
		return f
	}
	oldBad, _ := v.get("bad", c.Old)
	oldTotal, paired := v.get("total", c.Old)
	past := (!paired || oldTotal <= 0) && c.WasTotal > 0
	if past {
		oldBad, oldTotal, paired = c.WasBad, c.WasTotal, true
	}
	low, _ := interval(bad, total)
	_, oldHigh := interval(oldBad, oldTotal)
	words := fmt.Sprintf("version %s, %s after the change: %s of %s requests are bad", c.Version, v.now.Sub(c.Time).Round(time.Second), number(bad), number(total))
	if paired && oldTotal > 0 {
		words += fmt.Sprintf(", with %s %s of %s", c.Old, number(oldBad), number(oldTotal))
		if past {
			words += before(c, total)
		}
	}
	f.notes = append(f.notes, words)
	enough := bad >= l.MinBad && total > 0
	worse := enough && paired && oldTotal > 0 && low > l.Margin*oldHigh
	f.clues = append(f.clues, versionClue(words, bad, total, oldBad, oldTotal, l.Margin, past))
	rate := bad / max(total, 1)
	f.burn = burnOf(share / 100 * max(0, rate-oldBad/max(oldTotal, 1)))
	f.trouble = worse
	if !enough || !worse {
		f.held = append(f.held, fmt.Sprintf("%s is not shown to be %s times worse than %s", c.Version, number(l.Margin), orElse(c.Old, "another version")))
		return f
	}
	if !v.wayBack(&f, c) {
		return f
	}
	f.options = append(f.options, decide.Option{
		Action: assay.Action{
			Kind: assay.ActionAbort, Service: v.s.Spec.Service, Version: c.Version, From: int(share),
			Lever: assay.LeverShare, Scope: c.Version, Now: share,
		},
		Words: "take all traffic from it: " + words, Reversible: true, Blast: share / 100,
		Gone: map[decide.Hypothesis]decide.Size{decide.BadDeploy: {Mean: 0.95, SD: 0.05}},
		Rule: &decide.Rule{Rank: 0, Fires: true, Words: words},
	})
	return f
}

// before says of which moment the old version's counts are, and when no past of it had the
// load that the new version has: then nobody can tell the version from the load.
func before(c Change, total float64) string {
	words := " before it"
	if !c.WasTime.IsZero() {
		words = fmt.Sprintf(" at %s, when the load was most like this", c.WasTime.Format(time.DateTime))
	}
	if total > alike*c.WasTotal {
		words += fmt.Sprintf(" (%s was not seen with so many: the load may be the cause)", c.Old)
	}
	return words
}

// returns says so while the service goes back already.
func (v *view) returns(f *finding) bool {
	i := slices.IndexFunc(v.in.Changes, func(x Change) bool { return x.Return && x.Open })
	if i >= 0 {
		x := v.in.Changes[i]
		f.held = append(f.held, fmt.Sprintf("%s goes back from %s to %s already", v.s.Spec.Service, x.Old, x.Version))
	}
	return i >= 0
}

// wayBack says where a rollout that has ended would be gone back to, or why nowhere.
func (v *view) wayBack(f *finding, c Change) bool {
	switch {
	case c.Open:
	case c.Stuck != "":
		f.held = append(f.held, "there is no way back: "+c.Stuck)
		return false
	case c.Back != "":
		f.notes = append(f.notes, fmt.Sprintf("%s would go back to %s: its rollout has ended", v.s.Spec.Service, c.Back))
	}
	return true
}

// suspect is the newest change whose version may still be blamed.
func (v *view) suspect(l *policy.RollbackLaw) (c Change, ok bool) {
	i := suspected(v.in.Changes, l.Within.Value(), v.now)
	if i < 0 {
		return c, false
	}
	return v.in.Changes[i], true
}

func suspected(list []Change, within time.Duration, now time.Time) int {
	found := -1
	for i, x := range list {
		age := now.Sub(x.Time)
		if !x.Return && (x.Open || age <= within) && age >= 0 && (found < 0 || x.Time.After(list[found].Time)) {
			found = i
		}
	}
	return found
}

// versionClue is the likelihood ratio of "the new version fails margin times as often"
// against "both fail alike", conditional on how many failed: given the total, whether
// the common rate is high or low says nothing about the version.
// Of two times it says nothing of what hit the service between them.
func versionClue(words string, bad, total, oldBad, oldTotal, margin float64, past bool) decide.Clue {
	lr := 0.0
	if total > 0 && oldTotal > 0 {
		w := total / (total + oldTotal)
		theta := margin * w / (margin*w + 1 - w)
		lr = bad*math.Log(theta/w) + oldBad*math.Log((1-theta)/(1-w))
	}
	if past {
		return decide.Clue{Name: "version", Words: words, LogLR: map[decide.Hypothesis]float64{decide.BadDeploy: lr, decide.NoFault: -max(lr, 0)}}
	}
	return decide.Clue{Name: "version", Words: words, LogLR: map[decide.Hypothesis]float64{
		decide.BadDeploy: lr, decide.RegionFault: -lr / 2, decide.DependencySlow: -lr / 2, decide.NoFault: -max(lr, 0),
	}}
}
