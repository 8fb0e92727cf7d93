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
	power int // of 100 versions with so many times as much, how many are stopped in 40 minutes at least
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

// watched plays one rollout as a decision sees it, with so many times the usual traffic, and
// is the reading at which it was stopped, 0 if it was not. As a count, three events go with a
// unit.
func watched(t testing.TB, w spending, kind decide.Indicator, run uint64, traffic int, times float64, readings int) int {
	t.Helper()
	if end, n := played(t, w, kind, run, traffic, 1<<40, times, readings); end == assay.ActionAbort {
		return n
	}
	return 0
}

// played is how a rollout ended, which may be that it holds, and at which reading.
func played(t testing.TB, w spending, kind decide.Indicator, run uint64, traffic int, least uint64, times float64, readings int) (assay.ActionKind, int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(95, run))
	spent, start := w.draw(rng), time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	p := decide.NewPlan()
	p.Name, p.Service, p.Canary, p.Control = "sums", "shop", "v2", "v1"
	p.Steps, p.MinRequests, p.Horizon = []int{10, 100}, least, 24*time.Hour
	kind.Name, kind.Weight, kind.Required = "work", 1, true
	p.Indicators = []decide.Indicator{kind}
	read := func(name string, version, n, of, requests int, times float64) assay.Reading {
		from := start.Add(time.Duration(n) * apart)
		r := assay.Reading{
			Indicator: "work", Service: "shop", Version: name, Start: from, End: from.Add(time.Duration(of) * apart), Completeness: 1,
			Total: uint64(of * traffic * requests), Good: uint64(of * traffic * requests),
		}
		r.EventTime, r.Ingested = r.End, r.End
		for i := range of {
			r.Sum += spent(version, n+i, traffic*requests, times)
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
		if s = next; d.Action.Kind == assay.ActionAbort || d.Action.Kind == assay.ActionFinish {
			return d.Action.Kind, n + 1
		}
	}
	return assay.ActionHold, readings
}

// Of versions that do the same at most one in a hundred is stopped, whatever the values of
// their requests are like: independent, with a heavy tail, in bursts, of users who are unlike
// each other or who stay with one version for minutes, by day and by night, and where single
// values are above the declared max. A version that has more is stopped, sooner or later: the
// evidence is of whole units of the max, and of what is left without the busiest five minutes
// and without what visits of the usual length may be.
func TestFalseAbortsOfSumsStayBelowAlpha(t *testing.T) {
	const alpha, tried, longest = 0.01, 50, 240
	sum, count := decide.Indicator{Kind: decide.KindValue, Max: 1}, decide.Indicator{Kind: decide.KindCount}
	thin, busy := seen{traffic: 1, runs: 400, readings: 90, times: 2}, seen{traffic: 10, runs: 110, readings: longest, times: 3}
	for _, c := range []struct {
		kind decide.Indicator
		spending
		seen
	}{
		{sum, spending{"values, independent", alike(1, func(r *rand.Rand) float64 { return 0.03 * r.ExpFloat64() }), 95}, thin},
		{sum, spending{"a heavy tail", alike(1, pareto), 10}, thin},
		{sum, spending{"a heavy tail beyond the max", alike(30, pareto), 2}, thin},
		{sum, spending{"bursts of three", together(3), 20}, thin},
		{sum, spending{"users", users, 5}, thin},
		{sum, spending{"visits of 100 seconds", visits(10), 30}, thin},
		{sum, spending{"visits of 300 seconds", visits(30), 2}, thin},
		{sum, spending{"day and night", night, 70}, thin},
		{count, spending{"events, independent", alike(1, func(r *rand.Rand) float64 { return 0.03 * r.ExpFloat64() }), 100}, thin},
		{count, spending{"events of visits of 100 seconds", visits(10), 10}, thin},
		{count, spending{"events of visits of 300 seconds, more traffic", visits(30), 95}, busy},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wrong, found := uint64(0), 0
			for run := range c.runs {
				if watched(t, c.spending, c.kind, run, c.traffic, 1, c.readings) > 0 {
					wrong++
				}
			}
			for run := range uint64(tried) {
				if watched(t, c.spending, c.kind, 1<<32+run, c.traffic, c.times, longest) > 0 {
					found++
				}
			}
			t.Logf("%d of %d good versions stopped, %d of %d with %v times as much", wrong, c.runs, found, tried, c.times)
			if low, _ := infer.ClopperPearson(wrong, c.runs, 0.95); low > alpha {
				t.Errorf("%d of %d good versions stopped", wrong, c.runs)
			}
			if found*100 < c.power*tried {
				t.Errorf("only %d of %d with %v times as much were stopped, want %d %%", found, tried, c.times, c.power)
			}
		})
	}
}

// seen is how many good versions are watched for how many readings, with how many times the
// traffic, and how many times as much the bad ones have.
type seen struct {
	traffic  int
	runs     uint64
	readings int
	times    float64
}

// A new version begins without visits, and with few of them one that does twice the work looks
// as if it did less. It waits until visits that are as long as the old version's would have
// come: of such versions few are shipped, and good ones are where there is traffic.
func TestVersionsWithTwiceTheWorkAreSeldomShippedBeforeVisitsCome(t *testing.T) {
	const runs, readings = 80, 240
	for _, c := range []struct {
		name    string
		traffic int
		times   float64
		shipped [2]uint64 // of a hundred, at least and at most
	}{
		{"twice the work", 1, 2, [2]uint64{0, 10}},
		{"the same, more traffic", 10, 1, [2]uint64{90, 100}},
	} {
		shipped := uint64(0)
		for run := range uint64(runs) {
			if end, _ := played(t, spending{draw: visits(30)}, decide.Indicator{Kind: decide.KindValue, Max: 1}, 1<<33+run, c.traffic, 0, c.times, readings); end == assay.ActionFinish {
				shipped++
			}
		}
		t.Logf("%s: %d of %d shipped", c.name, shipped, runs)
		if shipped*100 < c.shipped[0]*runs || shipped*100 > c.shipped[1]*runs {
			t.Errorf("%s: %d of %d shipped, want %v %%", c.name, shipped, runs, c.shipped)
		}
	}
}
