package policy_test

import (
	"fmt"
	"slices"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

const backYAML = `apiVersion: assay.dev/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  service: shop
  rollback: {steps: %s}
  indicators:
    - {name: errors, bad: errors_total, total: requests_total}
`

func TestARollbackHasStepsThatEndWithAllTheTraffic(t *testing.T) {
	for steps, good := range map[string]bool{
		"[100]": true, "[25, 100]": true, "[]": false, "[50]": false, "[100, 100]": false, "[0, 100]": false, "[50, 20, 100]": false, "[100, 200]": false,
	} {
		list, err := policy.Parse("shop.yaml", fmt.Appendf(nil, backYAML, steps))
		if (err == nil) != good || err != nil && assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v", steps, err)
		}
		if err == nil && !slices.ContainsFunc(list.Rollouts, func(r policy.Rollout) bool { return r.Spec.Rollback != nil && len(r.Spec.Rollback.Steps) > 0 }) {
			t.Errorf("%s is not read", steps)
		}
	}
}
