package artifact

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// Index is one namespace's artifacts in memory, for who must answer at once: an
// admission webhook asks it for every container. Questions neither wait nor do I/O.
//
// Only Refresh reads the store, and only what was recorded since the last time; one
// goroutine calls it, most simply by Follow. What it learns becomes visible as a
// whole, in one step. An Index holds about 400 bytes for an artifact with three judgements,
// and no pointers to follow for it: the collector of a process with a hundred thousand
// artifacts in memory has as little to do as that of an empty one, and nobody who asks
// meanwhile waits for it.
type Index struct {
	store     store.Store
	namespace string

	now     atomic.Pointer[snapshot]
	turn    sync.Mutex        // held by Refresh
	ids     map[string]uint32 // places in snapshot.words; of Refresh
	poke    chan struct{}
	mu      sync.Mutex // guards changed
	changed chan struct{}
}

// NewIndex returns an index that knows nothing until its first Refresh.
func NewIndex(s store.Store, namespace string) *Index {
	x := &Index{store: s, namespace: namespace, poke: make(chan struct{}, 1), ids: map[string]uint32{}, changed: make(chan struct{})}
	x.now.Store(&snapshot{})
	return x
}

// Known is what the index knows of one artifact. It is the caller's own.
type Known struct {
	Name         string      // as the newest verdict calls it
	Judgements   []Judgement // the newest of each gate and environment, by name
	Attestations int         // how many were recorded in all; Attestations pages through them
}

// Judgement is one signed verdict, as far as a decision needs it.
type Judgement struct {
	Gate        string
	Environment string
	Mode        assay.Mode
	Outcome     assay.Outcome
	Time        time.Time
	Policy      assay.Digest // that the verdict used
	Bundle      assay.Digest // of the signed bundle; see ReadBundle
	KeyID       string       // that signed it, by its own word
}

// Lookup returns what is known of an artifact, in constant time.
func (x *Index) Lookup(d assay.Digest) (Known, bool) {
	id, ok := sum(d)
	if !ok {
		return Known{}, false
	}
	s := x.now.Load()
	return s.artifacts[id[0]].get(id, s.words)
}

// Resolve returns the digest that an image reference stands for: its own, or that
// of the newest verdict about its name, in constant time. Whoever lets a tag in by
// this answer must also pin it: see Meaning.
func (x *Index) Resolve(ref string) (assay.Digest, bool) {
	canonical, digest, err := ParseReference(ref)
	if err != nil || digest != "" {
		return digest, err == nil
	}
	id := nameSum(canonical)
	m, ok := x.now.Load().references[id[0]][id]
	if !ok {
		return "", false
	}
	return assay.DigestOf(m.digest), true
}

// Len is the number of artifacts known.
func (x *Index) Len() int { return x.now.Load().count }

// Through returns the cursor (store.Row.Commit) that the index has read to, 0 before
// the first Refresh: a caller who recorded something compares it.
func (x *Index) Through() int64 { return x.now.Load().through }

// Changed returns a channel that is closed when the index next changes. Take it
// before asking, and nothing is missed.
func (x *Index) Changed() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.changed
}

// Poke asks a running Follow to refresh now. It never waits.
func (x *Index) Poke() {
	select {
	case x.poke <- struct{}{}:
	default: // one is asked for already
	}
}

// Follow refreshes at every poke and at least after each interval, until ctx ends.
// A store that does not answer is asked again; what is known stays known, and
// failed, which may be nil, is told.
func (x *Index) Follow(ctx context.Context, interval time.Duration, failed func(error)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := x.Refresh(ctx); err != nil && ctx.Err() == nil && failed != nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-x.poke:
		}
	}
}

// Refresh reads what was recorded since the last one, and makes it visible as a
// whole. The first one reads everything.
func (x *Index) Refresh(ctx context.Context) error {
	x.turn.Lock()
	defer x.turn.Unlock()
	old := x.now.Load()
	next := old.edit(x.ids)
	err := x.store.View(ctx, func(r store.Reader) error {
		if old.through == 0 {
			return x.load(r, next)
		}
		return x.read(r, next)
	})
	if err != nil {
		return err
	}
	if next.through == old.through {
		return nil
	}
	next.tidy()
	x.now.Store(&next.snapshot)
	x.mu.Lock()
	defer x.mu.Unlock()
	close(x.changed)
	x.changed = make(chan struct{})
	return nil
}

// judged are the facts after which an artifact's state differs.
var judged = []string{assay.FactVerdict}

// load reads the whole state.
func (x *Index) load(r store.Reader, next *edit) error {
	rows, err := r.Facts(store.Query{Namespace: x.namespace, Kinds: judged, Newest: true, Limit: 1})
	if err != nil || len(rows) == 0 {
		return err
	}
	next.through = rows[0].Commit
	err = each(r, key(x.namespace, bucketArtifact, ""), func(_ string, s Summary) { next.put(s) })
	if err != nil {
		return err
	}
	return each(r, key(x.namespace, bucketReference, ""), next.refer)
}

// read reads the state that the facts behind the cursor changed.
func (x *Index) read(r store.Reader, next *edit) error {
	for {
		rows, err := r.Facts(store.Query{Namespace: x.namespace, Kinds: judged, After: next.through, Limit: store.DefaultLimit})
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, row := range rows {
			next.through = row.Commit
			var s Summary
			if _, err := read(r, key(x.namespace, bucketArtifact, string(row.Fact.Subject)), &s); err != nil {
				return err
			}
			next.put(s)
			var said VerdictPayload
			if err := json.Unmarshal(row.Fact.Payload, &said); err != nil {
				return assay.Errorf(assay.CodeInternal, "fact %s cannot be read: %w", row.Fact.ID, err)
			}
			next.refer(referenceOf(said.Subject), Meaning{Digest: row.Fact.Subject, Time: row.Fact.Time, Fact: row.Fact.ID})
		}
	}
}

// each calls do with every value of k's namespace and bucket.
func each[T any](r store.Reader, k store.Key, do func(name string, v T)) error {
	for after := ""; ; {
		values, err := r.List(k, after, store.DefaultLimit)
		if err != nil || len(values) == 0 {
			return err
		}
		for _, value := range values {
			var v T
			if err := json.Unmarshal(value.Data, &v); err != nil {
				return assay.Errorf(assay.CodeInternal, "%s %s cannot be read from the store: %w", k.Bucket, value.Key.Name, err)
			}
			do(value.Key.Name, v)
			after = value.Key.Name
		}
	}
}
