package policy

import "assay.dev/assay"

// setDefault fills in what was left out.
func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func (s *Strategy) defaults() {
	setDefault(&s.Metadata.Namespace, DefaultNamespace)
	p := &s.Spec
	setDefault(&p.Level, LevelPropose)
	setDefault(&p.Precedence, 50)
	setDefault(&p.MaxAge, "30s")
	setDefault(&p.MinCompleteness, 0.9)
	setDefault(&p.ApprovalTimeout, "15m")
	setDefault(&p.OnTimeout, OnTimeoutDrop)
	p.capacityDefaults()
	p.trafficDefaults()
	if l := p.Contain; l != nil {
		setDefault(&l.Above, 0.9)
		setDefault(&l.For, "30s")
		setDefault(&l.Below, 0.3)
		setDefault(&l.Clear, "2m")
		setDefault(&l.MaxSources, 5)
		setDefault(&l.MaxShare, 0.05)
	}
	if l := p.Rollback; l != nil {
		setDefault(&l.Margin, 2)
		setDefault(&l.MinBad, 10)
		setDefault(&l.Within, "1h")
	}
	if l := p.Data; l != nil {
		setDefault(&l.DiskTarget, 0.75)
		setDefault(&l.Horizon, "7d")
		setDefault(&l.MinReplicas, 1)
		setDefault(&l.MaxReplicas, l.MinReplicas)
	}
	if l := p.Cost; l != nil {
		setDefault(&l.Zone, "UTC")
	}
}

// What an unanswered proposal becomes.
const (
	OnTimeoutDrop = "drop"
	OnTimeoutAct  = "act"
)

func (p *StrategySpec) capacityDefaults() {
	if l := p.Scale; l != nil {
		setDefault(&l.Lead, "2m")
		setDefault(&l.Target, 0.8)
		setDefault(&l.Min, 1)
		if f := l.Forecast; f != nil {
			setDefault(&f.Step, "1m")
			setDefault(&f.Past, "14d")
			setDefault(&f.Zone, "UTC")
		}
	}
	if l := p.Stabilise; l != nil {
		setDefault(&l.Min, 1)
	}
	if l := p.Isolate; l != nil {
		setDefault(&l.MaxSaturation, 0.9)
		setDefault(&l.Factor, 1.5)
		for i := range l.Tenants {
			setDefault(&l.Tenants[i].Weight, 1)
		}
	}
}

func (p *StrategySpec) trafficDefaults() {
	if l := p.Throttle; l != nil {
		setDefault(&l.Lever, assay.LeverConcurrency)
		setDefault(&l.MinSamples, 50)
		setDefault(&l.QueueInterval, "30s")
	}
	if l := p.Divert; l != nil {
		setDefault(&l.MaxBad, 0.05)
		setDefault(&l.MaxProbe, 0.2)
		if l.Steps == nil {
			l.Steps = []int{5, 15, 35, 60, 100}
		}
		setDefault(&l.Probe, 10)
		setDefault(&l.Verify, "1m")
		setDefault(&l.Healthy, "10m")
		if d := l.Drain; d != nil {
			setDefault(&d.Before, "10m")
			setDefault(&d.Sure, "1m")
			setDefault(&d.Return, 0.5)
		}
	}
}
