package rollout

import (
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// A load is one that a version had for two slots in a row. Counts that waited behind a cut
// wire, or in a collector, all come in the slot in which they arrive: it looks many times as
// busy as any that there was, and the slots beside it do not. A watch that waits for such a
// load waits for what never was. A true peak of one slot alone counts as much as the busier
// slot beside it.

// borne is the load of each slot, requests a second: its own, but not more than that of the
// busier of the slots next to it. Of one that stands alone, with nothing known before and
// after it, nothing can be told: it counts as much as the second greatest of all, or, where
// it is the only one, as what it is.
func borne(list [][]assay.Reading, length time.Duration) []float64 {
	rates := make([]float64, len(list))
	for i, one := range list {
		rates[i] = float64(one[0].Total) / length.Seconds()
	}
	if len(rates) < 2 {
		return rates
	}
	second := slices.Sorted(slices.Values(rates))[len(rates)-2]
	out := make([]float64, len(rates))
	for i := range rates {
		beside, known := 0.0, false
		for _, j := range []int{i - 1, i + 1} {
			if j < 0 || j >= len(list) || list[max(i, j)][0].Start.Sub(list[min(i, j)][0].Start) > length {
				continue
			}
			beside, known = max(beside, rates[j]), true
		}
		if !known {
			beside = second
		}
		out[i] = min(rates[i], beside)
	}
	return out
}

// late reports whether a slot's counts came of more time than its own: they are much more,
// beyond chance, than the load that it had. They are no moments of a busy day.
func late(slot assay.Reading, load float64, length time.Duration) bool {
	usual := api.MuchMore * load * length.Seconds()
	return float64(slot.Total) > usual+chance*math.Sqrt(usual)
}
