package gameday

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/mitigate"
)

// What doors/strategies.yaml promises the tiers of the service desk.
const (
	goldWithin, goldTarget   = 100 * time.Millisecond, 0.95
	basicWithin, basicTarget = 250 * time.Millisecond, 0.90
)

// tiers is the play of a service whose customers were promised different things.
type tiers struct {
	d           *drama
	k           *desk
	gold, basic *visitors
}

// serviceTiers is a play in which what customers of two tiers ask for changes: each tier is
// served by the cheapest machine that keeps its promise.
func serviceTiers(d *drama) error {
	k, err := d.openDesk("desk", usualPaces, "basic", "gold")
	if err != nil {
		return err
	}
	t := &tiers{d: d, k: k, gold: k.customers("gold", "/items/1", 60, goldWithin), basic: k.customers("basic", "/items", 40, basicWithin)}
	err = acts(t.cheaper, t.dearer, t.back, t.worth, func() error { return d.explained("desk-tiers", 3) })
	t.gold.leave()
	t.basic.leave()
	if cerr := k.close(); err == nil {
		err = cerr
	}
	return err
}

// words are how a tier fares, for people.
func words(s seen, within time.Duration) string {
	return fmt.Sprintf("%.1f %% of %d answered well within %s, %s on average", 100*s.kept(), s.ok+s.bad+s.held, within, s.mean().Round(time.Millisecond))
}

// keeps waits until the promise of a tier is kept for two seconds, as its customers see it.
func (t *tiers) keeps(v *visitors, target float64) (s seen, ok bool, err error) {
	_, ok, err = t.d.until(reactTime, func() (bool, error) {
		s, err = t.d.during(2*time.Second, v)
		return s.kept() >= target, err
	})
	return s, ok, err
}

// cheaper asserts that a tier with more than it was promised gets a cheaper machine, and
// that its promise holds there.
func (t *tiers) cheaper() error {
	d, k := t.d, t.k
	return d.step("cheaper", "basic has more than it was promised", func() (bool, string, error) {
		before, err := d.during(time.Second, t.basic)
		if err != nil {
			return false, "", err
		}
		took, ok, err := d.until(2*reactTime, func() (bool, error) { return k.at("basic") == spot, nil })
		if err != nil {
			return false, "", err
		}
		d.check("basic gets a machine of the cheap class", ok && k.runs("basic", spot), "class %d after %s: %s", k.at("basic"), took.Round(time.Millisecond), d.strategyWords("desk-tiers"))
		after, kept, err := t.keeps(t.basic, basicTarget)
		if err != nil {
			return false, "", err
		}
		d.check("its promise is kept there, though it is slower", kept && after.mean() > before.mean(), "%s; %s before", words(after, basicWithin), before.mean().Round(time.Millisecond))
		gold, kept, err := t.keeps(t.gold, goldTarget)
		d.check("gold stays in the class that keeps its promise", kept && k.at("gold") == shared, "class %d, %s", k.at("gold"), words(gold, goldWithin))
		return ok, fmt.Sprintf("basic is in the class spot after %.1f s, with answers in %s instead of %s", took.Seconds(), after.mean().Round(time.Millisecond), before.mean().Round(time.Millisecond)), err
	})
}

// broken lets customers of a tier ask for orders, which take longer, and asserts that its
// promise is broken by that, and mended by a dearer class.
func (t *tiers) broken(tier string, v *visitors, within time.Duration, target float64, class int) (took time.Duration, after seen, ok bool, err error) {
	d, k := t.d, t.k
	began := time.Now()
	v.askFor(http.MethodPost, "/orders/1")
	if err = d.pause(within); err != nil { // what was asked before is answered
		return 0, after, false, err
	}
	before, err := d.during(time.Second/2, v)
	if err != nil {
		return 0, after, false, err
	}
	d.check("the promise of "+tier+" is broken in its class", before.kept() < 0.5, "%s", words(before, within))
	_, ok, err = d.until(2*reactTime, func() (bool, error) { return k.at(tier) == class, nil })
	if took = time.Since(began); err != nil {
		return took, after, false, err
	}
	d.check(tier+" gets a dearer machine", ok && (class == shared || k.runs(tier, class)), "class %d after %s: %s", k.at(tier), took.Round(time.Millisecond), d.strategyWords("desk-tiers"))
	after, kept, err := t.keeps(v, target)
	d.check("the promise of "+tier+" is kept again", kept && after.mean() < before.mean(), "%s; %s before", words(after, within), before.mean().Round(time.Millisecond))
	return took, after, ok && kept, err
}

func (t *tiers) dearer() error {
	return t.d.step("dearer", "customers of gold begin to order", func() (bool, string, error) {
		took, after, ok, err := t.broken("gold", t.gold, goldWithin, goldTarget, dedicated)
		return ok, fmt.Sprintf("gold has a machine of its own after %.1f s: %s", took.Seconds(), words(after, goldWithin)), err
	})
}

// back asserts the same of a tier in the cheap class, whose machine is stopped then.
func (t *tiers) back() error {
	d := t.d
	return d.step("back", "customers of basic begin to order", func() (bool, string, error) {
		took, after, ok, err := t.broken("basic", t.basic, basicWithin, basicTarget, shared)
		if err != nil {
			return false, "", err
		}
		_, gone, err := d.until(reactTime, func() (bool, error) { return !t.k.runs("basic", spot), nil })
		d.check("the machine that basic had is stopped", gone, "%v", d.Processes())
		return ok && gone, fmt.Sprintf("basic is back in the class shared after %.1f s: %s", took.Seconds(), words(after, basicWithin)), err
	})
}

// worth asserts what a thousand requests cost by then: each tier what its classes do.
func (t *tiers) worth() error {
	d := t.d
	return d.step("cost", "", func() (bool, string, error) {
		all, err := t.k.accounts()
		if err != nil {
			return false, "", err
		}
		gold, basic := all["gold"], all["basic"]
		sum := gold.plus(basic)
		d.check("gold costs more than it did, and basic less", gold.requests > 0 && gold.thousand() > grades[shared].cost && basic.thousand() < grades[shared].cost,
			"a thousand requests cost %.3f EUR for gold and %.3f for basic; %.2f in the class that both had", gold.thousand(), basic.thousand(), grades[shared].cost)
		d.check("that is less than the class that gold needs would cost for all", sum.thousand() < grades[dedicated].cost, "%.3f EUR a thousand", sum.thousand())
		moves := d.yard.platform.movesOf("desk")
		want := []desired{{Scope: "basic", Now: shared, Want: spot}, {Scope: "gold", Now: shared, Want: dedicated}, {Scope: "basic", Now: spot, Want: shared}}
		ok := len(moves) == len(want)
		for i := range min(len(moves), len(want)) {
			ok = ok && moves[i].Scope == want[i].Scope && moves[i].Now == want[i].Now && moves[i].Want == want[i].Want
		}
		d.check("nothing else was moved", ok, "%+v", moves)
		return ok, fmt.Sprintf("a thousand requests cost %.3f EUR: %.3f for gold, %.3f for basic; %.2f if all had what gold needs", sum.thousand(), gold.thousand(), basic.thousand(), grades[dedicated].cost), nil
	})
}

// explained asserts that each action of a strategy rests on a recorded decision that says
// why, and that comes out identical when it is made again: what was weighed, and the law.
func (d *drama) explained(strategy string, least int) error {
	return d.step("explained", strategy, func() (bool, string, error) {
		list, err := d.ci.Facts(d.ctx, []string{assay.FactMitigationActed}, "", maxDecisions)
		if err != nil {
			return false, "", err
		}
		acted, same, said := 0, 0, "" // the newest comes first
		for _, f := range list {
			var p mitigate.ActedPayload
			if err := json.Unmarshal(f.Payload, &p); err != nil {
				return false, "", err
			}
			if p.Strategy != strategy || len(f.Causes) == 0 {
				continue
			}
			acted++
			cause, err := d.ci.Fact(d.ctx, f.Causes[0])
			if err != nil {
				return false, "", err
			}
			var why mitigate.DecidedPayload
			if err := json.Unmarshal(cause.Payload, &why); err != nil {
				return false, "", err
			}
			record, err := d.ci.DecisionRecord(d.ctx, cause.ID)
			if err != nil {
				return false, "", err
			}
			again, err := decide.Replay(record)
			if err != nil {
				return false, "", err
			}
			if again.Identical && why.Decision.Words != "" && len(why.Decision.Guards) > 0 && len(why.Decision.Signals) > 0 && why.Decision.Action.Target() == p.Action.Target() {
				same++
			}
			said = cmp.Or(said, why.Decision.Words)
		}
		ok := acted >= least && same == acted
		d.check("each action of "+strategy+" has a decision that says why, and comes out identical when it is made again", ok, "%d of %d, for example: %s", same, acted, said)
		return ok, fmt.Sprintf("%d of %d decisions say why and come out identical; the newest: %s", same, acted, said), nil
	})
}
