package exception_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/exception"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
)

const ns = "default"

// now is the instant that every test starts at.
var now = time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)

func newStore(t *testing.T) *mem.Store {
	t.Helper()
	s := mem.New(mem.Config{Now: func() time.Time { return now }})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func ask() exception.Ask {
	return exception.Ask{
		Namespace: ns, Reason: "no fixed version has been released yet", Ticket: "SEC-12",
		Scope:    assay.ExceptionScope{Rules: []string{"release/no-high-vulnerabilities"}, Packages: []string{"pkg:golang/x/y@v1?type=module"}},
		NotAfter: now.AddDate(0, 0, 30),
	}
}

func request(t *testing.T, s store.Store) exception.Record {
	t.Helper()
	r, err := exception.Request(t.Context(), s, ask(), "dana", now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func approved(t *testing.T, s store.Store) exception.Record {
	t.Helper()
	r, err := exception.Approve(t.Context(), s, ns, request(t, s).ID, "kim", now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func facts(t *testing.T, s store.Store) []assay.Fact {
	t.Helper()
	var all []assay.Fact
	err := s.View(t.Context(), func(r store.Reader) error {
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

func active(t *testing.T, s store.Store, at time.Time) []assay.Exception {
	t.Helper()
	all, err := exception.Active(t.Context(), s, ns, at)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func verdict(use assay.ExceptionUse, at time.Time) assay.Verdict {
	return assay.Verdict{
		Gate: "release", Mode: assay.ModeEnforce, Outcome: assay.OutcomePass, Time: at, Environment: "prod",
		Subject:    assay.Subject{Digest: assay.Digest("sha256:" + strings.Repeat("a", 64))},
		Policy:     assay.PolicyRef{Digest: assay.Digest("sha256:" + strings.Repeat("b", 64))},
		Exceptions: []assay.ExceptionUse{use},
	}
}

func useOf(r exception.Record) assay.ExceptionUse {
	return assay.ExceptionUse{
		ID: r.ID, Digest: r.Digest(), Rules: r.Scope.Rules, Requester: r.Requester, Approver: r.Approver, ValidUntil: r.NotAfter,
	}
}

func TestEachStepOfALifeIsAFactThatNamesTheOneBefore(t *testing.T) {
	s := newStore(t)
	r := request(t, s)
	if r.State != assay.ExceptionRequested || r.Requester != "dana" || !r.NotBefore.Equal(now) {
		t.Errorf("requested = %+v", r)
	}
	at := now.Add(time.Hour)
	a, err := exception.Approve(t.Context(), s, ns, r.ID, "kim", at)
	if err != nil {
		t.Fatal(err)
	}
	use := useOf(a)
	err = s.Update(t.Context(), func(tx store.Tx) error {
		_, err := exception.RecordUse(tx, ns, verdict(use, at.Add(time.Hour)), use, "", "gate")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exception.Revoke(t.Context(), s, ns, r.ID, "dana", "fixed upstream", at.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}

	got := facts(t, s)
	kinds := []string{assay.FactExceptionRequested, assay.FactExceptionApproved, assay.FactExceptionUsed, assay.FactExceptionRevoked}
	actors := []string{"dana", "kim", "gate", "dana"}
	causes := []int{-1, 0, 1, 1} // the place of the cause among the facts
	if len(got) != len(kinds) {
		t.Fatalf("%d facts; want %d", len(got), len(kinds))
	}
	for i, f := range got {
		want := []assay.FactID{}
		if causes[i] >= 0 {
			want = append(want, got[causes[i]].ID)
		}
		version := 1
		if f.Kind == assay.FactExceptionApproved {
			version = exception.ApprovedVersion
		}
		if f.Kind != kinds[i] || f.Actor != actors[i] || f.Retention != assay.RetainAudit || f.Version != version || !slices.Equal(f.Causes, want) {
			t.Errorf("fact %d = %s by %s, causes %v; want %s by %s, causes %v", i, f.Kind, f.Actor, f.Causes, kinds[i], actors[i], want)
		}
	}
	var payload assay.Exception
	if err := json.Unmarshal(got[1].Payload, &payload); err != nil || payload.Digest() != use.Digest {
		t.Errorf("the approval's payload has digest %s, %v; want the one that the verdict named, %s", payload.Digest(), err, use.Digest)
	}
	if !bytes.Contains(got[2].Payload, []byte(`"digest":"`+use.Digest+`"`)) {
		t.Errorf("the use's payload %s does not name the digest", got[2].Payload)
	}
}

func TestExceptionExcusesOnlyBetweenApprovalAndEnd(t *testing.T) {
	s := newStore(t)
	r := request(t, s)
	if got := active(t, s, now.Add(time.Minute)); len(got) != 0 {
		t.Errorf("a requested exception is active: %v", got)
	}
	approvedAt := now.Add(time.Hour)
	if _, err := exception.Approve(t.Context(), s, ns, r.ID, "kim", approvedAt); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   time.Time
		want int
	}{
		{now.Add(time.Minute), 0}, // asked for, but nobody had agreed yet
		{approvedAt, 1}, {r.NotAfter.Add(-time.Nanosecond), 1}, {r.NotAfter, 0},
	} {
		if got := active(t, s, c.at); len(got) != c.want {
			t.Errorf("%d active at %s; want %d", len(got), c.at, c.want)
		}
	}
	if _, err := exception.Revoke(t.Context(), s, ns, r.ID, "lee", "fixed upstream", approvedAt.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := active(t, s, approvedAt.Add(time.Hour)); len(got) != 0 {
		t.Errorf("a revoked exception is active: %v", got)
	}
}

func TestNobodyApprovesTheirOwnRequest(t *testing.T) {
	s := newStore(t)
	id := request(t, s).ID
	for _, who := range []string{"dana", "Dana", "DANA", " dana ", "\u2003dana"} {
		_, err := exception.Approve(t.Context(), s, ns, id, who, now)
		if assay.CodeOf(err) != assay.CodeDenied && assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%q approved: %v; want denied", who, err)
		}
	}
	for _, who := range []string{"", "  ", "da\u200bna", "dan\x00a", "kim\n"} {
		if _, err := exception.Approve(t.Context(), s, ns, id, who, now); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("identity %q: %v; want invalid", who, err)
		}
	}
	if got := facts(t, s); len(got) != 1 {
		t.Errorf("%d facts after refused approvals; want only the request", len(got))
	}
}

func TestALifeGoesOneWay(t *testing.T) {
	s := newStore(t)
	done := approved(t, s)
	revoked := request(t, s)
	if _, err := exception.Revoke(t.Context(), s, ns, revoked.ID, "dana", "fixed upstream", now); err != nil {
		t.Fatal(err)
	}
	late := request(t, s)
	for _, c := range []struct {
		name string
		do   func() error
		code assay.Code
	}{
		{"approve twice", func() error { _, err := exception.Approve(t.Context(), s, ns, done.ID, "lee", now); return err }, assay.CodeConflict},
		{"approve a revoked one", func() error { _, err := exception.Approve(t.Context(), s, ns, revoked.ID, "kim", now); return err }, assay.CodeConflict},
		{"approve after the end", func() error {
			_, err := exception.Approve(t.Context(), s, ns, late.ID, "kim", late.NotAfter)
			return err
		}, assay.CodeConflict},
		{"revoke twice", func() error {
			_, err := exception.Revoke(t.Context(), s, ns, revoked.ID, "kim", "fixed upstream", now)
			return err
		}, assay.CodeConflict},
		{"approve an unknown one", func() error { _, err := exception.Approve(t.Context(), s, ns, "x", "kim", now); return err }, assay.CodeNotFound},
		{"approve in another namespace", func() error { _, err := exception.Approve(t.Context(), s, "other", late.ID, "kim", now); return err }, assay.CodeNotFound},
		{"request an id twice", func() error {
			a := ask()
			a.ID = done.ID
			_, err := exception.Request(t.Context(), s, a, "dana", now)
			return err
		}, assay.CodeConflict},
	} {
		before := len(facts(t, s))
		if err := c.do(); assay.CodeOf(err) != c.code {
			t.Errorf("%s: %v; want %s", c.name, err, c.code)
		}
		if after := len(facts(t, s)); after != before {
			t.Errorf("%s: left %d facts behind", c.name, after-before)
		}
	}
}

func TestOfManyApproversExactlyOneWins(t *testing.T) {
	s := newStore(t)
	id := request(t, s).ID
	var wg sync.WaitGroup
	codes := make([]assay.Code, 16)
	for i := range codes {
		wg.Go(func() {
			_, err := exception.Approve(t.Context(), s, ns, id, fmt.Sprintf("approver-%d", i), now)
			codes[i] = assay.CodeOf(err)
		})
	}
	wg.Wait()
	won := 0
	for _, c := range codes {
		switch c {
		case "":
			won++
		case assay.CodeConflict:
		default:
			t.Errorf("an approver got %s; want success or conflict", c)
		}
	}
	if won != 1 || len(facts(t, s)) != 2 {
		t.Errorf("%d approvals and %d facts; want one approval and two facts", won, len(facts(t, s)))
	}
}

func TestRequestIsRefused(t *testing.T) {
	many := make([]string, exception.MaxScope+1)
	for i := range many {
		many[i] = fmt.Sprintf("r/%d", i)
	}
	for _, c := range []struct {
		name   string
		change func(*exception.Ask)
		want   string
	}{
		{"no end", func(a *exception.Ask) { a.NotAfter = time.Time{} }, "not_after is missing"},
		{"an end in the past", func(a *exception.Ask) { a.NotAfter = now }, "not in the future"},
		{"too long", func(a *exception.Ask) { a.NotAfter = now.Add(exception.MaxDuration + time.Second) }, "more than 90 days after the start"},
		{"too short", func(a *exception.Ask) { a.NotAfter = now.Add(time.Second) }, "less than 5s"},
		{"a far start", func(a *exception.Ask) {
			a.NotBefore = now.AddDate(1, 0, 0)
			a.NotAfter = a.NotBefore.Add(time.Hour)
		}, "not_before lies more than"},
		{"an end before the start", func(a *exception.Ask) { a.NotBefore = a.NotAfter.Add(time.Hour) }, "before the start at"},
		{"no reason", func(a *exception.Ask) { a.Reason = "  \n" }, "reason is missing"},
		{"a short reason", func(a *exception.Ask) { a.Reason = "because   " }, "reason is missing or shorter"},
		{"a long reason", func(a *exception.Ask) { a.Reason = strings.Repeat("x", exception.MaxReason+1) }, "reason has 2001 bytes"},
		{"a control character", func(a *exception.Ask) { a.Reason += "\x1b[2J" }, "control or invisible"},
		{"an invisible ticket", func(a *exception.Ask) { a.Ticket = "SEC\u200b-1" }, "ticket contains"},
		{"no rule", func(a *exception.Ask) { a.Scope.Rules = nil }, "scope.rules is empty"},
		{"a wildcard", func(a *exception.Ask) { a.Scope.Rules = []string{"release/a", "release/*"} }, "scope.rules[1] is a pattern"},
		{"a pattern", func(a *exception.Ask) { a.Scope.Rules = []string{"release/[ab]"} }, "is a pattern"},
		{"a wildcard package", func(a *exception.Ask) { a.Scope.Packages = []string{"*"} }, "scope.packages[0] is a pattern"},
		{"a rule without its policy", func(a *exception.Ask) { a.Scope.Rules = []string{"no-secrets"} }, "for example release/no-secrets"},
		{"an empty rule", func(a *exception.Ask) { a.Scope.Rules = []string{""} }, "scope.rules[0] is empty"},
		{"a rule with a space", func(a *exception.Ask) { a.Scope.Rules = []string{"a b"} }, "white space"},
		{"a rule twice", func(a *exception.Ask) { a.Scope.Rules = []string{"a/b", "a/b"} }, "stands there twice"},
		{"too many rules", func(a *exception.Ask) { a.Scope.Rules = many }, "scope.rules has 65 entries"},
		{"a subject that is no digest", func(a *exception.Ask) { a.Scope.Subjects = []assay.Digest{"latest"} }, "scope.subjects[0] is not a digest"},
		{"no namespace", func(a *exception.Ask) { a.Namespace = "" }, "namespace is missing"},
		{"an id of another kind", func(a *exception.Ask) { a.ID = "9b2d6f0e-8f0a-4c39-9d54-2f6d7a8f1c11" }, "id is not a UUIDv7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			a := ask()
			c.change(&a)
			_, err := exception.Request(t.Context(), s, a, "dana", now)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v; want one with %q", err, c.want)
			}
			if got := facts(t, s); len(got) != 0 {
				t.Errorf("%d facts after a refused request", len(got))
			}
		})
	}
	if _, err := exception.Request(t.Context(), newStore(t), ask(), " ", now); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("a request by nobody: %v; want invalid", err)
	}
}

func TestUseIsRefusedWhenTheStoreCannotExplainIt(t *testing.T) {
	s := newStore(t)
	a := approved(t, s)
	r := request(t, s)
	in := a.Approved.Add(time.Minute)
	for _, c := range []struct {
		name string
		use  assay.ExceptionUse
		at   time.Time
		code assay.Code
	}{
		{"good", useOf(a), in, ""},
		{"before the approval", useOf(a), a.Approved.Add(-time.Second), assay.CodeConflict},
		{"after the end", useOf(a), a.NotAfter, assay.CodeConflict},
		{"never approved", useOf(r), in, assay.CodeConflict},
		{"unknown", assay.ExceptionUse{ID: "x"}, in, assay.CodeNotFound},
		{"another form", func() assay.ExceptionUse { u := useOf(a); u.Digest = r.Digest(); return u }(), in, assay.CodeConflict},
	} {
		err := s.Update(t.Context(), func(tx store.Tx) error {
			_, err := exception.RecordUse(tx, ns, verdict(c.use, c.at), c.use, "", "gate")
			return err
		})
		if assay.CodeOf(err) != c.code {
			t.Errorf("%s: %v; want %q", c.name, err, c.code)
		}
	}
	revokedAt := in.Add(time.Hour)
	use := useOf(a)
	if _, err := exception.Revoke(t.Context(), s, ns, a.ID, "lee", "fixed upstream", revokedAt); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]assay.Code{revokedAt.Add(-time.Second): "", revokedAt: assay.CodeConflict} {
		err := s.Update(t.Context(), func(tx store.Tx) error {
			_, err := exception.RecordUse(tx, ns, verdict(use, at), use, "", "gate")
			return err
		})
		if assay.CodeOf(err) != want {
			t.Errorf("use at %s of one revoked at %s: %v; want %q", at, revokedAt, err, want)
		}
	}
}

func TestListPagesInOrderOfRequest(t *testing.T) {
	s := newStore(t)
	var want []string
	for range 7 {
		want = append(want, request(t, s).ID)
	}
	var got []string
	for after := ""; ; {
		page, err := exception.List(t.Context(), s, ns, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			got = append(got, r.ID)
		}
		after = got[len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v; want %v", got, want)
	}
	if r, err := exception.Get(t.Context(), s, ns, want[3]); err != nil || r.ID != want[3] {
		t.Errorf("Get = %v, %v", r.ID, err)
	}
	if other, err := exception.List(t.Context(), s, "other", "", 0); err != nil || len(other) != 0 {
		t.Errorf("another namespace sees %d exceptions, %v", len(other), err)
	}
}

func TestAFailedCommitLeavesNothing(t *testing.T) {
	fail := false
	s := mem.New(mem.Config{Now: func() time.Time { return now }, Hooks: mem.Hooks{BeforeCommit: func() error {
		if fail {
			return fmt.Errorf("disk full")
		}
		return nil
	}}})
	t.Cleanup(func() { _ = s.Close() })
	r := request(t, s)
	fail = true
	if rec, err := exception.Approve(t.Context(), s, ns, r.ID, "kim", now); assay.CodeOf(err) != assay.CodeUnavailable || rec.ID != "" {
		t.Errorf("Approve = %+v, %v; want unavailable and no record", rec, err)
	}
	fail = false
	if got, err := exception.Get(t.Context(), s, ns, r.ID); err != nil || got.State != assay.ExceptionRequested {
		t.Errorf("after the failed commit the exception is %s, %v; want requested", got.State, err)
	}
}
