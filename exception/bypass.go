package exception

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// Terms are what a namespace's policy says about bypasses.
type Terms struct {
	Forbidden   bool
	MaxDuration time.Duration // at most assay.MaxBypass, which 0 stands for
	Page        []string      // who is paged
}

// Bypassed is the payload of an exception.bypassed fact: what alerting needs to page somebody.
type Bypassed struct {
	assay.Exception
	Page []string `json:"page"` // who is to be paged, as the policy names them
}

// Bypass makes an exception that is in force at once, for at most assay.MaxBypass,
// and that nobody approves. Its fact is recorded in the same transaction, and nothing
// can change it afterwards: it can only end, or be revoked, which is recorded too.
func Bypass(ctx context.Context, s store.Store, ask Ask, terms Terms, requester string, now time.Time) (Record, error) {
	now = now.UTC()
	if terms.Forbidden {
		e := assay.Errorf(assay.CodeDenied, "the policy of namespace %q forbids bypasses", ask.Namespace)
		e.Hint = "ask for an exception and have it approved"
		return Record{}, e
	}
	longest := assay.MaxBypass
	if terms.MaxDuration > 0 {
		longest = min(longest, terms.MaxDuration)
	}
	if ask.NotBefore.After(now) {
		return Record{}, invalid("not_before", "lies ahead; a bypass begins at once")
	}
	ask.Approvals, ask.MaxDuration = 0, 0
	e, err := ask.exception(requester, now)
	if err != nil {
		return Record{}, err
	}
	if e.NotAfter.Sub(now) > longest {
		return Record{}, invalid("not_after", fmt.Sprintf("is more than %s from now; a bypass is short, ask for an exception meanwhile", days(longest)))
	}
	e.State, e.Emergency, e.NotBefore = assay.ExceptionApproved, true, now
	rec := Record{Exception: e}
	err = s.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Get(key(e.Namespace, e.ID)); err == nil {
			return assay.Errorf(assay.CodeConflict, "exception %s exists already", e.ID)
		} else if assay.CodeOf(err) != assay.CodeNotFound {
			return err
		}
		payload, err := json.Marshal(Bypassed{Exception: e, Page: append([]string{}, terms.Page...)})
		if err != nil {
			return assay.Errorf(assay.CodeInternal, "bypass cannot be encoded: %w", err)
		}
		id, err := appendPayload(tx, assay.FactExceptionBypassed, 1, e, e.Requester, now, "", payload)
		if err != nil {
			return err
		}
		rec.RequestedFact, rec.ApprovedFact = id, id
		return put(tx, rec, 0)
	})
	return orNothing(rec, err)
}

// grantOf reads the exception as the fact that put it in force says.
func grantOf(f assay.Fact) (assay.Exception, error) {
	if f.Kind == assay.FactExceptionBypassed {
		var b Bypassed
		err := json.Unmarshal(f.Payload, &b)
		return b.Exception, err
	}
	var e assay.Exception
	err := json.Unmarshal(f.Payload, &e)
	return e, err
}
