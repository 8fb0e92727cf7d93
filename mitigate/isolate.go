package mitigate

import (
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// FairShares divides a capacity by max-min fairness: everybody gets what they ask for
// up to their part by weight, what they leave is divided again, and nobody gets less
// than the guarantee. Shares of guarantees beyond the capacity shrink in proportion.
func FairShares(capacity float64, demand, weight, guarantee []float64) []float64 {
	out := make([]float64, len(demand))
	left := capacity
	for i := range demand {
		out[i] = min(demand[i], guarantee[i])
		left -= out[i]
	}
	if left < 0 {
		for i := range out {
			out[i] *= capacity / (capacity - left)
		}
		return out
	}
	open := make([]bool, len(demand))
	for i := range demand {
		open[i] = demand[i] > out[i] && weight[i] > 0
	}
	for left > 1e-9 {
		sum := 0.0
		for i := range open {
			if open[i] {
				sum += weight[i]
			}
		}
		if sum == 0 {
			break
		}
		level, given := left/sum, 0.0
		for i := range open {
			if !open[i] {
				continue
			}
			more := min(level*weight[i], demand[i]-out[i])
			out[i] += more
			given += more
			open[i] = demand[i]-out[i] > 1e-9
		}
		left -= given
		if given <= 1e-9 {
			break
		}
	}
	return out
}

// isolate holds a tenant that takes more than its share while the others suffer. Both
// are needed: a tenant that uses much of an idle service disturbs nobody, and a slow
// service where nobody exceeds a share is not a tenant's fault.
func (v *view) isolate(l *policy.IsolateLaw) (f finding) {
	f.indicator = "latency"
	usage, total := make([]float64, len(l.Tenants)), 0.0
	weight, guarantee := make([]float64, len(l.Tenants)), make([]float64, len(l.Tenants))
	for i, t := range l.Tenants {
		x, ok := v.need(&f, "usage", t.Name)
		if !ok {
			return f
		}
		usage[i], weight[i], guarantee[i] = x, t.Weight, t.Guarantee
		total += x
	}
	contended, why, ok := v.contention(&f, l, total)
	if !ok {
		return f
	}
	f.notes = append(f.notes, why)
	quiet := v.held("uncontended", !contended)
	fair := FairShares(isolateFull*l.Capacity, usage, weight, guarantee)
	more := FairShares(isolateMore*l.Capacity, usage, weight, guarantee)
	sum := 0.0
	for _, w := range weight {
		sum += w
	}
	for i, t := range l.Tenants {
		part := max(l.Capacity*weight[i]/sum, guarantee[i])
		noisy := contended && usage[i] > l.Factor*part
		f.clues = append(f.clues, tenantClue(t.Name, usage[i], part, noisy))
		current, there := v.setting(&f, assay.LeverQuota, t.Name)
		if !there {
			return f
		}
		stands := current
		if current <= 0 { // no limit
			current = l.Capacity
		}
		want := current
		switch {
		case noisy:
			want = min(current, max(fair[i], part))
		// What a tenant that is held asks for can be seen: while all of it together is more than
		// there is, to let it have that would only make it disturb the others again.
		case quiet >= isolateQuiet && (usage[i] <= l.Factor*part || total <= l.Capacity):
			want = l.Capacity
		// It has what is left over, as far as the others do not feel it.
		case quiet >= isolateDrained && more[i] > 1.05*current:
			want = min(more[i], l.Capacity)
		}
		v.tenant(&f, l, t.Name, stands, current, want, weight[i]/sum, noisy)
	}
	f.trouble = contended
	return f
}

// contention says whether tenants disturb each other now.
func (v *view) contention(f *finding, l *policy.IsolateLaw, total float64) (yes bool, words string, ok bool) {
	if v.declared("latency") && l.MaxLatency > 0 {
		p95, ok := v.need(f, "latency", "")
		return p95 > l.MaxLatency, fmt.Sprintf("p95 is %s s, the bound is %s s", number(p95), number(l.MaxLatency)), ok
	}
	saturation := total / max(l.Capacity, 1e-9)
	if v.declared("saturation") {
		if saturation, ok = v.need(f, "saturation", ""); !ok {
			return false, "", false
		}
	}
	return saturation > l.MaxSaturation, fmt.Sprintf("%.0f %% of the capacity is in use, the bound is %.0f %%", 100*saturation, 100*l.MaxSaturation), true
}

const (
	isolateQuiet   = 5 * time.Minute // without contention, before anybody is held less
	isolateMore    = 0.95            // of the capacity is divided once what waited is gone
	isolateDrained = time.Minute     // without contention, until it is: damping waits besides
	isolateFull    = 0.85            // of the capacity is divided while somebody is held: a full service is slow
)

// tenant is the option for one tenant, whose quota is moved from where it stands, which
// counts as current. One that is not held may use the whole capacity.
func (v *view) tenant(f *finding, l *policy.IsolateLaw, name string, stands, current, want, share float64, noisy bool) {
	d := newDamping(Down, 0, l.Capacity)
	d.Protect = Pace{DeadBand: 0.05, Share: 1, Period: 10 * time.Second}
	d.Relax = Pace{DeadBand: 0.05, Window: 5 * time.Minute, Share: 0.25, Step: 0.05 * l.Capacity, Period: time.Minute}
	d.Free = true
	set := v.settle(d, assay.LeverQuota, name, current, want)
	if noisy {
		f.burn = max(f.burn, burnOf(0.05))
	}
	if set.To == current {
		return
	}
	words := fmt.Sprintf("tenant %s gets %s requests/s instead of %s: its fair part of %s", name, number(set.To), number(current), number(l.Capacity))
	o := decide.Option{
		Action: v.action(assay.ActionAdjust, assay.LeverQuota, name, stands, set.To), Words: words, Reversible: true, Blast: share,
		Gone: map[decide.Hypothesis]decide.Size{decide.NoisyTenant: {Mean: 0.9, SD: 0.1}, decide.Overload: {Mean: 0.4, SD: 0.3}, decide.Attack: {Mean: 0.5, SD: 0.3}},
		Rule: &decide.Rule{Rank: 1, Fires: true, Words: words},
	}
	if set.To > current {
		o.Action.Kind, o.Gone, o.Blast = assay.ActionRestore, nil, 0
		o.Words = fmt.Sprintf("tenant %s gets %s requests/s instead of %s: nobody has been disturbed for 5m", name, number(set.To), number(current))
		o.Rule.Words, o.Rule.Rank = o.Words, 5
	}
	f.options = append(f.options, o)
}

func tenantClue(name string, usage, part float64, noisy bool) decide.Clue {
	lr := -0.2
	if noisy {
		lr = 3
	}
	return decide.Clue{
		Name: "tenant/" + name, Source: "usage", Words: fmt.Sprintf("tenant %s uses %s requests/s of its part of %s", name, number(usage), number(part)),
		LogLR: map[decide.Hypothesis]float64{decide.NoisyTenant: lr, decide.NoFault: -lr / 2},
	}
}

// declared keeps of an isolate law's inputs what belongs to its tenants: of others, of whom
// there may be thousands, nothing is decided.
func (in *Inputs) declared(l *policy.IsolateLaw) {
	stranger := func(scope string) bool {
		return scope != "" && !slices.ContainsFunc(l.Tenants, func(t policy.IsolateTenant) bool { return t.Name == scope })
	}
	in.Values = slices.DeleteFunc(in.Values, func(x Value) bool { return stranger(x.Scope) })
	in.Settings = slices.DeleteFunc(in.Settings, func(x Setting) bool { return x.Lever == assay.LeverQuota && stranger(x.Scope) })
}
