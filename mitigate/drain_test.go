package mitigate_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
)

// zones is the strategy of the example, and zones that are well and use little.
func zones(t *testing.T) *rig {
	t.Helper()
	r := example(t, "drain")
	regions(r)
	for _, x := range r.s.Spec.Divert.Regions {
		r.set("leaving", x.Name, 0)
		r.set("strain", x.Name, 0.4)
		r.set("strain_growth", x.Name, 0)
	}
	return r
}

// spread lets 300 requests a second go where the shares say.
func spread(r *rig) {
	sum := 0.0
	for _, x := range r.s.Spec.Divert.Regions {
		sum += r.at(assay.LeverRegion, x.Name)
	}
	for _, x := range r.s.Spec.Divert.Regions {
		r.set("load", x.Name, 300*r.at(assay.LeverRegion, x.Name)/sum)
	}
}

func value(r *rig, name, scope string) (float64, bool) {
	for _, v := range r.in.Values {
		if v.Name == name && v.Scope == scope {
			return v.Value, true
		}
	}
	return 0, false
}

func TestAZoneWhoseEndIsAnnouncedIsEmptiedBefore(t *testing.T) {
	for _, deterministic := range []bool{true, false} {
		r := zones(t)
		r.s.Spec.Deterministic = deterministic
		r.run(time.Minute, 10*time.Second)
		r.set("leaving", "b", 1)
		r.run(40*time.Second, 10*time.Second)
		if len(r.log) > 0 {
			t.Fatalf("deterministic %v: moved after 40 s of one minute: %+v", deterministic, r.log)
		}
		r.says("it is emptied if that is still so after 1m")
		r.run(40*time.Second, 10*time.Second)
		if got := r.at(assay.LeverRegion, "b"); got != 0 {
			t.Errorf("deterministic %v: b has %v %% of the traffic: %s %v", deterministic, got, r.last.Words, r.last.Reasons)
		}
		if len(r.log) != 1 || r.log[0].Kind != assay.ActionAdjust {
			t.Errorf("deterministic %v: moves %+v, want one: the others have room for twice as much", deterministic, r.log)
		}
		r.run(time.Hour, 10*time.Second)
		if got := r.at(assay.LeverRegion, "b"); got != 0 {
			t.Errorf("deterministic %v: b gets %v %% although it is still announced", deterministic, got)
		}
	}
}

func TestAZoneThatRunsOutOfMemoryIsEmptiedStepByStepBefore(t *testing.T) {
	r := zones(t)
	for i := range r.s.Spec.Divert.Regions { // room for what comes, and not for twice as much
		r.s.Spec.Divert.Regions[i].Capacity = 200
	}
	r.run(time.Minute, 10*time.Second)
	var path []float64
	began := r.now
	strain, out := 0.85, time.Duration(0) // all of it in nine minutes
	for range 60 {
		strain += 10.0 / 3600
		r.set("strain", "a", strain)
		r.set("strain_growth", "a", 1)
		r.step(10 * time.Second)
		if at := r.at(assay.LeverRegion, "a"); len(path) == 0 || path[len(path)-1] != at {
			path = append(path, at)
			if at == 0 {
				out = r.now.Sub(began)
			}
		}
		spread(r)
	}
	want := []float64{40, 38, 34, 26, 16, 0}
	if len(path) != len(want) {
		t.Fatalf("the shares are %v, want %v: %s %v", path, want, r.last.Words, r.last.Reasons)
	}
	for i := range want {
		if math.Abs(path[i]-want[i]) > 0.01 {
			t.Fatalf("the shares are %v, want %v", path, want)
		}
	}
	if out > 9*time.Minute {
		t.Errorf("it was empty after %s, and out of memory after 9m", out)
	}
	r.says("a is empty: ")
}

func TestADrainedZoneComesBackProbeFirstOnceItHasRested(t *testing.T) {
	r := zones(t)
	r.run(time.Minute, 10*time.Second)
	r.set("strain", "a", 0.95)
	r.set("strain_growth", "a", 1)
	r.run(2*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverRegion, "a"); got != 0 {
		t.Fatalf("a has %v %%: %s %v", got, r.last.Words, r.last.Reasons)
	}
	r.in.Values = without(r.in.Values, "a", "bad", "total", "load") // nobody asks it any more
	r.set("strain_growth", "a", -0.1)                               // idle, it gives back some
	r.set("strain", "a", 0.8)
	n := len(r.log)
	r.run(time.Hour, 10*time.Second)
	if len(r.log) > n {
		t.Fatalf("it still uses 80 %% and gets traffic: %+v", r.log[n:])
	}
	r.set("strain", "a", 0.2) // it was started anew
	r.set("strain_growth", "a", 0)
	r.run(11*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverRegion, "a"); math.Abs(got-4) > 1e-9 {
		t.Fatalf("it comes back with %v, want a tenth of its 40: %s %v", got, r.last.Words, r.last.Reasons)
	}
	r.set("bad", "a", 1)
	r.set("total", "a", 2000)
	r.set("load", "a", 12)
	r.run(40*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverRegion, "a"); got != 40 {
		t.Errorf("it ends at %v of 40: %s %v", got, r.last.Words, r.last.Reasons)
	}
}

func TestAZoneThatIsDueNeitherReceivesNorIsEmptiedWithoutRoom(t *testing.T) {
	r := zones(t)
	for i := range r.s.Spec.Divert.Regions {
		r.s.Spec.Divert.Regions[i].Capacity = 150
	}
	r.run(time.Minute, 10*time.Second)
	for _, x := range []string{"a", "b"} {
		r.set("leaving", x, 1)
	}
	for range 180 {
		r.step(10 * time.Second)
		spread(r)
	}
	for _, a := range r.log {
		if a.Scope == "c" {
			t.Errorf("moved %+v", a)
		}
	}
	if got, _ := value(r, "load", "c"); got < 110 || got > 121 {
		t.Errorf("c has %v requests/s of 300; it bears 150, and a quarter more than now may come: %v", got, r.log)
	}
	r.says("have room for")
}

func TestWithoutItsSignalsNothingIsDrained(t *testing.T) {
	for name, lose := range map[string]func(*rig){
		"growth is gone":           func(r *rig) { r.in.Values = without(r.in.Values, "a", "strain_growth") },
		"strain is gone":           func(r *rig) { r.in.Values = without(r.in.Values, "a", "strain") },
		"growth is not a number":   func(r *rig) { r.set("strain_growth", "a", math.NaN()) },
		"it shrinks":               func(r *rig) { r.set("strain_growth", "a", -3) },
		"it grows, slowly":         func(r *rig) { r.set("strain_growth", "a", 0.2) },
		"one look in two says so":  nil,
		"the announcement is gone": func(r *rig) { r.in.Values = without(r.in.Values, "a", "leaving") },
	} {
		t.Run(name, func(t *testing.T) {
			r := zones(t)
			r.run(time.Minute, 10*time.Second)
			r.set("strain", "a", 0.95)
			r.set("strain_growth", "a", 1)
			if lose != nil {
				lose(r)
			}
			for i := range 180 {
				if lose == nil {
					r.set("strain_growth", "a", float64(i%2))
				}
				r.step(10 * time.Second)
			}
			if len(r.log) > 0 {
				t.Errorf("moved %+v: %s", r.log, strings.Join(r.last.Reasons, "\n"))
			}
		})
	}
}
