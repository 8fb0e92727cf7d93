package anomaly

import (
	"context"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/model"
	"assay.dev/assay/store"
)

// expected is what one version of a load's forecast says of the slots to come, without
// what calendars plan for them.
type expected struct {
	first   int64 // number of the first slot
	mean    []float64
	deciles []infer.Deciles // stretched
	stretch float64         // by this much
	factor  []float64       // what calendars say of the slot
	trusted bool            // its own past speaks for it
	rules   []float64       // what repeating the last day says
}

// at is the place of a slot in it; false if it says nothing of that.
func (e *expected) at(n int64) (int, bool) {
	if e == nil || n < e.first || n >= e.first+int64(len(e.mean)) {
		return 0, false
	}
	return int(n - e.first), true
}

// goldenRatio makes a sequence that has nothing to do with any load; see infer.Deciles.
const goldenRatio = 0.6180339887498949

// watch holds what came in a slot against the versions of the model.
func (l *load) watch(n int64, v float64) {
	k, ok := l.active.at(n)
	if l.model == nil || !ok {
		return
	}
	f, d := l.active.factor[k], l.active.deciles[k]
	came := decide.Came{
		Value: v / f, Active: l.active.mean[k], Rules: l.active.rules[k], Shadow: math.NaN(),
		PIT: d.PIT(v/f, math.Mod(float64(n)*goldenRatio, 1)), Width: (d[len(d)-1] - d[0]) / l.active.stretch,
	}
	// Before it is trusted for the first time nothing rests on it.
	if !l.active.trusted && l.model.Care.Steps == 0 {
		came.Active = math.NaN()
	}
	if s, ok := l.shadow.at(n); ok {
		came.Shadow = l.shadow.mean[s]
	}
	l.model.Step(decide.DefaultCare(slot), came, slotTime(n+1), model.Ago(slotTime(n+1), slot))
}

// since is a series from the slot on that a version learns from.
func since(y []float64, first int64, v model.Version) ([]float64, int64) {
	if v.Since.IsZero() {
		return y, first
	}
	skip := min(max(v.Since.Unix()/int64(slot/time.Second)-first, 0), int64(len(y)))
	return y[skip:], first + skip
}

// modelName is the name of the model that forecasts an objective's load.
func (u *subject) modelName() string {
	return "objective/" + u.objective.Service + "/" + u.id + "/load"
}

// models reads the models of a service's loads, or begins them.
func (w *Watcher) models(ctx context.Context, s *service, now time.Time) error {
	list := make([]model.Model, len(s.subjects))
	err := w.cfg.Store.View(ctx, func(r store.Reader) (err error) {
		for i, u := range s.subjects {
			if u.load.model != nil {
				list[i], err = u.load.model.Renew(r)
			} else {
				list[i], err = model.LoadOrNew(r, w.cfg.Namespace, s.name, u.modelName(), model.KindForecast, now)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, u := range s.subjects {
		u.load.model = &list[i]
	}
	return nil
}

// news reports whether another version of a model decides, or runs beside, since the
// notebook was kept.
func (s *service) news() bool {
	for _, u := range s.subjects {
		if u.load.model != nil && u.load.model.Changed() {
			return true
		}
	}
	return false
}

// putModels writes the models of a service within a transaction, and returns what is to
// be called once that is committed.
func (s *service) putModels(tx store.Tx) (committed []func(), err error) {
	for _, u := range s.subjects {
		if u.load.model == nil {
			continue
		}
		f, err := u.load.model.Put(tx, "")
		if assay.CodeOf(err) == assay.CodeConflict {
			continue // a person changed it: it is read anew with the next forecast
		}
		if err != nil {
			return nil, err
		}
		committed = append(committed, f)
	}
	return committed, nil
}
