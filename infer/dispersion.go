package infer

import (
	"math"

	"assay.dev/assay"
)

// Slot is what the arms counted in one stretch of time, side by side: the replicas
// of one version, or that version as a whole. All of them served the same version,
// so what they differ by is chance.
type Slot []Count

// MaxArms bounds the arms of one Slot.
const MaxArms = 1024

// dispersionScales are how many lengths of time are looked at, each four times the
// one before: a burst that outlasts one slot is seen in the longer ones.
const dispersionScales = 3

// Dispersion learns how much more the counts of one version vary than independent
// events would: their variance-to-mean ratio, 1 if events are independent. It is a
// value; the zero Dispersion has seen nothing.
//
// With two arms or more, arms are compared within each slot, so whatever hits all of
// them together (an incident, the time of day) is no dispersion. With one arm, three
// slots in a row are compared by their second difference, which a trend leaves at 0.
type Dispersion struct {
	Scales [dispersionScales]Scale `json:"scales"`
}

// Scale is the evidence at one length of time: sums over terms of squares (Num) that
// have Dispersion times Den as their expectation.
type Scale struct {
	Terms  uint64  `json:"terms,omitempty"`
	Num    float64 `json:"num,omitempty"`
	Den    float64 `json:"den,omitempty"`
	Num2   float64 `json:"num2,omitempty"`
	NumDen float64 `json:"num_den,omitempty"`
	Den2   float64 `json:"den2,omitempty"`
	// Spread is Den2 by the degrees of freedom of each term, once arms were compared side by
	// side: of many arms one slot says as much as many slots of two.
	Spread float64 `json:"spread,omitempty"`
	// Last are, of one arm, the two slots before, which the next is compared with.
	Last  [][1]Count `json:"last,omitempty"`
	Block Slot       `json:"block,omitempty"` // slots that add up to one of the next scale
	Held  int        `json:"held,omitempty"`  // how many are in Block
}

// Observe adds one slot and returns the result; d is not changed. Slots come in the
// order of time. Errors: CodeInvalid if an arm has more events than exposure,
// CodeTooLarge above MaxArms or ExposureLimit.
func (d Dispersion) Observe(s Slot) (Dispersion, error) {
	return d.observed(s, false)
}

// ObserveCounts is Observe for events of which one unit of exposure may have many: what
// they are held against is a Poisson's variance, and there may be more of them than
// exposure.
func (d Dispersion) ObserveCounts(s Slot) (Dispersion, error) {
	return d.observed(s, true)
}

func (d Dispersion) observed(s Slot, many bool) (Dispersion, error) {
	err := d.Learn(s, many, new(Memory))
	return d, err
}

// Learn is Observe, or ObserveCounts where one unit of exposure may have many events, in
// place: for whoever has made a copy already, and has others that learn at the same time.
// What d pointed to before is not changed.
func (d *Dispersion) Learn(s Slot, many bool, m *Memory) error {
	if len(s) > MaxArms {
		return assay.Errorf(assay.CodeTooLarge, "a slot has %d arms, at most %d are compared", len(s), MaxArms)
	}
	for _, c := range s {
		if c.Events > c.Exposure && !many {
			return assay.Errorf(assay.CodeInvalid, "an arm has %d events in an exposure of %d", c.Events, c.Exposure)
		}
		if c.Exposure > ExposureLimit || c.Events > ExposureLimit {
			return assay.Errorf(assay.CodeTooLarge, "an arm has an exposure above %d", uint64(ExposureLimit))
		}
	}
	d.observe(s, 0, many, m)
	return nil
}

// Apart is d for slots of other arms than before: what was learned stays, and what was begun
// with the arms before is given up.
func (d Dispersion) Apart() Dispersion {
	for i := range d.Scales {
		a := &d.Scales[i]
		a.Last, a.Block, a.Held = nil, nil, 0
	}
	return d
}

// Empty reports whether d is the zero Dispersion.
func (d *Dispersion) Empty() bool {
	for i := range d.Scales {
		a := &d.Scales[i]
		if a.Terms != 0 || a.Num != 0 || a.Den != 0 || a.Num2 != 0 || a.NumDen != 0 || a.Den2 != 0 || a.Spread != 0 || a.Held != 0 || a.Last != nil || a.Block != nil {
			return false
		}
	}
	return true
}

// Memory is where Dispersions that learn at the same time, or States that are updated at the
// same time, put what they remember: a few arrays for all of them instead of some for each.
// The zero Memory is ready for use.
type Memory struct {
	counts [][1]Count
	first  int // how many counts there is room for at first
	more   int // when they are full
	norms  []float64
	states int // that norms is for
}

// NewMemory has room for what so many Dispersions remember of a slot of one arm each, unless
// the slot fills one of a longer scale: its count, those of the last two, and a sum.
func NewMemory(dispersions int) Memory {
	return Memory{first: 4 * dispersions, more: 2 * dispersions}
}

// MemoryOfEvidence has room for what so many States remember, of comparisons with the same
// ratios.
func MemoryOfEvidence(states int) Memory { return Memory{states: states} }

// evidence is room for n numbers, all 0.
func (m *Memory) evidence(n int) []float64 {
	if m.states <= 1 {
		return make([]float64, n)
	}
	if m.norms == nil {
		m.norms = make([]float64, 0, n*m.states)
	}
	from := len(m.norms)
	if from+n > cap(m.norms) {
		return make([]float64, n)
	}
	m.norms = m.norms[:from+n]
	return m.norms[from : from+n : from+n]
}

// Slot is a slot of one arm.
func (m *Memory) Slot(c Count) Slot {
	out := m.slot(1)
	out[0] = c
	return out
}

func (m *Memory) slot(arms int) Slot {
	if arms != 1 {
		return make(Slot, arms)
	}
	return m.singles(1)[0][:]
}

// singles is room for slots of one arm.
func (m *Memory) singles(n int) [][1]Count {
	from := len(m.counts)
	if from+n > cap(m.counts) {
		room := m.more
		if m.counts == nil {
			room = m.first
		}
		from, m.counts = 0, make([][1]Count, 0, max(n, room))
	}
	m.counts = m.counts[:from+n]
	return m.counts[from : from+n : from+n]
}

// latest is a list of two slots of one arm, oldest first.
func (m *Memory) latest(before, now Count) [][1]Count {
	out := m.singles(2)
	out[0][0], out[1][0] = before, now
	return out
}

// observe is Observe in place.
func (d *Dispersion) observe(s Slot, scale int, many bool, m *Memory) {
	if scale == dispersionScales {
		return
	}
	at := &d.Scales[scale]
	at.add(s, many, m)
	if len(at.Block) != len(s) {
		at.Block, at.Held = nil, 0 // the arms changed: what was begun is given up
	}
	sum := s
	if at.Block != nil {
		sum = m.slot(len(s))
		for i, c := range s {
			sum[i] = at.Block[i].plus(c)
		}
	}
	at.Block = sum
	if at.Held++; at.Held < 4 {
		return
	}
	at.Block, at.Held = nil, 0
	d.observe(sum, scale+1, many, m)
}

// add makes a term of the slot, or of it and the two before it.
func (a *Scale) add(s Slot, many bool, m *Memory) {
	if len(s) >= 2 {
		a.Last = nil
		a.across(s, many)
		return
	}
	if len(s) == 0 || s[0].Exposure == 0 {
		a.Last = nil // a hole: what is on its two sides is not compared
		return
	}
	switch len(a.Last) {
	case 0:
		a.Last = m.singles(1)
		a.Last[0][0] = s[0]
	case 1:
		a.Last = m.latest(a.Last[0][0], s[0])
	default:
		a.along(&a.Last[0][0], &a.Last[1][0], &s[0], many)
		a.Last = m.latest(a.Last[1][0], s[0])
	}
}

// across compares arms side by side: given their sum, each has its share.
func (a *Scale) across(s Slot, many bool) {
	var events, exposure float64
	for _, c := range s {
		events += float64(c.Events)
		exposure += float64(c.Exposure)
	}
	if events == 0 || events == exposure && !many {
		return
	}
	// Given their sum, events are multinomial, so that num is a quadratic form: of its matrix
	// diag(w) − ww', den is the trace and free the trace squared over that of its square.
	num, w2, w3 := 0.0, 0.0, 0.0
	for _, c := range s {
		w := float64(c.Exposure) / exposure
		diff := float64(c.Events) - events*w
		num += diff * diff
		w2 += w * w
		w3 += w * w * w
	}
	den := 1 - w2
	square := w2 - 2*w3 + w2*w2
	if !(den > 0 && square > 0) {
		return // all of it was one arm's
	}
	free := den * den / square
	den *= events * none(events/exposure, many)
	if a.Spread == 0 {
		a.Spread = a.Den2
	}
	a.term(num, den, 1)
	a.Spread += den * den / free
}

// along compares three slots of one arm by the second difference of their rates.
func (a *Scale) along(x, y, z *Count, many bool) {
	events := float64(x.Events + y.Events + z.Events)
	p := events / float64(x.Exposure+y.Exposure+z.Exposure)
	if p == 0 || p == 1 && !many {
		return
	}
	if den := none(p, many) * events / 3; a.Spread > 0 && den > 0 {
		a.Spread += overlap * den * den
	}
	diff := x.Rate() - 2*y.Rate() + z.Rate()
	spread := 1/float64(x.Exposure) + 4/float64(y.Exposure) + 1/float64(z.Exposure)
	// Weighted by the events: in expectation num is den times the dispersion. Given the
	// events of all three slots that is so for any number of them.
	a.term(diff*diff/spread/p*events/3, none(p, many)*events/3, overlap)
}

// none is the share by which the variance of independent events at a rate is less than
// their mean: where one unit of exposure may have many, it is not.
func none(rate float64, many bool) float64 {
	if many {
		return 1
	}
	return 1 - rate
}

// overlap is by how much terms that share slots widen the variance of their sum: second
// differences have correlations of −2/3 and 1/6 with the next two, and their squares
// the squares of these, 1 + 2·(4/9 + 1/36).
const overlap = 1 + 2*(4./9+1./36)

// term adds a term; variance is by how much it widens that of the sum.
func (a *Scale) term(num, den, variance float64) {
	if den <= 0 {
		return
	}
	a.Terms++
	a.Num += num
	a.Den += den
	a.Num2 += variance * num * num
	a.NumDen += variance * num * den
	a.Den2 += variance * den * den
}

// estimate is the ratio of the sums and its standard error.
func (a *Scale) estimate() (phi, se float64) {
	if a.Den == 0 {
		return 1, math.Inf(1)
	}
	phi = a.Num / a.Den
	empirical := math.Sqrt(max(0, a.Num2-2*phi*a.NumDen+phi*phi*a.Den2)) / a.Den
	// Squares of few terms hide their own spread: at least that of independent events.
	return phi, max(empirical, a.independent())
}

// independent is the standard error of the estimate if events are independent.
func (a *Scale) independent() float64 { return math.Sqrt(2*a.spread()) / a.Den }

// spread is what the variance of Num is twice of, if events are independent.
func (a *Scale) spread() float64 {
	if a.Spread > 0 {
		return a.Spread
	}
	return a.Den2
}

// minTerms is how many terms an estimate needs before it is believed.
const minTerms = 8

// Measured is what was learned: the greatest variance-to-mean ratio over all lengths
// of time, and its upper bound at one-sided 95 %. Without enough slots it is 1 and
// +Inf.
func (d Dispersion) Measured() (phi, upper float64) {
	phi, upper = 1, math.Inf(1)
	for _, a := range d.Scales {
		if a.Terms < minTerms {
			continue
		}
		p, se := a.estimate()
		if up := p + 1.645*se; math.IsInf(upper, 1) || up > upper {
			upper = max(up, 1)
		}
		phi = max(phi, p)
	}
	return phi, upper
}

// Factor is what evidence is divided by. Where the counts are consistent with
// independent events (2.33 standard errors, one-sided 1 %) it is 1, so that these pay
// nothing. Otherwise it is the upper bound, and up to a quarter more: sums of bursts
// have a heavier tail than the variance says. Calibrated, not a theorem.
func (d Dispersion) Factor() float64 { return Burst(d.Contradicted()) }

// Contradicted is Factor without what is added for the tail: 1 where the counts are
// consistent with independent events, otherwise the upper bound at one-sided 95 %. It is
// what evidence is divided by at risks of a few percent, where the tail hardly counts.
func (d Dispersion) Contradicted() float64 {
	out := 1.0
	for _, a := range d.Scales {
		if a.Terms < minTerms {
			continue
		}
		p, se := a.estimate()
		if p-1 > 2.33*se {
			out = max(out, p+1.645*se)
		}
	}
	return out
}

// beyondTerms and beyondNormal are how many terms, and how many standard normal
// deviations, it takes to say that counts contradict a dispersion. They are looked at
// again and again, so it takes more than once.
const (
	beyondTerms  = 3
	beyondNormal = 3.1
)

// Beyond is what evidence is divided by when a dispersion was known before: known,
// unless the counts contradict it, and then their own factor if that is greater. The
// spread of the estimate is that of counts with the known dispersion, a chi-squared one,
// and not the one that is seen: a burst or two make their own spread so wide that they
// would be taken for chance for a long time.
func (d *Dispersion) Beyond(known float64) float64 {
	known = max(known, 1)
	out := known
	for i := range d.Scales {
		a := &d.Scales[i]
		if a.Terms < beyondTerms || a.Den == 0 {
			continue
		}
		null := a.independent()
		skew := null * null / 9 // of a chi-squared variable per degree of freedom, by Wilson and Hilferty
		root := 1 - skew + beyondNormal*math.Sqrt(skew)
		if a.Num/a.Den > known*(root*(root*root)) {
			p, se := a.estimate()
			out = max(out, Burst(p+1.645*se))
		}
	}
	return out
}

// Odds is ln of how much more probable the counts of single slots are at a dispersion of
// phi than at known, 0 where nothing was compared: the sum of squares is taken for a
// chi-squared variable with as many degrees of freedom as there were slots. That is right
// for many events a slot; for few it says less than it could, of either answer.
func (d Dispersion) Odds(known, phi float64) float64 {
	a := &d.Scales[0]
	if a.Den == 0 || a.Den2 == 0 {
		return 0
	}
	free := overlap * a.Den * a.Den / a.Den2 // terms share slots, the likelihood has each once
	if a.Spread > 0 {
		free = a.Den * a.Den / a.Den2 // bursts are rare, so that the arms of one slot are no more to go by than one
	}
	return free / 2 * (a.Num/a.Den*(1/known-1/phi) - math.Log(phi/known))
}

// Burst is the factor for a dispersion that is known: a quarter more the further it
// is from 1, for the tail of bursts.
func Burst(dispersion float64) float64 {
	if dispersion <= 1 {
		return 1
	}
	return dispersion + 0.25*(dispersion-1)
}
