package ledger

import (
	"bytes"
	"math/bits"

	"github.com/transparency-dev/merkle/rfc6962"
)

// A subtree is the part [start, end) of a tree that is a whole node of it, or the
// ragged right end of one: start is a multiple of the smallest power of two that is
// not below end-start. The Merkle Tree Certificates draft defines it, and how to prove
// it. A tree from its beginning is the subtree [0, size), so RFC 6962's two proofs are
// special cases of the ones here.

// validSubtree reports whether [start, end) is a subtree that is not empty.
func validSubtree(start, end uint64) bool {
	if start >= end {
		return false
	}
	n := end - start
	if n > 1<<63 {
		return start == 0
	}
	whole := uint64(1) << bits.Len64(n-1) // n-1 has at most 63 bits
	return start&(whole-1) == 0
}

// VerifySubtreeInclusion verifies that a leaf is in the subtree [start, end) whose
// hash is root. Index is the leaf's position in the whole tree.
func VerifySubtreeInclusion(index, start, end uint64, leafHash []byte, hashes [][]byte, root []byte) error {
	if !validSubtree(start, end) {
		return unverified("[%d, %d) is not a subtree", start, end)
	}
	if index < start {
		return unverified("leaf %d is not in [%d, %d)", index, start, end)
	}
	return verifyInclusion(index-start, end-start, leafHash, hashes, root)
}

// VerifySubtreeConsistency verifies that the leaves [start, end) under subtreeRoot
// are those of the tree of that size under root.
func VerifySubtreeConsistency(start, end, size uint64, hashes [][]byte, subtreeRoot, root []byte) error {
	if start == end && end <= size { // nothing is part of every tree, and needs no proof
		if len(hashes) > 0 || !bytes.Equal(subtreeRoot, rfc6962.DefaultHasher.EmptyRoot()) {
			return unverified("an empty subtree has another hash, or a proof")
		}
		return nil
	}
	if !validSubtree(start, end) || end > size {
		return unverified("[%d, %d) is not a subtree of a tree with %d leaves", start, end, size)
	}
	if start == 0 && end == size {
		return sameRoot(hashes, subtreeRoot, root)
	}
	return climb(start, end, size, hashes, subtreeRoot, root)
}

// sameRoot verifies a subtree that is the whole tree.
func sameRoot(hashes [][]byte, subtreeRoot, root []byte) error {
	if len(hashes) > 0 || !bytes.Equal(subtreeRoot, root) {
		return unverified("the subtree is the whole tree, but has another hash, or a proof")
	}
	return nil
}

// climb walks from the last node of the subtree to the root of the tree, and builds
// both hashes on the way: fr that of the subtree, sr that of the tree.
func climb(start, end, size uint64, hashes [][]byte, subtreeRoot, root []byte) error {
	fn, sn, tn := start, end-1, size-1
	if sn == tn {
		for fn != sn {
			fn, sn, tn = fn>>1, sn>>1, tn>>1
		}
	} else {
		for fn != sn && sn&1 == 1 {
			fn, sn, tn = fn>>1, sn>>1, tn>>1
		}
	}
	var fr []byte
	if fn == sn { // the subtree is a node of the tree: its hash begins the proof
		fr = subtreeRoot
	} else {
		if len(hashes) == 0 {
			return unverified("the proof of a subtree is cut off")
		}
		fr, hashes = hashes[0], hashes[1:]
	}
	sr := fr
	for _, h := range hashes {
		if tn == 0 {
			return unverified("the proof of a subtree has hashes too many")
		}
		if len(h) != rfc6962.DefaultHasher.Size() {
			return unverified("the proof of a subtree has a hash of %d bytes", len(h))
		}
		if sn&1 == 1 || sn == tn {
			if fn < sn {
				fr = rfc6962.DefaultHasher.HashChildren(h, fr)
			}
			sr = rfc6962.DefaultHasher.HashChildren(h, sr)
			for sn&1 == 0 {
				fn, sn, tn = fn>>1, sn>>1, tn>>1
			}
		} else {
			sr = rfc6962.DefaultHasher.HashChildren(sr, h)
		}
		fn, sn, tn = fn>>1, sn>>1, tn>>1
	}
	if tn != 0 {
		return unverified("the proof of a subtree is cut off")
	}
	if !bytes.Equal(fr, subtreeRoot) || !bytes.Equal(sr, root) {
		return unverified("the leaves [%d, %d) are not those of the tree with %d leaves", start, end, size)
	}
	return nil
}
