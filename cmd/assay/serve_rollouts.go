package main

import (
	"context"
	"errors"
	"net"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/control"
	"assay.dev/assay/enforce"
	"assay.dev/assay/internal/loopback"
	"assay.dev/assay/rollout"
	"github.com/prometheus/client_golang/prometheus"
)

// enforcer is a door that the control plane drives; wire.go knows which.
type enforcer struct {
	act.Actuator
	rollout.Door
	control.Enforcer
	levers act.Levers
}

// Levers implements act.Levers.
func (e *enforcer) Levers(ctx context.Context, service string) ([]act.LeverAt, error) {
	return e.levers.Levers(ctx, service)
}

// leaseHolder names the process that works on a state directory. The directory's
// lock lets only one in, so whoever comes next may take the lease over at once.
const leaseHolder = "state-directory"

// addRollouts lets the plane carry rollouts out, if it has an enforcer.
func (a *app) addRollouts(in *installation, cfg *control.Config, reg prometheus.Registerer) error {
	door, err := a.openEnforcer()
	if err != nil || door == nil {
		return err
	}
	in.door = door
	in.rollouts = rollout.New(rollout.Config{
		Store: in.store, Blobs: in.blobs, Source: in.telemetry.db, Watch: in.telemetry.watch, Actuator: door, Door: door,
		Now: a.now, Log: a.log, Registerer: reg, Holder: leaseHolder, Recorded: cfg.Poke, Halted: a.halted,
		Guard:     a.judged,
		Withdrawn: func(ctx context.Context) ([]string, error) { return in.plane.Withdrawn(ctx) },
		Attestations: func(ctx context.Context, namespace string, digest assay.Digest) ([][]byte, error) {
			return artifact.PassingBundles(ctx, in.store, in.blobs, namespace, digest, enforce.MaxAttestations)
		},
	})
	in.telemetry.listeners = append(in.telemetry.listeners, in.rollouts.Arrived)
	cfg.Rollouts, cfg.Enforcer = in.rollouts, door
	return nil
}

// runRollouts carries rollouts out until ctx ends; without an enforcer it waits.
func (in *installation) runRollouts(ctx context.Context) error {
	if in.rollouts == nil {
		<-ctx.Done()
		return nil
	}
	return in.rollouts.Run(ctx)
}

// anonymous is who looks at pages without a token, nil if nobody may.
func (a *app) anonymous(allowed bool, listen string) (*control.Caller, error) {
	if !allowed {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, usageError{err}
	}
	if !loopback.Is(host) {
		return nil, usageError{errors.New("--anonymous-viewer goes with a loopback address only, such as --listen 127.0.0.1:7070")}
	}
	return &control.Caller{Name: "anonymous", Namespace: a.cfg.get("namespace"), Roles: []api.Role{api.RoleViewer}}, nil
}
