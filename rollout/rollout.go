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
	DefaultHeartbeat = time.Minute
	DefaultWindow    = 10 * time.Second
	DefaultLease     = 15 * time.Second
)

// Door is what an enforcer is asked beside shares: what it knows, and to know a
// new version.
type Door interface {
	// StatusOf says what is enforced now of the routes of one service, if it can tell them
	// apart, else of all; of "" it is which configuration that is. assay.CodeUnavailable if
	// it cannot be asked.
	StatusOf(ctx context.Context, service string) (enforce.Status, error)
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

	mu      sync.Mutex // guards workers and what the engine shares of them
	workers map[string]*worker
	wake    chan struct{} // something was proposed

	known      known
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
	c := &Controller{
		lease: &store.Tenure{
			Store: cfg.Store, Name: "rollout", Holder: cfg.Holder, For: DefaultLease, Now: cfg.Now,
			Idle: "rollouts are not carried out by this process now",
		},
		cfg: cfg, workers: map[string]*worker{}, wake: make(chan struct{}, 1),
	}
	c.metrics = newMetrics(cfg.Registerer, &c.known)
	return c
}

// Acquire takes the lease under which actions are fenced. Run does it; a caller
// of Step without Run does it once.
func (c *Controller) Acquire(ctx context.Context) error {
	before := c.lease.Held()
	err := c.lease.Acquire(ctx)
	if err == nil && c.lease.Held().Generation != before.Generation+1 { // somebody else may have written meanwhile
		c.known.clear()
	}
	return err
}

// save runs fn, which stores rec, in one transaction that fails unless the lease is held.
func (c *Controller) save(ctx context.Context, rec *record, fn func(tx store.Tx) error) error {
	err := c.lease.Update(ctx, fn)
	if err != nil {
		c.known.forget(rec.Rollout.ID) // what the store has is not known
		return err
	}
	c.known.keep(*rec)
	c.cfg.Recorded()
	return nil
}

// halted is why nothing may be done now, "" if it may.
func (c *Controller) halted(rec record) string {
	return decide.Halted(c.cfg.Halted(rec.Namespace, rec.Rollout.Service))
}

// decide makes the decision of now. What guards rest on is asked only if it turns on them:
// it is made with a guard that passes everything first, and most decisions ask none.
func (c *Controller) decide(ctx context.Context, rec record, readings []assay.Reading) (decide.Record, error) {
	var wanted *assay.Action
	now := c.cfg.Now()
	r, err := decide.Decide(rec.plan(), rec.State, readings, func(a assay.Action) []assay.GuardVerdict {
		wanted = &a
		return nil
	}, now)
	if err != nil || wanted == nil {
		return r, err
	}
	said := c.verdicts(ctx, rec, *wanted)
	return decide.Decide(rec.plan(), rec.State, readings, func(assay.Action) []assay.GuardVerdict { return said }, now)
}

// verdicts are what the guards say to an action.
func (c *Controller) verdicts(ctx context.Context, rec record, a assay.Action) []assay.GuardVerdict {
	verdict := func(guard, reason string) assay.GuardVerdict {
		v := assay.GuardVerdict{Guard: guard, Action: a.Kind, Outcome: assay.OutcomePass, Reason: reason}
		if reason != "" {
			v.Outcome = assay.OutcomeFail
		}
		return v
	}
	out := []assay.GuardVerdict{verdict("kill-switch", c.halted(rec))}
	if why := rec.asks(a); why != "" {
		out = append(out, verdict("watch", why))
	}
	if a.Kind == assay.ActionAbort || a.Kind == assay.ActionFinish && rec.watching() {
		return out // traffic may always be taken away; and after the last step nothing moves that policies judge
	}
	if c.cfg.Guard != nil && rec.Rollout.Back == nil { // a rollback takes a version's traffic away, step by step
		if judge := c.cfg.Guard(ctx, rec.Namespace, rec.Rollout.Environment, rec.Rollout.Name); judge != nil {
			out = append(out, judge(a)...)
		}
	}
	if c.cfg.Door == nil {
		return out
	}
	refusal, known := c.refusal(ctx, rec)
	v := verdict("attested", refusal)
	if !known {
		v.Outcome = assay.OutcomeAbsent
	}
	return append(out, v)
}

// refusal says why the door would not let the canary in, "" if it would.
func (c *Controller) refusal(ctx context.Context, rec record) (why string, known bool) {
	ctx, cancel := context.WithTimeout(ctx, doorTime)
	defer cancel()
	status, err := c.cfg.Door.StatusOf(ctx, rec.Rollout.Service)
	if err != nil {
		return "the enforcer cannot be asked: " + err.Error(), false
	}
	for _, r := range status.Routes {
		if r.Service != rec.Rollout.Service {
			continue
		}
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

const (
	// doorTime bounds the question that a rollout's next step waits for.
	doorTime = time.Second
	// worldTime bounds every other question.
	worldTime = 10 * time.Second
)
