package infer

import (
	"fmt"
	"math"
	"testing"
)

func comparison(t testing.TB, kind Kind) *Comparison {
	t.Helper()
	k, err := New(Config{Kind: kind, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Lattice: DefaultLattice()})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func update(t testing.TB, k *Comparison, s State, p Pair) State {
	t.Helper()
	next, err := k.Update(s, p)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// pmf is the binomial distribution of the events of one arm.
func pmf(n, x uint64, p float64) float64 {
	return math.Exp(logChoose(n, x)) * math.Pow(p, float64(x)) * math.Pow(1-p, float64(n-x))
}

// expectation sums P × E over every outcome of two blocks of m and n requests.
func expectation(t *testing.T, k *Comparison, m, n uint64, treated, control [2]float64, logE func(State) float64) float64 {
	t.Helper()
	sum := 0.0
	var block func(i int, s State, p float64)
	block = func(i int, s State, p float64) {
		if i == 2 {
			sum += p * math.Exp(logE(s))
			return
		}
		for x := range m + 1 {
			for y := range n + 1 {
				next := update(t, k, s, Pair{Count{x, m}, Count{y, n}})
				block(i+1, next, p*pmf(m, x, treated[i])*pmf(n, y, control[i]))
			}
		}
	}
	block(0, State{}, 1)
	return sum
}

// odds returns the rate whose odds are r times those of p.
func odds(p, r float64) float64 { return r * p / (1 - p + r*p) }

// The expectation of an e value under any distribution of the null is at most 1:
// here by enumeration of every outcome, for rates from rare to nearly certain, and
// for a rate that changes between blocks.
func TestExpectationUnderEveryNullIsAtMostOne(t *testing.T) {
	for _, kind := range []Kind{Ratio, Odds} {
		k := comparison(t, kind)
		for _, size := range [][2]uint64{{1, 1}, {1, 4}, {2, 3}, {3, 2}, {4, 1}} {
			for _, c := range [][2]float64{{.001, .001}, {.02, .3}, {.5, .5}, {.9, .1}, {.45, .49}, {.99, .97}} {
				for _, below := range []float64{1, 0.7, 0.1} {
					treated := [2]float64{c[0] * below, c[1] * below}
					if e := expectation(t, k, size[0], size[1], treated, c, k.Harm); e > 1+1e-12 {
						t.Errorf("%s harm, %v requests, control %v, treated %v: expectation %.15f", kind, size, c, treated, e)
					}
				}
				for _, above := range []float64{2, 3} {
					worse := func(p float64) float64 { return odds(p, above) }
					if kind == Ratio {
						if max(c[0], c[1])*above > 1 {
							continue
						}
						worse = func(p float64) float64 { return p * above }
					}
					treated := [2]float64{worse(c[0]), worse(c[1])}
					if e := expectation(t, k, size[0], size[1], treated, c, k.Safe); e > 1+1e-12 {
						t.Errorf("%s safe, %v requests, control %v, treated %v: expectation %.15f", kind, size, c, treated, e)
					}
				}
			}
		}
	}
}

// At its null an Odds e value is a martingale: the expectation is 1, not just below.
func TestOddsIsAMartingaleAtItsNull(t *testing.T) {
	k := comparison(t, Odds)
	for _, p := range []float64{.01, .2, .5, .8} {
		same := [2]float64{p, p}
		if e := expectation(t, k, 3, 4, same, same, k.Harm); math.Abs(e-1) > 1e-12 {
			t.Errorf("harm at rate %v: expectation %.15f, want 1", p, e)
		}
		twice := [2]float64{odds(p, 2), odds(p, 2)}
		if e := expectation(t, k, 3, 4, twice, same, k.Safe); math.Abs(e-1) > 1e-12 {
			t.Errorf("safe at rate %v: expectation %.15f, want 1", p, e)
		}
	}
}

// Given the events of both arms, a Ratio e value is a martingale at its null: X is
// binomial with the treated share of the exposure.
func TestRatioIsAMartingaleGivenTheEvents(t *testing.T) {
	k := comparison(t, Ratio)
	for _, arm := range [][2]uint64{{100, 900}, {1, 99}, {500, 500}} {
		for _, n := range []uint64{1, 5, 60} {
			w := float64(arm[0]) / float64(arm[0]+arm[1])
			w2 := 2 * w / (2*w + 1 - w)
			harm, safe := 0.0, 0.0
			for x := range min(n, arm[0]) + 1 {
				s := update(t, k, State{}, Pair{Count{x, arm[0]}, Count{n - x, arm[1]}})
				harm += pmf(n, x, w) * math.Exp(k.Harm(s))
				safe += pmf(n, x, w2) * math.Exp(k.Safe(s))
			}
			if arm[0] >= n && (math.Abs(harm-1) > 1e-12 || math.Abs(safe-1) > 1e-12) {
				t.Errorf("%v requests, %d events: expectations %.15f and %.15f, want 1", arm, n, harm, safe)
			}
		}
	}
}

// The two-sided mixture behind Interval is an e value at each of its nulls.
func TestIntervalCoversEveryRatioOfItsLattice(t *testing.T) {
	const alpha = 0.1
	for _, kind := range []Kind{Ratio, Odds} {
		k := comparison(t, kind)
		for _, r := range []float64{0.25, 0.5, 1, 2, 4} {
			base, treated := 0.15, 0.15*r
			if kind == Odds {
				base, treated = 0.3, odds(0.3, r)
			}
			miss := 0.0
			for x := range uint64(31) {
				for y := range uint64(31) {
					ci := k.Interval(update(t, k, State{}, Pair{Count{x, 30}, Count{y, 30}}), alpha)
					if r < ci.Low*(1-1e-9) || r > ci.High*(1+1e-9) {
						miss += pmf(30, x, treated) * pmf(30, y, base)
					}
				}
			}
			if miss > alpha {
				t.Errorf("%s at ratio %v: the interval misses it with probability %.4f, at most %v", kind, r, miss, alpha)
			}
		}
	}
}

// Products computed directly agree with the log-space answers.
func TestLogSpaceAgreesWithDirectProducts(t *testing.T) {
	k := comparison(t, Ratio)
	for x := range uint64(9) {
		for y := range uint64(9) {
			s := update(t, k, State{}, Pair{Count{x, 100}, Count{y, 300}})
			w, want, weights := 0.25, 0.0, harmWeights()
			for i, z := range HarmSizes() {
				th := z.Ratio * w / (z.Ratio*w + 1 - w)
				want += math.Pow(th/w, float64(x)) * math.Pow((1-th)/(1-w), float64(y)) * weights[i]
			}
			if got := math.Exp(k.Harm(s)); math.Abs(got/want-1) > 1e-12 {
				t.Errorf("%d and %d events: %v, want %v", x, y, got, want)
			}
		}
	}
	fisher := comparison(t, Odds)
	s := update(t, fisher, State{}, Pair{Count{3, 5}, Count{1, 7}})
	want := 0.0
	for i, z := range HarmSizes() {
		norm, one := 0.0, 0.0
		for x := range uint64(5) {
			term := math.Exp(logChoose(5, x) + logChoose(7, 4-x))
			norm += term * math.Pow(z.Ratio, float64(x))
			one += term
		}
		want += math.Pow(z.Ratio, 3) * one / norm * harmWeights()[i]
	}
	if got := math.Exp(fisher.Harm(s)); math.Abs(got/want-1) > 1e-12 {
		t.Errorf("odds: %v, want %v", got, want)
	}
}

// harmWeights are the weights of HarmSizes as shares.
func harmWeights() []float64 {
	total := 0.0
	var out []float64
	for _, z := range HarmSizes() {
		total += z.Weight
		out = append(out, z.Weight)
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

// The normaliser is summed only around its mode; the whole sum agrees.
func TestNormaliserAgreesWithTheWholeSum(t *testing.T) {
	for _, m := range []margins{{50, 450, 250}, {1000, 9000, 100}, {900, 100, 700}, {7, 7, 13}, {3000, 3000, 5999}} {
		lo, hi := m.support()
		for _, r := range []float64{1.0 / 32, 0.5, 1, 2, 32} {
			var terms []float64
			for x := lo; x <= hi; x++ {
				terms = append(terms, m.logTerm(x)+float64(x)*math.Log(r))
			}
			if got, want := m.logNorm(math.Log(r)), logSumExp(terms); math.Abs(got-want) > 1e-9 {
				t.Errorf("%v at ratio %v: %v, want %v", m, r, got, want)
			}
		}
	}
}

func TestKnownRateExpectationIsOne(t *testing.T) {
	harm := Known{Rate: 0.05, Sizes: []Size{{2, 1}, {5, 1}}}
	safe := Known{Rate: 0.05, Sizes: []Size{{0.1, 1}, {0.5, 1}}}
	for _, k := range []Known{harm, safe} {
		sum := 0.0
		for x := range uint64(101) {
			sum += pmf(100, x, 0.05) * math.Exp(k.LogE(Count{x, 100}))
		}
		if math.Abs(sum-1) > 1e-10 {
			t.Errorf("%v: expectation %.12f, want 1", k, sum)
		}
	}
}

func ExampleComparison() {
	k, _ := New(Config{Kind: Ratio, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Lattice: DefaultLattice()})
	var s State
	for range 5 { // five seconds at 150 and 1,350 requests a second
		s, _ = k.Update(s, Pair{Treated: Count{6, 150}, Control: Count{13, 1350}})
	}
	ci := k.Interval(s, 0.01)
	fmt.Printf("harm e %.0f, ratio %.1f to %.1f\n", math.Exp(k.Harm(s)), ci.Low, ci.High)
	// Output: harm e 3373532, ratio 1.7 to 9.7
}

// The normalisers of a block are the same to the bit whether its nodes are summed side by
// side or alone: what one node is carried beyond its own end changes nothing.
func TestNormalisersSideBySideAreThoseOfEachAlone(t *testing.T) {
	k, err := New(Config{Kind: Odds, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Lattice: append([]float64{1e-6}, append(DefaultLattice(), 1e6)...)})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []margins{
		{170, 1330, 750}, {170, 1330, 1499}, {200, 190, 300}, {500, 500, 500}, {512, 1 << 20, 600}, {511, 512, 1000},
		{170, 1 << 30, 1 << 29}, {161, 161, 161}, {1, 1, 1}, {3, 2, 4}, {500, 20, 270}, {1 << 20, 400, 1 << 19},
	} {
		lo, hi := m.support()
		got := make([]float64, len(k.nodes))
		m.tiltedAll(lo, hi, newGrid(k.ratios, k.nodes), got)
		one := m.tilted(0, lo, hi)
		for i, u := range k.nodes {
			if want := m.tilted(u, lo, hi) - one; got[i] != want {
				t.Errorf("%+v at ratio %v: %v side by side, %v alone", m, k.ratios[i], got[i], want)
			}
		}
	}
}
