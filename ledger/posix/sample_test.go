//go:build race

package posix_test

import "testing"

// A child and a recovery take several times the processor under the race detector. It watches
// a sample of the crash points that are all tried without it: one kill in the middle of each
// site's syncs, a quarter of the random kills, and of the calls that fail one in 24.
const sparse = 24

func TestNothingIsLostAtASampleOfSyncs(t *testing.T)       { killedAtSyncs(t) }
func TestNothingIsLostAtAFewRandomKills(t *testing.T)      { killedAtRandom(t) }
func TestNothingIsLostAtASampleOfFailedCalls(t *testing.T) { failedCalls(t) }
