package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"assay.dev/assay/bench/result"
)

const (
	starts      = 30
	startTarget = 60 // milliseconds
)

// start measures how long the program takes to say its version, beside a program
// that does nothing, and how large it is.
func (b *bench) start(ctx context.Context) error {
	program, err := filepath.Abs(b.program)
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
		o, err := command(ctx, b.dir, 0, program, "--version")
		if err != nil {
			return err
		}
		n, err := command(ctx, b.dir, 0, nothing)
		if err != nil {
			return err
		}
		ours, bare = append(ours, o.Millis), append(bare, n.Millis)
	}
	limit := result.Median(bare)
	b.say("start: --version in %.1f ms, at most %.1f ms; a program that does nothing %.1f ms", result.Median(ours), slices.Max(ours), limit)
	b.rows = append(b.rows,
		result.New("assay --version", "ms", ours).Within(limit).Want("<", startTarget),
		result.New(fmt.Sprintf("assay --version, slowest of %d", starts), "ms", []float64{slices.Max(ours)}).Within(slices.Max(bare)).Want("<", startTarget),
		result.New("static stripped binary", "MB", []float64{float64(info.Size()) / 1e6}))
	return nil
}
