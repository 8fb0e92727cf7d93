package simulate

import (
	"context"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
)

// rehearsal is how long before the end of the warm-up controllers begin to move
// levers. Until then they only watch.
const rehearsal = time.Hour

// Prepared is a scenario with the files that it names. Load makes one.
type Prepared struct {
	scenario *Scenario
	files    files
}

// Scenario is what was read.
func (p *Prepared) Scenario() *Scenario { return p.scenario }

// hands are what a controller works with.
func (p *Prepared) hands(c *Controller, w *simtest.World) ([]hand, error) {
	start := w.Now()
	var out []hand
	team := &team{}
	for _, file := range c.Strategies {
		for _, st := range p.files.strategies[file] {
			out = append(out, newStanding(st, p.scenario, c, team))
		}
	}
	for _, use := range c.Rollouts {
		r, err := newRoll(p.files.rollouts[use.File][0], use, start)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	for _, h := range c.HPA {
		out = append(out, newHPA(h))
	}
	for _, g := range c.Gradient {
		out = append(out, newGradient(g))
	}
	for _, b := range c.Burn {
		out = append(out, &burn{use: b})
	}
	for _, f := range c.Failover {
		out = append(out, newFailover(f, p.scenario.Spec.World.Regions))
	}
	if len(c.Steps) > 0 {
		out = append(out, newScript(c.Steps, start))
	}
	return out, nil
}

// play runs one controller on one seed.
func (p *Prepared) play(ctx context.Context, c *Controller, seed uint64, film *film) (Run, error) {
	w, err := simtest.New(p.scenario.world(seed))
	if err != nil {
		return Run{}, err
	}
	hands, err := p.hands(c, w)
	if err != nil {
		return Run{}, err
	}
	return p.turn(ctx, w, hands, c.Every.D(), seed, film)
}

// Alone plays the controller under test alone, with the seeds from 1 on, and returns how
// many service-hours of virtual time that were: what the speed of worlds is measured by.
func (p *Prepared) Alone(ctx context.Context, seeds int) (hours float64, err error) {
	spec := p.scenario.Spec
	err = parallel(ctx, seeds, func(ctx context.Context, job int) error {
		_, err := p.play(ctx, &p.scenario.Spec.Controller, uint64(1+job), nil)
		return err
	})
	return (spec.Duration.D() + spec.WarmUp.D()).Hours() * float64(len(spec.World.Services)*seeds), err
}

// turn moves a world to its end.
func (p *Prepared) turn(ctx context.Context, w *simtest.World, hands []hand, every time.Duration, seed uint64, film *film) (Run, error) {
	spec := p.scenario.Spec
	start := w.Now().Add(spec.WarmUp.D())
	end := start.Add(spec.Duration.D())
	if film != nil {
		film.start = start
	}
	s := newScore(seed, start, p.firstFault(w), spec.Objective.Target, spec.Loss.Cap)
	past, second := newPast(w.Tick(), spec.WarmUp.D()+spec.Duration.D()), newPast(w.Tick(), spec.WarmUp.D()+spec.Duration.D())
	next, began := w.Now(), w.Now()
	deploys := newScript(p.scenario.deploys(), w.Now())
	for n := 0; w.Now().Before(end); n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return Run{}, assay.Errorf(assay.CodeUnavailable, "the simulation was given up: %w", ctx.Err())
		}
		if err := deploys.carryOut(w); err != nil {
			return Run{}, err
		}
		report := w.Step()
		past.add(report)
		s.see(report)
		film.see(w, report, start)
		now := sight{now: report.Now, start: began, world: w, past: past, readings: report.Readings}
		if report.Second != nil {
			other := report
			other.Views, other.Readings = report.Second.Views, report.Second.Readings
			second.add(other)
			now.second = &sight{now: report.Now, start: began, world: w, past: second, readings: other.Readings, spare: true}
		}
		for _, h := range hands {
			if err := h.see(now); err != nil {
				return Run{}, err
			}
		}
		if report.Now.Before(next) || report.Now.Before(start.Add(-rehearsal)) {
			continue
		}
		next = report.Now.Add(every)
		for _, h := range hands {
			if err := p.move(w, h, now, s, film); err != nil {
				return Run{}, err
			}
		}
	}
	for _, e := range spec.Expect.Ends {
		if v, ok := w.Standing(e.Service, e.Lever, e.Scope); ok {
			s.run.ends[e.Service+" "+assay.Action{Lever: e.Lever, Scope: e.Scope}.Target()] = v
		}
	}
	return s.finish(spec.Loss), nil
}

// firstFault is when the first fault begins, zero if there is none but of telemetry.
func (p *Prepared) firstFault(w *simtest.World) (first time.Time) {
	for i, f := range p.scenario.Spec.World.Faults {
		if f.Kind == simtest.TelemetryLag || f.Kind == simtest.TelemetryLoss || f.Kind == simtest.ClockSkew {
			continue // nothing that a move could take away
		}
		if at := w.Began(i); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// move lets one hand look and makes its moves.
func (p *Prepared) move(w *simtest.World, h hand, now sight, s *score, film *film) error {
	wishes, err := h.look(now)
	if err != nil {
		return err
	}
	for _, wish := range wishes {
		a := wish.Action
		scope := a.Scope
		if a.Lever == "" || a.Lever == assay.LeverShare {
			scope = a.Version
		}
		from, _ := w.Standing(a.Service, a.Lever, scope)
		stands, err := w.Apply(a)
		if err != nil {
			s.run.Failed++
		} else {
			s.moved(a, from, stands, now.now, w.Active())
			film.moved(wish, from, stands, now.now)
		}
		if err := h.done(a, stands, err, now.now); err != nil {
			return err
		}
	}
	return nil
}

// film keeps what a picture shows: one run's first service. A nil film keeps nothing.
type film struct {
	service string
	lever   assay.Lever // that is shown
	scope   string
	pinned  bool // something else than replicas moved first
	load    []float64
	bad     []float64
	stands  []float64
	still   float64 // where the lever stood before stands
	moves   []Move
	start   time.Time
}

func newFilm(s *Scenario) *film {
	f := &film{service: s.Spec.World.Services[0].Name, lever: assay.LeverReplicas}
	c := s.Spec.Controller
	for _, step := range c.Steps {
		f.pin(assay.Action{Service: step.Service, Lever: step.Lever, Scope: step.Scope})
	}
	return f
}

// pin chooses the lever of the first move as the one that is shown.
func (f *film) pin(a assay.Action) {
	if f.pinned || a.Service != f.service {
		return
	}
	f.lever, f.scope, f.pinned = a.Lever, a.Scope, true
	if a.Lever == "" || a.Lever == assay.LeverShare {
		f.lever, f.scope = assay.LeverShare, or(a.Version, a.Scope)
	}
}

func (f *film) moved(a wish, from, to float64, now time.Time) {
	if f == nil || from == to {
		return
	}
	if len(f.moves) < MaxMoves {
		f.moves = append(f.moves, Move{At: now.Sub(f.start).Seconds(), Kind: a.Kind, Service: a.Service, Target: or(a.Target(), "share/"+a.Version), From: from, To: to, Words: a.words})
	}
	if f.pinned {
		return
	}
	before := f.lever
	f.pin(a.Action)
	if f.pinned && f.lever != before {
		f.still, f.stands = from, nil
	}
}

func (f *film) see(w *simtest.World, r simtest.Report, start time.Time) {
	if f == nil || !r.Now.After(start) {
		return
	}
	arrived, bad := 0, 0
	for _, t := range r.Truth {
		if t.Service != f.service {
			continue
		}
		for _, flow := range t.Flows {
			arrived += flow.Arrived
			if !flow.Hostile {
				bad += flow.Bad + flow.Dropped
			}
		}
	}
	f.load = append(f.load, float64(arrived)/w.Tick().Seconds())
	f.bad = append(f.bad, min(1, float64(bad)/float64(max(1, arrived))))
	v, _ := w.Standing(f.service, f.lever, f.scope)
	f.stands = append(f.stands, v)
}

// Picture is one run of the controller under test in a few points.
type Picture struct {
	Service string      `json:"service"`
	Lever   assay.Lever `json:"lever"`
	Scope   string      `json:"scope,omitempty"`
	Step    float64     `json:"step_seconds"` // of one point
	Load    []float64   `json:"load"`         // requests a second that came
	Stands  []float64   `json:"stands"`       // where the lever stood
	Bad     []float64   `json:"bad_share"`
	Moves   []Move      `json:"moves"` // the first of them
}

// MaxMoves is how many moves a picture keeps.
const MaxMoves = 200

// Move is a move of the controller under test.
type Move struct {
	At      float64          `json:"at"` // seconds after the warm-up
	Kind    assay.ActionKind `json:"kind"`
	Service string           `json:"service"`
	Target  string           `json:"target"`
	From    float64          `json:"from"`
	To      float64          `json:"to"`
	Words   string           `json:"words"`
}

// picturePoints is how many points a picture has at most.
const picturePoints = 144

func (f *film) develop(tick time.Duration) Picture {
	p := Picture{Service: f.service, Lever: f.lever, Scope: f.scope, Load: f.load, Bad: f.bad, Moves: f.moves}
	// The lever that is shown became known when it first moved: until then it stood still.
	p.Stands = append(slices.Repeat([]float64{f.still}, len(f.load)-len(f.stands)), f.stands...)
	every := (len(f.load) + picturePoints - 1) / picturePoints
	p.Step = tick.Seconds() * float64(max(1, every))
	if every > 1 {
		p.Load, p.Stands, p.Bad = thin(p.Load, every), thin(p.Stands, every), thin(p.Bad, every)
	}
	return p
}

// thin is the mean of every so many values.
func thin(values []float64, every int) (out []float64) {
	for chunk := range slices.Chunk(values, every) {
		sum := 0.0
		for _, v := range chunk {
			sum += v
		}
		out = append(out, sum/float64(len(chunk)))
	}
	return out
}
