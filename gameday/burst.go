package gameday

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
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

// rush is the play of a burst of events.
type rush struct {
	d          *drama
	b          *broker
	functions  *crew
	cancel     context.CancelFunc
	background sync.WaitGroup

	mu   sync.Mutex
	rate float64
}

// eventBurst is a play in which ten times the usual events arrive.
func eventBurst(d *drama) error {
	r, err := d.openRush()
	if err != nil {
		return err
	}
	stop := d.reporting(func() []gauge { return r.b.reports(events) })
	err = acts(r.calm, r.burst, r.over, r.account)
	if serr := stop(); err == nil {
		err = serr
	}
	return r.close(err)
}

// openRush starts the broker and its functions, and lets the platform keep their levers.
func (d *drama) openRush() (*rush, error) {
	ln, err := (&net.ListenConfig{}).Listen(d.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &rush{d: d, rate: usualEvents, b: newBroker(newDatabase(5, 25*time.Millisecond), restLimit, kindOrders, kindSearch, kindReports)}
	srv := &http.Server{Handler: r.b, ReadHeaderTimeout: time.Second}
	d.closers = append(d.closers, func() { _ = srv.Close() })
	go func() { _ = srv.Serve(ln) }() // ends with Close
	r.functions = &crew{w: d.World, name: "function", run: func(name string) command {
		return command{path: d.cfg.Exe, args: []string{"demo", "function", "--queue", "http://" + ln.Addr().String(), "--name", name}, env: d.environment()}
	}}
	if err := r.functions.hold("", restFunctions); err != nil {
		return nil, err
	}
	p := d.yard.platform
	p.keep(events, assay.LeverReplicas, "", restFunctions, r.functions.hold)
	p.keep(events, assay.LeverRateLimit, "", restLimit, r.b.limitTo)
	for _, k := range r.b.kinds {
		p.keep(events, assay.LeverClass, k.name, 100, r.b.admit)
	}
	ctx, cancel := context.WithCancel(d.ctx)
	r.cancel = cancel
	r.background.Go(func() { r.arrive(ctx) })
	r.background.Go(func() { r.b.aggregate(ctx) })
	return r, nil
}

// close ends what the play started. It returns err, or what went wrong here.
func (r *rush) close(err error) error {
	r.cancel()
	r.background.Wait()
	r.d.yard.platform.leave(events)
	if herr := r.functions.hold("", 0); err == nil {
		err = herr
	}
	return err
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
	return fmt.Sprintf("%v functions, %.0f events/s queued, search %.0f %%, reports %.0f %%; %s; %s", r.at(assay.LeverReplicas, ""), r.at(assay.LeverRateLimit, ""),
		r.at(assay.LeverClass, kindSearch.name), r.at(assay.LeverClass, kindReports.name), r.d.strategyWords("events-throttle"), r.d.strategyWords("events-scale"))
}

// calm asserts that nothing is held while the usual events arrive.
func (r *rush) calm() error {
	if _, _, err := r.d.until(reactTime, func() (bool, error) { return r.b.counts().functions == restFunctions, nil }); err != nil {
		return err
	}
	if err := r.d.pause(2 * time.Second); err != nil {
		return err
	}
	now := r.b.counts()
	r.d.check("two functions keep up with the usual events", now.functions == restFunctions && now.waiting < maxBacklog/2 && now.rerouted == 0,
		"%d functions, %d events wait, %d were held", now.functions, now.waiting, now.rerouted)
	return nil
}

// burst lets the burst arrive until the backlog shrinks while it goes on.
func (r *rush) burst() error {
	d := r.d
	return d.step("burst", fmt.Sprintf("%g times the usual events", burstFactor), func() (bool, string, error) {
		before, began := r.b.counts(), time.Now()
		r.arriving(burstFactor * usualEvents)
		var since time.Time // when everything had been moved, and the backlog shrank
		var then counts
		took, ok, err := d.until(3*reactTime, func() (bool, error) {
			now := r.b.counts()
			switch {
			case now.waiting > maxBacklog || 4*now.waiting > 3*now.deepest || now.functions <= restFunctions || !r.reacted():
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
		d.check("while they come, functions are added and the backlog shrinks", ok, "%d events wait, at most %d, %d functions, after %s: %s", now.waiting, now.deepest, now.functions, took.Round(time.Millisecond), stand)
		d.check("the broker follows its database", ok && held > 0.2, "%.0f %% of %d events are held: %s", 100*held, lately, stand)
		d.check("the backlog stayed a part of what came", now.deepest < int(came)/2, "%d of %d events", now.deepest, came)
		r.leastFirst()
		return ok, fmt.Sprintf("of %d events in %.1f s at most %d waited; %d functions work, %.0f/s are queued, and %.0f %% go the cheaper path", came, seconds, now.deepest,
			now.functions, r.at(assay.LeverRateLimit, ""), 100*held), nil
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
		d.check("what was held went the cheaper path", now.rerouted > 0 && 5*uint64(now.batches) < now.rerouted, "%d events in %d writes", now.rerouted, now.batches)
		first, others := r.b.meanWait(kindOrders), r.b.meanWait(kindSearch, kindReports)
		d.check("orders waited less than the others", first < others, "%s and %s on average", first.Round(time.Millisecond), others.Round(time.Millisecond))
		return ok, fmt.Sprintf("%d events, none lost: %d orders by themselves, %d others in %d writes; %d handed out again; an order waited %s, the others %s", rows, alone, now.rerouted, now.batches,
			now.again, first.Round(time.Millisecond), others.Round(time.Millisecond)), nil
	})
}
