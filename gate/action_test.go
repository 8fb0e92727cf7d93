package gate_test

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/gate"
	"assay.dev/assay/policy"
	"assay.dev/assay/policy/rego"
)

const actionPolicies = `apiVersion: assay.dev/v1alpha1
kind: Policy
metadata: {name: regions, namespace: shop}
spec: {package: action.regions}
---
apiVersion: assay.dev/v1alpha1
kind: Policy
metadata: {name: freeze, namespace: shop}
spec: {package: action, mode: MODE}
---
apiVersion: assay.dev/v1alpha1
kind: Policy
metadata: {name: others, namespace: cart}
spec: {package: action}
---
apiVersion: assay.dev/v1alpha1
kind: Policy
metadata: {name: release, namespace: shop}
spec: {package: actions}
`

const regionsRego = `package action.regions

deny contains {"rule": "most", "msg": sprintf("%s would get %v %% of the traffic, at most 60", [input.action.scope, input.action.want])} if {
	input.action.lever == "region-share"
	input.action.want > 60
}

warn contains "a region is about to be left alone" if {
	input.action.lever == "region-share"
	input.action.want < 20
}
`

const freezeRego = `package action

deny contains {"rule": "freeze", "msg": "nothing moves in production on the last day of the year", "remedy": "wait until tomorrow"} if {
	input.environment == "production"
	contains(input.time, "-12-31T")
}
`

func actionRevision(t *testing.T, mode string) (*policy.Revision, gate.Engine) {
	t.Helper()
	file := func(path, content string) policy.File {
		return policy.File{Path: path, Content: []byte(content), Digest: assay.DigestOf(sha256.Sum256([]byte(content)))}
	}
	rev, err := policy.NewRevision([]policy.File{
		file("policies.yaml", strings.ReplaceAll(actionPolicies, "MODE", mode)), file("regions.rego", regionsRego), file("freeze.rego", freezeRego),
		file("release.rego", "package actions\n\ndeny contains \"it is asked\"\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := rego.Compile(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	return rev, engine
}

func TestPoliciesJudgeProposedActions(t *testing.T) {
	share := func(want float64) assay.Action {
		return assay.Action{Kind: assay.ActionAdjust, Service: "shop", Lever: assay.LeverRegion, Scope: "eu", Now: 50, Want: want}
	}
	ordinary, last := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC), time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		mode   string
		now    time.Time
		action assay.Action
		want   string // verdicts by policy
	}{
		"nothing is objected to":       {"enforce", ordinary, share(50), "policy/freeze pass ; policy/regions pass "},
		"a deny forbids":               {"enforce", ordinary, share(70), "policy/freeze pass ; policy/regions fail eu would get 70 % of the traffic, at most 60"},
		"a warning does not":           {"enforce", ordinary, share(10), "policy/freeze pass ; policy/regions pass advice only: a region is about to be left alone"},
		"by the clock of the decision": {"enforce", last, share(50), "policy/freeze fail nothing moves in production on the last day of the year (wait until tomorrow); policy/regions pass "},
		"in a weaker mode it is said":  {"warn", last, share(50), "policy/freeze pass warn only: nothing moves in production on the last day of the year (wait until tomorrow); policy/regions pass "},
		"off is off":                   {"off", last, share(50), "policy/regions pass "},
	} {
		t.Run(name, func(t *testing.T) {
			rev, engine := actionRevision(t, tc.mode)
			by := gate.Proposer{Namespace: "shop", Environment: "production", Plan: "eu"}
			var got []string
			for _, v := range gate.ActionGuard(t.Context(), engine, rev.Policies(), by, tc.now)(tc.action) {
				if v.Action != tc.action.Kind || v.Target != "region-share/eu" || v.Want != tc.action.Want {
					t.Errorf("the verdict is about another action: %+v", v)
				}
				got = append(got, v.Guard+" "+string(v.Outcome)+" "+v.Reason)
			}
			slices.Sort(got)
			if text := strings.Join(got, "; "); text != tc.want {
				t.Errorf("got  %s\nwant %s", text, tc.want)
			}
		})
	}
}

func TestAPolicyThatCannotBeEvaluatedForbids(t *testing.T) {
	rev, engine := actionRevision(t, "enforce")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, v := range gate.ActionGuard(ctx, engine, rev.Policies(), gate.Proposer{Namespace: "shop"}, time.Now())(assay.Action{Kind: assay.ActionAdvance}) {
		if v.Outcome != assay.OutcomeAbsent || !strings.Contains(v.Reason, "cannot be evaluated") {
			t.Errorf("%+v", v)
		}
	}
	if gate.ActionGuard(t.Context(), engine, rev.Policies(), gate.Proposer{Namespace: "pay"}, time.Now()) != nil {
		t.Error("policies of other namespaces judge")
	}
}
