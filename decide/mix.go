package decide

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"assay.dev/assay"
)

// MaxStrata bounds the strata that are told apart; requests of further ones are
// counted together under "other".
const MaxStrata = 64

const otherStrata = "other"

// mixed adds one stratum's requests to those of the rollout.
func mixed(strata []assay.Stratum, part pair) []assay.Stratum {
	name := cmp.Or(part[0].Stratum, part[1].Stratum)
	find := func(name string) int {
		return slices.IndexFunc(strata, func(s assay.Stratum) bool { return s.Name == name })
	}
	out := slices.Clone(strata)
	i := find(name)
	if i < 0 && len(out) >= MaxStrata-1 {
		name = otherStrata
		i = find(name)
	}
	if i < 0 {
		out = append(out, assay.Stratum{Name: name})
		i = len(out) - 1
	}
	out[i].Canary += part[0].Total
	out[i].Control += part[1].Total
	return out
}

const (
	// mixMatters is the share of the new version's requests that must lie elsewhere
	// before it is said to have other traffic.
	mixMatters = 0.1
	// mixLevel is the p value below which that is not chance. It is small because it
	// is looked at again and again.
	mixLevel = 1e-6
)

// trafficMix compares the two versions' traffic, nil without strata. The strata of all
// indicators count the same requests, so those of the first that has any are used.
func trafficMix(s State) *assay.TrafficMix {
	i := slices.IndexFunc(s.Watches, func(w Watch) bool { return len(w.Strata) > 1 })
	if i < 0 {
		return nil
	}
	strata := slices.SortedFunc(slices.Values(s.Watches[i].Strata), func(a, b assay.Stratum) int { return cmp.Compare(a.Name, b.Name) })
	m := &assay.TrafficMix{Strata: strata}
	var canary, control float64
	for _, z := range strata {
		canary += float64(z.Canary)
		control += float64(z.Control)
	}
	if canary == 0 || control == 0 {
		return m
	}
	g, worst := 0.0, 0.0
	for _, z := range strata {
		x, y := float64(z.Canary), float64(z.Control)
		expected := (x + y) * canary / (canary + control)
		g += 2 * (xlog(x, expected) + xlog(y, x+y-expected))
		m.Distance += math.Abs(x/canary-y/control) / 2
		if diff := math.Abs(x/canary - y/control); diff > worst {
			worst = diff
			m.Words = fmt.Sprintf("%s is %.0f %% of the new version's requests and %.0f %% of the old one's", z.Name, 100*x/canary, 100*y/control)
		}
	}
	m.Differs = m.Distance >= mixMatters && chiTail(g, float64(len(strata)-1)) < mixLevel
	if !m.Differs {
		m.Words = "the two versions have the same mix of traffic"
	}
	return m
}

// unseen are strata that matter to the old version and that the new one has not had:
// what holds for it says nothing about them.
func unseen(m *assay.TrafficMix) string {
	if m == nil {
		return ""
	}
	var control, canary uint64
	for _, z := range m.Strata {
		control += z.Control
		canary += z.Canary
	}
	var names []string
	for _, z := range m.Strata {
		// An absence that chance explains (below 1 in 10,000) is none.
		share := float64(z.Control) / float64(max(control, 1))
		if z.Canary == 0 && share >= 0.05 && float64(canary)*share > 9.2 {
			names = append(names, z.Name)
		}
	}
	return strings.Join(names, ", ")
}

func xlog(x, expected float64) float64 {
	if x == 0 {
		return 0
	}
	return x * math.Log(x/expected)
}

// chiTail is about the upper tail of χ² with k degrees of freedom (Wilson–Hilferty).
func chiTail(x, k float64) float64 {
	z := (math.Cbrt(x/k) - (1 - 2/(9*k))) / math.Sqrt(2/(9*k))
	return math.Erfc(z/math.Sqrt2) / 2
}
