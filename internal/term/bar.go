package term

import (
	"math"
	"strings"
)

// Bar draws a share, 0 to 1, as a filled line of a width in columns. What is not a number
// is empty, and what is above 1 is full.
func Bar(share float64, columns int) string {
	columns = max(columns, 1)
	if !(share > 0) {
		share = 0
	}
	eighths := int(math.Round(8 * float64(columns) * min(share, 1)))
	full := eighths / 8
	b := strings.Repeat("█", full)
	if rest := eighths % 8; rest > 0 {
		b += string([]rune("▏▎▍▌▋▊▉")[rest-1])
		full++
	}
	return b + strings.Repeat("·", columns-full)
}

// Interval draws where a value with its interval lies between low and high, on a line of
// columns, with a mark at another value; low to high is the whole line, and ends outside
// are open. NaN for the value draws the interval alone.
func Interval(value, from, to, mark, low, high float64, columns int) string {
	columns = max(columns, 3)
	line := []rune(strings.Repeat(" ", columns))
	at := func(v float64) int {
		return min(max(int(math.Round((v-low)/(high-low)*float64(columns-1))), 0), columns-1)
	}
	if !(high > low) {
		return string(line)
	}
	for i := at(from); i <= at(to); i++ {
		line[i] = '─'
	}
	if from < low {
		line[0] = '←'
	}
	if to > high {
		line[columns-1] = '→'
	}
	if !math.IsNaN(mark) && mark >= low && mark <= high {
		line[at(mark)] = '┊'
	}
	if !math.IsNaN(value) {
		line[at(value)] = '●'
	}
	return string(line)
}
