package sqlite

import (
	"path/filepath"
	"testing"

	"assay.dev/assay/store"
	"assay.dev/assay/store/storetest"
)

func TestSQLiteKeepsTheStoreContract(t *testing.T) {
	storetest.Run(t, openTemp, func(t testing.TB, s store.Store) store.Store {
		path := s.(*Store).cfg.Path
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return openPath(t, path)
	})
}

func openTemp(t testing.TB) store.Store {
	// The name holds what must not be taken for an option or an escape.
	return openPath(t, filepath.Join(t.TempDir(), "a store?mode=memory&100%.db"))
}

func openPath(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}
