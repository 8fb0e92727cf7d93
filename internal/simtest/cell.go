package simtest

import (
	"math"
	"time"
)

// answered is what a cell did in a tick.
type answered struct {
	truth    Truth
	knock    knock
	versions []tally // for each version
	utilised float64
	waited   float64 // seconds, mean
	inflight float64
	queries  [2]float64 // utilisation and seconds of the slowest database
}

// tally is what one version answered.
type tally struct {
	total, errors, slow int
	gone                int   // of the errors: given up by the client
	buckets             []int // cumulative, by the service's bounds
	seconds             float64
}

// work runs one cell for a tick.
func (w *World) work(s *service, c *cell) answered {
	c.mature(w)
	w.crash(s, c)
	out := answered{knock: w.open(s, c)}
	k := &out.knock
	waitedBefore := 0
	for i, n := range k.inside {
		waitedBefore += c.queue[i]
		c.queue[i] += n
	}
	load := w.load(s, c)
	k.drop(s, c, w.tooMany(s, c, load, waitedBefore))
	demand := total(c.queue)
	served := min(demand, load.manages)
	load.seconds = load.own + w.calls(s, c, float64(served)/w.tick.Seconds())
	gone := w.take(s, c, served)
	room := w.room(s, c, load)
	k.drop(s, c, total(c.queue)-room)
	wait := load.wait(w.tick, waitedBefore, total(c.queue), demand, room)
	out.utilised = min(1, float64(demand)/max(1, float64(load.manages)))
	out.waited = (wait.from + wait.to) / 2
	perSecond := float64(served) / w.tick.Seconds()
	out.inflight = perSecond*load.seconds + float64(total(c.queue))
	out.queries = w.ask(s, c, perSecond)
	out.versions = w.answer(s, c, served, load, wait)
	w.judge(s, c, gone, &out)
	return out
}

func total(list []int) (n int) {
	for _, x := range list {
		n += x
	}
	return n
}

// drop takes n requests out of the queue.
func (k *knock) drop(s *service, c *cell, n int) {
	if n <= 0 {
		return
	}
	for i, x := range s.lowestFirst(n, c.queue) {
		c.queue[i] -= x
		k.dropped[i] += x
	}
}

// load is how hard a cell can work in a tick.
type load struct {
	workers float64
	seconds float64 // that a worker is busy with one request on average, at the rate of this tick
	own     float64 // of them, without calls
	manages int     // requests in the tick
	detour  float64 // seconds of way that no worker waits for
}

func (w *World) load(s *service, c *cell) load {
	l := load{workers: float64(c.ready * s.Workers)}
	if limit := s.door.concurrency * s.region[c.region] / 100; limit > 0 {
		l.workers = min(l.workers, limit)
	}
	work, sum := 0.0, 0.0
	for i, f := range s.Flows {
		work += f.Work * float64(c.queue[i])
		sum += float64(c.queue[i])
	}
	if sum == 0 {
		work, sum = 1, 1
	}
	slow := 0.0
	for i, v := range s.Versions {
		_, by := w.troubled(s, v.Name, w.regions[c.region].Name)
		slow += s.share[i] / 100 * v.Slow * by
	}
	l.own = s.Work.D().Seconds() * slow * work / sum
	if home, now := w.regions[c.region].Share, s.region[c.region]; now > home {
		l.detour = w.regions[c.region].Detour.D().Seconds() * (now - home) / now
	}
	rate := w.fastest(s, c, l)
	l.manages = int(min(rate*w.tick.Seconds(), MaxPerTick))
	return l
}

// calls is how long a worker waits for what a request calls, when the cell works at
// a rate of requests a second.
func (w *World) calls(s *service, c *cell, rate float64) (seconds float64) {
	for i, call := range s.calls {
		one, times := 0.0, call.Times*s.calling()
		if d := call.database; d != nil {
			others := max(0, d.rate-c.asked[i])
			one = d.latency(others + rate*times)
		} else {
			one = call.service.latency * w.slowdown(call.To)
		}
		if t := call.Timeout.D().Seconds(); t > 0 {
			one = min(one, t)
		}
		seconds += one * times
	}
	return seconds
}

// fastest is the rate at which the workers are all busy: faster work makes databases
// slower, and they make work slower.
func (w *World) fastest(s *service, c *cell, l load) float64 {
	high := l.workers / max(1e-9, l.own)
	for i, call := range s.calls {
		if d := call.database; d != nil {
			left := max(0.05*d.capacity(), fullest*d.capacity()-max(0, d.rate-c.asked[i]))
			high = min(high, left/(call.Times*s.calling()))
		}
	}
	busy := func(rate float64) float64 { return rate * (l.own + w.calls(s, c, rate)) }
	if len(s.calls) == 0 || busy(high) <= l.workers {
		return high
	}
	low := 0.0
	for range 40 {
		if mid := (low + high) / 2; busy(mid) > l.workers {
			high = mid
		} else {
			low = mid
		}
	}
	return low
}

// room is how many may wait.
func (w *World) room(s *service, c *cell, l load) int {
	room := s.Queue
	if limit := s.door.concurrency * s.region[c.region] / 100; limit > 0 {
		room = min(room, int(max(0, limit-l.workers)))
	}
	return room
}

// tooMany draws how many requests find a short queue full for a moment although the
// workers keep up over the tick.
func (w *World) tooMany(s *service, c *cell, l load, before int) int {
	demand := total(c.queue)
	if before > 0 || demand == 0 || l.manages <= demand {
		return 0
	}
	rate := float64(demand) / w.tick.Seconds()
	l.seconds = l.own + w.calls(s, c, rate)
	rho := l.busy(rate, demand)
	full := math.Pow(rho, math.Sqrt(2*(l.workers+1))-1) * math.Pow(rho, float64(w.room(s, c, l))) * (1 - rho)
	if full < 1e-9 {
		return 0
	}
	return binomial(w.outcome, demand, full)
}

// busy is the share of the workers that a request finds busy at a rate: of those who wait
// for databases it is less than of what they manage, because what is slower when it is
// full is quicker before.
func (l load) busy(rate float64, demand int) float64 {
	share := float64(demand) / float64(l.manages)
	if demand >= l.manages || l.workers <= 0 {
		return share
	}
	return min(share, rate*l.seconds/l.workers)
}

// take serves n requests out of the queue, by its order.
func (w *World) take(s *service, c *cell, n int) []int {
	var gone []int
	if s.Order == Priority {
		gone = s.highestFirst(n, c.queue)
	} else {
		weights := make([]float64, len(c.queue))
		for i, x := range c.queue {
			weights[i] = float64(x)
		}
		gone = apportion(n, weights, c.queue)
	}
	for i, x := range gone {
		c.queue[i] -= x
	}
	return gone
}

// wait is how long the first and the last request of a tick waited, in seconds.
type wait struct{ from, to float64 }

func (l load) wait(tick time.Duration, before, after, demand, room int) wait {
	if l.manages == 0 {
		return wait{math.Inf(1), math.Inf(1)}
	}
	rate := float64(l.manages) / tick.Seconds()
	rho := min(0.97, l.busy(float64(demand)/tick.Seconds(), demand))
	// Sakasegawa's approximation for several servers. Nobody waits behind more than fit.
	little := l.seconds / max(1, l.workers) * math.Pow(rho, math.Sqrt(2*(l.workers+1))-1) / (1 - rho)
	little = min(little, float64(room)/rate)
	return wait{max(little, float64(before)/rate), max(little, float64(after)/rate)}
}

// above is the share of the requests that waited longer than seconds.
func (w wait) above(seconds float64) float64 {
	low, high := min(w.from, w.to), max(w.from, w.to)
	switch {
	case seconds >= high:
		return 0
	case seconds < low:
		return 1
	}
	return (high - seconds) / (high - low)
}

// ask counts the queries of a cell and returns the fullest database.
func (w *World) ask(s *service, c *cell, perSecond float64) (worst [2]float64) {
	for i, call := range s.calls {
		times := call.Times * s.calling()
		if call.service != nil {
			call.service.cells[c.region].inbound += poisson(w.outcome, perSecond*times*w.tick.Seconds())
			continue
		}
		d := call.database
		others := max(0, d.rate-c.asked[i]) // what this cell asked before is no longer asked
		c.asked[i] = perSecond * times
		d.queries += c.asked[i] * w.tick.Seconds()
		now := others + c.asked[i]
		if full := min(1, now/d.capacity()); full >= worst[0] {
			worst = [2]float64{full, d.latency(now)}
		}
	}
	return worst
}
