package slo

import (
	"errors"
	"math/bits"
	"strconv"
	"strings"
)

// ratioDigits are the decimal places that a Ratio keeps: one in a billion.
const ratioDigits = 9

// ratioDen is the common denominator of every Ratio.
const ratioDen = 1_000_000_000

// Ratio is an exact decimal share from 0 to 1 in billionths. The text 0.995 is
// 995000000, not the nearest binary fraction, so budgets come out whole.
type Ratio uint64

// One is the whole.
const One Ratio = ratioDen

var errRatio = errors.New("it is not a decimal number from 0 to 1 with at most 9 decimal places")

// UnmarshalText reads plain decimal notation, for example 0.995. An exponent is refused.
func (r *Ratio) UnmarshalText(text []byte) error {
	v, err := parseDecimal(string(text), ratioDigits)
	if err != nil || v > ratioDen {
		return errRatio
	}
	*r = Ratio(v)
	return nil
}

// MarshalText writes the shortest decimal that reads back the same.
func (r Ratio) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String is the shortest decimal, for example 0.995.
func (r Ratio) String() string { return r.decimal(ratioDigits) }

// Percent is the share in percent, for example 99.5.
func (r Ratio) Percent() string { return r.decimal(ratioDigits - 2) }

func (r Ratio) decimal(digits int) string {
	s := strconv.FormatUint(uint64(r), 10)
	if len(s) <= digits {
		s = strings.Repeat("0", digits+1-len(s)) + s
	}
	whole, frac := s[:len(s)-digits], strings.TrimRight(s[len(s)-digits:], "0")
	if frac == "" {
		return whole
	}
	return whole + "." + frac
}

// Float is the nearest float64, for display and statistics.
func (r Ratio) Float() float64 { return float64(r) / ratioDen }

// Of returns the whole part of r times n; exact for every n.
func (r Ratio) Of(n uint64) uint64 {
	hi, lo := bits.Mul64(n, uint64(r))
	q, _ := bits.Div64(hi, lo, ratioDen) // hi < ratioDen since r <= ratioDen
	return q
}

// parseDecimal reads "12.5" as 12.5 × 10^digits. More decimal places than that,
// a sign or an exponent are refused: no digit that somebody wrote is dropped.
func parseDecimal(s string, digits int) (uint64, error) {
	whole, frac, dot := strings.Cut(s, ".")
	frac = strings.TrimRight(frac, "0")
	switch {
	case whole == "" || len(whole) > 9 || strings.Trim(whole, "0123456789") != "":
		return 0, errRatio
	case dot && strings.HasSuffix(s, "."), len(frac) > digits, strings.Trim(frac, "0123456789") != "":
		return 0, errRatio
	}
	return strconv.ParseUint(whole+frac+strings.Repeat("0", digits-len(frac)), 10, 64)
}

// percent is a Ratio written as a percentage, for OpenSLO's targetPercent.
type percent Ratio

// UnmarshalText reads 99.5 as 0.995.
func (p *percent) UnmarshalText(text []byte) error {
	v, err := parseDecimal(string(text), ratioDigits-2)
	if err != nil || v > ratioDen {
		return errors.New("it is not a percentage from 0 to 100 with at most 7 decimal places")
	}
	*p = percent(v)
	return nil
}

// Factor is a burn rate such as 2 or 14.4, in billionths.
type Factor uint64

// UnmarshalText reads plain decimal notation, at most 9 decimal places.
func (f *Factor) UnmarshalText(text []byte) error {
	v, err := parseDecimal(string(text), ratioDigits)
	if err != nil {
		return errors.New("it is not a plain decimal number with at most 9 decimal places")
	}
	*f = Factor(v)
	return nil
}

// String is the shortest decimal, for example 14.4.
func (f Factor) String() string { return Ratio(f).String() }
