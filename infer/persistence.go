package infer

import (
	"cmp"
	"math"
	"slices"
)

// Index is the index of dispersion for counts (Cox and Lewis 1966): by how much more the
// counts of a stretch of time vary than those of independent events would. Work that stays
// with one version for a while, a user's visit or a job, makes it grow with the stretch, until
// the stretch is much longer than the stay.
type Index struct {
	Limit float64 `json:"limit"` // of a stretch that is much longer than Time
	Time  float64 `json:"time"`  // in seconds: counts so far apart have 1/e of the correlation of close ones
}

// At is the index of a stretch of so many seconds, at least 1: the variance of a sum whose
// terms have an exponentially decaying correlation.
func (x Index) At(seconds float64) float64 {
	u := seconds / x.Time
	if !(x.Limit > 1) || !(u > 0) {
		return 1
	}
	return 1 + (x.Limit-1)*(1+math.Expm1(-u)/u)
}

const (
	// persistenceSlots is how many slots are looked at, the newest: six hours of minutes.
	persistenceSlots = 360
	// persistenceLeast is how many there must be.
	persistenceLeast = 24
	// persistenceOdds is ln of how many times as probable the best persistence must make the
	// counts as none does. It has two numbers of its own to fit them with.
	persistenceOdds = 2
	// persistenceQuantile is which limit is taken, of all that the counts make plausible.
	persistenceQuantile = 0.6
	// persistenceMost is the greatest limit.
	persistenceMost = 1e6
)

// Persistence is what slots of so many seconds each, in the order of time, say of how long
// the counts of one version hang together, and false if they say that they do not. The
// spectrum of the counts is held against those of a process whose correlation decays
// exponentially, with some of its variance on top that does not last (Whittle's likelihood).
// Variances of longer and longer sums would need a history many times as long. Polynomials of
// the third degree are taken out before, so the time of day is no persistence; with several
// arms, what hits all of them is none either.
func Persistence(slots []Slot, seconds float64) (Index, bool) {
	slots = slots[max(0, len(slots)-persistenceSlots):]
	n := len(slots)
	if n < persistenceLeast {
		return Index{}, false
	}
	s := newSpectrum(slots)
	if s.power == nil {
		return Index{}, false
	}
	_, none := s.fit(0, 0)
	var models []persistent
	for time := 0.5; time <= float64(n)/6; time *= math.Sqrt2 {
		for share := 0.05; share < 1; share += 0.1 {
			limit, likely := s.fit(share, math.Exp(-1/time))
			models = append(models, persistent{limit, time, likely - none})
		}
	}
	best := slices.MaxFunc(models, func(a, b persistent) int { return cmp.Compare(a.likely, b.likely) })
	if !(best.likely >= persistenceOdds) {
		return Index{}, false
	}
	x := Index{Limit: min(plausible(models, best.likely), persistenceMost), Time: best.time * seconds}
	return x, x.Limit > 1
}

// persistent is a process that counts may come from: its index in the long run, how many
// slots it hangs together, and ln of how probable it makes the counts.
type persistent struct{ limit, time, likely float64 }

// plausible is the quantile of the limits, each with the weight that the counts give it; it
// sorts the models.
func plausible(models []persistent, most float64) float64 {
	slices.SortFunc(models, func(a, b persistent) int { return cmp.Compare(a.limit, b.limit) })
	total := 0.0
	for _, m := range models {
		total += math.Exp(m.likely - most)
	}
	sum := 0.0
	for _, m := range models {
		if sum += math.Exp(m.likely - most); sum >= persistenceQuantile*total {
			return m.limit
		}
	}
	return models[len(models)-1].limit
}

// spectrum is the periodogram of counts, in units of what independent events have: at
// frequencies 2/n, 3/n and so on. The lowest one goes with the trend.
type spectrum struct {
	power []float64
	cos   []float64 // of each frequency
	free  float64   // independent series that power is the mean of
}

// lowest is the lowest frequency that is looked at, times the number of slots.
const lowest = 2

// newSpectrum has no power where there is nothing to compare.
func newSpectrum(in []Slot) spectrum {
	n := len(in)
	series, free := residuals(in)
	if free == 0 {
		return spectrum{}
	}
	sin, cos := make([]float64, n), make([]float64, n)
	for i := range n {
		sin[i], cos[i] = math.Sincos(2 * math.Pi * float64(i) / float64(n))
	}
	out := spectrum{power: make([]float64, (n-1)/2-lowest+1), cos: cos[lowest:], free: free}
	for _, z := range series {
		detrend(z)
		for j := range out.power {
			var re, im float64
			at := 0
			for _, v := range z {
				re += v * cos[at]
				im += v * sin[at]
				if at += j + lowest; at >= n {
					at -= n
				}
			}
			out.power[j] += (re*re + im*im) / (float64(n) * free)
		}
	}
	return out
}

// residuals are what each arm has more than its share, in standard deviations of independent
// events, and how many of them are independent: of one arm its share is that of its exposure,
// of several that of what all have at the time, which takes one away.
func residuals(in []Slot) (out [][]float64, free float64) {
	arms, all := len(in[0]), Count{}
	for _, s := range in {
		if len(s) != arms {
			return nil, 0 // the arms changed: which is which is not known
		}
		for _, c := range s {
			all = all.plus(c)
		}
	}
	if all.Events == 0 || all.Exposure == 0 || arms == 0 {
		return nil, 0
	}
	out = make([][]float64, arms)
	for a := range out {
		out[a] = make([]float64, len(in))
	}
	for i, s := range in {
		slot := Count{}
		for _, c := range s {
			slot = slot.plus(c)
		}
		rate := all.Rate()
		if arms > 1 {
			rate = slot.Rate()
		}
		for a, c := range s {
			if want := rate * float64(c.Exposure); want > 0 {
				out[a][i] = (float64(c.Events) - want) / math.Sqrt(want)
			}
		}
	}
	return out, float64(max(1, arms-1))
}

// fit is the index in the long run, and ln of how probable the counts are but for a constant,
// if so great a share of their variance lasts, and each slot has rho of the one before. How
// much they vary is what makes them most probable.
func (s *spectrum) fit(share, rho float64) (limit, likely float64) {
	scale, logs := 0.0, 0.0
	for j, power := range s.power {
		shape := 1 - share + share*(1-rho*rho)/(1-2*rho*s.cos[j]+rho*rho)
		scale += power / shape
		logs += math.Log(shape)
	}
	m := float64(len(s.power))
	scale /= m
	return scale * (1 - share + share*(1+rho)/(1-rho)), -s.free * (m*math.Log(scale) + logs)
}

// detrend takes the polynomial of the third degree out of z that is closest to it.
func detrend(z []float64) {
	var basis [4][]float64
	for degree := range basis {
		b := make([]float64, len(z))
		for i := range b {
			b[i] = math.Pow(2*float64(i)/float64(len(z)-1)-1, float64(degree))
		}
		for _, o := range basis[:degree] {
			without(b, o)
		}
		basis[degree] = b
		without(z, b)
	}
}

// without takes out of z what it has of b.
func without(z, b []float64) {
	dot, norm := 0.0, 0.0
	for i, v := range b {
		dot += v * z[i]
		norm += v * v
	}
	for i, v := range b {
		z[i] -= dot / norm * v
	}
}
