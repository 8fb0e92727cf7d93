package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
)

// What the cluster's door must hold: reviews arrive at a fixed rate whether or not
// earlier ones were answered, over TLS, about pods of one to three images among all
// that the index knows. One in twenty is denied, which a durable fact precedes.
const (
	doorArtifacts    = 100_000
	doorRate         = 500 // reviews a second
	doorRound        = 10 * time.Second
	doorWarm         = 2 * time.Second // before the first round, of either server
	doorSigners      = 32              // who prepare the artifacts
	doorP99Target    = 10              // milliseconds
	doorMemoryTarget = 500             // megabytes
	doorDenied       = 20              // one in so many artifacts has a failed verdict
)

// doorSamples are what the rounds measured, of one server.
type doorSamples struct{ p50, p99, refusal, slowest, rate, share []float64 }

func (s *doorSamples) add(l load, share float64) {
	s.p50, s.p99 = append(s.p50, result.Percentile(l.waits, 0.5)), append(s.p99, result.Percentile(l.waits, 0.99))
	s.refusal, s.slowest = append(s.refusal, result.Percentile(l.denials, 0.99)), append(s.slowest, result.Percentile(l.waits, 1))
	s.rate, s.share = append(s.rate, float64(len(l.waits))/l.took.Seconds()), append(s.share, share)
}

// benchAdmission measures how long an API server waits for the door's answer: of
// `assay serve` as it is shipped, in a process of its own. In the same rounds the same
// reviews go to a bare TLS server, which reads them and has its answer ready: what is
// left of its p99 is the machine's, the network's and the asking process's own.
func benchAdmission(ctx context.Context, b *run.Bench) (err error) {
	dir, err := b.Folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	stand, err := openStand(ctx, b, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stand.close()) }()
	var ours, peer doorSamples
	var memory []float64
	for n := range b.Rounds {
		if err := stand.round(ctx, b, n, &ours, &peer); err != nil {
			return err
		}
		mb, err := residentMB(stand.serve.pid())
		if err != nil {
			return err
		}
		memory = append(memory, mb)
		b.Say("admission %d/%d: %.0f reviews/s, p50 %.2f ms, p99 %.2f ms, of denials %.2f ms, slowest %.1f ms, %.0f%% of a processor, %.0f MB; bare TLS p50 %.2f ms, p99 %.2f ms",
			n+1, b.Rounds, ours.rate[n], ours.p50[n], ours.p99[n], ours.refusal[n], ours.slowest[n], 100*ours.share[n], mb, peer.p50[n], peer.p99[n])
	}
	const bare = "bare TLS server"
	b.Rows = append(b.Rows,
		result.New(fmt.Sprintf("admission p99, %d reviews/s of %d artifacts", doorRate, doorArtifacts), "ms", ours.p99).
			Against(bare, ours.p99, peer.p99).Within(result.Median(peer.p99)).Want("<", doorP99Target),
		result.New("admission p50", "ms", ours.p50).Against(bare, ours.p50, peer.p50).Within(result.Median(peer.p50)),
		result.New("admission p99 of denials, each after a durable fact", "ms", ours.refusal).
			Against(bare, ours.refusal, peer.refusal).Within(result.Median(peer.refusal)).Want("<", doorP99Target),
		result.New("admission, slowest", "ms", ours.slowest).Against(bare, ours.slowest, peer.slowest).Within(result.Median(peer.slowest)),
		result.New("admission reviews answered", "1/s", ours.rate).Against(bare, ours.rate, peer.rate).Want(">=", 0.98*doorRate),
		result.New("admission, processors used", "1", ours.share).Against(bare, ours.share, peer.share),
		result.New("admission memory, assay serve as a whole", "MB", memory).Want("<", doorMemoryTarget))
	return nil
}

// round sends the same load to the bare server and to the door. Which one is first
// alternates, so that what changes slowly on the machine favours neither.
func (s *stand) round(ctx context.Context, b *run.Bench, n int, ours, peer *doorSamples) error {
	sides := []struct {
		name string
		of   *server
		to   *target
		into *doorSamples
	}{{"bare TLS server", s.bare, s.peer, peer}, {"assay serve", s.serve, s.door, ours}}
	if n%2 == 1 {
		sides[0], sides[1] = sides[1], sides[0]
	}
	for _, side := range sides {
		before, err := readUse(side.of.pid())
		if err != nil {
			return err
		}
		l, err := side.to.load(ctx, doorRound, uint64(n))
		if err != nil {
			return fmt.Errorf("%s: %w", side.name, err)
		}
		after, err := readUse(side.of.pid())
		if err != nil {
			return err
		}
		use := after.since(before)
		side.into.add(l, use.server)
		if use.others > 0.2 {
			b.Say("admission %d/%d: while %s was measured, other programs took %.0f%% of a processor", n+1, b.Rounds, side.name, 100*use.others)
		}
	}
	return nil
}
