package control

import (
	"testing"

	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// A second source differs from the first in what is asked, and in nothing else: it is of the
// same service, parts and kinds of bad events.
func TestASecondSourceIsAskedInPlaceOfTheFirst(t *testing.T) {
	first := policy.RolloutSource{Bad: "sum(errors_total)", Total: "sum(requests_total)"}
	second := policy.RolloutSource{Bad: "sum(door_errors_total)", Total: "sum(door_requests_total)"}
	ind := policy.RolloutIndicator{
		Name: "errors", Bad: first.Bad, Total: first.Total, Fallback: &second, Threshold: 0.5, Classes: &policy.RolloutClasses{Label: "kind", Values: []string{"late"}},
	}
	got := sources(decide.Plan{Service: "shop", Environment: "production"}, "route", "pod", []policy.RolloutIndicator{ind})[0]
	want := got.Spec
	want.Bad, want.Total = second.Bad, second.Total
	if got.Fallback == nil || *got.Fallback != want || got.Spec.Bad != first.Bad || want.Service != "shop" || want.StratumLabel != "route" || want.ClassLabel != "kind" || want.ReplicaLabel != "pod" {
		t.Errorf("%+v, and then %+v; want %+v", got.Spec, got.Fallback, want)
	}
	ind.Fallback = nil
	if got := sources(decide.Plan{}, "", "", []policy.RolloutIndicator{ind})[0]; got.Fallback != nil {
		t.Errorf("without a second source there is %+v", got.Fallback)
	}
}
