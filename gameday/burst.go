package gameday

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/faas"
)

// events is the service of a burst of events: a broker, functions, and their database.
const events = "events"

// What doors/strategies.yaml says of it as well.
const (
	restFunctions, mostFunctions = 2, 6
	restLimit                    = 160.0 // events a second
	maxBacklog                   = 400
)

// The events, and how many of them there are in a second.
const (
	usualEvents = 30.0
	burstFactor = 10.0
	leastBurst  = 5 * time.Second
)

var (
	kindOrders  = kind{name: "orders", share: 0.2, critical: true}
	kindSearch  = kind{name: "search", share: 0.4}
	kindReports = kind{name: "reports", share: 0.4}
)

// How the platform treats its functions.
const (
	initTime   = 10 * time.Second // until an instance asks for work, as on AWS Lambda
	invokeTime = 3 * time.Second  // for one event
	idleTime   = 2 * time.Second  // until an instance without work is ended
)

// rush is the play of a burst of events.
type rush struct {
	d          *drama
	b          *broker
	functions  *faas.Platform
	pollers    *pollers
	began      time.Time
	struck     event // what the function worked on that was killed
	cancel     context.CancelFunc
	background sync.WaitGroup

	mu        sync.Mutex
	rate      float64
	processes map[string]*Child // by instance
}

// eventBurst is a play in which ten times the usual events arrive.
func eventBurst(d *drama) error {
	r, err := d.openRush()
	if err != nil {
		return err
	}
	stop := d.reporting(r.reports)
	err = acts(r.calm, r.burst, r.over, r.account, r.counted)
	if serr := stop(); err == nil {
		err = serr
	}
	r.close()
	return err
}

// openRush starts the queue, its database and the platform of functions, and lets the
// yard's platform keep their levers.
func (d *drama) openRush() (*rush, error) {
	ln, err := (&net.ListenConfig{}).Listen(d.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &rush{
		d: d, rate: usualEvents, began: time.Now(), processes: map[string]*Child{},
		b: newBroker(newDatabase(5, 25*time.Millisecond), restLimit, kindOrders, kindSearch, kindReports),
	}
	srv := &http.Server{Handler: r.b.db, ReadHeaderTimeout: time.Second}
	d.closers = append(d.closers, func() { _ = srv.Close() })
	go func() { _ = srv.Serve(ln) }() // ends with Close
	r.functions = faas.New(faas.Config{
		Function: events, Init: initTime, Limit: invokeTime, Idle: idleTime,
		Start: func(instance string, environment []string) (faas.Process, error) {
			return r.start(instance, environment, "http://"+ln.Addr().String())
		},
	})
	ctx, cancel := context.WithCancel(d.ctx)
	r.cancel = cancel
	r.pollers = newPollers(ctx, r.b, r.functions.Invoke)
	p := d.yard.platform
	p.keep(events, assay.LeverReplicas, "", restFunctions, func(_ string, n float64) error { r.reserve(int(n)); return nil })
	p.keep(events, assay.LeverRateLimit, "", restLimit, r.b.limitTo)
	for _, k := range r.b.kinds {
		p.keep(events, assay.LeverClass, k.name, 100, r.b.admit)
	}
	r.reserve(restFunctions)
	r.background.Go(func() { r.arrive(ctx) })
	r.background.Go(func() { r.b.aggregate(ctx) })
	return r, nil
}

// reserve sets how many functions may work at once: on the platform, and for those who ask it.
func (r *rush) reserve(n int) {
	r.functions.Reserve(n)
	r.pollers.hold(n)
}

// start runs a function: this program, with the environment that its platform gives it.
func (r *rush) start(instance string, environment []string, database string) (faas.Process, error) {
	child, _, err := r.d.start(r.d.ctx, command{
		name: "function-" + instance, path: r.d.cfg.Exe, args: []string{"demo", "function", "--database", database},
		env: r.d.environment(environment...), free: true,
	})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.processes[instance] = child
	return instanceOf{child}, nil
}

// instanceOf is a child as a platform of functions knows it.
type instanceOf struct{ c *Child }

func (i instanceOf) Kill() {
	select {
	case <-i.c.ended:
	default:
		i.c.kill()
	}
}
func (i instanceOf) Ended() <-chan struct{} { return i.c.ended }

// close ends what the play started.
func (r *rush) close() {
	r.d.yard.platform.leave(events)
	r.cancel()
	r.background.Wait()
	r.functions.Close()
	r.pollers.group.Wait()
}

// reports is what is told to the control plane: what strategies read, and under the names
// of OpenTelemetry what objectives count.
func (r *rush) reports() []gauge {
	s, writes := r.functions.Stats(), r.pollers.written()
	counter := func(name string, n uint64) gauge {
		return gauge{name: name, service: events, number: float64(n), since: r.began}
	}
	return append(r.b.reports(events),
		counter("faas.invocations", s.Invocations), counter("faas.errors", s.Errors), counter("faas.coldstarts", s.ColdStarts),
		gauge{name: "faas.init_duration", service: events, since: r.began, spread: &s.Init},
		gauge{name: "faas.invoke_duration", service: events, since: r.began, spread: &s.Duration},
		gauge{name: "db.client.operation.duration", service: events, since: r.began, spread: &writes})
}

// arrive lets events arrive until ctx ends.
func (r *rush) arrive(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	owed := make([]float64, len(r.b.kinds)) // events that are not whole yet
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		r.mu.Lock()
		n := r.rate * now.Sub(last).Seconds()
		r.mu.Unlock()
		last = now
		for i, k := range r.b.kinds {
			for owed[i] += n * k.share; owed[i] >= 1; owed[i]-- {
				r.b.offer(k)
			}
		}
	}
}

func (r *rush) arriving(aSecond float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rate = aSecond
}

func (r *rush) at(l assay.Lever, scope string) float64 { return r.d.yard.platform.at(events, l, scope) }

// stand is where the levers stand, for people.
func (r *rush) stand() string {
	return fmt.Sprintf("%v functions may work, %.0f events/s queued, search %.0f %%, reports %.0f %%; %s; %s", r.at(assay.LeverReplicas, ""), r.at(assay.LeverRateLimit, ""),
		r.at(assay.LeverClass, kindSearch.name), r.at(assay.LeverClass, kindReports.name), r.d.strategyWords("events-throttle"), r.d.strategyWords("events-scale"))
}

// calm asserts that nothing is held while the usual events arrive.
func (r *rush) calm() error {
	if _, _, err := r.d.until(reactTime, func() (bool, error) { return r.functions.Stats().Instances == restFunctions, nil }); err != nil {
		return err
	}
	if err := r.d.pause(2 * time.Second); err != nil {
		return err
	}
	now, s := r.b.counts(), r.functions.Stats()
	r.d.check("two functions keep up with the usual events", s.Instances == restFunctions && now.waiting < maxBacklog/2 && now.rerouted == 0,
		"%d functions, %d events wait, %d were held", s.Instances, now.waiting, now.rerouted)
	return nil
}

// kill kills a function while it works on an order. It tries again where the function was
// done before the signal came.
func (r *rush) kill() error {
	for deadline := time.Now().Add(reactTime); time.Now().Before(deadline); {
		for instance, payload := range r.functions.Working() {
			var e event
			if err := json.Unmarshal(payload, &e); err != nil {
				return err
			}
			if e.Class != kindOrders.name {
				continue
			}
			r.mu.Lock()
			child := r.processes[instance]
			r.mu.Unlock()
			child.kill()
			_, ok, err := r.d.until(look, func() (bool, error) { return r.b.gaveBack(e), nil })
			if err != nil {
				return err
			}
			if ok {
				r.struck = e
				return nil
			}
			break
		}
		if err := r.d.pause(time.Millisecond); err != nil {
			return err
		}
	}
	return nil // account says that it was never done
}

// burst lets the burst arrive until the backlog shrinks while it goes on.
func (r *rush) burst() error {
	d := r.d
	return d.step("burst", fmt.Sprintf("%g times the usual events", burstFactor), func() (bool, string, error) {
		before, began := r.b.counts(), time.Now()
		r.arriving(burstFactor * usualEvents)
		var since time.Time // when everything had been moved, and the backlog shrank
		var then counts
		var most int
		took, ok, err := d.until(3*reactTime, func() (bool, error) {
			now, many := r.b.counts(), r.functions.Stats().Instances
			if most = max(most, many); many == mostFunctions && r.struck.ID == 0 {
				if err := r.kill(); err != nil {
					return false, err
				}
			}
			switch {
			case now.waiting > maxBacklog || 4*now.waiting > 3*now.deepest || many <= restFunctions || !r.reacted():
				since = time.Time{}
			case since.IsZero():
				since, then = time.Now(), now
			}
			return !since.IsZero() && time.Since(since) > time.Second && time.Since(began) > leastBurst, nil
		})
		now, stand, seconds := r.b.counts(), r.stand(), time.Since(began).Seconds()
		r.arriving(usualEvents)
		if err != nil {
			return false, "", err
		}
		came, lately := now.offered-before.offered, now.offered-then.offered
		held := float64(now.rerouted-then.rerouted) / float64(max(1, lately))
		d.check("several times the usual events came", float64(came) > burstFactor/2*usualEvents*seconds, "%d in %.1f s", came, seconds)
		d.check("while they come, functions are added and the backlog shrinks", ok && most == mostFunctions, "%d events wait, at most %d, at most %d functions, after %s: %s", now.waiting, now.deepest, most, took.Round(time.Millisecond), stand)
		d.check("the broker follows its database", ok && held > 0.2, "%.0f %% of %d events are held: %s", 100*held, lately, stand)
		d.check("the backlog stayed a part of what came", now.deepest < int(came)/2, "%d of %d events", now.deepest, came)
		r.leastFirst()
		return ok, fmt.Sprintf("of %d events in %.1f s at most %d waited; %d functions work, %.0f/s are queued, and %.0f %% go the cheaper path", came, seconds, now.deepest,
			most, r.at(assay.LeverRateLimit, ""), 100*held), nil
	})
}

// reacted reports whether every lever was moved that a burst moves: functions are added,
// reports are held, and less is queued than at rest, by the limit or because search is held.
func (r *rush) reacted() bool {
	return r.at(assay.LeverReplicas, "") == mostFunctions && r.at(assay.LeverClass, kindReports.name) < 100 &&
		(r.at(assay.LeverRateLimit, "") < restLimit || r.at(assay.LeverClass, kindSearch.name) == 0)
}

// leastFirst asserts in which order classes were held.
func (r *rush) leastFirst() {
	cuts := slices.DeleteFunc(r.d.yard.platform.movesOf(events), func(m desired) bool { return m.Lever != assay.LeverClass || m.Want > m.Now })
	var names []string
	for _, m := range cuts {
		names = append(names, fmt.Sprintf("%s %.0f %%", m.Scope, m.Want))
	}
	r.d.check("the least important class was held first", len(cuts) > 0 && cuts[0].Scope == kindReports.name, "%v", names)
}

// over asserts that everything is given back when the usual events arrive again.
func (r *rush) over() error {
	d := r.d
	return d.step("over", "the usual events again", func() (bool, string, error) {
		took, ok, err := d.until(4*reactTime, func() (bool, error) {
			return r.at(assay.LeverReplicas, "") == restFunctions && r.at(assay.LeverRateLimit, "") == restLimit &&
				r.at(assay.LeverClass, kindSearch.name) == 100 && r.at(assay.LeverClass, kindReports.name) == 100, nil
		})
		if err != nil {
			return false, "", err
		}
		d.check("everything is given back by itself", ok, "after %s: %s", took.Round(time.Millisecond), r.stand())
		before := r.b.counts()
		if err := d.pause(time.Second); err != nil {
			return false, "", err
		}
		now := r.b.counts()
		d.check("nothing is held any more, and nothing waits", now.rerouted == before.rerouted && now.waiting < maxBacklog/2, "%d more were held, %d wait", now.rerouted-before.rerouted, now.waiting)
		moves := d.yard.platform.movesOf(events)
		d.check("nobody moved the critical class", !slices.ContainsFunc(moves, func(m desired) bool { return m.Scope == kindOrders.name }), "%s", count(len(moves), "move"))
		return ok, fmt.Sprintf("everything is as it was after %.1f s and %s in all", took.Seconds(), count(len(moves), "move")), nil
	})
}

// account asserts that no event was lost, and which way each of them went.
func (r *rush) account() error {
	d := r.d
	return d.step("account", "", func() (bool, string, error) {
		r.arriving(0)
		_, ok, err := d.until(reactTime, func() (bool, error) {
			return uint64(r.b.db.count()) == r.b.counts().offered, nil
		})
		if err != nil {
			return false, "", err
		}
		now := r.b.counts()
		rows := r.b.db.count()
		orders, alone, right := r.b.critical()
		d.check("every event is in the database", ok, "%d of %d", rows, now.offered)
		d.check("every order was handled by itself", alone > 0 && alone == orders && right == orders, "%d of %d, %d of them right", alone, orders, right)
		row, there := r.b.db.row(r.struck.ID)
		d.check("the order of a function that was killed at work is handled by another", r.struck.ID > 0 && there && row.batch == 0 && row.sum == handled(r.struck),
			"order %d, %d functions killed, %d events handed out again", r.struck.ID, r.functions.Stats().Crashes, now.again)
		d.check("what was held went the cheaper path", now.rerouted > 0 && 5*uint64(now.batches) < now.rerouted, "%d events in %d writes", now.rerouted, now.batches)
		first, others := r.b.meanWait(kindOrders), r.b.meanWait(kindSearch, kindReports)
		d.check("orders waited less than the others", first < others, "%s and %s on average", first.Round(time.Millisecond), others.Round(time.Millisecond))
		return ok, fmt.Sprintf("%d events, none lost: %d orders by themselves, %d others in %d writes; %d handed out again; an order waited %s, the others %s", rows, alone, now.rerouted, now.batches,
			now.again, first.Round(time.Millisecond), others.Round(time.Millisecond)), nil
	})
}

// counted asserts that cold starts are measured, and that Assay's objectives have counted
// what the platform has; and that nothing runs when there is nothing to do.
func (r *rush) counted() error {
	d := r.d
	return d.step("cold starts", "no events", func() (bool, string, error) {
		_, idle, err := d.until(idleTime+reactTime, func() (bool, error) { return r.functions.Stats().Instances == 0, nil })
		if err != nil {
			return false, "", err
		}
		s, writes := r.functions.Stats(), r.pollers.written()
		d.check("without events no function runs", idle, "%d run", s.Instances)
		f := &Functions{
			Invocations: s.Invocations + s.Errors, Failed: s.Errors, ColdStarts: s.ColdStarts, Throttled: s.Throttled, InitMean: s.Init.Mean(), InitMax: s.Init.Max,
			WriteMean: writes.Mean(), WriteMax: writes.Max,
		}
		f.ColdShare = float64(f.ColdStarts) / float64(max(1, f.Invocations))
		d.functions = f
		d.check("each start of a function made one invocation wait, and its time was measured", s.ColdStarts == s.Started && s.Init.Count() == s.Started && s.Started > mostFunctions && f.InitMean > 0,
			"%d cold starts of %d, %d measured, %.0f ms on average", s.ColdStarts, s.Started, s.Init.Count(), 1000*f.InitMean)
		d.check("hardly any invocation waited for one", f.ColdShare < 0.05, "%d of %d", f.ColdStarts, f.Invocations)
		var seen [2]api.Objective
		_, same, err := d.until(booksTime, func() (bool, error) {
			list, err := d.ci.Objectives(d.ctx)
			for _, o := range list {
				switch o.Objective.SLO {
				case "events-warm":
					seen[0] = o
				case "events-database":
					seen[1] = o
				}
			}
			return seen[0].Total == f.Invocations && seen[0].Total-seen[0].Good == f.ColdStarts && seen[1].Total == writes.Count(), err
		})
		d.check("the objectives count what the platform counted", same, "%d invocations, %d of them cold; %d writes, %d of them in time",
			seen[0].Total, seen[0].Total-seen[0].Good, seen[1].Total, seen[1].Good)
		return same, fmt.Sprintf("%d of %s invocations waited for a function to start, for %.0f ms on average and %.0f ms at most; the database took %.0f ms on average", f.ColdStarts,
			Thousands(f.Invocations), 1000*f.InitMean, 1000*f.InitMax, 1000*f.WriteMean), err
	})
}
