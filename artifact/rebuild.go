package artifact

import (
	"bytes"
	"context"
	"encoding/json"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// Rebuilt says what Rebuild found.
type Rebuilt struct {
	Attestations int `json:"attestations"` // told by the facts
	Artifacts    int `json:"artifacts"`
	References   int `json:"references"`
	Differed     int `json:"differed"` // values that were missing, wrong or too many, and are right now
}

// Rebuild makes the state of a namespace's artifacts again from its facts, in one
// transaction, and says how much of it differed: nothing does unless the state was
// damaged or written by a version that kept less. It reads every fact about
// verdicts, so it takes about a second for 20,000 of them, and writers wait.
func Rebuild(ctx context.Context, s store.Store, namespace string) (Rebuilt, error) {
	var out Rebuilt
	err := s.Update(ctx, func(tx store.Tx) error {
		told, err := retell(tx, namespace)
		if err != nil {
			return err
		}
		out = Rebuilt{Attestations: len(told.attestations), Artifacts: len(told.summaries), References: len(told.references)}
		for _, step := range []func() (int, error){
			func() (int, error) { return replace(tx, key(namespace, bucketArtifact, ""), told.summaries) },
			func() (int, error) { return replace(tx, key(namespace, bucketAttestation, ""), told.attestations) },
			func() (int, error) { return replace(tx, key(namespace, bucketBundle, ""), told.bundles) },
			func() (int, error) { return replace(tx, key(namespace, bucketReference, ""), told.references) },
		} {
			n, err := step()
			if err != nil {
				return err
			}
			out.Differed += n
		}
		return nil
	})
	return out, err
}

// retold is the state as the facts tell it, by the names of its keys.
type retold struct {
	summaries    map[string]Summary
	attestations map[string]Attestation
	bundles      map[string]string
	references   map[string]Meaning
}

// telling is a verdict whose attestation is being put together.
type telling struct {
	subject     assay.Subject
	attestation Attestation
}

func retell(r store.Reader, namespace string) (retold, error) {
	var order []*telling // as they were attested
	verdicts := map[assay.FactID]*telling{}
	kinds := []string{assay.FactVerdict, assay.FactAttested, assay.FactExceptionUsed}
	for after := int64(0); ; {
		rows, err := r.Facts(store.Query{Namespace: namespace, Kinds: kinds, After: after})
		if err != nil {
			return retold{}, err
		}
		if len(rows) == 0 {
			return summarise(order)
		}
		for _, row := range rows {
			after = row.Commit
			t, err := tell(row.Fact, verdicts)
			if err != nil {
				return retold{}, assay.Errorf(assay.CodeConflict, "fact %s (%s) cannot be read, so the state cannot be made again: %w", row.Fact.ID, row.Fact.Kind, err)
			}
			if t != nil {
				order = append(order, t)
			}
		}
	}
}

// tell adds what one fact says, and returns the telling that it attested, if it did.
func tell(f assay.Fact, verdicts map[assay.FactID]*telling) (*telling, error) {
	if f.Kind == assay.FactVerdict {
		var p VerdictPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			return nil, err
		}
		verdicts[f.ID] = &telling{p.Subject, Attestation{
			Gate: p.Gate, Environment: f.Environment, Mode: p.Mode, Outcome: p.Outcome, Time: f.Time, Policy: p.Policy.Digest,
			Document: p.Document, Actor: f.Actor, VerdictFact: f.ID,
		}}
		return nil, nil
	}
	var t *telling
	for _, c := range f.Causes {
		if verdicts[c] != nil {
			t = verdicts[c]
		}
	}
	if t == nil {
		return nil, nil // an exception used by something else than a verdict
	}
	if f.Kind == assay.FactExceptionUsed {
		t.attestation.UseFacts = append(t.attestation.UseFacts, f.ID)
		return nil, nil
	}
	var p AttestedPayload
	if err := json.Unmarshal(f.Payload, &p); err != nil {
		return nil, err
	}
	t.attestation.Bundle, t.attestation.PredicateType, t.attestation.KeyID, t.attestation.AttestedFact = p.BundleDigest, p.PredicateType, p.KeyID, f.ID
	return t, nil
}

func summarise(order []*telling) (retold, error) {
	out := retold{map[string]Summary{}, map[string]Attestation{}, map[string]string{}, map[string]Meaning{}}
	for _, t := range order {
		digest, a := string(t.subject.Digest), t.attestation
		sum, err := out.summaries[digest].with(t.subject, a, true) // it found its place when it was recorded
		if err != nil {
			return out, err
		}
		out.summaries[digest] = sum
		name := digest + "/" + string(a.AttestedFact)
		out.attestations[name], out.bundles[string(a.Bundle)] = a, name
		ref, m := referenceOf(t.subject), Meaning{Digest: t.subject.Digest, Time: a.Time, Fact: a.VerdictFact}
		if old, known := out.references[ref]; ref != "" && store.CheckKey(key("-", bucketReference, ref)) == nil && (!known || m.later(old)) {
			out.references[ref] = m
		}
	}
	return out, nil
}

// replace makes the values below k those of want, and returns how many were not.
func replace[T any](tx store.Tx, k store.Key, want map[string]T) (differed int, err error) {
	have := map[string][]byte{}
	for after := ""; ; {
		values, err := tx.List(k, after, 0)
		if err != nil {
			return 0, err
		}
		if len(values) == 0 {
			break
		}
		for _, v := range values {
			have[v.Key.Name], after = v.Data, v.Key.Name
		}
	}
	for name, v := range want {
		data, err := json.Marshal(v)
		if err != nil {
			return 0, err
		}
		old, known := have[name]
		delete(have, name)
		if known && bytes.Equal(old, data) {
			continue
		}
		differed++
		if _, err := tx.Put(store.Key{Namespace: k.Namespace, Bucket: k.Bucket, Name: name}, data, store.AnyVersion); err != nil {
			return 0, err
		}
	}
	for name := range have {
		differed++
		if err := tx.Delete(store.Key{Namespace: k.Namespace, Bucket: k.Bucket, Name: name}, store.AnyVersion); err != nil {
			return 0, err
		}
	}
	return differed, nil
}
