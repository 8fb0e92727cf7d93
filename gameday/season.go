package gameday

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/mitigate"
)

// Two services of workers with the same tasks. One is scaled by the forecast of its load,
// the other by its load.
const (
	ahead  = "ahead"
	behind = "behind"
)

// A day of the load lasts 24 seconds in the play.
const (
	quarterTime = 250 * time.Millisecond // is a quarter of an hour of the load
	quarters    = 96                     // a day
	tideDay     = quarters * quarterTime
	daysKnown   = 21 // when the play begins
	fromHour    = 1  // of the day after them
	tasksOf     = 1.0 / 15
	countedTime = 2 * quarterTime // is what the load is counted over
)

// The workers: each does twenty tasks a second, once it has started.
const (
	serveTime   = 50 * time.Millisecond
	warmTime    = 3 * time.Second
	served      = 20.0
	promised    = 300 * time.Millisecond // that a task takes, waiting included
	fewStalls   = 3
	astrayHigh  = 120.0 // tasks a second, by turns with none
	astrayTurn  = 6 * quarterTime
	forecastsBy = "ahead-scale" // strategy
)

// scaleYAML declares how either of them is scaled; what is put last is the forecast.
const scaleYAML = `apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: %[1]s-scale}
spec:
  service: %[1]s
  level: act
  signals:
    - {name: load, query: 'max(yard_load{service="%[1]s"})'}
  levers: [{lever: replicas, door: platform}]
  damping:
    protect: {deadBand: 0.05, step: 20, period: 1s}
    relax: {window: 3s, step: 4, period: 1s}
  scale:
    perReplica: 15
    lead: 4s
    max: 8
%[2]s`

const forecastYAML = `    forecast: {step: %s, past: %s, seasons: [%s, %s]}
`

// tide is the play of a load that comes and goes with the day.
type tide struct {
	d      *drama
	trace  []float64 // tasks a second, by quarter of an hour
	start  time.Time // of the quarter daysKnown*quarters + fromHour*4
	stalls [2]*stall // ahead, behind

	mu     sync.Mutex
	astray bool // the load does not follow the day any more
	seen   []moment
}

// stall is one of the two services.
type stall struct {
	name string
	tray *tray
	crew *crew
}

// moment is how things stood at a time.
type moment struct {
	at      time.Time
	tasks   int    // that came
	workers [2]int // that had started
}

// tideLoad is a load with a day, in requests of each quarter of an hour: few at night, more
// than three times as many from nine to five, two thirds of them at weekends, more on some
// days than on others, and no quarter as the one before it. It is always the same.
func tideLoad(days int) (out []float64) {
	rng := rand.New(rand.NewPCG(24, 96))
	level, near := 0.0, 0.0
	for i := range days * quarters {
		if i%quarters == 0 {
			if level = 0.15 * rng.NormFloat64(); i/quarters%7 > 4 {
				level -= 0.4
			}
		}
		near = 0.6*near + 0.04*rng.NormFloat64()
		hour := float64(i%quarters) / 4
		at := 1 / (1 + math.Exp((8.5-hour)/0.7)) / (1 + math.Exp((hour-17)/0.8)) // work
		out = append(out, (430+950*at)*math.Exp(level+near))
	}
	return out
}

// seasonal is a play in which workers run before their load comes: that of a morning, which
// a forecast foretells, and that of an event, which the calendar has.
func seasonal(d *drama) error {
	t := &tide{d: d}
	for _, n := range tideLoad(daysKnown + 2) {
		t.trace = append(t.trace, n*tasksOf)
	}
	var err error
	for i, name := range []string{ahead, behind} {
		if t.stalls[i], err = d.openStall(name); err != nil {
			return err
		}
		defer t.stalls[i].close(d)
	}
	if err := t.known(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(d.ctx)
	var group sync.WaitGroup
	group.Go(func() { t.run(ctx) })
	stop := d.reporting(t.reports)
	err = acts(t.declared, t.morning, func() error { return sale(d) }, t.follows, t.strays)
	cancel()
	group.Wait()
	if serr := stop(); err == nil {
		err = serr
	}
	if err != nil {
		return err
	}
	return t.account()
}

// openStall starts a service of workers, and lets the platform keep how many there are.
func (d *drama) openStall(name string) (*stall, error) {
	ln, err := (&net.ListenConfig{}).Listen(d.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &stall{name: name, tray: newTray()}
	srv := &http.Server{Handler: s.tray, ReadHeaderTimeout: time.Second}
	d.closers = append(d.closers, func() { _ = srv.Close() })
	go func() { _ = srv.Serve(ln) }() // ends with Close
	s.crew = &crew{w: d.World, name: name, gone: s.tray.drop, run: func(worker string) command {
		return command{path: d.cfg.Exe, env: d.environment(), args: []string{
			"demo", "worker", "--tray", "http://" + ln.Addr().String(), "--name", worker, "--takes", serveTime.String(), "--warms", warmTime.String(),
		}}
	}}
	if err := s.crew.hold("", fewStalls); err != nil {
		return nil, err
	}
	d.yard.platform.keep(name, assay.LeverReplicas, "", fewStalls, s.crew.hold)
	return s, nil
}

func (s *stall) close(d *drama) {
	d.yard.platform.leave(s.name)
	_ = s.crew.hold("", 0) // stopping workers does not fail
}

// at is the load that comes at a time, tasks a second.
func (t *tide) at(now time.Time) float64 {
	i := daysKnown*quarters + fromHour*4 + int(math.Floor(float64(now.Sub(t.start))/float64(quarterTime)))
	return t.trace[min(max(i, 0), len(t.trace)-1)]
}

// erratic is a load of no day that was known: more than any morning and nothing, by turns.
func (t *tide) erratic(now time.Time) float64 {
	if int(now.Sub(t.start)/astrayTurn)%2 == 0 {
		return 0
	}
	return astrayHigh
}

// before is the load that counting over countedTime would have shown at a time.
func (t *tide) before(now time.Time) float64 {
	sum := 0.0
	for back := quarterTime; back <= countedTime; back += quarterTime {
		sum += t.at(now.Add(-back))
	}
	return sum * float64(quarterTime) / float64(countedTime)
}

// known sends three weeks of both loads, as any service that has kept them may: with their
// own times, over OTLP.
func (t *tide) known() error {
	return t.d.step("history", "three weeks of a load", func() (bool, string, error) {
		t.start = time.Now().Truncate(quarterTime).Add(2 * quarterTime)
		first := t.start.Add(-daysKnown * tideDay)
		sent := 0
		for from := first; from.Before(t.start); from = from.Add(tideDay) {
			var list []gauge
			for at := from; at.Before(from.Add(tideDay)); at = at.Add(quarterTime) {
				for _, s := range t.stalls {
					list = append(list, gauge{name: "yard_load", service: s.name, number: t.before(at), at: at})
				}
			}
			if err := t.d.send(list...); err != nil {
				return false, "", err
			}
			sent += len(list)
		}
		return true, fmt.Sprintf("%s numbers, from %s ago on", Thousands(uint64(sent)), (daysKnown * tideDay).Round(time.Second)), nil
	})
}

// run brings the tasks until ctx ends.
func (t *tide) run(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	owed, since := 0.0, t.start
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if now.Before(t.start) {
			continue
		}
		t.mu.Lock()
		load := t.at(now)
		if t.astray {
			load = t.erratic(now)
		}
		owed += load * now.Sub(since).Seconds()
		since = now
		m := moment{at: now, tasks: int(owed)}
		owed -= float64(m.tasks)
		for i, s := range t.stalls {
			s.tray.add(m.tasks)
			m.workers[i] = s.tray.stands().workers
		}
		t.seen = append(t.seen, m)
		t.mu.Unlock()
	}
}

// counted is how many tasks came in a second, by those of the last countedTime; by what is
// known before there were any.
func (t *tide) counted(now time.Time) float64 {
	from := now.Add(-countedTime)
	if from.Before(t.start) {
		return t.before(now)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, m := range slices.Backward(t.seen) {
		if m.at.Before(from) {
			break
		}
		n += m.tasks
	}
	return float64(n) / countedTime.Seconds()
}

// reports is what is told to the control plane.
func (t *tide) reports() (out []gauge) {
	load := t.counted(time.Now())
	for _, s := range t.stalls {
		out = append(out, gauge{name: "yard_load", service: s.name, number: load})
	}
	return out
}

// declared lets both be scaled, and asserts that the forecast is trusted for what it got
// right of the three weeks.
func (t *tide) declared() error {
	d := t.d
	return d.step("forecast", "the season is learnt", func() (bool, string, error) {
		forecast := fmt.Sprintf(forecastYAML, quarterTime, daysKnown*tideDay, tideDay, 7*tideDay)
		text := fmt.Sprintf(scaleYAML, ahead, forecast) + "---\n" + fmt.Sprintf(scaleYAML, behind, "")
		if err := d.declareNow("season.yaml", text); err != nil {
			return false, "", err
		}
		var m api.StrategyModel
		_, ok, err := d.until(reactTime, func() (bool, error) {
			s, err := d.ci.Strategy(d.ctx, forecastsBy)
			if assay.CodeOf(err) == assay.CodeNotFound || err == nil && s.Model == nil {
				return false, nil // not looked at yet
			}
			if err == nil {
				m = *s.Model
			}
			return true, err
		})
		if err != nil {
			return false, "", err
		}
		ok = ok && m.Trusted && m.Skill > 0 && m.Cover >= 0.85 && m.Cover <= 0.97
		d.check("the forecast is trusted for what it would have got right", ok, "skill %.2f, 90 %% intervals held %.0f %%: %s", m.Skill, 100*m.Cover, m.Why)
		return ok, fmt.Sprintf("%.0f %% better than repeating yesterday, its 90 %% intervals held %.0f %% of the past", 100*m.Skill, 100*m.Cover), nil
	})
}

// morning lets the load rise, and compares what came of its tasks.
func (t *tide) morning() error {
	d, p := t.d, t.d.yard.platform
	return d.step("morning", "the load rises as on other days", func() (bool, string, error) {
		// When the load first needs more workers than there are at night, and
		// when the rise is over.
		const needs = fewStalls + 1
		rise := t.start
		for t.at(rise) <= fewStalls*served {
			rise = rise.Add(quarterTime)
		}
		if err := d.pause(time.Until(rise.Add(-time.Second))); err != nil {
			return false, "", err
		}
		before := [2]trayed{t.stalls[0].tray.stands(), t.stalls[1].tray.stands()}
		if err := d.pause(time.Until(rise.Add(5 * time.Second))); err != nil {
			return false, "", err
		}
		var waited [2]time.Duration
		for i, s := range t.stalls {
			now := s.tray.stands()
			waited[i] = (now.waited - before[i].waited) / time.Duration(max(1, now.done-before[i].done))
		}
		there := [2]time.Time{t.first(0, needs), t.first(1, needs)}
		lead := [2]time.Duration{rise.Sub(there[0]), rise.Sub(there[1])}
		ok := !there[0].IsZero() && lead[0] > 0
		d.check("the workers for the morning run before it comes", ok, "%d run %s before the load needs them: %s", needs, lead[0].Round(10*time.Millisecond), d.strategyWords(forecastsBy))
		d.check("by the load alone they come after it", there[1].IsZero() || lead[1] < 0, "%s before", lead[1].Round(10*time.Millisecond))
		d.check("tasks of the morning take less than is promised, and less than half of what they take by the load alone", 2*waited[0] < waited[1] && waited[0] < promised, "%s and %s on average, of which %s are the work",
			waited[0].Round(time.Millisecond), waited[1].Round(time.Millisecond), serveTime)
		d.check("no worker is stopped while the load rises", !slices.ContainsFunc(p.movesOf(ahead), isLess), "%d moves", len(p.movesOf(ahead)))
		why, err := t.explained()
		if err != nil {
			return false, "", err
		}
		d.check("the decision says by which quantile and for which lead", strings.Contains(why, "with a probability of 95.0 %") && strings.Contains(why, "over the next 4s"), "%s", why)
		return ok, fmt.Sprintf("the workers for it run %.1f s before; a task takes %s, and %s where only the load decides", lead[0].Seconds(),
			waited[0].Round(time.Millisecond), waited[1].Round(time.Millisecond)), nil
	})
}

// first is when so many workers of a stall had started, zero if never.
func (t *tide) first(stall, workers int) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.seen {
		if m.workers[stall] >= workers {
			return m.at
		}
	}
	return time.Time{}
}

// explained is the reason of the first decision that started workers ahead of the load.
func (t *tide) explained() (string, error) {
	list, err := t.d.ci.Facts(t.d.ctx, []string{assay.FactMitigationDecided}, "", maxDecisions)
	for _, f := range list {
		var p mitigate.DecidedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			return "", err
		}
		if a := p.Decision.Action; p.Strategy != forecastsBy || a.Lever != assay.LeverReplicas || a.Want <= a.Now {
			continue
		}
		for _, r := range p.Decision.Reasons {
			if strings.HasPrefix(r, "predictive:") {
				return r, nil
			}
		}
	}
	return "no decision names a forecast", err
}

// follows lets the rest of the day come. What the forecast says is held against each
// quarter of an hour of it, and a day of them says what its errors normally are.
func (t *tide) follows() error {
	d := t.d
	return d.step("day", "the rest of the day", func() (bool, string, error) {
		var m api.Model
		var moves []desired
		whole, down := false, false
		// A night's first moments may still be within the shortest time between two moves.
		_, _, err := d.until(tideDay+2*reactTime, func() (_ bool, err error) {
			m, err = d.ci.Model(d.ctx, "strategy/"+forecastsBy+"/load")
			moves = d.yard.platform.movesOf(ahead)
			whole, down = m.Steps > quarters, slices.ContainsFunc(moves, isLess)
			return whole && down || err == nil && m.Active == decide.ModelRules, err
		})
		if err != nil {
			return false, "", err
		}
		d.check("the forecast decides as long as days go as they do", whole && m.Active != decide.ModelRules, "%s after %d steps: %s", m.Active, m.Steps, m.Reason)
		d.check("at night workers are given back", down, "%s", count(len(moves), "move"))
		return down && whole, fmt.Sprintf("%d steps were held against the forecast, and the workers moved %s", m.Steps, count(len(moves), "time")), nil
	})
}

// strays lets the load come as on no day before.
func (t *tide) strays() error {
	d := t.d
	return d.step("astray", "the load does not follow the day any more", func() (bool, string, error) {
		t.mu.Lock()
		t.astray = true
		t.mu.Unlock()
		why := ""
		took, ok, err := d.until(2*reactTime, func() (bool, error) {
			s, err := d.ci.Strategy(d.ctx, forecastsBy)
			if err != nil || s.Model == nil || s.Model.Trusted || s.Decision == nil {
				return false, err
			}
			why = s.Model.Why
			return slices.Contains(s.Decision.Reasons, "reactive: "+why), nil
		})
		if err != nil {
			return false, "", err
		}
		d.check("who errs more than ever is not believed", ok && why != "", "after %s: %s", took.Round(time.Millisecond), why)
		return ok, fmt.Sprintf("after %.1f s the load alone decides: %s", took.Seconds(), why), nil
	})
}

// account asserts that every task was done, also those whose worker was stopped.
func (t *tide) account() error {
	for _, s := range t.stalls {
		_, ok, err := t.d.until(reactTime, func() (bool, error) { now := s.tray.stands(); return now.waiting+now.out == 0, nil })
		if err != nil {
			return err
		}
		now := s.tray.stands()
		t.d.check("every task of "+s.name+" was done once and right", ok && now.done == int(s.tray.last) && s.tray.right() == now.done,
			"%d of %d, %d of them right, %d begun twice", now.done, s.tray.last, s.tray.right(), now.again)
	}
	return nil
}
