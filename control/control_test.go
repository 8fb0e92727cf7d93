package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/store"
)

func wantCode(t *testing.T, what string, err error, want assay.Code) {
	t.Helper()
	if got := assay.CodeOf(err); got != want {
		t.Errorf("%s: %v (%q), want %q", what, err, got, want)
	}
}

func TestEveryMethodNeedsItsRole(t *testing.T) {
	in := controltest.New(t)
	ctx := t.Context()
	const id = "0197f2c1-0000-7000-8000-000000000000"
	methods := map[string]struct {
		allowed []api.Role
		call    func(*control.Session) error
	}{
		"PutEvidence": {[]api.Role{api.RoleDeveloper, api.RoleOperator}, func(s *control.Session) error {
			_, err := s.PutEvidence(ctx, strings.NewReader("x"))
			return err
		}},
		"Check": {[]api.Role{api.RoleDeveloper, api.RoleOperator}, func(s *control.Session) error {
			_, err := s.Check(ctx, api.CheckRequest{})
			return err
		}},
		"Attest": {[]api.Role{api.RoleDeveloper, api.RoleOperator}, func(s *control.Session) error {
			_, err := s.Attest(ctx, api.CheckRequest{})
			return err
		}},
		"Bundle":      {api.Readers, func(s *control.Session) error { _, err := s.Bundle(ctx, controltest.DigestOf("x")); return err }},
		"Artifact":    {api.Readers, func(s *control.Session) error { _, err := s.Artifact(ctx, controltest.DigestOf("x")); return err }},
		"Artifacts":   {api.Readers, func(s *control.Session) error { _, err := s.Artifacts(ctx, "", 1); return err }},
		"Facts":       {api.Readers, func(s *control.Session) error { _, err := s.Facts(ctx, nil, "", 1); return err }},
		"Publication": {api.Readers, func(s *control.Session) error { _, err := s.Publication(ctx, id); return err }},
		"Proof":       {api.Readers, func(s *control.Session) error { _, err := s.Proof(ctx, id); return err }},
		"Head":        {api.Readers, func(s *control.Session) error { _, err := s.Head(ctx); return err }},
		"Exceptions":  {api.Readers, func(s *control.Session) error { _, err := s.Exceptions(ctx); return err }},
		"RequestException": {[]api.Role{api.RoleDeveloper, api.RoleOperator}, func(s *control.Session) error {
			_, err := s.RequestException(ctx, api.ExceptionRequest{})
			return err
		}},
		"ApproveException": {[]api.Role{api.RoleApprover}, func(s *control.Session) error { _, err := s.ApproveException(ctx, id); return err }},
		"RevokeException": {[]api.Role{api.RoleApprover, api.RoleDeveloper, api.RoleOperator}, func(s *control.Session) error {
			_, err := s.RevokeException(ctx, id, "long enough a reason")
			return err
		}},
		"ExceptionReport": {api.Readers, func(s *control.Session) error { _, err := s.ExceptionReport(ctx); return err }},
		"BypassException": {[]api.Role{api.RoleOperator, api.RoleApprover}, func(s *control.Session) error {
			_, err := s.BypassException(ctx, api.BypassRequest{})
			return err
		}},
		"CreateToken": {[]api.Role{api.RoleAdmin}, func(s *control.Session) error { _, err := s.CreateToken(ctx, api.TokenRequest{}); return err }},
		"RevokeToken": {[]api.Role{api.RoleAdmin}, func(s *control.Session) error { _, err := s.RevokeToken(ctx, "x"); return err }},
		"Tokens":      {[]api.Role{api.RoleAdmin}, func(s *control.Session) error { _, err := s.Tokens(ctx); return err }},
		"RecordKey":   {[]api.Role{api.RoleOperator}, func(s *control.Session) error { return s.RecordKey(ctx, "key", "vkey") }},
	}
	for name, m := range methods {
		wantCode(t, name+" without a role", m.call(in.As("nobody", "default")), assay.CodeDenied)
		wantCode(t, name+" with an unknown role", m.call(in.As("nobody", "default", "root")), assay.CodeDenied)
		for _, role := range api.Roles {
			err := m.call(in.As("somebody", "default", role))
			allowed := false
			for _, r := range m.allowed {
				allowed = allowed || r == role
			}
			if denied := assay.CodeOf(err) == assay.CodeDenied; denied == allowed {
				t.Errorf("%s as %s: %v", name, role, err)
			}
		}
	}
}

func TestNamespacesDoNotSeeEachOther(t *testing.T) {
	in := controltest.New(t)
	ctx := t.Context()
	a, b := in.As("alice", "team-a", api.Roles...), in.As("bob", "team-b", api.Roles...)
	req := in.Request(a, "app", controltest.Tests, controltest.Clean)
	att, err := a.Attest(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := a.RequestException(ctx, api.ExceptionRequest{
		Scope: assay.ExceptionScope{Rules: []string{controltest.Rule}}, Reason: "long enough a reason", NotAfter: in.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := a.CreateToken(ctx, api.TokenRequest{Name: "carol", Roles: []api.Role{api.RoleViewer}, Expires: in.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Proof(ctx, att.Fact); err != nil {
		t.Fatalf("the owner's own proof: %v", err)
	}

	_, err = b.Bundle(ctx, att.BundleDigest)
	wantCode(t, "bundle", err, assay.CodeNotFound)
	_, err = b.Artifact(ctx, req.Subject.Digest)
	wantCode(t, "artifact", err, assay.CodeNotFound)
	_, err = b.Publication(ctx, att.Fact)
	wantCode(t, "publication", err, assay.CodeNotFound)
	_, err = b.Proof(ctx, att.Fact)
	wantCode(t, "proof", err, assay.CodeNotFound)
	_, err = b.ApproveException(ctx, asked.ID)
	wantCode(t, "approval", err, assay.CodeNotFound)
	_, err = b.RevokeException(ctx, asked.ID, "long enough a reason")
	wantCode(t, "revocation", err, assay.CodeNotFound)
	_, err = b.RevokeToken(ctx, token.Token.ID)
	wantCode(t, "token", err, assay.CodeNotFound)
	_, err = b.CreateToken(ctx, api.TokenRequest{Name: "spy", Namespace: "team-a", Roles: []api.Role{api.RoleViewer}, Expires: in.Now().Add(time.Hour)})
	wantCode(t, "token for another namespace", err, assay.CodeDenied)
	// The digest of a report is no secret: the attestation lists it.
	_, err = b.Check(ctx, req)
	wantCode(t, "somebody else's report", err, assay.CodeNotFound)

	if list, err := b.Artifacts(ctx, "", 100); err != nil || len(list) != 0 {
		t.Errorf("artifacts: %v, %v", list, err)
	}
	if list, err := b.Facts(ctx, nil, "", 100); err != nil || len(list) != 0 {
		t.Errorf("facts: %v, %v", list, err)
	}
	if list, err := b.Exceptions(ctx); err != nil || len(list) != 0 {
		t.Errorf("exceptions: %v, %v", list, err)
	}
	if list, err := b.Tokens(ctx); err != nil || len(list) != 0 {
		t.Errorf("tokens: %v, %v", list, err)
	}
	// Who has the same report may use it.
	if _, err := b.Check(ctx, in.Request(b, "app", controltest.Tests, controltest.Clean)); err != nil {
		t.Error(err)
	}
}

func TestExceptionOfTwoPeopleChangesTheVerdictAndStandsInItsProof(t *testing.T) {
	in := controltest.New(t)
	ctx := t.Context()
	alice, bob := in.As("alice", "default", api.RoleDeveloper, api.RoleApprover), in.As("bob", "default", api.RoleApprover)
	req := in.Request(alice, "app", controltest.Tests, controltest.Vulnerable)
	verdict := func() assay.Verdict {
		t.Helper()
		v, err := alice.Check(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := verdict(); v.Outcome != assay.OutcomeFail {
		t.Fatalf("outcome %s before the exception", v.Outcome)
	}
	asked, err := alice.RequestException(ctx, api.ExceptionRequest{
		Scope: assay.ExceptionScope{Rules: []string{controltest.Rule}}, Reason: "long enough a reason", NotAfter: in.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = alice.ApproveException(ctx, asked.ID)
	wantCode(t, "own approval", err, assay.CodeDenied)
	_, err = in.As(" ALICE ", "default", api.RoleApprover).ApproveException(ctx, asked.ID)
	wantCode(t, "own approval in disguise", err, assay.CodeDenied)
	if _, err := bob.ApproveException(ctx, asked.ID); err != nil {
		t.Fatal(err)
	}
	att, err := alice.Attest(ctx, req)
	if err != nil || att.Verdict.Outcome != assay.OutcomePass || len(att.Verdict.Exceptions) != 1 {
		t.Fatalf("%+v, %v", att.Verdict, err)
	}
	proof, err := bob.Proof(ctx, att.Fact)
	if err != nil {
		t.Fatal(err)
	}
	trust := attest.TrustPolicy{Keys: []attest.TrustedKey{{Key: in.Signer.Key(), VerifierIDs: []string{assay.DefaultVerifierID}}}}
	want := attest.Expect{Subject: string(req.Subject.Digest), ResourceURI: "pkg:generic/app"}
	if r := artifact.VerifyProof(proof, trust, want, in.VKey, in.Now()); !r.OK() {
		t.Errorf("the proof does not verify: %+v", r.Steps)
	}

	in.Advance(2 * time.Hour)
	if v := verdict(); v.Outcome != assay.OutcomeFail {
		t.Errorf("outcome %s after the end", v.Outcome)
	}
	in.Advance(-2 * time.Hour)
	if v := verdict(); v.Outcome != assay.OutcomePass {
		t.Errorf("outcome %s within its time", v.Outcome)
	}
	_, err = in.As("mallory", "default", api.RoleDeveloper).RevokeException(ctx, asked.ID, "long enough a reason")
	wantCode(t, "revocation by a stranger", err, assay.CodeDenied)
	if _, err := in.As("alice", "default", api.RoleDeveloper).RevokeException(ctx, asked.ID, "long enough a reason"); err != nil {
		t.Errorf("revocation by who asked: %v", err)
	}
	if v := verdict(); v.Outcome != assay.OutcomeFail {
		t.Errorf("outcome %s after revocation", v.Outcome)
	}
}

func TestBadCheckRequestsAreRefusedWithTheField(t *testing.T) {
	in := controltest.New(t)
	s := in.As("alice", "default", api.RoleDeveloper)
	good := in.Request(s, "app", controltest.Tests)
	for name, tt := range map[string]struct {
		change func(*api.CheckRequest)
		field  string
		code   assay.Code
	}{
		"no digest":            {func(r *api.CheckRequest) { r.Subject.Digest = "" }, "subject.digest", assay.CodeInvalid},
		"another algorithm":    {func(r *api.CheckRequest) { r.Subject.Digest = "md5:00" }, "subject.digest", assay.CodeInvalid},
		"no name":              {func(r *api.CheckRequest) { r.Subject.Name = "" }, "subject.name", assay.CodeInvalid},
		"an escape sequence":   {func(r *api.CheckRequest) { r.Subject.Name = "a\x1b[31m" }, "subject.name", assay.CodeInvalid},
		"reversed text":        {func(r *api.CheckRequest) { r.Subject.Commit = "abc\u202edef" }, "subject.commit", assay.CodeInvalid},
		"two lines":            {func(r *api.CheckRequest) { r.Environment = "prod\nPASS" }, "environment", assay.CodeInvalid},
		"a long URI":           {func(r *api.CheckRequest) { r.Subject.URI = strings.Repeat("x", 1001) }, "subject.uri", assay.CodeInvalid},
		"another gate's URI":   {func(r *api.CheckRequest) { r.Subject.URI = "pkg:oci/somebody-elses" }, "subject.uri", assay.CodeDenied},
		"a report's digest":    {func(r *api.CheckRequest) { r.Reports[0].Digest = "x" }, "reports[0].digest", assay.CodeInvalid},
		"a report's name":      {func(r *api.CheckRequest) { r.Reports[0].Source = "" }, "reports[0].source", assay.CodeInvalid},
		"a report's origin":    {func(r *api.CheckRequest) { r.Reports[0].Origin = "dreamt" }, "reports[0].origin", assay.CodeInvalid},
		"a report not sent":    {func(r *api.CheckRequest) { r.Reports[0].Digest = controltest.DigestOf("other") }, "", assay.CodeNotFound},
		"too many reports":     {func(r *api.CheckRequest) { r.Reports = make([]api.Report, api.MaxReports+1) }, "", assay.CodeTooLarge},
		"a gate that is not":   {func(r *api.CheckRequest) { r.Gate = "shop" }, "", assay.CodeNotFound},
		"a nameless namespace": {func(r *api.CheckRequest) { r.Gate = "ship\t" }, "gate", assay.CodeInvalid},
	} {
		req := good
		req.Reports = append([]api.Report{}, good.Reports...)
		tt.change(&req)
		_, err := s.Check(t.Context(), req)
		e, ok := errors.AsType[*assay.Error](err)
		if !ok || e.Code != tt.code || e.Field != tt.field {
			t.Errorf("%s: %v, want %s at %q", name, err, tt.code, tt.field)
		}
	}
}

func TestQueriesWithWrongKeysAreRefused(t *testing.T) {
	in := controltest.New(t)
	s := in.As("alice", "default", api.RoleViewer)
	_, err := s.Artifacts(t.Context(), "zzz", 10)
	wantCode(t, "after", err, assay.CodeInvalid)
	_, err = s.Facts(t.Context(), nil, "zzz", 10)
	wantCode(t, "subject", err, assay.CodeInvalid)
	_, err = s.Facts(t.Context(), make([]string, store.MaxKinds+1), "", 10)
	wantCode(t, "kinds", err, assay.CodeTooLarge)
}

func TestEvidenceAboveTheLimitLeavesNothingBehind(t *testing.T) {
	in := controltest.New(t)
	s := in.As("alice", "default", api.RoleDeveloper)
	endless := io.LimitReader(zeros{}, api.MaxEvidence+1)
	_, err := s.PutEvidence(t.Context(), endless)
	wantCode(t, "an endless report", err, assay.CodeTooLarge)
	broken := io.MultiReader(strings.NewReader("half"), failing{})
	if _, err := s.PutEvidence(t.Context(), broken); err == nil {
		t.Error("a broken upload was accepted")
	}
	err = filepath.WalkDir(in.BlobDir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s stays behind", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the line broke") }

func TestTokensAreKnownByHashBoundedAndRevocable(t *testing.T) {
	in := controltest.New(t)
	ctx := t.Context()
	admin := in.As("root", "default", api.RoleAdmin)
	made, err := admin.CreateToken(ctx, api.TokenRequest{Name: "alice", Roles: []api.Role{api.RoleViewer}, Expires: in.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := in.Plane.Authenticate(ctx, made.Secret)
	if err != nil || caller.Name != "alice" || caller.Namespace != "default" || len(caller.Roles) != 1 {
		t.Fatalf("%+v, %v", caller, err)
	}
	secret := strings.SplitN(made.Secret, "_", 3)[2] // which may have more of them
	for name, bearer := range map[string]string{
		"empty": "", "no prefix": strings.TrimPrefix(made.Secret, "assay_"), "only the id": "assay_" + made.Token.ID,
		"no secret": "assay_" + made.Token.ID + "_", "a longer secret": made.Secret + "x", "a shorter secret": made.Secret[:len(made.Secret)-1],
		"another id": "assay_0000000000000000_" + secret, "an id of another form": "assay_\x01\x02345678_abcdefg_" + secret,
		"an id with a slash": "assay_aaaaaaa/aaaaaaaa_" + secret, "upper case": strings.ToUpper(made.Secret), "very long": "assay_" + strings.Repeat("a", 1<<16),
	} {
		_, err := in.Plane.Authenticate(ctx, bearer)
		wantCode(t, name, err, assay.CodeUnauthenticated)
	}
	err = in.Store.View(ctx, func(r store.Reader) error {
		values, err := r.List(store.Key{Namespace: store.SystemNamespace, Bucket: "token"}, "", 10)
		for _, v := range values {
			if strings.Contains(string(v.Data), secret) {
				t.Error("the store has the secret")
			}
		}
		rows, ferr := r.Facts(store.Query{Namespace: store.SystemNamespace})
		for _, row := range rows {
			if strings.Contains(string(row.Fact.Payload), secret) {
				t.Error("a fact has the secret")
			}
		}
		return errors.Join(err, ferr)
	})
	if err != nil {
		t.Error(err)
	}
	list, err := admin.Tokens(ctx)
	if data, _ := json.Marshal(list); err != nil || len(list) != 1 || strings.Contains(string(data), secret) {
		t.Errorf("tokens %s, %v", data, err)
	}

	in.Advance(time.Hour)
	_, err = in.Plane.Authenticate(ctx, made.Secret)
	wantCode(t, "at its end", err, assay.CodeUnauthenticated)
	in.Advance(-time.Minute)
	if _, err = in.Plane.Authenticate(ctx, made.Secret); err != nil {
		t.Error(err)
	}
	if _, err := admin.RevokeToken(ctx, made.Token.ID); err != nil {
		t.Fatal(err)
	}
	_, err = in.Plane.Authenticate(ctx, made.Secret)
	wantCode(t, "revoked", err, assay.CodeUnauthenticated)
	_, err = admin.RevokeToken(ctx, made.Token.ID)
	wantCode(t, "revoked again", err, assay.CodeConflict)
	for _, id := range []string{"", "x", "../../etc", strings.Repeat("a", 5000), "0000000000000000"} {
		_, err = admin.RevokeToken(ctx, id)
		wantCode(t, "unknown id "+id, err, assay.CodeNotFound)
	}
}

func TestTokenRequestsOutsideTheRulesAreRefused(t *testing.T) {
	in := controltest.New(t)
	admin := in.As("root", "default", api.RoleAdmin)
	viewer := []api.Role{api.RoleViewer}
	soon := in.Now().Add(time.Hour)
	for name, req := range map[string]api.TokenRequest{
		"no name":         {Roles: viewer, Expires: soon},
		"hidden letters":  {Name: "al\u200bice", Roles: viewer, Expires: soon},
		"no roles":        {Name: "alice", Expires: soon},
		"an unknown role": {Name: "alice", Roles: []api.Role{"root"}, Expires: soon},
		"a role twice":    {Name: "alice", Roles: append(viewer, viewer...), Expires: soon},
		"no end":          {Name: "alice", Roles: viewer},
		"a past end":      {Name: "alice", Roles: viewer, Expires: in.Now().Add(-time.Second)},
		"too far an end":  {Name: "alice", Roles: viewer, Expires: in.Now().Add(control.MaxTokenLife + time.Minute)},
		"a bad namespace": {Name: "alice", Namespace: "_system", Roles: viewer, Expires: soon},
	} {
		_, err := admin.CreateToken(t.Context(), req)
		wantCode(t, name, err, assay.CodeInvalid)
	}
	if _, err := admin.CreateToken(t.Context(), api.TokenRequest{Name: "alice", Roles: viewer, Expires: in.Now().Add(control.MaxTokenLife)}); err != nil {
		t.Errorf("the longest life: %v", err)
	}
}

func TestWithoutRandomnessThereIsNoToken(t *testing.T) {
	in := controltest.New(t)
	cfg := in.Config
	cfg.Rand = io.LimitReader(zeros{}, 10) // runs dry in the middle of a secret
	admin := control.New(cfg).As(control.Caller{Name: "root", Namespace: "default", Roles: []api.Role{api.RoleAdmin}})
	_, err := admin.CreateToken(t.Context(), api.TokenRequest{Name: "a", Roles: []api.Role{api.RoleViewer}, Expires: in.Now().Add(time.Hour)})
	wantCode(t, "no randomness", err, assay.CodeInternal)
	if list, err := admin.Tokens(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("tokens %v, %v", list, err)
	}
}

func TestAPlaneWithoutKeysChecksButDoesNotAttest(t *testing.T) {
	in := controltest.New(t)
	cfg := in.Config
	cfg.Signer, cfg.Ledger, cfg.Outbox, cfg.Poke = nil, nil, nil, nil
	s := control.New(cfg).As(control.Caller{Name: "alice", Namespace: "default", Roles: api.Roles})
	req := in.Request(s, "app", controltest.Tests, controltest.Clean)
	if v, err := s.Check(t.Context(), req); err != nil || v.Outcome != assay.OutcomePass {
		t.Errorf("%s, %v", v.Outcome, err)
	}
	_, err := s.Attest(t.Context(), req)
	wantCode(t, "attest", err, assay.CodeUnavailable)
	_, err = s.Head(t.Context())
	wantCode(t, "head", err, assay.CodeUnavailable)
	if _, err := s.Exceptions(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestProofWaitsNoLongerThanItsCaller(t *testing.T) {
	in := controltest.Idle(t)
	ctx, leave := context.WithCancel(t.Context())
	cfg := in.Config
	cfg.Outbox = leaving{in.Store, leave}
	s := control.New(cfg).As(control.Caller{Name: "alice", Namespace: "default", Roles: api.Roles})
	att, err := s.Attest(t.Context(), in.Request(s, "app", controltest.Tests, controltest.Clean))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Proof(ctx, att.Fact)
	wantCode(t, "a caller who left", err, assay.CodeUnavailable)
	_, err = s.Proof(t.Context(), "../x")
	wantCode(t, "a fact that cannot be", err, assay.CodeInvalid)
}

// leaving is an outbox whose caller hangs up once its fact was found.
type leaving struct {
	store.Outbox
	leave func()
}

func (l leaving) Entry(ctx context.Context, namespace string, id assay.FactID) (store.Entry, error) {
	defer l.leave()
	return l.Outbox.Entry(ctx, namespace, id)
}

func TestNamespacesHaveNamesOfOneForm(t *testing.T) {
	for ns, ok := range map[string]bool{
		"a": true, "team-a": true, "0": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "a-": false, "A": false, "a_b": false, "_system": false, "a.b": false, "ä": false, strings.Repeat("a", 64): false,
	} {
		if err := control.CheckNamespace(ns); (err == nil) != ok {
			t.Errorf("%q: %v", ns, err)
		}
	}
}
