package main

import (
	"context"
	"os/user"
	"strings"

	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

// caller is who the token says, or the account on this machine.
func (a *app) caller(ctx context.Context, p *control.Plane) (control.Caller, error) {
	if t := a.cfg.get("token"); t != "" {
		return p.Authenticate(ctx, t)
	}
	return a.localCaller(), nil
}

// localCaller has every role: who can write the directory can do everything anyway.
func (a *app) localCaller() control.Caller {
	name := "local"
	if u, err := user.Current(); err == nil && strings.TrimSpace(u.Username) != "" {
		name = u.Username
	}
	return control.Caller{Name: name, Namespace: a.cfg.get("namespace"), Roles: api.Roles}
}
