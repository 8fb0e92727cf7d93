package anomaly

import "math"

// units are the factors between units that counters are mistaken in: minutes and hours of
// seconds, percent, thousands and their binary kin, millions, milliards.
var units = [...]float64{60, 100, 1000, 1024, 3600, 1e6, 1e9}

const (
	// near is how far, as a factor, the rate may be off a unit's.
	near = 1.3
	// leastLess is the least factor that counts downwards: traffic that fails to a
	// hundredth is an outage, and not another unit.
	leastLess = 1000
	// learnLevel is how quickly the usual rate of events follows what comes.
	learnLevel = 0.05
	// leastLevel is the least usual rate: of less, any traffic is many times as much.
	leastLevel = 10
)

// scale watches for a rate that jumps by the factor of a unit and stays there: the metric
// changed its meaning. What was usual is not forgotten meanwhile.
func (u *subject) scale(total float64) {
	s := &u.s
	if f := unitOf(total, s.Level); f != 0 {
		if f != s.Factor {
			s.Factor, s.Scaled = f, 0
		}
		if s.Scaled++; s.Scaled <= adoptAfter {
			return
		}
	}
	s.Factor, s.Scaled = 0, 0
	switch {
	case s.Level == 0 || unitOf(total, s.Level) != 0: // the first, or what has become usual
		s.Level = total
	default:
		s.Level += learnLevel * (total - s.Level)
	}
}

// adoptAfter is how many minutes a new unit stands until it is what is usual.
const adoptAfter = 120

// unitOf is the factor of a unit by which a rate differs from the usual one, 0 if by none.
func unitOf(total, level float64) float64 {
	if level < leastLevel || total <= 0 {
		return 0
	}
	ratio := total / level
	for _, f := range units {
		if ratio > f/near && ratio < f*near {
			return f
		}
		if f >= leastLess && ratio*f > 1/near && ratio*f < near {
			return 1 / f
		}
	}
	return 0
}

// timely are the alarms of minutes that were not learnt from. Late ones are marked: what
// is over is recorded, and wakes nobody.
func timely(found []Found, learnt, now int64) (out []Found) {
	for _, f := range found {
		if f.Time.Unix()/60 < learnt {
			continue
		}
		f.Late = float64(now-f.Time.Unix()) > math.Round(lateAfter.Seconds())
		out = append(out, f)
	}
	return out
}
