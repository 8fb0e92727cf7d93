package term

import (
	"math"
	"strings"
)

// Corridor draws two paths from a middle line, up above it and down below it, in
// braille dots, with dashed lines where they are measured against: top and bottom.
// It has as many lines as rows, each of as many columns. Values below zero lie on
// the middle line, NaN is a gap.
func Corridor(up, down []float64, top, bottom float64, columns, rows int) []string {
	columns, rows = max(columns, 2), max(rows, 3)
	above := max(1, int(math.Round(float64(rows)*top/(top+bottom))))
	above = min(above, rows-1)
	dots := make([]byte, columns*rows)
	// Each half has 4 dots per row; its line lies one row from the outer end, so that
	// what goes beyond it is seen.
	trace := func(values []float64, at float64, height, zero, sign int) {
		scale := (4*float64(height) - 4) / max(at, 1e-9)
		if height == 1 {
			scale = 3 / max(at, 1e-9)
		}
		last := math.NaN()
		for x := range 2 * columns {
			if len(values) == 0 {
				return
			}
			v := values[min(len(values)-1, x*len(values)/(2*columns))]
			if math.IsNaN(v) {
				last = v
				continue
			}
			y := math.Min(math.Round(max(v, 0)*scale), 4*float64(height)-1)
			from := y
			if !math.IsNaN(last) {
				from = last
			}
			for k := min(from, y); k <= max(from, y); k++ {
				set(dots, columns, x, zero-sign*int(k))
			}
			last = y
		}
	}
	trace(up, top, above, 4*above-1, 1)
	trace(down, bottom, rows-above, 4*above, -1)
	lines := map[int]bool{0: above > 1, above: false, rows - 1: rows-above > 1}
	out := make([]string, rows)
	for r := range rows {
		var b strings.Builder
		for c := range columns {
			switch bits := dots[r*columns+c]; {
			case bits != 0:
				b.WriteRune(0x2800 + rune(bits))
			case lines[r] && c%2 == 0:
				b.WriteRune('╌')
			default:
				b.WriteByte(' ')
			}
		}
		out[r] = b.String()
	}
	return out
}

// braille are the bits of the dots of one character, by row and column.
var braille = [4][2]byte{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

func set(dots []byte, columns, x, y int) {
	if i := y/4*columns + x/2; y >= 0 && i < len(dots) {
		dots[i] |= braille[y%4][x%2]
	}
}
