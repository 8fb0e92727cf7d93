package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// series is one file of the corpus with its labelled windows.
type series struct {
	name      string
	times     []time.Time
	values    []float64
	windows   [][2]int // first and last row, inclusive, in their order
	probation int      // rows at the beginning that are not scored
}

// profile is what a hit, a miss and a false alarm are worth.
type profile struct {
	name       string
	tp, fn, fp float64
}

// profiles are NAB's (config/profiles.json).
var profiles = []profile{
	{"standard", 1, 1, 0.11},
	{"low FP", 1, 1, 0.22},
	{"low FN", 1, 2, 0.11},
}

const stamp = "2006-01-02 15:04:05"

// corpus reads every file that has labels, in the order of their names.
func corpus(dir string) ([]series, error) {
	data, err := os.ReadFile(filepath.Join(dir, "labels", "combined_windows.json"))
	if err != nil {
		return nil, err
	}
	var labels map[string][][2]string
	if err := json.Unmarshal(data, &labels); err != nil {
		return nil, err
	}
	var out []series
	for name, windows := range labels {
		s, err := read(filepath.Join(dir, "data", name), name, windows)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b series) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

func read(path, name string, windows [][2]string) (series, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return series{}, err
	}
	s := series{name: name}
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		at, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(","))
		if i == 0 {
			continue
		}
		t, err := time.Parse(stamp, string(at))
		v, err2 := strconv.ParseFloat(string(value), 64)
		if !ok || err != nil || err2 != nil {
			return s, fmt.Errorf("%s:%d: not \"timestamp,value\"", path, i+1)
		}
		s.times, s.values = append(s.times, t), append(s.values, v)
	}
	s.probation = min(int(0.15*float64(len(s.values))), 750)
	for _, w := range windows {
		from, err := time.Parse(stamp, w[0][:19])
		to, err2 := time.Parse(stamp, w[1][:19])
		if err != nil || err2 != nil {
			return s, fmt.Errorf("%s: window %v", name, w)
		}
		first, _ := slices.BinarySearchFunc(s.times, from, time.Time.Compare)
		last, found := slices.BinarySearchFunc(s.times, to, time.Time.Compare)
		if !found {
			last--
		}
		for last+1 < len(s.times) && s.times[last+1].Equal(to) {
			last++
		}
		s.windows = append(s.windows, [2]int{first, last})
	}
	slices.SortFunc(s.windows, func(a, b [2]int) int { return a[0] - b[0] })
	return s, nil
}

func sigma(r float64) float64 {
	if r > 3 {
		return -1
	}
	return 2/(1+math.Exp(5*r)) - 1
}

// hit is a row that a detector scored above zero, and what it is worth when it is
// above the threshold.
type hit struct {
	score  float64
	window int     // index of the window that it is in, -1 outside
	worth  float64 // of a true positive of weight 1, or of a false one
}

// hits judges the scored rows of one series.
func (s series) hits(scores []float64) []hit {
	var out []hit
	for i := s.probation; i < len(scores); i++ {
		if !(scores[i] > 0) {
			continue
		}
		h := hit{score: scores[i], window: -1, worth: -1}
		for k, w := range s.windows {
			if i >= w[0] && i <= w[1] {
				h.window = k
				h.worth = sigma(-float64(w[1]-i+1)/float64(w[1]-w[0]+1)) / sigma(-1)
				break
			}
			if i > w[1] {
				h.worth = sigma(float64(i-w[1]) / float64(w[1]-w[0]))
			}
		}
		out = append(out, h)
	}
	return out
}

// judged is one series' hits with how many of its windows count.
type judged struct {
	hits    []hit
	windows int
}

// score is NAB's normalised score at a threshold.
func score(files []judged, p profile, threshold float64) float64 {
	raw, windows := 0.0, 0
	for _, f := range files {
		best := make([]float64, f.windows)
		found := make([]bool, f.windows)
		for _, h := range f.hits {
			switch {
			case h.score < threshold:
			case h.window < 0:
				raw += p.fp * h.worth
			default:
				if w := h.worth * p.tp; !found[h.window] || w > best[h.window] {
					best[h.window], found[h.window] = w, true
				}
			}
		}
		for k := range best {
			if !found[k] {
				best[k] = -p.fn
			}
			raw += best[k]
		}
		windows += f.windows
	}
	null, perfect := -p.fn*float64(windows), p.tp*float64(windows)
	return 100 * (raw - null) / (perfect - null)
}

// tune finds the threshold with the best score.
func tune(files []judged, p profile) (threshold, best float64) {
	var candidates []float64
	for _, f := range files {
		for _, h := range f.hits {
			candidates = append(candidates, h.score)
		}
	}
	slices.Sort(candidates)
	candidates = slices.Compact(candidates)
	if len(candidates) > 2000 { // enough steps that a finer one changes nothing
		step := len(candidates) / 2000
		thin := candidates[:0]
		for i := 0; i < len(candidates); i += step {
			thin = append(thin, candidates[i])
		}
		candidates = thin
	}
	best = math.Inf(-1)
	for _, c := range append(candidates, math.Inf(1)) {
		if s := score(files, p, c); s > best {
			threshold, best = c, s
		}
	}
	return threshold, best
}
