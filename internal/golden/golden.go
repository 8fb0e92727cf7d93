// Package golden compares what a test got with a file beside it, and rewrites
// the file when the test runs with -update.
package golden

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files with what the tests got")

// Equal fails t if got differs from the file at path, which is relative to the package's folder.
func Equal(t testing.TB, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (make it with: go test -update)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (look, then run with -update):\n--- got\n%s\n--- want\n%s", path, got, want)
	}
}
