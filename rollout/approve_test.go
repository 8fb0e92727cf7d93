package rollout_test

import (
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/rollout"
)

// proposeRisky asks for a rollout whose risk wants a yes first.
func (s *stage) proposeRisky() api.Rollout {
	s.t.Helper()
	r, err := s.ctl.Propose(s.t.Context(), rollout.Proposal{
		Namespace: namespace, Actor: "ada", Name: "shop", Plan: plan(), Canary: "v2", Baseline: time.Minute,
		Digest: assay.DigestOf([32]byte{2}), Indicators: []rollout.Indicator{{Spec: errorsSpec()}},
		Risk: &api.Risk{Score: 71, Gate: api.RiskApprove, Words: "a person should say yes first"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func TestARiskyVersionHasNoTrafficBeforeSomebodyElseSaysYes(t *testing.T) {
	s := newStage(t, 6, 0.01)
	r := s.proposeRisky()
	if r.Status != api.RolloutAsking || !r.Unapproved() {
		t.Fatalf("%s: %s", r.Status, r.Reason)
	}
	for range 20 {
		s.pass(r.ID, time.Second)
	}
	if n := s.share("v2"); n != 0 || !s.rollout(r.ID).Unapproved() || !s.rollout(r.ID).Began.IsZero() {
		t.Fatalf("unapproved it has %d %%: %+v", n, s.rollout(r.ID))
	}
	if _, err := s.ctl.Command(t.Context(), namespace, r.ID, "grace", api.CommandPromote, "now"); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("a promotion before the yes gives %v", err)
	}
	for _, own := range []string{"ada", "Ada", " ada "} {
		if _, err := s.ctl.Approve(t.Context(), namespace, r.ID, own, "mine"); assay.CodeOf(err) != assay.CodeDenied {
			t.Errorf("one's own yes as %q gives %v", own, err)
		}
	}
	if _, err := s.ctl.Approve(t.Context(), namespace, r.ID, "grace", "read it"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ctl.Approve(t.Context(), namespace, r.ID, "grace", "again"); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("a second yes gives %v", err)
	}
	s.restart() // the yes is kept
	end := s.run(r.ID)
	if end.Status != api.RolloutPromoted || end.Approval == nil || end.Approval.By != "grace" || end.Risk.Score != 71 {
		t.Errorf("%s, approval %+v", end.Status, end.Approval)
	}
	if p := payload[rollout.CommandedPayload](t, s.facts(assay.FactRolloutCommanded)[0]); p.Command != api.CommandApprove || p.Reason != "read it" {
		t.Errorf("%+v", p)
	}
	if p := payload[rollout.StartedPayload](t, s.facts(assay.FactRolloutStarted)[0]); p.Risk == nil || p.Risk.Score != 71 {
		t.Errorf("the fact has the risk %+v", p.Risk)
	}
}

func TestARolloutThatNobodyApprovesCanBeAborted(t *testing.T) {
	s := newStage(t, 6, 0.01)
	r := s.proposeRisky()
	if _, err := s.ctl.Command(t.Context(), namespace, r.ID, "grace", api.CommandAbort, "not today"); err != nil {
		t.Fatal(err)
	}
	end := s.pass(r.ID, time.Second)
	if end.Status != api.RolloutAborted || end.Unapproved() || s.share("v2") != 0 || len(s.facts(assay.FactRolloutActed)) != 0 {
		t.Errorf("%s with %d %%", end.Status, s.share("v2"))
	}
}
