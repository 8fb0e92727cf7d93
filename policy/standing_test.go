package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay"
)

const standingYAML = `apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: shop-scale}
spec:
  service: shop
  level: act
  signals:
    - name: load
      query: sum(rate(requests_total[1m]))
  scale:
    perReplica: 40
    max: 60
    events:
      - {name: sale, start: "2026-11-27T07:00:00Z", end: "2026-11-27T23:00:00Z", factor: 3}
`

func TestEveryExampleOfAStrategyIsValidAndNamesItsLaw(t *testing.T) {
	for _, law := range Laws {
		path := filepath.Join("..", "examples", "strategies", law+".yaml")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		res, err := Parse(path, data)
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Strategies[0].Spec.Law(); got != law {
			t.Errorf("%s declares law %s", path, got)
		}
	}
}

func TestStrategyFillsInItsDefaults(t *testing.T) {
	res, err := Parse("shop.yaml", []byte(strings.Replace(standingYAML, "  level: act\n", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	s := res.Strategies[0]
	if s.Metadata.Namespace != DefaultNamespace || s.Spec.Level != LevelPropose || s.Spec.Precedence != 50 || s.Spec.MaxAge != "30s" ||
		s.Spec.Scale.Lead != "2m" || s.Spec.Scale.Target != 0.8 || s.Spec.Scale.Min != 1 {
		t.Errorf("%+v %+v", s.Spec, s.Spec.Scale)
	}
}

func TestStrategyRefusesWhatIsWrongWithItsPlace(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"misspelt key", "perReplica", "perReplicas", `spec.scale.perReplicas is not a known key (did you mean "perReplica"?)`},
		{"no service", "  service: shop\n", "", "spec.service is missing"},
		{"level", "level: act", "level: auto", "shop.yaml:6:10: spec.level"},
		{"no law", "  scale:\n    perReplica: 40\n    max: 60\n    events:\n      - {name: sale, start: \"2026-11-27T07:00:00Z\", end: \"2026-11-27T23:00:00Z\", factor: 3}\n", "", "declares no law"},
		{"two laws", "  scale:\n", "  stabilise: {max: 5}\n  scale:\n", "stands beside scale"},
		{"unknown signal", "name: load", "name: loads", `did you mean "load"?`},
		{"no query", "      query: sum(rate(requests_total[1m]))\n", "", "spec.signals[0].query is missing"},
		{"a query that is none", "sum(rate(requests_total[1m]))", "sum(rate(requests_total[1m])", "spec.signals[0].query is no PromQL: 1:29: parse error: unclosed left parenthesis"},
		{"a query of spans", "sum(rate(requests_total[1m]))", "requests_total[1m]", "spec.signals[0].query gives a range vector; expected a number"},
		{"a second source that is the first", "sum(rate(requests_total[1m]))", "up\n      fallback: up", "spec.signals[0].fallback is the query itself"},
		{"a second source that is none", "sum(rate(requests_total[1m]))", "up\n      fallback: 'rate('", "spec.signals[0].fallback is no PromQL"},
		{"scoped without need", "      query:", "      by: region\n      query:", `spec.signals[0].by is "region"`},
		{"nothing per replica", "perReplica: 40", "perReplica: 0", "spec.scale.perReplica is 0"},
		{"min above max", "max: 60", "max: 60\n    min: 70", "spec.scale.max is 60 for a min of 70"},
		{"one cost alone", "max: 60", "max: 60\n    costReplica: 1", "give both above 0"},
		{"a replica that is never worth it", "max: 60", "max: 60\n    costReplica: 10\n    costViolation: 0.1", "nothing would ever be worth running"},
		{"an event that ends before it starts", "2026-11-27T23:00:00Z", "2026-11-26T23:00:00Z", "is not after the start"},
		{"an event that is less", "factor: 3", "factor: 0.5", "expected 1 to 1000"},
		{"a zone that is none", "max: 60", "max: 60\n    forecast: {zone: Vienna}", "is not an IANA time zone"},
		{"a season of a part of a step", "max: 60", "max: 60\n    forecast: {step: 1m, seasons: [90m30s]}", `spec.scale.forecast.seasons[0] "90m30s" is no whole number of steps of 1m`},
		{"a season of few steps", "max: 60", "max: 60\n    forecast: {step: 5m, seasons: [1h]}", "fewer than 24 of them"},
		{"the longer season first", "max: 60", "max: 60\n    forecast: {step: 1m, seasons: [24h, 1h]}", "the shorter comes first"},
		{"three seasons", "max: 60", "max: 60\n    forecast: {step: 1m, seasons: [1h, 24h, 168h]}", "at most 2 are learnt at once"},
		{"a season seen once", "max: 60", "max: 60\n    forecast: {step: 1h, past: 168h, seasons: [120h]}", "seen less than twice in a past of 168h"},
		{"a season that is no time", "max: 60", "max: 60\n    forecast: {seasons: [daily]}", `"daily" is not a duration`},
		{"precedence", "level: act", "precedence: 1000", "spec.precedence is 1000"},
		{"age", "level: act", "maxAge: soon", `"soon" is not a duration`},
		{"a lever of another law", "  scale:\n", "  levers: [{lever: spend, query: x}]\n  scale:\n", "which law scale moves"},
		{"dead band", "  scale:\n", "  damping: {relax: {deadBand: 2}}\n  scale:\n", "spec.damping.relax.deadBand 2 is not between 0 and 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(standingYAML, c.old, c.new, 1)
			if bad == standingYAML {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse("shop.yaml", []byte(bad))
			wantError(t, err, assay.CodeInvalid, c.want)
		})
	}
}

func TestLawsRefuseBoundsThatCannotHold(t *testing.T) {
	for _, c := range []struct{ file, old, new, want string }{
		{"divert", "share: 20", "share: 30", "add up to 110 instead of 100"},
		{"divert", "    maxBad: 0.05", "    probe: 90\n    maxBad: 0.05", "expected 1 to 50 percent"},
		{"divert", "maxBad: 0.05", "steps: [50, 20]", "in ascending order"},
		{"drain", "    drain: {before: 10m, sure: 1m, return: 0.5}\n", "", "does nothing about it; give drain: {}"},
		{"drain", "before: 10m", "before: 5m", "spec.divert.drain.before is 5m, and to be sure and to take 5 steps takes 6m0s"},
		{"drain", "before: 10m", "befor: 10m", `did you mean "before"?`},
		{"drain", "return: 0.5", "return: 1", "spec.divert.drain.return is 1"},
		{"drain", "{name: strain_growth, query", "{name: latency, query", "needs strain and strain_growth together"},
		{"divert", "    maxBad: 0.05", "    drain: {}\n    maxBad: 0.05", "spec.divert.drain needs the signal leaving, or strain and strain_growth"},
		{"cost", "{name: integration}\n      - {name: load-tests}", "{name: other, essential: true}", "are all essential"},
		{"cost", "dailyCap: 100", "dailyCap: 0", "spec.cost.dailyCap is 0"},
		{"contain", "below: 0.3", "below: 0.95", "without a gap"},
		{"throttle", ", critical: true", "", "has no critical class"},
		{"throttle", "    latency: 0.3\n", "", "the signal latency and its promise go together"},
		{"isolate", "guarantee: 50", "guarantee: 500", "of a capacity of 300"},
		{"tiers", "cost: 0.15", "cost: 0.50", "the dearest class first"},
		{"tiers", "cheapest: shared", "cheapest: share", `did you mean "shared"?`},
		{"data", "minRetention: 7", "minRetention: 700", "expected 0 < minRetention"},
	} {
		data, err := os.ReadFile(filepath.Join("..", "examples", "strategies", c.file+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		bad := strings.Replace(string(data), c.old, c.new, 1)
		if bad == string(data) {
			t.Fatalf("%s: the case %q changes nothing", c.file, c.old)
		}
		_, err = Parse("x.yaml", []byte(bad))
		wantError(t, err, assay.CodeInvalid, c.want)
	}
}

func TestTwoStrategiesThatMoveOneLeverNeedAnOrder(t *testing.T) {
	other := strings.Replace(standingYAML, "shop-scale", "shop-other", 1)
	_, err := NewRevision([]File{{Path: "a.yaml", Content: []byte(standingYAML)}, {Path: "b.yaml", Content: []byte(other)}})
	wantError(t, err, assay.CodeInvalid, `is also that of strategy "shop-scale"`)
	other = strings.Replace(other, "level: act", "precedence: 60", 1)
	rev, err := NewRevision([]File{{Path: "a.yaml", Content: []byte(standingYAML)}, {Path: "b.yaml", Content: []byte(other)}})
	if err != nil || len(rev.Strategies()) != 2 {
		t.Errorf("with an order: %v", err)
	}
}
