package gameday

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/mitigate"
)

// What doors/strategies.yaml promises the customers of the service counter.
const (
	counterTier   = "walk-in"
	counterWithin = 100 * time.Millisecond
	counterTarget = 0.90
)

// counterStrategy is the strategy that is provoked, and counterTarget its lever.
const (
	counterStrategy = "counter-tiers"
	counterLever    = "cost-class/" + counterTier
)

// Pages that customers ask for by turns: in the class shared the second is too slow.
var (
	light = [2]string{http.MethodGet, "/items/1"}
	heavy = [2]string{http.MethodPost, "/orders/1"}
)

// swing is the play of a strategy that is provoked to swing.
type swing struct {
	d      *drama
	k      *desk
	people *visitors
	asked  int  // how often customers began to ask for something else
	calm   seen // what came of requests while the lever swung
}

// oscillation is a play in which customers always ask for what the class that they have is
// wrong for.
func oscillation(d *drama) error {
	k, err := d.openDesk("counter", usualPaces, counterTier)
	if err != nil {
		return err
	}
	s := &swing{d: d, k: k, people: k.customers(counterTier, light[1], 60, counterWithin)}
	err = acts(s.without, s.swings, s.frozen, s.shown, s.lifted, s.spent, func() error { return d.explained(counterStrategy, 3) })
	s.people.leave()
	if cerr := k.close(); err == nil {
		err = cerr
	}
	return err
}

// ask lets customers ask for other pages from now on.
func (s *swing) ask(page [2]string) {
	s.asked++
	s.people.askFor(page[0], page[1])
}

// flap lets them ask for either page by turns, and returns what came of it.
func (s *swing) flap(times int) (sum seen, err error) {
	s.people.seen()
	for range times {
		for _, page := range [][2]string{heavy, light} {
			s.ask(page)
			if err := s.d.pause(1500 * time.Millisecond); err != nil {
				return sum, err
			}
		}
	}
	return s.people.seen(), nil
}

// turns are how often the lever changed its direction, and moves how often it moved.
func (s *swing) turns() (turns, moves int) {
	list := s.d.yard.platform.movesOf("counter")
	for i, m := range list {
		if i > 0 && (m.Want > m.Now) != (list[i-1].Want > list[i-1].Now) {
			turns++
		}
	}
	return turns, len(list)
}

// without shows what becomes of the promise when nothing is done.
func (s *swing) without() error {
	d := s.d
	return d.step("without", "orders and looks by turns, and nobody may act", func() (bool, string, error) {
		if _, err := d.assay(d.ctx, "halt", "set", "--service", "counter", "--reason", "what is asked for is looked at first"); err != nil {
			return false, "", err
		}
		got, err := s.flap(2)
		if err != nil {
			return false, "", err
		}
		_, err = d.assay(d.ctx, "halt", "lift", "--service", "counter")
		_, moves := s.turns()
		d.check("without the strategy the promise is broken", got.kept() < counterTarget && moves == 0, "%s, %s", words(got, counterWithin), count(moves, "move"))
		return false, words(got, counterWithin), err
	})
}

// swings provokes the strategy: whatever class it chooses is wrong a moment later.
func (s *swing) swings() error {
	d := s.d
	return d.step("swings", "customers order in the cheap class, and look in the dear one", func() (bool, string, error) {
		s.people.seen()
		for i, class := range []int{dedicated, shared, dedicated} {
			s.ask([][2]string{heavy, light}[i%2])
			_, ok, err := d.until(2*reactTime, func() (bool, error) { return s.k.at(counterTier) == class, nil })
			if err != nil {
				return false, "", err
			}
			d.check(fmt.Sprintf("move %d follows them", i+1), ok && (class == shared || s.k.runs(counterTier, class)), "class %d: %s", s.k.at(counterTier), d.strategyWords(counterStrategy))
		}
		s.calm = s.people.seen()
		turns, moves := s.turns()
		d.check("the lever swings", turns == 2 && moves == 3, "%s and %s", count(turns, "turn"), count(moves, "move"))
		return false, fmt.Sprintf("%s and %s; %s", count(moves, "move"), count(turns, "turn"), words(s.calm, counterWithin)), nil
	})
}

// frozen asserts that the detector holds the lever, says so as a fact, and that customers
// fare no worse for it.
func (s *swing) frozen() error {
	d := s.d
	return d.step("frozen", "they go on", func() (bool, string, error) {
		s.ask(light)
		var p mitigate.FrozenPayload
		_, ok, err := d.until(reactTime, func() (found bool, err error) {
			p, err = s.fact()
			return p.Target != "", err
		})
		if err != nil {
			return false, "", err
		}
		left := time.Until(p.Until)
		d.check("that the lever is frozen is a fact", ok && p.Target == counterLever && p.Turns == 2 && left > 25*time.Minute && left < 31*time.Minute, "%+v", p)
		if err := d.pause(2 * time.Second); err != nil { // what waited for the old machine is done
			return false, "", err
		}
		_, before := s.turns()
		got, err := s.flap(3)
		if err != nil {
			return false, "", err
		}
		turns, moves := s.turns()
		d.check("nothing moves it, whatever they ask for", moves == before && s.k.at(counterTier) == dedicated, "%s after %d, class %d", count(moves, "move"), before, s.k.at(counterTier))
		d.check("the promise is kept all the while, and better than while it swung", got.kept() >= counterTarget && got.kept() > s.calm.kept(), "%s; %.1f %% while it swung", words(got, counterWithin), 100*s.calm.kept())
		return ok, fmt.Sprintf("%s after %d changes of what they ask for; %s", count(turns, "turn"), s.asked, words(got, counterWithin)), nil
	})
}

// fact is the newest one that says that the lever is frozen, empty if there is none.
func (s *swing) fact() (p mitigate.FrozenPayload, err error) {
	list, err := s.d.ci.Facts(s.d.ctx, []string{assay.FactMitigationFrozen}, "", maxDecisions)
	for _, f := range list { // newest first
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			return p, err
		}
		if p.Strategy == counterStrategy {
			return p, nil
		}
	}
	return mitigate.FrozenPayload{}, err
}

// shown asserts that people see it where they look: on the pages, and in the terminal.
func (s *swing) shown() error {
	d := s.d
	return d.step("shown", "", func() (bool, string, error) {
		said, err := d.remote("strategy", "explain", counterStrategy)
		if err != nil {
			return false, "", err
		}
		inTerminal := strings.Contains(said, "frozen: "+counterLever+" swings") && strings.Contains(said, "assay strategy thaw "+counterStrategy)
		d.check("the terminal shows it, and how to lift it", inTerminal, "%.400s", said)
		var without []string
		for _, page := range []string{"/strategies", "/strategies/" + counterStrategy, "/"} {
			status, body, err := d.request(http.MethodGet, d.url+page, "", "", nil)
			if err != nil {
				return false, "", err
			}
			if status != http.StatusOK || !strings.Contains(string(body), "frozen") || !strings.Contains(string(body), counterStrategy) {
				without = append(without, page)
			}
		}
		d.check("the pages show it", len(without) == 0, "not on %v", without)
		line, _, _ := strings.Cut(said[max(0, strings.Index(said, "frozen: ")):], "\n")
		return inTerminal && len(without) == 0, line, nil
	})
}

// remote runs our own program as somebody does who is elsewhere, and returns what it printed.
func (w *World) remote(args ...string) (string, error) {
	var out bytes.Buffer
	err := w.run(w.ctx, command{name: "assay " + args[0], path: w.cfg.Exe, args: args, env: w.environment("ASSAY_SERVER="+w.url, "ASSAY_TOKEN="+w.secrets.platform)}, &out)
	return out.String(), err
}

// thaw is a person's word that the lever may move again.
func (s *swing) thaw(reason string) error {
	_, err := s.d.platform.TellStrategy(s.d.ctx, counterStrategy, api.StrategyAnswer{Told: mitigate.ToldThaw, Target: counterLever, Reason: reason})
	return err
}

// lifted asserts that a person may end the freeze.
func (s *swing) lifted() error {
	d := s.d
	return d.step("lifted", "a person lifts the freeze", func() (bool, string, error) {
		s.ask(light)
		_, err := d.ci.TellStrategy(d.ctx, counterStrategy, api.StrategyAnswer{Told: mitigate.ToldThaw, Target: counterLever, Reason: "I may not"})
		d.check("not anybody", assay.CodeOf(err) == assay.CodeDenied, "%v", err)
		if err := s.thaw("what made them come by turns has ended"); err != nil {
			return false, "", err
		}
		took, ok, err := d.until(2*reactTime, func() (bool, error) { return s.k.at(counterTier) == shared, nil })
		if err != nil {
			return false, "", err
		}
		d.check("then the dear class is given back", ok, "class %d after %s: %s", s.k.at(counterTier), took.Round(time.Millisecond), d.strategyWords(counterStrategy))
		now, err := d.ci.Strategy(d.ctx, counterStrategy)
		d.check("and nothing is frozen any more", len(now.Frozen) == 0, "%+v", now.Frozen)
		return ok, fmt.Sprintf("the class shared again after %.1f s", took.Seconds()), err
	})
}

// spent asserts that what a person lifts is not the budget of an hour: a lever that swings
// again is frozen again, and turns fewer than six times whoever lifts what.
func (s *swing) spent() error {
	d := s.d
	return d.step("budget", "they order again", func() (bool, string, error) {
		s.ask(heavy)
		_, ok, err := d.until(2*reactTime, func() (bool, error) { return s.k.at(counterTier) == dedicated, nil })
		if err != nil {
			return false, "", err
		}
		d.check("what protects is still done", ok, "class %d: %s", s.k.at(counterTier), d.strategyWords(counterStrategy))
		s.ask(light)
		var now api.StrategyStatus
		_, again, err := d.until(reactTime, func() (bool, error) {
			now, err = d.ci.Strategy(d.ctx, counterStrategy)
			return len(now.Frozen) > 0, err
		})
		if err != nil {
			return false, "", err
		}
		d.check("it swings again and is frozen again", again, "%s", d.strategyWords(counterStrategy))
		if err := s.thaw("I would rather save"); err != nil {
			return false, "", err
		}
		var held string
		_, kept, err := d.until(reactTime, func() (bool, error) {
			now, err = d.ci.Strategy(d.ctx, counterStrategy)
			if i := slices.IndexFunc(now.Bands, func(b api.StrategyBand) bool { return b.Target == counterLever }); i >= 0 {
				held = now.Bands[i].Held
			}
			return strings.Contains(held, "in the last hour"), err
		})
		if err != nil {
			return false, "", err
		}
		turns, moves := s.turns()
		d.check("the turns of an hour are spent, whoever lifts the freeze", kept && s.k.at(counterTier) == dedicated, "class %d: %s", s.k.at(counterTier), held)
		d.check("it turned fewer than six times though customers turned more often", turns < 6 && s.asked > 2*turns, "%d turns, %s, %d changes of what they ask for", turns, count(moves, "move"), s.asked)
		return kept, fmt.Sprintf("%d turns in the hour; %s", turns, held), nil
	})
}
