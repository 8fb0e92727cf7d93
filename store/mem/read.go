package mem

import (
	"bytes"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// reader sees the store as it was after commit head, with commits facts.
type reader struct {
	s       *Store
	head    int64
	commits int64
	done    bool
}

// Get implements store.Reader.
func (r *reader) Get(k store.Key) (store.Value, error) {
	if err := r.check(store.CheckKey(k)); err != nil {
		return store.Value{}, err
	}
	r.s.mu.RLock()
	defer r.s.mu.RUnlock()
	v, ok := r.at(r.s.state[bucket{k.Namespace, k.Bucket}][k.Name])
	if !ok {
		return store.Value{}, noValue(k)
	}
	return clone(v), nil
}

// List implements store.Reader.
func (r *reader) List(k store.Key, after string, limit int) ([]store.Value, error) {
	limit, err := store.CheckList(k, after, limit)
	if err := r.check(err); err != nil {
		return nil, err
	}
	return sorted(r.values(k, after), limit), nil
}

// values returns what List selects, unordered.
func (r *reader) values(k store.Key, after string) map[string]store.Value {
	r.s.mu.RLock()
	defer r.s.mu.RUnlock()
	found := map[string]store.Value{}
	for name, versions := range r.s.state[bucket{k.Namespace, k.Bucket}] {
		if !strings.HasPrefix(name, k.Name) || name <= after {
			continue
		}
		if v, ok := r.at(versions); ok {
			found[name] = v
		}
	}
	return found
}

func sorted(values map[string]store.Value, limit int) []store.Value {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	out := make([]store.Value, 0, min(limit, len(names)))
	for _, name := range names[:min(limit, len(names))] {
		out = append(out, clone(values[name]))
	}
	return out
}

// at returns the version in force at r's head.
func (r *reader) at(versions []version) (store.Value, bool) {
	for _, v := range slices.Backward(versions) {
		if v.at <= r.head {
			return v.value, !v.deleted
		}
	}
	return store.Value{}, false
}

// Fact implements store.Reader.
func (r *reader) Fact(namespace string, id assay.FactID) (store.Row, error) {
	if err := r.check(store.CheckID(id)); err != nil {
		return store.Row{}, err
	}
	row, ok := r.raw(factKey{namespace, id})
	if !ok {
		return store.Row{}, noFact(id)
	}
	return r.upcast(row)
}

// raw finds a fact as it was written.
func (r *reader) raw(k factKey) (store.Row, bool) {
	r.s.mu.RLock()
	defer r.s.mu.RUnlock()
	c, ok := r.s.byID[k]
	if !ok || c > r.commits {
		return store.Row{}, false
	}
	return store.Row{Fact: r.s.facts[c-1], Commit: c}, true
}

// Facts implements store.Reader.
func (r *reader) Facts(q store.Query) ([]store.Row, error) {
	return r.query(q, nil)
}

// query selects from the snapshot and from the facts a transaction added behind it.
func (r *reader) query(q store.Query, added []assay.Fact) ([]store.Row, error) {
	q, err := store.CheckQuery(q)
	if err := r.check(err); err != nil {
		return nil, err
	}
	r.s.mu.RLock()
	base := r.s.facts[:r.commits:r.commits] // facts never change, so the lock may go
	r.s.mu.RUnlock()
	total := r.commits + int64(len(added))
	rows := []store.Row{}
	for i := range total {
		c := i + 1
		if q.Newest {
			c = total - i
		}
		var f assay.Fact
		if c <= r.commits {
			f = base[c-1]
		} else {
			f = added[c-r.commits-1]
		}
		if !matches(q, f, c) {
			continue
		}
		row, err := r.upcast(store.Row{Fact: f, Commit: c})
		if err != nil {
			return nil, err
		}
		if rows = append(rows, row); len(rows) == q.Limit {
			break
		}
	}
	return rows, nil
}

func matches(q store.Query, f assay.Fact, commit int64) bool {
	switch {
	case f.Namespace != q.Namespace,
		!q.Newest && commit <= q.After,
		q.Newest && q.After > 0 && commit >= q.After,
		len(q.Kinds) > 0 && !slices.Contains(q.Kinds, f.Kind),
		q.Subject != "" && f.Subject != q.Subject,
		q.Cause != "" && !slices.Contains(f.Causes, q.Cause),
		!q.Since.IsZero() && f.Time.Before(q.Since),
		!q.Until.IsZero() && !f.Time.Before(q.Until):
		return false
	}
	return true
}

func (r *reader) upcast(row store.Row) (store.Row, error) {
	row.Fact = copyFact(row.Fact)
	f, err := r.s.cfg.Upcasters.Fact(row.Fact)
	row.Fact = f
	return row, err
}

func (r *reader) check(err error) error {
	if r.done {
		return errDone()
	}
	return err
}

// copyFact keeps callers from writing into the store's own slices.
func copyFact(f assay.Fact) assay.Fact {
	f.Causes, f.Payload = slices.Clone(f.Causes), bytes.Clone(f.Payload)
	return f
}

func clone(v store.Value) store.Value {
	v.Data = bytes.Clone(v.Data)
	return v
}

func noValue(k store.Key) error {
	return assay.Errorf(assay.CodeNotFound, "there is no %s %q in namespace %q", k.Bucket, k.Name, k.Namespace)
}

func noFact(id assay.FactID) error {
	return assay.Errorf(assay.CodeNotFound, "there is no fact %q in this namespace", id)
}
