package policy

import (
	"net/http"
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

// RolloutStrategy is how a new version gets its traffic.
type RolloutStrategy string

const (
	// RolloutCanary gives it a growing share.
	RolloutCanary RolloutStrategy = "canary"
	// RolloutBlueGreen gives it all the traffic at once, and watches.
	RolloutBlueGreen RolloutStrategy = "blue-green"
	// RolloutMirrored sends it copies of requests, whose answers nobody gets.
	RolloutMirrored RolloutStrategy = "mirrored"
	// RolloutAB gives it the requests that carry a header or cookie.
	RolloutAB RolloutStrategy = "a-b"
)

var rolloutStrategies = []RolloutStrategy{RolloutCanary, RolloutBlueGreen, RolloutMirrored, RolloutAB}

// RolloutMirror says what is copied to a new version.
type RolloutMirror struct {
	// Percent of the requests that are copied, 1 to 100.
	Percent int `json:"percent"`
	// Methods that are copied; GET and HEAD if left out. A copy does what the request does, a second time.
	Methods []string `json:"methods,omitempty"`
}

// RolloutMatch says whose requests a new version gets: those that carry a header or
// a cookie with a value.
type RolloutMatch struct {
	// Header names a header; either header or cookie.
	Header string `json:"header,omitempty"`
	// Cookie names a cookie.
	Cookie string `json:"cookie,omitempty"`
	// Value that the header or cookie has, byte by byte.
	Value string `json:"value"`
	// Percent of the requests that are expected to carry it, for estimates of what harm would cost; 50 if left out.
	Percent int `json:"percent,omitempty"`
}

// RolloutWatch is the time after a new version got all the traffic.
type RolloutWatch struct {
	// Duration of the watch, up to 168h; 0s is none.
	Duration Duration `json:"duration"`
	// OnHarm says what happens when harm shows only then: revert (the default) or ask.
	OnHarm RolloutOnHarm `json:"onHarm,omitempty"`
	// UntilLoad lets the watch go on until the new version has had that share of the greatest load of the old one's last day, from 0.1 to 1, and for the duration from then on.
	UntilLoad float64 `json:"untilLoad,omitempty"`
	// Longest is when a watch that waits for load ends all the same; 24h if left out.
	Longest Duration `json:"longest,omitempty"`
}

// RolloutFixed plans looks at equal distances up to a number of requests.
type RolloutFixed struct {
	// Requests of the new version at the last look.
	Requests uint64 `json:"requests"`
	// Looks in all, 1 to 20.
	Looks int `json:"looks"`
	// Spending says how alpha is spent over the looks: obrien-fleming (the default) or pocock.
	Spending infer.Spending `json:"spending,omitempty"`
}

// RolloutTraffic is what a service is expected to have.
type RolloutTraffic struct {
	// RequestsPerMinute of all versions together.
	RequestsPerMinute float64 `json:"requestsPerMinute"`
	// BadRate of the old version, 0 to below 1.
	BadRate float64 `json:"badRate,omitempty"`
}

// RolloutClasses tells kinds of bad events apart.
type RolloutClasses struct {
	// Label of the bad counter that names the class.
	Label string `json:"label"`
	// Values of the label that are tested, at most 20.
	Values []string `json:"values"`
}

// RolloutOnHarm is what happens when harm shows in the watch.
type RolloutOnHarm string

const (
	// OnHarmRevert gives the traffic back.
	OnHarmRevert RolloutOnHarm = "revert"
	// OnHarmAsk asks a person.
	OnHarmAsk RolloutOnHarm = "ask"
)

const (
	maxWatch            = 7 * 24 * time.Hour
	defaultLongest      = 24 * time.Hour
	leastUntilLoad      = 0.1
	defaultMatchPercent = 50
	maxMatchValue       = 256
)

var (
	rolloutMethods = []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	labelForm      = regexp.MustCompile("^[a-zA-Z_][a-zA-Z0-9_]*$")
	tokenForm      = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")
)

// steps are the shares that the plan knows. A strategy without growing shares has
// one step beside the last: what part of the requests reaches the new version by a
// rule, where nobody is harmed by copies.
func (s RolloutSpec) steps() []int {
	switch s.Strategy {
	case RolloutBlueGreen:
		return []int{100}
	case RolloutMirrored:
		if s.Mirror != nil {
			return []int{max(1, min(s.Mirror.Percent, 99)), 100}
		}
	case RolloutAB:
		if s.Match != nil {
			return []int{max(1, min(s.Match.Percent, 99)), 100}
		}
	}
	return slices.Clone(s.Steps)
}

// WaitsFor is the share of the old version's load that the watch waits for, and how long at
// most; 0 if it does not.
func (w RolloutWatch) WaitsFor() (share float64, longest time.Duration) {
	if w.UntilLoad == 0 {
		return 0, 0
	}
	if w.Longest == "" {
		return w.UntilLoad, max(defaultLongest, w.Duration.Value())
	}
	return w.UntilLoad, w.Longest.Value()
}

func (w RolloutWatch) checkLoad(d strict.Document, at func(...string) []string) error {
	share, longest := w.WaitsFor()
	switch {
	case share == 0 && w.Longest != "":
		return d.Errorf(at("watch", "longest"), "belongs to a watch that waits for load: state untilLoad, for example 0.9")
	case share == 0:
		return nil
	case !(share >= leastUntilLoad && share <= 1):
		return d.Errorf(at("watch", "untilLoad"), "%v is not a share from %v to 1", share, leastUntilLoad)
	case w.Duration.Value() < time.Second:
		return d.Errorf(at("watch", "duration"), "is missing: it says how long the new version is watched once it has that load")
	case longest < w.Duration.Value() || longest > maxWatch:
		return d.Errorf(at("watch", "longest"), "%q is not between the duration and 168h", w.Longest)
	}
	return nil
}

// checkStrategy checks what belongs to the strategy.
func (r Rollout) checkStrategy(d strict.Document) error {
	s := r.Spec
	at := func(field ...string) []string { return append([]string{"spec"}, field...) }
	if err := oneOf(d, at("strategy"), s.Strategy, rolloutStrategies); err != nil {
		return err
	}
	switch {
	case s.Strategy != RolloutCanary && !slices.Equal(s.Steps, decide.NewPlan().Steps):
		return d.Errorf(at("steps"), "belong to the strategy canary; %s has none", s.Strategy)
	case (s.Strategy == RolloutMirrored) != (s.Mirror != nil):
		return d.Errorf(at("mirror"), "belongs to the strategy mirrored, which needs it: percent says how many requests are copied")
	case (s.Strategy == RolloutAB) != (s.Match != nil):
		return d.Errorf(at("match"), "belongs to the strategy a-b, which needs it: header or cookie with a value")
	case s.Strategy == RolloutBlueGreen && s.Watch.Duration.Value() < time.Second:
		return d.Errorf(at("watch"), "is missing: blue/green gives all the traffic at once, and what goes wrong is seen only by watching")
	case s.Watch.Duration != "" && (s.Watch.Duration.Value() < 0 || s.Watch.Duration.Value() > maxWatch):
		return d.Errorf(at("watch", "duration"), "%q is not between 0s and 168h", s.Watch.Duration)
	}
	if err := s.Watch.checkLoad(d, at); err != nil {
		return err
	}
	if err := oneOf(d, at("watch", "onHarm"), s.Watch.OnHarm, []RolloutOnHarm{OnHarmRevert, OnHarmAsk}); err != nil {
		return err
	}
	switch {
	case s.HarmBudget > 0 && s.Objective == "":
		return d.Errorf(at("harmBudget"), "is a share of an error budget: name the objective")
	case s.Strata != "" && !labelForm.MatchString(s.Strata):
		return d.Errorf(at("strata"), "%q is not the name of a label", s.Strata)
	case s.Replicas != "" && !labelForm.MatchString(s.Replicas):
		return d.Errorf(at("replicas"), "%q is not the name of a label", s.Replicas)
	case s.Replicas != "" && s.Strategy != RolloutCanary:
		return d.Errorf(at("replicas"), "belong to the strategy canary, whose requests come to a version as they come to a replica; leave them out")
	case s.Replicas != "" && s.Certainty == assay.Exact:
		return d.Errorf(at("replicas"), "belong to the certainty calibrated: exact learns nothing; leave one of them out")
	}
	if e := s.Expect; e != nil && (!(e.RequestsPerMinute > 0 && e.RequestsPerMinute < 1e12) || !(e.BadRate >= 0 && e.BadRate < 1)) {
		return d.Errorf(at("expect"), "%v requests per minute with a bad rate of %v are no traffic", e.RequestsPerMinute, e.BadRate)
	}
	for n, i := range s.Indicators {
		if c := i.Classes; c != nil && (i.Bad == "" || !labelForm.MatchString(c.Label) || len(c.Values) == 0) {
			return d.Errorf(at("indicators", strconv.Itoa(n), "classes"), "need bad, the name of one of its labels, and values of it")
		}
	}
	if s.Mirror != nil {
		if err := s.Mirror.check(d, at); err != nil {
			return err
		}
	}
	if s.Match != nil {
		return s.Match.check(d, at)
	}
	return nil
}

func (m RolloutMirror) check(d strict.Document, at func(...string) []string) error {
	if m.Percent < 1 || m.Percent > 100 {
		return d.Errorf(at("mirror", "percent"), "is %d; expected 1 to 100", m.Percent)
	}
	for n, method := range m.Methods {
		if !slices.Contains(rolloutMethods, method) || slices.Contains(m.Methods[:n], method) {
			return d.Errorf(at("mirror", "methods", strconv.Itoa(n)), "%q is not one of %s, each at most once", method, strings.Join(rolloutMethods, ", "))
		}
	}
	return nil
}

func (m RolloutMatch) check(d strict.Document, at func(...string) []string) error {
	switch {
	case (m.Header == "") == (m.Cookie == ""):
		return d.Errorf(at("match"), "names a header or a cookie, and not both")
	case m.Header != "" && !tokenForm.MatchString(m.Header):
		return d.Errorf(at("match", "header"), "%q is not the name of a header", m.Header)
	case m.Cookie != "" && !tokenForm.MatchString(m.Cookie):
		return d.Errorf(at("match", "cookie"), "%q is not the name of a cookie", m.Cookie)
	case m.Value == "" || len(m.Value) > maxMatchValue || strict.HasControl(m.Value):
		return d.Errorf(at("match", "value"), "is missing or not a text of at most %d bytes", maxMatchValue)
	case m.Percent < 1 || m.Percent > 99:
		return d.Errorf(at("match", "percent"), "is %d; expected 1 to 99", m.Percent)
	}
	return nil
}

// Pairs of mirrored requests, as the proxy counts them: each pair is one request,
// answered by both versions. Worse is the version that failed, or refused what the
// other did not.
const (
	mirrorWorse   = "assay_enforce_mirror_worse_total"
	mirrorPairs   = "assay_enforce_mirror_requests_total"
	mirrorBuckets = "assay_enforce_mirror_duration_seconds_bucket"
)

// MirrorIndicators are what a mirrored rollout tests while it copies: which version
// answered worse, and for each histogram that is watched how slowly, at the same
// bounds. The declared indicators are tested once it has traffic.
func (r Rollout) MirrorIndicators() []RolloutIndicator {
	of := func(metric string) string { return metric + `{service="` + r.Spec.Service + `"}` }
	out := []RolloutIndicator{{
		Name: "mirror-answers", Weight: new(1.0), Required: new(true),
		Bad: "sum(" + of(mirrorWorse) + ")", Total: "sum(" + of(mirrorPairs) + ")",
		Tolerable: mirrorTolerable,
	}}
	for _, i := range r.Spec.Indicators {
		if i.Histogram() {
			i.Name, i.Buckets = "mirror-"+i.Name, of(mirrorBuckets)
			out = append(out, i)
		}
	}
	return out
}

// mirrorTolerable is a share of differing answers that does not matter: two versions
// that both draw their faults differ in some pairs, and one that has none may be
// shown safe by that alone.
const mirrorTolerable = 0.002

// Lint says what the plan cannot do in time, by what it declares and, where it says what
// traffic is expected, with that: errors at the place of what to change.
func (r Rollout) Lint() ([]error, error) {
	if r.Spec.Strategy == RolloutBlueGreen {
		return nil, nil
	}
	p, err := r.Plan()
	if err != nil {
		return nil, err
	}
	findings := decide.LintSteps(p)
	if e := r.Spec.Expect; e != nil {
		if findings, err = decide.LintPlan(p, e.RequestsPerMinute, e.BadRate); err != nil {
			return nil, err
		}
	}
	var out []error
	for _, f := range findings {
		out = append(out, inFile(r.Place.File, r.errorf(r.fieldOf(f.Field), "%s", f.Words)))
	}
	return out, nil
}

// fieldOf is the place in the resource of a field of the plan.
func (r Rollout) fieldOf(field string) []string {
	if name, is := strings.CutPrefix(field, "indicators."); is {
		n := slices.IndexFunc(r.Spec.Indicators, func(i RolloutIndicator) bool { return i.Name == name })
		return []string{"spec", "indicators", strconv.Itoa(max(n, 0))}
	}
	switch field {
	case "min_requests":
		field = "minRequests"
	case "min_duration":
		field = "minDuration"
	}
	return []string{"spec", field}
}
