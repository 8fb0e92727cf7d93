package main

import (
	"context"

	"assay.dev/assay/notify"
	"github.com/prometheus/client_golang/prometheus"
)

// notifier tells people outside what they have to act on, until ctx ends; without an
// address it waits.
func (a *app) notifier(in *installation, reg prometheus.Registerer) (func(context.Context) error, error) {
	sender, err := a.openSender()
	if err != nil || sender == nil {
		return func(ctx context.Context) error { <-ctx.Done(); return nil }, err
	}
	return notify.New(notify.Config{
		Store: in.store, Sender: sender, Namespaces: in.plane.AlertNamespaces, Standing: in.plane.Alerts,
		Now: a.now, Log: a.log, Registerer: reg,
	}).Run, nil
}
