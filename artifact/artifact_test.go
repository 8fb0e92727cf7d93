package artifact_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/exception"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/memtree"
	"assay.dev/assay/store"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/mem"
)

const (
	ns     = "default"
	origin = "example.com/ledger"
)

// now is the instant that every test is about.
var now = time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)

var salt = []byte("sixteen bytes or more")

func digest(of string) assay.Digest { return assay.DigestOf(sha256.Sum256([]byte(of))) }

// world is a store with its blobs and ledger, and a key to sign with.
type world struct {
	store  *mem.Store
	blobs  *files.Blobs
	signer *keyfile.Signer
	vkey   string
	log    *memtree.Log
	ledger *ledger.Ledger
	fail   error // of the next commits
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	w.store = mem.New(mem.Config{Now: func() time.Time { return now }, Hooks: mem.Hooks{BeforeCommit: func() error { return w.fail }}})
	var err error
	if w.blobs, err = files.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.store.Close(), w.blobs.Close()); err != nil {
			t.Error(err)
		}
	})
	if w.signer, err = keyfile.Generate(keyfile.ECDSAP256); err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := ledger.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ledger.ParseSigner(skey, origin)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := ledger.ParseVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	w.vkey, w.log = vkey, memtree.New(signer)
	if w.ledger, err = ledger.New(w.store, salt, []ledger.Epoch{{Origin: origin, Reader: w.log, Verifier: verifier}}); err != nil {
		t.Fatal(err)
	}
	return w
}

func verdict(outcome assay.Outcome, at time.Time) assay.Verdict {
	return assay.Verdict{
		Gate: "release", Mode: assay.ModeEnforce, Environment: "prod", Outcome: outcome, Time: at,
		Subject:      assay.Subject{Name: "assay", Digest: digest("binary"), URI: "pkg:generic/assay"},
		Policy:       assay.PolicyRef{URI: "file:policies", Digest: digest("policy")},
		Levels:       []string{"ASSAY_RELEASE"},
		Requirements: []assay.Requirement{{Name: "tests", Kind: assay.KindTests, State: assay.Satisfied, Reason: "3 passed"}},
		Evidence:     []assay.EvidenceRef{{Kind: assay.KindTests, Source: "t.json", Digest: digest("tests"), Origin: assay.OriginLive}},
	}
}

func (w *world) entry(t *testing.T, v assay.Verdict) artifact.Entry {
	t.Helper()
	st, err := attest.VSA(v, attest.VSAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := attest.Sign(t.Context(), w.signer, st)
	if err != nil {
		t.Fatal(err)
	}
	return artifact.Entry{Namespace: ns, Service: "shop", TraceID: "t-1", Actor: "ci", Verdict: v, Bundle: b}
}

func (w *world) record(t *testing.T, e artifact.Entry) artifact.Recorded {
	t.Helper()
	r, err := artifact.Record(t.Context(), w.store, w.blobs, e)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) facts(t *testing.T) []assay.Fact {
	t.Helper()
	var all []assay.Fact
	err := w.store.View(t.Context(), func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: ns})
		for _, row := range rows {
			all = append(all, row.Fact)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// excused returns a passing verdict that used an approved exception.
func (w *world) excused(t *testing.T) assay.Verdict {
	t.Helper()
	r, err := exception.Request(t.Context(), w.store, exception.Ask{
		Namespace: ns, Reason: "no fixed version has been released yet", NotAfter: now.Add(24 * time.Hour),
		Scope: assay.ExceptionScope{Rules: []string{"release/x"}},
	}, "dana", now.Add(-2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if r, err = exception.Approve(t.Context(), w.store, ns, r.ID, "kim", now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	v := verdict(assay.OutcomePass, now)
	v.Exceptions = []assay.ExceptionUse{{
		ID: r.ID, Digest: r.Digest(), Rules: r.Scope.Rules, Requester: r.Requester, Approver: r.Approver, ValidUntil: r.NotAfter,
	}}
	v.Violations = []assay.Violation{{Rule: "release/x", Message: "x", Mode: assay.ModeEnforce, Exception: r.ID}}
	return v
}

func TestRecordWritesVerdictAttestationAndUsesAsOneStory(t *testing.T) {
	w := newWorld(t)
	v := w.excused(t)
	e := w.entry(t, v)
	r := w.record(t, e)
	facts := w.facts(t)[2:] // behind request and approval
	if len(facts) != 3 || r.Known || len(r.UseFacts) != 1 {
		t.Fatalf("%d facts, recorded %+v; want verdict, attestation and one use", len(facts), r)
	}
	approval := w.facts(t)[1].ID
	for i, want := range []struct {
		kind   string
		id     assay.FactID
		causes []assay.FactID
	}{
		{assay.FactVerdict, r.VerdictFact, []assay.FactID{}},
		{assay.FactAttested, r.AttestedFact, []assay.FactID{r.VerdictFact}},
		{assay.FactExceptionUsed, r.UseFacts[0], []assay.FactID{approval, r.VerdictFact}},
	} {
		f := facts[i]
		if f.Kind != want.kind || f.ID != want.id || !slices.Equal(f.Causes, want.causes) || f.Retention != assay.RetainAudit ||
			f.Subject != v.Subject.Digest || f.PolicyRevision != v.Policy.Digest || f.Environment != "prod" || f.Actor != "ci" {
			t.Errorf("fact %d = %+v; want %s with causes %v", i, f, want.kind, want.causes)
		}
	}
	var said artifact.AttestedPayload
	if err := json.Unmarshal(facts[1].Payload, &said); err != nil {
		t.Fatal(err)
	}
	if said.BundleDigest != assay.DigestOf(sha256.Sum256(e.Bundle)) || said.KeyID != w.signer.KeyID() ||
		said.Subject != v.Subject.Digest || said.Outcome != assay.OutcomePass || said.PredicateType != assay.VSAPredicateType {
		t.Errorf("attestation's payload = %+v", said)
	}
	if got, err := artifact.ReadBundle(t.Context(), w.blobs, r.Bundle); err != nil || !bytes.Equal(got, e.Bundle) {
		t.Errorf("ReadBundle = %d bytes, %v; want the bundle", len(got), err)
	}
	doc, err := w.blobs.Open(t.Context(), r.Document)
	if err != nil {
		t.Fatal(err)
	}
	defer doc.Close()
	var full assay.Verdict
	if data, err := io.ReadAll(doc); err != nil || json.Unmarshal(data, &full) != nil || len(full.Violations) != 1 {
		t.Errorf("document = %s, %v; want the full verdict", data, err)
	}
}

func TestRecordingABundleTwiceChangesNothing(t *testing.T) {
	w := newWorld(t)
	e := w.entry(t, verdict(assay.OutcomePass, now))
	var wg sync.WaitGroup
	got := make([]artifact.Recorded, 8)
	errs := make([]error, len(got))
	for i := range got {
		wg.Go(func() { got[i], errs[i] = artifact.Record(t.Context(), w.store, w.blobs, e) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	fresh := 0
	for _, r := range got {
		if !r.Known {
			fresh++
		}
		if r.AttestedFact != got[0].AttestedFact || r.VerdictFact != got[0].VerdictFact {
			t.Errorf("facts %s and %s; want the same from every call", r.AttestedFact, got[0].AttestedFact)
		}
	}
	sum, err := artifact.Get(t.Context(), w.store, ns, digest("binary"))
	if fresh != 1 || len(w.facts(t)) != 2 || err != nil || sum.Attestations != 1 {
		t.Errorf("%d fresh records, %d facts, %d attestations, %v; want 1, 2 and 1", fresh, len(w.facts(t)), sum.Attestations, err)
	}
}

func TestRecordRefusesWhatDoesNotBelongTogether(t *testing.T) {
	w := newWorld(t)
	good := w.entry(t, verdict(assay.OutcomePass, now))
	used := w.excused(t)
	for _, c := range []struct {
		name   string
		change func(*artifact.Entry)
		code   assay.Code
	}{
		{"a bundle of another outcome", func(e *artifact.Entry) { e.Verdict.Outcome = assay.OutcomeFail }, assay.CodeInvalid},
		{"a bundle of another artifact", func(e *artifact.Entry) { e.Verdict.Subject.Digest = digest("other") }, assay.CodeInvalid},
		{"a bundle of another time", func(e *artifact.Entry) { e.Verdict.Time = now.Add(time.Second) }, assay.CodeInvalid},
		{"a bundle of another gate", func(e *artifact.Entry) { e.Verdict.Gate = "other" }, assay.CodeInvalid},
		{"a bundle of another mode", func(e *artifact.Entry) { e.Verdict.Mode = assay.ModeDryRun }, assay.CodeInvalid},
		{"a bundle with another policy", func(e *artifact.Entry) { e.Verdict.Policy.Digest = digest("other") }, assay.CodeInvalid},
		{"no bundle", func(e *artifact.Entry) { e.Bundle = nil }, assay.CodeInvalid},
		{"an unknown exception", func(e *artifact.Entry) {
			v := used
			v.Exceptions = []assay.ExceptionUse{{ID: "0198b0aa-0000-7000-8000-000000000001", Digest: digest("x")}}
			*e = w.entry(t, v)
		}, assay.CodeNotFound},
		{"an altered exception", func(e *artifact.Entry) {
			v := used
			v.Exceptions = slices.Clone(v.Exceptions)
			v.Exceptions[0].Digest = digest("x")
			*e = w.entry(t, v)
		}, assay.CodeConflict},
		{"nobody", func(e *artifact.Entry) { e.Actor = "" }, assay.CodeInvalid},
	} {
		e := good
		c.change(&e)
		before := len(w.facts(t))
		if _, err := artifact.Record(t.Context(), w.store, w.blobs, e); assay.CodeOf(err) != c.code {
			t.Errorf("%s: %v; want %s", c.name, err, c.code)
		}
		if len(w.facts(t)) != before {
			t.Errorf("%s: left facts behind", c.name)
		}
	}
	if _, err := artifact.Get(t.Context(), w.store, ns, digest("binary")); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("refused records left state behind: %v", err)
	}
}

func TestAFailedCommitLeavesNothingAndMayBeRepeated(t *testing.T) {
	w := newWorld(t)
	e := w.entry(t, verdict(assay.OutcomePass, now))
	w.fail = errors.New("disk full")
	if _, err := artifact.Record(t.Context(), w.store, w.blobs, e); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Errorf("Record = %v; want unavailable", err)
	}
	w.fail = nil
	if len(w.facts(t)) != 0 {
		t.Error("the failed commit left facts")
	}
	if r := w.record(t, e); r.Known {
		t.Error("the repeated call found something that never happened")
	}
}

func TestSummaryKeepsTheNewestVerdictOfEachGate(t *testing.T) {
	w := newWorld(t)
	judge := func(gate string, outcome assay.Outcome, at time.Time) artifact.Recorded {
		v := verdict(outcome, at)
		v.Gate = gate
		return w.record(t, w.entry(t, v))
	}
	first := judge("release", assay.OutcomeFail, now)
	second := judge("release", assay.OutcomePass, now.Add(time.Hour))
	late := judge("release", assay.OutcomeAbsent, now.Add(-time.Hour)) // an old verdict that arrives late
	other := judge("deploy", assay.OutcomeFail, now)

	sum, err := artifact.Get(t.Context(), w.store, ns, digest("binary"))
	if err != nil {
		t.Fatal(err)
	}
	if len(sum.Judgements) != 2 || sum.Judgements[0].Gate != "deploy" || sum.Judgements[1].AttestedFact != second.AttestedFact {
		t.Errorf("judgements = %+v; want deploy, and release with its newest verdict", sum.Judgements)
	}
	if sum.Attestations != 4 || !sum.First.Equal(now.Add(-time.Hour)) || !sum.Last.Equal(now.Add(time.Hour)) || sum.Subject.Name != "assay" {
		t.Errorf("summary = %+v", sum)
	}
	var got []assay.FactID
	for after := assay.FactID(""); ; after = got[len(got)-1] {
		page, err := artifact.Attestations(t.Context(), w.store, ns, digest("binary"), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, a := range page {
			got = append(got, a.AttestedFact)
		}
	}
	if want := []assay.FactID{first.AttestedFact, second.AttestedFact, late.AttestedFact, other.AttestedFact}; !slices.Equal(got, want) {
		t.Errorf("attestations = %v; want them as recorded, %v", got, want)
	}
	if all, err := artifact.List(t.Context(), w.store, ns, "", 0); err != nil || len(all) != 1 {
		t.Errorf("List = %d, %v; want the one artifact", len(all), err)
	}
	if a, err := artifact.FindBundle(t.Context(), w.store, ns, first.Bundle); err != nil || a.AttestedFact != first.AttestedFact {
		t.Errorf("FindBundle = %+v, %v", a, err)
	}
	if _, err := artifact.FindBundle(t.Context(), w.store, "other", first.Bundle); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("another namespace finds the bundle: %v", err)
	}
}

func TestSummaryRefusesTooManyGates(t *testing.T) {
	w := newWorld(t)
	for i := range artifact.MaxGates + 1 {
		v := verdict(assay.OutcomePass, now)
		v.Gate = fmt.Sprintf("gate-%03d", i)
		e := w.entry(t, v)
		e.Named = true
		_, err := artifact.Record(t.Context(), w.store, w.blobs, e)
		if want := i == artifact.MaxGates; (assay.CodeOf(err) == assay.CodeTooLarge) != want || err != nil && !want {
			t.Fatalf("gate %d: %v; want too_large only for the last", i, err)
		}
	}
	if got := len(w.facts(t)); got != 2*artifact.MaxGates {
		t.Errorf("%d facts; want none of the refused verdict", got)
	}
}

func TestInventedEnvironmentsLeavePlacesForThoseThatThePolicyNames(t *testing.T) {
	w := newWorld(t)
	judge := func(environment string, named bool) error {
		v := verdict(assay.OutcomePass, now)
		v.Environment = environment
		e := w.entry(t, v)
		e.Named = named
		_, err := artifact.Record(t.Context(), w.store, w.blobs, e)
		return err
	}
	for i := range artifact.MaxOpenGates {
		if err := judge(fmt.Sprintf("invented-%03d", i), false); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := judge("one-more", false); assay.CodeOf(err) != assay.CodeTooLarge || !strings.Contains(err.Error()+hintOf(err), "Admission") {
		t.Errorf("one more invented environment: %v; want too_large that says what is left", err)
	}
	if err := judge("invented-000", false); err != nil {
		t.Errorf("a new verdict for one that has its place: %v", err)
	}
	if err := judge("prod", true); err != nil {
		t.Errorf("an environment that the policy names: %v", err)
	}
}

func hintOf(err error) string {
	if e, ok := errors.AsType[*assay.Error](err); ok {
		return e.Hint
	}
	return ""
}

func clipped(r attest.Report) string {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%d %s %v %s\n", s.N, s.Name, s.OK, s.Detail)
	}
	return b.String()
}
