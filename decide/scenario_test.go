package decide_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

// A scenario is a text file that says what was read and what must be decided, one
// look per second:
//
//	set KEY=VALUE …            fields of the plan
//	indicator NAME [weight=W] [required] [tolerable=R] [bounds=B,…]
//	stream NAME canary BAD[,BAD…]/TOTAL control BAD[,BAD…]/TOTAL [late=D] [complete=C]
//	stream NAME silent         what each second brings, from now on
//	guard NAME OUTCOME REASON  what a guard says to everything, from now on; guard off
//	run D                      every look for the time D holds
//	until D ACTION [PERCENT]   the first look within D that does not hold decides this
//	words TEXT                 the last decision's words hold the text
type scenario struct {
	t       *testing.T
	plan    decide.Plan
	state   decide.State
	streams map[string]stream
	guard   []assay.GuardVerdict
	clock   int // seconds since the start
	last    assay.Decision
}

type stream struct {
	canary, control arm
	late            time.Duration
	complete        float64
}

// arm is bad counts, one per bound, of a total.
type arm struct {
	bad   []uint64
	total uint64
}

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.scenario")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".scenario"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := &scenario{t: t, plan: plan(), streams: map[string]stream{}}
			s.plan.Indicators = nil
			for n, line := range strings.Split(string(text), "\n") {
				line, _, _ = strings.Cut(line, "#")
				if f := strings.Fields(line); len(f) > 0 {
					if err := s.line(f); err != nil {
						t.Fatalf("%s:%d: %v\nlast: %s\n%s", file, n+1, err, s.last.Words, strings.Join(s.last.Reasons, "\n"))
					}
				}
			}
		})
	}
}

func (s *scenario) line(f []string) (err error) {
	if len(f) < 2 {
		return fmt.Errorf("%s says too little", f[0])
	}
	if s.state.Phase == "" && f[0] != "set" && f[0] != "indicator" {
		if s.state, err = decide.Begin(s.plan, start); err != nil {
			return err
		}
	}
	switch f[0] {
	case "set":
		return s.set(f[1:])
	case "indicator":
		return s.indicator(f[1], f[2:])
	case "stream":
		return s.stream(f[1], f[2:])
	case "guard":
		s.guard = nil
		if f[1] != "off" {
			s.guard = []assay.GuardVerdict{{Guard: f[1], Outcome: assay.Outcome(f[2]), Reason: strings.Join(f[3:], " ")}}
		}
		return nil
	case "run":
		return s.run(f[1], assay.ActionHold, 0)
	case "until":
		weight := 0
		if len(f) > 3 {
			if weight, err = strconv.Atoi(f[3]); err != nil {
				return err
			}
		}
		return s.run(f[1], assay.ActionKind(f[2]), weight)
	case "words":
		if want := strings.Join(f[1:], " "); !strings.Contains(s.last.Words, want) {
			return fmt.Errorf("words %q lack %q", s.last.Words, want)
		}
		return nil
	}
	return fmt.Errorf("%s is no statement", f[0])
}

// run looks once a second. Every record is replayed on the way.
func (s *scenario) run(d string, want assay.ActionKind, weight int) error {
	span, err := time.ParseDuration(d)
	if err != nil {
		return err
	}
	for range int(span / time.Second) {
		s.clock++
		now := start.Add(time.Duration(s.clock) * time.Second)
		r, err := decide.Decide(s.plan, s.state, s.readings(), func(assay.Action) []assay.GuardVerdict { return s.guard }, now)
		if err != nil {
			return err
		}
		data, err := r.Encode()
		if err != nil {
			return err
		}
		if again, err := decide.Replay(data); err != nil || !again.Identical {
			return fmt.Errorf("replay differs, %v", err)
		}
		s.last = r.Decision
		if s.state, err = r.After.Applied(s.plan, r.Decision.Action, now); err != nil {
			return err
		}
		if a := r.Decision.Action; a.Kind != assay.ActionHold {
			if a.Kind != want || weight != 0 && a.Weight != weight {
				return fmt.Errorf("second %d decided %s %d, want %s %d", s.clock, a.Kind, a.Weight, want, weight)
			}
			s.t.Logf("second %d: %s", s.clock, r.Decision.Words)
			return nil
		}
	}
	if want != assay.ActionHold {
		return fmt.Errorf("only held for %s, want %s", d, want)
	}
	return nil
}

// readings are what the last second brought.
func (s *scenario) readings() (out []assay.Reading) {
	for _, i := range s.plan.Indicators {
		st, ok := s.streams[i.Name]
		if !ok {
			continue
		}
		end := start.Add(time.Duration(s.clock) * time.Second)
		for version, a := range map[string]arm{s.plan.Canary: st.canary, s.plan.Control: st.control} {
			r := assay.Reading{
				Service: s.plan.Service, Indicator: i.Name, Version: version, Good: a.total - a.bad[0], Total: a.total,
				Start: end.Add(-time.Second), End: end, EventTime: end.Add(-st.late), Ingested: end, Completeness: st.complete,
			}
			for n, b := range i.Bounds {
				r.Buckets = append(r.Buckets, assay.Bucket{LE: b, Count: a.total - a.bad[n]})
			}
			out = append(out, r)
		}
	}
	return out
}

func (s *scenario) set(fields []string) error {
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		number, _ := strconv.ParseFloat(value, 64)
		span, _ := time.ParseDuration(value)
		switch key {
		case "alpha":
			s.plan.Alpha = number
		case "beta":
			s.plan.Beta = number
		case "margin":
			s.plan.Margin = number
		case "budget":
			s.plan.Budget = number
		case "min-requests":
			s.plan.MinRequests = uint64(number)
		case "min-duration":
			s.plan.MinDuration = span
		case "max-age":
			s.plan.MaxAge = span
		case "horizon":
			s.plan.Horizon = span
		case "on-horizon":
			s.plan.OnHorizon = decide.HorizonPolicy(value)
		default:
			return fmt.Errorf("%s is no field that scenarios set", key)
		}
	}
	return nil
}

func (s *scenario) indicator(name string, fields []string) (err error) {
	i := decide.Indicator{Name: name, Weight: 1}
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "required":
			i.Required = true
		case "weight":
			i.Weight, err = strconv.ParseFloat(value, 64)
		case "tolerable":
			i.Tolerable, err = strconv.ParseFloat(value, 64)
		case "bounds":
			for b := range strings.SplitSeq(value, ",") {
				var v float64
				if v, err = strconv.ParseFloat(b, 64); err != nil {
					return err
				}
				i.Bounds = append(i.Bounds, v)
			}
		default:
			return fmt.Errorf("%s is no field of an indicator", key)
		}
		if err != nil {
			return err
		}
	}
	s.plan.Indicators = append(s.plan.Indicators, i)
	return nil
}

func (s *scenario) stream(name string, f []string) (err error) {
	if f[0] == "silent" {
		delete(s.streams, name)
		return nil
	}
	if len(f) < 4 || f[0] != "canary" || f[2] != "control" {
		return fmt.Errorf("a stream is: NAME canary BAD/TOTAL control BAD/TOTAL")
	}
	st := stream{complete: 1}
	if st.canary, err = parseArm(f[1]); err != nil {
		return err
	}
	if st.control, err = parseArm(f[3]); err != nil {
		return err
	}
	for _, o := range f[4:] {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "late":
			st.late, err = time.ParseDuration(value)
		case "complete":
			st.complete, err = strconv.ParseFloat(value, 64)
		default:
			err = fmt.Errorf("%s is no option of a stream", key)
		}
		if err != nil {
			return err
		}
	}
	s.streams[name] = st
	return nil
}

func parseArm(text string) (a arm, err error) {
	bad, total, _ := strings.Cut(text, "/")
	if a.total, err = strconv.ParseUint(total, 10, 64); err != nil {
		return a, err
	}
	for b := range strings.SplitSeq(bad, ",") {
		n, err := strconv.ParseUint(b, 10, 64)
		if err != nil {
			return a, err
		}
		a.bad = append(a.bad, n)
	}
	return a, nil
}
