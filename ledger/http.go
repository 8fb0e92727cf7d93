package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/transparency-dev/tessera/api/layout"
)

// Handler serves one epoch as C2SP tlog-tiles: "/checkpoint", "/tile/L/N" and
// "/tile/entries/N", the latter two with ".p/W" for partial ones. Mount it with
// http.StripPrefix. Give it Dir.FS, which cannot leave the epoch's directory.
//
// Only what the published checkpoint covers is served: files beyond it belong to
// an append that is not finished, and may still change, while readers may keep a
// tile for ever.
func Handler(fsys fs.FS) http.Handler {
	return &handler{fsys: fsys}
}

type handler struct{ fsys fs.FS }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		head.Set("Allow", "GET, HEAD")
		http.Error(w, "the ledger is read with GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	if path == layout.CheckpointPath {
		h.checkpoint(w, r)
		return
	}
	t, ok := parseTilePath(path)
	if !ok {
		http.Error(w, "not a path of C2SP tlog-tiles: checkpoint, tile/L/N[.p/W] or tile/entries/N[.p/W]", http.StatusNotFound)
		return
	}
	cp, err := h.read(layout.CheckpointPath, MaxCheckpoint)
	if err != nil {
		h.fail(w, err)
		return
	}
	size, err := sizeOf(cp)
	if err != nil || !t.covered(size) {
		head.Set("Cache-Control", "no-cache")
		http.Error(w, "the published checkpoint does not cover this tile", http.StatusNotFound)
		return
	}
	limit := int64(maxTile)
	if t.entries {
		limit = maxBundle
	}
	b, err := h.read(path, limit)
	if err != nil {
		h.fail(w, err)
		return
	}
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (h *handler) checkpoint(w http.ResponseWriter, r *http.Request) {
	b, err := h.read(layout.CheckpointPath, MaxCheckpoint)
	if err != nil {
		h.fail(w, err)
		return
	}
	sum := sha256.Sum256(b)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (h *handler) read(path string, limit int64) ([]byte, error) {
	f, err := h.fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, path, limit)
}

func (h *handler) fail(w http.ResponseWriter, err error) {
	w.Header().Set("Cache-Control", "no-cache")
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "not in this ledger", http.StatusNotFound)
		return
	}
	http.Error(w, "the ledger cannot be read now", http.StatusInternalServerError)
}

// tilePath is a parsed path of C2SP tlog-tiles.
type tilePath struct {
	entries      bool
	level, index uint64
	width        uint8 // 0 means full
}

// parseTilePath accepts exactly the paths that C2SP's encoding gives.
func parseTilePath(path string) (tilePath, bool) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || len(path) > 64 {
		return tilePath{}, false
	}
	level, n, ok := strings.Cut(rest, "/")
	if !ok {
		return tilePath{}, false
	}
	t := tilePath{entries: level == "entries"}
	var err error
	if t.entries {
		t.index, t.width, err = layout.ParseTileIndexPartial(n)
	} else {
		t.level, t.index, t.width, err = layout.ParseTileLevelIndexPartial(level, n)
	}
	// The library's parser is lenient about leading zeros and misplaced suffixes.
	return t, err == nil && t.String() == path
}

func (t tilePath) String() string {
	if t.entries {
		return layout.EntriesPath(t.index, t.width)
	}
	return layout.TilePath(t.level, t.index, t.width)
}

// covered reports whether a tree with size leaves has all hashes of the tile.
func (t tilePath) covered(size uint64) bool {
	if t.level > 7 {
		return false // a tile of level 8 stands above 2^64 leaves
	}
	hashes := size >> (t.level * layout.TileHeight)
	if t.width > 0 {
		return t.index == hashes/layout.TileWidth && uint64(t.width) <= hashes%layout.TileWidth ||
			t.index < hashes/layout.TileWidth
	}
	return t.index < hashes/layout.TileWidth
}
