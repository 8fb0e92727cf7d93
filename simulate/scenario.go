package simulate

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/policy"
)

// Kind is the kind of a Scenario document.
const Kind = "Scenario"

// Limits of a scenario.
const (
	// MaxBytes is the largest scenario file.
	MaxBytes = 1 << 20
	// MaxSeeds is how many seeds one run may have.
	MaxSeeds = 1000
	// MaxControllers is how many controllers one scenario may compare.
	MaxControllers = 16
	// MaxTicks is how many ticks of one service one run may have.
	MaxTicks = 20_000_000
	// MaxTraceBytes is the largest file of a trace, as it lies there.
	MaxTraceBytes = 16 << 20
	// MaxTraceUnpacked is how many bytes a compressed trace may come to.
	MaxTraceUnpacked = 64 << 20
	// MaxTraceValues is how many values a trace may have.
	MaxTraceValues = 8_000_000
	// MaxFiles is how many policy files one controller may name.
	MaxFiles = 32
)

// Scenario is a world, what goes wrong in it, and what is expected of a controller.
type Scenario struct {
	// APIVersion is always assay.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Scenario.
	Kind string `json:"kind"`
	// Metadata names the scenario.
	Metadata policy.Metadata `json:"metadata"`
	// Spec says what happens and what is expected.
	Spec Spec `json:"spec"`

	doc strict.Document // for the places of errors
	dir string          // of the file, for the files it names; slash-separated
}

// Spec is the content of a scenario.
type Spec struct {
	// About says in a sentence what is shown.
	About string `json:"about,omitempty"`
	// Duration is how long the world runs after the warm-up.
	Duration simtest.Duration `json:"duration"`
	// WarmUp is seen by controllers but not scored, and only in its last hour do they move levers; times count from its end. 0s if left out.
	WarmUp simtest.Duration `json:"warmUp,omitempty"`
	// Seeds is how many runs there are; 5 if left out.
	Seeds int `json:"seeds,omitempty"`
	// World is where it happens.
	World simtest.Config `json:"world"`
	// Traces give services traffic that was once measured.
	Traces []Trace `json:"traces,omitempty"`
	// Deploys change a version's share for every controller, as a release does that nobody watches.
	Deploys []Deploy `json:"deploys,omitempty"`
	// Objective is what the services promise; 99.9 % over 30 days if left out.
	Objective Objective `json:"objective,omitzero"`
	// Controller is under test.
	Controller Controller `json:"controller"`
	// Against are controllers to compare it with. Doing nothing is always among them.
	Against []Controller `json:"against,omitempty"`
	// Oracle says what somebody may do who knows the faults beforehand; no oracle if left out.
	Oracle *Oracle `json:"oracle,omitempty"`
	// Loss is what harm and moves cost, in the currency of the prices.
	Loss Loss `json:"loss,omitzero"`
	// Expect is what must be true of the controller under test, with every seed.
	Expect Expect `json:"expect"`
}

// Trace gives a service the traffic of a file: CSV with a header whose last column
// is a number for each step, or numbers in a .bz2 or .tbz2.
type Trace struct {
	// Service gets the traffic; its rate is the mean.
	Service string `json:"service"`
	// File is relative to the scenario.
	File string `json:"file"`
	// Step is the time of one row; 1m if left out.
	Step simtest.Duration `json:"step,omitempty"`
	// From is the row that the run starts with.
	From int `json:"from,omitempty"`
	// Rows is how many are used and then repeated; all that follow if left out.
	Rows int `json:"rows,omitempty"`
}

// Objective is what a service promises.
type Objective struct {
	// Target is the share of requests that must be good; 0.999 if left out.
	Target float64 `json:"target,omitempty"`
	// Window is what the budget is for; 720h if left out.
	Window simtest.Duration `json:"window,omitempty"`
}

// Controller is somebody who watches and moves levers. What it has of Strategies,
// Rollouts, peers and Steps works side by side; one that has nothing does nothing.
type Controller struct {
	// Name stands in the table; "assay" if left out for the one under test.
	Name string `json:"name,omitempty"`
	// Strategies are files with Strategy resources, relative to the scenario.
	Strategies []string `json:"strategies,omitempty"`
	// Rollouts give new versions their traffic.
	Rollouts []RolloutUse `json:"rollouts,omitempty"`
	// HPA scales like the autoscaler of Kubernetes.
	HPA []HPA `json:"hpa,omitempty"`
	// Gradient limits concurrency like Netflix' Gradient2.
	Gradient []Gradient `json:"gradient,omitempty"`
	// Burn rolls a version back when static burn-rate rules fire.
	Burn []Burn `json:"burn,omitempty"`
	// Failover takes traffic from regions that fail health checks, like DNS services do.
	Failover []Failover `json:"failover,omitempty"`
	// Steps are moves at known times.
	Steps []Step `json:"steps,omitempty"`
	// Approves is how long a person takes to say yes to what strategies ask; nobody answers if left out.
	Approves simtest.Duration `json:"approves,omitempty"`
	// Every is the time between two looks; the tick of the world if left out.
	Every simtest.Duration `json:"every,omitempty"`
}

// RolloutUse runs a Rollout resource.
type RolloutUse struct {
	// File has the resource, relative to the scenario.
	File string `json:"file"`
	// Canary is the new version; it has 0 % in the world.
	Canary string `json:"canary"`
	// Control is the old version.
	Control string `json:"control"`
	// At is when it begins, after the warm-up.
	At simtest.Duration `json:"at,omitempty"`
}

// Deploy gives a version a share of the traffic at a known time.
type Deploy struct {
	// At is when, after the warm-up.
	At simtest.Duration `json:"at"`
	// Service has the version.
	Service string `json:"service"`
	// Version gets the share.
	Version string `json:"version"`
	// Old is the version that it replaces.
	Old string `json:"old"`
	// Share is percent of the traffic; 100 if left out.
	Share float64 `json:"share,omitempty"`
}

// Step is a move at a known time.
type Step struct {
	// At is when, after the warm-up.
	At simtest.Duration `json:"at"`
	// Service, Lever, Scope and Want say what moves to where; Scope is the version of a share.
	Service string `json:"service"`
	// Lever is one of those of actions, for example replicas.
	Lever assay.Lever `json:"lever"`
	// Scope is the region, tenant, class or version.
	Scope string `json:"scope,omitempty"`
	// Want is in the lever's unit.
	Want float64 `json:"want"`
}

// Loss is what harm costs.
type Loss struct {
	// Bad is what one request without a good answer costs; 0.01 if left out.
	Bad float64 `json:"bad,omitempty"`
	// Move is what one move of a lever costs; 0 if left out.
	Move float64 `json:"move,omitempty"`
	// Cap is what may be spent in a day, in the currency of the prices; 0 if left out, for none.
	Cap float64 `json:"cap,omitempty"`
	// Over is what each unit of money above the cap costs besides; 0 if left out.
	Over float64 `json:"over,omitempty"`
}

// levers that a world has.
var levers = []string{
	string(assay.LeverShare), string(assay.LeverReplicas), string(assay.LeverRateLimit), string(assay.LeverConcurrency), string(assay.LeverClass),
	string(assay.LeverRegion), string(assay.LeverQuota), string(assay.LeverQuarantine), string(assay.LeverSpend), string(assay.LeverCostClass), string(assay.LeverRetention),
}

// Parse reads one scenario: strict YAML, with places in its errors. The path is used
// in errors and for the files that the scenario names; those are not opened.
func Parse(path string, data []byte) (*Scenario, error) {
	if len(data) > MaxBytes {
		return nil, in(path, assay.Errorf(assay.CodeTooLarge, "%d bytes; a scenario has at most %d", len(data), MaxBytes))
	}
	docs, err := strict.Documents(data)
	if err != nil {
		return nil, in(path, err)
	}
	if len(docs) != 1 {
		return nil, in(path, assay.Errorf(assay.CodeInvalid, "%d documents; a scenario stands alone in its file", len(docs)))
	}
	s := &Scenario{doc: docs[0]}
	if v := s.doc.String("apiVersion"); v != assay.APIVersion {
		return nil, in(path, s.doc.Errorf([]string{"apiVersion"}, "%q is not known here; write %s", v, assay.APIVersion))
	}
	if kind := s.doc.String("kind"); kind != Kind {
		return nil, in(path, s.doc.Errorf([]string{"kind"}, "%q is not a %s", kind, Kind))
	}
	if err := s.doc.Decode(s); err != nil {
		return nil, in(path, err)
	}
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		s.dir = path[:i]
	}
	s.defaults()
	if err := s.check(); err != nil {
		return nil, in(path, err)
	}
	return s, nil
}

// in names the file of an error.
func in(path string, err error) error {
	if e, ok := err.(*assay.Error); ok {
		return e.In(path)
	}
	return err
}

func (s *Scenario) defaults() {
	spec := &s.Spec
	spec.Seeds = or(spec.Seeds, 5)
	spec.Objective.Target = or(spec.Objective.Target, 0.999)
	spec.Objective.Window = or(spec.Objective.Window, simtest.Duration(30*24*time.Hour))
	spec.Loss.Bad = or(spec.Loss.Bad, 0.01)
	spec.World.Tick = or(spec.World.Tick, simtest.Duration(simtest.DefaultTick))
	spec.Controller.Name = or(spec.Controller.Name, "assay")
	for i := range spec.Traces {
		spec.Traces[i].Step = or(spec.Traces[i].Step, simtest.Duration(time.Minute))
	}
	for i := range spec.Deploys {
		spec.Deploys[i].Share = or(spec.Deploys[i].Share, 100)
		spec.Deploys[i].At += spec.WarmUp
	}
	shift := func(d *simtest.Duration) { *d += spec.WarmUp }
	for i := range spec.World.Faults {
		shift(&spec.World.Faults[i].At)
	}
	for i := range spec.World.Services {
		for j := range spec.World.Services[i].Traffic.Events {
			shift(&spec.World.Services[i].Traffic.Events[j].At)
		}
	}
	for _, c := range s.controllers() {
		for j := range c.Steps {
			shift(&c.Steps[j].At)
		}
		for j := range c.Rollouts {
			shift(&c.Rollouts[j].At)
		}
	}
}

// or is v, or other if v is its type's zero.
func or[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

// controllers are the one under test and then the others.
func (s *Scenario) controllers() []*Controller {
	out := []*Controller{&s.Spec.Controller}
	for i := range s.Spec.Against {
		out = append(out, &s.Spec.Against[i])
	}
	return out
}

func (s *Scenario) check() error {
	spec := s.Spec
	at := func(path string, format string, args ...any) error {
		return s.doc.Errorf(append([]string{"spec"}, strings.Split(path, ".")...), format, args...)
	}
	ticks := (spec.Duration.D() + spec.WarmUp.D()) / max(1, spec.World.Tick.D())
	switch {
	case s.Metadata.Name == "":
		return s.doc.Errorf([]string{"metadata", "name"}, "a scenario needs a name")
	case spec.Duration <= 0:
		return at("duration", "a scenario needs a duration like 2h")
	case int64(ticks) > MaxTicks/int64(max(1, len(spec.World.Services))):
		return at("duration", "%s with %d services in ticks of %s is more than %d steps", spec.Duration.D(), len(spec.World.Services), spec.World.Tick.D(), MaxTicks)
	case spec.Seeds < 1 || spec.Seeds > MaxSeeds:
		return at("seeds", "%d seeds; want 1 to %d", spec.Seeds, MaxSeeds)
	case len(spec.Against) > MaxControllers:
		return at("against", "%d controllers; the limit is %d", len(spec.Against), MaxControllers)
	case !(spec.Objective.Target > 0 && spec.Objective.Target < 1):
		return at("objective.target", "%v is not a share between 0 and 1", spec.Objective.Target)
	case !(spec.Loss.Bad >= 0 && spec.Loss.Bad <= 1e9 && spec.Loss.Move >= 0 && spec.Loss.Move <= 1e9 && spec.Loss.Cap >= 0 && spec.Loss.Cap <= 1e12 && spec.Loss.Over >= 0 && spec.Loss.Over <= 1e9):
		return at("loss", "a loss cannot be negative")
	}
	if err := spec.World.Check(); err != nil {
		e, _ := err.(*assay.Error)
		return s.doc.Errorf(append([]string{"spec", "world"}, strings.FieldsFunc(e.Field, func(r rune) bool { return strings.ContainsRune(".[]", r) })...), "%s", e.Msg)
	}
	if err := s.checkControllers(at); err != nil {
		return err
	}
	return spec.Expect.check(at, spec)
}

func (s *Scenario) checkControllers(at func(string, string, ...any) error) error {
	names := map[string]bool{"nothing": true, "oracle": true}
	for i, c := range s.controllers() {
		where := "controller"
		if i > 0 {
			where = "against." + strconv.Itoa(i-1)
		}
		if c.Name == "" || names[c.Name] {
			return at(where+".name", "%q is no name of its own; nothing and oracle are taken", clip(c.Name))
		}
		names[c.Name] = true
		if len(c.Strategies)+len(c.Rollouts) > MaxFiles {
			return at(where, "more than %d files", MaxFiles)
		}
		for j, step := range c.Steps {
			if !slices.Contains(levers, string(step.Lever)) {
				return at(where+".steps."+strconv.Itoa(j)+".lever", "%s", strict.OneOf(string(step.Lever), levers))
			}
		}
		for _, service := range c.services() {
			if !s.has(service) {
				return at(where, "%s moves service %q, which is not in the world", c.Name, clip(service))
			}
		}
	}
	for i, t := range s.Spec.Traces {
		if !s.has(t.Service) || t.File == "" || t.Step <= 0 || t.From < 0 || t.Rows < 0 {
			return at("traces."+strconv.Itoa(i), "a trace needs a service of the world (not %q), a file, and no negative rows", clip(t.Service))
		}
	}
	for i, d := range s.Spec.Deploys {
		if !s.has(d.Service) || d.Version == "" || d.Old == "" || !(d.Share > 0 && d.Share <= 100) {
			return at("deploys."+strconv.Itoa(i), "a deploy needs a service of the world (not %q), a version, the old one, and a share above 0 and up to 100", clip(d.Service))
		}
	}
	if o := s.Spec.Oracle; o != nil {
		for i, l := range o.Levers {
			if !slices.Contains(levers, string(l)) {
				return at("oracle.levers."+strconv.Itoa(i), "%s", strict.OneOf(string(l), levers))
			}
		}
	}
	return nil
}

// services that a controller names itself.
func (c *Controller) services() (out []string) {
	for _, h := range c.HPA {
		out = append(out, h.Service)
	}
	for _, g := range c.Gradient {
		out = append(out, g.Service)
	}
	for _, b := range c.Burn {
		out = append(out, b.Service)
	}
	for _, f := range c.Failover {
		out = append(out, f.Service)
	}
	for _, s := range c.Steps {
		out = append(out, s.Service)
	}
	return out
}

func (s *Scenario) has(service string) bool {
	for _, o := range s.Spec.World.Services {
		if o.Name == service {
			return true
		}
	}
	for _, d := range s.Spec.World.Databases {
		if d.Name == service {
			return true
		}
	}
	return false
}

// clip shortens what came from outside for a message.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
