package control

import (
	"context"

	"assay.dev/assay/api"
	"assay.dev/assay/model"
)

// Models lists the models that decisions of the caller's namespace rest on, by name.
func (s *Session) Models(ctx context.Context) ([]api.Model, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	list, err := model.List(ctx, s.p.cfg.Store, s.caller.Namespace)
	out := []api.Model{}
	for _, m := range list {
		out = append(out, api.ModelOf(m))
	}
	return out, err
}

// Model returns one model with its versions; CodeNotFound if there is none.
func (s *Session) Model(ctx context.Context, name string) (api.Model, error) {
	if err := s.read(); err != nil {
		return api.Model{}, err
	}
	m, err := model.Get(ctx, s.p.cfg.Store, s.caller.Namespace, name)
	if err != nil {
		return api.Model{}, err
	}
	return api.ModelOf(m), nil
}

// RollbackModel lets an earlier version of a model, or the rules, decide until somebody
// asks for a new one.
func (s *Session) RollbackModel(ctx context.Context, o api.ModelOrder) (api.Model, error) {
	return s.orderModel(o, func() (model.Model, error) {
		return model.Rollback(ctx, s.p.cfg.Store, s.caller.Namespace, o.Model, o.To, s.caller.Name, o.Reason, s.p.cfg.Now().UTC())
	})
}

// RefitModel fits a new version and lets it run beside; a rollback no longer holds.
func (s *Session) RefitModel(ctx context.Context, o api.ModelOrder) (api.Model, error) {
	return s.orderModel(o, func() (model.Model, error) {
		return model.Refit(ctx, s.p.cfg.Store, s.caller.Namespace, o.Model, s.caller.Name, o.Reason, s.p.cfg.Now().UTC())
	})
}

func (s *Session) orderModel(o api.ModelOrder, do func() (model.Model, error)) (api.Model, error) {
	if err := s.require(api.RoleOperator, api.RoleApprover); err != nil {
		return api.Model{}, err
	}
	if err := checkText("reason", o.Reason); err != nil {
		return api.Model{}, err
	}
	m, err := do()
	if err != nil {
		return api.Model{}, err
	}
	s.p.cfg.Poke()
	return api.ModelOf(m), nil
}
