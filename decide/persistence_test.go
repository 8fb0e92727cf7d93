package decide_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

// Where work hangs together for minutes, three times the work for two minutes may be a visit:
// the rollout holds and says so. Where there is much more of it no visit explains it, and
// where nothing is known to last, or bounds are to be exact, it is not asked.
func TestHarmThatVisitsExplainWaitsAndSaysSo(t *testing.T) {
	lasting := &infer.Index{Limit: 60, Time: 60}
	for _, c := range []struct {
		name      string
		lasts     *infer.Index
		certainty assay.Certainty
		events    uint64 // of the new version in a second, which are three times as many as it should have
		want      assay.ActionKind
	}{
		{"nothing lasts", nil, assay.Calibrated, 3, assay.ActionAbort},
		{"work lasts", lasting, assay.Calibrated, 3, assay.ActionHold},
		{"there is much of it", lasting, assay.Calibrated, 60, assay.ActionAbort},
		{"bounds are exact", lasting, assay.Exact, 3, assay.ActionAbort},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := measured(decide.Indicator{Kind: decide.KindCount, Persistence: c.lasts})
			p.Steps, p.MinRequests, p.Certainty = []int{10, 100}, 1<<40, c.certainty // it is watched to the end
			d, took := follow(t, p, 120, func(n int) []assay.Reading {
				return both(n, func(canary bool, _ uint64, r *assay.Reading) {
					if r.Count = c.events * 3; canary {
						r.Count = c.events
					}
				})
			})
			if d.Action.Kind != c.want {
				t.Errorf("%s after %d s: %s", d.Action.Kind, took, d.Words)
			}
			const why = "what v1 counts hangs together for about 1m0s: it may be a few visits"
			if says := strings.Contains(d.Words, why); says != (c.want == assay.ActionHold) {
				t.Errorf("it says: %s", d.Words)
			}
			if work := d.Tests[len(d.Tests)-1]; c.want == assay.ActionHold && !(work.Dispersion > 30 && work.Dispersion < 40) {
				t.Errorf("after two minutes evidence is divided by %v: %s", work.Dispersion, work.Basis)
			}
		})
	}
}

// The new version begins without visits: that it does no more work than the old one is not
// shown before as much of it was seen as visits come to.
func TestSafetyWaitsForWhatLasts(t *testing.T) {
	took := map[bool]int{}
	for _, lasts := range []bool{false, true} {
		p := measured(decide.Indicator{Kind: decide.KindCount})
		if p.Indicators = p.Indicators[1:]; lasts {
			p.Indicators[0].Persistence = &infer.Index{Limit: 20, Time: 600}
		}
		p.Steps = []int{10, 100}
		var d assay.Decision
		d, took[lasts] = follow(t, p, 600, func(n int) []assay.Reading {
			return both(n, func(_ bool, share uint64, r *assay.Reading) { r.Count = share })[2:]
		})
		if d.Action.Kind != assay.ActionFinish {
			t.Fatalf("%s after %d s: %s", d.Action.Kind, took[lasts], d.Words)
		}
	}
	if took[true] < 10*took[false] {
		t.Errorf("safe after %d s where work lasts for minutes, and %d s where it does not", took[true], took[false])
	}
}

// A rollout whose evidence is divided by what lasts is made again to the byte.
func TestDecisionsAboutWhatLastsReplay(t *testing.T) {
	p := measured(decide.Indicator{Kind: decide.KindCount, Persistence: &infer.Index{Limit: 30, Time: 60}})
	s := begin(t, p)
	for n := range 20 {
		r, err := decide.Decide(p, s, both(n, func(_ bool, share uint64, r *assay.Reading) { r.Count = 3 * share }), allow, start.Add(time.Duration(n+1)*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decide.Replay(data); err != nil || !again.Identical || !bytes.Equal(again.Bytes, data) {
			t.Fatalf("decision %d: %+v, %v", n, again.SameChoice, err)
		}
		s = r.After
	}
}

// What lasts is learned of counts and values of requests, of an hour and a half of minutes,
// and of nothing else: what bad events decide is what it was.
func TestWhatLastsIsLearnedOfWorkAlone(t *testing.T) {
	for _, c := range []struct {
		name      string
		indicator decide.Indicator
		minutes   float64 // that a visit stays
		want      bool
	}{
		{"visits of five minutes", decide.Indicator{Kind: decide.KindCount}, 5, true},
		{"sums of visits", decide.Indicator{Kind: decide.KindValue, Max: 1}, 5, true},
		{"nobody stays", decide.Indicator{Kind: decide.KindCount}, 0, false},
		{"less is worse", decide.Indicator{Kind: decide.KindCount, Less: true}, 5, false},
		{"bad events", decide.Indicator{}, 5, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(47, 1))
			p := measured(c.indicator)
			p.Indicators[1].Persistence = &infer.Index{Limit: 7, Time: 7} // what was known is no more
			if !c.want {
				p.Indicators[1].Persistence = nil
			}
			var history [][]assay.Reading
			var staying []float64
			for n := range 90 {
				if c.minutes > 0 && rng.Float64() < 0.3 {
					staying = append(staying, c.minutes*rng.ExpFloat64())
				}
				work := 30 + uint64(20*rng.Float64())
				for v := range staying {
					if staying[v]--; staying[v] > -1 {
						work += 30
					}
				}
				r := second(60*n, [2]uint64{0, 1}, [2]uint64{0, 1000})[1]
				r.Indicator, r.End, r.Good = "work", r.Start.Add(time.Minute), 1000-work
				r.EventTime, r.Ingested = r.End, r.End
				r.Count, r.Sum = work, float64(work)
				history = append(history, []assay.Reading{r})
			}
			got, err := decide.Calibrate(p, "work", history, decide.Draws{Next: rng.Float64})
			if err != nil {
				t.Fatal(err)
			}
			x := got.Persistence
			if (x != nil) != c.want {
				t.Fatalf("learned %+v", x)
			}
			if x != nil && !(x.Limit > 10 && x.Time > 60 && x.Time < 15*60) {
				t.Errorf("learned %+v of visits of 300 s", x)
			}
		})
	}
}

func TestPersistenceThatCannotBeIsRefused(t *testing.T) {
	good := infer.Index{Limit: 3, Time: 60}
	for name, i := range map[string]decide.Indicator{
		"no time":          {Kind: decide.KindCount, Persistence: &infer.Index{Limit: 3}},
		"less than chance": {Kind: decide.KindCount, Persistence: &infer.Index{Limit: 0.5, Time: 60}},
		"not a number":     {Kind: decide.KindCount, Persistence: &infer.Index{Limit: math.NaN(), Time: 60}},
		"for ever":         {Kind: decide.KindCount, Persistence: &infer.Index{Limit: 3, Time: math.Inf(1)}},
		"of a gauge":       {Kind: decide.KindGauge, Max: 1, Every: time.Second, Persistence: &good},
		"less is worse":    {Kind: decide.KindCount, Less: true, Persistence: &good},
		"of bad events":    {Persistence: &good},
	} {
		if err := measured(i).Check(); err == nil || !strings.Contains(err.Error(), "persistence") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := measured(decide.Indicator{Kind: decide.KindCount, Persistence: &good}).Check(); err != nil {
		t.Error(err)
	}
}
