package attest

import (
	"bytes"
	"container/list"
	"hash/maphash"
	"sync"
)

// Cache remembers what can never change about documents that were verified: that
// the signature of a key over these very bytes holds, or what an authority found,
// and what the signed bytes say. Whether a key or identity is trusted, revoked or
// expired, and every question of time, is asked anew each time.
//
// It keeps the most recently used, up to a number of bytes, and only documents
// with a signature that held: a stranger cannot fill it. It is safe for
// concurrent use.
type Cache struct {
	limit int
	seed  maphash.Seed

	mu     sync.Mutex
	byKey  map[cacheKey]*list.Element
	order  list.List // of *cacheEntry, the most recently used in front
	size   int
	hits   uint64
	misses uint64
}

// cacheKey is all that the immutable part of a verification depends on, besides
// keys. The documents of one hash are told apart byte by byte: a collision costs
// an entry and decides nothing.
type cacheKey struct {
	hash      uint64
	authority string // Authority.ID, and over what; "" for signatures of plain keys alone
}

type cacheEntry struct {
	key  cacheKey
	data []byte
	doc  *document
	cost int
}

// CacheStats says what a Cache was good for.
type CacheStats struct {
	Hits    uint64 `json:"hits"`   // verifications that it answered
	Misses  uint64 `json:"misses"` // and those that it did not
	Entries int    `json:"entries"`
	Bytes   int    `json:"bytes"` // an estimate of the memory that entries take
}

// NewCache makes a cache that keeps about so many bytes.
func NewCache(bytes int) *Cache {
	return &Cache{limit: bytes, seed: maphash.MakeSeed(), byKey: map[cacheKey]*list.Element{}}
}

// Stats returns the counts so far.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CacheStats{Hits: c.hits, Misses: c.misses, Entries: len(c.byKey), Bytes: c.size}
}

func (c *Cache) get(k cacheKey, data []byte) *document {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[k]
	if !ok {
		return nil
	}
	entry := e.Value.(*cacheEntry)
	if !bytes.Equal(entry.data, data) {
		return nil
	}
	c.order.MoveToFront(e)
	return entry.doc
}

// count notes how a verification was answered.
func (c *Cache) count(hit bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if hit {
		c.hits++
	} else {
		c.misses++
	}
}

// put keeps what is known of data. doc must not change any more.
func (c *Cache) put(k cacheKey, data []byte, doc *document) {
	entry := &cacheEntry{key: k, data: bytes.Clone(data), doc: doc, cost: doc.cost() + len(data)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.byKey[k]; ok {
		c.remove(old)
	}
	if entry.cost > c.limit {
		return
	}
	c.byKey[k] = c.order.PushFront(entry)
	c.size += entry.cost
	for c.size > c.limit {
		c.remove(c.order.Back())
	}
}

func (c *Cache) remove(e *list.Element) {
	entry := c.order.Remove(e).(*cacheEntry)
	delete(c.byKey, entry.key)
	c.size -= entry.cost
}

// document is what is known of a signed document whose signature held for
// somebody. It is never changed once it stands in a cache.
type document struct {
	payload []byte          // what was signed, until it is read
	by      map[string]bool // key id → whether its signature holds; only keys that were asked about
	witness *Witness        // what an authority found; nil for plain keys alone
	says    string          // of the witness, for people

	// What the payload says, read once: the statement, and its summary if it is one.
	st      Statement
	stErr   error
	size    int // of the payload, in bytes
	summary *Summary
	sumErr  error
}

// fixedCost is what an entry takes besides its contents: structs, map and list.
const fixedCost = 2 << 10

// cost estimates the memory of what was read from the payload: the statement with
// its predicate, and the summary.
func (d *document) cost() int { return fixedCost + 3*d.size + 80*len(d.by) }
