package decide_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/decide"
)

// heeded makes steps of a model that believes in a spread of 1 and whose intervals are
// stretched as its care says, anew every hour. What comes has the
// spread given, and rules err with theirs. Errors are told in widths that rise with them: what
// is looked at is the intervals, and not the errors, which alone would end the model.
func heeded(c decide.Care, rng *rand.Rand, steps int, spread, rules float64) (next decide.Care, held float64, changes []decide.ModelChange) {
	cfg, factor := decide.DefaultCare(5*time.Minute), 1.0
	for i := range steps {
		if i%12 == 0 {
			factor = c.Stretched()
		}
		e := spread * rng.NormFloat64()
		came := decide.Came{Value: 100 + e, Active: 100, PIT: math.Erfc(-e/factor/math.Sqrt2) / 2, Rules: 100 + e + rules*rng.NormFloat64(), Width: 2.56 * spread, Shadow: math.NaN()}
		if came.PIT >= 0.1 && came.PIT <= 0.9 {
			held += 1 / float64(steps)
		}
		var m *decide.ModelChange
		if c, m = c.Step(cfg, came, start.Add(time.Duration(i)*5*time.Minute)); m != nil {
			changes = append(changes, *m)
		}
	}
	return c, held, changes
}

// After a break a model's own past does not know yet how wrong it is. Its intervals hold again
// within hours, because those that miss are stretched, and are let go when it is over.
func TestIntervalsThatMissAreStretchedUntilTheyHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 52))
	c, held, changes := heeded(decide.NewCare("m1"), rng, 5*288, 1, 3)
	if len(changes) > 0 || held < 0.79 || held > 0.87 || c.Stretched() > 1.4 {
		t.Fatalf("as ever: %.2f held, stretched %.2f times, %+v", held, c.Stretched(), changes)
	}
	c, held, _ = heeded(c, rng, 72, 2.2, 6)
	t.Logf("the first six hours: %.2f held", held)
	if c, held, changes = heeded(c, rng, 144, 2.2, 6); held < 0.7 || len(changes) > 0 {
		t.Errorf("twelve hours after: %.2f held, stretched %.2f times, %+v", held, c.Stretched(), changes)
	}
	if c.Stretched() < 1.5 {
		t.Errorf("stretched %.2f times", c.Stretched())
	}
	if c, _, _ = heeded(c, rng, 2*288, 1, 3); c.Stretched() > 1.4 {
		t.Errorf("two days after it was over they are still stretched %.2f times", c.Stretched())
	}
}

// What no stretching holds is demoted within hours, and not after a week of intervals.
func TestAModelThatMissesHoweverItIsStretchedIsDemotedWithinHours(t *testing.T) {
	rng := rand.New(rand.NewPCG(53, 54))
	c, _, _ := heeded(decide.NewCare("m1"), rng, 2*288, 1, 3)
	cfg := decide.DefaultCare(5 * time.Minute)
	for i := range 288 {
		pit := 0.001 // everything lies below
		if i%4 == 0 {
			pit = 0.5
		}
		next, m := c.Step(cfg, decide.Came{Value: 100, Active: 100.5, PIT: pit, Rules: 103, Width: 2.56, Shadow: math.NaN()}, start)
		if c = next; m == nil {
			continue
		}
		if i > 150 || !strings.Contains(m.Reason, "though stretched") || m.To != decide.ModelRules || m.Recent == 0 {
			t.Errorf("after %d steps: %+v", i, m)
		}
		return
	}
	t.Error("it decides after a day in which three of four lay outside its intervals")
}

// A model that errs more than rules for some hours is not acted upon, and goes on deciding: it
// is believed again when it has been better for some.
func TestWhatErrsMoreThanRulesForHoursIsDoubtedAndNotDemoted(t *testing.T) {
	cfg, rng := decide.DefaultCare(5*time.Minute), rand.New(rand.NewPCG(55, 56))
	c, _, _ := heeded(decide.NewCare("m1"), rng, 2*288, 1, 3)
	if why := c.Doubt(cfg); why != "" {
		t.Fatalf("as ever: %s", why)
	}
	c, _, changes := heeded(c, rng, 144, 1, 0.2)
	if why := c.Doubt(cfg); !strings.Contains(why, "lately it errs more than repeating the last season") || len(changes) > 0 || c.Active != "m1" {
		t.Errorf("twelve hours in which rules were better: %q, %+v", why, changes)
	}
	if c, _, _ = heeded(c, rng, 144, 1, 3); c.Doubt(cfg) != "" {
		t.Errorf("twelve hours later: %s", c.Doubt(cfg))
	}
	c, _, _ = heeded(decide.NewCare("m1"), rng, 24, 1, 0.2)
	if c.Doubt(cfg) != "" || c.Rollback(decide.ModelRules, "ada", start).Doubt(cfg) != "" {
		t.Error("what was seen for two hours, or rules, are doubted")
	}
	if effects := decide.EffectCare(); effects.Doubt != 0 || effects.Stretch != 0 || effects.Odds != 0 {
		t.Errorf("of what actions do too little is known for that: %+v", effects)
	}
}
