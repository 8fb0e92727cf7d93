package mitigate

import (
	"context"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/model"
	"assay.dev/assay/store"
)

const (
	// maxResults is how many judged actions a new version of what they do can be fitted on.
	maxResults = 100
	// goldenRatio makes a sequence that has nothing to do with any load; see infer.Deciles.
	goldenRatio = 0.6180339887498949
	// lateLook is how much later than it is due a forecast may be made, and no step in
	// between be missed: looks come about once a second.
	lateLook = 3 * time.Second
)

// foretold is what was forecast of one step of the load before it came.
type foretold struct {
	At      time.Time     `json:"at"` // it begins
	Mean    float64       `json:"mean"`
	Deciles infer.Deciles `json:"deciles"`
	Stretch float64       `json:"stretch,omitempty"` // of them, 0 for none
	Rules   float64       `json:"rules"`             // what repeating the last season says
	Shadow  *float64      `json:"shadow,omitempty"`  // what the version that runs beside says
}

// guess is what was expected of an action before it was taken.
type guess struct {
	Hypothesis decide.Hypothesis `json:"hypothesis"`
	Active     decide.Size       `json:"active"`
	Law        decide.Size       `json:"law"`
	Shadow     *decide.Size      `json:"shadow,omitempty"`
}

// cared are the models of one strategy while it is looked at.
type cared struct {
	load    *model.Model // nil if it declares no forecast
	effects *model.Model
}

// models reads the models of a strategy, or begins them.
func (c *Controller) models(ctx context.Context, rec *record) error {
	now, s := c.cfg.Now().UTC(), rec.Strategy
	return c.cfg.Store.View(ctx, func(r store.Reader) error {
		m, err := model.LoadOrNew(r, s.Namespace, s.Spec.Service, "strategy/"+s.Name+"/effects", model.KindEffects, now)
		if err != nil {
			return err
		}
		rec.cared = cared{effects: &m}
		if s.Spec.Scale == nil || s.Spec.Scale.Forecast == nil {
			return nil
		}
		l, err := model.LoadOrNew(r, s.Namespace, s.Spec.Service, "strategy/"+s.Name+"/load", model.KindForecast, now)
		rec.cared.load = &l
		return err
	})
}

// put writes the models with the record. One that a person changed meanwhile is left: it
// is read anew at the next look.
func (m cared) put(tx store.Tx) error {
	for _, x := range []*model.Model{m.load, m.effects} {
		if x == nil {
			continue
		}
		committed, err := x.Put(tx, "")
		switch {
		case assay.CodeOf(err) == assay.CodeConflict:
		case err != nil:
			return err
		default:
			committed() // a record whose transaction fails is not used again
		}
	}
	return nil
}

// forecast makes the forecast of a load by the version that decides, and by the one that
// runs beside, after it held what came against those made before.
func (r *record) forecast(past []float64, end time.Time) (Forecast, error) {
	s, m := r.Strategy, r.cared.load
	step, season := s.Spec.Scale.Forecast.Step.Value(), s.Spec.Scale.Forecast.Cycles()[0]
	care := decide.SeasonCare(step, season)
	r.hold(past, end, step, care)
	v, learns := m.Active()
	stretch := m.Care.Stretched()
	out, p, err := foresee(s, since(past, end, step, v), end, stretch)
	if err != nil {
		return out, err
	}
	if out.Version = v.Name; !learns {
		out.Version, out.Trusted, out.Why = decide.ModelRules, false, m.Why()
	}
	if why := m.Care.Doubt(care); why != "" && out.Trusted {
		out.Trusted, out.Why = false, why
	}
	r.Foretold = nil
	if p == nil || !p.Trusted() && m.Care.Steps == 0 && learns { // nothing rests on it yet
		return out, nil
	}
	var shadow *infer.Prediction
	if v, ok := m.Shadow(); ok {
		if _, shadow, err = foresee(s, since(past, end, step, v), end, 1); err != nil {
			return out, err
		}
	}
	for k := range min(len(p.Mean), int((Refresh(s)+lateLook)/step)+2) { // what the next forecast is made after
		f := foretold{At: end.Add(time.Duration(k) * step).UTC(), Mean: p.Mean[k], Deciles: p.Deciles(k).Stretched(stretch), Stretch: stretch, Rules: repeated(past, int(season/step), k)}
		if shadow != nil && k < len(shadow.Mean) {
			f.Shadow = &shadow.Mean[k]
		}
		if !math.IsNaN(f.Rules) {
			r.Foretold = append(r.Foretold, f)
		}
	}
	return out, nil
}

// hold holds the steps that came against what was foretold of them.
func (r *record) hold(past []float64, end time.Time, step time.Duration, care decide.CareConfig) {
	first := end.Add(-time.Duration(len(past)) * step)
	for _, f := range r.Foretold {
		i := int(f.At.Sub(first) / step)
		if f.At.Before(first) || i >= len(past) || math.IsNaN(past[i]) {
			continue
		}
		v, shadow := past[i], math.NaN()
		if f.Shadow != nil {
			shadow = *f.Shadow
		}
		n := float64(f.At.UnixNano() / int64(step))
		came := decide.Came{
			Value: v, Active: f.Mean, Rules: f.Rules, Shadow: shadow, Width: (f.Deciles[len(f.Deciles)-1] - f.Deciles[0]) / max(f.Stretch, 1),
			PIT: f.Deciles.PIT(v, math.Mod(n*goldenRatio, 1)),
		}
		r.cared.load.Step(care, came, f.At.Add(step), model.Ago(f.At.Add(step), step))
	}
	r.Foretold = nil
}

// since is the past from the instant on that a version learns from.
func since(past []float64, end time.Time, step time.Duration, v model.Version) []float64 {
	if v.Since.IsZero() {
		return past
	}
	return past[max(0, len(past)-int(end.Sub(v.Since)/step)):]
}

// repeated is what repeating the last season says of a step to come, or the last value if
// less than a season is known; not a number if nothing is.
func repeated(past []float64, season, k int) float64 {
	if i := len(past) + k - season; i >= 0 && i < len(past) && !math.IsNaN(past[i]) {
		return past[i]
	}
	for _, v := range slices.Backward(past) {
		if !math.IsNaN(v) {
			return v
		}
	}
	return math.NaN()
}

// learned is what a version of the effects knows: what was judged since it learns, and
// every harm. Who decides anew does not forget whom it hurt.
func (r *record) learned(v model.Version) decide.Learned {
	if v.Since.IsZero() {
		return r.Learned
	}
	out := decide.NewLearned()
	for _, x := range r.Results {
		if x.Time.Before(v.Since) && x.Effect != assay.EffectHarmed {
			continue
		}
		if next, err := out.Learn(x); err == nil { // it was learned once before
			out = next
		}
	}
	return out
}

// expect is what is expected of an action that was decided, for the model that is held
// against it; nil if its law expects nothing.
func (r *record) expect(d Record) *guess {
	p, a := d.Mitigation.Problem, d.Mitigation.Decision.Action
	i := slices.IndexFunc(p.Options, func(o decide.Option) bool { return o.Action == a })
	beliefs := d.Mitigation.Decision.Beliefs
	if len(beliefs) == 0 { // rules decided: what would have been believed
		beliefs, _ = decide.Believe(p.Prior, p.Clues, p.Cap)
	}
	if i < 0 || len(beliefs) == 0 {
		return nil
	}
	o, h := p.Options[i], decide.Hypothesis(beliefs[0].Hypothesis)
	if _, speaks := o.Gone[h]; !speaks {
		return nil
	}
	service := r.Strategy.Spec.Service
	out := &guess{Hypothesis: h, Active: p.Learned.Guess(o, h, service, d.Now), Law: decide.NewLearned().Guess(o, h, service, d.Now)}
	if v, ok := r.cared.effects.Shadow(); ok {
		out.Shadow = new(r.learned(v).Guess(o, h, service, d.Now))
	}
	return out
}

// weighed holds a judged action against what was expected of it, and keeps it for those
// who will learn from it.
func (r *record) weighed(g *guess, x decide.Result) {
	if x.Effect == assay.EffectInconclusive || x.Effect == assay.EffectConfounded {
		return
	}
	r.Results = append(slices.Clone(r.Results), x)
	r.Results = r.Results[max(0, len(r.Results)-maxResults):]
	if g == nil {
		return
	}
	came := decide.Came{
		Value: x.Gone, Active: g.Active.Mean, Rules: g.Law.Mean, PIT: g.Active.Below(x.Gone), Width: 2 * eighty * g.Active.SD, Shadow: math.NaN(),
	}
	if g.Shadow != nil {
		came.Shadow = g.Shadow.Mean
	}
	r.cared.effects.Step(decide.EffectCare(), came, x.Time, func(steps int) time.Time {
		return r.Results[max(0, len(r.Results)-steps)].Time
	})
}

// eighty is how many standard deviations either side hold 80 % of a normal.
const eighty = 1.2815515655446004
