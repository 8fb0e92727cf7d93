package client_test

import (
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/control/controltest"
)

func TestFactsOfTheInstallationComeOverTheNetworkToo(t *testing.T) {
	in := controltest.New(t)
	url, ctx := serve(t, in), t.Context()
	root := dial(t, url, in.Token("root", "default", api.RoleAdmin)).System()
	list, err := root.Facts(ctx, []string{assay.FactTokenCreated}, "", 10)
	if err != nil || len(list) != 1 || list[0].Actor != "setup" {
		t.Fatalf("%+v, %v", list, err)
	}
	proof, err := root.Proof(ctx, list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if proven, err := artifact.VerifyFactProof(proof, in.VKey); err != nil || proven.ID != list[0].ID {
		t.Errorf("proven %+v, %v", proven, err)
	}
	if p, err := root.Publication(ctx, list[0].ID); err != nil || !p.Published {
		t.Errorf("publication %+v, %v", p, err)
	}
	if h, err := root.Head(ctx); err != nil || h.Size == 0 {
		t.Errorf("head %+v, %v", h, err)
	}
	dev := dial(t, url, in.Token("dev", "default", api.RoleDeveloper))
	if _, err := dev.System().Facts(ctx, nil, "", 10); assay.CodeOf(err) != assay.CodeDenied {
		t.Errorf("as developer: %v, want denied", err)
	}
	if _, err := dev.System().Proof(ctx, list[0].ID); assay.CodeOf(err) != assay.CodeDenied {
		t.Errorf("as developer: %v, want denied", err)
	}
	if _, err := dev.Proof(ctx, list[0].ID); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("without asking for them: %v, want not found", err)
	}
}
