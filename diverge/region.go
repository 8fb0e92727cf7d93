package diverge

import (
	"cmp"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
	"assay.dev/assay/slo"
)

const (
	// MaxRegions is how many regions of one SLO are compared; further ones count as part
	// of the rest.
	MaxRegions = 64
	// whole is the share of its series that must report for a region's minute to count.
	whole = 0.9
	// learnFrom is how many requests a slot has before its spread is looked at: quiet
	// minutes are added up.
	learnFrom = 20
	// learnt is how many slots of the rest it takes before anything is said.
	learnt = 8
)

// learner learns how far bad events come in bursts.
type learner struct {
	D     infer.Dispersion `json:"d"`
	Slot  infer.Count      `json:"slot,omitzero"`
	Slots int              `json:"slots,omitempty"`
}

func (l *learner) add(c infer.Count) {
	l.Slot.Events, l.Slot.Exposure = l.Slot.Events+c.Events, l.Slot.Exposure+c.Exposure
	if l.Slot.Exposure < learnFrom {
		return
	}
	if d, err := l.D.Observe(infer.Slot{l.Slot}); err == nil { // a count that cannot be says nothing
		l.D = d
		l.Slots++
	}
	l.Slot = infer.Count{}
}

// span is a Span that is being counted.
type span struct {
	Began    int64       `json:"began"` // its first minute since 1970
	Here     infer.Count `json:"here"`
	Worst    infer.Count `json:"worst"`
	Rest     infer.Count `json:"rest"`
	Weighted float64     `json:"weighted"`
	Spread   float64     `json:"spread"`
}

func (s *span) add(here, rest infer.Count) {
	s.Here.Events, s.Here.Exposure = s.Here.Events+here.Events, s.Here.Exposure+here.Exposure
	s.Rest.Events, s.Rest.Exposure = s.Rest.Events+rest.Events, s.Rest.Exposure+rest.Exposure
	if here.Events > s.Worst.Events {
		s.Worst = here
	}
	n := float64(here.Exposure)
	s.Weighted += n * rest.Rate()
	s.Spread += n * n / float64(rest.Exposure)
}

// region is what is remembered of one region.
type region struct {
	Name  string            `json:"name"`
	Seen  int64             `json:"seen"` // its newest minute with data
	Spans [len(spans)]span  `json:"spans"`
	Own   learner           `json:"own"`  // today
	Rest  learner           `json:"rest"` // today
	Was   [2]float64        `json:"was"`  // dispersion of the region and of the rest on the day before; 0 if it is not known
	Day   int64             `json:"day"`
	Since int64             `json:"since,omitempty"` // minute; see Input
	Said  map[Verdict]int64 `json:"said,omitempty"`  // the minute of each verdict that holds: Begins, Silent
	Shift bool              `json:"shift,omitempty"` // it diverged today: its counts say nothing about bursts
}

func (r *region) diverging() bool { return r.Said[Begins] > 0 }

// roll begins the spans and the day that a minute belongs to.
func (r *region) roll(minute int64) {
	for i, s := range spans {
		if from := minute - minute%s.minutes; r.Spans[i].Began != from {
			r.Spans[i] = span{Began: from}
		}
	}
	day := minute / (24 * 60)
	if day == r.Day {
		return
	}
	if r.Own.Slots >= learnt && !r.Shift {
		r.Was[0] = r.Own.D.Factor()
	}
	if r.Rest.Slots >= learnt {
		r.Was[1] = r.Rest.D.Factor()
	}
	r.Day, r.Own, r.Rest, r.Shift = day, learner{}, learner{}, r.diverging()
}

// dispersion is what evidence is divided by, 0 if too little is known.
func (r *region) dispersion() float64 {
	if r.Rest.Slots < learnt && r.Was[1] == 0 {
		return 0
	}
	before := max(r.Was[0], r.Was[1], 1)
	return max(r.Rest.D.Beyond(before), r.Rest.D.Factor())
}

// counted is what one region had in a minute.
type counted struct {
	infer.Count
	complete float64
}

// byRegion adds up the versions of each region. Series without the label belong to none.
func byRegion(readings []assay.Reading) map[string]counted {
	out := map[string]counted{}
	for _, r := range readings {
		if r.Stratum == "" {
			continue
		}
		c, known := out[r.Stratum]
		if !known {
			c.complete = 1
		}
		c.Events, c.Exposure = c.Events+r.Bad(), c.Exposure+r.Total
		c.complete = min(c.complete, r.Completeness)
		out[r.Stratum] = c
	}
	return out
}

// comparison is one SLO whose regions are compared.
type comparison struct {
	service string
	slo     string
	regions slo.Regions
	s       comparisonState
	now     map[string]Judgement // newest, by region; nil before the first
}

// comparisonState is what is kept of a comparison.
type comparisonState struct {
	Regions []region `json:"regions"` // by name
}

// observe takes a minute and returns the verdicts. While it learns, nothing is said: what
// was before anybody watched is nobody's news.
func (c *comparison) observe(minute int64, counts map[string]counted, learns bool) (out []Judged) {
	names := make([]string, 0, len(counts))
	total := infer.Count{}
	for name, n := range counts {
		if n.complete < whole {
			continue
		}
		names = append(names, name)
		total.Events, total.Exposure = total.Events+n.Events, total.Exposure+n.Exposure
	}
	slices.Sort(names)
	c.meet(names, minute)
	at := time.Unix((minute+1)*60, 0).UTC()
	if c.now == nil && !learns {
		c.now = map[string]Judgement{}
	}
	for i := range c.s.Regions {
		r := &c.s.Regions[i]
		r.roll(minute)
		others := len(names)
		if n, ok := counts[r.Name]; ok && n.complete >= whole {
			others--
			r.Seen = minute
			rest := infer.Count{Events: total.Events - n.Events, Exposure: total.Exposure - n.Exposure}
			r.take(n.Count, rest)
		}
		if learns {
			continue
		}
		in := c.input(r, minute, at, others)
		j := Judge(in)
		c.now[r.Name] = j
		if j.Verdict == "" {
			continue
		}
		r.told(j.Verdict, minute)
		out = append(out, Judged{Input: in, Judgement: j})
	}
	c.forget(minute)
	return out
}

// take counts a minute of a region and of all others.
func (r *region) take(here, rest infer.Count) {
	r.Own.add(here)
	if rest.Exposure > 0 {
		r.Rest.add(rest)
	}
	if here.Exposure == 0 || rest.Exposure == 0 {
		return
	}
	for i := range r.Spans {
		r.Spans[i].add(here, rest)
	}
}

// told remembers a verdict.
func (r *region) told(v Verdict, minute int64) {
	if r.Said == nil {
		r.Said = map[Verdict]int64{}
	}
	switch v {
	case Begins:
		r.Said[Begins], r.Since, r.Shift = minute, minute+1, true
		delete(r.Said, Silent)
	case Ends:
		delete(r.Said, Begins)
		r.Since = minute + 1
		if minute-r.Seen < silentFor {
			delete(r.Said, Silent)
		}
	case Silent:
		r.Said[Silent] = minute
	case Back:
		delete(r.Said, Silent)
	}
}

// meet adds regions that are seen for the first time, in the order of their names.
func (c *comparison) meet(names []string, minute int64) {
	for _, name := range names {
		i, known := slices.BinarySearchFunc(c.s.Regions, name, func(r region, name string) int { return cmp.Compare(r.Name, name) })
		if !known && len(c.s.Regions) < MaxRegions {
			c.s.Regions = slices.Insert(c.s.Regions, i, region{Name: name, Seen: minute})
		}
	}
}

// forget drops regions that were not seen for a day.
func (c *comparison) forget(minute int64) {
	c.s.Regions = slices.DeleteFunc(c.s.Regions, func(r region) bool {
		gone := minute-r.Seen >= goneFor
		if gone {
			delete(c.now, r.Name)
		}
		return gone
	})
}

func (c *comparison) input(r *region, minute int64, at time.Time, others int) Input {
	in := Input{
		Service: c.service, SLO: c.slo, Label: c.regions.Label, Region: r.Name, Time: at, Bound: c.regions.Bound, Error: c.regions.Error,
		Regions: len(c.s.Regions), Dispersion: r.dispersion(), Diverging: r.diverging(), Silenced: r.Said[Silent] > 0,
		Missing: int(minute - r.Seen), Others: others,
	}
	if r.Since > 0 {
		in.Since = time.Unix(r.Since*60, 0).UTC()
	}
	for i, s := range spans {
		k := &r.Spans[i]
		in.Spans = append(in.Spans, Span{
			Name: s.name, From: time.Unix(k.Began*60, 0).UTC(), Here: k.Here, Worst: k.Worst, Rest: k.Rest, Weighted: k.Weighted, Spread: k.Spread,
		})
	}
	return in
}
