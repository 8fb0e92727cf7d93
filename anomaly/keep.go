package anomaly

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
)

// Buckets of the notebook: a page for each service, and one for each of its objectives.
// Gates have a page of their own in the first.
const (
	bucketService   = "anomaly"
	bucketObjective = "anomaly-objective"
	gatesPage       = "_gates"
)

func (w *Watcher) servicePage(name string) store.Key {
	return store.Key{Namespace: w.cfg.Namespace, Bucket: bucketService, Name: name}
}

func (w *Watcher) objectivePage(s *service, u *subject) store.Key {
	return store.Key{Namespace: w.cfg.Namespace, Bucket: bucketObjective, Name: s.name + "/" + u.id}
}

// open reads a service's pages. What is not there, or does not fit, is learnt anew, and
// the service begins with its past.
func (w *Watcher) open(ctx context.Context, s *service) error {
	var page serviceState
	pages, bands := make([]kept, len(s.subjects)), make([]bandsState, len(s.subjects))
	whole := true
	err := w.cfg.Store.View(ctx, func(r store.Reader) error {
		var err error
		if whole, err = readPage(r, w.servicePage(s.name), &page); err != nil {
			return err
		}
		for i, u := range s.subjects {
			ok, err := readPage(r, w.objectivePage(s, u), &pages[i])
			if err != nil {
				return err
			}
			whole = whole && ok
			if _, err := readPage(r, w.bandsPage(s, u), &bands[i]); err != nil { // without one forecasts begin anew
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.restore(s, page, pages, bands, whole)
	if !slices.ContainsFunc(s.subjects, func(u *subject) bool { return !u.load.made.Made.IsZero() }) {
		s.fresh = false
		return nil
	}
	// What is forecast is held against what came by the versions that made it.
	if err := w.models(ctx, s, time.Unix(s.next*60, 0).UTC()); err != nil {
		return err
	}
	s.fresh = false
	return nil
}

// restore lets a service go on from its pages, or begin if they are no whole.
func (w *Watcher) restore(s *service, page serviceState, pages []kept, bands []bandsState, whole bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, u := range s.subjects {
		if !whole || pages[i].Fingerprint != u.fingerprint() || pages[i].Zone != s.zone.String() || !u.restore(pages[i]) {
			whole = false
		}
	}
	if !whole {
		w.forget(s)
		return
	}
	for i, joint := range s.joints {
		if i < len(page.Joints) {
			joint.Restore(page.Joints[i]) // one of other indicators is learnt anew
		}
	}
	for i, u := range s.subjects {
		u.resume(bands[i]) // what does not fit begins anew
	}
	s.next, s.saved, s.learnt = page.Next, page.Next, page.Learnt
}

// forget begins a service as if nothing had been seen: half of a notebook is none.
func (w *Watcher) forget(s *service) {
	for i, u := range s.subjects {
		fresh, err := newSubject(u.objective, s.zone)
		if err == nil { // it was compiled before
			s.subjects[i] = fresh
		}
	}
}

// Forget drops what was learnt of a service in tx: it is learnt anew from the series. A
// Watcher that watches it must be told by Relearn.
func Forget(tx store.Tx, namespace, service string) error {
	return tx.Delete(store.Key{Namespace: namespace, Bucket: bucketService, Name: service}, store.AnyVersion)
}

// Relearn lets fn change the past of services, by Forget and in the series, while no
// minute is read and no page is written, and learns them anew from it: the alarms of that
// past are nobody's news. With an error of fn everything stays as it was.
func (w *Watcher) Relearn(services []string, fn func() error) error {
	w.stepping.Lock()
	defer w.stepping.Unlock()
	if err := fn(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, s := range w.services {
		if slices.Contains(services, s.name) {
			w.services[i] = newService(s.name, s.zone, s.subjects)
			w.services[i].pending = s.pending // what was found is not lost
			w.forget(w.services[i])
		}
	}
	return nil
}

// readPage reads a page; false if there is none that can be read.
func readPage(r store.Reader, k store.Key, into any) (bool, error) {
	v, err := r.Get(k)
	switch {
	case assay.CodeOf(err) == assay.CodeNotFound:
		return false, nil
	case err != nil:
		return false, err
	}
	return json.Unmarshal(v.Data, into) == nil, nil
}

// keep writes what was found and is not written yet and the notebook it was found by, in one transaction: what
// is recorded is never found again.
func (w *Watcher) keep(ctx context.Context, s *service, planned []policy.Planned) error {
	for i := range s.pending {
		why, err := w.explained(ctx, s.pending[i], planned)
		if err != nil {
			return err
		}
		s.pending[i].Suppressed = why
	}
	w.mu.Lock()
	pages, err := w.pages(s)
	next := s.next
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if err := w.write(ctx, pages, s.pending, s.putModels); err != nil {
		return err
	}
	w.mu.Lock()
	s.saved, s.pending = next, nil
	w.mu.Unlock()
	return nil
}

// pages are a service's pages as they are kept.
func (w *Watcher) pages(s *service) (map[store.Key][]byte, error) {
	page := serviceState{Next: s.next, Learnt: s.learnt}
	for _, joint := range s.joints {
		page.Joints = append(page.Joints, joint.State())
	}
	out := map[store.Key][]byte{}
	put := func(k store.Key, v any) error {
		data, err := json.Marshal(v)
		if err != nil {
			return assay.Errorf(assay.CodeInternal, "page %s cannot be written: %w", k.Name, err)
		}
		out[k] = data
		return nil
	}
	if err := put(w.servicePage(s.name), page); err != nil {
		return nil, err
	}
	for _, u := range s.subjects {
		k := u.kept()
		k.Fingerprint, k.Zone = u.fingerprint(), s.zone.String()
		if err := put(w.objectivePage(s, u), k); err != nil {
			return nil, err
		}
		if u.load.made.Made.IsZero() {
			continue
		}
		if data, err := json.Marshal(u.bands()); err == nil { // a number that cannot be written costs the bands alone
			out[w.bandsPage(s, u)] = data
		}
	}
	return out, nil
}

func (w *Watcher) write(ctx context.Context, pages map[store.Key][]byte, found []Found, more func(store.Tx) ([]func(), error)) error {
	var committed []func()
	err := w.cfg.Store.Update(ctx, func(tx store.Tx) (err error) {
		if committed, err = more(tx); err != nil {
			return err
		}
		for k, data := range pages {
			if _, err := tx.Put(k, data, store.AnyVersion); err != nil {
				return err
			}
		}
		for _, f := range found {
			fact, err := f.fact(w.cfg.Namespace)
			if err != nil {
				return err
			}
			if _, err := tx.Append(fact); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range committed {
		f()
	}
	for _, f := range found {
		w.metrics.alarm(f)
		w.cfg.Log.Info("anomaly", "service", f.Service, "indicator", f.Indicator, "channel", string(f.Channel), "words", f.Words, "suppressed", f.Suppressed)
	}
	return nil
}

// explained is the known change that explains an alarm, "" if there is none.
func (w *Watcher) explained(ctx context.Context, f Found, planned []policy.Planned) (string, error) {
	for _, p := range planned {
		if p.Covers(f.Time) {
			return p.String(), nil
		}
	}
	if w.cfg.Changing == nil || f.Service == "" {
		return "", nil
	}
	return w.cfg.Changing(ctx, f.Service)
}

// List returns the newest alarms, newest first: of a service, or of all with "". A limit
// of 0 means 100; at most MaxListed.
func List(ctx context.Context, s store.Store, namespace, service string, limit int) ([]Recorded, error) {
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, MaxListed)
	var out []Recorded
	err := s.View(ctx, func(r store.Reader) error {
		q := store.Query{Namespace: namespace, Kinds: []string{assay.FactAnomalyFound}, Newest: true}
		for looked := 0; looked < MaxListed; {
			rows, err := r.Facts(q)
			if err != nil || len(rows) == 0 {
				return err
			}
			looked += len(rows)
			for _, row := range rows {
				q.After = row.Commit
				if service != "" && row.Fact.Service != service {
					continue
				}
				f, err := DecodeFound(row.Fact.Payload)
				if err != nil {
					return fmt.Errorf("fact %s: %w", row.Fact.ID, err)
				}
				if out = append(out, Recorded{ID: row.Fact.ID, Recorded: row.Fact.Recorded, Found: f}); len(out) == limit {
					return nil
				}
			}
		}
		return nil
	})
	return out, err
}

// MaxListed is how many alarms List returns and how far back it looks for them.
const MaxListed = 10_000

// Recorded is an alarm with its fact.
type Recorded struct {
	ID       assay.FactID `json:"id"`
	Recorded time.Time    `json:"recorded"`
	Found
}
