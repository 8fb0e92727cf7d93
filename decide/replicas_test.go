//go:build !race

package decide_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

// fleet is a service of which the old version has replicas and the new one the
// traffic that one of them has. Requests of a second come to all of them alike.
type fleet struct {
	replicas int
	each     int                           // requests of each, and of the new version, in a second
	weather  func(random *rand.Rand) []int // bad requests of each in a second, the new version's last
	known    *decide.Indicator             // what the past says, if anything is known of it
}

func (f fleet) plan(told bool) decide.Plan {
	p := decide.NewPlan()
	p.Name, p.Service, p.Canary, p.Control = "shop", "shop", "v2", "v1"
	p.Steps, p.MinDuration, p.Horizon, p.OnHorizon = []int{20, 100}, 0, 20*time.Minute, decide.HorizonAbort
	p.Indicators = []decide.Indicator{{Name: "errors", Weight: 1, Required: true, Replicas: told}}
	return p
}

// calibrated is f with what an hour of the old version's past says of its replicas.
func (f fleet) calibrated(t *testing.T) fleet {
	t.Helper()
	random := rand.New(rand.NewPCG(7, 7))
	var history [][]assay.Reading
	for n := range 60 {
		bad := make([]int, f.replicas)
		for range 60 {
			for i, b := range f.weather(random)[:f.replicas] {
				bad[i] += b
			}
		}
		from := time.Date(2026, 11, 1, 11, n, 0, 0, time.UTC)
		var row []assay.Reading
		for _, b := range bad {
			row = append(row, assay.Reading{Service: "shop", Indicator: "errors", Version: "v1", Good: uint64(60*f.each - b), Total: uint64(60 * f.each),
				Start: from, End: from.Add(time.Minute), EventTime: from, Ingested: from, Completeness: 1})
		}
		history = append(history, row)
	}
	ind, err := decide.Calibrate(f.plan(true), "errors", history, decide.Draws{Seed: 1, Next: random.Float64})
	if err != nil {
		t.Fatal(err)
	}
	f.known = &ind
	return f
}

// oneStep runs a rollout's first step until something else than hold is decided, and returns
// that and how many requests the new version had; told says whether replicas are told apart.
func (f fleet) oneStep(t *testing.T, seed uint64, told bool) (assay.Decision, uint64) {
	t.Helper()
	p := f.plan(told)
	if f.known != nil {
		p.Indicators[0] = *f.known
	}
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	s, err := decide.Begin(p, now)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(seed, 1))
	requests := uint64(0)
	for {
		from := now
		now = now.Add(time.Second)
		bad := f.weather(random)
		of := func(version string, bad, total int) assay.Reading {
			return assay.Reading{Service: "shop", Indicator: "errors", Version: version, Good: uint64(total - bad), Total: uint64(total),
				Start: from, End: now, EventTime: now, Ingested: now, Completeness: 1}
		}
		all := 0
		var replicas []assay.Replica
		for i, n := range bad[:f.replicas] {
			all += n
			replicas = append(replicas, assay.Replica{Name: fmt.Sprint("pod-", i), Good: uint64(f.each - n), Total: uint64(f.each)})
		}
		control := of("v1", all, f.each*f.replicas)
		if told {
			control.Replicas = replicas
		}
		requests += uint64(f.each)
		d, next, err := decide.Next(p, s, []assay.Reading{of("v2", bad[f.replicas], f.each), control}, func(assay.Action) []assay.GuardVerdict { return nil }, now)
		if err != nil {
			t.Fatal(err)
		}
		if s = next; d.Action.Kind != assay.ActionHold {
			return d, requests
		}
	}
}

func binomial(random *rand.Rand, n int, p float64) (k int) {
	for range n {
		if random.Float64() < p {
			k++
		}
	}
	return k
}

// weather is how a service whose base share of requests fails has its bad days: a share of its
// seconds hits all of it, and of each replica's seconds a share hits that one alone.
type weather struct {
	base                 float64
	incidents, incident  float64 // how often, and what share of requests fails then
	bursts, burst, worse float64 // worse is how many times as often the new version's requests fail
}

func (w weather) draw(replicas, each int) func(*rand.Rand) []int {
	return func(random *rand.Rand) []int {
		shared, out := w.base, make([]int, replicas+1)
		if random.Float64() < w.incidents {
			shared = w.incident
		}
		for i := range out {
			p := shared
			if random.Float64() < w.bursts {
				p += w.burst
			}
			if i == replicas && w.worse > 0 {
				p *= w.worse
			}
			out[i] = binomial(random, each, min(p, 1))
		}
		return out
	}
}

// What hits all replicas at once hits the new version as well, so that the comparison knows of
// it; without replicas to tell it from bursts that hit one version alone, it is taken for these.
func TestWhatHitsAllReplicasDelaysNobodyWhoTellsThemApart(t *testing.T) {
	const runs = 200
	for _, c := range []struct {
		worse float64
		want  assay.ActionKind
		wrong int // how many runs may come out otherwise, of runs
	}{{1, assay.ActionFinish, runs / 100}, {3, assay.ActionAbort, runs / 20}} {
		f := fleet{replicas: 4, each: 100}
		f.weather = weather{base: 0.02, incidents: 0.04, incident: 0.3, worse: c.worse}.draw(f.replicas, f.each)
		var with, without uint64
		wrong := 0
		for seed := range uint64(runs) {
			d, n := f.oneStep(t, seed, true)
			if d.Action.Kind != c.want {
				wrong++
			}
			with += n
			_, n = f.oneStep(t, seed, false)
			without += n
		}
		t.Logf("%v times worse: %d of %d not %s; requests until then: %d where replicas are told apart, %d where they are not", c.worse, wrong, runs, c.want, with/runs, without/runs)
		if wrong > c.wrong {
			t.Errorf("%v times worse: %d of %d rollouts did not %s", c.worse, wrong, runs, c.want)
		}
		if c.worse == 1 && with*5 > without {
			t.Errorf("%d requests with replicas and %d without: fewer than five times as many", with/runs, without/runs)
		}
	}
}

// Bursts that hit one replica and not the others may as well hit the new version alone: they
// are what its evidence is divided by, and no reason to abort a version that is no worse. A
// version that fails twice as often, the plan's margin, is shipped no more often than the plan
// says.
func TestBurstsOfSingleReplicasAreLearnedFromHowTheseDiffer(t *testing.T) {
	const runs = 1000
	for _, w := range []weather{
		{base: 0.02}, {base: 0.01, bursts: 0.05, burst: 0.1}, {base: 0.01, bursts: 0.2, burst: 0.05},
		{base: 0.02, incidents: 0.04, incident: 0.3}, {base: 0.01, bursts: 0.05, burst: 0.1, incidents: 0.04, incident: 0.3},
	} {
		f := fleet{replicas: 4, each: 100}
		f.weather = w.draw(f.replicas, f.each)
		f = f.calibrated(t)
		aborts, shipped, basis := 0, 0, ""
		for seed := range uint64(runs) {
			d, _ := f.oneStep(t, seed, true)
			if d.Action.Kind == assay.ActionAbort && d.Harm >= d.AbortAt {
				aborts++
			}
			if d.Tests[0].Dispersion > 1 {
				basis = d.Tests[0].Basis
			}
			worse := f
			at := w
			at.worse = 2
			worse.weather = at.draw(f.replicas, f.each)
			if d, _ := worse.oneStep(t, seed, true); d.Action.Kind == assay.ActionFinish {
				shipped++
			}
		}
		t.Logf("%+v: %d of %d aborted, at the margin %d shipped; %s", w, aborts, runs, shipped, basis)
		if float64(aborts) > atMost(runs, 0.01) || float64(shipped) > atMost(runs, 0.05) {
			t.Errorf("%+v: of %d rollouts %d of a version that is no worse were aborted, more than 1 %%, or %d of one at the margin were shipped, more than 5 %%", w, runs, aborts, shipped)
		}
		if w.bursts > 0 && !strings.Contains(basis, "side by side") {
			t.Errorf("%+v: it says %q", w, basis)
		}
	}
}

// atMost is how many of so many runs come out wrong at a rate, and 2.6 standard errors.
func atMost(runs, rate float64) float64 { return runs*rate + 2.6*math.Sqrt(runs*rate*(1-rate)) }

// Replicas that cannot be parts of a reading are refused, and nothing is decided.
func TestReplicasThatCannotBeAreRefused(t *testing.T) {
	p := fleet{}.plan(true)
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	s, err := decide.Begin(p, now)
	if err != nil {
		t.Fatal(err)
	}
	many := make([]assay.Replica, assay.MaxReplicas+1)
	for i := range many {
		many[i].Name = fmt.Sprintf("%03d", i)
	}
	for want, replicas := range map[string][]assay.Replica{
		"17 replicas":      many,
		"does not come":    {{Name: "b"}, {Name: "a"}},
		"after \"a\"":      {{Name: "a"}, {Name: "a"}},
		"3 good of 2":      {{Name: "a", Good: 3, Total: 2}},
		"bucket 0 has":     {{Name: "a", Good: 1, Total: 1, Buckets: []assay.Bucket{{LE: 1, Count: 2}}}},
		"class timeout of": {{Name: "a", Total: 1, Classes: []assay.Class{{Name: "timeout", Count: 2}}}},
	} {
		r := assay.Reading{Service: "shop", Indicator: "errors", Version: "v1", Good: 9, Total: 10, Replicas: replicas, Start: now, End: now.Add(time.Second), Completeness: 1}
		_, _, err := decide.Next(p, s, []assay.Reading{r}, func(assay.Action) []assay.GuardVerdict { return nil }, r.End)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	p.Certainty = assay.Exact
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "an exact plan learns nothing of replicas") {
		t.Errorf("an exact plan with replicas: %v", err)
	}
}

// A replica that goes is no longer compared, and what was learned stays: what one had counted
// is not added to what another one counts.
func TestReplicasComeAndGo(t *testing.T) {
	p := decide.NewPlan()
	p.Name, p.Service, p.Canary, p.Control = "shop", "shop", "v2", "v1"
	p.Indicators = []decide.Indicator{{Name: "errors", Weight: 1, Required: true, Replicas: true}}
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	s, err := decide.Begin(p, now)
	if err != nil {
		t.Fatal(err)
	}
	terms := uint64(0)
	for i, names := range [][]string{{"a", "b"}, {"a", "b"}, {"a", "b", "c"}, {"b", "c"}, {"c"}, nil, {"c", "d"}} {
		from := now
		now = now.Add(time.Second)
		of := func(version string, bad, total uint64) assay.Reading {
			return assay.Reading{Service: "shop", Indicator: "errors", Version: version, Good: total - bad, Total: total, Start: from, End: now, EventTime: now, Ingested: now, Completeness: 1}
		}
		control := of("v1", 20, 2000)
		for n, name := range names {
			control.Replicas = append(control.Replicas, assay.Replica{Name: name, Good: 490 - uint64(n), Total: 500})
		}
		_, next, err := decide.Next(p, s, []assay.Reading{of("v2", 2, 200), control}, func(assay.Action) []assay.GuardVerdict { return nil }, now)
		if err != nil {
			t.Fatal(err)
		}
		w := next.Watches[0]
		if len(names) < 2 {
			names = nil
		}
		scale := w.Bursts[0].Learned.Scales[0]
		if !slices.Equal(w.Replicas, names) || scale.Terms < terms || len(names) >= 2 && scale.Terms != terms+1 || len(scale.Block) > 0 && len(scale.Block) != max(1, len(names)) {
			t.Errorf("slot %d: compared %v, learned from %d terms after %d, %d arms are added up", i, w.Replicas, scale.Terms, terms, len(scale.Block))
		}
		terms, s = scale.Terms, next
	}
}
