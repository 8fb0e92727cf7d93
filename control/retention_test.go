package control_test

import (
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/inventory"
	"assay.dev/assay/store/files"
)

// scanOf is another clean scan for each name.
func scanOf(name string) string { return controltest.Clean + strings.Repeat(" ", int(name[0])) + "\n" }

func TestRetentionRemovesTheEvidenceOfWhatNoLongerRuns(t *testing.T) {
	in := controltest.New(t)
	ctx := t.Context()
	dev := in.As("ci", "default", api.RoleDeveloper)
	attested := func(name string) assay.Digest {
		t.Helper()
		req := in.Request(dev, name, controltest.Tests, scanOf(name))
		a, err := dev.Attest(ctx, req)
		if err == nil {
			_, err = in.Config.Ledger.WaitPublished(ctx, "default", a.Fact)
		}
		if err != nil {
			t.Fatal(err)
		}
		return req.Reports[1].Digest
	}
	runs, gone := attested("runs"), attested("goes")
	in.Advance(40 * 24 * time.Hour)
	_, err := in.As("agent", "default", api.RoleAgent).Report(ctx, api.InventoryReport{Source: "cluster", Environment: "prod", Complete: true, Sightings: []api.Sighting{
		{Service: "shop", Environment: "prod", Digest: controltest.DigestOf("runs")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	blobs := in.Config.Blobs.(*files.Blobs)
	err = in.Plane.KeepPayloads(func() error {
		n, err := in.Plane.ExpireEvidence(ctx, blobs, 30)
		if n != 0 {
			t.Errorf("%d payloads removed while they were copied", n)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// The gate's tests are one report of both: what runs keeps them.
	if n, err := in.Plane.ExpireEvidence(ctx, blobs, 30); err != nil || n != 1 {
		t.Errorf("removed %d, %v; want the one report of what no longer runs", n, err)
	}
	for d, there := range map[assay.Digest]bool{runs: true, gone: false} {
		f, err := blobs.Open(ctx, d)
		if (err == nil) != there {
			t.Errorf("%s: %v; want it there: %v", d.Short(), err, there)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
			t.Error(err)
		}
	}
	if _, err := dev.PutEvidence(ctx, strings.NewReader(scanOf("goes"))); err != nil {
		t.Fatal(err)
	}
	if n, err := in.Plane.ExpireEvidence(ctx, blobs, 30); err != nil || n != 0 {
		t.Errorf("removed %d, %v; what was uploaded again waits for its verdict", n, err)
	}
}

func TestASilentSourceDoesNotCountAsGone(t *testing.T) {
	const days = 30
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		ended   bool          // somebody ended the sightings that nobody renewed
		silence time.Duration // since the source was heard last
		removed int
	}{
		"for a day":                            {silence: day},
		"for a day, and its sightings ended":   {silence: day, ended: true},
		"for longer than evidence is kept":     {silence: (days + 1) * day, removed: 2},
		"and what it saw ended only yesterday": {silence: (days + 1) * day, ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			in := controltest.New(t)
			ctx := t.Context()
			dev, agent := in.As("ci", "default", api.RoleDeveloper), in.As("agent", "default", api.RoleAgent)
			a, err := dev.Attest(ctx, in.Request(dev, "app", controltest.Tests, scanOf("app")))
			if err == nil {
				_, err = in.Config.Ledger.WaitPublished(ctx, "default", a.Fact)
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // it runs for long before it is heard last
				in.Advance(40 * day)
				_, err := agent.Report(ctx, api.InventoryReport{Environment: "prod", Complete: true, Sightings: []api.Sighting{
					{Service: "shop", Digest: controltest.DigestOf("app")},
				}})
				if err != nil {
					t.Fatal(err)
				}
			}
			in.Advance(c.silence)
			if c.ended {
				if err := inventory.Expire(ctx, in.Config.Store, "default", "test", in.Now()); err != nil {
					t.Fatal(err)
				}
			}
			in.Advance(day / 2)
			if n, err := in.Plane.ExpireEvidence(ctx, in.Config.Blobs.(*files.Blobs), days); err != nil || n != c.removed {
				t.Errorf("removed %d, %v; want %d", n, err, c.removed)
			}
		})
	}
}
