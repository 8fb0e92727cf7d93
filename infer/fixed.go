package infer

import (
	"math"

	"assay.dev/assay"
)

// Spending says how the error probability is spent over the looks of a fixed design
// (Lan and DeMets).
type Spending string

const (
	// OBrienFleming spends almost nothing early: only a disaster stops at the first look.
	OBrienFleming Spending = "obrien-fleming"
	// Pocock spends about the same at every look.
	Pocock Spending = "pocock"
)

// spent is the error probability spent up to the share t of the information.
func (f Spending) spent(alpha, t float64) float64 {
	if f == Pocock {
		return alpha * math.Log1p((math.E-1)*t)
	}
	return 2 * normalTail(normalQuantile(1-alpha/2)/math.Sqrt(t))
}

func normalTail(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }

func normalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// Boundaries are the one-sided critical values of a normal score at equally spaced
// looks: the probability of ever reaching one is alpha if there is no effect.
// CodeInvalid for an unknown spending, an alpha outside 0 to ½ or looks outside 1 to
// 20. The density of the paths that go on is carried from look to look on a grid.
func Boundaries(f Spending, alpha float64, looks int) ([]float64, error) {
	if f != OBrienFleming && f != Pocock || !(alpha > 0 && alpha <= 0.5) || looks < 1 || looks > 20 {
		return nil, assay.Errorf(assay.CodeInvalid, "no boundary for spending %q of %v over %d looks", f, alpha, looks)
	}
	const cells = 480
	low := -8.0 // in standard deviations of the sum at the last look, times √looks
	out := make([]float64, 0, looks)
	var grid, density []float64 // of the sum of looks standard normal steps
	for k := 1; k <= looks; k++ {
		root := math.Sqrt(float64(k))
		budget := f.spent(alpha, float64(k)/float64(looks))
		if k > 1 {
			budget -= f.spent(alpha, float64(k-1)/float64(looks))
		}
		cross := func(sum float64) float64 {
			if k == 1 {
				return normalTail(sum)
			}
			p := 0.0
			for i, x := range grid {
				p += density[i] * normalTail(sum-x)
			}
			return p
		}
		a, b := 0.0, 40.0
		for range 50 {
			if mid := (a + b) / 2; cross(mid) > budget {
				a = mid
			} else {
				b = mid
			}
		}
		out = append(out, b/root)
		next, mass := make([]float64, cells), make([]float64, cells)
		width := (b - low*root) / cells
		for i := range next {
			next[i] = low*root + (float64(i)+0.5)*width
			if k == 1 {
				mass[i] = normalDensity(next[i]) * width
				continue
			}
			for j, x := range grid {
				mass[i] += density[j] * normalDensity(next[i]-x) * width
			}
		}
		grid, density = next, mass
	}
	return out, nil
}

func normalDensity(x float64) float64 { return math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) }

// Z is the normal score of the treated events against what the null of the harm side
// expects: above 0 is worse. It is taken from the log normaliser's first two
// derivatives between the nodes beside the null, and is 0 before there are events.
func (k *Comparison) Z(s State) float64 {
	at := k.harm.null
	if k.kind == Means || len(s.LogNorm) == 0 || at == 0 || at+1 >= len(k.nodes) {
		return 0
	}
	a, b := k.nodes[at]-k.nodes[at-1], k.nodes[at+1]-k.nodes[at]
	down, up := (s.LogNorm[at]-s.LogNorm[at-1])/a, (s.LogNorm[at+1]-s.LogNorm[at])/b
	mean, variance := (down*b+up*a)/(a+b), 2*(up-down)/(a+b)
	if variance <= 0 {
		return 0
	}
	return (float64(s.Treated.Events) - mean) / math.Sqrt(variance*k.phi)
}
