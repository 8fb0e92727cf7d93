package decide

import (
	"fmt"
	"math"
	"strconv"

	"assay.dev/assay"
)

// number writes v in the fewest digits that say it exactly.
func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// evalue writes an e value for people, from its logarithm.
func evalue(logE float64) string {
	switch {
	case logE > 14 || logE < -14:
		return fmt.Sprintf("10^%.0f", logE/math.Ln10)
	case logE < 2.3:
		return fmt.Sprintf("%.2g", math.Exp(logE))
	}
	return fmt.Sprintf("%.0f", math.Exp(logE))
}

// percent writes a rate with the digits that a small one needs.
func percent(r assay.Rate) string {
	if r.Total == 0 {
		return "none"
	}
	return fmt.Sprintf("%.3g %% (%d of %d)", 100*float64(r.Bad)/float64(r.Total), r.Bad, r.Total)
}

// ratioWords writes the confidence interval of a test's ratio.
func ratioWords(t assay.TestValue) string {
	low, high := "0", "∞"
	if t.RatioLow > 0 {
		low = fmt.Sprintf("%.2g", t.RatioLow)
	}
	if t.RatioHigh > 0 {
		high = fmt.Sprintf("%.2g", t.RatioHigh)
	}
	return low + " to " + high
}

// testWords is one line of a decision's reasons.
func testWords(d assay.Decision, t assay.TestValue) string {
	return fmt.Sprintf("%s: %s %s against %s %s, ratio %s; harm e %s of %s, safety e %s of %s (%s)",
		t.Name, d.Canary, percent(t.Canary), d.Control, percent(t.Control), ratioWords(t),
		evalue(t.Harm), evalue(d.AbortAt), evalue(t.Safe), evalue(d.ShipAt), t.Certainty)
}

// remaining says how long it will still take.
func remaining(n float64) string {
	if n < 0 {
		return "at these rates it will not be shown safe"
	}
	return fmt.Sprintf("about %.0f more canary requests until it is shown safe at these rates", math.Ceil(n))
}
