package infer

import (
	"cmp"
	"math"
	"slices"

	"assay.dev/assay"
)

// ForecastConfig says what is asked of Predict.
type ForecastConfig struct {
	// Horizon is how many steps ahead, 1 to MaxHorizon.
	Horizon int
	// Seasons are their lengths in steps, the shorter first, for example a day and a
	// week; 0 is none.
	Seasons [2]int
	// Phase is the place of a step in both seasons, each from 0 to its length minus
	// one: by the clocks of the people who make the load, so that daylight saving time
	// moves the place and not the curve. nil counts steps.
	Phase func(step int) [2]int
}

// Bounds of what Predict takes.
const (
	MaxHorizon = 2_000
	MaxSteps   = 200_000
	MinSteps   = 8
)

// Prediction is a forecast with what is known about its quality, all of it measured
// on the series' own past: Origins forecasts were made from earlier points of it,
// without what came after, and compared with what came.
type Prediction struct {
	Mean   []float64     `json:"mean"` // by step of the horizon
	Models []ModelWeight `json:"models"`
	// MASE is the mean absolute error as a share of what repeating the last season
	// gets inside the series, Naive the same of repeating it over the horizon.
	MASE    float64 `json:"mase"`
	Naive   float64 `json:"naive"`
	Skill   float64 `json:"skill"`    // 1 − MASE/Naive: above 0 it is better than repeating the last season
	Cover90 float64 `json:"cover_90"` // share of the past that 90 % intervals of the residuals of other origins held
	Width90 float64 `json:"width_90"` // mean width of those intervals, as a share of the median's magnitude
	Origins int     `json:"origins"`

	residuals [][]float64 // by origin, by step of the horizon
}

// ModelWeight is a member of the blend and its share.
type ModelWeight struct {
	Name   string  `json:"name"`
	Weight float64 `json:"weight"`
	MAE    float64 `json:"mae"` // over the origins
}

// Constants of the blend. They were chosen by forecasts from two points inside the
// training part of M4-hourly; bench/forecast shows what they give on its test part.
const (
	origins   = 12
	nearby    = 8    // places of a season that are this part of it apart are one: three hours of a day
	smoothers = 5    // best Holt-Winters that are averaged
	sharpness = 4    // weights are MAE to the minus sharpness
	ridge     = 1e-5 // of the regression, relative to the spread of the series
	band      = 8    // steps to either side whose residuals stand for a step's
	// widen makes up for weights that were chosen on the same residuals: without it
	// intervals for 95 % covered 92 % of what came next.
	widen = 1.1
	// tiny keeps quotients of errors finite where a series repeats itself exactly.
	tiny = 1e-12
)

// Trusted says whether an automatic action may rest on the forecast: it is better than
// repeating the last season and its intervals cover what they say.
func (p Prediction) Trusted() bool {
	return p.Skill > 0 && p.Cover90 >= 0.85 && p.Cover90 <= 0.97
}

// Still says that the series has repeated itself exactly, as one does that never changes:
// nothing can be better than repeating it, and its past says nothing of how far it may stray,
// so that its intervals have no width.
func (p Prediction) Still() bool { return p.Origins > 1 && p.MASE == 0 && p.Naive == 0 }

// Quantile is the tau quantile of the forecast at a step of the horizon (from 0), by
// the signed residuals of the blend around that step at the past origins (split
// conformal). It is calibrated, not exact.
func (p Prediction) Quantile(step int, tau float64) float64 {
	return p.Mean[step] + widen*quantile(p.around(step, -1), tau)
}

// around are the residuals of the steps near one, in ascending order, without those of
// one origin.
func (p Prediction) around(step, without int) []float64 {
	var out []float64
	for o, r := range p.residuals {
		if o == without {
			continue
		}
		out = append(out, r[max(0, step-band):min(len(r), step+band+1)]...)
	}
	slices.Sort(out)
	return out
}

// quantile is the conformal quantile of n sorted residuals: the ⌈(n+1)tau⌉th, the
// ⌊(n+1)tau⌋th below the middle, and the outermost when there are too few.
func quantile(sorted []float64, tau float64) float64 {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	at := math.Ceil(float64(n+1)*tau) - 1
	if tau < 0.5 {
		at = math.Floor(float64(n+1)*tau) - 1
	}
	return sorted[min(max(int(at), 0), n-1)]
}

// Predict forecasts the steps after y. A step that is not a number is missing: it is
// taken as the same place of the season before, or as the step before. CodeInvalid if
// there is too little of the series, CodeTooLarge if there is too much.
func Predict(y []float64, cfg ForecastConfig) (Prediction, error) {
	if err := checkForecast(y, cfg); err != nil {
		return Prediction{}, err
	}
	t := newTrack(y, cfg)
	n := len(y)
	starts := originsOf(n, cfg)
	members := pool(t, starts, cfg.Horizon)
	p := Prediction{Origins: len(starts), Mean: make([]float64, cfg.Horizon)}
	future := make([]float64, cfg.Horizon)
	for i, w := range weights(members, -1) {
		m := members[i]
		p.Models = append(p.Models, ModelWeight{m.name, w, m.mae})
		m.final(t, n, future)
		for k, v := range future {
			p.Mean[k] += w * v
		}
	}
	// The error at an origin is that of the blend which the other origins would choose.
	p.residuals = make([][]float64, len(starts))
	for o, start := range starts {
		p.residuals[o] = slices.Clone(t.y[start : start+cfg.Horizon])
		for i, w := range weights(members, o) {
			for k, v := range members[i].past[o] {
				p.residuals[o][k] -= w * v
			}
		}
	}
	p.judge(t, starts, cfg)
	return p, nil
}

func checkForecast(y []float64, cfg ForecastConfig) error {
	numbers := 0
	for _, v := range y {
		if math.Abs(v) <= MaxObservation {
			numbers++
		}
	}
	need := max(MinSteps, 3*cfg.Horizon/2+2)
	switch {
	case cfg.Horizon < 1 || cfg.Horizon > MaxHorizon:
		return assay.Errorf(assay.CodeInvalid, "a horizon of %d steps: 1 to %d can be forecast", cfg.Horizon, MaxHorizon)
	case len(y) > MaxSteps:
		return assay.Errorf(assay.CodeTooLarge, "%d observations: at most %d are taken", len(y), MaxSteps)
	case numbers < need:
		return assay.Errorf(assay.CodeInvalid, "%d observations are too few to forecast %d steps and to check it: %d are needed", numbers, cfg.Horizon, need)
	case cfg.Seasons[0] < 0 || cfg.Seasons[1] < 0 || (cfg.Seasons[1] > 0 && cfg.Seasons[1] <= cfg.Seasons[0]):
		return assay.Errorf(assay.CodeInvalid, "seasons of %d and %d steps: the shorter comes first", cfg.Seasons[0], cfg.Seasons[1])
	}
	return nil
}

// originsOf are the steps in the past from which a forecast is made, a season apart (or
// part of the horizon), the last one a horizon before the end; earlier where that is another
// place of the season than the end is. At noon it is known how the day goes, after midnight it
// is not, and what forecasts well from there need not do so from here. What lies near is taken
// for the same place: the newest steps say more than the last hour of it would.
func originsOf(n int, cfg ForecastConfig) []int {
	apart, last := cfg.Seasons[0], n-cfg.Horizon
	least := max(MinSteps/2, min(2*cfg.Seasons[0], n/2), min(cfg.Seasons[1], n/2))
	if apart == 0 {
		apart = max(1, cfg.Horizon/4)
	} else if off := cfg.Horizon % apart; min(off, apart-off) > apart/nearby {
		if alike := last - (apart - off); alike-apart >= least {
			last = alike
		}
	}
	var out []int
	for o := last; o >= least && len(out) < origins; o -= apart {
		out = append(out, o)
	}
	if len(out) == 0 {
		out = []int{n - cfg.Horizon}
	}
	slices.Reverse(out)
	return out
}

func newTrack(y []float64, cfg ForecastConfig) track {
	t := track{y: slices.Clone(y), length: cfg.Seasons}
	for k, length := range cfg.Seasons {
		if length > 0 && len(y) < 2*length {
			t.length[k] = 0 // seen less than twice, a season is a guess
		}
	}
	if t.length[0] == 0 {
		t.length[0], t.length[1] = t.length[1], 0
	}
	steps := len(y) + cfg.Horizon
	for k := range 2 {
		if t.length[k] == 0 {
			continue
		}
		t.phase[k] = make([]int, steps)
		for i := range steps {
			t.phase[k][i] = i % t.length[k]
			if cfg.Phase != nil && t.length == cfg.Seasons {
				t.phase[k][i] = min(max(cfg.Phase(i)[k], 0), t.length[k]-1)
			}
		}
	}
	fill(t)
	return t
}

// fill replaces what is missing.
func fill(t track) {
	last, known := 0.0, false
	for i, v := range t.y {
		if math.Abs(v) <= MaxObservation {
			if !known { // what comes before the first observation is like it
				for j := range i {
					t.y[j] = v
				}
			}
			last, known = v, true
			continue
		}
		if s := t.length[0]; s > 0 && i >= s {
			t.y[i] = t.y[i-s]
		} else {
			t.y[i] = last
		}
	}
}

// member is a model, or several of one kind, with its forecasts of the past.
type member struct {
	name   string
	models []model
	past   [][]float64
	errors []float64 // mean absolute error by origin
	mae    float64   // over all origins
}

func (m member) final(t track, origin int, out []float64) {
	clear(out)
	one := make([]float64, len(out))
	for _, x := range m.models {
		x.predict(t, origin, one)
		for k, v := range one {
			out[k] += v / float64(len(m.models))
		}
	}
}

// judged fills in the forecasts of the past and their error.
func (m member) judged(t track, starts []int, horizon int) member {
	m.past = make([][]float64, len(starts))
	m.errors, m.mae = make([]float64, len(starts)), 0
	for o, start := range starts {
		m.past[o] = make([]float64, horizon)
		m.final(t, start, m.past[o])
		for k, v := range m.past[o] {
			m.errors[o] += math.Abs(v-t.y[start+k]) / float64(horizon)
		}
		m.mae += m.errors[o] / float64(len(starts))
	}
	return m
}

// pool is what is blended.
func pool(t track, starts []int, horizon int) []member {
	list := []member{{name: level{}.name(), models: []model{bestLevel(t, starts, horizon)}}}
	if t.length[0] > 0 {
		list = append(list, member{name: regression{}.name(), models: []model{regression{ridge: ridge}}},
			member{name: holtWinters{}.name(), models: bestSmoothers(t, starts, horizon)})
	}
	for s := range 2 {
		if t.length[s] > 0 {
			list = append(list, member{name: seasonalNaive{s}.name(), models: []model{seasonalNaive{s}}})
		}
	}
	if s := 1; t.length[s] > 0 {
		list = append(list, member{name: seasonalMean{s}.name(), models: []model{seasonalMean{s}}})
	}
	out := list[:0]
	for _, m := range list {
		m = m.judged(t, starts, horizon)
		if !math.IsNaN(m.mae) && !math.IsInf(m.mae, 0) {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b member) int { return cmp.Compare(a.mae, b.mae) })
	return out
}

// weights are the shares of the members by their error over all origins but one, or
// over all with a negative one; they sum to 1.
func weights(members []member, without int) []float64 {
	out := make([]float64, len(members))
	least := math.Inf(1)
	for i, m := range members {
		n := 0.0
		for o, e := range m.errors {
			if o != without || len(m.errors) == 1 {
				out[i] += e
				n++
			}
		}
		out[i] = out[i]/n + tiny
		least = min(least, out[i])
	}
	total := 0.0
	for i := range out {
		out[i] = math.Pow(out[i]/least, -sharpness)
		total += out[i]
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

func bestLevel(t track, starts []int, horizon int) model {
	var best model
	least := math.Inf(1)
	for _, learn := range []float64{0.05, 0.2, 0.5, 0.9} {
		for _, trend := range []float64{0, 0.1} {
			m := level{learn, trend, 0.9}
			if e := (member{models: []model{m}}).judged(t, starts, horizon).mae; e < least || best == nil {
				best, least = m, e
			}
		}
	}
	return best
}

// judge measures the blend on its own past.
func (p *Prediction) judge(t track, starts []int, cfg ForecastConfig) {
	s := max(1, t.length[0])
	scale, n := 0.0, 0
	for i := s; i < starts[0]; i++ {
		scale += math.Abs(t.y[i] - t.y[i-s])
		n++
	}
	scale = scale/float64(max(n, 1)) + tiny
	naive := member{models: []model{naiveOf(t)}}.judged(t, starts, cfg.Horizon)
	// An error of a part of tiny of the series is what is left over from calculating with 53
	// bits: a series that never changes is forecast as exactly as it is repeated.
	noise := tiny * magnitude(t.y)
	if naive.mae <= noise {
		naive.mae = 0
	}
	sum, held, width, size := 0.0, 0, 0.0, 0.0
	for o, r := range p.residuals {
		for k, e := range r {
			if math.Abs(e) > noise {
				sum += math.Abs(e)
			}
			others := p.around(k, o)
			low, high := widen*quantile(others, 0.05), widen*quantile(others, 0.95)
			if e >= low-noise && e <= high+noise {
				held++
			}
			width += high - low
			size += math.Abs(t.y[starts[o]+k] - e)
		}
	}
	all := float64(len(starts) * cfg.Horizon)
	p.MASE, p.Naive = sum/all/scale, naive.mae/scale
	p.Skill = 1 - (p.MASE+tiny)/(p.Naive+tiny)
	p.Cover90 = float64(held) / all
	p.Width90 = width / (size + tiny)
	if len(starts) == 1 {
		p.Cover90 = 0 // nothing to compare with
	}
}

// magnitude is that of the value farthest from zero.
func magnitude(y []float64) (out float64) {
	for _, v := range y {
		out = max(out, math.Abs(v))
	}
	return out
}

func naiveOf(t track) model {
	if t.length[0] > 0 {
		return seasonalNaive{0}
	}
	return level{learn: 1, damp: 0}
}

// refinements are how often the best smoother is varied.
const refinements = 5

// bestSmoothers are the Holt-Winters with the least error over the origins: a grid,
// then steps around its best.
func bestSmoothers(t track, starts []int, horizon int) []model {
	logs := []bool{false}
	if slices.Min(t.y) > 0 {
		logs = append(logs, true)
	}
	var tried []scored
	for _, log := range logs {
		z := holtWinters{log: log}.scale(t.y)
		for _, level := range []float64{0.005, 0.03, 0.1, 0.3} {
			for _, day := range []float64{0.05, 0.15, 0.4} {
				for _, week := range []float64{0.05, 0.15, 0.4} {
					for _, ar := range []float64{0, 0.5, 0.9} {
						m := holtWinters{level, day, week, ar, log}
						tried = append(tried, scored{m, m.rolling(t, z, starts, horizon)})
					}
				}
			}
		}
	}
	for range refinements {
		slices.SortStableFunc(tried, func(a, b scored) int { return cmp.Compare(a.mae, b.mae) })
		tried = tried[:min(len(tried), 2*smoothers)]
		best := tried[0].m
		z := best.scale(t.y)
		for _, f := range []float64{0.7, 1.4} {
			for _, m := range []holtWinters{
				{min(best.level*f, 1), best.day, best.week, best.error, best.log},
				{best.level, min(best.day*f, 1), best.week, best.error, best.log},
				{best.level, best.day, min(best.week*f, 1), best.error, best.log},
				{best.level, best.day, best.week, min(best.error*math.Sqrt(f), 0.99), best.log},
			} {
				if !slices.ContainsFunc(tried, func(s scored) bool { return s.m == m }) {
					tried = append(tried, scored{m, m.rolling(t, z, starts, horizon)})
				}
			}
		}
	}
	slices.SortStableFunc(tried, func(a, b scored) int { return cmp.Compare(a.mae, b.mae) })
	var out []model
	for _, s := range tried[:min(len(tried), smoothers)] {
		out = append(out, s.m)
	}
	return out
}

type scored struct {
	m   holtWinters
	mae float64
}

// rolling is the error over the origins in one walk over the series.
func (m holtWinters) rolling(t track, z []float64, starts []int, horizon int) float64 {
	s := m.start(t, starts[0], z)
	out := make([]float64, horizon)
	sum, o := 0.0, 0
	for i := 0; o < len(starts); i++ {
		if i == starts[o] {
			m.ahead(t, &s, i, out)
			for k, v := range out {
				sum += math.Abs(v - t.y[i+k])
			}
			o++
		}
		if i < len(z) {
			m.step(t, &s, i, z[i])
		}
	}
	if math.IsNaN(sum) {
		return math.Inf(1)
	}
	return sum
}
