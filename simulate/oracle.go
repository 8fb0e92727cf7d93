package simulate

import (
	"context"
	"maps"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
)

// Oracle knows the traffic and the faults beforehand: their kinds, their beginnings and
// ends, and the levers that are right. For each seed it searches the amounts and times
// that lose least, lever after lever, back and forth, then in finer steps. What any
// controller of the scenario did with the same seed counts as found as well, so that
// nobody loses less than the oracle: its loss is the least that is known.
type Oracle struct {
	// Levers that it may move; those that its world has a use for if left out.
	Levers []assay.Lever `json:"levers,omitempty"`
}

// choice is one schedule: for each dial a grade, 0 is not to turn it.
type choice map[string]float64

// dial is one number of a schedule.
type dial struct {
	name  string // of its lever; lead and linger are those of all
	tried []float64
	fine  bool // values between those that are tried are worth trying
}

// Dials of the times: how long before a fault levers move, and for how long after it they
// stay, in ticks.
const (
	leadDial   = "lead"
	lingerDial = "linger"
)

// dials in the order in which they are tried.
var dials = []dial{
	{string(assay.LeverShare), []float64{1}, false},
	{string(assay.LeverQuarantine), []float64{1}, false},
	{string(assay.LeverQuota), []float64{0.5, 1, 1.5, 2, 3, 4}, true},            // times the usual rate of the tenant
	{string(assay.LeverRegion), []float64{0.1, 5, 10, 20}, true},                 // percent that the region keeps
	{string(assay.LeverReplicas), []float64{1.02, 1.1, 1.25, 1.5, 2, 3}, true},   // times what the coming load needs
	{string(assay.LeverClass), []float64{0.5, 0.7, 0.85, 0.95, 1.05, 1.2}, true}, // times what the service manages, by importance
	{string(assay.LeverConcurrency), []float64{0.5, 0.8, 1.05, 1.5, 3}, true},    // times the workers
	{string(assay.LeverRateLimit), []float64{0.5, 0.7, 0.8, 0.9, 1, 1.08}, true}, // times what the service manages
	{string(assay.LeverCostClass), []float64{1}, false},
	{string(assay.LeverSpend), []float64{0.9, 1, 1.1}, true}, // times the cap
	{leadDial, []float64{1, 2, 3, 6}, false},
	{lingerDial, []float64{1, 3, 6, 12, 30}, false},
}

// finer are the factors that are tried around the best value of a dial.
var finer = []float64{0.8, 0.9, 0.95, 1.05, 1.1, 1.25}

// rounds bounds how often all dials are gone through: in practice the second round is
// the last that finds anything.
const rounds = 4

// oracle finds the schedule with the least loss for a seed.
func (p *Prepared) oracle(ctx context.Context, seed uint64) (Run, error) {
	best, rates, err := p.foresee(ctx, seed)
	if err != nil {
		return Run{}, err
	}
	h := hindsight{p: p, ctx: ctx, seed: seed, rates: rates, best: best, choice: choice{}}
	for round := range rounds {
		before := h.best.Loss
		order := slices.Clone(dials)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, d := range order {
			if err := h.turn(d, round > 0); err != nil {
				return Run{}, err
			}
		}
		if h.best.Loss >= before && round > 0 {
			break
		}
	}
	return h.best, nil
}

// hindsight is a search for the best schedule of one seed.
type hindsight struct {
	p      *Prepared
	ctx    context.Context
	seed   uint64
	rates  map[string][]float64
	best   Run
	choice choice // of best
}

// turn tries the values of one dial beside the best of the others.
func (h *hindsight) turn(d dial, fine bool) error {
	if l := h.p.scenario.Spec.Oracle.Levers; len(l) > 0 && !slices.Contains(l, assay.Lever(d.name)) && d.name != leadDial && d.name != lingerDial {
		return nil
	}
	if (d.name == leadDial || d.name == lingerDial) && (len(h.choice) == 0 || len(h.p.scenario.Spec.World.Faults) == 0) {
		return nil
	}
	values := append([]float64{0}, d.tried...)
	if now := h.choice[d.name]; fine && d.fine && now > 0 {
		values = values[:1]
		for _, f := range finer {
			values = append(values, now*f)
		}
	}
	for _, v := range values {
		if v == h.choice[d.name] {
			continue
		}
		try := maps.Clone(h.choice)
		if try[d.name] = v; v == 0 {
			delete(try, d.name)
		}
		r, err := h.p.replay(h.ctx, h.seed, try, h.rates)
		if err != nil {
			return err
		}
		if r.Loss < h.best.Loss {
			h.best, h.choice = r, try
		}
	}
	return nil
}

// foresee runs the world untouched and remembers what arrives.
func (p *Prepared) foresee(ctx context.Context, seed uint64) (Run, map[string][]float64, error) {
	w, err := simtest.New(p.scenario.world(seed))
	if err != nil {
		return Run{}, nil, err
	}
	m := &memory{rates: map[string][]float64{}}
	r, err := p.turn(ctx, w, []hand{m}, 0, seed, nil)
	return r, m.rates, err
}

// memory keeps the rates of a run, a value for each tick.
type memory struct{ rates map[string][]float64 }

func (m *memory) see(s sight) error {
	for at, rate := range s.world.Foresight() {
		m.rates[at] = append(m.rates[at], rate)
	}
	return nil
}
func (m *memory) look(sight) ([]wish, error)                         { return nil, nil }
func (m *memory) done(assay.Action, float64, error, time.Time) error { return nil }

// replay plays a schedule.
func (p *Prepared) replay(ctx context.Context, seed uint64, c choice, rates map[string][]float64) (Run, error) {
	w, err := simtest.New(p.scenario.world(seed))
	if err != nil {
		return Run{}, err
	}
	k := &knowing{choice: c, rates: rates, config: p.scenario.Spec.World, cap: p.scenario.Spec.Loss.Cap, rest: map[string]assay.Action{}}
	return p.turn(ctx, w, []hand{k}, 0, seed, nil)
}
