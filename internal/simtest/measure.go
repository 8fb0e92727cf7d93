package simtest

import (
	"math"
	"slices"
	"time"

	"assay.dev/assay"
)

// MaxMeasures is how many measures a version may have.
const MaxMeasures = 16

// Measure is something that a version counts or shows beside its answers: a count per
// request, a count per time, a sum or a gauge. It has exactly one of Count, PerHour, Sum and
// Gauge.
type Measure struct {
	// Name is the indicator's in Report.Readings.
	Name string `json:"name"`
	// Count is how many events a request has on average, for example queries.
	Count float64 `json:"count,omitempty"`
	// PerHour is how many events the version has in an hour, whatever its traffic, for example restarts.
	PerHour float64 `json:"perHour,omitempty"`
	// Sum is the mean of a value that each request adds, for example bytes.
	Sum float64 `json:"sum,omitempty"`
	// Gauge is the mean of a value that is looked at once a tick, for example memory in use.
	Gauge float64 `json:"gauge,omitempty"`
	// Burst is how many events of a count come together on average; 1 if left out. Their
	// variance is about 2 Burst - 1 times their mean.
	Burst float64 `json:"burst,omitempty"`
	// Spread of a sum is the standard deviation of the logarithm of one request's value, of
	// a gauge that of its values in its own unit; without it they do not vary.
	Spread float64 `json:"spread,omitempty"`
	// Keep is the share of a gauge's distance to its mean that is left a tick later.
	Keep float64 `json:"keep,omitempty"`
}

// MeasureKind is what a measure is of.
type MeasureKind string

// The kinds of measures, by the names of their fields.
const (
	MeasureCount   MeasureKind = "count"
	MeasurePerHour MeasureKind = "perHour"
	MeasureSum     MeasureKind = "sum"
	MeasureGauge   MeasureKind = "gauge"
)

// Kind is what the measure is of, "" if it is of nothing or of more than one.
func (m Measure) Kind() (kind MeasureKind) {
	n := 0
	for k, v := range map[MeasureKind]float64{MeasureCount: m.Count, MeasurePerHour: m.PerHour, MeasureSum: m.Sum, MeasureGauge: m.Gauge} {
		if v != 0 {
			kind, n = k, n+1
		}
	}
	if n != 1 {
		return ""
	}
	return kind
}

// check says what is wrong with a version's measures.
func (v Version) checkMeasures() error {
	if len(v.Measures) > MaxMeasures {
		return invalid("version %q has %d measures; the limit is %d", clip(v.Name), len(v.Measures), MaxMeasures)
	}
	for i, m := range v.Measures {
		kind := m.Kind()
		switch {
		case m.Name == "" || m.Name == IndicatorErrors || m.Name == IndicatorLatency || slices.ContainsFunc(v.Measures[:i], func(o Measure) bool { return o.Name == m.Name }):
			return invalid("measure %q of version %q needs a name of its own; errors and latency are taken", clip(m.Name), clip(v.Name))
		case kind == "":
			return invalid("measure %q of version %q has exactly one of count, perHour, sum and gauge above 0", clip(m.Name), clip(v.Name))
		case !amounts(m.Count, m.PerHour, m.Sum, m.Gauge, m.Burst, m.Spread) || m.Burst > 1e6 || m.Count > 1e6:
			return invalid("measure %q of version %q has a negative number, or one that is too large", clip(m.Name), clip(v.Name))
		case m.Burst != 0 && kind != MeasureCount && kind != MeasurePerHour:
			return invalid("measure %q of version %q: bursts are of counts", clip(m.Name), clip(v.Name))
		case m.Spread != 0 && kind != MeasureSum && kind != MeasureGauge || kind == MeasureSum && m.Spread > 3:
			return invalid("measure %q of version %q: a spread is that of a sum, at most 3, or of a gauge", clip(m.Name), clip(v.Name))
		case m.Keep != 0 && kind != MeasureGauge || !(m.Keep >= 0 && m.Keep < 1):
			return invalid("measure %q of version %q: keep is of a gauge, from 0 to below 1", clip(m.Name), clip(v.Name))
		}
	}
	return nil
}

// measures appends the readings of what the versions of a service count and show beside
// their answers. A version without traffic does not run, and shows no gauge.
func (u *sums) measures(w *World, s *service, r assay.Reading, version int, out []assay.Reading) []assay.Reading {
	n := u.versions[version].total
	for i := range s.Versions[version].Measures {
		m, x := &s.Versions[version].Measures[i], r
		x.Indicator = m.Name
		switch m.Kind() {
		case MeasureCount:
			x.Count = uint64(bunched(w.measured, m.Count*float64(n), m.Burst))
		case MeasurePerHour:
			x.Total = uint64(w.tick / time.Millisecond)
			x.Count = uint64(bunched(w.measured, m.PerHour*w.tick.Hours(), m.Burst))
		case MeasureSum:
			x.Sum = m.sum(w, n)
		case MeasureGauge:
			if s.share[version] == 0 {
				continue
			}
			away := &s.away[version][i]
			*away = m.Keep**away + math.Sqrt(1-m.Keep*m.Keep)*w.measured.NormFloat64()
			v := max(0, m.Gauge+m.Spread**away)
			x.Total, x.Sum, x.Least, x.Greatest = 1, v, v, v
		}
		x.Good = x.Total
		out = append(out, x)
	}
	return out
}

// sum draws what n requests have: lognormal values, of many requests their sum as a normal one.
func (m *Measure) sum(w *World, n int) (sum float64) {
	if m.Spread == 0 {
		return m.Sum * float64(n)
	}
	if n >= exactBelow {
		sd := m.Sum * math.Sqrt(math.Expm1(m.Spread*m.Spread)*float64(n))
		return max(0, m.Sum*float64(n)+sd*w.measured.NormFloat64())
	}
	median := m.Sum * math.Exp(-m.Spread*m.Spread/2)
	for range n {
		sum += median * math.Exp(m.Spread*w.measured.NormFloat64())
	}
	return sum
}
