package ui_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/diverge"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
)

// regional is telemetry of the shop by region: one of them fails since a while ago, and one
// has had little traffic.
type regional struct{ since time.Time }

// Read implements signal.Source.
func (r regional) Read(_ context.Context, q signal.Query) (out []assay.Reading, err error) {
	for name, total := range map[string]uint64{"eu": 900, "us <b>": 900, "ap": 2} {
		bad := total / 100
		if name == "eu" && !q.Start.Before(r.since) {
			bad = total / 5
		}
		out = append(out, assay.Reading{Indicator: q.Indicator.Name, Version: "v1", Stratum: name, Start: q.Start, End: q.End, Total: total, Good: total - bad, Completeness: 1})
	}
	return out, nil
}

// compared compares the regions of the shop, at noon of yesterday: what is known of a day
// depends on how old it is.
func (w *town) compared() *diverge.Watcher {
	w.t.Helper()
	now := w.world.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)
	c := diverge.New(diverge.Config{
		Source: regional{now.Add(-40 * time.Minute)}, Store: w.Store, Namespace: namespace, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	})
	o := w.objective("shop", "0.985")
	o.Regions = &slo.Regions{Label: "region", Bound: 0.02, Error: 0.01}
	must(w.t, c.SetObjectives([]slo.Objective{o}))
	for _, at := range []time.Time{now.Add(-30 * time.Minute), now} {
		for c.Step(w.t.Context(), at) {
			continue
		}
	}
	return c
}

func aServiceShowsHowItsRegionsCompare(t *testing.T, w *town) {
	page := w.get("/services/shop").Body.String()
	for _, want := range []string{
		"<h2>Regions</h2>", "at most 2 is declared", "diverges", "alike", "cannot say yet", "us &lt;b&gt;", "eu of shop is worse than the rest", `class="bar bad"`,
		"Divergences between regions", "began", "percentage points above that of the 2 other regions",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if catalog := w.get("/services/catalog").Body.String(); strings.Contains(catalog, "<h2>Regions</h2>") {
		t.Error("a service whose regions are not compared has some")
	}
}
