package admit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/admit"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/exception"
)

func TestOnlyWhatItsGateLetPassIsAdmitted(t *testing.T) {
	good := web("good")
	for _, c := range []struct {
		name    string
		prepare func(*world)
		image   string
		outcome assay.Outcome
		says    string
	}{
		{"attested", func(w *world) { w.attest(good) }, good, assay.OutcomePass, ""},
		{"attested for any environment", func(w *world) { w.attest(good, func(v *assay.Verdict) { v.Environment = "" }) }, good, assay.OutcomePass, ""},
		{"allowed by the policy", func(*world) {}, "registry.k8s.io/pause:3.10", assay.OutcomePass, ""},
		{"unknown digest", func(*world) {}, good, assay.OutcomeAbsent, "nothing is known of this digest"},
		{"another gate", func(w *world) { w.attest(good, func(v *assay.Verdict) { v.Gate = "other" }) }, good, assay.OutcomeAbsent, "nothing attests that gate release"},
		{"another environment", func(w *world) { w.attest(good, func(v *assay.Verdict) { v.Environment = "staging" }) }, good, assay.OutcomeAbsent, "nothing attests that gate release let it into prod"},
		{"failed", func(w *world) { w.attest(good, func(v *assay.Verdict) { v.Outcome = assay.OutcomeFail }) }, good, assay.OutcomeFail, "is fail"},
		{"passed, and failed later", func(w *world) {
			w.attest(good)
			w.attest(good, func(v *assay.Verdict) { v.Outcome, v.Time = assay.OutcomeFail, start.Add(-time.Minute) })
		}, good, assay.OutcomeFail, "the newest verdict of gate release"},
		{"absent evidence", func(w *world) { w.attest(good, func(v *assay.Verdict) { v.Outcome = assay.OutcomeAbsent }) }, good, assay.OutcomeAbsent, "is absent"},
		{"too old", func(w *world) { w.attest(good, func(v *assay.Verdict) { v.Time = start.AddDate(0, 0, -31) }) }, good, assay.OutcomeFail, "step 8 (time)"},
		{"a level that is not granted", func(w *world) { w.attest(good, func(v *assay.Verdict) { v.Levels = nil }) }, good, assay.OutcomeFail, "step 7 (levels)"},
		{"a gate that only watches", func(w *world) { w.attest(good, func(v *assay.Verdict) { v.Mode = assay.ModeDryRun }) }, good, assay.OutcomeFail, "expected ASSAY_RELEASE"},
		{"another resource", func(w *world) { w.attest(good, func(v *assay.Verdict) { v.Subject.URI = "pkg:oci/other" }) }, good, assay.OutcomeFail, "step 5 (resource URI)"},
		{"a key that nobody trusts", func(w *world) {
			w.attest(good)
			other, err := keyfile.Generate(keyfile.Ed25519)
			if err != nil {
				w.t.Fatal(err)
			}
			w.believe(other)
		}, good, assay.OutcomeFail, "step 1 (signature)"},
		{"wrong key is revoked", func(w *world) {
			w.attest(good)
			w.trust.Keys[0].Revoked = &attest.Revocation{CompromisedSince: start.Add(-2 * time.Hour), Reason: "a laptop was stolen"}
		}, good, assay.OutcomeFail, "a laptop was stolen"},
		{"the key was compromised after this was recorded", func(w *world) {
			w.attest(good)
			w.trust.Keys[0].Revoked = &attest.Revocation{CompromisedSince: time.Now().Add(time.Hour), Reason: "a laptop was stolen"}
		}, good, assay.OutcomePass, ""},
		{"the key was compromised before this was recorded, whatever the signer says of the time", func(w *world) {
			w.attest(good, func(v *assay.Verdict) { v.Time = start.AddDate(0, 0, -1) })
			w.trust.Keys[0].Revoked = &attest.Revocation{CompromisedSince: start.Add(-2 * time.Hour), Reason: "a laptop was stolen"}
		}, good, assay.OutcomeFail, "a laptop was stolen"},
		{"missing digest", func(w *world) { w.attest(good) }, "registry.example/shop/web", assay.OutcomeFail, "write registry.example/shop/web@" + string(digest("good"))},
		{"missing digest of an unknown name", func(*world) {}, "registry.example/shop/web:1", assay.OutcomeFail, "named by a tag"},
		{"invalid reference", func(*world) {}, "Not/An:Image:Reference", assay.OutcomeFail, "not an image reference"},
		{"no reference", func(*world) {}, "", assay.OutcomeFail, "no image is named"},
		{"a huge reference", func(*world) {}, "r.example/" + strings.Repeat("a", 5000), assay.OutcomeFail, "at most 1024 are accepted"},
		{"a digest of another kind", func(*world) {}, "r.example/a@sha512:" + strings.Repeat("0", 128), assay.OutcomeFail, "its digest is not of SHA-256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.prepare(w)
			d := w.ask(c.image)
			if d.Outcome != c.outcome || d.Allowed != (c.outcome == assay.OutcomePass) || !strings.Contains(d.Message(), c.says) {
				t.Errorf("%s, allowed %v: %s; want %s and %q", d.Outcome, d.Allowed, d.Message(), c.outcome, c.says)
			}
			if !d.Allowed && !strings.Contains(d.Message(), string(d.ID)) {
				t.Errorf("message %q does not name the decision %s", d.Message(), d.ID)
			}
		})
	}
}

func TestAVerdictThatRestsOnAnEndedExceptionAdmitsNothing(t *testing.T) {
	w := newWorld(t)
	image := web("good")
	id := w.except(t.Context(), assay.ExceptionScope{Rules: []string{"release/x"}})
	at := start.Add(time.Minute)
	w.now = func() time.Time { return at }
	e := w.facts(assay.FactExceptionApproved)[0]
	var approved assay.Exception
	if err := json.Unmarshal(e.Payload, &approved); err != nil {
		t.Fatal(err)
	}
	w.attest(image, func(v *assay.Verdict) {
		v.Time = at
		v.Exceptions = []assay.ExceptionUse{{ID: id, Digest: approved.Digest(), Rules: []string{"release/x"}, Requester: "dana", Approver: "kim", ValidUntil: approved.NotAfter}}
	})
	if d := w.ask(image); !d.Allowed {
		t.Errorf("refused while the exception lasts: %s", d.Message())
	}
	at = approved.NotAfter
	if d := w.ask(image); d.Allowed || !strings.Contains(d.Message(), "which ended at") {
		t.Errorf("allowed %v after the exception's end: %s", d.Allowed, d.Message())
	}
	at = start.Add(2 * time.Minute)
	if _, err := exception.Revoke(t.Context(), w.store, "default", id, "kim", "it was wrong", at.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if d := w.ask(image); d.Allowed || !strings.Contains(d.Message(), "which was revoked") {
		t.Errorf("allowed %v after the exception was revoked: %s", d.Allowed, d.Message())
	}
}

func TestModesAndFailurePolicies(t *testing.T) {
	with := func(lines string) string {
		return strings.Replace(doorYAML, "  environment: prod\n", "  environment: prod\n"+lines, 1)
	}
	for _, c := range []struct {
		name, yaml string
		blind      bool // what is attested cannot be read
		allowed    bool
		warnings   string
		skipped    bool
	}{
		{"enforce denies", doorYAML, false, false, "", false},
		{"dry-run says nothing", with("  mode: dry-run\n"), false, true, "", false},
		{"warn warns", with("  mode: warn\n"), false, true, "prod/release", false},
		{"off judges nothing", with("  mode: \"off\"\n"), false, true, "", true},
		{"a fault closes", doorYAML, true, false, "", false},
		{"a fault opens where the policy says so", with("  failurePolicy: open\n"), true, true, "fails open", false},
		{"a policy that opens still denies what is known to be bad", with("  failurePolicy: open\n"), false, false, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := worldOf(t, c.yaml)
			if c.blind {
				w.blind = errors.New("the disk is gone")
			}
			d := w.ask(web("unsigned"))
			if d.Allowed != c.allowed || !strings.Contains(strings.Join(d.Warnings, "\n"), c.warnings) || c.warnings == "" && len(d.Warnings) > 0 || (d.Skipped != "") != c.skipped {
				t.Errorf("allowed %v, skipped %q, warnings %q; want %v, %q", d.Allowed, d.Skipped, d.Warnings, c.allowed, c.warnings)
			}
			if d.Outcome == assay.OutcomePass && !c.skipped {
				t.Error("the outcome is pass; a mode never changes what the attestations say")
			}
		})
	}
}

func TestABundleThatCannotBeReadIsAFaultAndNoRefusalOfTheImage(t *testing.T) {
	w := newWorld(t)
	w.attest(web("good"))
	bundles, err := filepath.Glob(filepath.Join(w.blobDir, "*", "*", "*"))
	if err != nil || len(bundles) == 0 {
		t.Fatalf("no blobs: %v", err)
	}
	for _, b := range bundles {
		if err := os.Remove(b); err != nil {
			t.Fatal(err)
		}
	}
	d := w.ask(web("good"))
	if d.Allowed || d.Outcome != assay.OutcomeAbsent || !strings.Contains(d.Message(), "prod/fault") {
		t.Errorf("%s: %s; want a fault that closes", d.Outcome, d.Message())
	}
}

func TestANamespaceThatIsNotGuardedIsNotJudged(t *testing.T) {
	w := newWorld(t)
	r := podReview(web("unsigned"))
	r.Target.Namespace = "sandbox"
	if d := w.askAbout(admit.Request{Review: r}); !d.Allowed || d.Skipped == "" || len(w.decisions()) != 0 {
		t.Errorf("allowed %v, skipped %q, %d facts; want it let alone", d.Allowed, d.Skipped, len(w.decisions()))
	}
}

func TestAdmissionReviewWith10000ContainersIsAnsweredWithinLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a clock that only waiting moves
		w := newWorld(t)
		began := time.Now()
		r, err := admit.DecodeReview(review("CREATE", "", "Pod", "", manyContainers(10_000), ""))
		if err != nil {
			t.Fatal(err)
		}
		d := w.askAbout(admit.Request{Review: r, Wait: admit.MaxWait})
		if d.Allowed || !strings.Contains(d.Message(), "it names 10000 containers and image volumes; at most 512 are judged") {
			t.Errorf("allowed %v: %s", d.Allowed, d.Message())
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("answered after waiting for %s; want no wait", took)
		}
		r, err = admit.DecodeReview(review("CREATE", "", "Pod", "", manyContainers(admit.MaxContainers), ""))
		if err != nil {
			t.Fatal(err)
		}
		d = w.askAbout(admit.Request{Review: r})
		if d.Objections != admit.MaxContainers || len(d.Violations) != admit.MaxListed || len(d.Images) != admit.MaxListed || len(d.Message()) > 2000 {
			t.Errorf("%d objections, %d listed, %d images, a message of %d bytes; want all counted and %d listed",
				d.Objections, len(d.Violations), len(d.Images), len(d.Message()), admit.MaxListed)
		}
		if len(w.decisions()) != 2 {
			t.Errorf("%d facts; want both denials", len(w.decisions()))
		}
	})
}

func TestWarningsAreShort(t *testing.T) {
	w := worldOf(t, strings.Replace(doorYAML, "  environment: prod\n", "  environment: prod\n  mode: warn\n", 1))
	var images []string
	for i := range 40 {
		images = append(images, web(fmt.Sprint(i)))
	}
	d := w.ask(images...)
	if len(d.Warnings) == 0 || len(d.Warnings) > 20 {
		t.Errorf("%d warnings; want some, and at most 20", len(d.Warnings))
	}
	for _, s := range d.Warnings {
		if len(s) > 120 {
			t.Errorf("a warning of %d bytes: %s", len(s), s)
		}
	}
}

func TestADenialIsRecordedBeforeItIsAnswered(t *testing.T) {
	w := newWorld(t)
	d := w.ask(web("unsigned"))
	facts := w.decisions()
	if len(facts) != 1 {
		t.Fatalf("%d facts; want one", len(facts))
	}
	f := facts[0]
	var said admit.Payload
	if err := json.Unmarshal(f.Payload, &said); err != nil {
		t.Fatal(err)
	}
	if f.ID != d.ID || f.Kind != assay.FactAdmissionDenied || f.Retention != assay.RetainAudit || f.Actor != "kubernetes:dana" ||
		f.Subject != digest("unsigned") || f.PolicyRevision != d.Policy.Digest || said.Decision.Target.Name != "web-1" || said.Count != 1 {
		t.Errorf("fact %+v says %+v", f, said)
	}
}

func TestAdmissionsAreCountedTogetherAndRecorded(t *testing.T) {
	w := newWorld(t)
	w.attest(web("a"))
	w.attest(web("b"))
	ids := map[assay.FactID]int{}
	for range 5 {
		ids[w.ask(web("a")).ID]++
	}
	ids[w.ask(web("b")).ID]++
	if len(w.decisions()) != 0 {
		t.Fatal("admissions are recorded one by one")
	}
	if err := w.door.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	facts := w.decisions()
	var counts []uint64
	for _, f := range facts {
		var said admit.Payload
		if err := json.Unmarshal(f.Payload, &said); err != nil {
			t.Fatal(err)
		}
		if ids[f.ID] != int(said.Count) || f.Retention != assay.RetainOperational {
			t.Errorf("fact %s counts %d, retention %s; the answers named it %d times", f.ID, said.Count, f.Retention, ids[f.ID])
		}
		counts = append(counts, said.Count)
	}
	slices.Sort(counts)
	if !slices.Equal(counts, []uint64{1, 5}) {
		t.Errorf("counts %v; want 1 and 5", counts)
	}
}

func TestAdmissionsOutliveAStoreThatFails(t *testing.T) {
	w := newWorld(t)
	w.attest(web("a"))
	first := w.ask(web("a")).ID
	w.failCommits(errors.New("disk full"))
	if err := w.door.Flush(t.Context()); err == nil {
		t.Fatal("Flush succeeds although nothing was committed")
	}
	second := w.ask(web("a")).ID
	w.failCommits(nil)
	if err := w.door.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []assay.FactID
	for _, f := range w.decisions() {
		got = append(got, f.ID)
	}
	if !slices.Contains(got, first) || !slices.Contains(got, second) {
		t.Errorf("facts %v; want %s and %s", got, first, second)
	}
}

func TestAnAdmissionWhoseCommitIsUncertainIsRecordedOnceAndAsItWasAnswered(t *testing.T) {
	w := newWorld(t)
	w.attest(web("a"))
	first := w.ask(web("a")).ID
	w.unsureCommits(errors.New("the disk died after it wrote"))
	if err := w.door.Flush(t.Context()); err == nil {
		t.Fatal("Flush succeeds although nobody knows what was committed")
	}
	w.unsureCommits(nil)
	second := w.ask(web("a")).ID // the same again must not change what may be recorded already
	if err := w.door.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[assay.FactID]uint64{}
	for _, f := range w.decisions() {
		var said admit.Payload
		if err := json.Unmarshal(f.Payload, &said); err != nil {
			t.Fatal(err)
		}
		got[f.ID] += said.Count
	}
	if len(got) != 2 || got[first] != 1 || got[second] != 1 {
		t.Errorf("facts count %v; want %s and %s once each", got, first, second)
	}
}

func TestWhatIsAnsweredAfterRunEndedIsRecordedByTheLastFlush(t *testing.T) {
	w := newWorld(t)
	w.attest(web("a"))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := w.door.Run(ctx); err != nil {
		t.Fatal(err)
	}
	w.ask(web("a")) // a review that was under way when the server was told to stop
	if err := w.door.Flush(t.Context()); err != nil || len(w.decisions()) != 1 {
		t.Errorf("%v, %d facts; want the admission recorded", err, len(w.decisions()))
	}
}

func TestAdmissionsAreRecordedWhenTheyAreOldEnoughAndAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.now = time.Now
		const images = 100
		for i := range images {
			w.attest(web(strconv.Itoa(i)), func(v *assay.Verdict) { v.Time = time.Now() })
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.door.Run(ctx) }()
		for i := range images {
			w.ask(web(strconv.Itoa(i)))
		}
		<-time.After(admit.FlushEvery - time.Second)
		if n := len(w.decisions()); n != 0 {
			t.Errorf("%d facts before they were old enough", n)
		}
		before := w.commits()
		<-time.After(2 * time.Second)
		if n := len(w.decisions()); n != images {
			t.Errorf("%d facts; want %d", n, images)
		}
		if n := w.commits() - before; n < 3 {
			t.Errorf("%d commits for %d facts; a denial would wait for all of them", n, images)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRunRecordsTheRestWhenItEnds(t *testing.T) {
	w := newWorld(t)
	w.attest(web("a"))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.door.Run(ctx) }()
	w.ask(web("a"))
	stop()
	if err := <-done; err != nil || len(w.decisions()) != 1 {
		t.Errorf("%v, %d facts; want the admission recorded", err, len(w.decisions()))
	}
}

func TestADryRunLeavesNoTrace(t *testing.T) {
	w := newWorld(t)
	w.attest(web("a"))
	w.except(t.Context(), assay.ExceptionScope{Rules: []string{"prod/release"}, Subjects: []assay.Digest{digest("excused")}})
	before := len(w.facts())
	for _, image := range []string{web("a"), web("unsigned"), web("excused")} {
		r := podReview(image)
		r.DryRun = true
		wet := w.askAbout(admit.Request{Review: podReview(image), Quiet: true})
		if d := w.askAbout(admit.Request{Review: r}); d.Allowed != wet.Allowed {
			t.Errorf("%s: a dry run says %v, the real thing %v", image, d.Allowed, wet.Allowed)
		}
	}
	if err := w.door.Flush(t.Context()); err != nil || len(w.facts()) != before {
		t.Errorf("%v, %d facts; want the %d of before", err, len(w.facts()), before)
	}
}

func TestAnExceptionIsUsedAndRecordedOrDoesNotCount(t *testing.T) {
	w := newWorld(t)
	id := w.except(t.Context(), assay.ExceptionScope{Rules: []string{"prod/release"}, Names: []string{"kubernetes/shop/**"}, Environments: []string{"prod"}})
	d := w.ask(web("hotfix"))
	if !d.Allowed || len(d.Exceptions) != 1 || d.Exceptions[0].ID != id || d.AuditAnnotations()["exception_id"] != id {
		t.Fatalf("%s: %s; want it excused by %s", d.Outcome, d.Message(), id)
	}
	uses, facts := w.facts(assay.FactExceptionUsed), w.decisions()
	if len(uses) != 1 || len(facts) != 1 || !slices.Contains(uses[0].Causes, facts[0].ID) || facts[0].Retention != assay.RetainAudit {
		t.Errorf("uses %+v, decisions %+v; want a use that the decision caused", uses, facts)
	}
	r := podReview(web("hotfix"))
	r.Target.Namespace = "payments"
	if d := w.askAbout(admit.Request{Review: r}); d.Allowed {
		t.Error("the exception works outside of its namespace")
	}
	w.failCommits(errors.New("disk full"))
	if d := w.ask(web("hotfix")); d.Allowed {
		t.Error("an exception that cannot be recorded lets something in")
	}
}

func TestAnImageThatIsNamedLikeAPlaceIsNotInIt(t *testing.T) {
	w := newWorld(t)
	place := w.except(t.Context(), assay.ExceptionScope{Rules: []string{"prod/release"}, Names: []string{"kubernetes/shop/**"}})
	evil := "kubernetes/shop/evil@" + string(digest("evil"))
	r := podReview(evil)
	r.Target.Namespace = "payments"
	if d := w.askAbout(admit.Request{Review: r}); d.Allowed {
		t.Errorf("exception %s for a place lets an image in elsewhere that is called like it", place)
	}
	w.except(t.Context(), assay.ExceptionScope{Rules: []string{"prod/release"}, Names: []string{"docker.io/kubernetes/shop/evil@*"}})
	if d := w.askAbout(admit.Request{Review: r}); !d.Allowed {
		t.Errorf("an exception for the image itself does not hold: %s", d.Message())
	}
}

func TestAnUnseenDigestWaitsForTheIndexAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.now = time.Now
		began := time.Now()
		if d := w.askAbout(admit.Request{Review: podReview(web("never")), Wait: time.Minute}); d.Allowed || time.Since(began) != admit.MaxWait {
			t.Errorf("allowed %v after %s; want a denial after %s", d.Allowed, time.Since(began), admit.MaxWait)
		}
		began = time.Now()
		late := time.AfterFunc(500*time.Millisecond, func() { // the attestation arrives later than the pod
			w.attest(web("late"), func(v *assay.Verdict) { v.Time = time.Now() })
		})
		defer late.Stop()
		if d := w.askAbout(admit.Request{Review: podReview(web("late")), Wait: admit.MaxWait}); !d.Allowed || time.Since(began) != 500*time.Millisecond {
			t.Errorf("allowed %v after %s: %s; want it as soon as the index knows", d.Allowed, time.Since(began), d.Message())
		}
		began = time.Now()
		w.askAbout(admit.Request{Review: podReview("registry.k8s.io/pause:3.10", "registry.example/shop/web:tag"), Wait: admit.MaxWait})
		if time.Since(began) != 0 {
			t.Errorf("waited %s for images that no index has to know", time.Since(began))
		}
	})
}
