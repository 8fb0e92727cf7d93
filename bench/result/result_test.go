package result_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay.dev/assay/bench/result"
)

func TestStatisticsOfSamples(t *testing.T) {
	for _, c := range []struct {
		name                 string
		samples              []float64
		median, spread, high float64 // high is the 99th percentile
	}{
		{"none", nil, 0, 0, 0},
		{"one", []float64{4}, 4, 0, 4},
		{"odd, unsorted", []float64{9, 1, 5}, 5, 1.6, 9},
		{"even", []float64{1, 2, 4, 5}, 3, 4.0 / 3, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(c.samples)
			if got := result.Median(c.samples); got != c.median {
				t.Errorf("median %v, want %v", got, c.median)
			}
			if got := result.Spread(c.samples); got != c.spread {
				t.Errorf("spread %v, want %v", got, c.spread)
			}
			if got := result.Percentile(c.samples, 0.99); got != c.high {
				t.Errorf("99th percentile %v, want %v", got, c.high)
			}
			if !slices.Equal(before, c.samples) {
				t.Error("the samples were reordered")
			}
		})
	}
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for p, want := range map[float64]float64{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := result.Percentile(hundred, p); got != want {
			t.Errorf("percentile %v of 1..100 is %v, want %v", p, got, want)
		}
	}
}

func TestRatioIsTheMedianOfTheRoundsRatios(t *testing.T) {
	ours, peer := []float64{10, 100, 30}, []float64{20, 100, 30}
	row := result.New("x", "1/s", ours).Against("other", ours, peer).WantRatio(">=", 0.5)
	if *row.Ratio != 1 || row.Ours != 30 || *row.Peer != 30 || !row.Holds {
		t.Errorf("ratio %v of %v to %v, holds %v; want the median ratio 1", *row.Ratio, row.Ours, *row.Peer, row.Holds)
	}
	row = result.New("x", "1/s", ours).Against("other", ours, []float64{60})
	if *row.Ratio != 0.5 {
		t.Errorf("ratio %v of medians, want 0.5", *row.Ratio)
	}
}

func TestTargetsHoldAtTheirBoundaryAsWritten(t *testing.T) {
	row := result.New("x", "ms", []float64{20})
	for op, want := range map[string]bool{"<": false, "<=": true, ">": false, ">=": true, "=": false} {
		if got := row.Want(op, 20); got.Holds != want || got.Target != op+" 20" {
			t.Errorf("20 %s: holds %v with target %q, want %v", op, got.Holds, got.Target, want)
		}
	}
	if row.WantRatio(">=", 0.5).Holds {
		t.Error("a target for a ratio holds without a peer")
	}
	missed := result.Missed([]result.Row{row, row.Want("<", 20), row.Want("<=", 20)})
	if len(missed) != 1 || missed[0].Target != "< 20" {
		t.Errorf("missed %v, want the one row that does not hold", missed)
	}
}

func rows() []result.Row {
	samples := []float64{12000, 11000, 13000}
	return []result.Row{
		result.New("appends", "1/s", samples).Against("bare table", samples, []float64{24000, 22000, 26000}).Within(1700).Want(">=", 10000),
		result.New("start", "ms", []float64{70.25}).Want("<", 60),
		result.New("size", "MB", []float64{31.5}),
	}
}

func TestJSONHasEveryFieldOfEveryRow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out", "rows.json")
	if err := result.Write(path, rows()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("%d rows, want 3", len(got))
	}
	for i, row := range got {
		for _, field := range []string{"name", "unit", "ours", "peer", "peer_name", "ratio", "limit", "target", "holds", "rounds", "noise"} {
			if _, ok := row[field]; !ok {
				t.Errorf("row %d has no field %q", i, field)
			}
		}
	}
	first, last := got[0], got[2]
	if first["ours"] != 12000.0 || first["peer"] != 24000.0 || first["peer_name"] != "bare table" || first["ratio"] != 0.5 ||
		first["limit"] != 1700.0 || first["target"] != ">= 10000" || first["holds"] != true {
		t.Errorf("first row %v", first)
	}
	if got[1]["holds"] != false {
		t.Error("70 ms holds a target of 60 ms")
	}
	if last["peer"] != nil || last["peer_name"] != nil || last["ratio"] != nil || last["limit"] != nil || last["target"] != "none" {
		t.Errorf("row without a peer %v, want null", last)
	}
}

func TestTableIsAlignedAndSaysWhatDoesNotHold(t *testing.T) {
	var b bytes.Buffer
	if err := result.Table(&b, rows()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines, want a heading and 3 rows:\n%s", len(lines), &b)
	}
	at := strings.Index(lines[0], "target")
	for i, want := range []string{">= 10000", "< 60", "none"} {
		if line := lines[i+1]; len(line) < at || !strings.HasPrefix(line[at:], want) {
			t.Errorf("row %d has no %q below its heading:\n%s", i, want, &b)
		}
	}
	if strings.Contains(lines[1], "NO") || !strings.Contains(lines[2], "NO") {
		t.Errorf("the second row alone does not hold:\n%s", &b)
	}
}
