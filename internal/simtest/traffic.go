package simtest

import (
	"math"
	"math/rand/v2"
	"time"
)

// Traffic says how many requests a second a service gets from outside.
type Traffic struct {
	Rate    float64 `json:"rate"`              // mean requests a second, of a trace too
	Day     float64 `json:"day,omitempty"`     // the daily swing: 0.8 is from 20 % to 180 % of the mean
	Peak    float64 `json:"peak,omitempty"`    // hour of the day with most traffic; 14 if left out
	Weekend float64 `json:"weekend,omitempty"` // share of traffic that is missing on Saturday and Sunday
	Zone    string  `json:"zone,omitempty"`    // of the users' clocks; UTC if left out
	Noise   float64 `json:"noise,omitempty"`   // standard deviation of the logarithm of the rate; wanders with a memory of five minutes
	Bursts  Bursts  `json:"bursts,omitzero"`
	Events  []Event `json:"events,omitempty"`

	// Trace is what was once measured, one value for each TraceStep, scaled to the
	// mean Rate and repeated. It takes the place of Day, Weekend and Peak.
	Trace     []float64 `json:"-"`
	TraceStep Duration  `json:"-"`
}

// Bursts come at random.
type Bursts struct {
	PerHour float64  `json:"perHour"`
	Factor  float64  `json:"factor"`
	For     Duration `json:"for"`
}

// Event is a change of traffic at a known time.
type Event struct {
	At     Duration `json:"at"` // since the start
	For    Duration `json:"for"`
	Factor float64  `json:"factor"`
	Ramp   Duration `json:"ramp,omitempty"` // it takes this long to rise and to fall
}

// source draws the rate of a service. Its random numbers are its own.
type source struct {
	Traffic
	rand  *rand.Rand
	zone  *time.Location
	scale float64 // of the trace
	start time.Time
	noise float64   // logarithm
	until time.Time // of the burst
}

func newSource(t Traffic, r *rand.Rand, start time.Time) (*source, error) {
	zone, err := time.LoadLocation(t.Zone)
	if err != nil {
		return nil, invalid("traffic: %q is not a zone like Europe/Berlin", clip(t.Zone))
	}
	s := &source{Traffic: t, rand: r, zone: zone, start: start}
	if t.Peak == 0 {
		s.Peak = 14
	}
	sum := 0.0
	for _, v := range t.Trace {
		sum += v
	}
	if sum > 0 {
		s.scale = t.Rate * float64(len(t.Trace)) / sum
	}
	return s, nil
}

// next is the rate over the tick of length dt that begins at now.
func (s *source) next(now time.Time, dt time.Duration) float64 {
	rate := s.shape(now)
	if s.Noise > 0 {
		keep := math.Exp(-dt.Seconds() / 300)
		s.noise = keep*s.noise + s.Noise*math.Sqrt(1-keep*keep)*s.rand.NormFloat64()
		rate *= math.Exp(s.noise - s.Noise*s.Noise/2)
	}
	if b := s.Bursts; b.PerHour > 0 {
		if s.rand.Float64() < b.PerHour*dt.Hours() {
			s.until = now.Add(b.For.D())
		}
		if now.Before(s.until) {
			rate *= b.Factor
		}
	}
	for _, e := range s.Events {
		rate *= e.factor(now.Sub(s.start))
	}
	return rate
}

// shape is the rate without chance and events.
func (s *source) shape(now time.Time) float64 {
	if len(s.Trace) > 0 {
		at := float64(now.Sub(s.start)) / float64(s.TraceStep)
		i, part := int(at), at-math.Floor(at)
		a, b := s.Trace[i%len(s.Trace)], s.Trace[(i+1)%len(s.Trace)]
		return s.scale * (a + part*(b-a))
	}
	local := now.In(s.zone)
	hour := float64(local.Hour()) + float64(local.Minute())/60 + float64(local.Second())/3600
	rate := s.Rate * (1 + s.Day*math.Cos(2*math.Pi*(hour-s.Peak)/24))
	if d := local.Weekday(); d == time.Saturday || d == time.Sunday {
		rate *= 1 - s.Weekend
	}
	return rate
}

func (e Event) factor(since time.Duration) float64 {
	in := since - e.At.D()
	out := e.At.D() + e.For.D() - since
	if in < 0 || out <= 0 {
		return 1
	}
	part := 1.0
	if e.Ramp > 0 {
		part = min(1, float64(min(in, out))/float64(e.Ramp))
	}
	return 1 + part*(e.Factor-1)
}
