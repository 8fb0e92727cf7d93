package ui_test

import (
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

func aServiceShowsItsIndicatorsInTheirBand(t *testing.T, w *town) {
	page := w.get("/services/shop").Body.String()
	for _, want := range []string{"<h2>Indicators</h2>", "requests over the last", "bad share over the last", "expected, 9 of 10", "reactive", `class="area safe"`} {
		if !strings.Contains(page, want) && !strings.Contains(page, strings.ToUpper(want[:1])+want[1:]) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if catalog := w.get("/services/catalog").Body.String(); strings.Contains(catalog, "<h2>Indicators</h2>") {
		t.Error("a service that nobody watches has indicators")
	}
}

func aServiceListsItsAnomaliesWithTheirReason(t *testing.T, w *town) {
	payload := `{"service":"shop","indicator":"requests","channel":"value","words":"requests: value <b>9</b> is above anything","time":"2026-10-12T00:00:00Z","suppressed":"maintenance database"}`
	must(t, w.Store.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.Append(assay.Fact{
			Kind: assay.FactAnomalyFound, Version: 1, Time: time.Date(2026, 10, 12, 0, 0, 0, 0, time.UTC), Namespace: namespace, Service: "shop",
			Actor: "assay.anomaly", Retention: assay.RetainOperational, Payload: []byte(payload),
		})
		return err
	}))
	page := w.get("/services/shop").Body.String()
	for _, want := range []string{"Out of the ordinary", "requests: value &lt;b&gt;9", "suppressed: maintenance database"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}
