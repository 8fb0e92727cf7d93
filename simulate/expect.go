package simulate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/internal/strict"
)

// Expect is what must be true of the controller under test with every seed. What is
// left out is not asked for.
type Expect struct {
	// MaxBadShare is the greatest share of legitimate requests without a good answer: failed, slow or dropped.
	MaxBadShare *float64 `json:"maxBadShare,omitempty"`
	// MaxHarmShare is the same, weighted by the flows' weights.
	MaxHarmShare *float64 `json:"maxHarmShare,omitempty"`
	// MaxDroppedShare is the greatest share of legitimate requests that were dropped.
	MaxDroppedShare *float64 `json:"maxDroppedShare,omitempty"`
	// CriticalDropped is how many requests of critical flows may be dropped.
	CriticalDropped *int `json:"criticalDropped,omitempty"`
	// MaxTogglesPerHour is how often one lever may change its direction within any hour.
	MaxTogglesPerHour *int `json:"maxTogglesPerHour,omitempty"`
	// MaxMoves is how many moves there may be.
	MaxMoves *int `json:"maxMoves,omitempty"`
	// DetectedWithin is how soon after the first fault something must be done.
	DetectedWithin *simtest.Duration `json:"detectedWithin,omitempty"`
	// RestoredWithin is how soon after the first fault the share of bad requests must be small again for three minutes.
	RestoredWithin *simtest.Duration `json:"restoredWithin,omitempty"`
	// NoActionDuring are kinds of faults during which nothing may be moved.
	NoActionDuring []simtest.FaultKind `json:"noActionDuring,omitempty"`
	// MaxSpend is the greatest spend of one day.
	MaxSpend *float64 `json:"maxSpend,omitempty"`
	// MaxWaiting is how many requests may wait at a time.
	MaxWaiting *int `json:"maxWaiting,omitempty"`
	// MaxRegret is the greatest loss above the oracle's, as a share of the oracle's, in the mean of all seeds.
	MaxRegret *float64 `json:"maxRegret,omitempty"`
	// BetterThan are controllers whose loss must be greater, in the mean of all seeds.
	BetterThan []string `json:"betterThan,omitempty"`
	// Ends is where levers must stand at the end.
	Ends []End `json:"ends,omitempty"`
}

// End is where a lever must stand.
type End struct {
	// Service has the lever.
	Service string `json:"service"`
	// Lever is one of those of actions, for example share.
	Lever assay.Lever `json:"lever"`
	// Scope is the region, tenant, class or version.
	Scope string `json:"scope,omitempty"`
	// AtLeast is the least value.
	AtLeast *float64 `json:"atLeast,omitempty"`
	// AtMost is the greatest value.
	AtMost *float64 `json:"atMost,omitempty"`
}

func (e Expect) check(at func(string, string, ...any) error, spec Spec) error {
	for name, v := range map[string]*float64{"maxBadShare": e.MaxBadShare, "maxHarmShare": e.MaxHarmShare, "maxDroppedShare": e.MaxDroppedShare} {
		if v != nil && !(*v >= 0 && *v <= 1) {
			return at("expect."+name, "%v is not a share from 0 to 1", *v)
		}
	}
	for i, k := range e.NoActionDuring {
		if !slices.Contains(simtest.FaultKinds(), string(k)) {
			return at("expect.noActionDuring."+strconv.Itoa(i), "%s", strict.OneOf(string(k), simtest.FaultKinds()))
		}
	}
	for i, end := range e.Ends {
		where := "expect.ends." + strconv.Itoa(i)
		if !slices.Contains(levers, string(end.Lever)) {
			return at(where+".lever", "%s", strict.OneOf(string(end.Lever), levers))
		}
		if end.AtLeast == nil && end.AtMost == nil {
			return at(where, "neither atLeast nor atMost")
		}
	}
	for i, name := range e.BetterThan {
		known := []string{"nothing"}
		for _, c := range spec.Against {
			known = append(known, c.Name)
		}
		if !slices.Contains(known, name) {
			return at("expect.betterThan."+strconv.Itoa(i), "%s", strict.OneOf(name, known))
		}
	}
	if e.MaxRegret != nil && spec.Oracle == nil {
		return at("expect.maxRegret", "there is no oracle to compare with; add one")
	}
	return nil
}

// Check is one expectation and whether it held.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Words say what was found, of the worst seed.
	Words string `json:"words"`
}

// judge says for one run what held.
func (e Expect) judge(r Run) (out []Check) {
	most := func(name string, limit *float64, got float64, unit string) {
		if limit != nil {
			out = append(out, Check{name, got <= *limit, fmt.Sprintf("%s%s, at most %s%s", num(got), unit, num(*limit), unit)})
		}
	}
	count := func(name string, limit *int, got int) {
		if limit != nil {
			out = append(out, Check{name, got <= *limit, fmt.Sprintf("%d, at most %d", got, *limit)})
		}
	}
	within := func(name string, limit *simtest.Duration, got *float64) {
		switch {
		case limit == nil:
		case got == nil:
			out = append(out, Check{name, false, fmt.Sprintf("never, within %s", limit.D())})
		default:
			d := time.Duration(*got * float64(time.Second)).Round(time.Second)
			out = append(out, Check{name, d <= limit.D(), fmt.Sprintf("%s, within %s", d, limit.D())})
		}
	}
	percent := func(v *float64) *float64 {
		if v == nil {
			return nil
		}
		return new(*v * 100)
	}
	most("maxBadShare", percent(e.MaxBadShare), 100*r.BadShare, " %")
	most("maxHarmShare", percent(e.MaxHarmShare), 100*r.HarmShare, " %")
	most("maxDroppedShare", percent(e.MaxDroppedShare), 100*r.DroppedShare, " %")
	count("criticalDropped", e.CriticalDropped, r.CriticalDropped)
	count("maxTogglesPerHour", e.MaxTogglesPerHour, r.Toggles)
	count("maxMoves", e.MaxMoves, r.Moves)
	within("detectedWithin", e.DetectedWithin, r.Detected)
	within("restoredWithin", e.RestoredWithin, r.Restored)
	for _, k := range e.NoActionDuring {
		count("noActionDuring "+string(k), new(int), r.During[k])
	}
	most("maxSpend", e.MaxSpend, r.Spend, "")
	count("maxWaiting", e.MaxWaiting, r.Waiting)
	for _, end := range e.Ends {
		out = append(out, end.judge(r))
	}
	return out
}

func (e End) judge(r Run) Check {
	target := e.Service + " " + assay.Action{Lever: e.Lever, Scope: e.Scope}.Target()
	got, ok := r.ends[target]
	c := Check{Name: "ends " + target, OK: ok, Words: "no such lever"}
	if !ok {
		return c
	}
	c.Words = num(got)
	if e.AtLeast != nil {
		c.OK = c.OK && got >= *e.AtLeast
		c.Words += ", at least " + num(*e.AtLeast)
	}
	if e.AtMost != nil {
		c.OK = c.OK && got <= *e.AtMost
		c.Words += ", at most " + num(*e.AtMost)
	}
	return c
}

// num writes a number for people.
func num(v float64) string {
	switch a := math.Abs(v); {
	case math.IsInf(v, 0):
		return "no end"
	case a >= 1000 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
