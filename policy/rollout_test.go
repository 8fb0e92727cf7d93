package policy

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

const rolloutYAML = `apiVersion: assay.dev/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  service: shop
  environment: production
  objective: shop-availability
  alpha: 0.0005
  margin: 2
  minDuration: 3s
  horizon: 10m
  onHorizon: abort
  indicators:
    - name: errors
      tolerable: 0
      bad: sum(errors_total{service="shop"})
      total: sum(requests_total{service="shop"})
    - name: latency
      weight: 2
      required: false
      buckets: duration_seconds_bucket{service="shop"}
      quantiles: [0.5, 0.9, 0.99]
      limit: 0.25
`

func TestRolloutFillsInTheDefaultsOfPlans(t *testing.T) {
	res, err := Parse("shop.yaml", []byte(rolloutYAML))
	if err != nil {
		t.Fatal(err)
	}
	r := res.Rollouts[0]
	got, err := r.Plan()
	if err != nil {
		t.Fatal(err)
	}
	want := decide.NewPlan()
	want.Name, want.Service, want.Environment = "shop", "shop", "production"
	want.Alpha, want.MinDuration, want.Horizon, want.OnHorizon = 0.0005, 3*time.Second, 10*time.Minute, decide.HorizonAbort
	want.Indicators = []decide.Indicator{{Name: "errors", Weight: 1, Required: true}, {Name: "latency", Weight: 2}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("plan\n%+v, want\n%+v", got, want)
	}
	if r.Metadata.Namespace != DefaultNamespace || r.Place != (Place{"shop.yaml", 1}) || r.Spec.Baseline.Value() != 5*time.Minute {
		t.Errorf("%+v at %+v, baseline %s", r.Metadata, r.Place, r.Spec.Baseline)
	}
	if lat := r.Spec.Indicators[1]; !lat.Histogram() || r.Spec.Indicators[0].Histogram() || lat.Limit != 0.25 || len(lat.Quantiles) != 3 {
		t.Errorf("%+v", lat)
	}
	// A plan that the engine completes is one that decide takes.
	got.Canary, got.Control, got.Indicators[1].Bounds = "v2", "v1", []float64{0.05, 0.25}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
}

func TestRolloutRefusesWhatIsWrongWithItsPlace(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"misspelt key", "horizon:", "horizont:", `shop.yaml:11:3: spec.horizont is not a known key (did you mean "horizon"?)`},
		{"second source of something else", "      tolerable: 0\n", "      fallback: {bad: sum(e), total: sum(r), good: sum(g)}\n", "spec.indicators[0].fallback.good is nothing that the indicator has"},
		{"half of a second source", "      tolerable: 0\n", "      fallback: {bad: sum(e)}\n", "spec.indicators[0].fallback.total is missing: the indicator has one"},
		{"second source of buckets without them", "      limit: 0.25\n", "      fallback: {total: sum(r)}\n", "spec.indicators[1].fallback.total is nothing that the indicator has"},
		{"misspelt key of a second source", "      tolerable: 0\n", "      fallback: {bed: sum(e)}\n", `fallback.bed is not a known key (did you mean "bad"?)`},
		{"misspelt indicator key", "buckets:", "bucket:", `spec.indicators[1].bucket is not a known key (did you mean "buckets"?)`},
		{"no service", "  service: shop\n", "", "shop.yaml:5:3: spec.service is missing"},
		{"service of two words", "service: shop\n", "service: the shop\n", `spec.service "the shop" is not a word`},
		{"environment", "environment: production", "environment: Production", "spec.environment"},
		{"objective", "objective: shop-availability", "objective: Shop", `spec.objective "Shop" is not the name of an SLO`},
		{"alpha zero", "alpha: 0.0005", "alpha: 0", "shop.yaml:8:10: spec.alpha 0 is not above 0 and at most 0.5"},
		{"alpha word", "alpha: 0.0005", "alpha: small", "shop.yaml:8:10: spec.alpha"},
		{"accept above margin", "margin: 2", "accept: 3", "spec.margin accept 3 and margin 2 do not satisfy"},
		{"margin that shows nothing", "margin: 2", "margin: 1.2", "nothing would ever be promoted (a margin of 1.5 can be shown"},
		{"steps that fall", "margin: 2", "steps: [50, 25, 100]", "shop.yaml:9:10: spec.steps [50 25 100] do not ascend"},
		{"steps without end", "margin: 2", "steps: [10, 50]", "do not lead from at least 1 to 100"},
		{"completeness", "margin: 2", "minCompleteness: 2", "shop.yaml:9:20: spec.minCompleteness 2 is not between 0 and 1"},
		{"no age", "margin: 2", "maxAge: 0s", `spec.maxAge "0s" is not between`},
		{"empty duration", "margin: 2", `look: ""`, "spec.look is empty"},
		{"no duration", "minDuration: 3s", "minDuration: three", `shop.yaml:10:16: spec.minDuration "three" is not a duration`},
		{"baseline", "margin: 2", "baseline: 2d", `spec.baseline "2d" is not between 1s and 24h`},
		{"horizon policy", "onHorizon: abort", "onHorizon: promote", `spec.onHorizon "promote" is not one of ask, abort, promote-with-watch`},
		{"same name", "name: latency", "name: errors", `shop.yaml:18:13: spec.indicators[1].name "errors" is used twice`},
		{"no name", "- name: latency\n", "-\n", "spec.indicators[1].name is missing"},
		{"weight zero", "weight: 2", "weight: 0", "spec.indicators[1] latency has weight 0, want above 0"},
		{"tolerable everything", "tolerable: 0", "tolerable: 1", "spec.indicators[0] errors tolerates a rate of 1"},
		{"none required", "tolerable: 0", "required: false", "spec.indicators none is required: the rollout could never be shown safe"},
		{"no total", "      total: sum(requests_total{service=\"shop\"})\n", "", "spec.indicators[0].total is missing"},
		{"no bad", "      bad: sum(errors_total{service=\"shop\"})\n", "", "spec.indicators[0].bad is missing; give bad or good"},
		{"good and bad", "tolerable: 0", "good: ok_total", "spec.indicators[0].good stands beside bad"},
		{"two kinds", "limit: 0.25", "total: x_total", "spec.indicators[1].total stands beside buckets"},
		{"limit of a ratio", "tolerable: 0", "limit: 1", "spec.indicators[0].limit belongs to a histogram"},
		{"bounds and quantiles", "limit: 0.25", "bounds: [0.25]", "spec.indicators[1].quantiles stands beside bounds"},
		{"threshold and quantiles", "limit: 0.25", "threshold: 0.25", "spec.indicators[1].threshold stands beside"},
		{"quantile of everything", "0.99]", "1]", "shop.yaml:22:29: spec.indicators[1].quantiles[2] is 1; expected shares between 0 and 1"},
		{"quantiles that fall", "[0.5, 0.9, 0.99]", "[0.9, 0.5]", "spec.indicators[1].quantiles[1] is 0.5; expected"},
		{"negative limit", "limit: 0.25", "limit: -1", "spec.indicators[1].limit is -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(rolloutYAML, c.old, c.new, 1)
			if bad == rolloutYAML {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse("shop.yaml", []byte(bad))
			wantError(t, err, assay.CodeInvalid, c.want)
		})
	}
	none := strings.ReplaceAll(strings.ReplaceAll(rolloutYAML, "      quantiles: [0.5, 0.9, 0.99]\n", ""), "      limit: 0.25\n", "")
	_, err := Parse("shop.yaml", []byte(none))
	wantError(t, err, assay.CodeInvalid, "spec.indicators[1] watches no bound")
	head, _, _ := strings.Cut(rolloutYAML, "  indicators:")
	_, err = Parse("shop.yaml", []byte(head+"  indicators: []\n"))
	wantError(t, err, assay.CodeInvalid, "spec.indicators has 0 entries; expected 1 to 20")
}

func TestRolloutTakesEveryFormOfIndicator(t *testing.T) {
	for name, change := range map[string][2]string{
		"good instead of bad":                {"bad: sum", "good: sum"},
		"threshold":                          {"      quantiles: [0.5, 0.9, 0.99]\n      limit: 0.25\n", "      threshold: 0.25\n"},
		"bounds":                             {"quantiles: [0.5, 0.9, 0.99]", "bounds: [0.1, 0.5]"},
		"the margin of the hint":             {"margin: 2", "margin: 1.5"},
		"a limit alone":                      {"      quantiles: [0.5, 0.9, 0.99]\n", ""},
		"a small margin, tolerable":          {"  margin: 2", "  margin: 1.2"},
		"a step without least time":          {"minDuration: 3s", "minDuration: 0s"},
		"completeness that is not asked for": {"margin: 2", "minCompleteness: 0"},
	} {
		text := strings.Replace(rolloutYAML, change[0], change[1], 1)
		if strings.Contains(name, "tolerable") {
			text = strings.Replace(text, "tolerable: 0\n", "tolerable: 0.001\n", 1)
		}
		res, err := Parse("shop.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := res.Rollouts[0].Plan(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPlanOfARolloutThatNobodyParsedSaysWhatIsWrong(t *testing.T) {
	_, err := Rollout{Spec: RolloutSpec{Service: "shop"}}.Plan()
	wantError(t, err, assay.CodeInvalid, "spec.alpha")
}

const sloYAML = `apiVersion: openslo/v1
kind: SLO
metadata: {name: shop-availability}
spec: {service: shop}
`

func TestRevisionKeepsRolloutsAndOpenSLOFilesApart(t *testing.T) {
	list := "- {apiVersion: openslo/v1, kind: Service, metadata: {name: shop}}\n"
	rev, err := NewRevision([]File{file("shop.yaml", rolloutYAML), file("slo/b.yaml", sloYAML), file("slo/a.yml", list), file("slo/draft.yaml", "apiVersion: openslo.com/v2alpha\nkind: SLO\n")})
	if err != nil {
		t.Fatal(err)
	}
	if files := rev.Objectives(); len(files) != 3 || files[0].Path != "slo/a.yml" || string(files[1].Content) != sloYAML {
		t.Errorf("objectives %+v", files)
	}
	if len(rev.Rollouts()) != 1 || len(rev.Gates()) != 0 || len(rev.Files(ClassResource)) != 4 {
		t.Errorf("%d rollouts, %d gates, %d resource files", len(rev.Rollouts()), len(rev.Gates()), len(rev.Files(ClassResource)))
	}
	if r, err := rev.Rollout("default/shop"); err != nil || r.Spec.Service != "shop" {
		t.Errorf("%+v, %v", r.Metadata, err)
	}
	_, err = rev.Rollout("shp")
	wantError(t, err, assay.CodeNotFound, `rollout "shp" is not one of shop (did you mean "shop"?)`)
	_, err = rev.Gate("x")
	wantError(t, err, assay.CodeNotFound, `gate "x" does not exist: the policy declares no gate`)

	other, err := NewRevision([]File{file("shop.yaml", rolloutYAML), file("slo/b.yaml", sloYAML+"# changed\n"), file("slo/a.yml", list), file("slo/draft.yaml", "apiVersion: openslo.com/v2alpha\nkind: SLO\n")})
	if err != nil || other.Digest() == rev.Digest() {
		t.Errorf("an objective's bytes are not part of the digest (%v)", err)
	}
}

func TestRevisionRefusesFilesOfTwoKinds(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"ours first":   {rolloutYAML + "---\n" + sloYAML, `m.yaml:25:13: apiVersion "openslo/v1" stands in a file with resources of another kind (a file holds either OpenSLO documents or Assay resources; split it)`},
		"theirs first": {sloYAML + "---\n" + rolloutYAML, `m.yaml:6:13: apiVersion "assay.dev/v1alpha1" stands in`},
		"two rollouts": {rolloutYAML + "---\n" + rolloutYAML, `Rollout "shop" of namespace default is declared twice; first at m.yaml:1`},
	} {
		_, err := NewRevision([]File{file("m.yaml", c.content)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatARiskLeavesOutCountsAsTheWorst(t *testing.T) {
	parse := func(risk string) (*RolloutRisk, error) {
		res, err := Parse("shop.yaml", []byte(strings.Replace(rolloutYAML, "  margin: 2\n", "  margin: 2\n  risk: "+risk+"\n", 1)))
		if err != nil {
			return nil, err
		}
		return res.Rollouts[0].Spec.Risk, nil
	}
	if k, err := parse("{}"); err != nil || *k.Blast != 100 || k.History.Value() != 720*time.Hour {
		t.Errorf("%+v, %v", k, err)
	}
	if k, err := parse("{blast: 0, history: 7d}"); err != nil || *k.Blast != 0 || k.History.Value() != 168*time.Hour {
		t.Errorf("%+v, %v", k, err)
	}
	for risk, want := range map[string]string{
		"{blast: 101}":      "spec.risk.blast 101 is not a share from 0 to 100 percent",
		"{history: 8761h}":  `spec.risk.history "8761h" is above 8760h`,
		"{history: always}": "spec.risk.history",
		"{users: 3}":        "users",
	} {
		_, err := parse(risk)
		wantError(t, err, assay.CodeInvalid, want)
	}
}

const workYAML = `apiVersion: assay.dev/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  service: shop
  indicators:
    - name: queries
      count: queries_total
      total: requests_total
      accept: 1.1
      margin: 1.5
      expect: 3
      warmUp: 30s
    - name: cpu
      sum: cpu_seconds_total
      total: requests_total
      max: 0.5
    - name: pool
      gauge: pool_share
      min: -1
      max: 1
      worse: less
      every: 5s
    - name: restarts
      count: restarts_total
      required: false
`

func TestAPlanWatchesCountsSumsAndGauges(t *testing.T) {
	res, err := Parse("shop.yaml", []byte(workYAML))
	if err != nil {
		t.Fatal(err)
	}
	p, err := res.Rollouts[0].Plan()
	if err != nil {
		t.Fatal(err)
	}
	want := []decide.Indicator{
		{Name: "queries", Weight: 1, Required: true, Kind: decide.KindCount, Accept: 1.1, Margin: 1.5, Expected: 3, WarmUp: 30 * time.Second},
		{Name: "cpu", Weight: 1, Required: true, Kind: decide.KindValue, Max: 0.5},
		{Name: "pool", Weight: 1, Required: true, Kind: decide.KindGauge, Min: -1, Max: 1, Less: true, Every: 5 * time.Second},
		{Name: "restarts", Weight: 1, Kind: decide.KindCount, PerTime: true},
	}
	if !reflect.DeepEqual(p.Indicators, want) {
		t.Errorf("%+v\nwant\n%+v", p.Indicators, want)
	}
	for i, whole := range []bool{false, false, true, true} {
		if got := res.Rollouts[0].Spec.Indicators[i].WholeTraffic(); got != whole {
			t.Errorf("%s is of the whole traffic: %t", want[i].Name, got)
		}
	}
}

func TestCountsSumsAndGaugesSayWhatIsWrongWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"two kinds", "      sum: cpu", "      count: x_total\n      sum: cpu", "spec.indicators[1].sum stands beside count"},
		{"bad beside a count", "      count: queries", "      bad: x_total\n      count: queries", "spec.indicators[0].bad stands beside count"},
		{"a sum of nothing", "      sum: cpu_seconds_total\n      total: requests_total\n", "      sum: cpu_seconds_total\n", "spec.indicators[1].total is missing"},
		{"a sum without end", "      max: 0.5\n", "", "spec.indicators[1].max is missing"},
		{"a gauge without width", "      min: -1", "      min: 1", "spec.indicators[2].max is not above min"},
		{"a gauge per request", "      min: -1", "      total: x_total", "spec.indicators[2].total stands beside a gauge"},
		{"a count with an end", "      expect: 3", "      max: 3", "spec.indicators[0].max belongs to a sum or gauge"},
		{"a count looked at", "      expect: 3", "      every: 3s", "spec.indicators[0].every belongs to a gauge"},
		{"worse is neither", "worse: less", "worse: fewer", `spec.indicators[2].worse "fewer" is not one of more, less`},
		{"every so often", "every: 5s", "every: often", `spec.indicators[2].every "often" is not a duration`},
		{"tolerable work", "      expect: 3", "      tolerable: 0.1", "spec.indicators[0].tolerable is a rate of bad requests"},
		{"quantiles of work", "      expect: 3", "      quantiles: [0.5]", "spec.indicators[0].quantiles belongs to a histogram"},
		{"margins that cross", "accept: 1.1", "accept: 1.7", "spec.indicators[0] queries: accept 1.7 and margin 1.5"},
		{"a margin that shows nothing", "margin: 1.5", "margin: 1.2", "1.2 is so small that a version as good as the old one is never shown safe by indicator queries"},
		{"expected of none", "count: queries_total", "bad: queries_total", "spec.indicators[0].warmUp belongs to a count, sum or gauge"},
		{"warming up so long", "warmUp: 30s", "warmUp: long", "spec.indicators[0].warmUp"},
		{"warming up for ever", "warmUp: 30s", "warmUp: 2h", "spec.indicators[0] queries: a warm-up of 2h0m0s"},
		{"misspelt", "gauge: pool", "guage: pool", `(did you mean "gauge"?)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(workYAML, c.old, c.new, 1)
			if bad == workYAML {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse("shop.yaml", []byte(bad))
			wantError(t, err, assay.CodeInvalid, c.want)
		})
	}
}
