package infer

import "math"

// Wander learns how far the values of one version hang together in time: by how much more
// the mean of many blocks in a row varies than it would if blocks were independent, 1 if
// they are. A gauge that is read every second mostly says the same thing again. It is a
// value; the zero Wander has seen nothing. Three means in a row, of four blocks or sixteen,
// are compared by their second difference, which a trend leaves at 0.
type Wander struct {
	Scales [2]WanderScale `json:"scales"`
}

// WanderScale is what is known of means over one length of time, each four times the one
// before.
type WanderScale struct {
	Terms  uint64    `json:"terms,omitempty"`
	Num    float64   `json:"num,omitempty"`    // sum of squared second differences, over 6: the variance of one mean, Terms times
	Last   []float64 `json:"last,omitempty"`   // the two means before, which the next is compared with
	Blocks uint64    `json:"blocks,omitempty"` // means that there were
	Within float64   `json:"within,omitempty"` // sum of the variances of the values under each mean
	Sum    float64   `json:"sum,omitempty"`    // of the values that add up to the next mean
	Square float64   `json:"square,omitempty"` // of them
	Held   int       `json:"held,omitempty"`   // how many they are
}

// Observe adds the mean of one block, in the order of time; one without exposure is a hole.
func (d Wander) Observe(c Count) Wander {
	n := 1
	for i := range d.Scales {
		a := &d.Scales[i]
		n *= 4
		if c.Exposure == 0 {
			a.Last, a.Sum, a.Square, a.Held = nil, 0, 0, 0
			continue
		}
		v := c.Rate()
		a.Sum, a.Square = a.Sum+v, a.Square+v*v
		if a.Held++; a.Held < n {
			continue
		}
		mean := a.Sum / float64(n)
		a.Blocks++
		a.Within += max(0, a.Square/float64(n)-mean*mean)
		a.Sum, a.Square, a.Held = 0, 0, 0
		if len(a.Last) < 2 {
			a.Last = append(a.Last[:len(a.Last):len(a.Last)], mean)
			continue
		}
		diff := a.Last[0] - 2*a.Last[1] + mean
		a.Terms++
		a.Num += diff * diff / 6
		a.Last = []float64{a.Last[1], mean}
	}
	return d
}

// Measured is the greatest factor over all lengths of time, and its upper bound at
// one-sided 95 %; 1 and +Inf as long as there are too few blocks.
func (d Wander) Measured() (phi, upper float64) {
	phi, upper = 1, math.Inf(1)
	d.each(func(p, rel float64) {
		phi = max(phi, p)
		if up := max(p*(1+1.645*rel), 1); math.IsInf(upper, 1) || up > upper {
			upper = up
		}
	})
	return phi, upper
}

// Contradicted is the estimate where the blocks are consistent with independent ones (2.33
// standard errors, one-sided 1 %), otherwise its upper bound at one-sided 95 %. Values that
// hang together are the rule and not the exception, so the estimate is believed before it
// is shown.
func (d Wander) Contradicted() float64 {
	out := 1.0
	d.each(func(p, rel float64) {
		if p > chance(rel, 2.33) {
			p *= 1 + 1.645*rel
		}
		out = max(out, p)
	})
	return out
}

// Factor is what evidence is divided by, see Dispersion.Factor. Calibrated, not a theorem.
func (d Wander) Factor() float64 { return Burst(d.Contradicted()) }

// Beyond is what evidence is divided by when a factor was known before: known, unless the
// blocks contradict it, and then their own if that is greater.
func (d Wander) Beyond(known float64) float64 {
	known = max(known, 1)
	out := known
	d.each(func(p, rel float64) {
		if p > known*chance(rel, beyondNormal) {
			out = max(out, Burst(p*(1+1.645*rel)))
		}
	})
	return out
}

// chance is how great a sum of squares with a mean of 1 and a relative standard error
// becomes by chance, at so many normal deviations (Wilson and Hilferty).
func chance(rel, normal float64) float64 {
	skew := rel * rel / 9
	return math.Pow(1-skew+normal*math.Sqrt(skew), 3)
}

// each calls yield with the factor of every length of time of which enough is known: how
// much of the variance of single values their mean still has, times how many they are. And
// its relative standard error: that of a sum of squares with terms that share blocks, as far
// as it is not in what it is divided by too.
func (d Wander) each(yield func(phi, rel float64)) {
	n := 1.0
	for _, a := range d.Scales {
		n *= 4
		if a.Terms < minTerms || a.Num+a.Within == 0 {
			continue
		}
		between, within := a.Num/float64(a.Terms), a.Within/float64(a.Blocks)
		if all := between + within; all > 0 {
			yield(n*between/all, within/all*math.Sqrt(2*overlap/float64(a.Terms)))
		}
	}
}
