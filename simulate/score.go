package simulate

import (
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
)

// Run is what one controller made of one seed. Shares are of legitimate requests,
// times in seconds.
type Run struct {
	Seed            uint64   `json:"seed"`
	Requests        int      `json:"requests"`
	BadShare        float64  `json:"bad_share"`     // failed, slow or dropped
	HarmShare       float64  `json:"harm_share"`    // weighted
	DroppedShare    float64  `json:"dropped_share"` // of them, by the door or for want of room
	CriticalDropped int      `json:"critical_dropped"`
	Harm            float64  `json:"harm"` // weighted requests
	Cost            float64  `json:"cost"`
	Spend           float64  `json:"spend"` // greatest of one day
	Loss            float64  `json:"loss"`  // harm, cost and moves in money
	Moves           int      `json:"moves"`
	Failed          int      `json:"failed"`             // moves that the executor did not make
	Toggles         int      `json:"toggles"`            // most changes of direction of one lever in an hour
	Waiting         int      `json:"waiting"`            // most requests that waited at a time
	Detected        *float64 `json:"detected,omitempty"` // from the first fault to the first move; absent: never
	Restored        *float64 `json:"restored,omitempty"` // from the first fault until few requests were bad for three minutes
	// During counts moves while a kind of fault was on.
	During map[simtest.FaultKind]int `json:"during,omitempty"`

	ends map[string]float64 // where levers stood at last
}

// settled is for how long few requests must be bad to count as restored.
const settled = 3 * time.Minute

// score counts what a run comes to.
type score struct {
	run     Run
	start   time.Time // of what is scored
	fault   time.Time // the first; zero without one
	limit   float64   // share of bad requests that is few
	weight  float64   // of all legitimate requests
	bad     int
	dropped int
	calm    time.Time // since when few are bad
	turns   map[string][]time.Time
	way     map[string]float64 // direction of a lever's last move
	day     int
	spend   float64
	over    float64 // spent above the cap of a day
	cap     float64
}

func newScore(seed uint64, start, fault time.Time, target, most float64) *score {
	return &score{
		run: Run{Seed: seed, During: map[simtest.FaultKind]int{}, ends: map[string]float64{}}, start: start, fault: fault,
		limit: max(0.01, 10*(1-target)), cap: most, turns: map[string][]time.Time{}, way: map[string]float64{},
	}
}

// see counts a tick.
func (s *score) see(r simtest.Report) {
	if !r.Now.After(s.start) {
		return
	}
	cost, waiting, arrived, bad := 0.0, 0, 0, 0
	for _, t := range r.Truth {
		cost += t.Cost
		for _, f := range t.Flows {
			waiting += f.Waiting
			if f.Hostile {
				continue
			}
			arrived += f.Arrived
			bad += f.Bad + f.Dropped
			s.dropped += f.Dropped
			s.weight += f.Weight * float64(f.Arrived)
			s.run.Harm += f.Harm()
			if f.Critical {
				s.run.CriticalDropped += f.Dropped
			}
		}
	}
	s.run.Requests += arrived
	s.bad += bad
	s.run.Cost += cost
	s.run.Waiting = max(s.run.Waiting, waiting)
	if day := int(r.Now.Add(-1).Unix() / 86400); day != s.day {
		s.day, s.spend = day, 0
	}
	s.spend += cost
	if s.cap > 0 {
		s.over += min(cost, max(0, s.spend-s.cap))
	}
	s.run.Spend = max(s.run.Spend, s.spend)
	share := float64(bad) / float64(max(1, arrived))
	if !s.fault.IsZero() && r.Now.After(s.fault) && s.run.Restored == nil {
		switch {
		case share > s.limit:
			s.calm = r.Now
		case s.calm.IsZero():
			s.calm = s.fault
		}
		if r.Now.Sub(s.calm) >= settled {
			s.run.Restored = new(s.calm.Sub(s.fault).Seconds())
		}
	}
}

// moved counts a move that was made.
func (s *score) moved(a assay.Action, from, to float64, now time.Time, active []simtest.Fault) {
	if from == to || now.Before(s.start) {
		return
	}
	s.run.Moves++
	if !s.fault.IsZero() && s.run.Detected == nil && !now.Before(s.fault) {
		s.run.Detected = new(now.Sub(s.fault).Seconds())
	}
	kinds := map[simtest.FaultKind]bool{}
	for _, f := range active {
		if !kinds[f.Kind] {
			kinds[f.Kind] = true
			s.run.During[f.Kind]++
		}
	}
	target := a.Service + " " + a.Target() + " " + a.Version
	way := 1.0
	if to < from {
		way = -1
	}
	if before := s.way[target]; before != 0 && before != way {
		list := append(s.turns[target], now)
		list = slices.DeleteFunc(list, func(t time.Time) bool { return now.Sub(t) >= time.Hour })
		s.turns[target] = list
		s.run.Toggles = max(s.run.Toggles, len(list))
	}
	s.way[target] = way
}

// finish returns the run.
func (s *score) finish(loss Loss) Run {
	r := s.run
	n := float64(max(1, r.Requests))
	r.BadShare, r.DroppedShare = float64(s.bad)/n, float64(s.dropped)/n
	if s.weight > 0 {
		r.HarmShare = r.Harm / s.weight
	}
	r.Loss = loss.Bad*r.Harm + r.Cost + loss.Move*float64(r.Moves) + loss.Over*s.over
	return r
}
