package infer

import "math"

// MeanUntilSafe is how much more treated exposure it takes on the average until Safe
// reaches threshold, if the rates go on as they were seen, together with prior events
// of the treated arm at the control's rate; −1 if it never will, or nothing was seen.
// An estimate, not a bound.
func (k *Comparison) MeanUntilSafe(s State, threshold, prior float64) float64 {
	if len(s.LogNorm) == 0 || s.Treated.Exposure == 0 || s.Control.Exposure == 0 || s.Treated.Events+s.Control.Events == 0 {
		return -1
	}
	if k.kind == Means {
		if n, ok := k.until(s, k.safe, threshold); ok {
			return n
		}
		return -1
	}
	// Half an event more in each arm, so that none at all is not for ever.
	rate := (float64(s.Control.Events+s.Treated.Events) + 0.5) / (float64(s.Control.Exposure+s.Treated.Exposure) + 1)
	w := float64(s.Treated.Exposure) / float64(s.Treated.Exposure+s.Control.Exposure)
	extra := prior / rate // treated exposure with prior events
	var rooms [2][fewSizes]float64
	now, drift := k.components(rooms[0][:0], &s, &k.safe), rooms[1][:0]
	still := 0.0 // per request, at the null
	if k.kind == Odds {
		still = oddsNorm(rate, w, k.ratios[k.safe.null])
	}
	for i, j := range k.safe.sizes {
		// What prior events and their control bring: for rates the log normaliser at
		// its mean; for odds the same times the share that is no event.
		r, null := k.ratios[j], k.ratios[k.safe.null]
		gain := prior * (k.nodes[j] - k.nodes[k.safe.null])
		gain -= prior / w * (math.Log1p(w*(r-1)) - math.Log1p(w*(null-1)))
		if k.kind == Odds {
			gain = extra / w * (w*rate*(k.nodes[j]-k.nodes[k.safe.null]) - (oddsNorm(rate, w, r) - still))
		}
		drift = append(drift, (now[i]-k.safe.logw[i]+gain/k.phi)/(float64(s.Treated.Exposure)+extra))
	}
	return reach(now, drift, threshold)
}

// oddsNorm is the log normaliser per request of Fisher's distribution in a large block
// where both arms have the rate q and one has r times the other's odds: events are split so
// that they are.
func oddsNorm(q, w, r float64) float64 {
	a, b, c := (r-1)*w, -(w*r + (1 - w) + q*(r-1)), q*r
	x := q
	if math.Abs(a) > 1e-12 {
		x = (-b - math.Sqrt(max(0, b*b-4*a*c))) / (2 * a)
	}
	p := x                   // treated rate
	y := (q - w*p) / (1 - w) // control rate
	return w*entropy(p) + (1-w)*entropy(y) - entropy(q) + w*p*math.Log(r)
}

func entropy(p float64) float64 { return -xlogy(p, p) - xlogy(1-p, 1-p) }

// FromNothing is how much treated exposure it takes from the beginning until Safe
// reaches threshold, when everything goes on in the proportions of s; −1 if it never
// will.
func (k *Comparison) FromNothing(s State, threshold float64) float64 {
	if len(s.LogNorm) == 0 || s.Treated.Exposure == 0 {
		return -1
	}
	if k.kind == Means {
		return k.fromNothing(&s, threshold)
	}
	drift := k.components(nil, &s, &k.safe)
	for i := range drift {
		drift[i] = (drift[i] - k.safe.logw[i]) / float64(s.Treated.Exposure)
	}
	return reach(k.safe.logw, drift, threshold)
}

// FromNothing is how much exposure it takes from the beginning until LogE reaches
// threshold, when events come at rate; −1 if it never will.
func (k Known) FromNothing(rate, threshold float64) float64 {
	total := 0.0
	for _, z := range k.Sizes {
		total += z.Weight
	}
	logw, drift := make([]float64, len(k.Sizes)), make([]float64, len(k.Sizes))
	for i, z := range k.Sizes {
		logw[i] = math.Log(z.Weight / total)
		drift[i] = (rate*math.Log(z.Ratio) + (1-rate)*(math.Log1p(-z.Ratio*k.Rate)-math.Log1p(-k.Rate))) / max(1, k.Dispersion)
	}
	return reach(logw, drift, threshold)
}
