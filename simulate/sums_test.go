//go:build !race

// See examples_test.go for why.

package simulate_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

// A rollout of little traffic: of 100 requests in ten seconds the new version has ten. The
// old version's past is known for an hour and a half, in minutes.
const (
	apart     = 10 * time.Second // between two readings
	perMinute = int(time.Minute / apart)
	pastSlots = 90
	canaries  = 10 // requests of the new version in one reading
	others    = 90
)

// spender is what so many requests of one version (0 is the new one) have in the n-th
// reading, in units of the declared max, if they have so many times the usual.
type spender func(version, n, requests int, times float64) float64

// spending is a kind of traffic.
type spending struct {
	name  string
	draw  func(*rand.Rand) spender
	power int // of 100 versions with twice as much, how many are stopped in 40 minutes at least
}

// alike are requests that have nothing to do with each other. A value above most is cut;
// where most is above 1, the declared max is wrong.
func alike(most float64, one func(*rand.Rand) float64) func(*rand.Rand) spender {
	return func(rng *rand.Rand) spender {
		return func(_, _, requests int, times float64) (sum float64) {
			for range requests {
				sum += min(most, times*one(rng))
			}
			return sum
		}
	}
}

func pareto(rng *rand.Rand) float64 { return 0.005 * math.Pow(1-rng.Float64(), -1/1.3) }

// together are great values that come so many at a time.
func together(size int) func(*rand.Rand) spender {
	return func(rng *rand.Rand) spender {
		return func(_, _, requests int, times float64) (sum float64) {
			for left := 0.06*times*float64(requests)/float64(size) - rng.ExpFloat64(); left > 0; left -= rng.ExpFloat64() {
				for range size {
					sum += 0.5 + 0.5*rng.Float64()
				}
			}
			return min(sum, float64(requests))
		}
	}
}

// users have about eight requests each in one reading, all of one size of their own.
func users(rng *rand.Rand) spender {
	return func(_, _, requests int, times float64) (sum float64) {
		for requests > 0 {
			n := min(requests, 1+int(8*rng.ExpFloat64()))
			sum += float64(n) * min(1, 0.02*times*math.Exp(1.5*rng.NormFloat64()))
			requests -= n
		}
		return sum
	}
}

// visits are users of whom each stays with one version for so many readings on average, and
// has as much as 45 other requests in each.
func visits(readings float64) func(*rand.Rand) spender {
	return func(rng *rand.Rand) spender {
		var staying [2][]int
		return func(version, _, requests int, times float64) (sum float64) {
			for range requests {
				sum += min(1, 0.02*times*rng.ExpFloat64())
			}
			for left := 0.0005*float64(requests) - rng.ExpFloat64(); left > 0; left -= rng.ExpFloat64() {
				staying[version] = append(staying[version], 1+int(readings*rng.ExpFloat64()))
			}
			still := staying[version][:0]
			for _, n := range staying[version] {
				for range 3 {
					sum += min(1, times*0.3*(0.5+rng.Float64()))
				}
				if n > 1 {
					still = append(still, n-1)
				}
			}
			staying[version] = still
			return min(sum, float64(requests))
		}
	}
}

// night is half of the day, which begins whenever it likes.
func night(rng *rand.Rand) spender {
	phase := 2 * math.Pi * rng.Float64()
	return func(_, n, requests int, times float64) (sum float64) {
		swing := 1 + 0.9*math.Sin(phase+2*math.Pi*float64(n)*apart.Hours()/24)
		for range requests {
			sum += min(1, 0.05*times*swing*rng.ExpFloat64())
		}
		return sum
	}
}

// watched plays one rollout as a decision sees it, and is whether it was stopped. As a
// count, three events go with a unit.
func watched(t testing.TB, w spending, kind decide.Indicator, run uint64, times float64, readings int) bool {
	t.Helper()
	rng := rand.New(rand.NewPCG(95, run))
	spent, start := w.draw(rng), time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	p := decide.NewPlan()
	p.Name, p.Service, p.Canary, p.Control = "sums", "shop", "v2", "v1"
	p.Steps, p.MinRequests, p.Horizon = []int{10, 100}, 1<<40, 24*time.Hour // it is watched to the end
	kind.Name, kind.Weight, kind.Required = "work", 1, true
	p.Indicators = []decide.Indicator{kind}
	read := func(name string, version, n, of, requests int, times float64) assay.Reading {
		from := start.Add(time.Duration(n) * apart)
		r := assay.Reading{
			Indicator: "work", Service: "shop", Version: name, Start: from, End: from.Add(time.Duration(of) * apart), Completeness: 1,
			Total: uint64(of * requests), Good: uint64(of * requests),
		}
		r.EventTime, r.Ingested = r.End, r.End
		for i := range of {
			r.Sum += spent(version, n+i, requests, times)
		}
		if kind.Kind == decide.KindCount {
			for left := 3*r.Sum - rng.ExpFloat64(); left > 0; left -= rng.ExpFloat64() {
				r.Count++
			}
			r.Sum = 0
		}
		return r
	}
	var history [][]assay.Reading
	for n := range pastSlots {
		history = append(history, []assay.Reading{read("v1", 1, (n-pastSlots)*perMinute, perMinute, canaries+others, 1)})
	}
	var err error
	if p.Indicators[0], err = decide.Calibrate(p, "work", history, decide.Draws{Seed: run, Next: rng.Float64}); err != nil {
		t.Fatal(err)
	}
	s, err := decide.Begin(p, start)
	if err != nil {
		t.Fatal(err)
	}
	for n := range readings {
		pair := []assay.Reading{read("v2", 0, n, 1, canaries, times), read("v1", 1, n, 1, others, 1)}
		d, next, err := decide.Next(p, s, pair, func(assay.Action) []assay.GuardVerdict { return nil }, start.Add(time.Duration(n+1)*apart))
		if err != nil {
			t.Fatal(err)
		}
		if s = next; d.Action.Kind == assay.ActionAbort {
			return true
		}
	}
	return false
}

// Of versions that do the same at most one in a hundred is stopped, whatever the values of
// their requests are like: independent, with a heavy tail, in bursts, of users who are unlike
// each other or who stay with one version for minutes, by day and by night, and where single
// values are above the declared max. A version that has twice as much is stopped, sooner or
// later: the evidence is of whole units of the max, and of what is left without the busiest
// five minutes.
func TestFalseAbortsOfSumsStayBelowAlpha(t *testing.T) {
	const alpha, runs, tried, readings = 0.01, 400, 50, 90
	sum, count := decide.Indicator{Kind: decide.KindValue, Max: 1}, decide.Indicator{Kind: decide.KindCount}
	for _, c := range []struct {
		kind decide.Indicator
		spending
	}{
		{sum, spending{"values, independent", alike(1, func(r *rand.Rand) float64 { return 0.03 * r.ExpFloat64() }), 95}},
		{sum, spending{"a heavy tail", alike(1, pareto), 10}},
		{sum, spending{"a heavy tail beyond the max", alike(30, pareto), 2}},
		{sum, spending{"bursts of three", together(3), 20}},
		{sum, spending{"users", users, 5}},
		{sum, spending{"visits of 100 seconds", visits(10), 30}},
		{sum, spending{"day and night", night, 70}},
		{count, spending{"events, independent", alike(1, func(r *rand.Rand) float64 { return 0.03 * r.ExpFloat64() }), 100}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wrong, found := uint64(0), 0
			for run := range uint64(runs) {
				if watched(t, c.spending, c.kind, run, 1, readings) {
					wrong++
				}
			}
			for run := range uint64(tried) {
				if watched(t, c.spending, c.kind, 1<<32+run, 2, 240) {
					found++
				}
			}
			t.Logf("%d of %d good versions stopped, %d of %d with twice as much", wrong, runs, found, tried)
			if low, _ := infer.ClopperPearson(wrong, runs, 0.95); low > alpha {
				t.Errorf("%d of %d good versions stopped", wrong, runs)
			}
			if found*100 < c.power*tried {
				t.Errorf("only %d of %d with twice as much were stopped, want %d %%", found, tried, c.power)
			}
		})
	}
}
