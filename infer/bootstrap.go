package infer

import (
	"math"
	"slices"
)

// BootstrapPaths makes each end of a 95 % interval stand on 25 paths.
const BootstrapPaths = 999

// farthest is the greatest quotient of a path: one of two numbers that are almost nothing
// says no more.
const farthest = 1e6

// Bootstrap is how an interval was resampled: the same series with the same seed give the
// same one, on every machine.
type Bootstrap struct {
	Seed  uint64 `json:"seed"`
	Paths int    `json:"paths"`
	// Block is the mean length of the blocks, in untreated windows, of which one begins at
	// about each step.
	Block float64 `json:"block"`
}

// paths are the errors of a prediction, as quotients of the spread that each of the
// resampled pasts shows, in ascending order.
type paths struct {
	block float64
	roots []float64
}

// resample makes paths by the stationary bootstrap (Politis and Romano 1994). Windows
// overlap and errors of neighbours go together, so blocks of them are drawn, of a length
// that is geometric with a mean chosen from the errors' autocorrelation (Politis and White
// 2004, as Patton, Politis and White corrected it in 2009). The regression is fitted anew to each
// resampled past, and misses one of the errors ahead; the quotient of that miss and the
// spread that this past shows is a path's root (bootstrap t). Errors ahead are drawn from
// ahead.
func resample(a Aftermath, f fitted, windows []around, target around, ahead []float64) paths {
	n := len(windows)
	out := paths{block: blockLength(f.residuals), roots: make([]float64, a.Paths)}
	level, _ := mean(lasts(windows))
	totals, x, draw := accumulate(windows, f, level), target.from(level), sequence(a.Seed)
	free := n - 3
	if f.fixed {
		free = n
	}
	whole, scale := math.Sqrt(totals[n].ee/float64(free)), geometric(out.block)
	for i := range out.roots {
		var s sums
		for left := n; left > 0; {
			length := min(draw.geometric(scale), left)
			s.add(totals, draw.below(n), length)
			left -= length
		}
		spread, off := math.Sqrt(s.ee/float64(free)), 0.0
		if !f.fixed {
			spread, off = s.refitted(x, free)
		}
		if !(spread > 0) || math.IsInf(spread, 0) { // a past that says nothing
			spread, off = whole*math.Sqrt(1+f.leverage(target)), 0
		}
		root := (whole*ahead[draw.below(len(ahead))] - off) / spread
		out.roots[i] = min(max(root, -farthest), farthest)
	}
	slices.Sort(out.roots)
	return out
}

// sums are what a regression of errors on rows is made of.
type sums struct {
	xx [3][3]float64
	xe [3]float64
	ee float64
}

// from is the row of a window whose values are counted from a level, so that sums of their
// squares keep the digits that matter, with the window's weight.
func (w around) from(level float64) [3]float64 {
	return [3]float64{1 / w.scale, (w.before - level) / w.scale, (w.last - level) / w.scale}
}

// accumulate are the sums of the first windows, by how many.
func accumulate(windows []around, f fitted, level float64) []sums {
	out := make([]sums, len(windows)+1)
	for i, w := range windows {
		s, x, e := out[i], w.from(level), f.error(w)
		for r := range x {
			for c := range x {
				s.xx[r][c] += x[r] * x[c]
			}
			s.xe[r] += x[r] * e
		}
		s.ee += e * e
		out[i+1] = s
	}
	return out
}

// add adds the windows from first on; after the newest comes the oldest.
func (s *sums) add(totals []sums, first, length int) {
	n := len(totals) - 1
	end := min(first+length, n)
	s.between(&totals[first], &totals[end])
	if rest := first + length - n; rest > 0 {
		s.between(&totals[0], &totals[rest])
	}
}

func (s *sums) between(from, to *sums) {
	for r := range s.xx {
		for c := range s.xx[r] {
			s.xx[r][c] += to.xx[r][c] - from.xx[r][c]
		}
		s.xe[r] += to.xe[r] - from.xe[r]
	}
	s.ee += to.ee - from.ee
}

// refitted is the spread of a prediction at x that is fitted to these sums, with so many
// windows more than it has parameters, and by how much it differs there from the one whose
// errors these are.
func (s sums) refitted(x [3]float64, free int) (spread, off float64) {
	for i := 1; i < 3; i++ {
		s.xx[i][i] += ridge * (s.xx[1][1] + s.xx[2][2] + tiny)
	}
	inverse, ok := invert(s.xx)
	if !ok {
		return 0, 0
	}
	rest, leverage := s.ee, 0.0
	for r := range x {
		by := 0.0
		for c := range x {
			by += inverse[r][c] * s.xe[c]
			leverage += x[r] * inverse[r][c] * x[c]
		}
		off += x[r] * by
		rest -= by * s.xe[r]
	}
	return math.Sqrt(max(rest, 0) / float64(free) * (1 + leverage)), off
}

// blockLength is the mean length of the stationary bootstrap's blocks that errs least for
// the mean of a series.
func blockLength(y []float64) float64 {
	n := len(y)
	most := min(3*math.Sqrt(float64(n)), float64(n)/3)
	quiet := max(5, int(math.Sqrt(math.Log10(float64(n)))))
	lags := min(int(math.Sqrt(float64(n)))+quiet, n-1)
	r := autocovariances(y, lags)
	if !(r[0] > 0) {
		return 1
	}
	// The last lag that says something: so many after it say nothing.
	bound, last := 2*math.Sqrt(math.Log10(float64(n))/float64(n)), 0
	for k := 1; k <= lags && k-last <= quiet; k++ {
		if math.Abs(r[k]/r[0]) >= bound {
			last = k
		}
	}
	m := min(2*max(last, 1), lags)
	slope, level := 0.0, r[0]
	for k := 1; k <= m; k++ {
		flat := min(1, 2*(1-float64(k)/float64(m)))
		level += 2 * flat * r[k]
		slope += 2 * flat * float64(k) * r[k]
	}
	length := math.Cbrt(slope * slope / (level * level) * float64(n))
	if math.IsNaN(length) {
		return 1
	}
	return min(max(length, 1), max(most, 1))
}

func autocovariances(y []float64, lags int) []float64 {
	mean, out := 0.0, make([]float64, lags+1)
	for _, v := range y {
		mean += v / float64(len(y))
	}
	for k := range out {
		for i := k; i < len(y); i++ {
			out[k] += (y[i] - mean) * (y[i-k] - mean) / float64(len(y))
		}
	}
	return out
}

// sequence is SplitMix64: numbers that look random and follow from a seed alone, on every
// machine and with every version of Go.
type sequence uint64

func (s *sequence) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit is from 0 to below 1.
func (s *sequence) unit() float64 { return float64(s.next()>>11) / (1 << 53) }

// below is from 0 to below n.
func (s *sequence) below(n int) int { return int(s.unit() * float64(n)) }

// geometric is at least 1, with the mean whose scale is given.
func (s *sequence) geometric(scale float64) int { return 1 + int(math.Log1p(-s.unit())*scale) }

// geometric is the scale of a mean of at least 1.
func geometric(mean float64) float64 {
	if mean <= 1 {
		return 0
	}
	return 1 / math.Log1p(-1/mean)
}
