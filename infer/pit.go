package infer

// Deciles are the nine values that cut what a forecast expects at one step into ten equally
// probable parts, ascending.
type Deciles [pitBins - 1]float64

// Deciles are those of a step of the horizon (from 0).
func (p Prediction) Deciles(step int) (out Deciles) {
	residuals := p.around(step, -1)
	for i := range out {
		out[i] = p.Mean[step] + widen*quantile(residuals, float64(i+1)/pitBins)
	}
	return out
}

// Stretched are deciles that lie so many times as far from their median.
func (d Deciles) Stretched(factor float64) Deciles {
	for i, v := range d {
		d[i] = Stretch(v, d[len(d)/2], factor)
	}
	return d
}

// Stretch is a quantile that lies so many times as far from the median.
func Stretch(quantile, median, factor float64) float64 {
	if factor == 1 { // to the bit
		return quantile
	}
	return median + factor*(quantile-median)
}

// PIT is the probability that the forecast gave to less than what came, for Calibrate. u,
// from 0 to 1, says where within its tenth it is taken to lie, and spreads what equals
// several deciles over all of them: a forecast that is always exactly right is not too
// sure. Draw it from a sequence that has nothing to do with what came.
func (d Deciles) PIT(v, u float64) float64 {
	below, equal := 0, 0
	for _, x := range d {
		switch {
		case x < v:
			below++
		case x == v:
			equal++
		}
	}
	return (float64(below) + u*float64(equal+1)) / pitBins
}
