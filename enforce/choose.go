package enforce

import "math"

// Key is what holds a client to its version: a hash of the client's identity.
// Two processes make the same Key of the same bytes.
type Key uint64

// KeyOf hashes a client's identity. The route's name goes into it, so that one
// client is not first in line on every route.
func KeyOf(route, client string) Key {
	return Key(mix(fnv(fnv(fnvOffset, route)*fnvPrime, client)))
}

// FNV-1a, 64 bit.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnv(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

// mix is the finaliser of SplitMix64: FNV alone leaves its high bits uneven.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// arm is a version as the choice sees it.
type arm struct {
	seed   uint64 // of the version's name
	weight float64
}

func newArm(version string, percent int) arm {
	return arm{seed: mix(fnv(fnvOffset, version)), weight: float64(percent)}
}

// pick is weighted rendezvous hashing: every version draws from the client's key
// and its own name, and the largest of weight/-ln(draw) wins. A version wins with
// the probability of its share, without any memory, and a client moves only when
// its own version shrank or the one it moves to grew. -1 if all weights are 0.
func pick(arms []arm, key Key) int {
	best, score := -1, 0.0
	for i, a := range arms {
		if a.weight <= 0 {
			continue
		}
		// 53 bits, shifted by half a step: never 0 and never 1.
		u := (float64(mix(uint64(key)^a.seed)>>11) + 0.5) / (1 << 53)
		if s := a.weight / -math.Log(u); best < 0 || s > score {
			best, score = i, s
		}
	}
	return best
}
