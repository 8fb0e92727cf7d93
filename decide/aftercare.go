package decide

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// doubt is how often the interval that a rollout's outcome is judged by may miss. What is
// looked at beside it, to see whether a promotion did harm, shares as much.
const doubt = 0.01

// Target is what a rollout's outcome is judged by: bad requests, requests above a bound, or
// a count, value or gauge.
type Target struct {
	Indicator Indicator
	Bound     float64 // of a latency's histogram, 0 without one
}

// Targeted is what the outcome of a rollout with these indicators is judged by, and the place
// of its indicator: what most of the evidence of harm rests on if stopped, the decision that a
// version was stopped after, shows harm; otherwise, and without one, what people look at: the
// first indicator that counts bad requests without bounds, or the first of all.
func Targeted(indicators []Indicator, stopped *assay.Decision) (t Target, at int) {
	at = max(0, slices.IndexFunc(indicators, Indicator.Rated))
	most := Decisive(stopped)
	if i := tested(indicators, most); i >= 0 {
		at, t.Bound = i, stopped.Tests[most].Bound
	}
	if at < len(indicators) {
		t.Indicator = indicators[at]
	}
	return t, at
}

// Placed is a target and the place of its indicator among those of the plan.
type Placed struct {
	Target
	At int
}

// Besides is what else a plan watches, beside the indicator at a place: a promotion is taken
// for no single one of them, and does harm if any of them is too much worse since.
func Besides(indicators []Indicator, at int) (out []Placed) {
	for i, x := range indicators {
		if i == at {
			continue
		}
		if len(x.Bounds) == 0 {
			out = append(out, Placed{Target{Indicator: x}, i})
		}
		for _, b := range x.Bounds {
			out = append(out, Placed{Target{Indicator: x, Bound: b}, i})
		}
	}
	return out
}

// Decisive is the place of the test that most of the evidence of harm rests on, among the
// tests of a decision that shows harm; -1 of one that does not, and of none.
func Decisive(d *assay.Decision) int {
	if d == nil || !slices.ContainsFunc(d.Candidates, func(c assay.Candidate) bool { return c.Action.Kind == assay.ActionAbort && c.Eligible }) {
		return -1
	}
	return heaviest(d.Tests)
}

// heaviest is the test with most of the combined evidence of harm, -1 if there is none.
func heaviest(tests []assay.TestValue) int {
	most := -1
	for i := range tests {
		if most < 0 || tests[i].Harm+math.Log(tests[i].Weight) > tests[most].Harm+math.Log(tests[most].Weight) {
			most = i
		}
	}
	return most
}

// tested is the indicator that the n-th test of a plan is of, -1 if there is none.
func tested(indicators []Indicator, n int) int {
	if n < 0 {
		return -1
	}
	for i := range indicators {
		if n -= max(1, len(indicators[i].Bounds), len(indicators[i].Classes)); n < 0 {
			return i
		}
	}
	return -1
}

// Amount is how much of what a target counts came to an exposure: bad requests of all, or
// events to requests. Of values and gauges it is how far they are from the best, in units of
// the whole way, to as many values.
type Amount struct{ Of, To float64 }

// plus adds what one reading has; a reading that tells nothing of the target adds nothing.
func (a Amount) plus(t Target, r assay.Reading) Amount {
	i := &t.Indicator
	switch {
	case i.Kind == KindValue:
		// In doubles, because a test's whole units are no mean that people know.
		share := r.Sum / i.Max
		if i.Less {
			share = max(0, float64(r.Total)-share)
		}
		return Amount{a.Of + share, a.To + float64(r.Total)}
	case !i.plain() && t.Bound == 0:
		return Amount{a.Of + float64(badOf(r, i.Classes)), a.To + float64(r.Total)}
	}
	carry := 0.0
	c, refused := count(i, &test{bound: t.Bound}, &r, &carry)
	if refused != "" {
		return a
	}
	of, to := float64(c.Events), float64(c.Exposure)
	if i.Kind == KindGauge {
		of, to = of/infer.ValueUnit, to/infer.ValueUnit
	}
	return Amount{a.Of + of, a.To + to}
}

// badOf counts the bad events that a plan tests: all, or those of its classes.
func badOf(r assay.Reading, classes []string) (n uint64) {
	if len(classes) == 0 {
		return r.Bad()
	}
	for _, c := range r.Classes {
		if slices.Contains(classes, c.Name) {
			n += c.Count
		}
	}
	return n
}

// Total adds up what readings have of one version, or of all versions together ("").
func (t Target) Total(readings []assay.Reading, version string) (sum Amount) {
	for _, r := range readings {
		if version == "" || r.Version == version {
			sum = sum.plus(t, r)
		}
	}
	return sum
}

// Aftercare is what a rollout's last action is judged by.
type Aftercare struct {
	Target  Target
	Canary  Amount  // its whole exposure
	Control Amount  // the old version at the same time
	After   Amount  // the whole service since the action
	Margin  float64 // how many times worse is too bad
	Doubt   float64 // how often its intervals may miss; 0 is a hundredth
}

// JudgeAll judges an action by the first, and by the others whether it did harm: a harm wins,
// and is the outcome. at is the place of what the outcome is of.
func JudgeAll(first Aftercare, others []Aftercare, a assay.Action, now time.Time) (out assay.ActionOutcome, at int) {
	out = first.Judge(a, now)
	for i, r := range others {
		if out.Effect == assay.EffectHarmed {
			break
		}
		r.Doubt = doubt / float64(len(others))
		if x := r.Judge(a, now); x.Effect == assay.EffectHarmed {
			out, at = x, 1+i
		}
	}
	return out, at
}

// Judge closes the loop of a rollout's last action. After an abort the service is held
// against what the new version did at the same time as the old, after a finish against
// what the old version did: both arms had the same traffic, so this is a comparison with
// what would have been, and not with the past.
func (r Aftercare) Judge(a assay.Action, now time.Time) assay.ActionOutcome {
	out := assay.ActionOutcome{Action: a, Time: now.UTC(), Effect: assay.EffectInconclusive}
	would, which := r.Canary, "new"
	if a.Kind == assay.ActionFinish {
		would, which = r.Control, "old"
	}
	if r.After.To == 0 || would.To == 0 {
		out.Reason = "nothing was seen after the action"
		if would.To == 0 {
			out.Reason = fmt.Sprintf("nothing was seen of the %s version", which)
		}
		return out
	}
	is, was := r.interval(r.After), r.interval(would)
	if r.Target.Indicator.reversed() { // more is better
		is, was = is.turned(), was.turned()
	}
	change := was.to(is)
	switch better, worse := change.high < 0, change.low > 0; {
	case better:
		out.Effect = assay.EffectHelped
	case a.Kind == assay.ActionFinish && is.low > r.tooBad(was).high, a.Kind != assay.ActionFinish && worse:
		out.Effect = assay.EffectHarmed
	case a.Kind == assay.ActionFinish && is.high < r.tooBad(was).high:
		out.Effect = assay.EffectNone
	}
	is, was = r.inUnit(is), r.inUnit(was)
	change = was.to(is)
	out.Change, out.Interval = new(change.mid), [2]float64{change.low, change.high}
	out.Reason = r.words(is, was, change, would, which)
	return out
}

// between is an estimate and its interval.
type between struct{ low, mid, high float64 }

func (s between) turned() between { return between{-s.high, -s.mid, -s.low} }

// tooBad is the margin times as bad as the old version was. Above a bound it is the odds that
// are so many times as bad, as in its test: half of all requests may be above.
func (r Aftercare) tooBad(was between) between {
	if r.Target.Bound == 0 {
		return was.times(r.Margin)
	}
	odds := func(p float64) float64 { return r.Margin * p / (1 - p + r.Margin*p) }
	return between{odds(was.low), odds(was.mid), odds(was.high)}
}

// times is how bad a times as bad would be. What is turned has a negative sign: a times as
// bad is then the a-th part.
func (s between) times(a float64) between {
	if s.mid < 0 {
		a = 1 / a
	}
	return between{a * s.low, a * s.mid, a * s.high}
}

// to is the difference from s to another, whose interval is that of two arms which were
// estimated one by one (square-and-add).
func (s between) to(other between) between {
	mid := other.mid - s.mid
	return between{mid - math.Hypot(other.mid-other.low, s.high-s.mid), mid, mid + math.Hypot(other.high-other.mid, s.mid-s.low)}
}

// interval is that of a rate whose counts are worth less by the dispersion: exact for a
// share, and for events of which one exposure may have many. What is no whole number is
// rounded away from the estimate.
func (r Aftercare) interval(a Amount) between {
	d, confidence := max(1, r.Target.Indicator.Dispersion), 1-r.doubt()
	if r.Target.Indicator.Kind == KindCount {
		low, _ := infer.Garwood(uint64(math.Floor(a.Of/d)), confidence)
		_, high := infer.Garwood(uint64(math.Ceil(a.Of/d)), confidence)
		return between{low * d / a.To, a.Of / a.To, high * d / a.To}
	}
	n := max(1, math.Round(a.To/d))
	down, up := math.Round(a.Of/d), math.Round(a.Of/d)
	if r.Target.Indicator.plain() {
		down, up = math.Floor(a.Of/d), math.Ceil(a.Of/d)
	}
	low, _ := infer.ClopperPearson(uint64(min(down, n)), uint64(n), confidence)
	_, high := infer.ClopperPearson(uint64(min(up, n)), uint64(n), confidence)
	mid := a.Of / a.To
	return between{min(low, mid), mid, max(high, mid)}
}

func (r Aftercare) doubt() float64 { return cmp.Or(r.Doubt, doubt) }

// inUnit gives what is known of a rate in the unit that people know it in.
func (r Aftercare) inUnit(s between) between {
	i := &r.Target.Indicator
	switch {
	case i.reversed():
		s = s.turned()
	case i.Kind == KindValue || i.Kind == KindGauge:
		s = between{i.within(s.low), i.within(s.mid), i.within(s.high)}
		s.low, s.high = min(s.low, s.high), max(s.low, s.high)
	}
	if i.PerTime {
		const hour = float64(time.Hour / time.Millisecond)
		s = between{hour * s.low, hour * s.mid, hour * s.high}
	}
	return s
}

// words say what was compared, with the numbers.
func (r Aftercare) words(is, was, change between, would Amount, which string) string {
	i := &r.Target.Indicator
	sure := fmt.Sprintf("%.4g", 100*(1-r.doubt()))
	if !i.plain() {
		bad, name := "bad", ""
		if r.Target.Bound > 0 {
			bad, name = "above "+number(r.Target.Bound)+" s", i.Name+": "
		}
		return fmt.Sprintf("%s%.2f %% of %.0f requests are %s since, %.2f %% of %.0f were with the %s version: %+.2f points, %s %% between %+.2f and %+.2f",
			name, 100*is.mid, r.After.To, bad, 100*was.mid, would.To, which, 100*change.mid, sure, 100*change.low, 100*change.high)
	}
	unit := i.measures()
	return fmt.Sprintf("%s: %s since, %s with the %s version: %+.3g, %s %% between %+.3g and %+.3g",
		i.Name, unit.Words(is.mid), unit.Words(was.mid), which, change.mid, sure, change.low, change.high)
}
