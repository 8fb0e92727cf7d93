package decide_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func plan() decide.Plan {
	p := decide.NewPlan()
	p.Name, p.Service, p.Canary, p.Control = "shop", "shop", "v2", "v1"
	p.MinDuration = 0
	p.Indicators = []decide.Indicator{{Name: "errors", Weight: 1, Required: true}}
	return p
}

func allow(assay.Action) []assay.GuardVerdict { return nil }

// second is both arms' readings of second n of the rollout: bad of total.
func second(n int, canary, control [2]uint64) []assay.Reading {
	from := start.Add(time.Duration(n) * time.Second)
	one := func(version string, c [2]uint64) assay.Reading {
		return assay.Reading{
			Service: "shop", Indicator: "errors", Version: version, Good: c[1] - c[0], Total: c[1],
			Start: from, End: from.Add(time.Second), EventTime: from.Add(time.Second), Ingested: from.Add(time.Second), Completeness: 1,
		}
	}
	return []assay.Reading{one("v2", canary), one("v1", control)}
}

func begin(t testing.TB, p decide.Plan) decide.State {
	t.Helper()
	s, err := decide.Begin(p, start)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func next(t testing.TB, p decide.Plan, s decide.State, r []assay.Reading, g decide.Guard, now time.Time) (assay.Decision, decide.State) {
	t.Helper()
	d, s, err := decide.Next(p, s, r, g, now)
	if err != nil {
		t.Fatal(err)
	}
	return d, s
}

func TestReadingHandedInTwiceCountsOnce(t *testing.T) {
	p := plan()
	r := second(0, [2]uint64{3, 150}, [2]uint64{13, 1350})
	d, s := next(t, p, begin(t, p), r, allow, start.Add(time.Second))
	again, s2 := next(t, p, s, r, allow, start.Add(time.Second))
	if again.Tests[0].Canary != d.Tests[0].Canary || again.Tests[0].Canary.Total != 150 {
		t.Errorf("first %v, again %v", d.Tests[0].Canary, again.Tests[0].Canary)
	}
	if s2.Watches[0].StepRequests != 150 {
		t.Errorf("the step has %d requests, want 150", s2.Watches[0].StepRequests)
	}
}

func TestReadingWaitsForItsPartner(t *testing.T) {
	p := plan()
	r := second(0, [2]uint64{3, 150}, [2]uint64{13, 1350})
	d, s := next(t, p, begin(t, p), r[:1], allow, start.Add(time.Second))
	if d.Tests[0].Canary.Total != 0 || d.Signals[0].Known {
		t.Errorf("one arm alone was used: %+v", d.Tests[0])
	}
	if d, _ := next(t, p, s, r, allow, start.Add(2*time.Second)); d.Tests[0].Canary.Total != 150 || !d.Signals[0].Known {
		t.Errorf("both arms were not used: %+v", d.Signals)
	}
}

func TestNextDoesNotChangeTheStateItIsGiven(t *testing.T) {
	p := plan()
	s := begin(t, p)
	before, _ := decide.Record{Before: s}.Encode()
	next(t, p, s, second(0, [2]uint64{3, 150}, [2]uint64{13, 1350}), allow, start.Add(time.Second))
	if after, _ := (decide.Record{Before: s}).Encode(); !bytes.Equal(before, after) {
		t.Errorf("was %s, is %s", before, after)
	}
}

func TestGuardIsAskedOnlyAboutWhatTheEvidenceAllows(t *testing.T) {
	p := plan()
	asked := 0
	count := func(assay.Action) []assay.GuardVerdict { asked++; return nil }
	next(t, p, begin(t, p), second(0, [2]uint64{1, 150}, [2]uint64{13, 1350}), count, start.Add(time.Second))
	if asked != 0 {
		t.Errorf("holding asked %d times", asked)
	}
	d, _ := next(t, p, begin(t, p), second(0, [2]uint64{90, 150}, [2]uint64{13, 1350}), count, start.Add(time.Second))
	if asked != 1 || d.Action.Kind != assay.ActionAbort {
		t.Errorf("%s asked %d times", d.Action.Kind, asked)
	}
}

func TestNothingIsDecidedWithoutGuardOrAfterTheEnd(t *testing.T) {
	p := plan()
	s := begin(t, p)
	if _, _, err := decide.Next(p, s, nil, nil, start); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("no guard: %v", err)
	}
	ended, err := s.Applied(p, assay.Action{Kind: assay.ActionAbort}, start)
	if err != nil || ended.Weight(p) != 0 {
		t.Fatalf("%v, weight %d", err, ended.Weight(p))
	}
	if _, _, err := decide.Next(p, ended, nil, allow, start); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("after the end: %v", err)
	}
	other := p
	other.Indicators = append(other.Indicators, decide.Indicator{Name: "latency", Weight: 1})
	if _, _, err := decide.Next(other, s, nil, allow, start); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("another plan's state: %v", err)
	}
	if _, err := s.Applied(p, assay.Action{Kind: assay.ActionAdvance, Weight: 50}, start); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("a step is skipped: %v", err)
	}
}

func TestPlanRefusesWhatCannotBe(t *testing.T) {
	for name, change := range map[string]func(*decide.Plan){
		"alpha of 0":              func(p *decide.Plan) { p.Alpha = 0 },
		"beta that is NaN":        func(p *decide.Plan) { p.Beta = math.NaN() },
		"margin below accept":     func(p *decide.Plan) { p.Accept = 3 },
		"steps that fall":         func(p *decide.Plan) { p.Steps = []int{50, 10, 100} },
		"steps that end early":    func(p *decide.Plan) { p.Steps = []int{10, 50} },
		"no indicator":            func(p *decide.Plan) { p.Indicators = nil },
		"none that is required":   func(p *decide.Plan) { p.Indicators[0].Required = false },
		"a weight of 0":           func(p *decide.Plan) { p.Indicators[0].Weight = 0 },
		"bounds that repeat":      func(p *decide.Plan) { p.Indicators[0].Bounds = []float64{1, 1} },
		"an unknown policy":       func(p *decide.Plan) { p.OnHorizon = "hope" },
		"the same version twice":  func(p *decide.Plan) { p.Control = p.Canary },
		"a tolerable rate of 1":   func(p *decide.Plan) { p.Indicators[0].Tolerable = 1 },
		"completeness above 1":    func(p *decide.Plan) { p.MinCompleteness = 1.5 },
		"a horizon of nothing":    func(p *decide.Plan) { p.Horizon = 0 },
		"a budget below 0":        func(p *decide.Plan) { p.Budget = -1 },
		"dispersion that shrinks": func(p *decide.Plan) { p.Indicators[0].Dispersion = 0.5 },
		"more tests than are kept": func(p *decide.Plan) {
			one := p.Indicators[0]
			for b := range 20 {
				one.Bounds = append(one.Bounds, float64(b+1))
			}
			for n := range decide.MaxTests / 20 { // and the first, which has none
				one.Name = fmt.Sprint("latency", n)
				p.Indicators = append(p.Indicators, one)
			}
		},
		"an indicator named twice": func(p *decide.Plan) { p.Indicators = append(p.Indicators, p.Indicators[0]) },
	} {
		p := plan()
		change(&p)
		if _, err := decide.Begin(p, start); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

// Any rollout, stored after each decision and made again from what was stored, gives
// the same bytes.
func TestReplayIsByteEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := plan()
		p.Alpha = rapid.Float64Range(1e-6, 0.5).Draw(t, "alpha")
		p.Beta = rapid.Float64Range(1e-6, 0.5).Draw(t, "beta")
		p.Margin = rapid.Float64Range(1.1, 50).Draw(t, "margin")
		p.MinRequests = rapid.Uint64Range(0, 500).Draw(t, "min requests")
		p.Horizon = time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "horizon"))
		p.OnHorizon = rapid.SampledFrom([]decide.HorizonPolicy{decide.HorizonAsk, decide.HorizonAbort, decide.HorizonPromote}).Draw(t, "policy")
		p.Budget = rapid.Float64Range(0, 1e6).Draw(t, "budget")
		p.Indicators[0].Tolerable = rapid.Float64Range(0, 0.1).Draw(t, "tolerable")
		p.Indicators[0].Dispersion = rapid.SampledFrom([]float64{0, 1, 2.5}).Draw(t, "dispersion")
		s, err := decide.Begin(p, start)
		if err != nil {
			t.Fatal(err)
		}
		arm := func(name string) [2]uint64 {
			n := rapid.Uint64Range(0, 3000).Draw(t, name)
			return [2]uint64{rapid.Uint64Range(0, min(n, 1+n/10)).Draw(t, name+" bad"), n}
		}
		for i := range rapid.IntRange(1, 8).Draw(t, "looks") {
			verdict := assay.GuardVerdict{Guard: "freeze", Outcome: rapid.SampledFrom([]assay.Outcome{assay.OutcomePass, assay.OutcomeFail, assay.OutcomeAbsent}).Draw(t, "guard")}
			var readings []assay.Reading
			if rapid.Bool().Draw(t, "data") {
				readings = second(i, arm("canary"), arm("control"))
			}
			now := start.Add(time.Duration(i+1)*time.Second + time.Duration(rapid.IntRange(0, 999).Draw(t, "ms"))*time.Millisecond)
			r, err := decide.Decide(p, s, readings, func(assay.Action) []assay.GuardVerdict { return []assay.GuardVerdict{verdict} }, now)
			if err != nil {
				t.Fatal(err)
			}
			data, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			again, err := decide.Replay(data)
			if err != nil {
				t.Fatal(err)
			}
			if !again.Identical || !again.SameChoice {
				t.Fatalf("recorded %s\nreplayed %s", data, again.Bytes)
			}
			stored, err := decide.ParseRecord(data)
			if err != nil {
				t.Fatal(err)
			}
			if s, err = stored.After.Applied(p, stored.Decision.Action, now); err != nil {
				t.Fatal(err)
			}
			if s.Phase != decide.Running {
				return
			}
		}
	})
}

// A record whose inputs were changed no longer comes out the same.
func TestReplayNoticesChangedInputs(t *testing.T) {
	p := plan()
	r, err := decide.Decide(p, begin(t, p), second(0, [2]uint64{3, 150}, [2]uint64{13, 1350}), allow, start.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(data, []byte(`"good":147`), []byte(`"good":10`), 1)
	again, err := decide.Replay(changed)
	if err != nil || again.Identical || again.SameChoice {
		t.Errorf("%v, identical %v, same choice %v", err, again.Identical, again.SameChoice)
	}
	if _, err := decide.ParseRecord(make([]byte, decide.MaxRecordBytes+1)); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("a record above its limit: %v", err)
	}
}

// Every choice has its words, with the numbers.
func TestWordsNameTheNumbers(t *testing.T) {
	p := plan()
	d, _ := next(t, p, begin(t, p), second(0, [2]uint64{60, 1500}, [2]uint64{135, 13500}), allow, start.Add(time.Second))
	all := d.Words + "\n" + strings.Join(d.Reasons, "\n")
	for _, want := range []string{"Abort: v2 is worse than v1", "abort at ", "4 % (60 of 1500)", "1 % (135 of 13500)", "alpha 1 %", "(calibrated)"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in:\n%s", want, all)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	p := plan()
	r, err := decide.Decide(p, begin(f, p), second(0, [2]uint64{3, 150}, [2]uint64{13, 1350}), allow, start.Add(time.Second))
	if err != nil {
		f.Fatal(err)
	}
	data, err := r.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{}`))
	f.Add(bytes.Replace(data, []byte(`"pairs":1`), []byte(`"pairs":0`), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := decide.ParseRecord(data); err != nil {
			return
		}
		// Whatever can be read can be replayed or is refused; nothing panics.
		if again, err := decide.Replay(data); err == nil && len(again.Bytes) == 0 {
			t.Error("a replay without bytes")
		}
	})
}
