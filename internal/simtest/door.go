package simtest

import (
	"math/rand/v2"
	"slices"
)

// knock is what came to a cell in a tick and what became of it at the door; one
// number for each flow.
type knock struct {
	arrived []int // from outside, from callers, and again
	inside  []int // let in
	dropped []int
	cheap   []int
}

// arrivals draws the fresh requests of a service and divides them among regions.
func (s *service) arrivals(w *World) {
	rate := s.source.next(w.now, w.tick)
	total := 0.0
	for _, f := range s.Flows {
		total += f.Share
	}
	for i, f := range s.Flows {
		mean := 0.0
		if total > 0 {
			mean = rate * w.tick.Seconds() * f.Share / total
		}
		w.each(NoisyTenant, func(fault Fault) {
			if fault.Service == s.Name && fault.Tenant == f.Tenant {
				mean *= fault.Factor
			}
		})
		if f.Class == Attacker {
			w.each(Attack, func(fault Fault) {
				if fault.Service == s.Name {
					mean += fault.Rate * w.tick.Seconds()
				}
			})
		}
		n := poisson(s.arrive, min(mean, MaxPerTick))
		s.spread(w, i, n)
	}
	s.called(w)
}

// spread divides n requests of a flow among the regions by chance.
func (s *service) spread(w *World, flow, n int) {
	left := 100.0
	for r, c := range s.cells {
		k := n
		if share := s.region[r]; share < left {
			k = binomial(w.outcome, n, share/left)
			left -= share
		}
		if r == len(s.cells)-1 {
			k = n
		}
		c.retry[flow] += k
		n -= k
	}
}

// called divides what other services ask of this one among its flows.
func (s *service) called(w *World) {
	weights := make([]float64, len(s.Flows))
	for i, f := range s.Flows {
		weights[i] = f.Share
	}
	for _, c := range s.cells {
		for i, n := range multinomial(w.outcome, c.inbound, weights) {
			c.retry[i] += n
		}
		c.inbound = 0
	}
}

// multinomial divides n by weights, by chance.
func multinomial(r *rand.Rand, n int, weights []float64) []int {
	out := make([]int, len(weights))
	left := 0.0
	last := -1
	for i, x := range weights {
		left += x
		if x > 0 {
			last = i
		}
	}
	for i, x := range weights {
		if n == 0 || last < 0 {
			break
		}
		k := n
		if i != last {
			k = binomial(r, n, x/left)
		}
		out[i] = k
		n, left = n-k, left-x
	}
	return out
}

// open lets in what the levers allow.
func (w *World) open(s *service, c *cell) knock {
	n := len(s.Flows)
	k := knock{arrived: slices.Clone(c.retry), inside: make([]int, n), dropped: make([]int, n), cheap: make([]int, n)}
	d, part := &s.door, s.region[c.region]/100
	clear(c.retry)
	for i, f := range s.Flows {
		// What the class admission kept waiting outside comes to the door again.
		here := k.arrived[i] + c.held[i]
		c.held[i] = 0
		if d.quarantine[f.Tenant] && f.Tenant != "" || d.quarantine[f.Class] && f.Class != "" {
			k.dropped[i] = here
			continue
		}
		k.inside[i] = here
		if percent, ok := d.class[f.Class]; ok && percent < 100 {
			k.inside[i] = binomial(w.outcome, here, percent/100)
			if f.Defer {
				c.held[i] = here - k.inside[i]
			} else {
				k.dropped[i] = here - k.inside[i]
			}
		}
		if share := d.cheap[f.Class]; share > 0 {
			k.cheap[i] = binomial(w.outcome, k.inside[i], share)
			k.inside[i] -= k.cheap[i]
		}
	}
	seconds := w.tick.Seconds()
	for i, f := range s.Flows {
		if limit := d.quota[f.Tenant]; limit > 0 && first(s.Flows[:i], func(o Flow) bool { return o.Tenant == f.Tenant }) {
			s.shed(&k, int(limit*seconds*part), func(o Flow) bool { return o.Tenant == f.Tenant })
		}
		if limit := d.scoped[f.Class]; limit > 0 && first(s.Flows[:i], func(o Flow) bool { return o.Class == f.Class }) {
			s.shed(&k, int(limit*seconds*part), func(o Flow) bool { return o.Class == f.Class })
		}
	}
	if d.rate > 0 {
		s.shed(&k, int(d.rate*seconds*part), func(Flow) bool { return true })
	}
	if d.spend > 0 && s.spent >= d.spend {
		s.shed(&k, 0, func(f Flow) bool { return !f.Critical })
	}
	return k
}

// first reports whether no earlier flow is alike.
func first(before []Flow, alike func(Flow) bool) bool { return !slices.ContainsFunc(before, alike) }

// shed drops what is above limit among the flows that match, the lowest priority
// first and equally within one.
func (s *service) shed(k *knock, limit int, match func(Flow) bool) {
	sum := 0
	part := make([]int, len(s.Flows))
	for i, f := range s.Flows {
		if match(f) {
			part[i] = k.inside[i]
			sum += part[i]
		}
	}
	for i, n := range s.lowestFirst(sum-limit, part) {
		k.inside[i] -= n
		k.dropped[i] += n
	}
}

// lowestFirst takes n out of have, the lowest priority first and in proportion
// within one.
func (s *service) lowestFirst(n int, have []int) []int { return s.ordered(n, have, 1) }

// highestFirst takes n out of have, the highest priority first.
func (s *service) highestFirst(n int, have []int) []int { return s.ordered(n, have, -1) }

func (s *service) ordered(n int, have []int, sign int) []int {
	out := make([]int, len(have))
	levels := make([]int, 0, len(have))
	for i, f := range s.Flows {
		if have[i] > 0 && !slices.Contains(levels, f.Priority) {
			levels = append(levels, f.Priority)
		}
	}
	slices.SortFunc(levels, func(a, b int) int { return sign * (a - b) })
	for _, level := range levels {
		if n <= 0 {
			break
		}
		weights, sum := make([]float64, len(have)), 0
		for i, f := range s.Flows {
			if f.Priority == level {
				weights[i] = float64(have[i])
				sum += have[i]
			}
		}
		take := min(n, sum)
		for i, x := range apportion(take, weights, have) {
			out[i] += x
		}
		n -= take
	}
	return out
}
