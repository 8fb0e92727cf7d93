package rollout

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of Config.
const (
	DefaultTick      = time.Second
	DefaultHeartbeat = 10 * time.Second
	DefaultWindow    = 10 * time.Second
	DefaultLease     = 15 * time.Second
)

// Door is what an enforcer is asked beside shares: what it knows, and to know a
// new version.
type Door interface {
	// Status says what is enforced now; assay.CodeUnavailable if it cannot be asked.
	Status(ctx context.Context) (enforce.Status, error)
	// Config reads the active configuration.
	Config(ctx context.Context) (enforce.Config, error)
	// Replace hands over another configuration; it may be repeated with the same
	// key. assay.CodeConflict for an older generation.
	Replace(ctx context.Context, r enforce.Replacement) (enforce.Answer, error)
}

// Config is what a Controller is made of. Every field is needed unless it says otherwise.
type Config struct {
	Store    store.Store
	Blobs    store.Blobs
	Source   signal.Source
	Actuator act.Actuator
	Door     Door          // nil if versions are introduced by somebody else
	Watch    *signal.Watch // told which series are waited for; may be nil
	Now      func() time.Time
	Log      *slog.Logger
	// Attestations are the bundles that speak for an artifact; may be nil.
	Attestations func(ctx context.Context, namespace string, digest assay.Digest) ([][]byte, error)
	// Halted are the kill switches that are pulled for a service, none if it may be acted
	// upon. It is asked before every action and must answer without the store. May be nil.
	Halted func(namespace, service string) []decide.Halt
	// Withdrawn returns the ids of exceptions that verdicts may rest on and that were
	// taken back; the door is told. May be nil.
	Withdrawn func(ctx context.Context) ([]string, error)
	// Recorded is called after facts were committed; may be nil.
	Recorded   func()
	Registerer prometheus.Registerer // may be nil
	// Holder names this process in the lease. One that begins again on the same
	// state must have the name it had, so that it does not wait for itself.
	Holder string

	// Guard is what policies say to the actions of a declared rollout, nil if none judges
	// them; may be nil itself. It is not asked about aborts,
	// nor about the end of a watch, which moves nothing.
	Guard func(ctx context.Context, namespace, environment, plan string) decide.Guard

	Tick      time.Duration // between looks without data; DefaultTick if 0
	Heartbeat time.Duration // between facts of unchanged decisions; DefaultHeartbeat if 0
	Window    time.Duration // after the last action, until it is judged; DefaultWindow if 0
}

// Controller carries rollouts out. Its methods are safe for concurrent use; at
// most one Run is under way.
type Controller struct {
	cfg     Config
	metrics metrics

	lease *store.Tenure // held while Run is under way

	mu      sync.Mutex
	workers map[string]*worker
	wake    chan struct{}        // something was proposed
	arrived map[string]time.Time // by rollout: the oldest batch that no step has seen
	since   map[string]time.Time // by rollout: the oldest batch of the step under way

	known      known
	doors      doorCache
	withdrawal withdrawal
	replacing  sync.Mutex // held while a door's configuration is read, changed and written back
}

// New returns a controller that does nothing until Run or Step is called.
func New(cfg Config) *Controller {
	if cfg.Tick == 0 {
		cfg.Tick = DefaultTick
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = DefaultHeartbeat
	}
	if cfg.Window == 0 {
		cfg.Window = DefaultWindow
	}
	if cfg.Halted == nil {
		cfg.Halted = func(string, string) []decide.Halt { return nil }
	}
	if cfg.Recorded == nil {
		cfg.Recorded = func() {}
	}
	return &Controller{
		lease: &store.Tenure{
			Store: cfg.Store, Name: "rollout", Holder: cfg.Holder, For: DefaultLease, Now: cfg.Now,
			Idle: "rollouts are not carried out by this process now",
		},
		cfg: cfg, metrics: newMetrics(cfg.Registerer), workers: map[string]*worker{},
		wake: make(chan struct{}, 1), arrived: map[string]time.Time{}, since: map[string]time.Time{},
	}
}

// Acquire takes the lease under which actions are fenced. Run does it; a caller
// of Step without Run does it once.
func (c *Controller) Acquire(ctx context.Context) error { return c.lease.Acquire(ctx) }

// write runs fn in one transaction that fails unless the lease is held.
func (c *Controller) write(ctx context.Context, fn func(tx store.Tx) error) error {
	err := c.lease.Update(ctx, fn)
	if err == nil {
		c.cfg.Recorded()
	}
	return err
}

// halted is why nothing may be done now, "" if it may.
func (c *Controller) halted(rec record) string {
	return decide.Halted(c.cfg.Halted(rec.Namespace, rec.Rollout.Service))
}

// guards are the verdicts on an action, prepared so that they do no I/O.
func (c *Controller) guards(ctx context.Context, rec record) decide.Guard {
	halted := c.halted(rec)
	refusal, known := c.refusal(ctx, rec)
	var judged decide.Guard
	if c.cfg.Guard != nil {
		judged = c.cfg.Guard(ctx, rec.Namespace, rec.Rollout.Environment, rec.Rollout.Name)
	}
	return func(a assay.Action) []assay.GuardVerdict {
		verdict := func(guard, reason string) assay.GuardVerdict {
			v := assay.GuardVerdict{Guard: guard, Action: a.Kind, Outcome: assay.OutcomePass, Reason: reason}
			if reason != "" {
				v.Outcome = assay.OutcomeFail
			}
			return v
		}
		out := []assay.GuardVerdict{verdict("kill-switch", halted)}
		if why := rec.asks(a); why != "" {
			out = append(out, verdict("watch", why))
		}
		if a.Kind == assay.ActionAbort || a.Kind == assay.ActionFinish && rec.watching() {
			return out // traffic may always be taken away; and after the last step nothing moves that policies judge
		}
		if judged != nil {
			out = append(out, judged(a)...)
		}
		if c.cfg.Door == nil {
			return out
		}
		v := verdict("attested", refusal)
		if !known {
			v.Outcome, v.Reason = assay.OutcomeAbsent, refusal
		}
		return append(out, v)
	}
}

// refusal says why the door would not let the canary in, "" if it would.
func (c *Controller) refusal(ctx context.Context, rec record) (why string, known bool) {
	if c.cfg.Door == nil {
		return "", true
	}
	routes, err := c.doors.routes(ctx, c.cfg.Door, rec.Rollout.Service, c.cfg.Now())
	if err != nil {
		return "the enforcer cannot be asked: " + err.Error(), false
	}
	for _, r := range routes {
		for _, v := range r.Versions {
			if v.Name != rec.Rollout.Plan.Canary {
				continue
			}
			if v.Refusal != nil && r.Mode != assay.ModeDryRun {
				return fmt.Sprintf("%s: %s", v.Refusal.Name, v.Refusal.Detail), true
			}
			if v.Digest != rec.Rollout.Digest {
				return fmt.Sprintf("the enforcer has %s running %s", v.Name, v.Digest), true
			}
			return "", true
		}
	}
	return "the enforcer does not know the version", false
}

// doorCache keeps a door's status for a moment, so that many rollouts ask once.
type doorCache struct {
	mu  sync.Mutex
	at  time.Time
	got map[string][]enforce.RouteStatus // by service
	err error
}

const (
	doorAge = time.Second
	// doorTime bounds the question that every rollout's next decision waits for: a
	// door that hangs must not keep harm from being seen.
	doorTime = time.Second
	// worldTime bounds every other question.
	worldTime = 10 * time.Second
)

// routes are what the door says about the routes of a service.
func (d *doorCache) routes(ctx context.Context, door Door, service string, now time.Time) ([]enforce.RouteStatus, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if age := now.Sub(d.at); d.at.IsZero() || age >= doorAge || age < 0 {
		ctx, cancel := context.WithTimeout(ctx, doorTime)
		defer cancel()
		var status enforce.Status
		status, d.err = door.Status(ctx)
		d.got, d.at = make(map[string][]enforce.RouteStatus, len(status.Routes)), now
		for _, r := range status.Routes {
			d.got[r.Service] = append(d.got[r.Service], r)
		}
	}
	return d.got[service], d.err
}

// forget makes the next question go to the door.
func (d *doorCache) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = time.Time{}
}
