package infer_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"assay.dev/assay/infer"
)

// The index grows from 1, at first with half the stretch over the time, and comes to its limit.
func TestTheIndexOfDispersionGrowsWithTheStretch(t *testing.T) {
	x := infer.Index{Limit: 21, Time: 60}
	for _, c := range []struct{ seconds, want float64 }{
		{0, 1}, {-5, 1}, {0.6, 1.1}, {60, 1 + 20*math.Exp(-1)}, {600, 1 + 20*0.9}, {1e9, 21},
	} {
		if got := x.At(c.seconds); math.Abs(got-c.want) > 0.01 {
			t.Errorf("after %v s it is %v, want %v", c.seconds, got, c.want)
		}
	}
	for before, seconds := 1.0, 1.0; seconds < 1e4; seconds *= 1.1 {
		if now := x.At(seconds); now < before || now > x.Limit {
			t.Fatalf("after %v s it is %v, before %v", seconds, now, before)
		} else {
			before = now
		}
	}
	if got := (infer.Index{Limit: 0.5, Time: 60}).At(600); got != 1 {
		t.Errorf("what varies less than independent events has %v", got)
	}
}

// visited are counts of so many slots: independent events, and visits that begin by chance,
// last for so many slots on average and have as many events in each slot.
func visited(rng *rand.Rand, slots int, events, visits, last float64, each uint64) []infer.Slot {
	var staying []float64
	out := make([]infer.Slot, slots)
	for i := -50; i < slots; i++ {
		for at := rng.ExpFloat64() / visits; visits > 0 && at < 1; at += rng.ExpFloat64() / visits {
			staying = append(staying, last*rng.ExpFloat64())
		}
		n := uint64(0)
		for left := events - rng.ExpFloat64(); left > 0; left -= rng.ExpFloat64() {
			n++
		}
		for v := range staying {
			if staying[v] > 0 {
				n += each
			}
			staying[v]--
		}
		staying = slices.DeleteFunc(staying, func(s float64) bool { return s <= 0 })
		if i >= 0 {
			out[i] = infer.Slot{{Events: n, Exposure: 600}}
		}
	}
	return out
}

// From an hour and a half of minutes, how long counts hang together and what they come to is
// found, as a rule within a factor of two, and nothing is found where nothing lasts.
func TestPersistenceIsThatOfTheVisits(t *testing.T) {
	const runs, slots = 200, 90
	for _, c := range []struct {
		name          string
		visits, last  float64
		each          uint64
		swing         float64 // of the day, which is half over in as many slots
		limit, time   float64 // in the long run, and slots
		found, toMany int     // of 200 at least and at most
	}{
		{name: "independent events", toMany: 10},
		{name: "half a day", swing: 0.9, toMany: 10},
		{name: "visits of five minutes", visits: 0.3, last: 5, each: 10, limit: 34, time: 5, found: 190, toMany: runs},
		{name: "visits of two minutes", visits: 0.3, last: 2, each: 20, limit: 25, time: 2, found: 180, toMany: runs},
	} {
		t.Run(c.name, func(t *testing.T) {
			var limits, times []float64
			for run := range uint64(runs) {
				in := visited(rand.New(rand.NewPCG(41, run)), slots, 40, c.visits, c.last, c.each)
				for i, s := range in {
					s[0].Events = uint64(float64(s[0].Events) * (1 + c.swing*math.Sin(math.Pi*float64(i)/slots)))
				}
				if x, ok := infer.Persistence(in, 60); ok {
					limits, times = append(limits, x.Limit), append(times, x.Time/60)
				}
			}
			slices.Sort(limits)
			slices.Sort(times)
			if n := len(limits); n < c.found || n > c.toMany {
				t.Fatalf("found in %d of %d, want %d to %d", n, runs, c.found, c.toMany)
			}
			if c.found == 0 {
				return
			}
			limit, time := limits[len(limits)/2], times[len(times)/2]
			t.Logf("limit %.3g (%.3g to %.3g), time %.3g", limit, limits[len(limits)/10], limits[len(limits)*9/10], time)
			if limit < c.limit/2 || limit > c.limit*2 || time < c.time/2 || time > c.time*2 {
				t.Errorf("the median limit is %v and time %v, want about %v and %v", limit, time, c.limit, c.time)
			}
		})
	}
}

// What hits all replicas alike for a while is nobody's visit; what stays with one of them is.
func TestIncidentsOfAllReplicasAreNoPersistence(t *testing.T) {
	const runs, slots, arms = 50, 90, 3
	for _, c := range []struct {
		name string
		all  bool
		want [2]int // of 50, at least and at most
	}{{"all of them", true, [2]int{0, 3}}, {"each its own", false, [2]int{45, runs}}} {
		found := 0
		for run := range uint64(runs) {
			rng := rand.New(rand.NewPCG(43, run))
			var own [arms][]infer.Slot
			for a := range own {
				own[a] = visited(rng, slots, 40, 0.3, 5, 10)
			}
			in := make([]infer.Slot, slots)
			for i := range in {
				for a := range own {
					one := own[a][i][0]
					if c.all { // the first one's rate, and independent events of it
						rate, n := float64(own[0][i][0].Events), uint64(0)
						for left := rate - rng.ExpFloat64(); left > 0; left -= rng.ExpFloat64() {
							n++
						}
						one.Events = n
					}
					in[i] = append(in[i], one)
				}
			}
			if _, ok := infer.Persistence(in, 60); ok {
				found++
			}
		}
		if found < c.want[0] || found > c.want[1] {
			t.Errorf("%s: found in %d of %d, want %v", c.name, found, runs, c.want)
		}
	}
}

func TestPersistenceSaysNothingOfNothing(t *testing.T) {
	same := func(n int, c ...infer.Count) []infer.Slot { return slices.Repeat([]infer.Slot{c}, n) }
	for name, in := range map[string][]infer.Slot{
		"no slots":          nil,
		"two":               same(2, infer.Count{Events: 1, Exposure: 10}),
		"no arms":           same(90),
		"no traffic":        same(90, infer.Count{}),
		"no events":         same(90, infer.Count{Exposure: 10}),
		"always the same":   same(90, infer.Count{Events: 7, Exposure: 10}),
		"arms that changed": append(same(60, infer.Count{Events: 7, Exposure: 10}), same(60, infer.Count{Events: 70, Exposure: 10}, infer.Count{Events: 1, Exposure: 10})...),
		"one event of all":  append(same(60, infer.Count{Exposure: 10}), infer.Slot{{Events: 1, Exposure: 10}}),
	} {
		if x, ok := infer.Persistence(in, 60); ok {
			t.Errorf("%s: %+v", name, x)
		}
	}
}

func BenchmarkPersistence(b *testing.B) {
	in := visited(rand.New(rand.NewPCG(41, 1)), 360, 40, 0.3, 5, 10)
	for b.Loop() {
		infer.Persistence(in, 60)
	}
}
