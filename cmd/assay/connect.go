package main

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"

	"assay.dev/assay"
	"assay.dev/assay/client"
	"assay.dev/assay/control"
	"github.com/prometheus/client_golang/prometheus"
)

// need says what a command wants of the state directory.
type need int

const (
	stateOptional need = iota // use it if it is there or was named
	stateNeeded               // it must be there
	stateSigning              // it must be there with keys, and facts are published
)

// operations are the control plane as commands see it, local or remote.
type operations struct {
	checks
	statements
	exceptions
	exceptionDesk
	tokens
	ledgerReads
	rollouts
	strategies
	objectives
	anomalies
	divergences
	models
	signingKeys
	inventories
	inventorySearches
	reports
	admissions
	histories
	close func()
}

// connect opens the control plane that the configuration names.
func (a *app) connect(ctx context.Context, n need) (*operations, error) {
	if a.cfg.get("server") != "" {
		c, err := a.remote()
		if err != nil {
			return nil, err
		}
		return &operations{c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, func() {}}, nil
	}
	if n == stateOptional && !a.cfg.chosen("dir") {
		if _, err := os.Stat(a.cfg.get("dir")); errors.Is(err, fs.ErrNotExist) {
			return a.stateless()
		}
	}
	in, err := a.open(ctx, n == stateSigning, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	caller, err := a.caller(ctx, in.plane)
	if err == nil {
		err = control.CheckNamespace(caller.Namespace)
	}
	if err != nil {
		in.close()
		return nil, err
	}
	s := in.plane.As(caller)
	return &operations{s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, in.close}, nil
}

// remote is the control plane on the network that the configuration names.
func (a *app) remote() (*client.Client, error) {
	path := a.cfg.get("server-ca")
	if path == "" {
		return client.New(a.cfg.get("server"), a.cfg.get("token"))
	}
	pem, err := readFile(path, maxCA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, &assay.Error{Code: assay.CodeInvalid, File: path, Msg: "holds no certificate in PEM"}
	}
	return client.NewTrusting(a.cfg.get("server"), a.cfg.get("token"), roots)
}

// ask puts one question to the control plane that the configuration names, and lets
// go of it before the answer is printed.
func ask[T any](ctx context.Context, a *app, n need, question func(*operations) (T, error)) (T, error) {
	ops, err := a.connect(ctx, n)
	if err != nil {
		var none T
		return none, err
	}
	defer ops.close()
	return question(ops)
}
