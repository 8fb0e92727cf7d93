package admit_test

import (
	"context"
	"testing"
	"testing/synctest"

	"assay.dev/assay/admit"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
)

// slowStore answers the first view when it may.
type slowStore struct {
	store.Store
	began, release chan struct{}
}

func (s *slowStore) View(ctx context.Context, fn func(store.Reader) error) error {
	select {
	case s.began <- struct{}{}:
		<-s.release
	default: // not the first
	}
	return s.Store.View(ctx, fn)
}

func TestAnIndexThatIsReadHoldsUpNoOtherTenantAndOutlivesWhoAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New(mem.Config{})
		defer inner.Close()
		s := &slowStore{Store: inner, began: make(chan struct{}, 1), release: make(chan struct{})}
		x := admit.NewIndexes(s, nil)
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { _, err := x.Of(ctx, "large"); first <- err }()
		synctest.Wait() // it waits in the store
		if _, err := x.Of(t.Context(), "small"); err != nil {
			t.Errorf("another tenant: %v", err)
		}
		cancel()
		if err := <-first; err == nil {
			t.Error("who gave up waiting got an index that is not read")
		}
		again := make(chan error, 1)
		go func() { _, err := x.Of(t.Context(), "large"); again <- err }()
		close(s.release)
		if err := <-again; err != nil {
			t.Errorf("who asked again: %v", err)
		}
	})
}
