package ledger

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/pause"
	"assay.dev/assay/store"
)

// Defaults of SequencerConfig.
const (
	DefaultTick       = time.Second
	DefaultMinBackoff = 100 * time.Millisecond
	DefaultMaxBackoff = 30 * time.Second
	// publishPoll is how often a sequencer that waits for a checkpoint looks for it.
	publishPoll = 25 * time.Millisecond
)

// SequencerConfig says what a Sequencer works on. Outbox, Open and Salt are mandatory.
type SequencerConfig struct {
	Outbox store.Outbox
	Open   Opener
	Salt   []byte // of namespaces in leaves, at least 16 bytes; never changes in the life of a ledger

	// Lease returns nil while this process is the only sequencer. It is asked
	// before the tree is opened and before each batch. nil means nobody else exists.
	Lease func(ctx context.Context) error
	// Halted is told each time the sequencer stops, from its goroutine; the caller
	// records the fact ledger.halted. It must not wait for the sequencer. May be nil.
	Halted func(Halt)
	// Head reads the latest checkpoint of the tree, to measure publication; a Reader's
	// ReadCheckpoint. nil means publication is not measured.
	Head func(ctx context.Context) ([]byte, error)

	Batch      int           // leaves per batch; default and most MaxBatch
	Tick       time.Duration // how often to look for facts without a poke; default DefaultTick
	MinBackoff time.Duration // first wait after a halt; default DefaultMinBackoff
	MaxBackoff time.Duration // longest wait; default DefaultMaxBackoff

	Now     func() time.Time // default time.Now
	Log     *slog.Logger     // default discards
	Metrics *Metrics         // default unregistered ones
}

// Halt says that the sequencer stopped and why.
type Halt struct {
	Err   error // one line with a hint
	Final bool  // store and tree contradict each other: a person must act, nothing is signed
}

// Sequencer moves facts from the store's outbox into the tree. One goroutine, Run,
// does everything; Poke may be called from any.
//
// It never has two batches under way: while one is, the store only notes where the
// one before ended up, and loads the next. Each batch is appended at once, every index
// is awaited and compared with the assigned one (the tree's end, counted on). After
// any error and any other index it stops, reports, closes the tree, opens it again
// and asks the tree's own end what happened: leaves that arrived are placed where
// they are, and only what is not there is appended again. So a fact is in the tree
// once, whatever failed, as long as the tree keeps what it said is durable.
type Sequencer struct {
	cfg  SequencerConfig
	poke chan struct{}
	work sync.Mutex // held for a step, and by Hold
	lag  lag

	// Owned by Run's goroutine.
	next    uint64 // index that the next leaf must get
	origin  epochBase
	waiting []unpublished
	ahead   batch   // loaded while the last one was appended
	unnoted arrived // appended last; noted while the next one is appended
}

// epochBase says how store numbers and tree indices of an epoch relate: without
// trouble, index = seq - start + base.
type epochBase struct {
	base  uint64 // leaves before the first fact: 0, or 1 where an epoch leaf opens the tree
	start uint64 // number of the first fact
	until uint64 // facts numbered below it have the index of an earlier epoch in the store
}

// unpublished is a batch whose checkpoint is awaited.
type unpublished struct {
	size     uint64
	recorded []time.Time
}

// NewSequencer checks the configuration and fills in its defaults.
func NewSequencer(cfg SequencerConfig) (*Sequencer, error) {
	if cfg.Outbox == nil || cfg.Open == nil {
		return nil, assay.Errorf(assay.CodeInternal, "sequencer needs an outbox and a tree")
	}
	if err := checkSalt(cfg.Salt); err != nil {
		return nil, err
	}
	if cfg.Batch < 0 || cfg.Batch > MaxBatch {
		return nil, assay.Errorf(assay.CodeInvalid, "sequencer batch of %d is not between 1 and %d", cfg.Batch, MaxBatch)
	}
	if cfg.Batch == 0 {
		cfg.Batch = MaxBatch
	}
	if cfg.Tick <= 0 {
		cfg.Tick = DefaultTick
	}
	if cfg.MinBackoff <= 0 {
		cfg.MinBackoff = DefaultMinBackoff
	}
	if cfg.MaxBackoff <= 0 {
		cfg.MaxBackoff = DefaultMaxBackoff
	}
	if cfg.Lease == nil {
		cfg.Lease = func(context.Context) error { return nil }
	}
	if cfg.Halted == nil {
		cfg.Halted = func(Halt) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	return &Sequencer{cfg: cfg, poke: make(chan struct{}, 1)}, nil
}

func checkSalt(salt []byte) error {
	if len(salt) < 16 {
		return assay.Errorf(assay.CodeInvalid, "ledger salt has %d bytes; it needs at least 16", len(salt))
	}
	return nil
}

// Poke says that facts were committed. It never blocks.
func (s *Sequencer) Poke() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Hold runs fn while nothing is numbered or appended: store and tree can be copied as
// they belong together. Facts go on being recorded, and what is in the tree goes on
// being published.
func (s *Sequencer) Hold(fn func() error) error {
	s.work.Lock()
	defer s.work.Unlock()
	return fn()
}

// Run sequences until ctx ends, and then returns nil after the tree is closed. It
// returns early only with the error of a final Halt. Call it once.
func (s *Sequencer) Run(ctx context.Context) error {
	backoff := s.cfg.MinBackoff
	for {
		worked, err := s.session(ctx)
		if ctx.Err() != nil && !isFinal(err) {
			return nil
		}
		if _, standby := errors.AsType[*standbyError](err); standby {
			// Whoever has the lease goes on where this process stopped.
			if !pause.For(ctx, s.cfg.Tick) {
				return nil
			}
			continue
		}
		final := isFinal(err)
		s.noteLag(err)
		s.cfg.Metrics.halts.Inc()
		s.cfg.Log.Error("ledger sequencer stopped", "error", err, "final", final)
		if final {
			s.cfg.Metrics.stopped.Set(1)
			s.cfg.Halted(Halt{Err: err, Final: true})
			return err
		}
		s.cfg.Halted(Halt{Err: err})
		if worked {
			backoff = s.cfg.MinBackoff
		}
		if !pause.For(ctx, backoff) {
			return nil
		}
		backoff = min(2*backoff, s.cfg.MaxBackoff)
	}
}

// session opens the tree, works until something fails, and closes it. It reports
// whether at least one batch succeeded.
func (s *Sequencer) session(ctx context.Context) (worked bool, err error) {
	if err := s.cfg.Lease(ctx); err != nil {
		return false, &standbyError{err}
	}
	tree, err := s.cfg.Open(ctx, s.reconcile)
	if assay.CodeOf(err) == assay.CodeConflict && !isFinal(err) {
		err = &finalError{err} // the tree is older than its own signed head
	}
	if err != nil {
		return false, err
	}
	defer func() {
		if cerr := tree.Close(); cerr != nil {
			// An old append may still write: going on here could put facts in twice.
			err = &finalError{assay.Errorf(assay.CodeUnavailable, "ledger tree does not close: %w (after: %v)", cerr, err)}
		}
	}()
	for {
		n, err := s.step(ctx, tree)
		worked = worked || n > 0
		if err != nil {
			return worked, err
		}
		s.observePublished(ctx)
		s.noteLag(nil)
		if n == s.cfg.Batch {
			continue // there may be more
		}
		if err := s.wait(ctx, tree); err != nil {
			return worked, err
		}
	}
}

// step moves one batch and returns its size.
func (s *Sequencer) step(ctx context.Context, tree Tree) (int, error) {
	s.work.Lock()
	defer s.work.Unlock()
	if err := s.cfg.Lease(ctx); err != nil {
		return 0, &standbyError{err}
	}
	b, err := s.gather(ctx, tree)
	if err != nil {
		return 0, err
	}
	if len(b.entries) == 0 {
		return 0, s.noteBehind(ctx)() // no append will follow at once to note them beside
	}
	first, last := b.entries[0].Seq, b.entries[len(b.entries)-1].Seq
	join := func() (batch, error) { return batch{}, nil }
	if len(b.entries) == s.cfg.Batch {
		join = s.loadBehind(ctx, last)
	}
	noted := s.noteBehind(ctx)
	hung := s.appending()
	indices, err := tree.Append(ctx, b.leaves)
	hung()
	ahead, aheadErr := join()
	noteErr := noted()
	if err != nil {
		return 0, assay.Errorf(codeOf(err), "ledger append of %d facts from number %d failed: %w", len(b.entries), first, err)
	}
	if noteErr != nil {
		return 0, noteErr
	}
	if err := s.compare(b.entries, indices); err != nil {
		return 0, err
	}
	s.next += uint64(len(b.entries))
	s.unnoted = arrived{first: first, placed: make([]store.Placement, len(b.entries)), recorded: b.recorded}
	for i, e := range b.entries {
		s.unnoted.placed[i] = store.Placement{Seq: e.Seq, Index: indices[i]}
	}
	if len(ahead.entries) == 0 {
		if err := s.noteBehind(ctx)(); err != nil {
			return 0, err
		}
	}
	s.ahead = ahead
	return len(b.entries), aheadErr
}

// arrived is a batch that is in the tree, at the assigned indices, and whose
// indices the store has not noted yet.
type arrived struct {
	first    uint64
	placed   []store.Placement
	recorded []time.Time
}

// noteBehind has the store note where the last batch is, while the next one is
// appended. At most two batches are in the tree without the store knowing, and
// the store notes them in order, which is all that reconcile asks for.
func (s *Sequencer) noteBehind(ctx context.Context) (join func() error) {
	a := s.unnoted
	s.unnoted = arrived{}
	if len(a.placed) == 0 {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- s.cfg.Outbox.Place(ctx, a.placed) }()
	return func() error {
		if err := <-done; err != nil {
			return assay.Errorf(codeOf(err), "store did not take the ledger index of %d facts from number %d: %w", len(a.placed), a.first, err)
		}
		s.placed(a)
		return nil
	}
}

// batch is what one append takes.
type batch struct {
	entries  []store.Entry
	leaves   [][]byte
	recorded []time.Time
}

// load numbers facts and makes the leaves of up to limit from number from on.
func (s *Sequencer) load(ctx context.Context, from uint64, limit int) (batch, error) {
	entries, err := s.cfg.Outbox.Sequence(ctx, from, limit)
	if err != nil {
		return batch{}, err
	}
	return s.batchOf(entries)
}

// batchOf makes the leaves of entries, on all processors: it is the work of the
// ledger that no disk waits for.
func (s *Sequencer) batchOf(entries []store.Entry) (batch, error) {
	n := len(entries)
	b := batch{entries: entries, leaves: make([][]byte, n), recorded: make([]time.Time, n)}
	parts := runtime.GOMAXPROCS(0)
	errs := make([]error, parts)
	var wg sync.WaitGroup
	for p := range parts {
		wg.Go(func() { errs[p] = b.make(p*n/parts, (p+1)*n/parts, s.cfg.Salt) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return batch{}, &finalError{err} // no retry makes it valid, and none may be skipped
	}
	return b, nil
}

// make makes the leaves from one position to another.
func (b *batch) make(from, to int, salt []byte) error {
	var namespace, salted string
	for i, e := range b.entries[from:to] {
		if e.Fact.Namespace != namespace || salted == "" {
			namespace, salted = e.Fact.Namespace, SaltNamespace(salt, e.Fact.Namespace)
		}
		l, err := leafOf(e, salted)
		if err != nil {
			return err
		}
		b.leaves[from+i], b.recorded[from+i] = l.Marshal(), e.Fact.Recorded
	}
	return nil
}

// loadBehind loads what follows number last while the batch of last is on its way
// to the disk: the store answers while the tree syncs.
func (s *Sequencer) loadBehind(ctx context.Context, last uint64) (join func() (batch, error)) {
	type loaded struct {
		batch batch
		err   error
	}
	done := make(chan loaded, 1)
	go func() {
		b, err := s.load(ctx, last+1, s.cfg.Batch)
		done <- loaded{b, err}
	}()
	return func() (batch, error) {
		l := <-done
		return l.batch, l.err
	}
}

// compare reports the first index that is not the assigned one.
func (s *Sequencer) compare(entries []store.Entry, indices []uint64) error {
	if len(indices) != len(entries) {
		return assay.Errorf(assay.CodeInternal, "ledger tree answered %d indices for %d leaves", len(indices), len(entries))
	}
	for i, got := range indices {
		if want := s.next + uint64(i); got != want {
			return assay.Errorf(assay.CodeInternal, "ledger tree put fact number %d at index %d, assigned was %d; reopening to read what is there",
				entries[i].Seq, got, want)
		}
		if normal := entries[i].Seq - s.origin.start + s.origin.base; got != normal {
			s.cfg.Metrics.displaced.Inc()
			s.cfg.Log.Warn("ledger leaf is out of the store's order", "seq", entries[i].Seq, "index", got, "normal", normal)
		}
	}
	return nil
}

// placed measures a batch that is in the tree and in the store.
func (s *Sequencer) placed(a arrived) {
	m := s.cfg.Metrics
	observe(m.placed, a.recorded, s.cfg.Now())
	m.leaves.Add(float64(len(a.recorded)))
	size := a.placed[len(a.placed)-1].Index + 1
	m.treeSize.Set(float64(size))
	if s.cfg.Head == nil {
		return
	}
	s.waiting = append(s.waiting, unpublished{size: size, recorded: a.recorded})
	if len(s.waiting) > 1024 { // signing is stuck; the gauges show it
		s.waiting = s.waiting[1:]
	}
}

// observePublished measures the batches that a checkpoint covers by now.
func (s *Sequencer) observePublished(ctx context.Context) {
	if len(s.waiting) == 0 {
		return
	}
	raw, err := s.cfg.Head(ctx)
	if err != nil {
		return // the audit reports an unreadable head; here it is only a measure
	}
	size, err := sizeOf(raw)
	if err != nil {
		return
	}
	s.cfg.Metrics.covered.Set(float64(size))
	for len(s.waiting) > 0 && s.waiting[0].size <= size {
		observe(s.cfg.Metrics.published, s.waiting[0].recorded, s.cfg.Now())
		s.waiting = s.waiting[1:]
	}
}

// finalError is a contradiction that no retry resolves.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// standbyError says that another process has the lease: nothing is wrong.
type standbyError struct{ err error }

func (e *standbyError) Error() string { return e.err.Error() }
func (e *standbyError) Unwrap() error { return e.err }

func isFinal(err error) bool {
	_, ok := errors.AsType[*finalError](err)
	return ok
}

func codeOf(err error) assay.Code {
	if c := assay.CodeOf(err); c != assay.CodeInternal {
		return c
	}
	return assay.CodeUnavailable
}
