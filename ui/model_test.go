package ui_test

import (
	"net/http"
	"net/url"
	"testing"

	"assay.dev/assay/api"
)

// checkoutModel is the model that forecasts the load of checkout. Whether it was held
// against enough of what came to show its calibration depends on the hour.
func (w *town) checkoutModel() string {
	w.t.Helper()
	models, err := w.As("vic", namespace, api.RoleViewer).Models(w.t.Context())
	must(w.t, err)
	for _, m := range models {
		if m.Service == "checkout" && m.Name == "objective/checkout/checkout/0/load" {
			return m.Name
		}
	}
	w.t.Fatalf("no model forecasts the load of checkout: %+v", models)
	return ""
}

// A model's page says which version decides and how well it describes what comes, and who
// may lets another decide.
func aPersonRollsAModelBack(t *testing.T, w *town) {
	name := w.checkoutModel()
	page := "/models/" + name
	says(t, w.get("/models"), http.StatusOK, name, "how much load is to come", `href="`+page+`"`)
	says(t, w.get(page), http.StatusOK, "v1", "decides", "Does it know what it does not know?", "all that is kept", "needs the role operator or approver",
		"/services/checkout/forecasts/checkout/0", "assay model show "+name)
	form := url.Values{"model": {name}, "to": {"rules"}, "reason": {"a sale begins that it has not seen"}}
	if rec := w.post("/models/rollbacks", form, w.as("vic", api.RoleViewer)); rec.Code != http.StatusForbidden {
		t.Errorf("a viewer: %d", rec.Code)
	}
	if rec := w.post("/models/rollbacks", form, w.as("olga", api.RoleOperator)); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != page {
		t.Fatalf("an operator: %d to %q\n%s", rec.Code, rec.Header().Get("Location"), rec.Body)
	}
	says(t, w.get(page), http.StatusOK, "pinned", "olga", "a sale begins that it has not seen")
	if rec := w.post("/models/refits", url.Values{"model": {name}, "reason": {"the sale is over"}}, w.as("olga", api.RoleOperator)); rec.Code != http.StatusSeeOther {
		t.Errorf("a new version: %d", rec.Code)
	}
	says(t, w.get(page), http.StatusOK, "v2", "beside", "of 100 to 1")
	says(t, w.get("/models/none"), http.StatusNotFound, "There is no model")
}
