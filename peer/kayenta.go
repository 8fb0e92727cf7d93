package peer

import (
	"math"
	"slices"
)

// Direction is which change of a metric is bad.
type Direction string

const (
	Increase Direction = "increase"
	Decrease Direction = "decrease"
	Either   Direction = "either"
)

// Classification is what Kayenta calls one metric.
type Classification string

const (
	Pass             Classification = "Pass"
	High             Classification = "High"
	Low              Classification = "Low"
	Nodata           Classification = "Nodata"
	NodataFailMetric Classification = "NodataFailMetric"
	ClassError       Classification = "Error"
)

// KayentaMetric is one metric of a canary configuration, judged by
// NetflixACAJudge-v1.0 (spinnaker/spinnaker, kayenta-judge: NetflixACAJudge.scala,
// MannWhitneyClassifier.scala). Start from NewKayentaMetric, which has its defaults.
type KayentaMetric struct {
	Name      string
	Groups    []string
	Direction Direction
	// ReplaceNaN reads NaN as 0; otherwise NaN is dropped.
	ReplaceNaN bool
	// OutlierFactor drops values beyond that many interquartile ranges; 0 keeps all.
	OutlierFactor float64
	Critical      bool
	MustHaveData  bool
	Muted         bool
	// CLES takes the share of pairs in which the canary is higher as the effect,
	// instead of the ratio of means.
	CLES bool
	// An effect must reach these before the metric, or a critical metric, fails.
	AllowedIncrease, AllowedDecrease   float64
	CriticalIncrease, CriticalDecrease float64
	// Tolerance is the share of the estimated shift that the interval must clear.
	Tolerance  float64
	Confidence float64
}

// NewKayentaMetric has the judge's defaults: both directions, NaN dropped, ratio of
// means, any effect, 98 % interval, 25 % tolerance.
func NewKayentaMetric(name string, groups ...string) KayentaMetric {
	return KayentaMetric{
		Name: name, Groups: groups, Direction: Either,
		AllowedIncrease: 1, AllowedDecrease: 1, CriticalIncrease: 1, CriticalDecrease: 1,
		Tolerance: 0.25, Confidence: 0.98,
	}
}

// KayentaErrors is how the documentation of canary analysis judges an error rate: more
// is bad, minutes without a value count as 0.
func KayentaErrors() KayentaMetric {
	m := NewKayentaMetric("errors", "errors")
	m.Direction, m.ReplaceNaN = Increase, true
	return m
}

// KayentaResult is one metric's classification. Deviation is the ratio of means, NaN
// where a mean is 0; Critical says that the failure fails the whole canary.
type KayentaResult struct {
	Metric         KayentaMetric
	Classification Classification
	Deviation      float64
	Critical       bool
}

// Classify compares one value per interval of the canary (experiment) with those of
// the baseline (control). noise draws standard normals: two different constant
// samples have no ranks to compare, and the judge adds noise to them; nil leaves
// them tied, which is an Error.
func (m KayentaMetric) Classify(experiment, control []float64, noise func() float64) KayentaResult {
	x, y := m.clean(experiment), m.clean(control)
	out := KayentaResult{Metric: m, Classification: Pass, Deviation: 1}
	switch {
	case len(x) == 0 || len(y) == 0:
		switch {
		case m.ReplaceNaN: // a metric without any data passes
		case m.MustHaveData && !m.Critical:
			out.Classification = NodataFailMetric
		default:
			out.Classification, out.Critical = Nodata, m.Critical
		}
		return out
	case slices.Equal(slices.Sorted(slices.Values(x)), slices.Sorted(slices.Values(y))), constant(slices.Concat(x, y)):
		return out
	}
	if constant(x) && constant(y) && noise != nil {
		x, y = noisy(x, noise), noisy(y, noise)
	}
	shift, err := MannWhitney(x, y, m.Confidence)
	if err != nil {
		out.Classification, out.Deviation = ClassError, 0
		return out
	}
	out.Deviation = meanRatio(x, y)
	m.decide(&out, shift, m.effect(x, y))
	return out
}

// decide is High or Low where the whole interval clears the tolerance and the effect
// is large enough; an effect that cannot be computed is not asked about.
func (m KayentaMetric) decide(out *KayentaResult, shift Shift, effect float64) {
	bound := m.Tolerance * math.Abs(shift.Estimate)
	unknown := math.IsNaN(effect)
	switch {
	case m.Direction != Decrease && shift.Low > bound && (unknown || effect >= m.AllowedIncrease):
		out.Classification = High
		out.Critical = m.Critical && (unknown || effect >= m.CriticalIncrease)
	case m.Direction != Increase && shift.High < -bound && (unknown || effect <= m.AllowedDecrease):
		out.Classification = Low
		out.Critical = m.Critical && (unknown || effect <= m.CriticalDecrease)
	}
}

func (m KayentaMetric) clean(values []float64) []float64 {
	out := make([]float64, 0, len(values))
	for _, v := range values {
		switch {
		case !math.IsNaN(v):
			out = append(out, v)
		case m.ReplaceNaN:
			out = append(out, 0)
		}
	}
	if m.OutlierFactor <= 0 || len(out) == 0 {
		return out
	}
	p25, p75 := percentile(out, 25), percentile(out, 75)
	low := min(percentile(out, 1), p25-m.OutlierFactor*(p75-p25))
	high := max(percentile(out, 99), p75+m.OutlierFactor*(p75-p25))
	return slices.DeleteFunc(out, func(v float64) bool { return v < low || v > high })
}

func (m KayentaMetric) effect(x, y []float64) float64 {
	if !m.CLES {
		return meanRatio(x, y)
	}
	higher := 0.0 // (2·R1 − m(m+1)) / 2nm is the share of pairs, ties count half
	for _, a := range x {
		for _, b := range y {
			switch {
			case a > b:
				higher++
			case a == b:
				higher += 0.5
			}
		}
	}
	return higher / float64(len(x)*len(y))
}

func constant(values []float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return v != values[0] })
}

func noisy(values []float64, noise func() float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = v + v*1e-5*noise()
	}
	return out
}

func meanRatio(x, y []float64) float64 {
	a, b := mean(x), mean(y)
	if a == 0 || b == 0 {
		return math.NaN()
	}
	return a / b
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// percentile is estimation type R-7, which Kayenta takes everywhere.
func percentile(values []float64, p float64) float64 {
	s := slices.Sorted(slices.Values(values))
	h := p / 100 * float64(len(s)-1)
	i := int(h)
	if i+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[i] + (h-float64(i))*(s[i+1]-s[i])
}
