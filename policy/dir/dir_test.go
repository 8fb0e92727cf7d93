package dir

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

const policyYAML = "apiVersion: assay.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec: {package: p}\n"

func write(t *testing.T, root, name, content string) {
	t.Helper()
	p := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err error, code assay.Code, text string) {
	t.Helper()
	if assay.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%s), want %s with %q", err, assay.CodeOf(err), code, text)
	}
}

func TestLoadGivesTheSameDigestWhereverTheFolderIs(t *testing.T) {
	var digests [2]assay.Digest
	for i := range digests {
		root := filepath.Join(t.TempDir(), strings.Repeat("deep/", i), "policies")
		write(t, root, "p.yaml", policyYAML)
		write(t, root, "rego/p.rego", "package p\n")
		write(t, root, "rego/p_test.rego", strings.Repeat("# other\n", i)+"package p_test\n")
		write(t, root, ".hidden/x.yaml", "not: read")
		write(t, root, "rego/testdata/x.yaml", "not: read")
		rev, err := Load(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(rev.Files(policy.ClassTest)); n != 1 {
			t.Errorf("%d test files, want 1", n)
		}
		digests[i] = rev.Digest()
	}
	if digests[0] != digests[1] {
		t.Errorf("digests differ: %v", digests)
	}
}

func TestLoadFollowsLinksInsideTheFolderOnly(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "secret.yaml", policyYAML)
	t.Run("inside", func(t *testing.T) {
		root := t.TempDir()
		write(t, root, "real/p.txt", policyYAML)
		if err := os.Symlink("real/p.txt", filepath.Join(root, "p.yaml")); err != nil {
			t.Fatal(err)
		}
		rev, err := Load(t.Context(), root)
		if err != nil || len(rev.Policies()) != 1 {
			t.Errorf("a link inside the folder is not followed: %v", err)
		}
	})
	for name, target := range map[string]string{"file outside": filepath.Join(outside, "secret.yaml"), "dangling": "nowhere.yaml"} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Symlink(target, filepath.Join(root, "p.yaml")); err != nil {
				t.Fatal(err)
			}
			_, err := Load(t.Context(), root)
			wantError(t, err, assay.CodeInvalid, "p.yaml: cannot be opened")
		})
	}
	t.Run("folder", func(t *testing.T) {
		root := t.TempDir()
		write(t, root, "real/p.yaml", policyYAML)
		if err := os.Symlink("real", filepath.Join(root, "alias")); err != nil {
			t.Fatal(err)
		}
		_, err := Load(t.Context(), root)
		wantError(t, err, assay.CodeInvalid, "alias: is a symbolic link to a folder")
	})
}

func TestLoadRefuses(t *testing.T) {
	root := t.TempDir()
	_, err := Load(t.Context(), filepath.Join(root, "none"))
	wantError(t, err, assay.CodeNotFound, "does not exist")
	_, err = Load(t.Context(), root)
	wantError(t, err, assay.CodeNotFound, "holds no policy files")

	write(t, root, "p.yaml", strings.Replace(policyYAML, "kind: Policy", "kind: Polcy", 1))
	_, err = Load(t.Context(), root)
	wantError(t, err, assay.CodeInvalid, filepath.ToSlash(root)+`/p.yaml:2:7: kind "Polcy" is not known here`)

	write(t, root, "p.yaml", strings.Repeat("#", policy.MaxFileBytes+1))
	_, err = Load(t.Context(), root)
	wantError(t, err, assay.CodeTooLarge, "p.yaml: is above 1048576 bytes")

	write(t, root, "p.yaml", policyYAML)
	write(t, root, strings.Repeat("d/", MaxDepth+1)+"x.rego", "package x\n")
	_, err = Load(t.Context(), root)
	wantError(t, err, assay.CodeTooLarge, "nested deeper than 32 folders")
}

func TestLoadStopsWhenTheCallerDoes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Read(ctx, fstest.MapFS{"p.yaml": {Data: []byte(policyYAML)}})
	wantError(t, err, assay.CodeUnavailable, "interrupted")
}

func FuzzRead(f *testing.F) {
	f.Add("p.yaml", []byte(policyYAML), "data.json", []byte("{}"))
	f.Add("a/b_test.rego", []byte("package b"), ".x/y.yaml", []byte("x"))
	f.Fuzz(func(t *testing.T, p1 string, d1 []byte, p2 string, d2 []byte) {
		fsys := fstest.MapFS{p1: {Data: d1}, p2: {Data: d2}}
		rev, err := Read(t.Context(), fsys)
		if err != nil {
			if assay.CodeOf(err) == assay.CodeInternal {
				t.Errorf("error without a code: %v", err)
			}
			return
		}
		again, err := Read(t.Context(), fsys)
		if err != nil || again.Digest() != rev.Digest() {
			t.Errorf("reading twice gives %v, then %v (%v)", rev.Digest(), again.Digest(), err)
		}
	})
}
