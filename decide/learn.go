package decide

import (
	"cmp"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
)

// Result is one judged action, as it is learned from.
type Result struct {
	Service    string       `json:"service"`
	Action     assay.Action `json:"action"`
	Hypothesis Hypothesis   `json:"hypothesis"` // that it was taken for
	Effect     assay.Effect `json:"effect"`
	Gone       float64      `json:"gone"` // share of what was bad that went away; negative: it got worse
	Time       time.Time    `json:"time"`
}

// Lesson is what was learned of one kind of action on one lever, for one hypothesis and
// service. Sums fade with the half-life; counts do not.
type Lesson struct {
	Kind       assay.ActionKind `json:"kind"`
	Lever      assay.Lever      `json:"lever,omitempty"`
	Hypothesis Hypothesis       `json:"hypothesis"`
	Service    string           `json:"service,omitempty"` // empty: of all other services together

	N      float64   `json:"n"`      // judged, faded
	Sum    float64   `json:"sum"`    // of Gone, faded
	Square float64   `json:"square"` // of Gone², faded
	Helped float64   `json:"helped"` // faded
	Harmed float64   `json:"harmed"` // faded
	At     time.Time `json:"at"`     // when the sums were last faded
	// Idle is how often in a row it had no effect, the last time at IdleAt.
	Idle   int       `json:"idle,omitempty"`
	IdleAt time.Time `json:"idle_at,omitzero"`

	Attempts  int `json:"attempts"`  // judged with an answer: all but inconclusive and confounded
	Successes int `json:"successes"` // of those, that helped
}

// Learned is what judged actions taught. It is a value: the caller stores it. Lessons
// are ascending by kind, lever, hypothesis and service.
type Learned struct {
	HalfLife time.Duration `json:"half_life"`
	Lessons  []Lesson      `json:"lessons,omitempty"`
}

// MaxLessons bounds what is remembered; the longest untouched are forgotten first.
const MaxLessons = 10_000

// How much what a strategy's law declares weighs against what was seen.
const (
	lawWeight   = 4 // the law's size counts like so many judged actions
	lawShape    = 2 // of the inverse gamma prior of the variance
	poolWeight  = 8 // all other services together count like at most so many
	lawSuccess  = 3 // of lawSuccess+lawFailure, for a hypothesis that the law names
	lawFailure  = 1
	idleLimit   = 2    // times without effect in a row, then it is not tried for that hypothesis
	harmLimit   = 0.25 // probability of harm that disables an action
	harmPrior   = 1    // of harmPriorOf: one in ten actions harms until more is known
	harmPriorOf = 10
)

// NewLearned is the empty state with the default half-life.
func NewLearned() Learned { return Learned{HalfLife: 90 * 24 * time.Hour} }

// compare orders lessons; only their keys count.
func (l Lesson) compare(o Lesson) int {
	return cmp.Or(cmp.Compare(l.Kind, o.Kind), cmp.Compare(l.Lever, o.Lever), cmp.Compare(l.Hypothesis, o.Hypothesis), cmp.Compare(l.Service, o.Service))
}

// faded is the lesson at now: its sums weigh half as much after every half-life.
func (l Lesson) faded(half time.Duration, now time.Time) Lesson {
	if age := now.Sub(l.At); age > 0 {
		f := math.Exp2(-float64(age) / float64(half))
		l.N, l.Sum, l.Square, l.Helped, l.Harmed = l.N*f, l.Sum*f, l.Square*f, l.Helped*f, l.Harmed*f
		l.At = now
	}
	return l
}

// Check refuses a state that Learn would not have made; CodeInvalid.
func (l Learned) Check() error {
	if l.HalfLife <= 0 || len(l.Lessons) > 2*MaxLessons {
		return assay.Errorf(assay.CodeInvalid, "what was learned has the half-life %s and %d lessons", l.HalfLife, len(l.Lessons))
	}
	for i, o := range l.Lessons {
		switch {
		case i > 0 && l.Lessons[i-1].compare(o) >= 0:
			return assay.Errorf(assay.CodeInvalid, "what was learned is not in ascending order at lesson %d", i)
		case !(o.N >= 0 && o.N < 1e12 && o.Helped >= 0 && o.Helped <= o.N*(1+1e-9) && o.Harmed >= 0 && o.Harmed <= o.N*(1+1e-9)):
			return assay.Errorf(assay.CodeInvalid, "lesson %d counts %v helped and %v harmed of %v", i, o.Helped, o.Harmed, o.N)
		case !(math.Abs(o.Sum) < 1e15 && o.Square >= 0 && o.Square < 1e15):
			return assay.Errorf(assay.CodeInvalid, "lesson %d has the sums %v and %v", i, o.Sum, o.Square)
		}
	}
	return nil
}

// Learn is the state after one more judged action. What was inconclusive or confounded
// teaches nothing. l is not changed. CodeInvalid for a result that names no service,
// kind or known hypothesis, or whose size is not a number.
func (l Learned) Learn(r Result) (Learned, error) {
	if r.Service == "" || !r.Action.Kind.Changes() || !slices.Contains(hypotheses[:], r.Hypothesis) || !(math.Abs(r.Gone) <= 1e3) {
		return l, assay.Errorf(assay.CodeInvalid, "nothing can be learned of %s for %q with the size %v", r.Action.Kind, r.Hypothesis, r.Gone)
	}
	if r.Effect == assay.EffectInconclusive || r.Effect == assay.EffectConfounded {
		return l, nil
	}
	key := Lesson{Kind: r.Action.Kind, Lever: r.Action.Lever, Hypothesis: r.Hypothesis, Service: r.Service}
	l.Lessons = slices.Clone(l.Lessons)
	i, found := slices.BinarySearchFunc(l.Lessons, key, Lesson.compare)
	if !found {
		key.At = r.Time.UTC()
		l.Lessons = slices.Insert(l.Lessons, i, key)
	}
	o := l.Lessons[i].faded(l.HalfLife, r.Time.UTC())
	o.N, o.Sum, o.Square = o.N+1, o.Sum+r.Gone, o.Square+r.Gone*r.Gone
	o.Attempts++
	switch r.Effect {
	case assay.EffectHelped:
		o.Helped, o.Successes, o.Idle = o.Helped+1, o.Successes+1, 0
	case assay.EffectHarmed:
		o.Harmed, o.Idle = o.Harmed+1, 0
	default:
		o.Idle, o.IdleAt = o.Idle+1, r.Time.UTC()
	}
	l.Lessons[i] = o
	for len(l.Lessons) > MaxLessons {
		oldest := 0
		for i, o := range l.Lessons {
			if o.At.Before(l.Lessons[oldest].At) {
				oldest = i
			}
		}
		l.Lessons = slices.Delete(l.Lessons, oldest, oldest+1)
	}
	return l, nil
}

// About is what l says of options of one service: its own lessons, and for each those
// of all other services together. It is what a Problem carries.
func (l Learned) About(service string, options []Option, now time.Time) Learned {
	out := Learned{HalfLife: l.HalfLife}
	wanted := func(k Lesson) bool {
		return slices.ContainsFunc(options, func(o Option) bool { return o.Action.Kind == k.Kind && o.Action.Lever == k.Lever })
	}
	for _, k := range l.Lessons {
		if !wanted(k) {
			continue
		}
		if k.Service == service {
			out.Lessons = append(out.Lessons, k)
			continue
		}
		k = k.faded(l.HalfLife, now.UTC())
		k.Service, k.Idle, k.IdleAt, k.At = "", 0, time.Time{}, now.UTC()
		i, found := slices.BinarySearchFunc(out.Lessons, k, Lesson.compare)
		if !found {
			out.Lessons = slices.Insert(out.Lessons, i, k)
			continue
		}
		o := &out.Lessons[i]
		o.N, o.Sum, o.Square, o.Helped, o.Harmed = o.N+k.N, o.Sum+k.Sum, o.Square+k.Square, o.Helped+k.Helped, o.Harmed+k.Harmed
		o.Attempts, o.Successes = o.Attempts+k.Attempts, o.Successes+k.Successes
	}
	slices.SortFunc(out.Lessons, Lesson.compare)
	return out
}

// Success is how many judged actions of a service helped, of how many that could be
// judged; an empty service is all of them.
func (l Learned) Success(service string) (helped, attempts int) {
	for _, k := range l.Lessons {
		if service == "" || k.Service == service {
			helped, attempts = helped+k.Successes, attempts+k.Attempts
		}
	}
	return helped, attempts
}

// posterior is a normal-inverse-gamma belief about the size of an effect.
type posterior struct{ mean, weight, shape, scale float64 }

// lawful is the belief that a law declares: its predictive spread is the declared one.
func lawful(s Size) posterior {
	return posterior{s.Mean, lawWeight, lawShape, s.SD * s.SD * (lawShape - 1) * lawWeight / (lawWeight + 1)}
}

// with is the belief after n sizes with a mean and a variance.
func (p posterior) with(n, mean, variance float64) posterior {
	if n <= 0 {
		return p
	}
	d := mean - p.mean
	return posterior{
		mean: p.mean + d*n/(p.weight+n), weight: p.weight + n, shape: p.shape + n/2,
		scale: p.scale + n*variance/2 + p.weight*n*d*d/(2*(p.weight+n)),
	}
}

// next is what the next action is expected to do, and mean how well its mean is known.
func (p posterior) next() (next, mean Size) {
	v := p.scale / (p.shape - 1)
	return Size{p.mean, math.Sqrt(v * (p.weight + 1) / p.weight)}, Size{p.mean, math.Sqrt(v / p.weight)}
}

// sample is the lesson's data, weighing at most like most actions.
func (l *Lesson) sample(most float64) (n, mean, variance, helped float64) {
	if l.N <= 0 {
		return 0, 0, 0, 0
	}
	n, mean = min(l.N, most), l.Sum/l.N
	return n, mean, max(0, l.Square/l.N-mean*mean), l.Helped * n / l.N
}

// insight is what is known of one option for one hypothesis.
type insight struct {
	next, mean Size    // of the share that goes away
	success    float64 // probability that it helps
	suppressed bool    // it had no effect too often
}

// insights are those of an option by hypothesis, and the probability that it harms.
func (l Learned) insights(o *Option, service string, now time.Time) (out [len(hypotheses)]insight, harm float64) {
	kind := Lesson{Kind: o.Action.Kind, Lever: o.Action.Lever}
	from, _ := slices.BinarySearchFunc(l.Lessons, kind, Lesson.compare)
	var own, pool [len(hypotheses)]Lesson
	harmed, judged := float64(harmPrior), float64(harmPriorOf)
	for n := from; n < len(l.Lessons); n++ {
		k := &l.Lessons[n]
		if k.Kind != kind.Kind || k.Lever != kind.Lever {
			break
		}
		if k.Service != service && k.Service != "" {
			continue
		}
		i := slices.Index(hypotheses[:], k.Hypothesis)
		switch {
		case i < 0:
		case k.Service == "":
			pool[i] = k.faded(l.HalfLife, now)
		default:
			own[i] = k.faded(l.HalfLife, now)
			harmed, judged = harmed+own[i].Harmed, judged+own[i].N
		}
	}
	for i, h := range hypotheses {
		law, ok := o.Gone[h]
		if !ok {
			continue
		}
		in := &out[i]
		n, mean, variance, helped := pool[i].sample(poolWeight)
		p := lawful(law).with(n, mean, variance)
		good, all := lawSuccess+helped, lawSuccess+lawFailure+n
		if law.Mean <= 0 {
			good = helped // by its own law it does not help
		}
		n, mean, variance, helped = own[i].sample(math.Inf(1))
		p = p.with(n, mean, variance)
		in.next, in.mean = p.next()
		in.success = (good + helped) / (all + n)
		if in.suppressed = own[i].Idle >= idleLimit && now.Sub(own[i].IdleAt) < l.HalfLife; in.suppressed {
			in.next, in.mean, in.success = Size{min(in.next.Mean, 0), in.next.SD}, Size{min(in.mean.Mean, 0), in.mean.SD}, 0
		}
	}
	return out, harmed / judged
}

// Guess is the share of what is bad that is expected to go away with an option, if a
// hypothesis is true.
func (l Learned) Guess(o Option, h Hypothesis, service string, now time.Time) Size {
	known, _ := l.insights(&o, service, now)
	if i := slices.Index(hypotheses[:], h); i >= 0 {
		return known[i].next
	}
	return Size{}
}

// Below is the probability that a normal of this size gives to less than v.
func (s Size) Below(v float64) float64 {
	if s.SD <= 0 {
		return 0.5
	}
	return normalCDF((v - s.Mean) / s.SD)
}
