package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"assay.dev/assay/anomaly"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/decide"
	"assay.dev/assay/simulate"
)

// recorded is a load that was once measured, by the minute.
type recorded struct {
	name   string
	start  time.Time
	zone   *time.Location
	values []float64
}

func loads(b *run.Bench) ([]recorded, error) {
	var out []recorded
	for _, t := range []struct {
		name, file, zone string
		start            time.Time
		seconds          int // that a value counts
	}{
		{"NASA", "nasa_http_per_second.tbz2", "America/New_York", time.Date(1995, 7, 1, 4, 0, 0, 0, time.UTC), 1},
		{"WorldCup98", "worldcup98_per_minute.csv", "Europe/Paris", time.Date(1998, 4, 30, 21, 30, 0, 0, time.UTC), 60},
	} {
		path, err := b.Data("requests", t.file)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		values, err := simulate.ParseTrace(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		zone, err := time.LoadLocation(t.zone)
		if err != nil {
			return nil, err
		}
		out = append(out, recorded{t.name, t.start, zone, minutes(values, 60/t.seconds)})
	}
	return out, nil
}

// minutes adds up n values each.
func minutes(values []float64, n int) (out []float64) {
	for i := 0; i+n <= len(values); i += n {
		sum := 0.0
		for _, v := range values[i : i+n] {
			sum += v
		}
		out = append(out, sum)
	}
	return out
}

const (
	day = 24 * 60 // minutes
	// firstBreak is after how long a load is broken for the first time: its forecast knows
	// two weeks then. Breaks are breakEvery apart, and each is followed for breakFor.
	firstBreak = 16 * day
	breakEvery = 8*day + 7*60
	breakFor   = 2 * day

	falseMost = 0.25 // false demotions a week: one in a month of a load
	// Of the two days after a break, and of as many without one: the most in which actions may
	// rest on a model on a day on which it is not fit, in percent.
	unfitMost, unfitMostCalm = 12, 6
)

// breaks change what comes from a minute on, for good; the first is what the others are
// held against.
var breaks = []struct {
	name string
	at   func(l recorded, i int) float64
}{
	{"no break", func(l recorded, i int) float64 { return l.values[i] }},
	{"twice the load", func(l recorded, i int) float64 { return 2 * l.values[i] }},
	{"the day shifted by twelve hours", func(l recorded, i int) float64 { return l.values[min(i+day/2, len(l.values)-1)] }},
	{"four times the noise", func(l recorded, i int) float64 { mean := l.around(i); return max(0, mean+4*(l.values[i]-mean)) }},
}

// around is the mean of the hour around a minute.
func (l recorded) around(i int) float64 {
	part, sum := l.values[max(0, i-30):min(len(l.values), i+31)], 0.0
	for _, v := range part {
		sum += v
	}
	return sum / float64(len(part))
}

func (l recorded) at(i int) time.Time { return l.start.Add(time.Duration(i) * time.Minute) }

// broken is what became of a model after a break, all in slots of the days that follow.
type broken struct {
	demoted bool
	after   float64 // hours, until it was
	slots   int
	unfit   bool // on a day, as the version that decided did on it, trusted or not
	acted   int  // trusted on a day on which it was not fit
	unused  int  // not trusted on a day on which it was
}

// care plays recorded loads and counts which of their models gave way to rules, as they
// are and after breaks.
func care(_ context.Context, b *run.Bench) error {
	list, err := loads(b)
	if err != nil {
		return err
	}
	outcomes, demoted := make([][]broken, len(breaks)), make([][]anomaly.Demotion, len(list))
	var mu sync.Mutex
	var wait sync.WaitGroup
	free := make(chan struct{}, 2)
	for n, l := range list {
		wait.Go(func() {
			demoted[n] = l.play(func(r *anomaly.Rehearsal, from int) {
				for k := range breaks {
					fork := r.Fork()
					wait.Go(func() {
						free <- struct{}{}
						defer func() { <-free }()
						out := l.broken(fork, k, from)
						mu.Lock()
						defer mu.Unlock()
						outcomes[k] = append(outcomes[k], out)
					})
				}
			})
		})
	}
	wait.Wait()
	for n, l := range list {
		b.Rows = append(b.Rows, l.rows(b, demoted[n])...)
	}
	var all []broken
	for k, list := range outcomes {
		if k == 0 {
			b.Rows = append(b.Rows, rowsOf(breaks[k].name, list, unfitMostCalm)...)
			continue
		}
		all = append(all, list...)
		b.Rows = append(b.Rows, rowsOf(breaks[k].name, list, 0)...)
	}
	b.Rows = append(b.Rows, rowsOf("all breaks", all, unfitMost)...)
	return nil
}

// play lets a load pass as it was, and calls each where a break is to be tried on a model
// that decides.
func (l recorded) play(each func(r *anomaly.Rehearsal, from int)) []anomaly.Demotion {
	r, next := anomaly.Rehearse(l.zone), firstBreak
	for i, v := range l.values {
		if i == next && i+breakFor+day/2 < len(l.values) {
			next += breakEvery
			if r.Decides() != decide.ModelRules {
				each(r, i)
			}
		}
		r.Minute(l.at(i), v)
	}
	return r.Demoted
}

// broken plays on from a break.
func (l recorded) broken(r *anomaly.Rehearsal, kind, from int) (out broken) {
	before, decided, trusted := len(r.Demoted), r.Decided, r.Trusted
	for i := from; i < from+breakFor; i++ {
		r.Minute(l.at(i), breaks[kind].at(l, i))
		if (i+1-from)%day != 0 {
			continue
		}
		did, acted := r.Decided.Since(decided), r.Trusted.Since(trusted)
		decided, trusted = r.Decided, r.Trusted
		out.slots += day / 5
		switch {
		case did.Slots == 0:
		case did.Fit():
			out.unused += did.Slots - acted.Slots
		default:
			out.unfit, out.acted = true, out.acted+acted.Slots
		}
	}
	if len(r.Demoted) > before {
		out.demoted, out.after = true, r.Demoted[before].Time.Sub(l.at(from)).Hours()
	}
	return out
}

// rows are the demotions of a load as it was.
func (l recorded) rows(b *run.Bench, list []anomaly.Demotion) []result.Row {
	wrong := 0
	for _, d := range list {
		if d.After.Fit() {
			wrong++
		}
		b.Say("%s, %s: %s gave way to rules: %s. On the next day its skill was %.2f, and its 80 %% intervals held %.0f %%",
			l.name, d.Time.In(l.zone).Format(time.DateTime), d.From, d.Reason, d.After.Skill(), 100*d.After.Cover())
	}
	weeks := float64(len(l.values)) / (7 * day)
	row := func(name string, n int) result.Row {
		r := result.New(name+", "+l.name, "a week", []float64{float64(n) / weeks})
		r.Rounds = 1
		return r
	}
	return []result.Row{row("models demoted", len(list)), row("models demoted that were fit on the next day", wrong).Want("<=", falseMost)}
}

// rowsOf are what became of models after one kind of break, or several; most is the target of
// the share of the time in which actions could rest on a model that was not fit, 0 for none.
func rowsOf(name string, list []broken, most float64) []result.Row {
	var after []float64
	slots, unfit, both, acted, unused := 0, 0, 0, 0, 0
	for _, o := range list {
		slots, acted, unused = slots+o.slots, acted+o.acted, unused+o.unused
		if o.demoted {
			after = append(after, o.after)
		}
		if o.unfit {
			unfit++
			if o.demoted {
				both++
			}
		}
	}
	row := func(what, unit string, v float64, rounds int) result.Row {
		r := result.New(name+": "+what, unit, []float64{v})
		r.Rounds = rounds
		return r
	}
	share := func(n, of int) float64 { return 100 * float64(n) / float64(max(1, of)) }
	rest := row("time in which actions could rest on a model that was not fit that day", "%", share(acted, slots), len(list))
	if most > 0 {
		rest = rest.Want("<=", most)
	}
	out := []result.Row{
		rest,
		row("time in which a model that was fit that day was not trusted", "%", share(unused, slots), len(list)),
		row("models that were not fit on a day", "%", share(unfit, len(list)), len(list)),
		row("of those, demoted within two days", "%", share(both, unfit), unfit),
		row("models demoted within two days", "%", share(len(after), len(list)), len(list)),
	}
	if len(after) > 0 {
		out = append(out, row("median time until then", "hours", result.Median(after), len(after)))
	}
	return out
}
