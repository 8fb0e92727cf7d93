package gameday

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
)

// pool is the service of workers that an autoscaler keeps as many of as it wants.
const pool = "pool"

// The workers, what comes for them, and what the autoscaler goes by.
const (
	fewWorkers, manyWorkers = 2, 8
	taskTime                = 50 * time.Millisecond // a worker does twenty a second
	usualTasks              = 20.0                  // a second
	burstTasks              = 110.0
	burstTime               = time.Second            // on, and off
	tasksEach               = 15.0                   // a second, that a worker is to have
	scaleEvery              = 500 * time.Millisecond // the autoscaler looks
)

// scaler is an autoscaler as most are: it wants as many workers as the load of the last
// half second asks for, by the rule of Kubernetes' own without its window to calm down. It
// moves the workers itself, or says what it recommends.
type scaler struct {
	tray *tray
	crew *crew

	mu      sync.Mutex
	itself  bool // it moves the workers
	bursts  bool // come
	began   time.Time
	arrived int // since the last look
	wants   int
	changes int // of its mind
	events  int // workers that it started or stopped itself
}

// want is how many workers a load asks for: tasks that came in a second, and that wait.
func want(load float64) int {
	return int(min(manyWorkers, max(fewWorkers, math.Ceil(load/tasksEach))))
}

// look is what the autoscaler does every half second.
func (s *scaler) look() error {
	waiting := s.tray.stands().waiting
	s.mu.Lock()
	defer s.mu.Unlock()
	next := want(float64(s.arrived)/scaleEvery.Seconds() + float64(waiting))
	s.arrived = 0
	if next == s.wants {
		return nil
	}
	had := s.wants
	s.wants, s.changes = next, s.changes+1
	if !s.itself {
		return nil
	}
	s.events += max(next-had, had-next)
	return s.crew.hold("", float64(next))
}

// arriving is how many tasks come in a second now.
func (s *scaler) arriving(now time.Time) float64 {
	if s.bursts && int(now.Sub(s.began)/burstTime)%2 == 0 {
		return burstTasks
	}
	return usualTasks
}

// run lets tasks come and the autoscaler look, until ctx ends.
func (s *scaler) run(ctx context.Context) error {
	come, look := time.NewTicker(20*time.Millisecond), time.NewTicker(scaleEvery)
	defer come.Stop()
	defer look.Stop()
	owed := 0.0
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			if err := s.look(); err != nil {
				return err
			}
		case <-come.C:
			now := time.Now()
			s.mu.Lock()
			owed += s.arriving(now) * now.Sub(last).Seconds()
			n := int(owed)
			owed -= float64(n)
			s.arrived += n
			s.mu.Unlock()
			s.tray.add(n)
			last = now
		}
	}
}

func (s *scaler) counts() (wants, changes, events int, itself bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wants, s.changes, s.events, s.itself
}

// elastic is the play of an autoscaler under bursts.
type elastic struct {
	d     *drama
	s     *scaler
	alone span // with the autoscaler alone
}

// span is what came of the tasks of some time.
type span struct {
	tasks, again int
	mean         time.Duration // until a task was done
}

// during is what came of the tasks while f ran.
func (e *elastic) during(f func() error) (span, error) {
	a := e.s.tray.stands()
	err := f()
	b := e.s.tray.stands()
	out := span{tasks: b.done - a.done, again: b.again - a.again}
	out.mean = (b.waited - a.waited) / time.Duration(max(1, out.tasks))
	return out, err
}

// autoscaler is a play in which an autoscaler thrashes under bursts, first alone and then
// through a strategy.
func autoscaler(d *drama) error {
	ln, err := (&net.ListenConfig{}).Listen(d.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	t := newTray()
	srv := &http.Server{Handler: t, ReadHeaderTimeout: time.Second}
	d.closers = append(d.closers, func() { _ = srv.Close() })
	go func() { _ = srv.Serve(ln) }() // ends with Close
	workers := &crew{w: d.World, name: "worker", gone: t.drop, run: func(name string) command {
		return command{path: d.cfg.Exe, env: d.environment(), args: []string{"demo", "worker", "--tray", "http://" + ln.Addr().String(), "--name", name, "--takes", taskTime.String()}}
	}}
	e := &elastic{d: d, s: &scaler{tray: t, crew: workers, wants: fewWorkers}}
	if err := workers.hold("", fewWorkers); err != nil {
		return err
	}
	defer func() { _ = workers.hold("", 0) }()
	defer d.yard.platform.leave(pool)
	ctx, cancel := context.WithCancel(d.ctx)
	ended := make(chan error, 1)
	go func() { ended <- e.s.run(ctx) }()
	stop := d.reporting(e.reports)
	err = acts(e.thrashes, e.stabilised, e.calm)
	cancel()
	for _, more := range []error{<-ended, stop()} {
		if err == nil {
			err = more
		}
	}
	if err != nil {
		return err
	}
	return e.account()
}

// reports is what is told to the control plane; a recommendation only when it is one.
func (e *elastic) reports() []gauge {
	wants, _, _, itself := e.s.counts()
	t := e.s.tray.stands()
	out := []gauge{
		{name: "yard_queue_depth", service: pool, number: float64(t.waiting)}, {name: "yard_queue_age", service: pool, number: t.oldest.Seconds()},
	}
	if !itself {
		out = append(out, gauge{name: "yard_recommended", service: pool, number: float64(wants)})
	}
	return out
}

// thrashes shows what the autoscaler does when it moves the workers itself.
func (e *elastic) thrashes() error {
	return e.d.step("alone", fmt.Sprintf("%g and %g tasks a second by turns, and an autoscaler", burstTasks, usualTasks), func() (ok bool, _ string, err error) {
		e.s.mu.Lock()
		e.s.bursts, e.s.itself, e.s.began = true, true, time.Now()
		e.s.mu.Unlock()
		if e.alone, err = e.during(func() error { return e.d.pause(6 * burstTime) }); err != nil {
			return false, "", err
		}
		_, changes, events, _ := e.s.counts()
		e.d.check("alone it thrashes", changes >= 4 && events >= 12, "it changed its mind %d times, and started or stopped %d workers", changes, events)
		return false, fmt.Sprintf("it started or stopped %d workers in %s; a task took %s, and %d of %d were broken off", events, 6*burstTime, e.alone.mean.Round(time.Millisecond), e.alone.again, e.alone.tasks), nil
	})
}

// stabilised lets what it wants pass through the strategy.
func (e *elastic) stabilised() error {
	d, p := e.d, e.d.yard.platform
	return d.step("thrash", "the same, with what it wants as a recommendation", func() (bool, string, error) {
		if err := e.handOver(); err != nil {
			return false, "", err
		}
		took, up, err := d.until(reactTime, func() (bool, error) { return p.at(pool, assay.LeverReplicas, "") == manyWorkers, nil })
		if err != nil {
			return false, "", err
		}
		d.check("what is needed is there quickly", up, "%v workers after %s: %s", p.at(pool, assay.LeverReplicas, ""), took.Round(time.Millisecond), d.strategyWords("pool-stabilise"))
		if err := d.pause(time.Second); err != nil { // what waited until then is done
			return false, "", err
		}
		now, err := e.during(func() error { return d.pause(8 * burstTime) })
		if err != nil {
			return false, "", err
		}
		_, wanted, _, _ := e.s.counts()
		moves := p.movesOf(pool)
		d.check("the autoscaler thrashed", wanted >= 6, "it changed its mind %d times", wanted)
		d.check("no worker was stopped meanwhile", !slices.ContainsFunc(moves, isLess) && len(moves) <= 3 && now.again == 0, "%d moves, %d tasks broken off", len(moves), now.again)
		d.check("tasks are done sooner than with the autoscaler alone", now.tasks > 100 && now.mean < e.alone.mean, "%s on average instead of %s", now.mean.Round(time.Millisecond), e.alone.mean.Round(time.Millisecond))
		return up, fmt.Sprintf("the autoscaler changed its mind %d times, and the workers %s; a task took %s", wanted, count(len(moves), "time"), now.mean.Round(time.Millisecond)), nil
	})
}

// handOver gives the workers to the platform, as many as there were at first.
func (e *elastic) handOver() error {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	e.s.itself, e.s.changes, e.s.wants, e.s.began = false, 0, fewWorkers, time.Now()
	if err := e.s.crew.hold("", fewWorkers); err != nil {
		return err
	}
	e.d.yard.platform.keep(pool, assay.LeverReplicas, "", fewWorkers, e.s.crew.hold)
	return nil
}

// calm lets the usual tasks come.
func (e *elastic) calm() error {
	d, p := e.d, e.d.yard.platform
	return d.step("calm", fmt.Sprintf("%g tasks a second", usualTasks), func() (bool, string, error) {
		e.s.mu.Lock()
		e.s.bursts = false
		e.s.mu.Unlock()
		took, down, err := d.until(2*reactTime, func() (bool, error) { return p.at(pool, assay.LeverReplicas, "") == fewWorkers, nil })
		d.check("then they are stopped, a few at a time", down && len(p.movesOf(pool)) >= 3, "%v workers after %s and %d moves: %s",
			p.at(pool, assay.LeverReplicas, ""), took.Round(time.Millisecond), len(p.movesOf(pool)), d.strategyWords("pool-stabilise"))
		return down, fmt.Sprintf("%d workers run after %.1f s", fewWorkers, took.Seconds()), err
	})
}

// account asserts that every task was done, also those whose worker was stopped.
func (e *elastic) account() error {
	t := e.s.tray
	_, ok, err := e.d.until(reactTime, func() (bool, error) { s := t.stands(); return s.waiting+s.out == 0, nil })
	s := t.stands()
	e.d.check("every task was done once and right", ok && s.done == int(t.last) && t.right() == s.done, "%d of %d, %d of them right, %d begun twice", s.done, t.last, t.right(), s.again)
	return err
}

func isLess(m desired) bool { return m.Want < m.Now }
