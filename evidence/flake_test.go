package evidence_test

import (
	"math"
	"testing"

	"assay.dev/assay/evidence"
	"pgregory.net/rapid"
)

func TestFlakeProbabilityPoolsATestWithItsSuite(t *testing.T) {
	near := func(a, b float64) bool { return math.Abs(a-b) < 5e-4 }
	for _, tt := range []struct {
		name        string
		test, suite evidence.History
		mean        float64 // computed by hand from the documented formula
		low, high   float64 // by bisection of another implementation of the incomplete beta function
	}{
		{"nothing is known", evidence.History{}, evidence.History{}, 0.01, 0, 0.0749},
		{"a steady test of a steady suite", evidence.History{Runs: 100}, evidence.History{Runs: 950}, 20 * 0.0005 / 120, 0, 0.0004},
		{"a test that flakes every second time", evidence.History{Runs: 20, Flaked: 10}, evidence.History{Runs: 450, Flaked: 49}, (20*0.099 + 10) / 40, 0.1698, 0.4482},
		{"failures say nothing", evidence.History{Runs: 70, Flaked: 10, Failed: 50}, evidence.History{Runs: 450, Flaked: 49}, (20*0.099 + 10) / 40, 0.1698, 0.4482},
	} {
		mean, low, high := evidence.FlakeProbability(tt.test, tt.suite)
		if !near(mean, tt.mean) || !near(low, tt.low) || !near(high, tt.high) {
			t.Errorf("%s: mean %.4f in [%.4f, %.4f], want %.4f in [%.4f, %.4f]", tt.name, mean, low, high, tt.mean, tt.low, tt.high)
		}
	}
}

func TestFlakeProbabilityIsAProbabilityThatFollowsWhatWasSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := func(label string) evidence.History {
			return evidence.History{
				Runs: rapid.IntRange(-5, 100_000).Draw(t, label), Flaked: rapid.IntRange(-5, 1000).Draw(t, label), Failed: rapid.IntRange(-5, 1000).Draw(t, label),
			}
		}
		h, suite := some("test"), some("suite")
		mean, low, high := evidence.FlakeProbability(h, suite)
		if !(low >= 0 && low <= high && high <= 1 && mean > 0 && mean < 1) {
			t.Fatalf("mean %v in [%v, %v]", mean, low, high)
		}
		more := h
		more.Runs, more.Flaked = more.Runs+1, more.Flaked+1
		steadier := h
		steadier.Runs++
		if h.Runs < 0 || h.Failed < 0 || h.Flaked < 0 || h.Flaked+h.Failed > h.Runs {
			return
		}
		up, _, _ := evidence.FlakeProbability(more, suite)
		down, _, _ := evidence.FlakeProbability(steadier, suite)
		if up <= mean || down >= mean {
			t.Fatalf("mean %v, %v after one more flaky run, %v after one more steady run", mean, up, down)
		}
	})
}
