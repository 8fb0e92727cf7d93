package files_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"assay.dev/assay"
	"assay.dev/assay/store/files"
)

func open(t *testing.T, dir string) *files.Blobs {
	t.Helper()
	b, err := files.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func put(t *testing.T, b *files.Blobs, content string) assay.Digest {
	t.Helper()
	d, err := b.Put(t.Context(), strings.NewReader(content), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func read(t *testing.T, b *files.Blobs, d assay.Digest) (string, error) {
	t.Helper()
	r, err := b.Open(t.Context(), d)
	if err != nil {
		return "", err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), err
}

// path returns where the blob's file must be.
func path(dir string, d assay.Digest) string {
	return filepath.Join(dir, "sha256", d.Hex()[:2], d.Hex()[2:])
}

func TestPutStoresBytesUnderTheirDigestAndIsIdempotent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "blobs")
	b := open(t, dir)
	for _, content := range []string{"hello", "", "hello", strings.Repeat("x", 1<<20)} {
		d := put(t, b, content)
		if want := assay.DigestOf(sha256.Sum256([]byte(content))); d != want {
			t.Errorf("digest %s, want %s", d, want)
		}
		if got, err := read(t, b, d); err != nil || got != content {
			t.Errorf("read %d bytes, %v; want %d", len(got), err, len(content))
		}
		if _, err := os.Stat(path(dir, d)); err != nil {
			t.Error(err)
		}
	}
	if n := count(t, dir); n != 3 {
		t.Errorf("%d files, want 3", n)
	}
}

func TestPutAboveTheLimitLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	if _, err := b.Put(t.Context(), strings.NewReader("12345"), 5); err != nil {
		t.Errorf("exactly the limit: %v", err)
	}
	_, err := b.Put(t.Context(), strings.NewReader("123456"), 5)
	if assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("one byte more: %v, want %s", err, assay.CodeTooLarge)
	}
	if n := count(t, dir); n != 1 {
		t.Errorf("%d files, want 1", n)
	}
}

func TestAFailingReaderLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	broken := errors.New("broken pipe")
	_, err := b.Put(t.Context(), io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), 100)
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want the reader's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Put(ctx, strings.NewReader("abc"), 100); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if n := count(t, dir); n != 0 {
		t.Errorf("%d files, want none", n)
	}
}

func TestOpenRefusesWhatIsNotTheBlob(t *testing.T) {
	content := "the true content"
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		damage func(p string) error
		want   assay.Code
	}{
		{"one byte changed", func(p string) error { return os.WriteFile(p, []byte("the trUe content"), 0o600) }, assay.CodeUnverified},
		{"truncated", func(p string) error { return os.Truncate(p, 3) }, assay.CodeUnverified},
		{"grown", func(p string) error { return os.WriteFile(p, []byte(content+"x"), 0o600) }, assay.CodeUnverified},
		{"removed", os.Remove, assay.CodeNotFound},
		{"a link out of the root", func(p string) error { return errors.Join(os.Remove(p), os.Symlink(outside, p)) }, assay.CodeUnverified},
		{"a folder", func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }, assay.CodeUnverified},
		{"a pipe", func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o600)) }, assay.CodeUnverified},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, dir)
			d := put(t, b, content)
			if err := c.damage(path(dir, d)); err != nil {
				t.Fatal(err)
			}
			if got, err := read(t, b, d); assay.CodeOf(err) != c.want {
				t.Errorf("read %q, error %v, want %s", got, err, c.want)
			}
			if c.name == "a folder" {
				return // cannot be replaced by a file
			}
			put(t, b, content)
			if got, err := read(t, b, d); err != nil || got != content {
				t.Errorf("after storing it again: %q, %v", got, err)
			}
		})
	}
}

func TestAFolderThatLinksOutOfTheRootIsNotFollowed(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	b := open(t, dir)
	d := assay.DigestOf(sha256.Sum256([]byte("x")))
	if err := os.Symlink(outside, filepath.Join(dir, "sha256", d.Hex()[:2])); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), strings.NewReader("x"), 10); assay.CodeOf(err) != assay.CodeUnverified {
		t.Errorf("Put: %v, want %s", err, assay.CodeUnverified)
	}
	if err := os.WriteFile(filepath.Join(outside, d.Hex()[2:]), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, b, d); err == nil {
		t.Errorf("read %q through a link out of the root", got)
	}
	if n := count(t, outside); n != 1 {
		t.Errorf("%d files outside, want only the test's own", n)
	}
}

func TestOpenRefusesWhatIsNoDigest(t *testing.T) {
	b := open(t, t.TempDir())
	for _, d := range []assay.Digest{"", "sha256:", "sha256:../../etc/passwd", assay.Digest("sha256:" + strings.Repeat("A", 64))} {
		if _, err := b.Open(t.Context(), d); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("Open(%q): %v, want %s", d, err, assay.CodeInvalid)
		}
	}
}

func TestOpeningTheFolderRemovesUnfinishedBlobs(t *testing.T) {
	dir := t.TempDir()
	d := put(t, open(t, dir), "kept")
	if err := os.WriteFile(filepath.Join(dir, "tmp", "half"), []byte("unfinished"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, dir)
	if got, err := read(t, b, d); err != nil || got != "kept" {
		t.Errorf("read %q, %v", got, err)
	}
	if n := count(t, dir); n != 1 {
		t.Errorf("%d files, want 1", n)
	}
}

func TestConcurrentPutsOfTheSameBytesAgree(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	content := bytes.Repeat([]byte("same"), 10000)
	want := assay.DigestOf(sha256.Sum256(content))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			d, err := b.Put(t.Context(), bytes.NewReader(content), 1<<20)
			if err != nil || d != want {
				t.Errorf("%s, %v", d, err)
			}
			if got, err := read(t, b, want); err != nil || got != string(content) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if n := count(t, dir); n != 1 {
		t.Errorf("%d files, want 1", n)
	}
}

// count returns the number of files below dir.
func count(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Type()&fs.ModeSymlink == 0 {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
