package gameday

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// staging is the service of test jobs.
const staging = "staging"

// What stagingYAML says as well.
const (
	dailyCap   = 100.0
	extraMoney = 50.0 // that a person allows
	saving     = 0.6
)

// stagingYAML declares the cap of a day. The day ends in the play: its midnight is that of
// a time zone of the yard's own.
const stagingYAML = `apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: staging-cost}
spec:
  service: staging
  level: act
  deterministic: true
  signals:
    - {name: spent, query: 'max(yard_spent{service="staging"})'}
    - {name: spend_rate, query: 'max by (job) (yard_spend_rate{service="staging"})', by: job}
  levers:
    - {lever: class-admission, door: platform}
    - {lever: cost-class, door: platform}
  guardrails: {minInterval: 1s}
  damping:
    protect: {window: 1s}
    relax: {window: 1s}
  cost:
    currency: EUR
    dailyCap: 100
    saving: 0.6
    zone: ` + dayZone + `
    jobs:
      - {name: release, essential: true}
      - {name: integration}
      - {name: load-tests}
`

// dayTime is how long the day of the play lasts: the cap is reached in it.
const dayTime = 13 * time.Second

// Classes of a job.
const (
	dear  = 0 // a machine of its own
	cheap = 1 // one of half the speed for two fifths of the price
)

// job is a batch job: a process that does its tasks, and costs money while it runs. It ends
// when they are done.
type job struct {
	d     *drama
	name  string
	price float64 // a second, in the dear class
	tray  *tray
	url   string

	mu     sync.Mutex
	begun  int
	worker string // that runs, "" if none does
	child  *Child
	class  int
	may    bool // it is let in
	since  time.Time
	spent  [2]float64     // by class
	ran    map[string]int // class of each worker that there was
}

// openJob makes a job of so many tasks; it does not run yet.
func (d *drama) openJob(name string, price float64, tasks int) (*job, error) {
	ln, err := (&net.ListenConfig{}).Listen(d.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	j := &job{d: d, name: name, price: price, tray: newTray(), url: "http://" + ln.Addr().String(), ran: map[string]int{}}
	j.tray.add(tasks)
	j.tray.finish()
	srv := &http.Server{Handler: j.tray, ReadHeaderTimeout: time.Second}
	d.closers = append(d.closers, func() { _ = srv.Close() })
	go func() { _ = srv.Serve(ln) }() // ends with Close
	return j, nil
}

// admit starts the job, or stops it in the middle.
func (j *job) admit(_ string, percent float64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.may = percent > 0
	return j.settle()
}

// put moves the job to another class: another machine takes it over where it stands.
func (j *job) put(_ string, class float64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stop()
	j.class = int(class)
	return j.settle()
}

// settle makes the job run if it may and has something to do; with the lock.
func (j *job) settle() error {
	runs := j.child != nil
	switch want := j.may && !j.tray.stands().over; {
	case runs && !want:
		j.stop()
	case want && !runs:
		return j.start()
	}
	return nil
}

func (j *job) start() error {
	j.begun++
	name := fmt.Sprintf("job-%s-%d", j.name, j.begun)
	takes := 50 * time.Millisecond
	if j.class == cheap {
		takes *= 2
	}
	child, _, err := j.d.start(j.d.ctx, command{
		name: name, path: j.d.cfg.Exe, env: j.d.environment(), free: true,
		args: []string{"demo", "worker", "--tray", j.url, "--name", name, "--takes", takes.String()},
	})
	if err != nil {
		return err
	}
	j.child, j.worker, j.since = child, name, time.Now()
	j.ran[name] = j.class
	go func() {
		<-child.ended
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.child == child {
			j.count(time.Now())
			j.child, j.worker = nil, ""
			j.tray.drop(name) // nothing, if it ended because all is done
		}
	}()
	return nil
}

// stop kills the job's process. What it worked on is done again.
func (j *job) stop() {
	if j.child == nil {
		return
	}
	child, worker := j.child, j.worker
	j.count(time.Now())
	j.child, j.worker = nil, ""
	child.kill()
	j.tray.drop(worker)
}

// rate is what the job costs a second while it runs.
func (j *job) rate() float64 {
	if j.class == cheap {
		return j.price * (1 - saving)
	}
	return j.price
}

// count counts what the job spent until now.
func (j *job) count(now time.Time) {
	if j.child != nil {
		j.spent[j.class] += j.rate() * now.Sub(j.since).Seconds()
		j.since = now
	}
}

// ledgerLine is how a job stands.
type ledgerLine struct {
	spent [2]float64 // by class, since the beginning
	tasks [2]int
	rate  float64 // a second, now
}

func (j *job) line() (l ledgerLine) {
	j.mu.Lock()
	j.count(time.Now())
	l.spent = j.spent
	if j.child != nil {
		l.rate = j.rate()
	}
	ran := maps.Clone(j.ran)
	j.mu.Unlock()
	for worker, class := range ran {
		l.tasks[class] += j.tray.doneBy(worker)
	}
	return l
}

// each is what a task cost in a class.
func (l ledgerLine) each(class int) float64 { return l.spent[class] / float64(max(1, l.tasks[class])) }

// day is the play of test jobs that run away with the money of a day.
type day struct {
	d        *drama
	jobs     []*job // the most important first
	midnight time.Time

	mu     sync.Mutex
	before float64 // spent until midnight
	turned bool
}

// batchCap is a play in which test jobs of staging run away with the money of a day.
func batchCap(d *drama) error {
	b := &day{d: d}
	p := d.yard.platform
	for _, x := range []struct {
		name  string
		price float64
		tasks int
	}{{"release", 3, 230}, {"integration", 8, 200}, {"load-tests", 12, 130}} {
		j, err := d.openJob(x.name, x.price, x.tasks)
		if err != nil {
			return err
		}
		b.jobs = append(b.jobs, j)
		p.keep(staging, assay.LeverClass, j.name, 100, j.admit)
		p.keep(staging, assay.LeverCostClass, j.name, dear, j.put)
		defer func() { _ = j.admit("", 0) }()
	}
	defer p.leave(staging)
	b.midnight = time.Now().Add(dayTime)
	if err := acts(func() error { return d.yard.setMidnight(b.midnight) }, func() error { return d.declareNow("staging.yaml", stagingYAML) }, b.allowed); err != nil {
		return err
	}
	for _, j := range b.jobs {
		if err := j.admit("", 100); err != nil {
			return err
		}
	}
	stop := d.reporting(b.reports)
	err := acts(b.cheaper, b.capped, b.tomorrow)
	if serr := stop(); err == nil {
		err = serr
	}
	return err
}

// allowed lets a person allow more money for the day.
func (b *day) allowed() error {
	var refused error
	_, ok, err := b.d.until(reactTime, func() (bool, error) { // the strategy is declared a moment ago
		_, refused = b.d.manager.TellStrategy(b.d.ctx, "staging-cost", api.StrategyAnswer{Told: "allow", Amount: extraMoney, Reason: "the release must be tested today"})
		return refused == nil, nil
	})
	if err == nil && !ok {
		return refused
	}
	return err
}

// today is what was spent since midnight.
func (b *day) today() (sum float64) {
	for _, j := range b.jobs {
		l := j.line()
		sum += l.spent[dear] + l.spent[cheap]
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.turned && !time.Now().Before(b.midnight) {
		b.before, b.turned = sum, true
	}
	return sum - b.before
}

func (b *day) reports() (out []gauge) {
	for _, j := range b.jobs {
		l, t := j.line(), j.tray.stands()
		of := func(name string, n float64) gauge {
			return gauge{name: name, label: "job", value: j.name, service: staging, number: n}
		}
		cost := (l.spent[dear] + l.spent[cheap]) / float64(max(1, t.done))
		out = append(out, of("yard_spend_rate", l.rate*3600), of("yard_queue_depth", float64(t.waiting)), of("yard_cost_per_task", cost))
	}
	return append(out, gauge{name: "yard_spent", service: staging, number: b.today()})
}

func (b *day) at(l assay.Lever, name string) float64 { return b.d.yard.platform.at(staging, l, name) }

// cheaper asserts that the least important job goes to the cheaper class once it is seen
// that the money will not do.
func (b *day) cheaper() error {
	d := b.d
	return d.step("class", "three jobs spend 23 EUR a second of a day's 100", func() (bool, string, error) {
		took, ok, err := d.until(time.Until(b.midnight), func() (bool, error) { return b.at(assay.LeverCostClass, "load-tests") == cheap, nil })
		if err != nil {
			return false, "", err
		}
		at := b.today()
		d.check("the least important job goes to the cheaper class before the cap", ok && at < dailyCap && b.at(assay.LeverCostClass, "integration") == dear,
			"at %.0f EUR: %s", at, d.strategyWords("staging-cost"))
		running := d.Processes()
		d.check("another process took it over", running["job-load-tests-2"] > 0 && running["job-load-tests-1"] == 0, "%v", running)
		return ok, fmt.Sprintf("load-tests go to the cheaper class after %.1f s, at %.0f EUR", took.Seconds(), at), nil
	})
}

// capped asserts that all but the release stop at the cap.
func (b *day) capped() error {
	d := b.d
	return d.step("cap", "the others spend on", func() (bool, string, error) {
		_, ok, err := d.until(time.Until(b.midnight), func() (bool, error) {
			return b.at(assay.LeverClass, "integration") == 0 && b.at(assay.LeverClass, "load-tests") == 0, nil
		})
		if err != nil {
			return false, "", err
		}
		at := b.today()
		d.check("all but the release stop at what a person allowed", ok && at >= dailyCap+extraMoney && at < dailyCap+2*extraMoney, "at %.0f EUR: %s", at, d.strategyWords("staging-cost"))
		stops := slices.DeleteFunc(d.yard.platform.movesOf(staging), func(m desired) bool { return m.Lever != assay.LeverClass })
		d.check("the least important one first", len(stops) >= 2 && stops[0].Scope == "load-tests", "%d stops", len(stops))
		running := d.Processes()
		others := running["job-integration-1"] + running["job-load-tests-1"] + running["job-load-tests-2"]
		d.check("the release runs, and the others do not", running["job-release-1"] > 0 && others == 0, "%v", running)
		left := 0
		for _, j := range b.jobs[1:] {
			left += j.tray.stands().waiting
		}
		d.check("they stopped in the middle of their work", left > 0, "%d tasks wait", left)
		return ok, fmt.Sprintf("at %.0f of %.0f EUR, %.0f of them allowed today, integration and load tests stop with %d tasks left; the release goes on", at, dailyCap+extraMoney, extraMoney, left), nil
	})
}

// tomorrow asserts that stopped jobs come back with a new day and finish.
func (b *day) tomorrow() error {
	d := b.d
	return d.step("new day", "midnight at "+b.midnight.Format("15:04:05"), func() (bool, string, error) {
		before := len(d.yard.platform.movesOf(staging))
		all := func() (n, done, right, again int, over bool) {
			over = true
			for _, j := range b.jobs {
				t := j.tray.stands()
				n, done, right, again, over = n+int(j.tray.last), done+t.done, right+j.tray.right(), again+t.again, over && t.over
			}
			return n, done, right, again, over
		}
		_, ok, err := d.until(time.Until(b.midnight)+2*reactTime, func() (bool, error) {
			_, _, _, _, over := all()
			return over, nil
		})
		if err != nil {
			return false, "", err
		}
		late := time.Since(b.midnight)
		n, done, right, again, _ := all()
		d.check("with a new day the jobs come back and finish", ok, "%d of %d tasks: %s", done, n, d.strategyWords("staging-cost"))
		var back []string
		for _, m := range d.yard.platform.movesOf(staging)[before:] {
			if m.Lever == assay.LeverClass && m.Want > 0 {
				back = append(back, m.Scope)
			}
		}
		d.check("the more important one first", slices.Equal(back, []string{"integration", "load-tests"}) && late > 0, "%v", back)
		d.check("what was stopped in the middle was done again, and everything once and right", again >= 2 && done == n && right == n, "%d of %d tasks right, %d of them begun twice", right, n, again)
		l := b.jobs[2].line()
		d.check("in the cheaper class a task cost less", l.tasks[dear] > 0 && l.tasks[cheap] > 0 && l.each(cheap) < l.each(dear), "%d tasks at %.2f EUR, and %d at %.2f", l.tasks[dear], l.each(dear), l.tasks[cheap], l.each(cheap))
		at := b.today()
		d.check("the new day's money is the new day's", at > 0 && at < dailyCap, "%.0f EUR", at)
		return ok, fmt.Sprintf("all %d tasks are done %.1f s after midnight; a task of the load tests cost %.2f EUR in the dear class and %.2f in the cheaper one", n, late.Seconds(),
			l.each(dear), l.each(cheap)), nil
	})
}
