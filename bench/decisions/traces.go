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
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// traces are recorded intensities, scaled to a mean of 1.
type traces struct {
	nasa     []float64 // NASA-HTTP 1995, per second
	worldcup []float64 // WorldCup98, per minute
}

// readTraces reads the public data that stands beside the project, or below
// ASSAY_SHARED. Without it there are no traces, and no error.
func readTraces(root string) (t traces, err error) {
	if shared := os.Getenv("ASSAY_SHARED"); shared != "" {
		root = shared
	}
	dir := filepath.Join(root, "data", "requests")
	if t.nasa, err = readNASA(filepath.Join(dir, "nasa_http_per_second.tbz2")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return traces{}, nil
		}
		return traces{}, err
	}
	t.worldcup, err = readWorldCup(filepath.Join(dir, "worldcup98_per_minute.csv"))
	return t, err
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
	return relative(path, out, words.Err())
}

func readWorldCup(path string) ([]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows := csv.NewReader(f)
	if _, err := rows.Read(); err != nil { // the head
		return nil, err
	}
	var out []float64
	for {
		row, err := rows.Read()
		if err == io.EOF {
			return relative(path, out, nil)
		}
		if err != nil {
			return nil, err
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(row[1]), 64)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

// relative divides by the mean.
func relative(path string, values []float64, err error) ([]float64, error) {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	if err != nil || sum == 0 {
		return nil, fmt.Errorf("%s: no intensities: %w", path, err)
	}
	for i := range values {
		values[i] *= float64(len(values)) / sum
	}
	return values, nil
}
