package main

import (
	"context"
	"errors"
	"testing"

	"assay.dev/assay/control"
)

func TestAPolicyIsInForceOnlyWhenWhatItNeedsIsReady(t *testing.T) {
	next := control.Policy{URI: "first"}
	r := &reloading{load: func(context.Context) (control.Policy, error) { return next, nil }}
	if err := r.reload(t.Context(), func(control.Policy) error { return nil }); err != nil {
		t.Fatal(err)
	}
	next.URI = "second"
	unready := errors.New("the index of a new door cannot be read")
	during := ""
	err := r.reload(t.Context(), func(p control.Policy) error {
		now, err := r.current()
		during = now.URI + " while " + p.URI + " gets ready"
		return errors.Join(err, unready)
	})
	if now, _ := r.current(); !errors.Is(err, unready) || now.URI != "first" || during != "first while second gets ready" {
		t.Errorf("%v; %q in force; %q", err, now.URI, during)
	}
	if err := r.reload(t.Context(), func(control.Policy) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if now, _ := r.current(); now.URI != "second" {
		t.Errorf("%q in force; want second", now.URI)
	}
}
