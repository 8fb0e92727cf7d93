package ui_test

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/signal"
)

// standing are the town's strategies: one that acts, one that asks, one that is paused.
const standing = `apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: shop-scale, namespace: default}
spec:
  service: shop
  objective: shop/0
  level: act
  signals: [{name: load, query: shop_load}]
  scale: {perReplica: 40, lead: 2m, costReplica: 0.1, costViolation: 0.05, min: 2, max: 60, forecast: {step: 15m, past: 168h, zone: UTC}}
---
apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: checkout-throttle, namespace: default}
spec:
  service: checkout
  level: approve
  signals:
    - {name: latency, query: checkout_latency}
    - {name: samples, query: checkout_samples}
    - {name: inflight, query: checkout_inflight}
  throttle: {lever: concurrency, latency: 0.3, min: 10, max: 400}
---
apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: catalog-cost, namespace: default}
spec:
  service: catalog
  environment: staging
  level: act
  deterministic: true
  signals:
    - {name: spent, query: catalog_spent}
    - {name: spend_rate, query: catalog_spend_rate, by: job}
  cost:
    currency: EUR
    dailyCap: 100
    zone: UTC
    jobs: [{name: release, essential: true}, {name: load-tests}]
`

// gauges tells strategies numbers that follow from the time alone. The load of shop rises
// three quarters of an hour before its end.
type gauges struct{ end time.Time }

func (g gauges) load(at time.Time) float64 {
	since := at.Sub(g.end).Seconds() + 45*60
	day := 700 + 200*math.Sin(2*math.Pi*since/86400) + 12*math.Sin(since/97)
	if since > 0 {
		day += 450
	}
	return day
}

// Gauge implements signal.Gauges.
func (g gauges) Gauge(_ context.Context, q signal.GaugeQuery) ([]signal.Gauge, error) {
	one := func(v float64) []signal.Gauge { return []signal.Gauge{{Value: v, Time: q.Time, Completeness: 1}} }
	switch q.Expr {
	case "shop_load":
		return one(g.load(q.Time)), nil
	case "checkout_latency":
		return one(0.45 + 0.1*math.Sin(float64(q.Time.Unix())/600)), nil
	case "checkout_samples":
		return one(6000), nil
	case "checkout_inflight":
		return one(180 + 40*math.Sin(float64(q.Time.Unix())/400)), nil
	case "catalog_spent":
		return one(30), nil
	case "catalog_spend_rate":
		return []signal.Gauge{{Scope: "load-tests", Value: 4, Time: q.Time, Completeness: 1}, {Scope: "release", Value: 1, Time: q.Time, Completeness: 1}}, nil
	}
	return nil, nil
}

// Past implements signal.Gauges.
func (g gauges) Past(_ context.Context, _, _ string, start, end time.Time, step time.Duration) (out []float64, err error) {
	for at := start; at.Before(end); at = at.Add(step) {
		out = append(out, g.load(at))
	}
	return out, nil
}

// machines are the levers of the town's services: they have an owner of their own.
func (w *town) machines() *sim.World {
	w.t.Helper()
	quick, world := sim.Latency{Median: time.Millisecond}, sim.Config{Seed: 1, Start: w.world.Now()}
	for name, levers := range map[string][]act.LeverAt{
		"shop":     {{Lever: assay.LeverReplicas, Value: 24}},
		"checkout": {{Lever: assay.LeverConcurrency, Value: 400}},
		"catalog":  {{Lever: assay.LeverClass, Scope: "load-tests", Value: 100}, {Lever: assay.LeverClass, Scope: "release", Value: 100}},
	} {
		world.Services = append(world.Services, sim.Service{Name: name, Rate: 1, Levers: levers, Versions: []sim.Version{{Name: "v1", Weight: 100, Latency: quick}}})
	}
	made, err := sim.New(world)
	must(w.t, err)
	return made
}

// strategies returns what runs the town's strategies, after two hours and a half.
func (w *town) strategies() *mitigate.Controller {
	w.t.Helper()
	now, machines, numbers := w.world.Now().Add(-150*time.Minute), w.machines(), gauges{w.world.Now()}
	clock := func() time.Time { return now }
	ctl := mitigate.New(mitigate.Config{
		Store: w.Store, Blobs: w.Config.Blobs, Gauges: numbers, Actuator: machines, Now: func() time.Time { return clock() },
		Log: slog.New(slog.DiscardHandler), Holder: "test", Prove: -1, Recorded: w.Config.Poke,
		Strategies: func() (out []mitigate.Strategy, _ assay.Digest, _ error) {
			p, err := w.Config.Policy()
			if err != nil {
				return nil, "", err
			}
			for _, s := range p.Revision.Strategies() {
				out = append(out, mitigate.Of(s))
			}
			return out, p.Revision.Digest(), nil
		},
		Burn: func(ctx context.Context, _, _ string) (rate float64, instead string, known bool) {
			list, err := machines.Levers(ctx, "shop")
			if err != nil || 40*list[0].Value < numbers.load(now) {
				return 0.004, "", err == nil // too few replicas: every answer is late
			}
			return 1e-6, "", true
		},
	})
	back := now.Sub(w.Now())
	w.Advance(back) // leases are of the store's time
	for ; now.Before(w.world.Now()); now = now.Add(time.Minute) {
		must(w.t, ctl.Acquire(w.t.Context())) // looks are farther apart than leases last
		must(w.t, ctl.Step(w.t.Context()))
		w.Advance(time.Minute)
		back += time.Minute
	}
	must(w.t, ctl.Acquire(w.t.Context()))
	_, err := ctl.Tell(w.t.Context(), namespace, "catalog-cost", "olga", api.StrategyAnswer{Told: mitigate.ToldPause, Reason: "the invoice is being checked"})
	must(w.t, err)
	w.Advance(-back)
	clock = w.Now
	return ctl
}

func aStrategyShowsItsBandItsTurnsAndWhatItDid(t *testing.T, w *town) {
	says(t, w.get("/strategies"), http.StatusOK, "shop-scale", "acting", "waits for you", "paused", "stand → wanted", ">of 5<")
	// Its actions come within the first minute of each trouble: what would have become of it nobody knows.
	says(t, w.get("/strategies/shop-scale"), http.StatusOK,
		"keeps the replicas", "band in which nothing changes", `class="area safe"`, `class="line want"`, `class="dot canary"`, "last move, read back",
		"what moves them", "Turns in the last hour", "of 5", "What its actions did", "inconclusive", "Forecast of its load", "What it reads", "load", "Guardrails", "read back", "/decisions/", "assay strategy explain shop-scale")
	says(t, w.get("/strategies/catalog-cost"), http.StatusOK, "Olga paused it: the invoice is being checked", "declared rules alone")
	says(t, w.get("/strategies/none"), http.StatusNotFound, "There is no strategy")
}

// What a person is asked about is answered on the page, by who may, and the answer is to
// the question that the page showed.
func aPersonAnswersAStrategy(t *testing.T, w *town) {
	const page = "/strategies/checkout-throttle"
	bea := w.as("bea", api.RoleApprover)
	says(t, w.get("/"), http.StatusOK, "checkout-throttle")
	says(t, w.get(page), http.StatusOK, "May it adjust", "needs the role operator or approver")
	body := w.get(page, bea).Body.String()
	_, rest, ok := strings.Cut(body, `name="question" value="`)
	if !ok || !strings.Contains(body, "Approve") || !strings.Contains(body, "Refuse") {
		t.Fatalf("the page asks nothing:\n%s", body)
	}
	question, _, _ := strings.Cut(rest, `"`)
	form := url.Values{"told": {"approve"}, "question": {question}, "reason": {"customers wait"}}
	if rec := w.post(page+"/answers", form); rec.Code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", rec.Code)
	}
	if rec := w.post(page+"/answers", form, w.as("vic", api.RoleViewer)); rec.Code != http.StatusForbidden {
		t.Errorf("a viewer: %d", rec.Code)
	}
	must(t, w.standing.Acquire(t.Context()))
	wrong := url.Values{"told": {"approve"}, "question": {"000000000000"}, "reason": {"customers wait"}}
	says(t, w.post(page+"/answers", wrong, bea), http.StatusConflict, "is not open")
	says(t, w.post(page+"/answers", url.Values{"told": {"allow"}, "amount": {"much"}, "reason": {"more"}}, bea), http.StatusBadRequest, "is not a number")
	if rec := w.post(page+"/answers", form, bea); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != page {
		t.Fatalf("an approver: %d to %q\n%s", rec.Code, rec.Header().Get("Location"), rec.Body)
	}
	answered := w.get(page)
	says(t, answered, http.StatusOK, "told: approve", "customers wait", "bea")
	if strings.Contains(answered.Body.String(), question) {
		t.Error("it asks again what was answered")
	}
}

// A mitigation's decision is told as one: with its lever, and no version of a rollout.
func aMitigationsDecisionLeadsToItsStrategy(t *testing.T, w *town) {
	id := string(w.newest(assay.FactMitigationActed))
	says(t, w.get("/facts/"+id), http.StatusOK, `href="/strategies/`, "its strategy")
	body := w.get("/decisions/" + string(w.newest(assay.FactMitigationDecided))).Body.String()
	if !strings.Contains(body, "/strategies/") || strings.Contains(body, `href="/rollouts/"`) {
		t.Errorf("a mitigation's decision does not lead to its strategy:\n%s", body)
	}
}
