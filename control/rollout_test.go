package control_test

import (
	"context"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/enforce"
)

// busy is an enforcer with two routes.
type busy struct{}

func (busy) Status(context.Context) (enforce.Status, error) {
	return enforce.Status{
		Routes: []enforce.RouteStatus{{Name: "front", Service: "shop"}, {Name: "secret", Service: "payroll"}},
		Refused: []enforce.RefusalSeen{
			{Route: "front", Version: "v5"}, {Route: "secret", Version: "p2"},
		},
	}, nil
}

func TestTrafficIsShownToTheNamespaceWhoseRolloutsMoveIt(t *testing.T) {
	in := controltest.Idle(t)
	in.Config.Enforcer = busy{}
	plane := control.New(in.Config)
	see := func(namespace string) enforce.Status {
		got, err := plane.As(control.Caller{Name: "v", Namespace: namespace, Roles: []api.Role{api.RoleViewer}}).Traffic(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got.Status
	}
	if own := see("default"); len(own.Routes) != 1 || own.Routes[0].Service != "shop" || len(own.Refused) != 1 || own.Refused[0].Version != "v5" {
		t.Errorf("its own namespace sees %+v", own)
	}
	if other := see("team-a"); len(other.Routes)+len(other.Refused) != 0 {
		t.Errorf("another namespace sees %+v", other)
	}
}

func TestWhereTrafficGoesIsTheOperatorsToSay(t *testing.T) {
	in := controltest.Idle(t)
	ask := api.RolloutRequest{Rollout: "shop", Canary: "v2", Digest: controltest.DigestOf("v2"), Backend: "http://10.0.0.7:80"}
	_, err := in.As("dev", "default", api.RoleDeveloper).StartRollout(t.Context(), ask)
	if assay.CodeOf(err) != assay.CodeDenied {
		t.Errorf("a developer who names a backend gets %v", err)
	}
	if _, err := in.As("op", "default", api.RoleOperator).StartRollout(t.Context(), ask); assay.CodeOf(err) == assay.CodeDenied {
		t.Errorf("an operator gets %v", err)
	}
	ask.Backend = ""
	if _, err := in.As("dev", "default", api.RoleDeveloper).StartRollout(t.Context(), ask); assay.CodeOf(err) == assay.CodeDenied {
		t.Errorf("a developer who names a version that the enforcer knows gets %v", err)
	}
}
