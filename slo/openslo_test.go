package slo_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/testenv"
	"assay.dev/assay/slo"
)

// problems takes a joined error apart.
func problems(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// Each public OpenSLO document either parses, or is refused resource by
// resource for a reason that says what is not supported.
func TestPublicDocumentsParseOrSayWhyNot(t *testing.T) {
	root := testenv.Data(t, "vectors/openslo")
	cases := map[string]struct {
		objectives, services, sources, policies, conditions, targets int
		refused                                                      []string
	}{
		"examples/treat-low-traffic-as-equally-important/timeslices-slo.yaml": {objectives: 1},
		"examples/budgeting-method/timeslices-slo.yaml":                       {objectives: 2},
		"examples/budgeting-method/ratio-timeslices.yaml":                     {refused: []string{"RatioTimeslices is not evaluated yet"}},
		"examples/budgeting-method/occurences-slo.yaml":                       {refused: []string{"thresholdMetric is not evaluated yet"}},
		"pkg/openslosdk/test_data/decode/single_object.yaml":                  {services: 1},
		"pkg/openslosdk/test_data/decode/single_object.json":                  {services: 1},
		"pkg/openslosdk/test_data/decode/sequence_of_objects.yaml":            {services: 2},
		"pkg/openslosdk/test_data/decode/sequence_of_objects.json":            {services: 2},
		"pkg/openslosdk/test_data/decode/two_documents.yaml":                  {services: 2},
		"pkg/openslosdk/test_data/decode/v1_slos.yaml":                        {refused: []string{"timeWindow has 0 entries"}},
		"pkg/openslosdk/test_data/decode/v2alpha_slos.yaml":                   {refused: []string{"draft", "draft"}},
		"pkg/openslosdk/test_data/decode/v2alpha_data_source.yaml":            {refused: []string{"draft"}},
		"pkg/openslo/v1/examples/services.yaml":                               {services: 2},
		"pkg/openslo/v1/examples/slos.yaml":                                   {objectives: 1},
		"pkg/openslo/v1/examples/data_sources.yaml":                           {sources: 2},
		"pkg/openslo/v1/examples/alert_conditions.yaml":                       {conditions: 2},
		"pkg/openslo/v1/examples/alert_notification_targets.yaml":             {targets: 2},
		"pkg/openslo/v1/examples/slis.yaml":                                   {refused: []string{"raw is not evaluated yet", "thresholdMetric is not evaluated yet"}},
		"pkg/openslo/v1/examples/alert_policies.yaml":                         {policies: 3, conditions: 1},
	}
	seen := 0
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if ext := filepath.Ext(path); err != nil || ext != ".yaml" && ext != ".json" {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		want, ok := cases[filepath.ToSlash(rel)]
		if !ok {
			t.Errorf("%s is not in the table", rel)
			return nil
		}
		seen++
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		set, err := slo.Parse(rel, data)
		got := problems(err)
		if len(got) != len(want.refused) {
			t.Errorf("%s: refused %v, want %q", rel, got, want.refused)
			return nil
		}
		for i, reason := range want.refused {
			if assay.CodeOf(got[i]) != assay.CodeInvalid || !strings.Contains(got[i].Error(), reason) || !strings.HasPrefix(got[i].Error(), rel+":") {
				t.Errorf("%s: refused with %v, want %q and a place", rel, got[i], reason)
			}
		}
		objectives, err := slo.Resolve(set)
		if err != nil {
			t.Errorf("%s: %v", rel, err)
		}
		have := []int{len(objectives), len(set.Services), len(set.Sources), len(set.Policies), len(set.Conditions), len(set.Targets)}
		for i, n := range []int{want.objectives, want.services, want.sources, want.policies, want.conditions, want.targets} {
			if have[i] != n {
				t.Errorf("%s: holds %v, want %+v", rel, have, want)
				break
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen != len(cases) {
		t.Errorf("%d of %d documents were found", seen, len(cases))
	}
}

const sample = `apiVersion: openslo/v1
kind: SLO
metadata:
  name: shop-errors
spec:
  service: shop
  indicator:
    metadata: {name: errors}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: 'requests_total{code="500"}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: requests_total}}}
  timeWindow: [{duration: 1h, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.995}]
`

func TestObjectiveHoldsWhatTheDocumentSays(t *testing.T) {
	set, err := slo.Parse("slo.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	got, err := slo.Resolve(set)
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	o := got[0]
	if o.SLO != "shop-errors" || o.Name != "shop-errors" || o.Service != "shop" || o.Target != 995_000_000 || o.Target.Percent() != "99.5" ||
		!o.Window.Rolling || o.Window.Longest() != time.Hour || o.Method != slo.MethodOccurrences ||
		o.Indicator.Good != nil || o.Indicator.Bad.Text != `requests_total{code="500"}` || o.Indicator.Total.Text != "requests_total" || !o.Indicator.Counter {
		t.Errorf("%+v", o)
	}
}

// One change to the sample each, and what is said about it.
func TestWrongDocumentsAreRefusedAtTheirPlace(t *testing.T) {
	cases := []struct{ old, new, want string }{
		{"target: 0.995", "target: 1", "slo.yaml:16:16: spec.objectives[0] has a target of 100 %, which leaves no budget; expected less than 1"},
		{"target: 0.995", "target: 1.5", "is not valid: it is not a decimal number from 0 to 1"},
		{"target: 0.995", "target: -0.5", "is not a decimal number from 0 to 1"},
		{"target: 0.995", "target: .nan", "is not a decimal number from 0 to 1"},
		{"target: 0.995", "target: 0.12345678901", "at most 9 decimal places"},
		{"target: 0.995", "target: 0.9, targetPercent: 90", "stands beside target"},
		{"target: 0.995", "displayName: x", "has no target"},
		{"target: 0.995", "target: 0.9, op: ge", `"ge" is not one of lte, gte, lt, gt (did you mean "gte"?)`},
		{"target: 0.995", "target: 0.9, value: 3", "thresholdMetric, which is not evaluated yet"},
		{"target: 0.995", "target: 0.9, compositeWeight: 1", "composite SLO, which is not evaluated yet"},
		{"target: 0.995", "targt: 0.9", `spec.objectives[0].targt is not a known key (did you mean "target"?)`},
		{"{target: 0.995}", "", "spec.objectives has 0 entries"},
		{"Occurrences", "Timeslices", "has no timeSliceTarget"},
		{"Occurrences", "occurrences", `did you mean "Occurrences"?`},
		{"duration: 1h", "duration: 1x", "is not valid: it is not a whole number and one of m (minutes)"},
		{"duration: 1h", "duration: 0h", "is not a whole number and one of"},
		{"duration: 1h", "duration: 999999Y", "longer than a quarter"},
		{"duration: 1h", "duration: 93d", "longer than a quarter"},
		{"isRolling: true", "isRolling: false", "is not rolling and has no calendar"},
		{"isRolling: true", "isRolling: true, calendar: {startTime: 2020-01-21 12:30:00, timeZone: UTC}", "stands in a rolling window"},
		{"isRolling: true", "calendar: {startTime: 2020-01-21 12:30:00, timeZone: Mars/Olympus}", `"Mars/Olympus" is not an IANA time zone`},
		{"isRolling: true", "calendar: {startTime: 2020-01-21 12:30:00, timeZone: ../../etc/passwd}", "is not an IANA time zone"},
		{"isRolling: true", "calendar: {startTime: 2020-13-21 12:30:00, timeZone: UTC}", "expected the form 2020-01-21 12:30:00"},
		{"isRolling: true}", "isRolling: true}, {duration: 1d, isRolling: true}", "has 2 entries; expected exactly one"},
		{"name: shop-errors", "name: Shop_Errors", `slo.yaml:4:9: metadata.name "Shop_Errors" is not 1 to 63 lower-case`},
		{"service: shop", "description: x", "spec.service is missing"},
		{"bad: {", "badd: {", `spec.indicator.spec.ratioMetric.badd is not a known key (did you mean "bad"?)`},
		{"        total:", "        good:", "spec.indicator.spec.ratioMetric.bad stands beside good"},
		{"query: requests_total", "metric: x", "spec.indicator.spec.ratioMetric.total.metricSource.spec.query is missing; expected PromQL"},
		{"openslo/v1", "openslo.com/v2alpha", "is a draft that still changes and is not read (write the resource as openslo/v1)"},
		{"openslo/v1", "sloth/v1", `apiVersion "sloth/v1" is not known here; write openslo/v1`},
		{"kind: SLO", "kind: SLOO", `(did you mean "SLO"?)`},
		{"kind: SLO", "kind: SLO\nkind: SLO", "is a duplicate key"},
	}
	for _, c := range cases {
		t.Run(c.new, func(t *testing.T) {
			text := strings.Replace(sample, c.old, c.new, 1)
			if text == sample {
				t.Fatalf("%q is not in the sample", c.old)
			}
			set, err := slo.Parse("slo.yaml", []byte(text))
			if err == nil || !strings.Contains(err.Error(), c.want) || assay.CodeOf(err) != assay.CodeInvalid || strings.Contains(err.Error(), "\n") {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if set != nil {
				if o, _ := slo.Resolve(set); len(o) != 0 {
					t.Errorf("a refused resource was kept: %+v", o)
				}
			}
		})
	}
}

func TestReferencesAreResolvedAcrossFiles(t *testing.T) {
	sli := "apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: errors}\nspec:\n  ratioMetric:\n    good: {metricSource: {type: Prometheus, spec: {query: good}}}\n    total: {metricSource: {type: Prometheus, spec: {query: all}}}\n"
	head, rest, _ := strings.Cut(sample, "  indicator:\n")
	_, tail, _ := strings.Cut(rest, "  timeWindow")
	slos := head + "  indicatorRef: errors\n  timeWindow" + tail
	a, errA := slo.Parse("sli.yaml", []byte(sli))
	b, errB := slo.Parse("slo.yaml", []byte(slos))
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if got, err := slo.Resolve(b, a); err != nil || len(got) != 1 || got[0].Indicator.Good.Text != "good" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := slo.Resolve(b); err == nil || !strings.Contains(err.Error(), `slo.yaml:7:17: spec.indicatorRef "errors" names no SLI`) {
		t.Errorf("%v", err)
	}
	if _, err := slo.Resolve(b, b, a); err == nil || !strings.Contains(err.Error(), `"shop-errors" is used by an SLO of another file`) {
		t.Errorf("%v", err)
	}
}

func TestFilesAboveTheLimitAreRefused(t *testing.T) {
	for name, data := range map[string]string{
		"bytes":     strings.Repeat(" ", slo.MaxFileBytes+1),
		"resources": strings.Repeat("- {kind: SLO}\n", slo.MaxResources+1),
	} {
		if set, err := slo.Parse("f", []byte(data)); assay.CodeOf(err) != assay.CodeTooLarge || set != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASharePutWherePercentBelongIsNoted(t *testing.T) {
	set, err := slo.Parse("f.yaml", []byte(strings.Replace(sample, "target: 0.995", "targetPercent: 0.995", 1)))
	if err != nil || len(set.Notes) != 1 || !strings.Contains(set.Notes[0], "a target of 0.995 % lets more than half of all events be bad") {
		t.Errorf("%v, %v", set, err)
	}
	if set, err = slo.Parse("f.yaml", []byte(sample)); err != nil || len(set.Notes) != 0 {
		t.Errorf("%v, %v", set, err)
	}
}

func TestMinutesThatLookLikeMonthsAreNoted(t *testing.T) {
	set, err := slo.Parse("f.yaml", []byte(strings.Replace(sample, "1h", "1m", 1)))
	if err != nil || len(set.Notes) != 1 || !strings.Contains(set.Notes[0], "capital M") {
		t.Errorf("%v, %v", set, err)
	}
}
