package control_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const twoApprovals = `apiVersion: assay.dev/v1alpha1
kind: ExceptionPolicy
metadata: {name: careful}
spec: {approvals: 2, maxDuration: 7d, bypass: {maxDuration: 1h, page: [release-on-call]}}
`

// flakyRun is a report of tests in which TestTimes fails and then passes.
const flakyRun = `{"Time":"2026-01-02T03:04:05Z","Action":"run","Package":"example.com/app","Test":"TestTimes"}
{"Time":"2026-01-02T03:04:05Z","Action":"fail","Package":"example.com/app","Test":"TestTimes","Elapsed":0.01}
{"Time":"2026-01-02T03:04:05Z","Action":"run","Package":"example.com/app","Test":"TestTimes"}
{"Time":"2026-01-02T03:04:05Z","Action":"pass","Package":"example.com/app","Test":"TestTimes","Elapsed":0.01}
{"Time":"2026-01-02T03:04:05Z","Action":"run","Package":"example.com/app","Test":"TestAdds"}
{"Time":"2026-01-02T03:04:05Z","Action":"pass","Package":"example.com/app","Test":"TestAdds","Elapsed":0.01}
{"Time":"2026-01-02T03:04:06Z","Action":"pass","Package":"example.com/app","Elapsed":0.05}
`

func TestPolicySaysHowManyMustApproveAndHowLong(t *testing.T) {
	in := controltest.Idle(t)
	in.AddPolicy("exceptions.yaml", twoApprovals)
	ctx := t.Context()
	dana, kim, lee := in.As("dana", "default", api.RoleDeveloper, api.RoleApprover), in.As("kim", "default", api.RoleApprover), in.As("lee", "default", api.RoleApprover)
	req := api.ExceptionRequest{Scope: assay.ExceptionScope{Rules: []string{controltest.Rule}}, Reason: "not reachable in production", NotAfter: in.Now().AddDate(0, 0, 8)}
	_, err := dana.RequestException(ctx, req)
	wantCode(t, "longer than the policy allows", err, assay.CodeInvalid)
	req.NotAfter = in.Now().AddDate(0, 0, 6)
	asked, err := dana.RequestException(ctx, req)
	if err != nil || asked.Needs != 2 {
		t.Fatalf("%+v, %v", asked, err)
	}
	check := in.Request(dana, "app", controltest.Tests, controltest.Vulnerable)
	outcome := func() assay.Outcome {
		t.Helper()
		v, err := dana.Check(ctx, check)
		if err != nil {
			t.Fatal(err)
		}
		return v.Outcome
	}
	_, err = dana.ApproveException(ctx, asked.ID)
	wantCode(t, "the requester", err, assay.CodeDenied)
	first, err := kim.ApproveException(ctx, asked.ID)
	if err != nil || first.State != assay.ExceptionRequested || first.Approvals[0].Statement == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	if got := outcome(); got != assay.OutcomeFail {
		t.Errorf("after one of two approvals: %s", got)
	}
	_, err = kim.ApproveException(ctx, asked.ID)
	wantCode(t, "the same person again", err, assay.CodeConflict)
	granted, err := lee.ApproveException(ctx, asked.ID)
	if err != nil || granted.State != assay.ExceptionApproved || granted.Statement == "" || granted.Statement == granted.Approvals[0].Statement {
		t.Fatalf("%+v, %v", granted, err)
	}
	att, err := dana.Attest(ctx, check)
	if err != nil || att.Verdict.Outcome != assay.OutcomePass {
		t.Fatalf("%+v, %v", att.Verdict, err)
	}
	if use := att.Verdict.Exceptions; len(use) != 1 || !slices.Equal(use[0].Approvers, []string{"kim", "lee"}) {
		t.Errorf("the verdict names %+v", use)
	}
	r, err := kim.ExceptionReport(ctx)
	if err != nil || len(r.Owners) != 1 || r.Owners[0].Owner != "dana" || r.Owners[0].InForce != 1 || r.Owners[0].Uses != 1 || r.Exceptions[0].Uses != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestBypassLetsTheGatePassAtOnceAndIsSeen(t *testing.T) {
	in := controltest.Idle(t)
	reg := prometheus.NewRegistry()
	in.Config.Metrics = control.NewMetrics(reg)
	in.AddPolicy("exceptions.yaml", twoApprovals)
	ctx := t.Context()
	dev, operator := in.As("dana", "default", api.RoleDeveloper), in.As("olga", "default", api.RoleOperator)
	check := in.Request(dev, "app", controltest.Tests, controltest.Vulnerable)
	if v, err := dev.Check(ctx, check); err != nil || v.Outcome != assay.OutcomeFail {
		t.Fatalf("%s, %v", v.Outcome, err)
	}
	req := api.BypassRequest{Scope: assay.ExceptionScope{Rules: []string{controltest.Rule}}, Reason: "INC-7: checkout is down", NotAfter: in.Now().Add(2 * time.Hour)}
	_, err := operator.BypassException(ctx, req)
	wantCode(t, "longer than the policy allows", err, assay.CodeInvalid)
	req.NotAfter = in.Now().Add(59 * time.Minute)
	e, err := operator.BypassException(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	att, err := dev.Attest(ctx, check)
	if err != nil || att.Verdict.Outcome != assay.OutcomePass || !att.Verdict.Exceptions[0].Emergency || att.Verdict.Exceptions[0].Requester != "olga" {
		t.Fatalf("%+v, %v", att.Verdict.Exceptions, err)
	}
	facts, err := operator.Facts(ctx, []string{assay.FactExceptionBypassed, assay.FactExceptionUsed}, "", 10)
	if err != nil || len(facts) != 2 || !slices.ContainsFunc(facts, func(f assay.Fact) bool { return strings.Contains(string(f.Payload), `"page":["release-on-call"]`) }) {
		t.Errorf("%+v, %v", facts, err)
	}
	in.Advance(50 * time.Minute)
	for range 2 {
		if err := in.Plane.WatchExceptions(ctx); err != nil {
			t.Fatal(err)
		}
	}
	in.Advance(10 * time.Minute)
	if v, err := dev.Check(ctx, check); err != nil || v.Outcome != assay.OutcomeFail {
		t.Errorf("after its end: %s, %v", v.Outcome, err)
	}
	if err := in.Plane.WatchExceptions(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = operator.RevokeException(ctx, e.ID, "the incident is long over")
	wantCode(t, "revoking what one asked for", err, "")
	want := `# HELP assay_exception_steps_total Steps in the life of exceptions.
# TYPE assay_exception_steps_total counter
assay_exception_steps_total{step="approved"} 0
assay_exception_steps_total{step="bypassed"} 1
assay_exception_steps_total{step="expired"} 1
assay_exception_steps_total{step="expiring"} 1
assay_exception_steps_total{step="requested"} 0
assay_exception_steps_total{step="revoked"} 1
assay_exception_steps_total{step="used"} 1
# HELP assay_gate_verdicts_total Gate runs by outcome, and whether the caller had to stop; error if there was no verdict.
# TYPE assay_gate_verdicts_total counter
assay_gate_verdicts_total{blocks="no",outcome="absent"} 0
assay_gate_verdicts_total{blocks="no",outcome="fail"} 0
assay_gate_verdicts_total{blocks="no",outcome="pass"} 1
assay_gate_verdicts_total{blocks="yes",outcome="absent"} 0
assay_gate_verdicts_total{blocks="yes",outcome="error"} 0
assay_gate_verdicts_total{blocks="yes",outcome="fail"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "assay_exception_steps_total", "assay_gate_verdicts_total"); err != nil {
		t.Error(err)
	}
}

func TestFlakyTestsHaveAHistoryFromWhatWasAttested(t *testing.T) {
	in := controltest.Idle(t)
	ctx := t.Context()
	s := in.As("dana", "default", api.RoleDeveloper)
	run := func(report string) assay.Verdict {
		t.Helper()
		req := in.Request(s, "app", report, controltest.Clean)
		req.Owners = "* @all\napp/ @app-team\n"
		for range 2 { // the same report twice is one run
			att, err := s.Attest(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			if att.Verdict.Outcome != assay.OutcomePass {
				t.Fatalf("outcome %s", att.Verdict.Outcome)
			}
		}
		v, err := s.Check(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i := range 8 {
		run(strings.ReplaceAll(controltest.Tests, "03:04", "03:1"+string(rune('0'+i))))
	}
	v := run(flakyRun)
	if len(v.Flaky) != 1 {
		t.Fatalf("%+v", v.Flaky)
	}
	once := v.Flaky[0]
	if once.Test != "example.com/app.TestTimes" || !slices.Equal(once.Owners, []string{"@app-team"}) || once.Flaked != 2 {
		t.Errorf("%+v", once)
	}
	again := run(strings.ReplaceAll(flakyRun, "03:04", "04:04")).Flaky[0]
	if again.Flaked != 3 || again.Probability <= once.Probability {
		t.Errorf("after another flaky run %+v, before %+v", again, once)
	}
	facts, err := s.Facts(ctx, []string{assay.FactTestsObserved}, "", 100)
	if err != nil || len(facts) != 10 {
		t.Errorf("%d facts, %v", len(facts), err)
	}
	req := in.Request(s, "app", flakyRun, controltest.Clean)
	req.Owners = "* owner\n"
	_, err = s.Check(ctx, req)
	if wantCode(t, "a malformed file of owners", err, assay.CodeInvalid); !strings.Contains(err.Error(), "owners:1") {
		t.Error(err)
	}
}

func TestAReportThatWasCountedIsNotCountedAgainBesideANewOne(t *testing.T) {
	in := controltest.Idle(t)
	ctx := t.Context()
	s := in.As("dana", "default", api.RoleDeveloper)
	attest := func(reports ...string) {
		t.Helper()
		if _, err := s.Attest(ctx, in.Request(s, "app", append(reports, controltest.Clean)...)); err != nil {
			t.Fatal(err)
		}
	}
	fresh := strings.ReplaceAll(controltest.Tests, "03:04", "05:04")
	attest(flakyRun)
	attest(flakyRun, fresh)
	attest(fresh)
	v, err := s.Check(ctx, in.Request(s, "app", strings.ReplaceAll(flakyRun, "03:04", "06:04"), controltest.Clean))
	if err != nil || len(v.Flaky) != 1 || v.Flaky[0].Flaked != 2 || v.Flaky[0].Runs != 3 {
		t.Errorf("%+v, %v; want two flakes in three runs, with this one", v.Flaky, err)
	}
	facts, err := s.Facts(ctx, []string{assay.FactTestsObserved}, "", 100)
	if err != nil || len(facts) != 2 || facts[0].Payload == nil || strings.Contains(string(facts[0].Payload), "TestTimes") {
		t.Errorf("%d facts, %v; want one for each report, and the newer names no flaky test", len(facts), err)
	}
}

// vendorGate trusts the VEX of a producer whose key is KEY.
const vendorGate = `apiVersion: assay.dev/v1alpha1
kind: Producer
metadata: {name: vendor}
spec:
  keys:
    - |
KEY
---
apiVersion: assay.dev/v1alpha1
kind: Gate
metadata: {name: strict}
spec:
  vex: {producers: [vendor]}
  requires:
    - {name: vulnerabilities, kind: vulnerabilities, maxSeverity: high}
`

func TestOnlyTheProducersSignatureMakesAVEXDocumentCount(t *testing.T) {
	key := func() *keyfile.Signer {
		t.Helper()
		signer, err := keyfile.Generate(keyfile.ECDSAP256)
		if err != nil {
			t.Fatal(err)
		}
		return signer
	}
	vendor, stranger := key(), key()
	der, err := x509.MarshalPKIXPublicKey(vendor.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	in := controltest.Idle(t)
	in.AddPolicy("vendor.yaml", strings.ReplaceAll(vendorGate, "KEY", "      "+strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ")))
	s := in.As("dana", "default", api.RoleDeveloper)
	predicate := `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://vendor.example/1","author":"Vendor","timestamp":"2026-01-01T00:00:00Z","version":1,` +
		`"statements":[{"vulnerability":{"name":"GO-1"},"products":[{"@id":"app"}],"status":"not_affected","justification":"vulnerable_code_not_present"}]}`
	statement := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"app","digest":{"sha256":"` + controltest.DigestOf("app").Hex() + `"}}],` +
		`"predicateType":"https://openvex.dev/ns/v0.2.0","predicate":` + predicate + `}`
	sign := func(k attest.Signer) string {
		t.Helper()
		b, err := attest.Sign(t.Context(), k, []byte(statement))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, c := range map[string]struct {
		vex      string
		want     assay.Outcome
		producer string
	}{
		"signed by the vendor":   {sign(vendor), assay.OutcomePass, "vendor"},
		"signed by somebody":     {sign(stranger), assay.OutcomeFail, ""},
		"an unsigned statement":  {statement, assay.OutcomeFail, ""},
		"the plain document":     {predicate, assay.OutcomeFail, ""},
		"a line feed more":       {sign(vendor) + "\n", assay.OutcomePass, "vendor"}, // white space is not signed
		"without its signature":  {withoutSignature(t, sign(vendor)), assay.OutcomeFail, ""},
		"a signature of another": {swapSignature(t, sign(vendor), sign(stranger)), assay.OutcomeFail, ""},
	} {
		t.Run(name, func(t *testing.T) {
			req := in.Request(s, "app", controltest.Vulnerable, c.vex)
			req.Gate, req.Reports[1].Kind = "strict", assay.KindVEX
			v, err := s.Check(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(v.Evidence, func(e assay.EvidenceRef) bool { return e.Kind == assay.KindVEX })
			if i < 0 {
				if c.want != assay.OutcomePass && v.Outcome != assay.OutcomePass && len(v.Refused) == 1 {
					return // such a document is not even read
				}
				t.Fatalf("no VEX among %+v, refused %+v", v.Evidence, v.Refused)
			}
			if v.Outcome != c.want || v.Evidence[i].Producer != c.producer {
				t.Errorf("%s by %q: %+v", v.Outcome, v.Evidence[i].Producer, v.Warnings)
			}
		})
	}
}

// signatures finds the signatures of a bundle.
func signatures(t *testing.T, bundle string) (all map[string]any, envelope map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(bundle), &all); err != nil {
		t.Fatal(err)
	}
	return all, all["dsseEnvelope"].(map[string]any)
}

func withoutSignature(t *testing.T, bundle string) string {
	t.Helper()
	all, envelope := signatures(t, bundle)
	envelope["signatures"] = []any{}
	return encoded(t, all)
}

func swapSignature(t *testing.T, bundle, other string) string {
	t.Helper()
	all, envelope := signatures(t, bundle)
	_, theirs := signatures(t, other)
	envelope["signatures"] = theirs["signatures"]
	return encoded(t, all)
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestVerdictPinsTheLedgersHead(t *testing.T) {
	in := controltest.New(t)
	s := in.As("dana", "default", api.RoleDeveloper)
	req := in.Request(s, "app", controltest.Tests, controltest.Clean)
	att, err := s.Attest(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Proof(t.Context(), att.Fact); err != nil { // waits for a checkpoint
		t.Fatal(err)
	}
	v, err := s.Check(t.Context(), req)
	if err != nil || v.Ledger == nil || v.Ledger.Size == 0 || v.Ledger.Origin != assay.DefaultOrigin || v.Ledger.RootHash == "" {
		t.Errorf("%+v, %v", v.Ledger, err)
	}
}
