package simtest

import (
	"slices"
	"time"

	"assay.dev/assay"
)

// View is what telemetry says of a service in a region in one tick; Region is empty
// for all regions together.
type View struct {
	Service      string
	Region       string
	Start, End   time.Time
	EventTime    time.Time // of the newest event, by the clock of who counted it
	Ingested     time.Time
	Completeness float64

	Arrived  int // requests that came to the door
	Answered int
	Errors   int // of the answered
	Slow     int // of the answered, above the service's Within; those that failed included
	Dropped  int
	Waiting  int // at the end of the tick
	Buckets  []assay.Bucket
	P50      float64 // seconds
	P95      float64 // seconds
	P99      float64 // seconds

	InFlight    float64
	Utilisation float64 // of the workers, 0 to 1
	Replicas    int     // running and starting
	Ready       int
	DBUse       float64 // utilisation of the fullest database that is called, 0 to 1
	DBLatency   float64 // of it, seconds
	Spend       float64 // of the service today, in all regions
	Flows       []FlowView
}

// FlowView is a View of one flow.
type FlowView struct {
	Class    string
	Tenant   string
	Arrived  int
	Dropped  int
	Bad      int
	Waiting  int
	Cost     float64
	Suspects float64 // share of its requests that look hostile to a detector that errs
}

// Rate is requests a second at the door.
func (v View) Rate() float64 { return float64(v.Arrived) / v.End.Sub(v.Start).Seconds() }

// sums collects what the versions of a service answered in all its cells.
type sums struct {
	versions []tally
	replicas [][]replica // of each version, where they are told apart
}

// add counts a cell, and is what telemetry says of it.
func (u *sums) add(w *World, s *service, c *cell, out *answered) View {
	if u.versions == nil {
		u.versions = make([]tally, len(s.Versions))
		for i := range u.versions {
			u.versions[i].buckets = make([]int, len(s.bounds))
		}
	}
	v := View{Service: s.Name, Region: w.regions[c.region].Name, InFlight: out.inflight, Utilisation: out.utilised}
	v.Replicas, v.Ready, v.DBUse, v.DBLatency, v.Spend = out.truth.Replicas, c.ready, out.queries[0], out.queries[1], s.spent
	v.Buckets, v.Flows = histogram(s.bounds, nil), make([]FlowView, 0, len(out.truth.Flows))
	for i, t := range out.versions {
		sum := &u.versions[i]
		if s.apart[i].told {
			u.divide(w, s, c, i, &t)
		}
		sum.total, sum.errors, sum.slow, sum.seconds = sum.total+t.total, sum.errors+t.errors, sum.slow+t.slow, sum.seconds+t.seconds
		v.Answered, v.Errors, v.Slow = v.Answered+t.total, v.Errors+t.errors, v.Slow+t.slow
		for b, n := range t.buckets {
			sum.buckets[b] += n
			v.Buckets[b].Count += uint64(n)
		}
	}
	for _, f := range out.truth.Flows {
		suspects := w.suspects(s.Name, f)
		v.Flows = append(v.Flows, FlowView{Class: f.Class, Tenant: f.Tenant, Arrived: f.Arrived, Dropped: f.Dropped, Bad: f.Bad, Waiting: f.Waiting, Cost: f.Cost, Suspects: suspects})
		v.Arrived, v.Dropped, v.Waiting = v.Arrived+f.Arrived, v.Dropped+f.Dropped, v.Waiting+f.Waiting
	}
	return v
}

// suspects is how hostile a flow looks to a detector that errs.
func (w *World) suspects(service string, f FlowTruth) float64 {
	switch {
	case f.Arrived == 0:
		return 0
	case f.Hostile:
		return 0.97
	}
	looks := 0.01
	w.each(NoisyTenant, func(n Fault) {
		if n.Service == service && n.Tenant == f.Tenant {
			looks = max(looks, n.Share)
		}
	})
	return looks
}

// histogram has counts, nil for none yet.
func histogram(bounds []float64, counts []int) []assay.Bucket {
	out := make([]assay.Bucket, len(bounds))
	for i, b := range bounds {
		out[i].LE = b
		if counts != nil {
			out[i].Count = uint64(counts[i])
		}
	}
	return out
}

// finish tells callers how the service was.
func (s *service) finish(u *sums) {
	n, errors, seconds := 0, 0, 0.0
	for _, t := range u.versions {
		n, errors, seconds = n+t.total, errors+t.errors, seconds+t.seconds
	}
	if n > 0 {
		s.latency, s.failing = seconds/float64(n), float64(errors)/float64(n)
	}
}

// complete fills in what the cells of a service do not know: of several, their sum comes
// first.
func (w *World) complete(s *service, end time.Time, views []View) {
	all := &views[0]
	if cells := views[1:]; len(cells) > 0 {
		*all = View{Service: s.Name, Flows: slices.Clone(cells[0].Flows), Buckets: slices.Clone(cells[0].Buckets)}
		for i := range cells {
			all.plus(&cells[i], i == 0)
		}
	} else {
		all.Region = ""
	}
	for i := range views {
		v := &views[i]
		v.Start, v.End, v.EventTime, v.Completeness = w.now, end, end, 1
		n := uint64(v.Answered)
		v.P50, v.P95, v.P99 = Quantile(v.Buckets, n, 0.5), Quantile(v.Buckets, n, 0.95), Quantile(v.Buckets, n, 0.99)
	}
}

// plus adds a region to the sum of all; the lists of the first are there already.
func (v *View) plus(o *View, first bool) {
	share := float64(o.Ready) / max(1, float64(o.Ready+v.Ready))
	v.Utilisation = v.Utilisation*(1-share) + o.Utilisation*share
	v.Arrived, v.Answered, v.Errors, v.Slow = v.Arrived+o.Arrived, v.Answered+o.Answered, v.Errors+o.Errors, v.Slow+o.Slow
	v.Dropped, v.Waiting, v.InFlight = v.Dropped+o.Dropped, v.Waiting+o.Waiting, v.InFlight+o.InFlight
	v.Replicas, v.Ready = v.Replicas+o.Replicas, v.Ready+o.Ready
	v.DBUse, v.DBLatency, v.Spend = max(v.DBUse, o.DBUse), max(v.DBLatency, o.DBLatency), max(v.Spend, o.Spend)
	if first {
		return
	}
	for i, f := range o.Flows {
		sum := &v.Flows[i]
		sum.Arrived, sum.Dropped, sum.Bad, sum.Waiting = sum.Arrived+f.Arrived, sum.Dropped+f.Dropped, sum.Bad+f.Bad, sum.Waiting+f.Waiting
		sum.Cost += f.Cost
	}
	for i, b := range o.Buckets {
		v.Buckets[i].Count += b.Count
	}
}

// Quantile interpolates in a histogram, as PromQL does; above the last bound it is
// the last bound.
func Quantile(buckets []assay.Bucket, n uint64, q float64) float64 {
	rank, low, below := q*float64(n), 0.0, 0.0
	if n == 0 {
		return 0
	}
	for _, b := range buckets {
		if c := float64(b.Count); c >= rank {
			if c == below {
				return b.LE
			}
			return low + (b.LE-low)*(rank-below)/(c-below)
		}
		low, below = b.LE, float64(b.Count)
	}
	return low
}

// Names of the indicators in Report.Readings.
const (
	IndicatorErrors  = "errors"
	IndicatorLatency = "latency"
)

// readings appends what a rollout watches.
func (u *sums) readings(w *World, s *service, end time.Time, out []assay.Reading) []assay.Reading {
	for i, v := range s.Versions {
		t := u.versions[i]
		r := assay.Reading{Service: s.Name, Version: v.Name, Total: uint64(t.total), Start: w.now, End: end, EventTime: end, Ingested: end, Completeness: 1}
		errors, latency := r, r
		errors.Indicator, errors.Good = IndicatorErrors, uint64(t.total-t.errors)
		latency.Indicator, latency.Good, latency.Buckets = IndicatorLatency, uint64(t.total-t.slow), histogram(s.bounds, t.buckets)
		if s.apart[i].told {
			errors.Replicas, latency.Replicas = u.beside(s, i)
		}
		out = append(out, errors, latency)
		out = u.measures(w, s, r, i, out)
	}
	return out
}

// Told is what one source of telemetry tells.
type Told struct {
	Views    []View
	Readings []assay.Reading
}

// batch is the telemetry of one tick on its way.
type batch struct {
	Told
	seen   time.Time
	second *Told // what a second source tells, where the first may lose something alone
}

// copied is t in memory of its own where a loss changes it.
func (t Told) copied() *Told {
	t.Views, t.Readings = slices.Clone(t.Views), slices.Clone(t.Readings)
	for i := range t.Views {
		t.Views[i].Buckets = slices.Clone(t.Views[i].Buckets)
	}
	for i := range t.Readings {
		t.Readings[i].Buckets = slices.Clone(t.Readings[i].Buckets)
		t.Readings[i].Replicas = cloned(t.Readings[i].Replicas)
	}
	return &t
}

// send puts the telemetry of a tick on its way, or what is left of it.
func (w *World) send(t Told, end time.Time) {
	lag, skew := w.config.Lag.D(), time.Duration(0)
	w.each(TelemetryLag, func(f Fault) { lag += f.By.D() })
	w.each(ClockSkew, func(f Fault) { skew += f.By.D() })
	b := batch{Told: t, seen: end.Add(lag)}
	if slices.ContainsFunc(w.config.Faults, func(f Fault) bool { return f.Source == FirstSource }) {
		b.second = t.copied()
		w.lose(b.second, b.seen, skew, false)
	}
	w.lose(&b.Told, b.seen, skew, true)
	w.pending = append(w.pending, b)
}

// lose takes from what a source tells what is lost.
func (w *World) lose(b *Told, seen time.Time, skew time.Duration, first bool) {
	complete := func(service, region string) float64 {
		left := 1.0
		w.each(TelemetryLoss, func(f Fault) {
			if (f.Service == "" || f.Service == service) && (f.Region == "" || f.Region == region) && (first || f.Source == "") {
				left *= 1 - f.Share
			}
		})
		return left
	}
	b.Views = slices.DeleteFunc(b.Views, func(v View) bool { return complete(v.Service, v.Region) == 0 })
	for i := range b.Views {
		v := &b.Views[i]
		v.Completeness = complete(v.Service, v.Region)
		v.EventTime, v.Ingested = v.EventTime.Add(-skew), seen
		v.thin()
	}
	b.Readings = slices.DeleteFunc(b.Readings, func(r assay.Reading) bool { return complete(r.Service, "") == 0 })
	for i := range b.Readings {
		r := &b.Readings[i]
		r.Completeness = complete(r.Service, "")
		r.EventTime, r.Ingested = r.EventTime.Add(-skew), seen
		r.Total, r.Good, r.Count = part(r.Total, r.Completeness), part(r.Good, r.Completeness), part(r.Count, r.Completeness)
		r.Sum *= r.Completeness
		thinned(r.Buckets, r.Completeness)
		for j := range r.Replicas {
			p := &r.Replicas[j]
			p.Total, p.Good = part(p.Total, r.Completeness), part(p.Good, r.Completeness)
			thinned(p.Buckets, r.Completeness)
		}
	}
}

// thinned leaves of a histogram what was captured.
func thinned(buckets []assay.Bucket, share float64) {
	for i := range buckets {
		buckets[i].Count = part(buckets[i].Count, share)
	}
}

// part of a count that was captured. It is monotone, so counts stay consistent.
func part(n uint64, share float64) uint64 {
	if share >= 1 {
		return n
	}
	return uint64(float64(n) * share)
}

// thin leaves the captured part of the counts.
func (v *View) thin() {
	if v.Completeness >= 1 {
		return
	}
	for _, n := range []*int{&v.Arrived, &v.Answered, &v.Errors, &v.Slow, &v.Dropped} {
		*n = int(part(uint64(*n), v.Completeness))
	}
	thinned(v.Buckets, v.Completeness)
	v.Flows = slices.Clone(v.Flows)
	for j := range v.Flows {
		f := &v.Flows[j]
		f.Arrived, f.Dropped, f.Bad = int(part(uint64(f.Arrived), v.Completeness)), int(part(uint64(f.Dropped), v.Completeness)), int(part(uint64(f.Bad), v.Completeness))
	}
}

// receive takes what has arrived by now, in order of sending; second is nil if there is no
// second source.
func (w *World) receive() (first Told, second *Told) {
	if len(w.pending) == 1 && !w.pending[0].seen.After(w.now) { // nothing is late, as mostly
		b := w.pending[0]
		w.pending = w.pending[:0]
		return b.Told, b.second
	}
	left := w.pending[:0]
	for _, b := range w.pending {
		if b.seen.After(w.now) {
			left = append(left, b)
			continue
		}
		first.Views, first.Readings = append(first.Views, b.Views...), append(first.Readings, b.Readings...)
		if b.second == nil {
			continue
		}
		if second == nil {
			second = &Told{}
		}
		second.Views, second.Readings = append(second.Views, b.second.Views...), append(second.Readings, b.second.Readings...)
	}
	w.pending = left
	return first, second
}
