package mitigate

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// data proposes retention and replicas of a data store. The day the disk is full is
// reckoned from its use and growth; if that is within the horizon, retention shrinks so
// that what is kept fits the target, in proportion to what it holds. Replicas are added
// while reads are slower than the bound. Both stay within declared bounds, and shorter
// retention is never automatic: what is deleted does not come back.
func (v *view) data(l *policy.DataLaw) (f finding) {
	f.indicator, f.stands = "disk_used", 24*time.Hour // a disk is slow
	used, okU := v.need(&f, "disk_used", "")
	growth, okG := v.need(&f, "disk_growth", "")
	keep, there := v.setting(&f, assay.LeverRetention, "")
	if okU && okG && there {
		v.retention(&f, l, used, growth, keep)
	}
	if l.MaxLatency > 0 && v.declared("io_latency") {
		v.readers(&f, l)
	}
	return f
}

func (v *view) retention(f *finding, l *policy.DataLaw, used, growth, keep float64) {
	full := math.Inf(1)
	if growth > 0 {
		full = max(0, 1-used) / growth
	}
	words := fmt.Sprintf("the disk is %.0f %% full and never fills", 100*used)
	if !math.IsInf(full, 1) {
		words = fmt.Sprintf("the disk is %.0f %% full and fills in %s days", 100*used, number(full))
	}
	f.notes = append(f.notes, words)
	want := keep
	switch {
	case used > l.DiskTarget && full < l.Horizon.Value().Hours()/24 || used >= 0.95:
		want = math.Floor(keep * l.DiskTarget / max(used, 1e-9))
		f.trouble, f.burn = true, burnOf(0.01)
		f.clues = append(f.clues, pressureClue("disk", words, true))
	case used < 0.6*l.DiskTarget && full > 4*l.Horizon.Value().Hours()/24:
		want = math.Floor(keep * 0.8 * l.DiskTarget / max(used, 1e-9))
	}
	d := newDamping(Down, l.MinRetention, l.MaxRetention)
	d.Whole, d.Burst, d.Refill = true, 3, 8*time.Hour
	d.Protect = Pace{DeadBand: 0.05, Share: 0.5, Step: 1, Period: 24 * time.Hour, DeadTime: time.Hour}
	d.Relax = Pace{DeadBand: 0.2, Window: 24 * time.Hour, Share: 0.25, Step: 1, Period: 24 * time.Hour, DeadTime: 24 * time.Hour}
	set := v.settle(d, assay.LeverRetention, "", keep, want)
	if set.Held != "" {
		f.held = append(f.held, "retention stays at "+number(keep)+" days: "+set.Held)
	}
	if set.To == keep {
		return
	}
	o := decide.Option{
		Action: v.action(assay.ActionAdjust, assay.LeverRetention, "", keep, set.To), Words: fmt.Sprintf("keep %s days instead of %s: %s", number(set.To), number(keep), words),
		Gone: map[decide.Hypothesis]decide.Size{decide.Overload: sized(0.7, 0.3), decide.DependencySlow: sized(0.5, 0.3)},
		// What is deleted does not come back: nobody but a person decides that.
		Blast: 0.6,
		Rule:  &decide.Rule{Rank: 3, Fires: false, Words: words},
	}
	if set.To > keep {
		o.Action.Kind, o.Gone, o.Blast, o.Reversible = assay.ActionRestore, nil, 0, true
		o.Rule = &decide.Rule{Rank: 5, Fires: true, Words: o.Words}
	}
	f.options = append(f.options, o)
}

func (v *view) readers(f *finding, l *policy.DataLaw) {
	p95, ok := v.need(f, "io_latency", "")
	current, there := v.setting(f, assay.LeverReplicas, "")
	if !ok || !there {
		return
	}
	want := current
	slow := v.held("io-slow", p95 > l.MaxLatency)
	fast := v.held("io-fast", p95 < l.MaxLatency/2)
	switch {
	case slow >= 5*time.Minute:
		want = current + 1
	case fast >= time.Hour:
		want = current - 1
	}
	d := newDamping(Up, float64(l.MinReplicas), float64(l.MaxReplicas))
	d.Whole = true
	d.Protect = Pace{Step: 1, Period: 10 * time.Minute, DeadTime: 10 * time.Minute}
	d.Relax = Pace{Window: time.Hour, Step: 1, Period: time.Hour, DeadTime: time.Hour}
	set := v.settle(d, assay.LeverReplicas, "", current, want)
	words := fmt.Sprintf("reads take %s s, the bound is %s s", number(p95), number(l.MaxLatency))
	f.notes = append(f.notes, words)
	f.clues = append(f.clues, pressureClue("reads", words, p95 > l.MaxLatency))
	if p95 > l.MaxLatency {
		f.trouble, f.burn = true, max(f.burn, burnOf(0.02))
	}
	if set.To == current {
		return
	}
	o := decide.Option{
		Action: v.action(assay.ActionAdjust, assay.LeverReplicas, "", current, set.To), Reversible: true, Lead: 10 * time.Minute,
		Words: fmt.Sprintf("%s replicas instead of %s: %s", number(set.To), number(current), words),
		Gone:  map[decide.Hypothesis]decide.Size{decide.Overload: sized(0.5, 0.3), decide.DependencySlow: sized(0.4, 0.3)},
	}
	if set.To < current {
		o.Action.Kind, o.Gone = assay.ActionRestore, nil
	}
	o.Rule = &decide.Rule{Rank: 4, Fires: true, Words: o.Words}
	f.options = append(f.options, o)
}

// pressureClue says whether the store is short of something.
func pressureClue(name, words string, short bool) decide.Clue {
	c := decide.Clue{Name: name, Words: words, LogLR: map[decide.Hypothesis]float64{decide.Overload: -0.3}}
	if short {
		c.LogLR = map[decide.Hypothesis]float64{decide.Overload: 3, decide.DependencySlow: 1.5, decide.NoFault: -3}
	}
	return c
}
