package mitigate_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/store"
)

func TestKillSwitchesOfANamespaceAndAServiceHoldTheirOwnAlone(t *testing.T) {
	for halted, holds := range map[string]bool{
		"service: shop: the numbers look wrong":      true,
		"service: mail: the numbers look wrong":      false,
		"namespace: default: the numbers look wrong": true,
		"namespace: bank: the numbers look wrong":    false,
	} {
		t.Run(halted, func(t *testing.T) {
			b := newBoard(t, "scale", replicas)
			b.set("load", 2000)
			b.halted = halted
			s := b.step(10 * time.Second)
			if stood := b.at(assay.LeverReplicas) == 5; stood != holds {
				t.Fatalf("%v replicas: %s", b.at(assay.LeverReplicas), s.Decision.Words)
			}
			if !holds {
				return
			}
			said := ""
			for _, g := range s.Decision.Guards {
				if g.Guard == "kill-switch" {
					said = g.Reason
				}
			}
			if !strings.HasSuffix(said, "is halted: the numbers look wrong") {
				t.Errorf("the decision says %q", said)
			}
			b.halted = ""
			if b.step(10 * time.Second); b.at(assay.LeverReplicas) == 5 {
				t.Error("it was lifted, and nothing is done")
			}
		})
	}
}

// An action that is pending when a switch is pulled and the store fails is not taken,
// neither then nor when the store is back.
func TestAPendingActionIsNotTakenOnceASwitchIsPulledWhetherTheStoreAnswersOrNot(t *testing.T) {
	b, d := undone(t, false)
	down := &failing{Store: b.store}
	b.ctl = b.controller(b.declared, func(c *mitigate.Config) { c.Store = down })
	if err := b.ctl.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.halted = "service: " + b.s.Spec.Service + ": stop"
	d.down = false // the world would take it now
	down.err = assay.Errorf(assay.CodeUnavailable, "the disk is full")
	if err := b.ctl.Step(t.Context()); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Fatalf("with a store that fails: %v", err)
	}
	if b.at(assay.LeverReplicas) != 5 {
		t.Fatal("the action was taken while the store failed and the switch was pulled")
	}
	down.err = nil
	if s := b.step(time.Second); b.at(assay.LeverReplicas) != 5 || s.Pending != nil {
		t.Errorf("%v replicas, pending %v", b.at(assay.LeverReplicas), s.Pending)
	}
}

// failing is a store that answers nothing while it has an error.
type failing struct {
	store.Store
	err error
}

func (f *failing) Update(ctx context.Context, fn func(store.Tx) error) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.Update(ctx, fn)
}

func (f *failing) View(ctx context.Context, fn func(store.Reader) error) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.View(ctx, fn)
}
