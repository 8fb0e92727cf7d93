package policy

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/internal/strict"
)

// MaxIndicators is how many indicators one rollout may watch.
const MaxIndicators = 20

// Rollout says how new versions of a service get their traffic: which steps
// there are, what is watched, and which errors the decisions may make. What is
// left out has the default of decide.NewPlan, filled in by Parse.
type Rollout struct {
	// APIVersion is always assay.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Rollout.
	Kind string `json:"kind"`
	// Metadata names the rollout.
	Metadata Metadata `json:"metadata"`
	// Spec says what is declared before any version begins.
	Spec RolloutSpec `json:"spec"`

	Place Place `json:"-"`

	doc strict.Document // for the places of errors
}

// RolloutSpec is what a rollout declares before it begins.
type RolloutSpec struct {
	// Service whose traffic is shifted, as its metrics and its enforcer name it.
	Service string `json:"service"`
	// Environment that the service runs in; left out if there is only one.
	Environment string `json:"environment,omitempty"`
	// Objective names an OpenSLO SLO, or "slo/index" for one of several objectives; expected losses are stated in shares of its error budget.
	Objective string `json:"objective,omitempty"`
	// Strategy is canary (the default), blue-green, mirrored or a-b.
	Strategy RolloutStrategy `json:"strategy,omitempty"`
	// Mirror belongs to the strategy mirrored: what is copied to the new version.
	Mirror *RolloutMirror `json:"mirror,omitempty"`
	// Match belongs to the strategy a-b: whose requests the new version gets.
	Match *RolloutMatch `json:"match,omitempty"`
	// Watch goes on looking once the new version has all the traffic; none if left out, except that blue-green needs one.
	Watch RolloutWatch `json:"watch,omitzero"`
	// Alpha is the probability of ever aborting a version that is no worse; 0.01 if left out.
	Alpha float64 `json:"alpha,omitempty"`
	// Beta is the probability of ever shipping a version that is margin times worse; 0.05 if left out.
	Beta float64 `json:"beta,omitempty"`
	// Margin is how many times worse is too bad to ship; 2 if left out.
	Margin float64 `json:"margin,omitempty"`
	// Accept is how many times worse is not yet harm, from 1 up to below margin; 1 if left out.
	Accept float64 `json:"accept,omitempty"`
	// Steps are shares of traffic in percent, ascending, the last one 100; 10, 25, 50, 100 if left out.
	Steps []int `json:"steps,omitempty"`
	// MinRequests is how many requests the new version must have had at each step; 100 if left out.
	MinRequests uint64 `json:"minRequests,omitempty"`
	// MinDuration is how long each step lasts at least; 10s if left out, 0s for no minimum.
	MinDuration Duration `json:"minDuration,omitempty"`
	// MaxAge is how old a signal may be before it is unknown; 30s if left out.
	MaxAge Duration `json:"maxAge,omitempty"`
	// MinCompleteness is the share of series, 0 to 1, that must have reported; 0.9 if left out.
	MinCompleteness float64 `json:"minCompleteness,omitempty"`
	// Horizon is how long the evidence has to decide; 1h if left out.
	Horizon Duration `json:"horizon,omitempty"`
	// OnHorizon says what happens when the horizon is over and nothing was shown: ask (the default), abort or promote-with-watch.
	OnHorizon decide.HorizonPolicy `json:"onHorizon,omitempty"`
	// Look is the expected time between two looks at the evidence; 1s if left out.
	Look Duration `json:"look,omitempty"`
	// Baseline is how much of the old version's past the bounds of quantiles are taken from; 5m if left out.
	Baseline Duration `json:"baseline,omitempty"`
	// Certainty is calibrated (the default), which learns from the old version's past how far bad events come in bursts, or exact, whose bounds hold for independent events alone.
	Certainty assay.Certainty `json:"certainty,omitempty"`
	// HarmBudget is the share of the objective's error budget, 0 to 1, that a new version may spend; a step that might spend more waits. Needs objective; no bound if left out.
	HarmBudget float64 `json:"harmBudget,omitempty"`
	// StepBudget is the share of the objective's error budget, 0 to 1, that steps short of all traffic may put at risk before the new version is shown to be safe, because more traffic shows it sooner; 0 lets every step wait for that, as it does without an objective; 0.001 if left out.
	StepBudget *float64 `json:"stepBudget,omitempty"`
	// Fixed plans a few looks instead of one at every reading, for rollouts of a known length.
	Fixed *RolloutFixed `json:"fixed,omitempty"`
	// Strata is a label that tells parts of the traffic apart, for example route or region: versions are compared within each, and a canary with other traffic is found.
	Strata string `json:"strata,omitempty"`
	// Replicas is a label that tells the replicas of a version apart, for example pod: how much bad requests come in bursts is learned from how the old version's replicas differ side by side, so that what hits all of them at once delays nothing. Only where each request comes to a replica by itself, as it comes to a version; none if left out.
	Replicas string `json:"replicas,omitempty"`
	// Expect is the traffic that the plan is checked against by lint; at the start of a rollout it is measured.
	Expect *RolloutTraffic `json:"expect,omitempty"`
	// Risk lets the risk of each change set the gate and the steps of its rollout; as declared for every change if left out.
	Risk *RolloutRisk `json:"risk,omitempty"`
	// Rollback says how a version is gone back from once its rollout has ended; all at once if left out.
	Rollback *RolloutRollback `json:"rollback,omitempty"`
	// Indicators are what is watched; at least one is required.
	Indicators []RolloutIndicator `json:"indicators"`
}

// RolloutIndicator is one thing that a rollout watches: counters of bad (or
// good) and all events, a histogram's buckets, or a count, value or gauge.
type RolloutIndicator struct {
	// Name of the indicator, unique in the rollout.
	Name string `json:"name"`
	// Weight is the indicator's share of the combined evidence of harm, relative to the others; 1 if left out.
	Weight *float64 `json:"weight,omitempty"`
	// Required indicators must be shown safe before the rollout advances; true if left out.
	Required *bool `json:"required,omitempty"`
	// Tolerable is a bad rate, 0 to below 1, that is acceptable whatever the old version does; none if left out.
	Tolerable float64 `json:"tolerable,omitempty"`
	// Dispersion is the measured variance-to-mean ratio of bad events, at least 1; 1 if left out.
	Dispersion float64 `json:"dispersion,omitempty"`
	// Classes tests kinds of bad events one by one, told apart by a label of bad.
	Classes *RolloutClasses `json:"classes,omitempty"`
	// Bad is PromQL: a sum of counters of events that were bad. Needs total; stands instead of good.
	Bad string `json:"bad,omitempty"`
	// Good is PromQL: a sum of counters of events that were good. Needs total; stands instead of bad.
	Good string `json:"good,omitempty"`
	// Total is PromQL: a sum of counters of all events; with count and sum, of the requests that they are counted per.
	Total string `json:"total,omitempty"`
	// Buckets is PromQL: the _bucket counters of a histogram, all bounds. Stands instead of good, bad and total.
	Buckets string `json:"buckets,omitempty"`
	// Quantiles, each between 0 and 1, choose the histogram bounds that are watched from the old version's baseline.
	Quantiles []float64 `json:"quantiles,omitempty"`
	// Bounds are histogram bounds that are watched, in the histogram's unit, ascending; instead of quantiles.
	Bounds []float64 `json:"bounds,omitempty"`
	// Limit is a promised maximum, in the histogram's unit; the greatest bound up to it is watched too.
	Limit float64 `json:"limit,omitempty"`
	// Count is PromQL: a sum of counters of work, for example queries or retries, of which one request may cause many. Per request with total, per hour of each series without.
	Count string `json:"count,omitempty"`
	// Sum is PromQL: a sum of counters that add up a value of each request, from 0 to max, for example seconds of CPU. Needs total and max.
	Sum string `json:"sum,omitempty"`
	// Gauge is PromQL: one selector of a gauge, whose samples lie between min and max. Its mean is compared.
	Gauge string `json:"gauge,omitempty"`
	// Min is the least value that a gauge can have; 0 if left out.
	Min float64 `json:"min,omitempty"`
	// Max is the greatest value that a gauge, or one request's part of a sum, can have. A value outside the bounds makes the indicator unknown.
	Max float64 `json:"max,omitempty"`
	// Worse says of a count, sum or gauge whether more or less of it is worse: more if left out. Where less of a sum or gauge is worse, what is compared is how far it is from max.
	Worse RolloutWorse `json:"worse,omitempty"`
	// Margin is how many times worse is too bad to ship, for this indicator; that of the rollout if left out.
	Margin float64 `json:"margin,omitempty"`
	// Accept is how many times worse is not yet harm, for this indicator; that of the rollout if left out.
	Accept float64 `json:"accept,omitempty"`
	// Every is how much time of a gauge makes one value of each version, up to 1h; 10s if left out.
	Every Duration `json:"every,omitempty"`
	// WarmUp is how long after the start of a rollout a count, sum or gauge is no evidence, for versions that first fill their caches; 0s if left out.
	WarmUp Duration `json:"warmUp,omitempty"`
	// Expect is what the old version is expected to have of a count (per request, or per hour), sum (per request) or gauge; lint says how long that takes. At the start of a rollout it is measured.
	Expect float64 `json:"expect,omitempty"`
	// Threshold makes a plain indicator of a histogram: an event above this bound is bad. Instead of quantiles, bounds and limit.
	Threshold float64 `json:"threshold,omitempty"`
	// Fallback counts the same from another sender: it is read while the indicator has told nothing new of both versions for maxAge. It has the keys of PromQL that the indicator has.
	Fallback *RolloutSource `json:"fallback,omitempty"`
}

const defaultBaseline = 5 * time.Minute

// maxBaseline keeps the reading of a baseline bounded.
const maxBaseline = 24 * time.Hour

// newRollout has the defaults, which decoding overwrites.
func newRollout(path string, d strict.Document) Rollout {
	p := decide.NewPlan()
	text := func(v time.Duration) Duration { return Duration(v.String()) }
	return Rollout{
		Place: Place{path, d.Line()}, doc: d,
		Spec: RolloutSpec{
			Strategy: RolloutCanary, Watch: RolloutWatch{OnHarm: OnHarmRevert},
			Alpha: p.Alpha, Beta: p.Beta, Margin: p.Margin, Accept: p.Accept, Steps: p.Steps,
			MinRequests: p.MinRequests, MinDuration: text(p.MinDuration), MaxAge: text(p.MaxAge),
			MinCompleteness: p.MinCompleteness, Horizon: text(p.Horizon), OnHorizon: p.OnHorizon,
			Look: text(p.Look), Baseline: text(defaultBaseline), Certainty: assay.Calibrated,
		},
	}
}

// defaults fills in what decoding into a prepared value cannot.
func (r *Rollout) defaults() {
	if r.Metadata.Namespace == "" {
		r.Metadata.Namespace = DefaultNamespace
	}
	if f := r.Spec.Fixed; f != nil && f.Spending == "" {
		f.Spending = infer.OBrienFleming
	}
	if k := r.Spec.Risk; k != nil {
		k.defaults()
	}
	if m := r.Spec.Match; m != nil && m.Percent == 0 {
		m.Percent = defaultMatchPercent
	}
	if r.Spec.StepBudget == nil {
		r.Spec.StepBudget = new(decide.DefaultStepBudget)
	}
	for i := range r.Spec.Indicators {
		ind := &r.Spec.Indicators[i]
		if ind.Weight == nil {
			ind.Weight = new(1.0)
		}
		if ind.Required == nil {
			ind.Required = new(true)
		}
	}
}

// Histogram reports whether the indicator is read from a histogram's buckets.
func (i RolloutIndicator) Histogram() bool { return i.Buckets != "" }

// Errorf is an error at the place of one of the rollout's fields, for checks
// that other packages make; numbers of list entries are written in decimal.
func (r Rollout) Errorf(field []string, format string, args ...any) error {
	return r.errorf(field, format, args...).In(r.Place.File)
}

func (r Rollout) errorf(field []string, format string, args ...any) *assay.Error {
	if r.doc == (strict.Document{}) { // not made by Parse
		e := assay.Errorf(assay.CodeInvalid, format, args...)
		e.Field = strings.Join(field, ".")
		return e
	}
	return r.doc.Errorf(field, format, args...)
}

// Plan is the rollout as a plan without its versions and budget, and without
// the bounds that quantiles and limit choose from a baseline: explicit bounds
// alone are in it. Name is the rollout's. The error is what decide.Plan.Check
// says, at its place.
func (r Rollout) Plan() (decide.Plan, error) {
	p := r.plan()
	if err := r.checkPlan(p); err != nil {
		return decide.Plan{}, inFile(r.Place.File, err)
	}
	return p, nil
}

func (r Rollout) plan() decide.Plan {
	s := r.Spec
	p := decide.Plan{
		Name: r.Metadata.Name, Service: s.Service, Environment: s.Environment,
		Alpha: s.Alpha, Beta: s.Beta, Margin: s.Margin, Accept: s.Accept,
		Steps: s.steps(), MinRequests: s.MinRequests, MinDuration: s.MinDuration.Value(),
		MaxAge: s.MaxAge.Value(), MinCompleteness: s.MinCompleteness, Horizon: s.Horizon.Value(),
		OnHorizon: s.OnHorizon, Look: s.Look.Value(), HarmBudget: s.HarmBudget,
	}
	if s.StepBudget != nil && s.Objective != "" {
		p.StepBudget = *s.StepBudget
	}
	if s.Certainty != assay.Calibrated { // which is what a plan is that says nothing
		p.Certainty = s.Certainty
	}
	if f := s.Fixed; f != nil {
		p.Fixed = &decide.FixedLooks{Requests: f.Requests, Looks: f.Looks, Spending: f.Spending}
	}
	if p.HarmBudget > 0 {
		p.Budget = 1 // of the objective, which each rollout asks for
	}
	p.Indicators = TestsOf(s.Indicators)
	for i := range p.Indicators {
		p.Indicators[i].Replicas = s.Replicas != "" && s.Indicators[i].ByReplica()
	}
	return p
}

var (
	serviceForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}$`)
	objectiveForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(/[0-9]{1,2})?$`)
)

func (r Rollout) check(d strict.Document) error {
	if err := r.Metadata.check(d); err != nil {
		return err
	}
	s := r.Spec
	switch {
	case s.Service == "":
		return d.Errorf([]string{"spec", "service"}, "is missing")
	case !serviceForm.MatchString(s.Service):
		return d.Errorf([]string{"spec", "service"}, "%q is not a word of letters, digits and _.:/-", s.Service)
	case s.Environment != "" && !nameForm.MatchString(s.Environment):
		return d.Errorf([]string{"spec", "environment"}, "%q is not 1 to 63 lower-case letters, digits and dashes", s.Environment)
	case s.Objective != "" && !objectiveForm.MatchString(s.Objective):
		return d.Errorf([]string{"spec", "objective"}, "%q is not the name of an SLO such as shop-availability, or name/index", s.Objective)
	}
	if err := s.checkTimes(d); err != nil {
		return err
	}
	if err := r.checkStrategy(d); err != nil {
		return err
	}
	if err := s.Risk.check(d); err != nil {
		return err
	}
	if err := s.Rollback.check(d); err != nil {
		return err
	}
	if err := oneOf(d, []string{"spec", "onHorizon"}, s.OnHorizon, horizonPolicies); err != nil {
		return err
	}
	if n := len(s.Indicators); n == 0 || n > MaxIndicators {
		return d.Errorf([]string{"spec", "indicators"}, "has %d entries; expected 1 to %d", n, MaxIndicators)
	}
	for n, i := range s.Indicators {
		at := []string{"spec", "indicators", strconv.Itoa(n)}
		if err := i.check(d, at); err != nil {
			return err
		}
		if slices.ContainsFunc(s.Indicators[:n], func(o RolloutIndicator) bool { return o.Name == i.Name }) {
			return d.Errorf(append(at, "name"), "%q is used twice", i.Name)
		}
	}
	return r.checkPlan(r.plan())
}

var horizonPolicies = []decide.HorizonPolicy{decide.HorizonAsk, decide.HorizonAbort, decide.HorizonPromote}

func (s RolloutSpec) checkTimes(d strict.Document) error {
	for _, f := range []struct {
		name  string
		value Duration
	}{{"minDuration", s.MinDuration}, {"maxAge", s.MaxAge}, {"horizon", s.Horizon}, {"look", s.Look}, {"baseline", s.Baseline}} {
		if v, err := time.ParseDuration(string(f.value)); err == nil && v == 0 && f.name == "minDuration" {
			continue // no minimum
		}
		if f.value == "" {
			return d.Errorf([]string{"spec", f.name}, "is empty; write for example 30s, or leave it out")
		}
		if _, err := parseDuration(string(f.value)); err != nil {
			return d.Errorf([]string{"spec", f.name}, "%v", err)
		}
	}
	if v := s.Baseline.Value(); v < time.Second || v > maxBaseline {
		return d.Errorf([]string{"spec", "baseline"}, "%q is not between 1s and 24h", s.Baseline)
	}
	return nil
}

func (i RolloutIndicator) check(d strict.Document, at []string) error {
	in := func(field ...string) []string { return append(slices.Clone(at), field...) }
	if err := i.checkCounters(d, at, in); err != nil || i.Fallback == nil {
		return err
	}
	return i.checkFallback(d, in)
}

func (i RolloutIndicator) checkCounters(d strict.Document, at []string, in func(...string) []string) error {
	switch {
	case i.Name == "":
		return d.Errorf(in("name"), "is missing")
	case !nameForm.MatchString(i.Name):
		return d.Errorf(in("name"), "%q is not 1 to 63 lower-case letters, digits and dashes", i.Name)
	case i.Histogram():
		return i.checkHistogram(d, in)
	case i.measures():
		return i.checkMeasure(d, in)
	case i.Bad == "" && i.Good == "" && i.Total == "":
		return d.Errorf(at, "watches nothing; give bad and total, buckets, count, sum or gauge")
	case i.Total == "":
		return d.Errorf(in("total"), "is missing")
	case i.Bad != "" && i.Good != "":
		return d.Errorf(in("good"), "stands beside bad; expected one of the two")
	case i.Bad == "" && i.Good == "":
		return d.Errorf(in("bad"), "is missing; give bad or good")
	}
	if err := i.onlyMeasures(d, in); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		used bool
	}{{"quantiles", i.Quantiles != nil}, {"bounds", i.Bounds != nil}, {"limit", i.Limit != 0}, {"threshold", i.Threshold != 0}} {
		if f.used {
			return d.Errorf(in(f.name), "belongs to a histogram; give buckets instead of total")
		}
	}
	return nil
}

// maxQuantiles is what decide takes as bounds of one indicator, less the limit's.
const maxQuantiles = 19

func (i RolloutIndicator) checkHistogram(d strict.Document, in func(...string) []string) error {
	if err := i.onlyMeasures(d, in); err != nil {
		return err
	}
	for _, f := range []struct{ name, text string }{{"bad", i.Bad}, {"good", i.Good}, {"total", i.Total}, {"count", i.Count}, {"sum", i.Sum}, {"gauge", i.Gauge}} {
		if f.text != "" {
			return d.Errorf(in(f.name), "stands beside buckets; expected one kind of counters")
		}
	}
	bounds := i.Bounds != nil || i.Quantiles != nil || i.Limit != 0
	switch {
	case i.Bounds != nil && i.Quantiles != nil:
		return d.Errorf(in("quantiles"), "stands beside bounds; expected one of the two")
	case i.Threshold != 0 && bounds:
		return d.Errorf(in("threshold"), "stands beside bounds, quantiles or limit; an indicator has a threshold or bounds")
	case i.Threshold == 0 && len(i.Bounds) == 0 && len(i.Quantiles) == 0 && i.Limit == 0:
		return d.Errorf(in(), "watches no bound; give quantiles, bounds, limit or threshold")
	case len(i.Quantiles) > maxQuantiles || len(i.Bounds) > maxQuantiles:
		return d.Errorf(in(), "watches more than %d bounds", maxQuantiles)
	case !(i.Threshold >= 0 && i.Threshold < 1e9):
		return d.Errorf(in("threshold"), "is %v; expected a bound above 0", i.Threshold)
	case !(i.Limit >= 0 && i.Limit < 1e9):
		return d.Errorf(in("limit"), "is %v; expected a bound above 0", i.Limit)
	}
	for n, q := range i.Quantiles {
		if !(q > 0 && q < 1) || n > 0 && q <= i.Quantiles[n-1] {
			return d.Errorf(in("quantiles", strconv.Itoa(n)), "is %v; expected shares between 0 and 1 in ascending order", q)
		}
	}
	for n, b := range i.Bounds {
		if !(b > 0 && b < 1e9) || n > 0 && b <= i.Bounds[n-1] {
			return d.Errorf(in("bounds", strconv.Itoa(n)), "is %v; expected bounds above 0 in ascending order", b)
		}
	}
	return nil
}

// planFields are decide's names of fields as resources write them.
var planFields = map[string]string{"min_completeness": "minCompleteness", "max_age": "maxAge", "on_horizon": "onHorizon", "harm_budget": "harmBudget", "step_budget": "stepBudget"}

// checkPlan lets decide judge the plan and finds the place of what it refuses.
func (r Rollout) checkPlan(p decide.Plan) error {
	p.Canary, p.Control = "new", "old" // versions come with each rollout
	for n, i := range p.Indicators {
		one := p
		i.Required = true
		one.Indicators = []decide.Indicator{i}
		if err := one.Check(); err != nil {
			return r.placePlan(err, strconv.Itoa(n))
		}
	}
	if err := p.Check(); err != nil {
		return r.placePlan(err, "")
	}
	return r.checkReachable(p)
}

func (r Rollout) placePlan(err error, indicator string) error {
	e, ok := errors.AsType[*assay.Error](err)
	if !ok {
		return err
	}
	field := e.Field
	if name := planFields[field]; name != "" {
		field = name
	}
	at := []string{"spec", field}
	if field == "indicators" && indicator != "" {
		at = append(at, indicator)
	}
	return r.errorf(at, "%s", e.Msg)
}

// checkReachable refuses a plan by which not even a version that is exactly as
// good as the old one could be shown safe, however long it is watched: the
// alternatives of the test lie so far below a small margin that evidence for
// them never comes. A tolerable rate is another way to safety.
func (r Rollout) checkReachable(p decide.Plan) error {
	for n, i := range p.Indicators {
		if !i.Required || i.Tolerable > 0 || i.Kind == decide.KindGauge {
			continue // bets win at every margin
		}
		if r.Spec.Indicators[n].Histogram() && r.Spec.Indicators[n].Threshold == 0 {
			i.Bounds = []float64{1} // whichever they will be, odds are what is compared
		}
		c, err := infer.New(p.Comparison(i))
		if err != nil {
			return r.placePlan(err, strconv.Itoa(n))
		}
		margin := p.Margin
		if i.Margin != 0 {
			margin = i.Margin
		}
		equal := infer.Pair{Treated: infer.Count{Events: 100, Exposure: 10_000}, Control: infer.Count{Events: 100, Exposure: 10_000}}
		s, err := c.Evaluate([]infer.Pair{equal})
		if err != nil {
			return err
		}
		if _, ok := c.UntilSafe(s, 1); !ok {
			e := r.errorf([]string{"spec", "margin"}, "%v is so small that a version as good as the old one is never shown safe by indicator %s: nothing would ever be promoted", margin, i.Name)
			e.Hint = "a margin of 1.5 can be shown; or give the indicator a tolerable rate"
			return e
		}
	}
	return nil
}
