package admit

import (
	"context"
	"encoding/json"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/exception"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
)

// Payload is what an admission fact says. Of admissions that are counted together
// the decision is the first one.
type Payload struct {
	Decision Decision  `json:"decision"`
	Count    uint64    `json:"count"` // decisions that differ only in their time, name and user
	Last     time.Time `json:"last"`  // time of the last one
}

// record makes a decision a fact. A denial, and what an exception let in, is
// recorded before this returns; a plain admission is counted. A bypass that cannot
// be recorded does not count, so the answer may become a denial.
func (d *Door) record(ctx context.Context, out Decision, in Inputs, actor string) Decision {
	if out.Allowed && len(out.Exceptions) == 0 {
		id, ok := d.tally.note(out, actor)
		if !ok {
			d.metrics.unrecorded.Inc()
			d.cfg.Log.Error("an admission is not recorded: too many different ones wait for the store", "decision", out.ID)
		}
		out.ID = id
		return out
	}
	err := d.write(ctx, out, actor)
	if err == nil {
		d.cfg.Poke()
		return out
	}
	d.metrics.unrecorded.Inc()
	d.cfg.Log.Error("an admission decision cannot be recorded", "decision", out.ID, "allowed", out.Allowed, "error", err)
	if !out.Allowed || in.Door.Spec.FailurePolicy == policy.FailOpen {
		return out
	}
	in.Exceptions = nil
	return Decide(in)
}

// write appends the facts of one decision, in one transaction: the exceptions it
// used name it as their cause.
func (d *Door) write(ctx context.Context, out Decision, actor string) error {
	f, err := factOf(out, 1, out.Time, actor)
	if err != nil {
		return err
	}
	return d.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Append(f); err != nil {
			return err
		}
		for _, x := range out.Exceptions {
			v := assay.Verdict{Gate: out.Door, Environment: out.Environment, Time: out.Time, Outcome: out.Outcome, Policy: out.Policy, Subject: subjectOf(out)}
			if _, err := exception.RecordUse(tx, out.Namespace, v, x, f.ID, actor); err != nil {
				return err
			}
		}
		return nil
	})
}

// subjectOf is the one artifact that a decision is about, zero if there are several.
func subjectOf(out Decision) assay.Subject {
	if len(out.Images) != 1 {
		return assay.Subject{}
	}
	return assay.Subject{Name: out.Images[0].Reference, Digest: out.Images[0].Digest}
}

// factOf makes the fact of a decision. Warnings are for the caller alone.
func factOf(out Decision, count uint64, last time.Time, actor string) (assay.Fact, error) {
	kind, keep := assay.FactAdmissionDenied, assay.RetainAudit
	if out.Allowed {
		kind = assay.FactAdmissionAllowed
		if len(out.Exceptions) == 0 {
			keep = assay.RetainOperational
		}
	}
	out.Warnings = nil
	payload, err := json.Marshal(Payload{Decision: out, Count: count, Last: last.UTC()})
	if err == nil && len(payload) > store.MaxPayload {
		out.Images, out.Violations = out.Images[:min(len(out.Images), 10)], out.Violations[:min(len(out.Violations), 10)]
		payload, err = json.Marshal(Payload{Decision: out, Count: count, Last: last.UTC()})
	}
	if err != nil {
		return assay.Fact{}, assay.Errorf(assay.CodeInternal, "admission decision cannot be encoded: %w", err)
	}
	return assay.Fact{
		ID: out.ID, Kind: kind, Version: 1, Time: out.Time, Namespace: out.Namespace, Environment: out.Environment,
		Subject: subjectOf(out).Digest, PolicyRevision: out.Policy.Digest, Actor: actor, Retention: keep, Payload: payload,
	}, nil
}
