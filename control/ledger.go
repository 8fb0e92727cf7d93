package control

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
)

// publishTime is how long Proof waits for the next signed checkpoint.
const publishTime = 20 * time.Second

// witnessTime is how long Proof waits for witnesses after that.
const witnessTime = 3 * time.Second

// Bundle returns the bytes of an attestation.
func (s *Session) Bundle(ctx context.Context, d assay.Digest) ([]byte, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	// Blobs know no tenants: only a bundle that the caller's namespace recorded is shown.
	if _, err := artifact.FindBundle(ctx, s.p.cfg.Store, s.caller.Namespace, d); err != nil {
		return nil, err
	}
	return artifact.ReadBundle(ctx, s.p.cfg.Blobs, d)
}

// Publication says how far an audit fact has come on its way into the ledger.
func (s *Session) Publication(ctx context.Context, id assay.FactID) (api.Publication, error) {
	if err := s.readLedger(); err != nil {
		return api.Publication{}, err
	}
	st, err := s.p.cfg.Ledger.State(ctx, s.caller.Namespace, id)
	if err != nil {
		return api.Publication{}, hinted(err, listFacts)
	}
	p := api.Publication{Fact: id, Recorded: true, Published: st.State == ledger.StatePublished}
	if p.Published {
		p.Index = st.Index
	}
	head, err := s.p.cfg.Ledger.Head(ctx)
	if err == nil {
		p.TreeSize = head.Size
	} else if assay.CodeOf(err) != assay.CodeNotFound {
		return p, err
	}
	return p, nil
}

// Proof waits until the fact is published and returns its portable proof. The
// proof of an attest.signed fact holds the attestation itself, that of an
// exception's signed approval the statement.
func (s *Session) Proof(ctx context.Context, id assay.FactID) ([]byte, error) {
	if err := s.readLedger(); err != nil {
		return nil, err
	}
	entry, err := s.p.cfg.Outbox.Entry(ctx, s.caller.Namespace, id)
	if err != nil {
		return nil, hinted(err, listFacts)
	}
	if err := s.waitPublished(ctx, id); err != nil {
		return nil, err
	}
	s.waitWitnessed(ctx, id)
	if entry.Fact.Kind == assay.FactExceptionApproved {
		var said assay.Exception
		if err := json.Unmarshal(entry.Fact.Payload, &said); err == nil && said.Statement != "" {
			return artifact.ProveException(ctx, s.p.cfg.Outbox, s.p.cfg.Blobs, s.p.cfg.Ledger, s.caller.Namespace, id)
		}
	}
	if entry.Fact.Kind != assay.FactAttested {
		return artifact.ProveFact(ctx, s.p.cfg.Outbox, s.p.cfg.Ledger, s.caller.Namespace, id)
	}
	var said artifact.AttestedPayload
	if err := json.Unmarshal(entry.Fact.Payload, &said); err != nil {
		return nil, err
	}
	att, err := artifact.FindBundle(ctx, s.p.cfg.Store, s.caller.Namespace, said.BundleDigest)
	if err != nil {
		return nil, err
	}
	p, err := artifact.Prove(ctx, s.p.cfg.Outbox, s.p.cfg.Blobs, s.p.cfg.Ledger, s.caller.Namespace, att)
	if err != nil {
		return nil, err
	}
	return attest.MarshalProof(p)
}

// waitPublished waits for the next signed checkpoint, at most publishTime, and
// not at all once the sequencer has stopped for good.
func (s *Session) waitPublished(ctx context.Context, id assay.FactID) error {
	return s.waitPublishedIn(ctx, s.caller.Namespace, id)
}

func (s *Session) waitPublishedIn(ctx context.Context, namespace string, id assay.FactID) error {
	wait, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-s.p.cfg.Halted: // nil blocks for ever
			cancel()
		case <-ended:
		}
	}()
	_, err := s.p.cfg.Ledger.WaitPublished(wait, namespace, id)
	if err == nil {
		return nil
	}
	select {
	case <-s.p.cfg.Halted:
		return &assay.Error{
			Code: assay.CodeUnavailable, Msg: "the ledger stopped and signs nothing: store and ledger contradict each other",
			Hint: "bring back the newer of the two, or open a new epoch with: assay ledger restore", Err: err,
		}
	default:
		return err
	}
}

// Head returns the newest signed checkpoint and how many facts wait behind it.
func (s *Session) Head(ctx context.Context) (api.Head, error) {
	if err := s.readLedger(); err != nil {
		return api.Head{}, err
	}
	c, err := s.p.cfg.Ledger.Head(ctx)
	if err != nil {
		return api.Head{}, err
	}
	head := api.Head{
		Origin: c.Origin, Size: c.Size, RootHash: base64.StdEncoding.EncodeToString(c.Root[:]),
		Checkpoint: string(c.Raw), Verifier: s.p.cfg.LedgerKey,
	}
	w, err := s.p.cfg.Ledger.Witnessed(ctx, s.p.cfg.Now())
	if assay.CodeOf(err) == assay.CodeNotFound {
		return head, nil
	}
	if err != nil {
		return head, err
	}
	head.Witnessed = &api.Witnessed{
		Size: w.Checkpoint.Size, Checkpoint: string(w.Checkpoint.Raw),
		Quorum: w.Quorum.Met && s.p.cfg.Ledger.HasWitnesses(), Witnesses: []string{},
	}
	for _, c := range w.Quorum.Cosignatures {
		head.Witnessed.Witnesses = append(head.Witnessed.Witnesses, c.Witness)
	}
	return head, nil
}

// waitWitnessed gives witnesses a moment to cosign a head over a fact. What they
// have not said by then the proof does without, and shows it.
func (s *Session) waitWitnessed(ctx context.Context, id assay.FactID) {
	if !s.p.cfg.Publishes || !s.p.cfg.Ledger.HasWitnesses() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, witnessTime)
	defer cancel()
	_ = s.p.cfg.Ledger.WaitWitnessed(ctx, s.caller.Namespace, id, s.p.cfg.Now)
}

// checkKinds refuses a kind of fact that nothing writes: a misspelt one would look as if
// nothing had happened.
func checkKinds(kinds []string) error {
	if len(kinds) > store.MaxKinds {
		return nil // which the store refuses
	}
	known := store.BuiltinUpcasters()
	for _, k := range kinds {
		if _, ok := known.Newest(k); ok {
			continue
		}
		e := &assay.Error{Code: assay.CodeInvalid, Field: "kind", Msg: fmt.Sprintf("%q is no kind of fact", k), Hint: "kinds are listed in docs/facts.md"}
		if near := strict.Suggest(k, known.Kinds()); near != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		return e
	}
	return nil
}

// Facts lists the newest facts of the caller's namespace.
func (s *Session) Facts(ctx context.Context, kinds []string, subject assay.Digest, limit int) ([]assay.Fact, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	if _, err := assay.ParseDigest(string(subject)); subject != "" && err != nil {
		return nil, fieldError("subject", err)
	}
	if err := checkKinds(kinds); err != nil {
		return nil, err
	}
	list := []assay.Fact{}
	err := s.p.cfg.Store.View(ctx, func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: s.caller.Namespace, Kinds: kinds, Subject: subject, Newest: true, Limit: limit})
		for _, row := range rows {
			list = append(list, row.Fact)
		}
		return err
	})
	return list, err
}

// Artifact returns what is known of one artifact.
func (s *Session) Artifact(ctx context.Context, d assay.Digest) (api.Artifact, error) {
	if err := s.read(); err != nil {
		return api.Artifact{}, err
	}
	sum, err := artifact.Get(ctx, s.p.cfg.Store, s.caller.Namespace, d)
	if err != nil {
		return api.Artifact{}, err
	}
	out := apiArtifact(sum)
	out.Running, err = s.p.running(ctx, s.caller.Namespace, "", d)
	return out, err
}

// Artifacts lists up to limit artifacts in the order of their digests, those after the digest after.
func (s *Session) Artifacts(ctx context.Context, after assay.Digest, limit int) ([]api.Artifact, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	if _, err := assay.ParseDigest(string(after)); after != "" && err != nil {
		return nil, fieldError("after", err)
	}
	page, err := artifact.List(ctx, s.p.cfg.Store, s.caller.Namespace, after, limit)
	list := make([]api.Artifact, 0, len(page))
	for _, sum := range page {
		list = append(list, apiArtifact(sum))
	}
	return list, err
}

func apiArtifact(sum artifact.Summary) api.Artifact {
	a := api.Artifact{Subject: sum.Subject, Total: sum.Attestations, Judgements: []api.Judgement{}}
	for _, j := range sum.Judgements {
		a.Judgements = append(a.Judgements, api.Judgement{
			Gate: j.Gate, Environment: j.Environment, Mode: j.Mode, Outcome: j.Outcome,
			Time: j.Time, BundleDigest: j.Bundle, Fact: j.AttestedFact,
		})
	}
	return a
}

func (s *Session) readLedger() error {
	if err := s.read(); err != nil {
		return err
	}
	if s.p.cfg.Ledger == nil {
		return assay.Errorf(assay.CodeUnavailable, "there is no ledger yet: it needs keys (assay key create) and begins with the first assay attest or assay serve")
	}
	return nil
}
