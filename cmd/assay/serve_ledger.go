package main

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// ledgerSide is what a server does for the ledger beside sequencing it.
type ledgerSide struct {
	witness http.Handler // cosigns other logs; nil if none is configured
	parts   []func(context.Context) error
}

// openLedgerSide prepares cosignatures both ways, periodic audits and backups.
func (a *app) openLedgerSide(in *installation, reg prometheus.Registerer) (s ledgerSide, err error) {
	if s.witness, err = a.openWitness(in, reg); err != nil {
		return s, err
	}
	asked, err := a.openWitnessing(in, reg)
	if err != nil {
		return s, err
	}
	periodic, err := a.newAudits(reg)
	if err != nil {
		return s, err
	}
	s.parts = []func(context.Context) error{witnessing(asked), a.serveBackups(in), a.runAudits(in, periodic)}
	return s, nil
}
