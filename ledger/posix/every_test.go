//go:build !race

package posix_test

import (
	"os"
	"testing"
)

// sparse is how many crash points stand for one that is tried, kills at syncs aside: each of
// those is tried. ASSAY_DEEP=1 tries all.
var sparse = func() int {
	if os.Getenv("ASSAY_DEEP") == "1" {
		return 1
	}
	return 4
}()

func TestNothingAcknowledgedIsLostWhenKilledAtEverySync(t *testing.T)        { killedAtSyncs(t) }
func TestNothingAcknowledgedIsLostAtRandomKills(t *testing.T)                { killedAtRandom(t) }
func TestNothingIsAcknowledgedThatAFailedCallDidNotMakeDurable(t *testing.T) { failedCalls(t) }
