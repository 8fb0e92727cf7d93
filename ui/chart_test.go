package ui

import (
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/anomaly"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/slo"
)

func through(points ...api.PathPoint) api.Rollout {
	r := api.Rollout{Plan: decide.Plan{Canary: "v2", Control: "v1"}, Path: points, Decision: &assay.Decision{AbortAt: math.Log(2000), ShipAt: math.Log(20)}}
	for i := range r.Path {
		r.Path[i].Time = time.Unix(1_700_000_000+int64(i), 0)
	}
	return r
}

func TestATimeWithoutDataIsAGapAndNeverAZero(t *testing.T) {
	p := plot{x: scale{0, 4}, y: scale{0, 1}, height: 10}
	pts := []pt{{0, 0.5}, {1, 0.5}, {2, math.NaN()}, {3, 0.5}, {4, 0.5}}
	p.line("x", pts)
	p.area("x", pts, 0, false)
	p.band("x", pts, pts)
	out := string(p.svg("gap"))
	if strings.Count(out, `d="M0.0 500.0L250.0 500.0M750.0 500.0L1000.0 500.0"`) != 1 || strings.Count(out, `class="area x"`) != 4 {
		t.Errorf("the line does not break: %s", out)
	}
	if strings.Contains(out, "NaN") {
		t.Errorf("a gap is drawn as NaN: %s", out)
	}
}

// The last step is taken after the last look, so the path does not know it.
func TestTheShareOfAnEndedRolloutStaysWithinItsChart(t *testing.T) {
	r := through(api.PathPoint{Weight: 10}, api.PathPoint{Weight: 50}, api.PathPoint{Weight: 50})
	r.Status, r.Weight = api.RolloutPromoted, 100
	if out := string(shareChart(r)); !strings.Contains(out, ">100 %<") {
		t.Errorf("100 %% of the traffic lies above the chart: %s", out)
	}
}

// What harmed only under watch stands in the picture of errors, and the past that it is
// held against is no traffic beside it.
func TestTheWatchOfARolloutIsInThePicturesOfItsCourse(t *testing.T) {
	r := through(
		api.PathPoint{Weight: 50}, api.PathPoint{Weight: 50, Canary: assay.Rate{Bad: 1, Total: 500}, Control: assay.Rate{Bad: 5, Total: 500}},
		api.PathPoint{Weight: 50, Canary: assay.Rate{Bad: 2, Total: 1000}, Control: assay.Rate{Bad: 10, Total: 1000}})
	end := r.Path[2].Time
	watched := func(after time.Duration, bad, total uint64) api.PathPoint {
		return api.PathPoint{Time: end.Add(after), Weight: 100, Canary: assay.Rate{Bad: bad, Total: total}, Control: assay.Rate{Bad: total / 100, Total: total}}
	}
	r.Watch = &api.Watch{Began: end.Add(time.Second), Path: []api.PathPoint{watched(2*time.Second, 0, 0), watched(6*time.Second, 2, 1000), watched(10*time.Second, 482, 2000)}}
	r.Status = api.RolloutReverted
	path, began := course(r)
	if last := path[len(path)-1]; len(path) != 6 || last.Canary != (assay.Rate{Bad: 484, Total: 3000}) || last.Control != (assay.Rate{Bad: 30, Total: 3000}) || began != seconds(end)+1 {
		t.Fatalf("%+v since %v", path, began)
	}
	errors := string(errorsChart(r))
	for _, want := range []string{"watch, beside v1 in its past", "v2 48 % of 1,000"} {
		if !strings.Contains(errors, want) {
			t.Errorf("no %q in %s", want, errors)
		}
	}
	share := string(shareChart(r))
	if !strings.Contains(share, ">100 %<") || !strings.Contains(share, "50 % of 2,000 requests") || strings.Count(share, "requests<") != 1 {
		t.Errorf("the past is counted as traffic: %s", share)
	}
}

func TestAShareIsDrawnInPercentAndACountAsANumber(t *testing.T) {
	for name, want := range map[string]string{"bad share": ">1 %<", "requests": ">0.01<"} {
		l := anomaly.Indicator{Name: name, Points: []anomaly.Point{{Time: time.Unix(0, 0), Value: 0.005, Known: true}, {Time: time.Unix(60, 0), Value: 0.009, Known: true}}}
		if out := string(bandChart(l, nil)); !strings.Contains(out, want) {
			t.Errorf("%s: no %q in %s", name, want, out)
		}
	}
}

func TestBinsAddUpToThePath(t *testing.T) {
	var points []api.PathPoint
	for i := range uint64(100) {
		points = append(points, api.PathPoint{Canary: assay.Rate{Bad: i, Total: 50 * i}, Control: assay.Rate{Bad: 2 * i, Total: 500 * i}})
	}
	r := through(points...)
	all := bins(r.Path)
	var canary, control assay.Rate
	for _, b := range all {
		canary.Bad, canary.Total = canary.Bad+b.canary.Bad, canary.Total+b.canary.Total
		control.Bad, control.Total = control.Bad+b.control.Bad, control.Total+b.control.Total
	}
	if last := points[99]; canary != last.Canary || control != last.Control || len(all) != maxBins {
		t.Errorf("%d bins hold %v and %v of %v and %v", len(all), canary, control, last.Canary, last.Control)
	}
	if thin := bins(through(points[:6]...).Path); len(thin) > 5 {
		t.Errorf("a few requests are spread over %d bins", len(thin))
	}
}

func TestChartsStandWhatTheyAreGiven(t *testing.T) {
	wild := []api.PathPoint{
		{}, {Harm: math.Inf(-1), Safe: math.NaN()}, {Harm: 1e300, Safe: -1e300, Canary: assay.Rate{Bad: 9, Total: 3}, Weight: 10},
		{Canary: assay.Rate{Total: math.MaxUint64}, Control: assay.Rate{Bad: 1, Total: 1}, Weight: 200},
	}
	for n := range len(wild) + 1 {
		r := through(wild[:n]...)
		for name, got := range map[string]string{"evidence": string(evidenceChart(r)), "share": string(shareChart(r)), "errors": string(errorsChart(r))} {
			if strings.Contains(got, "NaN") || strings.Contains(got, "Inf") {
				t.Errorf("%s of %d points: %s", name, n, got)
			}
		}
	}
	for _, before := range []float64{math.Inf(-1), math.NaN(), -800, 0, 800} {
		if got := string(beliefChart("harm", before, -before, 7.6)); strings.Contains(got, "NaN") {
			t.Errorf("belief from %v: %s", before, got)
		}
	}
}

func TestWhatRestsOnTheSecondSourceIsDrawnAndSaid(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	o := api.Objective{Known: true, Allowed: 100, Remaining: 90, Total: 1000}
	o.Objective.Window = slo.Window{Duration: slo.Duration{N: 1, Unit: 'h'}, Rolling: true}
	for m := range 10 {
		o.Minutes = append(o.Minutes, api.Minute{Time: now.Add(time.Duration(m-10) * time.Minute), Known: true, Second: m > 6, Good: 99, Total: 100})
	}
	row := newObjectiveRow(o)
	if out := string(burnDown(o, now)); strings.Contains(out, `class="second"`) || row.SecondWords() != "" {
		t.Errorf("nothing rests on it: %q, %s", row.SecondWords(), out)
	}
	o.Second, o.Instead, o.SecondSpans = 3, "the first has told nothing since 2026-11-23T11:57:00Z", []slo.Span{{From: now.Add(-3 * time.Minute), To: now}}
	if out := string(burnDown(o, now)); !strings.Contains(out, `<rect class="second" x="70.00%" width="30.00%" height="100%"/>`) {
		t.Errorf("the last three of ten minutes: %s", out)
	}
	row = newObjectiveRow(o)
	if want := "3 of the window's minutes rest on its second source, the newest too: the first has told nothing since 2026-11-23T11:57:00Z"; row.SecondWords() != want || !row.OnSecond() {
		t.Errorf("%q, want %q", row.SecondWords(), want)
	}
}

func TestTheBudgetOfAWholeWindowIsCounted(t *testing.T) {
	o := api.Objective{Objective: slo.Objective{Window: slo.Window{Rolling: true, Duration: slo.Duration{N: 3, Unit: 'm'}}}, Allowed: 30, Remaining: 20}
	must(t, o.Objective.Target.UnmarshalText([]byte("0.9")))
	for i, good := range []uint64{90, 80, 100, 100, 90} {
		o.Minutes = append(o.Minutes, api.Minute{Time: time.Unix(int64(60*i), 0), Known: i != 3, Good: good, Total: 100})
	}
	o.Minutes[3].Good, o.Minutes[3].Total = 0, 0
	left := budgetLeft(o)
	// Minutes 0 to 2 are a whole window and spend 30 of 30, the last three 10 of 20; before that it is what is left now and was spent since.
	for i, want := range []float64{5.0 / 3, 1, 0, math.NaN(), 0.5} {
		if got := left[i].y; math.Abs(got-want) > 1e-9 || math.IsNaN(got) != math.IsNaN(want) {
			t.Errorf("after minute %d %v is left, want %v", i, got, want)
		}
	}
}

func TestNumbersReadWell(t *testing.T) {
	for want, got := range map[string]string{
		"1,234,567": num(1234567), "−1,234": num(int64(-1234)), "0": num(0), "0.71 %": percent(0.0071), "3.9 %": percent(0.0391),
		"< 0.01 %": percent(0.00001), "100 %": percent(1), "8,946": evalue(math.Log(8946)), "10²⁰": evalue(20 * math.Ln10), "10⁻⁶": evalue(-6 * math.Ln10),
		"0.02": evalue(math.Log(0.02)), "–": evalue(math.Inf(-1)), "0.9× to ∞": between(0.91, 0), "0 to 12×": between(0, 12.3), "no data": ratePercent(assay.Rate{}),
		"6 per request":            armWords(assay.TestValue{Measure: assay.MeasureCount, Canary: assay.Rate{Bad: 12, Total: 2}, CanaryMean: 6}, true),
		"0.41":                     armWords(assay.TestValue{Measure: assay.MeasureGauge, Control: assay.Rate{Total: 3}, ControlMean: 0.41}, false),
		"+100 % (+53 % to +162 %)": divergenceWords(assay.Divergence{Value: 1, Low: 0.53, High: 1.62, Unit: "more"}),
		"0.00":                     hundredths(-0.004),
		"-0.02":                    hundredths(-0.02),
		"2×":                       timesShort(2),
		"1.5×":                     timesShort(1.5),
		"+100 % of the distance from the best (+42 % to open)": divergenceWords(assay.Divergence{Value: 1, Low: 0.42, Unit: "further"}),
		"01a20097…b33b": shortID("01a20097-1aec-7cff-90ad-814ee224b33b"), "58 s": span(58 * time.Second), "2 d": span(50 * time.Hour), "1.4 s": took(1400 * time.Millisecond),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingComesMoreOftenThanAlways(t *testing.T) {
	c := infer.Calibration{N: 50}
	c.Bins[0] = 1
	if out := string(calibrationChart(c)); !strings.Contains(out, ">100 %<") || strings.Contains(out, ">160 %<") {
		t.Errorf("the scale of a share goes beyond all: %s", out)
	}
}
