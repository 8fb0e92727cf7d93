package main

import (
	"archive/tar"
	"bufio"
	"compress/bzip2"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

// sameHistory is how many rollouts share one history, which takes
// longer to draw than the rollout.
const sameHistory = 25

// worlds are the healthy services of the bursty line. Each has four days of history by the
// minute, of the version as a whole where nothing else is said.
func worlds(shared string) ([]world, error) {
	out := []world{
		{name: "independent errors", rps: 20, rate: 0.01, phi: 1},
		{name: "bursts, variance/mean 3", rps: 20, rate: 0.01, phi: 3},
		{name: "bursts, variance/mean 5", rps: 20, rate: 0.01, phi: 5},
		{name: "bursts, variance/mean 9", rps: 20, rate: 0.01, phi: 9},
		{name: "bursts of 9 that begin with the rollout", rps: 20, rate: 0.01, phi: 1, later: 9},
		{name: "bursts of 9 that begin with the rollout, a look every 10 seconds", rps: 20, rate: 0.01, phi: 1, later: 9, look: 10 * time.Second},
		{name: "bursts of 9 that begin with the rollout, a look every second", rps: 20, rate: 0.01, phi: 1, later: 9, look: time.Second},
		{name: "incidents that hit both, 4 replicas told apart", rps: 20, rate: 0.01, phi: 5, shared: true, arms: 4},
		{name: "incidents that hit both, no replicas", rps: 20, rate: 0.01, phi: 5, shared: true},
		{name: "day and night", rps: 20, rate: 0.01, phi: 5, daily: true},
	}
	nasa, err := readNASA(filepath.Join(shared, "data", "requests", "nasa_http_per_second.tbz2"))
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	cup, err := readWorldCup(filepath.Join(shared, "data", "requests", "worldcup98_per_minute.csv"))
	if err != nil {
		return nil, err
	}
	return append(out,
		world{name: "NASA-HTTP against itself, phase-shifted, bursts of 5", rps: 20, rate: 0.01, phi: 5, trace: nasa, seconds: 1},
		world{name: "WorldCup98 against itself, phase-shifted, bursts of 5", rps: 20, rate: 0.01, phi: 5, trace: cup, seconds: 60},
		world{name: "bursts of 3 that begin with the rollout", rps: 20, rate: 0.01, phi: 1, later: 3},
	), nil
}

// bursty measures false aborts of healthy services, and misses of a regression of 3.
func (s *simulation) bursty(shared string, log io.Writer) ([]result.Row, error) {
	all, err := worlds(shared)
	if err != nil {
		return nil, err
	}
	var rows []result.Row
	for i, w := range all {
		row, err := s.falseWorld(w, uint64(200+i), log)
		if err != nil {
			return nil, err
		}
		if w.later > 0 {
			row.Target, row.Holds = "none", true // no bound holds for what no history has a sign of
		}
		rows = append(rows, row)
	}
	for i, phi := range []float64{1, 3, 5, 9} {
		w := world{name: fmt.Sprintf("3 times worse, variance/mean %g", phi), rps: 60, rate: 0.01, phi: phi, ratio: 3}
		if phi == 5 {
			w.name, w.shared, w.arms = w.name+", incidents that hit both, 4 replicas told apart", true, 4
		}
		row, err := s.missWorld(w, uint64(300+i), log)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// ready is a rollout with its plan: calibrated on the history of the group it is in.
func (s *simulation) ready(w world, stream uint64, i int) (*simulated, decide.Plan, error) {
	group := uint64(i / sameHistory)
	p := worldPlan()
	past := w.begin(rand.New(rand.NewPCG(s.seed, stream<<40|group<<8)))
	var err error
	if p.Indicators[0], err = decide.Calibrate(p, "errors", past.history(), decide.Draws{Seed: group, Next: rand.New(rand.NewPCG(group, 0)).Float64}); err != nil {
		return nil, p, err
	}
	return past, p, nil
}

// playAll plays runs of a world and returns whether each was aborted.
func (s *simulation) playAll(w world, stream uint64, runs int) (aborted []float64, learned float64, err error) {
	groups := (runs + sameHistory - 1) / sameHistory
	factors := make([]float64, groups)
	aborted = make([]float64, groups*sameHistory)
	err = parallel(groups, func(g int) error {
		past, p, err := s.ready(w, stream, g*sameHistory)
		if err != nil {
			return err
		}
		factors[g] = p.Indicators[0].Dispersion
		for k := range sameHistory {
			one := *past
			one.rng = rand.New(rand.NewPCG(s.seed, stream<<40|uint64(g)<<8|uint64(k+1)))
			got, _, err := one.play(p)
			if err != nil {
				return err
			}
			aborted[g*sameHistory+k] = float64(b2u(got))
		}
		return nil
	})
	return aborted, result.Median(factors), err
}

func (s *simulation) falseWorld(w world, stream uint64, log io.Writer) (result.Row, error) {
	got, learned, err := s.playAll(w, stream, s.runs/8)
	if err != nil {
		return result.Row{}, err
	}
	return rateRow("false aborts per rollout, "+w.name, got, 1, fmt.Sprintf("; evidence divided by %.2f", learned), log), nil
}

func (s *simulation) missWorld(w world, stream uint64, log io.Writer) (result.Row, error) {
	got, learned, err := s.playAll(w, stream, s.runs/25)
	if err != nil {
		return result.Row{}, err
	}
	for i := range got {
		got[i] = 1 - got[i]
	}
	return rateRow("missed within an hour, "+w.name, got, 5, fmt.Sprintf("; evidence divided by %.2f", learned), log), nil
}

// rateRow is a share of runs in percent with its target.
func rateRow(name string, hits []float64, limit float64, more string, log io.Writer) result.Row {
	n := 0.0
	for _, h := range hits {
		n += h
	}
	low, high := infer.ClopperPearson(uint64(n), uint64(len(hits)), 0.95)
	row := result.New(name, "%", []float64{100 * n / float64(len(hits))}).Want("<=", limit)
	row.Rounds = len(hits)
	if row.Ours > 0 {
		row.Noise = 100 * (high - low) / row.Ours
	}
	fmt.Fprintf(log, "%s: %.0f of %d, 95 %% interval %.3f to %.3f %%%s\n", name, n, len(hits), 100*low, 100*high, more)
	return row
}

func readNASA(path string) ([]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	archive := tar.NewReader(bzip2.NewReader(f))
	if _, err := archive.Next(); err != nil {
		return nil, err
	}
	words := bufio.NewScanner(archive)
	words.Split(bufio.ScanWords)
	var out []float64
	for words.Scan() {
		v, err := strconv.ParseFloat(words.Text(), 64)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return relative(out), words.Err()
}

func readWorldCup(path string) ([]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	var out []float64
	for _, row := range rows[1:] {
		v, err := strconv.ParseFloat(strings.TrimSpace(row[1]), 64)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return relative(out), nil
}

// relative scales to a mean of 1.
func relative(x []float64) []float64 {
	mean, _ := meanSD(x)
	for i := range x {
		x[i] /= mean
	}
	return x
}
