package decide

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// burstSlot is the shortest length of time that counts are added up over before their
// variance is looked at; longer ones, up to sixteen of them, are looked at too. Short
// ones tell a burst from more errors at once, so a longer reading is a slot of its own.
const burstSlot = time.Second

// learn adds what the old version counted in one interval to what is known about
// bursts, and keeps the worst reading of the new version. The new version's counts are no
// part of the dispersion: they are what is judged.
func (w *Watch) learn(p *Plan, ind *Indicator, canary, control []infer.Count, from, to time.Time) error {
	if p.Certainty == assay.Exact || ind.Kind == KindCount {
		return nil
	}
	next := slices.Clone(w.Bursts)
	if len(next) == 0 {
		next = make([]Bursts, len(control))
	}
	for i, c := range control {
		b := &next[i]
		b.Worst = max(b.Worst, canary[i].Events)
		if b.Began.IsZero() {
			b.Began = from.UTC()
		}
		b.Slot.Events += c.Events
		b.Slot.Exposure += c.Exposure
		if to.Sub(b.Began) < burstSlot {
			continue
		}
		var err error
		if b.Learned, err = b.Learned.Observe(infer.Slot{b.Slot}); err != nil {
			return err
		}
		b.Slot, b.Began = infer.Count{}, time.Time{}
	}
	w.Bursts = next
	return nil
}

// dispersion is what the evidence of a test is divided by, and where that comes from.
func (t test) dispersion(p Plan, w Watch) (float64, string) {
	ind := p.Indicators[t.indicator]
	stated := max(ind.Dispersion, 1)
	if p.Certainty == assay.Exact || len(w.Bursts) == 0 {
		return stated, ind.Calibration.words(stated)
	}
	if learned := w.Bursts[t.slot].Learned.Beyond(stated); learned > stated {
		return learned, fmt.Sprintf("evidence divided by %.2g, learned from %s since the rollout began", learned, p.Control)
	}
	return stated, ind.Calibration.words(stated)
}

const (
	// burstEvents is how many events of one reading are taken for one burst at the most;
	// one in a thousand is longer where they are nine times as variable as independent ones.
	burstEvents = 30
	// burstHarm is ln E that the combined harm must reach without that burst.
	burstHarm = 2
)

// withoutBurst is ln E of harm if the test's worst reading of the new version had a
// burst less, and how many events that would be. Before anybody can know that events come in bursts, a single one looks like
// a regression: harm that rests on one reading alone waits for another. Bounds are
// exceeded too often for one reading to decide anything. Calibrated.
func (t test) withoutBurst(p Plan, w Watch) (harm float64, events uint64) {
	s := w.Tests[t.slot]
	if p.Certainty == assay.Exact || len(w.Bursts) == 0 || t.bound != 0 {
		return t.comparison.Harm(s), 0
	}
	events = min(w.Bursts[t.slot].Worst, burstEvents)
	return t.comparison.HarmWithout(s, events), events
}

// abortAt is the threshold of the combined harm. The exact one is ln(1/alpha). The
// calibrated one is lower by what evidence jumps over it on the average: less when
// the new version's share is larger, and less when evidence is divided.
func (p Plan) abortAt(s State, tests []test, phi []float64) (float64, string) {
	exact := -math.Log(p.Alpha)
	if p.Certainty == assay.Exact || p.Alpha > overshootAlpha {
		return exact, ""
	}
	factor, total := 0.0, 0.0
	var over, at, by float64 // the overshoot of the test before: that of the next is mostly the same
	for i := range tests {
		t, w := &tests[i], &s.Watches[tests[i].indicator]
		share := float64(p.Steps[s.Step]) / 100
		if all := w.StepRequests + w.StepControl; all > 0 {
			share = max(share, float64(w.StepRequests)/float64(all))
		}
		if i == 0 || share != at || phi[i] != by {
			over, at, by = p.overshoot(share, phi[i]), share, phi[i]
		}
		factor += t.weight * over
		total += t.weight
	}
	factor /= total
	b := append(make([]byte, 0, 96), "calibrated: at ln(1/alpha) false aborts are at most "...)
	b = strconv.AppendFloat(b, factor, 'g', 2, 64)
	return exact + math.Log(factor), string(append(b, " of alpha, measured by bench/detect"...))
}

// overshootAlpha is the greatest alpha for which the overshoot was measured.
const overshootAlpha = 0.05

// overshoot is by how much less than alpha a test alone is aborted falsely. Divided
// evidence moves in smaller steps, so it jumps less far over the threshold.
func (p Plan) overshoot(share, phi float64) float64 {
	if p.Certainty == assay.Exact || p.Alpha > overshootAlpha {
		return 1
	}
	share = share * p.Accept / (share*p.Accept + 1 - share) // of the events, at the null
	if phi == 1 {
		return infer.Overshoot(share)
	}
	return math.Pow(infer.Overshoot(share), 1/phi)
}
