package infer

import (
	"math"
	"math/bits"
	"slices"

	"assay.dev/assay"
)

// ExposureLimit bounds the running exposure of one arm, and BlockLimit the
// exposure of both arms in one Pair of an Odds comparison, whose cost grows with
// its square root. Above them Update answers CodeTooLarge.
const (
	ExposureLimit = 1 << 40
	BlockLimit    = 1 << 26
)

// Kind is what the two arms are compared by.
type Kind string

const (
	// Ratio compares rates. Given the events of both arms, each is treated with
	// probability w·r/(w·r+1−w), where w is the treated share of the exposure.
	// Exact for Poisson counts, and for Bernoulli events at every rate (there it
	// loses power as the rate grows, so it is meant for rare events).
	Ratio Kind = "ratio"
	// Odds compares odds. Within each Pair, given the margins, the treated events
	// are Fisher's noncentral hypergeometric. Exact for Bernoulli events at every
	// rate, also when the rate differs from Pair to Pair.
	Odds Kind = "odds"
	// Counts is Ratio for events of which one unit of exposure may have many. Exact for
	// Poisson counts.
	Counts Kind = "counts"
	// Means compares mean values from 0 to 1 by bets, one Pair after the other, of which
	// Rate is the mean of an arm: see means.go. Exact for whatever values have, given what
	// came before, the means that the null says.
	Means Kind = "means"
)

// Count is how many of the exposed had the event.
type Count struct {
	Events   uint64 `json:"events"`
	Exposure uint64 `json:"exposure"`
}

// Rate is Events per Exposure, 0 without exposure.
func (c Count) Rate() float64 {
	if c.Exposure == 0 {
		return 0
	}
	return float64(c.Events) / float64(c.Exposure)
}

// Pair is what both arms counted in one stretch of time. The share of the
// exposure that was treated is taken from the counts, never from an intention.
type Pair struct {
	Treated Count `json:"treated"`
	Control Count `json:"control"`
}

// Size is one alternative of a mixture: a ratio and its weight. Weights are
// normalised by New.
type Size struct {
	Ratio  float64 `json:"ratio"`
	Weight float64 `json:"weight"`
}

// Side is one question: a null ratio and the alternatives it is weighed against.
type Side struct {
	Null  float64 `json:"null"`
	Sizes []Size  `json:"sizes"`
}

// Config describes a comparison.
type Config struct {
	Kind Kind `json:"kind"`
	// Harm tests ratio ≤ Null; all its sizes are above Null. Means have no sizes.
	Harm Side `json:"harm"`
	// Safe tests ratio ≥ Null; all its sizes are below Null.
	Safe Side `json:"safe"`
	// Less turns both sides around, for events of which fewer are worse: harm tests ratio
	// ≥ Null and has its sizes below, safety tests ratio ≤ Null and has them above.
	Less bool `json:"less,omitempty"`
	// Lattice are the ratios at which Interval looks, ascending; two or more, or
	// none if no interval is wanted.
	Lattice []float64 `json:"lattice,omitempty"`
	// Dispersion is the variance-to-mean ratio of the counts when events come in
	// clusters: evidence is divided by it. 1 (or 0, meaning 1) is none. Anything
	// above makes the answers calibrated, because the factor was measured.
	Dispersion float64 `json:"dispersion,omitempty"`
	// Late is the share of the harm side's weight that is kept for faults that begin
	// later, from 0 (none) to below 1. The evidence begins again, beside the first
	// one, whenever the events of both arms have doubled (lateFirst at the first).
	Late float64 `json:"late,omitempty"`
	// Gather is how much treated exposure is put into one block before the next begins;
	// 0 makes every Pair its own. In small blocks the treated share is mostly chance, and
	// evidence is lost by what it varies; but a block that is looked at while it grows is
	// no longer an e-process, so the answers are then calibrated.
	Gather uint64 `json:"gather,omitempty"`
}

const (
	// lateFirst is how many events both arms have when the evidence first begins again.
	lateFirst = 32
	// lateKept is how many of the latest beginnings are kept; one that is dropped
	// counts as no evidence, which only ever lowers the sum.
	lateKept = 4
)

// State is the evidence so far, as a value. The zero State has seen nothing.
type State struct {
	Pairs   uint64 `json:"pairs"`
	Treated Count  `json:"treated"`
	Control Count  `json:"control"`
	// LogNorm is L(u) at the nodes of the Comparison that made it, summed over pairs.
	LogNorm []float64 `json:"log_norm,omitempty"`
	// Open is the block that is being gathered, and Closed is L(u) without it.
	Open   Pair      `json:"open,omitzero"`
	Closed []float64 `json:"closed,omitempty"`
	// Starts are the latest later beginnings of the evidence of harm, oldest first.
	Starts []Start `json:"starts,omitempty"`
}

// Start is where the evidence of harm began again: what had been seen before it.
type Start struct {
	Events  uint64    `json:"events"`   // of the treated arm
	LogNorm []float64 `json:"log_norm"` // at the harm side's null, then at its sizes
	Weight  float64   `json:"weight"`   // share of the mixture
}

// Comparison is a compiled Config. It is immutable and safe for concurrent use.
type Comparison struct {
	kind       Kind
	phi        float64
	late       float64
	gather     uint64
	nodes      []float64 // ln ratio, ascending
	ratios     []float64 // the ratios themselves
	odds       *grid     // of both, where odds are compared
	harm, safe side
	lattice    []int     // nodes of the interval
	points     []float64 // ln ratio at them
	spans      []float64 // of them, from the null of harm
}

// side is a compiled Side: indexes into the nodes.
type side struct {
	null    int
	sizes   []int
	spans   []float64 // of the sizes, from the null: ln of the ratio between them
	weights []float64 // of the sizes, summing to 1
	logw    []float64
	early   []float64 // of harm, the weights without what later beginnings have
}

// New compiles c; CodeInvalid says what is wrong with it.
func New(c Config) (*Comparison, error) {
	if c.Kind != Ratio && c.Kind != Odds && c.Kind != Counts && c.Kind != Means {
		return nil, assay.Errorf(assay.CodeInvalid, "comparison kind %q is not one of ratio, odds, counts, means", c.Kind)
	}
	if c.Kind == Means && (len(c.Harm.Sizes)+len(c.Safe.Sizes) > 0 || c.Less || c.Late != 0 || c.Gather != 0) {
		return nil, assay.Errorf(assay.CodeInvalid, "a comparison of means has no sizes, is not turned around, and gathers nothing")
	}
	phi := c.Dispersion
	if phi == 0 {
		phi = 1
	}
	if !(phi >= 1 && phi <= 1e6) {
		return nil, assay.Errorf(assay.CodeInvalid, "dispersion %v is not between 1 and 1e6", c.Dispersion)
	}
	if len(c.Lattice) == 1 || !slices.IsSorted(c.Lattice) {
		return nil, assay.Errorf(assay.CodeInvalid, "lattice needs two or more ratios in ascending order")
	}
	all := make([]float64, 0, len(c.Lattice)+2+len(c.Harm.Sizes)+len(c.Safe.Sizes))
	all = append(append(all, c.Lattice...), c.Harm.Null, c.Safe.Null)
	for _, d := range [...]*Side{&c.Harm, &c.Safe} {
		for _, z := range d.Sizes {
			all = append(all, z.Ratio)
		}
	}
	for _, r := range all {
		if !(r >= 1e-6 && r <= 1e6) {
			return nil, assay.Errorf(assay.CodeInvalid, "ratio %v is not between 1e-6 and 1e6", r)
		}
	}
	if !(c.Late >= 0 && c.Late < 1) {
		return nil, assay.Errorf(assay.CodeInvalid, "late share %v is not from 0 to below 1", c.Late)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	k := &Comparison{kind: c.Kind, phi: phi, late: c.Late, gather: c.Gather, ratios: all, nodes: make([]float64, len(all))}
	for i, r := range all {
		k.nodes[i] = math.Log(r)
	}
	if k.kind == Odds {
		k.odds = newGrid(k.ratios, k.nodes)
	}
	if k.kind == Means && !(c.Harm.Null < c.Safe.Null) {
		return nil, assay.Errorf(assay.CodeInvalid, "null %v of harm is not below the null %v of safety", c.Harm.Null, c.Safe.Null)
	}
	if err := k.sides(&c); err != nil {
		return nil, err
	}
	return k, nil
}

// sides compiles both sides and the lattice.
func (k *Comparison) sides(c *Config) (err error) {
	if k.kind == Means {
		k.harm, k.safe = side{null: k.node(c.Harm.Null)}, side{null: k.node(c.Safe.Null)}
	} else {
		above := 1.0
		if c.Less {
			above = -1
		}
		if k.harm, err = k.compile("harm", &c.Harm, above); err != nil {
			return err
		}
		if k.safe, err = k.compile("safe", &c.Safe, -above); err != nil {
			return err
		}
	}
	k.lattice = make([]int, 0, len(c.Lattice))
	for _, r := range c.Lattice {
		k.lattice = append(k.lattice, k.node(r))
	}
	k.lattice = slices.Compact(k.lattice)
	room := make([]float64, 2*len(k.lattice))
	k.points, k.spans = room[:len(k.lattice):len(k.lattice)], room[len(k.lattice):]
	for i, j := range k.lattice {
		k.points[i], k.spans[i] = k.nodes[j], k.nodes[j]-k.nodes[k.harm.null]
	}
	return nil
}

func (k *Comparison) node(ratio float64) int {
	i, _ := slices.BinarySearch(k.ratios, ratio)
	return i
}

// compile normalises the weights; sign says on which side of the null sizes lie.
func (k *Comparison) compile(name string, s *Side, sign float64) (side, error) {
	if len(s.Sizes) == 0 {
		return side{}, assay.Errorf(assay.CodeInvalid, "%s side has no sizes", name)
	}
	total := 0.0
	for _, z := range s.Sizes {
		if !(z.Weight > 0 && z.Weight <= 1e9) {
			return side{}, assay.Errorf(assay.CodeInvalid, "%s size %v has weight %v, want above 0", name, z.Ratio, z.Weight)
		}
		if (z.Ratio-s.Null)*sign <= 0 {
			return side{}, assay.Errorf(assay.CodeInvalid, "%s size %v lies on the wrong side of the null %v", name, z.Ratio, s.Null)
		}
		total += z.Weight
	}
	n := len(s.Sizes)
	room := make([]float64, 4*n)
	out := side{null: k.node(s.Null), sizes: make([]int, n), spans: room[:n:n], weights: room[n : 2*n : 2*n], logw: room[2*n : 3*n : 3*n], early: room[3*n:]}
	for i, z := range s.Sizes {
		j := k.node(z.Ratio)
		w := z.Weight / total
		out.sizes[i], out.spans[i] = j, k.nodes[j]-k.nodes[out.null]
		out.weights[i], out.logw[i], out.early[i] = w, math.Log(w), w*(1-k.late)
	}
	return out, nil
}

// Update adds one pair to s and returns the new state; s is not changed. The
// treated share of each pair stands on its own, so the intended share may move
// between pairs. Pairs must be formed without looking at the events in them (by
// time, or by exposure). The answers after a sequence of pairs do not depend on
// where states were kept in between: folding Update is the definition.
func (k *Comparison) Update(s State, p Pair) (State, error) {
	next := s
	if err := k.UpdateIn(&next, p, new(Memory)); err != nil {
		return s, err
	}
	return next, nil
}

// UpdateIn is Update in place, for whoever has made a copy already and updates several states
// at the same time: what they remember of their evidence lies beside each other in m. What s
// pointed to before is not changed, and after an error s is as it was.
func (k *Comparison) UpdateIn(s *State, p Pair, m *Memory) error {
	if err := k.check(s, &p); err != nil {
		return err
	}
	block, before := p, s.LogNorm
	if s.Closed != nil {
		block, before = Pair{s.Open.Treated.plus(p.Treated), s.Open.Control.plus(p.Control)}, s.Closed
	}
	were := doublings(s.Treated, s.Control)
	s.Pairs, s.Treated, s.Control = s.Pairs+1, s.Treated.plus(p.Treated), s.Control.plus(p.Control)
	s.LogNorm = m.evidence(k.width())
	copy(s.LogNorm, before)
	k.add(block, s.LogNorm)
	s.Open, s.Closed = Pair{}, nil
	doubled := doublings(s.Treated, s.Control)
	if k.late != 0 && doubled != were {
		k.restart(s, were, doubled)
	} else if block.Treated.Exposure < k.gather && doubled == were {
		if s.Open, s.Closed = block, before; before == nil {
			s.Closed = make([]float64, len(k.nodes)) // means gather nothing
		}
	}
	return nil
}

func (c Count) plus(d Count) Count { return Count{c.Events + d.Events, c.Exposure + d.Exposure} }

// Close ends the block that is being gathered, for whoever knows that the treated
// share changes now.
func (s State) Close() State {
	s.Open, s.Closed = Pair{}, nil
	return s
}

// add adds L(u) of one block to out.
func (k *Comparison) add(p Pair, out []float64) {
	if k.kind == Means {
		k.bet(p, out)
		return
	}
	if p.Treated.Exposure == 0 || p.Control.Exposure == 0 || p.Treated.Events+p.Control.Events == 0 {
		// Nothing to compare: the treated events are certain given the margins.
		for i, u := range k.nodes {
			out[i] += u * float64(p.Treated.Events)
		}
		return
	}
	if k.kind == Odds {
		margins{p.Treated.Exposure, p.Control.Exposure, p.Treated.Events + p.Control.Events}.logNorms(k.odds, out)
		return
	}
	w := float64(p.Treated.Exposure) / (float64(p.Treated.Exposure) + float64(p.Control.Exposure))
	n := float64(p.Treated.Events + p.Control.Events)
	for i, r := range k.ratios {
		out[i] += n * math.Log1p(w*(r-1))
	}
}

// doublings is how often the events of both arms have doubled, 0 below lateFirst.
func doublings(treated, control Count) int {
	return bits.Len64((treated.Events + control.Events) / lateFirst)
}

// restart adds a beginning to s, whose events have doubled so often and were so before. The
// moment depends on the past alone, so each of them is an e-process of its own, and so is
// their sum with weights that sum to Late: the k-th has Late/(k(k+1)), and that of those that
// one block jumped over.
func (k *Comparison) restart(s *State, were, doubled int) {
	at := Start{Events: s.Treated.Events, LogNorm: make([]float64, 1, 1+len(k.harm.sizes)), Weight: k.late * (1/float64(were+1) - 1/float64(doubled+1))}
	at.LogNorm[0] = s.LogNorm[k.harm.null]
	for _, j := range k.harm.sizes {
		at.LogNorm = append(at.LogNorm, s.LogNorm[j])
	}
	kept := s.Starts
	if len(kept) >= lateKept {
		kept = kept[len(kept)-lateKept+1:]
	}
	s.Starts = append(append(make([]Start, 0, len(kept)+1), kept...), at)
}

// Deflated is k for events whose variance is dispersion times their mean, from 1 to
// 1e6; its states are those of k. Whoever learns the factor while the test runs asks
// for it at each look.
func (k *Comparison) Deflated(dispersion float64) *Comparison {
	phi := min(max(dispersion, 1), 1e6)
	if phi == k.phi {
		return k
	}
	out := *k
	out.phi = phi
	return &out
}

// Evaluate folds Update over pairs from nothing.
func (k *Comparison) Evaluate(pairs []Pair) (State, error) {
	var s State
	for _, p := range pairs {
		var err error
		if s, err = k.Update(s, p); err != nil {
			return State{}, err
		}
	}
	return s, nil
}

// Check refuses a state that another configuration made; CodeConflict. Update calls
// it; whoever reads a state from outside calls it before asking for answers.
func (k *Comparison) Check(s State) error { return k.fits(&s) }

func (k *Comparison) fits(s *State) error {
	if len(s.LogNorm) != k.width() && (len(s.LogNorm) != 0 || s.Pairs != 0) {
		return assay.Errorf(assay.CodeConflict, "state has %d nodes, this comparison has %d: it belongs to another configuration", len(s.LogNorm), k.width())
	}
	if len(s.Closed) != 0 && len(s.Closed) != len(k.nodes) || s.Open.Treated.Events > s.Treated.Events || s.Open.Control.Events > s.Control.Events {
		return assay.Errorf(assay.CodeConflict, "state has an open block that does not belong to it")
	}
	for i := range s.Starts {
		at := &s.Starts[i]
		if len(at.LogNorm) != 1+len(k.harm.sizes) || at.Events > s.Treated.Events || !(at.Weight > 0 && at.Weight <= k.late) || len(s.Starts) > lateKept {
			return assay.Errorf(assay.CodeConflict, "state has a later beginning that does not belong to this comparison")
		}
	}
	return nil
}

func (k *Comparison) check(s *State, p *Pair) error {
	if err := k.fits(s); err != nil {
		return err
	}
	if err := k.checkArm("treated", p.Treated, s.Treated); err != nil {
		return err
	}
	if err := k.checkArm("control", p.Control, s.Control); err != nil {
		return err
	}
	if k.kind == Odds && p.Treated.Exposure+p.Control.Exposure > BlockLimit {
		return assay.Errorf(assay.CodeTooLarge, "one pair has an exposure above %d", BlockLimit)
	}
	return nil
}

// checkArm refuses what cannot be added to at.
func (k *Comparison) checkArm(name string, add, at Count) error {
	if add.Events > ExposureLimit || at.Events > ExposureLimit-add.Events {
		return assay.Errorf(assay.CodeTooLarge, "%s arm has more than %d events", name, uint64(ExposureLimit))
	}
	if k.kind != Counts && add.Events > add.Exposure {
		return assay.Errorf(assay.CodeInvalid, "%s arm has %d events in an exposure of %d", name, add.Events, add.Exposure)
	}
	if add.Exposure > ExposureLimit || at.Exposure > ExposureLimit-add.Exposure {
		return assay.Errorf(assay.CodeTooLarge, "%s arm has an exposure above %d", name, uint64(ExposureLimit))
	}
	return nil
}
