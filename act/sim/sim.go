// Package sim is a world in memory: services whose versions answer, fail and dawdle
// by the rules they are given, with traffic divided as its actuator was told.
//
// Step moves its clock and yields what would have been counted meanwhile, so the
// loop that watches and steers real traffic runs on it unchanged. A World is a
// function of its Config and of the calls it got: the same seed and the same steps
// give the same counts, on every machine.
//
// Each request falls on a version by chance. Clients that stick to a version, and
// so make its requests alike, are not part of this world.
package sim

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/enforce"
)

// Indicators that a World yields.
const (
	IndicatorErrors  = "errors"
	IndicatorLatency = "latency"
)

// MaxRequests is the largest mean number of requests of one service in one step.
const MaxRequests = 100_000_000

// Config is a world before its first instant.
type Config struct {
	Seed     uint64          `json:"seed"`
	Start    time.Time       `json:"start"`
	Services []Service       `json:"services"`
	Bounds   []time.Duration `json:"bounds,omitempty"` // of the latency histogram, ascending; nil is DefaultBounds
}

// DefaultBounds are those that the embedded proxy counts with.
func DefaultBounds() []time.Duration {
	return []time.Duration{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
		50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
	}
}

// Service is a service with its traffic.
type Service struct {
	Name     string        `json:"name"`
	Rate     float64       `json:"rate"`              // mean requests per second; arrivals are Poisson
	Within   time.Duration `json:"within,omitempty"`  // a request at most this slow is good for the latency indicator; one of the bounds, 0 counts all as good
	Versions []Version     `json:"versions"`          // their weights add up to 100
	Changes  []Change      `json:"changes,omitempty"` // in order of time
	Rates    []RateChange  `json:"rates,omitempty"`   // in order of time
	Levers   []act.LeverAt `json:"levers,omitempty"`  // that may be moved, beside the shares of versions; they move nothing else
}

// Version is how one version behaves.
type Version struct {
	Name    string  `json:"name"`
	Weight  int     `json:"weight"` // percent of the traffic at the start
	Errors  float64 `json:"errors"` // probability that a request fails, 0 to 1
	Latency Latency `json:"latency"`
}

// Change lets a version behave otherwise from an instant on: a late fault, or its end.
type Change struct {
	After   time.Duration `json:"after"` // since the start
	Version string        `json:"version"`
	Errors  float64       `json:"errors"`
	Latency Latency       `json:"latency"`
}

// RateChange lets a service have another rate from an instant on: a night, or a day.
type RateChange struct {
	After time.Duration `json:"after"` // since the start
	Rate  float64       `json:"rate"`  // mean requests per second
}

// World is a running simulation. It implements act.Actuator and is safe for
// concurrent use, but only calls in a fixed order give a fixed result.
type World struct {
	mu       sync.Mutex
	rand     *rand.Rand
	start    time.Time
	now      time.Time
	bounds   []time.Duration
	services map[string]*service
	order    []string
	done     map[string]deed // by idempotency key
}

type service struct {
	Service
	dial  enforce.Dial
	owner uint64 // generation that moved a lever last
}

// deed is an action that was applied, and its answer.
type deed struct {
	action  assay.Action
	receipt act.Receipt
}

// New makes a World, or says what is wrong with c.
func New(c Config) (*World, error) {
	if c.Bounds == nil {
		c.Bounds = DefaultBounds()
	}
	if !slices.IsSorted(c.Bounds) || len(c.Bounds) == 0 || c.Bounds[0] <= 0 {
		return nil, assay.Errorf(assay.CodeInvalid, "the latency bounds are not positive and ascending")
	}
	w := &World{
		rand: rand.New(rand.NewPCG(c.Seed, 0x9e3779b97f4a7c15)), start: c.Start, now: c.Start, bounds: slices.Clone(c.Bounds),
		services: map[string]*service{}, done: map[string]deed{},
	}
	for _, s := range c.Services {
		if err := s.check(c.Bounds); err != nil {
			return nil, err
		}
		if w.services[s.Name] != nil {
			return nil, assay.Errorf(assay.CodeInvalid, "service %q is there twice", s.Name)
		}
		live := &service{Service: s}
		live.Versions, live.Levers = slices.Clone(s.Versions), slices.Clone(s.Levers)
		for _, v := range s.Versions {
			live.dial.Shares = append(live.dial.Shares, enforce.Share{Version: v.Name, Percent: v.Weight})
		}
		w.services[s.Name] = live
		w.order = append(w.order, s.Name)
	}
	return w, nil
}

func (s Service) check(bounds []time.Duration) error {
	sum, names := 0, map[string]bool{}
	for _, v := range s.Versions {
		if v.Name == "" || names[v.Name] || v.Weight < 0 {
			return assay.Errorf(assay.CodeInvalid, "service %q: version %q has no name of its own or a negative weight", s.Name, v.Name)
		}
		names[v.Name] = true
		sum += v.Weight
		if err := behaves(v.Errors, v.Latency); err != nil {
			return assay.Errorf(assay.CodeInvalid, "service %q: version %q %w", s.Name, v.Name, err)
		}
	}
	for i, c := range s.Changes {
		if !names[c.Version] || i > 0 && c.After < s.Changes[i-1].After {
			return assay.Errorf(assay.CodeInvalid, "service %q: change %d is out of order or of an unknown version %q", s.Name, i, c.Version)
		}
		if err := behaves(c.Errors, c.Latency); err != nil {
			return assay.Errorf(assay.CodeInvalid, "service %q: change %d %w", s.Name, i, err)
		}
	}
	for i, c := range s.Rates {
		if !(c.Rate >= 0) || math.IsInf(c.Rate, 0) || i > 0 && c.After < s.Rates[i-1].After {
			return assay.Errorf(assay.CodeInvalid, "service %q: rate %d is out of order or %v requests per second", s.Name, i, c.Rate)
		}
	}
	switch {
	case s.Name == "" || sum != 100:
		return assay.Errorf(assay.CodeInvalid, "service %q has no name, or weights that add up to %d instead of 100", s.Name, sum)
	case !(s.Rate >= 0) || math.IsInf(s.Rate, 0):
		return assay.Errorf(assay.CodeInvalid, "service %q has a rate of %v requests per second", s.Name, s.Rate)
	case s.Within != 0 && !slices.Contains(bounds, s.Within):
		return assay.Errorf(assay.CodeInvalid, "service %q judges latency at %s, which is not one of the bounds", s.Name, s.Within)
	}
	return nil
}

func behaves(errors float64, l Latency) error {
	switch {
	case !(errors >= 0 && errors <= 1):
		return fmt.Errorf("fails with probability %v", errors)
	case l.Median <= 0 || !(l.Spread >= 0 && l.Spread < 10):
		return fmt.Errorf("has a latency of %s with spread %v", l.Median, l.Spread)
	case l.Tail != 0 && !(l.Tail > 0 && l.Tail <= 1 && l.Slow >= 1 && !math.IsInf(l.Slow, 0)):
		return fmt.Errorf("has a tail of %v that is %v times slower", l.Tail, l.Slow)
	}
	return nil
}

// Now is the world's time.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Step moves the clock by d and returns what was counted in that interval: for
// each version of each service, also one without traffic, one reading of each
// indicator. A change that falls into the interval takes effect with the next.
func (w *World) Step(d time.Duration) ([]assay.Reading, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d <= 0 {
		return nil, assay.Errorf(assay.CodeInvalid, "a step of %s does not move the clock", d)
	}
	for _, name := range w.order {
		w.services[name].turn(w.now.Sub(w.start))
		if mean := w.services[name].Rate * d.Seconds(); mean > MaxRequests {
			return nil, assay.Errorf(assay.CodeTooLarge, "a step of %s has %.0f requests of service %s; the limit is %d", d, mean, name, MaxRequests)
		}
	}
	var out []assay.Reading
	end := w.now.Add(d)
	for _, name := range w.order {
		s := w.services[name]
		left, percent := poisson(w.rand, s.Rate*d.Seconds()), 100
		for i, v := range s.Versions {
			share := s.dial.Shares[i].Percent
			n := left // the last with traffic takes what is left
			if share < percent {
				n = binomial(w.rand, left, float64(share)/float64(percent))
			}
			left, percent = left-n, percent-share
			out = append(out, w.count(s, v, n, end)...)
		}
	}
	w.now = end
	return out, nil
}

// turn applies the changes that are due.
func (s *service) turn(since time.Duration) {
	for len(s.Rates) > 0 && s.Rates[0].After <= since {
		s.Rate, s.Rates = s.Rates[0].Rate, s.Rates[1:]
	}
	for len(s.Changes) > 0 && s.Changes[0].After <= since {
		c := s.Changes[0]
		s.Changes = s.Changes[1:]
		for i := range s.Versions {
			if s.Versions[i].Name == c.Version {
				s.Versions[i].Errors, s.Versions[i].Latency = c.Errors, c.Latency
			}
		}
	}
}

// count draws what n requests of a version came to.
func (w *World) count(s *service, v Version, n uint64, end time.Time) []assay.Reading {
	r := assay.Reading{Service: s.Name, Version: v.Name, Total: n, Start: w.now, End: end, EventTime: end, Ingested: end, Completeness: 1}
	errors, latency := r, r
	errors.Indicator, latency.Indicator = IndicatorErrors, IndicatorLatency
	errors.Good = n - binomial(w.rand, n, v.Errors)
	latency.Good = n
	left, before := n, 0.0
	for _, b := range w.bounds {
		p := v.Latency.below(b)
		if before < 1 { // of those slower than the last bound, how many are not slower than this one
			left -= binomial(w.rand, left, (p-before)/(1-before))
		}
		before = p
		latency.Buckets = append(latency.Buckets, assay.Bucket{LE: b.Seconds(), Count: n - left})
		if b == s.Within {
			latency.Good = n - left
		}
	}
	return []assay.Reading{errors, latency}
}

// Class implements act.Actuator.
func (w *World) Class() act.Class { return act.Fenced }

// Apply implements act.Actuator. Keys are remembered for as long as the World lives.
func (w *World) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	lever := a.Lever != "" && a.Lever != assay.LeverShare
	if err := act.Check(a); err != nil && !lever {
		return act.Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return act.Receipt{}, assay.Errorf(assay.CodeUnavailable, "the action was given up: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	same := a
	same.Fence = 0 // a new owner that repeats the old one's step gets its answer
	if d, known := w.done[a.Key]; known {
		if d.action != same {
			return act.Receipt{}, assay.Errorf(assay.CodeConflict, "key %q was used for another action", a.Key)
		}
		return d.receipt, nil
	}
	if lever {
		r, err := w.move(a)
		if err == nil {
			w.done[a.Key] = deed{same, r}
		}
		return r, err
	}
	s := w.services[a.Service]
	if s == nil {
		return act.Receipt{}, noService(a.Service)
	}
	dial, changed, err := s.dial.Next(enforce.Shift{Version: a.Version, From: a.From, Weight: a.Weight, Generation: a.Fence, Key: a.Key})
	if err != nil {
		return act.Receipt{}, err
	}
	s.dial = dial
	observed, _ := dial.Percent(a.Version)
	r := act.Receipt{Key: a.Key, Time: w.now, Observed: observed, Changed: changed, Detail: fmt.Sprintf("simulated service %s gives %s %d %%", a.Service, a.Version, observed)}
	w.done[a.Key] = deed{same, r}
	return r, nil
}

// Observe implements act.Actuator.
func (w *World) Observe(_ context.Context, name string) (act.Observation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.services[name]
	if s == nil {
		return act.Observation{}, noService(name)
	}
	o := act.Observation{Generation: s.dial.Generation, Shares: map[string]int{}, Time: w.now}
	for _, sh := range s.dial.Shares {
		o.Shares[sh.Version] = sh.Percent
	}
	return o, nil
}

func noService(name string) error {
	return assay.Errorf(assay.CodeNotFound, "the simulated world has no service %q", name)
}
