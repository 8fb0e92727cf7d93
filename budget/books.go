// Package budget keeps the books of objectives: how many events of each
// minute were good, how much error budget is left, and how fast it goes.
//
// The mental model is a bookkeeper who copies from the series and never owns
// them. Each objective has a slo.Ring; each minute of it is counted from the
// samples (signal.Source) and put there, whatever stood before. So counting
// again corrects what came late, and losing the books loses nothing: they are
// read back from the source, newest minute first, a bounded piece at a time,
// while new minutes are kept up with. A minute that the indicator's first source
// tells nothing of is counted from its second, if it has one. An objective whose indicator cannot be
// counted is unknown, with the reason; the others do not notice.
//
// Step does a piece of the work and reads no clock. Run calls it when data
// arrives (Arrived), when a minute has passed, and while there is past to read.
package budget

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
)

const (
	// MaxObjectives is how many objectives one Books keeps.
	MaxObjectives = 100
	// DefaultComplete is the share of a window's minutes that must be known
	// before its budget is, unless the configuration says otherwise.
	DefaultComplete = 0.9
	// MinutesShown is how many of the newest minutes a snapshot may show.
	MinutesShown = 120
	// SpansShown is how many stretches of the second source a snapshot may show.
	SpansShown = 20
)

// WatchPrefix starts the ids under which a signal.Watch knows our indicators; "slo/index" follows.
const WatchPrefix = "objective/"

// Config is what Books are made of.
type Config struct {
	Source signal.Source
	// Namespace is whose series are counted, and who may see the books.
	Namespace string
	// Watch is told which series matter, so that Arrived can tell what changed.
	// May be nil: then every arrival may have changed everything.
	Watch *signal.Watch
	// Complete is the share of a window's minutes that must be known;
	// DefaultComplete if 0.
	Complete float64
	// Now is the clock that Run steps by.
	Now func() time.Time
}

// Books are the books of one namespace's objectives. Safe for concurrent use.
type Books struct {
	cfg  Config
	wake chan struct{} // holds one: something may have changed

	stepping sync.Mutex // held by Step: one piece of work at a time

	mu       sync.Mutex // guards what follows
	accounts []*account // in the order of the objectives
}

// New returns empty books.
func New(cfg Config) *Books {
	if cfg.Complete == 0 {
		cfg.Complete = DefaultComplete
	}
	return &Books{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Namespace is whose books these are.
func (b *Books) Namespace() string { return b.cfg.Namespace }

// SetObjectives replaces the objectives. One that counts the same events over
// the same window as before keeps its books. CodeTooLarge for more than
// MaxObjectives, and nothing has changed.
func (b *Books) SetObjectives(list []slo.Objective) error {
	if len(list) > MaxObjectives {
		return assay.Errorf(assay.CodeTooLarge, "%d objectives; at most %d are kept", len(list), MaxObjectives)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.accounts
	b.accounts = nil
	for _, o := range list {
		a := newAccount(o)
		if i := slices.IndexFunc(old, func(was *account) bool { return was.sameBooks(a) }); i >= 0 {
			a.books = old[i].books
			old = slices.Delete(slices.Clone(old), i, i+1)
		} else if a.refused == nil && b.cfg.Watch != nil {
			b.await(a)
		}
		b.accounts = append(b.accounts, a)
	}
	b.unwatch(old)
	b.poke()
	return nil
}

// unwatch stops waiting for accounts that are gone. Ids of a changed objective
// are both old and new; its new indicator is added again.
func (b *Books) unwatch(gone []*account) {
	if b.cfg.Watch == nil {
		return
	}
	for _, was := range gone {
		b.cfg.Watch.Remove(WatchPrefix + was.id)
		for _, a := range b.accounts {
			if a.id == was.id && a.refused == nil {
				b.await(a)
			}
		}
	}
}

// await waits for what an account counts, of either source.
func (b *Books) await(a *account) {
	b.cfg.Watch.Add(WatchPrefix+a.id, b.cfg.Namespace, a.indicator)
	if a.second != nil {
		b.cfg.Watch.Add(WatchPrefix+a.id, b.cfg.Namespace, *a.second)
	}
}

// Arrived says that a batch was stored. It does not block.
func (b *Books) Arrived(batch signal.Arrival) {
	if batch.Namespace != b.cfg.Namespace {
		return
	}
	if b.cfg.Watch != nil {
		ours := func(id string) bool { return strings.HasPrefix(id, WatchPrefix) }
		if !slices.ContainsFunc(batch.Indicators, ours) {
			return
		}
	}
	b.poke()
}

// Recount reads the past of accounts, "slo/index", anew: samples of it came in by an
// import. Until a minute is read it stays what it was.
func (b *Books) Recount(ids []string) {
	b.stepping.Lock() // a step that is under way has read some of it already
	defer b.stepping.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.accounts {
		if slices.Contains(ids, a.id) {
			a.books.low = a.books.high
		}
	}
	b.poke()
}

func (b *Books) poke() {
	select {
	case b.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Run keeps the books until ctx ends, and returns nil. It steps when data
// arrived, at least every minute, and again and again while there is past to
// read, but never faster than pace.
func (b *Books) Run(ctx context.Context) error {
	for {
		more := b.Step(ctx, b.cfg.Now())
		if !pause(ctx, pace, nil) || !more && !pause(ctx, slo.Slot, b.wake) {
			return nil
		}
	}
}

// pause waits for a time or a wake-up; it reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-wake:
	}
	return true
}

// pace is the least time between two steps: fresh enough for people, and slow
// enough that reading back a long window leaves the processor to others.
const pace = 250 * time.Millisecond

// Step reads what is newest, then a piece of the past, and reports whether
// there is past left to read. It reads at most stepReads intervals of each
// objective's past.
func (b *Books) Step(ctx context.Context, now time.Time) (more bool) {
	b.stepping.Lock()
	defer b.stepping.Unlock()
	b.mu.Lock()
	accounts := slices.Clone(b.accounts)
	b.mu.Unlock()
	left := stepReads
	for _, a := range accounts {
		if a.refused != nil || ctx.Err() != nil {
			continue
		}
		err := b.readNewest(ctx, a, now)
		if err == nil {
			left, err = b.readPast(ctx, a, now, left)
		}
		b.mu.Lock()
		if a.books.failed = err; err == nil && !a.books.complete(now) {
			more = true
		}
		b.mu.Unlock()
	}
	return more && ctx.Err() == nil
}

// find returns the account that a name means: that of an SLO, or
// "slo/index" for one of several.
func (b *Books) find(name string) (*account, error) {
	var found []*account
	for _, a := range b.accounts {
		if a.id == name {
			return a, nil
		}
		if a.objective.SLO == name {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if len(b.accounts) == 0 {
			return nil, &assay.Error{Code: assay.CodeNotFound, Msg: "there are no objectives", Hint: "put OpenSLO files into the policy directory; see docs/slo.md"}
		}
		ids := make([]string, len(b.accounts))
		for i, a := range b.accounts {
			ids[i] = a.objective.SLO
		}
		return nil, assay.Errorf(assay.CodeNotFound, "objective %s", strict.OneOf(name, slices.Compact(ids)))
	}
	e := assay.Errorf(assay.CodeInvalid, "SLO %q has %d objectives", name, len(found))
	e.Hint = "write " + found[0].id + " up to " + strconv.Itoa(len(found)-1)
	return nil, e
}

// account is one objective and its books.
type account struct {
	id        string // "slo/index"
	objective slo.Objective
	indicator signal.Indicator
	second    *signal.Indicator // counts the same from another sender; nil if nothing does
	refused   error             // why the indicator cannot be counted
	books     *books
}

func newAccount(o slo.Objective) *account {
	a := &account{id: fmt.Sprintf("%s/%d", o.SLO, o.Index), objective: o}
	a.indicator, a.refused = compile(o)
	if other, has := second(o); has && CheckSecond(o) == nil {
		a.second = new(signal.Indicator)
		*a.second, _ = compile(other)
	}
	// At a full minute the window's first minute still counts, and the one that
	// has just begun is kept already.
	a.books = &books{ring: slo.NewRing(o.Window.Longest() + slo.Slot)}
	return a
}

// sameBooks reports whether both count the same events over the same window.
func (a *account) sameBooks(other *account) bool {
	same := func(x, y *slo.Query) bool { return x == y || x != nil && y != nil && *x == *y }
	i, j := a.objective.Indicator, other.objective.Indicator
	return a.id == other.id && same(i.Good, j.Good) && same(i.Bad, j.Bad) && i.Total == j.Total &&
		a.books.ring.Minutes() == other.books.ring.Minutes() && (a.refused == nil) == (other.refused == nil)
}

// compile turns an OpenSLO ratio into an indicator that can be counted.
func compile(o slo.Objective) (signal.Indicator, error) {
	spec := signal.Spec{Service: o.Service, Name: o.SLO, Total: o.Indicator.Total.Text}
	queries := []*slo.Query{o.Indicator.Good, o.Indicator.Bad, &o.Indicator.Total}
	for _, q := range queries {
		if q != nil && q.Type != "" && !strings.EqualFold(q.Type, "Prometheus") {
			return signal.Indicator{}, assay.Errorf(assay.CodeInvalid, "the indicator's source is of type %q; only Prometheus has an adapter", q.Type)
		}
	}
	if o.Indicator.Good != nil {
		spec.Good = o.Indicator.Good.Text
	}
	if o.Indicator.Bad != nil {
		spec.Bad = o.Indicator.Bad.Text
	}
	return signal.Compile(spec)
}

// Check says why an objective's events cannot be counted, with CodeInvalid;
// nil if they can.
func Check(o slo.Objective) error {
	_, err := compile(o)
	return err
}

// CheckSecond says why an objective's events cannot be counted from its second source,
// with CodeInvalid; nil if they can, or if it has none.
func CheckSecond(o slo.Objective) error {
	if other, has := second(o); has {
		return Check(other)
	}
	return nil
}

// second is the objective as its second source counts it.
func second(o slo.Objective) (slo.Objective, bool) {
	var has bool
	o.Indicator, has = o.Indicator.Second()
	return o, has
}
