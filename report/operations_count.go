package report

import (
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// count adds up what rollouts and strategies did. It is given the facts of a kind the newest first.
type count struct {
	services map[string]*sums
	ordered  map[string]bool      // rollouts that a person ended
	versions map[string]*version  // by the rollout that brought them
	levers   map[string]*swinging // by service and target
}

// version is a version whose rollout ended.
type version struct {
	service string
	began   time.Time // its first traffic; zero if that was not recorded
	back    time.Time // when its traffic was seen to be gone; zero if it stays
	person  bool      // ordered it back
}

// swinging is a lever whose moves are read backwards.
type swinging struct {
	next  float64     // the direction of the move after, 0 if there was none
	at    time.Time   // of it
	turns []time.Time // within an hour of each other, the newest first
	most  int
}

func newCount() *count {
	return &count{services: map[string]*sums{}, ordered: map[string]bool{}, versions: map[string]*version{}, levers: map[string]*swinging{}}
}

func (c *count) of(service string) *sums {
	s := c.services[service]
	if s == nil {
		s = &sums{}
		c.services[service] = s
	}
	return s
}

func (c *count) commanded(f assay.Fact) error {
	var said struct {
		Rollout string `json:"rollout"`
		Command string `json:"command"`
	}
	if err := decode(f, &said); err != nil {
		return err
	}
	// What a strategy orders is caused by its decision, beside the rollout's start.
	if said.Command == api.CommandAbort && len(f.Causes) < 2 {
		c.ordered[said.Rollout] = true
	}
	return nil
}

func (c *count) ended(f assay.Fact) error {
	var said struct {
		Rollout string            `json:"rollout"`
		Status  api.RolloutStatus `json:"status"`
		Began   time.Time         `json:"began"`
		Back    *api.Back         `json:"back"`
		Canary  assay.Rate        `json:"canary"`
	}
	if err := decode(f, &said); err != nil {
		return err
	}
	r := &c.of(f.Service).row.Rollouts
	switch {
	case said.Status == api.RolloutFailed:
		r.Failed++
		return nil
	case said.Status == api.RolloutRefused || said.Status == api.RolloutAborted && said.Began.IsZero() && said.Canary.Total == 0:
		r.Refused++ // or nobody let it begin
		return nil
	}
	if said.Back == nil {
		v := c.version(said.Rollout, f.Service)
		v.began = said.Began
		if said.Status != api.RolloutPromoted {
			v.back, v.person = f.Time, c.ordered[said.Rollout]
		}
		return nil
	}
	if said.Status != api.RolloutPromoted {
		r.Failed++ // what was to be left stays
		return nil
	}
	left := said.Back.Of
	if left == "" {
		left = said.Rollout // no rollout brought what was left
	}
	v := c.version(left, f.Service)
	if v.back.IsZero() || f.Time.Before(v.back) {
		v.back, v.person = f.Time, said.Back.Cause == ""
	}
	return nil
}

func (c *count) version(rollout, service string) *version {
	v := c.versions[rollout]
	if v == nil {
		v = &version{service: service}
		c.versions[rollout] = v
	}
	return v
}

// settle counts the versions: one whose rollout ended well may have been taken back later.
func (c *count) settle() {
	for _, v := range c.versions {
		s := c.of(v.service)
		r := &s.row.Rollouts
		r.Versions++
		switch {
		case v.back.IsZero():
			r.Promoted++
		case v.person:
			r.TakenBack, r.ByPerson = r.TakenBack+1, r.ByPerson+1
		default:
			r.TakenBack++
			if !v.began.IsZero() {
				s.reverts = append(s.reverts, max(0, v.back.Sub(v.began).Seconds()))
			}
		}
	}
}

func (c *count) acted(f assay.Fact) error {
	var said struct {
		Action assay.Action `json:"action"`
	}
	if err := decode(f, &said); err != nil {
		return err
	}
	a := &c.of(f.Service).row.Actions
	if said.Action.Kind == assay.ActionRestore {
		a.GaveBack++
	} else {
		a.Tried, a.Done = a.Tried+1, a.Done+1
	}
	if target := said.Action.Target(); target != "" && said.Action.Now != said.Action.Want {
		key := f.Service + " " + f.Environment + " " + target
		if c.levers[key] == nil {
			c.levers[key] = &swinging{}
		}
		c.levers[key].move(said.Action, f.Time)
		a.Toggles = max(a.Toggles, c.levers[key].most)
	}
	return nil
}

// move takes in the move before the one that it was given last.
func (l *swinging) move(a assay.Action, at time.Time) {
	way := 1.0
	if a.Want < a.Now {
		way = -1
	}
	if l.next != 0 && l.next != way {
		l.turns = append(l.turns, l.at)
		for l.turns[0].Sub(l.at) >= time.Hour {
			l.turns = l.turns[1:]
		}
		l.most = max(l.most, len(l.turns))
	}
	l.next, l.at = way, at
}

func (c *count) refused(f assay.Fact) error {
	var said struct {
		Action assay.Action `json:"action"`
	}
	if err := decode(f, &said); err != nil {
		return err
	}
	if said.Action.Kind != assay.ActionRestore {
		a := &c.of(f.Service).row.Actions
		a.Tried, a.Refused = a.Tried+1, a.Refused+1
	}
	return nil
}

func (c *count) judged(f assay.Fact) error {
	var said struct {
		Outcome assay.ActionOutcome `json:"outcome"`
		Seen    struct {
			Before float64 `json:"before"`
			After  float64 `json:"after"`
		} `json:"seen"`
	}
	if err := decode(f, &said); err != nil {
		return err
	}
	if said.Outcome.Action.Kind == assay.ActionRestore {
		return nil
	}
	s := c.of(f.Service)
	a := &s.row.Actions
	switch said.Outcome.Effect {
	case assay.EffectHelped:
		a.Helped++
	case assay.EffectHarmed:
		a.Harmed++
	case assay.EffectNone:
		a.NoEffect++
	case assay.EffectConfounded:
		a.Confounded++
	default:
		a.Inconclusive++
	}
	if known(said.Seen.Before) && known(said.Seen.After) {
		s.before, s.after = s.before+said.Seen.Before, s.after+said.Seen.After
	}
	return nil
}

func (c *count) frozen(f assay.Fact) error {
	c.of(f.Service).row.Actions.Frozen++
	return nil
}
