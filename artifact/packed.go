package artifact

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"strings"
	"time"

	"assay.dev/assay"
	"github.com/google/uuid"
)

// shards is how many parts a snapshot has: one change copies one part of it.
const shards = 256

// snapshot is an immutable state of the index.
type snapshot struct {
	through    int64
	count      int
	words      []string // what repeats between artifacts: gates, keys, policies; only ever appended to
	artifacts  [shards]part
	references [shards]map[[32]byte]meaning
}

// part holds some artifacts. Neither its map nor its records hold a pointer, so the
// garbage collector passes over them.
type part struct {
	at      map[[32]byte]uint32 // where the record of an artifact begins
	records []byte              // one behind the other; only ever appended to, so snapshots share it
	dead    int                 // bytes of records that nothing refers to any more
}

// meaning is a Meaning without pointers. A fact's id is a UUID, whose bytes have the
// order of its text.
type meaning struct {
	digest  [32]byte
	seconds int64
	nanos   int32
	fact    uuid.UUID
}

func (m meaning) later(o meaning) bool {
	if m.seconds != o.seconds {
		return m.seconds > o.seconds
	}
	if m.nanos != o.nanos {
		return m.nanos > o.nanos
	}
	return string(m.fact[:]) > string(o.fact[:])
}

// edit is a snapshot under construction, which shares the parts that did not change.
// An edit that is dropped leaves no trace that a snapshot sees: records and words that
// it appended lie behind what snapshots know of.
type edit struct {
	snapshot
	ids          map[string]uint32
	own, ownRefs [shards]bool // copied already
}

func (s *snapshot) edit(ids map[string]uint32) *edit {
	for word, id := range ids { // of an edit that was dropped
		if int(id) >= len(s.words) {
			delete(ids, word)
		}
	}
	return &edit{snapshot: *s, ids: ids}
}

func (e *edit) put(s Summary) {
	id, ok := sum(s.Subject.Digest)
	if !ok {
		return
	}
	p := &e.artifacts[id[0]]
	if !e.own[id[0]] {
		p.at, e.own[id[0]] = own(p.at), true
	}
	if old, known := p.at[id]; known {
		_, size := unpack(p.records[old:], e.words)
		p.dead += size
	} else {
		e.count++
	}
	p.at[id] = uint32(len(p.records))
	p.records = e.pack(p.records, s)
}

func (e *edit) refer(ref string, m Meaning) {
	digest, ok := sum(m.Digest)
	if !ok {
		return
	}
	fact, _ := uuid.Parse(string(m.Fact)) // zero is before every other
	said := meaning{digest: digest, seconds: m.Time.Unix(), nanos: int32(m.Time.Nanosecond()), fact: fact}
	id := nameSum(ref)
	if !e.ownRefs[id[0]] {
		e.references[id[0]], e.ownRefs[id[0]] = own(e.references[id[0]]), true
	}
	if old, ok := e.references[id[0]][id]; !ok || said.later(old) {
		e.references[id[0]][id] = said
	}
}

// tidy writes the changed parts anew of which much is dead, or room.
func (e *edit) tidy() {
	for i := range e.artifacts {
		p := &e.artifacts[i]
		if !e.own[i] || p.dead <= len(p.records)/2 && cap(p.records)-len(p.records) <= len(p.records)/2 {
			continue
		}
		records := make([]byte, 0, len(p.records)-p.dead)
		for id, at := range p.at {
			_, size := unpack(p.records[at:], e.words)
			p.at[id] = uint32(len(records))
			records = append(records, p.records[at:int(at)+size]...)
		}
		p.records, p.dead = records, 0
	}
}

// word returns the place of a word that repeats.
func (e *edit) word(s string) uint64 {
	id, ok := e.ids[s]
	if !ok {
		s = strings.Clone(s) // not what it was read from
		id = uint32(len(e.words))
		e.words = append(e.words, s)
		e.ids[s] = id
	}
	return uint64(id)
}

// pack appends the record of an artifact: what decisions need of it.
func (e *edit) pack(b []byte, s Summary) []byte {
	b = appendText(b, s.Subject.Name)
	b = binary.AppendUvarint(b, uint64(s.Attestations))
	b = binary.AppendUvarint(b, uint64(len(s.Judgements)))
	for _, a := range s.Judgements {
		for _, w := range []string{a.Gate, a.Environment, string(a.Mode), string(a.Outcome), string(a.Policy), a.KeyID} {
			b = binary.AppendUvarint(b, e.word(w))
		}
		b = binary.AppendVarint(b, a.Time.Unix())
		b = binary.AppendUvarint(b, uint64(a.Time.Nanosecond()))
		id, _ := sum(a.Bundle) // one that is no digest is found by nobody
		b = append(b, id[:]...)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// get returns what the part knows of an artifact.
func (p *part) get(id [32]byte, words []string) (Known, bool) {
	at, ok := p.at[id]
	if !ok {
		return Known{}, false
	}
	k, _ := unpack(p.records[at:], words)
	return k, true
}

// unpack reads the record at the beginning of b, and returns its size as well.
func unpack(b []byte, words []string) (k Known, size int) {
	r := record{rest: b, words: words}
	name := r.take(int(r.number()))
	k = Known{Name: string(name), Attestations: int(r.number())}
	k.Judgements = make([]Judgement, r.number())
	for i := range k.Judgements {
		j := &k.Judgements[i]
		j.Gate, j.Environment, j.Mode, j.Outcome = r.word(), r.word(), assay.Mode(r.word()), assay.Outcome(r.word())
		j.Policy, j.KeyID = assay.Digest(r.word()), r.word()
		seconds, n := binary.Varint(r.rest)
		r.rest = r.rest[n:]
		j.Time = time.Unix(seconds, int64(r.number())).UTC()
		j.Bundle = assay.DigestOf([32]byte(r.take(32)))
	}
	return k, len(b) - len(r.rest)
}

// record is one being read. It was packed here, so it is whole.
type record struct {
	rest  []byte
	words []string
}

func (r *record) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.rest = r.rest[n:]
	return v
}

func (r *record) take(n int) []byte {
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *record) word() string { return r.words[r.number()] }

func own[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// sum returns the bytes of a digest.
func sum(d assay.Digest) (id [32]byte, ok bool) {
	h := d.Hex()
	if len(h) != 2*len(id) || len(d) != len(h)+len("sha256:") {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(h))
	return id, err == nil
}

// nameSum stands for a name, of which two never have the same.
func nameSum(name string) [32]byte { return sha256.Sum256([]byte(name)) }
