package decide

import (
	"fmt"
	"sync/atomic"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// look takes the next look of a fixed design if its requests have come: that is where
// harm may be shown, and nowhere between two looks. Tests share alpha by their weights.
// Without a fixed design it does nothing.
func (p Plan) look(tests []test, s *State, e *evidence, d *assay.Decision) error {
	if p.Fixed == nil {
		return nil
	}
	e.harmful, e.alone, e.lasting = false, "", ""
	d.AbortBasis = fmt.Sprintf("calibrated: normal scores at %d looks up to %d canary requests, %s spending", p.Fixed.Looks, p.Fixed.Requests, p.Fixed.Spending)
	seen := uint64(0)
	for _, v := range d.Tests {
		seen = max(seen, v.Canary.Total)
	}
	due := min(int(seen*uint64(p.Fixed.Looks)/p.Fixed.Requests), p.Fixed.Looks)
	total := 0.0
	for _, t := range tests {
		total += t.weight
	}
	for i, t := range tests {
		// An indicator that is unknown keeps its look until it is known again: later than
		// planned spends no more than planned.
		if !d.Signals[t.indicator].Known || s.Watches[t.indicator].Looks >= due {
			continue
		}
		at, err := boundaries(design{p.Fixed.Spending, p.Alpha * t.weight / total, p.Fixed.Looks})
		if err != nil {
			return err
		}
		phi := max(d.Tests[i].Dispersion, 1)
		z := t.comparison.Deflated(phi).Z(s.Watches[t.indicator].Tests[t.slot])
		if d.Look == nil || z-at[due-1] > d.Look.Z-d.Look.Boundary {
			d.Look = &assay.PlannedLook{Number: due, Of: p.Fixed.Looks, Test: t.name, Z: z, Boundary: at[due-1]}
		}
		e.harmful = e.harmful || z >= at[due-1]
	}
	for i := range s.Watches {
		if d.Signals[i].Known {
			s.Watches[i].Looks = max(s.Watches[i].Looks, due)
		}
	}
	return nil
}

// design is what boundaries depend on, and nothing else.
type design struct {
	spending infer.Spending
	alpha    float64
	looks    int
}

type bounded struct {
	design
	at []float64
}

// latest are the boundaries that were computed last. They cost milliseconds, and the
// tests and looks of one rollout mostly ask for the same ones.
var latest atomic.Pointer[bounded]

func boundaries(d design) ([]float64, error) {
	if l := latest.Load(); l != nil && l.design == d {
		return l.at, nil
	}
	at, err := infer.Boundaries(d.spending, d.alpha, d.looks)
	if err != nil {
		return nil, err
	}
	latest.Store(&bounded{d, at})
	return at, nil
}
