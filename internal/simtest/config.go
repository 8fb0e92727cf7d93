package simtest

import (
	"time"
)

// Limits of a world.
const (
	MaxServices  = 200
	MaxRegions   = 16
	MaxFlows     = 32
	MaxVersions  = 8
	MaxFaults    = 100
	MaxReplicas  = 1_000_000
	MaxPool      = 10_000
	MaxPerTick   = 1e12 // requests of one service in one tick
	DefaultTick  = 10 * time.Second
	DefaultWork  = 50 * time.Millisecond
	defaultSlots = 8 // workers of a replica
)

// Duration is a time.Duration that is written like "10s".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads; negative ones are refused.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return invalid("%q is not a duration like 10s, 5m or 2h", clip(string(text)))
	}
	*d = Duration(v)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// D is the duration as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// Config is a world before its first tick.
type Config struct {
	Seed      uint64     `json:"seed,omitempty"`
	Start     time.Time  `json:"start,omitzero"`
	Tick      Duration   `json:"tick,omitempty"` // 10s if left out
	Regions   []Region   `json:"regions,omitempty"`
	Databases []Database `json:"databases,omitempty"`
	Services  []Service  `json:"services"` // callers before those they call
	Faults    []Fault    `json:"faults,omitempty"`
	Lag       Duration   `json:"lag,omitempty"` // of telemetry, without any fault
}

// Region has a share of everybody's traffic.
type Region struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"` // percent of the traffic at the start; they add up to 100
	// Detour is added to the latency of requests that come here from other regions.
	Detour Duration `json:"detour,omitempty"`
}

// Database slows down as it fills: Latency over (1 - utilisation).
type Database struct {
	Name     string   `json:"name"`
	Capacity float64  `json:"capacity"`           // queries a second
	Latency  Duration `json:"latency"`            // of an idle database
	Replicas int      `json:"replicas,omitempty"` // each adds Capacity; 1 if left out

	// A disk that fills makes queries slower from 80 % on. 0 GB has no disk.
	Disk      float64 `json:"disk,omitempty"`      // GB
	PerDay    float64 `json:"perDay,omitempty"`    // GB written a day
	Retention float64 `json:"retention,omitempty"` // days that are kept
	Growth    float64 `json:"growth,omitempty"`    // share of PerDay by which more is written every day
	Price     float64 `json:"price,omitempty"`     // of a GB for a day
}

// Service is a queue in front of replicas, in every region.
type Service struct {
	Name     string    `json:"name"`
	Traffic  Traffic   `json:"traffic"`
	Flows    []Flow    `json:"flows,omitempty"`    // one flow of everything if left out
	Versions []Version `json:"versions,omitempty"` // one version "v1" if left out

	Work     Duration `json:"work,omitempty"`     // that one worker spends on a request besides its calls; 50ms if left out
	Spread   float64  `json:"spread,omitempty"`   // of the latency: standard deviation of its logarithm; 0.5 if left out
	Workers  int      `json:"workers,omitempty"`  // of one replica; 8 if left out
	Queue    int      `json:"queue,omitempty"`    // requests that may wait in a region; 1000 if left out
	Order    Order    `json:"order,omitempty"`    // who waits shorter; fifo if left out
	Within   Duration `json:"within,omitempty"`   // a slower answer is bad; 300ms if left out
	Patience Duration `json:"patience,omitempty"` // a client that waits longer has gone, and its request is work for nothing; 10s if left out

	Replicas int      `json:"replicas"` // in all regions together, by the regions' shares
	Max      int      `json:"max,omitempty"`
	StartUp  Duration `json:"startUp,omitempty"` // from asking for a replica to its first request; 60s if left out

	Calls []Call `json:"calls,omitempty"`
	Retry Retry  `json:"retry,omitzero"`
	Price Price  `json:"price,omitzero"`

	// What the door does from the start; levers change it.
	RateLimit   float64 `json:"rateLimit,omitempty"`   // requests a second; 0 is none
	Concurrency float64 `json:"concurrency,omitempty"` // requests inside at once; 0 is none
	SpendCap    float64 `json:"spendCap,omitempty"`    // a day; 0 is none
}

// Order of a queue.
type Order string

// The orders of a queue.
const (
	FIFO     Order = "fifo"
	Priority Order = "priority" // flows of higher priority first
)

// Flow is a part of a service's traffic with one class and one tenant.
type Flow struct {
	Class    string  `json:"class,omitempty"`
	Tenant   string  `json:"tenant,omitempty"`
	Share    float64 `json:"share"`              // of the service's traffic, relative to the other flows
	Priority int     `json:"priority,omitempty"` // the lowest is dropped first
	Critical bool    `json:"critical,omitempty"` // dropping one is never right
	Weight   float64 `json:"weight,omitempty"`   // of one bad answer in the harm; 1 if left out
	Defer    bool    `json:"defer,omitempty"`    // what the class admission keeps out waits outside instead of being dropped
	Work     float64 `json:"work,omitempty"`     // times the service's work; 1 if left out
}

// Version is how one version answers.
type Version struct {
	Name   string  `json:"name"`
	Share  float64 `json:"share"`  // percent of the traffic at the start; they add up to 100
	Errors float64 `json:"errors"` // share of answers that fail, 0 to 1
	// Burst is how many failures come together on average; 1 if left out. Their
	// variance is about 2 Burst - 1 times their mean.
	Burst float64 `json:"burst,omitempty"`
	Slow  float64 `json:"slow,omitempty"` // times the service's work; 1 if left out
	// Pool is what each request of the version needs one of in every region; none if left out.
	Pool Pool `json:"pool,omitzero"`
	// Calls is how many times as often as the service's it calls what stands behind it; 1 if left out.
	Calls float64 `json:"calls,omitempty"`
	// Measures are what the version counts and shows beside its answers.
	Measures []Measure `json:"measures,omitempty"`
}

// Pool are connections, locks or slots of which a request holds one for a time. A request
// that finds none free fails: how many do depends on the version's load alone.
type Pool struct {
	Size int      `json:"size"`           // how many there are in a region; 0 is no pool
	Hold Duration `json:"hold,omitempty"` // that a request has one on average
}

// Call is what one request of a service asks of a database or of a service that
// stands behind it in Config.
type Call struct {
	To      string   `json:"to"`
	Times   float64  `json:"times,omitempty"`   // 1 if left out
	Timeout Duration `json:"timeout,omitempty"` // the longest a worker waits; none if left out
}

// Retry is what clients do about an answer that failed or a request that was
// dropped: Share of them come again in the next tick, at most Budget of the new ones.
type Retry struct {
	Share  float64 `json:"share,omitempty"`
	Budget float64 `json:"budget,omitempty"` // 0 has no limit
}

// Price of running a service.
type Price struct {
	Replica float64 `json:"replica,omitempty"` // for an hour, running or starting
	Request float64 `json:"request,omitempty"` // for a request that was worked on, times its flow's work
	Cheap   float64 `json:"cheap,omitempty"`   // for a request in the cheaper class, times its flow's work
	// Penalty is how bad the cheaper class is: the share of its answers that are bad.
	Penalty float64 `json:"penalty,omitempty"`
}

// FaultKind is what goes wrong.
type FaultKind string

// The kinds of faults.
const (
	BadDeploy       FaultKind = "bad-deploy"       // Version (or all) fails for Share more and is Factor times slower
	DependencySlow  FaultKind = "dependency-slow"  // database or service Target is Factor times slower
	RegionDown      FaultKind = "region-down"      // Region fails for Share of its requests and is Factor times slower
	Exhaustion      FaultKind = "exhaustion"       // Region uses up within By, at its usual traffic, what it then fails without, as RegionDown does, until the fault ends
	Preemption      FaultKind = "preemption"       // Region is announced to be taken away, and By later it is out as with RegionDown, until the fault ends
	NoisyTenant     FaultKind = "noisy-tenant"     // Tenant sends Factor times as much, and looks hostile to detectors with a score of Share
	Attack          FaultKind = "attack"           // a tenant "attacker" sends Rate requests a second, Factor times as much work each
	Crash           FaultKind = "crash"            // Share of the replicas are killed, again every StartUp
	TelemetryLag    FaultKind = "telemetry-lag"    // telemetry comes By later
	TelemetryLoss   FaultKind = "telemetry-loss"   // Share of the telemetry never comes
	ExecutorFailure FaultKind = "executor-failure" // Share of the actions fail
	ClockSkew       FaultKind = "clock-skew"       // telemetry's clocks are By behind
)

// faultKinds are all of them.
var faultKinds = []FaultKind{BadDeploy, DependencySlow, RegionDown, Exhaustion, Preemption, NoisyTenant, Attack, Crash, TelemetryLag, TelemetryLoss, ExecutorFailure, ClockSkew}

// Fault is something that goes wrong for a while.
type Fault struct {
	Kind    FaultKind `json:"kind"`
	At      Duration  `json:"at"`               // since the start
	For     Duration  `json:"for,omitempty"`    // to the end of the run if left out
	Every   Duration  `json:"every,omitempty"`  // it comes again and again, this long after it last began; once if left out
	Jitter  Duration  `json:"jitter,omitempty"` // it begins up to this much later, by the seed
	Service string    `json:"service,omitempty"`
	Version string    `json:"version,omitempty"`
	Target  string    `json:"target,omitempty"`
	Region  string    `json:"region,omitempty"`
	Tenant  string    `json:"tenant,omitempty"`
	Share   float64   `json:"share,omitempty"`
	Factor  float64   `json:"factor,omitempty"`
	Rate    float64   `json:"rate,omitempty"`
	By      Duration  `json:"by,omitempty"`
	Source  string    `json:"source,omitempty"` // of TelemetryLoss: FirstSource alone loses it; both if left out
}

// FirstSource is the source that a fault of telemetry may be of, where a second one tells the same.
const FirstSource = "first"

// Attacker is the tenant of hostile requests; their class has the same name.
const Attacker = "attacker"

// Bounds of the latency histograms, seconds.
func Bounds() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10}
}
