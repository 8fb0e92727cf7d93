package report

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/infer"
	"assay.dev/assay/store"
)

// What should hold of operations.
const (
	// TargetRevert is for how long a bad version has traffic; it should be less (S-M9).
	TargetRevert = 10 * time.Minute
	// TargetHelped is the share of actions that help, of those that were tried; it should
	// be more (S-M5).
	TargetHelped = 0.90
	// TargetDone is the share of actions that are carried out at least, of those that were
	// tried (Q-M9).
	TargetDone = 0.95
	// TargetToggles is how often a lever may change its direction within an hour; it
	// should be less (S-M6).
	TargetToggles = 6
	// TargetBurn is what is spent of an error budget after actions, in units of what was
	// before; it should be less (Q-M7).
	TargetBurn = 1.0

	// MaxServices is how many services are told apart; those beyond are counted together.
	MaxServices = 200
	// RollbacksConfidence is that of the interval of how often versions are taken back.
	RollbacksConfidence = 0.95
)

// NothingHappened is the standing of a measure of which there was nothing to measure.
const NothingHappened Standing = "nothing-happened"

// Operations is what rollouts and strategies did in a time, and what became of it.
type Operations struct {
	Namespace string              `json:"namespace"`
	From      time.Time           `json:"from"` // inclusive
	To        time.Time           `json:"to"`   // exclusive
	Made      time.Time           `json:"made"`
	Total     OperationsOfOne     `json:"total"`
	Services  []ServiceOperations `json:"services"` // by name
}

// ServiceOperations are those of one service.
type ServiceOperations struct {
	Service string `json:"service"`
	Others  bool   `json:"others,omitempty"` // all beyond MaxServices together
	OperationsOfOne
}

// Title is the service's name for people.
func (s ServiceOperations) Title() string {
	if s.Others {
		return "other services"
	}
	return s.Service
}

// OperationsOfOne are the operations of one service, or of all together.
type OperationsOfOne struct {
	Rollouts Rollouts `json:"rollouts"`
	Actions  Actions  `json:"actions"`
}

// Empty reports whether nothing happened.
func (o OperationsOfOne) Empty() bool {
	return o.Rollouts.Versions+o.Rollouts.Refused+o.Rollouts.Failed+o.Actions.Tried+o.Actions.Frozen+o.Actions.Judged() == 0
}

// Rollouts counts the rollouts that ended.
type Rollouts struct {
	Versions  int `json:"versions"`   // got traffic, and were promoted or taken back
	Promoted  int `json:"promoted"`   // and have not been taken back within the time
	TakenBack int `json:"taken_back"` // in the rollout, in the watch after it, or by a rollback later
	ByPerson  int `json:"by_person"`  // of them: somebody ordered it, which takes as long as people take
	Refused   int `json:"refused"`    // got no traffic: not let in, or not allowed to begin
	Failed    int `json:"failed"`     // could not be carried out

	// Rollbacks is the share of versions that were taken back, with an exact interval
	// (Clopper and Pearson) of RollbacksConfidence; null if there was no version.
	Rollbacks *float64   `json:"rollbacks"`
	Interval  [2]float64 `json:"interval,omitzero"`
	// Revert is how long the versions that nobody had to order back had traffic.
	Revert Revert `json:"revert"`
}

// Revert is how long bad versions had traffic: from their first request until the traffic
// was seen to be back.
type Revert struct {
	Measured int      `json:"measured"` // versions; fewer than were taken back where rollouts were recorded without it
	Median   float64  `json:"median"`   // seconds
	Slowest  float64  `json:"slowest"`  // seconds
	Within   int      `json:"within"`   // of them below TargetRevert
	Standing Standing `json:"standing"` // of the slowest
}

// Actions counts what strategies did. What only gives a lever back is in GaveBack, and in
// Toggles and Frozen, and in nothing else: it is no attempt to help.
type Actions struct {
	Tried    int `json:"tried"`
	Done     int `json:"done"` // and read back as wanted
	Refused  int `json:"refused"`
	GaveBack int `json:"gave_back"`

	Helped       int `json:"helped"`
	NoEffect     int `json:"no_effect"`
	Harmed       int `json:"harmed"`
	Inconclusive int `json:"inconclusive"`
	Confounded   int `json:"confounded"` // another change fell into the window

	// CarriedOut is done of tried; null if nothing was tried.
	CarriedOut         *float64 `json:"carried_out"`
	CarriedOutStanding Standing `json:"carried_out_standing"`
	// Success is helped of all that were judged, whatever came out, and of those that were
	// refused; null if there were none.
	Success         *float64 `json:"success"`
	SuccessStanding Standing `json:"success_standing"`
	// Burn is the error budget spent in the judged windows after actions, in units of what
	// was spent in the windows before; null if nothing was.
	Burn         *float64 `json:"burn"`
	BurnStanding Standing `json:"burn_standing"`
	// Toggles is how often the lever that swung most changed its direction within an hour.
	Toggles         int      `json:"toggles"`
	TogglesStanding Standing `json:"toggles_standing"`
	Frozen          int      `json:"frozen"` // times a lever was frozen because it swung
}

// Judged is how many actions were judged.
func (a Actions) Judged() int {
	return a.Helped + a.NoEffect + a.Harmed + a.Inconclusive + a.Confounded
}

// Unclear is how many judged actions nobody can say anything of.
func (a Actions) Unclear() int { return a.Inconclusive + a.Confounded }

// Operate says what rollouts and strategies of a namespace did and what became of it. Its
// time follows the facts recorded since req.From, its memory the rollouts and levers of
// that time. More than MaxFacts of a kind is assay.CodeTooLarge.
func Operate(ctx context.Context, s store.Store, namespace string, req api.OperationsRequest, now time.Time) (Operations, error) {
	o := Operations{Namespace: namespace, Made: now.UTC(), From: req.From.UTC(), To: req.To.UTC(), Services: []ServiceOperations{}}
	if req.To.IsZero() || o.To.After(o.Made) {
		o.To = o.Made
	}
	if req.From.IsZero() {
		o.From = o.To.Add(-DefaultWindow)
	}
	if !o.From.Before(o.To) {
		return o, &assay.Error{Code: assay.CodeInvalid, Field: "from", Msg: "is not before the end, " + o.To.Format(time.RFC3339)}
	}
	c := newCount()
	of := span{namespace: namespace, environment: req.Environment, service: req.Service, from: o.From, to: o.To}
	orders := of
	orders.from = of.from.Add(-walkSlack) // an order comes before the end that it makes
	if err := orders.walk(ctx, s, assay.FactRolloutCommanded, c.commanded); err != nil {
		return o, err
	}
	for kind, take := range map[string]func(assay.Fact) error{
		assay.FactRolloutEnded: c.ended, assay.FactMitigationActed: c.acted, assay.FactMitigationRefused: c.refused,
		assay.FactMitigationJudged: c.judged, assay.FactMitigationFrozen: c.frozen,
	} {
		if err := of.walk(ctx, s, kind, take); err != nil {
			return o, err
		}
	}
	c.finish(&o)
	return o, nil
}

// sums are what a row is made of.
type sums struct {
	row           OperationsOfOne
	reverts       []float64 // seconds
	before, after float64   // error budget
}

func (s *sums) add(t *sums) {
	r, a, u, b := &s.row.Rollouts, &s.row.Actions, t.row.Rollouts, t.row.Actions
	r.Versions, r.Promoted, r.TakenBack, r.ByPerson = r.Versions+u.Versions, r.Promoted+u.Promoted, r.TakenBack+u.TakenBack, r.ByPerson+u.ByPerson
	r.Refused, r.Failed = r.Refused+u.Refused, r.Failed+u.Failed
	a.Tried, a.Done, a.Refused, a.GaveBack = a.Tried+b.Tried, a.Done+b.Done, a.Refused+b.Refused, a.GaveBack+b.GaveBack
	a.Helped, a.NoEffect, a.Harmed = a.Helped+b.Helped, a.NoEffect+b.NoEffect, a.Harmed+b.Harmed
	a.Inconclusive, a.Confounded, a.Frozen = a.Inconclusive+b.Inconclusive, a.Confounded+b.Confounded, a.Frozen+b.Frozen
	a.Toggles = max(a.Toggles, b.Toggles)
	s.reverts, s.before, s.after = append(s.reverts, t.reverts...), s.before+t.before, s.after+t.after
}

// measure is the row with what follows from its counts.
func (s *sums) measure() OperationsOfOne {
	o := s.row
	r, a := &o.Rollouts, &o.Actions
	if r.Versions > 0 {
		r.Rollbacks = new(float64(r.TakenBack) / float64(r.Versions))
		r.Interval[0], r.Interval[1] = infer.ClopperPearson(uint64(r.TakenBack), uint64(r.Versions), RollbacksConfidence)
	}
	r.Revert.Standing = NothingHappened
	if n := len(s.reverts); n > 0 {
		list := slices.Sorted(slices.Values(s.reverts))
		r.Revert = Revert{Measured: n, Median: list[(n-1)/2], Slowest: list[n-1]}
		r.Revert.Within, _ = slices.BinarySearch(list, TargetRevert.Seconds())
		r.Revert.Standing = standing(r.Revert.Within == n)
	}
	a.CarriedOutStanding, a.SuccessStanding, a.BurnStanding = NothingHappened, NothingHappened, NothingHappened
	if a.Tried > 0 {
		a.CarriedOut = new(float64(a.Done) / float64(a.Tried))
		a.CarriedOutStanding = standing(*a.CarriedOut >= TargetDone)
	}
	if n := a.Judged() + a.Refused; n > 0 {
		a.Success = new(float64(a.Helped) / float64(n))
		a.SuccessStanding = standing(*a.Success > TargetHelped)
	}
	if s.before > 0 {
		a.Burn = new(s.after / s.before)
		a.BurnStanding = standing(*a.Burn < TargetBurn)
	}
	a.TogglesStanding = NothingHappened
	if a.Done+a.GaveBack > 0 {
		a.TogglesStanding = standing(a.Toggles < TargetToggles)
	}
	return o
}

func standing(holds bool) Standing {
	if holds {
		return RateHolds
	}
	return RateMissed
}

// finish makes rows of what was counted.
func (c *count) finish(o *Operations) {
	c.settle()
	var total, others sums
	names := make([]string, 0, len(c.services))
	for name := range c.services {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare)
	for i, name := range names {
		s := c.services[name]
		total.add(s)
		if i >= MaxServices {
			others.add(s)
			continue
		}
		o.Services = append(o.Services, ServiceOperations{Service: name, OperationsOfOne: s.measure()})
	}
	if len(names) > MaxServices {
		o.Services = append(o.Services, ServiceOperations{Others: true, OperationsOfOne: others.measure()})
	}
	o.Total = total.measure()
}

// known reports whether a share or a mean of a window was measured.
func known(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) && x >= 0 }
