package mitigate_test

import (
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

func reactive(t *testing.T) *rig {
	r := example(t, "scale")
	r.s.Spec.Scale.Forecast, r.s.Spec.Scale.Events = nil, nil
	return r
}

// The declared utilisation is what capacity is kept for: at 95 % of it users wait already.
func TestAboveTheDeclaredUtilisationThereAreMoreReplicasBeforeTheCapacityIsUsedUp(t *testing.T) {
	r := reactive(t)
	r.set("load", "", 380) // of 400
	r.lever(assay.LeverReplicas, "", 10)
	r.run(time.Minute, 10*time.Second)
	if got := r.at(assay.LeverReplicas, ""); got != 12 {
		t.Errorf("380 requests/s at 80 %% of 40 each need 12 replicas, and there are %v: %s %v", got, r.last.Words, r.last.Reasons)
	}
}

func TestReplicasThatTakeLongToStartAreAskedForAndGivenBack(t *testing.T) {
	for _, lead := range []policy.Duration{"2m", "5m", "10m", "1h"} {
		r := reactive(t)
		r.s.Spec.Scale.Lead = lead
		r.lever(assay.LeverReplicas, "", 10)
		r.set("load", "", 800)
		r.run(2*time.Minute, 10*time.Second)
		if got := r.at(assay.LeverReplicas, ""); got != 25 {
			t.Errorf("lead %s: 800 requests/s are served by %v replicas: %s %v", lead, got, r.last.Words, r.last.Reasons)
		}
		r.set("load", "", 100)
		r.run(3*time.Hour, time.Minute)
		if got := r.at(assay.LeverReplicas, ""); got > 23 {
			t.Errorf("lead %s: three hours later %v replicas serve 100 requests/s: %s %v", lead, got, r.last.Words, r.last.Reasons)
		}
	}
}
