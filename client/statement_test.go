package client_test

import (
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/control/controltest"
)

func TestAStatementOfReportsIsSignedRecordedAndProved(t *testing.T) {
	in := controltest.New(t)
	dev := dial(t, serve(t, in), in.Token("alice", "default", api.RoleDeveloper))
	ctx := t.Context()
	d, err := dev.PutEvidence(ctx, strings.NewReader(controltest.Tests))
	if err != nil {
		t.Fatal(err)
	}
	req := api.StatementRequest{
		Type: api.StatementTestResult, Subject: assay.Subject{Name: "app", Digest: controltest.DigestOf("app")},
		Reports: []api.Report{{Digest: d, Source: "tests.json"}},
	}
	st, err := dev.SignStatement(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	trust := attest.TrustPolicy{Keys: []attest.TrustedKey{{Key: in.Signer.Key()}}}
	want := attest.Expect{Subject: string(req.Subject.Digest), Type: "test-result"}
	if err := attest.Verify(st.Bundle, trust, want, in.Now()).Err(); err != nil {
		t.Error(err)
	}
	proof, err := dev.Proof(ctx, st.Fact)
	if err != nil {
		t.Fatal(err)
	}
	f, err := artifact.VerifyFactProof(proof, in.VKey)
	if err != nil || f.Kind != assay.FactStatementSigned || f.Actor != "alice" || !strings.Contains(string(f.Payload), string(st.BundleDigest)) {
		t.Errorf("fact %+v, %v; want the statement's, by alice", f, err)
	}
	for name, c := range map[string]struct {
		change func(*api.StatementRequest)
		code   assay.Code
	}{
		"another type":    {func(r *api.StatementRequest) { r.Type = "sbom" }, assay.CodeInvalid},
		"a scan of tests": {func(r *api.StatementRequest) { r.Type = api.StatementVulns }, assay.CodeInvalid},
		"two scans":       {func(r *api.StatementRequest) { r.Type, r.Reports = api.StatementVulns, append(r.Reports, r.Reports...) }, assay.CodeInvalid},
		"no artifact":     {func(r *api.StatementRequest) { r.Subject.Digest = "" }, assay.CodeInvalid},
		"a report not stored": {func(r *api.StatementRequest) {
			r.Reports = []api.Report{{Digest: controltest.DigestOf("x"), Source: "x"}}
		}, assay.CodeNotFound},
	} {
		bad := req
		c.change(&bad)
		if _, err := dev.SignStatement(ctx, bad); assay.CodeOf(err) != c.code {
			t.Errorf("%s: %v; want %s", name, err, c.code)
		}
	}
	viewer := dial(t, serve(t, in), in.Token("vera", "default", api.RoleViewer))
	if _, err := viewer.SignStatement(ctx, req); assay.CodeOf(err) != assay.CodeDenied {
		t.Errorf("a viewer: %v; want denied", err)
	}
}
