package peer

// Gradient2 is the concurrency limit of Netflix' Gradient2Limit.java
// (Netflix/concurrency-limits). Start from NewGradient2.
type Gradient2 struct {
	Initial, Min, Max float64
	Queue             float64 // how far the limit may grow while latency stays
	Smoothing         float64
	Tolerance         float64 // how many times the long latency is not yet a queue
	Window            int     // samples of the long average
}

// NewGradient2 has the library's defaults.
func NewGradient2() Gradient2 {
	return Gradient2{Initial: 20, Min: 20, Max: 200, Queue: 4, Smoothing: 0.2, Tolerance: 1.5, Window: 600}
}

// Gradient2State is the limiter's memory. The zero value is a limiter that was just made.
type Gradient2State struct {
	Limit float64
	Long  float64 // average latency, in the samples' unit
	Count int     // samples of the warm-up, at most 10
	Sum   float64 // of the warm-up
}

// Next takes one sample: the latency of a window, above 0, and the requests in flight.
// The new limit is the whole part of the state's Limit.
func (g Gradient2) Next(s Gradient2State, latency float64, inflight int) Gradient2State {
	if s.Limit == 0 {
		s.Limit = g.Initial
	}
	const warmup = 10
	if s.Count < warmup {
		s.Count++
		s.Sum += latency
		s.Long = s.Sum / float64(s.Count)
	} else {
		f := 2 / float64(g.Window+1)
		s.Long = s.Long*(1-f) + latency*f
	}
	long := s.Long
	if long/latency > 2 { // back from a long overload: forget faster
		s.Long *= 0.95
	}
	if float64(inflight) < s.Limit/2 {
		return s // the application is what limits
	}
	gradient := max(0.5, min(1, g.Tolerance*long/latency))
	next := s.Limit*(1-g.Smoothing) + (s.Limit*gradient+g.Queue)*g.Smoothing
	s.Limit = max(g.Min, min(g.Max, next))
	return s
}
