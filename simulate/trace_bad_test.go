//go:build !race

// See examples_test.go for why.

package simulate_test

import (
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/simulate"
)

func TestParseTraceRefusesWhatIsNoTrace(t *testing.T) {
	cases := []struct {
		name string
		data []byte
		code assay.Code
		says string
	}{
		{"a bomb", unbase(t, packedHuge), assay.CodeTooLarge, "unpacked"},
		{"half an archive", unbase(t, packedArchive)[:60], assay.CodeInvalid, "unpacked"},
		{"one value", []byte("n\n1\n"), assay.CodeInvalid, "needs two"},
		{"a negative rate", []byte("n\n1\n-1\n"), assay.CodeInvalid, "line 3"},
		{"too large", make([]byte, simulate.MaxTraceBytes+1), assay.CodeTooLarge, "at most"},
	}
	for _, c := range cases {
		_, err := simulate.ParseTrace(c.data)
		if assay.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s with %q", c.name, err, c.code, c.says)
		}
	}
}
