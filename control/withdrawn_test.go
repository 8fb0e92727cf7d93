package control_test

import (
	"slices"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/exception"
)

func TestWhatWasRevokedStaysSoWhenItsNamespaceLeavesThePolicy(t *testing.T) {
	in := controltest.Idle(t)
	const gone = "no-policy-knows-it"
	grant := func(namespace string) exception.Record {
		t.Helper()
		r, err := exception.Request(t.Context(), in.Store, exception.Ask{
			Namespace: namespace, Reason: "long enough a reason", Scope: assay.ExceptionScope{Rules: []string{controltest.Rule}}, NotAfter: in.Now().Add(48 * time.Hour),
		}, "dana", in.Now())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	revoke := func(r exception.Record) {
		t.Helper()
		if _, err := exception.Revoke(t.Context(), in.Store, r.Namespace, r.ID, "kim", "it is over by now", in.Now()); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for _, namespace := range []string{"default", gone, "team-a"} {
		r := grant(namespace)
		if _, err := exception.Approve(t.Context(), in.Store, namespace, r.ID, "kim", in.Now()); err != nil {
			t.Fatal(err)
		}
		revoke(r)
		want = append(want, r.ID)
	}
	revoke(grant(gone)) // never granted: no verdict rests on it
	got, err := in.Plane.Withdrawn(t.Context())
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	in.Advance(48*time.Hour + 25*time.Hour) // every reader sees that they ended
	if got, err := in.Plane.Withdrawn(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("a day after their end: %v, %v", got, err)
	}
}
