package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// tiny is a rollout of two steps with one request of either version in each, so that all
// ways to decide it can be tried.
func tiny() optimum {
	c := cell{steady, 2.0 / 3600, 0.3, 3, 1, 0.5}
	return optimum{c, 1, 2, time.Hour}
}

// decided is what a way to decide came to: the share of the margin's releases that it
// promotes, and the cell's expected loss.
type decided struct{ missed, loss float64 }

// every tries all ways to decide a tiny rollout: one of three at each of the counts that
// may have been seen. Probabilities are multiplied up along every path; nothing is shared
// with the recursion.
func every(o optimum) (out []decided) {
	const goOn, abort, promote = 0, 1, 2
	rate := o.nearest()
	worlds := [3][2]float64{{o.Base, o.Base}, {margin * rate, rate}, {o.Ratio * o.Base, o.Base}} // healthy, margin, regression
	hour := o.step.Hours()
	harm := 100 * (o.Ratio - 1) * o.Base * o.Traffic * o.Weight * 3600 * hour / errorBudget(o.cell)
	shipped := 100 * (o.Ratio - 1) * o.Base * o.Traffic * missHours * 3600 / errorBudget(o.cell)
	chance := func(world, t, i, j int) float64 { // of i and j failures in t steps
		choose := [][]float64{{1}, {1, 1}, {1, 2, 1}}
		p, q := worlds[world][0], worlds[world][1]
		return choose[t][i] * math.Pow(p, float64(i)) * math.Pow(1-p, float64(t-i)) * choose[t][j] * math.Pow(q, float64(j)) * math.Pow(1-q, float64(t-j))
	}
	// settle adds what it costs to stop with an action after t steps, with a probability
	// under each release.
	settle := func(d decided, action, t int, p [3]float64) decided {
		waited := float64(t)
		healthy, bad := waited*hour*costHour, waited*harm
		switch action {
		case goOn: // at the end: held
			healthy, bad = healthy+costAsk, bad+costAsk
		case abort:
			healthy += costFalseAbort
		case promote:
			d.missed += p[1]
			bad += shipped
		}
		d.loss += (1-badShare)*p[0]*healthy + badShare*p[2]*bad
		return d
	}
	for first := range 3 {
		if first != goOn {
			out = append(out, settle(decided{}, first, 0, [3]float64{1, 1, 1}))
			continue
		}
		for second := range 81 { // four states after one step
			var d decided
			var on [2][2]bool
			for s, rest := 0, second; s < 4; s, rest = s+1, rest/3 {
				i, j := s/2, s%2
				if on[i][j] = rest%3 == goOn; !on[i][j] {
					d = settle(d, rest%3, 1, [3]float64{chance(0, 1, i, j), chance(1, 1, i, j), chance(2, 1, i, j)})
				}
			}
			reach := func(world, i, j int) (p float64) { // the end, over states that went on
				for a := range 2 {
					for b := range 2 {
						if x, y := i-a, j-b; on[a][b] && x >= 0 && x < 2 && y >= 0 && y < 2 {
							p += chance(world, 1, a, b) * chance(world, 1, x, y)
						}
					}
				}
				return p
			}
			for third := range 19683 { // nine states at the end
				e := d
				for s, rest := 0, third; s < 9; s, rest = s+1, rest/3 {
					i, j := s/3, s%3
					e = settle(e, rest%3, 2, [3]float64{reach(0, i, j), reach(1, i, j), reach(2, i, j)})
				}
				out = append(out, e)
			}
		}
	}
	return out
}

// cheapest leaves out whoever misses more than another who loses no more.
func cheapest(ways []decided) (out []decided) {
	slices.SortFunc(ways, func(a, b decided) int {
		return cmp.Or(cmp.Compare(a.loss, b.loss), cmp.Compare(a.missed, b.missed))
	})
	for _, d := range ways {
		if len(out) == 0 || d.missed < out[len(out)-1].missed {
			out = append(out, d)
		}
	}
	return out
}

// Of all ways to decide a rollout that is small enough to try them, none misses less than
// the bound at its loss, and at every loss a lot drawn between two of them misses no more.
func TestTheOptimumIsTheBestOfAllWaysToDecide(t *testing.T) {
	o := tiny()
	ways := every(o)
	all := cheapest(ways)
	// What mixes of two reach at a loss: the lower hull, by trying supporting lines.
	reached := func(loss float64) float64 {
		return highest(func(l float64) float64 {
			least := math.Inf(1)
			for _, d := range all {
				least = min(least, d.missed+l*(d.loss-loss))
			}
			return least
		})
	}
	for _, loss := range []float64{0.02, 0.1, 0.3, 0.6, 0.9} {
		// The bound allows a step more, for those who look in between.
		got, want := o.missed(loss-o.late()), min(1, max(0, reached(loss)))
		if math.Abs(got-want) > 1e-3 {
			t.Errorf("a loss of %v misses at least %v, the best of %d ways misses %v", loss, got, len(ways), want)
		}
		for _, d := range ways {
			if d.loss <= loss && d.missed < got-1e-9 {
				t.Fatalf("%+v misses less than the bound %v at a loss of %v", d, got, loss)
			}
		}
	}
	for _, missed := range []float64{0.01, 0.05, 0.3} {
		least := o.loss(missed)
		if back := o.missed(least); math.Abs(back-missed) > 5e-3 {
			t.Errorf("the least loss that misses %v is %v, at which %v is missed", missed, least, back)
		}
	}
}

// Information bounds from below what is missed, in every cell: what can be done is never
// better than what it allows.
func TestNobodyBeatsTheInformation(t *testing.T) {
	for _, c := range []cell{
		{steady, 1, 0.01, 10, 5, 0.25}, {steady, 1, 0.01, 10, 1, 0.1},
	} {
		before := 1.0
		for _, loss := range []float64{0.005, 0.04, 0.08} {
			exact := atFirstWeight(c).missed(loss)
			told := leastMissed((loss+atFirstWeight(c).late())/(1-badShare), asFloorsAt(c))
			if exact < told-1e-6 || exact > before+1e-6 {
				t.Errorf("%s: at a loss of %v at least %v is missed, %v at the one before; information allows no less than %v", c, loss, exact, before, told)
			}
			if burst := atFirstWeight(c).tellsBursts().missed(loss); burst > exact+1e-6 {
				t.Errorf("%s: whoever tells bursts misses at least %v, who does not %v", c, burst, exact)
			}
			before = exact
		}
	}
}

// likelihood decides by the likelihood ratio of a healthy release to the nearest one of
// the margin, as Wald's test does: it promotes from a limit on, aborts when the cell's
// regression is as much likelier, and holds at the end.
type likelihood struct {
	of           optimum
	limit, abort float64
	canary, rest count
}

func (k *likelihood) baseline() bool { return false }

func (k *likelihood) look(_ time.Duration, canary, rest *count) (float64, end, error) {
	k.canary = count{k.canary.bad + canary.bad, k.canary.total + canary.total}
	k.rest = count{k.rest.bad + rest.bad, k.rest.total + rest.total}
	nats := func(p, q float64) float64 { // that the versions fail so often against both with the base
		one := func(c count, p float64) float64 {
			return float64(c.bad)*math.Log(p/k.of.Base) + float64(c.total-c.bad)*(math.Log1p(-p)-math.Log1p(-k.of.Base))
		}
		return one(k.canary, p) + one(k.rest, q)
	}
	rate := k.of.nearest()
	switch {
	case nats(k.of.Ratio*k.of.Base, k.of.Base) > k.abort:
		return 0, aborted, nil
	case nats(margin*rate, rate) < -k.limit:
		return 1, promoted, nil
	}
	return k.of.Weight, running, nil
}

// A controller that is played with the page's own draws and losses misses no less than the
// bound at the loss that it had, beyond chance; and one of them comes near.
func TestNoControllerThatIsPlayedBeatsTheOptimum(t *testing.T) {
	c := cell{steady, 10, 0.001, 10, 1, 0.25}
	o := atFirstWeight(c)
	nearest := math.Inf(1)
	for i, limit := range []float64{0.7, 2} {
		who := contender{Name: "likelihood", begin: func(*world) (controller, error) {
			return &likelihood{of: o, limit: limit, abort: 5}, nil
		}}
		const runs = 1000
		run := func(kind uint64, base, ratio float64) (y tally) {
			c := cell{steady, c.Traffic, base, ratio, 1, c.Weight}
			for n := range runs {
				out, err := play(newWorld(c, traces{}, rand.New(rand.NewPCG(kind+uint64(10*i), uint64(n)))), who, [2]time.Duration{})
				if err != nil {
					t.Fatal(err)
				}
				y.add(c, out)
			}
			return y
		}
		worse := run(1, o.nearest(), margin)
		loss, se := expectedLoss(run(2, c.Base, c.Ratio), run(3, c.Base, 1))
		missed := float64(worse.promoted) / runs
		spread := math.Sqrt(missed * (1 - missed) / runs)
		bound := o.missed(loss)
		if high := o.missed(loss + 3*se); missed+3*spread < high {
			t.Errorf("limit %v: %v ± %v is missed at a loss of %v ± %v, less than the bound %v", limit, missed, spread, loss, se, bound)
		}
		nearest = min(nearest, missed/bound)
	}
	if nearest > 2 {
		t.Errorf("the best of them misses %v times the bound: it says little", nearest)
	}
}
