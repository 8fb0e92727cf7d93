package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
)

const (
	starts      = 30
	startTarget = 60 // milliseconds
)

// measureStart measures how long the program takes to say its version, beside a program
// that does nothing, and how large it is.
func measureStart(ctx context.Context, b *run.Bench) error {
	program, err := filepath.Abs(b.Program)
	if err != nil {
		return err
	}
	info, err := os.Stat(program)
	if err != nil {
		return fmt.Errorf("%w; run: make build", err)
	}
	nothing, err := exec.LookPath("true")
	if err != nil {
		return err
	}
	var ours, bare []float64
	for range starts {
		o, err := command(ctx, b.Dir, 0, program, "--version")
		if err != nil {
			return err
		}
		n, err := command(ctx, b.Dir, 0, nothing)
		if err != nil {
			return err
		}
		ours, bare = append(ours, o.Millis), append(bare, n.Millis)
	}
	limit := result.Median(bare)
	b.Say("start: --version in %.1f ms, at most %.1f ms; a program that does nothing %.1f ms", result.Median(ours), slices.Max(ours), limit)
	b.Rows = append(b.Rows,
		result.New("assay --version", "ms", ours).Within(limit).Want("<", startTarget),
		result.New(fmt.Sprintf("assay --version, slowest of %d", starts), "ms", []float64{slices.Max(ours)}).Within(slices.Max(bare)).Want("<", startTarget),
		result.New("static stripped binary", "MB", []float64{float64(info.Size()) / 1e6}))
	return nil
}
