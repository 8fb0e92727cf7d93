package term

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCorridorDrawsBothPathsAgainstTheirLines(t *testing.T) {
	up := []float64{0, 1, 2, 3, 4, 5, 6}
	down := []float64{0, 0.5, -1, 0.5, 0.5, 0.5, math.NaN()}
	got := Corridor(up, down, 6, 3, 20, 6)
	if len(got) != 6 {
		t.Fatalf("%d lines, want 6", len(got))
	}
	for i, line := range got {
		if n := utf8.RuneCountInString(line); n != 20 {
			t.Errorf("line %d has %d columns: %q", i, n, line)
		}
	}
	if !strings.Contains(got[0], "╌") || !strings.Contains(got[5], "╌") {
		t.Errorf("the lines that stop and go on are missing:\n%s", strings.Join(got, "\n"))
	}
	// The path that rises ends at its line; the other stays near the middle.
	if end := []rune(got[1]); end[19] < 0x2800 {
		if top := []rune(got[0]); top[19] < 0x2800 {
			t.Errorf("the rising path does not reach its line:\n%s", strings.Join(got, "\n"))
		}
	}
	if strings.ContainsFunc(got[5], func(r rune) bool { return r > 0x2800 }) {
		t.Errorf("the flat path reaches its line:\n%s", strings.Join(got, "\n"))
	}
}

func TestCorridorTakesAnyPath(t *testing.T) {
	for name, path := range map[string][]float64{"empty": nil, "one point": {3}, "infinite": {math.Inf(1), math.Inf(-1)}, "NaN": {math.NaN()}} {
		if got := Corridor(path, path, 0, 0, 0, 0); len(got) != 3 {
			t.Errorf("%s: %q", name, got)
		}
		if got := Corridor(path, path, 7, 3, 40, 8); len(got) != 8 {
			t.Errorf("%s: %q", name, got)
		}
	}
}
