package infer

import (
	"math"
	"slices"
)

// kindredSteps is how many steps of an excursion are compared with what came after it, in
// units of the judged window.
const kindredSteps = 4

// kindred is how the judged steps rank among the steps of the excursion that was acted on,
// one-sided: by the exact distribution of Mann and Whitney's U, where ties speak for nothing.
// It asks whether the excursion goes on with the noise that it has: that of a level which the
// past does not know, but for this excursion itself, cannot be learned from the past. Steps
// that go together make it too sure, so it is only ever a bound beside the placebos'.
type kindred struct {
	low           bool    // the action came below the median of the past
	steps         int     // of the excursion that are compared; 0 if the level is known
	better, worse float64 // probabilities, were the judged steps more of the same; 0 if the level is known
	half          float64 // that they are as large, had half of what was promised gone away; 0 if the level is known
	most          float64 // of the excursion's own steps; not a number if the level is known
	grew          bool    // its newer half is more than its older one, at a tenth
}

func kindredOf(y []float64, a Aftermath, placebos []around, target around) kindred {
	sorted := slices.Sorted(slices.Values(lasts(placebos)))
	x := excursion{middle: sorted[len(sorted)/2], side: 1}
	if target.last < x.middle {
		x.side = -1
	}
	age := x.begun(y, target)
	earlier := slices.DeleteFunc(slices.Clone(placebos), func(w around) bool { return w.at > target.at-age })
	if len(earlier) == 0 || a.unseen(earlier, target) == 0 {
		return kindred{most: math.NaN(), low: x.side < 0}
	}
	var before []float64
	for i, left := target.at-1, min(age, kindredSteps*a.Window); i >= 0 && len(before) < left; i-- {
		if !math.IsNaN(y[i]) {
			before = append(before, y[i])
		}
	}
	from := target.at + a.Dead
	after := slices.DeleteFunc(slices.Clone(y[from:from+a.Window]), math.IsNaN)
	newer, older := before[:len(before)/2], before[len(before)/2:]
	return kindred{
		low:    x.side < 0,
		steps:  len(before),
		better: tailU(len(after), len(before), wins(before, after)),
		worse:  tailU(len(after), len(before), wins(after, before)),
		half:   tailU(len(after), len(before), wins(after, halved(before, a.Promise))),
		most:   slices.Max(append(before, target.last)),
		grew:   tailU(len(newer), len(older), wins(newer, older)) <= tenth,
	}
}

// wins is Mann and Whitney's U: how many pairs there are of which the first is more.
func wins(y, than []float64) (u int) {
	for _, v := range y {
		for _, w := range than {
			if v > w {
				u++
			}
		}
	}
	return u
}

// begun is for how many measured steps the excursion has lasted: since two in a row were not
// half as far out as the window before the action, or its last step, which ever is nearer.
func (x excursion) begun(y []float64, w around) (steps int) {
	half, near := x.side*(w.last-x.middle)/2, 0
	if mild := x.side * (w.before - x.middle) / 2; mild > 0 {
		half = min(half, mild)
	}
	for i := w.at - 1; i >= 0 && near < 2; i-- {
		switch {
		case math.IsNaN(y[i]):
		case x.side*(y[i]-x.middle) < half:
			near++
		default:
			steps, near = steps+1+near, 0
		}
	}
	return steps
}

// tailU is the probability that U of n and m values in any order is at least u: its
// generating function is the Gaussian binomial coefficient of n+m over n.
func tailU(n, m, u int) float64 {
	if n == 0 || m == 0 {
		return 1
	}
	c := make([]float64, n*m+1)
	c[0] = 1
	for i := 1; i <= n; i++ {
		for k := len(c) - 1; k >= m+i; k-- {
			c[k] -= c[k-m-i]
		}
		for k := i; k < len(c); k++ {
			c[k] += c[k-i]
		}
	}
	sum, tail := 0.0, 0.0
	for k, v := range c {
		sum += v
		if k >= u {
			tail += v
		}
	}
	return min(1, tail/sum)
}
