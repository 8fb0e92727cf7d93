package simtest

import "time"

// fullest is the utilisation above which a database gets no slower: callers time
// out, pools end, and what is above it is not answered.
const fullest = 0.98

// database is a Database that runs.
type database struct {
	Database
	slow    float64 // by faults
	size    float64 // GB
	queries float64 // in this tick
	rate    float64 // of the last tick, a second
	days    float64 // since the start
}

// written is GB a day by now.
func (d *database) written() float64 { return d.PerDay * (1 + d.Growth*d.days) }

// turn begins a tick.
func (d *database) turn(w *World) {
	d.slow = w.slowdown(d.Name)
	d.queries = 0
}

// capacity is queries a second while faults last.
func (d *database) capacity() float64 { return d.Capacity * float64(d.Replicas) / d.slow }

// latency at a rate of queries a second.
func (d *database) latency(rate float64) float64 {
	full := min(fullest, rate/d.capacity())
	return d.Latency.D().Seconds() * d.slow * d.io() / (1 - full)
}

// io is how many times slower a full disk makes it.
func (d *database) io() float64 {
	if d.Disk <= 0 {
		return 1
	}
	return 1 + 10*max(0, d.size/d.Disk-0.8)
}

// finish ends a tick: the disk grows up to what retention keeps, and is paid.
func (d *database) finish(tick time.Duration) (Truth, bool) {
	d.rate = d.queries / tick.Seconds()
	days := tick.Hours() / 24
	d.days += days
	d.size = min(d.size+d.written()*days, d.Retention*d.written())
	if d.Disk > 0 {
		d.size = min(d.size, d.Disk)
	}
	cost := d.size * d.Price * days
	return Truth{Service: d.Name, Cost: cost}, cost > 0
}

// Disk is what telemetry shows of a database.
type Disk struct {
	Name    string
	Used    float64 // share of the disk, 0 without one
	Growth  float64 // share of the disk a day
	Days    float64 // that are kept
	Use     float64 // utilisation, 0 to 1
	Latency float64 // of a query, seconds
	Time    time.Time
}

func (d *database) view(now time.Time) Disk {
	v := Disk{Name: d.Name, Days: d.Retention, Use: min(1, d.rate/d.capacity()), Latency: d.latency(d.rate), Time: now}
	if d.Disk > 0 {
		v.Used = d.size / d.Disk
		v.Growth = d.Retention * d.PerDay * d.Growth / d.Disk
		if d.size < 0.999*d.Retention*d.written() {
			v.Growth = d.written() / d.Disk
		}
	}
	return v
}
