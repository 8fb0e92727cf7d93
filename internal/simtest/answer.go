package simtest

import (
	"math"
)

// answer draws what each version answered to its part of the served requests.
func (w *World) answer(s *service, c *cell, served int, l load, wait wait) []tally {
	out := make([]tally, len(s.Versions))
	counts := multinomial(w.outcome, served, s.share)
	calls := l.seconds - l.own
	asked := w.unanswered(s, c, float64(served)/w.tick.Seconds())
	flows := l.own / max(1e-12, w.mixed(s, c))
	for i, v := range s.Versions {
		fails, slow := w.troubled(s, v.Name, w.regions[c.region].Name)
		full := v.Pool.blocked(float64(counts[i]) / w.tick.Seconds())
		fails = 1 - (1-fails)*(1-v.Errors)*(1-asked)*(1-full)
		seconds := flows*v.Slow*slow + calls*(v.Calls/s.calling())
		out[i] = w.one(s, counts[i], fails, v.Burst, seconds, l.detour, wait)
	}
	return out
}

// blocked is the share of requests that find all of a pool taken when they come at a rate a
// second: Erlang's loss formula, which holds for any distribution of the time that they
// hold it. It is computed by its recursion over the size, without factorials.
func (p Pool) blocked(rate float64) float64 {
	if p.Size == 0 {
		return 0
	}
	offered, share := rate*p.Hold.D().Seconds(), 1.0
	for n := 1; n <= p.Size; n++ {
		share = offered * share / (float64(n) + offered*share)
	}
	return share
}

// calling is how many times as often as the service's the mix of versions calls.
func (s *service) calling() float64 {
	if !s.uneven {
		return 1
	}
	sum := 0.0
	for i := range s.Versions {
		sum += s.share[i] / 100 * s.Versions[i].Calls
	}
	return sum
}

// mixed is how many times slower than a plain version the mix of versions is.
func (w *World) mixed(s *service, c *cell) (sum float64) {
	for i, v := range s.Versions {
		_, by := w.troubled(s, v.Name, w.regions[c.region].Name)
		sum += s.share[i] / 100 * v.Slow * by
	}
	return sum
}

// unanswered is the share of requests that fail because something they call does.
func (w *World) unanswered(s *service, c *cell, rate float64) float64 {
	good := 1.0
	for i, call := range s.calls {
		seconds := 0.0
		if d := call.database; d != nil {
			seconds = d.latency(max(0, d.rate-c.asked[i]) + rate*call.Times*s.calling())
		} else {
			good *= 1 - min(1, call.service.failing*call.Times*s.calling())
			seconds = call.service.latency * w.slowdown(call.To)
		}
		if t := call.Timeout.D().Seconds(); t > 0 && seconds > t {
			good *= t / seconds
		}
	}
	return 1 - good
}

// one draws the answers of a version to n requests.
func (w *World) one(s *service, n int, fails, burst, seconds, detour float64, wait wait) tally {
	t := tally{total: n, buckets: make([]int, len(s.bounds))}
	gone := binomial(w.outcome, n, wait.above(s.Patience.D().Seconds()))
	t.gone, t.errors = gone, clustered(w.outcome, n-gone, fails, burst)
	median := seconds * math.Exp(-s.Spread*s.Spread/2)
	left, before := n-gone, 0.0
	for i, b := range s.bounds {
		if before < 1 && left > 0 { // of those slower than the last bound, how many are not slower than this one
			p := below(b-detour, median, s.Spread, wait)
			left -= binomial(w.outcome, left, (p-before)/(1-before))
			before = max(before, p)
		}
		t.buckets[i] = n - gone - left
	}
	// Those that gave up are failures, and slow.
	t.slow = n - t.buckets[s.within]
	t.errors += gone
	at := min(wait.from, wait.to, s.Patience.D().Seconds())
	t.seconds = float64(n) * (seconds + detour + min(s.Patience.D().Seconds(), (at+max(wait.from, wait.to))/2))
	return t
}

// below is the probability that a request takes at most b seconds, waiting included.
func below(b, median, spread float64, w wait) float64 {
	low, high := min(w.from, w.to), max(w.from, w.to)
	if math.IsInf(low, 1) {
		return 0
	}
	if high-low < 0.1*median {
		return lognormal(b-(low+high)/2, median, spread)
	}
	sum := 0.0
	for _, part := range [...]float64{0.1, 0.3, 0.5, 0.7, 0.9} {
		sum += lognormal(b-low-part*(high-low), median, spread)
	}
	return sum / 5
}

func lognormal(x, median, spread float64) float64 {
	if x <= 0 {
		return 0
	}
	return 0.5 * math.Erfc(-math.Log(x/median)/(spread*math.Sqrt2))
}

// judge attributes answers to flows, counts the truth, and lets clients come again.
func (w *World) judge(s *service, c *cell, gone []int, out *answered) {
	errors, slow, late := 0, 0, 0
	for _, t := range out.versions {
		errors += t.errors
		slow += t.slow
		// Slow answers that also failed are bad once.
		late += binomial(w.outcome, t.slow, 1-float64(t.errors)/float64(max(1, t.total)))
	}
	late = min(late, total(gone)-errors)
	bad := deal(w.outcome, errors, gone, make([]int, len(gone)))
	rest := make([]int, len(gone))
	for i := range rest {
		rest[i] = gone[i] - bad[i]
	}
	if s.Order == Priority {
		for i, n := range s.lowestFirst(late, rest) {
			bad[i] += n
		}
	} else {
		deal(w.outcome, late, rest, bad)
	}
	t := Truth{Service: s.Name, Region: w.regions[c.region].Name, Replicas: c.replicas(), Ready: c.ready, Flows: make([]FlowTruth, len(s.Flows))}
	k := out.knock
	for i, f := range s.Flows {
		worse := binomial(w.outcome, k.cheap[i], s.Price.Penalty)
		t.Flows[i] = FlowTruth{
			Class: f.Class, Tenant: f.Tenant, Critical: f.Critical, Weight: f.Weight, Hostile: f.Class == Attacker,
			Arrived: k.arrived[i], Good: gone[i] - bad[i], Bad: bad[i] + worse, Dropped: k.dropped[i], Cheap: k.cheap[i] - worse,
			Waiting: c.queue[i] + c.held[i],
		}
		t.Flows[i].Cost = float64(gone[i])*s.Price.Request*f.Work + float64(k.cheap[i])*s.Price.Cheap*f.Work
		t.Cost += t.Flows[i].Cost
		if f.Class != Attacker && s.Retry.Share > 0 {
			again := binomial(w.outcome, t.Flows[i].Bad+k.dropped[i], s.Retry.Share)
			if s.Retry.Budget > 0 {
				again = min(again, int(s.Retry.Budget*float64(k.arrived[i])))
			}
			c.retry[i] += again
		}
	}
	t.Cost += float64(t.Replicas) * s.Price.Replica * w.tick.Hours()
	s.spent += t.Cost
	out.truth = t
}
