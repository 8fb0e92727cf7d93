package decide

import (
	"fmt"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// burstSlot is the shortest length of time that counts are added up over before their
// variance is looked at; longer ones, up to sixteen of them, are looked at too.
const burstSlot = 15 * time.Second

// learn adds what the old version counted in one interval to what is known about
// bursts. The new version's counts are no part of it: they are what is judged.
func (w *Watch) learn(p Plan, ind Indicator, control []infer.Count, from, to time.Time) error {
	if p.Certainty == assay.Exact || ind.Kind == KindCount {
		return nil
	}
	next := slices.Clone(w.Bursts)
	if len(next) == 0 {
		next = make([]Bursts, len(control))
	}
	for i, c := range control {
		b := &next[i]
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
	if learned := w.Bursts[t.slot].Learned.Factor(); learned > stated {
		return learned, fmt.Sprintf("evidence divided by %.2g, learned from %s since the rollout began", learned, p.Control)
	}
	return stated, ind.Calibration.words(stated)
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
	for i, t := range tests {
		w := s.Watches[t.indicator]
		share := float64(p.Steps[s.Step]) / 100
		if all := w.StepRequests + w.StepControl; all > 0 {
			share = max(share, float64(w.StepRequests)/float64(all))
		}
		factor += t.weight * p.overshoot(share, phi[i])
		total += t.weight
	}
	factor /= total
	return exact + math.Log(factor), fmt.Sprintf("calibrated: at ln(1/alpha) false aborts are at most %.2g of alpha, measured by bench/detect", factor)
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
	return math.Pow(infer.Overshoot(share), 1/phi)
}
