package infer

import "math"

// ValueUnit is how finely a value from 0 to 1 is counted: an arm of a Pair of Means has
// ValueUnit of exposure for each value, and as many events of them as its sum says. What
// rounding moves a mean by is far below what any test can see.
const ValueUnit = 1 << 16

// Values is an arm of a Pair of Means: n values from 0 to 1 with their sum.
func Values(sum float64, n uint64) Count {
	n *= ValueUnit
	return Count{Events: min(uint64(math.Round(max(sum, 0)*ValueUnit)), n), Exposure: n}
}

// stakes are the shares of its wealth that a bet on a mean risks at the most. Each is a bet
// of its own and all have the same weight: small ones win where values vary much and
// differ little, great ones where they hardly vary.
var stakes = [4]float64{0.05, 0.15, 0.4, 0.95}

// Directions of a bet: that the treated mean is above null times the control's, or below.
const (
	above = 0
	below = 1
)

// Bets reports whether the comparison is one of means.
func (k *Comparison) Bets() bool { return k.kind == Means }

// width is how many numbers a state keeps of the evidence.
func (k *Comparison) width() int {
	if k.kind == Means {
		return len(k.ratios) * 2 * len(stakes)
	}
	return len(k.nodes)
}

// bet adds ln of what each stake's wealth is multiplied by to out. With x and y the two
// means and r the null, g = x − r·y is expected to be at most 0 if the ratio is at most r,
// and is at least −r; so 1 + (c/r)·g is expected to be at most 1 and never below 1 − c. The
// other way round it is 1 − c·g. Waudby-Smith and Ramdas (2024) have the one-sample form.
func (k *Comparison) bet(p Pair, out []float64) {
	if p.Treated.Exposure == 0 || p.Control.Exposure == 0 {
		return
	}
	x, y := p.Treated.Rate(), p.Control.Rate()
	for i, r := range k.ratios {
		g := x - r*y
		to := out[i*2*len(stakes):]
		for j, c := range stakes {
			to[j] += math.Log1p(c / r * g)
			to[len(stakes)+j] += math.Log1p(-c * g)
		}
	}
}

// wealth is ln of what the stakes on one side of a node have come to.
func (k *Comparison) wealth(s *State, node, direction int) []float64 {
	from := (node*2 + direction) * len(stakes)
	return s.LogNorm[from : from+len(stakes)]
}

// won is ln E of the bets on one side of a node.
func (k *Comparison) won(s *State, node, direction int) float64 {
	if len(s.LogNorm) == 0 {
		return 0
	}
	var room [len(stakes)]float64
	for i, w := range k.wealth(s, node, direction) {
		room[i] = w / k.phi
	}
	return logSumExp(room[:]) - logStakes
}

// logStakes is ln of how many stakes there are.
var logStakes = math.Log(float64(len(stakes)))

// reached reports whether won is at least at, which is above 0. Most nodes are far from it,
// and then no stake has come to it: their mean is not above the greatest.
func (k *Comparison) reached(s *State, node, direction int, at float64) bool {
	for _, w := range k.wealth(s, node, direction) {
		if w/k.phi > at-0.001 {
			return k.won(s, node, direction) >= at
		}
	}
	return false
}

// meansInterval is the lattice's ratios between the greatest that is too low and the least
// that is too high, each at half of alpha: E against "at most r" only falls with r, and E
// against "at least r" only grows.
func (k *Comparison) meansInterval(s *State, alpha float64) Interval {
	out, at := Interval{0, math.Inf(1)}, -math.Log(alpha/2)
	for _, j := range k.lattice {
		if k.reached(s, j, above, at) {
			out.Low = k.ratios[j]
		}
		if math.IsInf(out.High, 1) && k.reached(s, j, below, at) {
			out.High = k.ratios[j]
		}
	}
	return out
}

// untilWon is until for bets: how much more treated exposure it takes if each stake goes on
// as it went.
func (k *Comparison) untilWon(s *State, d side, threshold float64) (float64, bool) {
	if len(s.LogNorm) == 0 {
		return 0, false
	}
	logw, gains := k.stakesOf(s, d)
	return stretch(logw[:], gains[:], float64(s.Treated.Exposure), threshold)
}

// fromNothing is FromNothing for bets.
func (k *Comparison) fromNothing(s *State, threshold float64) float64 {
	logw, drift := k.stakesOf(s, k.safe)
	for i := range drift {
		drift[i] /= float64(s.Treated.Exposure)
	}
	return reach(logw[:], drift[:], threshold)
}

// stakesOf are ln of the weights of one side's stakes and ln of what each has won.
func (k *Comparison) stakesOf(s *State, d side) (logw, gains [len(stakes)]float64) {
	direction := below
	if d.null == k.harm.null { // which the other side's never is
		direction = above
	}
	for i, w := range k.wealth(s, d.null, direction) {
		logw[i], gains[i] = -logStakes, w/k.phi
	}
	return logw, gains
}
