// Package dir reads a policy revision from a folder.
//
// What is read is decided by name alone (policy.Classify): YAML resources, Rego
// modules and their tests, data files and lists of vulnerabilities. Hidden files, testdata folders and
// everything else are passed over. Symbolic links may point to files inside the
// folder and nowhere else. The revision's paths are relative to the folder, so
// its digest does not depend on where the folder lies.
package dir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

// Limits of a policy folder; above one, nothing is loaded. A single file is
// bounded by its class (policy.Class.MaxBytes) and their number by policy.MaxFiles.
const (
	MaxDepth      = 32       // folders within folders
	MaxEntries    = 100_000  // files and folders looked at, ignored ones included
	MaxTotalBytes = 64 << 20 // of all files that are read
)

// Load reads the folder at name. Errors carry paths that start with name.
func Load(ctx context.Context, name string) (*policy.Revision, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			e := assay.Errorf(assay.CodeNotFound, "policy folder does not exist").In(name)
			e.Hint = "run this where it is, or name it with --policy DIR"
			return nil, e
		}
		return nil, assay.Errorf(assay.CodeInvalid, "policy folder cannot be opened: %w", err).In(name)
	}
	defer root.Close()
	rev, err := Read(ctx, root.FS())
	if e, ok := errors.AsType[*assay.Error](err); ok {
		return nil, e.In(filepath.ToSlash(filepath.Join(name, filepath.FromSlash(e.File))))
	}
	return rev, err
}

// Read reads a revision from a file system. A file system without any policy
// file is CodeNotFound: it is a wrong path far more often than a wish for no policy.
func Read(ctx context.Context, fsys fs.FS) (*policy.Revision, error) {
	w := walk{fsys: fsys}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return assay.Errorf(assay.CodeUnavailable, "reading the policy was interrupted: %w", ctx.Err())
		}
		if err != nil {
			return assay.Errorf(assay.CodeInvalid, "cannot be read: %w", err).In(p)
		}
		return w.visit(p, d)
	})
	if err != nil {
		return nil, err
	}
	if len(w.files) == 0 {
		e := assay.Errorf(assay.CodeNotFound, "holds no policy files")
		e.Hint = "a policy is made of *.yaml resources and *.rego modules"
		return nil, e
	}
	return policy.NewRevision(w.files)
}

type walk struct {
	fsys    fs.FS
	files   []policy.File
	entries int
	bytes   int
}

func (w *walk) visit(p string, d fs.DirEntry) error {
	if w.entries++; w.entries > MaxEntries {
		return assay.Errorf(assay.CodeTooLarge, "holds more than %d files and folders", MaxEntries)
	}
	if d.IsDir() {
		if p != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
			return fs.SkipDir
		}
		if strings.Count(p, "/") >= MaxDepth {
			return assay.Errorf(assay.CodeTooLarge, "is nested deeper than %d folders", MaxDepth).In(p)
		}
		return nil
	}
	if policy.Classify(p) == policy.ClassIgnored {
		if d.Type()&fs.ModeSymlink != 0 && !strings.HasPrefix(path.Base(p), ".") {
			return w.refuseFolderLink(p)
		}
		return nil
	}
	if len(w.files) >= policy.MaxFiles {
		return assay.Errorf(assay.CodeTooLarge, "holds more than %d policy files", policy.MaxFiles)
	}
	data, err := w.read(p)
	if err != nil {
		return err
	}
	if w.bytes += len(data); w.bytes > MaxTotalBytes {
		return assay.Errorf(assay.CodeTooLarge, "holds more than %d bytes of policy files", MaxTotalBytes)
	}
	w.files = append(w.files, policy.File{Path: p, Content: data})
	return nil
}

// refuseFolderLink fails for a link to a folder: passing over it in silence
// would drop the policies that its author believes are in force.
func (w *walk) refuseFolderLink(p string) error {
	if info, err := fs.Stat(w.fsys, p); err == nil && info.IsDir() {
		return assay.Errorf(assay.CodeInvalid, "is a symbolic link to a folder; links may only point to files inside the policy folder").In(p)
	}
	return nil
}

func (w *walk) read(p string) ([]byte, error) {
	f, err := w.fsys.Open(p)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid,
			"cannot be opened (a symbolic link may only point to a file inside the policy folder): %w", err).In(p)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "cannot be read: %w", err).In(p)
	}
	if !info.Mode().IsRegular() {
		return nil, assay.Errorf(assay.CodeInvalid, "is not a regular file").In(p)
	}
	limit := policy.Classify(p).MaxBytes()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "cannot be read: %w", err).In(p)
	}
	if len(data) > limit {
		return nil, assay.Errorf(assay.CodeTooLarge, "is above %d bytes", limit).In(p)
	}
	return data, nil
}
