package infer

import "math"

// Arm is what one arm counted. What is weighted has no whole number of events: counts may
// be fractions.
type Arm struct {
	Events   float64 `json:"events"`
	Exposure float64 `json:"exposure"`
}

// Difference is the anytime confidence interval of how much the treated arm's rate is
// above the control's: every difference that some pair of rates has which a mixture over
// all pairs (Beta ½, ½ for each) does not reject at level alpha, so that it holds the true
// one at every look together with probability 1−alpha. Exact for independent Bernoulli
// events by Ville's inequality. Unlike a Comparison's it is of rates and not of their
// ratio, so it says something also where one arm has no bad event at all. Evidence of
// events that come in bursts is divided by their dispersion, and is then as good as that
// was measured. Without exposure, or for counts that cannot be, it is everything: −1 to 1.
func Difference(treated, control Arm, dispersion, alpha float64) (low, high float64) {
	if !treated.valid() || !control.valid() || !(alpha > 0 && alpha < 1) {
		return -1, 1
	}
	phi := max(dispersion, 1)
	a, b := split(treated, phi), split(control, phi)
	// ln of the mixture, and what the likelihood of a pair must be below to be rejected.
	least := a.mixture() + b.mixture() + math.Log(alpha)
	return -apart(b, a, least), apart(a, b, least)
}

func (a Arm) valid() bool {
	return a.Exposure > 0 && a.Events >= 0 && a.Events <= a.Exposure && a.Exposure <= ExposureLimit
}

// shared is what an arm counted, divided by a dispersion: with the event, and without.
type shared struct{ with, without float64 }

func split(a Arm, phi float64) shared {
	return shared{a.Events / phi, (a.Exposure - a.Events) / phi}
}

func (s shared) mixture() float64 {
	return logBeta(s.with+0.5, s.without+0.5) - math.Log(math.Pi)
}

// likelihood is ln of that of a rate.
func (s shared) likelihood(r float64) (l float64) {
	if s.with > 0 {
		l += s.with * math.Log(r)
	}
	if s.without > 0 {
		l += s.without * math.Log1p(-r)
	}
	return l
}

// above is the rate above what was seen at which the likelihood falls by slope for each
// unit, and below the one at which it rises so.
func (s shared) above(slope float64) float64 {
	n := s.with + s.without - slope
	root := math.Sqrt(n*n + 4*slope*s.with)
	if n > 0 {
		return 2 * s.with / (n + root)
	}
	return (root - n) / (2 * slope)
}

func (s shared) below(slope float64) float64 {
	n := s.with + s.without + slope
	return 2 * s.with / (n + math.Sqrt(max(0, n*n-4*slope*s.with)))
}

// The slope is looked for between these, as logarithms, and first this far around where it
// would be if the likelihood were normal.
const (
	leastSlope   = -20.0
	mostSlope    = 45.0
	aroundSlope  = 1.5
	slopeHalving = 16
)

// apart is the greatest a−b that is plausible. At it both likelihoods fall equally steeply,
// so there is one slope to look for. It ends on the outer side: only ever too wide.
func apart(a, b shared, least float64) float64 {
	plausible := func(t float64) bool {
		slope := math.Exp(t)
		return a.likelihood(a.above(slope))+b.likelihood(b.below(slope)) > least
	}
	from, to, halvings := leastSlope, mostSlope, 2*slopeHalving
	guess := math.Log(2*max(a.best()+b.best()-least, 1e-9)/max(a.variance()+b.variance(), 1e-18)) / 2
	if near, far := guess-aroundSlope, guess+aroundSlope; near > from && far < to && plausible(near) && !plausible(far) {
		from, to, halvings = near, far, slopeHalving
	}
	for range halvings {
		if t := (from + to) / 2; plausible(t) {
			from = t
		} else {
			to = t
		}
	}
	slope := math.Exp(to)
	return min(a.above(slope)-b.below(slope), 1)
}

// best is ln of the greatest likelihood, and variance that of the rate, if there were half
// an event more of each.
func (s shared) best() float64 { return s.likelihood(s.with / (s.with + s.without)) }

func (s shared) variance() float64 {
	n := s.with + s.without + 1
	return (s.with + 0.5) * (s.without + 0.5) / (n * n * n)
}

func logBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}
