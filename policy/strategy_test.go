package policy

import (
	"slices"
	"strings"
	"testing"

	"assay.dev/assay"
)

// strategyYAML is a rollout with fields of a strategy.
func strategyYAML(fields string) string {
	return `apiVersion: assay.dev/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  service: shop
` + fields + `  indicators:
    - name: errors
      bad: sum(errors_total)
      total: sum(requests_total)
    - name: latency
      buckets: duration_seconds_bucket
      quantiles: [0.5, 0.99]
`
}

func TestStrategiesBecomePlans(t *testing.T) {
	for name, c := range map[string]struct {
		fields string
		steps  []int
	}{
		"canary":     {"", []int{10, 25, 50, 100}},
		"blue-green": {"  strategy: blue-green\n  watch: {duration: 30m}\n", []int{100}},
		"mirrored":   {"  strategy: mirrored\n  mirror: {percent: 20, methods: [GET]}\n", []int{20, 100}},
		"all copies": {"  strategy: mirrored\n  mirror: {percent: 100}\n", []int{99, 100}},
		"a-b":        {"  strategy: a-b\n  match: {cookie: group, value: b}\n", []int{50, 100}},
	} {
		res, err := Parse("shop.yaml", []byte(strategyYAML(c.fields)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p, err := res.Rollouts[0].Plan()
		if err != nil || !slices.Equal(p.Steps, c.steps) {
			t.Errorf("%s: steps %v, %v; want %v", name, p.Steps, err, c.steps)
		}
	}
}

func TestStrategiesThatDoNotFitAreRefusedAtTheirPlace(t *testing.T) {
	for fields, want := range map[string]string{
		"  strategy: rolling\n":                                                "rolling",
		"  strategy: blue-green\n":                                             "spec.watch is missing",
		"  strategy: mirrored\n":                                               "spec.mirror belongs",
		"  strategy: mirrored\n  mirror: {percent: 0}\n":                       "spec.mirror.percent",
		"  strategy: mirrored\n  mirror: {percent: 5, methods: [BREW]}\n":      "BREW",
		"  mirror: {percent: 5}\n":                                             "spec.mirror belongs",
		"  strategy: a-b\n":                                                    "spec.match belongs",
		"  strategy: a-b\n  match: {value: x}\n":                               "a header or a cookie",
		"  strategy: a-b\n  match: {header: A, cookie: b, value: x}\n":         "a header or a cookie",
		"  strategy: a-b\n  match: {header: A}\n":                              "spec.match.value",
		"  strategy: a-b\n  steps: [1, 100]\n  match: {header: A, value: x}\n": "spec.steps",
		"  watch: {duration: 8d}\n":                                            "spec.watch.duration",
		"  watch: {duration: 1h, onHarm: panic}\n":                             "panic",
		"  harmBudget: 0.5\n":                                                  "spec.harmBudget",
		"  strata: \"a route\"\n":                                              "spec.strata",
		"  replicas: \"a pod\"\n":                                              "spec.replicas",
		"  replicas: pod\n  certainty: exact\n":                                "spec.replicas",
		"  replicas: pod\n  strategy: blue-green\n  watch: {duration: 1h}\n":   "spec.replicas",
		"  expect: {requestsPerMinute: 0}\n":                                   "no traffic",
		"  certainty: sure\n":                                                  "sure",
		"  fixed: {requests: 1000, looks: 90}\n":                               "looks",
	} {
		_, err := Parse("shop.yaml", []byte(strategyYAML(fields)))
		if err == nil || !strings.Contains(err.Error(), want) || assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%q: %v; want %q", fields, err, want)
		}
	}
}

func TestAPlanThatCanNeverPromoteIsSaidAtLint(t *testing.T) {
	lint := func(fields string) (out []string) {
		t.Helper()
		res, err := Parse("shop.yaml", []byte(strategyYAML(fields)))
		if err != nil {
			t.Fatal(err)
		}
		found, err := res.Rollouts[0].Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range found {
			out = append(out, e.Error())
		}
		return out
	}
	quiet := lint("  horizon: 4h\n  expect: {requestsPerMinute: 3, badRate: 0.01}\n")
	if len(quiet) == 0 || !strings.Contains(quiet[0], "at 3 requests/min and 10 % weight this needs about") || !strings.Contains(quiet[0], "shop.yaml:6") {
		t.Errorf("a plan that needs days of 3 requests a minute: %q", quiet)
	}
	if busy := lint("  horizon: 4h\n  expect: {requestsPerMinute: 60000, badRate: 0.01}\n"); len(busy) != 0 {
		t.Errorf("a plan that needs a minute: %q", busy)
	}
	if silent := lint(""); len(silent) != 0 {
		t.Errorf("without an expectation: %q", silent)
	}
}

func TestAMirrorTestsPairsAtTheBoundsOfWhatIsDeclared(t *testing.T) {
	res, err := Parse("shop.yaml", []byte(strategyYAML("  strategy: mirrored\n  mirror: {percent: 20}\n")))
	if err != nil {
		t.Fatal(err)
	}
	got := res.Rollouts[0].MirrorIndicators()
	if len(got) != 2 || got[0].Bad != `sum(assay_enforce_mirror_worse_total{service="shop"})` || got[1].Name != "mirror-latency" ||
		!strings.Contains(got[1].Buckets, "mirror_duration") || !slices.Equal(got[1].Quantiles, []float64{0.5, 0.99}) {
		t.Errorf("%+v", got)
	}
}
