package term_test

import (
	"math"
	"testing"

	"assay.dev/assay/internal/term"
)

func TestABarIsAsLongAsItsShare(t *testing.T) {
	for _, c := range []struct {
		share float64
		want  string
	}{
		{0, "····"}, {0.5, "██··"}, {1, "████"}, {7, "████"}, {-1, "····"}, {math.NaN(), "····"}, {0.625, "██▌·"}, {0.01, "····"}, {0.99, "████"},
	} {
		if got := term.Bar(c.share, 4); got != c.want {
			t.Errorf("%v is drawn %q, want %q", c.share, got, c.want)
		}
	}
	if got := term.Bar(1, 0); got != "█" {
		t.Errorf("no columns: %q", got)
	}
}

func TestAnIntervalStandsBetweenItsEndsWithAMark(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		value, from, to, mark float64
		want                  string
	}{
		"inside":     {5, 2, 7, 9, "  ───●── ┊ "},
		"open above": {5, 2, 99, nan, "  ───●────→"},
		"open below": {1, -5, 2, nan, "←●─        "},
		"no value":   {nan, 2, 4, 3, "  ─┊─      "},
	} {
		if got := term.Interval(c.value, c.from, c.to, c.mark, 0, 10, 11); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := term.Interval(1, 0, 2, 1, 3, 3, 4); got != "    " {
		t.Errorf("a line without a length: %q", got)
	}
}

func TestALineIsCutToTheColumnsOfTheTerminal(t *testing.T) {
	for _, c := range []struct {
		line    string
		columns int
		want    string
	}{
		{"errors", 6, "errors"}, {"errors", 5, "erro…"}, {"errors", 0, "errors"}, {"▁▂▃▄", 3, "▁▂…"},
		{"\x1b[33m●\x1b[0m running", 6, "\x1b[33m●\x1b[0m run…\x1b[0m"}, {"\x1b[33m●\x1b[0m", 1, "\x1b[33m●\x1b[0m"}, {"", 3, ""},
		{"支払い", 6, "支払い"}, {"支払い", 5, "支払…"}, {"支払い", 4, "支…"}, {"e\u0301te\u0301", 2, "e\u0301…"},
	} {
		if got := term.Clip(c.line, c.columns); got != c.want {
			t.Errorf("%q in %d columns is %q, want %q", c.line, c.columns, got, c.want)
		}
	}
}
