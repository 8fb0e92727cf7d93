package mitigate_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/decide"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/signal"
)

// attack lets n sources score above the bound, the last of them highest.
func attack(r *rig, n int) {
	sources(r)
	for i := range n {
		ip := fmt.Sprintf("10.1.%d.%d", i/256, i%256)
		r.set("anomaly", ip, 0.95+0.04*float64(i)/float64(n))
		r.set("evidence", ip, 1)
		r.set("share", ip, 0.01)
		r.lever(assay.LeverQuarantine, ip, 0)
	}
}

func TestAWideAttackIsContainedAsFarAsDeclaredAndTheRestIsCounted(t *testing.T) {
	for _, deterministic := range []bool{true, false} {
		r := example(t, "contain")
		r.s.Spec.Deterministic = deterministic
		attack(r, 400)
		r.run(5*time.Minute, 10*time.Second)
		if len(r.log) != r.s.Spec.Contain.MaxSources || r.log[0].Scope != "10.1.1.143" {
			t.Fatalf("deterministic %t: %d of 400 sources are cut off, %d may be: %s %v", deterministic, len(r.log), r.s.Spec.Contain.MaxSources, r.last.Words, r.log)
		}
		if deterministic && r.last.Action.Kind != assay.ActionAsk {
			t.Errorf("nobody is asked about the rest: %s", r.last.Words)
		}
		r.says("sources above the bound the 40 most conspicuous are listed")
		for _, ip := range []string{"10.1.1.143", "10.1.1.142"} {
			r.set("anomaly", ip, 0.1)
		}
		n := len(r.log)
		r.run(4*time.Minute, 10*time.Second)
		if len(r.log) < n+2 || r.log[n].Kind != assay.ActionRestore {
			t.Errorf("deterministic %t: who is calm again is not let in while others attack: %+v", deterministic, r.log[n:])
		}
	}
}

func TestOneLargeSourceThatNeedsAPersonDoesNotShieldTheSmallOnes(t *testing.T) {
	r := example(t, "contain")
	sources(r)
	r.set("anomaly", "10.0.0.7", 0.99)
	r.set("share", "10.0.0.7", 0.4)
	r.set("anomaly", "10.0.0.9", 0.95)
	r.run(2*time.Minute, 10*time.Second)
	if r.at(assay.LeverQuarantine, "10.0.0.9") != 1 || r.at(assay.LeverQuarantine, "10.0.0.7") != 0 {
		t.Errorf("cut off are %+v: %s", r.log, r.last.Words)
	}
}

// crowd are the signals of a contain law over many sources.
type crowd struct {
	*board
	n int
}

func (c crowd) Gauge(_ context.Context, q signal.GaugeQuery) (out []signal.Gauge, err error) {
	for i := range c.n {
		v := 1.0
		switch q.Expr {
		case c.s.Spec.Signals[0].Query:
			v = 0.2 + 0.79*float64(i)/float64(c.n)
		case c.s.Spec.Signals[2].Query:
			v = 0.0001
		}
		out = append(out, signal.Gauge{Scope: fmt.Sprintf("source-%05d", i), Value: v, Time: q.Time, Completeness: 1})
	}
	return out, nil
}

func TestAControllerLooksAtTheMostConspicuousOfAnyNumberOfSources(t *testing.T) {
	b := newBoard(t, "contain")
	door := &whoever{b.world, map[string]bool{"source-00001": true}}
	b.door = door
	b.ctl = b.controller(b.declared, func(c *mitigate.Config) { c.Gauges = crowd{b, 3000} })
	b.step(time.Second)
	for range 20 {
		b.step(10 * time.Second)
	}
	s, err := mitigate.Get(t.Context(), b.store, b.s.Namespace, b.s.Name)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(s.Decision.Reasons, "\n")
	if !strings.Contains(words, "2500 sources that are less conspicuous were not looked at") {
		t.Errorf("nothing says how many were left out: %s\n%s", s.Decision.Words, words)
	}
	if !door.cut["source-02999"] || door.cut["source-00001"] {
		t.Errorf("the most conspicuous is not cut off, or the calm one is not let in: %v", door.cut)
	}
}

func TestASourceOfWhichNothingIsKnownDoesNotShieldTheOthers(t *testing.T) {
	r := example(t, "contain")
	sources(r)
	r.set("anomaly", "10.0.0.9", 0.97)
	r.set("anomaly", "10.0.0.7", 0.97)
	for range 12 {
		r.now = r.now.Add(10 * time.Second)
		r.fresh()
		for i := range r.in.Values {
			if v := &r.in.Values[i]; v.Scope == "10.0.0.7" {
				v.Time = r.now.Add(-time.Hour)
			}
		}
		r.decide()
	}
	if r.at(assay.LeverQuarantine, "10.0.0.9") != 1 || r.at(assay.LeverQuarantine, "10.0.0.7") != 0 {
		t.Errorf("cut off are %+v: %s %v", r.log, r.last.Words, r.last.Reasons)
	}
	r.says("anomaly: 1 of 3 are not known")
}

func TestAPersonLetsASourceInAlthoughNothingIsKnown(t *testing.T) {
	for _, deterministic := range []bool{true, false} {
		r := example(t, "contain")
		r.s.Spec.Deterministic = deterministic
		sources(r)
		r.lever(assay.LeverQuarantine, "10.0.0.9", 1)
		r.in.Values = nil
		r.in.Cleared = []string{"10.0.0.9"}
		before := r.st
		r.step(time.Second)
		if r.at(assay.LeverQuarantine, "10.0.0.9") != 0 {
			t.Errorf("deterministic %t: %s %v", deterministic, r.last.Words, r.last.Reasons)
		}
		r.lever(assay.LeverQuarantine, "10.0.0.9", 1)
		r.in.History.Halts = []decide.Halt{{Scope: "global", Reason: "somebody pulled it"}}
		if d, _, err := mitigate.Next(r.s, before, r.in, nil, r.now); err != nil || d.Action.Kind.Changes() {
			t.Errorf("with the kill switch pulled: %s, %v", d.Words, err)
		}
	}
}

func TestADiskThatEmptiesIsKnownNotToFill(t *testing.T) {
	r := example(t, "data")
	trouble(r, "data")
	r.set("disk_used", "", 0.2)
	r.set("disk_growth", "", -0.01)
	if d := r.step(time.Minute); !d.Signals[1].Known {
		t.Errorf("%+v", d.Signals)
	}
	r.says("never fills")
}

// street has the signals of an isolate law over its own tenants and n strangers.
type street struct {
	*board
	n int
}

func (c street) Gauge(_ context.Context, q signal.GaugeQuery) (out []signal.Gauge, err error) {
	if q.By == "" {
		return []signal.Gauge{{Value: 2, Time: q.Time, Completeness: 1}}, nil // seconds: too slow
	}
	for _, name := range []string{"acme", "beta"} {
		out = append(out, signal.Gauge{Scope: name, Value: 40, Time: q.Time, Completeness: 1})
	}
	out = append(out, signal.Gauge{Scope: "corp", Value: 900, Time: q.Time, Completeness: 1})
	for i := range c.n {
		out = append(out, signal.Gauge{Scope: fmt.Sprintf("tenant-%05d", i), Value: 0.01, Time: q.Time, Completeness: 1})
	}
	return out, nil
}

func TestATenantIsHeldHoweverManyOthersThereAre(t *testing.T) {
	b := newBoard(t, "isolate", act.LeverAt{Lever: assay.LeverQuota, Scope: "corp"}, act.LeverAt{Lever: assay.LeverQuota, Scope: "acme"}, act.LeverAt{Lever: assay.LeverQuota, Scope: "beta"})
	b.ctl = b.controller(b.declared, func(c *mitigate.Config) { c.Gauges = street{b, 3000} })
	b.step(time.Second)
	for range 30 {
		b.step(10 * time.Second)
	}
	if acted := b.facts(assay.FactMitigationActed); len(acted) == 0 {
		s, err := mitigate.Get(t.Context(), b.store, b.s.Namespace, b.s.Name)
		t.Fatalf("corp is not held: %+v, %v", s.Decision, err)
	}
}
