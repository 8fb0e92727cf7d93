package decide

import (
	"fmt"
	"math"
	"slices"
	"time"

	"assay.dev/assay/infer"
)

// ModelRules is the version that stands for no model: thresholds, and what was at the
// same time a season ago.
const ModelRules = "rules"

// ModelChange says that another version of a model decides from now on. Whoever keeps a
// Care records it as a fact.
type ModelChange struct {
	Time   time.Time `json:"time"`
	From   string    `json:"from"`
	To     string    `json:"to"`
	Reason string    `json:"reason"` // one sentence with the numbers
	// Recent is how many steps back the model's errors have been what they are now: what a
	// new version is to be fitted on. 0 if nothing is to be fitted.
	Recent int `json:"recent,omitempty"`
}

// CareConfig says how a model is cared for. DefaultCare, SeasonCare and EffectCare have the defaults.
type CareConfig struct {
	Day      int     `json:"day"`       // steps of a season, over which its skill is judged
	MinSkill float64 `json:"min_skill"` // below, rules do better
	Worse    int     `json:"worse"`     // steps in a row that it must be below
	Warm     int     `json:"warm"`      // steps that say what its errors normally are
	Alpha    float64 `json:"alpha"`     // probability of ever promoting a version that is no better
	Block    int     `json:"block"`     // steps that count as one, because errors of neighbours go together
	Slack    float64 `json:"slack"`     // a lasting rise of its errors that is no drift, in standard deviations of a block
	Window   int     `json:"window"`    // blocks over which its coverage is judged
	MinCover float64 `json:"min_cover"` // of 80 % intervals
	MaxCover float64 `json:"max_cover"` // intervals that are too wide keep too much, and no harm comes of it
	Stretch  float64 `json:"stretch"`   // ln of how much wider a step that missed them makes its intervals; 0 never
	Odds     float64 `json:"odds"`      // of bets that they miss too much, at which they are believed; 0 is none
	Doubt    int     `json:"doubt"`     // steps in which errors count half when it is asked whether to act on it now; 0 never
}

// DefaultCare is for a forecast in steps of time of a load that repeats itself every day.
func DefaultCare(step time.Duration) CareConfig { return SeasonCare(step, 24*time.Hour) }

// SeasonCare is for a forecast in steps of time of a load that repeats itself after a
// season: what the defaults say of a day and of an hour holds for it and its 24th part.
func SeasonCare(step, season time.Duration) CareConfig {
	day, hour := max(int(season/step), 1), max(int(season/24/step), 1)
	cfg := CareConfig{Day: day, Worse: day, Warm: max(day, 24), Alpha: 0.01, Block: hour, Slack: 1, Window: 168, MinCover: 0.65, MaxCover: 0.97,
		Stretch: min(0.36/float64(hour), 0.1), Odds: 33, Doubt: max(day/4, 1)}
	if hour < 4 { // a block of a step or two wins bets before stretching has shown anything
		cfg.Odds = 0
	}
	return cfg
}

// EffectCare is for what actions are expected to do, of which there are few.
func EffectCare() CareConfig {
	return CareConfig{Day: 20, MinSkill: -0.25, Worse: 1, Warm: 10, Alpha: 0.01, Block: 1, Slack: 0.5, Window: 40, MinCover: 0.5, MaxCover: 1}
}

// Came is one step of the world next to what was forecast of it, by each without having
// seen it.
type Came struct {
	Value  float64 `json:"value"`
	Active float64 `json:"active"` // forecast by the version that decides
	PIT    float64 `json:"pit"`    // probability that it gave to less than Value, its intervals stretched as Care says
	Rules  float64 `json:"rules"`  // what repeating the last season says
	// Width of the interval that it expected before that was stretched, in the value's unit,
	// so that a busy hour's larger errors are no drift; 0 if it said none.
	Width float64 `json:"width,omitempty"`
	// Shadow is the forecast of the version that waits to be promoted; not a number if
	// there is none.
	Shadow float64 `json:"-"`
}

// Care watches one model: whether it still describes what comes, and whether a newer
// version would do better. It is a value; Begin it with NewCare.
type Care struct {
	Active string        `json:"active"`
	Shadow string        `json:"shadow,omitempty"` // the version that runs beside it
	Past   []ModelChange `json:"past,omitempty"`   // newest last, at most maxChanges

	Steps  int               `json:"steps"` // since Active was chosen
	Run    float64           `json:"run"`   // sum of the errors of the block under way
	InRun  int               `json:"in_run"`
	Mean   float64           `json:"mean"` // of its first blocks of errors
	Spread float64           `json:"spread"`
	Rise   infer.PageHinkley `json:"rise"`
	Recent infer.ADWIN       `json:"recent"`
	PITs   []float64         `json:"pits,omitempty"`
	Errors [2]float64        `json:"errors"`          // of the model and of the rules, faded over a day
	Worse  int               `json:"worse,omitempty"` // steps in a row by now in which it was worse than rules
	Lately [2]float64        `json:"lately"`          // as Errors, faded over hours
	// Stretch is ln of how much wider its intervals are made; Misses what they missed.
	Stretch float64 `json:"stretch,omitempty"`
	Misses  Misses  `json:"misses,omitzero"`
	// Wealth is ln of what bets on the shadow have come to, one for each stake; Block is
	// the comparison under way.
	Wealth [len(stakes)]float64 `json:"wealth"`
	Block  [2]float64           `json:"block"`
	InRow  int                  `json:"in_row"`
}

// stakes of the bets on a shadow: shares of the wealth.
var stakes = [3]float64{0.1, 0.25, 0.5}

const (
	maxChanges    = 100
	miscalibrated = 1e-4 // p-value of equal bins below which coverage is believed to be off
)

// NewCare begins with a version, or with ModelRules.
func NewCare(version string) Care { return Care{Active: version}.fresh(version) }

// fresh forgets what was measured of another version.
func (c Care) fresh(version string) Care {
	return Care{Active: version, Past: c.Past, Rise: infer.DefaultPageHinkley()}
}

// Propose lets a version run beside the one that decides. What was bet on another is void.
func (c Care) Propose(version string) Care {
	c.Shadow, c.Wealth, c.Block, c.InRow = version, [len(stakes)]float64{}, [2]float64{}, 0
	return c
}

// Rollback makes an earlier version, or the rules, decide again: a person said so.
func (c Care) Rollback(version, who string, now time.Time) Care {
	return c.change(ModelChange{Time: now.UTC(), To: version, Reason: who + " rolled it back"})
}

func (c Care) change(m ModelChange) Care {
	m.From = c.Active
	c.Past = append(slices.Clone(c.Past), m)
	c.Past = c.Past[max(0, len(c.Past)-maxChanges):]
	return c.fresh(m.To)
}

// Step takes one more step of the world in. It returns a change if the version that
// decides is another from now on:
//
//   - to the rules, as soon as the model's errors have risen for good (Page-Hinkley), bets
//     that its 80 % intervals miss too much have won, they do not hold about 80 % of a
//     week, or it was worse than repeating the last season for a day without a break;
//   - to the shadow, when bets that it errs less than who decides have multiplied a stake
//     by 1/Alpha: by Ville's inequality that happens to a version that is no better with a
//     probability of at most Alpha, however often it is looked at.
//
// A step that is not a number is passed over.
func (c Care) Step(cfg CareConfig, s Came, now time.Time) (Care, *ModelChange) {
	if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
		return c, nil
	}
	active := s.Active
	if c.Active == ModelRules {
		active = s.Rules
	}
	if why, recent := c.watch(cfg, s); why != "" {
		c = c.change(ModelChange{Time: now.UTC(), To: ModelRules, Reason: why, Recent: recent})
		return c, &c.Past[len(c.Past)-1]
	}
	if c.Shadow == "" || math.IsNaN(s.Shadow) || math.IsNaN(active) {
		return c, nil
	}
	if c.bet(cfg, math.Abs(s.Value-active), math.Abs(s.Value-s.Shadow)) {
		c = c.change(ModelChange{Time: now.UTC(), To: c.Shadow,
			Reason: fmt.Sprintf("version %s errs less than %s on what neither had seen: evidence of %.0f to 1", c.Shadow, c.Active, 1/cfg.Alpha)})
		return c, &c.Past[len(c.Past)-1]
	}
	return c, nil
}

// watch says why the model may no longer decide, and how many steps of the past are like now.
func (c *Care) watch(cfg CareConfig, s Came) (why string, recent int) {
	if c.Active == ModelRules || math.IsNaN(s.Active) || math.IsNaN(s.Rules) {
		return "", 0
	}
	c.Steps++
	err := math.Abs(s.Value - s.Active)
	fade := math.Exp2(-2 / float64(cfg.Day))
	c.Errors = [2]float64{c.Errors[0]*fade + err, c.Errors[1]*fade + math.Abs(s.Value-s.Rules)}
	c.lately(cfg, err, math.Abs(s.Value-s.Rules))
	if s.Width > 0 {
		err /= s.Width
	}
	risen, level, n := c.rises(cfg, err)
	if risen {
		return fmt.Sprintf("its errors have risen: %.2g standard deviations above what they were, over the last %d steps", level, n), n
	}
	if c.Steps <= cfg.Warm {
		n = c.Steps
	}
	skill := 1 - c.Errors[0]/(c.Errors[1]+1e-300)
	if c.Worse++; c.Steps < cfg.Day || skill >= cfg.MinSkill {
		c.Worse = 0
	}
	if c.Worse >= max(cfg.Worse, 1) {
		return fmt.Sprintf("it was worse than rules over its last steps: skill %.2f", skill), n
	}
	if why := c.covers(cfg, s.PIT); why != "" {
		return why, n
	}
	// One step of a block, each time another: neighbours err alike and say it once.
	if block := c.Steps / cfg.Block; c.Steps%cfg.Block == block*5%cfg.Block {
		c.PITs = append(slices.Clone(c.PITs[max(0, len(c.PITs)-cfg.Window+1):]), min(max(s.PIT, 0), 1))
	}
	if len(c.PITs) < cfg.Window {
		return "", 0
	}
	cal, _ := infer.Calibrate(c.PITs) // the values were clamped
	if (cal.Cover80 < cfg.MinCover || cal.Cover80 > cfg.MaxCover) && cal.ChiP < miscalibrated {
		return fmt.Sprintf("its 80 %% intervals held %.0f %% of %d steps", 100*cal.Cover80, cal.N), n
	}
	return "", 0
}

// rises takes an error in and reports, at the end of each block, whether the means of
// blocks have risen for good, by how much, and for how many steps they have been alike.
func (c *Care) rises(cfg CareConfig, err float64) (risen bool, level float64, steps int) {
	c.Run, c.InRun = c.Run+err, c.InRun+1
	if c.InRun < cfg.Block {
		n, level := c.Recent.Window()
		return false, level, int(n) * cfg.Block
	}
	err = c.Run / float64(cfg.Block)
	c.Run, c.InRun = 0, 0
	blocks, warm := c.Steps/cfg.Block, max(cfg.Warm/cfg.Block, 2)
	if blocks <= warm {
		d := err - c.Mean
		c.Mean += d / float64(blocks)
		c.Spread += d * (err - c.Mean)
		return false, 0, c.Steps
	}
	spread := math.Sqrt(c.Spread/float64(warm-1)) + 1e-12*(1+c.Mean)
	z := min(max((err-c.Mean)/spread, -10), 10) // one wild error is no drift
	c.Rise.Slack = cfg.Slack
	c.Rise, risen = c.Rise.Add(z)
	c.Recent, _ = c.Recent.Add(z)
	n, level := c.Recent.Window()
	if risen { // the window may not have been cut yet
		n = min(n, c.Rise.Since)
	}
	return risen, level, int(n) * cfg.Block
}

// bet stakes on the shadow's next block and reports whether the evidence suffices.
func (c *Care) bet(cfg CareConfig, active, shadow float64) bool {
	c.Block[0], c.Block[1], c.InRow = c.Block[0]+active, c.Block[1]+shadow, c.InRow+1
	if c.InRow < cfg.Block {
		return false
	}
	d := 0.0
	if all := c.Block[0] + c.Block[1]; all > 0 {
		d = (c.Block[0] - c.Block[1]) / all
	}
	c.Block, c.InRow = [2]float64{}, 0
	for i, stake := range stakes {
		c.Wealth[i] += math.Log1p(stake * d)
	}
	return c.Evidence() >= 1/cfg.Alpha
}

// Evidence is what a stake of one on the shadow has become: that it errs less than who
// decides, this many to one. 1 without a shadow.
func (c Care) Evidence() (wealth float64) {
	for _, w := range c.Wealth {
		wealth += math.Exp(min(w, 100)) / float64(len(stakes))
	}
	return wealth
}
