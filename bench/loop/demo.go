package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
)

const (
	readyTarget = 5   // seconds
	idleTarget  = 150 // MB
	idleTime    = 10 * time.Second
)

// measureDemo runs the demo and reads when its page was ready, then starts a control plane
// that nobody asks anything and reads its resident memory.
func measureDemo(ctx context.Context, b *run.Bench) error {
	dir := filepath.Join(b.Dir, "demo")
	cmd := exec.CommandContext(ctx, b.Program, "demo", "--once", "--dir", dir, "--listen", "127.0.0.1:0", "-o", "json")
	cmd.Stderr = b.Log()
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("assay demo --once: %w\n%s", err, out)
	}
	var said struct {
		ReadyMillis float64 `json:"ready_ms"`
		Rate        float64 `json:"rate_rps"`
		Stopped     float64 `json:"stopped_after"`
		Harmed      float64 `json:"harmed"`
		Floor       float64 `json:"floor"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return err
	}
	b.Say("demo: ready in %.0f ms, %.0f requests/s, stopped after %.0f canary requests (floor %.0f), %.0f harmed", said.ReadyMillis, said.Rate, said.Stopped, said.Floor, said.Harmed)
	idle, err := idle(ctx, b)
	if err != nil {
		return err
	}
	b.Rows = append(b.Rows,
		result.New("demo start to page ready", "s", []float64{said.ReadyMillis / 1e3}).Want("<", readyTarget),
		result.New("demo traffic", "req/s", []float64{said.Rate}).Want(">=", 1500),
		result.New("control plane, idle", "MB", []float64{idle}).Want("<", idleTarget))
	return nil
}

// idle starts a control plane on an empty directory and reads its resident memory
// after a while.
func idle(ctx context.Context, b *run.Bench) (float64, error) {
	dir := filepath.Join(b.Dir, "idle")
	policies := filepath.Join(b.Root, "policies")
	env := append(os.Environ(), "ASSAY_PASSPHRASE=a passphrase for the benchmark", "ASSAY_SERVER=")
	key := exec.CommandContext(ctx, b.Program, "key", "create", "--dir", dir)
	key.Env = env
	if out, err := key.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("assay key create: %w\n%s", err, out)
	}
	serve := exec.CommandContext(ctx, b.Program, "serve", "--dir", dir, "--policy", policies, "--listen", "127.0.0.1:0")
	serve.Env = env
	if err := serve.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = serve.Process.Signal(os.Interrupt)
		_ = serve.Wait()
	}()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(idleTime):
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", serve.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("the system does not say how much memory the control plane has")
}
