package anomaly

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/pause"
	"assay.dev/assay/policy"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
	"assay.dev/assay/store"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// MaxObjectives is how many objectives one Watcher watches.
	MaxObjectives = 100
	// Settle is how long after its end a minute is read: what comes later is not seen.
	Settle = 30 * time.Second
	// past is how far back a watcher without a notebook begins.
	past = 15 * 24 * time.Hour
	// lateAfter is the age from which on an alarm is late.
	lateAfter = time.Hour
	// keepEvery is after how many minutes the notebook is kept though nothing was found.
	keepEvery = 60
	// catchUp is how many minutes a service may be behind and still has its forecasts made
	// one after the other: what a restart that takes less than an hour leaves to be read.
	catchUp = 2 * keepEvery
	// stepMinutes are how many minutes of services that are behind one step takes; those
	// that are not behind go first.
	stepMinutes = 240
	// nearMinutes is how many minutes a service may be behind and still goes first.
	nearMinutes = 10
	// tick is how often a Watcher looks whether a minute has settled.
	tick = 5 * time.Second
	// pace is the least time between two steps while there is past to read.
	pace = 250 * time.Millisecond
)

// Config is what a Watcher is made of.
type Config struct {
	Source signal.Source
	Store  store.Store
	// Namespace is whose series are read, and who may see what is found.
	Namespace string
	// Policy is the revision in force: its calendars say what is planned, and by which
	// clocks a service's people live.
	Policy func() (*policy.Revision, error)
	// Changing says which change of a service is under way, "" for none. May be nil.
	Changing   func(ctx context.Context, service string) (string, error)
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
}

// Watcher watches one namespace's objectives and gates. Safe for concurrent use.
type Watcher struct {
	cfg     Config
	metrics metrics

	stepping sync.Mutex // held by Step
	turn     int        // of services that are behind; only Step uses it

	mu       sync.Mutex // guards what follows
	services []*service
	gates    *gates
}

// New returns a Watcher of nothing but gates.
func New(cfg Config) *Watcher {
	return &Watcher{cfg: cfg, metrics: newMetrics(cfg.Registerer), gates: newGates()}
}

// Namespace is whose objectives are watched.
func (w *Watcher) Namespace() string { return w.cfg.Namespace }

// SetObjectives replaces the objectives. A service whose objectives count what they
// counted goes on as it was; another begins from its page of the notebook, if that fits.
// An objective that cannot be counted is not watched. CodeTooLarge for more than
// MaxObjectives, and nothing has changed.
func (w *Watcher) SetObjectives(list []slo.Objective) error {
	if len(list) > MaxObjectives {
		return assay.Errorf(assay.CodeTooLarge, "%d objectives; at most %d are watched", len(list), MaxObjectives)
	}
	rev, err := w.cfg.Policy()
	if err != nil {
		return err
	}
	of := map[string][]*subject{}
	var names []string
	for _, o := range list {
		u, err := newSubject(o, rev.Zone(w.cfg.Namespace, o.Service))
		if err != nil {
			continue // slo lint and the objective's own page say so
		}
		if of[o.Service] == nil {
			names = append(names, o.Service)
		}
		of[o.Service] = append(of[o.Service], u)
	}
	w.stepping.Lock()
	defer w.stepping.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.services
	w.services = nil
	for _, name := range names {
		s := newService(name, rev.Zone(w.cfg.Namespace, name), of[name])
		if i := slices.IndexFunc(was, func(old *service) bool { return old.same(s) }); i >= 0 {
			s = was[i]
		}
		w.services = append(w.services, s)
	}
	return nil
}

// same reports whether both watch the same.
func (s *service) same(o *service) bool {
	return s.name == o.name && s.zone.String() == o.zone.String() &&
		slices.EqualFunc(s.subjects, o.subjects, func(a, b *subject) bool { return a.fingerprint() == b.fingerprint() })
}

// fingerprint tells apart what subjects count.
func (u *subject) fingerprint() string {
	parts := []string{u.id}
	for _, q := range []*slo.Query{u.objective.Indicator.Good, u.objective.Indicator.Bad, &u.objective.Indicator.Total} {
		text := ""
		if q != nil {
			text = q.Text
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "\n")
}

// Run watches until ctx ends, and returns nil.
func (w *Watcher) Run(ctx context.Context) error {
	pause.Between(ctx, func() time.Duration {
		if w.Step(ctx, w.cfg.Now()) {
			return pace
		}
		return tick
	})
	return nil
}

// Step takes the minutes that have settled, at most a few hours of each service, and
// reports whether there are more.
func (w *Watcher) Step(ctx context.Context, now time.Time) (more bool) {
	w.stepping.Lock()
	defer w.stepping.Unlock()
	rev, err := w.cfg.Policy()
	if err != nil {
		w.cfg.Log.Error("anomalies are not watched: there is no policy", "error", err)
		return false
	}
	w.mu.Lock()
	services := slices.Clone(w.services)
	w.mu.Unlock()
	left := stepMinutes
	for _, s := range inTurn(services, w.turn, now) {
		most := stepMinutes
		if !s.near(now) {
			most = left
		}
		if most <= 0 { // another step takes it
			more = true
			continue
		}
		taken, behind, err := w.serve(ctx, s, rev, now, most)
		if taken > nearMinutes {
			left -= taken
		}
		w.mu.Lock()
		s.failed = err
		w.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("a service is not watched", "service", s.name, "error", err)
		}
		more = more || behind && err == nil
	}
	w.turn++
	behind, err := w.watchGates(ctx, now)
	if err != nil && ctx.Err() == nil {
		w.cfg.Log.Warn("gates are not watched", "error", err)
	}
	return (more || behind) && ctx.Err() == nil
}

// serve takes at most so many of a service's minutes that have settled.
func (w *Watcher) serve(ctx context.Context, s *service, rev *policy.Revision, now time.Time, most int) (taken int, behind bool, err error) {
	planned := rev.Planned(w.cfg.Namespace, s.name)
	last := now.Add(-Settle).Unix() / 60 // the first minute that has not settled
	if s.fresh {
		if err := w.open(ctx, s); err != nil {
			return taken, false, err
		}
	}
	if s.next == 0 { // there is no notebook: what was is learnt from
		s.learnt = last
	}
	s.next = max(s.next, now.Add(-past).Unix()/60)
	var found []Found
	renew := map[*subject]bool{}
	for s.next < last && taken < most {
		if err := w.minute(ctx, s, planned, last, &found, renew); err != nil {
			s.pending = append(s.pending, timely(found, s.learnt, now.Unix())...)
			return taken, false, err
		}
		taken++
		// A forecast is made where it would have been without a pause, so that a restart
		// changes nothing; after a long one that would be too many.
		if last-s.next <= catchUp && w.old(renew) {
			break
		}
	}
	if len(renew) > 0 {
		if err := w.models(ctx, s, time.Unix(s.next*60, 0).UTC()); err != nil {
			s.pending = append(s.pending, timely(found, s.learnt, now.Unix())...)
			return taken, false, err
		}
	}
	for u := range renew {
		w.forecast(s, u, planned)
	}
	s.pending = append(s.pending, timely(found, s.learnt, now.Unix())...)
	if len(s.pending) > 0 || s.next-s.saved >= keepEvery || s.news() {
		if err := w.keep(ctx, s, planned); err != nil {
			return taken, false, err
		}
	}
	return taken, s.next < last, nil
}

// minute takes the next minute, or the whole next hour if nothing was ever counted and
// nothing is in it.
func (w *Watcher) minute(ctx context.Context, s *service, planned []policy.Planned, last int64, found *[]Found, renew map[*subject]bool) error {
	if s.next+60 <= last && s.unseen() {
		empty, err := w.empty(ctx, s)
		if err != nil {
			return err
		}
		if empty {
			s.next += 60
			return nil
		}
	}
	at := time.Unix(s.next*60, 0).UTC()
	list := make([]measure, len(s.subjects))
	for i, u := range s.subjects {
		readings, err := w.read(ctx, u, at, at.Add(time.Minute))
		if err != nil && assay.CodeOf(err) != assay.CodeInvalid {
			return err
		}
		list[i] = merge(readings, err)
	}
	aside := slices.ContainsFunc(planned, func(p policy.Planned) bool { return p.Kind == policy.CalendarMaintenance && p.Covers(at) })
	w.mu.Lock()
	defer w.mu.Unlock()
	news, ended := s.observe(at, list, aside)
	*found = append(*found, news...)
	for _, u := range ended {
		renew[u] = true
	}
	s.next++
	return nil
}

// old reports whether a forecast has to be made anew.
func (w *Watcher) old(ended map[*subject]bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for u := range ended {
		if u.load.old() {
			return true
		}
	}
	return false
}

// unseen reports whether nothing of a service was ever counted.
func (s *service) unseen() bool {
	return !slices.ContainsFunc(s.subjects, func(u *subject) bool { return u.s.Known > 0 })
}

func (w *Watcher) empty(ctx context.Context, s *service) (bool, error) {
	at := time.Unix(s.next*60, 0).UTC()
	for _, u := range s.subjects {
		readings, err := w.read(ctx, u, at, at.Add(time.Hour))
		if err != nil && assay.CodeOf(err) != assay.CodeInvalid {
			return false, err
		}
		if len(readings) > 0 || err != nil {
			return false, nil
		}
	}
	return true, nil
}

func (w *Watcher) read(ctx context.Context, u *subject, from, to time.Time) ([]assay.Reading, error) {
	return w.cfg.Source.Read(ctx, signal.Query{Namespace: w.cfg.Namespace, Indicator: u.indicator, Start: from, End: to})
}

// forecast makes a load's forecast anew, if it is time to: by the version that decides,
// and by the one that runs beside.
func (w *Watcher) forecast(s *service, u *subject, planned []policy.Planned) {
	w.mu.Lock()
	y, first, state, m := u.load.input(planned), u.load.s.First, u.load.s, *u.load.model
	due := u.load.due()
	w.mu.Unlock()
	if !due {
		return
	}
	f, active, shadow := byVersions(y, first, s.zone, state, planned, m)
	w.mu.Lock()
	u.load.made, u.load.active, u.load.shadow = f, active, shadow
	w.mu.Unlock()
	w.metrics.forecast(f)
}
