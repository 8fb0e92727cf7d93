package control_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal/replay"
)

const riskyYAML = `apiVersion: assay.dev/v1alpha1
kind: Rollout
metadata: {name: till}
spec:
  service: till
  minDuration: 20s
  steps: [20, 100]
  risk: {blast: %s}
  indicators:
    - {name: errors, bad: errors_total, total: requests_total}
`

// tills is a plane that carries rollouts of the service till out.
func tills(t *testing.T, blast string) (*controltest.Installation, *control.Plane) {
	t.Helper()
	in := controltest.Idle(t)
	in.AddPolicy("till.yaml", fmt.Sprintf(riskyYAML, blast))
	quick := sim.Latency{Median: 10 * time.Millisecond, Spread: 0.3}
	world, err := sim.New(sim.Config{Seed: 1, Start: in.Now(), Services: []sim.Service{{
		Name: "till", Rate: 10, Versions: []sim.Version{{Name: "v1", Weight: 100, Latency: quick}, {Name: "v2", Latency: quick}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	tape, err := replay.New("default", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctl := rollout.New(rollout.Config{
		Store: in.Store, Blobs: in.Config.Blobs, Source: tape, Actuator: world, Now: in.Now, Log: slog.New(slog.DiscardHandler), Holder: "test",
	})
	if err := ctl.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.Config.Rollouts = ctl
	return in, control.New(in.Config)
}

func TestTheRiskOfAChangeSetsItsGateAndItsSteps(t *testing.T) {
	for _, c := range []struct {
		name, blast string
		change      *api.Change
		gate        string
		steps       []int
		least       time.Duration
		horizon     time.Duration
		status      api.RolloutStatus
	}{
		{"small", "0", &api.Change{Lines: 5, Files: 1}, api.RiskNormal, []int{20, 100}, 20 * time.Second, time.Hour, api.RolloutStarting},
		{"large", "30", &api.Change{Lines: 300, Files: 5}, api.RiskSlow, []int{5, 10, 20, 25, 50, 100}, 30 * time.Second, time.Hour + 140*time.Second, api.RolloutStarting},
		{"nothing is said of it", "100", nil, api.RiskApprove, []int{1, 5, 10, 20, 25, 50, 100}, 40 * time.Second, time.Hour + 240*time.Second, api.RolloutAsking},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, plane := tills(t, c.blast)
			as := func(name string, role api.Role) *control.Session {
				return plane.As(control.Caller{Name: name, Namespace: "default", Roles: []api.Role{role}})
			}
			r, err := as("dev", api.RoleDeveloper).StartRollout(t.Context(), api.RolloutRequest{Rollout: "till", Canary: "v2", Digest: controltest.DigestOf("v2"), Change: c.change})
			if err != nil {
				t.Fatal(err)
			}
			if r.Risk == nil || r.Risk.Gate != c.gate || r.Status != c.status || r.Unapproved() != (c.gate == api.RiskApprove) {
				t.Errorf("%s, %+v", r.Status, r.Risk)
			}
			if !slices.Equal(r.Plan.Steps, c.steps) || !slices.Equal(r.Risk.Steps, c.steps) || r.Plan.MinDuration != c.least || r.Plan.Horizon != c.horizon {
				t.Errorf("steps %v of %s at least, horizon %s", r.Plan.Steps, r.Plan.MinDuration, r.Plan.Horizon)
			}
			_, err = as("dev", api.RoleDeveloper).ApproveRollout(t.Context(), r.ID, api.RolloutCommand{Reason: "read it twice"})
			wantCode(t, "a developer's yes", err, assay.CodeDenied)
			_, err = as("kim", api.RoleApprover).ApproveRollout(t.Context(), r.ID, api.RolloutCommand{Reason: "read it twice"})
			if want := assay.CodeConflict; c.gate != api.RiskApprove {
				wantCode(t, "a yes that nobody waits for", err, want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHistoryIsPartOfTheRisk(t *testing.T) {
	in, plane := tills(t, "10")
	op := plane.As(control.Caller{Name: "op", Namespace: "default", Roles: []api.Role{api.RoleOperator}})
	ask := api.RolloutRequest{Rollout: "till", Canary: "v2", Digest: controltest.DigestOf("v2"), Change: &api.Change{Lines: 10, Files: 1}}
	first, err := op.StartRollout(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.AbortRollout(t.Context(), first.ID, api.RolloutCommand{Reason: "it breaks the till"}); err != nil {
		t.Fatal(err)
	}
	if err := in.Config.Rollouts.Step(t.Context(), "default", first.ID); err != nil {
		t.Fatal(err)
	}
	again, err := op.StartRollout(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	if again.Risk.Score <= first.Risk.Score || !strings.Contains(fmt.Sprint(again.Risk.Factors), "1 of 1 earlier changes were taken back") {
		t.Errorf("%d after %d: %+v", again.Risk.Score, first.Risk.Score, again.Risk.Factors)
	}
}
