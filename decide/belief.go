package decide

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"assay.dev/assay"
)

// Hypothesis is one explanation of what is wrong.
type Hypothesis string

// The hypotheses that are told apart. Two of them say that the users are well: what is
// measured is wrong, or nothing is.
const (
	Overload       Hypothesis = "overload"        // more work than capacity
	BadDeploy      Hypothesis = "bad-deploy"      // the newest change is at fault
	DependencySlow Hypothesis = "dependency-slow" // something that the service calls is
	RegionFault    Hypothesis = "region-fault"    // one place is broken
	NoisyTenant    Hypothesis = "noisy-tenant"    // one tenant takes what others need
	Attack         Hypothesis = "attack"          // the load is hostile
	TelemetryFault Hypothesis = "telemetry-fault" // what is measured is wrong
	NoFault        Hypothesis = "none"            // chance: it passes by itself
)

// hypotheses in the order of every sum, so that the same inputs give the same bits.
var hypotheses = [...]Hypothesis{Overload, BadDeploy, DependencySlow, RegionFault, NoisyTenant, Attack, TelemetryFault, NoFault}

// Hypotheses are all of them, in their order.
func Hypotheses() []Hypothesis { return slices.Clone(hypotheses[:]) }

// real reports whether users suffer if h is true.
func (h Hypothesis) real() bool { return h != TelemetryFault && h != NoFault }

// Prior is how probable each hypothesis is before any clue; what it does not name is
// impossible. Shares need not add up to 1.
type Prior map[Hypothesis]float64

// DefaultPrior is for a service whose own history says nothing: most excursions of an
// indicator are nothing, and most of the rest follow a change or a load.
func DefaultPrior() Prior {
	return Prior{
		Overload: 0.15, BadDeploy: 0.15, DependencySlow: 0.1, RegionFault: 0.03,
		NoisyTenant: 0.05, Attack: 0.02, TelemetryFault: 0.05, NoFault: 0.45,
	}
}

// DefaultCap is the largest |ln LR| that one clue may bring: a factor of 20.
var DefaultCap = math.Log(20)

// Clue is one piece of evidence about what is wrong.
type Clue struct {
	Name  string `json:"name"`
	Words string `json:"words"` // one sentence with the numbers
	// Source is what the clue was measured on. Clues of one source say the same thing
	// more than once: together they are worth no more than one. Empty is the name.
	Source string `json:"source,omitempty"`
	// LogLR is ln of how much more probable the clue is under a hypothesis than
	// without it; 0 for those not named.
	LogLR map[Hypothesis]float64 `json:"log_lr"`
}

// Bounds of what Believe takes.
const (
	MaxClues = 64
	maxLogLR = 1e6
)

// Believe is what to believe after clues, most probable first: naive Bayes with every
// likelihood ratio capped at ±limit (in ln), and clues of one source capped together,
// so that one measurement seen twice is not counted twice. The prior is the base rate,
// not what was believed at the last look: the clues are the same ones seen again.
// CodeInvalid for a clue or prior that is not a number or names no known hypothesis,
// CodeTooLarge above MaxClues.
func Believe(prior Prior, clues []Clue, limit float64) ([]assay.Belief, error) {
	if len(clues) > MaxClues {
		return nil, assay.Errorf(assay.CodeTooLarge, "%d clues, at most %d are weighed", len(clues), MaxClues)
	}
	if !(limit > 0 && limit <= 50) {
		return nil, assay.Errorf(assay.CodeInvalid, "the cap of a likelihood ratio is %v, want above 0 and at most 50", limit)
	}
	shares := prior.shares
	if prior == nil {
		shares = usualShares
	}
	before, err := shares()
	if err != nil {
		return nil, err
	}
	stated, said := make([]ratios, len(clues)), 0
	for i := range clues {
		n, err := stated[i].read(&clues[i])
		if err != nil {
			return nil, err
		}
		said += n
	}
	out := make([]assay.Belief, 0, len(hypotheses))
	var room [len(hypotheses)]float64
	logs, weights := room[:0], make([]assay.ClueWeight, 0, said) // of all hypotheses
	for h := range hypotheses {
		if before[h] == 0 {
			continue
		}
		from, sum := len(weights), 0.0
		weights, sum = worth(weights, h, clues, stated, limit)
		b := assay.Belief{Hypothesis: string(hypotheses[h]), Before: before[h]}
		if len(weights) > from {
			b.Clues = weights[from:len(weights):len(weights)]
		}
		out = append(out, b)
		logs = append(logs, math.Log(before[h])+sum)
	}
	top, total := slices.Max(logs), 0.0
	for i := range logs {
		logs[i] = math.Exp(logs[i] - top)
		total += logs[i]
	}
	for i := range out {
		out[i].After = logs[i] / total
	}
	slices.SortStableFunc(out, func(a, b assay.Belief) int { return cmp.Compare(b.After, a.After) })
	return out, nil
}

// usualShares are those of DefaultPrior, which most beliefs begin with.
var usualShares = sync.OnceValues(DefaultPrior().shares)

// shares are the prior by hypothesis, adding up to 1.
func (p Prior) shares() (out [len(hypotheses)]float64, err error) {
	total, named := 0.0, 0
	for i, h := range hypotheses {
		v, ok := p[h]
		if ok {
			named++
		}
		if !(v >= 0 && v <= 1e9) {
			return out, assay.Errorf(assay.CodeInvalid, "the prior of %s is %v, want a share", h, v)
		}
		out[i] = v
		total += v
	}
	if named != len(p) {
		return out, assay.Errorf(assay.CodeInvalid, "the prior names a hypothesis that is not one of %v", hypotheses)
	}
	if total == 0 {
		return out, assay.Errorf(assay.CodeInvalid, "the prior leaves no hypothesis possible")
	}
	for i := range out {
		out[i] /= total
	}
	return out, nil
}

// ratios are a clue's log likelihood ratios, in the order of hypotheses.
type ratios [len(hypotheses)]float64

// read takes a clue's, and returns how many of them say something.
func (r *ratios) read(c *Clue) (said int, err error) {
	named := 0
	for i, h := range hypotheses {
		v, ok := c.LogLR[h]
		if ok {
			named++
		}
		if !(math.Abs(v) <= maxLogLR) {
			return 0, assay.Errorf(assay.CodeInvalid, "clue %q has the log likelihood ratio %v for %s", c.Name, v, h)
		}
		if r[i] = v; v != 0 {
			said++
		}
	}
	if c.Name == "" || named != len(c.LogLR) {
		return 0, assay.Errorf(assay.CodeInvalid, "clue %q has no name or speaks of a hypothesis that is not one of %v", c.Name, hypotheses)
	}
	return said, nil
}

// worth appends the clues' weights for one hypothesis to room, and returns their sum.
func worth(room []assay.ClueWeight, h int, clues []Clue, stated []ratios, limit float64) (out []assay.ClueWeight, sum float64) {
	out = room
	for i := range clues {
		v := stated[i][h]
		if v == 0 {
			continue
		}
		c := &clues[i]
		w := assay.ClueWeight{Clue: c.Name, LogLR: min(max(v, -limit), limit)}
		// What clues of the same source brought before leaves room for the rest only.
		if said := ofSource(out[len(room):], clues[:i], c.source()); said != 0 {
			w.LogLR = min(max(said+w.LogLR, -limit), limit) - said
		}
		if w.LogLR != v {
			w.Stated = v
		}
		out = append(out, w)
		sum += w.LogLR
	}
	return out, sum
}

func (c *Clue) source() string {
	if c.Source == "" {
		return c.Name
	}
	return c.Source
}

// ofSource is what the clues of one source brought so far.
func ofSource(weights []assay.ClueWeight, clues []Clue, source string) (sum float64) {
	for i := range clues {
		if len(weights) == 0 {
			break
		}
		if c := &clues[i]; weights[0].Clue == c.Name {
			if c.source() == source {
				sum += weights[0].LogLR
			}
			weights = weights[1:]
		}
	}
	return sum
}
