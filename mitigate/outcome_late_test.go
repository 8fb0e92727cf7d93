//go:build !race

package mitigate_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
)

// lateness is telemetry that is not there when an action's outcome is due, eight seconds after it.
type lateness struct {
	err    error         // what is spent cannot be read at all; nil if it can, and has a hole
	lasts  time.Duration // from the action on
	change time.Duration // after the action another version comes; 0 is never
	starts time.Duration // after the action the controller is started anew; 0 is never
	harms  bool          // the action makes what was not spent before; otherwise it ends trouble
}

// verdict of an action, and when it came.
type verdict struct {
	mitigate.JudgedPayload
	after time.Duration // the first action
}

// waits has a strategy act, twice because the load is more than one step allows, and its telemetry come late. It is looked at each second
// for four minutes.
func (l lateness) waits(t *testing.T) (b *board, out []verdict) {
	t.Helper()
	const usual, much = 2e-5, 2e-3
	noon := time.Date(2026, 11, 9, 12, 0, 0, 0, time.UTC)
	trouble := noon.Add(5 * time.Minute)
	var acted time.Time
	spent := func(at time.Time) float64 {
		works := !acted.IsZero() && at.Sub(acted) > 1500*time.Millisecond
		switch {
		case l.err == nil && works && b.now.Before(acted.Add(l.lasts)):
			return math.NaN()
		case l.harms && works, !l.harms && !works && at.After(trouble):
			return much * noise(at)
		}
		return usual * noise(at)
	}
	b = quick(t, spent)
	b.now = noon
	b.set("load", 150)
	for b.now.Before(trouble.Add(20 * time.Second)) {
		b.step(10 * time.Second)
	}
	was := b.at(assay.LeverReplicas)
	b.set("load", 600)
	for range 240 {
		b.step(time.Second)
		if acted.IsZero() && b.at(assay.LeverReplicas) > was {
			acted = b.now
		}
		since := b.now.Sub(acted)
		if b.late = nil; !acted.IsZero() && since < l.lasts {
			b.late = l.err
		}
		switch {
		case acted.IsZero():
		case since == l.change && l.change > 0:
			b.changes = []mitigate.Change{{Time: b.now, Version: "v7", Old: "v6"}}
		case since == l.starts && l.starts > 0:
			b.start(spent)
		}
	}
	for _, f := range b.facts(assay.FactMitigationJudged) {
		v := verdict{after: f.Time.Sub(acted)}
		if err := json.Unmarshal(f.Payload, &v.JudgedPayload); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	slices.SortStableFunc(out, func(x, y verdict) int { return cmp.Compare(x.Outcome.Action.Now, y.Outcome.Action.Now) }) // as they were taken
	return b, out
}

func TestATelemetryThatIsLateDelaysAVerdictAndDoesNotTakeItAway(t *testing.T) {
	lost := assay.Errorf(assay.CodeUnavailable, "the budget of checkout is not known: too much of its window is missing")
	for name, c := range map[string]struct {
		late   lateness
		want   assay.Effect
		within [2]time.Duration // that it comes, after the action
		says   string
	}{
		"it is there":                    {lateness{}, assay.EffectHelped, [2]time.Duration{8 * time.Second, 9 * time.Second}, ""},
		"a minute late":                  {lateness{err: lost, lasts: time.Minute}, assay.EffectHelped, [2]time.Duration{time.Minute, 62 * time.Second}, ""},
		"a minute late with the window":  {lateness{lasts: time.Minute}, assay.EffectHelped, [2]time.Duration{time.Minute, 62 * time.Second}, ""},
		"a minute late, of a harm":       {lateness{err: lost, lasts: time.Minute, harms: true}, assay.EffectHarmed, [2]time.Duration{time.Minute, 62 * time.Second}, ""},
		"a minute late, and started new": {lateness{err: lost, lasts: time.Minute, starts: 30 * time.Second}, assay.EffectHelped, [2]time.Duration{time.Minute, 62 * time.Second}, ""},
		"for longer than is waited for":  {lateness{err: lost, lasts: time.Hour}, assay.EffectInconclusive, [2]time.Duration{128 * time.Second, 130 * time.Second}, "the budget of checkout is not known"},
		"the window never comes":         {lateness{lasts: time.Hour}, assay.EffectInconclusive, [2]time.Duration{128 * time.Second, 130 * time.Second}, "of 5 steps after the action it is not known what was spent in 5"},
		"it can never be read":           {lateness{err: assay.Errorf(assay.CodeNotFound, "no objective checkout"), lasts: time.Hour}, assay.EffectInconclusive, [2]time.Duration{8 * time.Second, 9 * time.Second}, "no objective checkout"},
	} {
		t.Run(name, func(t *testing.T) {
			b, list := c.late.waits(t)
			if len(list) == 0 || list[0].Outcome.Effect != c.want || list[0].after < c.within[0] || list[0].after > c.within[1] {
				t.Fatalf("want %s within %v: %s", c.want, c.within, told(list))
			}
			first := list[0]
			if !strings.Contains(first.Outcome.Reason, c.says) || first.Seen.Placebos == 0 != (c.says != "") {
				t.Errorf("%s", told(list))
			}
			if waited := strings.Contains(first.Outcome.Reason, "it was asked for until 12:07:"); waited != (c.within[0] > 2*time.Minute) {
				t.Errorf("%s", told(list))
			}
			if s := b.step(time.Second); c.late.harms && !strings.Contains(strings.Join(s.Decision.Reasons, " "), "it is not done again before") {
				t.Errorf("it harmed, and the strategy says %v", s.Decision.Reasons)
			}
		})
	}
}

// What is done after the window is over does not make its effect another's, not while its telemetry is
// late, and is judged by itself. What is done in the window does, and then nothing is waited for: what
// comes late cannot tell whose effect it is.
func TestAnActionThatWaitsForItsTelemetryIsConfoundedOnlyByWhatFellIntoItsWindow(t *testing.T) {
	lost := assay.Errorf(assay.CodeUnavailable, "the budget of checkout is not known")
	for name, c := range map[string]struct {
		change time.Duration
		want   assay.Effect
		after  time.Duration
	}{
		"an action and a version after it": {20 * time.Second, assay.EffectHelped, time.Minute},
		"a version in it":                  {5 * time.Second, assay.EffectConfounded, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			_, list := lateness{err: lost, lasts: time.Minute, change: c.change}.waits(t)
			if len(list) != 2 || list[0].Outcome.Effect != c.want || list[0].after < c.after || list[0].after > c.after+2*time.Second {
				t.Fatalf("want %s after %s, and one more verdict: %s", c.want, c.after, told(list))
			}
			if next := list[1]; next.Outcome.Action.Now != list[0].Outcome.Action.Want || next.Outcome.Effect == assay.EffectConfounded != (c.change == 20*time.Second) {
				t.Errorf("the action after the window: %s", told(list))
			}
			if c.want == assay.EffectConfounded && (strings.Contains(list[0].Outcome.Reason, " was 0 ") || !strings.Contains(list[0].Outcome.Reason, "the budget of checkout is not known")) {
				t.Errorf("nothing was read, and it says %s", told(list))
			}
		})
	}
}

func told(list []verdict) string {
	var out strings.Builder
	for _, v := range list {
		fmt.Fprintf(&out, "\n%s: %s from %v to %v %s: %s", v.after, v.Outcome.Action.Kind, v.Outcome.Action.Now, v.Outcome.Action.Want, v.Outcome.Effect, v.Outcome.Reason)
	}
	return out.String()
}
