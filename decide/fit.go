package decide

import (
	"fmt"
	"math"
)

// longest is ln of the most that intervals are stretched by: what needs more describes
// nothing, and bets on its misses end it.
const longest = 2

// aimed is the share of 80 % intervals that may be missed before they are stretched. It is
// a little more than a fifth, so that chance alone stretches them seldom.
const aimed = 0.25

// tooMany is the share of 80 % intervals missed above which bets against them win.
const tooMany = 0.3

// wagers are the stakes of the bets that more than tooMany are missed.
var wagers = [4]float64{0.25, 0.5, 1, 1.6}

// Misses is what came outside a model's 80 % intervals lately.
type Misses struct {
	Run float64 `json:"run"` // in the block under way
	// Wealth is ln of what each wager has come to since it was last nothing.
	Wealth [len(wagers)]float64 `json:"wealth"`
	Steps  int                  `json:"steps"` // since all were
	Count  float64              `json:"count"` // missed in those
}

// Stretched is the factor by which the model's intervals are to be wider than it says, at
// least 1: after a break its own past does not know yet how wrong it is (conformal
// inference that adapts). Owners make it part of what they forecast.
func (c Care) Stretched() float64 { return math.Exp(c.Stretch) }

// Doubt says why no action should rest on the model now, "" if it may. Unlike a demotion
// it passes by itself: the model goes on deciding, and is believed again when it has been
// better than rules for some hours.
func (c Care) Doubt(cfg CareConfig) string {
	if cfg.Doubt == 0 || c.Active == ModelRules || c.Steps < cfg.Doubt {
		return ""
	}
	if skill := 1 - c.Lately[0]/(c.Lately[1]+1e-300); skill < cfg.MinSkill {
		return fmt.Sprintf("lately it errs more than repeating the last season (skill %.2f)", skill)
	}
	return ""
}

// lately takes in how far the model and the rules were off.
func (c *Care) lately(cfg CareConfig, model, rules float64) {
	if cfg.Doubt > 0 {
		fade := math.Exp2(-1 / float64(cfg.Doubt))
		c.Lately = [2]float64{c.Lately[0]*fade + model, c.Lately[1]*fade + rules}
	}
}

// covers stretches intervals that miss too much, and bets block by block that they do: by
// the mean of a block, so that neighbours which err alike win no more than one. A wager
// that has come to nothing begins anew, so what was long ago does not speak for it. It
// returns why the model may no longer decide.
func (c *Care) covers(cfg CareConfig, pit float64) string {
	missed := 0.0
	if pit < 0.1 || pit > 0.9 {
		missed = 1
	}
	c.Stretch = min(max(c.Stretch+cfg.Stretch*(missed-aimed), 0), longest)
	if cfg.Odds == 0 {
		return ""
	}
	m := &c.Misses
	m.Run, m.Count, m.Steps = m.Run+missed, m.Count+missed, m.Steps+1
	if c.Steps%cfg.Block != 0 {
		return ""
	}
	share, best := m.Run/float64(cfg.Block), 0.0
	m.Run = 0
	for i, w := range wagers {
		m.Wealth[i] = max(0, m.Wealth[i]+math.Log1p(w*(share-tooMany)))
		best = max(best, m.Wealth[i])
	}
	steps, count := m.Steps, m.Count
	if best == 0 {
		*m = Misses{}
	}
	if best < math.Log(cfg.Odds) {
		return ""
	}
	return fmt.Sprintf("its 80 %% intervals held %.0f %% of %d steps, though stretched %.1f times: evidence of %.0f to 1", 100*(1-count/float64(steps)), steps, c.Stretched(), cfg.Odds)
}
