package proxy

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/enforce"
	"assay.dev/assay/internal/durable"
)

// stateFile is where the last good state lies in Options.Dir.
const stateFile = "state.json"

// maxSeries is how many versions keep their counts; those without a route are
// forgotten first.
const maxSeries = 1024

// Proxy is the door. Create it with Open, run it with Serve, and Close it.
type Proxy struct {
	dir     string
	lock    *durable.Lock
	token   [sha256.Size]byte
	proxies []netip.Prefix
	limits  Limits
	log     *slog.Logger
	quiet   *log.Logger // what net/http complains about
	now     func() time.Time
	started time.Time
	doorman *enforce.Doorman
	export  *exporter
	buffers buffers
	copies  *copies

	table    atomic.Pointer[table] // read by every request
	refusals refusals
	entries  entries

	mu       sync.Mutex // guards changes of state; held while it is written
	state    enforce.State
	backends map[string]*backend
	series   map[seriesKey]*series
	order    []seriesKey      // of series, oldest first
	gates    map[string]*gate // by route, of those with levers
}

// seriesKey names a series: what a version was asked, or what pairs of requests and
// their copies came to.
type seriesKey struct {
	route, version string
	paired         bool
}

// table is a snapshot with the doors of its targets, by Target.Index.
type table struct {
	snap  *enforce.Snapshot
	doors []*door
	// mirrors are those of the routes that have one.
	mirrors map[*enforce.Way]*mirror
	// limiters are those of the routes that have levers.
	limiters map[*enforce.Way]*limiter
}

// Open takes the folder of o and makes ready to enforce the state it finds there,
// o.Initial if it finds none. A state that cannot be read is an error: starting
// with another one would enforce what nobody decided.
func Open(o Options) (*Proxy, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := durable.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := durable.LockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		dir: o.Dir, lock: lock, token: sha256.Sum256([]byte(o.Token)), proxies: o.TrustedProxies,
		limits: o.Limits.orDefault(), log: o.Log, quiet: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), now: o.Now, started: o.Now(),
		doorman:  enforce.NewDoorman(o.Trust, o.AllowDryRun),
		backends: map[string]*backend{}, series: map[seriesKey]*series{}, gates: map[string]*gate{},
	}
	p.copies = newCopies(p.limits.Copies)
	if o.Export.Instance == "" {
		o.Export.Instance = freshID()
	}
	p.doorman.Believe(o.Trust, o.Verify)
	p.export = newExporter(o.Export.orDefault(), p.started)
	if err := p.begin(o.Initial); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	return p, nil
}

// begin loads the state and activates it.
func (p *Proxy) begin(initial enforce.Config) error {
	path := filepath.Join(p.dir, stateFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if p.state, err = enforce.NewState(initial); err != nil {
			return err
		}
	case err != nil:
		return assay.Errorf(assay.CodeUnavailable, "state cannot be read: %w", err).In(path)
	default:
		if p.state, err = enforce.ParseState(data); err != nil {
			if e, ok := errors.AsType[*assay.Error](err); ok {
				e = e.In(path)
				e.Hint = "restore the file, or remove it to start from the initial configuration"
				return e
			}
			return err
		}
	}
	t, err := p.build(p.state)
	if err != nil {
		return err
	}
	p.activate(t)
	return nil
}

// activate lets requests be judged by t from now on.
func (p *Proxy) activate(t *table) {
	p.table.Store(t)
	now := p.now()
	live := map[string]bool{}
	for _, l := range t.limiters {
		live[l.route] = true
		p.gates[l.route] = l.gate
		l.settle(l, now)
	}
	for route := range p.gates {
		if !live[route] {
			delete(p.gates, route)
		}
	}
}

// Believe replaces whose attestations let a version in, at once: versions that
// have traffic are judged anew as well, and refused if nothing speaks for them any more.
func (p *Proxy) Believe(trust attest.TrustPolicy, verify enforce.Verify) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doorman.Believe(trust, verify)
	t, err := p.build(p.state)
	if err != nil {
		return err
	}
	p.activate(t)
	return nil
}

// Close gives the folder back and lets idle connections go. Serve must have returned.
func (p *Proxy) Close() error {
	p.copies.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.backends {
		b.transport.CloseIdleConnections()
	}
	return p.lock.Release()
}

// build makes the table of a state. Backends and counts that exist are used again.
func (p *Proxy) build(s enforce.State) (*table, error) {
	snap, err := p.doorman.Build(s)
	if err != nil {
		return nil, err
	}
	t := &table{snap: snap, mirrors: map[*enforce.Way]*mirror{}, limiters: map[*enforce.Way]*limiter{}}
	for _, target := range snap.Targets {
		d, err := p.doorTo(target)
		if err != nil {
			return nil, assay.Errorf(assay.CodeInvalid, "backend of version %s: %w", target.Version.Name, err)
		}
		t.doors = append(t.doors, d)
	}
	for _, w := range snap.Ways() {
		if w.Valve != nil {
			g := p.gates[w.Route.Name]
			if g == nil {
				g = newGate(w)
			}
			t.limiters[w] = g.newLimiter(w.Valve)
		}
	}
	for _, w := range snap.Ways() {
		if w.Mirrored() == nil {
			continue
		}
		m := &mirror{rule: *w.Route.Mirror, door: t.doors[w.Mirrored().Index], pair: map[string]*series{}}
		for _, target := range w.Targets {
			m.pair[target.Version.Name] = p.seriesOf(target, true)
		}
		t.mirrors[w] = m
	}
	return t, nil
}

// doorTo makes the door to a version, with one for each region that it runs in.
func (p *Proxy) doorTo(t *enforce.Target) (*door, error) {
	addresses := []string{t.Version.Backend}
	if len(t.Version.Places) > 0 {
		addresses = nil
		for _, x := range t.Version.Places {
			addresses = append(addresses, x.Backend)
		}
	}
	var doors []*door
	for _, address := range addresses {
		b := p.backends[address]
		if b == nil {
			var err error
			if b, err = newBackend(address, p.limits); err != nil {
				return nil, err
			}
			p.backends[address] = b
		}
		doors = append(doors, p.newDoor(t, b, p.seriesOf(t, false)))
	}
	if len(t.Version.Places) > 0 {
		doors[0].regions = doors
	}
	return doors[0], nil
}

func (p *Proxy) seriesOf(t *enforce.Target, paired bool) *series {
	k := seriesKey{t.Way.Route.Name, t.Version.Name, paired}
	if s, ok := p.series[k]; ok {
		return s
	}
	s := &series{route: k.route, service: t.Way.Route.Service, version: k.version}
	p.series[k] = s
	p.order = append(p.order, k)
	return s
}

// change applies f to the state: entry is checked, the successor is made durable,
// and only then does it become active. Changes are made one after the other.
func (p *Proxy) change(f func(enforce.State, time.Time) (enforce.State, enforce.Receipt, bool, error)) (enforce.Answer, *enforce.Refusal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	next, receipt, replayed, err := f(p.state, now)
	if err != nil || replayed {
		return enforce.Answer{Receipt: receipt, Replayed: replayed}, nil, err
	}
	active, known := p.table.Load(), len(p.order)
	done := false
	defer func() {
		if !done { // what the refused table brought along goes with it
			for _, k := range p.order[known:] {
				delete(p.series, k)
			}
			p.order = p.order[:known]
			p.forget(active)
		}
	}()
	t, err := p.build(next)
	if err != nil {
		return enforce.Answer{}, nil, err
	}
	if refusal, err := t.snap.Entering(active.snap, now); err != nil {
		p.log.Warn("version refused entry", "step", refusal.Name, "detail", refusal.Detail)
		return enforce.Answer{}, refusal, err
	}
	data, err := json.Marshal(next)
	if err != nil {
		return enforce.Answer{}, nil, assay.Errorf(assay.CodeInternal, "state cannot be written: %w", err)
	}
	if len(data) > enforce.MaxState {
		return enforce.Answer{}, nil, assay.Errorf(assay.CodeTooLarge, "the state would have %d bytes; the limit is %d", len(data), enforce.MaxState)
	}
	if err := durable.WriteFile(filepath.Join(p.dir, stateFile), data, 0o600); err != nil {
		return enforce.Answer{}, nil, assay.Errorf(assay.CodeUnavailable, "the change could not be made durable and is not active: %w", err)
	}
	done = true
	p.state = next
	p.activate(t)
	p.forget(t)
	p.log.Info("revision active", "revision", receipt.Revision, "key", receipt.Key, "generation", receipt.Generation)
	return enforce.Answer{Receipt: receipt}, nil, nil
}

// forget lets go of backends that no door leads to, and of old counts.
func (p *Proxy) forget(t *table) {
	used := map[*backend]bool{}
	live := map[seriesKey]bool{}
	for _, d := range t.doors {
		used[d.backend] = true
		for _, r := range d.regions {
			used[r.backend] = true
		}
		live[seriesKey{d.series.route, d.series.version, false}] = true
	}
	for address, b := range p.backends {
		if !used[b] {
			delete(p.backends, address)
			b.transport.CloseIdleConnections() // requests under way keep theirs
		}
	}
	for _, m := range t.mirrors {
		for version, s := range m.pair {
			live[seriesKey{s.route, version, true}] = true
		}
	}
	kept := p.order[:0:0]
	for i, k := range p.order {
		if !live[k] && len(p.order)-i+len(kept) > maxSeries {
			delete(p.series, k)
			continue
		}
		kept = append(kept, k)
	}
	p.order = kept
}

// read returns the counts of all versions that are kept, in a fixed order.
func (p *Proxy) read() []counts {
	p.mu.Lock()
	list := make([]*series, 0, len(p.order))
	for _, k := range p.order {
		if !k.paired {
			list = append(list, p.series[k])
		}
	}
	t := p.table.Load()
	p.mu.Unlock()
	now := p.now()
	doors := make(map[*series]*door, len(t.doors))
	for _, d := range t.doors {
		doors[d.series] = d
	}
	out := make([]counts, 0, len(list))
	for _, s := range list {
		c := s.read()
		if d := doors[s]; d != nil {
			refusal, _ := d.target.Enter(now)
			c.percent, c.admitted = d.target.Percent, refusal == nil
		}
		out = append(out, c)
	}
	return out
}

// readPairs returns what pairs of requests and copies came to, by version.
func (p *Proxy) readPairs() (out []counts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.order {
		if k.paired {
			out = append(out, p.series[k].read())
		}
	}
	return out
}

func freshID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
