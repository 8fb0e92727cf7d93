package rollout_test

import (
	"strings"
	"testing"
	"time"

	"assay.dev/assay/api"
)

func TestAKillSwitchOfAServiceHoldsThatServiceAlone(t *testing.T) {
	s := newStage(t, 5, 0.01)
	id := s.propose(plan()).ID
	s.halted = "shop: the numbers look wrong"
	if r := s.pass(id, time.Second); s.share("v2") != 0 || r.Status != api.RolloutStarting || !strings.Contains(r.Reason, "the automation of service shop is halted: the numbers look wrong") {
		t.Fatalf("the version has %d %%: %s", s.share("v2"), r.Reason)
	}
	s.halted = "mail: the numbers look wrong"
	for range 3 {
		s.pass(id, time.Second)
	}
	if s.share("v2") != 10 {
		t.Errorf("another service is halted, and this one has %d %%", s.share("v2"))
	}
}
