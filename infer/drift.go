package infer

import (
	"math"
	"slices"

	"assay.dev/assay"
)

// PageHinkley watches a stream, for example the absolute errors of a model, for a lasting
// rise of its mean. It is a value; DefaultPageHinkley has the constants for a stream in
// units of its own standard deviation.
type PageHinkley struct {
	Slack     float64 `json:"slack"`     // a rise that is not worth an alarm
	Threshold float64 `json:"threshold"` // of the accumulated rise
	N         float64 `json:"n"`
	Mean      float64 `json:"mean"`
	Sum       float64 `json:"sum"`
	Least     float64 `json:"least"`
	Since     float64 `json:"since"` // values since then: where a rise is found, it began about there
}

// DefaultPageHinkley is the detector that has seen nothing yet. The textbook's 0.005 and
// 50 are a random walk that alarms about every two thousand steps in which nothing
// happens; a quarter of a standard deviation makes that millions, and finds a rise of one
// within some 33 steps.
func DefaultPageHinkley() PageHinkley { return PageHinkley{Slack: 0.25, Threshold: 25} }

// Add is the detector after one more value, and whether it says that the mean has risen.
// A value that is not a number is passed over.
func (p PageHinkley) Add(v float64) (PageHinkley, bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return p, false
	}
	p.N++
	p.Mean += (v - p.Mean) / p.N
	p.Sum += v - p.Mean - p.Slack
	p.Since++
	if p.Sum <= p.Least {
		p.Least, p.Since = p.Sum, 0
	}
	return p, p.Sum-p.Least > p.Threshold
}

// Constants of ADWIN.
const (
	// adwinConfidence is the probability of a cut where nothing has changed, per value.
	adwinConfidence = 0.002
	adwinRows       = 5 // buckets of each size that are kept before two of them are merged
	adwinLeast      = 5 // values that either side of a cut has at least
)

// ADWIN keeps the longest end of a stream whose mean has not changed, in a number of
// buckets that grows with its logarithm. It is a value whose Add leaves it unchanged.
type ADWIN struct {
	Buckets []ADWINBucket `json:"buckets,omitempty"` // oldest and largest first
}

// ADWINBucket is a run of values: how many, their sum, and the sum of their squared
// distances from their mean.
type ADWINBucket struct {
	N      float64 `json:"n"`
	Sum    float64 `json:"sum"`
	Spread float64 `json:"spread"`
}

func (b ADWINBucket) plus(o ADWINBucket) ADWINBucket {
	if b.N == 0 {
		return o
	}
	d := o.Sum/o.N - b.Sum/b.N
	return ADWINBucket{b.N + o.N, b.Sum + o.Sum, b.Spread + o.Spread + d*d*b.N*o.N/(b.N+o.N)}
}

// Window is how many values are kept and their mean.
func (a ADWIN) Window() (n, mean float64) {
	all := a.whole()
	return all.N, all.Sum / max(all.N, 1)
}

func (a ADWIN) whole() (all ADWINBucket) {
	for _, b := range a.Buckets {
		all = all.plus(b)
	}
	return all
}

// Add is the window after one more value, and whether its older part was cut off because
// its mean differs: eps = √(2/m·var·ln(2/d')) + 2/(3m)·ln(2/d') with 1/m = 1/n0 + 1/n1 and
// d' = d/ln n, for values of a spread of about 1.
func (a ADWIN) Add(v float64) (ADWIN, bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return a, false
	}
	next := ADWIN{Buckets: make([]ADWINBucket, 0, len(a.Buckets)+1)}
	next.Buckets = append(append(next.Buckets, a.Buckets...), ADWINBucket{N: 1, Sum: v})
	next.merge()
	cut := false
	for next.differs() {
		next.Buckets = next.Buckets[1:]
		cut = true
	}
	return next, cut
}

// merge joins the two oldest buckets of a size of which there are too many.
func (a *ADWIN) merge() {
	for size := 1.0; ; size *= 2 {
		first, count := -1, 0
		for i, b := range a.Buckets {
			if b.N == size {
				if first < 0 {
					first = i
				}
				count++
			}
		}
		if count <= adwinRows {
			return
		}
		a.Buckets[first] = a.Buckets[first].plus(a.Buckets[first+1])
		a.Buckets = append(a.Buckets[:first+1], a.Buckets[first+2:]...)
	}
}

// differs reports whether some cut leaves two parts with different means.
func (a ADWIN) differs() bool {
	all := a.whole()
	if all.N < 2*adwinLeast {
		return false
	}
	variance := all.Spread / all.N
	log := math.Log(2 * math.Log(all.N) / adwinConfidence)
	old := ADWINBucket{}
	for _, b := range a.Buckets[:len(a.Buckets)-1] {
		old = old.plus(b)
		young := all.N - old.N
		if old.N < adwinLeast || young < adwinLeast {
			continue
		}
		m := 1 / (1/old.N + 1/young)
		eps := math.Sqrt(2/m*variance*log) + 2/(3*m)*log
		if math.Abs(old.Sum/old.N-(all.Sum-old.Sum)/young) > eps {
			return true
		}
	}
	return false
}

// pitBins are the bins of a calibration test.
const pitBins = 10

// Calibration is how well the distributions that a model forecast describe what came.
type Calibration struct {
	N       int              `json:"n"`
	Bins    [pitBins]float64 `json:"bins"`     // share of what came in each tenth of its forecast
	Cover80 float64          `json:"cover_80"` // share between its 10 % and 90 % quantiles
	ChiP    float64          `json:"chi_p"`    // p-value of equal bins
	KSP     float64          `json:"ks_p"`     // p-value of a uniform distribution
}

// Calibrate tests probability integral transforms: for each forecast the probability that
// it gave to less than what came. Those of a calibrated model are uniform. The p-values
// hold for forecasts that err independently. CodeInvalid for a value outside 0 to 1 or
// fewer than MinSteps of them, CodeTooLarge above MaxSteps.
func Calibrate(pit []float64) (Calibration, error) {
	n := len(pit)
	if n > MaxSteps {
		return Calibration{}, assay.Errorf(assay.CodeTooLarge, "%d forecasts, at most %d are judged", n, MaxSteps)
	}
	if n < MinSteps {
		return Calibration{}, assay.Errorf(assay.CodeInvalid, "%d forecasts, at least %d are needed to judge a model", n, MinSteps)
	}
	c := Calibration{N: n}
	for _, u := range pit {
		if !(u >= 0 && u <= 1) {
			return Calibration{}, assay.Errorf(assay.CodeInvalid, "%v is not a probability", u)
		}
		c.Bins[min(int(u*pitBins), pitBins-1)] += 1 / float64(n)
		if u >= 0.1 && u <= 0.9 {
			c.Cover80 += 1 / float64(n)
		}
	}
	chi := 0.0
	for _, b := range c.Bins {
		d := (b - 1.0/pitBins) * float64(n)
		chi += d * d / (float64(n) / pitBins)
	}
	c.ChiP = chiTail(chi, pitBins-1)
	c.KSP = ksTail(pit)
	return c, nil
}

// chiTail is the probability of at least chi with an odd number of degrees of freedom.
func chiTail(chi float64, degrees int) float64 {
	tail := math.Erfc(math.Sqrt(chi / 2))
	term := math.Sqrt(2*chi/math.Pi) * math.Exp(-chi/2)
	for k := 1; k < degrees; k += 2 {
		tail += term
		term *= chi / float64(k+2)
	}
	return min(tail, 1)
}

// ksTail is the asymptotic p-value of the Kolmogorov-Smirnov test against uniform.
func ksTail(pit []float64) float64 {
	sorted := slices.Sorted(slices.Values(pit))
	n, worst := float64(len(sorted)), 0.0
	for i, u := range sorted {
		worst = max(worst, u-float64(i)/n, float64(i+1)/n-u)
	}
	// Stephens' correction makes the limit good from five values on.
	x := worst * (math.Sqrt(n) + 0.12 + 0.11/math.Sqrt(n))
	if x < 0.3 {
		return 1 // the alternating sum converges slowly there, to one
	}
	p := 0.0
	for k := 1; k <= 20; k++ {
		term := 2 * math.Exp(-2*float64(k*k)*x*x)
		if k%2 == 0 {
			term = -term
		}
		p += term
	}
	return min(max(p, 0), 1)
}
