package gameday

import (
	"fmt"
	"time"

	"assay.dev/assay"
)

// seasonYAML declares an event that is known before.
const seasonYAML = `apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: fair-scale}
spec:
  service: fair
  level: act
  deterministic: true
  signals:
    - {name: load, query: 'max(yard_load{service="fair"})'}
  levers: [{lever: replicas, door: platform}]
  damping:
    protect: {deadBand: 0.05, step: 20, period: 1s}
  scale:
    perReplica: 50
    lead: 3s
    max: 20
    events:
      - {name: the sale, start: %q, end: %q, factor: 4}
`

// sale is an act in which the load of an event comes when the calendar says so.
func sale(d *drama) error {
	const fair, usual, factor, perWorker = "fair", 100.0, 4, 50
	workers := &crew{w: d.World, name: "stall"}
	if err := workers.hold("", 3); err != nil {
		return err
	}
	defer func() { _ = workers.hold("", 0) }()
	p := d.yard.platform
	p.keep(fair, assay.LeverReplicas, "", 3, workers.hold)
	start := time.Now().Add(10 * time.Second).Truncate(time.Second).UTC()
	if err := d.declareNow("fair.yaml", fmt.Sprintf(seasonYAML, start.Format(time.RFC3339), start.Add(time.Minute).Format(time.RFC3339))); err != nil {
		return err
	}
	load := func() float64 {
		if time.Now().Before(start) {
			return usual
		}
		return usual * factor
	}
	stop := d.reporting(func() []gauge { return []gauge{{name: "yard_load", service: fair, number: load()}} })
	err := d.step("calendar", "a sale begins at "+start.Format("15:04:05"), func() (bool, string, error) {
		need := usual * factor / perWorker
		if err := d.pause(time.Until(start.Add(-6 * time.Second))); err != nil {
			return false, "", err
		}
		before := p.at(fair, assay.LeverReplicas, "")
		d.check("long before it nothing more runs", before < need, "%v workers", before)
		_, ready, err := d.until(time.Until(start), func() (bool, error) { return p.at(fair, assay.LeverReplicas, "") >= need, nil })
		early := time.Until(start)
		if err != nil {
			return false, "", err
		}
		now := p.at(fair, assay.LeverReplicas, "")
		d.check("when the event begins its workers run", ready && early > 0, "%v workers %s before: %s", now, early.Round(time.Millisecond), d.strategyWords("fair-scale"))
		if err := d.pause(time.Until(start.Add(2 * time.Second))); err != nil {
			return false, "", err
		}
		served := p.at(fair, assay.LeverReplicas, "") * perWorker
		d.check("its load has room", served >= load(), "%v of %v requests a second", served, load())
		return ready, fmt.Sprintf("%v workers run %.1f s before the sale, %v before that was known to matter", now, early.Seconds(), before), nil
	})
	if serr := stop(); err == nil {
		err = serr
	}
	return err
}
