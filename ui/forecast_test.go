package ui_test

import (
	"net/http"
	"strings"
	"testing"
)

func aForecastShowsItsBandsAndHowGoodTheyWere(t *testing.T, w *town) {
	const page = "/services/checkout/forecasts/checkout/0"
	says(t, w.get("/services/checkout"), http.StatusOK, `href="`+page+`"`)
	says(t, w.get(page), http.StatusOK, "expected: the median", "8 of 10 should lie here", `class="area safe"`, `class="line want"`,
		`class="planned"`, `class="maintenance"`, "sale", "database", "how often each tenth of the forecasts came", "80 % of the load", "as stated",
		"above 0 it is better than repeating the last day", "The next two hours in numbers", "Minute by minute")
	thin := w.get("/services/shop/forecasts/shop/0")
	says(t, thin, http.StatusOK, "reactive", "too few to forecast", "waits until it has come", "No calendar plans anything")
	if strings.Contains(thin.Body.String(), "trusted") {
		t.Error("a forecast of two hours is trusted")
	}
	says(t, w.get("/services/shop/forecasts/none/0"), http.StatusNotFound, "has no objective")
	says(t, w.get("/services/catalog/forecasts/catalog/0"), http.StatusNotFound, "is not watched")
}
