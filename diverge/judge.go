package diverge

import (
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// Engine names the rules of Judge in every verdict. It changes whenever the same input may
// give another verdict.
const Engine = "diverge/1"

// Verdict is what changed about a region; "" if nothing did.
type Verdict string

// What may change about a region.
const (
	Begins Verdict = "begins" // it is worse than the rest by more than the bound
	Ends   Verdict = "ends"   // it no longer is, or is no longer measured at all
	Silent Verdict = "silent" // its telemetry stopped while that of others goes on
	Back   Verdict = "back"   // its telemetry is back
)

// State is where a region stands.
type State string

// Where a region may stand.
const (
	Alike    State = "alike"    // shown to be within the bound of the rest, or better
	Diverges State = "diverges" // shown to be worse by more than the bound
	Unsure   State = "unsure"   // neither is shown yet: there is an interval and no more
	Unheard  State = "unheard"  // its telemetry is missing: nothing is said
)

const (
	// silentFor is how many minutes without data, while others have some, make a region silent.
	silentFor = 5
	// goneFor is how many minutes without data end a region's comparison: a day.
	goneFor = 24 * 60
)

// Input is everything that a verdict is made of.
type Input struct {
	Service string    `json:"service"`
	SLO     string    `json:"slo"`
	Label   string    `json:"label"` // that tells regions apart
	Region  string    `json:"region"`
	Time    time.Time `json:"time"`    // the minutes before are counted
	Bound   float64   `json:"bound"`   // as a share: 0.02 is 2 percentage points
	Error   float64   `json:"error"`   // a day, over all regions
	Regions int       `json:"regions"` // that are compared
	// Dispersion is what evidence is divided by; below 1 if too little is known about
	// bursts to say anything.
	Dispersion float64 `json:"dispersion"`
	Spans      []Span  `json:"spans"`
	// Diverging and Silenced are what was said last.
	Diverging bool `json:"diverging,omitempty"`
	Silenced  bool `json:"silenced,omitempty"`
	// Since is when Diverging was said last, or taken back: spans that began before hold
	// what led to that.
	Since time.Time `json:"since,omitzero"`
	// Missing is how many minutes the region has had no data, now.
	Missing int `json:"missing,omitempty"`
	// Others is how many other regions had data in the newest minute.
	Others int `json:"others"`
}

// Span is what was counted since it began, in the minutes that both sides had requests.
type Span struct {
	Name  string      `json:"span"` // one of those in spans
	From  time.Time   `json:"from"`
	Here  infer.Count `json:"here"`
	Worst infer.Count `json:"worst"` // the region's minute with the most bad events
	Rest  infer.Count `json:"rest"`
	// Weighted is the sum over minutes of the region's requests times the rest's bad share,
	// and Spread that of the square of its requests over the rest's requests: with them the
	// rest is taken as if its requests had come when the region's did.
	Weighted float64 `json:"weighted"`
	Spread   float64 `json:"spread"`
}

// spans are the lengths of time over which regions are compared, and how often a day each
// begins.
var spans = [...]struct {
	name    string
	minutes int64
}{{"10m", 10}, {"1h", 60}, {"4h", 4 * 60}, {"24h", 24 * 60}}

// perDay is how often a day a span of that name begins.
func perDay(name string) float64 {
	for _, s := range spans {
		if s.name == name {
			return 24 * 60 / float64(s.minutes)
		}
	}
	return 24 * 60
}

// Difference is by how much the region's bad share is above the rest's, in percentage
// points, below 0 if it is better.
type Difference struct {
	assay.Divergence
	Span string      `json:"span"`
	From time.Time   `json:"from"`
	Here infer.Count `json:"here"` // the region's bad events and requests
	Rest float64     `json:"rest"` // the rest's bad share, weighted like the region's minutes
}

// Judgement is what follows from an Input.
type Judgement struct {
	Engine  string  `json:"engine"`
	State   State   `json:"state"`
	Verdict Verdict `json:"verdict,omitempty"`
	// Difference is the narrowest one, or the one that the verdict rests on; nil without data.
	Difference *Difference     `json:"difference,omitempty"`
	Words      string          `json:"words"` // one sentence
	Certainty  assay.Certainty `json:"certainty"`
	Basis      string          `json:"basis"`
}

// Judge says where a region stands and what changed.
func Judge(in Input) Judgement {
	j := Judgement{Engine: Engine, State: Unsure, Certainty: assay.Calibrated, Basis: in.basis()}
	if in.Missing >= silentFor {
		in.absent(&j)
		return j
	}
	var narrow, older, above, below *Difference
	for _, s := range in.Spans {
		d := in.difference(s)
		if d == nil {
			continue
		}
		if s.From.Before(in.Since) {
			older = d.narrower(older)
			continue
		}
		narrow = d.narrower(narrow)
		switch bound := 100 * in.Bound; {
		case d.Low > bound && in.withoutWorst(s) > bound:
			above = d
		case d.High <= bound && below == nil: // the shortest: it began last
			below = d
		}
	}
	if narrow == nil {
		narrow = older
	}
	j.Difference = narrow
	switch {
	case narrow == nil:
		j.State, j.Words = in.stands(), in.unknown()
	case above != nil && !(in.Diverging && below != nil && below.From.After(above.From)):
		j.State, j.Difference = Diverges, above
		if !in.Diverging {
			j.Verdict = Begins
		}
		j.Words = in.sentence("is worse than the rest", above)
	case below != nil:
		j.State, j.Difference = Alike, below
		j.Words = in.sentence("is within the bound of the rest", below)
		if in.Diverging {
			j.Verdict = Ends
			j.Words = in.sentence("is within the bound of the rest again", below)
		}
	default:
		j.State, j.Words = in.stands(), in.sentence("cannot be told from the rest yet", narrow)
		if in.Diverging {
			j.Words = in.sentence("was worse than the rest and is not shown to be better", narrow)
		}
	}
	if in.Silenced && j.Verdict == "" {
		j.Verdict, j.Words = Back, fmt.Sprintf("%s has telemetry again; %s", in.Region, j.Words)
	}
	return j
}

// narrower is the narrower of two differences; o may be nil.
func (d *Difference) narrower(o *Difference) *Difference {
	if o != nil && o.High-o.Low <= d.High-d.Low {
		return o
	}
	return d
}

// stands is the state while nothing is shown: what was said holds.
func (in Input) stands() State {
	if in.Diverging {
		return Diverges
	}
	return Unsure
}

// absent judges a region without data.
func (in Input) absent(j *Judgement) {
	j.State = Unheard
	switch {
	case in.Missing >= goneFor && in.Diverging:
		j.Verdict = Ends
		j.Words = fmt.Sprintf("%s: no data for a day, so nothing is said about it any more; it was worse than the rest of %s when it was last measured", in.Region, in.Service)
	case in.Others == 0:
		j.Words = fmt.Sprintf("%s: no data for %d minutes, and no other region of %s has any: nothing is compared", in.Region, in.Missing, in.Service)
	default:
		j.Words = fmt.Sprintf("%s: no data for %d minutes while %s of %s: that is no divergence, and nothing is known about it", in.Region, in.Missing, others(in.Others), in.Service)
		if !in.Silenced {
			j.Verdict = Silent
		}
	}
}

func others(n int) string {
	if n == 1 {
		return "there is some of 1 other region"
	}
	return fmt.Sprintf("there is some of %d other regions", n)
}

// unknown says why there is no interval.
func (in Input) unknown() string {
	switch {
	case in.Dispersion < 1 && in.Missing == 0:
		return fmt.Sprintf("%s: too little is known about how bad events of %s come to tell bursts from a difference", in.Region, in.Service)
	case in.Others == 0:
		return fmt.Sprintf("%s: no other region of %s has data to compare with", in.Region, in.Service)
	}
	return fmt.Sprintf("%s: no minute yet in which both it and the rest of %s had requests", in.Region, in.Service)
}

// level is the probability that one interval of a span may miss.
func (in Input) level(span string) float64 {
	return in.Error / (float64(len(spans)) * float64(max(in.Regions, 1)) * perDay(span))
}

// difference is the interval of a span; nil without requests, or if too little is known.
func (in Input) difference(s Span) *Difference {
	if s.Here.Exposure == 0 || !(s.Spread > 0) || in.Dispersion < 1 {
		return nil
	}
	rest := s.rest()
	d := &Difference{Span: s.Name, From: s.From, Here: s.Here, Rest: rest.Events / rest.Exposure}
	low, high := infer.Difference(infer.Arm{Events: float64(s.Here.Events), Exposure: float64(s.Here.Exposure)}, rest, in.Dispersion, in.level(s.Name))
	d.Value, d.Low, d.High, d.Unit = 100*(s.Here.Rate()-d.Rest), 100*low, 100*high, "points"
	return d
}

// rest is what the rest's counts are worth when its minutes are weighted like the region's.
func (s Span) rest() infer.Arm {
	n := float64(s.Here.Exposure)
	worth := n * n / s.Spread
	return infer.Arm{Events: min(s.Weighted/n, 1) * worth, Exposure: worth}
}

// withoutWorst is the least difference in points if the region's worst minute is left out:
// what rests on one minute alone may be one burst.
func (in Input) withoutWorst(s Span) float64 {
	low, _ := infer.Difference(infer.Arm{
		Events: float64(s.Here.Events) - float64(s.Worst.Events), Exposure: float64(s.Here.Exposure) - float64(s.Worst.Exposure),
	}, s.rest(), in.Dispersion, in.level(s.Name))
	return 100 * low
}

func (in Input) sentence(what string, d *Difference) string {
	return fmt.Sprintf("%s of %s %s: the bad share of %s is %s above that of %s (%s of %d requests against %.3g %%, since %s); the bound is %.3g",
		in.Region, in.Service, what, in.SLO, between(d), in.against(), bad(d.Here.Events), d.Here.Exposure, 100*d.Rest, d.From.UTC().Format("15:04"), 100*in.Bound)
}

func (in Input) against() string {
	if in.Regions == 2 {
		return "the other region"
	}
	return fmt.Sprintf("the %d other regions", max(in.Regions-1, 1))
}

func bad(n uint64) string { return fmt.Sprintf("%d bad", n) }

// between is the interval in words.
func between(d *Difference) string {
	return fmt.Sprintf("%.3g to %.3g percentage points", d.Low, d.High)
}

func (in Input) basis() string {
	out := fmt.Sprintf("intervals for looks every minute, at an error of %.3g %% a day shared by %d regions and %d spans", 100*in.Error, in.Regions, len(spans))
	if in.Dispersion > 1 {
		out += fmt.Sprintf("; evidence divided by %.2g because bad events come in bursts", in.Dispersion)
	}
	return out + "; measured by simulation"
}
