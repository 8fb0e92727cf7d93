package simulate_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"assay.dev/assay"
	"assay.dev/assay/simulate"
)

// worked is a world in which v2 has a measure, and a rollout that watches it.
func worked(old, canary, indicator string) (fstest.MapFS, string) {
	rule := `apiVersion: assay.dev/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  service: shop
  minDuration: 1m
  maxAge: 1m
  horizon: 6h
  onHorizon: abort
  indicators:
    - {name: errors, bad: 'sum(errors_total)', total: 'sum(requests_total)'}
    - ` + indicator + "\n"
	text := head + `  duration: 6h
  warmUp: 1h
  seeds: 3
  world:
    services:
      - name: shop
        traffic: {rate: 50, noise: 0.2, day: 0.5}
        work: 20ms
        replicas: 4
        versions:
          - {name: v1, share: 100, errors: 0.01, measures: [` + old + `]}
          - {name: v2, share: 0, errors: 0.01, measures: [` + canary + `]}
  controller: {rollouts: [{file: shop.yaml, canary: v2, control: v1}]}
  expect: {ends: [{service: shop, lever: share, scope: v2, atLeast: %s, atMost: %[1]s}]}
`
	return fstest.MapFS{"shop.yaml": {Data: []byte(rule)}}, text
}

// A version that does twice as much of something is taken out and one that does as much gets
// all the traffic, with every seed, in bursts, with values that vary much and with gauges
// that hang together.
func TestARolloutInAWorldWatchesWork(t *testing.T) {
	for name, c := range map[string]struct{ measure, indicator string }{
		"a count":               {"{name: queries, count: %v}", "{name: queries, count: 'sum(q_total)', total: 'sum(requests_total)'}"},
		"a count in bursts":     {"{name: queries, count: %v, burst: 5}", "{name: queries, count: 'sum(q_total)', total: 'sum(requests_total)'}"},
		"a count per time":      {"{name: restarts, perHour: 4%v}", "{name: restarts, count: 'sum(restarts_total)'}"},
		"a sum":                 {"{name: bytes, sum: %v, spread: 1.5}", "{name: bytes, sum: 'sum(bytes_total)', total: 'sum(requests_total)', max: 60}"},
		"a gauge":               {"{name: memory, gauge: %v, spread: 0.3, keep: 0.6}", "{name: memory, gauge: memory_used, max: 10}"},
		"a gauge above its min": {"{name: memory, gauge: 1%v, spread: 0.3}", "{name: memory, gauge: memory_used, min: 10, max: 20}"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []struct{ units, share string }{{"3", "100"}, {"6", "0"}} {
				fsys, text := worked(fmt.Sprintf(c.measure, 3), fmt.Sprintf(c.measure, v.units), c.indicator)
				if name == "a count per time" && v.units == "6" { // 86 an hour instead of 43
					fsys, text = worked(fmt.Sprintf(c.measure, 3), "{name: restarts, perHour: 86}", c.indicator)
				}
				r := run(t, fsys, fmt.Sprintf(text, v.share), simulate.Options{})
				if !r.OK {
					t.Errorf("%s units: %+v", v.units, r.Checks)
				}
			}
		})
	}
}

func TestARolloutWatchesOnlyWhatItsWorldHas(t *testing.T) {
	count := "{name: queries, count: 'sum(q_total)', total: 'sum(requests_total)'}"
	for want, m := range map[string][2]string{
		"version v1 of service shop has none":            {"", "{name: queries, count: 3}"},
		"version v2 of service shop has queries (sum)":   {"{name: queries, count: 3}", "{name: queries, sum: 3}"},
		"version v2 of service shop has questions (cou":  {"{name: queries, count: 3}", "{name: questions, count: 3}"},
		"indicator queries watches a measure of that na": {"{name: queries, perHour: 3}", "{name: queries, perHour: 3}"},
	} {
		fsys, text := worked(m[0], m[1], count)
		fsys["s.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, text, "0")}
		if _, err := simulate.Load(fsys, "s.yaml"); assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
