package mitigate_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/signal"
)

func TestAVersionIsHeldAgainstTheMomentWhoseLoadWasMostLikeItsOwn(t *testing.T) {
	at := func(hours int, total float64) mitigate.Was {
		return mitigate.Was{Time: noon.Add(-time.Duration(hours) * time.Hour), Total: total, Bad: total / 100}
	}
	for _, c := range []struct {
		name  string
		past  []mitigate.Was
		total float64
		want  float64 // requests of the moment; 0 is none
	}{
		{"nothing is known", nil, 100, 0},
		{"nobody asked it then", []mitigate.Was{at(0, 0)}, 100, 0},
		{"the newest had about as many", []mitigate.Was{at(0, 105), at(1, 100)}, 100, 105},
		{"the newest had far fewer, an earlier one as many", []mitigate.Was{at(0, 30), at(1, 160), at(2, 110), at(3, 100)}, 100, 100},
		{"the newest had far more", []mitigate.Was{at(0, 500), at(1, 120)}, 100, 120},
		{"none had as many: the one with the most", []mitigate.Was{at(0, 30), at(1, 70), at(2, 60)}, 100, 70},
		{"hardly fewer is fewer, where something may just be full", []mitigate.Was{at(0, 95), at(1, 130)}, 100, 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, ok := mitigate.LikeLoad(c.past, c.total)
			if ok != (c.want > 0) || w.Total != c.want {
				t.Errorf("held against %+v, %t; want one of %v requests", w, ok, c.want)
			}
		})
	}
}

// night is what the signals said of a version at night, and what v1 had by day.
type night struct {
	*board
	now   map[string][2]float64 // bad and total
	day   [2]float64            // of v1, from 10 to 12 hours before the change
	asked int                   // about the past
}

func (n *night) Gauge(_ context.Context, q signal.GaugeQuery) (out []signal.Gauge, err error) {
	i := 0
	if q.Expr == n.s.Spec.Signals[1].Query {
		i = 1
	}
	of := n.now
	if change := noon.Add(-time.Hour); !q.Time.After(change) {
		n.asked++
		of = map[string][2]float64{"v1": {9, 900}}
		if ago := change.Sub(q.Time); ago >= 10*time.Hour && ago <= 12*time.Hour {
			of = map[string][2]float64{"v1": n.day}
		}
	}
	for _, name := range []string{"v1", "v2"} {
		if v, has := of[name]; has {
			out = append(out, signal.Gauge{Scope: name, Value: v[i], Time: q.Time, Completeness: 1})
		}
	}
	return out, nil
}

func TestAVersionReleasedAtNightIsHeldAgainstTheOldOnesDay(t *testing.T) {
	for _, c := range []struct {
		name  string
		day   [2]float64
		asks  bool
		words string
	}{
		{"by day the old one failed as often", [2]float64{580, 9000}, false, "when the load was most like this"},
		{"by day the old one did not", [2]float64{80, 9000}, true, "when the load was most like this"},
		{"the old one never had such a day", [2]float64{9, 900}, true, "v1 was not seen with so many: the load may be the cause"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBoard(t, "rollback")
			ended(b)
			n := &night{board: b, now: map[string][2]float64{"v2": {600, 9000}}, day: c.day}
			b.ctl = mitigate.New(mitigate.Config{
				Store: b.store, Blobs: b.blobs, Gauges: n, Actuator: b.door, Rollouts: b, Halted: b.halts,
				Strategies: func() ([]mitigate.Strategy, assay.Digest, error) { return []mitigate.Strategy{b.s}, "sha256:00", nil },
				Now:        func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler), Holder: "test", Prove: -1,
			})
			d := b.step(time.Minute).Decision
			if asks := d.Action.Kind == assay.ActionAsk; asks != c.asks {
				t.Errorf("it decides to %s: %s %v", d.Action.Kind, d.Words, d.Reasons)
			}
			if said := d.Words + strings.Join(d.Reasons, " "); !strings.Contains(said, c.words) {
				t.Errorf("it says %q, not %q", said, c.words)
			}
			before := n.asked
			if b.step(time.Second); n.asked != before {
				t.Errorf("a past that cannot change was read again, %d times", n.asked-before)
			}
		})
	}
}

// two are two senders that tell of the same versions: the door counts three times the errors
// that the service counts, before and after.
type two struct {
	*board
	silent bool // the service
	worse  bool // v2, by the count of either
}

func (s *two) Gauge(_ context.Context, q signal.GaugeQuery) (out []signal.Gauge, err error) {
	past, door := !q.Time.After(noon.Add(-time.Hour)), strings.HasPrefix(q.Expr, "door ")
	if s.silent && !door && !past {
		return nil, nil
	}
	bad, version := 100.0, "v2"
	if past {
		version = "v1"
	} else if s.worse {
		bad *= 5
	}
	if door {
		bad *= 3
	}
	if strings.HasSuffix(q.Expr, "total") {
		bad = 9000
	}
	return []signal.Gauge{{Scope: version, Value: bad, Time: q.Time, Completeness: 1}}, nil
}

// A version that stands alone is held against the past as the source counts it that is read now.
func TestAVersionThatStandsAloneIsHeldAgainstThePastOfTheSameSource(t *testing.T) {
	for name, worse := range map[string]bool{"no worse than the old one": false, "five times worse": true} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t, "rollback")
			ended(b)
			b.s.Spec.Signals = slices.Clone(b.s.Spec.Signals)
			for i := range b.s.Spec.Signals {
				x := &b.s.Spec.Signals[i]
				x.Query, x.Fallback = "service "+x.Name, "door "+x.Name
			}
			s := &two{board: b}
			b.ctl = mitigate.New(mitigate.Config{
				Store: b.store, Blobs: b.blobs, Gauges: s, Actuator: b.door, Rollouts: b, Halted: b.halts,
				Strategies: func() ([]mitigate.Strategy, assay.Digest, error) { return []mitigate.Strategy{b.s}, "sha256:00", nil },
				Now:        func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler), Holder: "test", Prove: -1,
			})
			if d := b.step(time.Minute).Decision; d.Action.Kind == assay.ActionAsk {
				t.Fatalf("while the service tells of itself: %s", d.Words)
			}
			s.silent, s.worse = true, worse
			d := b.step(time.Minute).Decision
			if asks := d.Action.Kind == assay.ActionAsk; asks != worse {
				t.Errorf("it decides to %s: %s %v", d.Action.Kind, d.Words, d.Reasons)
			}
			if said := strings.Join(d.Reasons, "\n"); !strings.Contains(said, "bad is read from its second source: bad has no data") {
				t.Errorf("it says %q", said)
			}
		})
	}
}
