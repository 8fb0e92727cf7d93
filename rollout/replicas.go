package rollout

import (
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

// alone are the indicators for a comparison with the past, which has no replicas beside it;
// none if the plan compares none anyway.
func alone(indicators []decide.Indicator) []decide.Indicator {
	if !slices.ContainsFunc(indicators, func(x decide.Indicator) bool { return x.Replicas }) {
		return nil
	}
	out := slices.Clone(indicators)
	for i := range out {
		out[i].Replicas = false
	}
	return out
}

// calibrate learns an indicator's dispersion from the old version's past: from its replicas
// side by side if these are compared and the past has enough of them, otherwise from the
// whole, which counts what hit all of them together as well; and always from the whole for
// the watch, if that has tests of its own.
func calibrate(plan *decide.Plan, i int, watch []decide.Indicator, history [][]assay.Reading, now time.Time) error {
	of := history
	if beside := sided(history); plan.Indicators[i].Replicas && len(beside) >= calibratedFrom {
		of = beside
	}
	learned, err := calibrated(*plan, i, of, now)
	if err != nil {
		return err
	}
	if watch != nil {
		if watch[i], err = calibrated(*plan, i, history, now); err != nil {
			return err
		}
		watch[i].Replicas = false
	}
	plan.Indicators[i] = learned
	return nil
}

func calibrated(plan decide.Plan, i int, history [][]assay.Reading, now time.Time) (decide.Indicator, error) {
	ind := plan.Indicators[i]
	learned, err := decide.Calibrate(plan, ind.Name, history, draws(uint64(now.UnixMilli())))
	if stated := ind.Dispersion; err == nil && stated > 0 { // it was measured elsewhere
		learned.Dispersion = max(learned.Dispersion, stated)
		learned.SafeDispersion = min(max(learned.SafeDispersion, stated), learned.Dispersion)
	}
	return learned, err
}

// sided is a history by replica: those that are there now, as far back as all of them were.
// None if there are fewer than two.
func sided(history [][]assay.Reading) (out [][]assay.Reading) {
	if len(history) == 0 || len(history[len(history)-1]) != 1 {
		return nil
	}
	now := history[len(history)-1][0].Replicas
	if len(now) < 2 {
		return nil
	}
	for _, slot := range history {
		row := make([]assay.Reading, 0, len(now))
		for _, one := range now {
			at, found := slices.BinarySearchFunc(slot[0].Replicas, one.Name, func(r assay.Replica, name string) int { return strings.Compare(r.Name, name) })
			if !found {
				break
			}
			row = append(row, slot[0].Of(slot[0].Replicas[at]))
		}
		if len(row) == len(now) {
			out = append(out, row)
		}
	}
	return out
}

// compared leaves the replicas to the readings of the old version, by which dispersion is
// learned: those of the new one are what is judged.
func compared(readings []assay.Reading, control string) []assay.Reading {
	for i := range readings {
		if readings[i].Version != control {
			readings[i].Replicas = nil
		}
	}
	return readings
}
