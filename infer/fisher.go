package infer

import (
	"math"
	"slices"
	"sync"
)

// margins are what a 2×2 table is conditioned on: the exposure of both arms and
// the events of both together.
type margins struct {
	treated, control, events uint64
}

// logNorm is ln Σ C(treated,x)·C(control,events−x)·e^{ux} over all x that the
// margins allow. Terms are summed outwards from the largest one by their ratio,
// until the rest is below the last bit: about twenty standard deviations, so the
// cost grows with the square root of the margins.
func (m margins) logNorm(u float64) float64 {
	lo, hi := m.support()
	return m.tilted(u, lo, hi)
}

// tilted is logNorm with the support.
func (m margins) tilted(u float64, lo, hi uint64) float64 {
	if lo == hi {
		return m.logTerm(lo) + u*float64(lo)
	}
	psi := math.Exp(u)
	x := m.mode(psi, lo, hi)
	sum := 1.0
	for t, i := 1.0, x; i < hi; i++ {
		t *= m.step(i) * psi
		sum += t
		if t < lastBit*sum {
			break
		}
	}
	for t, i := 1.0, x; i > lo; i-- {
		t /= m.step(i-1) * psi
		sum += t
		if t < lastBit*sum {
			break
		}
	}
	return m.logTerm(x) + u*float64(x) + math.Log(sum)
}

// lastBit is the share of a sum below which a term, and all that are smaller, leave it as it is:
// half of the last bit of a number is at least so much of it, and nothing rounds up from below.
const lastBit = 0x1p-54

// fewSteps is how many steps are kept for the nodes of one block.
const fewSteps = 512

// shortSupport is how many terms may be summed as a polynomial for all nodes together.
const shortSupport = 160

// grid is the ratios that normalisers are wanted at, ascending, with what is the same of them in
// every block.
type grid struct {
	ratios []float64
	padded [][lanes]float64 // the ratios, with zeros behind them
	nodes  []float64        // their logarithms
	tilts  []float64        // e to the power of those
	most   float64          // the logarithm of the greatest ratio, at least 0
}

func newGrid(ratios, nodes []float64) *grid {
	g := &grid{ratios: ratios, nodes: nodes, tilts: make([]float64, len(nodes)), most: math.Log(max(ratios[len(ratios)-1], 1))}
	for i, u := range nodes {
		g.tilts[i] = math.Exp(u)
	}
	for ; len(ratios) > 0; ratios = ratios[min(lanes, len(ratios)):] {
		var some [lanes]float64
		copy(some[:], ratios)
		g.padded = append(g.padded, some)
	}
	return g
}

// logNorms adds logNorm(ln r) − logNorm(0) to out for every ratio r.
func (m margins) logNorms(g *grid, out []float64) {
	lo, hi := m.support()
	if hi-lo <= shortSupport {
		var terms [shortSupport + 1]float64
		if sum, ok := m.polynomial(lo, hi, g.most, &terms); ok {
			g.addPolynomial(terms[:hi-lo+1], sum, float64(int64(lo)), out)
			return
		}
	}
	if lo < hi && hi-lo <= fewSteps {
		m.tiltedAll(lo, hi, g, out)
		return
	}
	one := m.tilted(0, lo, hi)
	for i, u := range g.nodes {
		out[i] += m.tilted(u, lo, hi) - one
	}
}

// addPolynomial adds the logarithm of the polynomial at every ratio r, over its sum at 1 and
// times r to the power of least, to out.
func (g *grid) addPolynomial(terms []float64, sum, least float64, out []float64) {
	nodes := g.nodes
	var p [lanes]float64
	for i := range g.padded {
		some := min(lanes, len(nodes))
		evaluate(terms, &g.padded[i], some, &p)
		logs(&p, some, sum)
		at, to := nodes[:some], out[:some]
		for j, v := range p[:some] {
			to[j] += at[j]*least + v
		}
		nodes, out = nodes[some:], out[some:]
	}
}

// abreast is how many nodes have their terms summed side by side: each term waits for the
// one before it, and not for its neighbours.
const abreast = 4

// tiltedAll adds tilted(u) − tilted(0) to out for every node u.
func (m margins) tiltedAll(lo, hi uint64, g *grid, out []float64) {
	nodes := g.nodes
	var room [fewSteps + 2]float64
	steps := room[:hi-lo+2] // between what ends a sum on either side
	steps[0] = math.Inf(1)
	s := m.from(lo)
	for i := range steps[1 : len(steps)-1] {
		steps[1+i] = s.next()
	}
	norm := func(u float64, x uint64, sum float64) float64 {
		return m.logTerm(x) + u*float64(x) + math.Log(sum)
	}
	mode := m.mode(1, lo, hi)
	one := norm(0, mode, sumAbreast(steps, [abreast]float64{1, 1, 1, 1}, [abreast]uint64{mode - lo, mode - lo, mode - lo, mode - lo})[0])
	for i := 0; i < len(nodes); i += abreast {
		var psi [abreast]float64
		var x, from [abreast]uint64
		for j := range psi {
			psi[j] = g.tilts[min(i+j, len(nodes)-1)]
			x[j] = m.mode(psi[j], lo, hi)
			from[j] = x[j] - lo
		}
		for j, sum := range sumAbreast(steps, psi, from) {
			if i+j < len(nodes) {
				out[i+j] += norm(nodes[i+j], x[j], sum) - one
			}
		}
	}
}

// sumAbreast sums terms outwards from the largest ones, relative to them, at four nodes: until
// the rest of all four is below the last bit. What one node has summed beyond its own end
// changes nothing, because terms only fall.
func sumAbreast(steps []float64, psi [abreast]float64, from [abreast]uint64) [abreast]float64 {
	last := uint64(len(steps) - 1)
	p, q, r, s := psi[0], psi[1], psi[2], psi[3]
	a, b, c, d := 1.0, 1.0, 1.0, 1.0 // the sums
	t, u, v, w := 1.0, 1.0, 1.0, 1.0 // the terms
	for i, j, k, l := from[0]+1, from[1]+1, from[2]+1, from[3]+1; ; i, j, k, l = min(i+1, last), min(j+1, last), min(k+1, last), min(l+1, last) {
		t, u, v, w = t*(steps[i]*p), u*(steps[j]*q), v*(steps[k]*r), w*(steps[l]*s)
		a, b, c, d = a+t, b+u, c+v, d+w
		if t < lastBit*a && u < lastBit*b && v < lastBit*c && w < lastBit*d {
			break
		}
	}
	t, u, v, w = 1, 1, 1, 1
	for i, j, k, l := from[0], from[1], from[2], from[3]; ; i, j, k, l = max(i, 1)-1, max(j, 1)-1, max(k, 1)-1, max(l, 1)-1 {
		t, u, v, w = t/(steps[i]*p), u/(steps[j]*q), v/(steps[k]*r), w/(steps[l]*s)
		a, b, c, d = a+t, b+u, c+v, d+w
		if t < lastBit*a && u < lastBit*b && v < lastBit*c && w < lastBit*d {
			break
		}
	}
	return [abreast]float64{a, b, c, d}
}

// polynomial fills in the terms relative to the one at lo, returns their sum, and reports
// whether their powers stay within a float for all ratios, of the greatest of which most is the
// logarithm.
func (m margins) polynomial(lo, hi uint64, most float64, terms *[shortSupport + 1]float64) (sum float64, ok bool) {
	n := int(hi - lo)
	t := 1.0
	terms[0], sum = t, t
	s := m.from(lo)
	a, b, c, d := s.a, s.b, s.c, s.d
	rest := terms[1 : n+1]
	for i := range rest {
		t *= a * b / (c * d)
		rest[i] = t
		sum += t
		a, b, c, d = a-1, b-1, c+1, d+1
	}
	const end = 690 // e^709 is the end of floats
	powers := float64(n) * most
	if _, exp := math.Frexp(sum); sum < math.MaxFloat64 && float64(exp)*math.Ln2+powers < end-1 {
		return sum, true // no term is above their sum
	}
	return sum, math.Log(slices.Max(terms[:n+1]))+powers < end
}

// support is the least and greatest number of treated events.
func (m margins) support() (lo, hi uint64) {
	if m.events > m.control {
		lo = m.events - m.control
	}
	return lo, min(m.treated, m.events)
}

// step is the untilted term at x+1 over the one at x; lo ≤ x < hi.
func (m margins) step(x uint64) float64 {
	// Whole numbers below 2^63, as these are, become floats quicker with a sign.
	a := float64(int64(m.treated-x)) * float64(int64(m.events-x))
	b := float64(int64(x+1)) * float64(int64(m.control+x+1-m.events))
	return a / b
}

// from goes over the steps from lo on.
func (m margins) from(lo uint64) factors {
	return factors{float64(int64(m.treated - lo)), float64(int64(m.events - lo)), float64(int64(lo + 1)), float64(int64(m.control + lo + 1 - m.events))}
}

// factors are the four of step: whole numbers, which floats count exactly.
type factors struct{ a, b, c, d float64 }

func (f *factors) next() float64 {
	out := f.a * f.b / (f.c * f.d)
	f.a, f.b, f.c, f.d = f.a-1, f.b-1, f.c+1, f.d+1
	return out
}

// mode is the x with the largest term, tilted by psi: Liao and Rosen's root, then climbed
// to the top, because rounding may leave it a little beside.
func (m margins) mode(psi float64, lo, hi uint64) uint64 {
	t, c, n := float64(m.treated), float64(m.control), float64(m.events)
	a, b := psi-1, -((t+n+2)*psi + c - n)
	q := -0.5 * (b - math.Sqrt(max(0, b*b-4*a*psi*(t+1)*(n+1))))
	x := min(max(uint64(max(0, psi*(t+1)*(n+1)/q)), lo), hi)
	for x < hi && m.step(x)*psi > 1 {
		x++
	}
	for x > lo && m.step(x-1)*psi < 1 {
		x--
	}
	return x
}

func (m margins) logTerm(x uint64) float64 {
	t := smallFactorials()
	return t.logChoose(m.treated, x) + t.logChoose(m.control, m.events-x)
}

// factorials are the logarithms of the first ones: they save most calls of Lgamma, because
// blocks of a second are small.
type factorials [4096]float64

var smallFactorials = sync.OnceValue(func() *factorials {
	var t factorials
	for i := range t {
		t[i], _ = math.Lgamma(float64(i) + 1)
	}
	return &t
})

func logChoose(n, k uint64) float64 { return smallFactorials().logChoose(n, k) }

func (t *factorials) logChoose(n, k uint64) float64 { return t.log(n) - t.log(k) - t.log(n-k) }

func (t *factorials) log(n uint64) float64 {
	if n < uint64(len(t)) {
		return t[n]
	}
	v, _ := math.Lgamma(float64(n) + 1)
	return v
}
