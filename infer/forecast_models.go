package infer

import (
	"math"
	"slices"
)

// track is a series as the models see it: without gaps, and with the place of every
// step, past and future, in its seasons.
type track struct {
	y      []float64
	length [2]int   // of the seasons in steps, the shorter first; 0 is none
	phase  [2][]int // place in each season of every step up to the end of the horizon
}

// model forecasts the steps from origin on, from the steps before it.
type model interface {
	name() string
	predict(t track, origin int, out []float64)
}

// seasonalNaive repeats what was last seen at the same place of a season.
type seasonalNaive struct{ season int }

func (m seasonalNaive) name() string { return [...]string{"last day", "last week"}[m.season] }

func (m seasonalNaive) predict(t track, origin int, out []float64) {
	last := make([]float64, t.length[m.season])
	for i := range last {
		last[i] = t.y[origin-1]
	}
	for i := max(0, origin-2*t.length[m.season]); i < origin; i++ {
		last[t.phase[m.season][i]] = t.y[i]
	}
	for k := range out {
		out[k] = last[t.phase[m.season][origin+k]]
	}
}

// seasonalMean is the mean of a place in a season, all of the past alike.
type seasonalMean struct{ season int }

func (seasonalMean) name() string { return "mean of the hour" }

func (m seasonalMean) predict(t track, origin int, out []float64) {
	sum, n := make([]float64, t.length[m.season]), make([]float64, t.length[m.season])
	all := 0.0
	for i := range origin {
		sum[t.phase[m.season][i]] += t.y[i]
		n[t.phase[m.season][i]]++
		all += t.y[i]
	}
	for k := range out {
		p := t.phase[m.season][origin+k]
		if n[p] == 0 {
			out[k] = all / float64(origin)
		} else {
			out[k] = sum[p] / n[p]
		}
	}
}

// level is a damped local level with a season of its shorter kind laid over it: what
// wins on short steps, where the next minute is like this one.
// The method of theta lines beside it made the blend worse on what bench/forecast holds
// back of M4-hourly's training part (OWA 0.419 against 0.415), so it is not there.
type level struct{ learn, trend, damp float64 }

func (level) name() string { return "level" }

func (m level) predict(t track, origin int, out []float64) {
	var season []float64
	if s := 0; t.length[s] > 0 && origin >= 2*t.length[s] {
		season = means(t, s, origin)
	}
	at := func(i int) float64 {
		if season == nil {
			return 0
		}
		return season[t.phase[0][i]]
	}
	l, b := t.y[0]-at(0), 0.0
	for i := 1; i < origin; i++ {
		was := l
		l += m.damp*b + m.learn*(t.y[i]-at(i)-l-m.damp*b)
		b = m.damp*b + m.trend*(l-was-m.damp*b)
	}
	run, d := 0.0, 1.0
	for k := range out {
		d *= m.damp
		run += d * b
		out[k] = l + run + at(origin+k)
	}
}

// means are the mean differences of each place of season s from the whole mean.
func means(t track, s, origin int) []float64 {
	sum, n, all := make([]float64, t.length[s]), make([]float64, t.length[s]), 0.0
	for i := range origin {
		sum[t.phase[s][i]] += t.y[i]
		n[t.phase[s][i]]++
		all += t.y[i]
	}
	all /= float64(origin)
	for p := range sum {
		if n[p] > 0 {
			sum[p] = sum[p]/n[p] - all
		}
	}
	return sum
}

// holtWinters is double-seasonal exponential smoothing with an autoregressive error
// (Taylor 2003), on the values or on their logarithms.
type holtWinters struct {
	level, day, week, error float64
	log                     bool
}

func (holtWinters) name() string { return "Holt-Winters" }

// state is what holtWinters knows at a step.
type state struct {
	level, last float64
	season      [2][]float64
}

func (m holtWinters) start(t track, origin int, z []float64) state {
	s := state{}
	first := min(origin, max(1, t.length[0], t.length[1]))
	for _, v := range z[:first] {
		s.level += v / float64(first)
	}
	for k := range 2 {
		if t.length[k] == 0 {
			continue
		}
		s.season[k] = make([]float64, t.length[k])
		n := make([]float64, t.length[k])
		for i, v := range z[:first] {
			p := t.phase[k][i]
			rest := v - s.level
			if k == 1 && s.season[0] != nil {
				rest -= s.season[0][t.phase[0][i]]
			}
			n[p]++
			s.season[k][p] += (rest - s.season[k][p]) / n[p]
		}
	}
	return s
}

// step learns z[i].
func (m holtWinters) step(t track, s *state, i int, v float64) {
	s1, s2 := s.at(t, 0, i), s.at(t, 1, i)
	e := v - s.level - s1 - s2
	was := s.level
	s.level = m.level*(v-s1-s2) + (1-m.level)*was
	if s.season[0] != nil {
		s.season[0][t.phase[0][i]] = m.day*(v-was-s2) + (1-m.day)*s1
	}
	if s.season[1] != nil {
		s.season[1][t.phase[1][i]] = m.week*(v-was-s1) + (1-m.week)*s2
	}
	s.last = e
}

func (s *state) at(t track, k, i int) float64 {
	if s.season[k] == nil {
		return 0
	}
	return s.season[k][t.phase[k][i]]
}

func (m holtWinters) ahead(t track, s *state, origin int, out []float64) {
	ar := s.last
	for k := range out {
		ar *= m.error
		out[k] = s.level + s.at(t, 0, origin+k) + s.at(t, 1, origin+k) + ar
		if m.log {
			out[k] = math.Exp(min(out[k], 700))
		}
	}
}

func (m holtWinters) predict(t track, origin int, out []float64) {
	z := m.scale(t.y[:origin])
	s := m.start(t, origin, z)
	for i, v := range z {
		m.step(t, &s, i, v)
	}
	m.ahead(t, &s, origin, out)
}

func (m holtWinters) scale(y []float64) []float64 {
	if !m.log {
		return y
	}
	z := make([]float64, len(y))
	for i, v := range y {
		z[i] = math.Log(v)
	}
	return z
}

// regression is a ridge regression on the steps before and on the same times of the
// days and weeks before, iterated over the horizon.
type regression struct{ ridge float64 }

func (regression) name() string { return "regression on lags" }

func (m regression) lags(t track) []int {
	lags := []int{1, 2, 3, 4, 5, 6}
	if d := t.length[0]; d > 3 {
		lags = append(lags, d-1, d, d+1, d+2, 2*d, 2*d+1, 3*d)
		if w := t.length[1]; w > 2*d {
			lags = append(lags, w-d, w-1, w, w+1, w+2)
		}
	}
	slices.Sort(lags)
	return slices.Compact(lags)
}

func (m regression) predict(t track, origin int, out []float64) {
	lags := m.lags(t)
	most := lags[len(lags)-1]
	n := len(lags) + 1
	if origin < most+4*n {
		seasonless(t, origin, out)
		return
	}
	mean, spread := moments(t.y[:origin])
	row, xx, xy := make([]float64, n), make([]float64, n*n), make([]float64, n)
	for i := most; i < origin; i++ {
		row[0] = 1
		for j, lag := range lags {
			row[j+1] = (t.y[i-lag] - mean) / spread
		}
		v := (t.y[i] - mean) / spread
		for a := range n {
			for b := a; b < n; b++ {
				xx[a*n+b] += row[a] * row[b]
			}
			xy[a] += row[a] * v
		}
	}
	for a := range n {
		xx[a*n+a] += m.ridge * float64(origin-most)
	}
	beta, ok := solve(xx, xy, n)
	if !ok {
		seasonless(t, origin, out)
		return
	}
	recent := make([]float64, origin+len(out))
	for i := origin - most; i < origin; i++ {
		recent[i] = (t.y[i] - mean) / spread
	}
	for k := range out {
		v := beta[0]
		for j, lag := range lags {
			v += beta[j+1] * recent[origin+k-lag]
		}
		v = min(max(v, -50), 50) // an unstable recursion stays a number, and loses its weight
		recent[origin+k] = v
		out[k] = mean + spread*v
	}
}

func seasonless(t track, origin int, out []float64) {
	for k := range out {
		out[k] = t.y[origin-1]
	}
}

func moments(y []float64) (mean, spread float64) {
	for _, v := range y {
		mean += v / float64(len(y))
	}
	for _, v := range y {
		spread += (v - mean) * (v - mean) / float64(len(y))
	}
	if spread = math.Sqrt(spread); !(spread > 0) {
		spread = 1
	}
	return mean, spread
}

// solve is Cholesky's method on the upper triangle of a symmetric matrix.
func solve(a, b []float64, n int) ([]float64, bool) {
	for i := range n {
		for j := i; j < n; j++ {
			sum := a[i*n+j]
			for k := range i {
				sum -= a[k*n+i] * a[k*n+j]
			}
			if j == i {
				if !(sum > 1e-12) {
					return nil, false
				}
				a[i*n+i] = math.Sqrt(sum)
			} else {
				a[i*n+j] = sum / a[i*n+i]
			}
		}
	}
	x := make([]float64, n)
	for i := range n {
		x[i] = b[i]
		for k := range i {
			x[i] -= a[k*n+i] * x[k]
		}
		x[i] /= a[i*n+i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			x[i] -= a[i*n+k] * x[k]
		}
		x[i] /= a[i*n+i]
	}
	return x, true
}
