package ledger

import "context"

// VerifyConsistencySizes is the verifier below VerifyConsistency, for vectors whose
// roots are not even hashes.
var VerifyConsistencySizes = verifyConsistency

// EpochLeaf makes the first leaf of a later epoch.
var EpochLeaf = epochLeaf

// InclusionHashes builds an inclusion proof from tiles, with no cache.
func InclusionHashes(ctx context.Context, r Reader, index, size uint64) ([][]byte, error) {
	return (&prover{reader: r, size: size}).inclusion(ctx, index)
}

// ConsistencyHashes builds a consistency proof from tiles.
var ConsistencyHashes = consistency

// MaxCachedTiles is the limit of a cache.
const MaxCachedTiles = maxCachedTiles

// TileCache is what an epoch keeps of its tiles.
type TileCache = tileCache

// CacheTile keeps a full tile.
func CacheTile(c *TileCache, level, index uint64, raw []byte) error {
	t, err := newTile(tileKey{level: level, index: index}, raw)
	if err == nil {
		c.keep([]*tile{t})
	}
	return err
}

// IsCached reports whether a full tile is kept, and uses it if so.
func IsCached(c *TileCache, level, index uint64) bool {
	return c.get(tileKey{level: level, index: index}) != nil
}
