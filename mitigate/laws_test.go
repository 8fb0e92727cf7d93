package mitigate_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
	"pgregory.net/rapid"
)

func (r *rig) forecast(trusted bool, upper float64) {
	list := make([]float64, 60)
	for i := range list {
		list[i] = upper
	}
	fc := mitigate.Forecast{Signal: "load", At: r.now, Step: time.Minute, Tau: 0.95, Mean: list, Upper: list, Skill: 0.4, Cover: 0.9, Trusted: trusted}
	if !trusted {
		fc.Why = "the forecast is not trusted: skill -0.20"
	}
	r.in.Forecasts = []mitigate.Forecast{fc}
}

func TestTauIsTheNewsvendorsQuantile(t *testing.T) {
	if got := mitigate.Tau(policy.ScaleLaw{PerReplica: 40, CostReplica: 0.1, CostViolation: 0.05}); math.Abs(got-0.95) > 1e-12 {
		t.Errorf("1 - 0.1/(0.05·40) is 0.95, not %v", got)
	}
}

func TestATrustedForecastScalesBeforeTheLoadComes(t *testing.T) {
	r := example(t, "scale")
	r.set("load", "", 400)
	r.lever(assay.LeverReplicas, "", 12)
	r.forecast(true, 1200)
	r.run(30*time.Second, 10*time.Second)
	if got := r.at(assay.LeverReplicas, ""); got != 30 {
		t.Errorf("%v replicas for an expected 1200 requests/s at 40 each: %s", got, r.last.Words)
	}
	r.says("predictive")
}

func TestAnUntrustedForecastIsNotActedUponAndThatIsSaid(t *testing.T) {
	r := example(t, "scale")
	r.set("load", "", 320)
	r.lever(assay.LeverReplicas, "", 10)
	r.forecast(false, 5000)
	r.run(30*time.Second, 10*time.Second)
	if len(r.log) > 0 {
		t.Errorf("moved: %+v", r.log)
	}
	r.says("reactive: the forecast is not trusted")
}

func TestScaleInNeedsThePresentAndTheForecastToAgree(t *testing.T) {
	for _, c := range []struct {
		name     string
		load     float64
		forecast float64
		want     func(at float64) bool
	}{
		{"the forecast is high", 100, 800, func(at float64) bool { return at == 20 }},
		{"the present is high", 800, 100, func(at float64) bool { return at == 20 }},
		{"both are low", 100, 120, func(at float64) bool { return at < 20 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := example(t, "scale")
			r.set("load", "", c.load)
			r.lever(assay.LeverReplicas, "", 20)
			r.forecast(true, c.forecast)
			r.run(20*time.Minute, 10*time.Second)
			if got := r.at(assay.LeverReplicas, ""); !c.want(got) {
				t.Errorf("%v replicas: %s %v", got, r.last.Words, r.last.Reasons)
			}
		})
	}
}

func TestAnEventHasItsCapacityBeforeItBegins(t *testing.T) {
	r := example(t, "scale")
	r.now = time.Date(2026, 11, 27, 5, 50, 0, 0, time.UTC) // the event begins at 06:00
	r.set("load", "", 320)
	r.lever(assay.LeverReplicas, "", 10)
	r.run(7*time.Minute, 10*time.Second)
	if len(r.log) > 0 {
		t.Fatalf("too early: %+v", r.log)
	}
	r.run(90*time.Second, 10*time.Second)
	if got := r.at(assay.LeverReplicas, ""); got != 24 {
		t.Errorf("at 05:58:30 there are %v replicas of 3 × 320 ⁄ 40", got)
	}
	r.says("event black-friday")
	r.run(30*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverReplicas, ""); got != 24 {
		t.Errorf("while it lasts there are %v replicas", got)
	}
	r.now = time.Date(2026, 11, 27, 22, 5, 0, 0, time.UTC)
	r.run(40*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverReplicas, ""); got >= 24 {
		t.Errorf("after it there are still %v", got)
	}
}

func TestMoreLoadNeverMeansFewerReplicas(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		words := ""
		build := func(load float64, past []float64, from, fc float64) float64 {
			r := example(t, "scale")
			r.lever(assay.LeverReplicas, "", from)
			if fc > 0 {
				r.forecast(true, fc)
			}
			for _, v := range past {
				r.set("load", "", v)
				r.step(20 * time.Second)
			}
			r.set("load", "", load)
			r.step(20 * time.Second)
			words = fmt.Sprint(r.last.Words, r.last.Reasons, r.last.Guards)
			return r.at(assay.LeverReplicas, "")
		}
		past := rapid.SliceOfN(rapid.Float64Range(0, 3000), 0, 20).Draw(rt, "past")
		from := float64(rapid.IntRange(2, 60).Draw(rt, "from"))
		fc := rapid.SampledFrom([]float64{0, 300, 1500}).Draw(rt, "forecast")
		a := rapid.Float64Range(0, 3000).Draw(rt, "a")
		b := rapid.Float64Range(a, 3000).Draw(rt, "b")
		if less, more := build(a, past, from, fc), build(b, past, from, fc); more < less {
			rt.Fatalf("load %v gives %v replicas, load %v gives %v: %s", a, less, b, more, words)
		}
	})
}

func TestARecommendationOfTheAutoscalerIsHPAsOwn(t *testing.T) {
	for _, c := range []struct{ current, metric, target, missing, want float64 }{
		{10, 80, 50, 0, 16},
		{10, 54, 50, 0, 10},  // inside the tolerance
		{10, 20, 50, 0, 4},   // down
		{10, 80, 50, 5, 10},  // counted as idle, half of them missing ask for 8: it would turn round
		{10, 120, 50, 2, 20}, // 8·120 ⁄ 10 = 96
		{10, 20, 50, 5, 7},   // counted as busy: (5·20 + 5·50) ⁄ 10 = 35
		{10, 0, 0, 0, 10},
	} {
		if got := mitigate.Recommend(c.current, c.metric, c.target, c.missing); got != c.want {
			t.Errorf("%+v gives %v", c, got)
		}
	}
}

func TestLatencyAboveThePromiseLowersTheLimitAndRecoveryRaisesItSlowly(t *testing.T) {
	r := example(t, "throttle")
	throttleTrouble(r)
	r.run(time.Minute, 10*time.Second)
	low := r.at(assay.LeverConcurrency, "")
	if low >= 200 {
		t.Fatalf("the limit is %v: %s", low, r.last.Words)
	}
	r.set("latency", "", 0.1)
	r.set("inflight", "", low)
	r.step(10 * time.Second)
	if r.at(assay.LeverConcurrency, "") > low {
		t.Error("one good look raised it at once")
	}
	r.run(10*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverConcurrency, ""); got <= low {
		t.Errorf("ten good minutes later the limit is %v of %v: %s %v", got, low, r.last.Words, r.last.Reasons)
	}
}

func TestALimitThatDoesNotLimitIsLeftAlone(t *testing.T) {
	r := example(t, "throttle")
	throttleTrouble(r)
	r.set("latency", "", 0.1)
	r.set("inflight", "", 20)
	r.set("db_utilisation", "", 0.79)
	r.run(2*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverConcurrency, ""); got > 205 {
		t.Errorf("nobody uses it and it rises to %v", got)
	}
}

func TestCriticalClassesAreNeverDroppedAndTheBacklogIsBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := example(t, "throttle")
		throttleTrouble(r)
		for range 20 {
			r.set("latency", "", rapid.Float64Range(0.01, 3).Draw(rt, "latency"))
			r.set("queue_depth", "", rapid.Float64Range(0, 20000).Draw(rt, "depth"))
			r.set("queue_age", "", rapid.Float64Range(0, 60).Draw(rt, "age"))
			r.set("db_utilisation", "", rapid.Float64Range(0, 1).Draw(rt, "db"))
			r.set("demand", "orders", rapid.Float64Range(0, 400).Draw(rt, "orders"))
			r.step(10 * time.Second)
			if r.at(assay.LeverClass, "orders") < 100 {
				rt.Fatalf("orders are let in at %v %%", r.at(assay.LeverClass, "orders"))
			}
		}
		r.set("queue_depth", "", 50000)
		r.run(3*time.Minute, 10*time.Second)
		for _, c := range []string{"search", "reports"} {
			if got := r.at(assay.LeverClass, c); got != 0 {
				rt.Fatalf("the backlog is full and %s is let in at %v %%: %s %v", c, got, r.last.Words, r.last.Reasons)
			}
		}
	})
}

// One lever is moved at a look, so which one is first matters while the others wait.
func TestTheLeastImportantClassGoesFirstAndComesBackLast(t *testing.T) {
	for _, deterministic := range []bool{true, false} {
		r := example(t, "throttle")
		r.s.Spec.Deterministic = deterministic
		throttleTrouble(r)
		r.set("latency", "", 0.1)
		r.set("queue_depth", "", 50000)
		r.run(2*time.Minute, 10*time.Second)
		r.set("queue_depth", "", 0)
		r.set("queue_age", "", 0)
		r.set("db_utilisation", "", 0.1)
		r.set("inflight", "", 20)
		r.run(20*time.Minute, 10*time.Second)
		var gone, back []string
		for _, a := range r.log {
			switch {
			case a.Lever != assay.LeverClass:
			case a.Want < a.Now:
				gone = append(gone, a.Scope)
			default:
				back = append(back, a.Scope)
			}
		}
		if len(gone) < 2 || gone[0] != "reports" || gone[1] != "search" {
			t.Errorf("deterministic %v: %v go, in this order", deterministic, gone)
		}
		if len(back) < 2 || back[0] != "search" {
			t.Errorf("deterministic %v: %v come back, in this order: %s %v", deterministic, back, r.last.Words, r.last.Reasons)
		}
	}
}

// Where the others have room for all of it and for as much again, steps protect nobody.
func TestARegionThatSurelyFailsIsLeftAtOnceWhereThereIsPlentyOfRoom(t *testing.T) {
	r := example(t, "divert")
	regions(r)
	r.step(time.Second)
	r.fails("eu")
	r.run(30*time.Second, 10*time.Second)
	if got := r.at(assay.LeverRegion, "eu"); got != 5 {
		t.Errorf("eu has %v of 50, want its probe of 10 %%: %s %v", got, r.last.Words, r.last.Reasons)
	}
}

func TestAFailingRegionIsDivertedStepByStepDownToItsProbe(t *testing.T) {
	r := example(t, "divert")
	for i := range r.s.Spec.Divert.Regions { // room for what comes, and not for twice as much
		r.s.Spec.Divert.Regions[i].Capacity = 170
	}
	regions(r)
	r.step(time.Second)
	r.fails("eu")
	var path []float64
	for range 60 {
		r.step(10 * time.Second)
		if at := r.at(assay.LeverRegion, "eu"); len(path) == 0 || path[len(path)-1] != at {
			path = append(path, at)
		}
	}
	want := []float64{47.5, 42.5, 32.5, 20, 5}
	for i := range want {
		if i >= len(path) || math.Abs(path[i]-want[i]) > 0.01 {
			t.Fatalf("the shares are %v, want %v: %s %v", path, want, r.last.Words, r.last.Reasons)
		}
	}
	if len(path) != len(want) {
		t.Errorf("it goes on to %v: the region keeps a tenth as a probe", path)
	}
	for i := 1; i < len(r.log); i++ {
		if r.log[i].Scope != "eu" {
			t.Errorf("it moved %+v", r.log[i])
		}
	}
}

func TestARecoveredRegionGetsItsTrafficBackSlowly(t *testing.T) {
	r := example(t, "divert")
	regions(r)
	r.fails("eu")
	r.run(10*time.Minute, 10*time.Second)
	r.recovers("eu")
	low := r.at(assay.LeverRegion, "eu")
	r.run(9*time.Minute+50*time.Second, 10*time.Second)
	if got := r.at(assay.LeverRegion, "eu"); got != low {
		t.Fatalf("before ten healthy minutes it has %v", got)
	}
	n := len(r.log)
	r.run(5*time.Minute, 10*time.Second)
	if back := len(r.log) - n; back < 1 || back > 3 {
		t.Errorf("in five minutes %d steps back: %s %v", back, r.last.Words, r.last.Reasons)
	}
	r.run(15*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverRegion, "eu"); got != 50 {
		t.Errorf("it ends at %v of 50", got)
	}
}

func TestTelemetryLossAloneNeverDiverts(t *testing.T) {
	for name, loss := range map[string]func(*rig){
		"its counters are gone":           func(r *rig) { r.in.Values = without(r.in.Values, "eu", "bad", "total", "load") },
		"all of it is gone":               func(r *rig) { r.in.Values = without(r.in.Values, "eu", "bad", "total", "load", "probe") },
		"the probe alone fails":           func(r *rig) { r.set("probe", "eu", 1) },
		"its counters alone are bad":      func(r *rig) { r.set("bad", "eu", 9000) },
		"counters bad, the probe is gone": func(r *rig) { r.set("bad", "eu", 9000); r.in.Values = without(r.in.Values, "eu", "probe") },
	} {
		t.Run(name, func(t *testing.T) {
			r := example(t, "divert")
			regions(r)
			r.run(time.Minute, 10*time.Second)
			loss(r)
			r.run(30*time.Minute, 10*time.Second)
			if len(r.log) > 0 {
				t.Errorf("moved: %+v", r.log)
			}
		})
	}
}

func without(list []mitigate.Value, scope string, names ...string) (out []mitigate.Value) {
	for _, v := range list {
		drop := false
		for _, n := range names {
			drop = drop || v.Scope == scope && v.Name == n
		}
		if !drop {
			out = append(out, v)
		}
	}
	return out
}

func TestTrafficGoesOnlyWhereThereIsRoom(t *testing.T) {
	r := example(t, "divert")
	regions(r)
	r.fails("eu")
	for range 180 {
		moved := (50 - r.at(assay.LeverRegion, "eu")) / 100 * 1500
		r.set("load", "eu", 750-moved)
		r.set("load", "us", 450+0.6*moved)   // of 700, by its upper quantile a quarter more
		r.set("load", "asia", 300+0.4*moved) // of 500
		r.step(10 * time.Second)
		for region, most := range map[string]float64{"us": 700, "asia": 500} {
			for _, v := range r.in.Values {
				if v.Name == "load" && v.Scope == region && v.Value > most {
					t.Fatalf("%s gets %v requests/s of %v", region, v.Value, most)
				}
			}
		}
	}
	if got := r.at(assay.LeverRegion, "eu"); got >= 50 || got <= 25 {
		t.Errorf("eu keeps %v %%: there is room for some of its traffic, not for all", got)
	}
	r.says("have room for")
}

// Shares of regions need not be whole numbers; what a smaller step leaves is rounded up to one.
func TestASmallerStepThanDeclaredIsTakenIfItIsWorthItsMove(t *testing.T) {
	for _, c := range []struct {
		room float64 // percent of all traffic, for which the others have room
		want float64 // that eu keeps
	}{
		{0.9, 47.5}, // is held
		{1.1, 47},   // 46.4 would do
		{2.4, 46},   // 45.1 would
		{5.1, 42.5}, // the next of the declared steps
	} {
		r := example(t, "divert")
		regions(r)
		room := func(percent float64) {
			for i := range r.s.Spec.Divert.Regions {
				x := &r.s.Spec.Divert.Regions[i]
				x.Capacity = 1.25 * 3 * x.Share // its load, as far as it is known
				if x.Name == "us" {
					x.Capacity += 3 * percent
				}
			}
		}
		room(2.51) // the first step, and not twice as much
		r.fails("eu")
		for range 60 {
			if r.step(10 * time.Second); r.at(assay.LeverRegion, "eu") < 50 {
				break
			}
		}
		if at := r.at(assay.LeverRegion, "eu"); at != 47.5 {
			t.Fatalf("the first step leads to %v: %s %v", at, r.last.Words, r.last.Reasons)
		}
		room(c.room)
		for i, n := 0, len(r.log); i < 60 && len(r.log) == n; i++ {
			r.step(10 * time.Second)
		}
		if at := r.at(assay.LeverRegion, "eu"); math.Abs(at-c.want) > 1e-6 {
			t.Errorf("with room for %v %% eu keeps %v, want %v: %s %v", c.room, at, c.want, r.last.Words, r.last.Reasons)
		}
	}
}

func TestANoisyTenantIsHeldAtItsFairPartAndTheOthersAreNot(t *testing.T) {
	r := example(t, "isolate")
	trouble(r, "isolate")
	r.run(2*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverQuota, "beta"); got > 230 || got < 75 {
		t.Errorf("beta gets %v requests/s: %s %v", got, r.last.Words, r.last.Reasons)
	}
	for _, other := range []string{"acme", "corp"} {
		if got := r.at(assay.LeverQuota, other); got != 300 {
			t.Errorf("%s gets %v", other, got)
		}
	}
	r.set("usage", "beta", 60)
	r.set("latency", "", 0.1)
	r.run(60*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverQuota, "beta"); got != 300 {
		t.Errorf("an hour of calm later beta has %v of 300: %s %v", got, r.last.Words, r.last.Reasons)
	}
}

// 85 % of the capacity is divided while what waited is worked off, 95 % as long as nobody
// feels it.
func TestATenantThatIsHeldGetsWhatIsLeftOver(t *testing.T) {
	r := example(t, "isolate")
	trouble(r, "isolate")
	r.run(time.Minute, 10*time.Second)
	held := r.at(assay.LeverQuota, "beta")
	r.set("latency", "", 0.1)
	r.run(4*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverQuota, "beta"); got != held {
		t.Fatalf("beta has %v of %v after four minutes: %s", got, held, r.last.Words)
	}
	r.run(10*time.Minute, 10*time.Second)
	more := r.at(assay.LeverQuota, "beta")
	if more < held+29 || more > held+31 {
		t.Errorf("beta has %v of %v while nobody suffers and asks for 260: %s %v", more, held, r.last.Words, r.last.Reasons)
	}
	if len(r.log) != 2 {
		t.Errorf("it is felt for in steps: %+v", r.log)
	}
	r.set("latency", "", 0.9)
	r.run(time.Minute, 10*time.Second)
	if got := r.at(assay.LeverQuota, "beta"); got != held {
		t.Errorf("they suffer again and beta has %v, not %v: %s", got, held, r.last.Words)
	}
}

func TestUseOfAnIdleServiceIsNobodysFault(t *testing.T) {
	r := example(t, "isolate")
	trouble(r, "isolate")
	r.set("latency", "", 0.1)
	r.run(10*time.Minute, 10*time.Second)
	if len(r.log) > 0 {
		t.Errorf("held although nobody suffers: %+v", r.log)
	}
}

func TestFairSharesFillUpAndGuaranteeAndNeverExceed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "n")
		draw := func(name string, high float64) []float64 {
			return rapid.SliceOfN(rapid.Float64Range(0, high), n, n).Draw(t, name)
		}
		capacity := rapid.Float64Range(1, 1000).Draw(t, "capacity")
		demand, guarantee, weight := draw("demand", 500), draw("guarantee", 300), draw("weight", 10)
		for i := range weight {
			weight[i] += 0.1
		}
		got, sum, wants := mitigate.FairShares(capacity, demand, weight, guarantee), 0.0, 0.0
		promised := 0.0
		for i := range got {
			sum += got[i]
			wants += demand[i]
			promised += min(demand[i], guarantee[i])
			if got[i] > demand[i]+1e-6 {
				t.Fatalf("%v of a demand of %v", got[i], demand[i])
			}
		}
		if sum > capacity+1e-6 || sum < min(capacity, wants)-1e-3 {
			t.Fatalf("%v of a capacity of %v and a demand of %v are divided", sum, capacity, wants)
		}
		for i := range got {
			if promised <= capacity && got[i] < min(demand[i], guarantee[i])-1e-6 {
				t.Fatalf("%v of a guarantee of %v", got[i], guarantee[i])
			}
		}
	})
}

func TestATierThatBreaksItsPromiseGetsADearerClassAndOneWithMoreACheaper(t *testing.T) {
	r := example(t, "tiers")
	trouble(r, "tiers")
	r.run(2*time.Hour, time.Minute)
	if got := r.at(assay.LeverCostClass, "gold"); got != 0 {
		t.Errorf("gold has 99.0 %% of a promise of 99.9 %% and stays in class %v: %s", got, r.last.Words)
	}
	if got := r.at(assay.LeverCostClass, "basic"); got != 2 {
		t.Errorf("basic has 99.9 %% of a promise of 98 %% and stays in class %v: %s %v", got, r.last.Words, r.last.Reasons)
	}
}

func TestTheCheaperClassComesFirstAndTheLeastImportantJobWaits(t *testing.T) {
	r := example(t, "cost") // noon UTC is 13:00 in Vienna: eleven hours are left
	jobs(r)
	r.set("spent", "", 45) // 45 + 11·6 = 111
	r.run(3*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverCostClass, "load-tests"); got != 1 || r.at(assay.LeverClass, "load-tests") != 100 {
		t.Fatalf("load-tests are in class %v: %s %v", got, r.last.Words, r.last.Reasons)
	}
	r.set("spend_rate", "load-tests", 1.2) // 45 + 11·4.2 = 91.2: enough
	n := len(r.log)
	r.run(5*time.Minute, 10*time.Second)
	if len(r.log) != n {
		t.Errorf("it goes on although it fits: %+v", r.log[n:])
	}
	r.set("spend_rate", "integration", 6)
	r.run(15*time.Minute, 10*time.Second)
	if r.at(assay.LeverCostClass, "integration") != 1 || r.at(assay.LeverClass, "load-tests") != 0 {
		t.Errorf("integration class %v, load-tests let in %v %%", r.at(assay.LeverCostClass, "integration"), r.at(assay.LeverClass, "load-tests"))
	}
	if r.at(assay.LeverClass, "release") != 100 || r.at(assay.LeverCostClass, "release") != 0 {
		t.Error("the release was touched")
	}
}

func TestTheWaitsOfACapAreThoseThatItsDampingDeclares(t *testing.T) {
	for _, c := range []struct {
		name   string
		pace   *policy.Damping
		first  time.Duration // until load-tests get the cheaper class
		second time.Duration // until integration does
		back   time.Duration // until integration has the dear class again, once there is room
	}{
		{"the law's own", nil, time.Minute, 5 * time.Minute, 30 * time.Minute},
		{"others", &policy.Damping{Protect: &policy.Pace{Window: "2m", DeadTime: "8m"}, Relax: &policy.Pace{Window: "10m"}}, 2 * time.Minute, 8 * time.Minute, 10 * time.Minute},
	} {
		r := example(t, "cost")
		r.s.Spec.Damping = c.pace
		jobs(r)
		r.set("spent", "", 45)
		r.set("spend_rate", "integration", 20)
		const step = 10 * time.Second
		took := func(job string, class float64) (d time.Duration) {
			for r.at(assay.LeverCostClass, job) != class && d < time.Hour {
				r.run(step, step)
				d += step
			}
			return d
		}
		near := func(what string, got, want time.Duration) {
			if got < want || got > want+2*step {
				t.Errorf("%s, %s: after %s; expected %s", c.name, what, got, want)
			}
		}
		near("the first", took("load-tests", 1), c.first)
		near("the second", took("integration", 1), c.second)
		r.set("spend_rate", "integration", 0.1)
		r.set("spend_rate", "load-tests", 0.1)
		near("back", took("integration", 0), c.back)
	}
}

func TestAtTheCapEverythingStopsWhateverElseIsKnown(t *testing.T) {
	r := example(t, "cost")
	jobs(r)
	r.set("spent", "", 100)
	r.in.Values = without(r.in.Values, "load-tests", "spend_rate") // telemetry of it is gone
	r.run(time.Minute, 10*time.Second)
	for _, j := range []string{"integration", "load-tests"} {
		if got := r.at(assay.LeverClass, j); got != 0 {
			t.Errorf("%s runs on at %v %%: %s", j, got, r.last.Words)
		}
	}
	if r.at(assay.LeverClass, "release") != 100 {
		t.Error("the release stopped")
	}
	for _, a := range r.log {
		if a.Kind != assay.ActionStop {
			t.Errorf("it is a %s and no stop", a.Kind)
		}
	}
}

// A door without a cap is left alone while the cap is out of sight: nothing is wrong then.
func TestTheDoorGetsTheCapOnceItComesIntoSight(t *testing.T) {
	for _, c := range []struct {
		name  string
		spent float64
		rate  float64 // of load-tests
		sure  bool    // the other inputs are known
		want  float64
	}{
		{"half of it would be spent", 10, 0.1, true, 0},
		{"most of it is spent", 81, 0.1, true, 100},
		{"it would be passed at midnight", 45, 8, true, 100},
		{"it is reached, and nothing else is known", 100, 3, false, 100},
	} {
		r := example(t, "cost")
		jobs(r)
		r.lever(assay.LeverSpend, "", 0)
		r.set("spend_rate", "integration", 0.5)
		r.set("spend_rate", "load-tests", c.rate)
		r.set("spent", "", c.spent)
		if !c.sure {
			r.in.Values = without(r.in.Values, "load-tests", "spend_rate")
		}
		r.step(10 * time.Second)
		if c.spent < 80 && r.at(assay.LeverSpend, "") != 0 {
			t.Errorf("%s: the spike of a moment set the cap", c.name)
		}
		r.run(2*time.Minute, 10*time.Second)
		if got := r.at(assay.LeverSpend, ""); got != c.want {
			t.Errorf("%s: the door's cap is %v: %s %v", c.name, got, r.last.Words, r.last.Reasons)
		}
	}
	// One that it has is kept at what is declared, whatever is in sight.
	r := example(t, "cost")
	jobs(r)
	r.set("spend_rate", "load-tests", 0.1)
	r.lever(assay.LeverSpend, "", 250)
	r.run(time.Minute, 10*time.Second)
	if got := r.at(assay.LeverSpend, ""); got != 100 {
		t.Errorf("the door's cap is %v and the declared one 100: %s", got, r.last.Words)
	}
}

// The door's own cap saves nothing: nobody waits to see what it saved.
func TestTheCapAtTheDoorDelaysNoJobsMove(t *testing.T) {
	r := example(t, "cost")
	jobs(r)
	r.lever(assay.LeverSpend, "", 0)
	r.set("spent", "", 85)
	r.set("spend_rate", "load-tests", 0.01)
	r.set("spend_rate", "integration", 0.01)
	r.step(10 * time.Second)
	if r.at(assay.LeverSpend, "") != 100 {
		t.Fatalf("the door has no cap: %s", r.last.Words)
	}
	r.set("spend_rate", "load-tests", 8)
	r.run(90*time.Second, 10*time.Second)
	if r.at(assay.LeverCostClass, "load-tests") != 1 {
		t.Errorf("load-tests are still dear: %s %v", r.last.Words, r.last.Reasons)
	}
}

func TestAnApprovedOverrideLiftsTheCap(t *testing.T) {
	r := example(t, "cost")
	jobs(r)
	r.set("spent", "", 100)
	r.in.Extra = 80
	r.run(time.Minute, 10*time.Second)
	if r.at(assay.LeverClass, "integration") != 100 {
		t.Errorf("80 EUR more were allowed, and it stops: %s", r.last.Words)
	}
	r.says("a person allowed 80 EUR beyond the cap")
}

func TestAnAttackerIsCutOffAfterItsTracesAreKept(t *testing.T) {
	r := example(t, "contain")
	sources(r)
	r.set("anomaly", "10.0.0.9", 0.97)
	r.set("evidence", "10.0.0.9", 0)
	r.run(2*time.Minute, 10*time.Second)
	if len(r.log) > 0 {
		t.Fatalf("cut off before its traces are kept: %+v", r.log)
	}
	r.says("traces are not kept yet")
	r.set("evidence", "10.0.0.9", 1)
	r.step(10 * time.Second)
	if r.at(assay.LeverQuarantine, "10.0.0.9") != 1 || len(r.log) != 1 {
		t.Errorf("%+v: %s", r.log, r.last.Words)
	}
}

func TestAFalseQuarantineIsUndoneAtOnceByAPersonAndSoonByItself(t *testing.T) {
	r := example(t, "contain")
	sources(r)
	r.set("anomaly", "10.0.0.9", 0.97)
	r.run(time.Minute, 10*time.Second)
	r.in.Cleared = []string{"10.0.0.9"}
	r.step(10 * time.Second)
	if r.at(assay.LeverQuarantine, "10.0.0.9") != 0 {
		t.Fatalf("a person called it harmless: %s %v", r.last.Words, r.last.Reasons)
	}
	r.run(5*time.Minute, 10*time.Second)
	if r.at(assay.LeverQuarantine, "10.0.0.9") != 0 {
		t.Error("it is cut off again against what the person said")
	}
	r = example(t, "contain")
	sources(r)
	r.set("anomaly", "10.0.0.9", 0.97)
	r.run(time.Minute, 10*time.Second)
	r.set("anomaly", "10.0.0.9", 0.1)
	r.run(150*time.Second, 10*time.Second)
	if r.at(assay.LeverQuarantine, "10.0.0.9") != 0 {
		t.Errorf("after two quiet minutes it is still cut off: %s %v", r.last.Words, r.last.Reasons)
	}
}

func TestMoreSourcesThanDeclaredNeedAPerson(t *testing.T) {
	r := example(t, "contain")
	sources(r)
	r.set("share", "10.0.0.9", 0.4)
	r.set("anomaly", "10.0.0.9", 0.97)
	r.run(5*time.Minute, 10*time.Second)
	if len(r.log) > 0 {
		t.Errorf("40 %% of the requests were cut off: %+v", r.log)
	}
}

func TestAVersionThatFailsMoreThanItsNeighbourIsRolledBack(t *testing.T) {
	for _, c := range []struct {
		name              string
		bad, total        float64
		oldBad, oldTotal  float64
		age               time.Duration
		open, wantAborted bool
	}{
		{"bad canary", 60, 1000, 80, 9000, time.Minute, true, true},
		{"both fail alike", 600, 1000, 5400, 9000, time.Minute, true, false},
		{"too few", 5, 40, 1, 400, time.Minute, true, false},
		{"promoted a while ago, a remainder of the old one is left", 900, 9000, 5, 500, 20 * time.Minute, false, true},
		{"changed yesterday", 900, 9000, 5, 500, 24 * time.Hour, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := example(t, "rollback")
			r.set("bad", "v2", c.bad)
			r.set("total", "v2", c.total)
			r.set("bad", "v1", c.oldBad)
			r.set("total", "v1", c.oldTotal)
			r.lever(assay.LeverShare, "v2", 10)
			r.in.Changes = []mitigate.Change{{Time: r.now.Add(-c.age), Version: "v2", Old: "v1", Open: c.open}}
			d := r.step(time.Second)
			if (d.Action.Kind == assay.ActionAbort) != c.wantAborted {
				t.Errorf("it decides to %s: %s %v", d.Action.Kind, d.Words, d.Reasons)
			}
		})
	}
}

func TestAPromotedVersionThatStandsAloneIsHeldAgainstWhatWasBeforeIt(t *testing.T) {
	for _, c := range []struct {
		name           string
		bad, was       float64
		stuck          string
		returned, asks bool
		words          string
	}{
		{"it fails more than the old one did", 600, 80, "", false, true, "shop would go back to v1"},
		{"it fails as the old one did", 85, 80, "", false, false, "not shown to be"},
		{"nothing may be gone back to", 600, 80, "v1: the attestation was revoked", false, false, "there is no way back: v1: the attestation was revoked"},
		{"it was gone back to", 600, 80, "", true, false, "no version was changed"},
		{"nothing is known of the old one", 600, 0, "", false, false, "not shown to be"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := example(t, "rollback")
			r.set("bad", "v2", c.bad)
			r.set("total", "v2", 9000)
			r.lever(assay.LeverShare, "v2", 100)
			x := mitigate.Change{Time: r.now.Add(-20 * time.Minute), Version: "v2", Old: "v1", Back: "v1", WasBad: c.was, Stuck: c.stuck, Return: c.returned}
			if c.was > 0 {
				x.WasTotal = 9000
			}
			if c.stuck != "" {
				x.Back = ""
			}
			r.in.Changes = []mitigate.Change{x}
			d := r.step(time.Second)
			proposed := d.Proposed != nil && d.Proposed.Kind == assay.ActionAbort && d.Proposed.Version == "v2"
			if asks := d.Action.Kind == assay.ActionAsk && proposed; asks != c.asks || d.Action.Kind.Changes() {
				t.Errorf("it decides to %s: %s %v", d.Action.Kind, d.Words, d.Reasons)
			}
			if !strings.Contains(d.Words+strings.Join(d.Reasons, " "), c.words) {
				t.Errorf("it says %q and %v, not %q", d.Words, d.Reasons, c.words)
			}
		})
	}
}

func TestWhileAServiceGoesBackItsVersionIsNotTakenBackOnceMore(t *testing.T) {
	r := example(t, "rollback")
	trouble(r, "rollback")
	r.lever(assay.LeverShare, "v2", 100)
	r.in.Changes = []mitigate.Change{{Time: r.now, Version: "v1", Old: "v2", Open: true, Return: true}, {Time: r.now.Add(-time.Minute), Version: "v2", Old: "v1"}}
	if d := r.step(time.Second); d.Action.Kind != assay.ActionHold || d.Proposed != nil {
		t.Errorf("it decides to %s: %s", d.Action.Kind, d.Words)
	}
}

func TestShorterRetentionIsNeverAutomaticAndStaysInItsBounds(t *testing.T) {
	r := example(t, "data")
	r.s.Spec.Level = policy.LevelAct
	trouble(r, "data")
	d := r.step(time.Minute)
	if d.Action.Kind != assay.ActionAsk || d.Proposed == nil {
		t.Fatalf("it decides to %s: %s", d.Action.Kind, d.Words)
	}
	if p := *d.Proposed; p.Lever != assay.LeverRetention || p.Want != 50 || p.Now != 60 {
		t.Errorf("60 days that fill 90 %% are 50 for 75 %%, and %+v is proposed", p)
	}
}
