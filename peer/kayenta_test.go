package peer_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"assay.dev/assay/peer"
	"pgregory.net/rapid"
)

// arrays are the numbers of Kayenta's own tests.
func arrays(t *testing.T) map[string][]float64 {
	t.Helper()
	data, err := os.ReadFile("testdata/kayenta.json")
	if err != nil {
		t.Fatal(err)
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &raw); err != nil {
		t.Fatal(err)
	}
	delete(raw, "origin")
	out := map[string][]float64{}
	for name, values := range raw {
		var v []float64
		if err := json.Unmarshal(values, &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = v
	}
	return out
}

func repeat(v float64, n int) []float64 { return slices.Repeat([]float64{v}, n) }

// The root finder's tolerance decides where on a step of the statistic the answer
// lies, so published digits prove the port. spinnaker/spinnaker#6278 prints all of them.
func TestMannWhitneyReproducesPublishedDigits(t *testing.T) {
	bad := slices.Concat(repeat(100, 7), repeat(1, 3))
	got, err := peer.MannWhitney(bad, repeat(1, 10), 0.98)
	if err != nil {
		t.Fatal(err)
	}
	want := peer.Shift{Low: 6.825022991538781e-5, High: 99, Estimate: 98.99992904170193}
	if got != want {
		t.Errorf("shift %v, the issue has %v", got, want)
	}
	a := arrays(t)
	for _, c := range []struct {
		name       string
		x, y       []float64
		confidence float64
		low, high  float64
	}{
		{"tie out with R version", a["r_experiment"], a["r_control"], 0.95, -0.500002521696696, -3.486287505871302e-5},
		{"tie out with R version again", a["r2_experiment"], a["r2_control"], 0.98, -0.4999173250549087, -6.912685789769486e-6},
		{"tie out intermediate variables", a["sparse"], a["sparser"], 0.95, 3.521755377702165e-5, 2.02456461662334e-5},
	} {
		got, err := peer.MannWhitney(c.x, c.y, c.confidence)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(got.Low-c.low) > 1e-12 || math.Abs(got.High-c.high) > 1e-12 {
			t.Errorf("%s: %v to %v, R has %v to %v", c.name, got.Low, got.High, c.low, c.high)
		}
	}
}

// classifier is Kayenta's in its tests: 10 % tolerance, 95 %.
func classifier(change func(*peer.KayentaMetric)) peer.KayentaMetric {
	m := peer.NewKayentaMetric("metric", "group")
	m.Tolerance, m.Confidence = 0.10, 0.95
	if change != nil {
		change(&m)
	}
	return m
}

func direction(d peer.Direction) func(*peer.KayentaMetric) {
	return func(m *peer.KayentaMetric) { m.Direction = d }
}

func effects(low, high float64) func(*peer.KayentaMetric) {
	return func(m *peer.KayentaMetric) { m.AllowedDecrease, m.AllowedIncrease = low, high }
}

func critical(low, high float64) func(*peer.KayentaMetric) {
	return func(m *peer.KayentaMetric) { m.Critical, m.CriticalDecrease, m.CriticalIncrease = true, low, high }
}

func cles(low, high float64) func(*peer.KayentaMetric) {
	return func(m *peer.KayentaMetric) {
		m.Tolerance, m.Confidence, m.CLES, m.AllowedDecrease, m.AllowedIncrease = 0.20, 0.98, true, low, high
	}
}

func TestKayentaClassifiesAsItsOwnTests(t *testing.T) {
	a := arrays(t)
	large, small := []float64{20, 22, 21, 25, 30}, []float64{1, 2.2, 1.1, 2.5, 3}
	five := []float64{1, 2, 3, 4, 5}
	noise := rand.New(rand.NewPCG(1, 2)).NormFloat64
	for _, c := range []struct {
		name     string
		change   func(*peer.KayentaMetric)
		x, y     []float64
		want     peer.Classification
		critical bool
	}{
		{"pass", nil, a["ten"], a["ten_again"], peer.Pass, false},
		{"high", nil, a["twenty"], a["ten_again"], peer.High, false},
		{"low", nil, a["ten"], a["twenty_again"], peer.Low, false},
		{"only an increase is bad", direction(peer.Increase), a["ten"], a["twenty_again"], peer.Pass, false},
		{"only a decrease is bad", direction(peer.Decrease), a["twenty"], a["ten_again"], peer.Pass, false},
		{"an increase", direction(peer.Increase), a["twenty"], a["ten_again"], peer.High, false},
		{"a decrease", direction(peer.Decrease), a["ten"], a["twenty_again"], peer.Low, false},
		{"large input", nil, a["sparse"], a["sparser"], peer.High, false},
		{"large input, effect of five times asked", effects(1, 5), a["sparse"], a["sparser"], peer.Pass, false},
		{"effect high", effects(0.8, 1.2), large, small, peer.High, false},
		{"effect low", effects(0.8, 1.2), a["ten"], a["twenty_again"], peer.Low, false},
		{"effect not low enough", effects(0.5, 1), []float64{10, 12.2, 10.1, 12.5, 23}, large, peer.Pass, false},
		{"pairs high", cles(0.2, 0.8), a["cles_high"], a["cles_high_control"], peer.High, false},
		{"pairs low", cles(0.2, 0.8), a["cles_low"], a["cles_low_control"], peer.Low, false},
		{"critical high", critical(1, 1.2), large, small, peer.High, true},
		{"critical low", critical(1.2, 1), []float64{2, 2, 2, 2, 3}, []float64{10, 20.2, 10.1, 20.5, 30}, peer.Low, true},
		{"high but not critically", critical(1, 13), large, small, peer.High, false},
		{"critical by default", critical(1, 1), large, small, peer.High, true},
		{"tied observations", direction(peer.Decrease), repeat(1, 3), repeat(1, 2), peer.Pass, false},
		{"identical in another order", direction(peer.Decrease), five, []float64{5, 4, 3, 2, 1}, peer.Pass, false},
		{"a leading zero", direction(peer.Decrease), []float64{0, 1, 1, 1, 1}, repeat(1, 5), peer.Pass, false},
		{"missing data", direction(peer.Decrease), nil, five, peer.Nodata, false},
		{"missing data of a critical metric", critical(1, 1), nil, five, peer.Nodata, true},
		{"missing data counts as zero", func(m *peer.KayentaMetric) { m.ReplaceNaN = true }, nil, five, peer.Pass, false},
		{"missing data that must be there", func(m *peer.KayentaMetric) { m.MustHaveData = true }, nil, five, peer.NodataFailMetric, false},
		{"mostly tied", nil, []float64{1, 1, 1, 1, 10}, repeat(1, 5), peer.Pass, false},
		{"two constants", nil, repeat(10, 5), repeat(1, 5), peer.High, false},
		{"two constants, one zero", nil, repeat(10, 5), repeat(0, 5), peer.High, false},
		{"zero baseline", effects(0.8, 1.2), []float64{54.9, 54.5, 55.1, 55.6, 57.4}, repeat(0, 5), peer.High, false},
		{"zero canary", effects(0.8, 1.2), repeat(0, 5), []float64{54.9, 54.5, 55.1, 55.6, 57.4}, peer.Low, false},
		{"all zero", effects(0.8, 1.2), repeat(0, 5), repeat(0, 5), peer.Pass, false},
	} {
		got := classifier(c.change).Classify(c.x, c.y, noise)
		if got.Classification != c.want || got.Critical != c.critical {
			t.Errorf("%s: %s, critical %v; want %s, %v", c.name, got.Classification, got.Critical, c.want, c.critical)
		}
	}
	if got := classifier(effects(0.8, 1.2)).Classify(repeat(0, 5), five, noise); !math.IsNaN(got.Deviation) {
		t.Errorf("ratio of means to a mean of 0 is %v, want NaN", got.Deviation)
	}
	if got := classifier(nil).Classify(repeat(10, 5), repeat(1, 5), nil); got.Classification != peer.ClassError {
		t.Errorf("two constants without noise are %s, want Error", got.Classification)
	}
}

// Users reported these as passes that should have failed (spinnaker/kayenta#780 and
// #426, spinnaker/spinnaker#6278). A port that fails them is kinder than the original.
func TestKayentaPassesWhatUsersReported(t *testing.T) {
	m := peer.NewKayentaMetric("metric", "group")
	for name, c := range map[string][2][]float64{
		"seven of ten values at a hundred times": {slices.Concat(repeat(100, 7), repeat(1, 3)), repeat(1, 10)},
		"errors in half of the minutes":          {{0, 1, 2, 1, 0, 0}, repeat(0, 6)},
		"variability": {
			{10.0, 10.1, 10.2, 10.3, 10.4, 10.5, 10.6, 17.0, 17.1, 17.2, 17.3, 17.4, 17.5, 17.6, 17.7},
			{1, 100, 4, 101, 5, 102, 6, 103, 7, 104, 8, 105, 9, 106, 17},
		},
	} {
		if got := m.Classify(c[0], c[1], nil); got.Classification != peer.Pass {
			t.Errorf("%s: %s, Kayenta passes it", name, got.Classification)
		}
	}
	eighth := slices.Concat(repeat(100, 8), repeat(1, 2))
	if got := m.Classify(eighth, repeat(1, 10), nil); got.Classification != peer.High {
		t.Errorf("the eighth value makes it High, got %s", got.Classification)
	}
}

func TestOutliersAreDroppedBeyondBothFences(t *testing.T) {
	m := peer.NewKayentaMetric("metric", "group")
	m.Direction = peer.Increase
	x := slices.Concat(repeat(1, 300), []float64{1.5, 1e9}) // beyond the 99th percentile of 302 values
	y := slices.Concat(repeat(1, 300), []float64{1.5, 1.5})
	with := m.Classify(x, y, nil)
	m.OutlierFactor = 3
	if without := m.Classify(x, y, nil); !(with.Deviation > 1e6) || without.Deviation != 1 {
		t.Errorf("deviation %v with outliers, %v without", with.Deviation, without.Deviation)
	}
}

func TestKayentaScoresAsItsOwnTests(t *testing.T) {
	result := func(c peer.Classification, critical bool, groups ...string) peer.KayentaResult {
		return peer.KayentaResult{Metric: peer.NewKayentaMetric("m", groups...), Classification: c, Critical: critical}
	}
	muted := result(peer.High, false, "a")
	muted.Metric.Muted = true
	halves := map[string]float64{"a": 50, "b": 50}
	for _, c := range []struct {
		name    string
		weights map[string]float64
		results []peer.KayentaResult
		want    float64
	}{
		{"pass", nil, []peer.KayentaResult{result(peer.Pass, false, "a")}, 100},
		{"fail", nil, []peer.KayentaResult{result(peer.High, false, "a")}, 0},
		{"no data", nil, []peer.KayentaResult{result(peer.Nodata, false, "a")}, 0},
		{"no data at all", nil, nil, 0},
		{"a group without data counts as full", nil, []peer.KayentaResult{result(peer.Pass, false, "a"), result(peer.Pass, false, "a"), result(peer.Nodata, false, "b")}, 100},
		{"one of two", nil, []peer.KayentaResult{result(peer.Pass, false, "a"), result(peer.High, false, "a")}, 50},
		{"one of three", nil, []peer.KayentaResult{result(peer.Pass, false, "a"), result(peer.High, false, "a"), result(peer.Low, false, "a")}, 33.33},
		{"weights", map[string]float64{"a": 75, "b": 25}, []peer.KayentaResult{result(peer.Pass, false, "a"), result(peer.Pass, false, "a"), result(peer.High, false, "b")}, 75},
		{"equal weights", halves, []peer.KayentaResult{result(peer.Pass, false, "a"), result(peer.High, false, "a"), result(peer.High, false, "b")}, 25},
		{"equal weights, one without data", halves, []peer.KayentaResult{result(peer.Pass, false, "a"), result(peer.Nodata, false, "a"), result(peer.High, false, "b")}, 50},
		{"a critical failure", nil, []peer.KayentaResult{result(peer.Pass, false, "a"), result(peer.High, true, "a")}, 0},
		{"a critical pass", nil, []peer.KayentaResult{result(peer.Low, false, "a"), result(peer.Pass, true, "a")}, 50},
		{"no data where it is critical", nil, []peer.KayentaResult{result(peer.Pass, false, "a"), result(peer.Nodata, true, "a")}, 0},
		{"unequal weights", map[string]float64{"a": 15, "b": 85}, []peer.KayentaResult{result(peer.High, false, "a"), result(peer.Low, false, "a"), result(peer.Pass, false, "a"), result(peer.High, false, "b")}, 5},
		{"muted", nil, []peer.KayentaResult{result(peer.Pass, false, "a"), muted}, 100},
		{"data that must be there", nil, []peer.KayentaResult{result(peer.Pass, false, "a"), result(peer.NodataFailMetric, false, "a")}, 50},
	} {
		if got := peer.KayentaScore(c.results, c.weights); got != c.want {
			t.Errorf("%s: score %v, want %v", c.name, got, c.want)
		}
	}
}

func TestKayentaStageJudgesEachRun(t *testing.T) {
	stage := peer.KayentaThresholds{Marginal: 75, Pass: 95}
	for _, c := range []struct {
		score float64
		last  bool
		want  string
	}{
		{74.99, false, "abort"}, {75, false, "continue"}, {100, false, "continue"},
		{94.99, true, "abort"}, {95, true, "promote"}, {0, true, "abort"},
	} {
		if got := stage.Judge(c.score, c.last); got != c.want {
			t.Errorf("score %v, last %v: %s, want %s", c.score, c.last, got, c.want)
		}
	}
}

// The interval moves with the sample, turns over with its sign, and the estimate lies
// in it: what must hold of a location shift whatever the root finder does, to within
// its tolerance.
func TestShiftIsEquivariant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Multiples of 1/64: moved by one of them they stay what they are, and ties stay ties.
		value := func(low, high int) *rapid.Generator[float64] {
			return rapid.Map(rapid.IntRange(64*low, 64*high), func(n int) float64 { return float64(n) / 64 })
		}
		sample := rapid.SliceOfN(value(0, 100), 5, 40)
		x, y := sample.Draw(t, "x"), sample.Draw(t, "y")
		by := value(-50, 50).Draw(t, "by")
		a, err := peer.MannWhitney(x, y, 0.98)
		if err != nil {
			t.Skip("all tied")
		}
		moved := slices.Clone(x)
		for i := range moved {
			moved[i] += by
		}
		b, err := peer.MannWhitney(moved, y, 0.98)
		if err != nil {
			t.Skip("all tied")
		}
		if math.Abs(b.Low-a.Low-by) > 1e-3 || math.Abs(b.High-a.High-by) > 1e-3 {
			t.Fatalf("moved by %v: %v became %v", by, a, b)
		}
		if a.Low > a.Estimate+1e-3 || a.High < a.Estimate-1e-3 {
			t.Fatalf("estimate outside: %v", a)
		}
	})
}
