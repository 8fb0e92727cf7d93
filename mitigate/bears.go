package mitigate

import (
	"fmt"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

// Windows that signals are measured over: how long they still show the time before.
const (
	latencyWindow = time.Minute
	rateWindow    = time.Minute
)

// outdated lets nothing cut again for what was measured before the last cut: it cannot
// show what that cut did, and who cuts for it once more cuts too far. A quantile over a
// window shows the time before it for as long as the window. It waits for that only if the
// database is seen to be relieved meanwhile, and not for ever: otherwise it is all there is.
func (v *view) outdated(f *finding, l *policy.ThrottleLaw, all []limit, current float64) {
	late := v.held("latency-late", slices.ContainsFunc(all, func(x limit) bool { return x.signal == "latency" && x.trouble }))
	moves := v.next.Dampers[assay.Action{Lever: l.Lever}.Target()].Moves
	if len(moves) == 0 || moves[len(moves)-1].To >= moves[len(moves)-1].From {
		return
	}
	cut := moves[len(moves)-1].Time
	relieved := slices.ContainsFunc(all, func(x limit) bool {
		return x.signal == "db_utilisation" && !x.trouble && v.measured(x.signal).After(cut)
	})
	for i := range all {
		x, at := &all[i], v.measured(all[i].signal)
		old := !at.After(cut)
		if x.signal == "latency" {
			old = relieved && late < 2*latencyWindow && at.Sub(cut) < latencyWindow
		}
		if old && x.want < current {
			x.want = current
			f.held = append(f.held, fmt.Sprintf("%s cuts nothing more: it shows the time before the last cut", x.by))
		}
	}
}

// measured is the time of the newest sample of a signal that is one number.
func (v *view) measured(name string) (t time.Time) {
	for _, x := range v.in.Values {
		if x.Name == name && x.Scope == "" && x.Time.After(t) {
			t = x.Time
		}
	}
	return t
}

// fullest is the utilisation of the database at which the wait is the budget.
func fullest(l *policy.ThrottleLaw) float64 { return l.WaitBudget / (l.ServiceTime + l.WaitBudget) }

// Names of what is remembered about a database.
const (
	dbBefore   = "db-before"   // its utilisation at the last sample,
	dbEarlier  = "db-earlier"  // and at the one before
	dbComing   = "db-coming"   // what that says of the next look
	dbSample   = "db-sample"   // when the last sample was taken
	dbManages  = "db-manages"  // requests a second that would fill it in calm times
	dbOutside  = "db-outside"  // seconds of a request that are not the database's
	dbWindow   = "db-window"   // seconds that samples are counted over
	dbSlower   = "db-slower"   // how many times slower it is than in calm times
	dbAnswered = "db-answered" // samples at the last look
	dbFell     = "db-fell"     // at how many looks in a row they fell although it was full
)

const (
	// nearlyFull is the share of the budgeted utilisation above which a limit is not raised
	// beyond what the database is known to bear: far below it, what is known may be wrong.
	nearlyFull = 0.8
	// slower is from when on a database counts as slower than in calm times.
	slower = 1.5
	// lessAnswered is the share of what was answered below which it is fewer than before.
	lessAnswered = 0.95
)

// bears moves the limit to where it belongs at once, if calm times have told where that
// is: by Little's law a full database lets through what fills it up to its budget, and as
// many requests are inside as come in the time that one takes then. It is set as soon as
// two rises in a row say that the next look will find the database above its budget: as
// long as it is not reached it holds nobody, and what waits above it helps nobody. One
// that answers fewer requests at the same utilisation became slower, and bears less.
func (v *view) bears(x *limit, l *policy.ThrottleLaw, rho, current, used float64) {
	coming := v.coming(rho)
	if l.Lever != assay.LeverConcurrency {
		return
	}
	steady := v.held("db-steady", math.Abs(rho-v.next.Last[dbEarlier]) <= 0.1*rho) >= rateWindow
	v.learn(l, rho, current, steady)
	times, known := v.slowed(l, rho, steady)
	if !known {
		return
	}
	service := l.ServiceTime * times
	most := l.WaitBudget / (service + l.WaitBudget)
	at := math.Ceil(most * v.next.Last[dbManages] / times * (v.next.Last[dbOutside] + service + l.WaitBudget))
	at = min(max(at, l.Min), l.Max)
	switch full := max(rho, coming) > most; {
	case full && at < current && (at < used || rho <= most):
		x.want, x.trouble, x.whole = at, true, true
		x.words += fmt.Sprintf("; %s at once are what it bears at %.1f times its usual time, and it is %.2f full at the next look", number(at), times, max(rho, coming))
	case !full && rho > nearlyFull*most:
		x.want = min(x.want, max(current, at))
	case !full && times == 1 && steady && at > current && used >= current/2:
		x.want, x.whole = at, true
		x.words += fmt.Sprintf("; %s at once are what it bears", number(at))
	}
}

// slowed is how many times slower the database is than in calm times, 1 if it is not. What
// is answered is counted over a window: it is known while the utilisation stands for as
// long, and before that it is at least what the count shows, if that falls while the
// database stays full.
func (v *view) slowed(l *policy.ThrottleLaw, rho float64, steady bool) (times float64, known bool) {
	manages, known := v.next.Last[dbManages]
	answered, ok := v.get("samples", "")
	window := v.next.Last[dbWindow]
	if !known || !ok || window <= 0 {
		return 1, known
	}
	fell := 0.0
	if answered < lessAnswered*v.next.Last[dbAnswered] && rho > nearlyFull*fullest(l) {
		fell = v.next.Last[dbFell] + 1
	}
	v.next.Last[dbAnswered], v.next.Last[dbFell] = answered, fell
	times = max(1, v.next.Last[dbSlower])
	if steady || fell >= 2 {
		now := manages * max(rho, 1e-9) * window / max(answered, 1e-9)
		if now < slower {
			now = 1
		}
		if !steady { // what was answered before is still among it
			now = max(now, times)
		}
		times = min(now, 1e6)
	}
	v.next.Last[dbSlower] = times
	return times, true
}

// coming is the utilisation at the next look if it goes on rising as it did twice, 0 if it
// does not rise.
func (v *view) coming(rho float64) float64 {
	last, at := v.next.Since[dbSample], v.measured("db_utilisation")
	if !at.After(last) {
		return v.next.Last[dbComing]
	}
	before, earlier, next := v.next.Last[dbBefore], v.next.Last[dbEarlier], 0.0
	if at.Sub(last) > minGap { // nobody knows how it came here
		before, earlier = 0, 0
	}
	if 0 < earlier && earlier < before && before < rho {
		next = rho + rho - before
	}
	v.next.Since[dbSample] = at
	v.next.Last[dbEarlier], v.next.Last[dbBefore], v.next.Last[dbComing] = before, rho, next
	return next
}

// learnt is the weight of one calm sample in what is known of a database.
const learnt = 0.05

// learn remembers what requests cost, from samples at which nothing is held and nothing
// changes: then as many go in as come out.
func (v *view) learn(l *policy.ThrottleLaw, rho, current float64, steady bool) {
	inflight, ok := v.get("inflight", "")
	rate := v.allLetIn(l)
	calm := steady && ok && rate > 0 && rho > 0.05 && rho < nearlyFull*fullest(l) && inflight < current/2
	if v.held("db-calm", calm) < rateWindow {
		return
	}
	answered, _ := v.get("samples", "")
	for _, x := range []struct {
		name string
		now  float64
	}{{dbManages, rate / rho}, {dbOutside, max(0, inflight/rate-l.ServiceTime/(1-rho))}, {dbWindow, answered / rate}} {
		if old, known := v.next.Last[x.name]; known {
			x.now = old + learnt*(x.now-old)
		}
		v.next.Last[x.name] = x.now
	}
}

// allLetIn is how many requests a second come while every class is let in, 0 if that is not
// so or not known.
func (v *view) allLetIn(l *policy.ThrottleLaw) (sum float64) {
	for _, c := range l.Classes {
		x, ok := v.get("demand", c.Name)
		held := slices.ContainsFunc(v.in.Settings, func(s Setting) bool {
			return s.Lever == assay.LeverClass && s.Scope == c.Name && s.Now < 100
		})
		if !ok || held {
			return 0
		}
		sum += x
	}
	return sum
}
