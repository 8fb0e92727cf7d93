package infer

import (
	"math"

	"assay.dev/assay"
)

// Known compares one arm with a rate that is known, for example a promised one.
// Sizes above 1 weigh harm (the null is rate ≤ Rate), sizes below 1 weigh safety
// (the null is rate ≥ Rate); they do not mix. Exact for independent Bernoulli
// events. Its state is the running Count.
type Known struct {
	Rate  float64 `json:"rate"`
	Sizes []Size  `json:"sizes"`
	// Dispersion is the variance-to-mean ratio of the counts: evidence is divided by it.
	// 1 (or 0, meaning 1) is none; anything above makes the answers calibrated.
	Dispersion float64 `json:"dispersion,omitempty"`
}

// Check refuses what LogE cannot work with; CodeInvalid.
func (k Known) Check() error {
	if !(k.Rate > 0 && k.Rate < 1) {
		return assay.Errorf(assay.CodeInvalid, "known rate %v is not between 0 and 1", k.Rate)
	}
	if len(k.Sizes) == 0 {
		return assay.Errorf(assay.CodeInvalid, "known rate %v has no sizes", k.Rate)
	}
	if k.Dispersion != 0 && !(k.Dispersion >= 1 && k.Dispersion <= 1e6) {
		return assay.Errorf(assay.CodeInvalid, "dispersion %v of a known rate is not between 1 and 1e6", k.Dispersion)
	}
	for _, z := range k.Sizes {
		if !(z.Ratio > 0 && z.Ratio*k.Rate < 1 && z.Weight > 0 && z.Weight <= 1e9) {
			return assay.Errorf(assay.CodeInvalid, "size %v with weight %v does not fit the rate %v", z.Ratio, z.Weight, k.Rate)
		}
		if z.Ratio == 1 || (z.Ratio > 1) != (k.Sizes[0].Ratio > 1) {
			return assay.Errorf(assay.CodeInvalid, "sizes of a known rate lie on both sides of 1")
		}
	}
	return nil
}

// LogE is ln E of the mixture after c; Check must have passed.
func (k Known) LogE(c Count) float64 {
	terms := make([]float64, len(k.Sizes))
	total := 0.0
	for i, z := range k.Sizes {
		total += z.Weight
		terms[i] = math.Log(z.Weight) + k.term(z, c)
	}
	return logSumExp(terms) - math.Log(total)
}

// Until is how much more exposure it takes until LogE reaches threshold if
// everything goes on in the proportions of c; 0 if it already has, and false if it
// never will.
func (k Known) Until(c Count, threshold float64) (float64, bool) {
	terms := make([]float64, len(k.Sizes))
	logw := make([]float64, len(k.Sizes))
	total := 0.0
	for _, z := range k.Sizes {
		total += z.Weight
	}
	for i, z := range k.Sizes {
		logw[i] = math.Log(z.Weight / total)
		terms[i] = k.term(z, c)
	}
	return stretch(logw, terms, float64(c.Exposure), threshold)
}

// term is ln of the likelihood ratio of one size after c, divided by the dispersion.
func (k Known) term(z Size, c Count) float64 {
	x, n := float64(c.Events), float64(c.Exposure)
	return (x*math.Log(z.Ratio) + (n-x)*(math.Log1p(-z.Ratio*k.Rate)-math.Log1p(-k.Rate))) / max(1, k.Dispersion)
}
