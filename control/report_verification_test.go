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
	"assay.dev/assay/report"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// checked is an installation that attested in two environments, with a flaky test in
// one of them, and its metrics.
func checked(t *testing.T) (*controltest.Installation, *prometheus.Registry) {
	t.Helper()
	in := controltest.Idle(t)
	reg := prometheus.NewRegistry()
	in.Config.Metrics = control.NewMetrics(reg)
	in.Plane = control.New(in.Config)
	dev := in.As("ci", "default", api.RoleDeveloper)
	for _, a := range []struct {
		environment, name string
		want              assay.Outcome
		reports           []string
	}{
		{"prod", "good", assay.OutcomePass, []string{controltest.Tests, controltest.Clean}},
		{"prod", "shaky", assay.OutcomePass, []string{flakyRun, controltest.Clean}},
		{"prod", "bad", assay.OutcomeFail, []string{controltest.Tests, controltest.Vulnerable}},
		{"staging", "untested", assay.OutcomeAbsent, []string{controltest.Clean}},
		{"staging", "shaky", assay.OutcomePass, []string{flakyRun, controltest.Clean}}, // the report was counted in prod
	} {
		req := in.Request(dev, a.name, a.reports...)
		req.Environment = a.environment
		if att, err := dev.Attest(t.Context(), req); err != nil || att.Verdict.Outcome != a.want {
			t.Fatalf("%s in %s: %s, %v", a.name, a.environment, att.Verdict.Outcome, err)
		}
		if _, err := dev.Check(t.Context(), req); err != nil { // asked only: not counted
			t.Fatal(err)
		}
	}
	in.Advance(time.Hour)
	return in, reg
}

func TestThePassRateIsMadeOfWhatGatesWereAttested(t *testing.T) {
	in, _ := checked(t)
	v, err := in.As("auditor", "default", api.RoleViewer).Verification(t.Context(), api.VerificationRequest{})
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, e := range append(v.Environments, report.EnvironmentRate{Environment: "total", Rate: v.Total}) {
		said[e.Environment] = fmt.Sprintf("%s %s: %d of %d, %d violated, %d absent, %d flaky", e.Standing, e.Percent(), e.Passed, e.Checks, e.Violated, e.Absent, e.Flaky)
	}
	for environment, want := range map[string]string{
		"prod":    "missed 83.33 %: 5 of 6, 1 violated, 0 absent, 1 flaky",
		"staging": "missed 75.00 %: 3 of 4, 0 violated, 1 absent, 0 flaky",
		"total":   "missed 80.00 %: 8 of 10, 1 violated, 1 absent, 1 flaky",
	} {
		if said[environment] != want {
			t.Errorf("%s: %q, want %q", environment, said[environment], want)
		}
	}
}

func TestAPassRateTellsAnExceptionFromAPass(t *testing.T) {
	in := controltest.Idle(t)
	ctx := t.Context()
	dev, bob := in.As("dana", "default", api.RoleDeveloper), in.As("bob", "default", api.RoleApprover)
	e, err := dev.RequestException(ctx, api.ExceptionRequest{
		Scope: assay.ExceptionScope{Rules: []string{"absent/vulnerabilities"}}, Reason: "the scanner is down", NotAfter: in.Now().Add(time.Hour),
	})
	if err == nil {
		_, err = bob.ApproveException(ctx, e.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	att, err := dev.Attest(ctx, in.Request(dev, "app", controltest.Tests))
	if err != nil || att.Verdict.Outcome != assay.OutcomePass {
		t.Fatalf("%s, %v", att.Verdict.Outcome, err)
	}
	in.Advance(time.Minute)
	v, err := dev.Verification(ctx, api.VerificationRequest{})
	if err != nil || v.Total.Passed != 1 || v.Total.Absent != 1 || v.Total.Excused != 1 || v.Total.Standing != report.RateMissed {
		t.Errorf("%+v, %v", v.Total, err)
	}
}

func TestAPassRateIsOfTheCallersNamespaceAndForReaders(t *testing.T) {
	in, _ := checked(t)
	v, err := in.As("x", "team-a", api.RoleViewer).Verification(t.Context(), api.VerificationRequest{})
	if err != nil || v.Total.Checks != 0 || v.Total.Standing != report.NothingChecked {
		t.Errorf("another namespace sees %+v, %v", v.Total, err)
	}
	_, err = in.As("nobody", "default").Verification(t.Context(), api.VerificationRequest{})
	wantCode(t, "without a role", err, assay.CodeDenied)
}

func TestChecksAreCountedForMetricsByABoundedNumberOfEnvironments(t *testing.T) {
	in, reg := checked(t)
	want := `# HELP assay_gate_checks_total Requirements of recorded verdicts by what became of them.
# TYPE assay_gate_checks_total counter
assay_gate_checks_total{environment="prod",result="absent"} 0
assay_gate_checks_total{environment="prod",result="passed"} 5
assay_gate_checks_total{environment="prod",result="violated"} 1
assay_gate_checks_total{environment="staging",result="absent"} 1
assay_gate_checks_total{environment="staging",result="passed"} 3
assay_gate_checks_total{environment="staging",result="violated"} 0
# HELP assay_gate_flaky_tests_total Test cases that failed and passed in reports that were attested for the first time.
# TYPE assay_gate_flaky_tests_total counter
assay_gate_flaky_tests_total{environment="prod"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "assay_gate_checks_total", "assay_gate_flaky_tests_total"); err != nil {
		t.Error(err)
	}
	dev := in.As("ci", "default", api.RoleDeveloper)
	for i := range report.MaxEnvironments + 5 {
		req := in.Request(dev, "app", controltest.Clean)
		req.Environment = fmt.Sprintf("preview-%d", i)
		if _, err := dev.Attest(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := testutil.GatherAndCount(reg, "assay_gate_checks_total"); err != nil || n != 3*(report.MaxEnvironments+1) {
		t.Errorf("%d series, %v; want three of each environment and of the others", n, err)
	}
}
