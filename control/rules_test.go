package control_test

import (
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control/controltest"
)

func TestAnExceptionNamesRulesThatThePolicyHas(t *testing.T) {
	in := controltest.New(t)
	for rule, want := range map[string]string{
		controltest.Rule:         "",
		"inventory/late-finding": "",
		"absent/tests":           "",
		"tests/failed":           "",
		"ship/no-critcal":        `did you mean "` + controltest.Rule + `"?`,
		"shop/no-critical":       `did you mean "` + controltest.Rule + `"?`,
		"absent/test":            `did you mean "absent/tests"?`,
		"elsewhere/quite-other":  "its rules are: absent/tests, ",
		"ship/*":                 "is a pattern",
	} {
		_, err := in.As("alice", "default", api.RoleDeveloper).RequestException(t.Context(), api.ExceptionRequest{
			Scope: assay.ExceptionScope{Rules: []string{rule}}, Reason: "long enough a reason", NotAfter: in.Now().Add(time.Hour),
		})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", rule, err)
		case want != "" && (assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "scope.rules[0] ")):
			t.Errorf("%s: %v, want %s", rule, err, want)
		}
	}
	// The policy has nothing for this namespace: what judges it is elsewhere.
	if _, err := in.As("eve", "other", api.RoleDeveloper).RequestException(t.Context(), api.ExceptionRequest{
		Scope: assay.ExceptionScope{Rules: []string{"their/rule"}}, Reason: "long enough a reason", NotAfter: in.Now().Add(time.Hour),
	}); err != nil {
		t.Error(err)
	}
}
