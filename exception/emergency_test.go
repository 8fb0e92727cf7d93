package exception_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/exception"
)

func kinds(all []assay.Fact) []string {
	var out []string
	for _, f := range all {
		out = append(out, f.Kind)
	}
	return out
}

func TestExceptionThatNeedsTwoApprovalsIsGrantedByTwoOthers(t *testing.T) {
	s := newStore(t)
	a := ask()
	a.Approvals = 2
	r, err := exception.Request(t.Context(), s, a, "dana", now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who  string
		code assay.Code
	}{
		{"dana", assay.CodeDenied}, {" DANA", assay.CodeDenied}, {"kim", ""}, {"Kim", assay.CodeConflict}, {"dana", assay.CodeDenied}, {"lee", ""}, {"max", assay.CodeConflict},
	} {
		got, err := exception.Approve(t.Context(), s, ns, r.ID, c.who, now.Add(time.Hour))
		if assay.CodeOf(err) != c.code {
			t.Errorf("%s: %v", c.who, err)
		}
		if c.who == "kim" && (got.State != assay.ExceptionRequested || len(active(t, s, now.Add(time.Hour))) != 0) {
			t.Errorf("one of two approvals put it in force: %+v", got)
		}
	}
	list := active(t, s, now.Add(time.Hour))
	if len(list) != 1 || list[0].Approver != "lee" || len(list[0].Approvals) != 2 || list[0].Approvals[0].Approver != "kim" {
		t.Fatalf("%+v", list)
	}
	all := facts(t, s)
	if got := kinds(all); !slices.Equal(got, []string{assay.FactExceptionRequested, assay.FactExceptionEndorsed, assay.FactExceptionApproved}) {
		t.Errorf("facts %v", got)
	}
	if !slices.Equal(all[2].Causes, []assay.FactID{all[1].ID}) || !slices.Equal(all[1].Causes, []assay.FactID{all[0].ID}) {
		t.Errorf("causes %v %v", all[1].Causes, all[2].Causes)
	}
}

func TestBypassIsInForceAtOnceAndPages(t *testing.T) {
	s := newStore(t)
	a := ask()
	a.NotAfter = now.Add(time.Hour)
	r, err := exception.Bypass(t.Context(), s, a, exception.Terms{Page: []string{"on-call"}}, "dana", now)
	if err != nil {
		t.Fatal(err)
	}
	if list := active(t, s, now); len(list) != 1 || !list[0].Emergency || list[0].Approver != "" {
		t.Errorf("in force: %+v", list)
	}
	if list := active(t, s, now.Add(time.Hour)); len(list) != 0 {
		t.Errorf("after its end: %+v", list)
	}
	all := facts(t, s)
	var said exception.Bypassed
	if len(all) != 1 || all[0].Kind != assay.FactExceptionBypassed || all[0].Retention != assay.RetainAudit || json.Unmarshal(all[0].Payload, &said) != nil ||
		!slices.Equal(said.Page, []string{"on-call"}) || said.Reason != a.Reason || said.Requester != "dana" {
		t.Errorf("facts %+v, payload %+v", all, said)
	}
	// Nothing alters it: it cannot be approved into something longer, nor asked for again; it can be revoked, once, by a fact.
	if _, err := exception.Approve(t.Context(), s, ns, r.ID, "kim", now); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("approved: %v", err)
	}
	a.ID = r.ID
	if _, err := exception.Bypass(t.Context(), s, a, exception.Terms{}, "dana", now); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("made again: %v", err)
	}
	if _, err := exception.Request(t.Context(), s, a, "dana", now); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("requested again: %v", err)
	}
	if _, err := exception.Revoke(t.Context(), s, ns, r.ID, "kim", "the incident is over now", now.Add(time.Minute)); err != nil {
		t.Error(err)
	}
	if got := kinds(facts(t, s)); len(active(t, s, now.Add(2*time.Minute))) != 0 || !slices.Equal(got, []string{assay.FactExceptionBypassed, assay.FactExceptionRevoked}) {
		t.Errorf("after it was revoked: %v", got)
	}
}

func TestBypassIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*exception.Ask, *exception.Terms)
		code   assay.Code
		want   string
	}{
		{"longer than four hours", func(a *exception.Ask, _ *exception.Terms) { a.NotAfter = now.Add(4*time.Hour + time.Second) }, assay.CodeInvalid, "is more than 4h from now"},
		{"longer than the policy allows", func(a *exception.Ask, p *exception.Terms) {
			a.NotAfter, p.MaxDuration = now.Add(31*time.Minute), 30*time.Minute
		}, assay.CodeInvalid, "is more than 30m from now"},
		{"later", func(a *exception.Ask, _ *exception.Terms) { a.NotBefore = now.Add(time.Minute) }, assay.CodeInvalid, "a bypass begins at once"},
		{"without a reason", func(a *exception.Ask, _ *exception.Terms) { a.Reason = "now" }, assay.CodeInvalid, "reason"},
		{"without an end", func(a *exception.Ask, _ *exception.Terms) { a.NotAfter = time.Time{} }, assay.CodeInvalid, "not_after"},
		{"without a rule", func(a *exception.Ask, _ *exception.Terms) { a.Scope.Rules = nil }, assay.CodeInvalid, "scope.rules"},
		{"where it is forbidden", func(_ *exception.Ask, p *exception.Terms) { p.Forbidden = true }, assay.CodeDenied, "forbids bypasses"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			a, terms := ask(), exception.Terms{}
			a.NotAfter = now.Add(time.Hour)
			c.change(&a, &terms)
			_, err := exception.Bypass(t.Context(), s, a, terms, "dana", now)
			if assay.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if n := len(facts(t, s)); n != 0 {
				t.Errorf("%d facts", n)
			}
		})
	}
}

func TestScopeByNameTakesPatternsThatAreNotTooWide(t *testing.T) {
	for name, want := range map[string]string{
		"shop/*": "", "registry.example/shop/**": "", "app": "", "*": "too wide", "**/*": "too wide", "a*": "too wide", "sh?p": "not a pattern", "a*b*c*d*e*f*g*h*i*jkl": "too wide", "a b": "white space",
	} {
		a := ask()
		a.Scope.Names = []string{name}
		_, err := exception.Request(t.Context(), newStore(t), a, "dana", now)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestPolicyShortensHowLongAnExceptionMayBe(t *testing.T) {
	a := ask()
	a.MaxDuration = 7 * 24 * time.Hour
	_, err := exception.Request(t.Context(), newStore(t), a, "dana", now)
	if err == nil || !strings.Contains(err.Error(), "is more than 7 days after the start") {
		t.Error(err)
	}
}

func TestReminderAndEndAreRecordedOnceEach(t *testing.T) {
	s := newStore(t)
	long := approved(t, s) // 30 days
	request(t, s)          // never granted: nobody is reminded
	short := ask()
	short.NotAfter = now.Add(4 * time.Hour)
	bypass, err := exception.Bypass(t.Context(), s, short, exception.Terms{}, "dana", now)
	if err != nil {
		t.Fatal(err)
	}
	watch := func(at time.Time, want exception.Noticed) {
		t.Helper()
		for i := range 2 {
			got, err := exception.Watch(t.Context(), s, ns, 24*time.Hour, at)
			if err != nil || got != want {
				t.Errorf("at %s, run %d: %+v, %v; want %+v", at, i, got, err, want)
			}
			want = exception.Noticed{} // the second run has nothing to say
		}
	}
	watch(now, exception.Noticed{})
	watch(now.Add(3*time.Hour-time.Second), exception.Noticed{})
	watch(now.Add(3*time.Hour), exception.Noticed{Expiring: 1}) // the last quarter of the bypass
	watch(now.Add(4*time.Hour), exception.Noticed{Expired: 1})
	watch(long.NotAfter.Add(-24*time.Hour-time.Second), exception.Noticed{})
	watch(long.NotAfter.Add(-24*time.Hour), exception.Noticed{Expiring: 1})
	watch(long.NotAfter, exception.Noticed{Expired: 1})
	var got []string
	for _, f := range facts(t, s) {
		if f.Kind == assay.FactExceptionExpiring || f.Kind == assay.FactExceptionExpired {
			got = append(got, f.Kind)
			if want := map[bool]assay.FactID{true: bypass.ApprovedFact, false: long.ApprovedFact}[len(got) <= 2]; !slices.Equal(f.Causes, []assay.FactID{want}) {
				t.Errorf("%s has the causes %v", f.Kind, f.Causes)
			}
		}
	}
	e, x := assay.FactExceptionExpiring, assay.FactExceptionExpired
	if !slices.Equal(got, []string{e, x, e, x}) {
		t.Errorf("facts %v", got)
	}
}
