package openmetrics_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/openmetrics"
)

func all(r *openmetrics.Reader) (out []signal.Sample, err error) {
	for {
		list, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, list...)
	}
}

func TestAFileIsReadInPiecesWhateverItsLength(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("# HELP requests Requests.\n# TYPE requests counter\n")
	const n = 120_000
	for i := range n {
		fmt.Fprintf(&text, "requests_total{code=\"200\"} %d %d.5 # {trace_id=\"x\"} 1\n", i, 1_700_000_000+i*60)
	}
	text.WriteString("# TYPE load gauge\nload 0.5 1700000000\n# EOF\n")
	r := openmetrics.New("history.om", strings.NewReader(text.String()))
	got, err := all(r)
	if err != nil || len(got) != n+1 {
		t.Fatalf("%d samples, %v", len(got), err)
	}
	if s := got[7]; s.Labels.String() != `{__name__="requests_total", code="200"}` || s.Time != 1_700_000_420_500 || s.Value != 7 {
		t.Errorf("%+v", s)
	}
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text.String()))); string(r.Digest()) != want || r.Bytes() != int64(text.Len()) {
		t.Errorf("%s of %d bytes", r.Digest(), r.Bytes())
	}
}

func TestAFileThatCannotBeUnderstoodIsRefusedWithItsLine(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("x_total 1 1700000000\n", 60_000)
	for name, tt := range map[string]struct{ text, want string }{
		"cut off":              {good, "f.om:60000: is the last and not # EOF: the file was cut off"},
		"cut off in a line":    {good + "x_total 1", "f.om:60001: is the last and not # EOF"},
		"empty":                {"", "f.om:1: is the last and not # EOF"},
		"after the end":        {good + "# EOF\nx_total 1 1700000000\n", "f.om:60002: stands after # EOF"},
		"no timestamp":         {good + "x_total 1\n# EOF\n", "f.om:60001: the sample has no timestamp"},
		"milliseconds":         {good + "x_total 1 1795372185000\n# EOF\n", "f.om:60001: the timestamp 1795372185000 is after the year 9999: OpenMetrics counts seconds since 1970, and this looks like milliseconds"},
		"compressed":           {"\x1f\x8b\x08\x00\n# EOF\n", "f.om: is gzip-compressed (decompress it first: gzip -dc FILE | assay telemetry import -)"},
		"no value":             {good + "x_total\n" + good + "# EOF\n", "f.om:60001: expected value after metric"},
		"a quote is not ended": {"x{a=\"b} 1 1\n# EOF\n", "f.om:1: expected label value"},
		"an empty line":        {good + "\n# EOF\n", "f.om:60001: is empty"},
		"a long line":          {good + strings.Repeat("x", openmetrics.MaxLine+1) + "\n# EOF\n", "f.om:60001: has more than 65536 bytes"},
		"a table":              {"timestamp,value\n1,2\n# EOF\n", "f.om:1: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := all(openmetrics.New("f.om", strings.NewReader(tt.text)))
			if err == nil || assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzReader(f *testing.F) {
	f.Add("# TYPE x counter\nx_total{a=\"b\"} 1 1.5\n# EOF\n")
	f.Add("x 1 1 # {a=\"b\"} 1 1\n# EOF")
	f.Add("x{\"a\"} NaN -1e300\n# EOF\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := all(openmetrics.New("f.om", strings.NewReader(text)))
		if err != nil && assay.CodeOf(err) != assay.CodeInvalid {
			t.Fatal(err)
		}
		if err == nil && !strings.Contains(text, "# EOF") {
			t.Errorf("%d samples of a file without an end", len(got))
		}
	})
}
