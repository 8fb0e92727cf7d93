package mitigate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of Config.
const (
	DefaultTick      = 10 * time.Second
	DefaultHeartbeat = 5 * time.Minute
	DefaultProve     = time.Hour
	leaseTime        = 30 * time.Second
	leaseName        = "mitigation"
	coalesce         = time.Second // between two looks because of data
	defaultDoor      = policy.ProxyDoor
	abreast          = 8 // services that are looked at side by side: they wait for stores and doors
)

// Rollouts is what a rollback needs of whoever carries rollouts out.
type Rollouts interface {
	// Changes are the newest changes of a service's version.
	Changes(ctx context.Context, namespace, service string) ([]Change, error)
	// WayBack is the version that a service would go back to from the one that has all its
	// traffic; CodeConflict, CodeDenied or CodeNotFound if there is none.
	WayBack(ctx context.Context, namespace, service string) (version string, err error)
	// TakeBack takes all traffic from a version: by the abort of its rollout, or by a
	// rollback once that has ended. It may be repeated: one decision is answered once.
	// CodeConflict or CodeDenied if that cannot be.
	TakeBack(ctx context.Context, t TakeBack) (detail string, err error)
	// Answered reports whether what a decision asked for was recorded.
	Answered(ctx context.Context, namespace string, cause assay.FactID) (bool, error)
}

// TakeBack is what a decision of a strategy asks of whoever carries rollouts out.
type TakeBack struct {
	Namespace string
	Service   string
	Version   string // that loses its traffic
	Reason    string
	Cause     assay.FactID // the decision
	Approved  bool         // a person said yes to it
}

// Config is what a Controller is made of. Every field is needed unless it says otherwise.
type Config struct {
	Store    store.Store
	Blobs    store.Blobs
	Gauges   signal.Gauges
	Actuator act.Actuator // the door of levers that name none; nil: nothing is moved here
	// Doors are the others, by the name that strategies give them. May be nil.
	Doors    map[string]act.Actuator
	Rollouts Rollouts // nil if nobody carries rollouts out
	// Strategies are those of the policy in force, and its revision.
	Strategies func() ([]Strategy, assay.Digest, error)
	// Burn is the share of an objective's whole budget that is spent in a minute now, and why
	// its second source says so, "" if the first does; false if nobody knows. May be nil.
	Burn func(ctx context.Context, namespace, objective string) (rate float64, instead string, known bool)
	// Spent are shares of an objective's whole budget a minute, in n steps from an instant on;
	// not a number where nobody knows. The outcome of every action for an objective is judged
	// by it. May be nil.
	Spent func(ctx context.Context, namespace, objective string, from time.Time, step time.Duration, n int) ([]float64, error)
	// Halted are the kill switches that are pulled for a service, none if it may be acted
	// upon. It must answer without the store. May be nil.
	Halted func(namespace, service string) []decide.Halt
	// Guard is what policies say to the actions of a strategy, nil if none judges them; may
	// be nil itself.
	Guard func(ctx context.Context, namespace, environment, plan string) decide.Guard
	// Seed is a random number for the draws of strategies that explore; nil is 0 always.
	Seed       func() uint64
	Recorded   func() // called after facts were committed; may be nil
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Holder     string                // names this process in the lease

	Tick      time.Duration // DefaultTick if 0
	Heartbeat time.Duration // between facts of unchanged decisions; DefaultHeartbeat if 0
	// Prove is how long a strategy must have decided on known inputs before its level may
	// be act; DefaultProve if 0, and none below 0.
	Prove time.Duration
}

// Controller runs the declared strategies. Its methods are safe for concurrent use; at
// most one Run is under way.
type Controller struct {
	cfg     Config
	decided *prometheus.CounterVec
	acted   *prometheus.CounterVec

	keeping sync.Mutex    // held while the lease is extended: once is enough
	lease   *store.Tenure // held while Run is under way

	wake chan struct{}

	imports  atomic.Uint64 // of history, so far
	foreseen sync.Map      // by namespace and strategy: how many there were when its forecast was made

	pasts pasts // of versions, before changes
}

// New returns a controller that does nothing until Run or Step is called.
func New(cfg Config) *Controller {
	if cfg.Tick == 0 {
		cfg.Tick = DefaultTick
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = DefaultHeartbeat
	}
	if cfg.Prove == 0 {
		cfg.Prove = DefaultProve
	}
	if cfg.Halted == nil {
		cfg.Halted = func(string, string) []decide.Halt { return nil }
	}
	if cfg.Seed == nil {
		cfg.Seed = func() uint64 { return 0 }
	}
	if cfg.Recorded == nil {
		cfg.Recorded = func() {}
	}
	c := &Controller{cfg: cfg, wake: make(chan struct{}, 1)}
	c.lease = &store.Tenure{
		Store: cfg.Store, Name: leaseName, Holder: cfg.Holder, For: leaseTime, Now: cfg.Now,
		Idle: "strategies are not run by this process now",
	}
	c.decided = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "assay_mitigate_decisions_total", Help: "Decisions of strategies, by the action chosen; error if there was none.",
	}, []string{"action"})
	c.acted = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "assay_mitigate_actions_total", Help: "Attempts of strategies to act, by action and result.",
	}, []string{"action", "result"})
	// What can happen is counted from 0 on: a rate of a series that begins with 1 misses it.
	for _, kind := range []assay.ActionKind{assay.ActionHold, assay.ActionAsk, assay.ActionPage, assay.ActionAdjust, assay.ActionRestore, assay.ActionStop} {
		c.decided.WithLabelValues(string(kind))
		for _, result := range []string{"ok", "refused", "unavailable"} {
			if kind.Changes() {
				c.acted.WithLabelValues(string(kind), result)
			}
		}
	}
	c.decided.WithLabelValues("error")
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(c.decided, c.acted)
	}
	return c
}

// Halted says why nothing may be done for a service now, "" if it may.
func (c *Controller) Halted(namespace, service string) string {
	return decide.Halted(c.cfg.Halted(namespace, service))
}

// Arrived says that data came: strategies look again. It never blocks.
func (c *Controller) Arrived(signal.Arrival) { c.nudge() }

// Foresee lets every strategy make its forecast anew when it is looked at next: the past
// is another than it was.
func (c *Controller) Foresee() {
	c.imports.Add(1)
	c.nudge()
}

func (c *Controller) nudge() {
	select {
	case c.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Acquire takes the lease under which actions are fenced. Run does it; a caller of Step
// without Run does it once.
func (c *Controller) Acquire(ctx context.Context) error { return c.lease.Acquire(ctx) }

// Run runs the strategies until ctx ends or somebody else has taken the lease: then
// they are his, and the error says so. A lease that only expired is taken anew.
func (c *Controller) Run(ctx context.Context) error {
	if err := c.Acquire(ctx); err != nil {
		return err
	}
	defer c.lease.Forget()
	tick := time.NewTicker(c.cfg.Tick)
	defer tick.Stop()
	for {
		if err := c.Step(ctx); err != nil && ctx.Err() == nil {
			if c.lease.Held().Name == "" {
				return err
			}
			c.cfg.Log.Warn("strategies wait", "error", err)
		}
		pause := time.NewTimer(coalesce)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-tick.C:
		}
	}
}

// keepLease extends the lease once a third of it is over. A look at a strategy may wait
// for the world as long as a lease lasts, so it is called before each. The error means
// that the lease is another's, and it is forgotten.
func (c *Controller) keepLease(ctx context.Context) error {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	held := c.lease.Held()
	if held.Name == "" || held.Expires.Sub(c.cfg.Now()) > leaseTime-leaseTime/3 {
		return nil // write says that nobody holds it
	}
	switch anew, err := c.lease.Renew(ctx); {
	case assay.CodeOf(err) == assay.CodeConflict:
		return err
	case err != nil: // the store cannot be written: nothing is done meanwhile, see write
		c.cfg.Log.Error("the lease on strategies cannot be renewed", "error", err)
	case anew:
		c.cfg.Log.Warn("the lease on strategies had expired and was taken anew")
	}
	return nil
}

// Step looks once at every declared strategy. One that fails does not keep the others
// from being looked at; a lease that another took does. Services are looked at side by
// side, so that one door that does not answer holds up few others; the strategies of one
// service come one after the other, because each must see what the one before it did.
func (c *Controller) Step(ctx context.Context) error {
	// Also where none is declared, or the policy cannot be read: whoever says something to a
	// strategy meanwhile should hear what is wrong with that, and no other process takes over.
	if err := c.keepLease(ctx); err != nil {
		return err
	}
	list, revision, err := c.cfg.Strategies()
	if err != nil {
		return err
	}
	var order []string
	of := map[string][]Strategy{}
	for _, s := range list {
		key := s.Namespace + "/" + s.Spec.Service
		if of[key] == nil {
			order = append(order, key)
		}
		of[key] = append(of[key], s)
	}
	var group sync.WaitGroup
	var next atomic.Int64
	problems := make([]error, len(order))
	for range min(len(order), abreast) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(order); i = int(next.Add(1)) - 1 {
				problems[i] = c.service(ctx, of[order[i]], revision)
			}
		})
	}
	group.Wait()
	return errors.Join(problems...)
}

// service looks once at the strategies of one service.
func (c *Controller) service(ctx context.Context, list []Strategy, revision assay.Digest) error {
	var problems []error
	for _, s := range list {
		if err := c.keepLease(ctx); err != nil {
			return errors.Join(append(problems, err)...)
		}
		if err := c.one(ctx, s, revision, list); err != nil {
			c.decided.WithLabelValues("error").Inc()
			problems = append(problems, assay.Errorf(assay.CodeOf(err), "strategy %s: %w", s.Name, err))
		}
	}
	return errors.Join(problems...)
}

// one carries out what is pending, looks, decides, and does what was decided.
func (c *Controller) one(ctx context.Context, s Strategy, revision assay.Digest, among []Strategy) error {
	rec, err := load(ctx, c.cfg.Store, s.Namespace, s.Name)
	if err != nil {
		return err
	}
	if law := s.Spec.Law(); rec.Law != law { // another law: what was remembered is of something else
		if rec.Pending != nil {
			if err := c.drop(ctx, &rec, *rec.Pending, fmt.Sprintf("the strategy is now one of law %s", law)); err != nil {
				return err
			}
		}
		// What a person said stays, and no key is given out twice.
		rec = record{Namespace: s.Namespace, Name: s.Name, Law: law, Paused: rec.Paused, Actions: rec.Actions, Fact: rec.Fact, version: rec.version}
	}
	rec.Strategy, rec.Revision, rec.among = s, revision, among
	if rec.Pending != nil {
		if err := c.apply(ctx, &rec); err != nil || rec.Pending != nil {
			return err
		}
	}
	if err := c.models(ctx, &rec); err != nil {
		return err
	}
	in := c.inputs(ctx, &rec)
	if err := c.judge(ctx, &rec, in); err != nil {
		return err
	}
	r, err := Decide(s, rec.State, in, c.judged(ctx, s), c.cfg.Now())
	if err != nil {
		return err
	}
	c.decided.WithLabelValues(string(r.Mitigation.Decision.Action.Kind)).Inc()
	if c.says(&rec, r) {
		if r, err = r.Sealed(); err != nil {
			return err
		}
	}
	rec.fold(r, in)
	if err := c.keep(ctx, &rec, r); err != nil {
		return err
	}
	if rec.Pending != nil {
		return c.apply(ctx, &rec)
	}
	return nil
}

// judged is what policies say to what a strategy does where it is declared to.
func (c *Controller) judged(ctx context.Context, s Strategy) decide.Guard {
	if c.cfg.Guard == nil {
		return nil
	}
	return c.cfg.Guard(ctx, s.Namespace, s.Spec.Environment, s.Name)
}

// history is what the guardrails look back at. With an error it lacks what other
// strategies did.
func (c *Controller) history(ctx context.Context, rec *record, movable bool) (decide.History, error) {
	h := decide.History{Approvals: rec.Approvals, Refusals: rec.Refusals}
	h.Halts = c.cfg.Halted(rec.Namespace, rec.Strategy.Spec.Service)
	if rec.Paused != "" {
		h.Halts = append(h.Halts, decide.Halt{Scope: decide.HaltService, Name: rec.Strategy.Spec.Service, Reason: rec.Paused})
	}
	var err error
	for _, s := range rec.among { // one that is declared no more holds nothing
		if s.Name == rec.Name || s.Namespace != rec.Namespace || s.Spec.Service != rec.Strategy.Spec.Service {
			continue
		}
		var o record
		if o, err = load(ctx, c.cfg.Store, s.Namespace, s.Name); err != nil {
			break
		}
		o.Strategy = s
		h.Moves = append(h.Moves, o.moves()...)
	}
	now := c.cfg.Now()
	proved := c.cfg.Prove < 0 || !rec.Known.IsZero() && now.Sub(rec.Known) >= c.cfg.Prove
	words := "its inputs are not known now"
	if !rec.Known.IsZero() {
		words = "its inputs have been known for " + now.Sub(rec.Known).Round(time.Second).String()
	}
	h.Prerequisites = append(h.Prerequisites,
		decide.Prerequisite{Name: "inputs known for " + c.cfg.Prove.String(), Met: proved, Words: words},
		decide.Prerequisite{Name: "a door that moves it", Met: movable, Words: "no door of this installation moves this lever"})
	if helped, attempts := rec.Learned.Success(rec.Strategy.Spec.Service); attempts >= 5 && 2*helped < attempts {
		h.Prerequisites = append(h.Prerequisites, decide.Prerequisite{Name: "its actions help", Words: "fewer than half of them did"})
	}
	return h, err
}
