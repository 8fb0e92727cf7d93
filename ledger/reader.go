package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strings"

	"assay.dev/assay"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
)

// Reader reads one epoch of a ledger, over files or HTTP. What it returns is
// untrusted: everything is verified against a signed checkpoint by its users. A
// resource that does not exist is an error that wraps fs.ErrNotExist. Methods may
// be called concurrently, and read at most the stated limit of bytes.
type Reader interface {
	// ReadCheckpoint returns the latest signed head.
	ReadCheckpoint(ctx context.Context) ([]byte, error)
	// ReadTile returns the hashes of a tile; p is its width if partial, or 0. The
	// full tile is returned if the partial one is gone.
	ReadTile(ctx context.Context, level, index uint64, p uint8) ([]byte, error)
	// ReadEntryBundle returns the leaves of a tile of level 0, under the same rule.
	ReadEntryBundle(ctx context.Context, index uint64, p uint8) ([]byte, error)
}

// Dir reads the directory of one epoch.
type Dir struct{ root *os.Root }

// OpenDir opens the directory of one epoch for reading. Nothing outside the
// directory can be reached through it. The caller closes it.
func OpenDir(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		e := assay.Errorf(assay.CodeNotFound, "cannot open the ledger directory: %w", err)
		e.Hint = "no fact was put into a ledger here yet, or the data directory is another one"
		return nil, e.In(path)
	}
	return &Dir{root: root}, nil
}

// FS returns the directory's files, for Handler.
func (d *Dir) FS() fs.FS { return d.root.FS() }

// Close releases the directory.
func (d *Dir) Close() error { return d.root.Close() }

// ReadCheckpoint implements Reader.
func (d *Dir) ReadCheckpoint(context.Context) ([]byte, error) {
	return d.read(layout.CheckpointPath, MaxCheckpoint)
}

// ReadTile implements Reader.
func (d *Dir) ReadTile(_ context.Context, level, index uint64, p uint8) ([]byte, error) {
	return partialOrFull(p, func(p uint8) ([]byte, error) { return d.read(layout.TilePath(level, index, p), maxTile) })
}

// ReadEntryBundle implements Reader.
func (d *Dir) ReadEntryBundle(_ context.Context, index uint64, p uint8) ([]byte, error) {
	return partialOrFull(p, func(p uint8) ([]byte, error) { return d.read(layout.EntriesPath(index, p), maxBundle) })
}

func (d *Dir) read(path string, limit int64) ([]byte, error) {
	f, err := d.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, path, limit)
}

// Remote reads one epoch of a ledger over HTTP.
type Remote struct {
	base   string
	client *http.Client
}

// OpenURL returns a Reader of the ledger below an http or https URL. The client's
// time-out bounds each request; it must not be nil.
func OpenURL(base string, client *http.Client) (*Remote, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, assay.Errorf(assay.CodeInvalid, "ledger URL %q is not an absolute http or https URL without query", clip(base))
	}
	return &Remote{base: strings.TrimSuffix(u.String(), "/") + "/", client: client}, nil
}

// ReadCheckpoint implements Reader.
func (r *Remote) ReadCheckpoint(ctx context.Context) ([]byte, error) {
	return r.get(ctx, layout.CheckpointPath, MaxCheckpoint)
}

// ReadTile implements Reader.
func (r *Remote) ReadTile(ctx context.Context, level, index uint64, p uint8) ([]byte, error) {
	return partialOrFull(p, func(p uint8) ([]byte, error) { return r.get(ctx, layout.TilePath(level, index, p), maxTile) })
}

// ReadEntryBundle implements Reader.
func (r *Remote) ReadEntryBundle(ctx context.Context, index uint64, p uint8) ([]byte, error) {
	return partialOrFull(p, func(p uint8) ([]byte, error) { return r.get(ctx, layout.EntriesPath(index, p), maxBundle) })
}

func (r *Remote) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+path, nil)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "cannot ask for %s: %w", path, err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "cannot read the ledger: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return readLimited(resp.Body, r.base+path, limit)
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s%s: %w", r.base, path, fs.ErrNotExist)
	}
	return nil, assay.Errorf(assay.CodeUnavailable, "%s%s answered %d, expected 200", r.base, path, resp.StatusCode)
}

func readLimited(r io.Reader, path string, limit int64) ([]byte, error) {
	var b bytes.Buffer
	if f, ok := r.(fs.File); ok {
		if info, err := f.Stat(); err == nil { // what it has now; more is read too
			b.Grow(int(min(info.Size(), limit)) + bytes.MinRead)
		}
	}
	if _, err := b.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, tooLarge("ledger resource", b.Len(), int(limit)).In(path)
	}
	return b.Bytes(), nil
}

// partialOrFull reads the partial resource, or the full one that replaced it.
func partialOrFull(p uint8, read func(p uint8) ([]byte, error)) ([]byte, error) {
	b, err := read(p)
	if p > 0 && errors.Is(err, fs.ErrNotExist) {
		return read(0)
	}
	return b, err
}

// ReadLeaves yields the index and bytes of the leaves [from, to) of a tree with
// size leaves. It ends after the first error. The leaves are not verified.
func ReadLeaves(ctx context.Context, r Reader, from, to, size uint64) iter.Seq2[IndexedLeaf, error] {
	return func(yield func(IndexedLeaf, error) bool) {
		if from >= to {
			return
		}
		for ri := range layout.Range(from, min(to, size)-from, size) {
			entries, err := readBundle(ctx, r, ri.Index, layout.PartialTileSize(0, ri.Index, size))
			if err != nil {
				yield(IndexedLeaf{}, err)
				return
			}
			first := ri.Index * layout.EntryBundleWidth
			for i := ri.First; i < ri.First+ri.N; i++ {
				if !yield(IndexedLeaf{Index: first + uint64(i), Raw: entries[i]}, nil) {
					return
				}
			}
		}
	}
}

// IndexedLeaf is a leaf's bytes and its position.
type IndexedLeaf struct {
	Index uint64
	Raw   []byte
}

// readBundle returns at least as many leaves as the bundle must have.
func readBundle(ctx context.Context, r Reader, index uint64, p uint8) ([][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	raw, err := r.ReadEntryBundle(ctx, index, p)
	if err != nil {
		return nil, fmt.Errorf("entry bundle %d: %w", index, err)
	}
	entries, err := ParseBundle(raw)
	if err != nil {
		return nil, err
	}
	want := int(p)
	if p == 0 {
		want = layout.EntryBundleWidth
	}
	if len(entries) < want {
		return nil, unverified("entry bundle %d has %d leaves, expected %d", index, len(entries), want)
	}
	return entries, nil
}

// ParseBundle splits a C2SP entry bundle into its leaves' bytes.
func ParseBundle(raw []byte) ([][]byte, error) {
	if len(raw) > maxBundle {
		return nil, tooLarge("entry bundle", len(raw), maxBundle)
	}
	var b api.EntryBundle
	if err := b.UnmarshalText(raw); err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "entry bundle is cut off or malformed: %w", err)
	}
	if len(b.Entries) > layout.EntryBundleWidth {
		return nil, assay.Errorf(assay.CodeInvalid, "entry bundle has %d leaves; the limit is %d", len(b.Entries), layout.EntryBundleWidth)
	}
	return b.Entries, nil
}
