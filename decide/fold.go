package decide

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// fold adds to s every new pair of readings, and returns what each indicator is
// worth at now. A pair is the canary's and the control's reading of the same
// interval. Readings that were folded before are passed over, so handing the same
// one twice changes nothing; a reading without its partner waits for it.
func fold(p Plan, tests []test, s *State, readings []assay.Reading, now time.Time) ([]assay.Signal, error) {
	for i := range readings {
		if err := readings[i].Check(); err != nil {
			return nil, err
		}
		if err := readReplicas(&readings[i]); err != nil {
			return nil, err
		}
	}
	signals := make([]assay.Signal, 0, len(p.Indicators))
	var rooms [fewIntervals]pair
	var places [fewIntervals]int
	memory := newMemory(&p, len(tests))
	for i := range p.Indicators {
		ind, w := &p.Indicators[i], &s.Watches[i]
		refused := ""
		all, ends := intervals(rooms[:0], places[:0], &p, ind.Name, readings)
		for n, end := range ends {
			parts := all[:end]
			if n > 0 {
				parts = all[ends[n-1]:end]
			}
			first := parts[0][0]
			if first.Start.Before(w.Through) {
				continue
			}
			if c := completeness(parts); c < p.MinCompleteness {
				if now.Sub(first.End) > p.MaxAge {
					continue // nobody will complete it any more: it stays a hole
				}
				refused = fmt.Sprintf("%.0f %% of its sources reported, %.0f %% are needed", 100*c, 100*p.MinCompleteness)
				w.Completeness = c
				break // it may still be completed: wait for it
			}
			w.Instead = first.Instead
			if ind.WarmUp > 0 && first.Start.Before(s.Began.Add(ind.WarmUp)) {
				w.seen(parts)
				continue
			}
			if why, err := w.add(&p, tests, i, parts, &memory); err != nil {
				return nil, err
			} else if why != "" {
				if now.Sub(first.End) > p.MaxAge {
					continue // it will not become usable: later ones must not wait for it
				}
				refused = why
				break
			}
		}
		signals = append(signals, w.signal(p, ind.Name, refused, now))
	}
	return signals, nil
}

// pair is the canary's and the control's reading of one interval and stratum.
type pair [2]*assay.Reading

func completeness(parts []pair) float64 {
	least := 1.0
	for _, p := range parts {
		least = min(least, p[0].Completeness, p[1].Completeness)
	}
	return least
}

// at is where a reading belongs, and which ones are there: the canary's and the
// control's, by their place in the readings counted from 1.
type at struct {
	start, end int64
	stratum    string
	arms       [2]int
}

func (k at) compare(o at) int {
	return cmp.Or(cmp.Compare(k.start, o.start), cmp.Compare(k.end, o.end), cmp.Compare(k.stratum, o.stratum))
}

// intervals matches the readings of one indicator by interval and stratum, oldest
// interval first, strata by name. It appends the pairs, and where those of each interval
// end. A stratum that one version had no request of has no
// reading of it: beside a stratum that both have, it counts as an empty one.
func intervals(pairs []pair, ends []int, p *Plan, indicator string, readings []assay.Reading) ([]pair, []int) {
	var room [fewIntervals]at
	found := room[:0]
	for i := range readings {
		r := &readings[i]
		if r.Indicator != indicator || r.Service != p.Service || r.Environment != p.Environment || r.Version != p.Canary && r.Version != p.Control {
			continue
		}
		key := at{start: r.Start.UnixNano(), end: r.End.UnixNano(), stratum: r.Stratum}
		arm := 0
		if r.Version == p.Control {
			arm = 1
		}
		key.arms[arm] = i + 1
		found = append(found, key)
	}
	// Equal ones keep their order, so of two that say the same the later one counts.
	if !slices.IsSortedFunc(found, at.compare) {
		slices.SortStableFunc(found, at.compare)
	}
	found = merge(found)
	for len(found) > 0 {
		n := 1
		for n < len(found) && found[n].start == found[0].start && found[n].end == found[0].end {
			n++
		}
		from := len(pairs)
		if pairs = complete(pairs, found[:n], readings); len(pairs) > from {
			ends = append(ends, len(pairs))
		}
		found = found[n:]
	}
	return pairs, ends
}

// merge puts the arms of equal places together.
func merge(sorted []at) []at {
	out := sorted[:0]
	for _, k := range sorted {
		if n := len(out); n > 0 && out[n-1].compare(k) == 0 {
			for arm, i := range k.arms {
				if i > 0 {
					out[n-1].arms[arm] = i
				}
			}
			continue
		}
		out = append(out, k)
	}
	return out
}

// complete appends the pairs of one interval, none if no reading has its partner.
func complete(out []pair, keys []at, readings []assay.Reading) []pair {
	if !slices.ContainsFunc(keys, func(k at) bool { return k.arms[0] > 0 && k.arms[1] > 0 }) {
		return out
	}
	for _, k := range keys {
		var both pair
		for arm, i := range k.arms {
			if i > 0 {
				both[arm] = &readings[i-1]
				continue
			}
			// The stratum had none of its requests.
			o := &readings[k.arms[1-arm]-1]
			both[arm] = &assay.Reading{Start: o.Start, End: o.End, EventTime: o.EventTime, Completeness: 1, Stratum: o.Stratum}
		}
		out = append(out, both)
	}
	return out
}

// memory is where what watches remember after one decision lies, a few arrays for all of them
// instead of some for each: mostly all have new readings. Nothing is allocated before it is used.
type memory struct {
	tests    int // of the plan
	states   []infer.State
	bursts   []Bursts
	evidence infer.Memory
	counts   infer.Memory
}

func newMemory(p *Plan, tests int) memory {
	learning := tests
	for i := range p.Indicators {
		if len(p.Indicators[i].Bounds) == 0 { // the new version's dispersion is learned too
			learning += p.Indicators[i].slots()
		}
	}
	return memory{tests: tests, evidence: infer.MemoryOfEvidence(tests), counts: infer.NewMemory(learning)}
}

// copied is a copy of what an indicator's tests remember.
func (m *memory) copied(s []infer.State) []infer.State {
	out := taken(&m.states, len(s), m.tests)
	copy(out, s)
	return out
}

// taken is n of the room's elements that nobody has yet, all of them zero; where there are no
// more, there is room for another plan's.
func taken[T any](room *[]T, n, plan int) []T {
	if len(*room) < n {
		*room = make([]T, max(n, plan))
	}
	out := (*room)[:n:n]
	*room = (*room)[n:]
	return out
}

// fewIntervals is how many intervals of one indicator are matched without being allocated:
// mostly there is one.
const fewIntervals = 8

// fewSlots is how many tests of one indicator are counted without being allocated.
const fewSlots = 8

// add folds the pairs of one interval into the tests of an indicator, each stratum on
// its own: evidence is about the ratio within strata, so that a different mix of them
// is no harm. It returns why they cannot be used, "" if they were.
func (w *Watch) add(p *Plan, tests []test, indicator int, parts []pair, memory *memory) (string, error) {
	ind := &p.Indicators[indicator]
	next, carry := memory.copied(w.Tests), w.Carry
	var room [2 * fewSlots]infer.Count
	counted := room[:]
	if len(next) > fewSlots {
		counted = make([]infer.Count, 2*len(next))
	}
	canary, control := counted[:len(next)], counted[len(next):2*len(next)]
	for _, part := range parts {
		for i := range tests {
			t := &tests[i]
			if t.indicator != indicator {
				continue
			}
			x, why := count(ind, t, part[0], &carry[0])
			if why != "" {
				return why, nil
			}
			y, why := count(ind, t, part[1], &carry[1])
			if why != "" {
				return why, nil
			}
			canary[t.slot].Events += x.Events
			canary[t.slot].Exposure += x.Exposure
			control[t.slot].Events += y.Events
			control[t.slot].Exposure += y.Exposure
			state := &next[t.slot]
			if ind.Kind == KindGauge {
				var err error
				if *state, err = w.bet(p, t, *state, infer.Pair{Treated: x, Control: y}, part); err != nil {
					return "", err
				}
				continue
			}
			if part[0].Stratum != "" {
				*state = state.Close() // strata are never put into one block
			}
			if err := t.comparison.UpdateIn(state, infer.Pair{Treated: x, Control: y}, &memory.evidence); err != nil {
				return "", err
			}
		}
	}
	replicas, names, why := besides(ind, tests, indicator, parts)
	if why != "" {
		return why, nil
	}
	if ind.Replicas {
		w.sidedBy(names, memory)
	}
	if err := w.learn(p, ind, canary, control, replicas, parts[0][0].Start, parts[0][0].End, memory); err != nil {
		return "", err
	}
	w.Tests, w.Carry = next, carry
	w.seen(parts)
	return "", nil
}

// seen notes that the pairs of one interval were read.
func (w *Watch) seen(parts []pair) {
	w.Through = parts[0][0].End.UTC()
	w.Completeness = completeness(parts)
	for _, part := range parts {
		w.StepRequests += part[0].Total
		w.StepControl += part[1].Total
		if older := oldest(part[0].EventTime, part[1].EventTime).UTC(); older.After(w.EventTime) {
			w.EventTime = older
		}
		if part[0].Stratum != "" {
			w.Strata = mixed(w.Strata, part)
		}
	}
}

func oldest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// count is the events of r that a test counts, and why there are none to count.
func count(ind *Indicator, t *test, r *assay.Reading, carry *float64) (infer.Count, string) {
	switch {
	case ind.Kind == KindCount:
		return infer.Count{Events: r.Count, Exposure: r.Total}, ""
	case ind.Kind == KindValue:
		// Whole units are counted and the rest waits: at most one unit is ever open.
		units := *carry + r.Sum/ind.Max
		if units > *carry+float64(r.Total)*(1+1e-9) {
			return infer.Count{}, fmt.Sprintf("its values are above the declared max of %s", number(ind.Max))
		}
		if ind.Less {
			units = *carry + max(0, float64(r.Total)-r.Sum/ind.Max)
		}
		whole := min(math.Floor(units), float64(r.Total))
		*carry = units - whole
		return infer.Count{Events: uint64(whole), Exposure: r.Total}, ""
	case ind.Kind == KindGauge:
		return ind.values(r)
	case ind.Clusters:
		if r.Clusters == 0 && r.Total > 0 {
			return infer.Count{}, "its readings count no clusters"
		}
		return infer.Count{Events: r.BadClusters, Exposure: r.Clusters}, ""
	case t.class != "":
		i := slices.IndexFunc(r.Classes, func(c assay.Class) bool { return c.Name == t.class })
		if i >= 0 {
			return infer.Count{Events: r.Classes[i].Count, Exposure: r.Total}, ""
		}
		if r.Bad() > 0 && len(r.Classes) == 0 {
			return infer.Count{}, "its readings do not tell classes apart"
		}
		return infer.Count{Exposure: r.Total}, ""
	case t.bound == 0:
		return infer.Count{Events: r.Bad(), Exposure: r.Total}, ""
	}
	for _, b := range r.Buckets {
		if b.LE == t.bound {
			return infer.Count{Events: r.Total - b.Count, Exposure: r.Total}, ""
		}
	}
	if r.Total == 0 {
		return infer.Count{}, ""
	}
	return infer.Count{}, fmt.Sprintf("its histogram has no bound at %s", number(t.bound))
}

// signal says whether the indicator may be decided upon.
func (w *Watch) signal(p Plan, name, refused string, now time.Time) assay.Signal {
	s := assay.Signal{Indicator: name, Known: true, Completeness: w.Completeness, Instead: w.Instead}
	if w.EventTime.IsZero() {
		s.Known, s.Reason = false, "no readings of both versions yet"
	} else {
		age := now.Sub(w.EventTime)
		s.AgeSeconds = age.Seconds()
		if age > p.MaxAge {
			s.Known, s.Reason = false, fmt.Sprintf("the newest event is %s old, at most %s is fresh", age.Round(time.Millisecond), p.MaxAge)
		}
		if age < -p.MaxAge {
			s.Known, s.Reason = false, fmt.Sprintf("the newest event is %s in the future", (-age).Round(time.Millisecond))
		}
	}
	if refused != "" {
		s.Known, s.Reason = false, strings.TrimSpace(refused)
	}
	return s
}
