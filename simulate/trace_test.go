package simulate_test

import (
	"bytes"
	"encoding/base64"
	"testing"
	"testing/fstest"

	"assay.dev/assay"
	"assay.dev/assay/simulate"
)

// Packed by bzip2: numbers; an archive of tar with one file of them; 80 MiB
// of white space, which is more than may be unpacked.
const (
	packedNumbers = "QlpoOTFBWSZTWUDhnskAAANYAAAQQAB4ACAAIhhoMAtQAvwu5IpwoSCBwz2S"
	packedArchive = "QlpoOTFBWSZTWcI0dv0AAHn7gMqQAEBAAX0ABABkDJ7ACAggAFQyoeo9TTIGhpo8gkpqaPUNNNAAH3V4yEDxQhEuaWmMrnQIgFTDtSO1GFCxgRO8hVfHhFELkl1A1nTn2rJkzuzvLUkgWF3JFOFCQwjR2/Q="
	packedHuge    = "QlpoOTFBWSZTWbUiZb8BX44QAMAAAAggADCATUZCoCWpCoCXMUFZJlNZ4tbcCgEi9lAAoABAAAAIIAAwzAUppxhKpCNgSqQjxdyRThQkIiSF3UA="
)

func unbase(t testing.TB, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseTraceReadsTheFormsInWhichTracesAreGivenOut(t *testing.T) {
	cases := []struct {
		name string
		data []byte
		want int
	}{
		{"csv", []byte("time,n\n0,1\n1,0\n2,3\n"), 3},
		{"numbers.bz2", unbase(t, packedNumbers), 5},
		{"numbers.tbz2", unbase(t, packedArchive), 5},
	}
	for _, c := range cases {
		values, err := simulate.ParseTrace(c.data)
		if err != nil || len(values) != c.want || values[0] != 1 || values[1] != 0 || values[2] != 3 {
			t.Errorf("%s: %v %v", c.name, values, err)
		}
	}
}

// TestATraceThatIsFinerThanTheTicksKeepsItsSum plays a value a second in ticks of 10 s.
func TestATraceThatIsFinerThanTheTicksKeepsItsSum(t *testing.T) {
	var rows bytes.Buffer
	rows.WriteString("n\n")
	for range 360 {
		rows.WriteString("100\n0\n0\n0\n0\n0\n0\n0\n0\n0\n")
	}
	fsys := fstest.MapFS{"t.csv": {Data: rows.Bytes()}}
	r := run(t, fsys, head+`  duration: 1h
  seeds: 1
  traces: [{service: shop, file: t.csv, step: 1s}]
  world: {services: [{name: shop, traffic: {rate: 50}, work: 10ms, replicas: 2}]}
`, simulate.Options{})
	// One value of ten would be 500 requests a second or none.
	if n := r.Rows[0].Runs[0].Requests; n < 175_000 || n > 185_000 {
		t.Fatalf("%d requests in an hour at 50 a second", n)
	}
	if bad := r.Rows[0].BadShare.Mean; bad > 0.01 {
		t.Fatalf("%.3f of the requests are bad: the traffic came in heaps", bad)
	}
}

func FuzzParseTrace(f *testing.F) {
	f.Add([]byte("t,n\n0,1\n1,2\n"))
	f.Add([]byte("t,n\n\"0,1\n"))
	f.Add(unbase(f, packedNumbers))
	f.Add(unbase(f, packedArchive))
	f.Add(unbase(f, packedArchive)[:80])
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := simulate.ParseTrace(data)
		if err == nil && (len(values) < 2 || len(values) > simulate.MaxTraceValues) {
			t.Fatal("a trace of", len(values))
		}
		for _, v := range values {
			if !(v >= 0) {
				t.Fatal(v)
			}
		}
		if code := assay.CodeOf(err); err != nil && code != assay.CodeInvalid && code != assay.CodeTooLarge {
			t.Fatal(err)
		}
	})
}
