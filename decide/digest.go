package decide

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// digest is SHA-256 over what a decision was made of: plan, state, readings, guard
// verdicts and instant in order, counts as varints, other numbers as eight bytes, and texts
// with their length before them. It is made at every decision, which JSON of all of it would make three
// times as expensive.
func digest(p Plan, s State, readings []assay.Reading, guards []assay.GuardVerdict, now time.Time) assay.Digest {
	room := rooms.Get().(*[]byte)
	w := words{buf: (*room)[:0]} // not in the room: what is on the heap is written through the collector's barrier
	w.plan(&p)
	w.state(s)
	w.number(uint64(len(readings)))
	for i := range readings {
		w.reading(&readings[i])
	}
	w.number(uint64(len(guards)))
	for _, g := range guards {
		w.text(g.Guard)
		w.text(string(g.Action))
		w.text(string(g.Outcome))
		w.text(g.Reason)
	}
	w.time(now)
	sum := sha256.Sum256(w.buf)
	*room = w.buf
	rooms.Put(room)
	return assay.DigestOf(sum)
}

// words are the canonical bytes.
type words struct{ buf []byte }

// rooms keep the bytes of the last digests: all of them are about as long.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

func (w *words) number(v uint64) { w.buf = appendNumber(w.buf, v) }

func appendNumber(b []byte, v uint64) []byte {
	if v < 1<<7 { // most are: a varint of one byte
		return append(b, byte(v))
	}
	if v < 1<<14 {
		return append(b, byte(v)|1<<7, byte(v>>7))
	}
	return binary.AppendUvarint(b, v)
}

func (w *words) float(v float64)  { w.buf = appendFloat(w.buf, v) }
func (w *words) time(t time.Time) { w.buf = appendTime(w.buf, t) }
func (w *words) text(s string)    { w.buf = appendText(w.buf, s) }

func appendFloat(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(b, math.Float64bits(v))
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

func appendText(b []byte, s string) []byte { return append(appendNumber(b, uint64(len(s))), s...) }

func (w *words) floats(v []float64) { w.buf = appendFloats(w.buf, v) }

func appendFloats(b []byte, v []float64) []byte {
	b = appendNumber(b, uint64(len(v)))
	n := len(b)
	b = slices.Grow(b, 8*len(v))[:n+8*len(v)]
	to := b[n:]
	for len(v) >= 4 && len(to) >= 32 { // four at a time: most of what is digested is written here
		binary.BigEndian.PutUint64(to, math.Float64bits(v[0]))
		binary.BigEndian.PutUint64(to[8:], math.Float64bits(v[1]))
		binary.BigEndian.PutUint64(to[16:], math.Float64bits(v[2]))
		binary.BigEndian.PutUint64(to[24:], math.Float64bits(v[3]))
		v, to = v[4:], to[32:]
	}
	if len(v) >= 2 && len(to) >= 16 {
		binary.BigEndian.PutUint64(to, math.Float64bits(v[0]))
		binary.BigEndian.PutUint64(to[8:], math.Float64bits(v[1]))
		v, to = v[2:], to[16:]
	}
	if len(v) == 1 {
		binary.BigEndian.PutUint64(to, math.Float64bits(v[0]))
	}
	return b
}

func (w *words) texts(v []string) {
	w.number(uint64(len(v)))
	for _, x := range v {
		w.text(x)
	}
}

func (w *words) flag(v bool) {
	if v {
		w.number(1)
		return
	}
	w.number(0)
}

// plan writes every field: a test changes each of them and looks at the digest.
func (w *words) plan(p *Plan) {
	w.texts([]string{p.Name, p.Service, p.Environment, p.Canary, p.Control, string(p.OnHorizon), string(p.Certainty)})
	w.floats([]float64{p.Alpha, p.Beta, p.Margin, p.Accept, p.MinCompleteness, p.Budget, p.HarmBudget})
	w.number(uint64(len(p.Steps)))
	for _, s := range p.Steps {
		w.number(uint64(s))
	}
	w.number(p.MinRequests)
	for _, d := range []time.Duration{p.MinDuration, p.MaxAge, p.Horizon, p.Look} {
		w.number(uint64(d))
	}
	w.flag(p.Fixed != nil)
	if f := p.Fixed; f != nil {
		w.number(f.Requests)
		w.number(uint64(f.Looks))
		w.text(string(f.Spending))
	}
	w.number(uint64(len(p.Indicators)))
	for i := range p.Indicators {
		w.indicator(&p.Indicators[i])
	}
	for i := range p.Indicators {
		if z := p.Indicators[i].SafeDispersion; z != 0 {
			w.text("safe dispersion")
			w.number(uint64(i))
			w.float(z)
		}
	}
	for i := range p.Indicators {
		w.measure(i, &p.Indicators[i])
	}
	for i := range p.Indicators {
		if x := p.Indicators[i].Persistence; x != nil {
			w.text("persistence")
			w.number(uint64(i))
			w.floats([]float64{x.Limit, x.Time})
		}
		if p.Indicators[i].Replicas {
			w.text("replicas")
			w.number(uint64(i))
		}
	}
	if p.StepBudget != 0 { // nothing is added to what plans were before there was one
		w.text("step budget")
		w.float(p.StepBudget)
	}
}

func (w *words) indicator(i *Indicator) {
	w.text(i.Name)
	w.text(string(i.Kind))
	w.floats([]float64{i.Weight, i.Tolerable, i.Dispersion, i.Max})
	w.floats(i.Bounds)
	w.texts(i.Classes)
	w.flag(i.Required)
	w.flag(i.Clusters)
	w.flag(i.Calibration != nil)
	if c := i.Calibration; c != nil {
		w.number(uint64(c.Slots))
		w.number(uint64(c.Arms))
		w.floats([]float64{c.Dispersion, c.Upper, c.Learned, c.Low, c.High})
		for _, n := range []uint64{c.Runs, c.Before, c.Aborts, c.Seed} {
			w.number(n)
		}
	}
}

// measure writes what indicators have had since decide/5; of those that have nothing of it,
// nothing.
func (w *words) measure(n int, i *Indicator) {
	if i.Min == 0 && !i.Less && !i.PerTime && i.Every == 0 && i.Margin == 0 && i.Accept == 0 && i.Expected == 0 && i.WarmUp == 0 {
		return
	}
	w.text("measure")
	w.number(uint64(n))
	w.flag(i.Less)
	w.flag(i.PerTime)
	w.number(uint64(i.Every))
	w.number(uint64(i.WarmUp))
	w.floats([]float64{i.Min, i.Margin, i.Accept, i.Expected})
}

func (w *words) count(c infer.Count) { w.buf = appendCount(w.buf, c) }

func appendCount(b []byte, c infer.Count) []byte {
	return appendNumber(appendNumber(b, c.Events), c.Exposure)
}

func (w *words) state(s State) {
	w.text(string(s.Phase))
	w.number(uint64(s.Step))
	w.time(s.Began)
	w.time(s.StepBegan)
	if !s.Shown.IsZero() { // nothing is added to what states were before there was one
		w.text("shown")
		w.time(s.Shown)
	}
	w.number(uint64(len(s.Watches)))
	for i := range s.Watches {
		o := &s.Watches[i]
		w.time(o.Through)
		w.time(o.EventTime)
		w.float(o.Completeness)
		if o.Instead != "" { // nothing is added to what states were before there was a second source
			w.text("instead")
			w.text(o.Instead)
		}
		w.number(o.StepRequests)
		w.number(o.StepControl)
		w.floats(o.Carry[:])
		w.number(uint64(o.Looks))
		w.number(uint64(len(o.Tests)))
		for n := range o.Tests {
			w.evidence(&o.Tests[n])
		}
		w.number(uint64(len(o.Bursts)))
		for n := range o.Bursts {
			w.bursts(&o.Bursts[n])
		}
		w.gathered(o)
		if len(o.Replicas) > 0 {
			w.text("replicas")
			w.texts(o.Replicas)
		}
		w.number(uint64(len(o.Strata)))
		for _, z := range o.Strata {
			w.text(z.Name)
			w.number(z.Canary)
			w.number(z.Control)
		}
	}
}

// gathered writes what is remembered of a gauge; of other indicators nothing.
func (w *words) gathered(o *Watch) {
	if g := o.Gathered; g != nil {
		w.text("gathered")
		w.time(g.Began)
		w.count(g.Canary)
		w.count(g.Control)
	}
	if d := o.Wander; d != nil {
		w.text("wander")
		for i := range d.Scales {
			a := &d.Scales[i]
			w.number(a.Terms)
			w.number(a.Blocks)
			w.floats([]float64{a.Num, a.Within, a.Sum, a.Square})
			w.floats(a.Last)
			w.number(uint64(a.Held))
		}
	}
}

func (w *words) evidence(s *infer.State) {
	b := appendCount(appendCount(appendNumber(w.buf, s.Pairs), s.Treated), s.Control)
	b = appendFloats(b, s.LogNorm)
	b = appendFloats(appendCount(appendCount(b, s.Open.Treated), s.Open.Control), s.Closed)
	b = appendNumber(b, uint64(len(s.Starts)))
	for i := range s.Starts {
		at := &s.Starts[i]
		b = appendFloats(appendNumber(b, at.Events), at.LogNorm)
		b = appendFloat(b, at.Weight)
	}
	w.buf = b
}

func (w *words) bursts(b *Bursts) {
	w.number(b.Worst)
	begun := b.begun()
	w.count(begun.Slot)
	w.count(begun.Canary)
	w.time(begun.Began)
	w.dispersion(&b.Learned)
	if b.Spread == nil {
		w.buf = append(w.buf, nothingSpread...)
	} else {
		w.dispersion(b.Spread)
	}
	if len(begun.Beside) > 0 {
		w.text("beside")
		w.buf = appendSlot(w.buf, begun.Beside)
	}
	if b.Whole != nil {
		w.text("whole")
		w.dispersion(b.Whole)
	}
	if v := b.Visit; v != nil { // of counts and values alone
		w.text("visit")
		w.float(v.Most)
		w.number(uint64(len(v.Parts)))
		for _, p := range v.Parts {
			w.time(p.From)
			w.float(p.More)
		}
	}
}

// nothingSpread is what dispersion writes of one that has seen nothing.
var nothingSpread = func() []byte {
	var w words
	w.dispersion(&infer.Dispersion{})
	return w.buf
}()

func (w *words) dispersion(d *infer.Dispersion) {
	b := w.buf
	for i := range d.Scales {
		a := &d.Scales[i]
		b = appendFive(appendNumber(b, a.Terms), a.Num, a.Den, a.Num2, a.NumDen, a.Den2)
		if a.Spread != 0 { // of arms side by side
			b = appendFloat(appendText(b, "spread"), a.Spread)
		}
		b = appendNumber(b, uint64(a.Held))
		for n := range a.Last {
			b = appendCount(append(b, 1), a.Last[n][0])
		}
		b = appendSlot(b, a.Block)
	}
	w.buf = b
}

// appendFive is appendFloats of so many: a rollout has hundreds of such sums.
func appendFive(b []byte, v0, v1, v2, v3, v4 float64) []byte {
	n := len(b)
	b = slices.Grow(b, 1+5*8)[:n+1+5*8]
	to := b[n:]
	to[0] = 5
	binary.BigEndian.PutUint64(to[1:], math.Float64bits(v0))
	binary.BigEndian.PutUint64(to[9:], math.Float64bits(v1))
	binary.BigEndian.PutUint64(to[17:], math.Float64bits(v2))
	binary.BigEndian.PutUint64(to[25:], math.Float64bits(v3))
	binary.BigEndian.PutUint64(to[33:], math.Float64bits(v4))
	return b
}

func appendSlot(b []byte, s infer.Slot) []byte {
	if len(s) == 0 {
		return append(b, 0)
	}
	b = appendNumber(b, uint64(len(s)))
	for i := range s {
		b = appendCount(b, s[i])
	}
	return b
}

func (w *words) reading(r *assay.Reading) {
	b := w.buf // not written through w each time: a decision has many readings
	for _, s := range [...]string{r.Service, r.Environment, r.Indicator, r.Version, r.Stratum} {
		b = appendText(b, s)
	}
	for _, n := range [...]uint64{r.Good, r.Total, r.Clusters, r.BadClusters, r.Count} {
		b = appendNumber(b, n)
	}
	b = appendFloat(b, r.Sum)
	if r.Least != 0 || r.Greatest != 0 {
		b = appendFloats(appendText(b, "samples"), []float64{r.Least, r.Greatest})
	}
	if r.Instead != "" {
		b = appendText(appendText(b, "instead"), r.Instead)
	}
	if len(r.Replicas) > 0 {
		b = appendNumber(appendText(b, "replicas"), uint64(len(r.Replicas)))
		for i := range r.Replicas {
			p := &r.Replicas[i]
			b = appendNumber(appendNumber(appendText(b, p.Name), p.Good), p.Total)
			b = appendParts(b, p.Buckets, p.Classes)
		}
	}
	b = appendParts(b, r.Buckets, r.Classes)
	b = appendTime(appendTime(appendTime(appendTime(b, r.Start), r.End), r.EventTime), r.Ingested)
	w.buf = appendFloat(b, r.Completeness)
}

func appendParts(b []byte, buckets []assay.Bucket, classes []assay.Class) []byte {
	b = appendNumber(b, uint64(len(buckets)))
	for i := range buckets {
		b = appendNumber(appendFloat(b, buckets[i].LE), buckets[i].Count)
	}
	b = appendNumber(b, uint64(len(classes)))
	for i := range classes {
		b = appendNumber(appendText(b, classes[i].Name), classes[i].Count)
	}
	return b
}
