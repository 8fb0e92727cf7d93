package sqlite

import (
	"context"
	"database/sql"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// tx is one closure's view of the group's transaction.
type tx struct {
	reader
	sess   *session
	saved  bool  // its savepoint is open
	broken error // the engine failed under it; the group cannot go on
}

// save opens the closure's savepoint before its first write.
func (t *tx) save() error {
	if t.saved {
		return nil
	}
	if err := t.sess.exec(t.sess.savepoint); err != nil {
		return t.fault(err)
	}
	t.saved = true
	return nil
}

// fault remembers an error of the engine, also if the closure swallows it.
func (t *tx) fault(err error) error {
	if t.broken == nil {
		t.broken = err
	}
	return unavailable("write", err)
}

// Append implements store.Tx.
func (t *tx) Append(f assay.Fact) (assay.FactID, error) {
	full, err := store.Complete(f, t.cfg.Now(), t.cfg.NewID)
	if err := t.check(err); err != nil {
		return "", err
	}
	if f.ID != "" {
		row, err := t.raw(full.Namespace, full.ID)
		if err == nil && !store.SameFact(row.Fact, f) {
			return "", assay.Errorf(assay.CodeConflict, "fact %s exists with other content", full.ID)
		}
		if err == nil || assay.CodeOf(err) != assay.CodeNotFound {
			return full.ID, err
		}
	}
	if err := t.checkCauses(full); err != nil {
		return "", err
	}
	if err := t.save(); err != nil {
		return "", err
	}
	if err := t.insert(full); err != nil {
		return "", t.fault(err)
	}
	return full.ID, nil
}

func (t *tx) checkCauses(f assay.Fact) error {
	for _, c := range f.Causes {
		var one int
		err := t.st.exists.QueryRowContext(t.ctx, f.Namespace, idBytes(c)).Scan(&one)
		if err == sql.ErrNoRows {
			return assay.Errorf(assay.CodeNotFound, "cause %s is not a fact of namespace %q", c, f.Namespace)
		}
		if err != nil {
			return t.fault(err)
		}
	}
	return nil
}

// insert writes the fact, its way down from its causes and its outbox row.
func (t *tx) insert(f assay.Fact) error {
	ctx := context.Background()
	res, err := t.sess.insertFact.ExecContext(ctx, f.Namespace, idBytes(f.ID), f.Kind, f.Version,
		f.Time.UnixNano(), f.Recorded.UnixNano(), f.Service, f.Environment, digestBytes(f.Subject),
		f.TraceID, f.DeploymentID, digestBytes(f.PolicyRevision), f.Actor, idsBytes(f.Causes),
		string(f.Retention), []byte(f.Payload))
	if err != nil {
		return err
	}
	pos, err := res.LastInsertId()
	if err != nil {
		return err
	}
	for _, c := range f.Causes {
		if _, err := t.sess.insertCause.ExecContext(ctx, f.Namespace, idBytes(c), pos); err != nil {
			return err
		}
	}
	if f.Retention == assay.RetainAudit {
		_, err = t.sess.insertOutbox.ExecContext(ctx, pos)
	}
	return err
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
	if err == nil {
		err = t.save()
	}
	if err != nil {
		return 0, err
	}
	if data == nil {
		data = []byte{} // an empty value, not NULL
	}
	if _, err := t.sess.putState.ExecContext(t.ctx, k.Namespace, k.Bucket, k.Name, cur+1, data); err != nil {
		return 0, t.fault(err)
	}
	return cur + 1, nil
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
	if err := t.save(); err != nil {
		return err
	}
	if _, err := t.sess.deleteState.ExecContext(t.ctx, k.Namespace, k.Bucket, k.Name); err != nil {
		return t.fault(err)
	}
	return nil
}

// version returns the version at k, 0 if there is none.
func (t *tx) version(k store.Key) (int64, error) {
	if err := t.check(store.CheckKey(k)); err != nil {
		return 0, err
	}
	var v int64
	err := t.st.version.QueryRowContext(t.ctx, k.Namespace, k.Bucket, k.Name).Scan(&v)
	if err == sql.ErrNoRows {
		return 0, nil
	}
	if err != nil {
		return 0, t.fault(err)
	}
	return v, nil
}
