package server

import (
	"net/http"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

func fact(c *control.Session, r *http.Request) (any, error) {
	return c.Fact(r.Context(), assay.FactID(r.PathValue("id")))
}

func effects(c *control.Session, r *http.Request) (any, error) {
	limit, err := intParam(r, "limit", 100)
	if err != nil {
		return nil, err
	}
	return c.Effects(r.Context(), assay.FactID(r.PathValue("id")), limit)
}

func startRollout(c *control.Session, r *http.Request) (any, error) {
	var req api.RolloutRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.StartRollout(r.Context(), req)
}

func rollouts(c *control.Session, r *http.Request) (any, error) {
	limit, err := intParam(r, "limit", 100)
	if err != nil {
		return nil, err
	}
	return c.Rollouts(r.Context(), limit)
}

func oneRollout(c *control.Session, r *http.Request) (any, error) {
	return c.Rollout(r.Context(), r.PathValue("id"))
}

func promoteRollout(c *control.Session, r *http.Request) (any, error) {
	var cmd api.RolloutCommand
	if err := body(r, &cmd); err != nil {
		return nil, err
	}
	return c.PromoteRollout(r.Context(), r.PathValue("id"), cmd)
}

func approveRollout(c *control.Session, r *http.Request) (any, error) {
	var cmd api.RolloutCommand
	if err := body(r, &cmd); err != nil {
		return nil, err
	}
	return c.ApproveRollout(r.Context(), r.PathValue("id"), cmd)
}

func abortRollout(c *control.Session, r *http.Request) (any, error) {
	var cmd api.RolloutCommand
	if err := body(r, &cmd); err != nil {
		return nil, err
	}
	return c.AbortRollout(r.Context(), r.PathValue("id"), cmd)
}

func rollbackRollout(c *control.Session, r *http.Request) (any, error) {
	var req api.RollbackRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.RollbackRollout(r.Context(), req)
}

func traffic(c *control.Session, r *http.Request) (any, error) { return c.Traffic(r.Context()) }

func decisions(c *control.Session, r *http.Request) (any, error) {
	limit, err := intParam(r, "limit", 100)
	if err != nil {
		return nil, err
	}
	return c.Decisions(r.Context(), r.FormValue("rollout"), limit)
}

func decision(c *control.Session, r *http.Request) (any, error) {
	return c.Decision(r.Context(), assay.FactID(r.PathValue("id")))
}

func decisionRecord(c *control.Session, r *http.Request) (any, error) {
	b, err := c.DecisionRecord(r.Context(), assay.FactID(r.PathValue("id")))
	return raw{"application/json", b}, err
}
