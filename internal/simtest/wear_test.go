package simtest_test

import (
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
)

// worn is a world in which b is taken away ten minutes after a notice at minute 5, and a
// runs out of something within ten minutes.
func worn() simtest.Config {
	c := calm(1, 100, 40)
	c.Regions = []simtest.Region{{Name: "a", Share: 50}, {Name: "b", Share: 50}}
	c.Faults = []simtest.Fault{
		{Kind: simtest.Preemption, Region: "b", At: 5 * minute, By: 10 * minute, For: 20 * minute, Share: 1},
		{Kind: simtest.Exhaustion, Region: "a", By: 10 * minute, For: 30 * minute, Share: 1},
	}
	return c
}

// told are the strains of a region minute by minute, and the share of its requests that were bad.
func told(t *testing.T, w *simtest.World, region string, minutes int) (strains []simtest.Strain, bad []float64) {
	t.Helper()
	for range minutes {
		failed, all := 0, 0
		var last simtest.Strain
		for range int(time.Minute / w.Tick()) {
			r := w.Step()
			for _, s := range r.Strains {
				if s.Region == region {
					last = s
				}
			}
			for _, x := range r.Truth {
				if x.Region == region {
					for _, f := range x.Flows {
						failed, all = failed+f.Bad, all+f.Bad+f.Good
					}
				}
			}
		}
		strains, bad = append(strains, last), append(bad, float64(failed)/float64(max(all, 1)))
	}
	return strains, bad
}

func TestAPreemptionIsAnnouncedBeforeItHarms(t *testing.T) {
	strains, bad := told(t, world(t, worn()), "b", 30)
	for i := range strains {
		if announced := i >= 4 && i < 24; strains[i].Leaving != announced {
			t.Errorf("after minute %d: announced %v", i+1, strains[i].Leaving)
		}
		if out := i >= 15 && i < 25; (bad[i] > 0.5) != out {
			t.Errorf("in minute %d: %v are bad", i, bad[i])
		}
	}
}

func TestWhatRunsOutIsUsedUpByTraffic(t *testing.T) {
	strains, bad := told(t, world(t, worn()), "a", 35)
	if s := strains[4]; s.Used < 0.49 || s.Used > 0.51 || s.Growth < 5.9 || s.Growth > 6.1 {
		t.Errorf("after five of ten minutes %v is used, and %v an hour more", s.Used, s.Growth)
	}
	if bad[8] > 0.5 || bad[12] < 0.5 || strains[12].Used != 1 || bad[32] > 0.5 || strains[32].Used != 0 {
		t.Errorf("bad in minutes 8, 12 and 32: %v, %v, %v; used %v and %v", bad[8], bad[12], bad[32], strains[12].Used, strains[32].Used)
	}
	w := world(t, worn())
	if _, err := w.Apply(assay.Action{Kind: assay.ActionAdjust, Service: "s", Lever: assay.LeverRegion, Scope: "a", Now: 50}); err != nil {
		t.Fatal(err)
	}
	if idle, _ := told(t, w, "a", 12); idle[11].Used > 0.1 {
		t.Errorf("nobody asks it, and %v is used", idle[11].Used)
	}
}
