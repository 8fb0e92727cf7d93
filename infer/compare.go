package infer

import (
	"math"
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
	// Harm tests ratio ≤ Null; all its sizes are above Null.
	Harm Side `json:"harm"`
	// Safe tests ratio ≥ Null; all its sizes are below Null.
	Safe Side `json:"safe"`
	// Lattice are the ratios at which Interval looks, ascending; two or more, or
	// none if no interval is wanted.
	Lattice []float64 `json:"lattice,omitempty"`
	// Dispersion is the variance-to-mean ratio of the counts when events come in
	// clusters: evidence is divided by it. 1 (or 0, meaning 1) is none. Anything
	// above makes the answers calibrated, because the factor was measured.
	Dispersion float64 `json:"dispersion,omitempty"`
}

// State is the evidence so far, as a value. The zero State has seen nothing.
type State struct {
	Pairs   uint64 `json:"pairs"`
	Treated Count  `json:"treated"`
	Control Count  `json:"control"`
	// LogNorm is L(u) at the nodes of the Comparison that made it, summed over pairs.
	LogNorm []float64 `json:"log_norm,omitempty"`
}

// Comparison is a compiled Config. It is immutable and safe for concurrent use.
type Comparison struct {
	kind       Kind
	phi        float64
	nodes      []float64 // ln ratio, ascending
	ratios     []float64 // the ratios themselves
	harm, safe side
	lattice    []int // nodes of the interval
}

// side is a compiled Side: indexes into the nodes.
type side struct {
	null  int
	sizes []int
	logw  []float64
}

// New compiles c; CodeInvalid says what is wrong with it.
func New(c Config) (*Comparison, error) {
	if c.Kind != Ratio && c.Kind != Odds {
		return nil, assay.Errorf(assay.CodeInvalid, "comparison kind %q is not one of ratio, odds", c.Kind)
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
	all := slices.Concat(c.Lattice, []float64{c.Harm.Null, c.Safe.Null})
	for _, s := range slices.Concat(c.Harm.Sizes, c.Safe.Sizes) {
		all = append(all, s.Ratio)
	}
	for _, r := range all {
		if !(r >= 1e-6 && r <= 1e6) {
			return nil, assay.Errorf(assay.CodeInvalid, "ratio %v is not between 1e-6 and 1e6", r)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	k := &Comparison{kind: c.Kind, phi: phi, ratios: all}
	for _, r := range all {
		k.nodes = append(k.nodes, math.Log(r))
	}
	for _, r := range c.Lattice {
		k.lattice = append(k.lattice, k.node(r))
	}
	k.lattice = slices.Compact(k.lattice)
	var err error
	if k.harm, err = k.compile("harm", c.Harm, 1); err != nil {
		return nil, err
	}
	if k.safe, err = k.compile("safe", c.Safe, -1); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *Comparison) node(ratio float64) int {
	i, _ := slices.BinarySearch(k.ratios, ratio)
	return i
}

// compile normalises the weights; sign says on which side of the null sizes lie.
func (k *Comparison) compile(name string, s Side, sign float64) (side, error) {
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
	out := side{null: k.node(s.Null)}
	for _, z := range s.Sizes {
		out.sizes = append(out.sizes, k.node(z.Ratio))
		out.logw = append(out.logw, math.Log(z.Weight/total))
	}
	return out, nil
}

// Update adds one pair to s and returns the new state; s is not changed. The
// treated share of each pair stands on its own, so the intended share may move
// between pairs. Pairs must be formed without looking at the events in them (by
// time, or by exposure). The answers after a sequence of pairs do not depend on
// where states were kept in between: folding Update is the definition.
func (k *Comparison) Update(s State, p Pair) (State, error) {
	if err := k.check(s, p); err != nil {
		return s, err
	}
	next := State{
		Pairs:   s.Pairs + 1,
		Treated: Count{s.Treated.Events + p.Treated.Events, s.Treated.Exposure + p.Treated.Exposure},
		Control: Count{s.Control.Events + p.Control.Events, s.Control.Exposure + p.Control.Exposure},
		LogNorm: make([]float64, len(k.nodes)),
	}
	copy(next.LogNorm, s.LogNorm)
	if p.Treated.Exposure == 0 || p.Control.Exposure == 0 || p.Treated.Events+p.Control.Events == 0 {
		// Nothing to compare: the treated events are certain given the margins.
		for i, u := range k.nodes {
			next.LogNorm[i] += u * float64(p.Treated.Events)
		}
		return next, nil
	}
	switch k.kind {
	case Ratio:
		w := float64(p.Treated.Exposure) / (float64(p.Treated.Exposure) + float64(p.Control.Exposure))
		n := float64(p.Treated.Events + p.Control.Events)
		for i, r := range k.ratios {
			next.LogNorm[i] += n * math.Log1p(w*(r-1))
		}
	case Odds:
		m := margins{p.Treated.Exposure, p.Control.Exposure, p.Treated.Events + p.Control.Events}
		one := m.logNorm(0)
		for i, u := range k.nodes {
			next.LogNorm[i] += m.logNorm(u) - one
		}
	}
	return next, nil
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
func (k *Comparison) Check(s State) error {
	if len(s.LogNorm) != len(k.nodes) && (len(s.LogNorm) != 0 || s.Pairs != 0) {
		return assay.Errorf(assay.CodeConflict, "state has %d nodes, this comparison has %d: it belongs to another configuration", len(s.LogNorm), len(k.nodes))
	}
	return nil
}

func (k *Comparison) check(s State, p Pair) error {
	if err := k.Check(s); err != nil {
		return err
	}
	for _, arm := range []struct {
		name    string
		add, at Count
	}{{"treated", p.Treated, s.Treated}, {"control", p.Control, s.Control}} {
		if arm.add.Events > arm.add.Exposure {
			return assay.Errorf(assay.CodeInvalid, "%s arm has %d events in an exposure of %d", arm.name, arm.add.Events, arm.add.Exposure)
		}
		if arm.add.Exposure > ExposureLimit || arm.at.Exposure > ExposureLimit-arm.add.Exposure {
			return assay.Errorf(assay.CodeTooLarge, "%s arm has an exposure above %d", arm.name, uint64(ExposureLimit))
		}
	}
	if k.kind == Odds && p.Treated.Exposure+p.Control.Exposure > BlockLimit {
		return assay.Errorf(assay.CodeTooLarge, "one pair has an exposure above %d", BlockLimit)
	}
	return nil
}
