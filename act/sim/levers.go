package sim

import (
	"context"
	"fmt"

	"assay.dev/assay"
	"assay.dev/assay/act"
)

// move moves a lever of a service; the world is locked.
func (w *World) move(a assay.Action) (act.Receipt, error) {
	if err := act.CheckLever(a); err != nil {
		return act.Receipt{}, err
	}
	s := w.services[a.Service]
	if s == nil {
		return act.Receipt{}, noService(a.Service)
	}
	for i := range s.Levers {
		l := &s.Levers[i]
		if l.Lever != a.Lever || l.Scope != a.Scope {
			continue
		}
		switch {
		case a.Fence < s.owner:
			return act.Receipt{}, assay.Errorf(assay.CodeConflict, "levers of %s: %w", a.Service, &act.Deposed{Fence: a.Fence, Owner: s.owner})
		case l.Value != a.Now && l.Value != a.Want:
			return act.Receipt{}, assay.Errorf(assay.CodeConflict, "%s of %s stands at %v, neither at %v nor at %v", a.Target(), a.Service, l.Value, a.Now, a.Want)
		}
		r := act.Receipt{
			Key: a.Key, Time: w.now, Stands: a.Want, Changed: l.Value != a.Want,
			Detail: fmt.Sprintf("simulated service %s has %s at %v", a.Service, a.Target(), a.Want),
		}
		l.Value, s.owner = a.Want, a.Fence
		return r, nil
	}
	return act.Receipt{}, assay.Errorf(assay.CodeNotFound, "the simulated service %s has no lever %s", a.Service, a.Target())
}

// Levers implements act.Levers.
func (w *World) Levers(_ context.Context, name string) ([]act.LeverAt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.services[name]
	if s == nil {
		return nil, noService(name)
	}
	return append([]act.LeverAt(nil), s.Levers...), nil
}
