package peer_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/peer"
	"pgregory.net/rapid"
)

// walk plays ticks, g with good checks and b with bad ones, and writes what stands
// after each: weight, failed checks, the phase's first letter.
func walk(a peer.FlaggerAnalysis, ticks string) string {
	var s peer.FlaggerState
	var out []string
	for _, tick := range ticks {
		s = a.Next(s, func() bool { return tick == 'g' })
		text := fmt.Sprintf("%d", s.Weight)
		if s.FailedChecks > 0 {
			text += fmt.Sprintf("!%d", s.FailedChecks)
		}
		switch s.Phase {
		case peer.FlaggerPromoting:
			text += "P"
		case peer.FlaggerFinalising:
			text += "F"
		case peer.FlaggerSucceeded:
			text += "S"
		case peer.FlaggerFailed:
			text += "X"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// The walks are read off scheduler.go of fluxcd/flagger by hand.
func TestFlaggerWalksAsItsScheduler(t *testing.T) {
	steps := peer.FlaggerAnalysis{Threshold: 2, StepWeights: []int{5, 20, 60}}
	shift := peer.FlaggerAnalysis{Threshold: 1, MaxWeight: 30, StepWeight: 20, StepWeightPromotion: 25}
	for _, c := range []struct {
		name     string
		analysis peer.FlaggerAnalysis
		ticks    string
		want     string
	}{
		{"all good", peer.FlaggerDefault(), "gggggggggg", "0 10 20 30 40 50 50P 0F 0S 0S"},
		{"no check before traffic", peer.FlaggerDefault(), "bbb", "0 10 10!1"},
		{"five failures roll back one tick later", peer.FlaggerDefault(), "ggbbbbbgg", "0 10 10!1 10!2 10!3 10!4 10!5 0!5X 0!5X"},
		{"a good check forgives nothing", peer.FlaggerDefault(), "ggbgbgbgbgbg", "0 10 10!1 20!1 20!2 30!2 30!3 40!3 40!4 50!4 50!5 0!5X"},
		{"nothing is checked while promoting", peer.FlaggerDefault(), "gggggggbbb", "0 10 20 30 40 50 50P 0F 0S 0S"},
		{"step weights", steps, "gggggg", "0 5 20 60 60P 0F"},
		{"a check more before promotion", steps, "ggggbbg", "0 5 20 60 60!1 60!2 0!2X"},
		{"past the maximum", shift, "gggggggg", "0 20 40 40P 15P 0F 0S 0S"},
		{"nothing declared", peer.FlaggerAnalysis{}, "ggg", "0 0 0"},
	} {
		if got := walk(c.analysis, c.ticks); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestFlaggerRangeFailsWithoutAValue(t *testing.T) {
	r := peer.FlaggerRange{Min: new(99.0), Max: new(100.0)}
	for _, c := range []struct {
		values []float64
		want   bool
	}{
		{nil, false}, {[]float64{math.NaN()}, false}, {[]float64{99}, true}, {[]float64{98.999}, false},
		{[]float64{100.1}, false}, {[]float64{10, 99.5}, true}, {[]float64{99.5, 10}, false},
	} {
		if got := r.OK(c.values); got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
}

// No sequence of checks lets a rollout succeed that failed Threshold checks.
func TestFlaggerNeverForgets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := peer.FlaggerAnalysis{Threshold: rapid.IntRange(1, 5).Draw(t, "threshold"), MaxWeight: 50, StepWeight: 10}
		var s peer.FlaggerState
		bad := 0
		for range 60 {
			before := s
			s = a.Next(s, func() bool {
				ok := rapid.Bool().Draw(t, "ok")
				if !ok {
					bad++
				}
				return ok
			})
			if s.Weight > before.Weight && bad >= a.Threshold {
				t.Fatalf("weight rose to %d after %d failed checks", s.Weight, bad)
			}
		}
		if s.Phase == peer.FlaggerSucceeded && bad >= a.Threshold {
			t.Fatalf("succeeded with %d failed checks, %d are tolerated", bad, a.Threshold-1)
		}
	})
}

func TestBurnRulesFireOnBothWindows(t *testing.T) {
	rules := peer.BurnRules()
	counts := func(long, short float64) func(time.Duration) (float64, float64) {
		return func(w time.Duration) (float64, float64) {
			if w == rules[0].Long {
				return long * 1000, 1000
			}
			return short * 1000, 1000
		}
	}
	for _, c := range []struct {
		long, short float64
		want        bool
	}{
		{0.0144, 0.0144, false}, // the rule says greater
		{0.0145, 0.0145, true},
		{0.0145, 0.001, false}, // it is over
		{0.001, 0.5, false},    // it has just begun
	} {
		if got := rules[0].Fires(0.999, counts(c.long, c.short)); got != c.want {
			t.Errorf("long %v short %v: %v, want %v", c.long, c.short, got, c.want)
		}
	}
	if rules[0].Fires(0.999, func(time.Duration) (float64, float64) { return 0, 0 }) {
		t.Error("fires without a single event")
	}
	// The workbook: 2 %, 5 % and 10 % of a 30-day budget are gone when the rules fire.
	for i, want := range []float64{0.02, 0.05, 0.10} {
		if got := rules[i].Factor * rules[i].Long.Hours() / (30 * 24); math.Abs(got-want) > 1e-12 {
			t.Errorf("rule %d spends %v of the budget, the workbook says %v", i, got, want)
		}
	}
}

func TestHPAFollowsItsDocumentedArithmetic(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	h := peer.NewHPA(1, 100, 100)
	for _, c := range []struct {
		current int
		metric  float64
		want    int
	}{
		{3, 200, 6},         // ceil(3 · 2): the documentation's example doubles
		{3, 109, 3},         // within 10 %
		{3, 111, 4},         // ceil(3.33)
		{10, 1000, 20},      // at most double in 15 seconds
		{1, 1000, 5},        // or four more
		{3, math.NaN(), 3},  // no value: nothing changes
		{90, 1000, 100},     // the maximum
		{3, math.Inf(1), 7}, // cannot be told from very much
	} {
		if got, _ := h.Next(peer.HPAState{}, c.current, c.metric, at(0)); got != c.want {
			t.Errorf("%d replicas at %v of 100: %d, want %d", c.current, c.metric, got, c.want)
		}
	}
	// Scaling in waits until 300 seconds have recommended nothing higher.
	var s peer.HPAState
	n := 10
	n, s = h.Next(s, n, 100, at(0)) // recommends 10
	for t1 := 15; t1 <= 300; t1 += 15 {
		if n, s = h.Next(s, n, 50, at(t1)); t1 < 300 && n != 10 {
			t.Fatalf("scaled to %d after %d seconds", n, t1)
		}
	}
	if n != 5 {
		t.Errorf("%d replicas after 300 seconds at half the load, want 5", n)
	}
	// Two looks within 15 seconds share one allowance.
	n, s = h.Next(peer.HPAState{}, 10, 1000, at(0))
	if again, _ := h.Next(s, n, 1000, at(5)); again != 20 {
		t.Errorf("%d, then %d five seconds later; want 20 and 20", n, again)
	}
}

func TestMoreLoadNeverMeansFewerReplicasOfHPA(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := peer.NewHPA(1, 1000, 100)
		current := rapid.IntRange(1, 500).Draw(t, "current")
		a := rapid.Float64Range(0, 1000).Draw(t, "a")
		b := rapid.Float64Range(a, 1000).Draw(t, "b")
		now := time.Unix(0, 0)
		less, _ := h.Next(peer.HPAState{}, current, a, now)
		more, _ := h.Next(peer.HPAState{}, current, b, now)
		if more < less {
			t.Fatalf("%d replicas at %v, %d at %v", less, a, more, b)
		}
	})
}

func TestGradient2FollowsItsFormula(t *testing.T) {
	g := peer.NewGradient2()
	s := g.Next(peer.Gradient2State{}, 10, 20)
	if want := 20*0.8 + 24*0.2; s.Limit != want || s.Long != 10 {
		t.Errorf("first sample: limit %v and average %v, want %v and 10", s.Limit, s.Long, want)
	}
	if app := g.Next(s, 1000, 5); app.Limit != s.Limit {
		t.Errorf("limit %v although 5 in flight are under half of it", app.Limit)
	}
	for range 300 {
		s = g.Next(s, 10, 1000)
	}
	if s.Limit != 200 {
		t.Errorf("limit %v with steady latency, want the maximum 200", s.Limit)
	}
	slow := g.Next(s, 100, 1000) // gradient max(0.5, 1.5 · (10 + 90·2/601)/100)
	if want := 200*0.8 + (200*0.5+4)*0.2; math.Abs(slow.Limit-want) > 1e-9 {
		t.Errorf("limit %v at ten times the latency, want %v", slow.Limit, want)
	}
	for range 2000 {
		s = g.Next(s, 100, 1000)
	}
	before := s.Long
	if s = g.Next(s, 10, 1000); s.Long > before*0.96 {
		t.Errorf("average %v after %v: it must fall faster when latency came back", s.Long, before)
	}
}

// ExpAvgMeasurementTest.java of Netflix/concurrency-limits: a mean for the first ten
// samples, then an average over the window.
func TestGradient2AverageHasThePublishedValues(t *testing.T) {
	g := peer.NewGradient2()
	g.Window = 100
	var s peer.Gradient2State
	for i, want := range []float64{10, 10.5, 11, 11.5, 12, 12.5, 13, 13.5, 14, 14.5} {
		if s = g.Next(s, float64(i+10), 0); s.Long != want {
			t.Errorf("average %v after %d samples, want %v", s.Long, i+1, want)
		}
	}
	if s = g.Next(s, 100, 0); math.Abs(s.Long-16.2) > 0.1 {
		t.Errorf("average %v, want 16.2", s.Long)
	}
}

// A region is taken out after three checks in a row that fail, and comes back after three
// that pass; one that speaks for what is begins the count anew.
func TestFailoverCountsChecksInARow(t *testing.T) {
	rule, s := peer.NewFailover(), peer.FailoverState{}
	for i, c := range []struct {
		failed float64
		out    bool
	}{
		{0.6, false}, {0.6, false}, {0.1, false}, {0.6, false}, {0.6, false}, {0.6, true}, // the third in a row
		{0.5, true}, {0.6, true}, {0.5, true}, {0, true}, {0, false},
	} {
		if s = rule.Next(s, c.failed); s.Out != c.out {
			t.Fatalf("check %d: out is %v", i, s.Out)
		}
	}
}

// Replicas that start count as idle when more are wanted and as at their target when
// fewer are, as in Kubernetes' replica_calculator.go.
func TestHPACountsReplicasThatStart(t *testing.T) {
	rule := peer.NewHPA(1, 100, 0.5)
	for _, c := range []struct {
		mean           float64
		ready, current int
		want           float64
	}{
		{1, 10, 10, 1},
		{1, 10, 16, 0.625}, // 10 busy ones of 16
		{1, 10, 20, 0.5},   // enough are on their way
		{1, 10, 40, 0.5},   // more than enough: the direction does not turn round
		{0.1, 10, 20, 0.3}, // (10 × 0.1 + 10 × 0.5) ⁄ 20
	} {
		if got := rule.Metric(c.mean, c.ready, c.current); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("mean %v of %d ready of %d: %v, want %v", c.mean, c.ready, c.current, got, c.want)
		}
	}
}
