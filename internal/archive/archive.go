// Package archive writes and reads one file that holds many, and can tell whether it
// is still the file that was written.
//
// The model is a tar stream (any tar reads it) whose last two entries speak of the
// ones before: MANIFEST.json has the digest and size of every file, SEAL the digest of
// every byte up to it. A file that was cut off has no seal; one that was altered
// is refused, and the altered member named. Nothing appears under the target's
// name before all of it was verified and is durable.
package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"assay.dev/assay"
)

// Limits of an archive.
const (
	// MaxFiles is the largest number of files in one archive.
	MaxFiles = 4 << 20
	// MaxManifest is the largest manifest in bytes.
	MaxManifest = 1 << 30
	// MaxName is the longest name of a file in bytes.
	MaxName = 512

	manifestName = "MANIFEST.json"
	sealName     = "SEAL"
)

// File is one line of a manifest.
type File struct {
	Name   string `json:"name"` // with slashes, below the target
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Manifest says what an archive holds.
type Manifest struct {
	Format  string            `json:"format"` // "assay-backup/v1"
	Created time.Time         `json:"created"`
	About   map[string]string `json:"about"` // what who wrote it wants to be known
	Files   []File            `json:"files"` // in the order of the archive
}

const format = "assay-backup/v1"

// Writer writes an archive.
type Writer struct {
	tar      *tar.Writer
	sum      hash.Hash
	manifest Manifest
}

// NewWriter begins an archive.
func NewWriter(w io.Writer, now time.Time, about map[string]string) *Writer {
	sum := sha256.New()
	return &Writer{
		tar: tar.NewWriter(io.MultiWriter(w, sum)), sum: sum,
		manifest: Manifest{Format: format, Created: now.UTC(), About: about, Files: []File{}},
	}
}

// AddFile adds the file at path under a name.
func (w *Writer) AddFile(name, path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !filepath.IsLocal(name) || len(name) > MaxName || len(w.manifest.Files) == MaxFiles {
		return assay.Errorf(assay.CodeTooLarge, "%q cannot be in an archive, or there are more than %d files", name, MaxFiles)
	}
	sum := sha256.New()
	if err := w.member(name, info.Mode().Perm(), info.Size(), io.TeeReader(io.LimitReader(f, info.Size()), sum)); err != nil {
		return err
	}
	w.manifest.Files = append(w.manifest.Files, File{Name: name, Size: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil))})
	return nil
}

func (w *Writer) member(name string, mode fs.FileMode, size int64, r io.Reader) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode), Size: size, Format: tar.FormatPAX}
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	if n, err := io.Copy(w.tar, r); err != nil || n != size {
		return errors.Join(err, fmt.Errorf("%s: copied %d of %d bytes", name, n, size))
	}
	return w.tar.Flush()
}

// Close writes the manifest and the seal.
func (w *Writer) Close() error {
	data, err := json.Marshal(w.manifest)
	if err != nil {
		return err
	}
	if err := w.member(manifestName, 0o644, int64(len(data)), readerOf(data)); err != nil {
		return err
	}
	seal := []byte(hex.EncodeToString(w.sum.Sum(nil)))
	if err := w.member(sealName, 0o644, int64(len(seal)), readerOf(seal)); err != nil {
		return err
	}
	return w.tar.Close()
}

// Extract reads an archive into dir, which must not exist or be empty, in a folder
// that exists. It appears there complete, verified and durable, or not at all.
// prepare, which may be nil, is called when all was verified, with the folder that is
// about to become dir: what it leaves there, durably, is there from the first moment on.
func Extract(r io.Reader, dir string, prepare func(folder string, m Manifest) error) (Manifest, error) {
	if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
		return Manifest{}, &assay.Error{Code: assay.CodeConflict, File: dir, Msg: "is not empty; nothing was restored", Hint: "choose a directory that does not exist"}
	}
	parent := filepath.Dir(filepath.Clean(dir))
	aside, err := os.MkdirTemp(parent, ".restore-*")
	if err != nil {
		return Manifest{}, err
	}
	m, err := extractAside(r, aside)
	if err == nil && prepare != nil {
		err = prepare(aside, m)
	}
	if err == nil {
		err = os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(aside, dir)
		}
	}
	if err != nil {
		return Manifest{}, errors.Join(err, os.RemoveAll(aside))
	}
	return m, syncDir(parent)
}

// Verify reads an archive and compares every digest in it, and writes nothing.
func Verify(r io.Reader) (Manifest, error) {
	return read(r, func(string, fs.FileMode, io.Reader) error { return nil })
}

func extractAside(r io.Reader, aside string) (m Manifest, err error) {
	root, err := os.OpenRoot(aside)
	if err != nil {
		return Manifest{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	folders := map[string]bool{".": true}
	m, err = read(r, func(name string, mode fs.FileMode, content io.Reader) error {
		folder := filepath.Dir(name)
		for f := folder; !folders[f]; f = filepath.Dir(f) {
			folders[f] = true
		}
		if err := root.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		if _, err = io.Copy(f, content); err == nil {
			err = f.Sync()
		}
		return errors.Join(err, f.Close())
	})
	for f := range folders {
		if err == nil {
			err = syncDir(filepath.Join(aside, f))
		}
	}
	return m, err
}

// syncDir makes the names in a folder durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// counted hashes all that passes.
type counted struct {
	r   io.Reader
	sum hash.Hash
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum.Write(p[:n])
	return n, err
}
