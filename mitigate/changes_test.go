package mitigate_test

import (
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/mitigate"
)

func TestTheSizeOfAChangeIsReadFromItsDiff(t *testing.T) {
	got, err := mitigate.ParseChanges(strings.NewReader("12\t3\tshop.go\n-\t-\tlogo.png\r\n\n0\t40\told/a file.go\n"))
	if want := (api.Change{Lines: 55, Files: 3}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for text, want := range map[string]assay.Code{
		"12 3 shop.go\n":  assay.CodeInvalid,
		"1\t2\t\n":        assay.CodeInvalid,
		"1\tmany\ta.go\n": assay.CodeInvalid,
		"-1\t2\ta.go\n":   assay.CodeInvalid,
		"\x00\x01\n":      assay.CodeInvalid,
		strings.Repeat("1\t1\ta\n", mitigate.MaxChangedFiles+1): assay.CodeTooLarge,
		"1\t1\t" + strings.Repeat("a", 70_000):                  assay.CodeTooLarge,
	} {
		if _, err := mitigate.ParseChanges(strings.NewReader(text)); assay.CodeOf(err) != want {
			t.Errorf("%.20q: %v; want %s", text, err, want)
		}
	}
}

func FuzzParseChanges(f *testing.F) {
	f.Add("12\t3\tshop.go\n-\t-\tlogo.png\n")
	f.Add("1\t2")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := mitigate.ParseChanges(strings.NewReader(text))
		if err == nil && (c.Lines < 0 || c.Files < 0) {
			t.Errorf("%+v", c)
		}
		if err == nil {
			if _, err := mitigate.Risk(mitigate.Proposed{Lines: c.Lines, Files: c.Files}); err != nil {
				t.Error(err)
			}
		}
	})
}
