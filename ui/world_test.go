package ui_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/anomaly"
	"assay.dev/assay/api"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/budget"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
	"assay.dev/assay/ledger"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/replay"
	"assay.dev/assay/slo"
	"assay.dev/assay/ui"
	"golang.org/x/mod/sumdb/note"
)

const namespace = "default"

// hostile is a name that a page must show and never obey.
const hostile = `<script>alert(1)</script>"'&`

// town is an installation with services in a simulated world: the loop that
// steers them is the real one.
type town struct {
	*controltest.Installation
	t        testing.TB
	world    *sim.World
	past     *replay.Tape                // what the objectives counted
	recent   []assay.Reading             // what the world counted in the newest half minute
	tape     atomic.Pointer[replay.Tape] // of recent; nil when time has passed since
	ctl      *rollout.Controller
	standing *mitigate.Controller
	books    *budget.Books
	requests map[string]assay.Rate // by service/version
	handler  http.Handler

	running, aborted, asking, promoted, watching api.Rollout
}

// Read implements signal.Source: what the world has counted so far.
func (w *town) Read(ctx context.Context, q signal.Query) ([]assay.Reading, error) {
	if w.past != nil && q.Indicator.Name == q.Indicator.Service { // an objective's
		return w.past.Read(ctx, q)
	}
	tape := w.tape.Load()
	if tape == nil {
		var err error
		if tape, err = replay.New(namespace, w.recent); err != nil {
			return nil, err
		}
		w.tape.Store(tape)
	}
	readings, err := tape.Read(ctx, q)
	if q.Indicator.StratumLabel != "" {
		readings = byRoute(readings)
	}
	return readings, err
}

// byRoute divides readings among routes; the version under trial gets a little more of
// one than the others.
func byRoute(list []assay.Reading) (out []assay.Reading) {
	for _, r := range list {
		total, bad := r.Total, r.Bad()
		for i, name := range []string{"/pay", "/search", "/cart"} {
			part := []uint64{10, 30, 60}[i]
			if r.Version == "v3" && i < 2 {
				part += 2
			}
			one := r
			one.Stratum, one.Total = name, total*part/100
			of := bad * part / 100
			if i == 2 { // the rest
				one.Total, of = r.Total, r.Bad()
			}
			one.Good = one.Total - of
			r.Total, r.Good = r.Total-one.Total, r.Good-one.Good
			out = append(out, one)
		}
	}
	return out
}

// Status implements control.Enforcer from what the world says.
func (w *town) Status(ctx context.Context) (enforce.Status, error) {
	s := enforce.Status{Time: w.world.Now()}
	for _, name := range []string{"shop", "checkout", "catalog"} {
		seen, err := w.world.Observe(ctx, name)
		if err != nil {
			return s, err
		}
		route := enforce.RouteStatus{Name: name, Service: name}
		for v, percent := range seen.Shares {
			count := w.requests[name+"/"+v]
			ver := enforce.VersionStatus{Name: v, Digest: artifact(name, v), Percent: percent, Requests: count.Total, Errors: count.Bad}
			if v == "v5" {
				ver.Refusal = &enforce.Refusal{Step: 1, Name: "signature", Detail: "no attestation was given; expected one of a trusted key"}
			}
			route.Versions = append(route.Versions, ver)
		}
		slices.SortFunc(route.Versions, func(a, b enforce.VersionStatus) int { return int(b.Name[1]) - int(a.Name[1]) })
		s.Routes = append(s.Routes, route)
	}
	return s, nil
}

func artifact(service, version string) assay.Digest {
	return controltest.DigestOf(service + "-" + version)
}

// empty is an installation in which nothing has happened.
func empty(t testing.TB, anonymous *control.Caller) *town {
	t.Helper()
	w := &town{Installation: controltest.New(t), t: t}
	w.handler = w.pages(w.Plane, w.Now, anonymous)
	return w
}

func (w *town) pages(p *control.Plane, now func() time.Time, anonymous *control.Caller) http.Handler {
	w.t.Helper()
	h, err := ui.New(ui.Config{Plane: p, Anonymous: anonymous, Now: now, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil))})
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

var viewer = &control.Caller{Name: "anonymous", Namespace: namespace, Roles: []api.Role{api.RoleViewer}}

// busy is an installation in the middle of a day: a rollout that runs, one that
// was stopped, one that waits for a person, one that was promoted, verdicts of
// every kind, exceptions and objectives.
func busy(t testing.TB) *town {
	t.Helper()
	w := &town{Installation: controltest.New(t), t: t, requests: map[string]assay.Rate{}}
	fast := sim.Latency{Median: 12 * time.Millisecond, Spread: 0.4, Tail: 0.02, Slow: 6}
	slow := sim.Latency{Median: 14 * time.Millisecond, Spread: 0.5, Tail: 0.08, Slow: 12}
	var err error
	w.world, err = sim.New(sim.Config{Seed: 7, Start: w.Now().Add(-2 * time.Minute).Truncate(time.Second), Services: []sim.Service{
		{Name: "shop", Rate: 900, Versions: []sim.Version{
			{Name: "v1", Weight: 100, Errors: 0.01, Latency: fast}, {Name: "v2", Errors: 0.04, Latency: slow},
			{Name: "v3", Errors: 0.009, Latency: fast}, {Name: "v5", Errors: 0.01, Latency: fast},
		}},
		{Name: "checkout", Rate: 1500, Versions: []sim.Version{{Name: "a1", Weight: 100, Errors: 0.01, Latency: fast}, {Name: "a2", Errors: 0.004, Latency: fast}, {Name: "a3", Errors: 0.004, Latency: fast}}},
		{Name: "catalog", Rate: 60, Versions: []sim.Version{{Name: "c1", Weight: 100, Errors: 0.004, Latency: fast}, {Name: "c2", Errors: 0.006, Latency: fast}}},
	}})
	must(t, err)
	w.AddPolicy("exceptions.yaml", twoApprove, "strategies.yaml", standing, "calendar.yaml", w.planned())
	w.pastTraffic()
	w.ctl = rollout.New(rollout.Config{
		Store: w.Store, Blobs: w.Config.Blobs, Source: w, Actuator: w.world, Now: w.world.Now,
		Log: slog.New(slog.DiscardHandler), Holder: "test", Recorded: w.Config.Poke, Window: 5 * time.Second,
	})
	w.books = budget.New(budget.Config{Source: w, Namespace: namespace, Now: w.world.Now})
	must(t, w.books.SetObjectives([]slo.Objective{w.objective("shop", "0.985"), w.objective("checkout", "0.99"), w.objective("catalog", "0.99")}))
	cfg := w.Config
	cfg.Keys, cfg.Ledger = &ring{}, w.witnessed()
	cfg.Publishes, cfg.Now, cfg.Rollouts, cfg.Enforcer, cfg.Books = true, w.world.Now, w.ctl, w, w.books
	watched := w.watched()
	w.standing = w.strategies()
	cfg.Watched, cfg.Compared, cfg.Strategies = watched, w.compared(), w.standing
	w.Plane = control.New(cfg)
	w.handler = w.pages(w.Plane, w.world.Now, viewer)
	w.verdicts()
	w.pass(20*time.Second, "")
	w.rollouts()
	w.supply()
	for w.books.Step(t.Context(), w.world.Now()) {
		continue
	}
	for watched.Step(t.Context(), w.world.Now()) {
		continue
	}
	return w
}

// watched watches two of the town's objectives.
func (w *town) watched() *anomaly.Watcher {
	w.t.Helper()
	a := anomaly.New(anomaly.Config{
		Source: w, Store: w.Store, Namespace: namespace, Now: w.world.Now, Log: slog.New(slog.DiscardHandler),
		Policy: func() (*policy.Revision, error) {
			p, err := w.Config.Policy()
			return p.Revision, err
		},
	})
	must(w.t, a.SetObjectives([]slo.Objective{w.objective("shop", "0.985"), w.objective("checkout", "0.99")}))
	return a
}

// pastTraffic is what the objectives counted in the two hours before, one
// reading a minute, with a hole of some minutes. One of them is known for longer.
func (w *town) pastTraffic() {
	var readings []assay.Reading
	start := w.world.Now().Truncate(time.Minute).Add(-2 * time.Hour)
	for name, arm := range map[string]replay.Arm{"shop": {Version: "v1", Rate: 40, Errors: 0.011}, "catalog": {Version: "c1", Rate: 8, Errors: 0.013}} {
		drawn := replay.World{Service: name, Errors: name, Step: time.Minute}.Draw(11, start, 122, arm)
		for i, r := range drawn {
			if i > 70 && i < 76 {
				continue
			}
			readings = append(readings, r)
		}
	}
	for h := range daysOfCheckout * 24 {
		from := start.Add(time.Duration(h+2-daysOfCheckout*24) * time.Hour)
		arm := replay.Arm{Version: "a1", Rate: 60 + 25*math.Sin(2*math.Pi*float64(h)/24), Errors: 0.004}
		readings = append(readings, replay.World{Service: "checkout", Errors: "checkout", Step: time.Minute}.Draw(uint64(11+h), from, 60, arm)...)
	}
	tape, err := replay.New(namespace, readings)
	must(w.t, err)
	w.past = tape
}

// daysOfCheckout are for how many days the load of checkout is known: a forecast of it
// has seen every hour of the day more than once.
const daysOfCheckout = 4

// planned is a calendar: a sale that is about to begin, and work that is over.
func (w *town) planned() string {
	now := w.world.Now()
	at := func(d time.Duration) string { return now.Add(d).Format("2006-01-02T15:04") }
	return "apiVersion: assay.dev/v1alpha1\nkind: Calendar\nmetadata: {name: year, namespace: default}\nspec:\n  services: [checkout]\n  events:\n" +
		"    - {name: sale, kind: event, start: \"" + at(40*time.Minute) + "\", end: \"" + at(5*time.Hour) + "\", factor: 1.4}\n" +
		"    - {name: database, kind: maintenance, start: \"" + at(-20*time.Hour) + "\", end: \"" + at(-18*time.Hour) + "\"}\n"
}

func (w *town) objective(service, target string) slo.Objective {
	w.t.Helper()
	o := slo.Objective{SLO: service, Name: "availability", Service: service, Method: slo.MethodOccurrences, Window: slo.Window{Rolling: true}}
	must(w.t, o.Window.Duration.UnmarshalText([]byte("1h")))
	must(w.t, o.Target.UnmarshalText([]byte(target)))
	o.Indicator = slo.Indicator{Name: service, Counter: true,
		Bad: &slo.Query{Type: "Prometheus", Text: "errors_total"}, Total: slo.Query{Type: "Prometheus", Text: "requests_total"}}
	return o
}

// pass lets time pass and carries a rollout on.
func (w *town) pass(d time.Duration, id string) {
	w.t.Helper()
	got, err := w.world.Step(d)
	must(w.t, err)
	w.tape.Store(nil)
	w.recent = slices.DeleteFunc(append(w.recent, got...), func(r assay.Reading) bool {
		return w.world.Now().Sub(r.End) > 30*time.Second
	})
	for _, r := range got {
		if r.Indicator == sim.IndicatorErrors {
			key := r.Service + "/" + r.Version
			w.requests[key] = assay.Rate{Bad: w.requests[key].Bad + r.Bad(), Total: w.requests[key].Total + r.Total}
		}
	}
	if id != "" {
		must(w.t, w.ctl.Acquire(w.t.Context())) // simulated time runs past leases
		must(w.t, w.ctl.Step(w.t.Context(), namespace, id))
	}
}

func (w *town) start(service, control, canary string, change func(*decide.Plan)) api.Rollout {
	w.t.Helper()
	return w.propose(service, canary, func(p *rollout.Proposal) {
		if change != nil {
			change(&p.Plan)
		}
	})
}

func (w *town) propose(service, canary string, change func(*rollout.Proposal)) api.Rollout {
	w.t.Helper()
	p := decide.NewPlan()
	p.Name, p.Service, p.Budget = service, service, 800
	p.Alpha, p.MinDuration, p.MaxAge, p.Horizon = 0.0005, 3*time.Second, 5*time.Second, 10*time.Minute
	p.Indicators = []decide.Indicator{
		{Name: sim.IndicatorErrors, Weight: 1, Required: true}, {Name: sim.IndicatorLatency, Weight: 1, Required: true, Bounds: []float64{0.025, 0.1}},
	}
	must(w.t, w.ctl.Acquire(w.t.Context()))
	proposal := rollout.Proposal{
		Namespace: namespace, Actor: "ada", Name: service, Plan: p, Canary: canary, Baseline: 10 * time.Second, Digest: artifact(service, canary),
		Indicators: []rollout.Indicator{
			{Spec: signal.Spec{Service: service, Name: sim.IndicatorErrors, Bad: "errors_total", Total: "requests_total"}},
			{Spec: signal.Spec{Service: service, Name: sim.IndicatorLatency, Buckets: "latency_bucket", Threshold: 0.1}},
		},
	}
	change(&proposal)
	r, err := w.ctl.Propose(w.t.Context(), proposal)
	must(w.t, err)
	return r
}

// until carries a rollout on until done says so.
func (w *town) until(id string, done func(api.Rollout) bool) api.Rollout {
	w.t.Helper()
	var r api.Rollout
	for range 1000 {
		w.pass(250*time.Millisecond, id)
		var err error
		r, err = rollout.Get(w.t.Context(), w.Store, namespace, id)
		must(w.t, err)
		if done(r) {
			return r
		}
	}
	w.t.Fatalf("the rollout does not come to an end: %s, %s", r.Status, r.Reason)
	return api.Rollout{}
}

func (w *town) rollouts() {
	judged := func(r api.Rollout) bool { return r.Status.Ended() && r.Outcome != nil }
	w.promoted = w.until(w.start("checkout", "a1", "a2", nil).ID, judged)
	w.aborted = w.until(w.start("shop", "v1", "v2", nil).ID, judged)
	asked := w.start("catalog", "c1", "c2", func(p *decide.Plan) { p.Horizon = 20 * time.Second })
	w.asking = w.until(asked.ID, func(r api.Rollout) bool { return r.Status == api.RolloutAsking })
	on := w.propose("shop", "v3", func(p *rollout.Proposal) { p.Indicators[0].Spec.StratumLabel = "route" })
	w.running = w.until(on.ID, func(r api.Rollout) bool {
		return r.Decision != nil && 0 < r.Decision.Remaining && r.Decision.Remaining < 1000 // it is not shown safe yet
	})
	for range 8 {
		w.pass(250*time.Millisecond, on.ID)
	}
	blueGreen := w.propose("checkout", "a3", func(p *rollout.Proposal) {
		p.Strategy, p.Watch, p.Plan.Steps = api.StrategyBlueGreen, 30*time.Second, []int{100}
	})
	for range 16 {
		w.pass(250*time.Millisecond, blueGreen.ID)
	}
	var err error
	w.watching, err = rollout.Get(w.t.Context(), w.Store, namespace, blueGreen.ID)
	must(w.t, err)
}

// verdicts are one of every kind, and exceptions that wait, hold and are over.
func (w *town) verdicts() {
	t, ctx := w.t, w.t.Context()
	ci := w.As("ci", namespace, api.RoleDeveloper)
	attest := func(name string, reports ...string) {
		_, err := ci.Attest(ctx, w.Request(ci, name, reports...))
		must(t, err)
	}
	attest("shop-v2", controltest.Tests, controltest.Clean)
	_, err := w.As("root", namespace, api.RoleAdmin).RotateKey(ctx, api.KeyRotation{})
	must(t, err)
	attest("shop-v3", controltest.Tests, controltest.Clean)
	attest("checkout-a2", controltest.Tests, controltest.Clean)
	attest("shop-v4", controltest.Tests, controltest.Vulnerable)
	attest("shop-v5", controltest.Tests)
	ask := func(reason string, d time.Duration, subjects ...assay.Digest) assay.Exception {
		e, err := w.As("ada", namespace, api.RoleDeveloper).RequestException(ctx, api.ExceptionRequest{
			Scope:  assay.ExceptionScope{Rules: []string{controltest.Rule}, Subjects: subjects},
			Reason: reason, Ticket: "SHOP-118", NotAfter: w.world.Now().Add(d),
		})
		must(t, err)
		return e
	}
	bea := w.As("bea", namespace, api.RoleApprover)
	used := ask("the vulnerable function is never called; the fix ships tomorrow", 6*time.Hour, artifact("shop", "v4"))
	cyd := w.As("cyd", namespace, api.RoleApprover)
	for _, approver := range []*control.Session{bea, cyd} {
		_, err := approver.ApproveException(ctx, used.ID)
		must(t, err)
	}
	w.pass(time.Second, "")
	attest("shop-v4", controltest.Tests, controltest.Vulnerable)
	denied := ask("we would like to have one, just in case", 24*time.Hour)
	_, err = bea.RevokeException(ctx, denied.ID, "there is no finding that it would be about")
	must(t, err)
	half := ask("the scanner's database is wrong about this version "+hostile, 12*time.Hour)
	_, err = cyd.ApproveException(ctx, half.ID)
	must(t, err)
}

// twoApprove makes an exception take two people.
const twoApprove = `apiVersion: assay.dev/v1alpha1
kind: ExceptionPolicy
metadata: {name: exceptions, namespace: default}
spec: {approvals: 2}
`

// supply is what runs where, keys of every state, and a bypass.
func (w *town) supply() {
	t, ctx := w.t, w.t.Context()
	agent := w.As("host-1", namespace, api.RoleAgent)
	report := func(environment string, sightings ...api.Sighting) {
		_, err := agent.Report(ctx, api.InventoryReport{Environment: environment, Sightings: sightings})
		must(t, err)
	}
	sees := func(service, version string, instances int) api.Sighting {
		return api.Sighting{Service: service, Digest: artifact(service, version), Instances: instances}
	}
	report("prod", sees("shop", "v2", 1), sees("shop", "v3", 6), sees("shop", "v4", 2), sees("shop", "v5", 1), sees("checkout", "a2", 4),
		sees("legacy", "v0", 1), api.Sighting{Service: "mail", Place: "office", Image: "registry.example/mail:latest"})
	report("staging", sees("shop", "v3", 1), sees("checkout", "a2", 1))
	root := w.As("root", namespace, api.RoleAdmin)
	_, err := root.RotateKey(ctx, api.KeyRotation{Overlap: 24 * 3600})
	must(t, err)
	_, err = root.RevokeKey(ctx, api.KeyRevocationRequest{Key: "key-1", CompromisedSince: w.world.Now().Add(-time.Hour), Reason: "the laptop that held it was stolen"})
	must(t, err)
	_, err = w.As("olga", namespace, api.RoleOperator).BypassException(ctx, api.BypassRequest{
		Scope:  assay.ExceptionScope{Rules: []string{"absent/vulnerabilities"}, Subjects: []assay.Digest{artifact("shop", "v5")}},
		Reason: "the scanner is down and customers cannot pay", Ticket: "INC-77", NotAfter: w.world.Now().Add(2 * time.Hour),
	})
	must(t, err)
}

// witnessed is the ledger with a policy of three witnesses, of whom two cosign each
// head at once.
func (w *town) witnessed() *ledger.Ledger {
	t := w.t
	var text strings.Builder
	var signers []note.Signer
	for _, name := range []string{"a", "b", "c"} {
		skey, _, err := ledger.GenerateKey(rand.Reader, "witness.example/"+name)
		must(t, err)
		c, err := ledger.NewCosigner(skey, w.world.Now)
		must(t, err)
		text.WriteString("witness " + name + " " + c.VKey() + "\n")
		if name != "c" {
			signers = append(signers, c)
		}
	}
	policy, err := ledger.ParseWitnessPolicy([]byte(text.String() + "group g 2 a b c\nquorum g\n"))
	must(t, err)
	verifier, err := ledger.ParseVerifier(w.VKey)
	must(t, err)
	led, err := ledger.New(w.Store, []byte(controltest.Salt), []ledger.Epoch{{
		Origin: assay.DefaultOrigin, Reader: w.Tree, Verifier: verifier, Witnesses: policy,
		Cosigned: func(ctx context.Context) ([]byte, error) {
			raw, err := w.Tree.ReadCheckpoint(ctx)
			if err != nil {
				return nil, err
			}
			n, err := note.Open(raw, note.VerifierList(verifier))
			if err != nil {
				return nil, err
			}
			return note.Sign(n, signers...)
		},
	}})
	must(t, err)
	return led
}

// ring holds signing keys in memory.
type ring struct{ next attest.Signer }

// Next implements control.KeyRing.
func (r *ring) Next(context.Context) (attest.Signer, error) {
	if r.next == nil {
		made, err := keyfile.Generate(keyfile.Ed25519)
		if err != nil {
			return nil, err
		}
		r.next = made
	}
	return r.next, nil
}

// Turn implements control.KeyRing.
func (r *ring) Turn(context.Context, string) error { r.next = nil; return nil }

// Publish implements control.KeyRing.
func (r *ring) Publish(context.Context, attest.Trust) error { return nil }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newest is the id of the newest fact of a kind.
func (w *town) newest(kind string) assay.FactID {
	w.t.Helper()
	facts, err := w.As("x", namespace, api.RoleViewer).Facts(w.t.Context(), []string{kind}, "", 1)
	must(w.t, err)
	if len(facts) == 0 {
		w.t.Fatalf("no fact of kind %s", kind)
	}
	return facts[0].ID
}

// addresses are all pages of a busy town, by name.
func (w *town) addresses() map[string]string {
	return map[string]string{
		"overview": "/", "services": "/services", "service": "/services/shop", "forecast": "/services/checkout/forecasts/checkout/0", "forecast-thin": "/services/shop/forecasts/shop/0", "rollouts": "/rollouts",
		"rollout-running": "/rollouts/" + w.running.ID, "rollout-aborted": "/rollouts/" + w.aborted.ID,
		"rollout-watching": "/rollouts/" + w.watching.ID,
		"rollout-asking":   "/rollouts/" + w.asking.ID, "rollout-promoted": "/rollouts/" + w.promoted.ID,
		"models": "/models", "model": "/models/" + w.checkoutModel(), "strategies": "/strategies", "strategy-acting": "/strategies/shop-scale", "strategy-asking": "/strategies/checkout-throttle",
		"strategy-paused": "/strategies/catalog-cost", "decision-mitigation": "/decisions/" + string(w.newest(assay.FactMitigationDecided)),
		"decisions": "/decisions", "decision-abort": "/decisions/" + string(w.aborted.DecidedFact) + "?replay=1",
		"gates": "/gates", "artifacts": "/artifacts", "artifact": fmt.Sprintf("/artifacts/%s", artifact("shop", "v4")),
		"log": "/log", "fact": "/facts/" + string(w.newest(assay.FactRolloutEnded)), "exceptions": "/exceptions",
		"artifact-revoked": fmt.Sprintf("/artifacts/%s", artifact("shop", "v2")), "coverage": "/coverage", "operations": "/operations", "keys": "/keys",
		"search": "/search?q=shop", "login": "/login",
	}
}
