package tsdb

import (
	"slices"
	"testing"

	"assay.dev/assay/signal"
)

func TestImportedPointsFillOnlyWhereNothingStands(t *testing.T) {
	t.Parallel()
	const minute = 60_000
	points := func(list ...float64) (out []signal.Point) { // minute, value, minute, value …
		for i := 0; i < len(list); i += 2 {
			out = append(out, signal.Point{Time: int64(list[i] * minute), Value: list[i+1]})
		}
		return out
	}
	for _, tt := range []struct {
		name               string
		standing, imported []signal.Point
		kept               []signal.Point
		dup, conf, cov     int
	}{
		{"nothing stands", nil, points(2, 20, 1, 10), points(1, 10, 2, 20), 0, 0, 0},
		{"the same again", points(1, 10, 2, 20), points(1, 10, 2, 20), nil, 2, 0, 0},
		{"twice in the input", nil, points(1, 10, 1, 10, 1, 11, 1, 10), points(1, 10), 2, 1, 0},
		{"another value stands", points(1, 10), points(1, 12), nil, 0, 1, 0},
		{"between two that stand", points(1, 10, 2, 20), points(1.5, 12), nil, 0, 0, 1},
		{"in a gap that is longer than a look back", points(1, 10, 7, 20), points(2, 11, 6, 19), points(2, 11, 6, 19), 0, 0, 0},
		{"in a gap as long as a look back", points(1, 10, 6, 20), points(2, 11), nil, 0, 0, 1},
		{"before and after what stands", points(3, 30, 4, 40), points(1, 10, 5, 50), points(1, 10, 5, 50), 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := fit(tt.standing, tt.imported)
			if !slices.Equal(got.kept, tt.kept) || got.duplicates != tt.dup || got.conflicts != tt.conf || got.covered != tt.cov {
				t.Errorf("%+v", got)
			}
		})
	}
}
