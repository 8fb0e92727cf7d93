package halt

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/pause"
	"assay.dev/assay/store"
)

const (
	// bucketPulled is the state of what was recorded as pulled, by scope.
	bucketPulled = "halt"
	// look is how often a Recorder looks at the files.
	look = time.Second
	// again is how long it waits after the store did not answer.
	again = 5 * time.Second
	// atOnce is how far apart the times of those may lie who pull and lift one switch at
	// once: the last one to move the file need not be the last by its time.
	atOnce = 2 * time.Second
	// patience is how long it waits for the store.
	patience = 30 * time.Second
)

// Payload is the payload of automation.halted and automation.lifted, version 1.
type Payload struct {
	Scope  string `json:"scope"` // global, namespace or service
	Name   string `json:"name,omitempty"`
	Reason string `json:"reason,omitempty"`
	ByHand bool   `json:"by_hand,omitempty"` // a file that was made or removed without assay halt
	// StoreDown says that nobody could have recorded it when it happened: no control plane
	// had the store open, or the store did not take it. The fact's time is when it
	// happened, and Recorded when the store had it.
	StoreDown bool `json:"store_down"`
	// Of a lift: since when it was pulled, by whom and why.
	Since    time.Time `json:"since,omitzero"`
	HaltedBy string    `json:"halted_by,omitempty"`
	Why      string    `json:"why,omitempty"`
}

// Recorder turns halts and lifts into facts. One process has it: who holds the store of
// the state directory. Safe for concurrent use.
type Recorder struct {
	switches Switches
	store    store.Store
	now      func() time.Time
	log      *slog.Logger
	recorded func() // tells that facts were committed

	mu      sync.Mutex
	up      time.Time              // since when the store takes what it is given; zero if it does not
	settled map[Scope]assay.FactID // what is pulled and recorded, as the store has it; nil is not known
	refused map[assay.FactID]bool  // facts that the store will never take
}

// NewRecorder returns a recorder of switches into a store that was just opened. recorded
// may be nil.
func NewRecorder(s Switches, st store.Store, now func() time.Time, log *slog.Logger, recorded func()) *Recorder {
	if recorded == nil {
		recorded = func() {}
	}
	return &Recorder{switches: s, store: st, now: now, log: log, recorded: recorded, up: now(), refused: map[assay.FactID]bool{}}
}

// Run records until ctx ends, and returns nil.
func (r *Recorder) Run(ctx context.Context) error {
	pause.Between(ctx, func() time.Duration {
		if err := r.Record(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("kill switches are not recorded yet", "error", err)
			return again
		}
		return look
	})
	return nil
}

// Record makes facts of what is not recorded. With an error some of it may be; asking
// again makes no second fact of anything.
func (r *Recorder) Record(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	pulled, err := r.switches.List() // before the journal: what is gone from here stands there
	if err != nil {
		return err
	}
	j, err := r.switches.journal()
	if err != nil || r.done(pulled, j) {
		return err
	}
	if r.up.IsZero() {
		r.up = r.now()
	}
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err := r.write(ctx, pulled, j); err != nil {
		r.up, r.settled = time.Time{}, nil
		return err
	}
	r.switches.cross(j)
	return nil
}

// done reports whether there is nothing to record.
func (r *Recorder) done(pulled []Pulled, j noted) bool {
	if r.settled == nil || len(j.pulled)+len(j.lifted) > 0 || len(pulled) != len(r.settled) {
		return false
	}
	return !slices.ContainsFunc(pulled, func(p Pulled) bool { return r.settled[p.Scope] != p.ID })
}

func (r *Recorder) write(ctx context.Context, pulled []Pulled, j noted) error {
	touched := map[Scope]bool{}
	halted := func(list []Pulled) error {
		for _, p := range list {
			if err := r.update(ctx, p.ID, func(tx store.Tx) (bool, error) { return r.halted(tx, p) }); err != nil {
				return err
			}
		}
		return nil
	}
	slices.SortStableFunc(j.pulled, func(a, b Pulled) int { return a.Since.Compare(b.Since) })
	if err := halted(j.pulled); err != nil {
		return err
	}
	for _, p := range j.pulled {
		touched[p.Scope] = true
	}
	for _, l := range j.lifted {
		touched[l.Halt.Scope] = true
		if err := r.update(ctx, l.ID, func(tx store.Tx) (bool, error) { return r.lifted(tx, l, false) }); err != nil {
			return err
		}
	}
	if err := halted(pulled); err != nil { // after what they replaced
		return err
	}
	known, err := r.known(ctx)
	if err != nil {
		return err
	}
	r.settled = map[Scope]assay.FactID{}
	for _, k := range known {
		r.settled[k.Scope] = k.ID
		// What was just written down is looked at once more, with files that are read after it.
		if touched[k.Scope] || slices.ContainsFunc(pulled, func(p Pulled) bool { return p.Scope == k.Scope }) {
			continue
		}
		l := Lifted{ID: derived(k.Since, "lift", string(k.ID)), Time: r.now().UTC(), By: Unknown, Halt: k}
		if err := r.update(ctx, l.ID, func(tx store.Tx) (bool, error) { return r.lifted(tx, l, true) }); err != nil {
			return err
		}
		delete(r.settled, k.Scope)
	}
	for _, p := range pulled {
		if r.refused[p.ID] { // it holds, and there is no more to do
			r.settled[p.Scope] = p.ID
		}
	}
	return nil
}

// update runs fn in the store. What the store will never take is logged once and left.
func (r *Recorder) update(ctx context.Context, id assay.FactID, fn func(store.Tx) (bool, error)) error {
	if r.refused[id] {
		return nil
	}
	appended := false
	err := r.store.Update(ctx, func(tx store.Tx) (err error) {
		appended, err = fn(tx)
		return err
	})
	if code := assay.CodeOf(err); code == assay.CodeInvalid || code == assay.CodeTooLarge {
		r.log.Error("a kill switch holds and cannot be recorded", "error", err)
		r.refused[id] = true
		return nil
	}
	if err == nil && appended {
		r.recorded()
	}
	return err
}

// known are the switches that the store knows as pulled.
func (r *Recorder) known(ctx context.Context) (out []Pulled, err error) {
	err = r.store.View(ctx, func(rd store.Reader) error {
		for after := ""; ; {
			page, err := rd.List(store.Key{Namespace: store.SystemNamespace, Bucket: bucketPulled}, after, 0)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, v := range page {
				var p Pulled
				if err := json.Unmarshal(v.Data, &p); err != nil {
					return assay.Errorf(assay.CodeInternal, "the record of kill switch %q: %w", v.Key.Name, err)
				}
				out, after = append(out, p), v.Key.Name
			}
		}
	})
	return out, err
}

func pulledKey(c Scope) store.Key {
	return store.Key{Namespace: store.SystemNamespace, Bucket: bucketPulled, Name: cmp.Or(c.Namespace, "*") + "/" + c.Service}
}

// namespaceOf is whose fact it is: what holds everybody is the installation's.
func namespaceOf(c Scope) string { return cmp.Or(c.Namespace, store.SystemNamespace) }

// halted records a halt that is not recorded, and that it holds unless it was lifted.
func (r *Recorder) halted(tx store.Tx, p Pulled) (appended bool, err error) {
	namespace := namespaceOf(p.Scope)
	there, err := exists(tx, namespace, p.ID)
	if err != nil {
		return false, err
	}
	if !there {
		if err := r.append(tx, assay.FactAutomationHalted, p.ID, p.Since, p.By, p.Scope, p.Replaces, payloadOf(p)); err != nil {
			return false, err
		}
	}
	lifts, err := tx.Facts(store.Query{Namespace: namespace, Kinds: []string{assay.FactAutomationLifted}, Cause: p.ID, Limit: 1})
	if err != nil || len(lifts) > 0 {
		return !there, err
	}
	var was Pulled
	v, err := tx.Get(pulledKey(p.Scope))
	switch {
	case assay.CodeOf(err) == assay.CodeNotFound:
	case err != nil:
		return false, err
	case json.Unmarshal(v.Data, &was) == nil && (was.ID == p.ID || was.Since.After(p.Since) && p.Replaces != was.ID):
		return !there, nil
	}
	data, err := json.Marshal(p)
	if err != nil {
		return false, err
	}
	_, err = tx.Put(pulledKey(p.Scope), data, store.AnyVersion)
	return !there, err
}

// lifted records a lift that is not recorded, with its halt, and that it holds no more.
// A lift by hand is one that nobody wrote down.
func (r *Recorder) lifted(tx store.Tx, l Lifted, byHand bool) (appended bool, err error) {
	if appended, err = r.halted(tx, l.Halt); err != nil {
		return false, err
	}
	namespace := namespaceOf(l.Halt.Scope)
	there, err := exists(tx, namespace, l.ID)
	if err == nil && byHand && !there {
		there, err = ended(tx, l.Halt)
	}
	if err != nil {
		return false, err
	}
	if !there {
		p := payloadOf(l.Halt)
		p.Reason, p.ByHand, p.Since, p.HaltedBy, p.Why = l.Reason, byHand, l.Halt.Since, l.Halt.By, l.Halt.Reason
		if err := r.append(tx, assay.FactAutomationLifted, l.ID, l.Time, l.By, l.Halt.Scope, l.Halt.ID, p); err != nil {
			return false, err
		}
	}
	var was Pulled
	v, err := tx.Get(pulledKey(l.Halt.Scope))
	switch {
	case assay.CodeOf(err) == assay.CodeNotFound:
		return appended || !there, nil
	case err != nil:
		return false, err
	}
	if err := json.Unmarshal(v.Data, &was); err == nil && was.ID != l.Halt.ID && was.Since.After(l.Time.Add(atOnce)) {
		return appended || !there, nil // another one was pulled since
	}
	return appended || !there, tx.Delete(pulledKey(l.Halt.Scope), store.AnyVersion)
}

// ended reports whether a lift is recorded that may have ended a halt: its own, or that
// of one which was pulled at the same time and took its place.
func ended(tx store.Tx, p Pulled) (bool, error) {
	lifts, err := tx.Facts(store.Query{Namespace: namespaceOf(p.Scope), Kinds: []string{assay.FactAutomationLifted}, Since: p.Since.Add(-atOnce), Limit: store.MaxLimit})
	return slices.ContainsFunc(lifts, func(row store.Row) bool { return row.Fact.Service == p.Service }), err
}

func payloadOf(p Pulled) Payload {
	out := Payload{Scope: "global", Reason: p.Reason, ByHand: p.ByHand}
	switch {
	case p.Service != "":
		out.Scope, out.Name = "service", p.Service
	case p.Namespace != "":
		out.Scope, out.Name = "namespace", p.Namespace
	}
	return out
}

func (r *Recorder) append(tx store.Tx, kind string, id assay.FactID, at time.Time, by string, c Scope, cause assay.FactID, p Payload) error {
	p.StoreDown = at.Before(r.up)
	payload, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f := assay.Fact{
		ID: id, Kind: kind, Version: 1, Time: at.UTC(), Namespace: namespaceOf(c), Service: c.Service,
		Actor: by, Retention: assay.RetainAudit, Payload: payload,
	}
	if cause != "" { // one that was never recorded cannot be named
		there, err := exists(tx, f.Namespace, cause)
		if err != nil {
			return err
		}
		if there {
			f.Causes = []assay.FactID{cause}
		}
	}
	_, err = tx.Append(f)
	return err
}

func exists(tx store.Tx, namespace string, id assay.FactID) (bool, error) {
	_, err := tx.Fact(namespace, id)
	if assay.CodeOf(err) == assay.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}
