package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/anomaly"
	"assay.dev/assay/api"
	"assay.dev/assay/budget"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// History is where an import of history goes, for one namespace.
type History struct {
	Namespace string
	// Stage begins an import.
	Stage func(now time.Time) (signal.Staging, error)
	// Relearn runs publish while nothing is learnt of the services, and lets their
	// detectors learn anew. May be nil: then nothing learns.
	Relearn func(services []string, publish func() error) error
	// Recount lets the books of objectives, "slo/index", be read anew. May be nil.
	Recount func(objectives []string)
	// Foresee lets forecasts be made anew. May be nil.
	Foresee func()
}

// Where the newest sample that imports brought of each metric is kept.
const (
	importBucket = "telemetry-import"
	importPage   = "through"
)

// maxImported is how many metrics of a namespace may have been imported.
const maxImported = 10 * signal.MaxImportMetrics

// importing is the import that is under way: one at a time for an installation, since
// each takes memory and disk.
type importing struct {
	mu      sync.Mutex // held while a piece is taken and while it is finished
	id      string     // "" for none
	caller  Caller
	source  string
	staging signal.Staging
	pieces  int
	last    api.ImportTaken // what became of the newest piece
	touched time.Time
	refused signal.Result // of all pieces
}

// drop forgets the import that is under way.
func (i *importing) drop() error {
	if i.id == "" {
		return nil
	}
	i.id = ""
	return i.staging.Discard()
}

// BeginImport begins an import of history. CodeConflict while another is under way.
func (s *Session) BeginImport(_ context.Context, req api.ImportRequest) (api.ImportBegun, error) {
	h, err := s.history()
	if err != nil {
		return api.ImportBegun{}, err
	}
	if err := checkText("source", req.Source); err != nil {
		return api.ImportBegun{}, err
	}
	i, now := &s.p.imports, s.p.cfg.Now()
	if !i.mu.TryLock() {
		return api.ImportBegun{}, busy()
	}
	defer i.mu.Unlock()
	if i.id != "" && now.Sub(i.touched) < signal.MaxImportIdle {
		return api.ImportBegun{}, busy()
	}
	if err := i.drop(); err != nil {
		return api.ImportBegun{}, err
	}
	staging, err := h.Stage(now)
	if err != nil {
		return api.ImportBegun{}, err
	}
	i.id, i.caller, i.source, i.staging = string(store.NewFactID()), s.caller, req.Source, staging
	i.pieces, i.last, i.touched, i.refused = 0, api.ImportTaken{}, now, signal.Result{}
	return api.ImportBegun{ID: i.id}, nil
}

// history is where imports of the caller's namespace go, if he may import.
func (s *Session) history() (*History, error) {
	if err := s.require(api.RoleOperator); err != nil {
		return nil, err
	}
	h := s.p.cfg.History
	if h == nil || h.Namespace != s.caller.Namespace {
		e := assay.Errorf(assay.CodeNotFound, "no series are kept for namespace %q", s.caller.Namespace)
		e.Hint = "history is imported by assay serve, or into its state directory, for the namespace that it is started with"
		return nil, e
	}
	return h, nil
}

// busy is that somebody else's import, or another request of the caller's, is under way.
// Who waited would hold what he sends in memory.
func busy() error {
	e := assay.Errorf(assay.CodeConflict, "history is being imported now; one import is taken at a time")
	e.Hint = fmt.Sprintf("begin again when it is done; one that sends nothing is dropped after %s", signal.MaxImportIdle)
	return e
}

// under finds the caller's import and holds it; who gets it unlocks it.
func (s *Session) under(id string) (*importing, error) {
	if _, err := s.history(); err != nil {
		return nil, err
	}
	i := &s.p.imports
	if !i.mu.TryLock() {
		return nil, busy()
	}
	if i.id == "" || i.id != id || i.caller.Name != s.caller.Name || i.caller.Namespace != s.caller.Namespace {
		e := assay.Errorf(assay.CodeNotFound, "import %q is not under way", id)
		e.Hint = fmt.Sprintf("one that sends nothing for %s, or whose server restarts, is dropped: begin anew, nothing was imported", signal.MaxImportIdle)
		i.mu.Unlock()
		return nil, e
	}
	i.touched = s.p.cfg.Now()
	return i, nil
}

// ImportPiece takes piece number n, from 1 on, of an import: samples as a request of remote
// write, in snappy. A piece that is sent again is answered as it was, and not taken twice.
func (s *Session) ImportPiece(ctx context.Context, id string, n int, body io.Reader) (api.ImportTaken, error) {
	i, err := s.under(id)
	if err != nil {
		return api.ImportTaken{}, err
	}
	defer i.mu.Unlock()
	data, err := signal.ReadPiece(body)
	switch {
	case err != nil:
		return api.ImportTaken{}, err
	case n == i.pieces && n > 0:
		return i.last, nil
	case n != i.pieces+1:
		return api.ImportTaken{}, assay.Errorf(assay.CodeConflict, "piece %d does not follow piece %d", n, i.pieces)
	}
	res, err := i.staging.Add(ctx, data)
	if err != nil { // some of it may stand already
		return api.ImportTaken{}, errors.Join(err, i.drop())
	}
	i.pieces++
	for why, n := range res.Refused {
		i.refused.Refuse(why, n, res.First)
	}
	i.last = api.ImportTaken{Accepted: res.Accepted, Refused: reasons(res.Refused), First: res.First}
	return i.last, nil
}

// AbandonImport drops an import; nothing of it was to be seen.
func (s *Session) AbandonImport(_ context.Context, id string) error {
	i, err := s.under(id)
	if err != nil {
		return err
	}
	defer i.mu.Unlock()
	return i.drop()
}

// CompleteImport makes what was imported readable, all at once, and records that it
// happened. What stands already stays, and an import that brings nothing new records nothing.
func (s *Session) CompleteImport(ctx context.Context, id string, c api.ImportCompletion) (api.Import, error) {
	i, err := s.under(id)
	if err != nil {
		return api.Import{}, err
	}
	defer i.mu.Unlock()
	if c.Input != "" {
		if _, err := assay.ParseDigest(string(c.Input)); err != nil {
			return api.Import{}, err
		}
	}
	out, err := s.complete(ctx, s.p.cfg.History, i, c)
	if err != nil {
		return api.Import{}, errors.Join(err, i.drop())
	}
	return out, nil
}

func (s *Session) complete(ctx context.Context, h *History, i *importing, c api.ImportCompletion) (api.Import, error) {
	through, err := s.through(ctx)
	if err != nil {
		return api.Import{}, err
	}
	fact := store.NewFactID()
	if len(through) > maxImported {
		return api.Import{}, assay.Errorf(assay.CodeTooLarge, "more than %d metrics were imported into namespace %q", maxImported, s.caller.Namespace)
	}
	built, err := i.staging.Build(ctx, fact, through)
	if err != nil {
		return api.Import{}, err
	}
	for why, n := range i.refused.Refused {
		built.Refuse(why, n, i.refused.First)
	}
	out := api.Import{
		DryRun: c.DryRun, Source: i.source, Input: c.Input, Digest: built.Digest, Series: built.Series, Samples: built.Samples,
		Duplicates: built.Duplicates, Refused: reasons(built.Refused), First: built.First, Oldest: built.Oldest, Newest: built.Newest,
		Metrics: slices.Sorted(maps.Keys(built.Through)), Objectives: []string{},
	}
	if out.Objectives, out.Services, err = s.counting(built.Watched); err != nil {
		return out, err
	}
	if c.DryRun || built.Samples == 0 {
		return out, i.drop()
	}
	publish := func() error {
		if err := s.imported(ctx, fact, out, through, built.Through); err != nil {
			return err
		}
		out.Fact = fact
		// It is recorded: from here on it is finished, now or when the series are opened next.
		return i.staging.Publish(context.WithoutCancel(ctx))
	}
	if h.Relearn != nil {
		err = h.Relearn(out.Services, publish)
	} else {
		err = publish()
	}
	if out.Fact == "" && assay.CodeOf(err) != assay.CodeUnavailable {
		return out, err
	}
	// Not dropped: if it was not published, or nobody knows whether it was recorded, the
	// next start asks the store and ends it.
	i.id = ""
	s.p.cfg.Poke()
	if err != nil {
		return out, assay.Errorf(assay.CodeUnavailable, "the import may be recorded; it is finished when the server starts next: %w", err)
	}
	if h.Recount != nil {
		h.Recount(out.Objectives)
	}
	if h.Foresee != nil {
		h.Foresee()
	}
	return out, nil
}

// through is the newest sample that imports brought of each metric of the caller's
// namespace, Unix milliseconds.
func (s *Session) through(ctx context.Context) (map[string]int64, error) {
	out := map[string]int64{}
	err := s.p.cfg.Store.View(ctx, func(r store.Reader) error {
		v, err := r.Get(store.Key{Namespace: s.caller.Namespace, Bucket: importBucket, Name: importPage})
		if assay.CodeOf(err) == assay.CodeNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(v.Data, &out)
	})
	return out, err
}

// imported records an import, in one transaction with what is known of it later.
func (s *Session) imported(ctx context.Context, fact assay.FactID, what api.Import, was, brought map[string]int64) error {
	payload, err := json.Marshal(what)
	if err != nil {
		return err
	}
	through := maps.Clone(was)
	for name, at := range brought {
		through[name] = max(through[name], at)
	}
	page, err := json.Marshal(through)
	if err != nil {
		return err
	}
	return s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Append(assay.Fact{
			ID: fact, Kind: assay.FactTelemetryImported, Version: 1, Time: s.p.cfg.Now().UTC(), Namespace: s.caller.Namespace,
			Actor: s.caller.Name, Retention: assay.RetainAudit, Payload: payload,
		}); err != nil {
			return err
		}
		for _, name := range what.Services {
			if err := anomaly.Forget(tx, s.caller.Namespace, name); err != nil {
				return err
			}
		}
		_, err := tx.Put(store.Key{Namespace: s.caller.Namespace, Bucket: importBucket, Name: importPage}, page, store.AnyVersion)
		return err
	})
}

// counting are the objectives among ids that were watched, and their services.
func (s *Session) counting(ids []string) (objectives, services []string, err error) {
	p, err := s.p.cfg.Policy()
	if err != nil {
		return nil, nil, err
	}
	list, _, err := ReadObjectives(p.Revision.Objectives())
	if err != nil {
		return nil, nil, err
	}
	objectives = []string{}
	for _, id := range ids {
		name, ok := strings.CutPrefix(id, budget.WatchPrefix)
		if !ok {
			continue
		}
		objectives = append(objectives, name)
		for _, o := range list {
			if fmt.Sprintf("%s/%d", o.SLO, o.Index) == name {
				services = append(services, o.Service)
			}
		}
	}
	slices.SortFunc(services, cmp.Compare)
	return objectives, slices.Compact(services), nil
}

func reasons(refused map[signal.Reason]int) map[string]int {
	if len(refused) == 0 {
		return nil
	}
	out := map[string]int{}
	for why, n := range refused {
		out[string(why)] = n
	}
	return out
}

// ImportRecorded reports whether the fact of an import is in the store.
func ImportRecorded(ctx context.Context, st store.Store, namespace string, fact assay.FactID) (bool, error) {
	err := st.View(ctx, func(r store.Reader) error {
		_, err := r.Fact(namespace, fact)
		return err
	})
	if assay.CodeOf(err) == assay.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}
