package simulate

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/peer"
)

// HPA scales a service like the HorizontalPodAutoscaler of Kubernetes.
type HPA struct {
	// Service is scaled, in all regions together.
	Service string `json:"service"`
	// Target is the utilisation of its workers, 0 to 1, that it aims at; 0.7 if left out.
	Target float64 `json:"target,omitempty"`
	// Min is the least number of replicas; 1 if left out.
	Min int `json:"min,omitempty"`
	// Max is the greatest number of replicas.
	Max int `json:"max"`
	// Down is the stabilisation window for scaling in; 5m if left out.
	Down *simtest.Duration `json:"down,omitempty"`
	// Tolerance is the relative difference that is ignored; 0.1 if left out.
	Tolerance *float64 `json:"tolerance,omitempty"`
}

// hpa runs an HPA. It looks at the newest metric whatever its age, as the original does
// as long as its metrics server answers.
type hpa struct {
	rule  peer.HPA
	use   HPA
	state peer.HPAState
	next  time.Time
}

func newHPA(use HPA) *hpa {
	rule := peer.NewHPA(or(use.Min, 1), use.Max, or(use.Target, 0.7))
	if use.Down != nil {
		rule.Down = use.Down.D()
	}
	if use.Tolerance != nil {
		rule.Tolerance = *use.Tolerance
	}
	return &hpa{rule: rule, use: use}
}

func (h *hpa) see(sight) error { return nil }

func (h *hpa) look(s sight) ([]wish, error) {
	if s.now.Before(h.next) {
		return nil, nil
	}
	h.next = s.now.Add(h.rule.Sync)
	metric := math.NaN()
	current, _ := s.world.Standing(h.use.Service, assay.LeverReplicas, "")
	if v := s.past.last(place{h.use.Service, ""}); v != nil && v.Ready > 0 {
		metric = h.rule.Metric(v.Utilisation, v.Ready, int(current))
	}
	var want int
	want, h.state = h.rule.Next(h.state, int(current), metric, s.now)
	if want == int(current) {
		return nil, nil
	}
	a := assay.Action{Kind: assay.ActionAdjust, Service: h.use.Service, Lever: assay.LeverReplicas, Now: current, Want: float64(want)}
	return []wish{{a, fmt.Sprintf("utilisation %.2f for a target of %.2f", metric, h.rule.Target)}}, nil
}

func (h *hpa) done(assay.Action, float64, error, time.Time) error { return nil }

// Gradient limits a service's concurrency like Netflix' Gradient2.
type Gradient struct {
	// Service is limited.
	Service string `json:"service"`
	// Min is the least limit; 20 if left out.
	Min float64 `json:"min,omitempty"`
	// Max is the greatest limit; 200 if left out.
	Max float64 `json:"max,omitempty"`
}

type gradient struct {
	rule  peer.Gradient2
	use   Gradient
	state peer.Gradient2State
	seen  time.Time
}

func newGradient(use Gradient) *gradient {
	rule := peer.NewGradient2()
	rule.Min, rule.Max = or(use.Min, rule.Min), or(use.Max, rule.Max)
	rule.Initial = max(rule.Initial, rule.Min)
	return &gradient{rule: rule, use: use}
}

func (g *gradient) see(sight) error { return nil }

func (g *gradient) look(s sight) ([]wish, error) {
	v := s.past.last(place{g.use.Service, ""})
	if v == nil || !v.End.After(g.seen) || v.P50 <= 0 {
		return nil, nil
	}
	g.seen = v.End
	before := g.state.Limit
	g.state = g.rule.Next(g.state, v.P50, int(v.InFlight))
	want := math.Floor(g.state.Limit)
	if want == math.Floor(before) {
		return nil, nil
	}
	a := assay.Action{Kind: assay.ActionAdjust, Service: g.use.Service, Lever: assay.LeverConcurrency, Now: math.Floor(before), Want: want}
	return []wish{{a, fmt.Sprintf("median latency %.3f s", v.P50)}}, nil
}

func (g *gradient) done(assay.Action, float64, error, time.Time) error { return nil }

// Burn takes the traffic from a version when a static burn-rate rule pages.
type Burn struct {
	// Service is watched as a whole.
	Service string `json:"service"`
	// Version loses its traffic.
	Version string `json:"version"`
	// Objective is the share of requests that must be good; 0.999 if left out.
	Objective float64 `json:"objective,omitempty"`
}

type burn struct {
	use   Burn
	fired bool
}

func (b *burn) see(sight) error { return nil }

func (b *burn) look(s sight) ([]wish, error) {
	t := s.past.burn[b.use.Service]
	if b.fired || t == nil {
		return nil, nil
	}
	count := func(window time.Duration) (bad, total float64) { return t.count(s.now, window) }
	for _, r := range peer.BurnRules() {
		if r.Severity == "page" && r.Fires(or(b.use.Objective, 0.999), count) {
			now, _ := s.world.Standing(b.use.Service, assay.LeverShare, b.use.Version)
			a := assay.Action{Kind: assay.ActionAbort, Service: b.use.Service, Version: b.use.Version, From: int(now)}
			return []wish{{a, fmt.Sprintf("the budget burns %.1f times too fast over %s and %s", r.Factor, r.Long, r.Short)}}, nil
		}
	}
	return nil, nil
}

func (b *burn) done(_ assay.Action, _ float64, err error, _ time.Time) error {
	b.fired = b.fired || err == nil
	return nil
}

// Failover takes traffic from regions that fail health checks, like DNS services do.
type Failover struct {
	// Service is served in all regions.
	Service string `json:"service"`
	// Bad is the share of failed probes above which a check fails; 0.5 if left out.
	Bad float64 `json:"bad,omitempty"`
	// Interval is the time between two checks; 30s if left out.
	Interval simtest.Duration `json:"interval,omitempty"`
	// Threshold is how many checks in a row count; 3 if left out.
	Threshold int `json:"threshold,omitempty"`
}

// failoverKeeps is the percent of the traffic that a region which is out gets by caches
// of names that are too old.
const failoverKeeps = 1

type failover struct {
	rule    peer.Failover
	use     Failover
	regions []simtest.Region
	states  map[string]peer.FailoverState
	next    time.Time
}

func newFailover(use Failover, regions []simtest.Region) *failover {
	rule := peer.NewFailover()
	rule.Bad, rule.Threshold = or(use.Bad, rule.Bad), or(use.Threshold, rule.Threshold)
	return &failover{rule: rule, use: use, regions: regions, states: map[string]peer.FailoverState{}}
}

func (f *failover) see(sight) error { return nil }

func (f *failover) look(s sight) (out []wish, err error) {
	if s.now.Before(f.next) {
		return nil, nil
	}
	f.next = s.now.Add(or(f.use.Interval, simtest.Duration(30*time.Second)).D())
	for _, r := range f.regions {
		share, ok := s.past.probe[place{f.use.Service, r.Name}]
		if !ok {
			continue
		}
		before := f.states[r.Name]
		f.states[r.Name] = f.rule.Next(before, share)
		if f.states[r.Name].Out == before.Out {
			continue
		}
		a := assay.Action{Kind: assay.ActionRestore, Service: f.use.Service, Lever: assay.LeverRegion, Scope: r.Name, Want: r.Share}
		if !before.Out {
			a.Kind, a.Want = assay.ActionAdjust, failoverKeeps
		}
		out = append(out, wish{a, fmt.Sprintf("%.0f %% of the probes of %s fail", 100*share, r.Name)})
	}
	return out, nil
}

func (f *failover) done(assay.Action, float64, error, time.Time) error { return nil }
