package rollout

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/signal"
)

// A version alone with all the traffic is held against the old one's past. What fails or
// is slow because of the load is so in both versions, so the past must be one of as much
// load: where the watch meets more than the past that belongs to it had, moments of the day
// before take its place, chosen by their load alone.
const (
	dayLong  = 24 * time.Hour
	daySlot  = 5 * time.Minute // of which loads are known
	fewSlots = 24              // how many there are at least, where less than a day is known
	// leastDaySlot is the shortest: in less, a load is mostly chance.
	leastDaySlot = time.Second
	// tapeWidth is the greatest load of a tape in units of its least.
	tapeWidth = 1.1
	// usefulTape is how long a tape is at least, in units of the watch.
	usefulTape = 0.02
	// chance is how many standard deviations of a count are none: it is asked often.
	chance = 3
)

// day is the day before a rollout by its load: tapes of the old version's moments, each of
// about one load and wound on as the watch uses it, so that each count is used once.
type day struct {
	Tapes []tape            `json:"tapes,omitempty"` // in order of their loads
	Used  [][]time.Duration `json:"used,omitempty"`  // by indicator and tape
	// Skipped is until when, by indicator, the new version's counts had no past left to be
	// held against: a watch that waits for load outlasts it.
	Skipped []time.Time `json:"skipped,omitempty"`
}

// skipped is until when nothing of an indicator is evidence any more.
func (d *day) skipped(i int) (t time.Time) {
	if d != nil && i < len(d.Skipped) {
		t = d.Skipped[i]
	}
	return t
}

// tape are moments in which the old version had at least Load requests a second, and less
// than the next tape's.
type tape struct {
	Load  float64    `json:"load"`
	Spans [][2]int64 `json:"spans"` // from and to, Unix milliseconds, in order of time
}

func (t tape) long() (d time.Duration) {
	for _, s := range t.Spans {
		d += millis(s)
	}
	return d
}

func millis(s [2]int64) time.Duration { return time.Duration(s[1]-s[0]) * time.Millisecond }

// piece is the next d of a tape after used of it, or less where a span ends, and how much
// is used then. A rest that is too short is passed over. No time is nothing left.
func (t tape) piece(used, d time.Duration) (from, to time.Time, then time.Duration) {
	begin := time.Duration(0)
	for _, s := range t.Spans {
		end := begin + millis(s)
		at := max(used, begin)
		if left := end - at; left > 0 && (at == begin || left >= d) {
			take := max(min(d, left), time.Millisecond).Truncate(time.Millisecond)
			from = time.UnixMilli(s[0]).UTC().Add(at - begin)
			return from, from.Add(take), at + take
		}
		begin = end
	}
	return from, to, used
}

// loadedSlot is a slot of the day and the load that it had.
type loadedSlot struct {
	start time.Time
	load  float64 // requests a second
}

// wind sorts slots of one length by their load into tapes; they are in order of time.
func wind(slots []loadedSlot, length time.Duration) (out []tape) {
	for _, s := range slots {
		if s.load == 0 {
			continue
		}
		n := math.Floor(math.Log(s.load) / math.Log(tapeWidth))
		load := math.Pow(tapeWidth, n)
		i, has := slices.BinarySearchFunc(out, load, func(t tape, l float64) int {
			switch {
			case t.Load < l*(1-1e-9):
				return -1
			case t.Load > l*(1+1e-9):
				return 1
			}
			return 0
		})
		if !has {
			out = slices.Insert(out, i, tape{Load: load})
		}
		span := [2]int64{s.start.UnixMilli(), s.start.Add(length).UnixMilli()}
		if k := len(out[i].Spans); k > 0 && out[i].Spans[k-1][1] == span[0] {
			out[i].Spans[k-1][1] = span[1]
			continue
		}
		out[i].Spans = append(out[i].Spans, span)
	}
	return out
}

// like is the tape that a load above peak is held against: the least that had as much, or
// else the greatest; −1 if none had hardly more than peak.
func (d *day) like(load, peak float64, watch time.Duration) int {
	if d == nil {
		return -1
	}
	best := -1
	for i, t := range d.Tapes {
		if t.Load <= peak || t.long().Seconds() < usefulTape*watch.Seconds() {
			continue
		}
		if best = i; t.Load >= load/tapeWidth {
			break
		}
	}
	return best
}

// use is a piece of a tape that a reading was held against; tape is −1 for a reading that
// had no past left.
type use struct {
	indicator, tape int
	then            time.Duration
	fresh           assay.Reading
}

// against is the old version's past that a reading of the watch belongs to.
func (r record) against(i int, fresh assay.Reading) (from, to time.Time, used *use) {
	w := *r.Rollout.Watch
	if load, more := r.beyond(i, fresh); more {
		if t := r.Day.like(load, r.Rollout.Load.Recent, w.Duration); t >= 0 {
			tape, was := r.Day.Tapes[t], time.Duration(0)
			if i < len(r.Day.Used) {
				was = r.Day.Used[i][t]
			}
			part := tape.long().Seconds() / w.Duration.Seconds() // the whole of it is spread over the watch
			u := use{indicator: i, tape: t, fresh: fresh}
			from, to, u.then = tape.piece(was, time.Duration(part*float64(fresh.End.Sub(fresh.Start))))
			if !from.Before(to) {
				u.tape = -1 // it is used up: what comes is load that it had, and no evidence
			}
			return from, to, &u
		}
	}
	if from, to = past(w, fresh.Start), past(w, fresh.End); !from.Before(to) && fresh.Start.Sub(w.Began) >= w.Duration {
		return from, to, &use{indicator: i, tape: -1, fresh: fresh}
	}
	return from, to, nil
}

// beyond reports whether the new version has more load than the past that the watch is
// held against, beyond chance, and how much. A reading of what counts no requests says
// nothing of that.
func (r record) beyond(i int, fresh assay.Reading) (load float64, more bool) {
	l := r.Rollout.Load
	if l == nil || !(l.Recent > 0) {
		return 0, false
	}
	seconds := fresh.End.Sub(fresh.Start).Seconds()
	if !r.plan().Indicators[i].CountsRequests() {
		seconds = 0
	}
	usual := api.MuchMore * l.Recent * seconds
	if n := float64(fresh.Total); seconds > 0 && n > usual+chance*math.Sqrt(usual) {
		return n / seconds, true
	}
	return l.Now, l.Now > api.MuchMore*l.Recent
}

// wound remembers what was used of the tapes by readings that are in the evidence now, and
// what had no past left. It reports whether there was anything.
func (r *record) wound(uses []use, after decide.State) bool {
	if len(uses) == 0 {
		return false
	}
	var d day
	if r.Day != nil {
		d = *r.Day
	}
	d.Used, d.Skipped = slices.Clone(d.Used), slices.Clone(d.Skipped)
	for _, u := range uses {
		switch {
		case u.tape < 0:
			for len(d.Skipped) <= u.indicator {
				d.Skipped = append(d.Skipped, time.Time{})
			}
			d.Skipped[u.indicator] = u.fresh.End
			if u.indicator == requestsOf(r.plan()) {
				r.count(u.fresh.Start, u.fresh.End, [2]uint64{u.fresh.Total}, r.Rollout.Decision.Time)
			}
		case !u.fresh.End.After(after.Watches[u.indicator].Through):
			for len(d.Used) <= u.indicator {
				d.Used = append(d.Used, make([]time.Duration, len(d.Tapes)))
			}
			d.Used[u.indicator] = slices.Clone(d.Used[u.indicator])
			d.Used[u.indicator][u.tape] = u.then
		}
	}
	r.Day = &d
	return true
}

// loaded learns how much load the old version had: in its last day, and in the part of it
// that a watch is held against. known is since when anything is known of it.
func (c *Controller) loaded(ctx context.Context, p Proposal, plan decide.Plan, rec *record, known, now time.Time) error {
	by := requestsOf(plan)
	if by < 0 {
		return nil
	}
	compiled, err := signal.Compile(p.Indicators[by].past())
	if err != nil {
		return err
	}
	length := min(daySlot, max(leastDaySlot, min(now.Sub(known)/fewSlots, p.Baseline))).Truncate(time.Millisecond)
	span := min(dayLong, max(length, now.Sub(known)))
	if length == daySlot {
		span = dayLong
	}
	q := signal.Query{Namespace: p.Namespace, Indicator: compiled}
	list, err := c.every(ctx, q, plan.Control, now, span, length)
	if err != nil || len(list) == 0 {
		return err
	}
	apart := spacing(list)
	if need := min(daySlot, arrivals*apart); len(list) < 2 || apart > length && need > span {
		rec.young(plan.Control, max(length, need), span, now)
		return nil
	}
	if apart > length {
		length = min(daySlot, arrivals*apart)
		if list, err = c.every(ctx, q, plan.Control, now, span, length); err != nil || len(list) == 0 {
			return err
		}
	}
	l := api.Load{Slot: length, Since: list[0][0].Start}
	var before []loadedSlot
	loads := borne(list, length)
	for i, one := range list {
		rate := loads[i]
		l.Control = max(l.Control, rate)
		if !one[0].Start.Add(length / 2).Before(rec.Past) { // the most of it belongs to the watch
			l.Recent = max(l.Recent, rate)
		}
		if !one[0].Start.Add(length).After(rec.Past) && !late(one[0], rate, length) { // and no count is used twice
			before = append(before, loadedSlot{one[0].Start, rate})
		}
	}
	rec.Rollout.Load = &l
	if rec.Rollout.Watch != nil {
		rec.Day = &day{Tapes: wind(before, length)}
	}
	return nil
}

// young notes that too little is known of the old version to tell its load: counts that come
// seldom would make it one and a half times as great, or many times. It is learned from what
// comes from now on, in slots that are long enough.
func (r *record) young(control string, slot, known time.Duration, now time.Time) {
	r.Rollout.Load = &api.Load{Slot: slot, Since: now}
	if w := r.Rollout.Watch; w != nil && w.UntilLoad > 0 {
		r.Rollout.Warnings = append(r.Rollout.Warnings, fmt.Sprintf(
			"too little history to tell the load of %s: its counts of %s come too seldom for that; unless more of them come before the watch, it does not wait for load", control, known.Round(time.Second)))
	}
}

// arrivals is how often counts must come in a slot for it to tell a load: one more or less is
// not api.MuchMore then.
const arrivals = 4

// spacing is how far the slots are apart of which something is known, in the middle: longer
// than a slot where counts come less often than that, as from a page that is scraped every
// fifteen seconds. Each such slot has the requests of all the time since the one before.
func spacing(list [][]assay.Reading) time.Duration {
	var gaps []time.Duration
	for i := range list {
		if i > 0 {
			gaps = append(gaps, list[i][0].Start.Sub(list[i-1][0].Start))
		}
	}
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}

// counting is a stretch of a version's requests that is not as long as a slot yet, and the
// slot before it.
type counting struct {
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	N    uint64    `json:"n,omitempty"`
	Last float64   `json:"last,omitempty"` // of the slot that ended at LastTo, requests a second
	// LastTo is when that was; zero without one.
	LastTo time.Time `json:"last_to,omitzero"`
}

// slotLoad is what a whole slot had: requests a second, and as much of them as the slot
// before it had too; of the first one, all of them.
type slotLoad struct {
	rate, borne float64
	first       bool
}

// add takes a stretch in; the load is that of a whole slot, once there is one.
func (k *counting) add(from, to time.Time, n uint64, slot time.Duration) (l slotLoad, whole bool) {
	if k.From.IsZero() || from.Sub(k.To) > slot { // nothing is known of the time between
		k.From, k.N = from, 0
	}
	k.To, k.N = to, k.N+n
	took := k.To.Sub(k.From)
	if took < slot {
		return l, false
	}
	l.rate = float64(k.N) / took.Seconds()
	switch l.first = k.LastTo.IsZero(); {
	case l.first:
		l.borne = l.rate
	case k.From.Sub(k.LastTo) <= slot:
		l.borne = min(l.rate, k.Last)
	}
	*k = counting{Last: l.rate, LastTo: k.To}
	return l, true
}

// requestsOf is the first indicator that counts requests, −1 if none does.
func requestsOf(p decide.Plan) int {
	return slices.IndexFunc(p.Indicators, decide.Indicator.CountsRequests)
}

// loads keeps how many requests a second the versions had, of what a decision has folded
// into its evidence of the first indicator that counts them.
func (r *record) loads(d decide.Record) {
	by := requestsOf(d.Plan)
	if by < 0 {
		return
	}
	before, after := d.Before.Watches[by].Through, d.After.Watches[by].Through
	if !after.After(before) {
		return
	}
	var n [2]uint64
	var from, to time.Time
	for _, one := range d.Readings {
		if one.Indicator != d.Plan.Indicators[by].Name || one.Start.Before(before) || one.End.After(after) {
			continue
		}
		if from.IsZero() || one.Start.Before(from) {
			from = one.Start
		}
		to = later(to, one.End)
		if one.Version == d.Plan.Canary {
			n[0] += one.Total
		} else {
			n[1] += one.Total
		}
	}
	if from.Before(to) {
		r.count(from, to, n, d.Now)
	}
}

// count adds requests of the new and the old version in a stretch of time.
func (r *record) count(from, to time.Time, n [2]uint64, now time.Time) {
	if r.Rollout.Load == nil {
		return
	}
	l := *r.Rollout.Load
	if had, whole := r.Counting[0].add(from, to, n[0], l.Slot); whole {
		l.Now, l.Canary = had.rate, max(l.Canary, had.borne)
	}
	if !r.watching() { // in the watch it is the past's again
		if had, whole := r.Counting[1].add(from, to, n[1], l.Slot); whole && !(had.first && l.Control > 0) {
			l.Control, l.Recent = max(l.Control, had.borne), max(l.Recent, had.borne)
		}
	}
	r.Rollout.Load = &l
	r.met(now)
}

// met ends a watch that waits for load: once the new version has had enough of it, it is
// watched for the declared time from there on.
func (r *record) met(now time.Time) {
	if !r.watching() || r.Rollout.Watch.UntilLoad == 0 || r.Rollout.Load.Control == 0 || !r.Rollout.Watch.Met.IsZero() || r.Rollout.Load.Canary < r.Rollout.Watch.UntilLoad*r.Rollout.Load.Control {
		return
	}
	w := *r.Rollout.Watch
	w.Met = now
	if until := now.Add(w.Duration); until.Before(w.Until) {
		w.Until = later(until, w.Began.Add(w.Duration))
	}
	r.Rollout.Watch = &w
}

// waits reports whether the watch goes on for no other reason than that it waits for load.
func (r record) waits(now time.Time) bool {
	w := r.Rollout.Watch
	return r.watching() && w.UntilLoad > 0 && w.Met.IsZero() && now.Sub(w.Began) >= w.Duration
}
