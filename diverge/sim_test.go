package diverge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"assay.dev/assay/infer"
	"assay.dev/assay/slo"
)

const day = 24 * 60

// simulated is a service in several regions, minute by minute.
type simulated struct {
	regions int
	load    float64                          // requests of a region in a minute, on the average
	rate    func(region, minute int) float64 // of bad ones
	burst   float64                          // mean number of bad requests that come together; 1 is none
	night   float64                          // share of the load that goes away in the region's night
	missing func(region, minute int) bool    // whose telemetry does not come; may be nil
}

func steady(rate float64) func(int, int) float64 { return func(int, int) float64 { return rate } }

// minute draws what the regions counted.
func (s simulated) minute(r *rand.Rand, n int) map[string]counted {
	out := map[string]counted{}
	for i := range s.regions {
		// Each region has its night at another time.
		phase := 2 * math.Pi * (float64(n%day)/day + float64(i)/float64(s.regions))
		total := poisson(r, s.load*(1-s.night*(1+math.Cos(phase))/2))
		if s.missing != nil && s.missing(i, n) {
			continue
		}
		want, events := s.rate(i, n)*float64(total), 0
		for range poisson(r, want/s.burst) {
			events += 1 + geometric(r, s.burst)
		}
		out[fmt.Sprintf("region-%02d", i)] = counted{infer.Count{Events: uint64(min(events, total)), Exposure: uint64(total)}, 1}
	}
	return out
}

// geometric has the mean of mean−1.
func geometric(r *rand.Rand, mean float64) (n int) {
	for mean > 1 && r.Float64() >= 1/mean {
		n++
	}
	return n
}

func poisson(r *rand.Rand, mean float64) (n int) {
	if mean > 60 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	for p := r.Float64(); p > math.Exp(-mean); p *= r.Float64() {
		n++
	}
	return n
}

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6469)) }

func (s simulated) comparison(bound, errors float64) *comparison {
	return &comparison{service: "shop", slo: "shop", regions: slo.Regions{Label: "region", Bound: bound, Error: errors}}
}

// midnight is the first minute of the simulated days.
const midnight = 20000 * day

// run lets a comparison see so many minutes, the first day of which is learnt from, and
// hands over what is said.
func (s simulated) run(t testing.TB, c *comparison, seed uint64, minutes int, said func(minute int, j Judged) (more bool)) {
	t.Helper()
	r := source(seed)
	for n := range minutes {
		for _, j := range c.observe(int64(midnight+n), s.minute(r, n), n < day) {
			if said != nil && !said(n, j) {
				return
			}
		}
	}
}

func (s simulated) play(t testing.TB, seed uint64, days int, bound, errors float64, said func(minute int, j Judged) (more bool)) {
	t.Helper()
	s.run(t, s.comparison(bound, errors), seed, days*day, said)
}

// careless counts the minutes in which a region would be said to diverge if its input were
// what careless makes of it.
func (s simulated) careless(t testing.TB, seed uint64, days int, bound, errors float64, careless func(*Input)) (n int) {
	t.Helper()
	c, r := s.comparison(bound, errors), source(seed)
	for m := range days * day {
		minute := int64(midnight + m)
		counts := s.minute(r, m)
		c.observe(minute, counts, true)
		if m < day || m%10 != 9 {
			continue
		}
		for i := range c.s.Regions {
			in := c.input(&c.s.Regions[i], minute, time.Unix((minute+1)*60, 0).UTC(), len(counts)-1)
			careless(&in)
			if Judge(in).Verdict == Begins {
				n++
			}
		}
	}
	return n
}

func BenchmarkMinuteOfTwentyRegions(b *testing.B) {
	s := simulated{regions: 20, load: 300, rate: steady(0.01), burst: 3}
	c := comparison{service: "shop", slo: "shop", regions: slo.Regions{Label: "region", Bound: 0.02, Error: 0.01}}
	r := rand.New(rand.NewPCG(1, 2))
	var minutes []map[string]counted
	for n := range 100 {
		minutes = append(minutes, s.minute(r, n))
	}
	n := 0
	for b.Loop() {
		c.observe(int64(n)+20000*day, minutes[n%100], false)
		n++
	}
}
