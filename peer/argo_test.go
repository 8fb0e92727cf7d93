package peer_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"assay.dev/assay/peer"
	"pgregory.net/rapid"
)

// values makes samples of a text: a good, b bad, n NaN, e an error, 0 an empty result.
func samples(text string) (out []peer.ArgoSample) {
	for _, c := range text {
		switch c {
		case 'a':
			out = append(out, peer.ArgoSample{Values: []float64{1}})
		case 'b':
			out = append(out, peer.ArgoSample{Values: []float64{0.5}})
		case 'm':
			out = append(out, peer.ArgoSample{Values: []float64{0.95}})
		case 'n':
			out = append(out, peer.ArgoSample{Values: []float64{math.NaN()}})
		case 'e':
			out = append(out, peer.ArgoSample{Err: errors.New("connection refused")})
		case '0':
			out = append(out, peer.ArgoSample{})
		}
	}
	return out
}

func play(m peer.ArgoMetric, text string) (r peer.ArgoResult) {
	for _, s := range samples(text) {
		r = m.Next(r, s)
	}
	return r
}

func below(v float64) func(float64) bool { return func(x float64) bool { return x < v } }

func TestArgoMetricEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*peer.ArgoMetric)
		text   string
		want   peer.Phase
		count  int
	}{
		{"ten good minutes succeed", nil, "aaaaaaaaaa", peer.Successful, 10},
		{"three failures are tolerated", nil, "bbbaaaaaaa", peer.Successful, 10},
		{"the fourth is not", nil, "abababab", peer.Failed, 8},
		{"nothing after the end counts", nil, "bbbbaaaa", peer.Failed, 4},
		{"an error is no answer", nil, "aaaaaaaaaeeee", peer.Running, 9},
		{"four errors in a row are tolerated", nil, "eeeeaaaaaaaaaa", peer.Successful, 10},
		{"the fifth is not", nil, "eeeee", peer.Errored, 0},
		{"an answer in between forgives", nil, "eeeeaeeee", peer.Running, 1},
		{"an empty result is an error", nil, "00000", peer.Errored, 0},
		{"NaN fails a success condition", nil, "nnnn", peer.Failed, 4},
		{"NaN passes a failure condition", func(m *peer.ArgoMetric) { m.Success, m.Failure = nil, below(0.99) }, "nnnnnnnnnn", peer.Successful, 10},
		{"NaN is inconclusive between two", func(m *peer.ArgoMetric) { m.Failure = below(0.9) }, "n", peer.Inconclusive, 1},
		{"between two conditions is inconclusive", func(m *peer.ArgoMetric) { m.Failure, m.InconclusiveLimit = below(0.9), 1 }, "mam", peer.Inconclusive, 3},
		{"without conditions everything succeeds", func(m *peer.ArgoMetric) { m.Success = nil }, "bbbb0bbbbb", peer.Successful, 10},
		{"a limit of -1 never fails", func(m *peer.ArgoMetric) { m.FailureLimit = -1 }, "bbbbbbbbbb", peer.Successful, 10},
		{"without count it runs on", func(m *peer.ArgoMetric) { m.Count = 0 }, "aaaaaaaaaaaaaaaaaaaa", peer.Running, 20},
		{"without interval it runs once", func(m *peer.ArgoMetric) { m.Count, m.Interval = 0, 0 }, "a", peer.Successful, 1},
		{"an error overrides a failure", func(m *peer.ArgoMetric) { m.FailureLimit, m.ConsecutiveErrorLimit = 0, 0 }, "e", peer.Errored, 0},
		{"five good ones in a row are enough", func(m *peer.ArgoMetric) { m.ConsecutiveSuccessLimit = 5 }, "babaaaaa", peer.Successful, 8},
		{"count without them is inconclusive", func(m *peer.ArgoMetric) { m.ConsecutiveSuccessLimit = 5 }, "aaabaabaab", peer.Inconclusive, 10},
		{"or failed when failures are off", func(m *peer.ArgoMetric) { m.ConsecutiveSuccessLimit, m.FailureLimit = 5, -1 }, "aaabaabaab", peer.Failed, 10},
		{"an error ends the row of successes", func(m *peer.ArgoMetric) { m.ConsecutiveSuccessLimit = 5 }, "aaaaeaaaa", peer.Running, 8},
	} {
		m := peer.ArgoSuccessRate()
		if c.change != nil {
			c.change(&m)
		}
		if r := play(m, c.text); r.Phase != c.want || r.Count != c.count {
			t.Errorf("%s: %s after %d, want %s after %d", c.name, r.Phase, r.Count, c.want, c.count)
		}
	}
}

func TestArgoWaitsTenSecondsAfterAnError(t *testing.T) {
	m := peer.ArgoSuccessRate()
	m.InitialDelay = 5 * time.Second
	for text, want := range map[string]time.Duration{"": 5 * time.Second, "a": time.Minute, "ae": 10 * time.Second, "aea": time.Minute} {
		if got := m.Wait(play(m, text)); got != want {
			t.Errorf("after %q it waits %s, want %s", text, got, want)
		}
	}
}

func TestArgoRunIsItsWorstMetric(t *testing.T) {
	in := func(phases ...peer.Phase) (out []peer.ArgoResult) {
		for _, p := range phases {
			out = append(out, peer.ArgoResult{Phase: p})
		}
		return out
	}
	for _, c := range []struct {
		metrics []peer.ArgoResult
		want    peer.Phase
		action  string
	}{
		{in(peer.Running, peer.Successful), peer.Running, "wait"},
		{in(peer.Successful, peer.Successful), peer.Successful, "continue"},
		{in(peer.Running, peer.Inconclusive), peer.Inconclusive, "pause"},
		{in(peer.Inconclusive, peer.Errored), peer.Errored, "abort"},
		{in(peer.Errored, peer.Failed, peer.Running), peer.Failed, "abort"},
	} {
		got := peer.ArgoRun(c.metrics)
		if got != c.want || peer.ArgoAction(got) != c.action {
			t.Errorf("%v: %s, %s, want %s, %s", c.metrics, got, peer.ArgoAction(got), c.want, c.action)
		}
		for _, m := range c.metrics {
			if got != peer.Running && !m.Done() {
				t.Errorf("%v: a metric still runs after the end", c.metrics)
			}
		}
	}
}

// Counters add up, whatever is measured.
func TestArgoCountersAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := peer.ArgoSuccessRate()
		m.Failure = below(0.9)
		m.FailureLimit = rapid.IntRange(-1, 5).Draw(t, "failure limit")
		m.ConsecutiveErrorLimit = rapid.IntRange(0, 5).Draw(t, "error limit")
		m.InconclusiveLimit = rapid.IntRange(0, 5).Draw(t, "inconclusive limit")
		var r peer.ArgoResult
		n := 0
		for _, s := range samples(rapid.StringMatching(`[abmne0]{0,30}`).Draw(t, "measurements")) {
			if !r.Done() {
				n++
			}
			r = m.Next(r, s)
			if r.Successful+r.Failed+r.Inconclusive != r.Count || r.Count+r.Error != n {
				t.Fatalf("%+v after %d measurements", r, n)
			}
		}
	})
}

// The published simulation: 10 % of 100 requests a second, ten minutes, healthy at
// the threshold itself: four of five good releases are stopped; a regression from
// 0.1 to 5 % always is.
func TestArgoAgreesWithPublishedSimulation(t *testing.T) {
	const runs, seed = 1000, 20263
	for _, c := range []struct {
		name      string
		rate      float64
		low, high float64
	}{
		{"healthy, 1 % errors", 0.01, 0.76, 0.84},
		{"5 % errors", 0.05, 1, 1},
		{"0.5 % errors", 0.005, 0, 0.02},
	} {
		rng := rand.New(rand.NewPCG(seed, 8))
		stopped := 0
		for range runs {
			m := peer.ArgoSuccessRate()
			var r peer.ArgoResult
			for !r.Done() {
				n, bad := 0, 0
				for range 6000 {
					if v := rng.Float64(); v < 0.1 {
						n++
						if v < 0.1*c.rate {
							bad++
						}
					}
				}
				r = m.Next(r, peer.ArgoSample{Values: []float64{float64(n-bad) / float64(n)}})
			}
			if r.Phase == peer.Failed {
				stopped++
			}
		}
		share := float64(stopped) / runs
		t.Logf("%s: %.1f %% stopped, seed %d", c.name, 100*share, seed)
		if share < c.low || share > c.high {
			t.Errorf("%s: %.3f stopped, want %v to %v", c.name, share, c.low, c.high)
		}
	}
}
