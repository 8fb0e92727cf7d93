package mem_test

import (
	"errors"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
	"assay.dev/assay/store/storetest"
)

func TestMemKeepsTheStoreContract(t *testing.T) {
	storetest.Run(t, func(testing.TB) store.Store { return mem.New(mem.Config{}) }, nil)
}

func TestHooksFailACommitWithAndWithoutEffect(t *testing.T) {
	for _, c := range []struct {
		name      string
		hooks     func(fail func() error) mem.Hooks
		persisted bool
	}{
		{"before the commit", func(f func() error) mem.Hooks { return mem.Hooks{BeforeCommit: f} }, false},
		{"after the commit", func(f func() error) mem.Hooks { return mem.Hooks{AfterCommit: f} }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			broken := true
			fail := func() error {
				if broken {
					return errors.New("the disk is gone")
				}
				return nil
			}
			s := mem.New(mem.Config{Hooks: c.hooks(fail)})
			f := assay.Fact{ID: store.NewFactID(), Kind: "a.b", Version: 1, Namespace: "n", Actor: "x",
				Retention: assay.RetainAudit, Payload: []byte(`{}`)}
			add := func() error {
				return s.Update(t.Context(), func(tx store.Tx) error { _, err := tx.Append(f); return err })
			}
			if err := add(); assay.CodeOf(err) != assay.CodeUnavailable {
				t.Fatalf("error %v, want %s", err, assay.CodeUnavailable)
			}
			if _, err := s.Entry(t.Context(), "n", f.ID); (err == nil) != c.persisted {
				t.Errorf("persisted: %v, want %v", err == nil, c.persisted)
			}
			if _, err := s.Sequence(t.Context(), 0, 10); assay.CodeOf(err) != assay.CodeUnavailable {
				t.Errorf("Sequence: %v, want %s", err, assay.CodeUnavailable)
			}
			broken = false
			if err := add(); err != nil { // a retry with the same id is safe in both cases
				t.Fatal(err)
			}
			entries, err := s.Sequence(t.Context(), 0, 10)
			if err != nil || len(entries) != 1 || entries[0].Seq != 0 {
				t.Errorf("after the retry: %v, %v; want one entry", entries, err)
			}
		})
	}
}
