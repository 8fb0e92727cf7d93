//go:build !race

// Days of minutes are simulated here by one goroutine: `make test` runs the package with the
// race detector, which leaves this file out, and without.

package diverge

import (
	"strings"
	"testing"

	"assay.dev/assay/infer"
	"assay.dev/assay/internal/testenv"
)

// incident makes all regions bad for two hours each day, which is the day of one of them
// and the night of another.
func incident(rate float64) func(int, int) float64 {
	return func(_, n int) float64 {
		if n%day >= 180 && n%day < 300 {
			return 0.3
		}
		return rate
	}
}

// Regions that are equal are never told apart more often than declared: the declared bound
// is next to nothing and the declared error is 5 % a day, so that every day of every world
// is a fair chance to err. Calibrated: seeds 1000 and 1001, twelve days each.
func TestEqualRegionsAreToldApartNoMoreOftenThanDeclared(t *testing.T) {
	const days, declared = 13, 0.05
	runs := 2
	if testenv.RaceDetector {
		runs = 1
	}
	for name, s := range map[string]simulated{
		"independent":                                {regions: 2, load: 300, rate: steady(0.02), burst: 1},
		"bursts of three":                            {regions: 3, load: 300, rate: steady(0.02), burst: 3},
		"bursts in thin traffic":                     {regions: 3, load: 20, rate: steady(0.01), burst: 5},
		"rare bursts of nine":                        {regions: 3, load: 100, rate: steady(0.0005), burst: 9},
		"day and night, and incidents that all have": {regions: 3, load: 300, rate: incident(0.01), burst: 3, night: 0.9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, wrong := uint64(0), uint64(0)
			for seed := range runs {
				last := -1
				s.play(t, 1000+uint64(seed), days, 1e-6, declared, func(minute int, j Judged) bool {
					if j.Judgement.Verdict == Begins && minute/day != last {
						wrong, last = wrong+1, minute/day
						t.Log(j.Judgement.Words)
					}
					return true
				})
				n += days - 1
			}
			_, high := infer.ClopperPearson(wrong, n, 0.9)
			t.Logf("%d of %d days had a wrong verdict: at most %.1f %% with a certainty of 95 %%", wrong, n, 100*high)
			if float64(wrong) > declared*float64(n) {
				t.Errorf("%d of %d days had a wrong verdict, %v of them were declared", wrong, n, declared)
			}
		})
	}
}

// Without the care for bursts and for the time of day the same worlds are told apart
// wrongly: the test above can fail.
func TestBurstsAndTheTimeOfDayWouldLookLikeADifference(t *testing.T) {
	wrong := func(s simulated, careless func(*Input)) (n int) {
		return s.careless(t, 1000, 5, 1e-6, 0.05, careless)
	}
	bursts := simulated{regions: 3, load: 300, rate: steady(0.02), burst: 5}
	if n := wrong(bursts, func(in *Input) { in.Dispersion = 1 }); n == 0 {
		t.Error("bursts that nobody cares for were never taken for a difference")
	}
	days := simulated{regions: 3, load: 300, rate: incident(0.01), burst: 1, night: 0.9}
	if n := wrong(days, func(in *Input) {
		in.Dispersion = 1
		for i, s := range in.Spans { // the rest as it came, at its own time
			in.Spans[i].Weighted = float64(s.Here.Exposure) * s.Rest.Rate()
			in.Spans[i].Spread = float64(s.Here.Exposure) * float64(s.Here.Exposure) / max(float64(s.Rest.Exposure), 1)
		}
	}); n == 0 {
		t.Error("an incident in the day of one region was never taken for a difference")
	}
}

// A difference of five points above a bound of two is found within a stated number of the
// region's requests, and its end is said. Calibrated: seeds 2000 to 2009.
func TestARealDifferenceIsFoundWithinAStatedNumberOfRequests(t *testing.T) {
	for _, c := range []struct {
		regions  int
		burst    float64
		requests int // of the region, in 9 of 10 runs
	}{{2, 1, 15_000}, {20, 1, 10_000}, {3, 2, 45_000}} {
		found, ended, late := 0, 0, 0
		const runs = 10
		for seed := range uint64(runs) {
			begin := day + 45*int(seed)
			end := begin + 300
			s := simulated{regions: c.regions, load: 300, burst: c.burst, rate: func(region, n int) float64 {
				if region == 1 && n >= begin && n < end {
					return 0.06
				}
				return 0.01
			}}
			at := -1
			s.play(t, 2000+seed, 2, 0.02, 0.01, func(n int, j Judged) bool {
				if j.Input.Region != "region-01" {
					t.Errorf("%d regions: %s", c.regions, j.Judgement.Words)
				}
				switch j.Judgement.Verdict {
				case Begins:
					if at = n; n < begin {
						t.Errorf("%d regions: said %d minutes before", c.regions, begin-n)
					}
					if (n-begin)*300 <= c.requests {
						found++
					} else {
						late++
					}
					for _, word := range []string{"region-01 of shop is worse than the rest", "the bad share of shop is", "percentage points above that of the", "the bound is 2"} {
						if !strings.Contains(j.Judgement.Words, word) {
							t.Errorf("%q does not say %q", j.Judgement.Words, word)
						}
					}
				case Ends:
					if at < 0 || n < end {
						t.Errorf("%d regions: ended in minute %d, the difference in %d", c.regions, n, end)
					}
					ended++
					return false
				}
				return true
			})
		}
		t.Logf("%d regions, bursts of %v: %d of %d within %d requests, %d later, %d ends", c.regions, c.burst, found, runs, c.requests, late, ended)
		if found < 9 || ended < 9 {
			t.Errorf("%d regions, bursts of %v: %d of %d found within %d requests and %d ended, want 9", c.regions, c.burst, found, runs, c.requests, ended)
		}
	}
}

// Four requests a minute say little: the interval is wide, and that is all that is said.
func TestThinTrafficHasAnIntervalAndNoClaim(t *testing.T) {
	s := simulated{regions: 2, load: 4, burst: 1, rate: func(region, _ int) float64 { return 0.02 + 0.03*float64(region) }}
	c := s.comparison(0.02, 0.01)
	s.run(t, c, 7, day+300, nil)
	j := c.now["region-01"]
	if j.State != Unsure || j.Verdict != "" || j.Difference == nil || !(j.Difference.Low < 2 && j.Difference.High > 2) || !strings.Contains(j.Words, "cannot be told from the rest yet") {
		t.Errorf("%+v", j)
	}
}

// Too little is known in the first minutes, whatever they look like.
func TestNothingIsSaidBeforeBurstsAreKnown(t *testing.T) {
	s := simulated{regions: 2, load: 300, burst: 1, rate: func(region, _ int) float64 { return 0.4 * float64(region) }}
	c := s.comparison(0.02, 0.01)
	c.observe(0, s.minute(source(1), 0), false)
	if j := c.now["region-01"]; j.State != Unsure || j.Difference != nil || !strings.Contains(j.Words, "too little is known") {
		t.Errorf("%+v", j)
	}
}

// A region whose telemetry stops is silent, never divergent, and its coming back is said.
func TestMissingTelemetryIsNoDivergence(t *testing.T) {
	from, to := day+100, day+400
	s := simulated{regions: 3, load: 300, burst: 1, rate: steady(0.01), missing: func(region, n int) bool { return region == 2 && n >= from && n < to }}
	var said []Verdict
	c := s.comparison(0.02, 0.01)
	s.run(t, c, 3, from+60, func(_ int, j Judged) bool {
		said = append(said, j.Judgement.Verdict)
		return true
	})
	if j := c.now["region-02"]; j.State != Unheard || j.Difference != nil || !strings.Contains(j.Words, "that is no divergence") {
		t.Errorf("%+v", j)
	}
	if j := c.now["region-01"]; j.State != Alike {
		t.Errorf("who has telemetry: %+v", j)
	}
	if len(said) != 1 || said[0] != Silent {
		t.Errorf("said %v", said)
	}
	said = nil
	s.play(t, 3, 2, 0.02, 0.01, func(_ int, j Judged) bool {
		said = append(said, j.Judgement.Verdict)
		return true
	})
	if len(said) != 2 || said[0] != Silent || said[1] != Back {
		t.Errorf("said %v", said)
	}
}

// A region that is never heard again is forgotten after a day, and what was said of it ends.
func TestADivergenceOfARegionThatIsGoneEnds(t *testing.T) {
	s := simulated{regions: 3, load: 300, burst: 1, rate: func(region, n int) float64 {
		if region == 2 && n >= day {
			return 0.2
		}
		return 0.01
	}, missing: func(region, n int) bool { return region == 2 && n >= day+120 }}
	var said []Verdict
	c := s.comparison(0.02, 0.01)
	s.run(t, c, 5, 3*day, func(_ int, j Judged) bool {
		said = append(said, j.Judgement.Verdict)
		return true
	})
	if len(said) != 3 || said[0] != Begins || said[1] != Silent || said[2] != Ends || len(c.s.Regions) != 2 {
		t.Errorf("said %v, %d regions are left", said, len(c.s.Regions))
	}
}

// A burst of one minute is no difference, whatever the size of the minute.
func TestABurstOfOneMinuteIsNoDifference(t *testing.T) {
	s := simulated{regions: 2, load: 300, burst: 1, rate: func(region, n int) float64 {
		if region == 0 && n == day+601 {
			return 0.9
		}
		return 0.005
	}}
	s.play(t, 9, 2, 0.02, 0.01, func(_ int, j Judged) bool {
		t.Errorf("%s", j.Judgement.Words)
		return true
	})
}
