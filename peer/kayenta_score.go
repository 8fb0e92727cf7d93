package peer

import "math"

// KayentaScore is the summary score, 0 to 100 with two decimals (WeightedSumScorer.scala
// of spinnaker/spinnaker). Muted metrics do not count. A critical failure, or no data
// for half of the metrics, is 0. Otherwise groups are averaged by weight, in percent;
// groups without one share what is left of 100, and a group that has no data at all
// counts as 100.
func KayentaScore(results []KayentaResult, weights map[string]float64) float64 {
	type group struct{ pass, total int }
	var order []string // in order of appearance, so that sums are the same every time
	groups := map[string]*group{}
	metrics, nodata := 0, 0
	for _, r := range results {
		if r.Metric.Muted {
			continue
		}
		if r.Critical && r.Classification != Pass {
			return 0
		}
		metrics++
		if r.Classification == Nodata {
			nodata++
		}
		for _, name := range r.Metric.Groups {
			if groups[name] == nil {
				groups[name] = &group{}
				order = append(order, name)
			}
			switch r.Classification {
			case Pass:
				groups[name].pass++
				groups[name].total++
			case High, Low, NodataFailMetric:
				groups[name].total++
			}
		}
	}
	if 2*nodata >= metrics {
		return 0
	}
	left, without := 100.0, 0
	for _, w := range weights {
		left -= w
	}
	for _, name := range order {
		if _, ok := weights[name]; !ok {
			without++
		}
	}
	sum := 0.0
	for _, name := range order {
		score := 100.0
		if g := groups[name]; g.total > 0 {
			score = 100 * float64(g.pass) / float64(g.total)
		}
		weight, ok := weights[name]
		if !ok {
			weight = left / float64(without)
		}
		sum += score * weight / 100
	}
	return math.Round(100*sum) / 100
}

// KayentaThresholds are the two scores of a canary stage. The documentation's example
// is 75 and 95.
type KayentaThresholds struct {
	Marginal, Pass float64
}

// Judge is the stage's verdict after one of its runs: "abort" for a score below
// marginal, "continue" while runs are left, and after the last run "promote" for at
// least pass, otherwise "abort".
func (t KayentaThresholds) Judge(score float64, last bool) string {
	switch {
	case score < t.Marginal:
		return "abort"
	case !last:
		return "continue"
	case score >= t.Pass:
		return "promote"
	}
	return "abort"
}
