package main

import (
	"math/rand/v2"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

const (
	// pastSlots and pastReplicas: what is known of the old version when a rollout
	// begins is twelve hours by the minute, of four replicas.
	pastSlots    = 12 * 60
	pastReplicas = 4
)

// past is what the product learned from several pasts of one healthy setting; the
// rollouts take them in turn.
type past []decide.Indicator

// of is what the run-th rollout knows.
func (p past) of(run int) *decide.Indicator { return &p[run%len(p)] }

// learn draws and calibrates the pasts of every setting among the cells. Their streams
// depend on the setting's place alone, and no contender has their number.
func (b board) learn(cells []cell, n int) (map[cell]past, error) {
	const nobody = 255
	out := map[cell]past{}
	var settings []cell
	for _, c := range cells {
		if h := c.healthy(); out[h] == nil {
			out[h] = make(past, n)
			settings = append(settings, h)
		}
	}
	return out, parallel(n*len(settings), func(i int) error {
		c := settings[i/n]
		if !b.only.has(c) {
			return nil
		}
		w := newWorld(c, b.traces, stream(b.seed, i/n, nobody, i%n))
		ind, err := decide.Calibrate(plan(c), "errors", w.history(), decide.Draws{Seed: uint64(i % n), Next: rand.New(rand.NewPCG(uint64(i%n), 0)).Float64})
		out[c][i%n] = ind // a place of its own
		return err
	})
}

// history is the old version's last twelve hours.
func (w *world) history() (slots [][]assay.Reading) {
	for i := range pastSlots {
		t := -time.Duration(pastSlots-i) * time.Minute
		old, _ := w.fails(t)
		var slot []assay.Reading
		for range pastReplicas {
			c := served(w.rng, w.rate(t, time.Minute)/pastReplicas, old, w.Phi)
			slot = append(slot, reading("v1", c, epoch.Add(t), epoch.Add(t+time.Minute)))
		}
		slots = append(slots, slot)
	}
	return slots
}

// reading is what telemetry says of one arm's count.
func reading(version string, c count, start, end time.Time) assay.Reading {
	return assay.Reading{
		Service: "shop", Indicator: "errors", Version: version, Good: c.total - c.bad, Total: c.total, Completeness: 1,
		Start: start, End: end, EventTime: end, Ingested: end,
	}
}
