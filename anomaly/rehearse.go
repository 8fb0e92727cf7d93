package anomaly

import (
	"math"
	"slices"
	"time"

	"assay.dev/assay/decide"
	"assay.dev/assay/model"
)

// judgedFor is how many slots a version is followed after it was demoted: a day.
const judgedFor = 24 * 60 * 60 / int(slot/time.Second)

// Rehearsal is a load whose minutes are played again: its forecasts and the care of their
// model are those of a Watcher, without a store and without calendars. Benchmarks of the
// care use it. It is not safe for concurrent use.
type Rehearsal struct {
	// Demoted are the versions that gave way to rules, oldest first.
	Demoted []Demotion
	// Trusted is how versions did while they decided and were trusted, all together: what
	// automatic actions could rest on. Decided is the same whether they were trusted or not.
	Trusted, Decided Tally

	load     *load
	m        model.Model
	followed *expected // of the version that was demoted last
}

// Tally is how forecasts did, slot by slot.
type Tally struct {
	Slots int
	Held  int     // slots that lay within the 80 % interval
	Error float64 // sum of the absolute errors
	Rules float64 // the same of repeating the last day
}

// Skill is 1 − error/error of repeating the last day: above 0 rules were worse.
func (t Tally) Skill() float64 { return 1 - t.Error/max(t.Rules, math.SmallestNonzeroFloat64) }

// Cover is the share of the slots that lay within the 80 % interval.
func (t Tally) Cover() float64 { return float64(t.Held) / float64(max(t.Slots, 1)) }

// Fit reports whether decisions could rest on the forecasts: they were better than rules
// and their intervals held about what they say.
func (t Tally) Fit() bool { return t.Skill() > 0 && t.Cover() >= decide.DefaultCare(slot).MinCover }

// Since is what was added to a tally.
func (t Tally) Since(was Tally) Tally {
	return Tally{t.Slots - was.Slots, t.Held - was.Held, t.Error - was.Error, t.Rules - was.Rules}
}

// Demotion is a version that gave way to rules, and how it went on for a day, or until the
// rehearsal ended: After.Fit means that it did so wrongly.
type Demotion struct {
	decide.ModelChange
	After Tally

	version model.Version
	stretch float64 // of its intervals when it was demoted
}

// Rehearse begins before the first minute; days are told in zone.
func Rehearse(zone *time.Location) *Rehearsal { return &Rehearsal{load: newLoad(zone)} }

// Fork is a rehearsal that goes on from here by itself.
func (r *Rehearsal) Fork() *Rehearsal {
	out, l := *r, *r.load
	out.load, l.s.Slots, l.s.Tenths, l.past = &l, slices.Clone(l.s.Slots), slices.Clone(l.s.Tenths), nil
	if l.model != nil {
		l.model = &out.m
	}
	out.Demoted = slices.Clone(r.Demoted)
	return &out
}

// Decides is the version of the model that decides; decide.ModelRules is none.
func (r *Rehearsal) Decides() string { return r.m.Care.Active }

// Minute takes the requests of the next minute; NaN is one without data.
func (r *Rehearsal) Minute(at time.Time, requests float64) {
	l := r.load
	n, before, active := l.s.Open, len(r.m.Care.Past), l.active
	version, decides := r.m.Active()
	stretch := r.m.Care.Stretched()
	trusted := decides && l.made.Trusted
	if !l.add(at, requests) {
		return
	}
	if i := n - l.s.First; i >= 0 && i < int64(len(l.s.Slots)) && l.s.Slots[i] >= 0 {
		v := float64(l.s.Slots[i])
		if trusted {
			r.Trusted.count(active, n, v)
		}
		if decides {
			r.Decided.count(active, n, v)
		}
		if d := r.newest(); d != nil && d.After.Slots < judgedFor {
			d.After.count(r.followed, n, v)
		}
	}
	if past := r.m.Care.Past; len(past) > before && past[len(past)-1].To == decide.ModelRules {
		r.Demoted = append(r.Demoted, Demotion{ModelChange: past[len(past)-1], version: version, stretch: stretch})
	}
	r.renew(at)
}

// renew makes the forecasts anew if it is time to.
func (r *Rehearsal) renew(at time.Time) {
	l := r.load
	if l.model == nil {
		r.m = model.New("", "", "load", model.KindForecast, at)
		l.model = &r.m
	}
	if !l.due() {
		return
	}
	y := l.input(nil)
	l.made, l.active, l.shadow = byVersions(y, l.s.First, l.zone, l.s, nil, r.m)
	r.followed = nil
	if d := r.newest(); d != nil && d.After.Slots < judgedFor {
		_, r.followed = forecast(y, l.s.First, l.zone, l.s, nil, d.version, d.stretch)
	}
}

func (r *Rehearsal) newest() *Demotion {
	if len(r.Demoted) == 0 {
		return nil
	}
	return &r.Demoted[len(r.Demoted)-1]
}

// count holds a slot against what was forecast of it.
func (t *Tally) count(e *expected, n int64, v float64) {
	k, ok := e.at(n)
	if !ok || math.IsNaN(e.rules[k]) {
		return
	}
	t.Slots++
	if d := e.deciles[k]; d[0] <= v && v <= d[len(d)-1] {
		t.Held++
	}
	t.Error, t.Rules = t.Error+math.Abs(v-e.mean[k]), t.Rules+math.Abs(v-e.rules[k])
}
