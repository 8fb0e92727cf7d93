package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// Fact returns one fact.
func (c *Client) Fact(ctx context.Context, id assay.FactID) (f assay.Fact, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/facts/"+url.PathEscape(string(id)), nil, &f)
	return f, err
}

// Effects lists facts that name a fact as their cause, oldest first.
func (c *Client) Effects(ctx context.Context, id assay.FactID, limit int) (list []assay.Fact, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/facts/"+url.PathEscape(string(id))+"/effects?limit="+strconv.Itoa(limit), nil, &list)
	return list, err
}

// StartRollout gives a new version traffic, step by step.
func (c *Client) StartRollout(ctx context.Context, req api.RolloutRequest) (r api.Rollout, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/rollouts", req, &r)
	return r, err
}

// Rollouts lists rollouts, newest first, without their paths.
func (c *Client) Rollouts(ctx context.Context, limit int) (list []api.Rollout, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/rollouts?limit="+strconv.Itoa(limit), nil, &list)
	return list, err
}

// Rollout returns one rollout with the path of its evidence.
func (c *Client) Rollout(ctx context.Context, id string) (r api.Rollout, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/rollouts/"+url.PathEscape(id), nil, &r)
	return r, err
}

// PromoteRollout gives the new version all the traffic, whatever the evidence says.
func (c *Client) PromoteRollout(ctx context.Context, id string, cmd api.RolloutCommand) (r api.Rollout, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/rollouts/"+url.PathEscape(id)+"/promotion", cmd, &r)
	return r, err
}

// ApproveRollout says the yes that a rollout waits for before its first request.
func (c *Client) ApproveRollout(ctx context.Context, id string, cmd api.RolloutCommand) (r api.Rollout, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/rollouts/"+url.PathEscape(id)+"/approval", cmd, &r)
	return r, err
}

// AbortRollout takes all the traffic from the new version.
func (c *Client) AbortRollout(ctx context.Context, id string, cmd api.RolloutCommand) (r api.Rollout, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/rollouts/"+url.PathEscape(id)+"/abort", cmd, &r)
	return r, err
}

// RollbackRollout goes back from the version that has all the traffic of a service to one
// that had it before.
func (c *Client) RollbackRollout(ctx context.Context, req api.RollbackRequest) (r api.Rollout, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/rollouts/rollbacks", req, &r)
	return r, err
}

// Traffic says what the enforcer does now.
func (c *Client) Traffic(ctx context.Context) (t api.Traffic, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/traffic", nil, &t)
	return t, err
}

// Decisions lists the newest recorded decisions, of one rollout if it is named.
func (c *Client) Decisions(ctx context.Context, rollout string, limit int) (list []api.Decision, err error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if rollout != "" {
		q.Set("rollout", rollout)
	}
	err = c.call(ctx, http.MethodGet, "/v1/decisions?"+q.Encode(), nil, &list)
	return list, err
}

// Decision returns one recorded decision.
func (c *Client) Decision(ctx context.Context, id assay.FactID) (d api.Decision, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/decisions/"+url.PathEscape(string(id)), nil, &d)
	return d, err
}

// DecisionRecord returns the canonical inputs and outputs of a recorded decision.
func (c *Client) DecisionRecord(ctx context.Context, id assay.FactID) ([]byte, error) {
	return c.bytes(ctx, "/v1/decisions/"+url.PathEscape(string(id))+"/record")
}
