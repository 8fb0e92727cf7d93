package simulate

import (
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
)

// sight is what a controller sees when it looks.
type sight struct {
	now      time.Time
	start    time.Time      // of the world
	world    *simtest.World // for where levers stand; nothing else of it is seen
	past     *past
	readings []assay.Reading // that came since the last tick
	second   *sight          // the same as a second source tells it; nil if there is none
	spare    bool            // it is that
}

// hand watches and wants moves. look is called at the times of its controller; see in
// every tick, so that nothing that came is missed.
type hand interface {
	see(sight) error
	look(sight) ([]wish, error)
	// done says what became of an action: where the lever stood afterwards, or why it did not move.
	done(a assay.Action, stands float64, err error, now time.Time) error
}

// wish is a move that a controller wants, and why in a sentence.
type wish struct {
	assay.Action
	words string
}

// keep is how long views are remembered, as many as any controller looks back at.
const keep = time.Hour

// past is what telemetry showed.
type past struct {
	views   map[place][]simtest.View // by their end
	burn    map[string]*tape         // of whole services
	disks   map[string]simtest.Disk
	probe   map[place]float64         // share of failed probes, measured from outside
	strains map[string]simtest.Strain // by region
	room    int                       // views of a place that are kept at most
}

type place struct{ service, region string }

// newPast has room for what comes in a time, as far as it is remembered.
func newPast(tick, length time.Duration) *past {
	room := max(64, int(min(length, 2*keep)/tick)) + 2
	return &past{room: room, views: map[place][]simtest.View{}, burn: map[string]*tape{}, disks: map[string]simtest.Disk{}, probe: map[place]float64{}, strains: map[string]simtest.Strain{}}
}

// add takes what came in one tick.
func (p *past) add(r simtest.Report) {
	for i := range r.Views {
		v := &r.Views[i]
		at := place{v.Service, v.Region}
		list, known := p.views[at]
		if !known {
			list = make([]simtest.View, 0, p.room)
		}
		list = append(list, *v)
		if len(list) > 1 && v.End.Before(list[len(list)-2].End) { // it was on its way for longer
			slices.SortStableFunc(list, func(a, b simtest.View) int { return a.End.Compare(b.End) })
		}
		if len(list) >= p.room && r.Now.Sub(list[0].End) > 2*keep {
			left := copy(list, list[len(list)/2:]) // where they are: nobody keeps a view of them
			clear(list[left:])
			list = list[:left]
		}
		p.views[at] = list
		if v.Region == "" {
			t := p.burn[v.Service]
			if t == nil {
				t = &tape{}
				p.burn[v.Service] = t
			}
			t.add(v.End, float64(v.Errors+v.Dropped), float64(v.Answered+v.Dropped))
		}
	}
	for _, d := range r.Disks {
		p.disks[d.Name] = d
	}
	for _, s := range r.Strains {
		p.strains[s.Region] = s
	}
	p.probes(r)
}

// probes measures every region from outside: what a probe would have got.
func (p *past) probes(r simtest.Report) {
	for _, t := range r.Truth {
		bad, all := 0, 0
		for _, f := range t.Flows {
			if !f.Hostile {
				bad += f.Bad
				all += f.Bad + f.Good
			}
		}
		if all > 0 {
			p.probe[place{t.Service, t.Region}] = float64(bad) / float64(all)
		}
	}
}

// since are the views that ended after a time, mostly the last few. A view is large: none
// is copied.
func since(list []simtest.View, from time.Time) []simtest.View {
	i := len(list)
	for i > 0 && list[i-1].End.After(from) {
		i--
	}
	return list[i:]
}

// last is the newest view of a place, nil if there is none.
func (p *past) last(at place) *simtest.View {
	if list := p.views[at]; len(list) > 0 {
		return &list[len(list)-1]
	}
	return nil
}

// tape sums counts over windows.
type tape struct {
	ends       []time.Time
	bad, total []float64 // running
}

func (t *tape) add(end time.Time, bad, total float64) {
	if n := len(t.ends); n > 0 {
		bad, total = bad+t.bad[n-1], total+t.total[n-1]
	}
	t.ends, t.bad, t.total = append(t.ends, end), append(t.bad, bad), append(t.total, total)
}

func (t *tape) count(now time.Time, window time.Duration) (bad, total float64) {
	n := len(t.ends)
	if n == 0 {
		return 0, 0
	}
	i, _ := slices.BinarySearchFunc(t.ends, now.Add(-window), func(a, b time.Time) int {
		if a.After(b) {
			return 1
		}
		return -1
	})
	bad, total = t.bad[n-1], t.total[n-1]
	if i > 0 {
		bad, total = bad-t.bad[i-1], total-t.total[i-1]
	}
	return bad, total
}

// script moves levers at known times.
type script struct {
	steps []Step
	start time.Time
	next  int
}

func newScript(steps []Step, start time.Time) *script {
	steps = slices.Clone(steps)
	slices.SortStableFunc(steps, func(a, b Step) int { return int(a.At - b.At) })
	return &script{steps: steps, start: start}
}

func (s *script) see(sight) error { return nil }

func (s *script) look(now sight) (out []wish, err error) {
	for s.next < len(s.steps) && !now.now.Before(s.start.Add(s.steps[s.next].At.D())) {
		out = append(out, wish{s.steps[s.next].action(), "as the scenario says"})
		s.next++
	}
	return out, nil
}

func (s *script) done(assay.Action, float64, error, time.Time) error { return nil }

func (s Step) action() assay.Action {
	a := assay.Action{Kind: assay.ActionAdjust, Service: s.Service, Lever: s.Lever, Scope: s.Scope, Want: s.Want}
	if s.Lever == assay.LeverShare {
		a.Version, a.Scope, a.Weight = s.Scope, "", int(s.Want)
	}
	return a
}

// deploys are the scenario's releases as moves.
func (s *Scenario) deploys() (out []Step) {
	for _, d := range s.Spec.Deploys {
		out = append(out, Step{At: d.At, Service: d.Service, Lever: assay.LeverShare, Scope: d.Version, Want: d.Share})
	}
	return out
}

// carryOut makes the moves that are due, past the executor: they are not a
// controller's.
func (s *script) carryOut(w *simtest.World) error {
	wishes, err := s.look(sight{now: w.Now()})
	for _, wish := range wishes {
		if _, err := w.Release(wish.Action); err != nil {
			return err
		}
	}
	return err
}
