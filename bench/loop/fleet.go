package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	actproxy "assay.dev/assay/act/proxy"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
)

// The fleet: so many services have a rollout under way that a thousand still have one when the
// last event is measured.
const (
	fleetServices = 1200
	fleetEvents   = 200
	fleetSenders  = 20
	fleetEvery    = 5 * time.Second  // between two batches of a sender, as the proxies send
	fleetWarm     = 2                // batches of each sender before the first event
	fleetAtOnce   = 8                // proposals under way
	fleetIdle     = 20 * time.Second // of watching without data
	fleetPatience = 30 * time.Second
	senderHeader  = "Bench-Sender"

	watchTarget = 0.5 // cores
)

// measureFleet runs a rollout of each of over a thousand services behind one proxy, a
// process of its own, and lets one service after another turn bad: from the first
// byte of the batch that shows it to the proxy's answer, read back, that its new
// version has no traffic any more.
func measureFleet(ctx context.Context, b *run.Bench) error {
	took, err := fleetOnce(ctx, b)
	if err != nil {
		return err
	}
	p50, p99 := result.Percentile(took, 0.5), result.Percentile(took, 0.99)
	b.Say("fleet: %d events, p50 %.0f ms, p99 %.0f ms, most %.0f ms", len(took), 1e3*p50, 1e3*p99, 1e3*result.Percentile(took, 1))
	name := fmt.Sprintf("data arrival to traffic taken back, %d services, ", fleetServices-fleetEvents)
	one := func(quantile string, v float64) result.Row {
		row := result.New(name+quantile, "s", []float64{v})
		row.Rounds = len(took)
		return row
	}
	b.Rows = append(b.Rows, one("p50", p50), one("p99", p99).Want("<", reactTarget))
	return nil
}

func fleetOnce(ctx context.Context, b *run.Bench) ([]float64, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	f, err := openFleet(ctx, b, filepath.Join(b.Dir, "fleet"))
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- f.ctl.Run(ctx) }()
	defer func() {
		stop()
		<-done
		f.close()
	}()
	began := time.Now()
	if err := f.begin(ctx); err != nil {
		return nil, err
	}
	b.Say("fleet: %d rollouts have their first share, after %.1f s", fleetServices, time.Since(began).Seconds())
	idle, err := f.work(func() error {
		select {
		case <-ctx.Done():
		case <-time.After(fleetIdle):
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	b.Say("fleet: without data %s", idle)
	b.Rows = append(b.Rows, result.New(fmt.Sprintf("processor that %d watched rollouts take without data", fleetServices), "cores", []float64{idle.engine}).Want("<", watchTarget))
	var took []float64
	busy, err := f.work(func() (err error) {
		took, err = f.play(ctx)
		return err
	})
	b.Say("fleet: with data %s", busy)
	return took, err
}

// load is what was done in a stretch of time: processors taken and decisions made.
type load struct {
	engine, proxy float64 // cores; engine is the process with the engine, the intake and the senders
	evaluations   float64 // a second
}

func (l load) String() string {
	return fmt.Sprintf("%.0f evaluations a second, %.2f cores here and %.2f in the proxy", l.evaluations, l.engine, l.proxy)
}

// work measures what is taken while do runs.
func (f *fleet) work(do func() error) (load, error) {
	began := time.Now()
	engine, proxy, evaluations, err := f.taken()
	if err != nil {
		return load{}, err
	}
	if err := do(); err != nil {
		return load{}, err
	}
	engine2, proxy2, evaluations2, err := f.taken()
	span := time.Since(began).Seconds()
	return load{(engine2 - engine).Seconds() / span, (proxy2 - proxy).Seconds() / span, (evaluations2 - evaluations) / span}, err
}

// taken is the processor time that this process and the proxy have had, and how many
// evaluations the engine has made.
func (f *fleet) taken() (engine, proxy time.Duration, evaluations float64, err error) {
	if engine, err = processor(os.Getpid()); err != nil {
		return 0, 0, 0, err
	}
	if proxy, err = processor(f.proxy.Process.Pid); err != nil {
		return 0, 0, 0, err
	}
	families, err := f.metrics.Gather()
	for _, family := range families {
		if family.GetName() == "assay_rollout_evaluations_total" {
			for _, m := range family.GetMetric() {
				evaluations += m.GetCounter().GetValue()
			}
		}
	}
	return engine, proxy, evaluations, err
}

// processor is the time on processors that a process has had, by what Linux says.
func processor(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// After the name in parentheses, which may hold anything, come the state and numbers.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	const user, system, perSecond = 11, 12, 100
	ticks := 0
	for _, i := range []int{user, system} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / perSecond, nil
}

// fleet is a control loop with a proxy in another process.
type fleet struct {
	loop
	say      func(format string, args ...any)
	proxy    *exec.Cmd
	client   *actproxy.Client
	acted    *stopwatch
	services []string
}

func openFleet(ctx context.Context, b *run.Bench, dir string) (*fleet, error) {
	f := &fleet{say: b.Say}
	for i := range fleetServices {
		f.services = append(f.services, fmt.Sprintf("service-%04d", i))
	}
	door := filepath.Join(dir, "door")
	if err := os.MkdirAll(door, 0o755); err != nil {
		return nil, err
	}
	if err := f.startProxy(ctx, b, door); err != nil {
		return nil, err
	}
	f.acted = &stopwatch{Actuator: f.client, done: map[string]chan applied{}}
	return f, f.engine(ctx, b, dir, f.acted, f.client, func(r *http.Request) string { return r.Header.Get(senderHeader) })
}

// startProxy runs the program's proxy with a route for each service.
func (f *fleet) startProxy(ctx context.Context, b *run.Bench, dir string) error {
	var conf enforce.Config
	for _, s := range f.services {
		r := enforce.Route{Name: s, Service: s, Host: s + ".test", Entry: enforce.Entry{Mode: assay.ModeDryRun, ResourceURI: "pkg:generic/" + s}}
		for i, v := range fleetVersions {
			r.Versions = append(r.Versions, enforce.Version{Name: v, Digest: digest(byte(i + 1)), Backend: "http://127.0.0.1:9", Weight: 100 - 100*i})
		}
		conf.Routes = append(conf.Routes, r)
	}
	data, err := json.Marshal(conf)
	if err != nil {
		return err
	}
	routes := filepath.Join(dir, "routes.json")
	if err := os.WriteFile(routes, data, 0o600); err != nil {
		return err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control := free.Addr().String()
	if err := free.Close(); err != nil {
		return err
	}
	env := append(os.Environ(), "ASSAY_PASSPHRASE=a passphrase for the benchmark", "ASSAY_SERVER=", "ASSAY_PROXY_TOKEN="+controlToken)
	key := exec.CommandContext(ctx, b.Program, "key", "create", "--dir", dir)
	key.Env = env
	if out, err := key.CombinedOutput(); err != nil {
		return fmt.Errorf("assay key create: %w\n%s", err, out)
	}
	f.proxy = exec.CommandContext(ctx, b.Program, "enforce", "proxy", "--dir", dir, "--listen", "127.0.0.1:0", "--control", control, "--routes", routes, "--allow-dry-run")
	said, err := os.Create(filepath.Join(dir, "proxy.log")) // a line for each action
	if err != nil {
		return err
	}
	defer said.Close() // the proxy has its own
	f.proxy.Env, f.proxy.Stderr = env, said
	if err := f.proxy.Start(); err != nil {
		return err
	}
	if f.client, err = actproxy.New(actproxy.Options{URL: "http://" + control, Token: controlToken}); err != nil {
		return err
	}
	for deadline := time.Now().Add(fleetPatience); ; {
		_, err := f.client.Status(ctx)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the proxy did not start: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (f *fleet) close() {
	_ = f.proxy.Process.Signal(os.Interrupt)
	_ = f.proxy.Wait()
	f.loop.close()
}

// begin proposes every rollout, several at a time, and waits until each has its first share.
func (f *fleet) begin(ctx context.Context) error {
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		wrong error
	)
	todo := make(chan string)
	for range fleetAtOnce {
		group.Go(func() {
			for service := range todo {
				if err := f.release(ctx, service); err != nil {
					mu.Lock()
					wrong = cmp.Or(wrong, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, service := range f.services {
		todo <- service
	}
	close(todo)
	group.Wait()
	return wrong
}

// release begins the rollout of one service, with errors and a latency with five bounds.
func (f *fleet) release(ctx context.Context, service string) error {
	plan := decide.NewPlan()
	plan.Name, plan.Service, plan.Steps, plan.MinDuration = service, service, []int{10, 100}, time.Hour
	plan.Indicators = []decide.Indicator{
		{Name: "errors", Weight: 1, Required: true},
		{Name: "latency", Weight: 1, Required: true, Bounds: []float64{0.05, 0.1, 0.25, 0.5, 1}},
	}
	failed := signal.Spec{
		Service: service, Name: "errors", Bad: fmt.Sprintf(`sum(assay_enforce_errors_total{service=%q})`, service),
		Total: fmt.Sprintf(`sum(assay_enforce_requests_total{service=%q,result!="canceled"})`, service),
	}
	slow := signal.Spec{Service: service, Name: "latency", Buckets: fmt.Sprintf(`assay_enforce_request_duration_seconds_bucket{service=%q}`, service)}
	shared := f.acted.expect(service, assay.ActionAdvance)
	if err := f.proposed(ctx, rollout.Proposal{
		Namespace: namespace, Actor: "bench", Name: service, Plan: plan, Canary: "v2", Digest: digest(2),
		Indicators: []rollout.Indicator{{Spec: failed}, {Spec: slow}},
	}); err != nil {
		return err
	}
	_, err := f.acted.await(ctx, service, shared)
	return err
}

func (f *fleet) proposed(ctx context.Context, p rollout.Proposal) error {
	for { // the engine needs a moment to take its lease
		_, err := f.ctl.Propose(ctx, p)
		if assay.CodeOf(err) != assay.CodeUnavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// play lets the senders send in turns and gives every batch, once they are warm, one
// service that turns bad. It returns how long each was at it, in seconds.
func (f *fleet) play(ctx context.Context) ([]float64, error) {
	senders := make([]*sender, fleetSenders)
	each := fleetServices / fleetSenders
	for i := range senders {
		senders[i] = newSender(fmt.Sprintf("proxy-%02d", i), f.services[i*each:(i+1)*each])
	}
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		parts [3][]float64 // until the intake had answered, the proxy was asked, it had acknowledged
		wrong error
	)
	busy := make([]sync.Mutex, fleetSenders) // a sender's batches follow each other
	tick := time.NewTicker(fleetEvery / fleetSenders)
	defer tick.Stop()
	for n := range fleetWarm*fleetSenders + fleetEvents {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		s, round, bad := senders[n%fleetSenders], n/fleetSenders, ""
		var out chan applied
		if round >= fleetWarm {
			bad = s.services[round-fleetWarm]
			out = f.acted.expect(bad, assay.ActionAbort)
		}
		group.Go(func() {
			busy[n%fleetSenders].Lock()
			began := time.Now()
			err := s.send(ctx, f.intake.URL, bad)
			busy[n%fleetSenders].Unlock()
			taken, at := time.Now(), applied{}
			if err == nil && bad != "" {
				at, err = f.acted.await(ctx, bad, out)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil && wrong == nil {
				wrong = err
			}
			if bad != "" {
				for i, t := range []time.Time{taken, at.asked, at.done} {
					parts[i] = append(parts[i], t.Sub(began).Seconds())
				}
			}
		})
	}
	group.Wait()
	if wrong == nil {
		for i, until := range []string{"the intake had answered", "the proxy was asked", "it had acknowledged"} {
			f.say("fleet: until %s p50 %.0f ms, p99 %.0f ms", until, 1e3*result.Percentile(parts[i], 0.5), 1e3*result.Percentile(parts[i], 0.99))
		}
	}
	return parts[2], wrong
}

// applied is when an action was handed to the proxy, and when it had been read back.
type applied struct{ asked, done time.Time }

// stopwatch notes when the proxy had taken an action and it was read back.
type stopwatch struct {
	act.Actuator

	mu   sync.Mutex
	done map[string]chan applied
}

// Apply implements act.Actuator.
func (s *stopwatch) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	asked := time.Now()
	r, err := s.Actuator.Apply(ctx, a)
	if err == nil {
		at := applied{asked, time.Now()}
		s.mu.Lock()
		if c := s.done[a.Service+" "+string(a.Kind)]; c != nil {
			c <- at
			delete(s.done, a.Service+" "+string(a.Kind))
		}
		s.mu.Unlock()
	}
	return r, err
}

// expect makes the next such action of a service known.
func (s *stopwatch) expect(service string, kind assay.ActionKind) chan applied {
	c := make(chan applied, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[service+" "+string(kind)] = c
	return c
}

func (s *stopwatch) await(ctx context.Context, service string, c chan applied) (applied, error) {
	select {
	case <-ctx.Done():
		return applied{}, ctx.Err()
	case <-time.After(fleetPatience):
		return applied{}, fmt.Errorf("service %s was not acted upon within %s", service, fleetPatience)
	case at := <-c:
		return at, nil
	}
}
