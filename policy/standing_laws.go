package policy

import (
	"time"

	"assay.dev/assay"
)

// ScaleLaw keeps as many replicas as the load will need. Signals: load (requests
// per second).
type ScaleLaw struct {
	// PerReplica is how many requests per second one replica serves within the objective.
	PerReplica float64 `json:"perReplica"`
	// Lead is the time from asking for a replica to its serving: start-up p95, scrape and decision interval; 2m if left out.
	Lead Duration `json:"lead,omitempty"`
	// CostReplica is what one replica costs for an hour.
	CostReplica float64 `json:"costReplica,omitempty"`
	// CostViolation is what it costs not to serve one request per second for an hour, in the same currency.
	CostViolation float64 `json:"costViolation,omitempty"`
	// Target is the share of its capacity at which a replica should run when no forecast can be trusted; 0.8 if left out.
	Target float64 `json:"target,omitempty"`
	// Min is the least number of replicas; 1 if left out.
	Min int `json:"min,omitempty"`
	// Max is the greatest number of replicas.
	Max int `json:"max"`
	// Forecast says how the load is forecast; left out, the law is reactive.
	Forecast *ForecastSpec `json:"forecast,omitempty"`
	// Events are known causes of load: capacity is there before they begin.
	Events []ScaleEvent `json:"events,omitempty"`
}

// ForecastSpec says how a signal is forecast.
type ForecastSpec struct {
	// Step is the time between two points; 1m if left out.
	Step Duration `json:"step,omitempty"`
	// Past is how much of the past is learned from; 14d if left out.
	Past Duration `json:"past,omitempty"`
	// Zone is the IANA time zone whose clocks make the load, for example Europe/Vienna; UTC if left out.
	Zone string `json:"zone,omitempty"`
	// Seasons are the lengths after which the load repeats itself, the shorter first: one or two; 24h and 168h if left out.
	Seasons []Duration `json:"seasons,omitempty"`
}

// Cycles are the seasons in their order; 0 is a second one that is not declared.
func (f ForecastSpec) Cycles() (out [2]time.Duration) {
	if len(f.Seasons) == 0 {
		return [2]time.Duration{24 * time.Hour, 7 * 24 * time.Hour}
	}
	for i, s := range f.Seasons[:min(len(f.Seasons), len(out))] {
		out[i] = s.Value()
	}
	return out
}

// ScaleEvent is a known cause of load.
type ScaleEvent struct {
	// Name is shown in the decision.
	Name string `json:"name"`
	// Start is when it begins, RFC 3339.
	Start string `json:"start"`
	// End is when it ends, RFC 3339.
	End string `json:"end"`
	// Factor is how many times the load is expected.
	Factor float64 `json:"factor"`
}

// StabiliseLaw calms an autoscaler that exists. Signals: recommended (replicas);
// or metric (mean of the replicas that report) and missing (how many do not).
type StabiliseLaw struct {
	// Target is the value of the metric that one replica should have; not needed with the signal recommended.
	Target float64 `json:"target,omitempty"`
	// Min is the least number of replicas; 1 if left out.
	Min int `json:"min,omitempty"`
	// Max is the greatest number of replicas.
	Max int `json:"max"`
}

// ThrottleLaw limits what is let in. Signals: latency (p95, seconds) with
// inflight and samples; queue_age (seconds) and queue_depth; db_utilisation (0 to
// 1); demand by class (requests per second).
type ThrottleLaw struct {
	// Lever is concurrency (the default) or rate-limit.
	Lever assay.Lever `json:"lever,omitempty"`
	// Latency is the p95 that the objective promises, seconds; the anchor of the gradient.
	Latency float64 `json:"latency,omitempty"`
	// MinSamples is how many requests a latency must rest on; 50 if left out.
	MinSamples float64 `json:"minSamples,omitempty"`
	// QueueAge is how long an entry may wait, seconds.
	QueueAge float64 `json:"queueAge,omitempty"`
	// QueueInterval is for how long it must have waited longer before the limit falls; 30s if left out.
	QueueInterval Duration `json:"queueInterval,omitempty"`
	// ServiceTime is what the database needs for one request when it is idle, seconds.
	ServiceTime float64 `json:"serviceTime,omitempty"`
	// WaitBudget is how long a request may wait for the database, seconds.
	WaitBudget float64 `json:"waitBudget,omitempty"`
	// Min is the least limit.
	Min float64 `json:"min"`
	// Max is the greatest limit.
	Max float64 `json:"max"`
	// Classes of requests, the most important first. Critical ones are never dropped; the others are sent to the cheaper path when there is no room.
	Classes []ThrottleClass `json:"classes,omitempty"`
	// MaxBacklog is how deep the queue may be before every class that is not critical is sent away.
	MaxBacklog float64 `json:"maxBacklog,omitempty"`
}

// ThrottleClass is a class of requests.
type ThrottleClass struct {
	// Name is the value of the label class.
	Name string `json:"name"`
	// Critical requests are always let in.
	Critical bool `json:"critical,omitempty"`
}

// DivertLaw takes traffic from a region that fails. Signals by region: bad and
// total (requests in the last minutes), load (requests per second), and at least
// one that is measured elsewhere: probe (share of failed probes) or latency (p95,
// seconds). With drain also leaving (1 while it is announced that the region will be taken
// away, 0 otherwise), or strain (share in use of what it breaks down without: memory, disk,
// a quota) and strain_growth (share per hour), or all three.
type DivertLaw struct {
	// Regions that can take each other's traffic; two at least.
	Regions []DivertRegion `json:"regions"`
	// MaxBad is the share of bad requests above which a region fails; 0.05 if left out.
	MaxBad float64 `json:"maxBad,omitempty"`
	// MaxLatency is the p95 above which a region fails, seconds.
	MaxLatency float64 `json:"maxLatency,omitempty"`
	// MaxProbe is the share of failed probes above which a region fails; 0.2 if left out.
	MaxProbe float64 `json:"maxProbe,omitempty"`
	// Steps are the shares of the region's own traffic that are taken, percent, ascending; 5, 15, 35, 60, 100 if left out.
	Steps []int `json:"steps,omitempty"`
	// Probe is the share of its traffic that the region keeps in any case, percent, so that recovery is seen; 10 if left out.
	Probe int `json:"probe,omitempty"`
	// Verify is how long each step is looked at before the next; 1m if left out.
	Verify Duration `json:"verify,omitempty"`
	// Healthy is how long a region must have been healthy before traffic returns; 10m if left out.
	Healthy Duration `json:"healthy,omitempty"`
	// Drain empties a region that will soon be out of use before it fails; left out, only what fails loses traffic.
	Drain *DivertDrain `json:"drain,omitempty"`
}

// DivertDrain empties a region, zone or machine that serves well now and is going to be
// taken away, or to break down because it runs out of something.
type DivertDrain struct {
	// Before is how long ahead it begins: when strain will reach 1 within this time, at its growth now. All steps must fit in, each with its verify; 10m if left out.
	Before Duration `json:"before,omitempty"`
	// Sure is for how long each look must have said so; 1m if left out.
	Sure Duration `json:"sure,omitempty"`
	// Return is the strain at or below which a region that was drained for its strain gets traffic back; 0.5 if left out.
	Return float64 `json:"return,omitempty"`
}

// DivertRegion is one region.
type DivertRegion struct {
	// Name is the value of the label region.
	Name string `json:"name"`
	// Share is the percent of the traffic that it gets when all is well.
	Share float64 `json:"share"`
	// Capacity is how many requests per second it can serve.
	Capacity float64 `json:"capacity"`
}

// IsolateLaw holds a tenant that takes more than its share. Signals: latency (p95,
// seconds) or saturation (0 to 1), and usage by tenant (requests per second).
type IsolateLaw struct {
	// Capacity is how many requests per second all tenants share.
	Capacity float64 `json:"capacity"`
	// MaxLatency is the p95 above which they disturb each other, seconds.
	MaxLatency float64 `json:"maxLatency,omitempty"`
	// MaxSaturation is the share of the capacity in use above which they disturb each other; 0.9 if left out.
	MaxSaturation float64 `json:"maxSaturation,omitempty"`
	// Factor is how many times its fair share a tenant must use to be held; 1.5 if left out.
	Factor float64 `json:"factor,omitempty"`
	// Tenants that are told apart.
	Tenants []IsolateTenant `json:"tenants"`
}

// IsolateTenant is one tenant.
type IsolateTenant struct {
	// Name is the value of the label tenant.
	Name string `json:"name"`
	// Weight is its part of the capacity, relative to the others; 1 if left out.
	Weight float64 `json:"weight,omitempty"`
	// Guarantee is what it may always use, requests per second.
	Guarantee float64 `json:"guarantee,omitempty"`
}

// TiersLaw gives each tier the cheapest class that keeps its promise. Signals by
// tier: good and total (requests in the last hour).
type TiersLaw struct {
	// Classes of service, the dearest first; two at least.
	Classes []TierClass `json:"classes"`
	// Tiers, the most important first.
	Tiers []Tier `json:"tiers"`
}

// TierClass is a class of service.
type TierClass struct {
	// Name is shown in decisions.
	Name string `json:"name"`
	// Cost is what a thousand requests cost in it.
	Cost float64 `json:"cost"`
}

// Tier is a group of customers with a promise.
type Tier struct {
	// Name is the value of the label tier.
	Name string `json:"name"`
	// Target is the share of good requests that it was promised, for example 0.999.
	Target float64 `json:"target"`
	// Cheapest is the cheapest class, by name, that it may ever have; all if left out.
	Cheapest string `json:"cheapest,omitempty"`
}

// CostLaw keeps a day's spend below its cap. Signals: spent (today, money);
// spend_rate by job (money per hour). A job is a class of the door: it is paused by
// its admission, and made cheaper by its cost class.
type CostLaw struct {
	// Currency is shown with amounts, for example EUR.
	Currency string `json:"currency"`
	// DailyCap is what a day may cost. At it everything that is not essential stops, whatever a model says.
	DailyCap float64 `json:"dailyCap"`
	// Zone is the IANA time zone whose midnight starts the day; UTC if left out.
	Zone string `json:"zone,omitempty"`
	// Saving is the share of its cost that a job saves in the cheaper class; left out, there is none.
	Saving float64 `json:"saving,omitempty"`
	// Jobs, the most important first.
	Jobs []CostJob `json:"jobs"`
}

// CostJob is something that costs money.
type CostJob struct {
	// Name is the value of the label job.
	Name string `json:"name"`
	// Essential jobs are never stopped and never made cheaper.
	Essential bool `json:"essential,omitempty"`
}

// ContainLaw cuts off what attacks. Signals by source: anomaly (score 0 to 1),
// evidence (1 once its traces are kept), share (of the requests, 0 to 1).
type ContainLaw struct {
	// Above is the score above which a source is cut off; 0.9 if left out.
	Above float64 `json:"above,omitempty"`
	// For is for how long the score must have been there; 30s if left out.
	For Duration `json:"for,omitempty"`
	// Below is the score below which it is let in again; 0.3 if left out.
	Below float64 `json:"below,omitempty"`
	// Clear is for how long it must have been below; 2m if left out.
	Clear Duration `json:"clear,omitempty"`
	// MaxSources is how many may be cut off at a time; more needs a person; 5 if left out.
	MaxSources int `json:"maxSources,omitempty"`
	// MaxShare is the greatest share of all requests that may be cut off without a person; 0.05 if left out.
	MaxShare float64 `json:"maxShare,omitempty"`
}

// RollbackLaw takes the traffic from a version that does harm: by the abort of its rollout,
// or by a rollback to the version before once that has ended. Signals by version: bad and total (requests in the last
// minutes).
type RollbackLaw struct {
	// Margin is how many times worse than the old version is harm; 2 if left out.
	Margin float64 `json:"margin,omitempty"`
	// MinBad is how many bad requests the new version must have had; 10 if left out.
	MinBad float64 `json:"minBad,omitempty"`
	// Within is for how long after its promotion a version is suspected; 1h if left out.
	Within Duration `json:"within,omitempty"`
}

// DataLaw proposes retention and replicas of a data store. Signals: disk_used (0
// to 1), disk_growth (share of the disk per day), io_latency (p95, seconds).
type DataLaw struct {
	// DiskTarget is the share of the disk that may be used; 0.75 if left out.
	DiskTarget float64 `json:"diskTarget,omitempty"`
	// Horizon is how soon the disk may be full before something is proposed; 7d if left out.
	Horizon Duration `json:"horizon,omitempty"`
	// MaxLatency is the p95 of reads above which replicas are added, seconds.
	MaxLatency float64 `json:"maxLatency,omitempty"`
	// MinRetention is the least retention, days.
	MinRetention float64 `json:"minRetention"`
	// MaxRetention is the greatest retention, days.
	MaxRetention float64 `json:"maxRetention"`
	// MinReplicas is the least number of replicas; 1 if left out.
	MinReplicas int `json:"minReplicas,omitempty"`
	// MaxReplicas is the greatest number of replicas; minReplicas if left out.
	MaxReplicas int `json:"maxReplicas,omitempty"`
}
