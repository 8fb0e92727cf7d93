package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/infer"
)

// overshootCase is one entry of infer's table: a kind of comparison at a share.
type overshootCase struct {
	kind  infer.Kind
	share float64
	base  float64 // rate of the event in the old version
	alpha float64
}

// overshoot measures by how much Ville's bound is not reached. A false alarm has, by
// change of measure, the probability E[1/E_T] where the data come from the mixture
// itself; with threshold 1/alpha that is alpha times the mean of e^(threshold − ln E_T).
// So rollouts are drawn from the mixture, and every one of them counts: figures for
// alphas that plain simulation could not reach, without end of the rollout.
func (s *simulation) overshoot(c overshootCase, runs int, stream uint64) (mean, se float64, err error) {
	k := s.errors
	if c.kind == infer.Odds {
		k = s.latency
	}
	threshold := -math.Log(c.alpha)
	got, err := s.each(runs, stream, func(rng *rand.Rand) (float64, error) {
		e, err := alarm(rng, k, c, drawSize(rng), threshold)
		return math.Exp(threshold - e), err
	})
	if err != nil {
		return 0, 0, err
	}
	mean, sd := meanSD(got)
	return mean, sd / math.Sqrt(float64(len(got))), nil
}

// drawSize draws one size of the harm mixture.
func drawSize(rng *rand.Rand) float64 {
	sizes := infer.HarmSizes()
	total := 0.0
	for _, z := range sizes {
		total += z.Weight
	}
	u := rng.Float64() * total
	for _, z := range sizes {
		if u -= z.Weight; u < 0 {
			return z.Ratio
		}
	}
	return sizes[len(sizes)-1].Ratio
}

// alarm is the evidence at the first look that reaches the threshold, when the new
// version is ratio times worse (in odds for an Odds comparison).
func alarm(rng *rand.Rand, k *infer.Comparison, c overshootCase, ratio, threshold float64) (float64, error) {
	to := c.base * ratio
	if c.kind == infer.Odds {
		to = c.base * ratio / (1 - c.base + c.base*ratio)
	}
	var st infer.State
	var err error
	block := uint64(2 / c.share) // about two of the canary's requests between two looks
	if c.base < 0.01 {
		block *= 10
	}
	for range 10_000_000 {
		m := binomial(rng, block, c.share)
		if m == 0 || m == block {
			continue
		}
		p := infer.Pair{Treated: infer.Count{Exposure: m, Events: binomial(rng, m, min(to, 1))},
			Control: infer.Count{Exposure: block - m, Events: binomial(rng, block-m, c.base)}}
		if p.Treated.Events+p.Control.Events == 0 {
			continue
		}
		if st, err = k.Update(st, p); err != nil {
			return 0, err
		}
		if e := k.Harm(st); e >= threshold {
			return e, nil
		}
	}
	return 0, fmt.Errorf("a regression of %g times was not seen", ratio)
}

// overshoots measures the table of infer.
func (s *simulation) overshoots(log io.Writer) ([]result.Row, error) {
	runs := max(100, s.runs/8)
	var rows []result.Row
	stream := uint64(1000)
	for _, share := range []float64{0.01, 0.05, 0.1, 0.25, 0.5} {
		for _, c := range []overshootCase{
			{infer.Ratio, share, 0.0005, 0.01}, {infer.Ratio, share, 0.0005, 0.05}, {infer.Ratio, share, 0.0005, 0.0005},
			{infer.Odds, share, 0.5, 0.01}, {infer.Odds, share, 0.1, 0.01}, {infer.Odds, share, 0.01, 0.01},
		} {
			stream++
			mean, se, err := s.overshoot(c, runs, stream)
			if err != nil {
				return nil, err
			}
			want := infer.Overshoot(c.share)
			name := fmt.Sprintf("overshoot factor, %s at base rate %g %%, share %g %%, alpha %g %%", c.kind, 100*c.base, 100*share, 100*c.alpha)
			row := result.New(name, "x alpha", []float64{mean}).Want("<=", want)
			row.Rounds, row.Noise = runs, 2*1.96*se/mean
			rows = append(rows, row)
			fmt.Fprintf(log, "%s: %.3f ± %.3f, the table has %.3f\n", name, mean, 1.96*se, want)
		}
	}
	return rows, nil
}
