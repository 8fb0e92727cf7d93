package exception_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/exception"
	"assay.dev/assay/store"
)

const statement = assay.Digest("sha256:abababababababababababababababababababababababababababababababab")

func TestASignedApprovalNamesItsStatementInItsFactAlone(t *testing.T) {
	s := newStore(t)
	r := request(t, s)
	at := now.Add(time.Hour)
	var shown assay.Exception
	a, err := exception.ApproveSigned(t.Context(), s, ns, r.ID, "kim", at, func(_ context.Context, e assay.Exception) (assay.Digest, error) {
		shown = e
		return statement, nil
	})
	if err != nil || a.Statement != statement {
		t.Fatalf("%+v, %v", a, err)
	}
	if shown.Digest() != a.Digest() || shown.State != assay.ExceptionApproved || shown.Approver != "kim" || !shown.Approved.Equal(at) || shown.Statement != "" {
		t.Errorf("what was signed is %+v, what was approved %+v", shown, a.Exception)
	}
	use := useOf(a)
	if use.Digest != shown.Digest() {
		t.Errorf("a verdict names %s, the statement is of %s", use.Digest, shown.Digest())
	}
	if _, err := exception.Revoke(t.Context(), s, ns, r.ID, "dana", "fixed upstream", at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, f := range facts(t, s) {
		var e assay.Exception
		if err := json.Unmarshal(f.Payload, &e); err != nil {
			t.Fatal(err)
		}
		want := assay.Digest("")
		if f.Kind == assay.FactExceptionApproved {
			want = statement
		}
		if e.Statement != want {
			t.Errorf("the payload of %s names statement %q, want %q", f.Kind, e.Statement, want)
		}
	}
	if got, err := exception.Get(t.Context(), s, ns, r.ID); err != nil || got.Statement != statement {
		t.Errorf("after its end: %+v, %v", got, err)
	}
}

func TestAnApprovalThatCannotBeSignedDoesNotHappen(t *testing.T) {
	broken := errors.New("the key is not there")
	for _, c := range []struct {
		name string
		who  string
		sign func(t *testing.T, in signing) error
		code assay.Code
		want string
	}{
		{"the signer fails", "kim", func(*testing.T, signing) error { return broken }, assay.CodeInternal, "the key is not there"},
		{"it was revoked meanwhile", "kim", func(t *testing.T, in signing) error {
			_, err := exception.Revoke(t.Context(), in.store, ns, in.id, "dana", "asked for by mistake", now)
			return err
		}, assay.CodeConflict, "is revoked; only a requested one can be approved"},
		{"it was approved meanwhile", "kim", func(t *testing.T, in signing) error {
			_, err := exception.Approve(t.Context(), in.store, ns, in.id, "lee", now)
			return err
		}, assay.CodeConflict, "is approved; only a requested one can be approved"},
		{"by who asked", "dana", func(t *testing.T, _ signing) error {
			t.Error("something was signed")
			return nil
		}, assay.CodeDenied, "cannot approve it"},
		{"by nobody", " ", func(t *testing.T, _ signing) error {
			t.Error("something was signed")
			return nil
		}, assay.CodeInvalid, "identity is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			in := signing{s, request(t, s).ID}
			_, err := exception.ApproveSigned(t.Context(), s, ns, in.id, c.who, now.Add(time.Minute), func(context.Context, assay.Exception) (assay.Digest, error) {
				return statement, c.sign(t, in)
			})
			if assay.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v (%q), want %q (%q)", err, assay.CodeOf(err), c.want, c.code)
			}
			for _, f := range facts(t, s) {
				if strings.Contains(string(f.Payload), string(statement)) {
					t.Errorf("fact %s names the statement", f.Kind)
				}
			}
		})
	}
}

// signing is what may change while an approval is signed.
type signing struct {
	store store.Store
	id    string
}
