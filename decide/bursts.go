package decide

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// burstSlot is the shortest length of time that counts are added up over before their
// variance is looked at; longer ones, up to sixteen of them, are looked at too. Short
// ones tell a burst from more errors at once, so a longer reading is a slot of its own.
const burstSlot = time.Second

// learn adds what the old version counted in one interval to what is known about
// bursts, and keeps the worst reading of the new version and how it spreads. The new
// version's counts are no part of the dispersion: they are what is judged.
func (w *Watch) learn(p *Plan, ind *Indicator, canary, control []infer.Count, beside []infer.Slot, from, to time.Time, memory *memory) error {
	if p.Certainty == assay.Exact || ind.Kind == KindGauge {
		return nil // of a gauge, gather learns
	}
	next := taken(&memory.bursts, len(control), memory.tests)
	copy(next, w.Bursts)
	spreads, room := len(ind.Bounds) == 0, &memory.counts
	for i, c := range control {
		b := &next[i]
		b.Worst = max(b.Worst, canary[i].Events)
		at := b.begun()
		if at.Began.IsZero() {
			at.Began = from.UTC()
		}
		at.Slot.Events += c.Events
		at.Slot.Exposure += c.Exposure
		if beside != nil {
			at.Beside = at.besides(beside[i])
		}
		if ind.plain() && !ind.reversed() {
			b.Visit = b.Visit.with(canary[i], c, from, to)
		}
		if spreads {
			at.Canary.Events += canary[i].Events
			at.Canary.Exposure += canary[i].Exposure
		}
		if to.Sub(at.Began) < burstSlot {
			b.Stretch = new(at)
			continue
		}
		slot := at.Beside
		if slot == nil {
			slot = room.Slot(at.Slot)
		}
		if err := b.Learned.Learn(slot, ind.Kind == KindCount, room); err != nil {
			return err
		}
		if ind.Replicas {
			if err := b.whole(room.Slot(at.Slot), room); err != nil {
				return err
			}
		}
		if spreads {
			if err := b.spread(room.Slot(at.Canary), ind.Kind == KindCount, room); err != nil {
				return err
			}
		}
		b.Stretch = nil
	}
	w.Bursts = next
	return nil
}

// begun is what is being counted, nothing between two stretches.
func (b *Bursts) begun() Stretch {
	if b.Stretch == nil {
		return Stretch{}
	}
	return *b.Stretch
}

// spread adds what the new version counted in a stretch of time.
func (b *Bursts) spread(s infer.Slot, many bool, m *infer.Memory) error {
	d := new(infer.Dispersion)
	if b.Spread != nil {
		*d = *b.Spread
	}
	if err := d.Learn(s, many, m); err != nil {
		return err
	}
	if b.Spread = d; d.Empty() {
		b.Spread = nil
	}
	return nil
}

// odds is ln of how much more probable what was learned of both versions is at a dispersion
// of phi than at known.
// shared is what both of them vary more because of what hits both, see Bursts.shared.
func (b *Bursts) odds(known, phi, shared float64) float64 {
	odds := b.Learned.Odds(known, phi)
	if b.Spread != nil {
		odds += b.Spread.Odds(known+shared, phi+shared)
	}
	return odds
}

// dispersion is what a test's evidence of harm and of safety is divided by, and where that
// comes from.
func (t *test) dispersion(p *Plan, w *Watch, elapsed time.Duration) (harm, safe float64, why string) {
	harm, safe, why = t.scattered(p, w)
	x := p.Indicators[t.indicator].Persistence
	if x == nil || p.Certainty == assay.Exact {
		return harm, safe, why
	}
	safe = max(safe, x.Limit) // the new version begins without visits, and looks better than it is
	if long := x.At(elapsed.Seconds()); long > harm {
		return long, safe, p.lasting(x, elapsed, long)
	}
	return harm, safe, why
}

// scattered is dispersion without what lasts.
func (t *test) scattered(p *Plan, w *Watch) (harm, safe float64, why string) {
	ind := &p.Indicators[t.indicator]
	if ind.Kind == KindGauge {
		harm, why = t.wandered(p, w)
		return harm, harm, why
	}
	stated := max(ind.Dispersion, 1)
	if p.Certainty == assay.Exact || len(w.Bursts) == 0 {
		return stated, ind.safeDispersion(stated), ind.dividedWords(stated)
	}
	if learned := w.Bursts[t.slot].Learned.Beyond(stated); learned > stated {
		return learned, learned, fmt.Sprintf("evidence divided by %.2g, learned from %s since the rollout began", learned, w.from(p.Control))
	}
	return stated, ind.safeDispersion(stated), ind.dividedWords(stated)
}

// dividedWords says what the plan's factors rest on.
func (i *Indicator) dividedWords(stated float64) string {
	words := i.Calibration.words(stated)
	if safe := i.safeDispersion(stated); words != "" && safe != stated {
		words += fmt.Sprintf("; evidence of safety by %.2g", safe)
	}
	return words
}

// safeDispersion is what the plan divides evidence of safety by.
func (i *Indicator) safeDispersion(stated float64) float64 {
	if i.SafeDispersion == 0 {
		return stated
	}
	return i.SafeDispersion
}

const (
	// burstEvents is how many events of one reading are taken for one burst at the most;
	// one in a thousand is longer where they are nine times as variable as independent ones.
	burstEvents = 30
	// burstHarm is ln E that the combined harm must reach without that burst.
	burstHarm = 2
	// burstDoubt is the greatest sum, over burstSizes, of how much more probable the counts
	// are at a dispersion times the chance, if it were so, of harm as great as that shown.
	burstDoubt = 0.3
	// burstGone is the sum of the former alone below which bursts are out of the question.
	burstGone = 0.1
)

// burstSizes are the dispersions, in units of the one that evidence is divided by, that
// harm is doubted for until the counts of the rollout itself speak against them.
var burstSizes = [...]float64{3, 9}

// alone says why harm that was shown may be a few bursts, "" if it is not. Before anybody
// can know that events come in bursts, a few of them look like a regression. So harm waits
// as long as bursts are as good an explanation, given how the events of both versions lie
// in time; and unless these rule bursts out, harm that rests on one reading alone waits for
// another. Calibrated: bench/detect prints how often good versions are aborted. Plans with
// exact bounds do without.
func (p Plan) alone(s State, tests []test, signals []assay.Signal, phis []float64, total float64) string {
	if p.Certainty == assay.Exact {
		return ""
	}
	carrier, most := -1, math.Inf(-1)
	for i, t := range tests {
		if !signals[t.indicator].Known {
			continue
		}
		if e := t.comparison.Harm(s.Watches[t.indicator].Tests[t.slot]) + math.Log(t.weight); e > most {
			carrier, most = i, e
		}
	}
	if carrier < 0 || !tests[carrier].bursts(s) {
		return "" // what harm rests on is not counted in bursts
	}
	t := tests[carrier]
	b := &s.Watches[t.indicator].Bursts[t.slot]
	shared := b.shared(&s.Watches[t.indicator].Tests[t.slot])
	doubt, plain, worst := 0.0, 0.0, 0.0
	words := ""
	for _, times := range burstSizes {
		phi := phis[carrier] * times
		odds := math.Exp(b.odds(phis[carrier], phi, shared))
		e, _ := combinedHarm(s, tests, signals, total, func(i int, w Watch) (float64, uint64) {
			return tests[i].comparison.Deflated(phis[i] * times).Harm(w.Tests[tests[i].slot]), 0
		})
		each := odds * math.Exp(-max(0, e))
		doubt, plain = doubt+each, plain+odds
		if each > worst {
			worst, words = each, fmt.Sprintf("it may be a few bursts: with a dispersion of %.2g, which the readings so far make %.2g times as probable as %.2g, it is %s", phi, odds, phis[carrier], evalue(e))
		}
	}
	if !(doubt <= burstDoubt) {
		return words
	}
	if plain < burstGone && !t.visited(&p) {
		return ""
	}
	if e, events := combinedHarm(s, tests, signals, total, func(i int, w Watch) (float64, uint64) {
		return tests[i].withoutBurst(w, plain < burstGone)
	}); e < burstHarm && t.visited(&p) {
		return fmt.Sprintf("without %d events, as many as its busiest stretch of %s had more or one reading had, which may be one user's or one job's, it is %s and not %s", events, visitTime, evalue(e), evalue(burstHarm))
	} else if e < burstHarm {
		return fmt.Sprintf("without the %d bad events of one reading, which may be one burst, it is %s and not %s", events, evalue(e), evalue(burstHarm))
	}
	return ""
}

// bursts reports whether the test counts something that comes in bursts. Bounds are
// exceeded too often for a few readings to decide anything.
func (t test) bursts(s State) bool {
	return t.bound == 0 && len(s.Watches[t.indicator].Bursts) > 0
}

// combinedHarm is the combined harm of the known tests if those that count bursts had what
// changed says, and the most events that it took away from one.
func combinedHarm(s State, tests []test, signals []assay.Signal, total float64, changed func(test int, w Watch) (harm float64, events uint64)) (float64, uint64) {
	var known []infer.Weighted
	weight, most := 0.0, uint64(0)
	for i, t := range tests {
		if !signals[t.indicator].Known {
			continue
		}
		w := s.Watches[t.indicator]
		e, events := 0.0, uint64(0)
		if t.bursts(s) {
			e, events = changed(i, w)
		} else {
			e = t.comparison.Harm(w.Tests[t.slot])
		}
		known = append(known, infer.Weighted{LogE: e, Weight: t.weight})
		weight, most = weight+t.weight, max(most, events)
	}
	mean, _ := infer.Average(known) // harm was shown, so there is one, and weights were checked
	return mean + math.Log(weight/total), most
}

// withoutBurst is ln E of harm if the test's worst reading of the new version had a burst
// less, unless bursts of one reading are out of the question, or its busiest stretch had
// what it had more; and how many events that would be.
func (t test) withoutBurst(w Watch, gone bool) (harm float64, events uint64) {
	if !gone {
		events = min(w.Bursts[t.slot].Worst, burstEvents)
	}
	events = max(events, w.Bursts[t.slot].Visit.events())
	return t.comparison.HarmWithout(w.Tests[t.slot], events), events
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
		if ind := &p.Indicators[t.indicator]; ind.plain() || ind.Accept != 0 {
			factor += t.weight * p.overshootOf(ind, share, phi[i])
			total += t.weight
			continue
		}
		if over == 0 || share != at || phi[i] != by {
			over, at, by = p.overshoot(share, phi[i]), share, phi[i]
		}
		factor += t.weight * over
		total += t.weight
	}
	factor /= total
	b := append(make([]byte, 0, 96), "calibrated: at ln(1/alpha) false aborts are at most "...)
	b = appendDigits(b, factor, 2)
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
