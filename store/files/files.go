// Package files keeps blobs as files named by their digest.
//
// The blob with digest sha256:abcdef… is the file sha256/ab/cdef… below the
// root. A file appears there complete and durable, or not at all; it never
// changes afterwards. The digest is verified while the bytes are read, so a
// file that was tampered with cannot pass as what it is named. Nothing is ever
// opened outside the root, also not through symbolic links.
//
// One process uses a root at a time; programs take durable.LockDir for that.
package files

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/store"
)

const (
	blobsDir = "sha256" // holds one folder per first byte of a digest
	tempDir  = "tmp"    // holds blobs that are being written
)

// Blobs is a store.Blobs in a folder.
type Blobs struct {
	root  *os.Root
	known sync.Map // folders that this process made sure of
}

var _ store.Blobs = (*Blobs)(nil)

// Open opens the blobs below dir, which it makes if absent, and removes what
// an earlier process began to write and did not finish.
func Open(dir string) (*Blobs, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	b := &Blobs{root: root}
	if err := root.RemoveAll(tempDir); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	for _, d := range []string{tempDir, blobsDir} {
		if err := b.mkdir(d, "."); err != nil {
			return nil, errors.Join(err, root.Close())
		}
	}
	return b, nil
}

// Close releases the folder. Readers that are open stay usable.
func (b *Blobs) Close() error { return b.root.Close() }

// Put implements store.Blobs.
func (b *Blobs) Put(ctx context.Context, r io.Reader, limit int64) (assay.Digest, error) {
	if limit < 0 {
		return "", assay.Errorf(assay.CodeInvalid, "the limit of a blob is negative: %d", limit)
	}
	temp := tempDir + "/" + rand.Text()
	digest, err := b.writeTemp(ctx, temp, r, limit)
	if err == nil {
		err = b.publish(temp, digest)
	}
	if err != nil {
		if rerr := b.root.Remove(temp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return "", err
	}
	return digest, nil
}

// writeTemp copies r into a new file and syncs it.
func (b *Blobs) writeTemp(ctx context.Context, temp string, r io.Reader, limit int64) (_ assay.Digest, err error) {
	f, err := b.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	src := &contextReader{ctx: ctx, r: r}
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(src, limit))
	if err == nil && n == limit {
		// One byte more tells a blob of exactly the limit from a larger one.
		var more int
		if more, err = io.ReadFull(src, make([]byte, 1)); err == io.EOF {
			err = nil
		}
		if more > 0 {
			return "", assay.Errorf(assay.CodeTooLarge, "the blob is larger than %d bytes", limit)
		}
	}
	if err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return assay.DigestOf([32]byte(sum.Sum(nil))), nil
}

// publish moves a synced file to its name. A blob that is there already is
// replaced by the same bytes: that also mends a damaged one, and makes sure
// that its name is durable whoever wrote it.
func (b *Blobs) publish(temp string, d assay.Digest) error {
	dir, name := place(d)
	// Once is enough: nobody removes folders while this process has the root.
	if _, known := b.known.Load(dir); !known {
		if err := b.mkdir(dir, blobsDir); err != nil {
			return err
		}
		b.known.Store(dir, true)
	}
	if err := b.root.Rename(temp, name); err != nil {
		return err
	}
	return b.sync(dir)
}

// mkdir makes a folder if it is absent, and its name in parent durable.
func (b *Blobs) mkdir(dir, parent string) error {
	if err := b.root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := b.root.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return assay.Errorf(assay.CodeUnverified, "%s in %s is not a folder", dir, b.root.Name())
	}
	return b.sync(parent)
}

func (b *Blobs) sync(dir string) error {
	d, err := b.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open implements store.Blobs. Closing before the end verifies nothing.
func (b *Blobs) Open(ctx context.Context, d assay.Digest) (io.ReadCloser, error) {
	if _, err := assay.ParseDigest(string(d)); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	_, name := place(d)
	// O_NONBLOCK: a pipe that someone put there must not hang the reader.
	f, err := b.root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, assay.Errorf(assay.CodeNotFound, "there is no blob %s", d)
	}
	if err != nil {
		return nil, assay.Errorf(assay.CodeUnverified, "blob %s cannot be opened as a file: %w", d, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = assay.Errorf(assay.CodeUnverified, "blob %s is not a regular file", d)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &verifier{f: f, size: info.Size(), want: d, sum: sha256.New(), src: contextReader{ctx: ctx, r: f}}, nil
}

// Remove removes the blob with that digest, durably. One that is not there is no error.
func (b *Blobs) Remove(ctx context.Context, d assay.Digest) error {
	if _, err := assay.ParseDigest(string(d)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, name := place(d)
	err := b.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.sync(dir)
}

// place returns the folder and the full name of a blob.
func place(d assay.Digest) (dir, name string) {
	h := d.Hex()
	dir = blobsDir + "/" + h[:2]
	return dir, dir + "/" + h[2:]
}

// verifier fails the last read of a blob whose bytes do not have its digest.
type verifier struct {
	f    *os.File
	size int64
	src  contextReader
	sum  hash.Hash
	want assay.Digest
}

// Size is the number of bytes that the file had when it was opened: a hint for who
// reads it whole.
func (v *verifier) Size() int64 { return v.size }

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.src.Read(p)
	v.sum.Write(p[:n])
	if err == io.EOF {
		if got := hex.EncodeToString(v.sum.Sum(nil)); got != v.want.Hex() {
			return n, &assay.Error{Code: assay.CodeUnverified,
				Msg:  fmt.Sprintf("blob %s was changed: its bytes have sha256:%s", v.want, got),
				Hint: "restore it from a copy"}
		}
	}
	return n, err
}

func (v *verifier) Close() error { return v.f.Close() }

// contextReader stops between two reads when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
