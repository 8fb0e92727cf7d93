package mitigate

import (
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// due is what is known of when a region that serves now will be out of use.
type due struct {
	likely bool          // this look says that it will be, within the time that its strategy begins ahead
	sure   bool          // so did every look for as long as is declared
	strain bool          // for what it runs out of, not because it is taken away
	left   time.Duration // until then, where likely
	words  string
}

// due looks ahead for a region. It is told of what is announced, and reckons with a
// straight line for what grows: rules with declared bounds, no model.
func (v *view) due(f *finding, l *policy.DivertLaw, region string) (d due) {
	if l.Drain == nil {
		return d
	}
	ahead := l.Drain.Before.Value()
	if v.declared("leaving") {
		if x, ok := v.need(f, "leaving", region); ok && x >= 0.5 {
			d = due{likely: true, left: ahead, words: "it is announced that it will be taken away"}
		}
	}
	if v.declared("strain") {
		strain, okS := v.need(f, "strain", region)
		growth, okG := v.need(f, "strain_growth", region)
		if left, ok := reaches1(strain, growth); okS && okG && ok && left <= ahead {
			d.likely, d.strain, d.left = true, true, left
			d.words = fmt.Sprintf("%s of what it breaks down without is in use, %s an hour more: all of it in %s",
				digits(100*strain, 0)+" %", digits(100*growth, 0)+" %", left.Round(time.Second))
		}
	}
	d.sure = v.held("due/"+region, d.likely) >= l.Drain.Sure.Value() && d.likely
	if d.likely && !d.sure {
		f.held = append(f.held, fmt.Sprintf("%s: %s; it is emptied if that is still so after %s", region, d.words, l.Drain.Sure))
	}
	return d
}

// reaches1 is in what time a strain is 1 that grows by so much an hour; false if that
// takes longer than a year.
func reaches1(strain, growth float64) (time.Duration, bool) {
	const year = 365 * 24
	switch hours := (1 - strain) / growth; {
	case strain >= 1:
		return 0, true
	case growth > 0 && hours < year:
		return time.Duration(hours * float64(time.Hour)), true
	}
	return 0, false
}

// emptied reports whether a region has no traffic because it was drained: nothing that it
// counts itself says anything then.
func (v *view) emptied(l *policy.DivertLaw, region string) bool {
	if l.Drain == nil {
		return false
	}
	for _, s := range v.in.Settings {
		if s.Lever == assay.LeverRegion && s.Scope == region {
			return s.Now <= 1e-6
		}
	}
	return false
}

// loadOf is a region's load.
func (v *view) loadOf(l *policy.DivertLaw, region string) (float64, bool) {
	load, ok := v.get("load", region)
	return load, ok || v.emptied(l, region)
}

// rested reports whether a region that was drained for its strain has less of it now.
func (v *view) rested(l *policy.DivertLaw, r policy.DivertRegion, d due, current float64) bool {
	if l.Drain == nil {
		return true
	}
	name := "drained/" + r.Name
	switch {
	case d.sure && d.strain:
		v.next.Last[name] = 1
	case !d.likely && current >= r.Share-1e-6:
		delete(v.next.Last, name)
	}
	strain, ok := v.get("strain", r.Name)
	return v.next.Last[name] == 0 || ok && strain <= l.Drain.Return
}

// drain takes the next step of emptying a region that will be out of use: all at once
// where the receivers have room for twice as much, or the time left is too short for the
// steps. Nothing stays as a probe.
func (v *view) drain(f *finding, l *policy.DivertLaw, r policy.DivertRegion, current float64, health map[string]regionHealth) {
	d := health[r.Name].due
	if current <= 1e-6 {
		f.held = append(f.held, fmt.Sprintf("%s is empty: %s", r.Name, d.words))
		return
	}
	f.burn = max(f.burn, burnOf(current/100)) // once it is out of use, all of its requests are bad
	steps := 0
	for _, s := range l.Steps {
		if float64(s) > 100*(1-current/r.Share)+0.5 {
			steps++
		}
	}
	hurry := d.left < time.Duration(max(steps, 1))*l.Verify.Value()
	want := max(0, r.Share*(1-float64(nextStep(l.Steps, current, r.Share))/100))
	if hurry || v.roomFor(l, r, current, 0, health) {
		want = max(0, current-100*decide.NewProblem().MaxBlast)
	}
	if v.now.Sub(v.movedAt(r.Name)) < l.Verify.Value() && !hurry {
		f.held = append(f.held, fmt.Sprintf("%s: the last step is looked at for %s", r.Name, l.Verify))
		return
	}
	v.away(f, l, r, current, want, health)
}
