package archive_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/archive"
)

var created = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

func made(t testing.TB, files map[string]string, order ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	var out bytes.Buffer
	w := archive.NewWriter(&out, created, map[string]string{"assay": "test"})
	for _, name := range order {
		path := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(path, []byte(files[name]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.AddFile(name, path); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var sample = map[string]string{"a": "first", "sub/deep/b": strings.Repeat("second ", 300), "sub/empty": ""}

func TestArchiveGivesBackWhatWasPutIn(t *testing.T) {
	raw := made(t, sample, "a", "sub/deep/b", "sub/empty")
	dir := filepath.Join(t.TempDir(), "new")
	m, err := archive.Extract(bytes.NewReader(raw), dir, nil)
	if err != nil || len(m.Files) != 3 || !m.Created.Equal(created) || m.About["assay"] != "test" {
		t.Fatalf("manifest %+v, %v", m, err)
	}
	for name, want := range sample {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := archive.Extract(bytes.NewReader(raw), dir, nil); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("over a directory that is not empty: %v", err)
	}
}

func TestEveryFlippedByteAndEveryCutIsRefusedAndLeavesNothing(t *testing.T) {
	raw := made(t, sample, "a", "sub/deep/b", "sub/empty")
	seal := bytes.LastIndex(raw, []byte("SEAL"))
	parent := t.TempDir()
	dir := filepath.Join(parent, "target")
	refused := func(what string, raw []byte) {
		t.Helper()
		_, err := archive.Extract(bytes.NewReader(raw), dir, nil)
		if err == nil {
			t.Fatalf("%s: accepted", what)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Fatalf("%s: left %v (%v)", what, left, err)
		}
	}
	for at := 0; at < seal; at += 7 {
		changed := bytes.Clone(raw)
		changed[at] ^= 1
		refused("flipped byte "+string(rune('0'+at%10)), changed)
	}
	for at := 0; at < seal+512+64; at += 97 {
		refused("cut", raw[:at])
	}
}

func TestArchiveWithNamesThatLeadOutsideIsRefused(t *testing.T) {
	var out bytes.Buffer
	w := archive.NewWriter(&out, created, nil)
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../x", "/x", "", strings.Repeat("x", archive.MaxName+1)} {
		if err := w.AddFile(name, path); err == nil {
			t.Errorf("%.20q was taken", name)
		}
	}
	raw := made(t, map[string]string{"aa/x": "1"}, "aa/x")
	outside := bytes.ReplaceAll(raw, []byte("aa/x"), []byte("../x"))
	if _, err := archive.Extract(bytes.NewReader(outside), filepath.Join(t.TempDir(), "d"), nil); err == nil {
		t.Error("a name that leads outside was extracted")
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(made(f, sample, "a", "sub/empty"))
	f.Add([]byte("no tar"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := archive.Verify(bytes.NewReader(raw)); err != nil {
			if _, err := archive.Extract(bytes.NewReader(raw), filepath.Join(t.TempDir(), "d"), nil); err == nil {
				t.Error("extracted what does not verify")
			}
		}
	})
}
