package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
)

const (
	horizon = 48
	season  = 24
)

// series is one of M4-hourly.
type series struct {
	name  string
	train []float64
	test  []float64
}

func read(path string) (names []string, rows [][]float64, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	all, err := r.ReadAll()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	for i, row := range all[1:] {
		var values []float64
		for _, cell := range row[1:] {
			if cell == "" {
				break
			}
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				return nil, nil, fmt.Errorf("%s:%d: %w", path, i+2, err)
			}
			values = append(values, v)
		}
		names, rows = append(names, row[0]), append(rows, values)
	}
	return names, rows, nil
}

// corpus reads the training part, and the test part only if it is opened; otherwise
// the last horizon of the training part is held back in its place.
func corpus(dir string, open bool) ([]series, error) {
	names, train, err := read(filepath.Join(dir, "Hourly-train.csv"))
	if err != nil {
		return nil, err
	}
	out := make([]series, len(names))
	for i, name := range names {
		n := len(train[i]) - horizon
		out[i] = series{name, train[i][:n], train[i][n:]}
	}
	if !open {
		return out, nil
	}
	again, test, err := read(filepath.Join(dir, "Hourly-test.csv"))
	if err != nil {
		return nil, err
	}
	for i := range out {
		if again[i] != out[i].name || len(test[i]) != horizon {
			return nil, fmt.Errorf("row %d of Hourly-test.csv does not belong to %s", i+2, out[i].name)
		}
		out[i].train, out[i].test = train[i], test[i]
	}
	return out, nil
}

// scores are M4's, of one series.
type scores struct{ smape, mase, msis, covered float64 }

// score compares a forecast and its 95 % interval with what came.
func (s series) score(mean, low, high []float64) scores {
	scale := 0.0
	for i := season; i < len(s.train); i++ {
		scale += math.Abs(s.train[i]-s.train[i-season]) / float64(len(s.train)-season)
	}
	var out scores
	for k, y := range s.test {
		e := math.Abs(y - mean[k])
		out.smape += 200 * e / (math.Abs(y) + math.Abs(mean[k])) / horizon
		out.mase += e / scale / horizon
		width := high[k] - low[k]
		switch {
		case y < low[k]:
			width += 2 / 0.05 * (low[k] - y)
		case y > high[k]:
			width += 2 / 0.05 * (y - high[k])
		default:
			out.covered += 1.0 / horizon
		}
		out.msis += width / scale / horizon
	}
	return out
}

// The published scores of the benchmark Naive2, which OWA is relative to.
const naive2SMAPE, naive2MASE = 18.383, 2.395

func owa(s scores) float64 { return (s.smape/naive2SMAPE + s.mase/naive2MASE) / 2 }
