package gameday

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
)

const (
	parlour         = "parlour"
	parlourStrategy = "parlour-tiers"
	parlourTier     = "guest"
	// parlourWithin is what the objective of the parlour wants; its guests were promised twice that.
	parlourWithin = 250 * time.Millisecond
	// calmTime is how much of a past without actions there is before the first one: fifty
	// steps of outcomes at least are compared with it, of half a second each.
	calmTime = 28 * time.Second
	// lastingTime is how long trouble lasts before anybody may act: what passes by itself
	// is shorter.
	lastingTime = 8 * time.Second
)

// parlourPaces make a light page take 105 ms in the class shared and 266 in spot, and a heavy
// one 525 in shared and 35 in dedicated. What has to be kept is kept with more than a tenth of
// a second to spare, so that a machine that stutters breaks nothing; what has to be broken is
// broken by the page alone.
var parlourPaces = paces{1, 15, 38}

// verdict is the play of a strategy that hears what its actions did.
type verdict struct {
	d      *drama
	k      *desk
	people *visitors
}

// verdicts is a play in which the engine judges two actions of a strategy: one that harmed,
// which it gives back, and one that helped.
func verdicts(d *drama) error {
	k, err := d.openDesk(parlour, parlourPaces, parlourTier)
	if err != nil {
		return err
	}
	v := &verdict{d: d, k: k, people: k.customers(parlourTier, "/items/1", 60, parlourWithin)}
	err = acts(v.calm, v.harms, v.helps, func() error { return d.explained(parlourStrategy, 3) })
	v.people.leave()
	if cerr := k.close(); err == nil {
		err = cerr
	}
	return err
}

// held lets the strategy do nothing for a while, in which customers ask for a page.
func (v *verdict) held(page [2]string, t time.Duration) (seen, error) {
	if _, err := v.d.assay(v.d.ctx, "halt", "set", "--service", parlour, "--reason", "what is usual is looked at first"); err != nil {
		return seen{}, err
	}
	v.people.askFor(page[0], page[1])
	got, err := v.d.during(t, v.people)
	if err != nil {
		return got, err
	}
	_, err = v.d.assay(v.d.ctx, "halt", "lift", "--service", parlour)
	return got, err
}

func (v *verdict) calm() error {
	d := v.d
	return d.step("calm", "what is spent without any action", func() (bool, string, error) {
		got, err := v.held(light, calmTime)
		ok := got.kept() >= 0.95
		d.check("at first the objective is kept", ok, "%s", words(got, parlourWithin))
		return ok, words(got, parlourWithin), err
	})
}

// next waits for the verdict on the strategy's move to a class, and how long after it that came.
func (v *verdict) next(class float64) (p mitigate.JudgedPayload, err error) {
	_, _, err = v.d.until(2*reactTime, func() (bool, error) {
		list, err := v.d.ci.Facts(v.d.ctx, []string{assay.FactMitigationJudged}, "", maxDecisions)
		for _, f := range list {
			if err := json.Unmarshal(f.Payload, &p); err != nil {
				return false, err
			}
			if p.Strategy == parlourStrategy && p.Outcome.Action.Want == class {
				return true, nil
			}
		}
		p = mitigate.JudgedPayload{}
		return false, err
	})
	return p, err
}

// harms asserts that the cheap class is judged to have harmed, and given back for that.
func (v *verdict) harms() error {
	d, k := v.d, v.k
	return d.step("harm", "guests have more than they were promised", func() (bool, string, error) {
		_, moved, err := d.until(2*reactTime, func() (bool, error) { return k.at(parlourTier) == spot, nil })
		if err != nil {
			return false, "", err
		}
		d.check("they go to the cheap class, which keeps their promise", moved, "class %d: %s", k.at(parlourTier), d.strategyWords(parlourStrategy))
		began := time.Now()
		got, err := d.during(2*time.Second, v.people)
		if err != nil {
			return false, "", err
		}
		d.check("and not the objective", got.kept() < 0.5, "%s", words(got, parlourWithin))
		p, err := v.next(spot)
		if err != nil {
			return false, "", err
		}
		took := time.Since(began)
		d.check("the engine's verdict is that it harmed", p.Outcome.Effect == assay.EffectHarmed, "%s: %s", p.Outcome.Effect, p.Outcome.Reason)
		_, back, err := d.until(reactTime, func() (bool, error) { return k.at(parlourTier) == shared, nil })
		if err != nil {
			return false, "", err
		}
		d.check("it gives back what it did", back, "class %d: %s", k.at(parlourTier), d.strategyWords(parlourStrategy))
		if err := d.pause(time.Second); err != nil { // what waited for the cheap machine is done
			return false, "", err
		}
		after, err := d.during(2*time.Second, v.people)
		if err != nil {
			return false, "", err
		}
		d.check("the objective is kept again", after.kept() >= 0.95, "%s", words(after, parlourWithin))
		why, err := v.why(spot, shared)
		d.check("its decision says that the move did harm", strings.Contains(why, "did harm"), "%s", why)
		return back, fmt.Sprintf("%s after %.1f s: %s", p.Outcome.Effect, took.Seconds(), p.Outcome.Reason), err
	})
}

// why is what the decision said that moved the tier from one class to another.
func (v *verdict) why(from, to float64) (string, error) {
	list, err := v.d.ci.Facts(v.d.ctx, []string{assay.FactMitigationActed}, "", maxDecisions)
	if err != nil {
		return "", err
	}
	for _, f := range list {
		var p mitigate.ActedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			return "", err
		}
		if p.Strategy != parlourStrategy || p.Action.Now != from || p.Action.Want != to || len(f.Causes) == 0 {
			continue
		}
		cause, err := v.d.ci.Fact(v.d.ctx, f.Causes[0])
		if err != nil {
			return "", err
		}
		var said mitigate.DecidedPayload
		err = json.Unmarshal(cause.Payload, &said)
		return said.Decision.Words, err
	}
	return "nothing", nil
}

// helps asserts that what ended a trouble that had lasted is judged to have helped, and stays.
func (v *verdict) helps() error {
	d, k := v.d, v.k
	return d.step("help", "guests begin to order, and nobody may act yet", func() (bool, string, error) {
		before, err := v.held(heavy, lastingTime)
		if err != nil {
			return false, "", err
		}
		d.check("promise and objective are broken", before.kept() < 0.5, "%s", words(before, parlourWithin))
		_, moved, err := d.until(2*reactTime, func() (bool, error) { return k.at(parlourTier) == dedicated, nil })
		if err != nil {
			return false, "", err
		}
		d.check("they get a machine of their own", moved, "class %d: %s", k.at(parlourTier), d.strategyWords(parlourStrategy))
		p, err := v.next(dedicated)
		if err != nil {
			return false, "", err
		}
		d.check("the engine's verdict is that it helped", p.Outcome.Effect == assay.EffectHelped, "%s: %s", p.Outcome.Effect, p.Outcome.Reason)
		d.check("and it stays", k.at(parlourTier) == dedicated, "class %d", k.at(parlourTier))
		return p.Outcome.Effect == assay.EffectHelped, fmt.Sprintf("%s: %s", p.Outcome.Effect, p.Outcome.Reason), nil
	})
}
