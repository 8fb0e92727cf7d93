package gameday

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
)

// depot is a service in two regions, with few workers and a bounded queue in each.
const depot = "depot"

// What the depot has, and what is asked of it. A page takes a worker 35 ms, so that eu
// manages 228 a second and us 142; doors/strategies.yaml says so as well.
const (
	depotPage    = "/orders/1"
	euWorkers    = 8
	usWorkers    = 5
	depotQueue   = 60
	depotTimeout = 250 * time.Millisecond // of the proxy, for one attempt
	depotVerify  = 2 * time.Second        // a step is looked at
)

// calls are those who ask, requests a second. One of them has a retry budget.
var calls = []struct {
	name, class string
	rate        float64
	budget      float64
}{
	{"buyers", "buyers", 30, 0},
	{"guests", "guests", 60, 0},
	{"robots", "robots", 90, 0},
	{"careful", "robots", 30, 0.1},
}

// What the play asserts.
const (
	stormAt     = 2.0  // attempts to a request, from when on retries are a storm
	calmAt      = 1.2  // and below which there is none
	budgetAt    = 1.25 // that a retry budget of a tenth allows, with what it had saved
	buyersServe = 0.99 // the objective of the critical class
)

// queued is how the queue of a region stands, as its process says (shop/consult_queue.go).
type queued struct {
	Waiting  int     `json:"waiting"`
	Oldest   float64 `json:"oldest"`
	Asked    uint64  `json:"asked"`
	Full     uint64  `json:"full"`
	Made     uint64  `json:"made"`
	Unwanted uint64  `json:"unwanted"`
}

// minus is what was counted since an earlier line; the queue is that of now.
func (q queued) minus(e queued) queued {
	q.Asked, q.Full, q.Made, q.Unwanted = q.Asked-e.Asked, q.Full-e.Full, q.Made-e.Made, q.Unwanted-e.Unwanted
	return q
}

// spike is the play of a region that becomes slow.
type spike struct {
	d       *drama
	release *Release
	sites   map[string]*Release // by region
	callers map[string]*Child

	mu      sync.Mutex
	probes  map[string]*prober    // by region
	at      map[string]queued     // by region
	calls   map[string]CallReport // by caller
	leaving string                // the region that the platform says it will take away
}

// sight is what everybody counted at one time, or between two.
type sight struct {
	queues map[string]queued
	calls  map[string]CallReport
	time   time.Time
}

// regionalSpike makes the region eu slow while callers retry.
func regionalSpike(d *drama) (err error) {
	s := &spike{d: d, sites: map[string]*Release{}, probes: map[string]*prober{}, callers: map[string]*Child{}, at: map[string]queued{}, calls: map[string]CallReport{}}
	if err := s.open(); err != nil {
		return err
	}
	stop := d.reporting(s.reports)
	err = acts(s.begin, s.calm, s.storm, s.contained, s.over, s.leaves, s.returns)
	if serr := stop(); err == nil {
		err = serr
	}
	s.close()
	return err
}

// open starts the depot in both regions, and routes requests to it.
func (s *spike) open() error {
	d := s.d
	var err error
	if s.release, err = d.version("v10"); err != nil {
		return err
	}
	for region, workers := range map[string]int{"eu": euWorkers, "us": usWorkers} {
		if err := s.site(region, workers); err != nil {
			return err
		}
	}
	return s.point()
}

// point tells the proxy where the depot is.
func (s *spike) point() error {
	d, r := s.d, s.release
	v := enforce.Version{Name: r.Version.Name, Digest: r.Digest, Weight: 100, Attestations: []json.RawMessage{r.Bundle}}
	for _, region := range []string{"eu", "us"} {
		v.Places = append(v.Places, enforce.Place{Region: region, Backend: s.sites[region].Backend})
	}
	conf := d.yard.routes
	conf.Routes = append(slices.Clone(conf.Routes), enforce.Route{
		Name: depot, Service: depot, Host: depot + ".yard", Entry: shopEntry, Versions: []enforce.Version{v}, Timeout: enforce.Duration(depotTimeout),
		Levers: &enforce.Levers{
			Limits: []assay.Lever{assay.LeverConcurrency}, ClassHeader: "X-Class",
			Classes: []enforce.Class{{Name: "buyers", Critical: true}, {Name: "guests"}, {Name: "robots"}},
			Regions: []enforce.Region{{Name: "eu", Share: 60}, {Name: "us", Share: 40}}, Probe: 10, Drain: true,
		},
	})
	return d.route(conf, "yard/depot/"+s.sites["us"].Backend)
}

// site starts the depot in a region.
func (s *spike) site(region string, workers int) error {
	one := *s.release
	child, line, err := s.d.start(s.d.ctx, command{
		name: depot + "-" + region, path: one.Binary, args: []string{"-seed", fmt.Sprint(s.d.cfg.Seed)}, ready: "shop ",
		env: s.d.environment(fmt.Sprintf("SHOP_WORKERS=%d", workers), fmt.Sprintf("SHOP_QUEUE=%d", depotQueue)),
		line: func(text string) {
			var q queued
			if json.Unmarshal([]byte(text), &q) == nil {
				s.mu.Lock()
				s.at[region] = q
				s.mu.Unlock()
			}
		},
	})
	if err != nil {
		return err
	}
	_, address, _ := strings.Cut(line, " listening on ")
	one.process, one.Backend = child, "http://"+address
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sites[region], s.probes[region] = &one, &prober{url: one.Backend + depotPage}
	return nil
}

// begin lets callers call.
func (s *spike) begin() error {
	for i, c := range calls {
		child, _, err := s.d.start(s.d.ctx, command{
			name: "caller-" + c.name, path: s.d.cfg.Exe, env: s.d.environment(),
			args: []string{
				"demo", "caller", "--target", s.d.proxyURL + depotPage, "--host", depot + ".yard", "--class", c.class, "--rate", fmt.Sprint(c.rate),
				"--budget", fmt.Sprint(c.budget), "--timeout", "300ms", "--seed", fmt.Sprint(s.d.cfg.Seed + uint64(i)),
			},
			line: func(text string) {
				var r CallReport
				if json.Unmarshal([]byte(text), &r) == nil {
					s.mu.Lock()
					s.calls[c.name] = r
					s.mu.Unlock()
				}
			},
		})
		if err != nil {
			return err
		}
		s.callers[c.name] = child
	}
	return nil
}

// close ends what the play started, and routes nothing to it any more.
func (s *spike) close() {
	for _, c := range s.callers {
		c.stop()
	}
	_ = s.d.route(s.d.yard.routes, "yard/depot/closed") // the next play does not use it
	for _, r := range s.sites {
		r.process.stop()
	}
}

// slow makes a region slow, or as it was.
func (s *spike) slow(region string, slow bool) error {
	sig := syscall.SIGUSR2
	if slow {
		sig = syscall.SIGUSR1
	}
	return syscall.Kill(s.sites[region].process.PID, sig)
}

// look is what everybody counted until now.
func (s *spike) look() sight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sight{queues: maps.Clone(s.at), calls: maps.Clone(s.calls), time: time.Now()}
}

// since is what was counted since an earlier look.
func (s *spike) since(e sight) sight {
	out := s.look()
	for k, v := range out.queues {
		out.queues[k] = v.minus(e.queues[k])
	}
	for k, v := range out.calls {
		out.calls[k] = v.minus(e.calls[k])
	}
	return out
}

// during lets time pass and returns what was counted in it.
func (s *spike) during(t time.Duration) (sight, error) {
	before := s.look()
	err := s.d.pause(t)
	return s.since(before), err
}

// eager is what callers counted, all but those with a budget.
func (x sight) eager() (sum CallReport) {
	for _, c := range calls {
		if c.budget == 0 {
			sum = sum.plus(x.calls[c.name])
		}
	}
	return sum
}

// asked is how many attempts came to the depot.
func (x sight) asked() uint64 { return x.queues["eu"].Asked + x.queues["us"].Asked }

// turned is how many of them found a queue full, and how many pages were made for nobody.
func (x sight) turned() (full, unwanted uint64) {
	for _, q := range x.queues {
		full, unwanted = full+q.Full, unwanted+q.Unwanted
	}
	return full, unwanted
}

func (x sight) words() string {
	e, eu, us := x.eager(), x.queues["eu"], x.queues["us"]
	return fmt.Sprintf("%.2f attempts to a request, %.1f %% served; eu turned away %d of %d and has %d waiting, us %d of %d and %d",
		e.amplification(), 100*e.served(), eu.Full, eu.Asked, eu.Waiting, us.Full, us.Asked, us.Waiting)
}

// reports is what is told to the control plane: the queues, as the processes say, and what a
// prober sees.
func (s *spike) reports() (out []gauge) {
	for region, q := range s.look().queues {
		out = append(out,
			gauge{name: "yard_queue_depth", label: "region", value: region, service: depot, number: float64(q.Waiting)},
			gauge{name: "yard_queue_age", label: "region", value: region, service: depot, number: q.Oldest},
			gauge{name: "yard_probe_failed", label: "region", value: region, service: depot, number: s.prober(region).ask()},
			gauge{name: "yard_leaving", label: "region", value: region, service: depot, number: s.announced(region)})
	}
	return out
}

// calm asserts that nobody retries and nobody waits while both regions are well.
func (s *spike) calm() error {
	return s.d.step("calm", "both regions are well", func() (bool, string, error) {
		if err := s.d.pause(time.Second); err != nil {
			return false, "", err
		}
		x, err := s.during(3 * time.Second)
		full, _ := x.turned()
		ok := x.eager().amplification() < calmAt && full == 0 && x.eager().Requests > 300
		s.d.check("both regions are well, and hardly anybody retries", ok, "%s", x.words())
		return ok, x.words(), err
	})
}

// storm makes eu slow while a person holds Assay back, and asserts that retries carry it to
// the region that is well.
func (s *spike) storm() error {
	d := s.d
	return d.step("spike", "eu becomes slow, and callers retry", func() (bool, string, error) {
		if _, err := d.assay(d.ctx, "halt", "set", "--service", depot, "--reason", "what retries do is looked at first"); err != nil {
			return false, "", err
		}
		if err := s.slow("eu", true); err != nil {
			return false, "", err
		}
		began := s.look()
		took, spread, err := d.until(2*reactTime, func() (bool, error) { return s.since(began).queues["us"].Full > 0, nil })
		if err != nil {
			return false, "", err
		}
		x, err := s.during(3 * time.Second)
		if err != nil {
			return false, "", err
		}
		full, unwanted := x.turned()
		e, careful := x.eager(), x.calls["careful"]
		d.check("retries multiply", e.amplification() > stormAt && float64(x.asked()) > stormAt*float64(e.Requests), "%s", x.words())
		d.check("they fill the queue of the region that is well", spread && x.queues["us"].Full > 0, "after %s: %s", took.Round(time.Millisecond), x.words())
		d.check("workers make pages for nobody", unwanted > 0, "%d of %d", unwanted, x.queues["eu"].Made+x.queues["us"].Made)
		d.check("buyers suffer with all others", x.calls["buyers"].served() < 0.9, "%.1f %% served", 100*x.calls["buyers"].served())
		d.check("who has a retry budget takes no part", careful.amplification() < budgetAt && careful.Spared > 0, "%.2f attempts to a request, %d retries spared", careful.amplification(), careful.Spared)
		l, err := d.lever(depot, assay.LeverRegion, "eu")
		d.check("nothing is done while the kill switch is pulled", l.Value == 60, "eu has %.3g %%", l.Value)
		return false, fmt.Sprintf("%.2f attempts to a request (%.2f with a budget), %d turned away by full queues, %d pages for nobody, %.0f %% of the buyers served",
			e.amplification(), careful.amplification(), full, unwanted, 100*x.calls["buyers"].served()), err
	})
}

// contained lets Assay act, and asserts that the storm ends while eu stays slow.
func (s *spike) contained() error {
	d := s.d
	return d.step("contained", "the kill switch is lifted", func() (bool, string, error) {
		d.check("no traffic was to go to a region that is full", strings.Contains(s.reasons("depot-divert"), "the others have room for 0"), "%s", s.reasons("depot-divert"))
		if _, err := d.assay(d.ctx, "halt", "lift", "--service", depot); err != nil {
			return false, "", err
		}
		began := s.look()
		took, ok, err := d.until(2*reactTime, func() (bool, error) {
			eu, err := d.lever(depot, assay.LeverRegion, "eu")
			if err != nil || eu.Value > 6.5 {
				return false, err
			}
			guests, err := d.lever(depot, assay.LeverClass, "guests")
			return guests.Value == 100 && s.look().queues["us"].Waiting < depotQueue/2, err
		})
		if err != nil {
			return false, "", err
		}
		d.check("eu keeps a probe of its traffic, the queues have room, and guests are let in again", ok, "after %s: %s", took.Round(time.Millisecond), s.stand())
		x, err := s.during(6 * time.Second)
		if err != nil {
			return false, "", err
		}
		full, _ := x.turned()
		e, buyers := x.eager(), x.calls["buyers"]
		d.check("retries are few again, though eu is as slow as before", e.amplification() < calmAt, "%s; %s", x.words(), s.stand())
		d.check("the region that takes the traffic does not fall over", full == 0 && x.queues["us"].Waiting < depotQueue/2, "%s; %s", x.words(), s.stand())
		d.check("the objective of the buyers is kept, and none is held", buyers.served() >= buyersServe && buyers.Held == 0, "%.1f %% of %d, %d held", 100*buyers.served(), buyers.Requests, buyers.Held)
		d.check("what there is no room for is held at the door", x.calls["robots"].Held > 0, "%d attempts of %d requests", x.calls["robots"].Held, x.calls["robots"].Requests)
		err = s.order(began.time)
		return ok, fmt.Sprintf("after %.1f s: %s; buyers %.1f %%, guests %.0f %%, robots %.0f %% served", took.Seconds(), x.words(), 100*buyers.served(), 100*x.calls["guests"].served(), 100*x.calls["robots"].served()), err
	})
}

// stand is where the levers stand, for people.
func (s *spike) stand() string {
	var out []string
	for _, l := range []struct {
		lever assay.Lever
		scope string
	}{{assay.LeverRegion, "eu"}, {assay.LeverConcurrency, ""}, {assay.LeverClass, "buyers"}, {assay.LeverClass, "guests"}, {assay.LeverClass, "robots"}} {
		at, err := s.d.lever(depot, l.lever, l.scope)
		if err != nil {
			return err.Error()
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %.3g", l.lever, l.scope, at.Value)))
	}
	return fmt.Sprintf("%s; throttle: %s; divert: %s", strings.Join(out, ", "), s.reasons("depot-throttle"), s.reasons("depot-divert"))
}

// reasons are why a strategy decided what it did last.
func (s *spike) reasons(strategy string) string {
	st, err := s.d.ci.Strategy(s.d.ctx, strategy)
	switch {
	case err != nil:
		return err.Error()
	case st.Decision == nil:
		return "it has decided nothing"
	}
	return st.Decision.Words + " " + strings.Join(st.Decision.Reasons, "; ")
}

// order asserts what was done first, and to whom nothing was done.
func (s *spike) order(began time.Time) error {
	moves, err := s.d.movesOf("depot-throttle", "depot-divert")
	if err != nil {
		return err
	}
	var words []string
	away, buyers := -1, false
	for i, m := range moves {
		words = append(words, fmt.Sprintf("%.1f s %s %s %.3g", m.time.Sub(began).Seconds(), m.Lever, m.Scope, m.Want))
		if m.Lever == assay.LeverRegion && away < 0 {
			away = i
		}
		buyers = buyers || m.Lever == assay.LeverClass && m.Scope == "buyers"
	}
	s.d.check("first the least important are held, and traffic moves when that has made room", away > 0 && moves[0].Lever == assay.LeverClass && moves[0].Scope == "robots", "%s", strings.Join(words, ", "))
	s.d.check("nobody moved the critical class", !buyers, "%s", count(len(moves), "move"))
	return nil
}

// over makes eu as it was, and asserts that everything is given back.
func (s *spike) over() error {
	d := s.d
	return d.step("recovery", "eu is as it was", func() (bool, string, error) {
		if err := s.slow("eu", false); err != nil {
			return false, "", err
		}
		began := s.look()
		took, ok, err := d.until(3*reactTime, func() (bool, error) {
			for _, l := range []struct {
				lever assay.Lever
				scope string
				rest  float64
			}{{assay.LeverRegion, "eu", 60}, {assay.LeverClass, "guests", 100}, {assay.LeverClass, "robots", 100}} {
				at, err := d.lever(depot, l.lever, l.scope)
				if err != nil || at.Value != l.rest {
					return false, err
				}
			}
			return true, nil
		})
		if err != nil {
			return false, "", err
		}
		d.check("everything is given back by itself", ok, "after %s: %s", took.Round(time.Millisecond), s.stand())
		if err := s.slowly(began.time); err != nil {
			return false, "", err
		}
		buyers := s.since(began).calls["buyers"]
		d.check("buyers notice nothing of it", buyers.served() >= buyersServe && buyers.Held == 0, "%.1f %% of %d, %d held", 100*buyers.served(), buyers.Requests, buyers.Held)
		x, err := s.during(2 * time.Second)
		full, _ := x.turned()
		d.check("and all is well", x.eager().amplification() < calmAt && full == 0, "%s", x.words())
		return ok, fmt.Sprintf("after %.1f s; %s", took.Seconds(), x.words()), err
	})
}

// slowly asserts that a region got its traffic back in steps, each looked at for twice as
// long as a step away. A fact is there a moment after the lever stands.
func (s *spike) slowly(began time.Time) error {
	var words []string
	var ok bool
	_, there, err := s.d.until(reactTime, func() (bool, error) {
		moves, err := s.d.movesOf("depot-divert")
		moves = slices.DeleteFunc(moves, func(m move) bool { return m.time.Before(began) || m.Want < m.Now })
		words, ok = nil, len(moves) >= 2
		for i, m := range moves {
			words = append(words, fmt.Sprintf("%.1f s %.3g %%", m.time.Sub(began).Seconds(), m.Want))
			ok = ok && (i == 0 || m.time.Sub(moves[i-1].time) >= 2*depotVerify)
		}
		return len(moves) > 0 && moves[len(moves)-1].Want == 60, err
	})
	s.d.check("eu gets its traffic back in steps, and slowly", there && ok, "%s", strings.Join(words, ", "))
	return err
}
