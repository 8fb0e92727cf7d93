package decide_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/decide"
)

// world makes steps whose rules err with the spread 1, the model with active and the
// shadow with shadow; the model believes that its spread is believed.
type world struct{ active, believed, shadow float64 }

func (w world) run(rng *rand.Rand, c decide.Care, steps int, each func(int) world) (decide.Care, []decide.ModelChange) {
	var out []decide.ModelChange
	for i := range steps {
		if each != nil {
			w = each(i)
		}
		e := rng.NormFloat64() * w.active
		s := decide.Came{Value: 100, Active: 100 - e, PIT: math.Erfc(-e/w.believed/math.Sqrt2) / 2, Rules: 100 + rng.NormFloat64(), Shadow: math.NaN()}
		if w.shadow > 0 {
			s.Shadow = 100 + rng.NormFloat64()*w.shadow
		}
		var m *decide.ModelChange
		if c, m = c.Step(decide.DefaultCare(5*time.Minute), s, start.Add(time.Duration(i)*time.Minute)); m != nil {
			out = append(out, *m)
		}
	}
	return c, out
}

func TestAGoodModelStays(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 8 {
		if c, out := (world{0.5, 0.5, 0}).run(rng, decide.NewCare("m1"), 2_000, nil); len(out) > 0 || c.Active != "m1" {
			t.Fatalf("%+v", out)
		}
	}
}

func TestAModelThatNoLongerDescribesWhatComesIsDemotedToRules(t *testing.T) {
	for name, tc := range map[string]struct {
		later world
		why   string
	}{
		"its errors rise":        {world{1.4, 1.4, 0}, "its errors have risen"},
		"it is worse than rules": {world{1.15, 1.15, 0}, "worse than rules"},
		"it is too sure":         {world{0.5, 0.2, 0}, "its 80 % intervals held"},
	} {
		t.Run(name, func(t *testing.T) {
			good := world{0.5, 0.5, 0}
			if tc.why == "worse than rules" {
				good = tc.later // from its first day on
			}
			c, out := good.run(rand.New(rand.NewPCG(13, 14)), decide.NewCare("m1"), 6_000, func(i int) world {
				if i < 1_000 {
					return good
				}
				return tc.later
			})
			if len(out) != 1 || c.Active != decide.ModelRules || out[0].From != "m1" || !strings.Contains(out[0].Reason, tc.why) {
				t.Fatalf("%+v", out)
			}
			if at := out[0].Time.Sub(start).Minutes(); strings.HasPrefix(name, "its errors") && (at < 1_000 || at > 1_150) {
				t.Errorf("after %v steps", at)
			}
			if tc.why == "its errors have risen" && (out[0].Recent < 10 || out[0].Recent > 150) {
				t.Errorf("to be fitted on %d steps", out[0].Recent)
			}
		})
	}
}

// For some hours chance says whether a model or repeating the last season is better: a day
// without a break is no chance.
func TestAModelThatIsWorseThanRulesForHoursStaysAndForADayDoesNot(t *testing.T) {
	for _, tc := range []struct {
		hours int
		stays bool
	}{{20, true}, {50, false}} {
		rng, c := rand.New(rand.NewPCG(17, 18)), decide.NewCare("m1")
		for i := range 3_000 {
			rules := 1.0
			if i >= 1_000 && i < 1_000+12*tc.hours {
				rules = 0.1 // the day is as the day before
			}
			e := 0.5 * rng.NormFloat64()
			came := decide.Came{Value: 100, Active: 100 - e, PIT: math.Erfc(-e/0.5/math.Sqrt2) / 2, Rules: 100 + rules*rng.NormFloat64(), Shadow: math.NaN()}
			c, _ = c.Step(decide.DefaultCare(5*time.Minute), came, start.Add(time.Duration(i)*time.Minute))
		}
		if stays := c.Active == "m1"; stays != tc.stays {
			t.Errorf("worse for some %d hours: %s decides, %+v", tc.hours, c.Active, c.Past)
		}
	}
}

func TestAVersionIsPromotedOnlyByAShadowWin(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	c, out := (world{0.5, 0.5, 0.25}).run(rng, decide.NewCare("m1").Propose("m2"), 2_000, nil)
	if len(out) != 1 || c.Active != "m2" || c.Shadow != "" || !strings.Contains(out[0].Reason, "version m2 errs less than m1") {
		t.Fatalf("a better one: %+v", out)
	}
	c, out = (world{0.5, 0.5, 0.5}).run(rng, decide.NewCare(decide.ModelRules).Propose("m2"), 2_000, nil)
	if len(out) != 1 || c.Active != "m2" {
		t.Fatalf("better than the rules: %+v", out)
	}
	won := 0
	for range 100 {
		if _, out := (world{0.5, 0.5, 0.5}).run(rng, decide.NewCare("m1").Propose("m2"), 1_200, nil); len(out) > 0 {
			won++
		}
	}
	if won > 6 { // at most 1 % in the mean: one
		t.Errorf("%d of 100 versions that are no better are promoted", won)
	}
}

func TestAModelIsRolledBackLikeAPolicy(t *testing.T) {
	c := decide.NewCare("m1").Propose("m2").Rollback("m0", "ada", start)
	if c.Active != "m0" || c.Shadow != "" || len(c.Past) != 1 || c.Past[0].From != "m1" || c.Past[0].Reason != "ada rolled it back" {
		t.Errorf("%+v", c)
	}
}

func TestStepsThatAreNotNumbersChangeNothing(t *testing.T) {
	c := decide.NewCare("m1")
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		if next, m := c.Step(decide.DefaultCare(5*time.Minute), decide.Came{Value: v}, start); m != nil || next.Steps != 0 {
			t.Errorf("%v counts", v)
		}
	}
}
