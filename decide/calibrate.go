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

// Calibration is what a baseline's own history said about an indicator: how far its
// bad events come in bursts, and how often a rollout of a version that is the same
// would have been aborted. It travels with the plan, so that the label "calibrated"
// has its measurement.
type Calibration struct {
	Slots      int     `json:"slots"`      // of the history that were used
	Arms       int     `json:"arms"`       // replicas side by side in a slot; 1 if there is only the whole
	Dispersion float64 `json:"dispersion"` // variance-to-mean ratio, the greatest over tests and lengths of time
	Upper      float64 `json:"upper"`      // its upper bound at one-sided 95 %; 0 is unknown
	Learned    float64 `json:"learned"`    // the factor that follows from it
	Runs       uint64  `json:"runs"`       // rollouts of the old version against itself
	Before     uint64  `json:"before"`     // of them aborted at the learned factor
	Aborts     uint64  `json:"aborts"`     // of them aborted at the factor that is used
	Low        float64 `json:"low"`        // Clopper–Pearson interval of that rate at 95 %
	High       float64 `json:"high"`
	Seed       uint64  `json:"seed"`
}

// words says what a factor rests on.
func (c *Calibration) words(factor float64) string {
	if factor <= 1 {
		return ""
	}
	if c == nil {
		return fmt.Sprintf("evidence divided by %.2g, which the plan states; the error bound holds as far as that was measured", factor)
	}
	of := "the old version"
	if c.Arms > 1 {
		of = strconv.Itoa(c.Arms) + " replicas of the old version side by side"
	}
	return fmt.Sprintf("evidence divided by %.2g: %d slots of %s have a dispersion of %.2g; against itself it was aborted in %d of %d rollouts (%.2g to %.2g %%)",
		factor, c.Slots, of, c.Dispersion, c.Aborts, c.Runs, 100*c.Low, 100*c.High)
}

const (
	// MaxHistory bounds the slots of a Calibrate: two weeks of minutes.
	MaxHistory = 14 * 24 * 60
	// selfBlock is how many slots one pseudo-canary is drawn from when there are no
	// replicas: it gets a tenth of the traffic.
	selfBlock = 10
	// selfSteps and selfGrow are how far the factor is raised in search of one at which
	// the old version is not aborted against itself too often.
	selfSteps = 16
	selfGrow  = 1.15
)

// Draws are the random numbers of a Calibrate. Nothing is drawn here: whoever calls
// makes them, and can make the same ones again from Seed, which is recorded.
type Draws struct {
	Seed uint64
	Next func() float64 // from 0 up to below 1, independent and uniform
}

// order puts 0 to n−1 into a random order (Fisher and Yates).
func (d Draws) order(n int) ([]int, error) {
	out := make([]int, n)
	for i := range out {
		u := d.Next()
		if !(u >= 0 && u < 1) {
			return nil, assay.Errorf(assay.CodeInvalid, "%v was drawn, which is not from 0 up to below 1", u)
		}
		j := int(u * float64(i+1))
		out[i], out[j] = out[j], i
	}
	return out, nil
}

// Calibrate learns an indicator's dispersion from the old version's history and tries
// it out: the history is split into rollouts of the old version against itself. It
// returns the indicator with Dispersion, Persistence and Calibration set.
//
// A slot is the readings of one stretch of time (best a minute), oldest slot first:
// one for each replica, always in the same order, or one for the whole. With replicas
// each is the canary of the others in turn. Without, whole slots are drawn: of ten in
// a row one is the canary's, so that bursts stay whole; an incident that is over
// within them then counts as a burst, which is careful, not wrong. The draws are the
// caller's, who can make them again from their seed. Errors: CodeInvalid for an indicator that the plan does not have or a reading
// that cannot be, CodeTooLarge above MaxHistory.
func Calibrate(p Plan, indicator string, history [][]assay.Reading, draws Draws) (Indicator, error) {
	if draws.Next == nil {
		return Indicator{}, assay.Errorf(assay.CodeInvalid, "indicator %q is calibrated without draws", indicator)
	}
	n := slices.IndexFunc(p.Indicators, func(i Indicator) bool { return i.Name == indicator })
	if n < 0 {
		return Indicator{}, assay.Errorf(assay.CodeInvalid, "plan %q has no indicator %q", p.Name, indicator)
	}
	if len(history) > MaxHistory {
		return Indicator{}, assay.Errorf(assay.CodeTooLarge, "%d slots of history, at most %d are used", len(history), MaxHistory)
	}
	ind := p.Indicators[n]
	h, err := newHistory(p, ind, history)
	if err != nil {
		return Indicator{}, err
	}
	ind.Persistence = h.persistence(&p, 0)
	c := Calibration{Slots: len(h.slots), Arms: h.arms, Dispersion: 1, Learned: 1, Seed: draws.Seed}
	contradicted := 1.0
	for t := range h.tests {
		d, err := h.varies(t, ind)
		if err != nil {
			return Indicator{}, err
		}
		phi, upper := d.Measured()
		c.Dispersion = max(c.Dispersion, phi)
		c.Learned = max(c.Learned, d.Factor())
		contradicted = max(contradicted, d.Contradicted())
		if !math.IsInf(upper, 1) {
			c.Upper = max(c.Upper, upper)
		}
	}
	runs, err := h.against(p, c.Learned, draws)
	if err != nil {
		return Indicator{}, err
	}
	ind.Dispersion = c.settle(runs, p.Alpha)
	ind.SafeDispersion = 0
	if low, _ := infer.ClopperPearson(c.Before, c.Runs, 0.95); low <= p.Alpha && contradicted < ind.Dispersion {
		ind.SafeDispersion = contradicted // the runs against itself do not say that bursts are missing in it
	}
	ind.Calibration = &c
	return ind, nil
}

// settle finds the least factor at which not more than alpha of the runs were aborted,
// and puts the counts into c.
func (c *Calibration) settle(runs [][selfSteps]bool, alpha float64) float64 {
	c.Runs = uint64(len(runs))
	factor := c.Learned
	for k := range selfSteps {
		aborts := uint64(0)
		for _, r := range runs {
			if r[k] {
				aborts++
			}
		}
		if k == 0 {
			c.Before = aborts
		}
		c.Aborts = aborts
		if float64(aborts) <= alpha*float64(len(runs)) {
			break
		}
		if k+1 < selfSteps {
			factor *= selfGrow
		}
	}
	c.Low, c.High = infer.ClopperPearson(c.Aborts, c.Runs, 0.95)
	return factor
}

// history is the old version's counts: by slot, test and arm.
type history struct {
	slots  [][]infer.Slot
	tests  []test
	arms   int
	length time.Duration // of one slot
	ind    Indicator
}

// variation is what infer.Dispersion says of counts and infer.Wander of means.
type variation interface {
	Measured() (phi, upper float64)
	Factor() float64
	Contradicted() float64
}

// varies is how much more what a test counts varies than independent events or values would.
func (h history) varies(test int, ind Indicator) (variation, error) {
	if ind.Kind == KindGauge {
		var d infer.Wander
		for _, s := range h.slots {
			var all infer.Count // replicas of one version are one value
			for _, c := range s[test] {
				all.Events, all.Exposure = all.Events+c.Events, all.Exposure+c.Exposure
			}
			d = d.Observe(all)
		}
		return d, nil
	}
	var d infer.Dispersion
	for _, s := range h.slots {
		var err error
		if ind.Kind == KindCount {
			d, err = d.ObserveCounts(s[test])
		} else {
			d, err = d.Observe(s[test])
		}
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

func newHistory(p Plan, ind Indicator, in [][]assay.Reading) (history, error) {
	one := p
	one.Indicators = []Indicator{ind}
	tests, err := one.tests()
	if err != nil {
		return history{}, err
	}
	config := p.Comparison(ind)
	config.Lattice = nil // of the interval, which nobody looks at here
	bare, err := infer.New(config)
	if err != nil {
		return history{}, err
	}
	h := history{tests: tests, ind: ind}
	for i := range h.tests {
		h.tests[i].comparison = bare
	}
	carry := map[int]*float64{}
	for _, readings := range in {
		if len(readings) == 0 {
			continue
		}
		if h.arms == 0 {
			h.arms, h.length = len(readings), readings[0].End.Sub(readings[0].Start)
		}
		slot := make([]infer.Slot, len(tests))
		for arm, r := range readings {
			if err := r.Check(); err != nil {
				return history{}, err
			}
			if carry[arm] == nil {
				carry[arm] = new(0.0)
			}
			for t := range tests {
				c, why := count(&ind, &tests[t], &r, carry[arm])
				if why != "" {
					return history{}, assay.Errorf(assay.CodeInvalid, "history of %s: %s", ind.Name, why)
				}
				slot[t] = append(slot[t], c)
			}
		}
		h.slots = append(h.slots, slot)
	}
	return h, nil
}

// against runs the old version against itself: for every window of the horizon's
// length and every pseudo-canary in it, whether the rollout would have been aborted at
// each factor.
func (h history) against(p Plan, learned float64, from Draws) ([][selfSteps]bool, error) {
	if len(h.slots) == 0 {
		return nil, nil
	}
	window := max(3*selfBlock, int(math.Ceil(p.Horizon.Seconds()/max(h.length.Seconds(), 1e-9))))
	window = min(window/selfBlock*selfBlock, len(h.slots)/selfBlock*selfBlock)
	if window == 0 {
		return nil, nil
	}
	var out [][selfSteps]bool
	for at := 0; at+window <= len(h.slots); at += window {
		part := h.slots[at : at+window]
		pseudo := h.arms
		var draws [][]int
		if h.arms < 2 {
			pseudo = selfBlock
			for range window / selfBlock {
				perm, err := from.order(selfBlock)
				if err != nil {
					return nil, err
				}
				draws = append(draws, perm)
			}
		}
		for k := range pseudo {
			r, err := h.run(p, part, draws, k, learned)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// run is one rollout of the old version against itself.
func (h history) run(p Plan, part [][]infer.Slot, draws [][]int, canary int, learned float64) (aborted [selfSteps]bool, err error) {
	states := make([]infer.State, len(h.tests))
	look := func(pair func(t int) infer.Pair) error {
		for t := range h.tests {
			pr := pair(t)
			if pr.Treated.Exposure == 0 || pr.Control.Exposure == 0 {
				return nil
			}
			if states[t], err = h.tests[t].comparison.Update(states[t], pr); err != nil {
				return err
			}
		}
		h.judge(p, states, learned, &aborted)
		return nil
	}
	if draws == nil {
		for _, slot := range part {
			if err := look(func(t int) infer.Pair { return oneAgainst(slot[t], canary) }); err != nil {
				return aborted, err
			}
		}
		return aborted, nil
	}
	for block, perm := range draws {
		if err := look(func(t int) infer.Pair {
			row := make(infer.Slot, selfBlock)
			for i := range row {
				row[i] = part[block*selfBlock+i][t][0]
			}
			return oneAgainst(row, perm[canary])
		}); err != nil {
			return aborted, err
		}
	}
	return aborted, nil
}

func oneAgainst(s infer.Slot, canary int) (out infer.Pair) {
	for i, c := range s {
		to := &out.Control
		if i == canary {
			to = &out.Treated
		}
		to.Events += c.Events
		to.Exposure += c.Exposure
	}
	return out
}

// judge notes at which factors the states would abort.
func (h history) judge(p Plan, states []infer.State, learned float64, aborted *[selfSteps]bool) {
	phi := learned
	for k := range aborted {
		var all []infer.Weighted
		factor, total := 0.0, 0.0
		for t, s := range states {
			if s.Pairs == 0 {
				return
			}
			all = append(all, infer.Weighted{LogE: h.tests[t].comparison.Deflated(phi).Harm(s), Weight: h.tests[t].weight})
			share := float64(s.Treated.Exposure) / float64(s.Treated.Exposure+s.Control.Exposure)
			over := p.overshoot(share, phi)
			if h.ind.plain() || h.ind.Accept != 0 {
				over = p.overshootOf(&h.ind, share, phi)
			}
			factor += h.tests[t].weight * over
			total += h.tests[t].weight
		}
		e, _ := infer.Average(all) // the weights are the plan's
		aborted[k] = aborted[k] || e >= math.Log(factor/total)-math.Log(p.Alpha)
		phi *= selfGrow
	}
}
