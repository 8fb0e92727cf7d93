package decide_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

func TestAnOutcomeIsJudgedByWhatTheActionWasTakenFor(t *testing.T) {
	abort, finish := assay.Action{Kind: assay.ActionAbort}, assay.Action{Kind: assay.ActionFinish}
	amount := func(of, to float64) decide.Amount { return decide.Amount{Of: of, To: to} }
	queries := decide.Indicator{Name: "queries", Kind: decide.KindCount}
	orders := decide.Indicator{Name: "orders", Kind: decide.KindCount, Less: true}
	restarts := decide.Indicator{Name: "restarts", Kind: decide.KindCount, PerTime: true}
	basket := decide.Indicator{Name: "basket", Kind: decide.KindValue, Max: 200, Less: true}
	heap := decide.Indicator{Name: "heap", Kind: decide.KindGauge, Min: 100, Max: 1100}
	bursts := queries
	bursts.Dispersion = 400
	const hour = float64(time.Hour / time.Millisecond)
	for name, tc := range map[string]struct {
		of            decide.Indicator
		bound         float64
		before, after decide.Amount
		action        assay.Action
		want          assay.Effect
		change        float64
		words         string
	}{
		"queries that are half of what they were": {queries, 0, amount(6000, 1000), amount(3000, 1000), abort, assay.EffectHelped, -3, "queries: 3 per request since, 6 per request with the new version: -3, 99 % between -3.25 and -2.76"},
		"queries that come in bursts":             {bursts, 0, amount(6000, 1000), amount(3000, 1000), abort, assay.EffectInconclusive, -3, ""},
		"queries that are more than ever":         {queries, 0, amount(3000, 1000), amount(6000, 1000), abort, assay.EffectHarmed, 3, ""},
		"orders that came back":                   {orders, 0, amount(100, 10000), amount(300, 10000), abort, assay.EffectHelped, 0.02, "orders: 0.03 per request since, 0.01 per request with the new version: +0.02"},
		"orders that went away":                   {orders, 0, amount(300, 10000), amount(100, 10000), abort, assay.EffectHarmed, -0.02, ""},
		"orders after a finish":                   {orders, 0, amount(3000, 10000), amount(3000, 10000), finish, assay.EffectNone, 0, ""},
		"fewer than half of them after a finish":  {orders, 0, amount(3000, 10000), amount(1000, 10000), finish, assay.EffectHarmed, -0.2, "with the old version"},
		"restarts an hour of a replica":           {restarts, 0, amount(60, 2*hour), amount(1, 2*hour), abort, assay.EffectHelped, -29.5, "restarts: 0.5 per hour since, 30 per hour with the new version"},
		"a mean that is nearer to the best":       {basket, 0, amount(900, 1000), amount(500, 1000), abort, assay.EffectHelped, 80, "basket: 100 per request since, 20 per request with the new version: +80"},
		"a gauge that stands lower":               {heap, 0, amount(700, 1000), amount(100, 1000), abort, assay.EffectHelped, -600, "heap: 200 since, 800 with the new version: -600"},
		"a gauge that was seen a few times":       {heap, 0, amount(2.1, 3), amount(0.3, 3), abort, assay.EffectInconclusive, -600, ""},
		"requests above a bound":                  {decide.Indicator{Name: "latency", Bounds: []float64{0.1, 0.25}}, 0.25, amount(300, 1000), amount(100, 10000), abort, assay.EffectHelped, -0.29, "latency: 1.00 % of 10000 requests are above 0.25 s since, 30.00 % of 1000 were with the new version: -29.00 points"},
	} {
		t.Run(name, func(t *testing.T) {
			care := decide.Aftercare{Target: decide.Target{Indicator: tc.of, Bound: tc.bound}, Canary: tc.before, Control: tc.before, After: tc.after, Margin: 2}
			out := care.Judge(tc.action, start)
			if out.Effect != tc.want || !strings.Contains(out.Reason, tc.words) {
				t.Errorf("%s: %s; want %s: %s", out.Effect, out.Reason, tc.want, tc.words)
			}
			if math.Abs(*out.Change-tc.change) > 1e-9 || out.Interval[0] > *out.Change || out.Interval[1] < *out.Change {
				t.Errorf("changed by %v in %v, want %v", *out.Change, out.Interval, tc.change)
			}
		})
	}
}

func TestTheTargetIsWhatTheEvidenceOfHarmRestsOn(t *testing.T) {
	indicators := []decide.Indicator{
		{Name: "latency", Bounds: []float64{0.1, 0.25}},
		{Name: "errors", Classes: []string{"timeout", "broken"}},
		{Name: "queries", Kind: decide.KindCount},
	}
	tests := func(harm ...float64) (out []assay.TestValue) {
		for i, h := range harm {
			v := assay.TestValue{Harm: h, Weight: 0.2}
			if i < 2 {
				v.Bound = indicators[0].Bounds[i]
			}
			out = append(out, v)
		}
		return out
	}
	shown := func(eligible bool, harm ...float64) *assay.Decision {
		return &assay.Decision{Tests: tests(harm...), Candidates: []assay.Candidate{{Action: assay.Action{Kind: assay.ActionAbort}, Eligible: eligible}}}
	}
	for name, tc := range map[string]struct {
		d    *assay.Decision
		at   int
		want string
		over float64
	}{
		"a bound":                    {shown(true, 1, 9, 2, 2, 2), 0, "latency", 0.25},
		"a class of errors":          {shown(true, 1, 1, 2, 9, 2), 1, "errors", 0},
		"a count":                    {shown(true, 1, 1, 2, 2, 9), 2, "queries", 0},
		"a person, without evidence": {shown(false, 1, 1, 2, 2, 9), 1, "errors", 0},
		"a finish":                   {nil, 1, "errors", 0},
		"a decision without tests":   {shown(true), 1, "errors", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, at := decide.Targeted(indicators, tc.d)
			if at != tc.at || got.Indicator.Name != tc.want || got.Bound != tc.over {
				t.Errorf("%d: %s above %v, want %d: %s above %v", at, got.Indicator.Name, got.Bound, tc.at, tc.want, tc.over)
			}
		})
	}
	if _, at := decide.Targeted(nil, nil); at != 0 {
		t.Errorf("the place of no indicator is %d", at)
	}
	if got, _ := decide.Targeted(indicators[2:], nil); got.Indicator.Name != "queries" {
		t.Errorf("a plan that counts nothing else is judged by %q", got.Indicator.Name)
	}
}

func TestATargetAddsUpWhatItsTestCounts(t *testing.T) {
	r := assay.Reading{
		Version: "v2", Total: 100, Good: 90, Count: 250, Sum: 1000, Least: 110, Greatest: 300,
		Buckets: []assay.Bucket{{LE: 0.1, Count: 60}, {LE: 0.25, Count: 80}}, Classes: []assay.Class{{Name: "timeout", Count: 4}, {Name: "other", Count: 6}},
	}
	for name, tc := range map[string]struct {
		target decide.Target
		want   float64
	}{
		"bad requests":           {decide.Target{}, 10},
		"those of classes":       {decide.Target{Indicator: decide.Indicator{Classes: []string{"timeout"}}}, 4},
		"requests above a bound": {decide.Target{Bound: 0.25}, 20},
		"events":                 {decide.Target{Indicator: decide.Indicator{Kind: decide.KindCount}}, 250},
		"a value":                {decide.Target{Indicator: decide.Indicator{Kind: decide.KindValue, Max: 40}}, 25},
		"less of a value":        {decide.Target{Indicator: decide.Indicator{Kind: decide.KindValue, Max: 40, Less: true}}, 75},
		"a gauge":                {decide.Target{Indicator: decide.Indicator{Kind: decide.KindGauge, Min: 100, Max: 500}}, 2.5},
	} {
		t.Run(name, func(t *testing.T) {
			other := r
			other.Version = "v1"
			if got := tc.target.Total([]assay.Reading{r, r, other}, "v2"); math.Abs(got.Of-2*tc.want) > 1e-3 || got.To != 200 {
				t.Errorf("%+v, want %v of 200", got, 2*tc.want)
			}
			if got := tc.target.Total([]assay.Reading{r, r, other}, ""); math.Abs(got.Of-3*tc.want) > 1e-3 || got.To != 300 {
				t.Errorf("of all %+v, want %v of 300", got, 3*tc.want)
			}
		})
	}
	gone := r
	gone.Buckets = nil
	if got := (decide.Target{Bound: 0.25}).Total([]assay.Reading{gone}, ""); got != (decide.Amount{}) {
		t.Errorf("a reading without the bound counts %+v", got)
	}
}

func TestAPromotionIsHarmfulIfAnythingItWatchesIs(t *testing.T) {
	finish := assay.Action{Kind: assay.ActionFinish}
	amount := func(of, to float64) decide.Amount { return decide.Amount{Of: of, To: to} }
	care := func(i decide.Indicator, bound float64, was, is decide.Amount) decide.Aftercare {
		return decide.Aftercare{Target: decide.Target{Indicator: i, Bound: bound}, Control: was, After: is, Margin: 2}
	}
	errors := func(of float64) decide.Aftercare {
		return care(decide.Indicator{Name: "errors"}, 0, amount(100, 10000), amount(of, 10000))
	}
	latency := func(was, is float64) decide.Aftercare {
		return care(decide.Indicator{Name: "latency", Bounds: []float64{0.1}}, 0.1, amount(was, 10000), amount(is, 10000))
	}
	unseen := latency(100, 900)
	unseen.After = decide.Amount{}
	for name, tc := range map[string]struct {
		first  decide.Aftercare
		others []decide.Aftercare
		want   assay.Effect
		at     int
		words  string
	}{
		"nothing else is watched":                   {errors(100), nil, assay.EffectNone, 0, "99 %"},
		"nothing else is worse":                     {errors(100), []decide.Aftercare{latency(500, 520)}, assay.EffectNone, 0, "99 %"},
		"latency is":                                {errors(100), []decide.Aftercare{latency(100, 110), latency(500, 1500)}, assay.EffectHarmed, 2, "99.5 %"},
		"it is, and errors are fewer":               {errors(20), []decide.Aftercare{latency(500, 1500)}, assay.EffectHarmed, 1, "above 0.1 s"},
		"most are above the bound that halved them": {errors(100), []decide.Aftercare{latency(5000, 7500)}, assay.EffectHarmed, 1, "above 0.1 s"},
		"a few more are above it":                   {errors(100), []decide.Aftercare{latency(5000, 6000)}, assay.EffectNone, 0, ""},
		"errors are, and latency is":                {errors(500), []decide.Aftercare{latency(500, 1500)}, assay.EffectHarmed, 0, "bad since"},
		"latency was not seen":                      {errors(100), []decide.Aftercare{unseen}, assay.EffectNone, 0, ""},
		"by a little, with too few to say so":       {errors(100), []decide.Aftercare{latency(5, 14)}, assay.EffectNone, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			out, at := decide.JudgeAll(tc.first, tc.others, finish, start)
			if out.Effect != tc.want || at != tc.at || !strings.Contains(out.Reason, tc.words) {
				t.Errorf("%s by %d: %s", out.Effect, at, out.Reason)
			}
		})
	}
}

func TestWhatElseAPlanWatches(t *testing.T) {
	list := []decide.Indicator{
		{Name: "latency", Bounds: []float64{0.1, 0.25}}, {Name: "errors"}, {Name: "queries", Kind: decide.KindCount},
	}
	got := decide.Besides(list, 1)
	if len(got) != 3 || got[0].At != 0 || got[1].Bound != 0.25 || got[2].At != 2 || got[2].Indicator.Name != "queries" {
		t.Errorf("%+v", got)
	}
	if got := decide.Besides(list[1:2], 0); len(got) != 0 {
		t.Errorf("beside one there is %+v", got)
	}
}
