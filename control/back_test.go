package control_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/rollout"
	"assay.dev/assay/store"
)

// shipped is a plane whose till runs v2, whose rollout has ended.
func shipped(t *testing.T) (*controltest.Installation, *control.Plane, api.Rollout) {
	t.Helper()
	in, plane := tills(t, "10")
	op := plane.As(control.Caller{Name: "op", Namespace: "default", Roles: []api.Role{api.RoleOperator}})
	r, err := op.StartRollout(t.Context(), api.RolloutRequest{Rollout: "till", Canary: "v2", Digest: controltest.DigestOf("v2"), Change: &api.Change{Lines: 10, Files: 1}})
	if err != nil {
		t.Fatal(err)
	}
	step(t, in, r.ID)
	if _, err := op.PromoteRollout(t.Context(), r.ID, api.RolloutCommand{Reason: "checked by hand"}); err != nil {
		t.Fatal(err)
	}
	step(t, in, r.ID)
	return in, plane, r
}

func step(t *testing.T, in *controltest.Installation, id string) {
	t.Helper()
	if err := in.Config.Rollouts.Step(t.Context(), "default", id); err != nil {
		t.Fatal(err)
	}
}

func TestWhoMayGoBack(t *testing.T) {
	_, plane, r := shipped(t)
	as := func(namespace string, role api.Role) *control.Session {
		return plane.As(control.Caller{Name: "grace", Namespace: namespace, Roles: []api.Role{role}})
	}
	for _, c := range []struct {
		who  *control.Session
		ask  api.RollbackRequest
		code assay.Code
	}{
		{as("default", api.RoleDeveloper), api.RollbackRequest{Of: "till", Reason: "it fails"}, assay.CodeDenied},
		{as("default", api.RoleOperator), api.RollbackRequest{Of: "till"}, assay.CodeInvalid},
		{as("default", api.RoleOperator), api.RollbackRequest{Reason: "it fails"}, assay.CodeInvalid},
		{as("default", api.RoleOperator), api.RollbackRequest{Of: "till", To: "no such\nname", Reason: "it fails"}, assay.CodeInvalid},
		{as("team-a", api.RoleOperator), api.RollbackRequest{Of: "till", Reason: "it fails"}, assay.CodeNotFound},
		{as("team-a", api.RoleOperator), api.RollbackRequest{Of: r.ID, Reason: "it fails"}, assay.CodeNotFound},
		{as("default", api.RoleApprover), api.RollbackRequest{Of: r.ID, Reason: "it fails"}, ""},
		{as("default", api.RoleOperator), api.RollbackRequest{Of: "till", Reason: "it fails"}, assay.CodeConflict}, // the other is under way
	} {
		got, err := c.who.RollbackRollout(t.Context(), c.ask)
		if c.code == "" && (err != nil || got.Plan.Canary != "v1" || got.Actor != "grace") || c.code != "" && assay.CodeOf(err) != c.code {
			t.Errorf("%+v: %s by %s, %v; want %q", c.ask, got.Plan.Canary, got.Actor, err, c.code)
		}
	}
}

func TestWhatWasGoneBackFromCountsAsAChangeThatFailed(t *testing.T) {
	in, plane, first := shipped(t)
	op := plane.As(control.Caller{Name: "op", Namespace: "default", Roles: []api.Role{api.RoleOperator}})
	back, err := op.RollbackRollout(t.Context(), api.RollbackRequest{Of: "till", Reason: "it fails"})
	if err != nil {
		t.Fatal(err)
	}
	step(t, in, back.ID)
	if _, err := op.PromoteRollout(t.Context(), back.ID, api.RolloutCommand{Reason: "seen enough"}); err != nil {
		t.Fatal(err)
	}
	step(t, in, back.ID)
	in.Advance(time.Second)
	again, err := op.StartRollout(t.Context(), api.RolloutRequest{Rollout: "till", Canary: "v2", Digest: controltest.DigestOf("v2"), Change: &api.Change{Lines: 10, Files: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if again.Risk.Score <= first.Risk.Score || !strings.Contains(fmt.Sprint(again.Risk.Factors), "1 of 1 earlier changes were taken back") {
		t.Errorf("%d after %d: %+v", again.Risk.Score, first.Risk.Score, again.Risk.Factors)
	}
}

func TestAStrategyTakesBackAVersionWhateverBecameOfItsRollout(t *testing.T) {
	in, _, first := shipped(t)
	rolled := control.Rolled{Store: in.Store, Rollouts: in.Config.Rollouts}
	var cause assay.FactID
	err := in.Store.Update(t.Context(), func(tx store.Tx) (err error) {
		cause, err = tx.Append(assay.Fact{
			Kind: assay.FactMitigationDecided, Version: 1, Time: in.Now(), Namespace: "default", Service: "till", Actor: "assay-mitigate", Retention: assay.RetainAudit, Payload: []byte("{}"),
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if to, err := rolled.WayBack(t.Context(), "default", "till"); err != nil || to != "v1" {
		t.Fatalf("the way back leads to %q, %v", to, err)
	}
	ask := mitigate.TakeBack{Namespace: "default", Service: "till", Version: "v2", Reason: "v2 fails", Cause: cause, Approved: true}
	for range 2 { // whoever asked did not hear the answer
		if _, err := rolled.TakeBack(t.Context(), ask); err != nil {
			t.Fatal(err)
		}
	}
	if told, err := rolled.Answered(t.Context(), "default", cause); err != nil || !told {
		t.Errorf("nobody knows that it was begun: %v", err)
	}
	open, err := rollout.OpenOf(t.Context(), in.Store, "default", "till")
	if err != nil || len(open) != 1 || open[0].Back == nil || open[0].Back.Of != first.ID || open[0].Plan.Canary != "v1" {
		t.Fatalf("under way are %+v, %v", open, err)
	}
	changes, err := rolled.Changes(t.Context(), "default", "till")
	if err != nil || len(changes) != 2 || !changes[0].Return || !changes[0].Open || changes[1].Version != "v2" || changes[1].Open {
		t.Errorf("the changes are %+v, %v", changes, err)
	}
	wrong := ask
	wrong.Version, wrong.Cause = "v1", ""
	if _, err := rolled.TakeBack(t.Context(), wrong); err != nil { // it is the version of the rollout that is under way: it is told to abort
		t.Error(err)
	}
	step(t, in, open[0].ID)
	if _, err := rolled.TakeBack(t.Context(), wrong); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("a version without traffic is taken back: %v", err)
	}
}
