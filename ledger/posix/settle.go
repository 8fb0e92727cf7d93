package posix

import (
	"errors"
	"io/fs"
	"path/filepath"

	"assay.dev/assay/internal/durable"
	"assay.dev/assay/ledger"
	"github.com/transparency-dev/tessera/api/layout"
)

// stateDir is where Tessera keeps how large the tree is.
const stateDir = ".state"

// settleState makes the tree's size that is visible durable. Tessera renames a new
// treeState into place and then syncs the folder; its publisher may read the file
// between the two.
func settleState(dir string) error {
	return durable.SyncDir(filepath.Join(dir, stateDir))
}

// settleEdge makes durable what a process that was killed may have left visible
// only: names in the folders at the right edge of a tree of size leaves, where the
// last append worked and the next one will. Tessera syncs the parent of a folder
// that it makes, but takes one that exists for durable; and a new treeState that was
// not synced would let the store note places in a tree that may still shrink.
func settleEdge(dir string, size uint64) error {
	folders := []string{filepath.Dir(filepath.Clean(dir)), dir, filepath.Join(dir, stateDir)}
	seen := map[string]bool{".": true}
	for _, path := range edge(size) {
		for p := filepath.Dir(path); !seen[p]; p = filepath.Dir(p) {
			seen[p] = true
			folders = append(folders, filepath.Join(dir, p))
		}
	}
	for _, p := range folders {
		if err := durable.SyncDir(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// edge returns a path in each folder of tiles that an append to a tree of size
// leaves writes to, or that the append which made it that size wrote to.
func edge(size uint64) (paths []string) {
	first, last := (size-min(size, ledger.MaxBatch))/layout.TileWidth, (size+ledger.MaxBatch)/layout.TileWidth
	for i := first; i <= last; i++ {
		paths = append(paths, layout.EntriesPath(i, 1))
	}
	for level := uint64(0); ; level++ {
		for i := first; i <= last; i++ {
			paths = append(paths, layout.TilePath(level, i, 1))
		}
		if last == 0 {
			return paths
		}
		first, last = first/layout.TileWidth, last/layout.TileWidth
	}
}
