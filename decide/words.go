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
		return appendWhole(append(b, "10^"...), logE/math.Ln10)
	case logE < 2.3:
		return appendDigits(b, math.Exp(logE), 2)
	}
	return appendWhole(b, math.Exp(logE))
}

// appendWhole is strconv.AppendFloat(b, v, 'f', 0, 64), which takes longer for what most
// numbers are.
func appendWhole(b []byte, v float64) []byte {
	if r := math.RoundToEven(v); r > 0 && r < 1e15 || r < 0 && r > -1e15 {
		return strconv.AppendInt(b, int64(r), 10)
	}
	return strconv.AppendFloat(b, v, 'f', 0, 64)
}

// tens are powers of ten, which floats have exactly.
var tens = [...]float64{1, 10, 100, 1000, 1e4, 1e5, 1e6, 1e7}

// appendDigits is strconv.AppendFloat(b, v, 'g', digits, 64) for up to three digits. Numbers
// from 0.0001 up to those digits are written without it: a product with a power of ten is off
// by less than its last bit, so that, away from halves, it is rounded as v itself is.
func appendDigits(b []byte, v float64, digits int) []byte {
	if !(v >= 0.001 && v < tens[digits]-1) {
		return strconv.AppendFloat(b, v, 'g', digits, 64)
	}
	whole := 1 // digits before the point; 0 and less count the zeros after it
	for ; v >= tens[whole]; whole++ {
	}
	for ; whole <= 1 && v*tens[1-whole] < 1; whole-- {
	}
	scaled := v * tens[digits-whole]
	below := math.Floor(scaled)
	if math.Abs(scaled-below-0.5) < 1e-9 {
		return strconv.AppendFloat(b, v, 'g', digits, 64)
	}
	n := int(scaled + 0.5)
	places := digits - whole // of n after the point
	for ; places > 0 && n%10 == 0; places-- {
		n /= 10
	}
	if places == 0 {
		return strconv.AppendInt(b, int64(n), 10)
	}
	// The digits from the last one on, with zeros up to one before the point.
	var room [8]byte
	at := len(room)
	for p := 0; p <= places || n > 0; p++ {
		if p == places {
			at--
			room[at] = '.'
		}
		at--
		room[at] = byte('0' + n%10)
		n /= 10
	}
	return append(b, room[at:]...)
}

func appendCombined(b []byte, p *Plan, d *assay.Decision) []byte {
	b = appendE(append(b, "combined harm e "...), d.Harm)
	b = appendE(append(b, ", abort at "...), d.AbortAt)
	b = strconv.AppendFloat(append(b, " (alpha "...), 100*p.Alpha, 'g', -1, 64)
	return append(b, " %)"...)
}

func appendLeast(b []byte, p *Plan, d *assay.Decision) []byte {
	b = appendE(append(b, "least safety e "...), d.Safe)
	b = appendE(append(b, ", go on at "...), d.ShipAt)
	b = strconv.AppendFloat(append(b, " (beta "...), 100*p.Beta, 'g', -1, 64)
	b = strconv.AppendFloat(append(b, " %, margin "...), p.Margin, 'g', -1, 64)
	return append(b, " times)"...)
}

// appendRate writes a rate with the digits that a small one needs.
func appendRate(b []byte, r assay.Rate) []byte {
	if r.Total == 0 {
		return append(b, "none"...)
	}
	if r.Bad == 0 {
		b = append(b, '0')
	} else {
		b = appendDigits(b, 100*float64(r.Bad)/float64(r.Total), 3)
	}
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
func appendRatio(b []byte, t *assay.TestValue) []byte {
	if t.RatioLow > 0 {
		b = appendDigits(b, t.RatioLow, 2)
	} else {
		b = append(b, '0')
	}
	b = append(b, " to "...)
	if t.RatioHigh > 0 {
		return appendDigits(b, t.RatioHigh, 2)
	}
	return append(b, "∞"...)
}

// appendTest writes one line of a decision's reasons. A decision has one for each test, so
// they are written without fmt; what they are held against is the same for all.
func appendTest(b []byte, d *assay.Decision, t *assay.TestValue, abortAt, shipAt []byte) []byte {
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
	b = appendRatio(b, t)
	b = appendE(append(b, "; harm e "...), t.Harm)
	b = append(append(b, " of "...), abortAt...)
	b = appendE(append(b, ", safety e "...), t.Safe)
	b = append(append(b, " of "...), shipAt...)
	return append(append(append(b, " ("...), t.Certainty...), ')')
}

// remaining says how long it will still take.
func remaining(d *assay.Decision) string {
	if d.Remaining < 0 {
		return "at these rates it will not be shown safe"
	}
	b := appendWhole(append(make([]byte, 0, 128), "about "...), math.Ceil(d.Remaining))
	b = appendWhole(append(b, " more canary requests until it is shown safe at these rates (80 %: "...), math.Ceil(d.RemLow))
	return string(append(appendWhole(append(b, " to "...), math.Ceil(d.RemHigh)), ')'))
}
