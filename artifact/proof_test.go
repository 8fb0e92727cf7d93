package artifact_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/ledger"
)

// publish runs the ledger's sequencer until the fact is covered by a signed head.
func (w *world) publish(t *testing.T, id assay.FactID) {
	t.Helper()
	seq, err := ledger.NewSequencer(ledger.SequencerConfig{Outbox: w.store, Open: w.log.Opener(), Salt: salt, Head: w.log.ReadCheckpoint})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- seq.Run(ctx) }()
	seq.Poke()
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err := w.ledger.WaitPublished(wait, ns, id); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func (w *world) prove(t *testing.T, r artifact.Recorded) attest.Proof {
	t.Helper()
	p, err := artifact.Prove(t.Context(), w.store, w.blobs, w.ledger, ns, r.Attestation)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func marshal(t *testing.T, p attest.Proof) []byte {
	t.Helper()
	data, err := attest.MarshalProof(p)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (w *world) trust() attest.TrustPolicy {
	return attest.TrustPolicy{Keys: []attest.TrustedKey{{Key: w.signer.Key(), VerifierIDs: []string{assay.DefaultVerifierID}}}}
}

func expect() attest.Expect {
	return attest.Expect{Subject: string(digest("binary")), ResourceURI: "pkg:generic/assay", Levels: []string{"ASSAY_RELEASE"}}
}

// stopsAt demands that the report's first failed step has this name and these words.
func stopsAt(t *testing.T, r attest.Report, name, words string) {
	t.Helper()
	for _, s := range r.Steps {
		if !s.OK {
			if s.Name != name || !strings.Contains(s.Detail, words) {
				t.Errorf("stopped at %q: %s; want %q with %q", s.Name, s.Detail, name, words)
			}
			return
		}
	}
	t.Errorf("every step holds; want %q to fail:\n%s", name, clipped(r))
}

func TestProofOfAnAttestationVerifiesOfflineWithTwoPublicKeys(t *testing.T) {
	w := newWorld(t)
	w.record(t, w.entry(t, verdict(assay.OutcomeFail, now.Add(-time.Hour))))
	r := w.record(t, w.entry(t, w.excused(t)))
	if _, err := artifact.Prove(t.Context(), w.store, w.blobs, w.ledger, ns, r.Attestation); assay.CodeOf(err) != assay.CodeUnavailable && assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("Prove before publication = %v; want unavailable", err)
	}
	w.publish(t, r.AttestedFact)
	proof := marshal(t, w.prove(t, r))
	report := artifact.VerifyProof(proof, w.trust(), expect(), w.vkey, now)
	if err := report.Err(); err != nil {
		t.Fatalf("%v\n%s", err, clipped(report))
	}
	if last := report.Steps[len(report.Steps)-1]; len(report.Steps) != 12 || last.Name != "ledger inclusion" || !strings.Contains(last.Detail, origin) {
		t.Errorf("report:\n%s", clipped(report))
	}
}

func TestProofOfARefusalCanBeAudited(t *testing.T) {
	w := newWorld(t)
	r := w.record(t, w.entry(t, verdict(assay.OutcomeAbsent, now)))
	w.publish(t, r.AttestedFact)
	proof := marshal(t, w.prove(t, r))
	want := expect()
	want.Levels = nil
	stopsAt(t, artifact.VerifyProof(proof, w.trust(), want, w.vkey, now), "result", "evidence is absent")
	want.Result = attest.ResultFailed
	if err := artifact.VerifyProof(proof, w.trust(), want, w.vkey, now).Err(); err != nil {
		t.Error(err)
	}
}

func TestProofOfAnyAuditFactVerifiesAgainstTheLedger(t *testing.T) {
	w := newWorld(t)
	r := w.record(t, w.entry(t, w.excused(t)))
	w.publish(t, r.UseFacts[0])
	for _, id := range []assay.FactID{r.VerdictFact, r.AttestedFact, r.UseFacts[0]} {
		data, err := artifact.ProveFact(t.Context(), w.store, w.ledger, ns, id)
		if err != nil {
			t.Fatal(err)
		}
		f, err := artifact.VerifyFactProof(data, w.vkey)
		if err != nil || f.ID != id || f.Origin != origin || f.Actor != "ci" {
			t.Errorf("VerifyFactProof = %+v, %v; want fact %s", f, err, id)
		}
		if id != r.VerdictFact {
			continue
		}
		bad := bytes.Clone(data)
		for i := range data {
			bad[i] ^= 1 << (i % 8)
			if got, err := artifact.VerifyFactProof(bad, w.vkey); err == nil && got.ID != id {
				t.Fatalf("byte %d flipped verifies as another fact", i)
			} else if err != nil && assay.CodeOf(err) != assay.CodeUnverified {
				t.Fatalf("byte %d flipped: %v; want unverified", i, err)
			}
			bad[i] = data[i]
		}
	}
	if _, err := artifact.ProveFact(t.Context(), w.store, w.ledger, "other", r.VerdictFact); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("another namespace proves the fact: %v", err)
	}
	data := marshal(t, w.prove(t, r))
	if f, err := artifact.VerifyFactProof(data, w.vkey); err != nil || f.ID != r.AttestedFact {
		t.Errorf("the ledger part of an attestation's proof = %+v, %v", f, err)
	}
}

func TestProofWhosePartsDoNotBelongTogetherIsRefused(t *testing.T) {
	w := newWorld(t)
	pass := w.record(t, w.entry(t, verdict(assay.OutcomePass, now)))
	other := w.record(t, w.entry(t, verdict(assay.OutcomePass, now.Add(time.Minute))))
	w.publish(t, other.AttestedFact)
	good, foreign := w.prove(t, pass), w.prove(t, other)
	_, strange, err := ledger.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	_, elsewhere, err := ledger.GenerateKey(rand.Reader, "example.com/other")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(p *attest.Proof, vkey *string)
		step   string
		words  string
	}{
		{"bundle of another verdict", func(p *attest.Proof, _ *string) { p.Bundle = foreign.Bundle }, "fact", "the fact names bundle"},
		{"fact of another attestation", func(p *attest.Proof, _ *string) { p.Fact = foreign.Fact }, "fact", "the fact names bundle"},
		{"fact with one byte changed", func(p *attest.Proof, _ *string) {
			p.Fact = bytes.Replace(p.Fact, []byte(`"shop"`), []byte(`"shoq"`), 1)
		}, "ledger leaf", "commits to fact digest"},
		{"fact of another kind", func(p *attest.Proof, _ *string) {
			p.Fact = bytes.Replace(p.Fact, []byte(`attest.signed`), []byte(`gate.verdict`), 1)
		}, "fact", "expected attest.signed"},
		{"fact with a duplicate key", func(p *attest.Proof, _ *string) {
			p.Fact = bytes.Replace(p.Fact, []byte(`{`), []byte(`{"kind":"x",`), 1)
		}, "fact", "duplicate key"},
		{"leaf of another fact", func(p *attest.Proof, _ *string) { p.Leaf = foreign.Leaf }, "ledger leaf", "commits to fact digest"},
		{"leaf that was written by hand", func(p *attest.Proof, _ *string) {
			p.Leaf = bytes.Replace(p.Leaf, []byte(`"seq":1`), []byte(`"seq":7`), 1)
		}, "ledger inclusion", "another root"},
		{"proof of another leaf", func(p *attest.Proof, _ *string) { p.TlogProof = foreign.TlogProof }, "ledger inclusion", ""},
		{"ledger with another key", func(_ *attest.Proof, vkey *string) { *vkey = strange }, "ledger inclusion", "another key"},
		{"another ledger", func(_ *attest.Proof, vkey *string) { *vkey = elsewhere }, "ledger inclusion", `expected "example.com/other"`},
		{"no ledger key", func(_ *attest.Proof, vkey *string) { *vkey = "" }, "ledger inclusion", "no ledger key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, vkey := good, w.vkey
			c.change(&p, &vkey)
			stopsAt(t, artifact.VerifyProof(marshal(t, p), w.trust(), expect(), vkey, now.Add(time.Hour)), c.step, c.words)
		})
	}
	t.Run("another signing key", func(t *testing.T) {
		s, err := keyfile.Generate(keyfile.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		policy := w.trust()
		policy.Keys[0].Key = s.Key()
		stopsAt(t, artifact.VerifyProof(marshal(t, good), policy, expect(), w.vkey, now.Add(time.Hour)), "signature", "no signature is by")
	})
}

func TestFileThatIsNoProofIsRefused(t *testing.T) {
	w := newWorld(t)
	e := w.entry(t, verdict(assay.OutcomePass, now))
	for _, data := range [][]byte{nil, e.Bundle, []byte("{"), bytes.Repeat([]byte(" "), attest.MaxProof+1)} {
		stopsAt(t, artifact.VerifyProof(data, w.trust(), expect(), w.vkey, now), "proof file", "cannot be read")
	}
}

func TestEveryByteFlipOfAProofFailsOrChangesNothing(t *testing.T) {
	w := newWorld(t)
	r := w.record(t, w.entry(t, verdict(assay.OutcomePass, now)))
	w.publish(t, r.AttestedFact)
	good := w.prove(t, r)
	data := marshal(t, good)
	refused := 0
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		if !artifact.VerifyProof(bad, w.trust(), expect(), w.vkey, now).OK() {
			refused++
			continue
		}
		// What still verifies says the same: only a newline or the like differs.
		p, err := attest.ParseProof(bad)
		if err != nil || !bytes.Equal(p.Bundle, good.Bundle) || !bytes.Equal(p.Fact, good.Fact) || !bytes.Equal(p.Leaf, good.Leaf) {
			t.Fatalf("byte %d flipped verifies with another content", i)
		}
	}
	if refused < len(data)-16 {
		t.Errorf("only %d of %d flips were refused", refused, len(data))
	}
	if !strings.Contains(string(data), base64.StdEncoding.EncodeToString(good.Leaf)) {
		t.Error("the leaf is not in the file as base64")
	}
}
