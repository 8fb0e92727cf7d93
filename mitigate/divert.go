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

// regionHealth is what independent signals say about one region.
type regionHealth struct {
	bad, elsewhere bool // by its own counters; by something that is measured elsewhere
	clear          bool // both say that it is well
	known          bool
	words          string
	due            due // whether it will be out of use soon
}

// divert takes traffic from a region that fails, in steps, and gives it back slowly.
//
// A region fails when two signals that are measured in different places say so: its
// own counters (the lower end of the interval of its share of bad requests is above
// the bound) and a probe or latency. Silence is no signal: a region whose telemetry is
// gone keeps its traffic. Each step needs the one before to have been looked at, and
// receivers whose load by its upper quantile leaves room. The region keeps a probe of
// its traffic, by which its recovery is seen; it gets a step back after it has been
// healthy for long enough, each at half the pace. One that will be out of use soon is
// emptied before, as due and drain say.
func (v *view) divert(l *policy.DivertLaw) (f finding) {
	f.indicator = "errors"
	health := map[string]regionHealth{}
	for _, r := range l.Regions {
		h := v.health(l, r)
		h.due = v.due(&f, l, r.Name)
		health[r.Name] = h
		if !h.known {
			f.thin = orElse(f.thin, h.words)
		}
		f.notes = append(f.notes, r.Name+": "+h.words)
	}
	one := slices.ContainsFunc(l.Regions, func(r policy.DivertRegion) bool { return health[r.Name].fails() })
	for _, r := range l.Regions {
		f.clues = append(f.clues, regionClue(r.Name, health[r.Name], one))
		v.region(&f, l, r, health)
	}
	return f
}

// fails reports whether two places say so.
func (h regionHealth) fails() bool { return h.known && h.bad && h.elsewhere }

// receives reports whether a region can be sent what others had.
func (h regionHealth) receives() bool { return h.known && !h.bad && !h.elsewhere && !h.due.likely }

// why says what is wrong with a region, or soon will be.
func (h regionHealth) why() string {
	if h.due.sure && !h.fails() {
		return h.due.words
	}
	return h.words
}

func (v *view) health(l *policy.DivertLaw, r policy.DivertRegion) (h regionHealth) {
	bad, okB := v.get("bad", r.Name)
	total, okT := v.get("total", r.Name)
	empty := v.emptied(l, r.Name)
	if (!okB || !okT) && !empty {
		h.words = "its own counters are not known; that alone moves nothing"
		return h
	}
	low, high := interval(bad, total)
	h.bad = total > 0 && low > l.MaxBad
	own := total > 0 && high < l.MaxBad || empty
	h.words = number(bad) + " of " + number(total) + " requests are bad (" + digits(100*low, 2) + " to " + digits(100*high, 2) + " %, bound " + digits(100*l.MaxBad, 2) + " %)"
	if empty {
		h.words = "it is empty"
	}
	outside, clear := false, true
	probe, okP := v.get("probe", r.Name)
	if okP {
		outside, clear = probe > l.MaxProbe, probe < l.MaxProbe/2
		h.words += ", " + digits(100*probe, 0) + " % of the probes fail"
	}
	p95, okL := v.get("latency", r.Name)
	if okL && l.MaxLatency > 0 {
		outside = outside || p95 > l.MaxLatency
		clear = clear && p95 < l.MaxLatency
		h.words += ", p95 " + number(p95) + " s"
	}
	h.known = okP || okL && l.MaxLatency > 0 || empty
	if !h.known {
		h.words += "; what is measured elsewhere is not known: one signal alone moves nothing"
	}
	h.elsewhere, h.clear = outside, own && clear
	return h
}

// region weighs one region's next step away or back.
func (v *view) region(f *finding, l *policy.DivertLaw, r policy.DivertRegion, health map[string]regionHealth) {
	current, there := v.setting(f, assay.LeverRegion, r.Name)
	if !there {
		return
	}
	h := health[r.Name]
	fails := h.fails()
	rested := v.rested(l, r, h.due, current)
	well := v.held("healthy/"+r.Name, h.known && h.clear && rested && !h.due.likely)
	f.trouble = f.trouble || fails || h.due.sure && current > 1e-6
	least := r.Share * float64(l.Probe) / 100
	if h.due.sure {
		least = 0
	}
	moved := v.movedAt(r.Name)
	// A region that came and went before has to be healthy for longer.
	target := assay.Action{Lever: assay.LeverRegion, Scope: r.Name}.Target()
	healthy := l.Healthy.Value() << v.next.Dampers[target].wide(v.now)
	switch {
	case fails:
		f.burn = max(f.burn, burnOf(current/100*v.badShare(r.Name)))
		want := max(least, r.Share*(1-float64(nextStep(l.Steps, current, r.Share))/100))
		sure := v.sure(l, r) && v.roomFor(l, r, current, least, health)
		if sure { // all at once, or as much as is touched without a person
			want = max(least, current-100*decide.NewProblem().MaxBlast)
		}
		switch {
		case current <= least+1e-6:
			f.held = append(f.held, fmt.Sprintf("%s keeps %s %% as a probe", r.Name, number(current)))
		case v.now.Sub(moved) < l.Verify.Value() && !sure:
			f.held = append(f.held, fmt.Sprintf("%s: the last step is looked at for %s", r.Name, l.Verify))
		default:
			v.away(f, l, r, current, want, health)
		}
	case h.due.sure:
		v.drain(f, l, r, current, health)
	case current < r.Share-1e-6 && well >= healthy:
		if v.now.Sub(moved) < 2*l.Verify.Value() { // half the pace
			f.held = append(f.held, fmt.Sprintf("%s gets more back after %s", r.Name, 2*l.Verify.Value()))
			return
		}
		if why := v.next.Dampers[target].swings(v.now); why != "" { // the next step away would be refused
			f.held = append(f.held, fmt.Sprintf("%s: %s", r.Name, why))
			return
		}
		v.back(f, l, r, current, well)
	case current < r.Share-1e-6:
		f.held = append(f.held, fmt.Sprintf("%s gets traffic back once it has been healthy for %s; it is %s", r.Name, healthy, well.Round(time.Second)))
	}
}

// surely is how many times the bound a region must fail, and how many times what would
// come there must have room for, for all steps to be taken at once.
const surely = 2

// sure reports whether a region fails so much that no step needs to be tried out.
func (v *view) sure(l *policy.DivertLaw, r policy.DivertRegion) bool {
	bad, _ := v.get("bad", r.Name)
	total, _ := v.get("total", r.Name)
	low, _ := interval(bad, total)
	return low > surely*l.MaxBad
}

// roomFor reports whether the receivers have room for all that a region may lose, and
// for as much again: then steps protect them from nothing, and cost the users time.
func (v *view) roomFor(l *policy.DivertLaw, r policy.DivertRegion, current, want float64, health map[string]regionHealth) bool {
	room, total := 0.0, 0.0
	for _, o := range l.Regions {
		load, ok := v.loadOf(l, o.Name)
		if !ok {
			return false
		}
		total += load
		if o.Name != r.Name && health[o.Name].receives() {
			room += max(0, o.Capacity-v.upperLoad(o.Name, load, l.Verify.Value()))
		}
	}
	return surely*(current-want)/100*total <= room
}

// badShare is the share of a region's requests that are bad.
func (v *view) badShare(region string) float64 {
	bad, _ := v.get("bad", region)
	total, _ := v.get("total", region)
	return bad / max(total, 1)
}

// movedAt is when a region's share was moved last.
func (v *view) movedAt(region string) time.Time {
	m := v.next.Dampers[assay.Action{Lever: assay.LeverRegion, Scope: region}.Target()].Moves
	if len(m) == 0 {
		return time.Time{}
	}
	return m[len(m)-1].Time
}

// nextStep is the least declared step that is beyond what was taken already.
func nextStep(steps []int, current, share float64) int {
	taken := 100 * (1 - current/max(share, 1e-9))
	for _, s := range steps {
		if float64(s) > taken+0.5 {
			return s
		}
	}
	return 100
}

// away takes the next step if the receivers have room for it.
func (v *view) away(f *finding, l *policy.DivertLaw, r policy.DivertRegion, current, want float64, health map[string]regionHealth) {
	room, receivers, total := 0.0, 0, 0.0
	for _, o := range l.Regions {
		load, ok := v.loadOf(l, o.Name)
		if !ok {
			v.need(f, "load", o.Name) // says that it is missing
			return
		}
		total += load
		if o.Name == r.Name || !health[o.Name].receives() {
			continue
		}
		receivers++
		room += max(0, o.Capacity-v.upperLoad(o.Name, load, l.Verify.Value()))
	}
	extra := (current - want) / 100 * total
	if receivers == 0 || extra > room {
		// A smaller step than declared is better than none, if it is worth its move. Doors
		// let a region have nothing, or its probe at least.
		fits := current - 100*room/max(total, 1e-9)
		least := max(math.Ceil(fits), r.Share*float64(l.Probe)/100)
		if receivers > 0 && current-fits >= 1 && least < current {
			want = least
			extra = (current - want) / 100 * total
		} else {
			f.held = append(f.held, fmt.Sprintf("%s: %s requests/s would have to go elsewhere, and the others have room for %s", r.Name, number(extra), number(room)))
			return
		}
	}
	v.next.Bands[assay.Action{Lever: assay.LeverRegion, Scope: r.Name}.Target()] = Settled{Now: current, Want: want, To: want, Low: want, High: r.Share, Wide: 1}
	gone := 1 - want/max(current, 1e-9)
	words := fmt.Sprintf("%s %% of the traffic to %s instead of %s %%: %s; the others have room for %s requests/s and get %s more",
		number(want), r.Name, number(current), health[r.Name].why(), number(room), number(extra))
	f.options = append(f.options, decide.Option{
		Action: v.action(assay.ActionAdjust, assay.LeverRegion, r.Name, current, want), Words: words, Reversible: true,
		Gone: map[decide.Hypothesis]decide.Size{
			decide.RegionFault: sized(gone, 0.2), decide.Overload: sized(0.2*gone, 0.5), decide.Attack: sized(0.1*gone, 0.5),
		},
		Blast: (current - want) / 100, Rule: &decide.Rule{Rank: 1, Fires: true, Words: words},
	})
}

// upperLoad is a region's load by its upper quantile: the forecast's if one can be
// trusted, otherwise a quarter above what it is now.
func (v *view) upperLoad(region string, load float64, ahead time.Duration) float64 {
	for _, fc := range v.in.Forecasts {
		if fc.Signal == "load/"+region && fc.Trusted && !v.s.Spec.Deterministic {
			if u, ok := fc.upper(v.now, ahead); ok {
				return max(u, load)
			}
		}
	}
	return 1.25 * load
}

// back gives one step back.
func (v *view) back(f *finding, l *policy.DivertLaw, r policy.DivertRegion, current float64, well time.Duration) {
	taken, want := 100*(1-current/max(r.Share, 1e-9)), r.Share
	probe := r.Share * float64(l.Probe) / 100
	for i := len(l.Steps) - 1; i >= 0; i-- {
		if s := float64(l.Steps[i]); s < taken-0.5 {
			want = max(r.Share*(1-s/100), probe)
			if want > current+1e-6 {
				break
			}
			want = r.Share
		}
	}
	if current < probe-1e-6 { // it was emptied: nothing that it counts has said yet that it is well
		want = probe
	}
	words := fmt.Sprintf("%s %% of the traffic to %s instead of %s %%: it has been healthy for %s", number(want), r.Name, number(current), well.Round(time.Second))
	f.options = append(f.options, decide.Option{
		Action: v.action(assay.ActionRestore, assay.LeverRegion, r.Name, current, want), Words: words, Reversible: true,
		// Users far from their region wait longer; if it still fails, what comes back fails.
		Own: -5 * idle, Risk: map[decide.Hypothesis]float64{decide.RegionFault: burnOf((want - current) / 100 * l.MaxBad)},
		Rule: &decide.Rule{Rank: 5, Fires: true, Words: words},
	})
}

// regionClue: two places that agree are evidence of a fault there; one without the
// other, or silence, is evidence that what is measured is wrong. While one region fails,
// that another is well says that the cause is none that all of them have.
func regionClue(name string, h regionHealth, one bool) decide.Clue {
	c := decide.Clue{Name: "region/" + name, Words: name + ": " + h.words, LogLR: map[decide.Hypothesis]float64{}}
	switch {
	case h.due.sure && !h.fails():
		c.Words = name + ": " + h.due.words
		c.LogLR[decide.RegionFault], c.LogLR[decide.NoFault] = 4, -3
	case !h.known:
		c.LogLR[decide.TelemetryFault] = 2
	case h.fails():
		c.LogLR[decide.RegionFault], c.LogLR[decide.NoFault], c.LogLR[decide.TelemetryFault] = 4, -3, -2
	case h.bad != h.elsewhere:
		c.LogLR[decide.TelemetryFault], c.LogLR[decide.RegionFault] = 1, 0.5
	case h.clear && one:
		c.LogLR[decide.Overload], c.LogLR[decide.BadDeploy], c.LogLR[decide.DependencySlow] = -1, -1, -1
	case h.clear:
		c.LogLR[decide.NoFault], c.LogLR[decide.RegionFault] = 1, -1
	}
	return c
}
