package gameday

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/infer"
	"assay.dev/assay/rollout"
)

// evidence uploads what there is about a release: its tests, made just now, and
// its recorded scans.
func (w *World) evidence(r *Release) (list []api.Report, err error) {
	tests, err := os.ReadFile(r.Tests)
	if err != nil {
		return nil, err
	}
	upload := func(source string, origin assay.Origin, data []byte) error {
		d, err := w.ci.PutEvidence(w.ctx, bytes.NewReader(data))
		list = append(list, api.Report{Digest: d, Source: source, Origin: origin})
		return err
	}
	if err := upload(r.Version.Name+"-tests.json", assay.OriginLive, tests); err != nil {
		return nil, err
	}
	for _, name := range r.Version.scans {
		data, err := scanFiles.ReadFile("scans/" + name)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(w.path("evidence", name), data, 0o600); err != nil {
			return nil, err
		}
		if err := upload(name, assay.OriginRecorded, data); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Gate hands in the evidence of a release and has the verdict signed.
func (w *World) Gate(r *Release) (api.Attested, error) {
	reports, err := w.evidence(r)
	if err != nil {
		return api.Attested{}, err
	}
	a, err := w.ci.Attest(w.ctx, api.CheckRequest{
		Gate: gateName, Subject: assay.Subject{Name: "shop-" + r.Version.Name, Digest: r.Digest}, Reports: reports,
	})
	if err == nil {
		r.Bundle, r.Fact = a.Bundle, a.Fact
	}
	return a, err
}

// position waits until a fact is published and returns its place in the ledger.
func (w *World) position(id assay.FactID) (uint64, error) {
	for {
		p, err := w.ci.Publication(w.ctx, id)
		if err != nil || p.Published {
			return p.Index, err
		}
		if err := w.pause(20 * time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// pause waits, unless the world ends.
func (w *World) pause(d time.Duration) error { return pause(w.ctx, d) }

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// rolloutTime is how long a rollout may take; its plan's horizon is longer.
const rolloutTime = 5 * time.Minute

// look is the time between two looks at a rollout.
const look = 100 * time.Millisecond

// propose starts the rollout of a release.
func (w *World) propose(r *Release) (api.Rollout, error) {
	return w.platform.StartRollout(w.ctx, api.RolloutRequest{Canary: r.Version.Name, Digest: r.Digest, Backend: r.Backend})
}

// follow watches a rollout until it has ended, asks a person or done says so. A
// control plane that is away is asked again.
func (w *World) follow(id string, done func(api.Rollout) bool) (api.Rollout, error) {
	deadline := time.Now().Add(rolloutTime)
	for {
		r, err := w.ci.Rollout(w.ctx, id)
		if err != nil && (w.ctx.Err() != nil || assay.CodeOf(err) != assay.CodeUnavailable) {
			return r, err
		}
		if err == nil {
			w.cfg.Log.Watch(r)
			if r.Status.Ended() || r.Status == api.RolloutAsking || done != nil && done(r) {
				return r, nil
			}
		}
		if time.Now().After(deadline) {
			return r, assay.Errorf(assay.CodeUnavailable, "the rollout of %s has not ended within %s: %s, %s", r.Plan.Canary, rolloutTime, r.Status, r.Reason)
		}
		if err := w.pause(look); err != nil {
			return r, err
		}
	}
}

// ending is what the fact of a rollout's end says.
func (w *World) ending(r api.Rollout) (p rollout.EndedPayload, err error) {
	f, err := w.ci.Fact(w.ctx, r.EndedFact)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(f.Payload, &p); err != nil {
		return p, assay.Errorf(assay.CodeInternal, "the fact %s cannot be read: %w", f.ID, err)
	}
	return p, nil
}

// share is what part of the traffic the new version really had.
func share(canary, control assay.Rate) float64 {
	if canary.Total+control.Total == 0 {
		return 0
	}
	return float64(canary.Total) / float64(canary.Total+control.Total)
}

// Floor is how many requests of a new version that fails at the rate p1 any test
// needs on average, which learns the old version's rate p0 from its traffic: weight
// is the new version's share, and alpha the probability of a false alarm.
func Floor(p0, p1, weight, alpha float64) float64 { return infer.TwoSampleFloor(p0, p1, weight, alpha) }

// exposure is what the proxy says a version had and failed since it started, once
// nothing of it is under way.
func (w *World) exposure(version string) (requests, failed uint64, err error) {
	for {
		t, err := w.ci.Traffic(w.ctx)
		if err != nil {
			return 0, 0, err
		}
		if t.Error != "" {
			return 0, 0, assay.Errorf(assay.CodeUnavailable, "the proxy does not say what it does: %s", t.Error)
		}
		for _, route := range t.Status.Routes {
			for _, v := range route.Versions {
				if v.Name == version && (v.InFlight == 0 || v.Percent > 0) {
					return v.Requests, v.Errors, nil
				}
			}
		}
		if err := w.pause(look); err != nil {
			return 0, 0, err
		}
	}
}

// percent is a version's share of the traffic as the proxy says, -1 if it does not
// know the version.
func (w *World) percent(version string) (int, error) {
	t, err := w.ci.Traffic(w.ctx)
	if err != nil {
		return 0, err
	}
	for _, route := range t.Status.Routes {
		for _, v := range route.Versions {
			if v.Name == version {
				return v.Percent, nil
			}
		}
	}
	return -1, nil
}

// copyProgram puts our own program into the world, so that what is printed can be
// run there when the one that runs now is gone.
func (w *World) copyProgram() error {
	in, err := os.Open(w.cfg.Exe)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(w.path("bin", "assay"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o700)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("%w; %w", err, out.Close())
	}
	return out.Close()
}
