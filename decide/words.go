package decide

import (
	"math"
	"strconv"
	"time"

	"assay.dev/assay"
)

// number writes v in the fewest digits that say it exactly.
func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// evalue writes an e value for people, from its logarithm.
func evalue(logE float64) string { return string(appendE(nil, logE)) }

func appendE(b []byte, logE float64) []byte {
	switch {
	case logE > 14 || logE < -14:
		return strconv.AppendFloat(append(b, "10^"...), logE/math.Ln10, 'f', 0, 64)
	case logE < 2.3:
		return strconv.AppendFloat(b, math.Exp(logE), 'g', 2, 64)
	}
	return strconv.AppendFloat(b, math.Exp(logE), 'f', 0, 64)
}

// appendRate writes a rate with the digits that a small one needs.
func appendRate(b []byte, r assay.Rate) []byte {
	if r.Total == 0 {
		return append(b, "none"...)
	}
	b = strconv.AppendFloat(b, 100*float64(r.Bad)/float64(r.Total), 'g', 3, 64)
	b = strconv.AppendUint(append(b, " % ("...), r.Bad, 10)
	return append(strconv.AppendUint(append(b, " of "...), r.Total, 10), ')')
}

// appendArm writes what one version had of what a test compares.
func appendArm(b []byte, t *assay.TestValue, r assay.Rate, mean float64) []byte {
	switch {
	case t.Measure == "":
		return appendRate(b, r)
	case r.Total == 0:
		return append(b, "none"...)
	}
	b = append(append(b, t.Measure.Words(mean)...), " ("...)
	switch t.Measure {
	case assay.MeasureCount:
		b = append(strconv.AppendUint(b, r.Bad, 10), " in "...)
		b = append(strconv.AppendUint(b, r.Total, 10), " requests"...)
	case assay.MeasureTime:
		b = append(strconv.AppendUint(b, r.Bad, 10), " in "...)
		b = append(b, (time.Duration(r.Total) * time.Millisecond).Round(time.Second).String()...)
	case assay.MeasureGauge:
		b = append(strconv.AppendUint(b, r.Total, 10), " samples"...)
	default:
		b = append(strconv.AppendUint(b, r.Total, 10), " requests"...)
	}
	return append(b, ')')
}

// appendRatio writes the confidence interval of a test's ratio.
func appendRatio(b []byte, t assay.TestValue) []byte {
	if t.RatioLow > 0 {
		b = strconv.AppendFloat(b, t.RatioLow, 'g', 2, 64)
	} else {
		b = append(b, '0')
	}
	b = append(b, " to "...)
	if t.RatioHigh > 0 {
		return strconv.AppendFloat(b, t.RatioHigh, 'g', 2, 64)
	}
	return append(b, "∞"...)
}

// testWords is one line of a decision's reasons. A decision has one for each test, so
// they are written without fmt; what they are held against is the same for all.
func testWords(d *assay.Decision, t *assay.TestValue, abortAt, shipAt []byte) string {
	var room [256]byte
	b := room[:0]
	b = append(append(append(append(b, t.Name...), ": "...), d.Canary...), ' ')
	b = appendArm(b, t, t.Canary, t.CanaryMean)
	b = append(append(append(b, " against "...), d.Control...), ' ')
	b = appendArm(b, t, t.Control, t.ControlMean)
	b = append(b, ", ratio "...)
	switch {
	case t.Less && (t.Measure == assay.MeasureValue || t.Measure == assay.MeasureGauge):
		b = append(b, "of what is missing to the best "...)
	case t.Less:
		b = append(b, "(less is worse) "...)
	}
	b = appendRatio(b, *t)
	b = appendE(append(b, "; harm e "...), t.Harm)
	b = append(append(b, " of "...), abortAt...)
	b = appendE(append(b, ", safety e "...), t.Safe)
	b = append(append(b, " of "...), shipAt...)
	return string(append(append(append(b, " ("...), t.Certainty...), ')'))
}

// remaining says how long it will still take.
func remaining(d *assay.Decision) string {
	if d.Remaining < 0 {
		return "at these rates it will not be shown safe"
	}
	b := strconv.AppendFloat(append(make([]byte, 0, 128), "about "...), math.Ceil(d.Remaining), 'f', 0, 64)
	b = strconv.AppendFloat(append(b, " more canary requests until it is shown safe at these rates (80 %: "...), math.Ceil(d.RemLow), 'f', 0, 64)
	return string(append(strconv.AppendFloat(append(b, " to "...), math.Ceil(d.RemHigh), 'f', 0, 64), ')'))
}
