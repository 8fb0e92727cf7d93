//go:build !race

// See examples_test.go for why.

package simulate

import (
	"os"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"assay.dev/assay/internal/simtest"
)

// ending is how a rollout ended: where the version's share stood at last, and since when; the
// end of the run if it was still under way.
type ending struct {
	share float64
	at    time.Duration
}

// endings plays a controller with one seed and says how the rollouts of its services ended.
func endings(t *testing.T, p *Prepared, c *Controller, seed uint64) map[string]ending {
	t.Helper()
	f := newFilm(p.scenario)
	if _, err := p.play(t.Context(), c, seed, f); err != nil {
		t.Fatal(err)
	}
	out := map[string]ending{}
	for _, m := range f.moves {
		out[m.Service] = ending{m.To, time.Duration(m.At * float64(time.Second))}
	}
	for service, e := range out {
		if e.share != 0 && e.share != 100 {
			out[service] = ending{e.share, p.scenario.Spec.Duration.D()}
		}
	}
	return out
}

// A database that stalls makes requests of every version fail at once. A plan that compares the
// replicas of the old version side by side promotes a healthy version all the same, where one
// that knows only the whole takes the stalls for bursts and holds it; and it stops a version
// that fails three times as often.
func TestStallsOfAllReplicasHoldNoHealthyVersionThatTellsThemApart(t *testing.T) {
	p, err := Load(os.DirFS(".."), "examples/scenarios/stalling-database.scenario.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const seeds = 40
	begins := p.scenario.Spec.Controller.Rollouts[0].At.D() - p.scenario.Spec.WarmUp.D()
	played := func(c *Controller) (out []map[string]ending) {
		for seed := range uint64(seeds) {
			out = append(out, endings(t, p, c, 1+seed))
		}
		return out
	}
	took := func(runs []map[string]ending, service string, want float64) (median time.Duration, wrong, ended int) {
		var times []time.Duration
		for _, run := range runs {
			e := run[service]
			switch e.share {
			case want:
				ended++
			case 100 - want:
				wrong++
			}
			times = append(times, e.at-begins)
		}
		slices.Sort(times)
		return times[seeds/2], wrong, ended
	}
	told, whole := played(&p.scenario.Spec.Controller), played(&p.scenario.Spec.Against[0])
	for _, c := range []struct {
		service string
		want    float64       // where the new version's share ends
		sooner  time.Duration // how many times, at least
	}{{"shop", 100, 5}, {"search", 0, 1}} {
		with, wrong, ended := took(told, c.service, c.want)
		without, mistaken, late := took(whole, c.service, c.want)
		t.Logf("%s: with replicas %d of %d end with %v %%, after %s in the median, and %d with the opposite; without %d, after %s, and %d", c.service, ended, seeds, c.want, with, wrong, late, without, mistaken)
		if ended < seeds-1 || ended < late || wrong > 0 {
			t.Errorf("%s: with replicas %d of %d end with %v %% and %d with the opposite", c.service, ended, seeds, c.want, wrong)
		}
		if with*c.sooner > without {
			t.Errorf("%s: %s with replicas and %s without", c.service, with, without)
		}
	}
}

// Who asks for replicas that are not there, because there is only one, decides by the whole.
func TestOneReplicaIsComparedWithNone(t *testing.T) {
	p, err := Load(os.DirFS(".."), "examples/scenarios/stalling-database.scenario.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.scenario.Spec.World.Services {
		s := &p.scenario.Spec.World.Services[i]
		s.Workers, s.Replicas = s.Replicas*8, 1
	}
	with, without := newFilm(p.scenario), newFilm(p.scenario)
	for c, f := range map[*Controller]*film{&p.scenario.Spec.Controller: with, &p.scenario.Spec.Against[0]: without} {
		if _, err := p.play(t.Context(), c, 3, f); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(with.moves, without.moves) || len(with.moves) == 0 {
		t.Errorf("moves with one replica told apart: %v, and not: %v", with.moves, without.moves)
	}
}

// Errors, quantiles of a latency and a limit of it are compared by replica, in the readings of
// the old version alone; of counts of work nobody asks which replica did it.
func TestEveryIndicatorThatHasReplicasGetsThem(t *testing.T) {
	const rule = `apiVersion: assay.dev/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  service: shop
  replicas: pod
  minDuration: 10m
  maxAge: 1m
  horizon: 2h
  indicators:
    - {name: errors, bad: 'sum(errors_total)', total: 'sum(requests_total)'}
    - {name: latency, buckets: 'seconds_bucket', quantiles: [0.5, 0.95]}
    - {name: slow, buckets: 'seconds_bucket', threshold: 0.1}
    - {name: queries, count: 'sum(q_total)', total: 'sum(requests_total)'}
`
	const text = `apiVersion: assay.dev/v1alpha1
kind: Scenario
metadata: {name: shop}
spec:
  duration: 10m
  warmUp: 5m
  world:
    services:
      - name: shop
        traffic: {rate: 200}
        work: 30ms
        replicas: 5
        versions:
          - {name: v1, share: 100, errors: 0.01, measures: [{name: queries, count: 3}]}
          - {name: v2, share: 0, errors: 0.01, measures: [{name: queries, count: 3}]}
  controller: {rollouts: [{file: shop.yaml, canary: v2, control: v1}]}
  expect: {}
`
	p, err := Load(fstest.MapFS{"s.yaml": {Data: []byte(text)}, "shop.yaml": {Data: []byte(rule)}}, "s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w, err := simtest.New(p.scenario.world(1))
	if err != nil {
		t.Fatal(err)
	}
	hands, err := p.hands(&p.scenario.Spec.Controller, w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.turn(t.Context(), w, hands, w.Tick(), 1, nil); err != nil {
		t.Fatal(err)
	}
	five := []string{"replica 00", "replica 01", "replica 02", "replica 03", "replica 04"}
	for n, want := range [][]string{five, five, five, nil} {
		watch := hands[0].(*roll).state.Watches[n]
		if !slices.Equal(watch.Replicas, want) {
			t.Errorf("of %s %q are compared, want %q", p.files.rollouts["shop.yaml"][0].Spec.Indicators[n].Name, watch.Replicas, want)
		}
		for _, b := range watch.Bursts {
			if want != nil && (b.Learned.Scales[0].Den == 0 || b.Whole == nil) {
				t.Errorf("indicator %d has learned nothing of its replicas: %+v", n, b)
			}
		}
	}
}
