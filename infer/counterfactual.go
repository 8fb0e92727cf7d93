package infer

import (
	"fmt"
	"math"
	"slices"

	"assay.dev/assay"
)

// Aftermath is one indicator around one action, in equal steps of time. Lower is better;
// negate a series of which more is better. A step that is not a number is missing.
type Aftermath struct {
	Series []float64 `json:"series"`
	// Controls are the same steps of scopes that the action did not touch: other regions
	// or services under the same load. Without them the series is held against its own past.
	Controls [][]float64 `json:"controls,omitempty"`
	At       int         `json:"at"`     // first step after the action
	Dead     int         `json:"dead"`   // steps from At on that cannot show it yet
	Window   int         `json:"window"` // steps after those that are judged
	// Hold is how many of the window's last steps must still show it.
	Hold   int `json:"hold"`
	Season int `json:"season,omitempty"` // length of a season in steps; 0 is none
	// Treated are earlier steps at which something was done too: windows that touch
	// them are no placebos.
	Treated []int `json:"treated,omitempty"`
	// Material is the smallest change that matters, in the series' unit.
	Material float64 `json:"material"`
	// Promise is what was expected of the action, known before it was taken; zero if nothing was.
	Promise Promise `json:"promise,omitzero"`
	// Paths is how many resampled pasts the interval of the change is made of, as a sequence
	// that begins with Seed draws them. With 0 it is made of the untreated past as it was.
	Paths int    `json:"paths,omitempty"`
	Seed  uint64 `json:"seed,omitempty"`
}

// Attribution is what an action did to an indicator, held against what would have been.
// The error bound is calibrated: over series with an autocorrelation of up to 0.9, whose
// actions were triggered by an extreme and did nothing, 5 % at most were called an effect,
// and as many on recorded loads, whose noise grows with their level.
type Attribution struct {
	Effect assay.Effect `json:"effect"`
	Why    string       `json:"why,omitempty"` // it is inconclusive, did not hold, or had no effect
	Before float64      `json:"before"`        // mean of the window before the action
	After  float64      `json:"after"`         // mean of the judged window
	Would  float64      `json:"would"`         // what it would have been
	// Change is After less Would; Low and High hold it with a probability of 95 %, Low80 and
	// High80 with 80 %.
	Change float64 `json:"change"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Low80  float64 `json:"low_80"`
	High80 float64 `json:"high_80"`
	// Helped is the probability that it is better than it would have been at all, by
	// however little: the share of the paths beside which it is.
	Helped float64 `json:"helped"`
	// Bootstrap is how the interval was resampled, nil if it was not.
	Bootstrap *Bootstrap `json:"bootstrap,omitempty"`
	// P is the share of untreated windows with at least such a change for the better,
	// PHarm for the worse: over all of them, or over those alone that began with a similar
	// excursion, whichever is larger, each change counted in the spread of what follows such
	// a window. Similar is how many those are.
	P        float64 `json:"p"`
	PHarm    float64 `json:"p_harm"`
	Placebos int     `json:"placebos"`
	Similar  int     `json:"similar"`
	// Grown is what it would have been, had the series gone on growing as before the action; 0
	// unless that alone speaks against a harm. PHarm and the interval hold it then.
	Grown float64 `json:"grown,omitempty"`
	// Promised is by how much less it was promised to be than it would have been; 0 if nothing
	// that matters was promised of what there was.
	Promised float64 `json:"promised,omitempty"`
	// Unseen means that the series was never as extreme before. Then nothing is known of
	// how it goes back by itself, and Would is that it had stayed. Similar are then the windows
	// whose excursion was smaller and as old: if such went back by themselves, nobody can say
	// whether this one did, and the share of P or PHarm and the interval hold that too. If it had outlasted all of
	// them, a fault that happened to end within the window would be called a help.
	Unseen bool `json:"unseen,omitempty"`
}

// Bounds of an Aftermath, and the level of its two tests.
const (
	MaxControls  = 100
	minPlacebos  = 39 // fewer cannot show anything at 2.5 %
	minSimilar   = 39
	maxPlacebos  = 4_000
	attributable = 0.025 // of an effect for the better, and of one for the worse
	tenth        = 0.1   // what an interval of 80 % leaves out on either side
	// MaxPaths is how many resampled pasts an Attribution may be made of.
	MaxPaths = 10_000
)

// Attribute judges an action. What would have been is predicted from the window before it
// and from its last steps, by the regression that the untreated windows of the series'
// own past follow: a series that is extreme goes back by itself, and by how much is
// measured instead of assumed. How much follows is measured too: errors are counted in the
// spread that they have from such a level, and after such a jump, on. With controls, all of this is done to the difference
// between the series and their mean: difference in differences. The change is then ranked
// among the same windows at untreated times (placebos). Errors: CodeInvalid for a window
// outside the series, CodeTooLarge above the bounds.
func Attribute(a Aftermath) (Attribution, error) {
	if err := a.check(); err != nil {
		return Attribution{}, err
	}
	y := a.contrast()
	own, ok := a.window(a.Series, a.At)
	target, ok2 := a.window(y, a.At)
	out := Attribution{Effect: assay.EffectInconclusive, P: 1, PHarm: 1}
	if !ok || !ok2 {
		out.Why = "too little of the window around the action was measured"
		return out, nil
	}
	out.Before, out.After = own.before, own.after
	placebos := a.placebos(y)
	out.Placebos = len(placebos)
	if len(placebos) < minPlacebos {
		out.Why = "too little untreated past to compare with"
		return out, nil
	}
	fit, ok := even(placebos, &target)
	var past excursion
	if ratio := a.unseen(placebos, target); ratio > 0 {
		out.Unseen = true
		uneven(placebos, &target)
		fit, ok = stays(placebos, ratio)
		past = excursionOf(y, placebos, target)
	}
	if !ok {
		out.Why = "the past does not vary enough to say what would have been"
		return out, nil
	}
	same := kindredOf(y, a, placebos, target)
	out.judge(a, fit, placebos, target, past, same, grownOf(y, a, same))
	return out, nil
}

func (a Aftermath) check() error {
	n := len(a.Series)
	if n > MaxSteps || len(a.Controls) > MaxControls {
		return assay.Errorf(assay.CodeTooLarge, "%d steps and %d controls, at most %d and %d are judged", n, len(a.Controls), MaxSteps, MaxControls)
	}
	if a.Paths < 0 || a.Paths > MaxPaths {
		return assay.Errorf(assay.CodeInvalid, "%d resampled pasts, want 0 to %d", a.Paths, MaxPaths)
	}
	if a.Window < 1 || a.Dead < 0 || a.Hold < 0 || a.Hold > a.Window || a.Season < 0 || a.At < 1 || a.At > n || a.Dead > n || a.Window > n || a.At+a.Dead+a.Window > n {
		return assay.Errorf(assay.CodeInvalid, "a window of %d steps, %d after step %d, does not lie in a series of %d", a.Window, a.Dead, a.At, n)
	}
	if err := a.Promise.check(); err != nil {
		return err
	}
	if !(a.Material >= 0 && a.Material < 1e300) {
		return assay.Errorf(assay.CodeInvalid, "the smallest change that matters is %v, want at least 0", a.Material)
	}
	for i, c := range a.Controls {
		if len(c) != n {
			return assay.Errorf(assay.CodeInvalid, "control %d has %d steps, the series %d", i, len(c), n)
		}
	}
	for _, v := range a.Series {
		if math.IsInf(v, 0) || math.Abs(v) > 1e150 {
			return assay.Errorf(assay.CodeInvalid, "the series holds %v", v)
		}
	}
	return nil
}

// contrast is the series less the mean of the controls, less the median of each place of
// a season before the action.
func (a Aftermath) contrast() []float64 {
	y := slices.Clone(a.Series)
	for i := range y {
		sum, n := 0.0, 0.0
		for _, c := range a.Controls {
			if v := c[i]; !math.IsNaN(v) && math.Abs(v) <= 1e150 {
				sum, n = sum+v, n+1
			}
		}
		switch {
		case n > 0:
			y[i] -= sum / n
		case len(a.Controls) > 0:
			y[i] = math.NaN()
		}
	}
	if a.Season < 2 || a.At < 3*a.Season {
		return y
	}
	for place := range a.Season {
		var past []float64
		for i := place; i < a.At; i += a.Season {
			if !math.IsNaN(y[i]) {
				past = append(past, y[i])
			}
		}
		if len(past) == 0 {
			continue
		}
		slices.Sort(past)
		middle := past[len(past)/2]
		for i := place; i < len(y); i += a.Season {
			y[i] -= middle
		}
	}
	return y
}

// around is one window, at a step: the mean before it, of the last steps before it, after
// it, and of its end; and the spread of the errors from there on, relative to others.
type around struct {
	at                       int
	before, last, after, end float64
	scale                    float64
}

// window is the series around an action at a step; false if less than half was measured.
func (a Aftermath) window(y []float64, at int) (w around, ok bool) {
	var oks [4]bool
	w.at, w.scale = at, 1
	w.before, oks[0] = mean(y[max(0, at-a.Window):at])
	w.last, oks[1] = mean(y[max(0, at-a.recent()):at])
	from := at + a.Dead
	w.after, oks[2] = mean(y[from : from+a.Window])
	w.end, oks[3] = mean(y[from+a.Window-max(a.Hold, 1) : from+a.Window])
	return w, oks[0] && oks[1] && oks[2] && (oks[3] || a.Hold == 0)
}

// recent is how many steps before the action say how extreme the trigger was.
func (a Aftermath) recent() int { return max(1, a.Window/8) }

func mean(y []float64) (float64, bool) {
	sum, n := 0.0, 0
	for _, v := range y {
		if !math.IsNaN(v) {
			sum, n = sum+v, n+1
		}
	}
	return sum / float64(max(n, 1)), n > 0 && 2*n >= len(y)
}

// placebos are the windows that end before the action and touch nothing that was treated.
func (a Aftermath) placebos(y []float64) (out []around) {
	span := a.Window + a.Dead
	first, last := a.Window, a.At-span
	stride := max(1, a.Window/4, (last-first)/maxPlacebos)
	for at := last; at >= first; at -= stride {
		if slices.ContainsFunc(a.Treated, func(t int) bool { return t > at-a.Window && t < at+span || t <= at && at-t < 2*span }) {
			continue
		}
		if w, ok := a.window(y, at); ok {
			out = append(out, w)
		}
	}
	return out
}

// fitted is the regression of what comes after on what was before, with the studentised
// residuals of the windows it was made of.
type fitted struct {
	beta      [3]float64
	inverse   [3][3]float64
	spread    float64
	residuals []float64
	fixed     bool // it was not fitted to the windows
}

// row is what the regression predicts from, with the window's weight.
func (w around) row() [3]float64 {
	return [3]float64{1 / w.scale, w.before / w.scale, w.last / w.scale}
}

func regress(windows []around) (f fitted, ok bool) {
	var xx [3][3]float64
	var xy [3]float64
	scale := 0.0
	for _, w := range windows {
		x := w.row()
		for i := range x {
			for j := range x {
				xx[i][j] += x[i] * x[j]
			}
			xy[i] += x[i] * w.after / w.scale
		}
		scale += x[1]*x[1] + x[2]*x[2]
	}
	// Where the two means before are the same, a ridge keeps them apart.
	for i := 1; i < 3; i++ {
		xx[i][i] += ridge * (scale + tiny)
	}
	if f.inverse, ok = invert(xx); !ok {
		return f, false
	}
	for i := range f.beta {
		for j := range xy {
			f.beta[i] += f.inverse[i][j] * xy[j]
		}
	}
	sum := 0.0
	for _, w := range windows {
		e := f.error(w)
		sum += e * e
	}
	f.spread = math.Sqrt(sum / float64(len(windows)-3))
	if !(f.spread > 0) || math.IsInf(f.spread, 0) {
		return f, false
	}
	for _, w := range windows {
		f.residuals = append(f.residuals, f.error(w)/(f.spread*math.Sqrt(max(1-f.leverage(w), 0.05))))
	}
	return f, true
}

// unseen is by how much the target began further from the middle than any placebo, as a
// ratio of levels and at least 1; 0 if one began about as far.
func (a Aftermath) unseen(placebos []around, target around) float64 {
	sorted := slices.Sorted(slices.Values(lasts(placebos)))
	middle := sorted[len(sorted)/2]
	reach := max(middle-sorted[0], sorted[len(sorted)-1]-middle)
	switch {
	case math.Abs(target.last-middle) <= 1.5*reach:
		return 0
	case len(a.Controls) == 0 && middle > 0:
		return max(1, target.last/middle) // noise grows with the level at most in proportion
	}
	return 1
}

// stays is the prediction that a series stays where its last steps were, with the changes
// of the untreated windows as its errors, made larger by a ratio.
func stays(windows []around, ratio float64) (f fitted, ok bool) {
	f.beta[2], f.fixed = 1, true
	sum := 0.0
	for _, w := range windows {
		sum += (w.after - w.last) * (w.after - w.last)
	}
	f.spread = math.Sqrt(sum / float64(len(windows)))
	if !(f.spread > 0) || math.IsInf(f.spread, 0) {
		return f, false
	}
	for _, w := range windows {
		f.residuals = append(f.residuals, (w.after-w.last)/f.spread)
	}
	f.spread *= ratio
	return f, true
}

func (f fitted) predict(w around) (out float64) {
	for i, x := range w.row() {
		out += f.beta[i] * x
	}
	return out * w.scale
}

// error is by how much the prediction misses a window, with the window's weight.
func (f fitted) error(w around) float64 { return (w.after - f.predict(w)) / w.scale }

func (f fitted) leverage(w around) (out float64) {
	x := w.row()
	for i := range x {
		for j := range x {
			out += x[i] * f.inverse[i][j] * x[j]
		}
	}
	return out
}

// unit is the standard deviation of a prediction's error.
func (f fitted) unit(w around) float64 { return f.spread * w.scale * math.Sqrt(1+f.leverage(w)) }

// invert is the inverse of a symmetric positive matrix by elimination.
func invert(m [3][3]float64) (out [3][3]float64, ok bool) {
	for i := range out {
		out[i][i] = 1
	}
	for i := range m {
		p := i
		for r := i + 1; r < 3; r++ {
			if math.Abs(m[r][i]) > math.Abs(m[p][i]) {
				p = r
			}
		}
		m[i], m[p], out[i], out[p] = m[p], m[i], out[p], out[i]
		d := m[i][i]
		if !(math.Abs(d) > 0) || math.IsInf(d, 0) {
			return out, false
		}
		for j := range m {
			m[i][j], out[i][j] = m[i][j]/d, out[i][j]/d
		}
		for r := range m {
			if r == i {
				continue
			}
			for k, by := 0, m[r][i]; k < 3; k++ {
				m[r][k], out[r][k] = m[r][k]-by*m[i][k], out[r][k]-by*out[i][k]
			}
		}
	}
	return out, true
}

// judge ranks the change among the placebos and finds the verdict.
func (out *Attribution) judge(a Aftermath, f fitted, placebos []around, target around, past excursion, same kindred, on grown) {
	unit := f.unit(target)
	out.Change = target.after - f.predict(target)
	out.Would = out.After - out.Change
	t := out.Change / unit
	similar := alike(placebos, f.residuals, target)
	out.Similar = len(similar)
	out.P, out.PHarm = rank(f.residuals, t)
	if len(similar) >= minSimilar {
		p, harm := rank(similar, t)
		out.P, out.PHarm = max(out.P, p), max(out.PHarm, harm)
	}
	out.P, out.PHarm = max(out.P, same.better), max(out.PHarm, same.worse)
	if out.Unseen {
		out.Similar = len(past.back)
		back := &out.P // to go back is better after a rise, worse after a fall
		if past.side < 0 {
			back = &out.PHarm
		}
		*back = max(*back, past.alone(target))
	}
	ahead := f.residuals
	if a.Paths > 0 && len(similar) >= minSimilar && squares(similar) > squares(ahead) {
		ahead = similar // what follows an extreme often varies more than what follows a calm hour
	}
	better := out.P <= attributable && out.Change <= -a.Material
	worse := out.PHarm <= attributable && out.Change >= a.Material
	if out.PHarm = max(out.PHarm, on.p); worse && out.PHarm > attributable && !math.IsNaN(on.would) {
		out.Grown = on.would
	}
	out.bound(a, f, placebos, target, ahead, past.changes(out.Change, target))
	if out.Grown != 0 {
		out.Low, out.Low80 = min(out.Low, target.after-on.would), min(out.Low80, target.after-on.would)
	}
	held := target.end - f.predict(target)
	out.Promised = a.promised(out.Would, out.Before)
	switch {
	case better && (a.Hold == 0 || held <= out.Change/2):
		out.Effect = assay.EffectHelped
	case better && a.ended(placebos, target) <= attributable:
		out.Effect, out.Why = assay.EffectNone, "it was better at first and did not stay so"
	case better:
		out.Why = "it was better, and whether it stays so its end does not tell"
	case worse && out.PHarm <= attributable:
		out.Effect = assay.EffectHarmed
	case worse:
		out.Why = young
	case a.Material > 0 && out.Low > -a.Material && out.High < a.Material:
		out.Effect, out.Why = assay.EffectNone, "whatever it did is less than what matters"
	case out.futile(a, target, same):
		out.Effect, out.Why = assay.EffectNone, "it did less than half of what was promised of it"
	case out.Unseen && len(past.back) > 0 && past.side*out.Change < 0:
		out.Why = fmt.Sprintf("the extreme was %s old when acted on, and smaller excursions as old went back by themselves", steps(past.age))
	default:
		out.Why = "untreated windows change as much"
	}
}

// bound makes the interval that holds each of the changes that it may have been, and says
// how probably even the worst of them is for the better.
func (out *Attribution) bound(a Aftermath, f fitted, placebos []around, target around, ahead, changes []float64) {
	unit, roots := f.unit(target), slices.Sorted(slices.Values(ahead))
	if a.Paths > 0 {
		p := resample(a, f, placebos, target, ahead)
		roots = p.roots
		out.Bootstrap = &Bootstrap{Seed: a.Seed, Paths: a.Paths, Block: p.block}
	}
	low, high := slices.Min(changes), slices.Max(changes)
	out.Low, out.High = low-unit*quantile(roots, 1-attributable), high-unit*quantile(roots, attributable)
	out.Low80, out.High80 = low-unit*quantile(roots, 1-tenth), high-unit*quantile(roots, tenth)
	above, _ := slices.BinarySearch(roots, high/unit)
	out.Helped = float64(len(roots)-above) / float64(len(roots))
}
