package client_test

import (
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/attest"
	"assay.dev/assay/control/controltest"
)

func TestKeysAreReadAndRevokedOverTheNetwork(t *testing.T) {
	in := controltest.New(t)
	url, ctx := serve(t, in), t.Context()
	root, viewer := dial(t, url, in.Token("root", "default", api.RoleAdmin)), dial(t, url, in.Token("eve", "default", api.RoleViewer))
	list, err := viewer.Keys(ctx)
	if err != nil || len(list) != 1 || list[0].ID != in.Signer.KeyID() || list[0].State(in.Now()) != "signs" {
		t.Fatalf("%+v, %v", list, err)
	}
	req := api.KeyRevocationRequest{Key: list[0].ID, CompromisedSince: in.Now().Add(-time.Hour), Reason: "stolen"}
	if _, err := viewer.RevokeKey(ctx, req); assay.CodeOf(err) != assay.CodeDenied {
		t.Errorf("a viewer revoked a key: %v", err)
	}
	done, err := root.RevokeKey(ctx, req)
	if err != nil || done.Fact == "" || done.Key.State(in.Now()) != "revoked" {
		t.Errorf("%+v, %v", done, err)
	}
	file, err := viewer.Trust(ctx)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := attest.ParseTrust(file)
	if err != nil || len(trust.Policy.Keys) != 1 || trust.Policy.Keys[0].Revoked == nil || trust.Ledger != in.VKey {
		t.Errorf("%+v, %v", trust, err)
	}
	if _, err := root.RotateKey(ctx, api.KeyRotation{}); assay.CodeOf(err) != assay.CodeConflict || !strings.Contains(err.Error(), "does not hold the signing key") {
		t.Errorf("a server without the key rotated it: %v", err)
	}
}
