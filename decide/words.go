package decide

import (
	"math"
	"strconv"
	"time"

	"assay.dev/assay"
)

// number writes v in the fewest digits that say it exactly.
func number(v float64) string {
	var room [24]byte
	return string(appendExactly(room[:0], v))
}

// appendExactly is strconv.AppendFloat(b, v, 'g', -1, 64), which takes longer for small whole
// numbers.
func appendExactly(b []byte, v float64) []byte {
	if v >= 1 && v < 1e6 && v == math.Trunc(v) {
		return appendCounted(b, uint64(v))
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

// appendCounted is strconv.AppendUint(b, n, 10), which is made for longer numbers than most
// counts are.
func appendCounted(b []byte, n uint64) []byte {
	var room [20]byte
	at := len(room) - 1
	for ; n >= 10; n /= 10 {
		room[at] = byte('0' + n%10)
		at--
	}
	room[at] = byte('0' + n)
	return append(b, room[at:]...)
}

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
	if r := math.RoundToEven(v); r > 0 && r < 1e15 {
		return appendCounted(b, uint64(r))
	} else if r < 0 && r > -1e15 {
		return appendCounted(append(b, '-'), uint64(-r))
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
	n := uint32(scaled + 0.5)
	if n >= uint32(tens[digits]) { // rounded up to a digit more
		return strconv.AppendFloat(b, v, 'g', digits, 64)
	}
	said := [3]byte{'0' + byte(n/100), '0' + byte(n/10%10), '0' + byte(n%10)}
	return appendPoint(b, said[3-digits:], whole)
}

// appendPoint writes digits of which so many are before the point, 0 and less count the zeros
// after it, without the zeros at their end.
func appendPoint(b, digits []byte, whole int) []byte {
	for len(digits) > max(whole, 1) && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	if whole <= 0 {
		b = append(append(b, '0', '.'), "000"[:-whole]...)
	}
	for i, d := range digits {
		if i == whole && i > 0 {
			b = append(b, '.')
		}
		b = append(b, d)
	}
	return b
}

func appendCombined(b []byte, p *Plan, d *assay.Decision) []byte {
	b = appendE(append(b, "combined harm e "...), d.Harm)
	b = appendE(append(b, ", abort at "...), d.AbortAt)
	b = appendExactly(append(b, " (alpha "...), 100*p.Alpha)
	return append(b, " %)"...)
}

func appendLeast(b []byte, p *Plan, d *assay.Decision) []byte {
	b = appendE(append(b, "least safety e "...), d.Safe)
	b = appendE(append(b, ", go on at "...), d.ShipAt)
	b = appendExactly(append(b, " (beta "...), 100*p.Beta)
	b = appendExactly(append(b, " %, margin "...), p.Margin)
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
	b = appendCounted(append(b, " % ("...), r.Bad)
	return append(appendCounted(append(b, " of "...), r.Total), ')')
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
		b = append(appendCounted(b, r.Bad), " in "...)
		b = append(appendCounted(b, r.Total), " requests"...)
	case assay.MeasureTime:
		b = append(appendCounted(b, r.Bad), " in "...)
		b = append(b, (time.Duration(r.Total) * time.Millisecond).Round(time.Second).String()...)
	case assay.MeasureGauge:
		b = append(appendCounted(b, r.Total), " samples"...)
	default:
		b = append(appendCounted(b, r.Total), " requests"...)
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
