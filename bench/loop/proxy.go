package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
)

// overheadTarget is how much the proxy may add to the median request, microseconds.
const overheadTarget = 100

// overhead is what enforce/proxy's own measurement logs: the harness with signed
// attestations is there, and is not repeated here.
type overhead struct {
	Bare   figures `json:"bare"`
	Pooled figures `json:"pooled"`
	Ours   figures `json:"ours"`
}

type figures struct {
	Requests int     `json:"requests"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
}

var logged = regexp.MustCompile(`proxy-overhead (\{.*\})`)

// measureProxy sends requests through a bare httputil.ReverseProxy and through ours, in
// turns in one process, and compares what one client sees.
func measureProxy(ctx context.Context, b *run.Bench) error {
	var p50, bare50, p99, bare99, added []float64
	for range b.Rounds {
		cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-run", "TestProxyAddsLittle", "-v", "./enforce/proxy")
		cmd.Dir = b.Root
		cmd.Env = append(os.Environ(), "ASSAY_BENCH=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("go test ./enforce/proxy: %w\n%s", err, out)
		}
		m := logged.FindSubmatch(out)
		if m == nil {
			return fmt.Errorf("go test ./enforce/proxy logged no figures:\n%s", out)
		}
		var o overhead
		if err := json.Unmarshal(m[1], &o); err != nil {
			return err
		}
		p50, bare50 = append(p50, o.Ours.P50), append(bare50, o.Bare.P50)
		p99, bare99 = append(p99, o.Ours.P99), append(bare99, o.Bare.P99)
		added = append(added, o.Ours.P50-o.Bare.P50)
		b.Say("proxy: p50 %.0f µs, bare %.0f µs", o.Ours.P50, o.Bare.P50)
	}
	const peer = "httputil.ReverseProxy"
	b.Rows = append(b.Rows,
		result.New("proxied request, p50", "µs", p50).Against(peer, p50, bare50),
		result.New("added to the median request", "µs", added).Want("<", overheadTarget),
		result.New("proxied request, p99", "µs", p99).Against(peer, p99, bare99))
	return nil
}
