package storetest_test

import (
	"path/filepath"
	"strconv"
	"testing"

	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
	"assay.dev/assay/store/sqlite"
	"assay.dev/assay/store/storetest"
)

func TestSQLiteAndMemAnswerTheSame(t *testing.T) {
	dir, n := t.TempDir(), 0
	storetest.Compare(t,
		func(testing.TB) store.Store { return mem.New(mem.Config{}) },
		func(t testing.TB) store.Store {
			n++
			s, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, strconv.Itoa(n))})
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
}
