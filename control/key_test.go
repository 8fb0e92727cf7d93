package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
)

// ring is a key ring in memory, whose steps can be made to fail.
type ring struct {
	mu      sync.Mutex
	next    attest.Signer
	turned  []string
	trust   attest.Trust
	failing string // the step that fails: "next", "publish" or "turn"
}

func (r *ring) fails(step string) error {
	if r.failing == step {
		return errors.New("disk full")
	}
	return nil
}

func (r *ring) Next(context.Context) (attest.Signer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		s, err := keyfile.Generate(keyfile.ECDSAP256)
		if err != nil {
			return nil, err
		}
		r.next = s
	}
	return r.next, r.fails("next")
}

func (r *ring) Turn(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fails("turn"); err != nil {
		return err
	}
	r.turned, r.next = append(r.turned, id), nil
	return nil
}

func (r *ring) Publish(_ context.Context, t attest.Trust) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fails("publish"); err != nil {
		return err
	}
	r.trust = t
	return nil
}

// withRing is an installation that can replace its key.
func withRing(t *testing.T) (*controltest.Installation, *ring) {
	t.Helper()
	in, r := controltest.New(t), &ring{}
	cfg := in.Config
	cfg.Keys = r
	in.Plane = control.New(cfg)
	return in, r
}

// attestApp attests one artifact, which passes, and returns the attestation with its proof.
func attestApp(t *testing.T, in *controltest.Installation, name string) (api.Attested, []byte) {
	t.Helper()
	s := in.As("ci", "default", api.RoleDeveloper, api.RoleViewer)
	a, err := s.Attest(t.Context(), in.Request(s, name, controltest.Tests, controltest.Clean))
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Proof(t.Context(), a.Fact)
	if err != nil {
		t.Fatal(err)
	}
	return a, p
}

// judged verifies a proof, or a bundle alone, as a stranger with the trust file would.
func judged(t *testing.T, in *controltest.Installation, r *ring, name string, a api.Attested, proof []byte) error {
	t.Helper()
	want := attest.Expect{Subject: string(controltest.DigestOf(name)), ResourceURI: "pkg:generic/app"}
	if proof == nil {
		return attest.Verify(a.Bundle, r.trust.Policy, want, in.Now()).Err()
	}
	return artifact.VerifyProof(proof, r.trust.Policy, want, r.trust.Ledger, in.Now()).Err()
}

func TestRotationKeepsTheOldKeyForTheOverlap(t *testing.T) {
	in, r := withRing(t)
	old, oldProof := attestApp(t, in, "old")
	admin := in.As("ada", "default", api.RoleAdmin)
	done, err := admin.RotateKey(t.Context(), api.KeyRotation{Overlap: 3600})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.turned, []string{done.Key.ID}) || done.Old.ID != in.Signer.KeyID() || !done.Key.Signs || done.Old.Signs {
		t.Errorf("rotated %+v; the ring turned to %v", done, r.turned)
	}
	fresh, freshProof := attestApp(t, in, "new")
	for name, err := range map[string]error{
		"what the old key signed": judged(t, in, r, "old", old, oldProof),
		"the same, without proof": judged(t, in, r, "old", old, nil),
		"what the new key signed": judged(t, in, r, "new", fresh, freshProof),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	in.Advance(2 * time.Hour)
	if err := judged(t, in, r, "old", old, oldProof); err != nil {
		t.Errorf("after the end of the old key what it signed before is no longer good: %v", err)
	}
	// A leaked old key after its end: what it signs now is not believed.
	st, err := attest.VSA(assay.Verdict{
		Gate: "ship", Mode: assay.ModeEnforce, Outcome: assay.OutcomePass, Time: in.Now(),
		Subject: assay.Subject{Name: "x", Digest: controltest.DigestOf("x"), URI: "pkg:generic/app"},
		Policy:  assay.PolicyRef{URI: "p", Digest: controltest.DigestOf("p")},
	}, attest.VSAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := attest.Sign(t.Context(), in.Signer, st)
	if err != nil {
		t.Fatal(err)
	}
	if err := judged(t, in, r, "x", api.Attested{Bundle: b}, nil); err == nil || !strings.Contains(err.Error(), "is expired") {
		t.Errorf("signed by the old key after its end: %v", err)
	}
}

func TestKeyEventsArePublishedBeforeAnybodyIsTold(t *testing.T) {
	in, _ := withRing(t)
	admin := in.As("ada", "default", api.RoleAdmin)
	rotated, err := admin.RotateKey(t.Context(), api.KeyRotation{})
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := admin.RevokeKey(t.Context(), api.KeyRevocationRequest{Key: rotated.Old.ID, CompromisedSince: in.Now().Add(-time.Hour), Reason: "laptop stolen"})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []assay.FactID{rotated.Fact, revoked.Fact} {
		p, err := admin.System().Publication(t.Context(), id)
		if err != nil || !p.Published {
			t.Errorf("fact %s: %+v, %v; want it published", id, p, err)
		}
	}
	list, err := admin.System().Facts(t.Context(), []string{assay.FactKeyRevoked}, "", 1)
	if err != nil || len(list) != 1 || list[0].Actor != "ada" || list[0].Retention != assay.RetainAudit || !json.Valid(list[0].Payload) {
		t.Errorf("facts %+v, %v", list, err)
	}
}

func TestARevokedKeyKeepsOnlyWhatTheLedgerRecordedBefore(t *testing.T) {
	in, r := withRing(t)
	early, earlyProof := attestApp(t, in, "early")
	in.Advance(time.Hour)
	since := in.Now()
	in.Advance(time.Hour)
	late, lateProof := attestApp(t, in, "late")
	admin := in.As("ada", "default", api.RoleAdmin)
	req := api.KeyRevocationRequest{Key: in.Signer.KeyID()[:14], CompromisedSince: since, Reason: "passphrase in a build log", DryRun: true}
	dry, err := admin.RevokeKey(t.Context(), req)
	if err != nil || dry.Fact != "" || dry.Total != 1 || dry.Good != 1 {
		t.Fatalf("dry run %+v, %v", dry, err)
	}
	if _, p := attestApp(t, in, "still"); len(p) == 0 {
		t.Fatal("a dry run changed something")
	}
	req.DryRun = false
	done, err := admin.RevokeKey(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if done.Total != 2 || done.Good != 1 || len(done.Affected) != 2 || done.Affected[0].Subject != controltest.DigestOf("late") ||
		done.Affected[0].Bundle != late.BundleDigest || len(done.Running) != 0 {
		t.Errorf("revoked %+v", done)
	}
	if err := judged(t, in, r, "early", early, earlyProof); err != nil {
		t.Errorf("recorded before, with its proof: %v", err)
	}
	for name, err := range map[string]error{
		"recorded before, without its proof": judged(t, in, r, "early", early, nil),
		"recorded later, with its proof":     judged(t, in, r, "late", late, lateProof),
		"recorded later, without":            judged(t, in, r, "late", late, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), "passphrase in a build log") {
			t.Errorf("%s: %v; want it refused with the reason", name, err)
		}
	}
	s := in.As("ci", "default", api.RoleDeveloper)
	if _, err := s.Attest(t.Context(), in.Request(s, "more", controltest.Tests, controltest.Clean)); assay.CodeOf(err) != assay.CodeConflict || !strings.Contains(err.Error(), "assay key rotate") {
		t.Errorf("attesting with a revoked key: %v", err)
	}
	if _, err := admin.RotateKey(t.Context(), api.KeyRotation{Overlap: 3600}); err != nil {
		t.Fatal(err)
	}
	again, proof := attestApp(t, in, "late")
	if err := judged(t, in, r, "late", again, proof); err != nil {
		t.Errorf("attested again with the new key: %v", err)
	}
}

func TestARevocationOnlyMovesEarlier(t *testing.T) {
	in, _ := withRing(t)
	admin := in.As("ada", "default", api.RoleAdmin)
	since := in.Now().Add(-time.Hour).UTC()
	req := api.KeyRevocationRequest{Key: "key-1", CompromisedSince: since, Reason: "x"}
	first, err := admin.RevokeKey(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := admin.RevokeKey(t.Context(), req); err != nil || again.Fact != first.Fact {
		t.Errorf("the same again: %+v, %v; want the first fact", again, err)
	}
	req.CompromisedSince = since.Add(time.Minute)
	if _, err := admin.RevokeKey(t.Context(), req); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("later: %v; want a conflict", err)
	}
	req.CompromisedSince = since.Add(-time.Hour)
	if k, err := admin.RevokeKey(t.Context(), req); err != nil || !k.Key.Revoked.CompromisedSince.Equal(req.CompromisedSince) || k.Fact == first.Fact {
		t.Errorf("earlier: %+v, %v", k, err)
	}
}

func TestKeyChangesRefuseWhatIsWrong(t *testing.T) {
	in, _ := withRing(t)
	admin := in.As("ada", "default", api.RoleAdmin)
	good := api.KeyRevocationRequest{Key: "key-1", CompromisedSince: in.Now(), Reason: "x"}
	for name, c := range map[string]struct {
		change func(*api.KeyRevocationRequest)
		code   assay.Code
		why    string
	}{
		"unknown key":       {func(r *api.KeyRevocationRequest) { r.Key = "SHA256:nobody" }, assay.CodeNotFound, "known: key-1"},
		"short prefix":      {func(r *api.KeyRevocationRequest) { r.Key = "SHA256:" }, assay.CodeNotFound, ""},
		"no reason":         {func(r *api.KeyRevocationRequest) { r.Reason = "" }, assay.CodeInvalid, "reason"},
		"reason of lines":   {func(r *api.KeyRevocationRequest) { r.Reason = "a\nb" }, assay.CodeInvalid, "reason"},
		"no time":           {func(r *api.KeyRevocationRequest) { r.CompromisedSince = time.Time{} }, assay.CodeInvalid, "is missing"},
		"time to come":      {func(r *api.KeyRevocationRequest) { r.CompromisedSince = in.Now().Add(time.Hour) }, assay.CodeInvalid, "assay key rotate"},
		"overlap too long":  {nil, assay.CodeInvalid, "overlap_seconds"},
		"overlap below 0 s": {nil, assay.CodeInvalid, "overlap_seconds"},
	} {
		var err error
		if c.change == nil {
			overlap := int64(api.MaxKeyOverlap + 1)
			if strings.Contains(name, "below") {
				overlap = -1
			}
			_, err = admin.RotateKey(t.Context(), api.KeyRotation{Overlap: overlap})
		} else {
			req := good
			c.change(&req)
			_, err = admin.RevokeKey(t.Context(), req)
		}
		if assay.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v; want %s %q", name, err, c.code, c.why)
		}
	}
	for _, role := range []api.Role{api.RoleOperator, api.RoleApprover, api.RoleDeveloper, api.RoleViewer} {
		s := in.As("eve", "default", role)
		_, rotate := s.RotateKey(t.Context(), api.KeyRotation{})
		_, revoke := s.RevokeKey(t.Context(), good)
		if assay.CodeOf(rotate) != assay.CodeDenied || assay.CodeOf(revoke) != assay.CodeDenied {
			t.Errorf("%s may change keys: %v, %v", role, rotate, revoke)
		}
	}
	plain := controltest.New(t)
	if _, err := plain.As("ada", "default", api.RoleAdmin).RotateKey(t.Context(), api.KeyRotation{}); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("a plane without a ring: %v", err)
	}
}

func TestAnInterruptedRotationIsCompletedByTheNext(t *testing.T) {
	for _, step := range []string{"next", "publish", "turn"} {
		t.Run(step, func(t *testing.T) {
			in, r := withRing(t)
			admin := in.As("ada", "default", api.RoleAdmin)
			r.failing = step
			if _, err := admin.RotateKey(t.Context(), api.KeyRotation{Overlap: 3600}); err == nil {
				t.Fatal("no error")
			}
			a, p := attestApp(t, in, "meanwhile") // the old key signs on
			r.failing = ""
			done, err := admin.RotateKey(t.Context(), api.KeyRotation{Overlap: 3600})
			if err != nil || done.Resumed != (step != "next") {
				t.Fatalf("%+v, %v", done, err)
			}
			if err := judged(t, in, r, "meanwhile", a, p); err != nil {
				t.Errorf("what was signed meanwhile: %v", err)
			}
			r.trust = attest.Trust{}
			if err := in.Plane.SyncTrust(t.Context()); err != nil || len(r.trust.Policy.Keys) != 2 {
				t.Errorf("after a start verifiers are told %+v, %v; want both keys", r.trust, err)
			}
			if list, err := admin.Keys(t.Context()); err != nil || len(list) != 2 {
				t.Errorf("keys %+v, %v; want two", list, err)
			}
			list, err := admin.System().Facts(t.Context(), []string{assay.FactKeyRotated}, "", 9)
			if err != nil || len(list) != 1 {
				t.Errorf("%d facts, %v; want one", len(list), err)
			}
		})
	}
}

func TestAKeyThatAConfigurationBringsInIsNotBelieved(t *testing.T) {
	in, r := withRing(t)
	if _, err := in.As("ada", "default", api.RoleAdmin).RotateKey(t.Context(), api.KeyRotation{}); err != nil {
		t.Fatal(err)
	}
	cfg := in.Config
	stranger, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Keys, cfg.Signer = r, stranger
	in.Plane = control.New(cfg)
	s := in.As("ci", "default", api.RoleDeveloper)
	if _, err := s.Attest(t.Context(), in.Request(s, "app", controltest.Tests, controltest.Clean)); assay.CodeOf(err) != assay.CodeConflict || !strings.Contains(err.Error(), "rotate --to") {
		t.Errorf("attested with a key that is nobody's: %v", err)
	}
	list, err := s.Keys(t.Context())
	if err != nil || slices.ContainsFunc(list, func(k api.Key) bool { return k.ID == stranger.KeyID() }) {
		t.Errorf("keys %+v, %v", list, err)
	}
}

// runs is an inventory in which every artifact runs in one place.
type runs struct{ namespace string }

func (r runs) Running(_ context.Context, namespace string, digests []assay.Digest) (list []api.RunningArtifact, err error) {
	for _, d := range digests {
		if namespace == r.namespace {
			list = append(list, api.RunningArtifact{Digest: d, Where: "prod, deployment shop"})
		}
	}
	return list, nil
}

func TestARevocationSaysWhereAffectedArtifactsRun(t *testing.T) {
	in, _ := withRing(t)
	cfg := in.Config
	cfg.Running = runs{"default"}
	in.Plane = control.New(cfg)
	since := in.Now()
	attestApp(t, in, "app")
	attestApp(t, in, "app") // one artifact, attested twice
	done, err := in.As("ada", "default", api.RoleAdmin).RevokeKey(t.Context(), api.KeyRevocationRequest{Key: "key-1", CompromisedSince: since, Reason: "x", DryRun: true})
	want := []api.RunningArtifact{{Digest: controltest.DigestOf("app"), Where: "prod, deployment shop"}}
	if err != nil || done.Total != 2 || !slices.Equal(done.Running, want) {
		t.Errorf("%+v, %v; want %v", done, err, want)
	}
}

func TestTheInstallationsKeysAreNotATenantsToChange(t *testing.T) {
	in, _ := withRing(t)
	bob := in.As("bob", "team-a", api.RoleAdmin)
	for _, dry := range []bool{true, false} {
		if _, err := bob.RevokeKey(t.Context(), api.KeyRevocationRequest{Key: "key-1", CompromisedSince: in.Now(), Reason: "x", DryRun: dry}); assay.CodeOf(err) != assay.CodeDenied {
			t.Errorf("revoked with dry run %v: %v", dry, err)
		}
	}
	if _, err := bob.RotateKey(t.Context(), api.KeyRotation{}); assay.CodeOf(err) != assay.CodeDenied {
		t.Errorf("rotated: %v", err)
	}
}
