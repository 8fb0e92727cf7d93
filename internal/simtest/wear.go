package simtest

import "time"

// Strain is what the platform's telemetry shows of a region.
type Strain struct {
	Region  string
	Used    float64 // share in use of what it fails without, 0 to 1
	Growth  float64 // of Used, an hour
	Leaving bool    // it is announced that it will be taken away
	Time    time.Time
}

// lasting reports whether a fault announces itself before it does harm.
func (f *fault) lasting() bool { return f.Kind == Exhaustion || f.Kind == Preemption }

// out reports whether a region is out of use by a fault that announced itself.
func (w *World) out(f *fault) bool {
	switch {
	case !f.lasting() || !f.active(w.now):
		return false
	case f.Kind == Exhaustion:
		return f.used >= 1
	}
	return !w.now.Before(f.from.Add(f.By.D()))
}

// wear lets what is exhausted be used up by the traffic of a tick. It is there again when
// the fault has ended.
func (w *World) wear() {
	for i := range w.faults {
		f := &w.faults[i]
		if f.Kind != Exhaustion {
			continue
		}
		if !f.active(w.now) {
			f.used, f.pace = 0, 0
			continue
		}
		f.pace = w.busy(f.Fault) / f.By.D().Hours()
		f.used = min(1, f.used+f.pace*w.tick.Hours())
	}
}

// busy is a region's share of a service's traffic in its usual one.
func (w *World) busy(f Fault) float64 {
	s := w.services[0]
	if f.Service != "" {
		s = w.named[f.Service]
	}
	sum, share, usual := 0.0, 0.0, 0.0
	for i, r := range w.regions {
		sum += s.region[i]
		if r.Name == f.Region {
			share, usual = s.region[i], r.Share
		}
	}
	if sum == 0 || usual == 0 {
		return 0
	}
	return share / sum * 100 / usual
}

// strains are those of all regions, nil where none is ever strained or taken away.
func (w *World) strains() (out []Strain) {
	for i := range w.faults {
		f := &w.faults[i]
		if !f.lasting() {
			continue
		}
		for _, r := range w.regions {
			if len(out) < len(w.regions) {
				out = append(out, Strain{Region: r.Name, Time: w.now})
			}
		}
		for j := range out {
			if s := &out[j]; s.Region == f.Region {
				s.Used, s.Growth = max(s.Used, f.used), max(s.Growth, f.pace)
				s.Leaving = s.Leaving || f.Kind == Preemption && f.active(w.now)
			}
		}
	}
	return out
}
