package simtest

import (
	"math/rand/v2"
	"time"

	"assay.dev/assay"
)

// World is a running simulation. It is not safe for concurrent use.
type World struct {
	config     Config
	tick       time.Duration
	now        time.Time
	regions    []Region
	faults     []fault
	on         []Fault // that are active now
	services   []*service
	named      map[string]*service
	databases  []*database
	outcome    *rand.Rand // of answers; what controllers do changes what is drawn
	executor   *rand.Rand
	measured   *rand.Rand // of measures: those who have none draw what they always drew
	beside     *rand.Rand // of replicas: who tells them apart sees what everybody sees
	pending    []batch    // telemetry under way
	indicators int        // readings of a tick
}

// service is a Service that runs.
type service struct {
	Service
	source *source
	arrive *rand.Rand // of arrivals: no lever changes what is drawn
	bounds []float64  // of the latency histogram, with Within among them
	within int        // index of Within in bounds

	apart   []apart     // what is told apart of each version's replicas
	away    [][]float64 // of each version's gauges from their means, in their spreads
	share   []float64   // of versions, percent
	region  []float64   // of regions, percent
	cells   []*cell     // one for each region
	calls   []call
	door    door
	uneven  bool    // its versions do not all call as often
	spent   float64 // today
	day     int
	came    int     // requests in the last tick
	latency float64 // of the last tick, mean seconds; callers wait for it
	failing float64 // share of bad answers in the last tick
}

// call is a Call whose target was found.
type call struct {
	Call
	database *database
	service  *service
}

// cell is a service in one region.
type cell struct {
	region   int
	ready    int
	starting []start // in order of time
	queue    []int   // waiting, for each flow
	held     []int   // waiting outside the door, for each flow
	retry    []int   // coming again in the next tick
	inbound  int     // calls of other services in this tick
	asked    []float64
	lossTick int // tick of the last crash
}

type start struct {
	at time.Time
	n  int
}

// Report is what one tick brought.
type Report struct {
	Now      time.Time       // the end of the tick
	Views    []View          // what telemetry shows by now and did not before
	Readings []assay.Reading // the same for each version of each service
	Second   *Told           // views and readings as a second source tells them; nil unless a fault is of the first alone
	Disks    []Disk          // of the databases, as their own telemetry shows them
	Strains  []Strain        // of the regions, if any is ever strained or taken away
	Truth    []Truth         // what really happened in the tick
}

// New makes a World, or says what is wrong with c; CodeInvalid with the field.
func New(c Config) (*World, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	w := &World{
		config: c, tick: c.Tick.D(), now: c.Start, regions: c.Regions, named: map[string]*service{},
		outcome: stream(c.Seed, "outcome"), executor: stream(c.Seed, "executor"), measured: stream(c.Seed, "measures"), beside: stream(c.Seed, "replicas"),
	}
	jitter := stream(c.Seed, "faults")
	for _, f := range c.Faults {
		late := time.Duration(jitter.Float64() * float64(f.Jitter))
		w.faults = append(w.faults, fault{Fault: f, from: c.Start.Add(f.At.D() + late), forever: f.For == 0})
	}
	for _, d := range c.Databases {
		w.databases = append(w.databases, &database{Database: d, size: d.Retention * d.PerDay, slow: 1})
	}
	for _, s := range c.Services {
		live, err := w.service(s)
		if err != nil {
			return nil, err
		}
		w.services = append(w.services, live)
		w.named[s.Name] = live
		for _, v := range live.Versions {
			w.indicators += 2 + len(v.Measures)
		}
	}
	w.setActive()
	return w, w.connect()
}

// stream is a source of random numbers of its own for a purpose.
func stream(seed uint64, purpose string) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(purpose) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h))
}

// service starts a service in every region.
func (w *World) service(s Service) (*service, error) {
	if f, ok := w.attack(s.Name); ok {
		s.Flows = append(s.Flows, Flow{Class: Attacker, Tenant: Attacker, Priority: lowest(s.Flows), Work: fallback(f.Factor, 1)})
	}
	live := &service{Service: s, arrive: stream(w.config.Seed, "arrivals of "+s.Name), door: newDoor(s), apart: make([]apart, len(s.Versions))}
	var err error
	if live.source, err = newSource(s.Traffic, stream(w.config.Seed, "traffic of "+s.Name), w.config.Start); err != nil {
		return nil, err
	}
	live.bounds, live.within = boundsWith(s.Within.D().Seconds())
	for _, v := range s.Versions {
		live.share = append(live.share, v.Share)
		live.uneven = live.uneven || v.Calls != 1
		live.away = append(live.away, make([]float64, len(v.Measures)))
	}
	for _, r := range w.regions {
		live.region = append(live.region, r.Share)
	}
	ready := apportion(s.Replicas, live.region, nil)
	for i := range w.regions {
		n := len(s.Flows)
		live.cells = append(live.cells, &cell{
			region: i, ready: ready[i], queue: make([]int, n), held: make([]int, n), retry: make([]int, n), asked: make([]float64, len(s.Calls)),
		})
	}
	return live, nil
}

// attack is the first attack on a service, if there will be one.
func (w *World) attack(name string) (Fault, bool) {
	for _, f := range w.faults {
		if f.Kind == Attack && f.Service == name {
			return f.Fault, true
		}
	}
	return Fault{}, false
}

func lowest(flows []Flow) int {
	p := flows[0].Priority
	for _, f := range flows {
		p = min(p, f.Priority)
	}
	return p
}

// boundsWith is Bounds with within among them, and where.
func boundsWith(within float64) (bounds []float64, at int) {
	for _, b := range Bounds() {
		if within < b && (len(bounds) == 0 || bounds[len(bounds)-1] < within) {
			bounds = append(bounds, within)
		}
		bounds = append(bounds, b)
	}
	if bounds[len(bounds)-1] < within {
		bounds = append(bounds, within)
	}
	for i, b := range bounds {
		if b == within {
			at = i
		}
	}
	return bounds, at
}

// connect finds what services call.
func (w *World) connect() error {
	for i, s := range w.services {
		for _, c := range s.Calls {
			to := call{Call: c}
			for _, d := range w.databases {
				if d.Name == c.To {
					to.database = d
				}
			}
			for _, behind := range w.services[i+1:] {
				if behind.Name == c.To {
					to.service = behind
				}
			}
			if to.database == nil && to.service == nil {
				return invalid("service %q calls %q, which is neither a database nor a service that stands after it", clip(s.Name), clip(c.To))
			}
			s.calls = append(s.calls, to)
		}
	}
	return nil
}

// Now is the world's time.
func (w *World) Now() time.Time { return w.now }

// Tick is how long a Step takes.
func (w *World) Tick() time.Duration { return w.tick }

// Step moves the clock by one tick.
func (w *World) Step() Report {
	end := w.now.Add(w.tick)
	b := Told{Views: make([]View, 0, len(w.services)*(len(w.regions)+1)), Readings: make([]assay.Reading, 0, w.indicators)}
	truth := make([]Truth, 0, len(w.services)*len(w.regions)+len(w.databases))
	disks := make([]Disk, 0, len(w.databases))
	for _, d := range w.databases {
		d.turn(w)
	}
	for _, s := range w.services {
		s.newDay(w.now)
		s.arrivals(w)
		sum, first := sums{}, len(b.Views)
		if len(s.cells) > 1 {
			b.Views = append(b.Views, View{}) // of all regions together, once they are known
		}
		s.came = 0
		for _, c := range s.cells {
			out := w.work(s, c)
			s.came += total(out.knock.arrived)
			truth = append(truth, out.truth)
			b.Views = append(b.Views, sum.add(w, s, c, &out))
		}
		s.finish(&sum)
		w.complete(s, end, b.Views[first:])
		b.Readings = sum.readings(w, s, end, b.Readings)
	}
	for _, d := range w.databases {
		if t, ok := d.finish(w.tick); ok {
			truth = append(truth, t)
		}
		disks = append(disks, d.view(end))
	}
	w.wear()
	w.send(b, end)
	w.now = end
	w.setActive()
	told, second := w.receive()
	return Report{Now: end, Views: told.Views, Readings: told.Readings, Second: second, Disks: disks, Strains: w.strains(), Truth: truth}
}

// newDay starts the spending of a day again.
func (s *service) newDay(now time.Time) {
	if day := int(now.Unix() / 86400); day != s.day {
		s.day, s.spent = day, 0
	}
}

// Foresight is how many requests a second came to each service in the last tick, for
// oracles: no telemetry is so quick.
func (w *World) Foresight() map[string]float64 {
	out := make(map[string]float64, len(w.services))
	for _, s := range w.services {
		out[s.Name] = float64(s.came) / w.tick.Seconds()
	}
	return out
}
