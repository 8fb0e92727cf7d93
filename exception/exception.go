// Package exception is the life of a time-boxed permission: one person asks,
// another one grants, everybody sees the end.
//
// An exception goes requested → approved → (used …) → expired, and may be revoked at
// any point; it never comes back, and it ends by itself. How many people must agree
// is the namespace's policy. In an emergency a bypass is in force at once, for hours:
// nobody grants it, and everybody sees it. Each step writes the new
// state and an audit fact in one transaction, and each fact names the one before
// as its cause, so the ledger tells who let what pass, who agreed and what it
// was used for. The state in the store is only an index over those facts.
//
// After assay.CodeUnavailable the step may or may not have happened; Get tells,
// and repeating it does no harm: at worst it is assay.CodeConflict.
//
// Callers give the time and an authenticated identity; this package decides
// what that identity may do with this exception, not whether it is genuine.
package exception

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// bucket holds the records, named by the exception's id.
const bucket = "exception"

// Record is an exception with the facts that made it what it is.
type Record struct {
	assay.Exception
	RequestedFact assay.FactID `json:"requested_fact"`
	ApprovedFact  assay.FactID `json:"approved_fact,omitempty"`
	RevokedFact   assay.FactID `json:"revoked_fact,omitempty"`
	EndorsedFact  assay.FactID `json:"endorsed_fact,omitempty"` // the newest approval that was not enough
	ExpiringFact  assay.FactID `json:"expiring_fact,omitempty"` // the reminder
	ExpiredFact   assay.FactID `json:"expired_fact,omitempty"`
	Uses          int          `json:"uses,omitempty"` // verdicts that it let pass
	LastUsed      time.Time    `json:"last_used,omitzero"`
}

// Last is the newest fact of the exception's life.
func (r Record) Last() assay.FactID {
	switch {
	case r.RevokedFact != "":
		return r.RevokedFact
	case r.ApprovedFact != "":
		return r.ApprovedFact
	case r.EndorsedFact != "":
		return r.EndorsedFact
	}
	return r.RequestedFact
}

// Request asks for an exception. The requester is e.g. the subject of a token;
// the exception excuses nothing until someone else approves it. A repeated
// request with the same Ask.ID is assay.CodeConflict.
func Request(ctx context.Context, s store.Store, ask Ask, requester string, now time.Time) (Record, error) {
	now = now.UTC()
	e, err := ask.exception(requester, now)
	if err != nil {
		return Record{}, err
	}
	rec := Record{Exception: e}
	err = s.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Get(key(e.Namespace, e.ID)); err == nil {
			return assay.Errorf(assay.CodeConflict, "exception %s exists already", e.ID)
		} else if assay.CodeOf(err) != assay.CodeNotFound {
			return err
		}
		id, err := appendFact(tx, assay.FactExceptionRequested, e, e.Requester, now, "")
		if err != nil {
			return err
		}
		rec.RequestedFact = id
		return put(tx, rec, 0)
	})
	return orNothing(rec, err)
}

// Approve agrees to a requested exception, which is granted once as many people
// agreed as it needs. The approver must be another identity than the requester
// (assay.CodeDenied), and than everybody who approved it before (assay.CodeConflict).
// One that was approved or revoked before, or has ended, is assay.CodeConflict. It
// excuses nothing that was judged before now.
func Approve(ctx context.Context, s store.Store, namespace, id, approver string, now time.Time) (Record, error) {
	return ApproveSigned(ctx, s, namespace, id, approver, now, nil)
}

// Sign signs a statement of the approved exception, keeps it, and returns the
// digest of its bundle. It may be called for an approval that then fails: a
// statement that no fact names is of no effect.
type Sign func(ctx context.Context, approved assay.Exception) (assay.Digest, error)

// ApproveSigned is Approve with a signed statement, which the approval's fact
// names. Without sign it is Approve. An exception that changed while its approval
// was signed is assay.CodeConflict.
func ApproveSigned(ctx context.Context, s store.Store, namespace, id, approver string, now time.Time, sign Sign) (Record, error) {
	var signed assay.Exception
	if sign != nil {
		if err := checkIdentity("identity", approver); err != nil {
			return Record{}, err
		}
		rec, err := Get(ctx, s, namespace, id)
		if err == nil {
			signed, err = approved(rec.Exception, approver, now)
		}
		// No transaction waits for a signature: everybody would wait for it.
		if err == nil {
			signed.Statement, err = sign(ctx, signed)
		}
		if err != nil {
			return Record{}, err
		}
	}
	return change(ctx, s, namespace, id, approver, func(tx store.Tx, r *Record) error {
		e, err := approved(r.Exception, approver, now)
		if err != nil {
			return err
		}
		if sign != nil && e.Digest() != signed.Digest() {
			return assay.Errorf(assay.CodeConflict, "exception %s changed while its approval was signed; look at it again", id)
		}
		cause := r.Last()
		r.Exception, r.Statement = e, signed.Statement
		if r.State == assay.ExceptionApproved {
			r.ApprovedFact, err = appendFact(tx, assay.FactExceptionApproved, r.Exception, r.Approver, r.Approved, cause)
			return err
		}
		// The statement is of this approval; the one of the whole comes with the last.
		last := &r.Approvals[len(r.Approvals)-1]
		last.Statement, r.Statement = r.Statement, ""
		r.EndorsedFact, err = appendFact(tx, assay.FactExceptionEndorsed, r.Exception, last.Approver, last.Time, cause)
		return err
	})
}

// approved returns a requested exception as it is once approver agreed too.
func approved(e assay.Exception, approver string, now time.Time) (assay.Exception, error) {
	now = now.UTC()
	switch {
	case e.State != assay.ExceptionRequested:
		return e, assay.Errorf(assay.CodeConflict, "exception %s is %s; only a requested one can be approved", e.ID, e.State)
	case !now.Before(e.NotAfter):
		return e, assay.Errorf(assay.CodeConflict, "exception %s ended at %s; request a new one", e.ID, e.NotAfter.Format(time.RFC3339))
	case SameIdentity(approver, e.Requester):
		err := assay.Errorf(assay.CodeDenied, "%s requested exception %s and cannot approve it", e.Requester, e.ID)
		err.Hint = "ask a second person"
		return e, err
	case slices.ContainsFunc(e.Approvals, func(a assay.Approval) bool { return SameIdentity(a.Approver, approver) }):
		err := assay.Errorf(assay.CodeConflict, "%s approved exception %s already; it has %d of %d approvals", approver, e.ID, len(e.Approvals), e.Needs)
		err.Hint = "ask somebody else"
		return e, err
	}
	approver = strings.TrimSpace(approver)
	if e.Needs > 1 {
		e.Approvals = append(slices.Clone(e.Approvals), assay.Approval{Approver: approver, Time: now})
		if len(e.Approvals) < e.Needs {
			return e, nil
		}
	}
	e.State, e.Approver, e.Approved = assay.ExceptionApproved, approver, now
	if e.NotBefore.Before(now) {
		e.NotBefore = now
	}
	return e, nil
}

// Revoke ends an exception for ever, whether it was approved or only requested.
// Anybody whom the caller lets may do it, the requester included. Revoking
// twice is assay.CodeConflict. The reason is mandatory, under the rules of Ask.Reason.
func Revoke(ctx context.Context, s store.Store, namespace, id, revoker, reason string, now time.Time) (Record, error) {
	now = now.UTC()
	if err := checkReason(reason, "why it ends"); err != nil {
		return Record{}, err
	}
	return change(ctx, s, namespace, id, revoker, func(tx store.Tx, r *Record) error {
		if r.State == assay.ExceptionRevoked {
			return assay.Errorf(assay.CodeConflict, "exception %s is revoked already", id)
		}
		cause := r.Last()
		r.State, r.Revoker, r.Revoked, r.RevokeReason = assay.ExceptionRevoked, strings.TrimSpace(revoker), now, reason
		var err error
		if r.RevokedFact, err = appendFact(tx, assay.FactExceptionRevoked, r.Exception, r.Revoker, now, cause); err != nil {
			return err
		}
		return withdraw(tx, r.Exception, now)
	})
}

// change loads a record, applies step and stores it, in one transaction.
func change(ctx context.Context, s store.Store, namespace, id, who string, step func(store.Tx, *Record) error) (Record, error) {
	if err := checkIdentity("identity", who); err != nil {
		return Record{}, err
	}
	var rec Record
	err := s.Update(ctx, func(tx store.Tx) error {
		var version int64
		var err error
		if rec, version, err = get(tx, namespace, id); err != nil {
			return err
		}
		if err := step(tx, &rec); err != nil {
			return err
		}
		return put(tx, rec, version)
	})
	return orNothing(rec, err)
}

// Get returns one exception, or assay.CodeNotFound.
func Get(ctx context.Context, s store.Store, namespace, id string) (Record, error) {
	var rec Record
	err := s.View(ctx, func(r store.Reader) error {
		var err error
		rec, _, err = get(r, namespace, id)
		return err
	})
	return orNothing(rec, err)
}

// List returns up to limit exceptions of a namespace whose ids come after the
// id after, oldest first. A limit of 0 means store.DefaultLimit.
func List(ctx context.Context, s store.Store, namespace, after string, limit int) ([]Record, error) {
	var all []Record
	err := s.View(ctx, func(r store.Reader) error {
		var err error
		all, err = list(r, namespace, after, limit)
		return err
	})
	return all, err
}

// nearEnd is how long after its end an exception is still told about.
const nearEnd = 24 * time.Hour

// Active returns the exceptions that excuse something at now, from one snapshot, oldest first.
func Active(ctx context.Context, s store.Store, namespace string, now time.Time) ([]assay.Exception, error) {
	return choose(ctx, s, namespace, func(e assay.Exception) bool { return e.ActiveAt(now) })
}

// Considered returns the exceptions that a verdict at now is about: those in force,
// and those that somebody may believe to be: not yet approved or begun, ended within
// the last day, or revoked before their end.
func Considered(ctx context.Context, s store.Store, namespace string, now time.Time) ([]assay.Exception, error) {
	return choose(ctx, s, namespace, func(e assay.Exception) bool { return now.Before(e.NotAfter.Add(nearEnd)) })
}

func choose(ctx context.Context, s store.Store, namespace string, wanted func(assay.Exception) bool) ([]assay.Exception, error) {
	var active []assay.Exception
	err := s.View(ctx, func(r store.Reader) error {
		for after := ""; ; {
			page, err := list(r, namespace, after, store.DefaultLimit)
			if err != nil {
				return err
			}
			for _, rec := range page {
				if wanted(rec.Exception) {
					active = append(active, rec.Exception)
				}
			}
			if len(page) < store.DefaultLimit {
				return nil
			}
			after = page[len(page)-1].ID
		}
	})
	return active, err
}

// Use is what a verdict did with an exception; it is the payload of an exception.used fact.
type Use struct {
	assay.ExceptionUse
	Gate    string        `json:"gate"`
	Outcome assay.Outcome `json:"outcome"`
}

// RecordUse appends the exception.used fact inside the caller's transaction.
// Its causes are the approval and the verdict. It refuses a use that the store
// cannot explain: of an exception it does not know (assay.CodeNotFound), in
// another form than the approved one, or outside of the time it was in force at
// the verdict's time (assay.CodeConflict).
func RecordUse(tx store.Tx, namespace string, v assay.Verdict, use assay.ExceptionUse, verdict assay.FactID, actor string) (assay.FactID, error) {
	rec, version, err := get(tx, namespace, use.ID)
	if err != nil {
		return "", err
	}
	if rec.ApprovedFact == "" {
		return "", assay.Errorf(assay.CodeConflict, "exception %s was never approved", use.ID)
	}
	row, err := tx.Fact(namespace, rec.ApprovedFact)
	if err != nil {
		return "", err
	}
	approved, err := grantOf(row.Fact)
	if err != nil {
		return "", assay.Errorf(assay.CodeInternal, "approval of exception %s cannot be read: %w", use.ID, err)
	}
	switch {
	case approved.Digest() != use.Digest:
		return "", assay.Errorf(assay.CodeConflict, "exception %s was used in another form than the approved one (%s, approved %s)", use.ID, use.Digest, approved.Digest())
	case !approved.ActiveAt(v.Time) || !rec.Revoked.IsZero() && !v.Time.Before(rec.Revoked):
		return "", assay.Errorf(assay.CodeConflict, "exception %s was not in force at %s", use.ID, v.Time.UTC().Format(time.RFC3339))
	}
	if v.Time.After(rec.LastUsed) {
		rec.LastUsed = v.Time.UTC()
	}
	rec.Uses++
	if err := put(tx, rec, version); err != nil {
		return "", err
	}
	payload, err := json.Marshal(Use{ExceptionUse: use, Gate: v.Gate, Outcome: v.Outcome})
	if err != nil {
		return "", assay.Errorf(assay.CodeInternal, "use of exception %s cannot be encoded: %w", use.ID, err)
	}
	causes := []assay.FactID{rec.ApprovedFact}
	if verdict != "" {
		causes = append(causes, verdict)
	}
	return tx.Append(assay.Fact{
		Kind: assay.FactExceptionUsed, Version: 1, Time: v.Time, Namespace: namespace, Environment: v.Environment,
		Subject: v.Subject.Digest, PolicyRevision: v.Policy.Digest, Actor: actor, Causes: causes,
		Retention: assay.RetainAudit, Payload: payload,
	})
}

// ApprovedVersion is the version of an exception.approved fact's payload: since 2
// the exception in it names its signed statement. Other kinds are of version 1.
const ApprovedVersion = 2

func appendFact(tx store.Tx, kind string, e assay.Exception, actor string, now time.Time, cause assay.FactID) (assay.FactID, error) {
	version := 1
	if kind == assay.FactExceptionApproved {
		version = ApprovedVersion
	} else {
		e.Statement = "" // is of the approval's fact alone
	}
	payload, err := json.Marshal(e)
	if err != nil {
		return "", assay.Errorf(assay.CodeInternal, "exception cannot be encoded: %w", err)
	}
	return appendPayload(tx, kind, version, e, actor, now, cause, payload)
}

func appendPayload(tx store.Tx, kind string, version int, e assay.Exception, actor string, now time.Time, cause assay.FactID, payload []byte) (assay.FactID, error) {
	f := assay.Fact{
		Kind: kind, Version: version, Time: now, Namespace: e.Namespace, Actor: actor,
		Retention: assay.RetainAudit, Payload: payload,
	}
	if len(e.Scope.Subjects) == 1 {
		f.Subject = e.Scope.Subjects[0]
	}
	if cause != "" {
		f.Causes = []assay.FactID{cause}
	}
	return tx.Append(f)
}

func key(namespace, id string) store.Key {
	return store.Key{Namespace: namespace, Bucket: bucket, Name: id}
}

func get(r store.Reader, namespace, id string) (Record, int64, error) {
	v, err := r.Get(key(namespace, id))
	if assay.CodeOf(err) == assay.CodeNotFound {
		return Record{}, 0, assay.Errorf(assay.CodeNotFound, "exception %q is not known in namespace %q", id, namespace)
	}
	if err != nil {
		return Record{}, 0, err
	}
	rec, err := decode(v)
	return rec, v.Version, err
}

func list(r store.Reader, namespace, after string, limit int) ([]Record, error) {
	values, err := r.List(store.Key{Namespace: namespace, Bucket: bucket}, after, limit)
	if err != nil {
		return nil, err
	}
	all := make([]Record, 0, len(values))
	for _, v := range values {
		rec, err := decode(v)
		if err != nil {
			return nil, err
		}
		all = append(all, rec)
	}
	return all, nil
}

func decode(v store.Value) (Record, error) {
	var rec Record
	if err := json.Unmarshal(v.Data, &rec); err != nil {
		return Record{}, assay.Errorf(assay.CodeInternal, "exception %s cannot be read from the store: %w", v.Key.Name, err)
	}
	return rec, nil
}

func put(tx store.Tx, rec Record, version int64) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return assay.Errorf(assay.CodeInternal, "exception cannot be encoded: %w", err)
	}
	_, err = tx.Put(key(rec.Namespace, rec.ID), data, version)
	return err
}

// orNothing keeps callers from using a record whose transaction failed.
func orNothing(rec Record, err error) (Record, error) {
	if err != nil {
		return Record{}, err
	}
	return rec, nil
}
