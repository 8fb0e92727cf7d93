package ledger

import (
	"container/list"
	"context"
	"crypto/sha256"
	"sync"

	"assay.dev/assay"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
)

// maxCachedTiles is how many tiles an epoch keeps in memory, 16 KiB each.
const maxCachedTiles = 128

// hasher hashes as RFC 6962 says. It is rfc6962.DefaultHasher with fewer
// allocations, which show in proofs: one has a hash for each level of the tree.
type hasher struct{}

// EmptyRoot implements merkle.LogHasher.
func (hasher) EmptyRoot() []byte { return rfc6962.DefaultHasher.EmptyRoot() }

// HashLeaf implements merkle.LogHasher.
func (hasher) HashLeaf(leaf []byte) []byte { return rfc6962.DefaultHasher.HashLeaf(leaf) }

// HashChildren implements merkle.LogHasher.
func (hasher) HashChildren(left, right []byte) []byte {
	if len(left) != sha256.Size || len(right) != sha256.Size { // from outside, and no hashes
		return rfc6962.DefaultHasher.HashChildren(left, right)
	}
	return appendParent(nil, left, right)
}

// Size implements merkle.LogHasher.
func (hasher) Size() int { return sha256.Size }

// appendParent appends the hash of the node above two hashes to b.
func appendParent(b, left, right []byte) []byte {
	var in [1 + 2*sha256.Size]byte
	in[0] = rfc6962.RFC6962NodeHashPrefix
	copy(in[1:], left)
	copy(in[1+sha256.Size:], right)
	sum := sha256.Sum256(in[:])
	return append(b, sum[:]...)
}

// tileKey names a tile as a tree of some size has it: width is 0 for a full one.
// What has a key never changes, also not at the edge of a tree that grows.
type tileKey struct {
	level, index uint64
	width        uint8
}

// tile is the hashes of a tile and of the nodes above them inside of it, level by
// level from the bottom. It is not changed any more once it was made.
type tile struct {
	key   tileKey
	width int // hashes at the bottom
	nodes []byte
}

// newTile hashes what a reader returned for a key. More than the key's width is
// cut off: the full tile stands for a partial one that is gone.
func newTile(key tileKey, raw []byte) (*tile, error) {
	t := &tile{key: key, width: int(key.width)}
	if t.width == 0 {
		t.width = layout.TileWidth
	}
	if len(raw) < t.width*sha256.Size {
		return nil, unverified("%s is cut off: it has %d bytes, expected %d", layout.TilePath(key.level, key.index, key.width), len(raw), t.width*sha256.Size)
	}
	total := 0
	for level := range layout.TileHeight {
		total += t.width >> level
	}
	t.nodes = append(make([]byte, 0, total*sha256.Size), raw[:t.width*sha256.Size]...)
	below := t.nodes
	for level := 1; level < layout.TileHeight; level++ {
		start := len(t.nodes)
		for i := range t.width >> level {
			pair := below[2*i*sha256.Size:][:2*sha256.Size]
			t.nodes = appendParent(t.nodes, pair[:sha256.Size], pair[sha256.Size:])
		}
		below = t.nodes[start:]
	}
	return t, nil
}

// node returns the hash of a perfect subtree inside the tile, nil if the tile does
// not have all of it. It is the tile's own memory.
func (t *tile) node(level uint, index uint64) []byte {
	start, width := 0, t.width
	for range level {
		start += width
		width >>= 1
	}
	if index >= uint64(width) {
		return nil
	}
	at := (start + int(index)) * sha256.Size
	return t.nodes[at : at+sha256.Size : at+sha256.Size]
}

// tileCache holds the tiles that were used last. The zero value is empty.
//
// It changes what a proof costs and never what it says. A tile enters only after a
// proof that used it led to the signed root, and every proof that it is used for is
// verified against the signed root again. If one with a tile from here does not
// hold, it is built again from what the reader returns now, so that a tile that was
// wrong where nothing had looked yet is no reason to refuse. The other way round, a
// tile that is altered on disk after it was read goes on being proved as it was
// signed; that the disk does not hold it any more is for Audit to say, which reads
// everything and knows no cache.
type tileCache struct {
	mu    sync.Mutex
	tiles map[tileKey]*list.Element
	order list.List // of *tile, the one used last in front
}

func (c *tileCache) get(key tileKey) *tile {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.tiles[key]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*tile)
}

// keep adds tiles whose hashes were verified, in place of those with the same keys.
func (c *tileCache) keep(tiles []*tile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tiles == nil {
		c.tiles = map[tileKey]*list.Element{}
	}
	for _, t := range tiles {
		if e, ok := c.tiles[t.key]; ok {
			e.Value = t
			c.order.MoveToFront(e)
			continue
		}
		c.tiles[t.key] = c.order.PushFront(t)
		if c.order.Len() > maxCachedTiles {
			oldest := c.order.Remove(c.order.Back()).(*tile)
			delete(c.tiles, oldest.key)
		}
	}
}

// prover builds the hashes of one proof in a tree of some size from its tiles.
type prover struct {
	reader Reader
	size   uint64
	cache  *tileCache // nil reads every tile

	read   []*tile // tiles that were read for this proof
	cached bool    // a tile came from the cache
}

// inclusion returns the inclusion proof of a leaf.
func (p *prover) inclusion(ctx context.Context, index uint64) ([][]byte, error) {
	nodes, err := proof.Inclusion(index, p.size)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "no inclusion proof exists: %w", err)
	}
	return p.hashes(ctx, nodes)
}

// consistency returns the consistency proof from an older size.
func (p *prover) consistency(ctx context.Context, older uint64) ([][]byte, error) {
	nodes, err := proof.Consistency(older, p.size)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "no consistency proof exists: %w", err)
	}
	return p.hashes(ctx, nodes)
}

// hashes looks the nodes of a proof up. They are the tiles' memory: not to be changed.
func (p *prover) hashes(ctx context.Context, nodes proof.Nodes) ([][]byte, error) {
	out := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		var err error
		if out[i], err = p.node(ctx, id); err != nil {
			return nil, err
		}
	}
	out, err := nodes.Rehash(out, hasher{}.HashChildren)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "the nodes of a proof do not fit: %w", err)
	}
	return out, nil
}

func (p *prover) node(ctx context.Context, id compact.NodeID) ([]byte, error) {
	level, index, inLevel, inIndex := layout.NodeCoordsToTileAddress(uint64(id.Level), id.Index)
	t, err := p.tile(ctx, tileKey{level, index, layout.PartialTileSize(level, index, p.size)})
	if err != nil {
		return nil, err
	}
	if h := t.node(inLevel, inIndex); h != nil {
		return h, nil
	}
	return nil, assay.Errorf(assay.CodeInternal, "node %d of level %d is not in a tree with %d leaves", id.Index, id.Level, p.size)
}

func (p *prover) tile(ctx context.Context, key tileKey) (*tile, error) {
	for _, t := range p.read {
		if t.key == key {
			return t, nil
		}
	}
	if p.cache != nil {
		if t := p.cache.get(key); t != nil {
			p.cached = true
			return t, nil
		}
	}
	raw, err := p.reader.ReadTile(ctx, key.level, key.index, key.width)
	if err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "cannot read a tile of the ledger: %w", err)
	}
	t, err := newTile(key, raw)
	if err != nil {
		return nil, err
	}
	p.read = append(p.read, t)
	return t, nil
}
