package control

import (
	"context"
	"slices"

	"assay.dev/assay/api"
)

// Halts are the kill switches that hold something of the caller's namespace, the widest
// first. The files are asked, not the store.
func (s *Session) Halts(context.Context) ([]api.Halt, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	out := []api.Halt{}
	if s.p.cfg.Halts == nil {
		return out, nil
	}
	list, err := s.p.cfg.Halts()
	if err != nil {
		return nil, err
	}
	return append(out, slices.DeleteFunc(list, func(h api.Halt) bool { return !h.Covers(s.caller.Namespace) })...), nil
}
