package main

import (
	"context"
	"fmt"

	"assay.dev/assay/anomaly"
	"assay.dev/assay/control"
	"assay.dev/assay/diverge"
	"assay.dev/assay/policy"
	"assay.dev/assay/rollout"
	"github.com/prometheus/client_golang/prometheus"
)

// addAnomalies lets the plane watch the objectives of the policy in force.
func (a *app) addAnomalies(in *installation, cfg *control.Config, reg prometheus.Registerer) error {
	namespace := a.cfg.get("namespace")
	revision := func() (*policy.Revision, error) {
		p, err := cfg.Policy()
		return p.Revision, err
	}
	w := anomaly.New(anomaly.Config{
		Source: in.telemetry.db, Store: in.store, Namespace: namespace, Policy: revision, Now: a.now, Log: a.log, Registerer: reg,
		Changing: func(ctx context.Context, service string) (string, error) {
			return changing(ctx, in, namespace, service)
		},
	})
	rev, err := revision()
	if err != nil {
		return err
	}
	objectives, _, err := control.ReadObjectives(rev.Objectives())
	if err != nil {
		return belowAll(err, a.cfg.get("policy"))
	}
	if err := w.SetObjectives(objectives); err != nil {
		return err
	}
	in.telemetry.anomalies, cfg.Watched = w, w
	return nil
}

// addRegions lets the plane compare the regions of the policy's objectives that name them.
func (a *app) addRegions(in *installation, cfg *control.Config, reg prometheus.Registerer) error {
	p, err := cfg.Policy()
	if err != nil {
		return err
	}
	objectives, _, err := control.ReadObjectives(p.Revision.Objectives())
	if err != nil {
		return belowAll(err, a.cfg.get("policy"))
	}
	w := diverge.New(diverge.Config{
		Source: in.telemetry.db, Store: in.store, Namespace: a.cfg.get("namespace"), Now: a.now, Log: a.log, Registerer: reg,
	})
	if err := w.SetObjectives(objectives); err != nil {
		return err
	}
	in.telemetry.regions, cfg.Compared = w, w
	return nil
}

// newestRollouts is among how many rollouts the one that is under way is looked for.
const newestRollouts = 200

// changing says which rollout of a service is under way, "" for none.
func changing(ctx context.Context, in *installation, namespace, service string) (string, error) {
	list, err := rollout.List(ctx, in.store, namespace, newestRollouts)
	if err != nil {
		return "", err
	}
	for _, r := range list {
		if r.Service == service && !r.Status.Ended() {
			return fmt.Sprintf("rollout %s of %s is %s", r.ID, service, r.Status), nil
		}
	}
	return "", nil
}
