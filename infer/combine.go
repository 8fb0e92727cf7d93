package infer

import (
	"math"

	"assay.dev/assay"
)

// Weighted is ln E of one test and its importance.
type Weighted struct {
	LogE   float64
	Weight float64
}

// Average is ln of the weighted mean of e values: an e value again, and an
// e-process again, under any dependence between the tests (CodeInvalid if a
// weight is not positive or there is no test). Weights must not depend on data.
func Average(tests []Weighted) (float64, error) {
	var room [fewSizes]float64
	terms := room[:0]
	total := 0.0
	var weight, logWeight float64 // of the test before: that of the next is often the same
	for i, t := range tests {
		if !(t.Weight > 0 && t.Weight <= 1e9) || math.IsNaN(t.LogE) {
			return 0, assay.Errorf(assay.CodeInvalid, "test %d has weight %v and ln E %v", i, t.Weight, t.LogE)
		}
		if t.Weight != weight {
			weight, logWeight = t.Weight, math.Log(t.Weight)
		}
		total += t.Weight
		terms = append(terms, logWeight+t.LogE)
	}
	if len(tests) == 0 {
		return 0, assay.Errorf(assay.CodeInvalid, "no tests to average")
	}
	return logSumExp(terms) - math.Log(total), nil
}

// All is the intersection-union rule: the least ln E, which rejects "at least one
// null holds" without any correction for their number; −Inf for no tests, so that
// nothing is shown by nothing.
func All(logE ...float64) float64 {
	if len(logE) == 0 {
		return math.Inf(-1)
	}
	least := logE[0]
	for _, e := range logE {
		least = min(least, e)
	}
	return least
}
