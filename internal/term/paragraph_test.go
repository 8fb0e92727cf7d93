package term_test

import (
	"bytes"
	"testing"

	"assay.dev/assay/internal/term"
)

func TestAParagraphStandsBesideItsLabelInEightyColumns(t *testing.T) {
	for words, want := range map[string]string{
		"":     "reason\n",
		"one":  "reason  one\n",
		"a\nb": "reason  a b\n",
		"it is not reachable from outside, as the team found when it looked, and a fix is in review":         "reason  it is not reachable from outside, as the team found when it looked, and\n        a fix is in review\n",
		"支払いは外から届かない 支払いは外から届かない 支払いは外から届かない 支払いは外から届かない":                                                    "reason  支払いは外から届かない 支払いは外から届かない 支払いは外から届かない\n        支払いは外から届かない\n",
		"see https://example.com/a/very/long/address/that/nobody/wants/to/have/cut/in/two/parts.html for it": "reason  see\n        https://example.com/a/very/long/address/that/nobody/wants/to/have/cut/in/two/parts.html\n        for it\n",
	} {
		var out bytes.Buffer
		term.New(&out, func(string) string { return "" }).Paragraph("reason  ", words)
		if out.String() != want {
			t.Errorf("%q is\n%swant\n%s", words, &out, want)
		}
	}
}

func TestAParagraphIsAsNarrowAsColumnsSays(t *testing.T) {
	for columns, want := range map[string]string{"16": "reason  not from\n        there\n", "many": "reason  not from there\n", "-1": "reason  not from there\n", "": "reason  not from there\n"} {
		var out bytes.Buffer
		term.New(&out, func(name string) string { return map[string]string{"COLUMNS": columns}[name] }).Paragraph("reason  ", "not from there")
		if out.String() != want {
			t.Errorf("COLUMNS=%s: %q, want %q", columns, &out, want)
		}
	}
}

func TestColumnsOfATableStandBelowEachOtherWhereLettersAreWide(t *testing.T) {
	var out bytes.Buffer
	term.New(&out, func(string) string { return "" }).Table([]string{"NAME", "STATE"}, [][]string{{"支払い", "runs"}, {"e\u0301te\u0301", "runs"}, {"shop-eu", "stops"}})
	if want := "NAME     STATE\n支払い   runs\ne\u0301te\u0301      runs\nshop-eu  stops\n"; out.String() != want {
		t.Errorf("the table is\n%swant\n%s", &out, want)
	}
}
