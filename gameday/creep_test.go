package gameday

import (
	"testing"
	"time"

	"assay.dev/assay"
)

func TestBurnRateRulesAreAskedWithWhatWasCounted(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	seen := func(span time.Duration, bad, total uint64) []tallied { // even, a look each ten seconds
		var list []tallied
		for d := time.Duration(0); d <= span; d += 10 * time.Second {
			part := float64(d) / float64(span)
			list = append(list, tallied{at.Add(d), assay.Rate{Bad: uint64(part * float64(bad)), Total: uint64(part * float64(total))}})
		}
		return list
	}
	late := append(seen(10*time.Minute, 0, 100_000), tallied{at.Add(10*time.Minute + time.Second), assay.Rate{Bad: 40_000, Total: 140_000}})
	for name, c := range map[string]struct {
		list           []tallied
		paged, written int
	}{
		"nothing is counted":                        {},
		"a little beyond the old version's rate":    {list: seen(time.Minute, 180, 10_000)},
		"beyond the objective, and slowly":          {list: seen(time.Minute, 250, 10_000), written: 1},
		"seven times too fast":                      {list: seen(time.Minute, 1_400, 10_000), paged: 1, written: 1},
		"fifteen times too fast":                    {list: seen(time.Minute, 3_000, 10_000), paged: 2, written: 1},
		"everything at once, after a calm time":     {list: late, paged: 1, written: 1},
		"too fast an hour ago, and well ever since": {list: append(seen(2*time.Hour, 10_000, 20_000), tallied{at.Add(3 * time.Hour), assay.Rate{Bad: 10_000, Total: 10_000_000}})},
	} {
		paged, written := firing(c.list, "page", 0.98), firing(c.list, "ticket", 0.98)
		if len(paged) != c.paged || len(written) != c.written {
			t.Errorf("%s: %v page and %v write a ticket; expected %d and %d", name, paged, written, c.paged, c.written)
		}
	}
}
