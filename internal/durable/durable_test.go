package durable_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
)

func TestWriteFileReplacesTheWholeContentAndLeavesNoTempFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	for _, content := range []string{"a long first content", "second", ""} {
		if err := durable.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Fatalf("read back %q, %v; want %q", got, err, content)
		}
	}
	wantNames(t, dir, "state.json")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v; want 0640", info.Mode(), err)
	}
}

func TestWriteFileLeavesTheOldContentAndNoTempFileWhenItFails(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(target, "child"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(target, []byte("x"), 0o600); err == nil {
		t.Fatal("a folder was replaced by a file")
	}
	wantNames(t, dir, "taken")
	if err := durable.WriteFile(filepath.Join(dir, "absent", "f"), []byte("x"), 0o600); err == nil {
		t.Fatal("wrote into a folder that does not exist")
	}
}

func TestCreateFileKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if created, err := durable.CreateFile(path, 0o600); err != nil || !created {
		t.Fatalf("first: created %v, %v", created, err)
	}
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if created, err := durable.CreateFile(path, 0o600); err != nil || created {
		t.Fatalf("second: created %v, %v", created, err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, []byte("content")) {
		t.Errorf("content %q, %v", got, err)
	}
}

func TestMkdirAllMakesEveryMissingFolderAndRefusesAFileInItsWay(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(deep, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(deep); err != nil || !info.IsDir() {
		t.Fatalf("%v, %v", info, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if err := durable.MkdirAll(path, 0o755); err == nil {
			t.Errorf("MkdirAll(%s) succeeded over a file", path)
		}
	}
}

func TestLockDirRefusesASecondHolderAndNamesTheFirst(t *testing.T) {
	dir := t.TempDir()
	lock, err := durable.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = durable.LockDir(dir)
	if assay.CodeOf(err) != assay.CodeConflict {
		t.Fatalf("second lock: %v, want %s", err, assay.CodeConflict)
	}
	want := "another assay process (pid " + strconv.Itoa(os.Getpid()) + ") uses " + dir + " (stop it or use --server)"
	if err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := durable.LockDir(dir)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestLockDirNeedsTheFolder(t *testing.T) {
	if _, err := durable.LockDir(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Fatal("locked a folder that does not exist")
	}
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("names %v, want %v", got, want)
	}
}
