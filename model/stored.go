package model

import (
	"context"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/store"
)

// Load reads a model; false if there is none of that name.
func Load(r store.Reader, namespace, name string) (Model, bool, error) {
	v, err := r.Get(store.Key{Namespace: namespace, Bucket: bucket, Name: name})
	if assay.CodeOf(err) == assay.CodeNotFound {
		return Model{}, false, nil
	}
	if err != nil {
		return Model{}, false, err
	}
	m, err := parse(v)
	return m, err == nil, err
}

// LoadOrNew reads a model, or makes it.
func LoadOrNew(r store.Reader, namespace, service, name string, kind Kind, now time.Time) (Model, error) {
	m, ok, err := Load(r, namespace, name)
	if err == nil && !ok {
		m = New(namespace, service, name, kind, now)
	}
	return m, err
}

func parse(v store.Value) (Model, error) {
	var m Model
	if err := strict.JSON(v.Data, &m); err != nil {
		return m, assay.Errorf(assay.CodeInternal, "stored model %q: %w", v.Key.Name, err)
	}
	m.row = v.Version
	return m, nil
}

// Renew is the stored model if somebody changed it since m was loaded, m otherwise.
func (m *Model) Renew(r store.Reader) (Model, error) {
	stored, ok, err := Load(r, m.Namespace, m.Name)
	if err != nil || !ok || stored.row == m.row {
		return *m, err
	}
	return stored, nil
}

// Get returns one model; CodeNotFound if there is none.
func Get(ctx context.Context, s store.Store, namespace, name string) (m Model, err error) {
	err = s.View(ctx, func(r store.Reader) error {
		var ok bool
		if m, ok, err = Load(r, namespace, name); err == nil && !ok {
			err = notFound(name)
		}
		return err
	})
	return m, err
}

func notFound(name string) error {
	if len(name) > 200 {
		name = name[:200] + "…"
	}
	e := assay.Errorf(assay.CodeNotFound, "there is no model %q", name)
	e.Hint = "list them with: assay model list"
	return e
}

// List returns the models of a namespace by name.
func List(ctx context.Context, s store.Store, namespace string) ([]Model, error) {
	out := []Model{}
	err := s.View(ctx, func(r store.Reader) error {
		for after := ""; ; {
			page, err := r.List(store.Key{Namespace: namespace, Bucket: bucket}, after, store.MaxLimit)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, v := range page {
				after = v.Key.Name
				m, err := parse(v)
				if err != nil {
					return err
				}
				out = append(out, m)
			}
		}
	})
	return out, err
}

// Rollback lets an earlier version of a model, or the rules, decide from now on, and
// nothing be promoted until Refit. CodeNotFound for no such model, CodeInvalid for no such
// version, CodeConflict if it is so already.
func Rollback(ctx context.Context, s store.Store, namespace, name, to, who, reason string, now time.Time) (Model, error) {
	return order(ctx, s, namespace, name, who, func(m *Model) error { return m.rollback(to, who, reason, now) })
}

// Refit fits a version on the newest Patience of the past and lets it run beside the one
// that decides; a rollback no longer holds. CodeNotFound for no such model.
func Refit(ctx context.Context, s store.Store, namespace, name, who, reason string, now time.Time) (Model, error) {
	return order(ctx, s, namespace, name, who, func(m *Model) error {
		m.Pinned = ""
		m.propose(now, now.Add(-Patience), who+" asked for it: "+reason)
		return nil
	})
}

// order changes a stored model because a person said so.
func order(ctx context.Context, s store.Store, namespace, name, who string, change func(*Model) error) (m Model, err error) {
	err = s.Update(ctx, func(tx store.Tx) error {
		var ok bool
		if m, ok, err = Load(tx, namespace, name); err != nil {
			return err
		}
		if !ok {
			return notFound(name)
		}
		if err := change(&m); err != nil {
			return err
		}
		committed, err := m.Put(tx, who)
		if err == nil {
			committed()
		}
		return err
	})
	return m, err
}
