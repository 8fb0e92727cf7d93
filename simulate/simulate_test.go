package simulate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/testenv"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
	"assay.dev/assay/simulate"
	"pgregory.net/rapid"
)

const head = "apiVersion: assay.dev/v1alpha1\nkind: Scenario\nmetadata: {name: small}\nspec:\n"

// small is a world whose only service is overloaded from minute 5 to 15.
const small = head + `  duration: 30m
  seeds: 2
  world:
    services:
      - {name: shop, traffic: {rate: 100, events: [{at: 5m, for: 10m, factor: 4}]}, work: 40ms, replicas: 1, price: {replica: 1}}
`

func run(t *testing.T, fsys fstest.MapFS, text string, o simulate.Options) simulate.Result {
	t.Helper()
	if fsys == nil {
		fsys = fstest.MapFS{}
	}
	fsys["s.yaml"] = &fstest.MapFile{Data: []byte(text)}
	p, err := simulate.Load(fsys, "s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func row(t *testing.T, r simulate.Result, name string) simulate.Row {
	t.Helper()
	for _, row := range r.Rows {
		if row.Controller == name {
			return row
		}
	}
	t.Fatalf("no controller %s", name)
	return simulate.Row{}
}

func TestTheSameScenarioGivesTheSameBytes(t *testing.T) {
	data, err := os.ReadFile("../examples/scenarios/autoscaler-thrashing.scenario.yaml")
	if err != nil {
		t.Fatal(err)
	}
	once := func() []byte {
		p, err := simulate.Load(os.DirFS(".."), "examples/scenarios/autoscaler-thrashing.scenario.yaml")
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Run(t.Context(), simulate.Options{Seeds: 1})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if !bytes.Equal(once(), once()) {
		t.Errorf("two runs of %d bytes of scenario differ", len(data))
	}
}

func TestAnExpectationThatFailsSaysWhatWasFoundWithWhichSeed(t *testing.T) {
	r := run(t, nil, small+"  expect: {maxBadShare: 0.01, maxMoves: 0}\n  controller: {}\n", simulate.Options{First: 7})
	if r.OK || len(r.Checks) != 2 || r.Checks[0].OK || !strings.Contains(r.Checks[0].Words, "(seed 7)") || !r.Checks[1].OK {
		t.Errorf("%+v", r.Checks)
	}
	if a, b := r.Rows[0], row(t, r, "nothing"); a.Loss.Mean != b.Loss.Mean {
		t.Errorf("a controller without anything loses %v, doing nothing %v", a.Loss.Mean, b.Loss.Mean)
	}
}

func TestTheOracleLosesLessThanWhoeverKnowsLess(t *testing.T) {
	r := run(t, nil, small+"  oracle: {levers: [replicas]}\n  controller: {hpa: [{service: shop, max: 10}]}\n  expect: {maxRegret: 10}\n", simulate.Options{})
	oracle, hpa, nothing := row(t, r, "oracle"), r.Rows[0], row(t, r, "nothing")
	if !(oracle.Loss.Mean < hpa.Loss.Mean && hpa.Loss.Mean < nothing.Loss.Mean) || hpa.Regret == nil || hpa.Regret.Mean <= 0 {
		t.Errorf("oracle %v, hpa %v, nothing %v, regret %v", oracle.Loss.Mean, hpa.Loss.Mean, nothing.Loss.Mean, hpa.Regret)
	}
}

func TestStepsMoveLeversAtTheirTimes(t *testing.T) {
	r := run(t, nil, small+"  warmUp: 5m\n  controller: {steps: [{at: 1m, service: shop, lever: replicas, want: 4}]}\n  expect: {ends: [{service: shop, lever: replicas, atLeast: 4, atMost: 4}]}\n", simulate.Options{Seeds: 1})
	if !r.OK || len(r.Picture.Moves) != 1 || r.Picture.Moves[0].At != 60 || r.Picture.Moves[0].To != 4 {
		t.Errorf("%+v %+v", r.Checks, r.Picture.Moves)
	}
	if p := r.Picture; p.Stands[0] != 1 || p.Stands[len(p.Stands)-1] != 4 || len(p.Load) != len(p.Bad) || len(p.Load) != len(p.Stands) {
		t.Errorf("%+v", p)
	}
}

// divertAsking asks a person before it moves traffic.
func divertAsking(t *testing.T) fstest.MapFS {
	t.Helper()
	data, err := os.ReadFile("../examples/strategies/divert.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{"divert.yaml": {Data: bytes.Replace(data, []byte("level: act"), []byte("level: approve"), 1)}}
}

func TestAStrategyThatAsksActsOnlyWhenAPersonAnswers(t *testing.T) {
	world := head + `  duration: 40m
  world:
    regions: [{name: eu, share: 50}, {name: us, share: 30}, {name: asia, share: 20}]
    services: [{name: shop, traffic: {rate: 600}, work: 40ms, replicas: 10}]
    faults: [{kind: region-down, region: us, at: 10m, share: 0.5, factor: 5}]
  expect: {}
`
	silent := run(t, divertAsking(t), world+"  controller: {strategies: [divert.yaml]}\n", simulate.Options{Seeds: 1}).Rows[0].Runs[0]
	answered := run(t, divertAsking(t), world+"  controller: {strategies: [divert.yaml], approves: 2m}\n", simulate.Options{Seeds: 1}).Rows[0].Runs[0]
	if silent.Moves != 0 || answered.Moves == 0 || *answered.Detected < 120 {
		t.Errorf("without an answer %d moves, with one %d after %v s", silent.Moves, answered.Moves, answered.Detected)
	}
}

func TestNothingIsMovedWhileTelemetryIsSilent(t *testing.T) {
	r := run(t, divertAsking(t), head+`  duration: 40m
  world:
    regions: [{name: eu, share: 50}, {name: us, share: 30}, {name: asia, share: 20}]
    services: [{name: shop, traffic: {rate: 600}, work: 40ms, replicas: 10}]
    faults:
      - {kind: region-down, region: us, at: 11m, for: 10m, share: 0.5, factor: 5}
      - {kind: telemetry-loss, at: 10m, for: 12m, share: 1}
  controller: {strategies: [divert.yaml], approves: 1s}
  expect: {noActionDuring: [telemetry-loss]}
`, simulate.Options{Seeds: 1})
	if !r.OK {
		t.Errorf("%+v %+v", r.Checks, r.Picture.Moves)
	}
}

// What only the first source loses the second still tells: to those who have one.
func TestASecondSourceIsReadWhereOnlyTheFirstIsSilent(t *testing.T) {
	const (
		scale   = "apiVersion: assay.dev/v1alpha1\nkind: Strategy\nmetadata: {name: s}\nspec:\n  service: shop\n  level: act\n  signals: [{name: load, query: 'rate(app[1m])'%s}]\n  scale: {perReplica: 20, max: 60}\n"
		rollout = "apiVersion: assay.dev/v1alpha1\nkind: Rollout\nmetadata: {name: r}\nspec:\n  service: shop\n  maxAge: 1m\n  minDuration: 1m\n  horizon: 1h\n  onHorizon: abort\n  indicators:\n    - name: errors\n      bad: app_bad\n      total: app_total\n%s"
		world   = head + `  duration: 40m
  warmUp: 10m
  world:
    services: [{name: shop, traffic: {rate: 100, events: [{at: 15m, for: 20m, factor: 3}]}, work: 40ms, replicas: 8, versions: [{name: v1, share: 100, errors: 0.01}, {name: v2, share: 0, errors: 0.01}]}]
    faults: [{kind: telemetry-loss, at: 10m, for: 30m, share: 1, source: SOURCE}, {kind: bad-deploy, service: shop, version: v2, at: 12m, share: 0.1}]
  controller: {CONTROLLER}
  expect: {}
`
	)
	for name, c := range map[string]struct {
		controller, source string
		fallback           bool
		moves              bool // in the silence
	}{
		"a strategy with two":             {"strategies: [scale.yaml]", "first", true, true},
		"a strategy with one":             {"strategies: [scale.yaml]", "first", false, false},
		"a strategy, and both are silent": {"strategies: [scale.yaml]", `""`, true, false},
		"a rollout with two":              {"rollouts: [{file: r.yaml, canary: v2, control: v1, at: 8m}]", "first", true, true},
		"a rollout with one":              {"rollouts: [{file: r.yaml, canary: v2, control: v1, at: 8m}]", "first", false, false},
		"a rollout, and both are silent":  {"rollouts: [{file: r.yaml, canary: v2, control: v1, at: 8m}]", `""`, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			of, counts := "", ""
			if c.fallback {
				of, counts = ", fallback: 'rate(door[1m])'", "      fallback: {bad: door_bad, total: door_total}\n"
			}
			fsys := fstest.MapFS{"scale.yaml": {Data: fmt.Appendf(nil, scale, of)}, "r.yaml": {Data: fmt.Appendf(nil, rollout, counts)}}
			r := run(t, fsys, strings.NewReplacer("SOURCE", c.source, "CONTROLLER", c.controller).Replace(world), simulate.Options{Seeds: 1})
			moved := slices.ContainsFunc(r.Picture.Moves, func(m simulate.Move) bool { return m.At > 11*time.Minute.Seconds() })
			if moved != c.moves {
				t.Errorf("it moves in the silence: %t: %+v", moved, r.Picture.Moves)
			}
		})
	}
}

func TestBadScenariosAreRefusedWithPlaceAndWord(t *testing.T) {
	world := "  world: {services: [{name: shop, replicas: 1, traffic: {rate: 1}}]}\n"
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":         {head + "  duration: 1h\n  wrold: {}\n", `s.yaml:6:3: spec.wrold is not a known key (did you mean "world"?)`},
		"no duration":         {head + world, "needs a duration"},
		"no service":          {head + "  duration: 1h\n  world: {services: []}\n", "1 to 200 services"},
		"unknown lever":       {head + "  duration: 1h\n  controller: {steps: [{at: 1m, service: shop, lever: replica, want: 1}]}\n" + world, `did you mean "replicas"?`},
		"unknown fault":       {head + "  duration: 1h\n  world: {services: [{name: shop, traffic: {rate: 1}, replicas: 1}], faults: [{kind: reigon-down, at: 1m}]}\n", "reigon-down"},
		"unknown source":      {head + "  duration: 1h\n  world: {services: [{name: shop, traffic: {rate: 1}, replicas: 1}], faults: [{kind: telemetry-loss, at: 1m, share: 1, source: second}]}\n", `source "second" is not first of a telemetry-loss`},
		"unknown service":     {head + "  duration: 1h\n  controller: {hpa: [{service: shpo, max: 3}]}\n" + world, `service "shpo", which is not in the world`},
		"better than nobody":  {head + "  duration: 1h\n  expect: {betterThan: [hpa]}\n" + world, `"hpa" is not one of nothing`},
		"regret of nobody":    {head + "  duration: 1h\n  expect: {maxRegret: 0.1}\n" + world, "there is no oracle"},
		"a share of 200 %":    {head + "  duration: 1h\n  expect: {maxBadShare: 2}\n" + world, "not a share from 0 to 1"},
		"an endless run":      {head + "  duration: 900000h\n" + world, "steps"},
		"too many seeds":      {head + "  duration: 1h\n  seeds: 5000\n" + world, "want 1 to 1000"},
		"another kind":        {strings.Replace(head, "Scenario", "Gate", 1) + world, `"Gate" is not a Scenario`},
		"two documents":       {head + "  duration: 1h\n" + world + "---\nkind: Scenario\n", "2 documents"},
		"a number for a time": {head + "  duration: 5\n" + world, "duration"},
		"a missing file":      {head + "  duration: 1h\n  controller: {strategies: [no.yaml]}\n" + world, "no.yaml"},
		"a strategy elsewhere": {head + "  duration: 1h\n  controller: {strategies: [divert.yaml]}\n  world: {services: [{name: other, replicas: 1, traffic: {rate: 1}}]}\n",
			`moves service "shop", which is not in the world`},
		"a trace without numbers": {head + "  duration: 1h\n  traces: [{service: shop, file: t.csv}]\n" + world, `line 3: "x" is not a number`},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := divertAsking(t)
			fsys["t.csv"] = &fstest.MapFile{Data: []byte("time,n\n0,1\n1,x\n")}
			fsys["s.yaml"] = &fstest.MapFile{Data: []byte(c.text)}
			_, err := simulate.Load(fsys, "s.yaml")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "s.yaml") && !strings.Contains(err.Error(), ".yaml") {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			if e, ok := errors.AsType[*assay.Error](err); ok && e.Code != assay.CodeInvalid && e.Code != assay.CodeTooLarge {
				t.Errorf("code %s", e.Code)
			}
		})
	}
}

// TestTracesOfTheWorldCupRun plays a day of real traffic.
func TestTracesOfTheWorldCupRun(t *testing.T) {
	csv, err := os.ReadFile(testenv.Data(t, "requests/worldcup98_per_minute.csv"))
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, fstest.MapFS{"wc.csv": {Data: csv}}, head+`  duration: 6h
  world: {services: [{name: web, traffic: {rate: 300}, work: 40ms, replicas: 4, max: 40, price: {replica: 0.1}}]}
  traces: [{service: web, file: wc.csv, from: 60000, rows: 1440}]
  controller: {name: hpa, hpa: [{service: web, max: 40}]}
  expect: {}
`, simulate.Options{Seeds: 1})
	low, high := r.Picture.Load[0], r.Picture.Load[0]
	for _, v := range r.Picture.Load {
		low, high = min(low, v), max(high, v)
	}
	if high < 1.5*low || r.Rows[0].Moves.Mean == 0 {
		t.Errorf("the trace gives %v to %v requests/s and %v moves", low, high, r.Rows[0].Moves.Mean)
	}
}

// TestMoreLoadNeverMeansFewerReplicas holds the scaling law, from any memory of it,
// against a second one that sees more load.
func TestMoreLoadNeverMeansFewerReplicas(t *testing.T) {
	data, err := os.ReadFile("../examples/strategies/scale.yaml")
	if err != nil {
		t.Fatal(err)
	}
	res, err := policy.Parse("scale.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	s := mitigate.Of(res.Strategies[0])
	s.Spec.Scale.Forecast, s.Spec.Scale.Events = nil, nil
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
		replicas := float64(rapid.IntRange(2, 60).Draw(t, "replicas"))
		var state mitigate.State
		look := func(load float64) (float64, mitigate.State) {
			in := mitigate.Inputs{Burn: -1, Values: []mitigate.Value{{Name: "load", Value: load, Time: now, Completeness: 1}}, Settings: []mitigate.Setting{{Lever: assay.LeverReplicas, Now: replicas}}}
			d, next, err := mitigate.Next(s, state, in, nil, now)
			if err != nil {
				t.Fatal(err)
			}
			if d.Action.Kind.Changes() {
				return d.Action.Want, next.Applied(d.Action, now)
			}
			return replicas, next
		}
		for range rapid.IntRange(0, 20).Draw(t, "looks before") { // a past
			replicas, state = look(rapid.Float64Range(0, 3000).Draw(t, "load"))
			now = now.Add(time.Duration(rapid.IntRange(10, 600).Draw(t, "seconds")) * time.Second)
		}
		load := rapid.Float64Range(0, 3000).Draw(t, "load now")
		less, _ := look(load)
		more, _ := look(load + rapid.Float64Range(0, 1000).Draw(t, "more"))
		if more < less {
			t.Fatalf("%v replicas with a load of %v and %v with more", less, load, more)
		}
	})
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("../examples/scenarios/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(small))
	f.Add([]byte(head + "  duration: 1h\n  world: {services: [{name: a, versions: [{name: v, share: .nan}]}]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := simulate.Parse("f.yaml", data)
		if err != nil {
			if assay.CodeOf(err) == assay.CodeInternal {
				t.Fatal(err)
			}
			return
		}
		if s.Spec.Duration <= 0 || len(s.Spec.World.Services) == 0 {
			t.Fatalf("%+v", s.Spec)
		}
	})
}

// BenchmarkServiceHours prints how many virtual service-hours a minute brings on all
// processors, with ticks of 10 seconds and the strategies alone deciding at every tick.
func BenchmarkServiceHours(b *testing.B) {
	simulate.Batch() // as the command does
	for _, name := range []string{"autoscaler-thrashing", "event-burst", "regional-spike", "noisy-neighbour", "attack", "bad-release"} {
		b.Run(name, func(b *testing.B) {
			p, err := simulate.Load(os.DirFS(".."), "examples/scenarios/"+name+".scenario.yaml")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			hours, spent := 0.0, processor(b)
			for b.Loop() {
				h, err := p.Alone(b.Context(), 8)
				if err != nil {
					b.Fatal(err)
				}
				hours += h
			}
			b.ReportMetric(hours/b.Elapsed().Minutes(), "service-hours/min")
			b.ReportMetric(hours/(processor(b)-spent).Minutes(), "service-hours/cpu-min")
			b.ReportMetric(float64(len(p.Scenario().Spec.World.Services)), "services")
			b.ReportMetric(float64(len(p.Scenario().Spec.World.Regions)), "regions")
		})
	}
}

// processor is the time that this process has computed.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What anybody found counts as known: the oracle's loss is the least, and it says for how
// many seeds its own schedule was.
func TestNobodyLosesLessThanTheOracle(t *testing.T) {
	// To give a lever that the oracle may not move to the controller beats every schedule.
	r := run(t, nil, small+`  controller: {steps: [{at: 4m, service: shop, lever: replicas, want: 4}]}
  against:
    - {name: hpa, hpa: [{service: shop, max: 10}]}
  oracle: {levers: [rate-limit]}
  expect: {}
`, simulate.Options{Seeds: 3})
	oracle := row(t, r, "oracle")
	if oracle.Found != 0 {
		t.Errorf("a rate limit was best with %d of 3 seeds", oracle.Found)
	}
	for _, other := range r.Rows {
		for i, one := range other.Runs {
			if one.Loss < oracle.Runs[i].Loss {
				t.Errorf("%s loses %v with seed %d, and the oracle %v", other.Controller, one.Loss, one.Seed, oracle.Runs[i].Loss)
			}
		}
	}
	// With the lever its own schedule is at least as good as a person who knows half of it.
	r = run(t, nil, small+`  controller: {steps: [{at: 4m, service: shop, lever: replicas, want: 4}]}
  oracle: {levers: [replicas]}
  expect: {}
`, simulate.Options{Seeds: 3})
	if oracle := row(t, r, "oracle"); oracle.Found != 3 {
		t.Errorf("its own schedule was best with %d of 3 seeds", oracle.Found)
	}
}

// Money above the cap of a day costs more than money.
func TestMoneyAboveTheCapIsCounted(t *testing.T) {
	const world = head + `  duration: 2h
  seeds: 1
  world: {services: [{name: shop, traffic: {rate: 10}, work: 10ms, replicas: 10, price: {replica: 1}}]}
`
	plain := run(t, nil, world+"  expect: {}\n", simulate.Options{}).Rows[0].Loss.Mean
	capped := run(t, nil, world+"  loss: {cap: 15, over: 3}\n  expect: {}\n", simulate.Options{}).Rows[0].Loss.Mean
	if over := capped - plain; math.Abs(over-15) > 0.1 { // 20 are spent
		t.Errorf("5 above the cap cost %v besides, want 15", over)
	}
}

// A region whose probes fail gives its traffic away, and gets it back at once.
func TestFailoverLeavesARegionAndComesBack(t *testing.T) {
	r := run(t, nil, head+`  duration: 40m
  seeds: 1
  world:
    regions: [{name: eu, share: 50}, {name: us, share: 50}]
    services: [{name: shop, traffic: {rate: 100}, work: 10ms, replicas: 8}]
    faults: [{kind: region-down, region: us, at: 10m, for: 10m, share: 0.9}]
  controller: {failover: [{service: shop}]}
  expect: {ends: [{service: shop, lever: region-share, scope: us, atLeast: 49}], betterThan: [nothing]}
`, simulate.Options{})
	if !r.OK || r.Rows[0].Runs[0].Moves != 2 {
		t.Errorf("%d moves, %+v", r.Rows[0].Runs[0].Moves, r.Checks)
	}
}
