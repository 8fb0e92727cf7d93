package mem

import (
	"bytes"
	"maps"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// tx is a transaction: a snapshot and what it adds. Nothing of it is in the
// store until apply.
type tx struct {
	reader
	added   []assay.Fact
	addedID map[factKey]int64 // commits of added
	changed map[store.Key]version
}

// begin is called with the writer's turn, so the head stays until apply.
func (s *Store) begin() *tx {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &tx{
		reader:  reader{s: s, head: s.head, commits: int64(len(s.facts))},
		addedID: map[factKey]int64{},
		changed: map[store.Key]version{},
	}
}

// Get implements store.Reader and sees the transaction's own writes.
func (t *tx) Get(k store.Key) (store.Value, error) {
	v, ok := t.changed[k]
	switch {
	case t.done || !ok:
		return t.reader.Get(k)
	case v.deleted:
		return store.Value{}, noValue(k)
	}
	return clone(v.value), nil
}

// List implements store.Reader and sees the transaction's own writes.
func (t *tx) List(k store.Key, after string, limit int) ([]store.Value, error) {
	limit, err := store.CheckList(k, after, limit)
	if err := t.check(err); err != nil {
		return nil, err
	}
	found := t.values(k, after)
	for ck, v := range t.changed {
		if ck.Namespace != k.Namespace || ck.Bucket != k.Bucket || !strings.HasPrefix(ck.Name, k.Name) || ck.Name <= after {
			continue
		}
		if delete(found, ck.Name); !v.deleted {
			found[ck.Name] = v.value
		}
	}
	return sorted(found, limit), nil
}

// Fact implements store.Reader and sees the transaction's own writes.
func (t *tx) Fact(namespace string, id assay.FactID) (store.Row, error) {
	if row, ok := t.own(factKey{namespace, id}); ok && !t.done {
		return t.upcast(row)
	}
	return t.reader.Fact(namespace, id)
}

// Facts implements store.Reader and sees the transaction's own writes.
func (t *tx) Facts(q store.Query) ([]store.Row, error) {
	return t.query(q, t.added)
}

func (t *tx) own(k factKey) (store.Row, bool) {
	c, ok := t.addedID[k]
	if !ok {
		return store.Row{}, false
	}
	return store.Row{Fact: t.added[c-t.commits-1], Commit: c}, true
}

// stored finds a fact in the transaction or behind it, as it was written.
func (t *tx) stored(k factKey) (store.Row, bool) {
	if row, ok := t.own(k); ok {
		return row, true
	}
	return t.raw(k)
}

// Append implements store.Tx.
func (t *tx) Append(f assay.Fact) (assay.FactID, error) {
	full, err := store.Complete(f, t.s.cfg.Now(), t.s.cfg.NewID)
	if err := t.check(err); err != nil {
		return "", err
	}
	key := factKey{full.Namespace, full.ID}
	if row, ok := t.stored(key); ok {
		if !store.SameFact(row.Fact, f) {
			return "", assay.Errorf(assay.CodeConflict, "fact %s exists with other content", full.ID)
		}
		return full.ID, nil
	}
	for _, c := range full.Causes {
		if _, ok := t.stored(factKey{full.Namespace, c}); !ok {
			return "", assay.Errorf(assay.CodeNotFound, "cause %s is not a fact of namespace %q", c, full.Namespace)
		}
	}
	t.added = append(t.added, full)
	t.addedID[key] = t.commits + int64(len(t.added))
	return full.ID, nil
}

// Put implements store.Tx.
func (t *tx) Put(k store.Key, data []byte, ifVersion int64) (int64, error) {
	cur, err := t.version(k)
	if err == nil {
		err = store.CheckVersion(k, cur, ifVersion)
	}
	if err == nil {
		err = store.CheckData(data)
	}
	if err != nil {
		return 0, err
	}
	v := store.Value{Key: k, Data: bytes.Clone(data), Version: cur + 1}
	t.changed[k] = version{value: v}
	return v.Version, nil
}

// Delete implements store.Tx.
func (t *tx) Delete(k store.Key, ifVersion int64) error {
	cur, err := t.version(k)
	if err != nil {
		return err
	}
	if cur == 0 && ifVersion != store.AnyVersion {
		return noValue(k)
	}
	if err := store.CheckVersion(k, cur, ifVersion); err != nil || cur == 0 {
		return err
	}
	t.changed[k] = version{deleted: true}
	return nil
}

// version returns the version at k, 0 if there is none.
func (t *tx) version(k store.Key) (int64, error) {
	v, err := t.Get(k)
	if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return 0, err
	}
	return v.Version, nil
}

// apply commits t; the caller holds the store's lock.
func (t *tx) apply() {
	s := t.s
	s.head++
	for i, f := range t.added {
		commit := t.commits + int64(i) + 1
		if f.Retention == assay.RetainAudit {
			s.outbox = append(s.outbox, commit)
		}
	}
	s.facts = append(s.facts, t.added...)
	maps.Copy(s.byID, t.addedID)
	oldest := s.head
	for head := range s.views {
		oldest = min(oldest, head)
	}
	for k, v := range t.changed {
		b := bucket{k.Namespace, k.Bucket}
		if s.state[b] == nil {
			s.state[b] = map[string][]version{}
		}
		v.at = s.head
		s.state[b][k.Name] = append(visible(s.state[b][k.Name], oldest), v)
	}
}

// visible drops versions that no view of head oldest or later can see. It
// copies, so that what it drops can be collected.
func visible(versions []version, oldest int64) []version {
	from := 0
	for i, v := range versions {
		if v.at <= oldest {
			from = i
		}
	}
	kept := make([]version, 0, len(versions)-from+1)
	return append(kept, versions[from:]...)
}
