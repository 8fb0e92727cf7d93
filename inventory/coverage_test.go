package inventory_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/exception"
	"assay.dev/assay/inventory"
	"assay.dev/assay/store/files"
)

func (w *world) coverage(env string) []inventory.Coverage {
	w.t.Helper()
	c, err := inventory.Coverages(w.t.Context(), inventory.Measure{Store: w.store, Blobs: w.blobs, Namespace: ns, Trust: w.trust}, env, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// states lists what is not attested, by name, and counts the rest.
func states(c inventory.Coverage) string {
	var list []string
	for _, a := range c.Artifacts {
		name := a.Name
		if name == "" {
			name = strings.Join(a.Services, "+")
		}
		list = append(list, name+" "+string(a.State))
	}
	slices.Sort(list)
	return fmt.Sprintf("%d/%d: %s", c.Attested, c.Running, strings.Join(list, ", "))
}

func TestCoverageCountsWhatIsValidNowAndNamesTheRest(t *testing.T) {
	w := newWorld(t)
	w.attest("good", "prod", assay.OutcomePass)
	w.attest("anywhere", "", assay.OutcomePass)
	w.attest("elsewhere", "staging", assay.OutcomePass)
	w.attest("failed", "prod", assay.OutcomeFail)
	w.attest("dry", "prod", assay.OutcomePass, func(v *assay.Verdict) { v.Mode = assay.ModeDryRun })
	for _, name := range []string{"good", "anywhere", "elsewhere", "failed", "dry", "stranger"} {
		w.push(false, "prod", runs(name, "svc-"+name))
	}
	w.push(false, "prod", inventory.Sighting{Service: "tagged", Image: "registry.example/tagged:1"})
	w.push(false, "staging", inventory.Sighting{Service: "elsewhere", Digest: digest("elsewhere")})
	cov := w.coverage("")
	if len(cov) != 2 {
		t.Fatalf("%+v", cov)
	}
	want := "2/7: anywhere attested, dry unattested, elsewhere unattested, failed refused, good attested, registry.example/tagged:1 unresolved, svc-stranger unregistered"
	if got := states(cov[0]); got != want {
		t.Errorf("prod is\n%s\nwant\n%s", got, want)
	}
	if got := states(cov[1]); got != "1/1: elsewhere attested" {
		t.Errorf("staging is %s", got)
	}
	if r, known := cov[0].Ratio(); !known || r < 0.28 || r > 0.29 {
		t.Errorf("ratio %v %v", r, known)
	}
	for _, a := range cov[0].Artifacts {
		if a.Reason == "" || len(a.Services) != 1 || (a.State == inventory.Attested) != (a.Bundle != "" && strings.Contains(a.Reason, "pass at")) {
			t.Errorf("%+v", a)
		}
	}
	if one := w.coverage("staging"); len(one) != 1 || one[0].Environment != "staging" {
		t.Errorf("%+v", one)
	}
	if none := w.coverage("moon"); len(none) != 0 {
		t.Errorf("%+v", none)
	}
}

func TestARunningArtifactCountsOnceHoweverManyServicesUseIt(t *testing.T) {
	w := newWorld(t)
	w.attest("good", "prod", assay.OutcomePass)
	w.push(false, "prod", runs("good", "a"), runs("good", "b"))
	if got := states(w.coverage("prod")[0]); got != "1/1: good attested" {
		t.Error(got)
	}
}

func TestANewerRefusalEndsAnOldPass(t *testing.T) {
	w := newWorld(t)
	w.attest("app", "prod", assay.OutcomePass)
	w.now = w.now.Add(time.Minute)
	w.attest("app", "prod", assay.OutcomeFail)
	w.push(false, "prod", runs("app", "app"))
	if got := states(w.coverage("prod")[0]); got != "0/1: app refused" {
		t.Error(got)
	}
}

func TestAnAttestationOfAKeyThatIsNotTrustedDoesNotCount(t *testing.T) {
	w := newWorld(t)
	w.attest("app", "prod", assay.OutcomePass)
	w.push(false, "prod", runs("app", "app"))
	good := w.trust.Keys
	other := newWorld(t)
	w.trust.Keys = other.trust.Keys
	if got := states(w.coverage("prod")[0]); got != "0/1: app unverified" {
		t.Errorf("another key: %s", got)
	}
	w.trust.Keys = slices.Clone(good)
	w.trust.Keys[0].Revoked = &attest.Revocation{CompromisedSince: w.now.Add(-time.Hour), Reason: "lost"}
	if got := states(w.coverage("prod")[0]); got != "0/1: app unverified" {
		t.Errorf("a revoked key: %s", got)
	}
}

func TestADamagedAttestationDoesNotCount(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	blobs, err := files.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.blobs.Close()
	w.blobs = blobs
	rec := w.attest("app", "prod", assay.OutcomePass)
	w.push(false, "prod", runs("app", "app"))
	var hit int
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(strings.ReplaceAll(path, string(filepath.Separator), ""), rec.Bundle.Hex()[4:]) {
			return err
		}
		hit++
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(`{}`), 0o600)
	})
	if err != nil || hit != 1 {
		t.Fatalf("%d files, %v", hit, err)
	}
	if got := states(w.coverage("prod")[0]); got != "0/1: app unverified" {
		t.Error(got)
	}
}

func TestAPassByAnExceptionHoldsAsLongAsTheException(t *testing.T) {
	w := newWorld(t)
	r, err := exception.Request(t.Context(), w.store, exception.Ask{
		Namespace: ns, Reason: "no fixed version has been released yet", NotAfter: w.now.Add(24 * time.Hour), Scope: assay.ExceptionScope{Rules: []string{"release/x"}},
	}, "ann", w.now)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = exception.Approve(t.Context(), w.store, ns, r.ID, "bob", w.now); err != nil {
		t.Fatal(err)
	}
	w.attest("app", "prod", assay.OutcomePass, func(v *assay.Verdict) {
		v.Exceptions = []assay.ExceptionUse{{ID: r.ID, Digest: r.Digest(), Rules: r.Scope.Rules, Requester: r.Requester, Approver: r.Approver, ValidUntil: r.NotAfter}}
	})
	w.push(false, "prod", runs("app", "app"))
	if got := states(w.coverage("prod")[0]); got != "1/1: app attested" {
		t.Errorf("while it holds: %s", got)
	}
	w.now = w.now.Add(25 * time.Hour)
	w.push(false, "prod", runs("app", "app"))
	if c := w.coverage("prod")[0]; states(c) != "0/1: app lapsed" || !strings.Contains(c.Artifacts[0].Reason, "ended at") {
		t.Errorf("after its end: %s", states(c))
	}
	w.now = w.now.Add(-25 * time.Hour)
	if _, err := exception.Revoke(t.Context(), w.store, ns, r.ID, "bob", "a fixed version is out", w.now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * time.Minute)
	if c := w.coverage("prod")[0]; states(c) != "0/1: app lapsed" || !strings.Contains(c.Artifacts[0].Reason, "revoked") {
		t.Errorf("after its revocation: %s", states(c))
	}
}
