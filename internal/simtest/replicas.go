package simtest

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"assay.dev/assay"
)

// apart is what is told apart of the replicas of a version.
type apart struct{ told, latency bool }

// Apart lets telemetry tell the replicas of a version apart from the next tick on: their
// requests and errors, and their latencies too if these are asked for. It reports whether
// there is such a version. What happens in the world stays the same.
//
// A version is answered by every ready replica of a region alike, and each request comes to
// one by itself. Failures that come together (Version.Burst) are of one replica; what hits
// the version, its region or what it calls hits all of them.
func (w *World) Apart(service, version string, latency bool) bool {
	s := w.named[service]
	if s == nil {
		return false
	}
	i := slices.IndexFunc(s.Versions, func(v Version) bool { return v.Name == version })
	if i < 0 {
		return false
	}
	s.apart[i] = apart{told: true, latency: s.apart[i].latency || latency}
	return true
}

// replica is what one replica answered in a tick, or a group of them.
type replica struct {
	region string
	number int
	tally
}

// divide takes up what the replicas of a cell counted of a version's answers.
func (u *sums) divide(w *World, s *service, c *cell, version int, t *tally) {
	if u.replicas == nil {
		u.replicas = make([][]replica, len(s.Versions))
	}
	u.replicas[version] = append(u.replicas[version], w.divided(s, c, version, t)...)
}

// divided is what the replicas of a cell counted of a version's answers; of more than can be
// read, groups of them.
func (w *World) divided(s *service, c *cell, version int, t *tally) []replica {
	n := min(c.ready, assay.MaxReplicas)
	if n == 0 {
		return nil
	}
	sizes := make([]float64, n)
	for i := range c.ready % n {
		sizes[i] = 1
	}
	for i := range sizes {
		sizes[i] += float64(c.ready / n)
	}
	requests := multinomial(w.beside, t.total, sizes)
	errors := w.scattered(t.errors-t.gone, s.Versions[version].Burst, requests)
	left := make([]int, n)
	for i := range left {
		left[i] = requests[i] - errors[i]
	}
	deal(w.beside, t.gone, left, errors)
	out := make([]replica, n)
	for i := range out {
		out[i] = replica{region: w.regions[c.region].Name, number: i, tally: tally{total: requests[i], errors: errors[i]}}
	}
	if s.apart[version].latency {
		w.timed(s, t, out)
	}
	return out
}

// scattered divides failures that come in bursts among replicas by their requests: those of
// one burst are of one replica.
func (w *World) scattered(failures int, burst float64, requests []int) []int {
	if burst <= 1 || failures == 0 {
		return deal(w.beside, failures, requests, make([]int, len(requests)))
	}
	shares := make([]float64, len(requests))
	for i, n := range requests {
		shares[i] = float64(n)
	}
	if float64(failures) >= exactBelow*burst {
		bursts := multinomial(w.beside, int(float64(failures)/burst+0.5), shares)
		for i, n := range bursts {
			// As bunched draws what so many bursts come to.
			mean := float64(n) * burst
			shares[i] = max(0, mean+math.Sqrt(mean*(burst-1))*w.beside.NormFloat64())
		}
		return apportion(failures, shares, requests)
	}
	got, scale := make([]float64, len(requests)), math.Log1p(-1/burst)
	for left := failures; left > 0; {
		size := min(left, 1+int(-w.beside.ExpFloat64()/scale))
		left -= size
		got[slices.Index(multinomial(w.beside, 1, shares), 1)] += float64(size)
	}
	return apportion(failures, got, requests)
}

// timed divides what was answered within each bound among replicas.
func (w *World) timed(s *service, t *tally, out []replica) {
	left, within := make([]int, len(out)), make([]int, len(out))
	for i := range out {
		left[i], out[i].buckets = out[i].total, make([]int, len(s.bounds))
	}
	before := 0
	for b, n := range t.buckets {
		clear(within)
		deal(w.beside, n-before, left, within)
		before = n
		for i, k := range within {
			left[i] -= k
			out[i].buckets[b] = out[i].total - left[i]
		}
	}
	for i := range out {
		out[i].slow = out[i].total - out[i].buckets[s.within]
	}
}

// beside is what the replicas of a version counted in a tick, by name, of errors and of
// latency. Where regions have more than can be read, those of one number are a group.
func (u *sums) beside(s *service, version int) (errors, latency []assay.Replica) {
	list := u.replicas[version]
	name := func(r *replica) string { return fmt.Sprintf("%s%02d", cmp.Or(r.region, "replica")+" ", r.number) }
	if len(list) > assay.MaxReplicas {
		name = func(r *replica) string { return fmt.Sprintf("group %02d", r.number) }
	}
	names := map[string]int{}
	for i := range list {
		r := &list[i]
		key := name(r)
		n, known := names[key]
		if !known {
			n = len(errors)
			names[key] = n
			errors, latency = append(errors, assay.Replica{Name: key}), append(latency, assay.Replica{Name: key, Buckets: histogram(s.bounds, nil)})
		}
		e, l := &errors[n], &latency[n]
		e.Total, e.Good = e.Total+uint64(r.total), e.Good+uint64(r.total-r.errors)
		l.Total, l.Good = l.Total+uint64(r.total), l.Good+uint64(r.total-r.slow)
		for b, k := range r.buckets {
			l.Buckets[b].Count += uint64(k)
		}
	}
	byName := func(a, b assay.Replica) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortFunc(errors, byName)
	slices.SortFunc(latency, byName)
	if !s.apart[version].latency {
		return errors, nil
	}
	return errors, latency
}

// cloned is a list in memory of its own.
func cloned(list []assay.Replica) []assay.Replica {
	list = slices.Clone(list)
	for i := range list {
		list[i].Buckets = slices.Clone(list[i].Buckets)
	}
	return list
}
