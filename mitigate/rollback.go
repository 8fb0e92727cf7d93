package mitigate

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// rollback ends the rollout of a version that does harm, also one that was promoted and is
// still watched. Once its rollout has ended the controller refuses the action and says that
// a rollout of the old version is what is left. The evidence is the difference between two versions at the same time,
// which a common cause (load, a dependency, a region) cannot make: such causes hit
// both. A version that stands alone is compared with nothing, and then the clue is only
// that the trouble began after the change.
func (v *view) rollback(l *policy.RollbackLaw) (f finding) {
	f.indicator = "bad"
	c, ok := v.suspect(l)
	if !ok {
		f.notes = append(f.notes, fmt.Sprintf("no version was changed in the last %s", l.Within))
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
	low, _ := interval(bad, total)
	_, oldHigh := interval(oldBad, oldTotal)
	words := fmt.Sprintf("version %s, %s after the change: %s of %s requests are bad", c.Version, v.now.Sub(c.Time).Round(time.Second), number(bad), number(total))
	if paired && oldTotal > 0 {
		words += fmt.Sprintf(", with %s %s of %s", c.Old, number(oldBad), number(oldTotal))
	}
	f.notes = append(f.notes, words)
	enough := bad >= l.MinBad && total > 0
	worse := enough && paired && oldTotal > 0 && low > l.Margin*oldHigh
	f.clues = append(f.clues, versionClue(words, bad, total, oldBad, oldTotal, l.Margin))
	rate := bad / max(total, 1)
	f.burn = burnOf(share / 100 * max(0, rate-oldBad/max(oldTotal, 1)))
	f.trouble = worse
	if !enough || !worse {
		f.held = append(f.held, fmt.Sprintf("%s is not shown to be %s times worse than %s", c.Version, number(l.Margin), orElse(c.Old, "another version")))
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

// suspect is the newest change whose version may still be blamed.
func (v *view) suspect(l *policy.RollbackLaw) (c Change, ok bool) {
	for _, x := range v.in.Changes {
		age := v.now.Sub(x.Time)
		if (x.Open || age <= l.Within.Value()) && age >= 0 && (!ok || x.Time.After(c.Time)) {
			c, ok = x, true
		}
	}
	return c, ok
}

// versionClue is the likelihood ratio of "the new version fails margin times as often"
// against "both fail alike", conditional on how many failed: given the total, whether
// the common rate is high or low says nothing about the version.
func versionClue(words string, bad, total, oldBad, oldTotal, margin float64) decide.Clue {
	lr := 0.0
	if total > 0 && oldTotal > 0 {
		w := total / (total + oldTotal)
		theta := margin * w / (margin*w + 1 - w)
		lr = bad*math.Log(theta/w) + oldBad*math.Log((1-theta)/(1-w))
	}
	return decide.Clue{Name: "version", Words: words, LogLR: map[decide.Hypothesis]float64{
		decide.BadDeploy: lr, decide.RegionFault: -lr / 2, decide.DependencySlow: -lr / 2, decide.NoFault: -max(lr, 0),
	}}
}
